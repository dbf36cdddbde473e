/* Connections: their input, parsed and handled command by command; their replies, gathered and written once a turn; and the
 * limits that keep one client from harming the others.
 *
 * A connection that waits for nothing holds no buffers: those it needs while it is served are lent to it by the server. */
#include "resp/connection.h"

#include "base/alloc.h"

#include <stdio.h>
#include <unistd.h>

enum {
  READ_SIZE = 16 << 10,   /* room made for a read */
  SPARE_MAX = 256 << 10,  /* larger buffers are not kept */
  QUERY_MAX = 1 << 30,    /* bytes of input of a connection */
  OUT_ENOUGH = 256 << 10, /* replies gathered before they are sent in between */
  IN_ENOUGH = 256 << 10,  /* input that a connection may have waiting */
  SWELL_MS = 60000,       /* pushes may stand unread so long */
  SHOWN_MAX = 64 << 10    /* bytes of a command shown to who monitors */
};

toon_buf *conn_out(resp_conn *conn) { return &conn->out; }
int conn_version(const resp_conn *conn) { return conn->version; }
void conn_set_version(resp_conn *conn, int version) { conn->version = version; }
uint64_t conn_id(const resp_conn *conn) { return conn->id; }
toon_buf *conn_name(resp_conn *conn) { return &conn->name; }
void conn_close_after_reply(resp_conn *conn) { conn->close_after = true; }

/* ---- buffers that are lent ---- */

static void give_back(resp_server *server, toon_buf *buf) {
  if (!buf->ptr) return;
  if (buf->cap <= SPARE_MAX && server->spare_count < SPARES) {
    buf->len = 0;
    server->spares[server->spare_count++] = *buf;
    *buf = (toon_buf){0};
  } else {
    toon_buf_free(buf);
  }
}

void conn_lend(resp_conn *conn) {
  if (conn->out.ptr || !conn->server->spare_count) return;
  conn->out = conn->server->spares[--conn->server->spare_count];
}

/* ---- closing ---- */

static void conn_closed(uv_handle_t *handle) {
  resp_conn *conn = (resp_conn *)handle->data;
  resp_parser_free(&conn->parser);
  toon_buf_free(&conn->in);
  toon_buf_free(&conn->out);
  toon_buf_free(&conn->flying);
  toon_buf_free(&conn->name);
  toon_buf_free(&conn->library);
  toon_buf_free(&conn->library_version);
  multi_free(conn);
  toon_free(conn);
}

static void leave_queue(resp_conn *conn) {
  resp_server *server = conn->server;
  if (conn->asking != ASK_QUEUED) return;
  resp_conn **at = &server->queued;
  while (*at != conn) at = &(*at)->next_queued;
  *at = conn->next_queued;
  if (!*at) server->queued_end = at;
  conn->asking = ASK_NOTHING;
}

/* What it has written is committed as it would be; an EXEC still publishes. */
static void leave_turn(resp_conn *conn, turn *t) {
  for (size_t i = 0; i < t->count; i++) {
    waiting *w = &t->replies[i];
    if (w->conn != conn) continue;
    w->conn = NULL;
    if (!w->exec) continue;
    w->multi = conn->multi;
    conn->multi = NULL;
  }
}

void conn_close(resp_conn *conn) {
  if (conn->closing) return;
  resp_server *server = conn->server;
  conn->closing = true;
  conn_unstall(conn);
  leave_queue(conn);
  pubsub_leave(conn);
  *conn->link = conn->next;
  if (conn->next) conn->next->link = conn->link;
  server->conn_count--;
  if (conn->monitor) server->monitors--;
  if (conn->is_pushed) {
    resp_conn **at = &server->pushed;
    while (*at != conn) at = &(*at)->next_pushed;
    *at = conn->next_pushed;
  }
  for (int i = 0; conn->pending && i < 2; i++) leave_turn(conn, &server->turns[i]);
  server_notice(server, RESP_DEBUG, "connection %llu from %s ends", (unsigned long long)conn->id, conn->address);
  uv_close(&conn->io.handle, conn_closed);
}

