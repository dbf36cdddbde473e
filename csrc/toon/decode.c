/* From TOON to JSON, line by line, with a stack of our own. JSON goes out as lines come in, so nothing is
 * kept but the open containers (and, to refuse a key that comes twice, the places of their keys in the JSON).
 *
 * A container on the stack is one of two: fields at one depth (the first field may have stood behind a list's
 * hyphen), or list items at one depth. Tables are read in one go, as their rows hold nothing but scalars. */
#include "toon/decode.h"

#include "base/alloc.h"
#include "toon/encode.h"
#include "toon/number.h"
#include "toon/scan.h"
#include "toon/table.h"

#define DEPTH_OPEN UINT32_MAX /* taken from the first line */

typedef toon_decode_frame frame;

static toon_status wrong(toon_decoder *d, const uint8_t *at, const char *expected) {
  d->fault = (toon_fault){at, expected};
  return TOON_ESYNTAX;
}

static inline toon_status put(toon_decoder *d, const char *text, size_t len) {
  TOON_TRY(toon_room(&d->w, len));
  toon_write(&d->w, text, len);
  return TOON_OK;
}
#define put_lit(d, text) put(d, text, sizeof(text) - 1)

static toon_slice trim(const uint8_t *p, const uint8_t *end) {
  while (p < end && *p == ' ') p++;
  while (end > p && end[-1] == ' ') end--;
  return toon_slice_of(p, (size_t)(end - p));
}

static inline bool peek(toon_decoder *d, toon_status *status) {
  bool more;
  *status = toon_lines_peek(&d->lines, &more, &d->fault);
  return *status == TOON_OK && more;
}

/* ---- scalars ---- */

/* A number token whose form is OTHER. *is_string: it overflows, and stays a string. */
static toon_status put_odd_number(toon_decoder *d, const uint8_t *p, size_t len) {
  double value = toon_number_value(p, len);
  if (value == 0) return put_lit(d, "0"); /* there is no -0 */
  if (value - value != 0) return toon_write_json_string(&d->w, toon_slice_of(p, len));
  return put(d, (const char *)p, len);
}

/* A bare string; stop is its first byte that JSON escapes, or end. */
static inline toon_status put_string(toon_decoder *d, const uint8_t *p, const uint8_t *end, const uint8_t *stop) {
  size_t len = (size_t)(end - p);
  if (stop < end) return toon_write_json_string(&d->w, toon_slice_of(p, len));
  TOON_TRY(toon_room(&d->w, len + 2));
  toon_write_byte(&d->w, '"');
  toon_write_near(&d->w, p, len, d->lines.end);
  toon_write_byte(&d->w, '"');
  return TOON_OK;
}

static inline toon_status put_near(toon_decoder *d, const uint8_t *p, size_t len) {
  TOON_TRY(toon_room(&d->w, len));
  toon_write_near(&d->w, p, len, d->lines.end);
  return TOON_OK;
}

/* Length of the number at p if it is one to be copied: an integer of at most 16 digits, perhaps with as many
 * digits behind a point, up to `end` or the delimiter. 0 for all else, other numbers too. */
static inline size_t short_number(const uint8_t *p, const uint8_t *end, const uint8_t *limit, uint8_t delimiter) {
  const uint8_t *digits = p + (*p == '-'), *q = toon_skip_digits(digits, end, limit);
  size_t count = (size_t)(q - digits);
  if (count == 0 || count > 16 || (*digits == '0' && (count > 1 || *p == '-'))) return 0;
  if (q < end && *q == '.') {
    const uint8_t *point = q;
    q = toon_skip_digits(q + 1, end, limit);
    if (q - point < 2 || q - point > 17) return 0;
  }
  return q == end || *q == delimiter ? (size_t)(q - p) : 0;
}

