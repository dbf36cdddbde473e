/* TOON.GET, TOON.SET, TOON.RANGE: what only this server has. Documents and ranges of them as text for a language model's prompt. */
#include "resp/command.h"
#include "resp/tokens.h"

#include "base/alloc.h"

enum { NAMES_MAX = 1024, TEXT_MAX = 64 << 20 };

/* Fields given by arguments first … end: "a.b" is a within b. NULL in *out for none. */
static toon_status read_fields(command_call *call, size_t first, size_t end, bool nulls, toon_projection **out) {
  toon_slice names[NAMES_MAX];
  toon_path paths[NAMES_MAX];
  size_t count = 0;
  toon_error err;
  *out = NULL;
  if (first == end) return TOON_OK;
  for (size_t i = first; i < end; i++) {
    toon_slice arg = call_arg(call, i);
    toon_path *path = &paths[i - first];
    if (i - first == NAMES_MAX) return command_error(call, "ERR too many fields");
    *path = (toon_path){.names = &names[count]};
    for (size_t from = 0, at = 0; at <= arg.len; at++) {
      if (at < arg.len && arg.ptr[at] != '.') continue;
      if (count == NAMES_MAX) return command_error(call, "ERR too many fields");
      names[count++] = toon_slice_of(arg.ptr + from, at - from);
      path->count++;
      from = at + 1;
    }
  }
  if (toon_projection_new(paths, end - first, nulls, out, &err) != TOON_OK) return command_fail(call, &err);
  return TOON_OK;
}

/* TOON.GET key [field…]: the value as TOON; with fields an object of those. Bytes are the token base64:… */
toon_status command_toon_get(command_call *call) {
  toon_key key;
  data_row row;
  toon_projection *projection;
  toon_error err;
  toon_buf json = {0}, text = {0};
  bool found;
  TOON_TRY(command_key(call, 1, &key));
  TOON_TRY(read_fields(call, 2, call->count, false, &projection));
  toon_status status = data_get(call, key, &row, &found);
  if (status == TOON_OK && found) {
    toon_status made = projection ? toon_projection_json(projection, row.row.field, &json, &err)
                                  : toon_field_to_document(row.row.field, &text, &err);
    if (made == TOON_OK && projection) made = toon_encode(toon_buf_slice(&json), NULL, &text, &err);
    if (made != TOON_OK) status = command_fail(call, &err);
  }
  if (status == TOON_OK)
    status = found ? resp_bulk(call->out, toon_buf_slice(&text)) : resp_null(call->out, conn_version(call->conn));
  data_release(call, &row);
  toon_projection_free(projection);
  toon_buf_free(&json);
  toon_buf_free(&text);
  return status;
}

/* TOON.SET key text: decoded, and kept as our own encoder writes it. */
toon_status command_toon_set(command_call *call) {
  toon_key key;
  toon_error err;
  toon_buf json = {0};
  TOON_TRY(command_key(call, 1, &key));
  toon_status status = TOON_OK;
  if (toon_decode(call_arg(call, 2), NULL, &json, &err) != TOON_OK) status = command_fail(call, &err);
  if (status == TOON_OK) status = data_put(call, key, TOON_INPUT_JSON, toon_buf_slice(&json), 0);
  toon_buf_free(&json);
  TOON_TRY(status);
  return resp_status(call->out, "OK");
}

/* ---- TOON.RANGE ---- */

/* The document of at most `rows` rows from a snapshot; *got: how many there were. */
static toon_status make_text(command_call *call, const toon_snapshot *snapshot, const toon_range *range,
                             toon_projection *projection, uint64_t rows, toon_buf *out, uint64_t *got) {
  toon_cursor *cursor = NULL;
  toon_emitter *emitter = NULL;
  toon_range some = *range;
  toon_error err;
  size_t bytes = 0;
  some.limit = rows;
  out->len = 0;
  *got = 0;
  toon_status status = toon_cursor_open(call->db, snapshot, &some, &cursor, &err);
  if (status == TOON_OK) status = toon_emitter_new(projection, toon_slice_of(NULL, 0), ',', &emitter, &err);
  while (status == TOON_OK) {
    toon_key key;
    toon_row row;
    bool end;
    status = toon_cursor_next(cursor, false, &key, &row, &end, &err);
    if (status != TOON_OK || end) break;
    status = toon_emitter_add(emitter, toon_slice_of(key.ptr, key.len), row.field, &err);
    ++*got;
    bytes += key.len + row.field.len;
    if (status == TOON_OK && bytes > TEXT_MAX)
      status = toon_fail(&err, TOON_EVALUETOOBIG, "the range has more than %d bytes of text; give a LIMIT", TEXT_MAX);
  }
  if (status == TOON_OK) status = toon_emitter_end(emitter, out, &err);
  toon_emitter_free(emitter);
  toon_cursor_close(cursor);
  return status == TOON_OK ? TOON_OK : command_fail(call, &err);
}

