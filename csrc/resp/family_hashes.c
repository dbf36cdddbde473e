/* Hashes: objects, whoever stored them. A field is a member; what its value is as bytes is what GET gives for a value: a string itself,
 * anything else its TOON text. A field that is set keeps its type if the new text is one of that type. */
#include "resp/connection.h"
#include "resp/document.h"

#include "base/alloc.h"

#include <math.h>

#define NOT_AN_INTEGER "ERR value is not an integer or out of range"

/* The field that an argument names, or JSON_NONE. `key` gets its text, for a member to be made. */
static toon_status find_field(command_call *call, document *d, size_t i, toon_slice *key, uint32_t *node) {
  toon_buf *text;
  TOON_TRY(document_text(d, &text));
  TOON_TRY(document_quote(call_arg(call, i), text));
  *key = toon_buf_slice(text);
  return json_member(&d->tree, 0, *key, node);
}

static toon_status reply_field(command_call *call, const document *d, uint32_t node) {
  toon_buf value = {0};
  if (node == JSON_NONE) return resp_null(call->out, conn_version(call->conn));
  toon_status status = document_bytes(call, d, node, &value);
  if (status == TOON_OK && command_overfull(call, value.len)) status = TOON_ENOMEM;
  if (status == TOON_OK) status = resp_bulk(call->out, toon_buf_slice(&value));
  toon_buf_free(&value);
  return status;
}

static toon_status reply_name(command_call *call, const document *d, uint32_t node) {
  toon_buf name = {0};
  toon_status status = document_name(d->tree.nodes[node].key, &name);
  if (status == TOON_OK && command_overfull(call, name.len)) status = TOON_ENOMEM;
  if (status == TOON_OK) status = resp_bulk(call->out, toon_buf_slice(&name));
  toon_buf_free(&name);
  return status;
}

/* ---- reading ---- */

static toon_status with_hash(command_call *call, document_fn fn) { return document_with(call, document_read_hash, fn); }

static toon_status hget(command_call *call, document *d) {
  toon_slice key;
  uint32_t node;
  TOON_TRY(find_field(call, d, 2, &key, &node));
  return reply_field(call, d, node);
}
toon_status command_hget(command_call *call) { return with_hash(call, hget); }

static toon_status hmget(command_call *call, document *d) {
  TOON_TRY(resp_array(call->out, call->count - 2));
  for (size_t i = 2; i < call->count; i++) {
    toon_slice key;
    uint32_t node;
    TOON_TRY(find_field(call, d, i, &key, &node));
    TOON_TRY(reply_field(call, d, node));
  }
  return TOON_OK;
}
toon_status command_hmget(command_call *call) { return with_hash(call, hmget); }

static toon_status hexists(command_call *call, document *d) {
  toon_slice key;
  uint32_t node;
  TOON_TRY(find_field(call, d, 2, &key, &node));
  return resp_int(call->out, node != JSON_NONE);
}
toon_status command_hexists(command_call *call) { return with_hash(call, hexists); }

static toon_status hstrlen(command_call *call, document *d) {
  toon_slice key;
  uint32_t node;
  toon_buf value = {0};
  TOON_TRY(find_field(call, d, 2, &key, &node));
  toon_status status = node == JSON_NONE ? TOON_OK : document_bytes(call, d, node, &value);
  if (status == TOON_OK) status = resp_int(call->out, (int64_t)value.len);
  toon_buf_free(&value);
  return status;
}
toon_status command_hstrlen(command_call *call) { return with_hash(call, hstrlen); }

static toon_status hlen(command_call *call, document *d) { return resp_int(call->out, d->tree.nodes[0].count); }
toon_status command_hlen(command_call *call) { return with_hash(call, hlen); }

static toon_status reply_all(command_call *call, const document *d, bool names, bool values) {
  for (uint32_t i = json_first(&d->tree, 0); i != JSON_NONE; i = json_next(&d->tree, i)) {
    if (names) TOON_TRY(reply_name(call, d, i));
    if (values) TOON_TRY(reply_field(call, d, i));
  }
  return TOON_OK;
}