static void tell_overfull(const resp_conn *conn) {
  server_notice(conn->server, RESP_WARNING, "connection %llu from %s is closed: it leaves %zu bytes of replies unread",
                (unsigned long long)conn->id, conn->address, conn_out_bytes(conn));
}

static void close_overfull(resp_conn *conn) {
  tell_overfull(conn);
  conn_close(conn);
}

bool command_overfull(const command_call *call, size_t more) {
  if (call->out->len + more <= call->conn->server->options.output_max) return false;
  tell_overfull(call->conn);
  return true;
}

resp_conn *conn_find(resp_server *server, uint64_t id) {
  resp_conn *conn = server->conns;
  while (conn && conn->id != id) conn = conn->next;
  return conn;
}

/* ---- writing ---- */

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
  conn->swelling = 0;
  give_back(conn->server, &conn->flying);
  if (conn->server->closing)
    conn_flush(conn);
  else
    conn_work(conn);
}

void conn_flush(resp_conn *conn) {
  if (conn->closing || conn->flying.len) return;
  size_t sent = 0;
  while (sent < conn->out.len) {
    size_t some = conn->out.len - sent < INT32_MAX ? conn->out.len - sent : INT32_MAX;
    uv_buf_t buf = uv_buf_init((char *)conn->out.ptr + sent, (unsigned)some);
    int n = uv_try_write(&conn->io.stream, &buf, 1);
    if (n == UV_EAGAIN) break;
    if (n < 0) {
      conn_close(conn);
      return;
    }
    sent += (size_t)n;
  }
  conn->server->counters.out_bytes += sent;
  if (sent == conn->out.len) {
    conn->out.len = 0;
    conn->swelling = 0;
    give_back(conn->server, &conn->out);
    if (conn->close_after && conn->pending == 0) conn_close(conn);
    return;
  }
  memmove(conn->out.ptr, conn->out.ptr + sent, conn->out.len - sent);
  conn->out.len -= sent;
  toon_buf rest = conn->out;
  conn->out = (toon_buf){0};
  conn->flying = rest;
  conn->server->counters.out_bytes += rest.len;
  size_t some = rest.len < INT32_MAX ? rest.len : INT32_MAX;
  uv_buf_t bufs[3];
  unsigned count = 0;
  for (size_t at = 0; at < rest.len && count < 3; at += some, count++)
    bufs[count] = uv_buf_init((char *)rest.ptr + at, (unsigned)(rest.len - at < some ? rest.len - at : some));
  conn->write.data = conn;
  if (uv_write(&conn->write, &conn->io.stream, bufs, count, on_written) < 0) conn_close(conn);
}

void conn_push(resp_conn *conn) {
  resp_server *server = conn->server;
  if (conn->closing) return;
  size_t bytes = conn_out_bytes(conn);
  if (bytes > server->options.push_max) {
    close_overfull(conn);
    return;
  }
  if (bytes > server->options.push_max / 4 && !conn->swelling) conn->swelling = uv_now(&server->loop);
  if (conn->is_pushed) return;
  conn->is_pushed = true;
  conn->next_pushed = server->pushed;
  server->pushed = conn;
}

void conns_flush_pushed(resp_server *server) {
  while (server->pushed) {
    resp_conn *conn = server->pushed;
    server->pushed = conn->next_pushed;
    conn->is_pushed = false;
    conn_flush(conn);
  }
}

/* ---- commands ---- */

