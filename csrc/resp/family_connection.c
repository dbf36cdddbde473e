/* Commands about the connection and the server. */
#include "resp/command.h"

#include <stdio.h>

toon_status command_ping(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  if (call->count > 2) return resp_error(out, "ERR wrong number of arguments for 'ping' command");
  return call->count == 2 ? resp_bulk(out, call_arg(call, 1)) : resp_status(out, "PONG");
}

toon_status command_echo(command_call *call) { return resp_bulk(conn_out(call->conn), call_arg(call, 1)); }

toon_status command_quit(command_call *call) {
  conn_close_after_reply(call->conn);
  return resp_status(conn_out(call->conn), "OK");
}

toon_status command_reset(command_call *call) {
  conn_set_version(call->conn, 2);
  conn_name(call->conn)->len = 0;
  return resp_status(conn_out(call->conn), "RESET");
}

toon_status command_select(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int64_t number;
  if (!resp_integer(call_arg(call, 1), &number)) return resp_error(out, "ERR value is not an integer or out of range");
  return number == 0 ? resp_status(out, "OK") : resp_error(out, "ERR DB index is out of range");
}

/* Set the connection's name; *status is that of the error reply if it is refused. */
static bool set_name(command_call *call, toon_slice name, toon_status *status) {
  for (size_t i = 0; i < name.len; i++) {
    if (name.ptr[i] < '!' || name.ptr[i] > '~') {
      *status =
          resp_error(conn_out(call->conn), "ERR Client names cannot contain spaces, newlines or special characters.");
      return false;
    }
  }
  conn_name(call->conn)->len = 0;
  *status = toon_buf_add(conn_name(call->conn), name);
  return *status == TOON_OK;
}

static toon_status text(toon_buf *out, const char *s) { return resp_bulk(out, toon_slice_of(s, strlen(s))); }

/* HELLO [version [AUTH user password] [SETNAME name]] */
toon_status command_hello(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int64_t version = conn_version(call->conn);
  toon_status status;
  if (call->count > 1) {
    if (!resp_integer(call_arg(call, 1), &version))
      return resp_error(out, "ERR Protocol version is not an integer or out of range");
    if (version != 2 && version != 3) return resp_error(out, "NOPROTO unsupported protocol version");
  }
  toon_slice name = {0};
  bool named = false;
  for (size_t i = 2; i < call->count; i++) {
    if (command_word(call_arg(call, i), "auth") && i + 2 < call->count) {
      if (!toon_slice_eq(call_arg(call, i + 1), TOON_SLICE_LIT("default")))
        return resp_error(out, "WRONGPASS invalid username-password pair or user is disabled.");
      i += 2;
    } else if (command_word(call_arg(call, i), "setname") && i + 1 < call->count) {
      name = call_arg(call, ++i);
      named = true;
    } else {
      toon_slice option = call_arg(call, i);
      return resp_error(out, "ERR Syntax error in HELLO option '%.*s'", (int)(option.len < 128 ? option.len : 128),
                        (const char *)option.ptr);
    }
  }
  if (named && !set_name(call, name, &status)) return status;
  conn_set_version(call->conn, (int)version);
  TOON_TRY(resp_map(out, (int)version, 7));
  TOON_TRY(text(out, "server"));
  TOON_TRY(text(out, "redis"));
  TOON_TRY(text(out, "version"));
  TOON_TRY(text(out, "7.0.0"));
  TOON_TRY(text(out, "proto"));
  TOON_TRY(resp_int(out, version));
  TOON_TRY(text(out, "id"));
  TOON_TRY(resp_int(out, (int64_t)conn_id(call->conn)));
  TOON_TRY(text(out, "mode"));
  TOON_TRY(text(out, "standalone"));
  TOON_TRY(text(out, "role"));
  TOON_TRY(text(out, "master"));
  TOON_TRY(text(out, "modules"));
  return resp_array(out, 0);
}

/* CLIENT ID | GETNAME | SETNAME name | SETINFO attribute value */
toon_status command_client(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  toon_slice which = call_arg(call, 1);
  toon_status status;
  if (command_word(which, "id") && call->count == 2) return resp_int(out, (int64_t)conn_id(call->conn));
  if (command_word(which, "getname") && call->count == 2) {
    toon_buf *name = conn_name(call->conn);
    return name->len ? resp_bulk(out, toon_buf_slice(name)) : resp_null(out, conn_version(call->conn));
  }
  if (command_word(which, "setname") && call->count == 3)
    return set_name(call, call_arg(call, 2), &status) ? resp_status(out, "OK") : status;
  if (command_word(which, "setinfo") && call->count == 4) return resp_status(out, "OK");
  return resp_error(out, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try CLIENT HELP.",
                    (int)(which.len < 128 ? which.len : 128), (const char *)which.ptr);
}

