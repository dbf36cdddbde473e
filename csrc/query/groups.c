/* Aggregates: one pass over the documents, with a hash table from the bytes of a group's values to its sums. */
#include "query/parts.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "toon/number.h"

#include <stdlib.h>

/* The smallest or largest scalar of a column. */
typedef struct extreme {
  toon_scalar value; /* kind TOON_NULL: none yet. Its text is `text` */
  toon_buf text;
} extreme;

/* What is known of one column of one group. sum is compensated (Neumaier), so that the order of documents hardly matters. */
typedef struct column {
  uint64_t numbers;
  double sum, lost;
  extreme min, max;
} column;

typedef struct group {
  toon_slice key; /* allocated: the bytes for the order, then the JSON of the values */
  toon_slice json;
  uint64_t documents;
  column columns[];
} group;

typedef struct table {
  toon_query *q;
  size_t groups, columns; /* paths that make groups, and others */
  group **slots;
  size_t cap, count;
  toon_buf key, json, cell;
} table;

static void group_free(group *g, size_t columns) {
  for (size_t i = 0; i < columns; i++) {
    toon_buf_free(&g->columns[i].min.text);
    toon_buf_free(&g->columns[i].max.text);
  }
  toon_free((void *)(uintptr_t)g->key.ptr);
  toon_free(g);
}

static size_t slot_of(const table *t, toon_slice key) {
  size_t i = (size_t)toon_hash(key.ptr, key.len, 0x70a57);
  while (t->slots[i & (t->cap - 1)] && !toon_slice_eq(t->slots[i & (t->cap - 1)]->key, key)) i++;
  return i & (t->cap - 1);
}

static toon_status grow(table *t) {
  table old = *t;
  t->cap = old.cap ? 2 * old.cap : 64;
  t->slots = toon_calloc(t->cap, sizeof(group *));
  if (!t->slots) {
    *t = old;
    return TOON_ENOMEM;
  }
  for (size_t i = 0; i < old.cap; i++)
    if (old.slots[i]) t->slots[slot_of(t, old.slots[i]->key)] = old.slots[i];
  toon_free(old.slots);
  return TOON_OK;
}

/* Append the bytes of a value that is part of a group's key: arrays and objects by their JSON. */
static toon_status put_part(table *t, size_t i, toon_buf *key) {
  toon_query *q = t->q;
  TOON_TRY(query_put_found(q, q->fields, i, false, key));
  toon_found found = toon_projection_found(q->fields, i);
  if (found.kind != TOON_FOUND_ARRAY && found.kind != TOON_FOUND_OBJECT) return TOON_OK;
  t->json.len = 0;
  TOON_TRY(toon_projection_found_json(q->fields, i, &t->json));
  toon_scalar text = {.kind = TOON_STRING, .text = toon_buf_slice(&t->json)};
  return query_put_scalar(key, &text, false);
}

/* The group with the key in t->key; NULL if there is none yet, and there is room for it at *slot. */
static toon_status look_up(table *t, group **out, size_t *slot) {
  toon_slice key = t->key.ptr ? toon_buf_slice(&t->key) : toon_slice_of("", 0);
  if (t->count * 2 >= t->cap) TOON_TRY(grow(t));
  *slot = slot_of(t, key);
  *out = t->slots[*slot];
  return TOON_OK;
}

/* A new one there, with the key in t->key and the JSON in t->json. */
static toon_status add_group(table *t, size_t slot, group **out) {
  toon_slice key = t->key.ptr ? toon_buf_slice(&t->key) : toon_slice_of("", 0);
  group *g = toon_calloc(1, sizeof *g + t->columns * sizeof(column));
  uint8_t *memory = toon_malloc(key.len + t->json.len + 1);
  if (!g || !memory) {
    toon_free(g);
    toon_free(memory);
    return TOON_ENOMEM;
  }
  if (key.len) memcpy(memory, key.ptr, key.len);
  if (t->json.len) memcpy(memory + key.len, t->json.ptr, t->json.len);
  g->key = toon_slice_of(memory, key.len);
  g->json = toon_slice_of(memory + key.len, t->json.len);
  t->slots[slot] = *out = g;
  t->count++;
  return TOON_OK;
}

