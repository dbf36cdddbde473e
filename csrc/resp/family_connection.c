/* Commands about this connection: its protocol, who it is, how it is answered. */
#include "resp/connection.h"

#include <stdio.h>

#define WRONGPASS "WRONGPASS invalid username-password pair or user is disabled."

static toon_status text(toon_buf *out, const char *s) { return resp_bulk(out, toon_slice_of(s, strlen(s))); }
static toon_status ok(const command_call *call) { return resp_status(conn_out(call->conn), "OK"); }

toon_status command_ping(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  if (call->count > 2) return resp_error(out, "ERR wrong number of arguments for 'ping' command");
  if (call->conn->version == 2 &&
      pubsub_list_count(&call->conn->topics)) { /* every reply is of the form of a message */
    TOON_TRY(resp_array(out, 2));
    TOON_TRY(text(out, "pong"));
    return resp_bulk(out, call->count == 2 ? call_arg(call, 1) : TOON_SLICE_LIT(""));
  }
  return call->count == 2 ? resp_bulk(out, call_arg(call, 1)) : resp_status(out, "PONG");
}

toon_status command_echo(command_call *call) { return resp_bulk(conn_out(call->conn), call_arg(call, 1)); }

toon_status command_quit(command_call *call) {
  conn_close_after_reply(call->conn);
  return ok(call);
}

/* Everything as it was when the connection was made; its pushes end too. */
toon_status command_reset(command_call *call) {
  resp_conn *conn = call->conn;
  multi_free(conn);
  pubsub_leave(conn);
  conn->version = 2;
  conn->name.len = 0;
  if (conn->monitor) conn->server->monitors--;
  conn->monitor = conn->mute = conn->mute_next = conn->mute_this = conn->no_evict = conn->no_touch = false;
  conn->role = conn->server->options.auth ? RESP_NONE : RESP_ADMIN;
  snprintf(conn->user, sizeof conn->user, "%s", conn->role ? "default" : "");
  return resp_status(conn_out(conn), "RESET");
}

toon_status command_select(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int64_t number;
  if (!resp_integer(call_arg(call, 1), &number)) return resp_error(out, "ERR value is not an integer or out of range");
  return number == 0 ? resp_status(out, "OK") : resp_error(out, "ERR DB index is out of range");
}

/* ---- logging in ---- */

typedef enum login { LOGIN_WAITS, LOGIN_YES, LOGIN_NO } login;

static login log_in(command_call *call, toon_slice user, toon_slice password) {
  resp_conn *conn = call->conn;
  resp_server *server = conn->server;
  int role;
  if (!server->options.auth) return toon_slice_eq(user, TOON_SLICE_LIT("default")) ? LOGIN_YES : LOGIN_NO;
  if (!conn_answered(conn, &role)) {
    if (!conn_ask_login(conn)) return LOGIN_WAITS;
    server_event(server, &(resp_event){.kind = RESP_EVENT_AUTH, .conn = conn->id, .user = user, .password = password});
    return LOGIN_WAITS;
  }
  if (role == RESP_NONE || user.len >= CONN_USER_MAX) {
    /* Without the name: people type passwords in its place. */
    server_notice(server, RESP_WARNING, "connection %llu from %s: a login was refused", (unsigned long long)conn->id,
                  conn->address);
    return LOGIN_NO;
  }
  conn->role = (resp_role)role;
  memcpy(conn->user, user.ptr, user.len);
  conn->user[user.len] = 0;
  return LOGIN_YES;
}

/* AUTH [user] password */
toon_status command_auth(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  if (call->count > 3) return resp_error(out, "ERR syntax error");
  if (call->count == 2 && !call->conn->server->options.auth) {
    return resp_error(out,
                      "ERR AUTH <password> called without any password configured for the default user. Are you sure "
                      "your configuration is correct?");
  }
  toon_slice user = call->count == 3 ? call_arg(call, 1) : TOON_SLICE_LIT("default");
  switch (log_in(call, user, call_arg(call, call->count - 1))) {
  case LOGIN_WAITS: return TOON_OK;
  case LOGIN_YES: return ok(call);
  default: return resp_error(out, WRONGPASS);
  }
}

toon_status command_acl_whoami(command_call *call) { return text(conn_out(call->conn), call->conn->user); }

/* A name as CLIENT LIST can show it. */
static bool presentable(toon_slice name) {
  for (size_t i = 0; i < name.len; i++)
    if (name.ptr[i] < '!' || name.ptr[i] > '~') return false;
  return true;
}

static toon_status note(toon_buf *to, toon_slice name) {
  to->len = 0;
  return toon_buf_add(to, name);
}

#define BAD_NAME "ERR Client names cannot contain spaces, newlines or special characters."

typedef struct hello_options {
  int64_t version;
  toon_slice user, password, name;
  bool login, named;
} hello_options;