static toon_status unknown_command(const command_call *call, toon_buf *out) {
  toon_slice name = call_arg(call, 0);
  toon_buf args = {0};
  toon_status status = TOON_OK;
  for (size_t i = 1; i < call->count && args.len < 128 && status == TOON_OK; i++) {
    toon_slice arg = call_arg(call, i);
    int len = (int)(arg.len < 128 - args.len ? arg.len : 128 - args.len);
    status = toon_buf_printf(&args, "'%.*s' ", len, (const char *)arg.ptr);
  }
  if (status == TOON_OK) {
    status = resp_error(out, "ERR unknown command '%.*s', with args beginning with: %.*s",
                        (int)(name.len < 128 ? name.len : 128), (const char *)name.ptr, (int)args.len,
                        (const char *)args.ptr);
  }
  toon_buf_free(&args);
  return status;
}

static toon_status unknown_subcommand(const command_call *call, const command *container, toon_buf *out) {
  toon_slice sub = call_arg(call, 1);
  uint8_t upper[16] = {0};
  for (size_t i = 0; container->name[i] && i < sizeof upper - 1; i++) upper[i] = (uint8_t)container->name[i] & 0xdf;
  return resp_error(out, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)(sub.len < 128 ? sub.len : 128),
                    (const char *)sub.ptr, (const char *)upper);
}

/* A command with too few or too many arguments; an EXEC ends its transaction all the same. */
static toon_status wrong_count(const command_call *call) {
  const char *name = call->command->name;
  if (call->command->run != command_exec)
    return resp_error(call->out, "ERR wrong number of arguments for '%s' command", name);
  multi_free(call->conn);
  return resp_error(call->out, "EXECABORT Transaction discarded because of: wrong number of arguments for '%s' command",
                    name);
}

/* A line of HTTP. A web page can have its visitor's browser send a POST here, with commands in its body: it is closed before those. */
static bool is_http(const command_call *call) {
  return command_word(call_arg(call, 0), "post") || command_word(call_arg(call, 0), "host:");
}

static toon_status refuse_http(resp_conn *conn) {
  server_notice(conn->server, RESP_WARNING, "connection %llu from %s is closed: it speaks HTTP",
                (unsigned long long)conn->id, conn->address);
  conn->close_after = true;
  return TOON_OK;
}

/* May this connection run the command? If not, the error reply is written. */
static bool allowed(resp_conn *conn, const command *c, toon_status *status) {
  if (conn->role == RESP_ADMIN || c->flags & COMMAND_NO_AUTH) return true;
  if (conn->role == RESP_NONE) {
    *status = resp_error(&conn->out, "NOAUTH Authentication required.");
    return false;
  }
  if (!(c->flags & COMMAND_ADMIN) && (!(c->flags & COMMAND_WRITE) || conn->role == RESP_READ_WRITE)) return true;
  *status = resp_error(&conn->out, "NOPERM this user has no permissions to run the '%s' command", c->name);
  return false;
}

toon_status command_run(command_call *call) {
  toon_status status = call->command->run(call);
  return call->failed || call->work->waits ? TOON_OK : status;
}

/* May it be run while replies of its connection wait? It must be nothing but reads and writes of keys. */
static bool may_follow(const command *c) { return c->first > 0 && (c->flags & (COMMAND_WRITE | COMMAND_READONLY)); }

/* Run a command, or what stands for its running. *ran: its own function was called. */
static toon_status answer(command_call *call, const command *container, bool *ran) {
  resp_conn *conn = call->conn;
  const command *c = call->command;
  toon_status status = TOON_OK;
  conn->mute_next = false; /* this is the one */
  if (!c) {
    status = container       ? unknown_subcommand(call, container, call->out)
             : is_http(call) ? refuse_http(conn)
                             : unknown_command(call, call->out);
  } else if (!command_takes(c, call->count)) {
    status = wrong_count(call);
  } else if (conn->version == 2 && pubsub_list_count(&conn->topics) && !(c->flags & COMMAND_PUBSUB)) {
    status = resp_error(call->out,
                        "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                        "allowed in this context",
                        c->name);
  } else if (allowed(conn, c, &status)) {
    conn->command = c;
    if (multi_queue(call, &status)) return status;
    *ran = true;
    call->work->isolated = (c->flags & COMMAND_WRITE) != 0;
    return command_run(call);
  }
  multi_refused(conn);
  return status;
}

