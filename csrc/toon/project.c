/* Projection: some fields of a stored object, as JSON, without decoding the others.
 *
 * Names are turned into key tokens once, so finding a field is comparing bytes. A body is the run of lines of
 * one object; its fields are the lines that have no space at column 2 * depth, what belongs to a field are
 * the lines below it that have one. The body of an object in a list begins on the hyphen's line, whose first
 * field stands at that very column.
 *
 * First every path's value is found in the text, then they are written in the order asked for. */
#include "toon/project.h"

#include "base/alloc.h"
#include "toon/decode.h"
#include "toon/encode.h"
#include "toon/scan.h"

/* Where a value is. */
typedef struct place {
  enum { NOWHERE, MEMBER, CELLS, CELL } kind;
  toon_slice text;    /* MEMBER: from behind the key on; CELL: the token; CELLS: a row's cells, all or some */
  toon_slice columns; /* CELLS: of the header, those of the cells */
  uint32_t depth;     /* MEMBER: of the key */
} place;

/* A path with its names as key tokens, and the key it gets in the JSON, with quotes and colon. */
typedef struct target {
  const toon_slice *tokens;
  size_t count;
  toon_slice key;
  toon_slice column; /* the same names as the column of a table */
  place place;
  uint32_t first, last; /* in a table: its columns, counted as cells; first > last if there is no such column */
  toon_columns group;   /* in a table: of a group of columns */
  bool is_group;
  bool is_id; /* the path _id */
} target;

struct toon_projection {
  toon_decoder d;
  target *targets;
  size_t count;
  bool nulls;  /* a field that is not there is null */
  bool has_id; /* the path _id is the id given, not a field */
  toon_buf id; /* its token */
  toon_slice *tokens;
  toon_buf text;  /* tokens, keys and columns */
  toon_buf cells; /* of uint32_t: where the cells of a row begin */
};
typedef struct toon_projection projector;

static toon_status wrong(projector *p, const uint8_t *at, const char *expected) {
  p->d.fault = (toon_fault){at, expected};
  return TOON_ESYNTAX;
}

/* ---- lines ---- */

static const uint8_t *line_end(const uint8_t *p, const uint8_t *end) {
  const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
  return newline ? newline : end;
}

/* Behind the line at p and the lines below it that are deeper than `depth`. All lines up to end are at least
 * as deep. */
static const uint8_t *skip_value(const uint8_t *p, const uint8_t *end, uint32_t depth) {
  size_t column = (size_t)depth * 2;
  do {
    p = line_end(p, end);
    if (p < end) p++;
  } while ((size_t)(end - p) > column && p[column] == ' ');
  return (size_t)(end - p) > column ? p : end;
}

/* Length of the key token at p; 0 if there is none. */
static size_t key_length(const uint8_t *p, const uint8_t *end) {
  const uint8_t *q = p;
  if (p < end && *p == '"') {
    q = toon_closing_quote(p, end);
    return q < end ? (size_t)(q - p) + 1 : 0;
  }
  while (q < end && toon_class[*q] & TOON_CLASS_KEY) q++;
  return (size_t)(q - p);
}

/* The field at p in a body: its key token. Returns where the next field begins. */
static const uint8_t *read_field(const uint8_t *p, const uint8_t *end, uint32_t depth, toon_slice *token) {
  const uint8_t *next = skip_value(p, end, depth), *line = line_end(p, next);
  size_t column = (size_t)depth * 2;
  const uint8_t *key = (size_t)(line - p) < column ? line : p + column; /* no line is shorter, but for damage */
  *token = toon_slice_of(key, key_length(key, line));
  return next;
}

/* Read the header that begins a table at text (keyed or not). */
static bool read_table(toon_slice text, toon_header *header) {
  bool is_header;
  toon_fault fault;
  const uint8_t *end = line_end(text.ptr, text.ptr + text.len);
  return text.len && *text.ptr == '[' && toon_read_header(text.ptr, end, header, &is_header, &fault) == TOON_OK &&
         is_header && header->columns.ptr;
}

static bool is_nested(toon_slice text) { return text.len >= 2 && text.ptr[0] == ':' && text.ptr[1] == '\n'; }

/* ---- columns ---- */

/* Find a column (or a group of them) by its names. *first, *last: its cells. *group: its columns, ptr NULL
 * for one cell. False if there is none. */
