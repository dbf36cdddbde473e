/* Sorting. Each document gets a key of bytes whose order is that of its values: for each path a byte for the type and
 * the value, so made that no key begins another, all bits turned over where the order is descending; at last the id,
 * which decides among equals. With a limit only so many of the first are kept while the documents come. */
#include "query/parts.h"

#include "base/alloc.h"
#include "toon/scan.h"

#include <stdlib.h>

enum { OTHER = 6 }; /* behind the kinds of scalars */

static toon_status put(toon_buf *out, const void *ptr, size_t len, bool descending) {
  size_t at = out->len;
  TOON_TRY(toon_buf_append(out, ptr, len));
  for (size_t i = at; descending && i < out->len; i++) out->ptr[i] = (uint8_t)~out->ptr[i];
  return TOON_OK;
}

/* A string ends with 0 0; a zero in it is 0 1. */
static toon_status put_text(toon_buf *out, toon_slice text, bool descending) {
  const uint8_t *p = text.ptr, *end = p + text.len;
  while (p < end) {
    const uint8_t *zero = memchr(p, 0, (size_t)(end - p)), *to = zero ? zero : end;
    TOON_TRY(put(out, p, (size_t)(to - p), descending));
    if (zero) TOON_TRY(put(out, "\0\1", 2, descending));
    p = zero ? zero + 1 : end;
  }
  return put(out, "\0\0", 2, descending);
}

toon_status query_put_scalar(toon_buf *out, const toon_scalar *value, bool descending) {
  uint8_t type = (uint8_t)value->kind;
  TOON_TRY(put(out, &type, 1, descending));
  if (value->kind == TOON_STRING) return put_text(out, toon_slice_some(value->text), descending);
  if (value->kind != TOON_NUMBER) return TOON_OK;
  double number = value->number == 0 ? 0 : value->number; /* not -0 */
  uint64_t bits;
  uint8_t bytes[8];
  memcpy(&bits, &number, 8);
  bits ^= bits >> 63 ? UINT64_MAX : (uint64_t)1 << 63;
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(bits >> (56 - 8 * i));
  return put(out, bytes, 8, descending);
}

toon_status query_put_found(toon_query *q, toon_projection *paths, size_t i, bool descending, toon_buf *out) {
  toon_found found = toon_projection_found(paths, i);
  toon_scalar value = {.kind = TOON_NULL};
  const uint8_t other = OTHER;
  if (found.kind == TOON_FOUND_ARRAY || found.kind == TOON_FOUND_OBJECT) return put(out, &other, 1, descending);
  if (found.kind == TOON_FOUND_SCALAR) TOON_TRY(toon_scalar_read(found.text, &q->cell, &value));
  return query_put_scalar(out, &value, descending);
}

static int compare(const void *a, const void *b) {
  const query_item *x = a, *y = b;
  return toon_slice_cmp(toon_slice_of(x->key, x->key_len), toon_slice_of(y->key, y->key_len));
}

static void sort(toon_query *q) {
  query_item *items = query_items(q);
  size_t count = query_item_count(q);
  for (size_t i = 0; i < count; i++) items[i].key = q->keys.ptr + items[i].at;
  if (count) qsort(items, count, sizeof *items, compare);
}

/* Sort, and forget all but the first `most`. */
static toon_status prune(toon_query *q, size_t most) {
  sort(q);
  if (query_item_count(q) <= most) return TOON_OK;
  q->items.len = most * sizeof(query_item);
  toon_buf kept = {0};
  for (size_t i = 0; i < most; i++) {
    query_item *item = &query_items(q)[i];
    size_t at = kept.len;
    toon_status status = toon_buf_append(&kept, item->key, (size_t)item->key_len + item->id_len);
    if (status != TOON_OK) {
      toon_buf_free(&kept);
      return status;
    }
    item->at = at;
  }
  toon_buf_free(&q->keys);
  q->keys = kept;
  return TOON_OK;
}

