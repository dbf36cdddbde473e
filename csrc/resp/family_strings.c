/* Commands on strings: the value as bytes, whatever it is stored as. What a number, true or a document is as bytes is its
 * TOON text. */
#include "resp/command.h"

#include <stdio.h>

#define NOT_AN_INTEGER "ERR value is not an integer or out of range"
#define WRONG_TYPE "WRONGTYPE Operation against a key holding the wrong kind of value"

bool command_key(command_call *call, size_t i, toon_key *key, toon_status *status) {
  toon_slice arg = call_arg(call, i);
  if (arg.len > TOON_KEY_MAX) {
    toon_error err;
    toon_fail(&err, TOON_EKEYTOOBIG, NULL);
    *status = command_fail(call, &err);
    return false;
  }
  *key = toon_user_key(arg.ptr, arg.len);
  return true;
}

toon_status command_value(const toon_row *row, toon_buf *out, toon_error *err) {
  if (row->flags & TOON_TEXT_PLAIN) return toon_buf_append(out, row->field.ptr + 2, row->field.len - 3);
  switch (toon_row_kind(row)) {
  case TOON_STRING: return toon_field_to_string(row->field, out, err);
  case TOON_BYTES: return toon_field_to_bytes(row->field, out, err);
  default: return toon_field_to_document(row->field, out, err);
  }
}

toon_status command_put(toon_batch *batch, toon_key key, toon_slice value, const toon_put_options *options,
                        toon_error *err) {
  toon_status status = toon_batch_put(batch, key, TOON_INPUT_STRING, value, options, err);
  if (status == TOON_EINVAL) status = toon_batch_put(batch, key, TOON_INPUT_BYTES, value, options, err);
  return status;
}

/* ---- reading ---- */

/* Append a row's value as a bulk string. */
static toon_status bulk_of(command_call *call, const toon_row *row) {
  toon_buf *out = conn_out(call->conn);
  if (row->flags & TOON_TEXT_PLAIN) return resp_bulk(out, toon_slice_of(row->field.ptr + 2, row->field.len - 3));
  toon_buf value = {0};
  toon_error err;
  toon_status status = command_value(row, &value, &err);
  status = status == TOON_OK ? resp_bulk(out, toon_buf_slice(&value)) : command_fail(call, &err);
  toon_buf_free(&value);
  return status;
}

/* The value of argument i, or null. */
static toon_status reply_value(command_call *call, size_t i) {
  toon_key key;
  toon_row row;
  toon_error err;
  bool found;
  toon_status status;
  if (!command_key(call, i, &key, &status)) return status;
  if (toon_get(call->db, NULL, key, &row, &found, &err) != TOON_OK) return command_fail(call, &err);
  if (!found) return resp_null(conn_out(call->conn), conn_version(call->conn));
  status = bulk_of(call, &row);
  toon_row_release(call->db, &row);
  return status;
}

toon_status command_get(command_call *call) { return reply_value(call, 1); }

toon_status command_mget(command_call *call) {
  TOON_TRY(resp_array(conn_out(call->conn), call->count - 1));
  for (size_t i = 1; i < call->count; i++) TOON_TRY(reply_value(call, i));
  return TOON_OK;
}

/* The bytes of a key's value in *value (*found: there is one), as the change's snapshot has it, or now. False with the
 * reply written. */
static bool read_bytes(command_call *call, toon_key key, toon_buf *value, toon_row *facts, bool *found,
                       toon_status *status) {
  toon_error err;
  toon_row row;
  if (toon_get(call->db, call->snapshot, key, &row, found, &err) != TOON_OK) {
    *status = command_fail(call, &err);
    return false;
  }
  *facts = (toon_row){.expires_at = 0};
  if (!*found) return true;
  *facts = row;
  if (toon_row_kind(&row) >= TOON_ARRAY) {
    *status = resp_error(conn_out(call->conn), WRONG_TYPE);
  } else {
    *status = command_value(&row, value, &err);
    if (*status == TOON_OK) {
      toon_row_release(call->db, &row);
      return true;
    }
    *status = command_fail(call, &err);
  }
  toon_row_release(call->db, &row);
  return false;
}