static bool find_column(toon_slice list, const toon_slice *tokens, size_t count, uint32_t *first, uint32_t *last,
                        toon_slice *group) {
  const uint8_t *p = list.ptr, *end = p + list.len;
  uint32_t cell = 0;
  size_t depth = 0, wanted = 0; /* depth of groups; how many names have been found */
  while (p < end) {
    size_t len = key_length(p, end);
    bool found = depth == wanted && toon_slice_eq(tokens[wanted], toon_slice_of(p, len));
    p += len;
    bool opens = p < end && *p == '{';
    if (found && ++wanted == count) {
      *group = (toon_slice){NULL, 0};
      const uint8_t *start = p + 1;
      uint32_t to = cell;
      for (depth = 0; opens && p < end; p++) { /* to the brace that closes the group */
        if (*p == '"' && (p = toon_closing_quote(p, end)) == end) break;
        if (*p == ',')
          to++;
        else if (*p == '{')
          depth++;
        else if (*p == '}' && --depth == 0)
          break;
      }
      if (opens && p >= end) return false;
      if (opens) *group = toon_slice_of(start, (size_t)(p - start));
      *first = cell;
      *last = to;
      return true;
    }
    if (found && !opens) return false;
    if (opens) {
      depth++;
      p++;
      continue;
    }
    cell++;
    for (; p < end && *p == '}'; p++)
      if (--depth < wanted) return false; /* the group that was to hold it has ended */
    if (p < end) p++;
  }
  return false;
}

/* Where in a row its cells begin, up to the one with the number `last`, and behind that one past its end. */
static toon_status find_cells(projector *p, toon_slice row, uint32_t last) {
  const uint8_t *at = row.ptr, *end = at + row.len;
  p->cells.len = 0;
  for (uint32_t i = 0, start = 0; i <= last + 1; i++) {
    TOON_TRY(toon_buf_append(&p->cells, &start, sizeof start));
    if (i > last) break;
    at = toon_find_bare(row.ptr + start, end, ',', ',');
    if (at == end && i < last) return wrong(p, at, "as many cells as the header has columns");
    start = (uint32_t)(at - row.ptr) + 1;
  }
  return TOON_OK;
}

/* The text of cells [first, last] of the row, whose cells were found. */
static toon_slice cells_between(const projector *p, toon_slice row, uint32_t first, uint32_t last) {
  const uint32_t *starts = (const uint32_t *)(const void *)p->cells.ptr;
  return toon_slice_of(row.ptr + starts[first], starts[last + 1] - 1 - starts[first]);
}

/* ---- finding ---- */

/* What follows a key, to the end of its value. */
static toon_slice behind(toon_slice key, const uint8_t *end) {
  return toon_slice_of(key.ptr + key.len, (size_t)(end - key.ptr) - key.len);
}

/* The value of the field `token` in a body. */
static bool find_field(toon_slice body, uint32_t depth, toon_slice token, toon_slice *value) {
  const uint8_t *p = body.ptr, *end = p + body.len, *next;
  for (toon_slice key; p < end; p = next) {
    next = read_field(p, end, depth, &key);
    if (!toon_slice_eq(token, key)) continue;
    *value = behind(key, next);
    return true;
  }
  return false;
}

/* Follow the names from a field's value on. */
static toon_status follow(projector *p, toon_slice value, uint32_t depth, const toon_slice *tokens, size_t count,
                          place *to) {
  to->kind = NOWHERE;
  for (; count && is_nested(value); depth++, tokens++, count--) {
    toon_slice body = toon_slice_of(value.ptr + 2, value.len - 2);
    if (!find_field(body, depth + 1, *tokens, &value)) return TOON_OK;
  }
  if (count == 0) {
    *to = (place){.kind = MEMBER, .text = value, .depth = depth};
    return TOON_OK;
  }
  toon_header header;
  if (!read_table(value, &header) || !header.keyed) return TOON_OK;
  const uint8_t *line = line_end(value.ptr, value.ptr + value.len);
  toon_slice rows = toon_slice_of(line, (size_t)(value.ptr + value.len - line)), row;
  if (rows.len) rows = toon_slice_of(line + 1, rows.len - 1);
  if (!find_field(rows, depth + 1, *tokens, &row) || row.len < 3) return TOON_OK;
  row = toon_slice_of(row.ptr + 2, row.len - 3); /* ": " and the newline off */
  if (count == 1) {
    *to = (place){.kind = CELLS, .text = row, .columns = header.columns};
    return TOON_OK;
  }
  uint32_t first, last;
  toon_slice group;
  if (!find_column(header.columns, tokens + 1, count - 1, &first, &last, &group)) return TOON_OK;
  TOON_TRY(find_cells(p, row, last));
  *to = (place){.kind = group.ptr ? CELLS : CELL, .text = cells_between(p, row, first, last), .columns = group};
  return TOON_OK;
}

