/* The columns of tables that are set aside (see table.h). A column begins with the kind of its first cell and becomes
 * JSON text when a cell comes that is of another kind; whole numbers become doubles before that. */
#include "toon/table.h"

#include "base/alloc.h"
#include "toon/encode.h"
#include "toon/number.h"
#include "toon/scan.h"

enum {
  ROWS_MIN = 16,    /* below, JSON is as quick */
  COLUMNS_MAX = 128 /* above, objects are dictionaries anyway */
};

static toon_status wrong(toon_decoder *d, const uint8_t *at, const char *expected) {
  d->fault = (toon_fault){at, expected};
  return TOON_ESYNTAX;
}

toon_status toon_table_begin(toon_decoder *d, toon_table_writer *t, const toon_header *h, bool *taken) {
  const toon_buf *text = &d->columns.text;
  uint32_t count = toon_columns_count(&d->columns);
  *taken = h->count >= ROWS_MIN && count <= COLUMNS_MAX && d->columns.text.len && !memchr(text->ptr, '\\', text->len);
  if (!*taken) return TOON_OK;
  if (t->cap < count) {
    toon_table_column *columns = toon_realloc(t->columns, count * sizeof *columns);
    if (!columns) return TOON_ENOMEM;
    t->columns = columns;
    toon_buf *data = toon_realloc(t->data, count * sizeof *data);
    if (!data) return TOON_ENOMEM;
    t->data = data;
    memset(t->data + t->cap, 0, (count - t->cap) * sizeof *data);
    t->cap = count;
  }
  t->count = count;
  t->rows = 0;
  for (uint32_t i = 0; i < count; i++) {
    t->columns[i].kind = TOON_COLUMN_NONE;
    t->data[i].len = 0;
  }
  return TOON_OK;
}

/* ---- cells ---- */

/* What a cell is; kind JSON: null, or a text that a joined column cannot hold. */
typedef struct cell {
  toon_column_kind kind;
  int32_t integer; /* INT; BOOL: 0 or 1 */
  double number;   /* DOUBLE */
  toon_slice text; /* TEXT */
} cell;

/* A whole number of at most nine digits, written as JSON writes it. */
static bool short_integer(const uint8_t *p, size_t len, int32_t *out) {
  bool negative = *p == '-';
  p += negative;
  len -= negative;
  if (len == 0 || len > 9 || (*p == '0' && (len > 1 || negative))) return false;
  int32_t value = 0;
  for (size_t i = 0; i < len; i++) {
    if (!toon_is_digit(p[i])) return false;
    value = value * 10 + (p[i] - '0');
  }
  *out = negative ? -value : value;
  return true;
}

static cell bare_cell(const uint8_t *p, const uint8_t *end) {
  size_t len = (size_t)(end - p);
  cell c = {.kind = TOON_COLUMN_TEXT, .text = toon_slice_of(p, len)};
  if (len && (toon_is_digit(*p) || *p == '-')) {
    toon_number_form form;
    if (short_integer(p, len, &c.integer)) {
      c.kind = TOON_COLUMN_INT;
    } else if (toon_number_scan(p, end, &form) == len) {
      double value = toon_number_value(p, len);
      if (value - value == 0) { /* what overflows stays a string */
        c.kind = TOON_COLUMN_DOUBLE;
        c.number = value == 0 ? 0 : value; /* there is no -0 */
      }
    }
  } else if ((len == 4 || len == 5) && toon_is_literal(p, len)) {
    c.kind = *p == 'n' ? TOON_COLUMN_JSON : TOON_COLUMN_BOOL;
    c.integer = *p == 't';
  }
  return c;
}

