/* Commands on strings: the value as bytes, whatever it is stored as. What a number, true or a document is as bytes is its
 * TOON text. */
#include "resp/connection.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

#define NOT_AN_INTEGER "ERR value is not an integer or out of range"

/* ---- reading ---- */

/* Memory of a large value is not kept. */
static void value_used(command_call *call) {
  toon_buf *value = &call->conn->server->value;
  if (value->cap > VALUE_KEPT) toon_buf_free(value);
}

/* Append a row's value as a bulk string, or null. */
static toon_status bulk_of(command_call *call, const data_row *row, bool found) {
  if (!found) return resp_null(call->out, conn_version(call->conn));
  if (row->row.flags & TOON_TEXT_PLAIN)
    return resp_bulk(call->out, toon_slice_of(row->row.field.ptr + 2, row->row.field.len - 3));
  toon_buf *value = &call->conn->server->value;
  toon_error err;
  value->len = 0;
  toon_status status = toon_row_value(&row->row, value, &err);
  status = status == TOON_OK ? resp_bulk(call->out, toon_buf_slice(value)) : command_fail(call, &err);
  value_used(call);
  return status;
}

static toon_status reply_value(command_call *call, size_t i) {
  toon_key key;
  data_row row;
  bool found;
  TOON_TRY(command_key(call, i, &key));
  toon_status status = data_get(call, key, &row, &found);
  if (status == TOON_OK) status = bulk_of(call, &row, found);
  data_release(call, &row);
  return status;
}

toon_status command_get(command_call *call) {
  toon_cache *cache = call->conn->server->cache;
  toon_key key;
  toon_slice value;
  data_row row;
  bool found, asked;
  TOON_TRY(command_key(call, 1, &key));
  TOON_TRY(data_get_hot(call, key, &asked, &value));
  if (asked) {
    toon_status replied = value.ptr ? resp_bulk(call->out, value) : resp_null(call->out, conn_version(call->conn));
    value_used(call);
    return replied;
  }
  toon_status status = data_get(call, key, &row, &found);
  if (status == TOON_OK && cache && found && !(row.row.flags & TOON_TEXT_PLAIN) && row.row.field.len >= VALUE_HOT)
    toon_cache_wants(cache, key, true);
  if (status == TOON_OK) status = bulk_of(call, &row, found);
  data_release(call, &row);
  return status;
}

toon_status command_mget(command_call *call) {
  if (call->count > 2) TOON_TRY(data_snapshot(call));
  TOON_TRY(resp_array(call->out, call->count - 1));
  for (size_t i = 1; i < call->count; i++) TOON_TRY(reply_value(call, i));
  return TOON_OK;
}

/* A value that is read to be changed: its bytes, and what is kept of its row. */
typedef struct old_value {
  toon_buf bytes;
  toon_kind kind;
  int64_t expires_at;
  bool found;
} old_value;

/* WRONGTYPE for documents. old->bytes is freed by the caller, after a failure too. */
static toon_status read_old(command_call *call, toon_key key, old_value *old) {
  data_row row;
  toon_error err;
  memset(old, 0, sizeof *old);
  toon_status status = data_get(call, key, &row, &old->found);
  if (status == TOON_OK && old->found) {
    old->kind = toon_row_kind(&row.row);
    old->expires_at = row.row.expires_at;
    if (old->kind >= TOON_ARRAY)
      status = command_wrong_type(call);
    else if (toon_row_value(&row.row, &old->bytes, &err) != TOON_OK)
      status = command_fail(call, &err);
  }
  data_release(call, &row);
  return status;
}

toon_status command_strlen(command_call *call) {
  toon_key key;
  old_value old;
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = read_old(call, key, &old);
  if (status == TOON_OK) status = resp_int(call->out, (int64_t)old.bytes.len);
  toon_buf_free(&old.bytes);
  return status;
}

toon_status command_getrange(command_call *call) {
  toon_key key;
  old_value old;
  int64_t start, end;
  TOON_TRY(command_key(call, 1, &key));
  if (!resp_integer(call_arg(call, 2), &start) || !resp_integer(call_arg(call, 3), &end))
    return command_error(call, NOT_AN_INTEGER);
  toon_status status = read_old(call, key, &old);
  int64_t len = (int64_t)old.bytes.len;
  if (status == TOON_OK) {
    bool empty = start < 0 && end < 0 && start > end;
    if (start < 0) start = start + len < 0 ? 0 : start + len;
    if (end < 0) end = end + len < 0 ? 0 : end + len;
    if (end >= len) end = len - 1;
    empty = empty || start > end || len == 0;
    status = resp_bulk(call->out,
                       empty ? TOON_SLICE_LIT("") : toon_slice_of(old.bytes.ptr + start, (size_t)(end - start + 1)));
  }
  toon_buf_free(&old.bytes);
  return status;
}