/* Find all targets in a body. */
static toon_status find_all(projector *p, toon_slice body, uint32_t depth) {
  const uint8_t *at = body.ptr, *end = at + body.len, *next;
  size_t missing = p->count;
  for (size_t i = 0; i < p->count; i++) {
    p->targets[i].place.kind = NOWHERE;
    if (p->has_id && p->targets[i].is_id) missing--;
  }
  for (toon_slice key; missing && at < end; at = next) {
    next = read_field(at, end, depth, &key);
    for (size_t i = 0; i < p->count; i++) {
      target *t = &p->targets[i];
      if (!toon_slice_eq(t->tokens[0], key) || (p->has_id && t->is_id)) continue;
      missing--;
      TOON_TRY(follow(p, behind(key, next), depth, t->tokens + 1, t->count - 1, &t->place));
    }
  }
  return TOON_OK;
}

/* ---- writing ---- */

static toon_status put(projector *p, toon_slice text) {
  TOON_TRY(toon_room(&p->d.w, text.len));
  toon_write(&p->d.w, text.ptr, text.len);
  return TOON_OK;
}

static toon_status put_byte(projector *p, uint8_t byte) {
  TOON_TRY(toon_room(&p->d.w, 1));
  toon_write_byte(&p->d.w, byte);
  return TOON_OK;
}

static toon_status put_place(projector *p, const place *from) {
  toon_decoder *d = &p->d;
  const uint8_t *at = from->text.ptr, *end = at + from->text.len;
  if (from->kind == CELL) return toon_decode_cell(d, &at, end, ',');
  if (from->kind == CELLS) {
    TOON_TRY(toon_read_columns(&d->columns, from->columns, ',', false, &d->fault));
    return toon_decode_row(d, &d->columns, at, end, ',');
  }
  const uint8_t *line = line_end(at, end);
  d->lines =
      (toon_lines){.next = line < end ? line + 1 : NULL, .end = end, .number = 1, .indent_size = 2, .strict = true};
  return toon_decode_member(d, toon_slice_of(at, (size_t)(line - at)), from->depth);
}

static const toon_slice null_text = {(const uint8_t *)"null", 4};

/* The object of what was found. */
static toon_status put_found(projector *p) {
  bool any = false;
  TOON_TRY(put_byte(p, '{'));
  for (size_t i = 0; i < p->count; i++) {
    target *t = &p->targets[i];
    if (t->place.kind == NOWHERE && !p->nulls) continue;
    if (any) TOON_TRY(put_byte(p, ','));
    any = true;
    TOON_TRY(put(p, t->key));
    TOON_TRY(t->place.kind == NOWHERE ? put(p, null_text) : put_place(p, &t->place));
  }
  return put_byte(p, '}');
}

/* The rows of a table: the same columns of each. */
static toon_status put_rows(projector *p, const toon_header *header, const uint8_t *at, const uint8_t *end) {
  uint32_t last = 0;
  bool none = true, first_row = true;
  for (size_t i = 0; i < p->count; i++) {
    target *t = &p->targets[i];
    toon_slice group;
    t->first = 1;
    t->last = 0;
    if (!find_column(header->columns, t->tokens, t->count, &t->first, &t->last, &group)) continue;
    t->is_group = group.ptr != NULL;
    if (t->is_group) TOON_TRY(toon_read_columns(&t->group, group, ',', false, &p->d.fault));
    if (t->last > last) last = t->last;
    none = false;
  }
  TOON_TRY(put_byte(p, '['));
  while (at < end) {
    const uint8_t *line = line_end(at, end);
    bool any = false;
    if (!first_row) TOON_TRY(put_byte(p, ','));
    first_row = false;
    if (line - at < 2) return wrong(p, at, "a row");
    toon_slice row = toon_slice_of(at + 2, (size_t)(line - at - 2));
    if (!none) TOON_TRY(find_cells(p, row, last));
    TOON_TRY(put_byte(p, '{'));
    for (size_t i = 0; i < p->count; i++) {
      target *t = &p->targets[i];
      if (t->first > t->last && !p->nulls) continue;
      if (any) TOON_TRY(put_byte(p, ','));
      any = true;
      TOON_TRY(put(p, t->key));
      if (t->first > t->last) {
        TOON_TRY(put(p, null_text));
        continue;
      }
      toon_slice cells = cells_between(p, row, t->first, t->last);
      const uint8_t *cell = cells.ptr;
      if (t->is_group)
        TOON_TRY(toon_decode_row(&p->d, &t->group, cell, cell + cells.len, ','));
      else
        TOON_TRY(toon_decode_cell(&p->d, &cell, cell + cells.len, ','));
    }
    TOON_TRY(put_byte(p, '}'));
    at = line < end ? line + 1 : end;
  }
  return put_byte(p, ']');
}

