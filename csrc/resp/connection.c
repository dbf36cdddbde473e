/* Connections and turns of the loop.
 *
 * A turn is what the loop does between two waits. Commands that come in it are handled as they come, their replies
 * gathered and written once per connection; the writes among them share one batch, submitted at the end of the turn unless
 * an earlier one is still on its way. A thread of the server's own leads commits, so other clients are answered
 * meanwhile; it wakes the loop when a batch is done. */
#include "resp/connection.h"

#include "base/alloc.h"

#include <stdio.h>

enum {
  READ_SIZE = 64 << 10,
  QUERY_MAX = 1 << 30,  /* bytes of input of a connection */
  OUT_ENOUGH = 1 << 20, /* replies gathered before they are sent in between */
  IN_ENOUGH = 256 << 10 /* input that a connection may have waiting */
};

toon_buf *conn_out(resp_conn *conn) { return &conn->out; }
int conn_version(const resp_conn *conn) { return conn->version; }
void conn_set_version(resp_conn *conn, int version) { conn->version = version; }
uint64_t conn_id(const resp_conn *conn) { return conn->id; }
toon_buf *conn_name(resp_conn *conn) { return &conn->name; }
bool conn_waits(const resp_conn *conn) { return conn->pending > 0; }
void conn_close_after_reply(resp_conn *conn) { conn->close_after = true; }

/* ---- closing ---- */

static void conn_closed(uv_handle_t *handle) {
  resp_conn *conn = (resp_conn *)handle->data;
  resp_parser_free(&conn->parser);
  toon_buf_free(&conn->in);
  toon_buf_free(&conn->out);
  toon_buf_free(&conn->flying);
  toon_buf_free(&conn->name);
  toon_free(conn);
}

void conn_close(resp_conn *conn) {
  if (conn->closing) return;
  resp_server *server = conn->server;
  conn->closing = true;
  *conn->link = conn->next;
  if (conn->next) conn->next->link = conn->link;
  server->conn_count--;
  for (int i = 0; conn->pending && i < 2; i++)
    for (size_t j = 0; j < server->turns[i].count; j++)
      if (server->turns[i].replies[j].conn == conn) server->turns[i].replies[j].conn = NULL;
  uv_close((uv_handle_t *)&conn->tcp, conn_closed);
}

/* ---- writing ---- */

static void conn_work(resp_conn *conn);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_written(uv_write_t *request, int status) {
  resp_conn *conn = (resp_conn *)request->data;
  if (conn->closing) return;
  if (status < 0) {
    conn_close(conn);
    return;
  }
  conn->flying.len = 0;
  if (conn->flying.cap > 4 * READ_SIZE) toon_buf_free(&conn->flying);
  conn_work(conn);
}

void conn_flush(resp_conn *conn) {
  if (conn->closing || conn->flying.len) return;
  size_t sent = 0;
  while (sent < conn->out.len) {
    size_t some = conn->out.len - sent < INT32_MAX ? conn->out.len - sent : INT32_MAX;
    uv_buf_t buf = uv_buf_init((char *)conn->out.ptr + sent, (unsigned)some);
    int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    if (n == UV_EAGAIN) break;
    if (n < 0) {
      conn_close(conn);
      return;
    }
    sent += (size_t)n;
  }
  if (sent == conn->out.len) {
    conn->out.len = 0;
    if (conn->out.cap > 4 * READ_SIZE) toon_buf_free(&conn->out);
    if (conn->close_after && conn->pending == 0) conn_close(conn);
    return;
  }
  memmove(conn->out.ptr, conn->out.ptr + sent, conn->out.len - sent);
  conn->out.len -= sent;
  toon_buf rest = conn->out;
  conn->out = conn->flying;
  conn->flying = rest;
  size_t some = rest.len < INT32_MAX ? rest.len : INT32_MAX;
  uv_buf_t bufs[3];
  unsigned count = 0;
  for (size_t at = 0; at < rest.len && count < 3; at += some, count++)
    bufs[count] = uv_buf_init((char *)rest.ptr + at, (unsigned)(rest.len - at < some ? rest.len - at : some));
  conn->write.data = conn;
  if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, bufs, count, on_written) < 0) conn_close(conn);
}

/* ---- turns ---- */

static turn *collecting(resp_server *server) { return &server->turns[server->collecting]; }

toon_status command_batch(command_call *call, toon_batch **out, toon_error *err) {
  turn *t = collecting(call->conn->server);
  if (!t->batch) TOON_TRY(toon_batch_new(call->db, &t->batch, err));
  *out = t->batch;
  return TOON_OK;
}