/* An unquoted token without spaces around. */
static toon_status put_bare(toon_decoder *d, const uint8_t *p, const uint8_t *end) {
  size_t len = (size_t)(end - p);
  if (len && (toon_is_digit(*p) || *p == '-')) {
    toon_number_form form;
    if (toon_number_scan(p, end, &form) == len) {
      if (form == TOON_NUMBER_OTHER) return put_odd_number(d, p, len);
      return put_near(d, p, len);
    }
  } else if ((len == 4 || len == 5) && toon_is_literal(p, len)) {
    return put_near(d, p, len);
  }
  return put_string(d, p, end, toon_scan_escape(p, end, d->lines.end));
}

toon_status toon_decode_token(toon_decoder *d, toon_slice token) {
  const uint8_t *p = token.ptr, *end = p + token.len;
  if (token.len == 0 || *p != '"') return put_bare(d, p, end);
  TOON_TRY(toon_read_quoted(&p, end, &d->w, true, &d->fault));
  return p == end ? TOON_OK : wrong(d, p, "nothing behind the closing quote");
}

toon_status toon_decode_cell(toon_decoder *d, const uint8_t **at, const uint8_t *end, uint8_t delimiter) {
  const uint8_t *p = *at;
  while (p < end && *p == ' ') p++;
  if (p < end && *p == '"') {
    TOON_TRY(toon_read_quoted(&p, end, &d->w, true, &d->fault));
    while (p < end && *p == ' ') p++;
    if (p < end && *p != delimiter) return wrong(d, p, "a delimiter behind the closing quote");
    *at = p;
    return TOON_OK;
  }
  const uint8_t *stop = toon_find_bare(p, end, delimiter, delimiter);
  *at = stop;
  while (stop > p && stop[-1] == ' ') stop--;
  return put_bare(d, p, stop);
}

/* The same, without a call for most cells: short numbers, literals, strings without anything special. */
static inline toon_status put_cell(toon_decoder *d, const uint8_t **at, const uint8_t *end, uint8_t delimiter) {
  const uint8_t *p = *at;
  if (p == end) return toon_decode_cell(d, at, end, delimiter);
  uint8_t c = *p;
  if (toon_is_digit(c) || c == '-') {
    size_t len = short_number(p, end, d->lines.end, delimiter);
    if (len == 0) return toon_decode_cell(d, at, end, delimiter);
    *at = p + len;
    return put_near(d, p, len);
  }
  const uint8_t *stop = toon_scan_cell(p, end, d->lines.end, delimiter);
  if (c == ' ' || stop == p || (stop < end && *stop != delimiter) || stop[-1] == ' ')
    return toon_decode_cell(d, at, end, delimiter);
  *at = stop;
  size_t len = (size_t)(stop - p);
  if ((len == 4 || len == 5) && toon_is_literal(p, len)) return put_near(d, p, len);
  return put_string(d, p, stop, stop);
}

/* ---- keys ---- */

/* Write the key `token` (quotes and all) into the object f, with comma and colon. */
static toon_status put_key(toon_decoder *d, frame *f, toon_slice token) {
  TOON_TRY(toon_room(&d->w, 1));
  if (f->any) toon_write_byte(&d->w, ',');
  f->any = true;
  size_t at = toon_written(&d->w);
  if (token.len && *token.ptr == '"') {
    const uint8_t *p = token.ptr;
    TOON_TRY(toon_read_quoted(&p, p + token.len, &d->w, true, &d->fault));
  } else {
    const uint8_t *end = token.ptr + token.len;
    TOON_TRY(put_string(d, token.ptr, end, toon_scan_escape(token.ptr, end, d->lines.end)));
  }
  f->key_at = (uint32_t)at;
  f->key_len = (uint32_t)(toon_written(&d->w) - at);
  if (d->unique) {
    bool fresh;
    TOON_TRY(toon_keyset_add(&d->keys, f->keys, d->w.buf->ptr + d->w.start, f->key_at, f->key_len, &fresh));
    if (!fresh) return wrong(d, token.ptr, "no key twice in an object");
  }
  return put_lit(d, ":");
}