/* An item that is no object, as it is: `text` begins behind its hyphen and space. */
static toon_status put_other(projector *p, toon_slice text, const uint8_t *line) {
  if (*text.ptr != '[') return toon_decode_token(&p->d, toon_slice_of(text.ptr, (size_t)(line - text.ptr)));
  place from = {.kind = MEMBER, .text = text, .depth = 1};
  return put_place(p, &from);
}

/* The items of a list, at depth 1. */
static toon_status put_items(projector *p, const uint8_t *at, const uint8_t *end) {
  bool any = false;
  TOON_TRY(put_byte(p, '['));
  while (at < end) {
    const uint8_t *next = skip_value(at, end, 1), *line = line_end(at, next);
    if (line - at < 3 || at[2] != '-') return wrong(p, at, "a list item");
    if (any) TOON_TRY(put_byte(p, ','));
    any = true;
    toon_slice body = {at, 0};
    bool object = true;
    if (line - at > 3) { /* a lone hyphen is an empty object */
      const uint8_t *key = at + 4;
      size_t len = key < line ? key_length(key, line) : 0;
      if (key == line) return wrong(p, at, "a list item");
      object = len > 0 && key + len < line && (key[len] == ':' || key[len] == '[');
      body = toon_slice_of(at, (size_t)(next - at));
    }
    if (object) {
      TOON_TRY(find_all(p, body, 2));
      TOON_TRY(put_found(p));
    } else {
      TOON_TRY(put_other(p, toon_slice_of(at + 4, (size_t)(next - at) - 4), line));
    }
    at = next;
  }
  return put_byte(p, ']');
}

/* Find all targets in the field of an object. *object: it is one. */
static toon_status find_in_field(projector *p, toon_slice field, bool *object) {
  toon_header header;
  *object = true;
  if (is_nested(field)) {
    TOON_TRY(find_all(p, toon_slice_of(field.ptr + 2, field.len - 2), 1));
  } else {
    *object = read_table(field, &header) && header.keyed;
    for (size_t i = 0; *object && i < p->count; i++)
      TOON_TRY(follow(p, field, 0, p->targets[i].tokens, p->targets[i].count, &p->targets[i].place));
  }
  for (size_t i = 0; p->has_id && *object && i < p->count; i++)
    if (p->targets[i].is_id) p->targets[i].place = (place){.kind = CELL, .text = toon_buf_slice(&p->id)};
  return TOON_OK;
}

toon_status toon_projection_set_id(toon_projection *p, toon_slice id) {
  toon_writer w;
  p->id.len = 0;
  p->has_id = true;
  TOON_TRY(toon_writer_begin(&w, &p->id, id.len + 2, TOON_TEXT_MAX));
  TOON_TRY(toon_write_text(&w, toon_slice_some(id), ','));
  toon_writer_end(&w);
  return TOON_OK;
}

toon_status toon_projection_find(toon_projection *p, toon_slice field, bool *object) {
  p->d.depth = 0;
  p->d.lines = (toon_lines){.end = field.ptr + field.len};
  return field.len < 2 ? TOON_ESYNTAX : find_in_field(p, field, object);
}

/* *whole: the field is of no object and no array with objects, and nothing was written. */
static toon_status put_projection(projector *p, toon_slice field, bool *whole) {
  const uint8_t *end = field.ptr + field.len;
  bool object;
  TOON_TRY(find_in_field(p, field, &object));
  if (object) return put_found(p);
  const uint8_t *line = line_end(field.ptr, end);
  if (line == end || *field.ptr != '[') {
    *whole = true;
    return TOON_OK;
  }
  toon_header header;
  if (read_table(field, &header)) return put_rows(p, &header, line + 1, end);
  *whole = line[-1] != ':'; /* an array of scalars, on one line */
  return *whole ? TOON_OK : put_items(p, line + 1, end);
}

