/* Documents of columns handed out: as columns again, for a caller that makes objects of them, or as JSON. */
#include "query/parts.h"

#include "base/alloc.h"
#include "toon/item.h"
#include "toon/scan.h"

#define DICTIONARY_SMALL 256
#define TEXT_BYTES (1u << 20) /* of a column's text: then the chunk ends */

typedef struct query_output {
  toon_buf pattern, json;
  toon_buf *data, *codes; /* of each column */
  toon_table_column *columns;
  size_t count;
} query_output;

void query_output_free(toon_query *q) {
  query_output *o = q->scan->output;
  if (!o) return;
  for (size_t i = 0; i < o->count; i++) {
    toon_buf_free(&o->data[i]);
    toon_buf_free(&o->codes[i]);
  }
  toon_free(o->data);
  toon_free(o->codes);
  toon_free(o->columns);
  toon_buf_free(&o->pattern);
  toon_buf_free(&o->json);
  toon_free(o);
  q->scan->output = NULL;
}

static toon_status output_of(toon_query *q, query_output **out) {
  if (!q->scan->output) {
    size_t n = toon_projection_count(q->fields) + 1;
    query_output *o = toon_calloc(1, sizeof *o);
    if (!o) return TOON_ENOMEM;
    q->scan->output = o;
    o->data = toon_calloc(n, sizeof *o->data);
    o->codes = toon_calloc(n, sizeof *o->codes);
    o->columns = toon_calloc(n, sizeof *o->columns);
    if (!o->data || !o->codes || !o->columns) {
      query_output_free(q);
      return TOON_ENOMEM;
    }
    o->count = n - 1;
  }
  *out = q->scan->output;
  return TOON_OK;
}

/* ---- JSON ---- */

static toon_status put_scalar(const toon_scalar *value, toon_slice token, toon_buf *out) {
  if (value->kind == TOON_STRING) return toon_put_json_string(out, value->text);
  return toon_buf_add(out, token); /* as it is written */
}

/* A cell's JSON; nothing if it is absent. */
static toon_status put_cell(toon_query *q, const column_vector *v, uint32_t row, toon_buf *out, bool *there) {
  uint8_t text[40];
  toon_scalar value;
  if (v->kind == COLUMN_IDS) {
    TOON_TRY(query_cell(q, v, row, &value, there));
    return toon_put_json_string(out, value.text);
  }
  toon_slice token = column_token(v, row, text);
  *there = token.len > 0;
  if (!*there) return TOON_OK;
  if (v->kind == COLUMN_INT || v->kind == COLUMN_FLOAT) return toon_buf_add(out, token);
  TOON_TRY(toon_scalar_read(token, &q->scan->scratch, &value));
  return put_scalar(&value, token, out);
}

static toon_status put_row(toon_query *q, query_ref ref, toon_buf *out) {
  const query_scan *s = q->scan;
  bool nulls = toon_projection_nulls(q->fields), any = false;
  TOON_TRY(toon_buf_byte(out, '{'));
  for (size_t i = 0; i < toon_projection_count(q->fields); i++) {
    column_vector v = query_vector(q, ref.block, s->fields[i]);
    size_t len = out->len;
    bool there;
    if (any) TOON_TRY(toon_buf_byte(out, ','));
    TOON_TRY(toon_buf_add(out, toon_projection_key(q->fields, i)));
    TOON_TRY(put_cell(q, &v, ref.row, out, &there));
    if (!there && nulls) TOON_TRY(toon_buf_lit(out, "null"));
    if (!there && !nulls)
      out->len = len;
    else
      any = true;
  }
  return toon_buf_byte(out, '}');
}

static toon_status put_document(toon_query *q, query_ref ref, toon_buf *out, toon_error *err) {
  toon_slice id, field;
  if (ref.block != QUERY_LOOSE && q->scan->picks) {
    toon_status status = put_row(q, ref, out);
    return status == TOON_OK ? status : query_fail(err, status);
  }
  toon_status status = query_ref_id(q, ref, &id);
  if (status != TOON_OK) return query_fail(err, status);
  if (ref.block == QUERY_LOOSE)
    field = query_loose_field(q, ref.row);
  else
    TOON_TRY(query_read(q, id, &field, err));
  return toon_item_json(q->fields, id, field, out, err);
}