/* What COMMAND tells of one command. */
static toon_status describe(toon_buf *out, const command *c) {
  TOON_TRY(resp_array(out, 6));
  TOON_TRY(text(out, c->name));
  TOON_TRY(resp_int(out, c->arity));
  bool kind = (c->flags & (COMMAND_WRITE | COMMAND_READONLY)) != 0, fast = (c->flags & COMMAND_FAST) != 0;
  TOON_TRY(resp_array(out, (size_t)kind + fast));
  if (kind) TOON_TRY(resp_status(out, c->flags & COMMAND_WRITE ? "write" : "readonly"));
  if (fast) TOON_TRY(resp_status(out, "fast"));
  TOON_TRY(resp_int(out, c->first));
  TOON_TRY(resp_int(out, c->last));
  return resp_int(out, c->step);
}

static toon_status document(toon_buf *out, int version, const command *c) {
  TOON_TRY(text(out, c->name));
  TOON_TRY(resp_map(out, version, 3));
  TOON_TRY(text(out, "summary"));
  TOON_TRY(text(out, c->summary));
  TOON_TRY(text(out, "since"));
  TOON_TRY(text(out, c->since));
  TOON_TRY(text(out, "group"));
  return text(out, c->family);
}

/* COMMAND | COMMAND COUNT | COMMAND INFO [name…] | COMMAND DOCS [name…] */
toon_status command_command(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int version = conn_version(call->conn);
  size_t count, known = 0;
  const command *all = command_table(&count);
  toon_slice which = call->count > 1 ? call_arg(call, 1) : TOON_SLICE_LIT("info");
  if (command_word(which, "count") && call->count == 2) return resp_int(out, (int64_t)count);
  bool docs = command_word(which, "docs");
  if (!docs && !command_word(which, "info")) {
    return resp_error(out, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try COMMAND HELP.",
                      (int)(which.len < 128 ? which.len : 128), (const char *)which.ptr);
  }
  if (call->count <= 2) {
    TOON_TRY(docs ? resp_map(out, version, count) : resp_array(out, count));
    for (size_t i = 0; i < count; i++) TOON_TRY(docs ? document(out, version, &all[i]) : describe(out, &all[i]));
    return TOON_OK;
  }
  for (size_t i = 2; i < call->count; i++) known += command_find(call_arg(call, i)) != NULL;
  TOON_TRY(docs ? resp_map(out, version, known) : resp_array(out, call->count - 2));
  for (size_t i = 2; i < call->count; i++) {
    const command *c = command_find(call_arg(call, i));
    if (c)
      TOON_TRY(docs ? document(out, version, c) : describe(out, c));
    else if (!docs)
      TOON_TRY(version == 3 ? resp_null(out, 3) : toon_buf_lit(out, "*-1\r\n"));
  }
  return TOON_OK;
}

toon_status command_info(command_call *call) {
  toon_buf facts = {0};
  toon_error err;
  uint64_t size;
  toon_status status = toon_size(call->db, TOON_SPACE_USER, &size, &err);
  if (status != TOON_OK) return command_fail(call, &err);
  status = toon_buf_printf(&facts,
                           "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\ntoonstore_version:%s\r\n"
                           "\r\n# Persistence\r\nloading:0\r\n\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n"
                           "\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n# Keyspace\r\n",
                           TOON_VERSION);
  if (status == TOON_OK && size) {
    status = toon_buf_printf(&facts, "db0:keys=%llu,expires=0,avg_ttl=0\r\n", (unsigned long long)size);
  }
  if (status == TOON_OK) status = resp_bulk(conn_out(call->conn), toon_buf_slice(&facts));
  toon_buf_free(&facts);
  return status;
}

toon_status command_dbsize(command_call *call) {
  uint64_t size;
  toon_error err;
  if (toon_size(call->db, TOON_SPACE_USER, &size, &err) != TOON_OK) return command_fail(call, &err);
  return resp_int(conn_out(call->conn), (int64_t)size);
}

toon_status command_time(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int64_t now = toon_now(call->db);
  char digits[24];
  TOON_TRY(resp_array(out, 2));
  snprintf(digits, sizeof digits, "%lld", (long long)(now / 1000));
  TOON_TRY(text(out, digits));
  snprintf(digits, sizeof digits, "%lld", (long long)(now % 1000 * 1000));
  return text(out, digits);
}