/* Handle the command that the parser has; false if the connection must wait with it. */
static bool conn_command(resp_conn *conn, toon_slice input, toon_status *status) {
  resp_server *server = conn->server;
  command_work work = {0};
  command_call call = {.conn = conn,
                       .db = server->db,
                       .parser = &conn->parser,
                       .input = input,
                       .count = conn->parser.count,
                       .work = &work,
                       .out = &conn->out,
                       .from = conn->out.len};
  *status = TOON_OK;
  if (call.count == 0) return true;
  const command *container;
  call.command = command_of(&call, &container);
  if (conn->pending && call.command && !may_follow(call.command)) return false;
  bool skip = conn->mute_next, ran = false, waits = false;
  uint64_t at = conn->base + conn->taken;
  conn->mute_this = conn->mute || skip;
  *status = answer(&call, container, &ran);
  bool error = conn->out.len > call.from && conn->out.ptr[call.from] == '-';
  if (work.snapshot) toon_snapshot_close(work.snapshot);
  bool first = at >= conn->counted && !conn_waits(conn) && !work.waits;
  if (first && ran && server->monitors && !(call.command->flags & (COMMAND_ADMIN | COMMAND_NO_AUTH))) {
    if (work.ran) multi_show(&call);
    conn_show(&call);
  }
  if (conn_waits(conn))
    waits = true;
  else if (*status == TOON_OK)
    *status = turn_take(&call, &waits);
  if (*status != TOON_OK && work.open) toon_batch_abandon(work.batch);
  toon_snapshot_close(work.ranges);
  if (waits) { /* it is run when its turn has come */
    conn->out.len = call.from;
    conn->mute_next = skip;
    if (work.waits) conn_stall(conn);
    return false;
  }
  if (first) {
    conn->counted = at + 1;
    server->counters.commands++;
    server->counters.errors += error;
  }
  if (conn->mute_this && conn->out.len > call.from) conn->out.len = call.from;
  return true;
}

void conn_show(const command_call *call) {
  resp_conn *conn = call->conn;
  toon_buf line = {0};
  int64_t now = toon_now(call->db);
  toon_status status = toon_buf_printf(&line, "+%lld.%06lld [0 %s]", (long long)(now / 1000),
                                       (long long)(now % 1000 * 1000), conn->address);
  for (size_t i = 0; i < call->count && status == TOON_OK && line.len < SHOWN_MAX; i++) {
    toon_slice arg = call_arg(call, i);
    status = toon_buf_lit(&line, " \"");
    for (size_t j = 0; j < arg.len && status == TOON_OK && line.len < SHOWN_MAX; j++) {
      uint8_t byte = arg.ptr[j];
      if (byte == '"' || byte == '\\')
        status = toon_buf_printf(&line, "\\%c", byte);
      else if (byte >= ' ' && byte < 127)
        status = toon_buf_byte(&line, byte);
      else
        status = byte == '\n'   ? toon_buf_lit(&line, "\\n")
                 : byte == '\r' ? toon_buf_lit(&line, "\\r")
                                : toon_buf_printf(&line, "\\x%02x", byte);
    }
    if (status == TOON_OK) status = toon_buf_lit(&line, "\"");
  }
  if (status == TOON_OK) status = toon_buf_lit(&line, "\r\n");
  resp_conn *next;
  for (resp_conn *who = conn->server->conns; who && status == TOON_OK; who = next) {
    next = who->next;
    if (!who->monitor) continue;
    if (toon_buf_add(&who->out, toon_buf_slice(&line)) != TOON_OK)
      conn_close(who);
    else
      conn_push(who);
  }
  toon_buf_free(&line);
}

void conn_answer(resp_server *server, uint64_t id, int answer) {
  resp_conn *conn = conn_find(server, id);
  if (!conn || conn->asking != ASK_WAITING) return;
  conn->asking = ASK_ANSWERED;
  conn->answer = answer;
  if (!server->closing) conn_work(conn);
}