static toon_status hkeys(command_call *call, document *d) {
  TOON_TRY(resp_array(call->out, d->tree.nodes[0].count));
  return reply_all(call, d, true, false);
}
toon_status command_hkeys(command_call *call) { return with_hash(call, hkeys); }

static toon_status hvals(command_call *call, document *d) {
  TOON_TRY(resp_array(call->out, d->tree.nodes[0].count));
  return reply_all(call, d, false, true);
}
toon_status command_hvals(command_call *call) { return with_hash(call, hvals); }

static toon_status hgetall(command_call *call, document *d) {
  TOON_TRY(resp_map(call->out, conn_version(call->conn), d->tree.nodes[0].count));
  return reply_all(call, d, true, true);
}
toon_status command_hgetall(command_call *call) { return with_hash(call, hgetall); }

/* HSCAN key cursor [MATCH pattern] [COUNT count]: a document is read whole, so it is told whole. */
static toon_status hscan(command_call *call, document *d) {
  toon_slice pattern = TOON_SLICE_LIT("*");
  toon_buf name = {0}, fields = {0};
  size_t count = 0;
  int64_t number;
  for (size_t i = 3; d->found && i < call->count; i += 2) {
    if (i + 1 == call->count) return command_syntax_error(call);
    if (command_word(call_arg(call, i), "match")) {
      pattern = call_arg(call, i + 1);
    } else if (command_word(call_arg(call, i), "count")) {
      if (!resp_integer(call_arg(call, i + 1), &number)) return command_error(call, NOT_AN_INTEGER);
      if (number < 1) return command_syntax_error(call);
    } else {
      return command_syntax_error(call);
    }
  }
  toon_status status = TOON_OK;
  for (uint32_t i = json_first(&d->tree, 0); i != JSON_NONE && status == TOON_OK; i = json_next(&d->tree, i)) {
    name.len = 0;
    status = document_name(d->tree.nodes[i].key, &name);
    if (status != TOON_OK || !command_matches(pattern, toon_buf_slice(&name))) continue;
    count += 2;
    status = resp_bulk(&fields, toon_buf_slice(&name));
    name.len = 0;
    if (status == TOON_OK) status = document_bytes(call, d, i, &name);
    if (status == TOON_OK) status = resp_bulk(&fields, toon_buf_slice(&name));
  }
  if (status == TOON_OK) status = resp_array(call->out, 2);
  if (status == TOON_OK) status = resp_bulk(call->out, TOON_SLICE_LIT("0"));
  if (status == TOON_OK) status = resp_array(call->out, count);
  if (status == TOON_OK) status = toon_buf_add(call->out, toon_buf_slice(&fields));
  toon_buf_free(&name);
  toon_buf_free(&fields);
  return status;
}

toon_status command_hscan(command_call *call) {
  toon_slice cursor = call_arg(call, 2);
  bool good = cursor.len > 0 && cursor.len <= 20;
  for (size_t i = 0; i < cursor.len; i++) good = good && cursor.ptr[i] >= '0' && cursor.ptr[i] <= '9';
  return good ? with_hash(call, hscan) : command_error(call, "ERR invalid cursor");
}

