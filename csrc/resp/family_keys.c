/* Commands on keys of any kind, and on their expiry. */
#include "resp/command.h"

/* Plain DEL: each key a member, so the reply is their sum; they take effect in one commit. */
toon_status command_del(command_call *call) {
  toon_batch *batch;
  toon_error err;
  toon_key key;
  toon_status status;
  for (size_t i = 1; i < call->count; i++)
    if (!command_key(call, i, &key, &status)) return status;
  if (command_batch(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  size_t first = toon_batch_members(batch);
  for (size_t i = 1; i < call->count; i++) {
    toon_slice name = call_arg(call, i);
    TOON_TRY(toon_batch_delete(batch, toon_user_key(name.ptr, name.len), &err));
  }
  return command_reply_sum(call, first);
}

toon_status command_exists(command_call *call) {
  int64_t count = 0;
  for (size_t i = 1; i < call->count; i++) {
    toon_key key;
    toon_error err;
    bool found;
    toon_status status;
    if (!command_key(call, i, &key, &status)) return status;
    if (toon_has(call->db, NULL, key, &found, &err) != TOON_OK) return command_fail(call, &err);
    count += found;
  }
  return resp_int(conn_out(call->conn), count);
}

/* Kind and expiry of argument 1 as the change's snapshot has it, or now. False with the reply written. */
static bool read_facts(command_call *call, toon_key *key, toon_kind *kind, int64_t *expires_at, bool *found,
                       toon_status *status) {
  toon_row row;
  toon_error err;
  if (!command_key(call, 1, key, status)) return false;
  if (toon_get(call->db, call->snapshot, *key, &row, found, &err) != TOON_OK) {
    *status = command_fail(call, &err);
    return false;
  }
  if (*found) {
    *kind = toon_row_kind(&row);
    *expires_at = row.expires_at;
    toon_row_release(call->db, &row);
  }
  return true;
}

toon_status command_type(command_call *call) {
  toon_key key;
  toon_kind kind = TOON_NULL;
  int64_t at;
  bool found;
  toon_status status;
  if (!read_facts(call, &key, &kind, &at, &found, &status)) return status;
  return resp_status(conn_out(call->conn), !found ? "none" : kind == TOON_OBJECT ? "hash" : "string");
}

/* ---- expiry ---- */

/* TTL and its kin: -2 without a key, -1 without an expiry. */
static toon_status tell_expiry(command_call *call, int64_t unit, bool point) {
  toon_key key;
  toon_kind kind;
  int64_t at = 0;
  bool found;
  toon_status status;
  if (!read_facts(call, &key, &kind, &at, &found, &status)) return status;
  toon_buf *out = conn_out(call->conn);
  if (!found || at == 0) return resp_int(out, found ? -1 : -2);
  if (point) return resp_int(out, at / unit);
  int64_t left = at - toon_now(call->db);
  return resp_int(out, left < 0 ? 0 : (left + unit / 2) / unit);
}

toon_status command_ttl(command_call *call) { return tell_expiry(call, 1000, false); }
toon_status command_pttl(command_call *call) { return tell_expiry(call, 1, false); }
toon_status command_expiretime(command_call *call) { return tell_expiry(call, 1000, true); }
toon_status command_pexpiretime(command_call *call) { return tell_expiry(call, 1, true); }

typedef struct expire_options {
  bool nx, xx, gt, lt;
} expire_options;

static bool read_expire_options(command_call *call, expire_options *o, toon_status *status) {
  *o = (expire_options){0};
  for (size_t i = 3; i < call->count; i++) {
    toon_slice arg = call_arg(call, i);
    bool *flag = command_word(arg, "nx")   ? &o->nx
                 : command_word(arg, "xx") ? &o->xx
                 : command_word(arg, "gt") ? &o->gt
                 : command_word(arg, "lt") ? &o->lt
                                           : NULL;
    if (!flag) {
      *status = resp_error(conn_out(call->conn), "ERR Unsupported option %.*s", (int)(arg.len < 128 ? arg.len : 128),
                           (const char *)arg.ptr);
      return false;
    }
    *flag = true;
  }
  const char *wrong = o->nx && (o->xx || o->gt || o->lt)
                          ? "ERR NX and XX, GT or LT options at the same time are not compatible"
                      : o->gt && o->lt ? "ERR GT and LT options at the same time are not compatible"
                                       : NULL;
  if (wrong) *status = resp_error(conn_out(call->conn), "%s", wrong);
  return !wrong;
}

static toon_status expire(command_call *call, int64_t unit, bool point) {
  toon_buf *out = conn_out(call->conn);
  size_t from = out->len;
  int64_t given, now = toon_now(call->db), base = point ? 0 : now, old = 0;
  expire_options o;
  toon_batch *batch;
  toon_error err;
  toon_key key;
  toon_kind kind;
  bool found;
  toon_status status;
  if (!read_expire_options(call, &o, &status)) return status;
  if (!resp_integer(call_arg(call, 2), &given)) return resp_error(out, "ERR value is not an integer or out of range");
  if (given > ((int64_t)TOON_ROW_MAX - base) / unit || given < -(int64_t)TOON_ROW_MAX / unit) {
    return resp_error(out, "ERR invalid expire time in '%s' command", command_find(call_arg(call, 0))->name);
  }
  int64_t at = base + given * unit;
  if (command_change(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  if (!read_facts(call, &key, &kind, &old, &found, &status)) return status;
  bool refused = (o.nx && old) || (o.xx && !old) || (o.gt && (!old || at <= old)) || (o.lt && old && at >= old);
  if (!found || refused) return resp_int(out, 0);
  status = at <= now ? toon_batch_delete(batch, key, &err) : toon_batch_expire(batch, key, at, &err);
  if (status != TOON_OK) return command_fail(call, &err);
  TOON_TRY(resp_int(out, 1));
  return command_commit(call, from);
}

toon_status command_expire(command_call *call) { return expire(call, 1000, false); }
toon_status command_pexpire(command_call *call) { return expire(call, 1, false); }
toon_status command_expireat(command_call *call) { return expire(call, 1000, true); }
toon_status command_pexpireat(command_call *call) { return expire(call, 1, true); }

toon_status command_persist(command_call *call) {
  toon_batch *batch;
  toon_error err;
  toon_key key;
  toon_status status;
  if (!command_key(call, 1, &key, &status)) return status;
  if (command_batch(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  size_t first = toon_batch_members(batch);
  if (toon_batch_expire(batch, key, 0, &err) != TOON_OK) return command_fail(call, &err);
  return command_reply_sum(call, first);
}

/* ---- all keys ---- */

/* FLUSHDB, FLUSHALL [ASYNC | SYNC] */
toon_status command_flush(command_call *call) {
  toon_batch *batch;
  toon_error err;
  toon_range all = {0};
  if (call->count > 2 ||
      (call->count == 2 && !command_word(call_arg(call, 1), "async") && !command_word(call_arg(call, 1), "sync")))
    return resp_error(conn_out(call->conn), "ERR syntax error");
  if (command_batch(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  size_t first = toon_batch_members(batch);
  if (toon_batch_clear(batch, &all, &err) != TOON_OK) return command_fail(call, &err);
  return command_reply_ok(call, first);
}

/* The set at the start of a pattern, behind its bracket: does it hold the byte? *used: the bytes of the set. */
static bool in_set(toon_slice p, uint8_t byte, size_t *used) {
  size_t i = 0;
  bool negated = p.len > 0 && p.ptr[0] == '^', hit = false;
  if (negated) i++;
  while (i < p.len && p.ptr[i] != ']') {
    if (p.ptr[i] == '\\' && i + 1 < p.len) {
      i++;
      if (p.ptr[i] == byte) hit = true;
    } else if (i + 2 < p.len && p.ptr[i + 1] == '-') {
      uint8_t low = p.ptr[i], high = p.ptr[i + 2];
      if (low > high) {
        uint8_t swap = low;
        low = high;
        high = swap;
      }
      if (byte >= low && byte <= high) hit = true;
      i += 2;
    } else if (p.ptr[i] == byte) {
      hit = true;
    }
    i++;
  }
  *used = i < p.len ? i + 1 : i;
  return hit != negated;
}

bool command_matches(toon_slice pattern, toon_slice text) {
  size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;
  for (;;) {
    if (p < pattern.len && pattern.ptr[p] == '*') { /* go back to the last star only: no other has to give more */
      star = ++p;
      mark = t;
      continue;
    }
    if (t == text.len && p == pattern.len) return true;
    bool hit = false;
    size_t used = 1;
    if (t < text.len && p < pattern.len) {
      uint8_t c = pattern.ptr[p];
      if (c == '?') {
        hit = true;
      } else if (c == '[') {
        hit = in_set(toon_slice_of(pattern.ptr + p + 1, pattern.len - p - 1), text.ptr[t], &used);
        used++;
      } else {
        if (c == '\\' && p + 1 < pattern.len) {
          c = pattern.ptr[p + 1];
          used = 2;
        }
        hit = c == text.ptr[t];
      }
    }
    if (hit) {
      p += used;
      t++;
    } else if (star != SIZE_MAX && mark < text.len) {
      p = star;
      t = ++mark;
    } else {
      return false;
    }
  }
}

toon_status command_keys(command_call *call) {
  toon_buf *out = conn_out(call->conn), keys = {0};
  toon_range all = {0};
  toon_cursor *cursor;
  toon_error err;
  size_t count = 0;
  if (toon_cursor_open(call->db, NULL, &all, &cursor, &err) != TOON_OK) return command_fail(call, &err);
  toon_status status;
  bool failed = false;
  for (;;) {
    toon_key key;
    toon_row row;
    bool end;
    status = toon_cursor_next(cursor, true, &key, &row, &end, &err);
    failed = status != TOON_OK;
    if (failed || end) break;
    toon_slice name = toon_slice_of(key.ptr, key.len);
    if (!command_matches(call_arg(call, 1), name)) continue;
    status = resp_bulk(&keys, name);
    if (status != TOON_OK) break;
    count++;
  }
  toon_cursor_close(cursor);
  if (failed)
    status = command_fail(call, &err);
  else if (status == TOON_OK && (status = resp_array(out, count)) == TOON_OK)
    status = toon_buf_add(out, toon_buf_slice(&keys));
  toon_buf_free(&keys);
  return status;
}
