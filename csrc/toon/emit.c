/* One TOON document of many rows.
 *
 * As long as every row is an object of scalars with the columns of the first (or the columns asked for), its cells are
 * copied from the stored text: lines of a keyed table. The first row that is not turns the lines so far back into JSON;
 * from there on JSON is collected, and the encoder chooses the form at the end. */
#include "toon/project.h"

#include "base/alloc.h"
#include "base/utf.h"
#include "toon/header.h"
#include "toon/item.h"
#include "toon/scan.h"

struct toon_emitter {
  toon_projection *projection;
  uint8_t delimiter;
  bool named, table; /* table: `text` is the lines of a table, else JSON */
  bool items;        /* rows have ids, not keys, and are the elements of an array */
  uint64_t rows;
  toon_buf name;    /* as it was given */
  toon_buf columns; /* between the braces */
  toon_buf starts;  /* without a projection: how each line of a row begins, "  key: " */
  toon_buf lengths; /* of those (size_t) */
  toon_buf text, scratch;
};

/* Columns looked through for two of one name; more than that are left to the encoder. */
#define COLUMNS_MAX 64

static toon_status fail(toon_error *err, toon_status status) {
  return toon_fail(err, status, status == TOON_EVALUETOOBIG ? "the text is longer than 2 GiB" : NULL);
}

/* The columns of a projection. False if there can be no table. */
static toon_status put_columns(toon_emitter *e, bool *table) {
  const toon_projection *p = e->projection;
  size_t count = toon_projection_count(p);
  *table = count > 0 && count <= COLUMNS_MAX;
  for (size_t i = 0; *table && i < count; i++) {
    for (size_t j = 0; j < i; j++)
      if (toon_slice_eq(toon_projection_column(p, i), toon_projection_column(p, j))) *table = false;
    if (i) TOON_TRY(toon_buf_byte(&e->columns, e->delimiter));
    TOON_TRY(toon_buf_add(&e->columns, toon_projection_column(p, i)));
  }
  return TOON_OK;
}

toon_status toon_emitter_new(toon_projection *projection, toon_slice name, uint8_t delimiter, toon_emitter **out,
                             toon_error *err) {
  if (delimiter != ',' && delimiter != '\t' && delimiter != '|')
    return toon_fail(err, TOON_EINVAL, "the delimiter must be a comma, a tab or |");
  if (name.len && toon_utf8_valid(name.ptr, name.len) != name.len)
    return toon_fail(err, TOON_EINVAL, "the name is not valid UTF-8");
  toon_emitter *e = toon_calloc(1, sizeof *e);
  if (!e) return fail(err, TOON_ENOMEM);
  e->projection = projection;
  e->delimiter = delimiter;
  e->named = name.ptr != NULL;
  e->table = true;
  toon_status status = toon_buf_add(&e->name, name);
  if (status == TOON_OK && projection) status = put_columns(e, &e->table);
  if (status == TOON_OK && !e->table) status = toon_buf_byte(&e->text, '{');
  if (status != TOON_OK) {
    toon_emitter_free(e);
    return fail(err, status);
  }
  *out = e;
  return TOON_OK;
}

void toon_emitter_items(toon_emitter *e) {
  e->items = true;
  if (!e->table) e->text.ptr[0] = '[';
}

void toon_emitter_free(toon_emitter *e) {
  if (!e) return;
  toon_buf_free(&e->name);
  toon_buf_free(&e->columns);
  toon_buf_free(&e->starts);
  toon_buf_free(&e->lengths);
  toon_buf_free(&e->text);
  toon_buf_free(&e->scratch);
  toon_free(e);
}

/* ---- rows without a projection ---- */

/* Length of "  key: " at the start of a scalar's line; 0 if it is not one. */
static size_t start_length(const uint8_t *line, const uint8_t *end) {
  const uint8_t *p = line + 2;
  if (end - line < 6 || line[0] != ' ' || line[1] != ' ') return 0;
  if (*p == '"') {
    p = toon_closing_quote(p, end);
    if (p == end) return 0;
    p++;
  } else {
    while (p < end && toon_class[*p] & TOON_CLASS_KEY) p++;
  }
  if (p == line + 2 || end - p < 3 || p[0] != ':' || p[1] != ' ' || p[2] == '[') return 0;
  return (size_t)(p - line) + 2;
}

