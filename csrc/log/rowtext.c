/* Row texts: key tokens, comment lines, and the walk over a group. */
#include "log/rowtext.h"
#include "base/utf.h"
#include "toon/toon.h"

static const char hex_digits[] = "0123456789abcdef";

/* "row." + a canonical decimal: a token of that form names a row id. */
static bool has_row_form(toon_slice s) {
  if (s.len < 5 || memcmp(s.ptr, "row.", 4) != 0) return false;
  if (s.ptr[4] == '0' && s.len > 5) return false;
  for (size_t i = 4; i < s.len; i++)
    if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
  return true;
}

static int hex_value(uint8_t c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool has_hex_form(toon_slice s) {
  if (s.len < 6 || s.len % 2 || memcmp(s.ptr, "hex.", 4) != 0) return false;
  for (size_t i = 4; i < s.len; i++)
    if (hex_value(s.ptr[i]) < 0) return false;
  return true;
}

toon_status log_put_key_token(toon_buf *out, toon_key key) {
  if (key.space == TOON_SPACE_ROW) {
    char digits[24];
    size_t n = sizeof digits;
    uint64_t id = toon_row_id(key);
    do {
      digits[--n] = (char)('0' + id % 10);
      id /= 10;
    } while (id);
    TOON_TRY(toon_buf_lit(out, "row."));
    return toon_buf_append(out, digits + n, sizeof digits - n);
  }
  toon_slice bytes = toon_slice_of(key.ptr, key.len);
  if (!has_row_form(bytes) && !has_hex_form(bytes) && toon_utf8_valid(key.ptr, key.len) == key.len)
    return toon_put_key(out, bytes);
  TOON_TRY(toon_buf_reserve(out, 4 + 2 * (size_t)key.len));
  memcpy(out->ptr + out->len, "hex.", 4);
  uint8_t *p = out->ptr + out->len + 4;
  for (uint32_t i = 0; i < key.len; i++) {
    *p++ = (uint8_t)hex_digits[key.ptr[i] >> 4];
    *p++ = (uint8_t)hex_digits[key.ptr[i] & 15];
  }
  out->len += 4 + 2 * (size_t)key.len;
  return TOON_OK;
}

toon_status log_put_expires(toon_buf *out, int64_t expires_at) {
  return toon_buf_printf(out, "# expires %lld\n", (long long)expires_at);
}

toon_status log_put_delete(toon_buf *out, toon_key key) {
  size_t start = out->len;
  toon_status status = toon_buf_lit(out, "# delete ");
  if (status == TOON_OK) status = log_put_key_token(out, key);
  if (status == TOON_OK) status = toon_buf_byte(out, '\n');
  if (status != TOON_OK) out->len = start;
  return status;
}

toon_status log_put_segments(toon_buf *out, const uint32_t *ids, size_t count) {
  size_t start = out->len;
  toon_status status = toon_buf_lit(out, "# segments ");
  for (size_t i = 0, end; i < count && status == TOON_OK; i = end) {
    for (end = i + 1; end < count && ids[end] == ids[end - 1] + 1; end++) {
    }
    status = toon_buf_printf(out, end - i > 1 ? "%s%lu-%lu" : "%s%lu", i ? "," : "", (unsigned long)ids[i],
                             (unsigned long)ids[end - 1]);
  }
  if (status == TOON_OK) status = toon_buf_byte(out, '\n');
  if (status != TOON_OK) out->len = start;
  return status;
}

static bool take_id(toon_slice *list, uint32_t *id) {
  uint64_t n = 0;
  size_t i = 0;
  for (; i < list->len && i < 10 && list->ptr[i] >= '0' && list->ptr[i] <= '9'; i++) n = n * 10 + (list->ptr[i] - '0');
  if (!i || n > UINT32_MAX || (i > 1 && list->ptr[0] == '0')) return false;
  *id = (uint32_t)n;
  *list = toon_slice_of(list->ptr + i, list->len - i);
  return true;
}

bool log_take_segments(toon_slice *list, uint32_t *first, uint32_t *last) {
  if (!take_id(list, first)) return false;
  *last = *first;
  if (list->len && list->ptr[0] == '-') {
    *list = toon_slice_of(list->ptr + 1, list->len - 1);
    if (!take_id(list, last) || *last <= *first) return false;
  }
  if (!list->len) return true;
  if (list->ptr[0] != ',' || list->len == 1) return false;
  *list = toon_slice_of(list->ptr + 1, list->len - 1);
  return true;
}

static bool is_list(toon_slice list) {
  uint32_t first, last, before = 0;
  bool any = false;
  for (; list.len; any = true, before = last)
    if (!log_take_segments(&list, &first, &last) || (any && first <= before)) return false;
  return any;
}

toon_status log_get_key_token(toon_slice text, toon_buf *scratch, toon_key *key, size_t *token_len, toon_error *err) {
  toon_slice bytes;
  TOON_TRY(toon_get_key(text, scratch, &bytes, token_len, err));
  if (text.ptr[0] == '"' || (bytes.len > 0 && bytes.ptr[0] != 'r' && bytes.ptr[0] != 'h')) {
    /* the usual case */
  } else if (has_row_form(bytes)) {
    uint64_t id = 0;
    for (size_t i = 4; i < bytes.len; i++) {
      unsigned digit = (unsigned)(bytes.ptr[i] - '0');
      if (id > (UINT64_MAX - digit) / 10) return toon_fail(err, TOON_ECORRUPT, "a row id does not fit 64 bits");
      id = id * 10 + digit;
    }
    scratch->len = 0;
    TOON_TRY(toon_buf_reserve(scratch, 8));
    *key = toon_row_key(id, scratch->ptr);
    return TOON_OK;
  } else if (has_hex_form(bytes)) {
    size_t n = (bytes.len - 4) / 2;
    if (n > TOON_KEY_MAX) return toon_fail(err, TOON_ECORRUPT, "a key is longer than 4096 bytes");
    scratch->len = 0;
    TOON_TRY(toon_buf_reserve(scratch, n));
    for (size_t i = 0; i < n; i++)
      scratch->ptr[i] = (uint8_t)(hex_value(bytes.ptr[4 + 2 * i]) << 4 | hex_value(bytes.ptr[5 + 2 * i]));
    *key = toon_user_key(scratch->ptr, n);
    return TOON_OK;
  }
  if (bytes.len > TOON_KEY_MAX) return toon_fail(err, TOON_ECORRUPT, "a key is longer than 4096 bytes");
  *key = toon_user_key(bytes.ptr, bytes.len);
  return TOON_OK;
}

void log_rows_init(log_rows *rows, toon_slice group) { *rows = (log_rows){.group = group}; }
void log_rows_free(log_rows *rows) { toon_buf_free(&rows->scratch); }

/* Offset behind the newline of the line at `at`; 0 if it has none. */
static size_t line_end(toon_slice group, size_t at) {
  const uint8_t *newline = memchr(group.ptr + at, '\n', group.len - at);
  return newline ? (size_t)(newline + 1 - group.ptr) : 0;
}

static bool starts_with(toon_slice group, size_t at, const char *mark, size_t len) {
  return group.len - at >= len && memcmp(group.ptr + at, mark, len) == 0;
}

#define EXPIRES "# expires "
#define DELETE "# delete "
#define SEGMENTS "# segments "

static toon_status bad(toon_error *err, const char *what) { return toon_fail(err, TOON_ECORRUPT, "%s", what); }

toon_status log_rows_next(log_rows *rows, log_row *row, bool *end, toon_error *err) {
  toon_slice group = rows->group;
  size_t start, at, next, token;
  for (at = rows->offset; starts_with(group, at, SEGMENTS, sizeof SEGMENTS - 1); at = rows->offset = next) {
    next = line_end(group, at);
    size_t from = at + sizeof SEGMENTS - 1;
    if (!next || !is_list(toon_slice_of(group.ptr + from, next - 1 - from)))
      return bad(err, "a list of segments makes no sense");
    rows->segments = toon_slice_of(group.ptr + from, next - 1 - from);
    rows->list_bytes += (uint32_t)(next - at);
  }
  start = at;
  *end = at == group.len;
  if (*end) return TOON_OK;
  *row = (log_row){.offset = (uint32_t)start};

  if (starts_with(group, at, DELETE, sizeof DELETE - 1)) {
    next = line_end(group, at);
    at += sizeof DELETE - 1;
    if (!next) return bad(err, "a delete line has no end");
    TOON_TRY(log_get_key_token(toon_slice_of(group.ptr + at, next - at), &rows->scratch, &row->key, &token, err));
    if (at + token + 1 != next) return bad(err, "a delete line has text behind its key");
    row->is_delete = true;
    row->length = (uint32_t)(next - start);
    rows->offset = next;
    return TOON_OK;
  }
  if (starts_with(group, at, EXPIRES, sizeof EXPIRES - 1)) {
    uint64_t when = 0;
    size_t p = at + sizeof EXPIRES - 1;
    for (; p < group.len && group.ptr[p] >= '0' && group.ptr[p] <= '9' && when < (1ull << 58); p++)
      when = when * 10 + (uint64_t)(group.ptr[p] - '0');
    if (p == at + sizeof EXPIRES - 1 || p >= group.len || group.ptr[p] != '\n' || when == 0)
      return bad(err, "an expires line has no valid time");
    row->expires = (int64_t)when;
    at = p + 1;
    if (at == group.len) return bad(err, "an expires line has no row");
  }
  if (group.ptr[at] == '#')
    return toon_fail(err, TOON_EFORMAT,
                     "the log has a kind of comment line this version does not know; upgrade toonstore");

  TOON_TRY(log_get_key_token(toon_slice_of(group.ptr + at, group.len - at), &rows->scratch, &row->key, &token, err));
  next = at + token;
  do {
    next = next < group.len ? line_end(group, next) : 0;
    if (!next) return bad(err, "a row has no end");
  } while (next < group.len && group.ptr[next] == ' ');
  row->field = (uint32_t)(at + token - start);
  row->length = (uint32_t)(next - start);
  row->flags = toon_field_flags(toon_slice_of(group.ptr + at + token, next - at - token));
  rows->offset = next;
  return TOON_OK;
}