/* ---- cells ---- */

toon_status toon_put_cell(toon_writer *w, toon_slice token, uint8_t delimiter, toon_buf *scratch) {
  if (delimiter != ',' && token.len && *token.ptr == '"') { /* perhaps quoted for the comma's sake only */
    const uint8_t *at = token.ptr;
    toon_writer unquoted;
    toon_fault fault;
    scratch->len = 0;
    TOON_TRY(toon_writer_begin(&unquoted, scratch, token.len, TOON_TEXT_MAX));
    TOON_TRY(toon_read_quoted(&at, token.ptr + token.len, &unquoted, false, &fault));
    toon_writer_end(&unquoted);
    return toon_write_text(w, toon_slice_some(toon_buf_slice(scratch)), delimiter);
  }
  if (delimiter != ',' && token.len && memchr(token.ptr, delimiter, token.len)) return toon_write_quoted(w, token);
  TOON_TRY(toon_room(w, token.len));
  if (token.len) toon_write(w, token.ptr, token.len);
  return TOON_OK;
}

/* The token of a scalar that was found. False if it is none. */
static bool scalar_token(const place *from, toon_slice *token) {
  const uint8_t *at = from->text.ptr;
  if (from->kind == NOWHERE)
    *token = null_text;
  else if (from->kind == CELL)
    *token = from->text;
  else if (from->kind == MEMBER && from->text.len >= 4 && at[0] == ':' && at[1] == ' ' && at[2] != '[')
    *token = toon_slice_of(at + 2, (size_t)(line_end(at, at + from->text.len) - at) - 2);
  else
    return false;
  return true;
}

toon_found toon_projection_found(const toon_projection *p, size_t i) {
  const place *from = &p->targets[i].place;
  toon_found found = {TOON_FOUND_NOTHING, {NULL, 0}, 0};
  if (from->kind == NOWHERE) return found;
  found.text = from->text;
  found.depth = from->depth;
  if (scalar_token(from, &found.text))
    found.kind = TOON_FOUND_SCALAR;
  else if (from->kind == CELLS || !from->text.len || is_nested(from->text))
    found.kind = TOON_FOUND_OBJECT;
  else
    found.kind = (toon_field_flags(from->text) & 7) == TOON_ARRAY ? TOON_FOUND_ARRAY : TOON_FOUND_OBJECT;
  return found;
}

toon_status toon_projection_found_json(toon_projection *p, size_t i, toon_buf *out) {
  const place *from = &p->targets[i].place;
  TOON_TRY(toon_writer_begin(&p->d.w, out, 64, TOON_TEXT_MAX - out->len));
  size_t len = out->len;
  toon_status status = from->kind == NOWHERE ? put(p, null_text) : put_place(p, from);
  if (status == TOON_OK)
    toon_writer_end(&p->d.w);
  else
    out->len = len;
  return status;
}

toon_status toon_projection_cells(toon_projection *p, toon_slice field, uint8_t delimiter, toon_writer *w, bool *fits) {
  TOON_TRY(find_in_field(p, field, fits));
  toon_slice token = null_text;
  for (size_t i = 0; *fits && i < p->count; i++) *fits = scalar_token(&p->targets[i].place, &token);
  for (size_t i = 0; *fits && i < p->count; i++) {
    if (i) {
      TOON_TRY(toon_room(w, 1));
      toon_write_byte(w, delimiter);
    }
    scalar_token(&p->targets[i].place, &token);
    TOON_TRY(toon_put_cell(w, token, delimiter, &p->cells));
  }
  return TOON_OK;
}

size_t toon_projection_count(const toon_projection *p) { return p->count; }
toon_slice toon_projection_column(const toon_projection *p, size_t i) { return p->targets[i].column; }
toon_slice toon_projection_key(const toon_projection *p, size_t i) { return p->targets[i].key; }
bool toon_projection_nulls(const toon_projection *p) { return p->nulls; }

/* ---- paths ---- */

