/* LCS: the longest common subsequence of two strings, by the table of lengths of all prefixes, as Redis has it. */
#include "resp/command.h"

#include "base/alloc.h"

typedef struct lcs_options {
  bool idx, len, with_len;
  int64_t min;
} lcs_options;

static toon_status read_options(command_call *call, lcs_options *o) {
  *o = (lcs_options){0};
  for (size_t i = 3; i < call->count; i++) {
    toon_slice arg = call_arg(call, i);
    if (command_word(arg, "idx")) {
      o->idx = true;
    } else if (command_word(arg, "len")) {
      o->len = true;
    } else if (command_word(arg, "withmatchlen")) {
      o->with_len = true;
    } else if (command_word(arg, "minmatchlen") && i + 1 < call->count) {
      if (!resp_integer(call_arg(call, ++i), &o->min))
        return command_error(call, "ERR value is not an integer or out of range");
      if (o->min < 0) o->min = 0;
    } else {
      return command_syntax_error(call);
    }
  }
  if (o->idx && o->len) return command_error(call, "ERR If you want both the length and indexes, please just use IDX.");
  return TOON_OK;
}

static toon_status read_string(command_call *call, size_t i, toon_buf *out) {
  toon_key key;
  data_row row;
  toon_error err;
  bool found;
  TOON_TRY(command_key(call, i, &key));
  toon_status status = data_get(call, key, &row, &found);
  if (status == TOON_OK && found) {
    if (toon_row_kind(&row.row) >= TOON_ARRAY)
      status = command_error(call, "ERR The specified keys must contain string values");
    else if (toon_row_value(&row.row, out, &err) != TOON_OK)
      status = command_fail(call, &err);
  }
  data_release(call, &row);
  return status;
}

static toon_status put_range(toon_buf *out, size_t first, size_t last) {
  TOON_TRY(resp_array(out, 2));
  TOON_TRY(resp_int(out, (int64_t)first));
  return resp_int(out, (int64_t)last);
}

static toon_status put_match(toon_buf *out, const lcs_options *o, size_t a, size_t b, size_t count) {
  TOON_TRY(resp_array(out, o->with_len ? 3 : 2));
  TOON_TRY(put_range(out, a, a + count - 1));
  TOON_TRY(put_range(out, b, b + count - 1));
  return o->with_len ? resp_int(out, (int64_t)count) : TOON_OK;
}

/* The reply from the table: row i of it is for the first i bytes of a. */
static toon_status tell(command_call *call, const lcs_options *o, toon_slice a, toon_slice b, const uint32_t *table) {
  size_t width = b.len + 1, i = a.len, j = b.len, length = table ? table[i * width + j] : 0, left = length;
  size_t run = 0, matches = 0;
  toon_buf text = {0}, list = {0};
  toon_status status = toon_buf_reserve(&text, length);
  text.len = length;
  while (table && i && j && status == TOON_OK) {
    bool hit = a.ptr[i - 1] == b.ptr[j - 1];
    if (hit) {
      text.ptr[--left] = a.ptr[i - 1];
      i--;
      j--;
      run++;
    }
    /* A run of matches ends at a byte that is not in it, or where a string begins. */
    if (run && (!hit || !i || !j)) {
      if (o->idx && (o->min == 0 || (int64_t)run >= o->min)) {
        status = put_match(&list, o, i, j, run);
        matches++;
      }
      run = 0;
    }
    if (!hit) {
      if (table[(i - 1) * width + j] > table[i * width + j - 1])
        i--;
      else
        j--;
    }
  }
  if (status == TOON_OK) {
    if (o->idx) {
      status = resp_map(call->out, conn_version(call->conn), 2);
      if (status == TOON_OK) status = resp_bulk(call->out, TOON_SLICE_LIT("matches"));
      if (status == TOON_OK) status = resp_array(call->out, matches);
      if (status == TOON_OK) status = toon_buf_add(call->out, toon_buf_slice(&list));
      if (status == TOON_OK) status = resp_bulk(call->out, TOON_SLICE_LIT("len"));
      if (status == TOON_OK) status = resp_int(call->out, (int64_t)length);
    } else if (o->len) {
      status = resp_int(call->out, (int64_t)length);
    } else {
      status = resp_bulk(call->out, toon_buf_slice(&text));
    }
  }
  toon_buf_free(&text);
  toon_buf_free(&list);
  return status;
}

/* LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN] */
toon_status command_lcs(command_call *call) {
  lcs_options o;
  toon_buf a = {0}, b = {0};
  uint32_t *table = NULL;
  toon_status status = data_snapshot(call);
  if (status == TOON_OK) status = read_string(call, 1, &a);
  if (status == TOON_OK) status = read_string(call, 2, &b);
  if (status == TOON_OK) status = read_options(call, &o);
  if (status == TOON_OK && a.len && b.len) {
    uint64_t cells = (uint64_t)(a.len + 1) * (b.len + 1);
    if (cells > (uint64_t)RESP_BULK_MAX / sizeof *table)
      status = command_error(call, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    else if (!(table = (uint32_t *)toon_calloc((size_t)cells, sizeof *table)))
      status = command_error(call, "ERR Insufficient memory, failed allocating transient memory for LCS");
  }
  for (size_t i = 1; table && i <= a.len; i++) {
    const uint32_t *above = table + (i - 1) * (b.len + 1);
    uint32_t *row = table + i * (b.len + 1);
    for (size_t j = 1; j <= b.len; j++)
      row[j] = a.ptr[i - 1] == b.ptr[j - 1] ? above[j - 1] + 1 : above[j] > row[j - 1] ? above[j] : row[j - 1];
  }
  if (status == TOON_OK) status = tell(call, &o, toon_buf_slice(&a), toon_buf_slice(&b), table);
  toon_free(table);
  toon_buf_free(&a);
  toon_buf_free(&b);
  return status;
}
