/* Commands about the connections of others: CLIENT LIST, INFO and KILL, and MONITOR. */
#include "resp/connection.h"

#include "base/alloc.h"

#include <stdio.h>

static toon_status describe(toon_buf *out, const resp_conn *conn) {
  uint64_t now = uv_now(&conn->server->loop);
  char flags[16], *flag = flags;
  int queued = multi_count(conn);
  if (conn->monitor) *flag++ = 'O';
  if (pubsub_list_count(&conn->topics)) *flag++ = 'P';
  if (queued >= 0) *flag++ = 'x';
  if (conn->close_after) *flag++ = 'c';
  if (conn->no_evict) *flag++ = 'e';
  if (conn->no_touch) *flag++ = 'T';
  if (conn->io.handle.type == UV_NAMED_PIPE) *flag++ = 'U';
  if (flag == flags) *flag++ = 'N';
  *flag = 0;
  return toon_buf_printf(
      out,
      "id=%llu addr=%s laddr=%s fd=-1 name=%.*s age=%llu idle=%llu flags=%s db=0 sub=%zu psub=%zu ssub=0 multi=%d "
      "qbuf=%zu qbuf-free=%zu "
      "argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=%zu oll=0 omem=%zu tot-mem=%zu events=%s cmd=%s user=%s redir=-1 resp=%d "
      "lib-name=%.*s lib-ver=%.*s\n",
      (unsigned long long)conn->id, conn->address, conn->local, (int)conn->name.len, (const char *)conn->name.ptr,
      (unsigned long long)(now - conn->born) / 1000, (unsigned long long)(now - conn->active) / 1000, flags,
      conn->topics.counts[PUBSUB_CHANNEL], conn->topics.counts[PUBSUB_PATTERN], queued, conn->in.len - conn->taken,
      conn->in.cap - conn->in.len, conn->out.len, conn->flying.len,
      sizeof *conn + conn->in.cap + conn->out.cap + conn->flying.cap, conn->flying.len ? "rw" : "r",
      conn->command ? conn->command->name : "NULL", conn->role ? conn->user : "(none)", conn->version,
      (int)conn->library.len, (const char *)conn->library.ptr, (int)conn->library_version.len,
      (const char *)conn->library_version.ptr);
}

static toon_status reply_text(command_call *call, toon_buf *lines, toon_status status) {
  if (status == TOON_OK) status = resp_text(conn_out(call->conn), conn_version(call->conn), toon_buf_slice(lines));
  toon_buf_free(lines);
  return status;
}

toon_status command_client_info(command_call *call) {
  toon_buf line = {0};
  return reply_text(call, &line, describe(&line, call->conn));
}

/* Types as CLIENT LIST and KILL take them: subscribers (in RESP2 and RESP3) and all others. There are no masters or replicas. */
typedef enum client_type { TYPE_ANY, TYPE_NORMAL, TYPE_PUBSUB, TYPE_NONE } client_type;

static bool is_type(const resp_conn *conn, client_type type) {
  return type == TYPE_ANY || type == (pubsub_list_count(&conn->topics) ? TYPE_PUBSUB : TYPE_NORMAL);
}

/* False, with the error reply, for one that is unknown. */
static bool read_type(command_call *call, toon_slice word, client_type *type, toon_status *status) {
  *type = command_word(word, "normal")                                                                   ? TYPE_NORMAL
          : command_word(word, "pubsub")                                                                 ? TYPE_PUBSUB
          : command_word(word, "master") || command_word(word, "replica") || command_word(word, "slave") ? TYPE_NONE
                                                                                                         : TYPE_ANY;
  if (*type != TYPE_ANY) return true;
  *status = resp_error(conn_out(call->conn), "ERR Unknown client type '%.*s'", (int)(word.len < 128 ? word.len : 128),
                       (const char *)word.ptr);
  return false;
}

