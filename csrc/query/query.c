/* The walk of a query, and what it hands out one by one. */
#include "query/parts.h"

#include "base/alloc.h"
#include "base/utf.h"
#include "toon/item.h"

toon_status query_fail(toon_error *err, toon_status status) {
  return toon_fail(err, status, status == TOON_ESYNTAX ? "the stored text is not as it was written" : NULL);
}

/* ---- opening ---- */

static size_t keep(toon_query *q, toon_slice from, toon_slice *to) {
  size_t at = q->memory.len;
  if (toon_buf_add(&q->memory, from) != TOON_OK) return 1;
  *to = (toon_slice){(const uint8_t *)at, from.len}; /* a place for now: the memory moves while it grows */
  return 0;
}

static void settle(const toon_query *q, toon_slice *slice) {
  slice->ptr = q->memory.ptr ? q->memory.ptr + (size_t)slice->ptr : (const uint8_t *)"";
}

static toon_status keep_all(toon_query *q, const toon_query_options *o) {
  q->bounds = toon_calloc(2 * o->ranges + 1, sizeof *q->bounds);
  q->cursors = toon_calloc(o->ranges + 1, sizeof(toon_cursor *));
  q->descending = toon_calloc(o->order_count + 1, sizeof *q->descending);
  if (!q->bounds || !q->cursors || !q->descending) return TOON_ENOMEM;
  size_t failed = keep(q, o->prefix, &q->prefix) + keep(q, o->base, &q->base);
  for (size_t i = 0; i < 2 * o->ranges; i++) failed += keep(q, o->bounds[i], &q->bounds[i]);
  if (failed) return TOON_ENOMEM;
  settle(q, &q->prefix);
  settle(q, &q->base);
  for (size_t i = 0; i < 2 * o->ranges; i++) settle(q, &q->bounds[i]);
  if (o->order_count) memcpy(q->descending, o->descending, o->order_count * sizeof *q->descending);
  return TOON_OK;
}

toon_status toon_query_open(toon_db *db, const toon_snapshot *snapshot, const toon_query_options *o, toon_query **out,
                            toon_error *err) {
  toon_query *q = toon_calloc(1, sizeof *q);
  if (!q) return query_fail(err, TOON_ENOMEM);
  q->db = db;
  q->snapshot = snapshot;
  q->ranges = o->ranges;
  q->parts = o->parts;
  q->reverse = o->reverse;
  q->picks = o->picks;
  q->order_count = o->order_count;
  q->offset = o->offset;
  q->limit = o->limit;
  q->most_bytes = o->most_bytes;
  q->range = o->reverse ? o->ranges : 0;
  toon_status status = keep_all(q, o);
  if (status != TOON_OK) query_fail(err, status);
  if (status == TOON_OK && o->program.len)
    status = toon_filter_new(o->filter_paths, o->filter_count, o->program, &q->filter, err);
  if (status == TOON_OK && o->picks) status = toon_projection_new(o->fields, o->field_count, o->nulls, &q->fields, err);
  if (status == TOON_OK && o->order_count)
    status = toon_projection_new(o->order, o->order_count, false, &q->order, err);
  if (status == TOON_OK && o->columns) status = query_scan_open(q, o, err);
  if (status != TOON_OK) {
    toon_query_close(q);
    return status;
  }
  *out = q;
  return TOON_OK;
}

void query_release(toon_query *q) {
  if (q->held) toon_row_release(q->db, &q->row);
  q->held = false;
}

static void forget_places(toon_buf *items) {
  query_item *item = (query_item *)(void *)items->ptr;
  for (size_t i = 0; i < items->len / sizeof *item; i++) item[i].field = (toon_slice){NULL, 0};
}

/* It may be long until the next call: nothing is kept that holds back memory and files. */
static void rest(toon_query *q) {
  query_release(q);
  for (size_t i = 0; i < q->ranges; i++)
    if (q->cursors[i]) toon_cursor_pause(q->cursors[i]);
  if (q->placed) {
    forget_places(&q->items);
    forget_places(&q->list);
  }
  q->placed = false;
}

void toon_query_close(toon_query *q) {
  if (!q) return;
  query_release(q);
  query_scan_close(q);
  for (size_t i = 0; q->cursors && i < q->ranges; i++) toon_cursor_close(q->cursors[i]);
  toon_free(q->cursors);
  toon_free(q->bounds);
  toon_free(q->descending);
  toon_filter_free(q->filter);
  toon_projection_free(q->fields);
  toon_projection_free(q->order);
  toon_buf *buffers[] = {&q->memory, &q->key, &q->found, &q->cell, &q->items, &q->keys, &q->list, &q->ids, &q->batch};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) toon_buf_free(buffers[i]);
  toon_free(q);
}

void toon_query_ask(toon_query *q, toon_ask_fn ask, void *ctx) {
  q->ask = ask;
  q->ctx = ctx;
}

toon_query_counts toon_query_counted(const toon_query *q) {
  toon_query_counts counts = q->counts;
  counts.columns = q->scan != NULL;
  counts.blocks = q->scan ? q->scan->file->blocks : 0;
  counts.blocks_read = q->scan ? q->scan->blocks_read : 0;
  return counts;
}