/* The group of the document that was found. */
static toon_status find_group(table *t, group **out) {
  size_t slot;
  t->key.len = 0;
  for (size_t i = 0; i < t->groups; i++) TOON_TRY(put_part(t, i, &t->key));
  TOON_TRY(look_up(t, out, &slot));
  if (*out) return TOON_OK;
  t->json.len = 0;
  for (size_t i = 0; i < t->groups; i++) {
    if (i) TOON_TRY(toon_buf_byte(&t->json, ','));
    TOON_TRY(toon_projection_found_json(t->q->fields, i, &t->json));
  }
  return add_group(t, slot, out);
}

static toon_status note_extreme(extreme *e, const toon_scalar *value, int direction) {
  if (e->value.kind != TOON_NULL && toon_scalar_cmp(value, &e->value) * direction >= 0) return TOON_OK;
  toon_slice text = value->text;
  e->value = *value;
  if (value->kind != TOON_STRING) return TOON_OK;
  e->text.len = 0;
  TOON_TRY(toon_buf_add(&e->text, text));
  e->value.text = toon_slice_of(e->text.ptr ? e->text.ptr : (const uint8_t *)"", e->text.len);
  return TOON_OK;
}

static inline void add_number(column *c, double x) {
  double sum = c->sum + x;
  double large = c->sum < 0 ? -c->sum : c->sum, small = x < 0 ? -x : x;
  c->lost += large >= small ? (c->sum - sum) + x : (x - sum) + c->sum;
  c->sum = sum;
  c->numbers++;
}

static toon_status add_value(column *c, const toon_scalar *value) {
  if (value->kind == TOON_NULL) return TOON_OK;
  if (value->kind == TOON_NUMBER) add_number(c, value->number);
  TOON_TRY(note_extreme(&c->min, value, 1));
  return note_extreme(&c->max, value, -1);
}

static toon_status add_document(table *t, toon_slice id, toon_slice field) {
  toon_projection *fields = t->q->fields;
  bool object;
  group *g;
  TOON_TRY(toon_projection_set_id(fields, id));
  TOON_TRY(toon_projection_find(fields, field, &object));
  TOON_TRY(find_group(t, &g));
  g->documents++;
  for (size_t i = 0; i < t->columns; i++) {
    toon_found found = toon_projection_found(fields, t->groups + i);
    toon_scalar value;
    if (found.kind != TOON_FOUND_SCALAR) continue;
    TOON_TRY(toon_scalar_read(found.text, &t->cell, &value));
    TOON_TRY(add_value(&g->columns[i], &value));
  }
  return TOON_OK;
}

/* ---- of columns ----
 *
 * Rows of one block at a time: first the group of each, by a table from what their columns have (codes of a dictionary,
 * small numbers) to groups wherever that is possible; then each column in a loop. Within a group and column numbers are
 * added in the order of the documents, as they are without columns, so that sums are the same. */

#define SMALL 4096 /* values of a column that a table may have */

/* How a row's value in a column is made a small number. */
typedef struct coder {
  column_vector v;
  uint32_t size; /* 0: it cannot be */
} coder;

static coder coder_of(const column_vector *v) {
  coder c = {*v, 0};
  if (v->kind == COLUMN_DICT)
    c.size = v->count;
  else if (v->kind == COLUMN_INT && !v->missing && v->width <= 2 && v->max - v->min < (SMALL - 1) / v->divisor)
    c.size = v->width == 0 ? 1 : v->width == 1 ? 256 : SMALL;
  return c;
}

static inline uint32_t code_of(const coder *c, uint32_t row) {
  if (c->v.kind == COLUMN_DICT) return column_code(&c->v, row);
  return c->size == 1 ? 0 : (uint32_t)(column_int(&c->v, row) - c->v.base);
}

/* The group of a row, by its values. */
static toon_status row_group(table *t, const coder *coders, uint32_t row, group **out) {
  toon_scalar value;
  bool there;
  size_t slot;
  uint8_t text[TOON_NUMBER_TEXT_MAX];
  t->key.len = 0;
  for (size_t i = 0; i < t->groups; i++) {
    TOON_TRY(query_cell(t->q, &coders[i].v, row, &value, &there));
    TOON_TRY(query_put_scalar(&t->key, &value, false));
  }
  TOON_TRY(look_up(t, out, &slot));
  if (*out) return TOON_OK;
  t->json.len = 0;
  for (size_t i = 0; i < t->groups; i++) {
    TOON_TRY(query_cell(t->q, &coders[i].v, row, &value, &there));
    if (i) TOON_TRY(toon_buf_byte(&t->json, ','));
    if (value.kind == TOON_STRING)
      TOON_TRY(toon_put_json_string(&t->json, value.text));
    else
      TOON_TRY(toon_buf_add(&t->json, there ? column_token(&coders[i].v, row, text) : TOON_SLICE_LIT("null")));
  }
  return add_group(t, slot, out);
}