/* ---- options ---- */

static const struct {
  const char *word;
  int64_t unit;
  bool point;
} times[] = {{"ex", 1000, false}, {"px", 1, false}, {"exat", 1000, true}, {"pxat", 1, true}};

/* A time to live of SET, SETEX…: argument i in units of `unit` ms, from now unless it is a point in time. */
static toon_status read_expiry(command_call *call, size_t i, int64_t unit, bool point, int64_t *at) {
  int64_t given, now = point ? 0 : toon_now(call->db);
  if (!resp_integer(call_arg(call, i), &given)) return command_error(call, NOT_AN_INTEGER);
  if (given <= 0 || given > ((int64_t)TOON_ROW_MAX - now) / unit)
    return command_error(call, "ERR invalid expire time in '%s' command", call->command->name);
  *at = now + given * unit;
  return TOON_OK;
}

typedef struct set_options {
  bool nx, xx, get, keep, persist;
  size_t time;   /* which of `times`, + 1 */
  size_t number; /* the argument with its number */
} set_options;

/* Options of SET (from argument 3) or GETEX (from 2, which takes only times and PERSIST). */
static toon_status read_options(command_call *call, bool getex, set_options *o) {
  *o = (set_options){0};
  for (size_t i = getex ? 2 : 3; i < call->count; i++) {
    toon_slice arg = call_arg(call, i);
    bool *flag = !getex && command_word(arg, "nx")        ? &o->nx
                 : !getex && command_word(arg, "xx")      ? &o->xx
                 : !getex && command_word(arg, "get")     ? &o->get
                 : !getex && command_word(arg, "keepttl") ? &o->keep
                 : getex && command_word(arg, "persist")  ? &o->persist
                                                          : NULL;
    size_t t = 0;
    while (!flag && t < 4 && !command_word(arg, times[t].word)) t++;
    bool bad = flag ? false : t == 4 || i + 1 == call->count || o->time;
    if (bad) return command_syntax_error(call);
    if (flag) {
      *flag = true;
    } else {
      o->time = t + 1;
      o->number = ++i;
    }
  }
  if ((o->nx && o->xx) || ((o->keep || o->persist) && o->time)) return command_syntax_error(call);
  return TOON_OK;
}

static toon_status read_options_time(command_call *call, const set_options *o, int64_t *at) {
  *at = 0;
  return o->time ? read_expiry(call, o->number, times[o->time - 1].unit, times[o->time - 1].point, at) : TOON_OK;
}

/* ---- setting ---- */

/* A SET that has to know what was there. */
static toon_status set_knowing(command_call *call, toon_key key, toon_slice value, const set_options *o, int64_t at) {
  data_row row;
  bool found;
  toon_status status = data_get(call, key, &row, &found);
  bool write = found ? !o->nx : !o->xx;
  if (status == TOON_OK && o->get)
    status = bulk_of(call, &row, found);
  else if (status == TOON_OK)
    status = write ? resp_status(call->out, "OK") : resp_null(call->out, conn_version(call->conn));
  if (status == TOON_OK && write) status = data_put_bytes(call, key, value, o->keep && found ? row.row.expires_at : at);
  data_release(call, &row);
  return status;
}

static toon_status set_blind(command_call *call, toon_key key, toon_slice value, int64_t expires_at) {
  TOON_TRY(data_put_bytes(call, key, value, expires_at));
  return resp_status(call->out, "OK");
}

toon_status command_set(command_call *call) {
  toon_key key;
  set_options o;
  int64_t at = 0;
  TOON_TRY(read_options(call, false, &o));
  TOON_TRY(read_options_time(call, &o, &at));
  TOON_TRY(command_key(call, 1, &key));
  if (o.get || o.keep || o.nx || o.xx) return set_knowing(call, key, call_arg(call, 2), &o, at);
  return set_blind(call, key, call_arg(call, 2), at);
}

toon_status command_setnx(command_call *call) {
  toon_key key;
  bool found;
  TOON_TRY(command_key(call, 1, &key));
  TOON_TRY(data_has(call, key, &found));
  if (!found) TOON_TRY(data_put_bytes(call, key, call_arg(call, 2), 0));
  return resp_int(call->out, !found);
}