bool conn_ask_login(resp_conn *conn) {
  resp_server *server = conn->server;
  if (server->logins < LOGINS_MAX) {
    server->logins++;
    conn_ask(conn);
    return true;
  }
  conn->asking = ASK_QUEUED;
  conn->next_queued = NULL;
  *server->queued_end = conn;
  server->queued_end = &conn->next_queued;
  return false;
}

void conns_login_done(resp_server *server) {
  server->logins--;
  resp_conn *conn = server->queued;
  if (!conn || server->closing) return;
  leave_queue(conn);
  conn_work(conn);
}

/* A command that has to wait stays parsed, unless its words are in the parser. */
static void keep_parsed(resp_conn *conn) {
  if (conn->parser.inlined || conn->parser.missing != 0) resp_parser_next(&conn->parser);
}

void conn_work(resp_conn *conn) {
  resp_server *server = conn->server;
  bool stalled = false;
  conn_lend(conn);
  while (!conn->closing && !conn->close_after && conn->taken < conn->in.len) {
    /* Who does not read its replies is not served on. */
    stalled = conn->exclusive || conn_waits(conn) || (conn->flying.len && conn->out.len >= OUT_ENOUGH);
    if (!stalled && turn_full(server)) {
      stalled = true;
      conn_stall(conn);
    }
    if (stalled) break;
    toon_slice input = toon_slice_of(conn->in.ptr + conn->taken, conn->in.len - conn->taken);
    conn->parser.anonymous = conn->role == RESP_NONE;
    resp_parsed parsed = resp_parse(&conn->parser, input);
    toon_status status = parsed == RESP_NOMEM ? TOON_ENOMEM : TOON_OK;
    if (parsed == RESP_MORE) break;
    if (parsed == RESP_COMMAND) {
      stalled = !conn_command(conn, input, &status);
      if (!stalled) {
        conn->taken += conn->parser.used;
        resp_parser_next(&conn->parser);
      }
    } else if (parsed == RESP_BROKEN) {
      stalled = conn->pending > 0;
      if (!stalled) {
        status = resp_error(&conn->out, "ERR %s", conn->parser.error);
        server_notice(server, RESP_DEBUG, "connection %llu from %s is closed: %s", (unsigned long long)conn->id,
                      conn->address, conn->parser.error);
        conn->close_after = true;
      }
    }
    if (status != TOON_OK) {
      conn_close(conn);
      return;
    }
    if (conn_out_bytes(conn) > server->options.output_max) {
      close_overfull(conn);
      return;
    }
    if (stalled) {
      keep_parsed(conn);
      break;
    }
    if (conn->out.len >= OUT_ENOUGH) conn_flush(conn);
  }
  if (conn->closing) return;
  if (!conn->pending) conn->kept = conn->taken;
  if (conn->kept == conn->in.len && conn->in.ptr) {
    conn->base += conn->kept;
    conn->kept = conn->taken = conn->in.len = 0;
    give_back(server, &conn->in);
  }
  /* A client that has sent its end gets what it has asked for; a login that waits behind others is not worth it. */
  if (conn->eof && ((!stalled && !conn->pending) || conn->asking == ASK_QUEUED)) conn->close_after = true;
  conn_flush(conn);
  if (conn->closing || conn->refused) return;
  bool reading = !conn->close_after && !conn->eof && (!stalled || conn->in.len - conn->taken < IN_ENOUGH);
  if (reading == conn->reading) return;
  conn->reading = reading;
  if (!reading)
    uv_read_stop(&conn->io.stream);
  else if (uv_read_start(&conn->io.stream, on_alloc, on_read) < 0)
    conn_close(conn);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  resp_conn *conn = (resp_conn *)handle->data;
  (void)suggested;
  if (!conn->in.ptr && conn->server->spare_count) conn->in = conn->server->spares[--conn->server->spare_count];
  if (conn->kept > conn->in.len / 2) {
    memmove(conn->in.ptr, conn->in.ptr + conn->kept, conn->in.len - conn->kept);
    conn->in.len -= conn->kept;
    conn->taken -= conn->kept;
    conn->base += conn->kept;
    conn->kept = 0;
  }
  size_t room = conn->in.len < QUERY_MAX ? READ_SIZE : 0; /* no room is UV_ENOBUFS, which closes */
  if (room && toon_buf_reserve(&conn->in, room) != TOON_OK) room = 0;
  size_t free_bytes = conn->in.cap - conn->in.len;
  if (free_bytes > INT32_MAX) free_bytes = INT32_MAX;
  *buf = uv_buf_init(room ? (char *)conn->in.ptr + conn->in.len : NULL, room ? (unsigned)free_bytes : 0);
}

