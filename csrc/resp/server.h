/* tstd inside a process: a server of the Redis protocol over an open store, on a thread of its own.
 *
 * The store must stay open until resp_server_stop has returned. SIGPIPE must be ignored, as Node does. Any thread may call these functions, but stop one at a time
 * and last. Who may log in is the caller's to know: the server asks by an event and is told by resp_server_answer. */
#ifndef TOON_RESP_SERVER_H
#define TOON_RESP_SERVER_H

#include "toonstore.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct resp_server resp_server;

/* What somebody may do; NONE: nothing before logging in. */
typedef enum resp_role { RESP_NONE, RESP_READ_ONLY, RESP_READ_WRITE, RESP_ADMIN } resp_role;

typedef enum resp_level { RESP_DEBUG, RESP_INFO, RESP_WARNING } resp_level;

typedef enum resp_event_kind {
  RESP_EVENT_AUTH,     /* may `user` with `password` log in? The connection waits for resp_server_answer */
  RESP_EVENT_SHUTDOWN, /* a client has asked for it; the server goes on until it is stopped */
  RESP_EVENT_NOTICE    /* a line for the log, in `text`; never holds a secret */
} resp_event_kind;

typedef struct resp_event {
  resp_event_kind kind;
  uint64_t conn;
  toon_slice user, password, text; /* borrowed for the call */
  resp_level level;
} resp_event;

/* Called on the server's thread; must be short and must not call the server. */
typedef void (*resp_event_fn)(void *ctx, const resp_event *event);

typedef struct resp_options {
  const char *host;     /* an IPv4 or IPv6 address to listen on; NULL: no TCP */
  uint16_t port;        /* 0: any that is free */
  const char *path;     /* a unix socket to listen on, for its owner only; NULL: none */
  uint32_t max_clients; /* who comes later gets an error and is closed */
  uint32_t timeout;     /* seconds after which a silent connection is closed; 0: never */
  uint32_t keepalive;   /* seconds between TCP's signs of life; 0: none */
  uint64_t output_max;  /* bytes of replies that a connection may leave unread; more closes it */
  uint64_t push_max;    /* the same for what a connection has subscribed to or monitors */
  resp_level level;     /* the least of the notices that are wanted */
  uint64_t cache_rows;  /* of values that are not stored as GET gives them: kept ready, at most so many; 0: none */
  uint64_t cache_bytes; /* which take at most so much */
  bool auth;            /* nobody does anything before logging in */
  resp_event_fn on_event;
  void *ctx;
} resp_options;

/* Listen and serve. TOON_EIO with errno and syscall if an address cannot be had, TOON_EINVAL if it is none. */
toon_status resp_server_start(toon_db *db, const resp_options *options, resp_server **out, toon_error *err);
/* The TCP port it listens on; 0: none. */
uint16_t resp_server_port(const resp_server *server);
/* The answer to RESP_EVENT_AUTH; RESP_NONE refuses. A connection that has gone meanwhile is none's loss. */
void resp_server_answer(resp_server *server, uint64_t conn, resp_role role);
/* Serve a connected stream socket, which the server then owns (also on an error). `address` is what CLIENT LIST shows. */
toon_status resp_server_adopt(resp_server *server, int fd, const char *address, toon_error *err);
/* Stop listening, finish writes under way, send their replies as far as they can be sent at once, close all connections
 * and free the server. Blocks as long as a commit takes, and an upkeep that a client has asked for. */
void resp_server_stop(resp_server *server);

#ifdef __cplusplus
}
#endif

#endif