/* Split a line that is no header at its colon: the key token and the rest. */
static toon_status split_line(toon_decoder *d, const uint8_t *p, const uint8_t *end, toon_slice *key,
                              toon_slice *rest) {
  const uint8_t *colon;
  if (p < end && *p == '"') {
    colon = toon_closing_quote(p, end);
    if (colon == end) return wrong(d, p, "a quote that closes this key");
    *key = toon_slice_of(p, (size_t)(++colon - p));
    while (colon < end && *colon == ' ') colon++;
    if (colon == end || *colon != ':') return wrong(d, colon, "a colon behind the key");
  } else {
    colon = toon_scan_any(p, end, d->lines.end, ':', '"', '"');
    if (colon < end && *colon == '"') colon = toon_find_bare(colon, end, ':', ':');
    if (colon == end) return wrong(d, p, "a colon behind the key");
    *key = trim(p, colon);
  }
  *rest = trim(colon + 1, end);
  return TOON_OK;
}

/* ---- the stack ---- */

/* Look whether the JSON may go some levels deeper here. */
static inline toon_status deepen(toon_decoder *d, uint32_t levels, const uint8_t *at) {
  return d->depth + levels <= TOON_MAX_DEPTH ? TOON_OK : wrong(d, at, "no more than 2000 levels of nesting");
}

static toon_status push(toon_decoder *d, frame f, const uint8_t *at) {
  TOON_TRY(deepen(d, 1, at));
  if (!d->frames) {
    d->frames = d->frames_small;
    d->frames_cap = TOON_DECODE_FRAMES_SMALL;
  }
  if (d->depth == d->frames_cap) {
    uint32_t cap = d->frames_cap * 4;
    frame *frames = toon_realloc(d->frames == d->frames_small ? NULL : d->frames, cap * sizeof *frames);
    if (!frames) return TOON_ENOMEM;
    if (d->frames == d->frames_small) memcpy(frames, d->frames_small, sizeof d->frames_small);
    d->frames = frames;
    d->frames_cap = cap;
  }
  f.keys = toon_keyset_begin(&d->keys);
  d->frames[d->depth++] = f;
  if (f.list) return put_lit(d, "[");
  return put_lit(d, "{");
}

static toon_status put_empty(toon_decoder *d, const char *brackets, const uint8_t *at) {
  TOON_TRY(deepen(d, 1, at));
  return put(d, brackets, 2);
}

static toon_status pop(toon_decoder *d) {
  frame *f = &d->frames[--d->depth];
  if (f->list) return put_lit(d, "]");
  toon_keyset_end(&d->keys, f->keys);
  return put_lit(d, "}");
}

/* The depth that the lines below a header at depth `base` have. */
static toon_status content_depth(toon_decoder *d, uint32_t base, uint32_t *depth) {
  toon_status status;
  *depth = base + 1;
  if (!peek(d, &status) || d->lines.line.depth <= base + 1) return status;
  if (d->strict) return wrong(d, d->lines.line.at, "an indentation by one level");
  *depth = d->lines.line.depth;
  return TOON_OK;
}

/* ---- tables ---- */

toon_status toon_decode_row(toon_decoder *d, const toon_columns *c, const uint8_t *p, const uint8_t *end,
                            uint8_t delimiter) {
  const uint32_t *ends = toon_columns_ends(c);
  const uint8_t *text = c->text.ptr, *text_end = text + c->text.cap;
  uint32_t count = toon_columns_count(c), from = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (i) {
      if (p == end) return wrong(d, p, "as many cells as the header has columns");
      p++;
    }
    TOON_TRY(toon_room(&d->w, ends[i] - from));
    toon_write_near(&d->w, text + from, ends[i] - from, text_end);
    from = ends[i];
    TOON_TRY(put_cell(d, &p, end, delimiter));
  }
  if (p < end) return wrong(d, p, "no more cells than the header has columns");
  TOON_TRY(toon_room(&d->w, c->text.len - from));
  toon_write_near(&d->w, text + from, c->text.len - from, text_end);
  return TOON_OK;
}

