/* tstd inside a process: a server of the Redis protocol over an open store, on a thread of its own.
 *
 * The store must stay open until resp_server_stop has returned. Any thread may call these, one at a time. */
#ifndef TOON_RESP_SERVER_H
#define TOON_RESP_SERVER_H

#include "toonstore.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct resp_server resp_server;

typedef struct resp_options {
  const char *host;     /* an IPv4 or IPv6 address to listen on */
  uint16_t port;        /* 0: any that is free */
  uint32_t max_clients; /* who comes later gets an error and is closed */
} resp_options;

/* Listen and serve. TOON_EIO with errno and syscall if the address cannot be had, TOON_EINVAL if it is none. */
toon_status resp_server_start(toon_db *db, const resp_options *options, resp_server **out, toon_error *err);
/* The port it listens on. */
uint16_t resp_server_port(const resp_server *server);
/* Stop listening, finish writes under way, send their replies as far as they can be sent at once, close all connections
 * and free the server. Blocks as long as a commit takes. */
void resp_server_stop(resp_server *server);

#ifdef __cplusplus
}
#endif

#endif