/* HRANDFIELD key [count [WITHVALUES]]: without a count one field or null; a negative count may take one several times. */
static toon_status hrandfield(command_call *call, document *d) {
  uint32_t fields = d->tree.nodes[0].count, *order = NULL;
  int version = conn_version(call->conn);
  int64_t count = 1;
  bool values = call->count == 4;
  uint64_t random = 0;
  if (call->count > 2) (void)resp_integer(call_arg(call, 2), &count); /* it was looked at before */
  if (fields == 0) return call->count == 2 ? resp_null(call->out, version) : resp_array(call->out, 0);
  bool again = count < 0;
  size_t wanted = again ? (size_t)-count : count < (int64_t)fields ? (size_t)count : fields;
  order = (uint32_t *)toon_malloc(fields * sizeof *order);
  if (!order) return TOON_ENOMEM;
  uint32_t n = 0;
  for (uint32_t i = json_first(&d->tree, 0); i != JSON_NONE; i = json_next(&d->tree, i)) order[n++] = i;
  uv_random(NULL, NULL, &random, sizeof random, 0, NULL);
  toon_status status = TOON_OK;
  bool pairs = values && version == 3;
  if (call->count > 2) status = resp_array(call->out, wanted * (values && !pairs ? 2 : 1));
  for (size_t i = 0; i < wanted && status == TOON_OK; i++) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    size_t pick = (size_t)((random >> 33) % (again ? n : n - i)) + (again ? 0 : i);
    uint32_t node = order[pick];
    if (!again) { /* what was taken comes to the front */
      order[pick] = order[i];
      order[i] = node;
    }
    if (pairs) status = resp_array(call->out, 2);
    if (status == TOON_OK) status = reply_name(call, d, node);
    if (status == TOON_OK && values) status = reply_field(call, d, node);
  }
  toon_free(order);
  return status;
}

toon_status command_hrandfield(command_call *call) {
  int64_t count = 1;
  if (call->count > 2 && !resp_integer(call_arg(call, 2), &count)) return command_error(call, NOT_AN_INTEGER);
  if (call->count > 4 || (call->count == 4 && !command_word(call_arg(call, 3), "withvalues")))
    return command_syntax_error(call);
  if (count < -(1 << 24)) return command_error(call, "ERR value is out of range");
  return with_hash(call, hrandfield);
}

/* ---- writing ---- */

