/* What connections and the server are made of: for connection.c and for the commands that are about them (CLIENT, INFO…).
 * Everything here belongs to the loop's thread. */
#ifndef TOON_RESP_CONNECTION_H
#define TOON_RESP_CONNECTION_H

#include "resp/command.h"
#include "resp/server.h"

#include <uv.h>

/* How a reply comes about when its members have their results. */
typedef enum reply_kind { REPLY_OK, REPLY_IF, REPLY_SUM, REPLY_BYTES } reply_kind;

typedef struct waiting {
  resp_conn *conn; /* NULL once it is gone */
  size_t first, count;
  reply_kind kind;
  size_t offset, len;      /* of REPLY_BYTES, in the turn's `bytes` */
  toon_snapshot *snapshot; /* of REPLY_BYTES */
} waiting;

/* The writes of a turn of the loop, and who waits for them. */
typedef struct turn {
  toon_batch *batch;
  waiting *replies;
  size_t count, cap;
  toon_buf bytes;
} turn;

struct resp_server {
  toon_db *db;
  uv_loop_t loop;
  uv_tcp_t listener;
  uv_async_t wake;
  uv_check_t after_poll;
  uv_thread_t loop_thread, lead_thread;
  uv_sem_t lead;
  uv_mutex_t mutex; /* over done, lead_wanted, stopping */
  bool done, lead_end, stopping;
  bool closing, in_flight, submit_soon;
  turn turns[2]; /* collecting and in flight */
  unsigned collecting;
  resp_conn *conns;
  uint32_t conn_count, max_clients;
  uint64_t last_id;
  uint16_t port;
};

struct resp_conn {
  uv_tcp_t tcp;
  uv_write_t write;
  resp_server *server;
  resp_conn *next, **link;
  uint64_t id;
  int version;
  toon_buf in; /* input not yet handled; from `taken` on */
  size_t taken;
  toon_buf out;    /* replies gathered */
  toon_buf flying; /* on their way */
  toon_buf name;
  resp_parser parser;
  uint32_t pending; /* replies that wait for a commit */
  bool reading, refused, closing, close_after, changing;
};

/* Replies that this connection has not taken yet, in bytes: what output-buffer limits look at. */
static inline size_t conn_out_bytes(const resp_conn *conn) { return conn->out.len + conn->flying.len; }
/* Close it now; it is freed by the loop later. */
void conn_close(resp_conn *conn);
/* Send what was gathered, unless something is on its way. */
void conn_flush(resp_conn *conn);

#endif