toon_status command_strlen(command_call *call) {
  toon_buf value = {0};
  toon_key key;
  toon_row row;
  bool found;
  toon_status status;
  if (command_key(call, 1, &key, &status) && read_bytes(call, key, &value, &row, &found, &status))
    status = resp_int(conn_out(call->conn), (int64_t)value.len);
  toon_buf_free(&value);
  return status;
}

/* ---- writing ---- */

/* A time to live of SET, SETEX…: argument i in units of `unit` ms, from now unless it is a point in time. False with the
 * reply written. */
static bool read_expiry(command_call *call, size_t i, int64_t unit, bool point, int64_t *at, toon_status *status) {
  toon_buf *out = conn_out(call->conn);
  int64_t given, now = point ? 0 : toon_now(call->db);
  if (!resp_integer(call_arg(call, i), &given)) {
    *status = resp_error(out, NOT_AN_INTEGER);
    return false;
  }
  if (given <= 0 || given > ((int64_t)TOON_ROW_MAX - now) / unit) {
    toon_slice name = call_arg(call, 0);
    *status = resp_error(out, "ERR invalid expire time in '%s' command", command_find(name)->name);
    return false;
  }
  *at = now + given * unit;
  return true;
}

typedef struct set_options {
  bool nx, xx, get, keep, timed;
  int64_t at;
} set_options;

static bool read_set_options(command_call *call, set_options *o, toon_status *status) {
  static const struct {
    const char *word;
    int64_t unit;
    bool point;
  } times[] = {{"ex", 1000, false}, {"px", 1, false}, {"exat", 1000, true}, {"pxat", 1, true}};
  *o = (set_options){0};
  for (size_t i = 3; i < call->count; i++) {
    toon_slice arg = call_arg(call, i);
    bool *flag = command_word(arg, "nx")        ? &o->nx
                 : command_word(arg, "xx")      ? &o->xx
                 : command_word(arg, "get")     ? &o->get
                 : command_word(arg, "keepttl") ? &o->keep
                                                : NULL;
    size_t t = 0;
    while (!flag && t < 4 && !command_word(arg, times[t].word)) t++;
    if (!flag && t < 4 && i + 1 < call->count && !o->timed) {
      o->timed = true;
      if (o->keep) break;
      if (!read_expiry(call, ++i, times[t].unit, times[t].point, &o->at, status)) return false;
    } else if (!flag) {
      o->timed = o->keep = true;
      break;
    } else {
      *flag = true;
    }
  }
  if ((o->nx && o->xx) || (o->keep && o->timed)) {
    *status = resp_error(conn_out(call->conn), "ERR syntax error");
    return false;
  }
  return true;
}

/* A SET that has to know what was there. */
static toon_status set_with_old(command_call *call, toon_key key, toon_slice value, const set_options *o) {
  toon_buf *out = conn_out(call->conn);
  size_t from = out->len;
  toon_batch *batch;
  toon_row row;
  toon_error err;
  bool found;
  if (command_change(call, &batch, &err) != TOON_OK ||
      toon_get(call->db, call->snapshot, key, &row, &found, &err) != TOON_OK)
    return command_fail(call, &err);
  bool write = found ? !o->nx : !o->xx;
  toon_status status = TOON_OK;
  if (o->get)
    status = found ? bulk_of(call, &row) : resp_null(out, conn_version(call->conn));
  else
    status = write ? resp_status(out, "OK") : resp_null(out, conn_version(call->conn));
  toon_put_options put = {.expires_at = o->keep && found ? row.expires_at : o->at};
  if (found) toon_row_release(call->db, &row);
  if (status != TOON_OK || !write) return status;
  if (command_put(batch, key, value, &put, &err) != TOON_OK) {
    out->len = from;
    return command_fail(call, &err);
  }
  return command_commit(call, from);
}