/* As many rows as fit the budget: first ever more, then between the last that fitted and the first that did not. */
static toon_status make_within(command_call *call, const toon_snapshot *snapshot, const toon_range *range,
                               toon_projection *projection, uint64_t most, uint64_t budget, toon_buf *out) {
  uint64_t fits = 0, fails = most == UINT64_MAX ? most : most + 1, rows = 64 < most ? 64 : most, got;
  toon_buf text = {0};
  toon_status status = TOON_OK;
  while (fits + 1 < fails && status == TOON_OK) {
    status = make_text(call, snapshot, range, projection, rows, &text, &got);
    if (status != TOON_OK) break;
    if (tokens_estimate(toon_buf_slice(&text)) <= budget) {
      toon_buf better = text; /* what has fitted best is kept */
      text = *out;
      *out = better;
      fits = got;
      if (got < rows) break; /* the range has no more */
    } else {
      fails = got;
    }
    rows = fails > most ? (fits * 4 < most ? fits * 4 : most) : fits + (fails - fits) / 2;
  }
  toon_buf_free(&text);
  return status;
}

static bool is_option(toon_slice arg) {
  return command_word(arg, "fields") || command_word(arg, "limit") || command_word(arg, "maxtokens");
}

/* An end of the range: - and + are open, ( is before one that is outside, [ before one that is inside, as is a plain one. */
static void read_bound(toon_slice arg, bool lower, toon_range *range) {
  if (arg.len == 1 && arg.ptr[0] == (lower ? '-' : '+')) return;
  bool open = arg.len > 0 && arg.ptr[0] == '(', marked = open || (arg.len > 0 && arg.ptr[0] == '[');
  toon_slice key = toon_slice_of(arg.ptr + marked, arg.len - marked);
  if (lower) {
    range->lower = key;
    range->has_lower = true;
    range->lower_open = open;
  } else {
    range->upper = key;
    range->has_upper = true;
    range->upper_open = open;
  }
}

/* TOON.RANGE start end | PREFIX prefix [FIELDS field…] [LIMIT rows] [MAXTOKENS tokens] */
toon_status command_toon_range(command_call *call) {
  toon_range range = {0};
  size_t fields = 0, fields_end = 0;
  int64_t limit = INT64_MAX, budget = -1;
  if (command_word(call_arg(call, 1), "prefix")) {
    range.prefix = call_arg(call, 2);
  } else {
    read_bound(call_arg(call, 1), true, &range);
    read_bound(call_arg(call, 2), false, &range);
  }
  for (size_t i = 3; i < call->count;) {
    toon_slice option = call_arg(call, i);
    if (command_word(option, "fields")) {
      fields = ++i;
      while (i < call->count && !is_option(call_arg(call, i))) i++;
      fields_end = i;
      if (fields == fields_end) return command_syntax_error(call);
      continue;
    }
    if (!is_option(option) || i + 1 == call->count) return command_syntax_error(call);
    bool rows = command_word(option, "limit");
    if (!resp_integer(call_arg(call, i + 1), rows ? &limit : &budget) || (rows ? limit < 1 : budget < 0))
      return command_error(call, "ERR value is not an integer or out of range");
    i += 2;
  }
  toon_projection *projection;
  toon_snapshot *snapshot = NULL;
  toon_buf text = {0};
  toon_error err;
  uint64_t got;
  TOON_TRY(read_fields(call, fields, fields_end, true, &projection));
  toon_status status = toon_snapshot_open(call->db, &snapshot, &err);
  if (status != TOON_OK)
    status = command_fail(call, &err);
  else if (budget < 0)
    status = make_text(call, snapshot, &range, projection, (uint64_t)limit, &text, &got);
  else
    status = make_within(call, snapshot, &range, projection, (uint64_t)limit, (uint64_t)budget, &text);
  if (status == TOON_OK) status = resp_bulk(call->out, toon_buf_slice(&text));
  toon_snapshot_close(snapshot);
  toon_projection_free(projection);
  toon_buf_free(&text);
  return status;
}