/* The index is asked for the key of a command that has just come, while other connections are read from: the misses of a turn
 * overlap. What is parsed here is not parsed again. */
static void look_ahead(resp_conn *conn) {
  toon_slice input = toon_slice_of(conn->in.ptr, conn->in.len);
  if (conn->taken || conn->pending || conn->parser.used || input.ptr[0] != '*') return;
  conn->parser.anonymous = conn->role == RESP_NONE;
  resp_parsed parsed = resp_parse(&conn->parser, input);
  if (parsed == RESP_BROKEN || parsed == RESP_NOMEM) resp_parser_next(&conn->parser); /* it is told in its turn */
  if (parsed != RESP_COMMAND || conn->parser.count < 2) return;
  const command *c = command_find(resp_arg(&conn->parser, input, 0));
  toon_slice key = resp_arg(&conn->parser, input, 1);
  if (c && c->first == 1 && c->flags & COMMAND_READONLY && key.len <= TOON_KEY_MAX)
    toon_prefetch(conn->server->db, toon_user_key(key.ptr, key.len));
}

void conns_work_ready(resp_server *server) {
  resp_conn *conn = server->ready, *next;
  server->ready = NULL;
  server->ready_end = &server->ready;
  for (; conn; conn = next) { /* a connection that was closed meanwhile is freed after this */
    next = conn->next_ready;
    conn->ready = false;
    if (!conn->closing) conn_work(conn);
  }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  resp_conn *conn = (resp_conn *)stream->data;
  (void)buf;
  if (n == UV_EOF) {
    conn->eof = true;
    conn->reading = false;
    uv_read_stop(stream);
    conn_work(conn);
    return;
  }
  if (n < 0) {
    conn_close(conn);
    return;
  }
  conn->in.len += (size_t)n;
  conn->server->counters.in_bytes += (uint64_t)n;
  conn->active = uv_now(&conn->server->loop);
  if (n == 0 || conn->ready) return;
  conn->ready = true;
  conn->next_ready = NULL;
  *conn->server->ready_end = conn;
  conn->server->ready_end = &conn->next_ready;
  look_ahead(conn);
}

/* ---- coming and going ---- */

static void address_text(const struct sockaddr_storage *address, char out[CONN_ADDRESS_MAX]) {
  char text[64] = "?";
  if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
    uv_ip6_name(in, text, sizeof text);
    snprintf(out, CONN_ADDRESS_MAX, "[%s]:%u", text, ntohs(in->sin6_port));
  } else {
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    uv_ip4_name(in, text, sizeof text);
    snprintf(out, CONN_ADDRESS_MAX, "%s:%u", text, ntohs(in->sin_port));
  }
}

static void tell_addresses(resp_conn *conn) {
  struct sockaddr_storage end;
  int length = sizeof end;
  if (uv_tcp_getpeername(&conn->io.tcp, (struct sockaddr *)&end, &length) == 0) address_text(&end, conn->address);
  length = sizeof end;
  if (uv_tcp_getsockname(&conn->io.tcp, (struct sockaddr *)&end, &length) == 0) address_text(&end, conn->local);
}