/* Learn the columns from the first row. */
static toon_status learn(toon_emitter *e, toon_slice field, bool *fits) {
  const uint8_t *p = field.ptr + 2, *end = field.ptr + field.len;
  *fits = p < end;
  if (*fits && e->items) TOON_TRY(toon_buf_lit(&e->columns, "_id"));
  while (*fits && p < end) {
    const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
    size_t len = newline ? start_length(p, newline) : 0;
    *fits = len > 0 && !(e->items && len == 7 && memcmp(p, "  _id: ", 7) == 0);
    if (!*fits) break;
    if (e->columns.len) TOON_TRY(toon_buf_byte(&e->columns, e->delimiter));
    TOON_TRY(toon_buf_append(&e->columns, p + 2, len - 4));
    TOON_TRY(toon_buf_append(&e->starts, p, len));
    TOON_TRY(toon_buf_append(&e->lengths, &len, sizeof len));
    p = newline + 1;
  }
  return TOON_OK;
}

/* The cells of a row that has just the columns learnt. *fits: it has; else what was written is to be forgotten. */
static toon_status put_learnt(toon_emitter *e, toon_slice id, toon_slice field, toon_writer *w, bool *fits) {
  const size_t *lengths = (const size_t *)(const void *)e->lengths.ptr;
  size_t count = e->lengths.len / sizeof *lengths;
  const uint8_t *p = field.ptr + 2, *end = field.ptr + field.len, *start = e->starts.ptr;
  *fits = false;
  if (e->items) TOON_TRY(toon_write_text(w, id, e->delimiter));
  for (size_t i = 0; i < count; start += lengths[i], i++) {
    size_t len = lengths[i];
    if ((size_t)(end - p) < len + 2 || memcmp(p, start, len) != 0 || p[len] == '[') return TOON_OK;
    const uint8_t *newline = memchr(p + len, '\n', (size_t)(end - p) - len);
    if (!newline || newline == p + len) return TOON_OK;
    if (i || e->items) {
      TOON_TRY(toon_room(w, 1));
      toon_write_byte(w, e->delimiter);
    }
    TOON_TRY(toon_put_cell(w, toon_slice_of(p + len, (size_t)(newline - p) - len), e->delimiter, &e->scratch));
    p = newline + 1;
  }
  *fits = p == end;
  return TOON_OK;
}

/* ---- tables ---- */

/* Add the line of a row, if it fits. */
static toon_status add_line(toon_emitter *e, toon_slice key, toon_slice field, bool *fits) {
  *fits = e->projection != NULL || (field.len > 2 && field.ptr[0] == ':' && field.ptr[1] == '\n');
  if (*fits && !e->projection && e->rows == 0) TOON_TRY(learn(e, field, fits));
  if (!*fits) return TOON_OK;
  toon_writer w;
  size_t len = e->text.len;
  TOON_TRY(toon_writer_begin(&w, &e->text, key.len + 64, TOON_TEXT_MAX - e->text.len));
  TOON_TRY(toon_room(&w, 2));
  toon_write(&w, "  ", 2);
  if (!e->items) {
    TOON_TRY(toon_write_key(&w, key));
    TOON_TRY(toon_room(&w, 2));
    toon_write(&w, ": ", 2);
  } else if (e->projection) {
    TOON_TRY(toon_projection_set_id(e->projection, key));
  }
  TOON_TRY(e->projection ? toon_projection_cells(e->projection, field, e->delimiter, &w, fits)
                         : put_learnt(e, key, field, &w, fits));
  if (!*fits) {
    e->text.len = len; /* a writer that had to grow has kept what was written */
    return TOON_OK;
  }
  TOON_TRY(toon_room(&w, 1));
  toon_write_byte(&w, '\n');
  toon_writer_end(&w);
  return TOON_OK;
}

/* [N:]{columns}: or [N]{columns}: */
static toon_status put_header(const toon_emitter *e, toon_buf *out) {
  TOON_TRY(toon_buf_printf(out, e->items ? "[%llu" : "[%llu:", (unsigned long long)e->rows));
  if (e->delimiter != ',') TOON_TRY(toon_buf_byte(out, e->delimiter));
  TOON_TRY(toon_buf_lit(out, "]{"));
  TOON_TRY(toon_buf_add(out, toon_buf_slice(&e->columns)));
  return toon_buf_lit(out, "}:\n");
}

static toon_status put_table(toon_emitter *e, bool named, toon_buf *out) {
  if (named) TOON_TRY(toon_put_key(out, toon_slice_some(toon_buf_slice(&e->name))));
  TOON_TRY(put_header(e, out));
  return toon_buf_append(out, e->text.ptr, e->text.len - 1); /* no newline at the end of a document */
}

/* ---- JSON ---- */