static bool read_hello(command_call *call, hello_options *o, toon_status *status) {
  toon_buf *out = conn_out(call->conn);
  *o = (hello_options){.version = conn_version(call->conn)};
  *status = TOON_OK;
  if (call->count > 1 && !resp_integer(call_arg(call, 1), &o->version))
    *status = resp_error(out, "ERR Protocol version is not an integer or out of range");
  else if (o->version != 2 && o->version != 3)
    *status = resp_error(out, "NOPROTO unsupported protocol version");
  else {
    for (size_t i = 2; i < call->count; i++) {
      toon_slice option = call_arg(call, i);
      if (command_word(option, "auth") && i + 2 < call->count) {
        o->user = call_arg(call, i + 1);
        o->password = call_arg(call, i + 2);
        o->login = true;
        i += 2;
      } else if (command_word(option, "setname") && i + 1 < call->count) {
        o->name = call_arg(call, ++i);
        o->named = true;
      } else {
        *status = resp_error(out, "ERR Syntax error in HELLO option '%.*s'", (int)(option.len < 128 ? option.len : 128),
                             (const char *)option.ptr);
        return false;
      }
    }
    if (!o->named || presentable(o->name)) return true;
    *status = resp_error(out, BAD_NAME);
  }
  return false;
}

/* HELLO [version [AUTH user password] [SETNAME name]] */
toon_status command_hello(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  hello_options o;
  toon_status status;
  if (!read_hello(call, &o, &status)) return status;
  if (o.login) {
    login result = log_in(call, o.user, o.password);
    if (result != LOGIN_YES) return result == LOGIN_WAITS ? TOON_OK : resp_error(out, WRONGPASS);
  } else if (call->conn->role == RESP_NONE) {
    return resp_error(out,
                      "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> "
                      "AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol "
                      "version at the same time");
  }
  if (o.named) TOON_TRY(note(conn_name(call->conn), o.name));
  conn_set_version(call->conn, (int)o.version);
  TOON_TRY(resp_map(out, (int)o.version, 7));
  TOON_TRY(text(out, "server"));
  TOON_TRY(text(out, "redis"));
  TOON_TRY(text(out, "version"));
  TOON_TRY(text(out, "7.0.0"));
  TOON_TRY(text(out, "proto"));
  TOON_TRY(resp_int(out, o.version));
  TOON_TRY(text(out, "id"));
  TOON_TRY(resp_int(out, (int64_t)conn_id(call->conn)));
  TOON_TRY(text(out, "mode"));
  TOON_TRY(text(out, "standalone"));
  TOON_TRY(text(out, "role"));
  TOON_TRY(text(out, "master"));
  TOON_TRY(text(out, "modules"));
  return resp_array(out, 0);
}

/* ---- CLIENT, about oneself ---- */

toon_status command_client_id(command_call *call) {
  return resp_int(conn_out(call->conn), (int64_t)conn_id(call->conn));
}

toon_status command_client_getname(command_call *call) {
  toon_buf *out = conn_out(call->conn), *name = conn_name(call->conn);
  return name->len ? resp_bulk(out, toon_buf_slice(name)) : resp_null(out, conn_version(call->conn));
}

toon_status command_client_setname(command_call *call) {
  if (!presentable(call_arg(call, 2))) return resp_error(conn_out(call->conn), BAD_NAME);
  TOON_TRY(note(conn_name(call->conn), call_arg(call, 2)));
  return ok(call);
}

toon_status command_client_setinfo(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  toon_slice which = call_arg(call, 2);
  bool library = command_word(which, "lib-name");
  if (!library && !command_word(which, "lib-ver")) {
    return resp_error(out, "ERR Unrecognized option '%.*s'", (int)(which.len < 128 ? which.len : 128),
                      (const char *)which.ptr);
  }
  if (!presentable(call_arg(call, 3))) {
    return resp_error(out, "ERR %s cannot contain spaces, newlines or special characters.",
                      library ? "lib-name" : "lib-ver");
  }
  TOON_TRY(note(library ? &call->conn->library : &call->conn->library_version, call_arg(call, 3)));
  return ok(call);
}

toon_status command_client_getredir(command_call *call) { return resp_int(conn_out(call->conn), -1); }

/* ON or OFF in the argument; false with the error reply. */
static bool on_off(command_call *call, bool *on, toon_status *status) {
  *on = command_word(call_arg(call, 2), "on");
  if (*on || command_word(call_arg(call, 2), "off")) return true;
  *status = resp_error(conn_out(call->conn), "ERR syntax error");
  return false;
}

/* Nothing is evicted here, and nothing notes when a key was used: both are remembered and have no effect. */
toon_status command_client_no_evict(command_call *call) {
  toon_status status;
  return on_off(call, &call->conn->no_evict, &status) ? ok(call) : status;
}

toon_status command_client_no_touch(command_call *call) {
  toon_status status;
  return on_off(call, &call->conn->no_touch, &status) ? ok(call) : status;
}

/* CLIENT REPLY ON | OFF | SKIP: the next command, or all from now on, have no reply. */
toon_status command_client_reply(command_call *call) {
  resp_conn *conn = call->conn;
  toon_slice how = call_arg(call, 2);
  if (command_word(how, "on")) {
    conn->mute = conn->mute_this = false;
    return ok(call);
  }
  if (command_word(how, "off"))
    conn->mute = true;
  else if (command_word(how, "skip"))
    conn->mute_next = !conn->mute;
  else
    return resp_error(conn_out(conn), "ERR syntax error");
  return TOON_OK;
}