toon_status command_change(command_call *call, toon_batch **out, toon_error *err) {
  TOON_TRY(command_batch(call, out, err));
  call->first = toon_batch_members(*out);
  TOON_TRY(toon_snapshot_open(call->db, &call->snapshot, err));
  TOON_TRY(toon_batch_begin_at(*out, call->snapshot, err));
  call->changing = *out;
  return TOON_OK;
}

/* Give back what a change that came to nothing has taken. */
static void change_end(command_call *call) {
  if (call->changing) toon_batch_abandon(call->changing);
  if (call->snapshot) toon_snapshot_close(call->snapshot);
  call->changing = NULL;
  call->snapshot = NULL;
}

static toon_status await(command_call *call, reply_kind kind, size_t first, size_t from) {
  resp_conn *conn = call->conn;
  turn *t = collecting(conn->server);
  if (t->count == t->cap) {
    size_t cap = t->cap ? t->cap * 2 : 64;
    waiting *replies = (waiting *)toon_realloc(t->replies, cap * sizeof *replies);
    if (!replies) return TOON_ENOMEM;
    t->replies = replies;
    t->cap = cap;
  }
  size_t len = conn->out.len - from, offset = t->bytes.len;
  if (len) TOON_TRY(toon_buf_append(&t->bytes, conn->out.ptr + from, len));
  conn->out.len = from;
  t->replies[t->count++] =
      (waiting){conn, first, toon_batch_members(t->batch) - first, kind, offset, len, call->snapshot};
  call->snapshot = NULL;
  conn->pending++;
  conn->server->submit_soon = true;
  return TOON_OK;
}

toon_status command_reply_ok(command_call *call, size_t first) {
  return await(call, REPLY_OK, first, call->conn->out.len);
}
toon_status command_reply_if(command_call *call, size_t first) {
  return await(call, REPLY_IF, first, call->conn->out.len);
}
toon_status command_reply_sum(command_call *call, size_t first) {
  return await(call, REPLY_SUM, first, call->conn->out.len);
}

toon_status command_commit(command_call *call, size_t from) {
  toon_error err;
  toon_status status = toon_batch_end(call->changing, &err);
  if (status != TOON_OK) {
    call->conn->out.len = from;
    return command_fail(call, &err);
  }
  call->changing = NULL;
  TOON_TRY(await(call, REPLY_BYTES, call->first, from));
  call->conn->changing = true;
  return TOON_OK;
}

toon_status command_fail(command_call *call, const toon_error *err) {
  return resp_error(&call->conn->out, "%s %s", toon_status_resp(err->status),
                    err->message[0] ? err->message : toon_status_text(err->status));
}

/* On whatever thread leads. */
static void batch_done(void *ctx, toon_batch *batch) {
  resp_server *server = (resp_server *)ctx;
  (void)batch;
  uv_mutex_lock(&server->mutex);
  server->done = true;
  uv_mutex_unlock(&server->mutex);
  uv_async_send(&server->wake);
}

static void turn_finish(resp_server *server, turn *t, const toon_error *refused);

static void submit(resp_server *server) {
  turn *t = collecting(server);
  if (server->in_flight || !t->batch || t->count == 0) return;
  toon_error err;
  bool lead = false;
  server->submit_soon = false;
  server->in_flight = true;
  server->collecting ^= 1;
  if (toon_submit(server->db, t->batch, batch_done, server, &lead, &err) != TOON_OK) {
    server->in_flight = false;
    turn_finish(server, t, &err);
  } else if (lead) {
    uv_sem_post(&server->lead);
  }
}

static void lead_main(void *ctx) {
  resp_server *server = (resp_server *)ctx;
  for (;;) {
    uv_sem_wait(&server->lead);
    uv_mutex_lock(&server->mutex);
    bool end = server->lead_end;
    uv_mutex_unlock(&server->mutex);
    if (end) return;
    toon_lead(server->db);
  }
}

/* ---- commands ---- */