/* Read the cell at *at as toon_decode_cell does. */
static toon_status read_cell(toon_decoder *d, toon_table_writer *t, const uint8_t **at, const uint8_t *end,
                             uint8_t delimiter, cell *out) {
  const uint8_t *p = *at;
  while (p < end && *p == ' ') p++;
  if (p < end && *p == '"') {
    toon_writer w;
    t->scratch.len = 0;
    TOON_TRY(toon_writer_begin(&w, &t->scratch, 64, TOON_TEXT_MAX));
    TOON_TRY(toon_read_quoted(&p, end, &w, false, &d->fault));
    toon_writer_end(&w);
    while (p < end && *p == ' ') p++;
    if (p < end && *p != delimiter) return wrong(d, p, "a delimiter behind the closing quote");
    *at = p;
    bool joins = !t->scratch.len || !memchr(t->scratch.ptr, '\n', t->scratch.len);
    *out = (cell){.kind = joins ? TOON_COLUMN_TEXT : TOON_COLUMN_JSON, .text = toon_buf_slice(&t->scratch)};
    return TOON_OK;
  }
  const uint8_t *stop = toon_scan_cell(p, end, d->lines.end, delimiter);
  if (stop < end && *stop != delimiter) stop = toon_find_bare(p, end, delimiter, delimiter);
  *at = stop;
  while (stop > p && stop[-1] == ' ') stop--;
  *out = bare_cell(p, stop);
  return TOON_OK;
}

/* ---- columns ---- */

static toon_status put_json_number(toon_buf *out, double value) {
  uint8_t text[TOON_NUMBER_TEXT_MAX];
  TOON_TRY(toon_buf_append(out, text, toon_number_print(value, text)));
  return toon_buf_byte(out, ',');
}

/* What a column holds so far, as JSON texts with a comma behind each. */
static toon_status to_json(toon_table_column *column, toon_buf *data) {
  toon_buf json = {0};
  toon_status status = toon_buf_byte(&json, '[');
  const uint8_t *p = data->ptr, *end = p + data->len;
  while (p < end && status == TOON_OK) {
    int32_t integer;
    double number;
    const uint8_t *stop;
    switch (column->kind) {
    case TOON_COLUMN_INT:
      memcpy(&integer, p, sizeof integer);
      status = put_json_number(&json, integer);
      p += sizeof integer;
      break;
    case TOON_COLUMN_DOUBLE:
      memcpy(&number, p, sizeof number);
      status = put_json_number(&json, number);
      p += sizeof number;
      break;
    case TOON_COLUMN_BOOL: status = *p++ ? toon_buf_lit(&json, "true,") : toon_buf_lit(&json, "false,"); break;
    default:
      stop = memchr(p, '\n', (size_t)(end - p));
      status = toon_put_json_string(&json, toon_slice_of(p, (size_t)(stop - p)));
      if (status == TOON_OK) status = toon_buf_byte(&json, ',');
      p = stop + 1;
    }
  }
  toon_buf_free(data);
  *data = json;
  column->kind = TOON_COLUMN_JSON;
  return status;
}

static toon_status to_doubles(toon_table_column *column, toon_buf *data) {
  toon_buf doubles = {0};
  size_t count = data->len / sizeof(int32_t);
  TOON_TRY(toon_buf_reserve(&doubles, (count + 16) * sizeof(double)));
  for (size_t i = 0; i < count; i++) {
    int32_t integer;
    memcpy(&integer, data->ptr + i * sizeof integer, sizeof integer);
    double number = integer;
    memcpy(doubles.ptr + i * sizeof number, &number, sizeof number);
  }
  doubles.len = count * sizeof(double);
  toon_buf_free(data);
  *data = doubles;
  column->kind = TOON_COLUMN_DOUBLE;
  return TOON_OK;
}

/* The cell at *at into a column that is JSON. */
static toon_status put_json_cell(toon_decoder *d, toon_buf *data, const uint8_t **at, const uint8_t *end,
                                 uint8_t delimiter) {
  toon_writer document = d->w;
  TOON_TRY(toon_writer_begin(&d->w, data, 64, TOON_TEXT_MAX));
  toon_status status = toon_decode_cell(d, at, end, delimiter);
  if (status == TOON_OK) toon_writer_end(&d->w);
  d->w = document;
  TOON_TRY(status);
  return toon_buf_byte(data, ',');
}