/* An item whose key stands at the end of q->keys from item->at on, but for the id. */
static toon_status add_item(toon_query *q, query_item *item, toon_slice id) {
  TOON_TRY(put_text(&q->keys, id, q->descending[q->order_count - 1]));
  item->id_len = (uint32_t)id.len;
  item->key_len = (uint32_t)(q->keys.len - item->at);
  TOON_TRY(toon_buf_add(&q->keys, id));
  q->placed = q->placed || item->field.ptr;
  return toon_buf_append(&q->items, item, sizeof *item);
}

static toon_status collect(toon_query *q, query_item item, toon_slice id, toon_slice field) {
  bool object;
  item.at = q->keys.len;
  TOON_TRY(toon_projection_set_id(q->order, id));
  TOON_TRY(toon_projection_find(q->order, field, &object));
  for (size_t i = 0; i < q->order_count; i++) TOON_TRY(query_put_found(q, q->order, i, q->descending[i], &q->keys));
  return add_item(q, &item, id);
}

/* ---- of columns ---- */

static toon_status collect_row(toon_query *q, query_ref ref, const column_vector *vectors) {
  query_item item = {.at = q->keys.len, .ref = ref};
  toon_slice id;
  for (size_t i = 0; i < q->order_count; i++) {
    toon_scalar value;
    bool there;
    TOON_TRY(query_cell(q, &vectors[i], ref.row, &value, &there));
    TOON_TRY(query_put_scalar(&q->keys, &value, q->descending[i]));
  }
  TOON_TRY(query_ref_id(q, ref, &id));
  return add_item(q, &item, id);
}

static toon_status collect_loose(toon_query *q, query_ref ref) {
  toon_slice id;
  TOON_TRY(query_ref_id(q, ref, &id));
  return collect(q, (query_item){.ref = ref}, id, query_loose_field(q, ref.row));
}

static toon_status collect_batch(toon_query *q, column_vector *vectors, size_t most) {
  const query_scan *s = q->scan;
  const query_ref *refs = (const query_ref *)(const void *)s->refs.ptr;
  uint32_t block = QUERY_LOOSE;
  for (size_t i = 0; i < s->refs.len / sizeof *refs; i++) {
    if (refs[i].block != QUERY_LOOSE && refs[i].block != block) {
      block = refs[i].block;
      for (size_t j = 0; j < q->order_count; j++) vectors[j] = query_vector(q, block, s->order[j]);
    }
    TOON_TRY(refs[i].block == QUERY_LOOSE ? collect_loose(q, refs[i]) : collect_row(q, refs[i], vectors));
    if (query_item_count(q) / 2 > most + 1000) TOON_TRY(prune(q, most));
  }
  return TOON_OK;
}

static toon_status collect_columns(toon_query *q, size_t most, toon_error *err) {
  column_vector *vectors = toon_calloc(q->order_count, sizeof *vectors);
  toon_status status = vectors ? TOON_OK : query_fail(err, TOON_ENOMEM);
  for (bool end = q->limit == 0; status == TOON_OK && !end;) {
    status = query_scan_next(q, &end, err);
    if (status != TOON_OK || end) break;
    status = collect_batch(q, vectors, most);
    if (status != TOON_OK) query_fail(err, status);
  }
  toon_free(vectors);
  return status;
}

/* ---- both ---- */

static toon_status collect_walk(toon_query *q, size_t most, toon_error *err) {
  toon_slice id, field;
  bool end = q->limit == 0;
  while (!end) {
    TOON_TRY(query_walk(q, &id, &field, &end, err));
    query_item item = {.field = q->base.len ? toon_slice_of(NULL, 0) : field};
    toon_status status = end ? TOON_OK : collect(q, item, id, field);
    if (status == TOON_OK && query_item_count(q) / 2 > most + 1000) status = prune(q, most);
    if (status != TOON_OK) return query_fail(err, status);
  }
  return TOON_OK;
}

toon_status query_sort(toon_query *q, toon_error *err) {
  size_t most = q->limit > SIZE_MAX / 4 || q->offset > SIZE_MAX / 4 ? SIZE_MAX / 2 : q->limit + q->offset;
  TOON_TRY(q->scan ? collect_columns(q, most, err) : collect_walk(q, most, err));
  toon_status status = prune(q, most);
  if (status != TOON_OK) return query_fail(err, status);
  q->sorted = true;
  return TOON_OK;
}
