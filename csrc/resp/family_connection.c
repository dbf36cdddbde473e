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

toon_status command_client_id(command_call *call) {
  return resp_int(conn_out(call->conn), (int64_t)conn_id(call->conn));
}

toon_status command_client_getname(command_call *call) {
  toon_buf *out = conn_out(call->conn), *name = conn_name(call->conn);
  return name->len ? resp_bulk(out, toon_buf_slice(name)) : resp_null(out, conn_version(call->conn));
}

toon_status command_client_setname(command_call *call) {
  toon_status status;
  return set_name(call, call_arg(call, 2), &status) ? resp_status(conn_out(call->conn), "OK") : status;
}

toon_status command_client_setinfo(command_call *call) { return resp_status(conn_out(call->conn), "OK"); }

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