/* The connections of some ids. The list has the newest first, which is the order of falling ids. */
static toon_status list_ids(command_call *call, toon_buf *lines) {
  resp_server *server = call->conn->server;
  toon_status status = TOON_OK;
  size_t count = 0;
  for (size_t i = 3; i < call->count; i++) {
    int64_t id;
    if (!resp_integer(call_arg(call, i), &id)) return command_error(call, "ERR Invalid client ID");
  }
  const resp_conn **all = (const resp_conn **)toon_malloc((server->conn_count + 1) * sizeof(resp_conn *));
  if (!all) return TOON_ENOMEM;
  for (const resp_conn *conn = server->conns; conn; conn = conn->next) all[count++] = conn;
  for (size_t i = 3; i < call->count && status == TOON_OK; i++) {
    int64_t id = 0;
    size_t low = 0, high = count;
    (void)resp_integer(call_arg(call, i), &id);
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      if (all[middle]->id > (uint64_t)id)
        low = middle + 1;
      else
        high = middle;
    }
    if (low == count || all[low]->id != (uint64_t)id) continue;
    status = command_overfull(call, lines->len) ? TOON_ENOMEM : describe(lines, all[low]);
  }
  toon_free((void *)all);
  return status;
}

/* CLIENT LIST [TYPE type] [ID id…] */
toon_status command_client_list(command_call *call) {
  toon_buf lines = {0};
  toon_status status = TOON_OK;
  client_type type = TYPE_ANY;
  if (call->count >= 4 && command_word(call_arg(call, 2), "id")) {
    status = list_ids(call, &lines);
    return reply_text(call, &lines, status);
  }
  if (call->count == 4 && command_word(call_arg(call, 2), "type")) {
    if (!read_type(call, call_arg(call, 3), &type, &status)) return status;
  } else if (call->count != 2) {
    return command_syntax_error(call);
  }
  for (const resp_conn *conn = call->conn->server->conns; conn && status == TOON_OK; conn = conn->next)
    if (is_type(conn, type)) status = describe(&lines, conn);
  return reply_text(call, &lines, status);
}

typedef struct kill_options {
  toon_slice address, local, user;
  int64_t id;
  client_type type;
  bool by_id, by_address, by_local, by_user, keep_me;
} kill_options;

static bool read_kill(command_call *call, kill_options *o, toon_status *status) {
  toon_buf *out = conn_out(call->conn);
  *o = (kill_options){.keep_me = true};
  for (size_t i = 2; i + 1 < call->count; i += 2) {
    toon_slice what = call_arg(call, i), value = call_arg(call, i + 1);
    if (command_word(what, "id")) {
      if (!resp_integer(value, &o->id) || o->id < 1) {
        *status = resp_error(out, "ERR client-id should be greater than 0");
        return false;
      }
      o->by_id = true;
    } else if (command_word(what, "addr")) {
      o->address = value;
      o->by_address = true;
    } else if (command_word(what, "laddr")) {
      o->local = value;
      o->by_local = true;
    } else if (command_word(what, "user")) {
      o->user = value;
      o->by_user = true;
    } else if (command_word(what, "type")) {
      if (!read_type(call, value, &o->type, status)) return false;
    } else if (command_word(what, "skipme") && (command_word(value, "yes") || command_word(value, "no"))) {
      o->keep_me = command_word(value, "yes");
    } else {
      *status = resp_error(out, "ERR syntax error");
      return false;
    }
  }
  return true;
}

static bool is_text(toon_slice a, const char *text) { return toon_slice_eq(a, toon_slice_of(text, strlen(text))); }

/* CLIENT KILL address | CLIENT KILL [ID id] [ADDR address] [LADDR address] [USER user] [TYPE type] [SKIPME yes | no] */
toon_status command_client_kill(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  kill_options o = {.by_address = true, .address = call_arg(call, 2)};
  toon_status status;
  int64_t killed = 0;
  resp_conn *next;
  if (call->count > 3 && call->count % 2) return resp_error(out, "ERR syntax error");
  if (call->count > 3 && !read_kill(call, &o, &status)) return status;
  for (resp_conn *conn = call->conn->server->conns; conn; conn = next) {
    next = conn->next;
    if (!is_type(conn, o.type) || (o.keep_me && conn == call->conn) || (o.by_id && conn->id != (uint64_t)o.id) ||
        (o.by_address && !is_text(o.address, conn->address)) || (o.by_local && !is_text(o.local, conn->local)) ||
        (o.by_user && (!conn->role || !is_text(o.user, conn->user))))
      continue;
    killed++;
    if (conn == call->conn)
      conn_close_after_reply(conn);
    else
      conn_close(conn);
  }
  if (call->count > 3) return resp_int(out, killed);
  return killed ? resp_status(out, "OK") : resp_error(out, "ERR No such client");
}

toon_status command_monitor(command_call *call) {
  resp_conn *conn = call->conn;
  if (!conn->monitor) conn->server->monitors++;
  conn->monitor = true;
  return resp_status(conn_out(conn), "OK");
}