/* What was taken as JSON; what goes beyond so many bytes is taken back. */
static toon_status put_batch(toon_query *q, size_t bytes, toon_buf *out, toon_query_chunk *chunk, toon_error *err) {
  size_t start = out->len, count = query_batch_count(q), i = 0;
  for (; i < count && (i == 0 || out->len - start < bytes); i++) {
    if (chunk->rows && toon_buf_byte(out, ',') != TOON_OK) return query_fail(err, TOON_ENOMEM);
    TOON_TRY(put_document(q, query_batch(q)[i], out, err));
    chunk->rows++;
  }
  query_release(q);
  TOON_TRY(query_check_columns(q, err));
  query_untake(q, count - i);
  return TOON_OK;
}

toon_status query_json_of_columns(toon_query *q, size_t rows, size_t bytes, toon_buf *out, toon_query_chunk *chunk,
                                  toon_error *err) {
  size_t start = out->len;
  *chunk = (toon_query_chunk){.rows = 0};
  while (chunk->rows < rows && !chunk->end && out->len - start < bytes) {
    TOON_TRY(query_take(q, rows - chunk->rows, err));
    chunk->end = !query_batch_count(q);
    TOON_TRY(put_batch(q, bytes - (out->len - start), out, chunk, err));
  }
  return TOON_OK;
}

/* ---- columns ---- */

/* What is common to the cells of a column in a batch. */
typedef struct column_facts {
  bool same_block, absent, numbers, whole, booleans, texts;
  column_vector v; /* same_block */
} column_facts;

static toon_status value_of(toon_query *q, query_ref ref, size_t field, column_vector *v, uint32_t *block,
                            toon_scalar *out, bool *there) {
  if (ref.block != *block) {
    *v = query_vector(q, ref.block, q->scan->fields[field]);
    *block = ref.block;
  }
  return query_cell(q, v, ref.row, out, there);
}

static toon_status look(toon_query *q, size_t field, column_facts *f) {
  const query_ref *refs = query_batch(q);
  size_t count = query_batch_count(q);
  column_vector v = {0};
  uint32_t block = QUERY_LOOSE;
  *f = (column_facts){.same_block = true, .numbers = true, .whole = true, .booleans = true, .texts = true};
  for (size_t i = 1; i < count && f->same_block; i++) f->same_block = refs[i].block == refs[0].block;
  if (f->same_block) {
    f->v = query_vector(q, refs[0].block, q->scan->fields[field]);
    if (f->v.kind == COLUMN_DICT) return TOON_OK;
    if ((f->v.kind == COLUMN_INT || f->v.kind == COLUMN_FLOAT) && !f->v.missing) {
      f->whole = f->v.kind == COLUMN_INT && !f->v.scale && f->v.min >= INT32_MIN && f->v.max <= INT32_MAX;
      f->booleans = f->texts = false;
      return TOON_OK;
    }
  }
  for (size_t i = 0; i < count; i++) {
    toon_scalar value;
    bool there;
    TOON_TRY(value_of(q, refs[i], field, &v, &block, &value, &there));
    f->absent = f->absent || !there;
    bool number = value.kind == TOON_NUMBER;
    f->numbers = f->numbers && number && value.number - value.number == 0;
    f->whole = f->whole && number && value.number >= INT32_MIN && value.number <= INT32_MAX &&
               value.number == (double)(int32_t)value.number;
    f->booleans = f->booleans && (value.kind == TOON_TRUE || value.kind == TOON_FALSE);
    f->texts = f->texts && value.kind == TOON_STRING && !memchr(value.text.ptr, '\n', value.text.len);
  }
  f->whole = f->whole && f->numbers;
  return TOON_OK;
}

static toon_status put_dictionary(toon_query *q, const column_vector *v, toon_buf *data, toon_buf *codes) {
  const query_ref *refs = query_batch(q);
  size_t count = query_batch_count(q);
  column_vector each = *v;
  each.kind = COLUMN_TEXT;
  for (uint32_t i = 0; i < v->count; i++) {
    bool there;
    TOON_TRY(toon_buf_byte(data, i ? ',' : '['));
    TOON_TRY(put_cell(q, &each, i, data, &there));
    if (!there) TOON_TRY(toon_buf_lit(data, "null"));
  }
  TOON_TRY(toon_buf_byte(data, ']'));
  TOON_TRY(toon_buf_reserve(codes, 2 * count));
  uint16_t *out = (uint16_t *)(void *)codes->ptr;
  for (size_t i = 0; i < count; i++) out[i] = (uint16_t)column_code(v, refs[i].row);
  codes->len = 2 * count;
  return TOON_OK;
}