toon_status query_check_bytes(const toon_query *q, toon_error *err) {
  if (!q->most_bytes || q->counts.bytes <= q->most_bytes) return TOON_OK;
  return toon_fail(err, TOON_EVALUETOOBIG, "the query reads more than %llu MiB; columns of the collection read less",
                   (unsigned long long)(q->most_bytes >> 20));
}

/* ---- walking ---- */

/* The next key of the ranges, with its row if that is a document's. */
static toon_status next_key(toon_query *q, toon_key *key, toon_row *row, bool *end, toon_error *err) {
  for (;; q->range += q->reverse ? 0 : 1) {
    size_t i = q->reverse ? q->range - 1 : q->range;
    *end = q->reverse ? q->range == 0 : q->range == q->ranges;
    if (*end) return TOON_OK;
    if (!q->cursors[i]) {
      toon_range range = {.lower = q->bounds[2 * i],
                          .has_lower = true,
                          .upper = q->bounds[2 * i + 1],
                          .has_upper = true,
                          .upper_open = true,
                          .reverse = q->reverse};
      TOON_TRY(toon_cursor_open(q->db, q->snapshot, &range, &q->cursors[i], err));
    }
    TOON_TRY(toon_cursor_next(q->cursors[i], q->base.len || q->keys_only, key, row, end, err));
    if (!*end) return TOON_OK;
    if (q->reverse) q->range--;
  }
}

/* The id of a document that can be one of the collection's. */
bool query_good_id(toon_slice id) {
  return id.len && !memchr(id.ptr, '/', id.len) && toon_utf8_valid(id.ptr, id.len) == id.len;
}

/* The id that an entry leads to. False if it is none of ours. */
static toon_status entry_id(toon_query *q, toon_key key, toon_slice *id, bool *good, toon_error *err) {
  const uint8_t *p = key.ptr + q->base.len, *end = key.ptr + key.len;
  *good = key.len >= q->base.len;
  for (uint32_t i = 0; *good && i < q->parts; i++) {
    p = memchr(p, ' ', (size_t)(end - p));
    *good = p != NULL;
    if (p) p++;
  }
  if (!*good) return TOON_OK;
  *id = toon_slice_of(p, (size_t)(end - p));
  if (p == end) {
    query_release(q);
    TOON_TRY(toon_get(q->db, q->snapshot, key, &q->row, &q->held, err));
    *good = q->held && toon_row_kind(&q->row) == TOON_STRING;
    if (!*good) return TOON_OK;
    q->found.len = 0;
    TOON_TRY(toon_field_to_string(q->row.field, &q->found, err));
    *id = toon_buf_slice(&q->found);
  }
  *good = query_good_id(*id);
  return TOON_OK;
}

toon_status query_get(toon_query *q, toon_slice id, bool *found, toon_error *err) {
  query_release(q);
  q->key.len = 0;
  if (toon_buf_add(&q->key, q->prefix) != TOON_OK || toon_buf_add(&q->key, id) != TOON_OK)
    return query_fail(err, TOON_ENOMEM);
  toon_key key = {q->key.ptr, (uint32_t)q->key.len, TOON_SPACE_USER};
  TOON_TRY(toon_get(q->db, q->snapshot, key, &q->row, found, err));
  q->held = *found;
  return TOON_OK;
}

toon_status query_read(toon_query *q, toon_slice id, toon_slice *field, toon_error *err) {
  bool found;
  TOON_TRY(query_get(q, id, &found, err));
  if (!found) return toon_fail(err, TOON_ECORRUPT, "a document is gone from its snapshot");
  *field = q->row.field;
  return TOON_OK;
}

toon_status query_walk(toon_query *q, toon_slice *id, toon_slice *field, bool *end, toon_error *err) {
  for (;;) {
    toon_key key;
    toon_row row;
    bool good = true;
    TOON_TRY(next_key(q, &key, &row, end, err));
    if (*end) return TOON_OK;
    if (q->base.len) {
      q->counts.entries++;
      TOON_TRY(entry_id(q, key, id, &good, err));
      if (good) TOON_TRY(query_get(q, *id, &good, err));
      if (!good) continue;
      row = q->row;
    } else {
      *id = toon_slice_of(key.ptr + q->prefix.len, key.len - q->prefix.len);
      if (!query_good_id(*id)) continue;
    }
    if (toon_row_kind(&row) != TOON_OBJECT) continue;
    *field = row.field;
    q->counts.rows++;
    q->counts.bytes += row.field.len;
    TOON_TRY(query_check_bytes(q, err));
    if (!q->filter) return TOON_OK;
    bool holds;
    toon_status status = toon_filter_test(q->filter, *id, row.field, q->ask, q->ctx, &holds);
    if (status != TOON_OK) return query_fail(err, status);
    if (holds) return TOON_OK;
  }
}