static toon_status set_for(command_call *call, int64_t unit) {
  toon_key key;
  int64_t at = 0;
  TOON_TRY(command_key(call, 1, &key));
  TOON_TRY(read_expiry(call, 2, unit, false, &at));
  return set_blind(call, key, call_arg(call, 3), at);
}

toon_status command_setex(command_call *call) { return set_for(call, 1000); }
toon_status command_psetex(command_call *call) { return set_for(call, 1); }

toon_status command_getset(command_call *call) {
  toon_key key;
  set_options o = {.get = true};
  TOON_TRY(command_key(call, 1, &key));
  return set_knowing(call, key, call_arg(call, 2), &o, 0);
}

toon_status command_getdel(command_call *call) {
  toon_key key;
  data_row row;
  bool found;
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = data_get(call, key, &row, &found);
  if (status == TOON_OK) status = bulk_of(call, &row, found);
  if (status == TOON_OK && found) status = data_delete(call, key);
  data_release(call, &row);
  return status;
}

/* GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] */
toon_status command_getex(command_call *call) {
  toon_key key;
  data_row row;
  set_options o;
  int64_t at = 0;
  bool found;
  TOON_TRY(read_options(call, true, &o));
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = data_get(call, key, &row, &found);
  if (status == TOON_OK && found) status = read_options_time(call, &o, &at);
  if (status == TOON_OK) status = bulk_of(call, &row, found);
  if (status == TOON_OK && found && o.time)
    status = at <= toon_now(call->db) ? data_delete(call, key) : data_expire(call, key, at);
  if (status == TOON_OK && found && o.persist && row.row.expires_at) status = data_expire(call, key, 0);
  data_release(call, &row);
  return status;
}

static toon_status put_pairs(command_call *call) {
  for (size_t i = 1; i < call->count; i += 2) {
    toon_key key;
    TOON_TRY(command_key(call, i, &key));
    TOON_TRY(data_put_bytes(call, key, call_arg(call, i + 1), 0));
  }
  return TOON_OK;
}

static toon_status check_pairs(command_call *call) {
  if (call->count % 2) return TOON_OK;
  return command_error(call, "ERR wrong number of arguments for '%s' command", call->command->name);
}

toon_status command_mset(command_call *call) {
  TOON_TRY(check_pairs(call));
  TOON_TRY(put_pairs(call));
  return resp_status(call->out, "OK");
}

toon_status command_msetnx(command_call *call) {
  TOON_TRY(check_pairs(call));
  for (size_t i = 1; i < call->count; i += 2) {
    toon_key key;
    bool found;
    TOON_TRY(command_key(call, i, &key));
    TOON_TRY(data_has(call, key, &found));
    if (found) return resp_int(call->out, 0);
  }
  TOON_TRY(put_pairs(call));
  return resp_int(call->out, 1);
}

/* ---- changing ---- */

toon_status command_append(command_call *call) {
  toon_key key;
  old_value old;
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = read_old(call, key, &old);
  if (status == TOON_OK) status = toon_buf_add(&old.bytes, call_arg(call, 2));
  if (status == TOON_OK) status = data_put_bytes(call, key, toon_buf_slice(&old.bytes), old.expires_at);
  if (status == TOON_OK) status = resp_int(call->out, (int64_t)old.bytes.len);
  toon_buf_free(&old.bytes);
  return status;
}