static void refused(uv_handle_t *handle) {
  resp_server *server = (resp_server *)handle->data;
  bool pipe = handle == &server->refuse[1].io.handle, again = server->refuse[pipe].again;
  server->refuse[pipe].busy = server->refuse[pipe].again = false;
  if (again && !server->closing) server_accept(server, pipe);
}

/* Take a connection off its listener, which would not tell of others before, and close it. */
static void refuse(resp_server *server, uv_stream_t *listener) {
  bool pipe = listener->type != UV_TCP;
  if (server->refuse[pipe].busy) {
    server->refuse[pipe].again = true;
    return;
  }
  if (pipe)
    uv_pipe_init(&server->loop, &server->refuse[pipe].io.pipe, 0);
  else
    uv_tcp_init(&server->loop, &server->refuse[pipe].io.tcp);
  server->refuse[pipe].io.handle.data = server;
  server->refuse[pipe].busy = true;
  server->counters.rejected++;
  (void)uv_accept(listener, &server->refuse[pipe].io.stream);
  uv_close(&server->refuse[pipe].io.handle, refused);
}

void conn_accept(resp_server *server, uv_stream_t *listener, int fd, const char *address) {
  resp_conn *conn = (resp_conn *)toon_calloc(1, sizeof *conn);
  if (!conn) {
    if (listener)
      refuse(server, listener);
    else
      close(fd);
    return;
  }
  bool tcp = listener && listener->type == UV_TCP;
  if (tcp)
    uv_tcp_init(&server->loop, &conn->io.tcp);
  else
    uv_pipe_init(&server->loop, &conn->io.pipe, 0);
  conn->io.handle.data = conn;
  conn->server = server;
  conn->id = ++server->last_id;
  conn->version = 2;
  conn->born = conn->active = uv_now(&server->loop);
  conn->role = server->options.auth ? RESP_NONE : RESP_ADMIN;
  if (conn->role) memcpy(conn->user, "default", sizeof "default");
  snprintf(conn->address, sizeof conn->address, "%s", address ? address : "?");
  snprintf(conn->local, sizeof conn->local, "%s", address ? address : "?");
  resp_parser_init(&conn->parser);
  conn->next = server->conns;
  conn->link = &server->conns;
  if (conn->next) conn->next->link = &conn->next;
  server->conns = conn;
  server->conn_count++;
  server->counters.connections++;
  if ((listener ? uv_accept(listener, &conn->io.stream) : uv_pipe_open(&conn->io.pipe, fd)) < 0) {
    if (!listener) close(fd);
    conn_close(conn);
    return;
  }
  if (tcp) {
    uv_tcp_nodelay(&conn->io.tcp, 1);
    if (server->options.keepalive) uv_tcp_keepalive(&conn->io.tcp, 1, server->options.keepalive);
    tell_addresses(conn);
  }
  server_notice(server, RESP_DEBUG, "connection %llu from %s", (unsigned long long)conn->id, conn->address);
  if (server->conn_count > server->options.max_clients) {
    server->counters.rejected++;
    conn->close_after = conn->refused = true;
    if (resp_error(&conn->out, "ERR max number of clients reached") != TOON_OK) conn_close(conn);
    conn_flush(conn);
    return;
  }
  conn->reading = true;
  if (uv_read_start(&conn->io.stream, on_alloc, on_read) < 0) conn_close(conn);
}

void conns_check(resp_server *server) {
  uint64_t now = uv_now(&server->loop), silence = (uint64_t)server->options.timeout * 1000;
  resp_conn *next;
  for (resp_conn *conn = server->conns; conn; conn = next) {
    next = conn->next;
    bool busy = conn->pending || conn_waits(conn) || conn->monitor || pubsub_list_count(&conn->topics);
    if (conn->swelling && now - conn->swelling > SWELL_MS)
      close_overfull(conn);
    else if (silence && !busy && now - conn->active > silence)
      conn_close(conn);
  }
}