/* The next document that columns lead to, read from the log. */
static toon_status next_of_columns(toon_query *q, toon_slice *id, toon_slice *field, bool *end, toon_error *err) {
  TOON_TRY(query_take(q, 1, err));
  *end = query_batch_count(q) == 0;
  if (*end) return TOON_OK;
  query_ref ref = query_batch(q)[0];
  if (query_ref_id(q, ref, id) != TOON_OK) return query_fail(err, TOON_ENOMEM);
  if (ref.block != QUERY_LOOSE) return query_read(q, *id, field, err);
  *field = query_loose_field(q, ref.row);
  return TOON_OK;
}

toon_status toon_query_next(toon_query *q, toon_slice *id, toon_slice *field, bool *end, toon_error *err) {
  if (q->scan) return next_of_columns(q, id, field, end, err);
  if (q->order_count && !q->sorted) TOON_TRY(query_sort(q, err));
  for (;; q->skipped++) {
    *end = q->taken >= q->limit;
    if (*end) return TOON_OK;
    if (q->sorted) {
      *end = q->handed == query_item_count(q);
      if (*end) return TOON_OK;
      const query_item *item = &query_items(q)[q->handed++];
      *id = toon_slice_of(q->keys.ptr + item->at + item->key_len, item->id_len);
      *field = item->field;
      if (q->skipped >= q->offset && !field->ptr) TOON_TRY(query_read(q, *id, field, err));
    } else {
      TOON_TRY(query_walk(q, id, field, end, err));
      if (*end) return TOON_OK;
    }
    if (q->skipped >= q->offset) break;
  }
  q->taken++;
  return TOON_OK;
}

/* ---- results ---- */

toon_status toon_query_json(toon_query *q, size_t rows, size_t bytes, toon_buf *out, size_t *count, bool *end,
                            toon_error *err) {
  size_t start = out->len;
  toon_status status = TOON_OK;
  if (q->scan) {
    toon_query_chunk chunk;
    TOON_TRY(query_json_of_columns(q, rows, bytes, out, &chunk, err));
    *count = chunk.rows;
    *end = chunk.end;
    return TOON_OK;
  }
  *end = false;
  for (*count = 0; *count < rows && out->len - start < bytes; ++*count) {
    toon_slice id, field;
    TOON_GOTO(toon_query_next(q, &id, &field, end, err));
    if (*end) goto out;
    if (*count && toon_buf_byte(out, ',') != TOON_OK) TOON_GOTO(query_fail(err, TOON_ENOMEM));
    TOON_GOTO(toon_item_json(q->fields, id, field, out, err));
  }
out:
  rest(q);
  return status;
}

toon_status toon_query_unique(toon_db *db, const toon_snapshot *snapshot, toon_key name, toon_slice prefix,
                              toon_buf *key, toon_buf *out, bool *entry, bool *document, toon_error *err) {
  toon_row row;
  *document = false;
  key->len = 0;
  TOON_TRY(toon_get(db, snapshot, name, &row, entry, err));
  if (!*entry) return TOON_OK;
  bool text = toon_row_kind(&row) == TOON_STRING;
  toon_status status = toon_buf_add(key, prefix);
  if (status != TOON_OK)
    query_fail(err, status);
  else if (text)
    status = toon_field_to_string(row.field, key, err);
  toon_row_release(db, &row);
  if (status != TOON_OK || !text || key->len > TOON_KEY_MAX) return status;
  toon_slice id = toon_slice_of(key->ptr + prefix.len, key->len - prefix.len);
  if (!query_good_id(id)) return TOON_OK;
  TOON_TRY(toon_get(db, snapshot, toon_user_key(key->ptr, key->len), &row, document, err));
  if (!*document) return TOON_OK;
  *document = toon_row_kind(&row) == TOON_OBJECT;
  if (*document) status = toon_item_json(NULL, id, row.field, out, err);
  toon_row_release(db, &row);
  return status;
}

/* *damaged: nothing was counted, and the columns are given up. */
static toon_status count_columns(toon_query *q, uint64_t *count, bool *damaged, toon_error *err) {
  uint64_t skipped = q->skipped, taken = q->taken;
  *damaged = false;
  for (*count = 0;; *count += query_batch_count(q)) {
    TOON_TRY(query_take(q, SIZE_MAX, err));
    if (!query_batch_count(q)) break;
  }
  *damaged = !column_file_sound(q->scan->file) && taken == 0 && skipped == 0;
  if (!*damaged) return TOON_OK;
  query_scan_close(q);
  q->skipped = q->taken = 0;
  return TOON_OK;
}

toon_status toon_query_count(toon_query *q, uint64_t *count, toon_error *err) {
  bool end = false;
  q->order_count = 0; /* the order does not matter */
  q->counting = true;
  if (q->scan) {
    bool damaged;
    TOON_TRY(count_columns(q, count, &damaged, err));
    if (!damaged) return TOON_OK;
  }
  q->keys_only = !q->filter;
  for (*count = 0;; ++*count) {
    toon_slice id, field;
    TOON_TRY(toon_query_next(q, &id, &field, &end, err));
    if (end) return TOON_OK;
  }
}