static bool has_absent(toon_query *q, const column_vector *v) {
  const query_ref *refs = query_batch(q);
  for (uint32_t i = 0; i < v->count; i++) {
    if (column_text(v, i).len) continue;
    for (size_t j = 0; j < query_batch_count(q); j++)
      if (column_code(v, refs[j].row) == i) return true;
  }
  return false;
}

/* Numbers of one vector, one loop for each of its forms. */
static void put_numbers(const column_vector *v, const query_ref *refs, size_t count, bool whole, uint8_t *out) {
  int32_t *whole_to = (int32_t *)(void *)out;
  if (whole && v->kind == COLUMN_INT && !v->scale) {
    for (size_t i = 0; i < count; i++) whole_to[i] = (int32_t)column_int(v, refs[i].row);
  } else if (whole) { /* those that were selected are, not all of the vector */
    for (size_t i = 0; i < count; i++) whole_to[i] = (int32_t)column_number(v, refs[i].row);
  } else {
    double *to = (double *)(void *)out;
    for (size_t i = 0; i < count; i++) to[i] = column_number(v, refs[i].row);
  }
}

/* The cells of a column, the first *count of them; fewer if they are long. */
static toon_status put_cells(toon_query *q, size_t field, const column_facts *f, toon_column_kind kind, toon_buf *data,
                             size_t *count) {
  const query_ref *refs = query_batch(q);
  column_vector v = {0};
  uint32_t block = QUERY_LOOSE;
  size_t width = kind == TOON_COLUMN_INT ? 4 : kind == TOON_COLUMN_DOUBLE ? 8 : 1;
  if (kind <= TOON_COLUMN_BOOL) TOON_TRY(toon_buf_reserve(data, width * *count));
  if (kind <= TOON_COLUMN_DOUBLE && f->same_block && (f->v.kind == COLUMN_INT || f->v.kind == COLUMN_FLOAT)) {
    put_numbers(&f->v, refs, *count, kind == TOON_COLUMN_INT, data->ptr);
    data->len = width * *count;
    return TOON_OK;
  }
  for (size_t i = 0; i < *count; i++) {
    toon_scalar value;
    bool there;
    if (kind > TOON_COLUMN_BOOL && i && data->len > TEXT_BYTES) *count = i;
    if (i == *count) break;
    if (kind != TOON_COLUMN_JSON) TOON_TRY(value_of(q, refs[i], field, &v, &block, &value, &there));
    if (kind == TOON_COLUMN_INT) {
      int32_t whole = (int32_t)value.number;
      memcpy(data->ptr + 4 * i, &whole, 4);
    } else if (kind == TOON_COLUMN_DOUBLE) {
      memcpy(data->ptr + 8 * i, &value.number, 8);
    } else if (kind == TOON_COLUMN_BOOL) {
      data->ptr[i] = value.kind == TOON_TRUE;
    } else if (kind == TOON_COLUMN_TEXT) {
      if (i) TOON_TRY(toon_buf_byte(data, '\n'));
      TOON_TRY(toon_buf_add(data, value.text));
    } else {
      v = query_vector(q, refs[i].block, q->scan->fields[field]);
      TOON_TRY(toon_buf_byte(data, i ? ',' : '['));
      TOON_TRY(put_cell(q, &v, refs[i].row, data, &there));
      if (!there) TOON_TRY(toon_buf_lit(data, "null"));
    }
  }
  if (kind <= TOON_COLUMN_BOOL) data->len = width * *count;
  return kind == TOON_COLUMN_JSON ? toon_buf_byte(data, ']') : TOON_OK;
}

