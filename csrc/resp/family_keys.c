/* Commands on keys of any kind, and on their expiry. */
#include "resp/command.h"

toon_status command_del(command_call *call) {
  int64_t count = 0;
  for (size_t i = 1; i < call->count; i++) {
    toon_key key;
    bool found;
    TOON_TRY(command_key(call, i, &key));
    TOON_TRY(data_has(call, key, &found));
    if (!found) continue;
    count++;
    TOON_TRY(data_delete(call, key));
  }
  return resp_int(call->out, count);
}

toon_status command_exists(command_call *call) {
  int64_t count = 0;
  if (call->count > 2) TOON_TRY(data_snapshot(call));
  for (size_t i = 1; i < call->count; i++) {
    toon_key key;
    bool found;
    TOON_TRY(command_key(call, i, &key));
    TOON_TRY(data_has(call, key, &found));
    count += found;
  }
  return resp_int(call->out, count);
}

static const char *type_name(toon_kind kind) { return kind == TOON_OBJECT ? "hash" : "string"; }

/* Kind and expiry of argument 1. */
static toon_status read_facts(command_call *call, toon_key *key, toon_kind *kind, int64_t *expires_at, bool *found) {
  data_row row;
  TOON_TRY(command_key(call, 1, key));
  TOON_TRY(data_get(call, *key, &row, found));
  *kind = toon_row_kind(&row.row);
  *expires_at = row.row.expires_at;
  data_release(call, &row);
  return TOON_OK;
}

toon_status command_type(command_call *call) {
  toon_key key;
  toon_kind kind;
  int64_t at;
  bool found;
  TOON_TRY(read_facts(call, &key, &kind, &at, &found));
  return resp_status(call->out, found ? type_name(kind) : "none");
}

/* ---- copying ---- */

toon_status command_rename(command_call *call) {
  toon_key from, to;
  data_row row;
  bool found, there = false, only_new = command_word(call_arg(call, 0), "renamenx");
  TOON_TRY(command_key(call, 1, &from));
  TOON_TRY(command_key(call, 2, &to));
  toon_status status = data_get(call, from, &row, &found);
  if (status == TOON_OK && !found) status = command_error(call, "ERR no such key");
  bool same = toon_key_eq(from, to);
  if (status == TOON_OK && only_new && !same) status = data_has(call, to, &there);
  bool done = !only_new || !(there || same);
  if (status == TOON_OK && done && !same) {
    status = data_put_row(call, to, &row, row.row.expires_at);
    if (status == TOON_OK) status = data_delete(call, from);
  }
  data_release(call, &row);
  TOON_TRY(status);
  return only_new ? resp_int(call->out, done) : resp_status(call->out, "OK");
}

/* COPY source destination [DB 0] [REPLACE] */
toon_status command_copy(command_call *call) {
  toon_key from, to;
  data_row row;
  bool found, there = false, replace = false;
  for (size_t i = 3; i < call->count; i++) {
    int64_t number;
    if (command_word(call_arg(call, i), "replace")) {
      replace = true;
    } else if (command_word(call_arg(call, i), "db") && i + 1 < call->count) {
      if (!resp_integer(call_arg(call, ++i), &number))
        return command_error(call, "ERR value is not an integer or out of range");
      if (number != 0) return command_error(call, "ERR DB index is out of range");
    } else {
      return command_syntax_error(call);
    }
  }
  TOON_TRY(command_key(call, 1, &from));
  TOON_TRY(command_key(call, 2, &to));
  if (toon_key_eq(from, to)) return command_error(call, "ERR source and destination objects are the same");
  toon_status status = data_get(call, from, &row, &found);
  if (status == TOON_OK && found && !replace) status = data_has(call, to, &there);
  if (status == TOON_OK && found && !there) status = data_put_row(call, to, &row, row.row.expires_at);
  data_release(call, &row);
  TOON_TRY(status);
  return resp_int(call->out, found && !there);
}

/* ---- expiry ---- */

/* TTL and its kin: -2 without a key, -1 without an expiry. */
static toon_status tell_expiry(command_call *call, int64_t unit, bool point) {
  toon_key key;
  toon_kind kind;
  int64_t at;
  bool found;
  TOON_TRY(read_facts(call, &key, &kind, &at, &found));
  if (!found || at == 0) return resp_int(call->out, found ? -1 : -2);
  if (point) return resp_int(call->out, (at + unit / 2) / unit);
  int64_t left = at - toon_now(call->db);
  return resp_int(call->out, left < 0 ? 0 : (left + unit / 2) / unit);
}

toon_status command_ttl(command_call *call) { return tell_expiry(call, 1000, false); }
toon_status command_pttl(command_call *call) { return tell_expiry(call, 1, false); }
toon_status command_expiretime(command_call *call) { return tell_expiry(call, 1000, true); }
toon_status command_pexpiretime(command_call *call) { return tell_expiry(call, 1, true); }

typedef struct expire_options {
  bool nx, xx, gt, lt;
} expire_options;

static toon_status read_expire_options(command_call *call, expire_options *o) {
  *o = (expire_options){0};
  for (size_t i = 3; i < call->count; i++) {
    toon_slice arg = call_arg(call, i);
    bool *flag = command_word(arg, "nx")   ? &o->nx
                 : command_word(arg, "xx") ? &o->xx
                 : command_word(arg, "gt") ? &o->gt
                 : command_word(arg, "lt") ? &o->lt
                                           : NULL;
    if (!flag)
      return command_error(call, "ERR Unsupported option %.*s", (int)(arg.len < 128 ? arg.len : 128),
                           (const char *)arg.ptr);
    *flag = true;
  }
  if (o->nx && (o->xx || o->gt || o->lt))
    return command_error(call, "ERR NX and XX, GT or LT options at the same time are not compatible");
  if (o->gt && o->lt) return command_error(call, "ERR GT and LT options at the same time are not compatible");
  return TOON_OK;
}

static toon_status expire(command_call *call, int64_t unit, bool point) {
  int64_t given, now = toon_now(call->db), base = point ? 0 : now, old = 0;
  expire_options o;
  toon_key key;
  toon_kind kind;
  bool found;
  TOON_TRY(read_expire_options(call, &o));
  if (!resp_integer(call_arg(call, 2), &given))
    return command_error(call, "ERR value is not an integer or out of range");
  if (given > ((int64_t)TOON_ROW_MAX - base) / unit || given < -(int64_t)TOON_ROW_MAX / unit)
    return command_error(call, "ERR invalid expire time in '%s' command", call->command->name);
  int64_t at = base + given * unit;
  TOON_TRY(read_facts(call, &key, &kind, &old, &found));
  bool refused = (o.nx && old) || (o.xx && !old) || (o.gt && (!old || at <= old)) || (o.lt && old && at >= old);
  if (!found || refused) return resp_int(call->out, 0);
  TOON_TRY(at <= now ? data_delete(call, key) : data_expire(call, key, at));
  return resp_int(call->out, 1);
}

toon_status command_expire(command_call *call) { return expire(call, 1000, false); }
toon_status command_pexpire(command_call *call) { return expire(call, 1, false); }
toon_status command_expireat(command_call *call) { return expire(call, 1000, true); }
toon_status command_pexpireat(command_call *call) { return expire(call, 1, true); }

toon_status command_persist(command_call *call) {
  toon_key key;
  toon_kind kind;
  int64_t old;
  bool found;
  TOON_TRY(read_facts(call, &key, &kind, &old, &found));
  if (found && old) TOON_TRY(data_expire(call, key, 0));
  return resp_int(call->out, found && old);
}