static toon_status take_cell(toon_decoder *d, toon_table_writer *t, uint32_t i, const uint8_t **at, const uint8_t *end,
                             uint8_t delimiter) {
  toon_table_column *column = &t->columns[i];
  toon_buf *data = &t->data[i];
  if (column->kind == TOON_COLUMN_JSON) return put_json_cell(d, data, at, end, delimiter);
  const uint8_t *start = *at;
  cell c;
  TOON_TRY(read_cell(d, t, at, end, delimiter, &c));
  if (column->kind == TOON_COLUMN_NONE && c.kind != TOON_COLUMN_JSON) column->kind = c.kind;
  if (column->kind == TOON_COLUMN_INT && c.kind == TOON_COLUMN_DOUBLE) TOON_TRY(to_doubles(column, data));
  if (column->kind == TOON_COLUMN_DOUBLE && c.kind == TOON_COLUMN_INT) {
    c.kind = TOON_COLUMN_DOUBLE;
    c.number = c.integer;
  }
  if (column->kind != c.kind || c.kind == TOON_COLUMN_JSON) {
    TOON_TRY(to_json(column, data));
    *at = start;
    return put_json_cell(d, data, at, end, delimiter);
  }
  switch (c.kind) {
  case TOON_COLUMN_INT: return toon_buf_append(data, &c.integer, sizeof c.integer);
  case TOON_COLUMN_DOUBLE: return toon_buf_append(data, &c.number, sizeof c.number);
  case TOON_COLUMN_BOOL: return toon_buf_byte(data, (uint8_t)c.integer);
  default:
    TOON_TRY(toon_buf_reserve(data, c.text.len + 1));
    if (c.text.len) memcpy(data->ptr + data->len, c.text.ptr, c.text.len);
    data->len += c.text.len;
    data->ptr[data->len++] = '\n';
    return TOON_OK;
  }
}

toon_status toon_table_row(toon_decoder *d, toon_table_writer *t, const uint8_t *p, const uint8_t *end,
                           uint8_t delimiter) {
  for (uint32_t i = 0; i < t->count; i++) {
    if (i) {
      if (p == end) return wrong(d, p, "as many cells as the header has columns");
      p++;
    }
    TOON_TRY(take_cell(d, t, i, &p, end, delimiter));
  }
  if (p < end) return wrong(d, p, "no more cells than the header has columns");
  t->rows++;
  return TOON_OK;
}

/* ---- the end ---- */

/* The names and indexes that lead to the table, as a JSON array. */
static toon_status put_path(const toon_decoder *d, toon_buf *out) {
  const uint8_t *json = d->w.buf->ptr + d->w.start;
  out->len = 0;
  TOON_TRY(toon_buf_byte(out, '['));
  for (uint32_t i = 0; i < d->depth; i++) {
    const toon_decode_frame *f = &d->frames[i];
    if (i) TOON_TRY(toon_buf_byte(out, ','));
    if (f->list)
      TOON_TRY(toon_buf_printf(out, "%llu", (unsigned long long)(f->items - 1)));
    else
      TOON_TRY(toon_buf_append(out, json + f->key_at, f->key_len));
  }
  return toon_buf_byte(out, ']');
}

toon_status toon_table_end(toon_decoder *d, toon_table_writer *t) {
  for (uint32_t i = 0; i < t->count; i++) {
    toon_buf *data = &t->data[i];
    toon_column_kind kind = t->columns[i].kind;
    if (kind == TOON_COLUMN_JSON) data->ptr[data->len - 1] = ']';
    t->columns[i].data = toon_slice_of(data->ptr, data->len - (kind == TOON_COLUMN_TEXT));
  }
  TOON_TRY(put_path(d, &t->scratch));
  toon_table table = {.path = toon_buf_slice(&t->scratch),
                      .text = toon_buf_slice(&d->columns.text),
                      .ends = toon_columns_ends(&d->columns),
                      .count = t->count,
                      .rows = t->rows,
                      .columns = t->columns};
  return t->fn(t->ctx, &table);
}

void toon_table_free(toon_table_writer *t) {
  for (uint32_t i = 0; i < t->cap; i++) toon_buf_free(&t->data[i]);
  toon_free(t->columns);
  toon_free(t->data);
  toon_buf_free(&t->scratch);
}