/* A line at the depth of a table's rows is one if no colon comes before its first delimiter. */
static bool is_row(const toon_decoder *d, const uint8_t *p, const uint8_t *end, uint8_t delimiter) {
  const uint8_t *q = toon_scan_any(p, end, d->lines.end, delimiter, ':', '"');
  if (q < end && *q == '"') q = toon_find_bare(q, end, delimiter, ':');
  return q == end || *q == delimiter;
}

/* What strict mode asks of a finished table or list. */
static toon_status check_end(toon_decoder *d, uint64_t said, uint64_t found, uint32_t start, const uint8_t *at) {
  if (!d->strict) return TOON_OK;
  if (said != found) return wrong(d, at, "as many entries as the header says");
  if (start && d->lines.taken_blank > start) return wrong(d, at, "no blank line inside a table or list");
  return TOON_OK;
}

static toon_status put_table(toon_decoder *d, const toon_header *h, uint32_t base) {
  uint32_t depth, start = 0;
  uint64_t rows = 0;
  toon_status status = TOON_OK;
  const uint8_t *at = h->columns.ptr;
  TOON_TRY(toon_read_columns(&d->columns, h->columns, h->delimiter, d->strict, &d->fault));
  TOON_TRY(deepen(d, 1 + d->columns.depth, at));
  TOON_TRY(content_depth(d, base, &depth));
  bool aside = false;
  if (d->tables) TOON_TRY(toon_table_begin(d, d->tables, h, &aside));
  if (!aside) TOON_TRY(put_lit(d, "["));
  while ((!d->strict || rows < h->count) && peek(d, &status) && d->lines.line.depth > base) {
    toon_line line = d->lines.line;
    at = line.at;
    if (line.depth != depth) return wrong(d, at, "a row, indented by one level");
    if (!is_row(d, line.at, line.end, h->delimiter)) break;
    toon_lines_take(&d->lines);
    if (!start) start = line.number;
    rows++;
    if (aside) {
      TOON_TRY(toon_table_row(d, d->tables, line.at, line.end, h->delimiter));
      continue;
    }
    if (rows > 1) TOON_TRY(put_lit(d, ","));
    TOON_TRY(toon_decode_row(d, &d->columns, line.at, line.end, h->delimiter));
  }
  TOON_TRY(status);
  bool more = peek(d, &status);
  TOON_TRY(status);
  TOON_TRY(check_end(d, h->count, rows, start, at));
  if (d->strict && more) {
    toon_line *line = &d->lines.line;
    bool item = line->end - line->at >= 2 && line->at[0] == '-' && line->at[1] == ' ';
    if (line->depth == depth && !item && is_row(d, line->at, line->end, h->delimiter))
      return wrong(d, line->at, "no more rows than the header says");
  }
  if (!aside) return put_lit(d, "]");
  TOON_TRY(toon_table_end(d, d->tables));
  return put_lit(d, "null");
}

static toon_status put_keyed_table(toon_decoder *d, const toon_header *h, uint32_t base) {
  uint32_t depth, start = 0;
  uint64_t rows = 0;
  toon_status status = TOON_OK;
  const uint8_t *at = h->columns.ptr;
  TOON_TRY(toon_read_columns(&d->columns, h->columns, h->delimiter, d->strict, &d->fault));
  TOON_TRY(deepen(d, 1 + d->columns.depth, at));
  TOON_TRY(content_depth(d, base, &depth));
  TOON_TRY(put_lit(d, "{"));
  frame f = {.keys = toon_keyset_begin(&d->keys)};
  while (peek(d, &status) && d->lines.line.depth > base) {
    toon_line line = d->lines.line;
    toon_slice key, cells;
    at = line.at;
    if (line.depth != depth) return wrong(d, at, "a row, indented by one level");
    TOON_TRY(split_line(d, line.at, line.end, &key, &cells));
    toon_lines_take(&d->lines);
    if (!start) start = line.number;
    TOON_TRY(put_key(d, &f, key));
    if (cells.len == 0) return wrong(d, line.end, "as many cells as the header has columns");
    TOON_TRY(toon_decode_row(d, &d->columns, cells.ptr, cells.ptr + cells.len, h->delimiter));
    rows++;
  }
  TOON_TRY(status);
  TOON_TRY(check_end(d, h->count, rows, start, at));
  toon_keyset_end(&d->keys, f.keys);
  return put_lit(d, "}");
}