/* Names as tokens, and joined as the JSON's key and as a column. */
static toon_status read_paths(projector *p, const toon_path *paths) {
  size_t names = 0, k = 0;
  for (size_t i = 0; i < p->count; i++) names += paths[i].count;
  p->targets = toon_calloc(p->count + 1, sizeof *p->targets);
  p->tokens = toon_calloc(names + 1, sizeof *p->tokens);
  if (!p->targets || !p->tokens) return TOON_ENOMEM;
  /* The text moves while it grows: note lengths first, places after. */
  toon_buf joined = {0};
  toon_status status = TOON_OK;
  for (size_t i = 0; status == TOON_OK && i < p->count; i++) {
    joined.len = 0;
    if (paths[i].count == 0) status = TOON_EINVAL;
    for (size_t j = 0; status == TOON_OK && j < paths[i].count; j++) {
      size_t from = p->text.len;
      status = toon_put_key(&p->text, paths[i].names[j]);
      p->tokens[k++].len = p->text.len - from;
      if (status == TOON_OK && j) status = toon_buf_byte(&joined, '.');
      if (status == TOON_OK) status = toon_buf_add(&joined, paths[i].names[j]);
    }
    size_t from = p->text.len;
    if (status == TOON_OK) status = toon_put_json_string(&p->text, toon_buf_slice(&joined));
    if (status == TOON_OK) status = toon_buf_byte(&p->text, ':');
    p->targets[i].key.len = p->text.len - from;
    from = p->text.len;
    if (status == TOON_OK) status = toon_put_key(&p->text, toon_buf_slice(&joined));
    p->targets[i].column.len = p->text.len - from;
  }
  toon_buf_free(&joined);
  TOON_TRY(status);
  const uint8_t *at = p->text.ptr;
  for (size_t i = k = 0; i < p->count; i++) {
    target *t = &p->targets[i];
    t->tokens = &p->tokens[k];
    t->count = paths[i].count;
    for (size_t j = 0; j < t->count; j++, k++) {
      p->tokens[k].ptr = at;
      at += p->tokens[k].len;
    }
    t->is_id = t->count == 1 && toon_slice_eq(*t->tokens, TOON_SLICE_LIT("_id"));
    t->key.ptr = at;
    at += t->key.len;
    t->column.ptr = at;
    at += t->column.len;
  }
  return TOON_OK;
}

toon_status toon_projection_new(const toon_path *paths, size_t count, bool nulls, toon_projection **out,
                                toon_error *err) {
  projector *p = toon_calloc(1, sizeof *p);
  if (!p) return toon_fail(err, TOON_ENOMEM, NULL);
  p->count = count;
  p->nulls = nulls;
  p->d.strict = true;
  toon_status status = read_paths(p, paths);
  if (status != TOON_OK) {
    toon_projection_free(p);
    return toon_fail(err, status, status == TOON_EINVAL ? "a path has no names" : NULL);
  }
  *out = p;
  return TOON_OK;
}

void toon_projection_free(toon_projection *p) {
  if (!p) return;
  for (size_t i = 0; p->targets && i < p->count; i++) toon_columns_free(&p->targets[i].group);
  toon_free(p->targets);
  toon_free(p->tokens);
  toon_buf_free(&p->text);
  toon_buf_free(&p->cells);
  toon_buf_free(&p->id);
  toon_decoder_free(&p->d);
  toon_free(p);
}

toon_status toon_projection_json(toon_projection *p, toon_slice field, toon_buf *out, toon_error *err) {
  size_t len = out->len;
  bool whole = false;
  if (field.len < 2) return toon_fail(err, TOON_ESYNTAX, "the field is too short");
  p->d.depth = 0;
  p->d.lines = (toon_lines){.end = field.ptr + field.len};
  toon_status status = toon_writer_begin(&p->d.w, out, 256, TOON_TEXT_MAX);
  if (status == TOON_OK) status = put_projection(p, field, &whole);
  if (status == TOON_OK && whole) return toon_field_to_json(field, out, err);
  if (status == TOON_OK) {
    toon_writer_end(&p->d.w);
    return TOON_OK;
  }
  out->len = len;
  if (status != TOON_ESYNTAX) return toon_fail(err, status, NULL);
  return toon_fail(err, status, "the stored text is not as it was written; at byte %zu of the field expected %s",
                   (size_t)(p->d.fault.at - field.ptr), p->d.fault.expected);
}

toon_status toon_project(toon_slice field, const toon_path *paths, size_t count, toon_buf *out, toon_error *err) {
  toon_projection *p;
  TOON_TRY(toon_projection_new(paths, count, false, &p, err));
  toon_status status = toon_projection_json(p, field, out, err);
  toon_projection_free(p);
  return status;
}