/* A node for the text that a client gives: of the old one's type, if it is a text of that type, else a string. */
static toon_status typed(command_call *call, document *d, uint32_t old, toon_slice text, uint32_t *node) {
  uint8_t kind = old == JSON_NONE ? '"' : d->tree.nodes[old].kind;
  bool literal = ((kind == 't' || kind == 'f') &&
                  (toon_slice_eq(text, TOON_SLICE_LIT("true")) || toon_slice_eq(text, TOON_SLICE_LIT("false")))) ||
                 (kind == 'n' && toon_slice_eq(text, TOON_SLICE_LIT("null")));
  if (kind == 0 && text.len && text.len < 64 && (text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9'))) {
    toon_buf field = {0}, same = {0};
    toon_error err;
    uint8_t flags;
    literal = toon_field_json(text, 64, &field, &flags, &err) == TOON_OK &&
              toon_field_to_json(toon_buf_slice(&field), &same, &err) == TOON_OK &&
              toon_slice_eq(text, toon_buf_slice(&same));
    toon_buf_free(&field);
    toon_buf_free(&same);
  }
  return literal ? document_json(call, d, text, node) : document_string(call, d, text, node);
}

/* Give a field a value. */
static toon_status set_field(command_call *call, document *d, toon_slice key, uint32_t old, toon_slice text) {
  uint32_t node;
  TOON_TRY(typed(call, d, old, text, &node));
  if (old == JSON_NONE)
    json_append(&d->tree, 0, key, node);
  else
    json_replace(&d->tree, old, node);
  return TOON_OK;
}

static toon_status hset(command_call *call, document *d) {
  int64_t made = 0;
  for (size_t i = 2; i < call->count; i += 2) {
    toon_slice key;
    uint32_t node;
    TOON_TRY(find_field(call, d, i, &key, &node));
    TOON_TRY(set_field(call, d, key, node, call_arg(call, i + 1)));
    made += node == JSON_NONE;
  }
  TOON_TRY(document_save(call, d, true));
  return command_word(call_arg(call, 0), "hset") ? resp_int(call->out, made) : resp_status(call->out, "OK");
}

toon_status command_hset(command_call *call) {
  if (call->count % 2)
    return command_error(call, "ERR wrong number of arguments for '%s' command", call->command->name);
  return with_hash(call, hset);
}

static toon_status hsetnx(command_call *call, document *d) {
  toon_slice key;
  uint32_t node;
  TOON_TRY(find_field(call, d, 2, &key, &node));
  if (node != JSON_NONE) return resp_int(call->out, 0);
  TOON_TRY(set_field(call, d, key, node, call_arg(call, 3)));
  TOON_TRY(document_save(call, d, true));
  return resp_int(call->out, 1);
}
toon_status command_hsetnx(command_call *call) { return with_hash(call, hsetnx); }

static toon_status hdel(command_call *call, document *d) {
  int64_t gone = 0;
  for (size_t i = 2; i < call->count; i++) {
    toon_slice key;
    uint32_t node;
    TOON_TRY(find_field(call, d, i, &key, &node));
    if (node == JSON_NONE) continue;
    json_remove(&d->tree, 0, node);
    gone++;
  }
  if (gone) TOON_TRY(document_save(call, d, true));
  return resp_int(call->out, gone);
}
toon_status command_hdel(command_call *call) { return with_hash(call, hdel); }

static toon_status hincrby(command_call *call, document *d) {
  toon_slice key;
  uint32_t node;
  int64_t by = 0, number = 0;
  toon_buf value = {0};
  (void)resp_integer(call_arg(call, 3), &by); /* it was looked at before */
  TOON_TRY(find_field(call, d, 2, &key, &node));
  toon_status status = node == JSON_NONE ? TOON_OK : document_bytes(call, d, node, &value);
  bool integer = node == JSON_NONE || resp_integer(toon_buf_slice(&value), &number);
  toon_buf_free(&value);
  TOON_TRY(status);
  if (!integer) return command_error(call, "ERR hash value is not an integer");
  if (__builtin_add_overflow(number, by, &number))
    return command_error(call, "ERR increment or decrement would overflow");
  char digits[24];
  int len = snprintf(digits, sizeof digits, "%lld", (long long)number);
  TOON_TRY(set_field(call, d, key, node, toon_slice_of(digits, (size_t)len)));
  TOON_TRY(document_save(call, d, true));
  return resp_int(call->out, number);
}

toon_status command_hincrby(command_call *call) {
  int64_t by;
  return resp_integer(call_arg(call, 3), &by) ? with_hash(call, hincrby) : command_error(call, NOT_AN_INTEGER);
}

static toon_status hincrbyfloat(command_call *call, document *d) {
  toon_slice key;
  uint32_t node;
  long double by = 0, number = 0;
  toon_buf value = {0};
  char digits[5200];
  (void)command_float(call_arg(call, 3), &by); /* it was looked at before */
  TOON_TRY(find_field(call, d, 2, &key, &node));
  toon_status status = node == JSON_NONE ? TOON_OK : document_bytes(call, d, node, &value);
  bool good = node == JSON_NONE || command_float(toon_buf_slice(&value), &number);
  toon_buf_free(&value);
  TOON_TRY(status);
  if (!good) return command_error(call, "ERR hash value is not a float");
  number += by;
  if (isnan(number) || isinf(number)) return command_error(call, "ERR increment would produce NaN or Infinity");
  int len = command_float_text(number, digits, sizeof digits);
  TOON_TRY(set_field(call, d, key, node, toon_slice_of(digits, (size_t)len)));
  TOON_TRY(document_save(call, d, true));
  return resp_bulk(call->out, toon_slice_of(digits, (size_t)len));
}

toon_status command_hincrbyfloat(command_call *call) {
  long double by;
  if (!command_float(call_arg(call, 3), &by)) return command_error(call, "ERR value is not a valid float");
  if (isinf(by)) return command_error(call, "ERR value is NaN or Infinity");
  return with_hash(call, hincrbyfloat);
}