/* ---- arrays ---- */

static toon_status put_inline(toon_decoder *d, const toon_header *h) {
  const uint8_t *p = h->values.ptr, *end = p + h->values.len;
  uint64_t count = 0;
  TOON_TRY(deepen(d, 1, p));
  for (;; p++) {
    TOON_TRY(toon_room(&d->w, 1));
    toon_write_byte(&d->w, count++ ? ',' : '[');
    TOON_TRY(put_cell(d, &p, end, h->delimiter));
    if (p == end) break;
  }
  if (d->strict && count != h->count) return wrong(d, h->values.ptr, "as many values as the header says");
  return put_lit(d, "]");
}

/* What a header at depth `base` begins; a list is only begun. */
static toon_status put_array(toon_decoder *d, const toon_header *h, uint32_t base, const uint8_t *at) {
  if (h->keyed) return put_keyed_table(d, h, base);
  if (h->values.len) return put_inline(d, h);
  if (h->columns.ptr) return put_table(d, h, base);
  frame f = {.list = true, .count = h->count, .base = base};
  TOON_TRY(content_depth(d, base, &f.lines));
  return push(d, f, at);
}

/* ---- fields and items ---- */

/* What follows the key and colon of a field at depth `base`; an object is only begun. */
static toon_status put_rest(toon_decoder *d, toon_slice rest, uint32_t base) {
  if (rest.len == 0) {
    toon_status status;
    bool nested = peek(d, &status) && d->lines.line.depth > base;
    TOON_TRY(status);
    if (!nested) return put_empty(d, "{}", rest.ptr);
    if (d->strict && d->lines.line.depth > base + 1) return wrong(d, d->lines.line.at, "an indentation by one level");
    return push(d, (frame){.base = base + 1, .lines = DEPTH_OPEN}, rest.ptr);
  }
  if (rest.len == 2 && rest.ptr[0] == '[' && rest.ptr[1] == ']') return put_empty(d, "[]", rest.ptr);
  return toon_decode_token(d, rest);
}

/* A field whose key is at depth `base`; it goes into the object on top of the stack. */
static toon_status put_field(toon_decoder *d, const uint8_t *p, const uint8_t *end, uint32_t base) {
  frame *f = &d->frames[d->depth - 1];
  toon_slice key, rest;
  const uint8_t *stop = toon_scan_any(p, end, d->lines.end, ':', '[', '"');
  if (stop < end && *stop == ':') { /* most lines: no bracket, no quote in front of the colon */
    key = trim(p, stop);
    rest = trim(stop + 1, end);
    TOON_TRY(put_key(d, f, key));
    return put_rest(d, rest, base);
  }
  toon_header header;
  bool is_header;
  TOON_TRY(toon_read_header(p, end, &header, &is_header, &d->fault));
  if (is_header) {
    if (!header.key.ptr) return wrong(d, p, "a key in front of the array header");
    TOON_TRY(put_key(d, f, header.key));
    return put_array(d, &header, base, p);
  }
  TOON_TRY(split_line(d, p, end, &key, &rest));
  TOON_TRY(put_key(d, f, key));
  return put_rest(d, rest, base);
}