/* A SET that looks at nothing. */
static toon_status set_blind(command_call *call, toon_key key, toon_slice value, const toon_put_options *put,
                             toon_status (*reply)(command_call *call, size_t first)) {
  toon_batch *batch;
  toon_error err;
  if (command_batch(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  size_t first = toon_batch_members(batch);
  if (command_put(batch, key, value, put, &err) != TOON_OK) return command_fail(call, &err);
  return reply(call, first);
}

toon_status command_set(command_call *call) {
  toon_key key;
  set_options o;
  toon_status status;
  if (!command_key(call, 1, &key, &status) || !read_set_options(call, &o, &status)) return status;
  if (o.get || o.keep) {
    /* Not blind after all: it waits until the replies before it have come. */
    return conn_waits(call->conn) ? TOON_OK : set_with_old(call, key, call_arg(call, 2), &o);
  }
  toon_put_options put = {.expires_at = o.at, .conditions = o.nx ? TOON_IF_ABSENT : o.xx ? TOON_IF_PRESENT : 0};
  return set_blind(call, key, call_arg(call, 2), &put, put.conditions ? command_reply_if : command_reply_ok);
}

toon_status command_setnx(command_call *call) {
  toon_key key;
  toon_status status;
  toon_put_options put = {.conditions = TOON_IF_ABSENT};
  if (!command_key(call, 1, &key, &status)) return status;
  return set_blind(call, key, call_arg(call, 2), &put, command_reply_sum);
}

static toon_status set_for(command_call *call, int64_t unit) {
  toon_key key;
  toon_put_options put = {0};
  toon_status status;
  if (!command_key(call, 1, &key, &status) || !read_expiry(call, 2, unit, false, &put.expires_at, &status))
    return status;
  return set_blind(call, key, call_arg(call, 3), &put, command_reply_ok);
}

toon_status command_setex(command_call *call) { return set_for(call, 1000); }
toon_status command_psetex(command_call *call) { return set_for(call, 1); }

toon_status command_getset(command_call *call) {
  toon_key key;
  toon_status status;
  set_options o = {.get = true};
  return command_key(call, 1, &key, &status) ? set_with_old(call, key, call_arg(call, 2), &o) : status;
}

toon_status command_getdel(command_call *call) {
  size_t from = conn_out(call->conn)->len;
  toon_batch *batch;
  toon_key key;
  toon_row row;
  toon_error err;
  bool found;
  toon_status status;
  if (!command_key(call, 1, &key, &status)) return status;
  if (command_change(call, &batch, &err) != TOON_OK ||
      toon_get(call->db, call->snapshot, key, &row, &found, &err) != TOON_OK)
    return command_fail(call, &err);
  if (!found) return resp_null(conn_out(call->conn), conn_version(call->conn));
  status = bulk_of(call, &row);
  toon_row_release(call->db, &row);
  if (status != TOON_OK) return status;
  if (toon_batch_delete(batch, key, &err) != TOON_OK) {
    conn_out(call->conn)->len = from;
    return command_fail(call, &err);
  }
  return command_commit(call, from);
}

/* Put the pairs of MSET into the open member of a batch. */
static toon_status put_pairs(command_call *call, toon_batch *batch, toon_error *err) {
  for (size_t i = 1; i < call->count; i += 2) {
    toon_slice key = call_arg(call, i);
    if (key.len > TOON_KEY_MAX) return toon_fail(err, TOON_EKEYTOOBIG, NULL);
    TOON_TRY(command_put(batch, toon_user_key(key.ptr, key.len), call_arg(call, i + 1), NULL, err));
  }
  return TOON_OK;
}

toon_status command_mset(command_call *call) {
  toon_batch *batch;
  toon_error err;
  if (call->count % 2 == 0) return resp_error(conn_out(call->conn), "ERR wrong number of arguments for 'mset' command");
  if (command_batch(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  size_t first = toon_batch_members(batch);
  toon_status status = toon_batch_begin(batch, &err);
  if (status != TOON_OK) return command_fail(call, &err);
  status = put_pairs(call, batch, &err);
  if (status == TOON_OK) status = toon_batch_end(batch, &err);
  if (status == TOON_OK) return command_reply_ok(call, first);
  toon_batch_abandon(batch);
  return command_fail(call, &err);
}

toon_status command_msetnx(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  size_t from = out->len;
  toon_batch *batch;
  toon_error err;
  if (call->count % 2 == 0) return resp_error(out, "ERR wrong number of arguments for 'msetnx' command");
  if (command_change(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  for (size_t i = 1; i < call->count; i += 2) {
    toon_key key;
    bool found;
    toon_status status;
    if (!command_key(call, i, &key, &status)) return status;
    if (toon_has(call->db, call->snapshot, key, &found, &err) != TOON_OK) return command_fail(call, &err);
    if (found) return resp_int(out, 0);
  }
  if (put_pairs(call, batch, &err) != TOON_OK) return command_fail(call, &err);
  TOON_TRY(resp_int(out, 1));
  return command_commit(call, from);
}

toon_status command_append(command_call *call) {
  toon_buf *out = conn_out(call->conn), value = {0};
  size_t from = out->len;
  toon_batch *batch;
  toon_key key;
  toon_row row;
  toon_error err;
  bool found;
  toon_status status;
  if (!command_key(call, 1, &key, &status)) return status;
  if (command_change(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  if (read_bytes(call, key, &value, &row, &found, &status)) {
    toon_put_options put = {.expires_at = row.expires_at};
    status = toon_buf_add(&value, call_arg(call, 2));
    if (status == TOON_OK) status = resp_int(out, (int64_t)value.len);
    if (status == TOON_OK && command_put(batch, key, toon_buf_slice(&value), &put, &err) != TOON_OK) {
      out->len = from;
      status = command_fail(call, &err);
    } else if (status == TOON_OK) {
      status = command_commit(call, from);
    }
  }
  toon_buf_free(&value);
  return status;
}

static toon_status add(command_call *call, int64_t by) {
  toon_buf *out = conn_out(call->conn), value = {0};
  size_t from = out->len;
  toon_batch *batch;
  toon_key key;
  toon_row row;
  toon_error err;
  bool found;
  int64_t number = 0;
  toon_status status;
  if (!command_key(call, 1, &key, &status)) return status;
  if (command_change(call, &batch, &err) != TOON_OK) return command_fail(call, &err);
  bool read = read_bytes(call, key, &value, &row, &found, &status);
  bool integer = read && (!found || resp_integer(toon_buf_slice(&value), &number));
  toon_buf_free(&value);
  if (!read) return status;
  if (!integer) return resp_error(out, NOT_AN_INTEGER);
  if (__builtin_add_overflow(number, by, &number)) return resp_error(out, "ERR increment or decrement would overflow");
  char digits[24];
  int len = snprintf(digits, sizeof digits, "%lld", (long long)number);
  toon_put_options put = {.expires_at = row.expires_at};
  toon_input input = found && toon_row_kind(&row) == TOON_NUMBER ? TOON_INPUT_JSON : TOON_INPUT_STRING;
  if (toon_batch_put(batch, key, input, toon_slice_of(digits, (size_t)len), &put, &err) != TOON_OK)
    return command_fail(call, &err);
  TOON_TRY(resp_int(out, number));
  return command_commit(call, from);
}

static toon_status add_argument(command_call *call, bool negative) {
  int64_t by;
  if (!resp_integer(call_arg(call, 2), &by)) return resp_error(conn_out(call->conn), NOT_AN_INTEGER);
  if (negative && by == INT64_MIN) return resp_error(conn_out(call->conn), "ERR decrement would overflow");
  return add(call, negative ? -by : by);
}

toon_status command_incr(command_call *call) { return add(call, 1); }
toon_status command_decr(command_call *call) { return add(call, -1); }
toon_status command_incrby(command_call *call) { return add_argument(call, false); }
toon_status command_decrby(command_call *call) { return add_argument(call, true); }