/* The groups of the rows of one block. */
static toon_status find_groups(table *t, const query_ref *refs, size_t count, group **out) {
  coder *coders = toon_calloc(t->groups + 1, sizeof *coders);
  group **known = NULL;
  uint32_t size = 1;
  toon_status status = coders ? TOON_OK : TOON_ENOMEM;
  for (size_t i = 0; status == TOON_OK && i < t->groups; i++) {
    column_vector v = query_vector(t->q, refs[0].block, t->q->scan->fields[i]);
    coders[i] = coder_of(&v);
    size = size * coders[i].size <= 16 * SMALL ? size * coders[i].size : 0;
  }
  if (status == TOON_OK && size && !(known = toon_calloc(size, sizeof(group *)))) status = TOON_ENOMEM;
  for (size_t i = 0; status == TOON_OK && i < count; i++) {
    uint32_t code = 0;
    bool coded = size != 0;
    for (size_t j = 0; coded && j < t->groups; j++) {
      uint32_t part = code_of(&coders[j], refs[i].row);
      coded = part < coders[j].size; /* else the file lies about its largest number, or was cut short */
      code = code * coders[j].size + part;
    }
    if (coded && known[code]) {
      out[i] = known[code];
      continue;
    }
    status = row_group(t, coders, refs[i].row, &out[i]);
    if (coded) known[code] = out[i];
  }
  toon_free(known);
  toon_free(coders);
  return status;
}

static inline void note_number(column *c, double x, toon_status *status) {
  toon_scalar value = {.kind = TOON_NUMBER, .number = x};
  if (c->min.value.kind == TOON_NUMBER && c->max.value.kind == TOON_NUMBER) {
    if (x < c->min.value.number) c->min.value.number = x;
    if (x > c->max.value.number) c->max.value.number = x;
    return;
  }
  *status = note_extreme(&c->min, &value, 1);
  if (*status == TOON_OK) *status = note_extreme(&c->max, &value, -1);
}

/* A column of the rows of one block. */
static toon_status add_column(table *t, size_t number, const query_ref *refs, size_t count, group *const *groups) {
  toon_query *q = t->q;
  column_vector v = query_vector(q, refs[0].block, q->scan->fields[t->groups + number]);
  toon_status status = TOON_OK;
  if (v.kind != COLUMN_INT && v.kind != COLUMN_FLOAT) {
    for (size_t i = 0; i < count; i++) {
      toon_scalar value;
      bool there;
      TOON_TRY(query_cell(q, &v, refs[i].row, &value, &there));
      TOON_TRY(add_value(&groups[i]->columns[number], &value));
    }
    return TOON_OK;
  }
  for (size_t i = 0; i < count && status == TOON_OK; i++) {
    if (column_is_missing(&v, refs[i].row)) continue;
    double x = column_number(&v, refs[i].row);
    add_number(&groups[i]->columns[number], x);
    note_number(&groups[i]->columns[number], x, &status);
  }
  return status;
}

static toon_status add_rows(table *t, const query_ref *refs, size_t count) {
  group *groups[COLUMN_ROWS];
  TOON_TRY(find_groups(t, refs, count, groups));
  for (size_t i = 0; i < count; i++) groups[i]->documents++;
  for (size_t i = 0; i < t->columns; i++) TOON_TRY(add_column(t, i, refs, count, groups));
  return TOON_OK;
}

static toon_status add_batch(table *t) {
  toon_query *q = t->q;
  const query_ref *refs = query_batch(q);
  size_t count = query_batch_count(q);
  for (size_t i = 0, n; i < count; i += n) {
    toon_slice id;
    for (n = 1; i + n < count && n < COLUMN_ROWS && refs[i + n].block == refs[i].block; n++) {
    }
    if (refs[i].block != QUERY_LOOSE) {
      TOON_TRY(add_rows(t, refs + i, n));
      continue;
    }
    for (size_t j = i; j < i + n; j++) {
      TOON_TRY(query_ref_id(q, refs[j], &id));
      TOON_TRY(add_document(t, id, query_loose_field(q, refs[j].row)));
    }
  }
  return TOON_OK;
}

static toon_status add_columns(table *t, toon_error *err) {
  for (;;) {
    TOON_TRY(query_take(t->q, SIZE_MAX, err));
    if (!query_batch_count(t->q)) return TOON_OK;
    toon_status status = add_batch(t);
    if (status != TOON_OK) return query_fail(err, status);
  }
}