/* The item on the line just taken, in the list on top of the stack, whose items are at `depth`. */
static toon_status put_item(toon_decoder *d, toon_line line, uint32_t depth) {
  const uint8_t *p = line.at + 1, *end = line.end;
  while (p < end && *p == ' ') p++;
  size_t len = (size_t)(end - p);
  if (len == 0) return put_empty(d, "{}", p);
  if (len == 2 && p[0] == '[' && p[1] == ']') return put_empty(d, "[]", p);
  const uint8_t *colon = toon_scan_any(p, end, d->lines.end, ':', '"', '"');
  if (colon < end && *colon == '"') colon = toon_find_bare(colon, end, ':', ':');
  if (colon == end) return toon_decode_token(d, toon_slice_of(p, len));
  if (*p == '[') {
    toon_header header;
    bool is_header;
    TOON_TRY(toon_read_header(p, end, &header, &is_header, &d->fault));
    if (!is_header || header.columns.ptr) return wrong(d, p, "a list item; a table needs a key here");
    return put_array(d, &header, depth, p);
  }
  TOON_TRY(push(d, (frame){.base = depth + 1, .lines = depth + 1}, p));
  return put_field(d, p, end, depth + 1);
}

static inline bool is_item(const toon_line *line) {
  return *line->at == '-' && (line->end - line->at == 1 || line->at[1] == ' ');
}

/* One step of the list on top of the stack. */
static toon_status step_list(toon_decoder *d) {
  frame *f = &d->frames[d->depth - 1];
  toon_status status;
  bool more = peek(d, &status);
  TOON_TRY(status);
  const toon_line *line = &d->lines.line;
  if ((!d->strict || f->items < f->count) && more && line->depth > f->base) {
    if (line->depth != f->lines) return wrong(d, line->at, "a list item, indented by one level");
    if (is_item(line)) {
      toon_lines_take(&d->lines);
      if (!f->start) f->start = line->number;
      f->items++;
      if (f->any) TOON_TRY(put_lit(d, ","));
      f->any = true;
      return put_item(d, *line, f->lines);
    }
  }
  const uint8_t *at = more ? line->at : d->lines.end;
  TOON_TRY(check_end(d, f->count, f->items, f->start, at));
  if (d->strict && more && line->depth == f->lines && *line->at == '-' && is_item(line) && line->end - line->at > 1)
    return wrong(d, line->at, "no more items than the header says");
  return pop(d);
}

/* One step of the object on top of the stack. */
static toon_status step_fields(toon_decoder *d) {
  frame *f = &d->frames[d->depth - 1];
  toon_status status;
  bool more = peek(d, &status);
  TOON_TRY(status);
  toon_line line = d->lines.line;
  if (!more || line.depth < f->base) return pop(d);
  if (f->lines == DEPTH_OPEN) f->lines = line.depth;
  if (line.depth != f->lines) return wrong(d, line.at, "a field at the depth of the one before");
  toon_lines_take(&d->lines);
  return put_field(d, line.at, line.end, line.depth);
}

/* Until the stack is as low as `floor`. */
static toon_status run(toon_decoder *d, uint32_t floor) {
  while (d->depth > floor) TOON_TRY(d->frames[d->depth - 1].list ? step_list(d) : step_fields(d));
  return TOON_OK;
}

toon_status toon_decode_member(toon_decoder *d, toon_slice first, uint32_t depth) {
  const uint8_t *p = first.ptr, *end = p + first.len;
  uint32_t floor = d->depth;
  if (first.len && *p == ':') {
    TOON_TRY(put_rest(d, trim(p + 1, end), depth));
  } else {
    toon_header header;
    bool is_header;
    TOON_TRY(toon_read_header(p, end, &header, &is_header, &d->fault));
    if (!is_header || header.key.ptr) return wrong(d, p, "a colon or a bracket behind the key");
    TOON_TRY(put_array(d, &header, depth, p));
  }
  return run(d, floor);
}

void toon_decoder_free(toon_decoder *d) {
  if (d->frames != d->frames_small) toon_free(d->frames);
  toon_keyset_free(&d->keys);
  toon_columns_free(&d->columns);
}

/* ---- documents ---- */