/* Handle the command that the parser has; false if the connection must wait with it. */
static bool conn_command(resp_conn *conn, toon_slice input, toon_status *status) {
  command_call call = {conn, conn->server->db, &conn->parser, input, conn->parser.count, NULL, 0, NULL};
  *status = TOON_OK;
  if (call.count == 0) return true;
  toon_slice name = call_arg(&call, 0);
  const command *container, *c = command_of(&call, &container);
  if (conn->pending && !(c && c->flags & COMMAND_BLIND)) return false;
  if (!c && container) {
    toon_slice sub = call_arg(&call, 1);
    uint8_t upper[16] = {0};
    for (size_t i = 0; container->name[i] && i < sizeof upper - 1; i++) upper[i] = (uint8_t)container->name[i] & 0xdf;
    *status = resp_error(&conn->out, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                         (int)(sub.len < 128 ? sub.len : 128), (const char *)sub.ptr, (const char *)upper);
  } else if (!c) {
    toon_buf args = {0};
    for (size_t i = 1; i < call.count && args.len < 128 && *status == TOON_OK; i++) {
      toon_slice arg = call_arg(&call, i);
      int len = (int)(arg.len < 128 - args.len ? arg.len : 128 - args.len);
      *status = toon_buf_printf(&args, "'%.*s' ", len, (const char *)arg.ptr);
    }
    if (*status == TOON_OK) {
      *status = resp_error(&conn->out, "ERR unknown command '%.*s', with args beginning with: %.*s",
                           (int)(name.len < 128 ? name.len : 128), (const char *)name.ptr, (int)args.len,
                           args.len ? (const char *)args.ptr : "");
    }
    toon_buf_free(&args);
  } else if (!command_takes(c, call.count)) {
    /* An error has nothing to wait for, but its place is behind the replies that do. */
    if (conn->pending) return false;
    *status = resp_error(&conn->out, "ERR wrong number of arguments for '%s' command", c->name);
  } else {
    bool waited = conn->pending > 0;
    size_t before = conn->out.len;
    uint32_t pending = conn->pending;
    *status = c->run(&call);
    change_end(&call);
    if (waited && *status == TOON_OK && conn->pending == pending) { /* refused: say so when its turn has come */
      conn->out.len = before;
      return false;
    }
  }
  return true;
}

/* Handle what has come in, until the input ends or a command has to wait. */
static void conn_work(resp_conn *conn) {
  bool stalled = false;
  while (!conn->closing && !conn->close_after && conn->taken < conn->in.len) {
    /* Who does not read its replies is not served on. */
    stalled = conn->changing || (conn->flying.len && conn->out.len >= OUT_ENOUGH);
    if (stalled) break;
    toon_slice input = toon_slice_of(conn->in.ptr + conn->taken, conn->in.len - conn->taken);
    resp_parsed parsed = resp_parse(&conn->parser, input);
    toon_status status = parsed == RESP_NOMEM ? TOON_ENOMEM : TOON_OK;
    if (parsed == RESP_MORE) break;
    if (parsed == RESP_COMMAND) {
      stalled = !conn_command(conn, input, &status);
      if (!stalled && !conn->changing) { /* a change may have to be run again: its arguments stay */
        conn->taken += conn->parser.used;
        resp_parser_next(&conn->parser);
      }
    } else if (parsed == RESP_BROKEN) {
      stalled = conn->pending > 0;
      if (!stalled) {
        status = resp_error(&conn->out, "ERR %s", conn->parser.error);
        conn->close_after = true;
      }
    }
    if (status != TOON_OK) {
      conn_close(conn);
      return;
    }
    if (stalled) { /* it is parsed anew when its time has come */
      resp_parser_next(&conn->parser);
      break;
    }
    if (conn->out.len >= OUT_ENOUGH) conn_flush(conn);
  }
  if (conn->closing) return;
  if (conn->taken == conn->in.len) {
    conn->taken = conn->in.len = 0;
    if (conn->in.cap > 4 * READ_SIZE) toon_buf_free(&conn->in);
  }
  conn_flush(conn);
  if (conn->closing || conn->refused) return;
  bool reading = !stalled || conn->in.len - conn->taken < IN_ENOUGH;
  if (reading == conn->reading) return;
  conn->reading = reading;
  if (!reading)
    uv_read_stop((uv_stream_t *)&conn->tcp);
  else if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0)
    conn_close(conn);
}

static toon_status turn_reply(turn *t, const waiting *w, const toon_error *refused, bool *again) {
  resp_conn *conn = w->conn;
  uint64_t sum = 0, value = 0;
  toon_error err;
  toon_status status = TOON_OK;
  if (refused) err = *refused;
  for (size_t i = 0; !refused && i < w->count && status == TOON_OK; i++) {
    status = toon_batch_result(t->batch, w->first + i, &value, &err);
    sum += value;
  }
  if (w->kind == REPLY_BYTES && status == TOON_ECONFLICT) {
    *again = true;
    return TOON_OK;
  }
  if (refused || status != TOON_OK) {
    return resp_error(&conn->out, "%s %s", toon_status_resp(err.status),
                      err.message[0] ? err.message : toon_status_text(err.status));
  }
  switch (w->kind) {
  case REPLY_OK: return resp_status(&conn->out, "OK");
  case REPLY_IF: return sum ? resp_status(&conn->out, "OK") : resp_null(&conn->out, conn->version);
  case REPLY_SUM: return resp_int(&conn->out, (int64_t)sum);
  default: return toon_buf_append(&conn->out, t->bytes.ptr + w->offset, w->len);
  }
}