static toon_status add_all(table *t, toon_error *err) {
  for (;;) {
    toon_slice id, field;
    bool end;
    TOON_TRY(toon_query_next(t->q, &id, &field, &end, err));
    if (end) return TOON_OK;
    toon_status status = add_document(t, id, field);
    if (status != TOON_OK) return query_fail(err, status);
  }
}

static void empty(table *t) {
  for (size_t i = 0; i < t->cap; i++)
    if (t->slots[i]) group_free(t->slots[i], t->columns);
  toon_free(t->slots);
  t->slots = NULL;
  t->cap = t->count = 0;
}

/* ---- writing ---- */

static toon_status put_number(toon_buf *out, double x) {
  uint8_t text[TOON_NUMBER_TEXT_MAX];
  if (x - x != 0) { /* JSON.parse makes an infinity of it */
    if (x > 0) return toon_buf_lit(out, "1e999");
    return x < 0 ? toon_buf_lit(out, "-1e999") : toon_buf_lit(out, "null");
  }
  return toon_buf_append(out, text, toon_number_print(x, text));
}

static toon_status put_extreme(toon_buf *out, const extreme *e) {
  switch ((int)e->value.kind) {
  case TOON_FALSE: return toon_buf_lit(out, "false");
  case TOON_TRUE: return toon_buf_lit(out, "true");
  case TOON_NUMBER: return put_number(out, e->value.number);
  case TOON_STRING: return toon_put_json_string(out, e->value.text);
  default: return toon_buf_lit(out, "null");
  }
}

static toon_status put_group(const table *t, const group *g, toon_buf *out) {
  TOON_TRY(toon_buf_lit(out, "[["));
  TOON_TRY(toon_buf_add(out, g->json));
  TOON_TRY(toon_buf_printf(out, "],%llu", (unsigned long long)g->documents));
  for (size_t i = 0; i < t->columns; i++) {
    const column *c = &g->columns[i];
    double sum = c->sum + c->lost;
    TOON_TRY(toon_buf_printf(out, ",[%llu,", (unsigned long long)c->numbers));
    TOON_TRY(put_number(out, sum - sum != 0 ? c->sum : sum));
    TOON_TRY(toon_buf_byte(out, ','));
    TOON_TRY(put_extreme(out, &c->min));
    TOON_TRY(toon_buf_byte(out, ','));
    TOON_TRY(put_extreme(out, &c->max));
    TOON_TRY(toon_buf_byte(out, ']'));
  }
  return toon_buf_byte(out, ']');
}

static int by_key(const void *a, const void *b) {
  const group *const *x = a, *const *y = b;
  return toon_slice_cmp((*x)->key, (*y)->key);
}

static toon_status put_groups(table *t, toon_buf *out) {
  size_t n = 0;
  for (size_t i = 0; i < t->cap; i++)
    if (t->slots[i]) t->slots[n++] = t->slots[i];
  t->cap = n;
  if (n) qsort(t->slots, n, sizeof(group *), by_key);
  TOON_TRY(toon_buf_byte(out, '['));
  for (size_t i = 0; i < n; i++) {
    if (i) TOON_TRY(toon_buf_byte(out, ','));
    TOON_TRY(put_group(t, t->slots[i], out));
  }
  return toon_buf_byte(out, ']');
}

toon_status toon_query_groups(toon_query *q, size_t groups, toon_buf *out, toon_error *err) {
  size_t paths = q->fields ? toon_projection_count(q->fields) : 0, len = out->len;
  if (!q->fields || groups > paths) return toon_fail(err, TOON_EINVAL, "an aggregate needs fields");
  table t = {.q = q, .groups = groups, .columns = paths - groups};
  toon_status status = TOON_OK;
  if (q->scan && q->scan->picks) {
    status = add_columns(&t, err);
    if (status == TOON_OK && !column_file_sound(q->scan->file)) { /* begin again, without columns */
      empty(&t);
      query_scan_close(q);
      q->taken = q->skipped = 0;
    }
  }
  if (status == TOON_OK && !(q->scan && q->scan->picks)) status = add_all(&t, err);
  if (status == TOON_OK) {
    status = put_groups(&t, out);
    if (status != TOON_OK) query_fail(err, status);
  }
  empty(&t);
  toon_buf_free(&t.key);
  toon_buf_free(&t.json);
  toon_buf_free(&t.cell);
  if (status != TOON_OK) out->len = len;
  return status;
}