static toon_status put_column(toon_query *q, query_output *o, size_t field, size_t *count, bool *fits) {
  column_facts f;
  bool nulls = toon_projection_nulls(q->fields);
  toon_buf *data = &o->data[field], *codes = &o->codes[field];
  data->len = codes->len = 0;
  TOON_TRY(look(q, field, &f));
  toon_column_kind kind = TOON_COLUMN_JSON;
  if (f.same_block && f.v.kind == COLUMN_DICT) {
    *fits = nulls || !has_absent(q, &f.v);
    if (f.v.count <= DICTIONARY_SMALL || f.v.count <= *count) kind = TOON_COLUMN_DICT;
  } else {
    *fits = nulls || !f.absent;
    kind = f.whole      ? TOON_COLUMN_INT
           : f.numbers  ? TOON_COLUMN_DOUBLE
           : f.booleans ? TOON_COLUMN_BOOL
           : f.texts    ? TOON_COLUMN_TEXT
                        : TOON_COLUMN_JSON;
  }
  if (!*fits) return TOON_OK;
  TOON_TRY(kind == TOON_COLUMN_DICT ? put_dictionary(q, &f.v, data, codes)
                                    : put_cells(q, field, &f, kind, data, count));
  o->columns[field].kind = kind;
  return TOON_OK;
}

static toon_status put_pattern(toon_query *q, query_output *o, bool *fits) {
  o->pattern.len = 0;
  for (size_t i = 0; i < o->count; i++) {
    toon_slice key = toon_projection_key(q->fields, i);
    if (memchr(key.ptr, '\\', key.len)) *fits = false;
    TOON_TRY(toon_buf_byte(&o->pattern, i ? ',' : '{'));
    TOON_TRY(toon_buf_add(&o->pattern, key));
    TOON_TRY(toon_buf_byte(&o->pattern, 1));
    TOON_TRY(toon_buf_byte(&o->pattern, (uint8_t)('0' + o->columns[i].kind)));
  }
  return toon_buf_byte(&o->pattern, '}');
}

/* The batch as a table. *fits: it is one; it may have become shorter. */
static toon_status put_table(toon_query *q, toon_query_chunk *chunk, bool *fits) {
  query_output *o;
  TOON_TRY(output_of(q, &o));
  size_t taken = query_batch_count(q), count = taken;
  *fits = o->count > 0;
  for (size_t i = 0; i < taken && *fits; i++) *fits = query_batch(q)[i].block != QUERY_LOOSE;
  for (bool again = true; again && *fits;) {
    size_t before = count;
    for (size_t i = 0; i < o->count && *fits; i++) TOON_TRY(put_column(q, o, i, &count, fits));
    again = count < before; /* columns before have too many */
    if (again) query_untake(q, before - count);
  }
  if (*fits) TOON_TRY(put_pattern(q, o, fits));
  for (size_t i = 0; i < o->count; i++) {
    o->columns[i].data = toon_slice_some(toon_buf_slice(&o->data[i]));
    o->columns[i].codes = toon_slice_some(toon_buf_slice(&o->codes[i]));
  }
  chunk->table = *fits;
  chunk->rows = count;
  chunk->pattern = toon_buf_slice(&o->pattern);
  chunk->columns = o->columns;
  chunk->count = o->count;
  return TOON_OK;
}

/* Keep only the documents of one kind, of columns or loose, from the start of the batch. */
static void keep_one_kind(toon_query *q) {
  const query_ref *refs = query_batch(q);
  size_t count = query_batch_count(q), same = 1;
  while (same < count && (refs[same].block == QUERY_LOOSE) == (refs[0].block == QUERY_LOOSE)) same++;
  if (count) query_untake(q, count - same);
}

toon_status toon_query_take_chunk(toon_query *q, size_t rows, size_t bytes, toon_buf *out, toon_query_chunk *chunk,
                                  toon_error *err) {
  *chunk = (toon_query_chunk){.rows = 0};
  if (!q->scan) return toon_query_json(q, rows, bytes, out, &chunk->rows, &chunk->end, err);
  TOON_TRY(query_take(q, rows, err));
  chunk->end = !query_batch_count(q);
  if (chunk->end) return TOON_OK;
  bool fits = false;
  if (q->scan->picks) {
    if (!q->sorted) keep_one_kind(q); /* sorted ones come so, or mixed for JSON */
    toon_status status = put_table(q, chunk, &fits);
    if (status != TOON_OK) return query_fail(err, status);
  }
  if (fits) return query_check_columns(q, err);
  chunk->rows = 0;
  return put_batch(q, bytes, out, chunk, err);
}