/* Go on in JSON: the opening bracket and the rows so far, each but the first with a comma in front. */
static toon_status leave_table(toon_emitter *e, toon_error *err) {
  toon_buf lines = {0}, json = {0};
  toon_status status = TOON_OK;
  bool reported = false;
  if (e->rows) {
    status = put_table(e, false, &lines);
    toon_buf_free(&e->text);
    if (status == TOON_OK) {
      status = toon_decode(toon_buf_slice(&lines), NULL, &json, err);
      reported = status != TOON_OK;
    }
    toon_buf_free(&lines);
    if (status == TOON_OK) json.len--; /* the bracket that closes it */
  } else {
    status = toon_buf_byte(&json, e->items ? '[' : '{');
  }
  if (status != TOON_OK) {
    toon_buf_free(&json);
    return reported ? status : fail(err, status);
  }
  toon_buf_free(&e->text);
  e->text = json;
  e->table = false;
  return TOON_OK;
}

static toon_status put_json_key(toon_buf *out, toon_slice key) {
  TOON_TRY(toon_put_json_string(out, key));
  return toon_buf_byte(out, ':');
}

static toon_status add_json(toon_emitter *e, toon_slice key, toon_slice field, toon_error *err) {
  toon_status status = e->rows ? toon_buf_byte(&e->text, ',') : TOON_OK;
  if (e->items && status == TOON_OK) {
    TOON_TRY(toon_item_json(e->projection, key, field, &e->text, err));
    return e->text.len > TOON_TEXT_MAX ? fail(err, TOON_EVALUETOOBIG) : TOON_OK;
  }
  if (status == TOON_OK) status = put_json_key(&e->text, key);
  if (status != TOON_OK) return fail(err, status);
  TOON_TRY(e->projection ? toon_projection_json(e->projection, field, &e->text, err)
                         : toon_field_to_json(field, &e->text, err));
  return e->text.len > TOON_TEXT_MAX ? fail(err, TOON_EVALUETOOBIG) : TOON_OK;
}

/* ---- all of it ---- */

toon_status toon_emitter_add(toon_emitter *e, toon_slice key, toon_slice field, toon_error *err) {
  if (key.len && toon_utf8_valid(key.ptr, key.len) != key.len)
    return toon_fail(err, TOON_EINVAL, "a key of the range is not UTF-8, and has no form in TOON");
  if (field.len < 2) return toon_fail(err, TOON_ESYNTAX, "the field is too short");
  key = toon_slice_some(key);
  bool fits = false;
  if (e->table) {
    toon_status status = add_line(e, key, field, &fits);
    if (status == TOON_ESYNTAX) return toon_fail(err, status, "the stored text is not as it was written");
    if (status != TOON_OK) return fail(err, status);
    if (!fits) TOON_TRY(leave_table(e, err));
  }
  if (!fits) TOON_TRY(add_json(e, key, field, err));
  e->rows++;
  return TOON_OK;
}

toon_buf *toon_emitter_lines(toon_emitter *e) { return e->table ? &e->text : NULL; }

toon_status toon_emitter_added(toon_emitter *e, uint64_t rows, toon_error *err) {
  e->rows += rows;
  return e->text.len > TOON_TEXT_MAX ? fail(err, TOON_EVALUETOOBIG) : TOON_OK;
}

toon_status toon_emitter_end(toon_emitter *e, toon_buf *out, toon_error *err) {
  size_t len = out->len;
  if (e->table && e->rows >= (e->items ? 1 : 2)) { /* the encoder makes a keyed table of two rows or more */
    toon_status status = put_table(e, e->named, out);
    if (status == TOON_OK) return TOON_OK;
    out->len = len;
    return fail(err, status);
  }
  if (e->table) TOON_TRY(leave_table(e, err));
  toon_buf json = {0};
  toon_status status = toon_buf_byte(&e->text, e->items ? ']' : '}');
  if (status == TOON_OK && e->named) {
    status = toon_buf_byte(&json, '{');
    if (status == TOON_OK) status = put_json_key(&json, toon_slice_some(toon_buf_slice(&e->name)));
    if (status == TOON_OK) status = toon_buf_add(&json, toon_buf_slice(&e->text));
    if (status == TOON_OK) status = toon_buf_byte(&json, '}');
    toon_buf_free(&e->text);
  }
  if (status != TOON_OK) {
    toon_buf_free(&json);
    return fail(err, status);
  }
  toon_text_options options = {e->delimiter, 2, true};
  status = toon_encode(toon_buf_slice(e->named ? &json : &e->text), &options, out, err);
  toon_buf_free(&json);
  return status;
}