/* SETRANGE: nothing is written for an empty value, and nothing is allocated that could not be stored. */
toon_status command_setrange(command_call *call) {
  toon_key key;
  old_value old;
  int64_t offset;
  toon_slice value = call_arg(call, 3);
  if (!resp_integer(call_arg(call, 2), &offset)) return command_error(call, NOT_AN_INTEGER);
  if (offset < 0) return command_error(call, "ERR offset is out of range");
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = read_old(call, key, &old);
  size_t len = old.bytes.len, max = (size_t)toon_max_value_size(call->db);
  if (status == TOON_OK && value.len) {
    if ((uint64_t)offset > (uint64_t)RESP_BULK_MAX - value.len) {
      status = command_error(call, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    } else if ((size_t)offset + value.len > max) {
      status = command_error(call, "ERR the value has %zu bytes; maxValueSize is %zu", (size_t)offset + value.len, max);
    } else {
      size_t end = (size_t)offset + value.len;
      if (end > len) status = toon_buf_reserve(&old.bytes, end - len);
      if (status == TOON_OK) {
        if (end > len) {
          memset(old.bytes.ptr + len, 0, end - len);
          len = old.bytes.len = end;
        }
        memcpy(old.bytes.ptr + offset, value.ptr, value.len);
        status = data_put_bytes(call, key, toon_buf_slice(&old.bytes), old.expires_at);
      }
    }
  }
  if (status == TOON_OK) status = resp_int(call->out, (int64_t)len);
  toon_buf_free(&old.bytes);
  return status;
}

static toon_status add(command_call *call, int64_t by) {
  toon_key key;
  old_value old;
  int64_t number = 0;
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = read_old(call, key, &old);
  bool integer = !old.found || resp_integer(toon_buf_slice(&old.bytes), &number);
  toon_buf_free(&old.bytes);
  TOON_TRY(status);
  if (!integer) return command_error(call, NOT_AN_INTEGER);
  if (__builtin_add_overflow(number, by, &number))
    return command_error(call, "ERR increment or decrement would overflow");
  char digits[24];
  int len = snprintf(digits, sizeof digits, "%lld", (long long)number);
  toon_input input = old.kind == TOON_NUMBER ? TOON_INPUT_JSON : TOON_INPUT_STRING;
  TOON_TRY(data_put(call, key, input, toon_slice_of(digits, (size_t)len), old.expires_at));
  return resp_int(call->out, number);
}

static toon_status add_argument(command_call *call, bool negative) {
  int64_t by;
  if (!resp_integer(call_arg(call, 2), &by)) return command_error(call, NOT_AN_INTEGER);
  if (negative && by == INT64_MIN) return command_error(call, "ERR decrement would overflow");
  return add(call, negative ? -by : by);
}

toon_status command_incr(command_call *call) { return add(call, 1); }
toon_status command_decr(command_call *call) { return add(call, -1); }
toon_status command_incrby(command_call *call) { return add_argument(call, false); }
toon_status command_decrby(command_call *call) { return add_argument(call, true); }

bool command_float(toon_slice text, long double *out) {
  char copy[256], *end;
  if (text.len == 0 || text.len >= sizeof copy || text.ptr[0] <= ' ') return false;
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  *out = strtold(copy, &end);
  return end == copy + text.len && !isnan(*out);
}

int command_float_text(long double value, char *out, size_t size) {
  int len = snprintf(out, size, "%.17Lf", value);
  if (strchr(out, '.')) {
    while (out[len - 1] == '0') len--;
    if (out[len - 1] == '.') len--;
  }
  if (len == 2 && out[0] == '-' && out[1] == '0') {
    out[0] = '0';
    len = 1;
  }
  out[len] = 0;
  return len;
}

toon_status command_incrbyfloat(command_call *call) {
  toon_key key;
  old_value old;
  long double number = 0, by = 0;
  char digits[5200]; /* the longest long double, in full */
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = read_old(call, key, &old);
  bool good = !old.found || command_float(toon_buf_slice(&old.bytes), &number);
  toon_buf_free(&old.bytes);
  TOON_TRY(status);
  if (!good || !command_float(call_arg(call, 2), &by)) return command_error(call, "ERR value is not a valid float");
  number += by;
  if (isnan(number) || isinf(number)) return command_error(call, "ERR increment would produce NaN or Infinity");
  int len = command_float_text(number, digits, sizeof digits);
  toon_slice text = toon_slice_of(digits, (size_t)len);
  if (old.kind != TOON_NUMBER) {
    TOON_TRY(data_put(call, key, TOON_INPUT_STRING, text, old.expires_at));
    return resp_bulk(call->out, text);
  }
  /* A number is a double: what is told is what was kept. */
  toon_buf field = {0}, kept = {0};
  toon_error err;
  uint8_t flags;
  status = toon_field_json(text, 8192, &field, &flags, &err);
  if (status == TOON_OK) status = toon_field_to_document(toon_buf_slice(&field), &kept, &err);
  if (status != TOON_OK) status = command_fail(call, &err);
  if (status == TOON_OK) status = data_put(call, key, TOON_INPUT_JSON, toon_buf_slice(&kept), old.expires_at);
  if (status == TOON_OK) status = resp_bulk(call->out, toon_buf_slice(&kept));
  toon_buf_free(&field);
  toon_buf_free(&kept);
  return status;
}