/* A root that is no object must be all there is. */
static toon_status expect_end(toon_decoder *d) {
  toon_status status;
  if (peek(d, &status)) return wrong(d, d->lines.line.at, "nothing behind the value that is the document");
  return status;
}

static toon_status put_document(toon_decoder *d) {
  toon_status status;
  bool more = peek(d, &status);
  TOON_TRY(status);
  if (!more) return put_lit(d, "{}");
  toon_line line = d->lines.line;
  const uint8_t *p = line.at;
  if (line.depth) return wrong(d, p, "the first line without indentation");
  if (line.end - p == 2 && p[0] == '[' && p[1] == ']') {
    toon_lines_take(&d->lines);
    TOON_TRY(put_lit(d, "[]"));
    return expect_end(d);
  }
  bool colon = toon_find_bare(p, line.end, ':', ':') < line.end;
  toon_lines_take(&d->lines);
  if (*p == '[' && colon) {
    toon_header header;
    bool is_header;
    TOON_TRY(toon_read_header(p, line.end, &header, &is_header, &d->fault));
    TOON_TRY(put_array(d, &header, 0, p));
    TOON_TRY(run(d, 0));
    return expect_end(d);
  }
  if (!colon) {
    TOON_TRY(toon_decode_token(d, toon_slice_of(p, (size_t)(line.end - p))));
    if (peek(d, &status)) return wrong(d, p, "a key and a colon, or an array header");
    return status;
  }
  TOON_TRY(push(d, (frame){0}, p));
  TOON_TRY(put_field(d, p, line.end, 0));
  return run(d, 0);
}

static toon_status report(const toon_decoder *d, toon_slice text, toon_error *err) {
  const uint8_t *at = d->fault.at, *line = text.ptr;
  uint32_t number = 1;
  for (const uint8_t *p; (p = memchr(line, '\n', (size_t)(at - line))); line = p + 1) number++;
  toon_fail(err, TOON_ESYNTAX, "line %u, column %u: expected %s", number, (unsigned)(at - line) + 1, d->fault.expected);
  if (err) {
    err->line = number;
    err->column = (uint32_t)(at - line) + 1;
  }
  return TOON_ESYNTAX;
}

static toon_status decode(toon_slice text, const toon_text_options *options, toon_table_writer *tables, toon_buf *out,
                          toon_error *err) {
  static const toon_text_options defaults = {',', 2, true};
  if (!options) options = &defaults;
  text = toon_slice_some(text);
  TOON_TRY(toon_check_indent(options, err));
  TOON_TRY(toon_check_utf8(text, err));
  if (text.len > TOON_TEXT_MAX) return toon_fail(err, TOON_EVALUETOOBIG, "the text is longer than 2 GiB");
  size_t len = out->len;
  toon_decoder d = {.strict = options->strict, .unique = options->strict, .tables = options->strict ? tables : NULL};
  d.lines = (toon_lines){
      .next = text.ptr, .end = text.ptr + text.len, .indent_size = options->indent_size, .strict = options->strict};
  toon_status status = toon_writer_begin(&d.w, out, text.len + text.len / 4, TOON_TEXT_MAX);
  if (status == TOON_OK) status = put_document(&d);
  toon_decoder_free(&d);
  if (status == TOON_OK) {
    toon_writer_end(&d.w);
    return TOON_OK;
  }
  out->len = len;
  if (status == TOON_ESYNTAX) return report(&d, text, err);
  return toon_fail(err, status, status == TOON_EVALUETOOBIG ? "the JSON text is longer than 2 GiB" : NULL);
}

toon_status toon_decode(toon_slice text, const toon_text_options *options, toon_buf *out, toon_error *err) {
  return decode(text, options, NULL, out, err);
}

toon_status toon_decode_tables(toon_slice text, const toon_text_options *options, toon_table_fn fn, void *ctx,
                               toon_buf *out, toon_error *err) {
  toon_table_writer tables = {.fn = fn, .ctx = ctx};
  toon_status status = decode(text, options, &tables, out, err);
  toon_table_free(&tables);
  return status;
}