/* Give the replies of a turn, send the next on its way, then let the connections go on. */
static void turn_finish(resp_server *server, turn *t, const toon_error *refused) {
  turn done = *t;
  memset(t, 0, sizeof *t);
  for (size_t i = 0; i < done.count; i++) {
    waiting *w = &done.replies[i];
    bool again = false;
    if (w->snapshot) toon_snapshot_close(w->snapshot);
    if (!w->conn || w->conn->closing) continue;
    w->conn->pending--;
    toon_status status = turn_reply(&done, w, refused, &again);
    if (w->kind == REPLY_BYTES) {
      w->conn->changing = false;
      if (!again) w->conn->taken += w->conn->parser.used;
      resp_parser_next(&w->conn->parser);
    }
    if (status != TOON_OK) conn_close(w->conn);
  }
  toon_batch_free(done.batch);
  submit(server);
  for (size_t i = 0; i < done.count; i++) { /* a closing connection is freed by the loop, not before */
    resp_conn *conn = done.replies[i].conn;
    if (!conn || conn->closing || (i > 0 && done.replies[i - 1].conn == conn)) continue;
    if (server->closing)
      conn_flush(conn);
    else
      conn_work(conn);
  }
  toon_free(done.replies);
  toon_buf_free(&done.bytes);
}

/* ---- the loop ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  resp_conn *conn = (resp_conn *)handle->data;
  (void)suggested;
  if (conn->taken && conn->taken == conn->in.len) conn->taken = conn->in.len = 0;
  if (conn->taken > conn->in.len / 2) {
    memmove(conn->in.ptr, conn->in.ptr + conn->taken, conn->in.len - conn->taken);
    conn->in.len -= conn->taken;
    conn->taken = 0;
  }
  size_t room = conn->in.len < QUERY_MAX ? 16 << 10 : 0; /* no room is UV_ENOBUFS, which closes */
  if (room && toon_buf_reserve(&conn->in, room) != TOON_OK) room = 0;
  size_t free_bytes = conn->in.cap - conn->in.len;
  *buf =
      uv_buf_init(room ? (char *)conn->in.ptr + conn->in.len : NULL, (unsigned)(!room                    ? 0
                                                                                : free_bytes < INT32_MAX ? free_bytes
                                                                                                         : INT32_MAX));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  resp_conn *conn = (resp_conn *)stream->data;
  (void)buf;
  if (n < 0) {
    conn_close(conn);
    return;
  }
  conn->in.len += (size_t)n;
  conn_work(conn);
}

static void on_connection(uv_stream_t *listener, int status) {
  resp_server *server = (resp_server *)listener->data;
  if (status < 0 || server->closing) return;
  resp_conn *conn = (resp_conn *)toon_calloc(1, sizeof *conn);
  if (!conn) return;
  uv_tcp_init(&server->loop, &conn->tcp);
  conn->tcp.data = conn;
  conn->server = server;
  conn->id = ++server->last_id;
  conn->version = 2;
  resp_parser_init(&conn->parser);
  conn->next = server->conns;
  conn->link = &server->conns;
  if (conn->next) conn->next->link = &conn->next;
  server->conns = conn;
  server->conn_count++;
  if (uv_accept(listener, (uv_stream_t *)&conn->tcp) < 0) {
    conn_close(conn);
    return;
  }
  uv_tcp_nodelay(&conn->tcp, 1);
  uv_tcp_keepalive(&conn->tcp, 1, 300);
  if (server->conn_count > server->max_clients) {
    conn->close_after = conn->refused = true;
    if (resp_error(&conn->out, "ERR max number of clients reached") != TOON_OK) conn_close(conn);
    conn_flush(conn);
    return;
  }
  conn->reading = true;
  if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0) conn_close(conn);
}

static void close_all(resp_server *server) {
  while (server->conns) conn_close(server->conns);
  uv_close((uv_handle_t *)&server->wake, NULL);
  uv_close((uv_handle_t *)&server->after_poll, NULL);
}

static void on_wake(uv_async_t *handle) {
  resp_server *server = (resp_server *)handle->data;
  uv_mutex_lock(&server->mutex);
  bool done = server->done, stopping = server->stopping;
  server->done = false;
  uv_mutex_unlock(&server->mutex);
  if (stopping && !server->closing) {
    server->closing = true;
    uv_close((uv_handle_t *)&server->listener, NULL);
    for (resp_conn *conn = server->conns; conn; conn = conn->next) uv_read_stop((uv_stream_t *)&conn->tcp);
  }
  if (done) {
    server->in_flight = false;
    turn_finish(server, &server->turns[server->collecting ^ 1], NULL);
  }
  submit(server);
  if (server->closing && !server->in_flight && !uv_is_closing((uv_handle_t *)handle)) close_all(server);
}

static void on_turn_end(uv_check_t *handle) {
  resp_server *server = (resp_server *)handle->data;
  if (server->submit_soon) submit(server);
}

static void loop_main(void *ctx) {
  resp_server *server = (resp_server *)ctx;
  uv_run(&server->loop, UV_RUN_DEFAULT);
}

/* ---- start and stop ---- */

static toon_status fail_uv(toon_error *err, int code, const char *call, const char *host, uint16_t port) {
  char where[96];
  snprintf(where, sizeof where, "%s port %u", host, port);
  toon_fail(err, TOON_EIO, "cannot listen on %s: %s", where, uv_strerror(code));
  if (err) {
    err->os_errno = -code;
    err->syscall = call;
  }
  return TOON_EIO;
}

static toon_status listen_at(resp_server *server, const resp_options *options, toon_error *err) {
  struct sockaddr_storage address;
  int length = sizeof address, code;
  if (uv_ip4_addr(options->host, options->port, (struct sockaddr_in *)&address) != 0 &&
      uv_ip6_addr(options->host, options->port, (struct sockaddr_in6 *)&address) != 0)
    return toon_fail(err, TOON_EINVAL, "'%s' is no IP address", options->host);
  code = uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0);
  if (code < 0) return fail_uv(err, code, "bind", options->host, options->port);
  code = uv_listen((uv_stream_t *)&server->listener, 511, on_connection);
  if (code < 0) return fail_uv(err, code, "listen", options->host, options->port);
  uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &length);
  server->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                     : ((struct sockaddr_in *)&address)->sin_port);
  return TOON_OK;
}

toon_status resp_server_start(toon_db *db, const resp_options *options, resp_server **out, toon_error *err) {
  resp_server *server = (resp_server *)toon_calloc(1, sizeof *server);
  if (!server) return toon_fail(err, TOON_ENOMEM, NULL);
  server->db = db;
  server->max_clients = options->max_clients;
  if (uv_loop_init(&server->loop) < 0) {
    toon_free(server);
    return toon_fail(err, TOON_ENOMEM, "cannot make a loop");
  }
  uv_tcp_init(&server->loop, &server->listener);
  uv_check_init(&server->loop, &server->after_poll);
  uv_async_init(&server->loop, &server->wake, on_wake);
  server->listener.data = server->after_poll.data = server->wake.data = server;
  uv_check_start(&server->after_poll, on_turn_end);
  uv_mutex_init(&server->mutex);
  uv_sem_init(&server->lead, 0);
  toon_status status = listen_at(server, options, err);
  bool leading = false;
  if (status == TOON_OK) {
    leading = uv_thread_create(&server->lead_thread, lead_main, server) == 0;
    if (leading && uv_thread_create(&server->loop_thread, loop_main, server) == 0) {
      *out = server;
      return TOON_OK;
    }
    status = toon_fail(err, TOON_ENOMEM, "cannot start a thread");
  }
  if (leading) {
    server->lead_end = true;
    uv_sem_post(&server->lead);
    uv_thread_join(&server->lead_thread);
  }
  uv_close((uv_handle_t *)&server->listener, NULL);
  close_all(server);
  uv_run(&server->loop, UV_RUN_DEFAULT);
  uv_loop_close(&server->loop);
  uv_sem_destroy(&server->lead);
  uv_mutex_destroy(&server->mutex);
  toon_free(server);
  return status;
}

uint16_t resp_server_port(const resp_server *server) { return server->port; }

void resp_server_stop(resp_server *server) {
  uv_mutex_lock(&server->mutex);
  server->stopping = true;
  uv_mutex_unlock(&server->mutex);
  uv_async_send(&server->wake);
  uv_thread_join(&server->loop_thread);
  uv_mutex_lock(&server->mutex);
  server->lead_end = true;
  uv_mutex_unlock(&server->mutex);
  uv_sem_post(&server->lead);
  uv_thread_join(&server->lead_thread);
  uv_loop_close(&server->loop);
  uv_sem_destroy(&server->lead);
  uv_mutex_destroy(&server->mutex);
  toon_free(server);
}
