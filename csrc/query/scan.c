/* The walk over columns, block by block in the order of ids: rows that the filter holds for, with documents that have changed
 * since put where they belong. A block that lacks a vector, or in which much has changed, is walked in the log instead,
 * which gives the same; so nothing that can be wrong with a column file can make a query fail. */
#include "query/parts.h"

#include "base/alloc.h"

#define CHANGED_IN_BLOCK 1024 /* more than that: walk the log */
#define WALK_ROWS 512         /* of a batch from the log */
#define WALK_BYTES (1u << 20)
#define MIXED_ROWS 256 /* of a sorted batch in which loose documents are between those of columns */
#define PICK_SHARE 4   /* documents that are not read from columns: if every fourth is wanted, walk the log */

/* ---- opening ---- */

static uint32_t column_of(const column_file *file, const toon_path *path) {
  if (path->count == 1 && toon_slice_eq(path->names[0], TOON_SLICE_LIT("_id"))) return 0;
  uint32_t i = column_find(file, path);
  return i == COLUMN_NONE ? COLUMN_NONE : i + 1;
}

/* The columns of paths. *all: each has one. */
static uint32_t *columns_of(const column_file *file, const toon_path *paths, size_t count, bool *all) {
  uint32_t *list = toon_malloc((count + 1) * sizeof *list);
  *all = true;
  for (size_t i = 0; list && i < count; i++) {
    list[i] = column_of(file, &paths[i]);
    *all = *all && list[i] != COLUMN_NONE;
  }
  return list;
}

toon_status query_scan_open(toon_query *q, const toon_query_options *o, toon_error *err) {
  toon_columns *columns;
  if (o->base.len || o->reverse || o->ranges != 1 || (!o->picks && !q->filter)) return TOON_OK;
  if (!toon_slice_eq(o->bounds[0], o->prefix)) return TOON_OK;
  TOON_TRY(toon_columns_use(q->db, q->snapshot, o->prefix, &columns, err));
  if (!columns) return TOON_OK;
  query_scan *s = toon_calloc(1, sizeof *s);
  if (!s) {
    toon_columns_release(columns);
    return query_fail(err, TOON_ENOMEM);
  }
  q->scan = s;
  s->columns = columns;
  s->file = toon_columns_file(columns);
  s->changed = toon_columns_changed(columns, &s->changed_count);
  bool filter, order;
  s->filter = columns_of(s->file, o->filter_paths, q->filter ? o->filter_count : 0, &filter);
  s->order = columns_of(s->file, o->order, o->order_count, &order);
  s->fields = columns_of(s->file, o->fields, o->picks ? o->field_count : 0, &s->picks);
  s->picks = s->picks && o->picks;
  bool memory = s->filter && s->order && s->fields;
  if (!memory || !filter || !order || (!s->picks && !q->filter)) query_scan_close(q);
  return memory ? TOON_OK : query_fail(err, TOON_ENOMEM);
}

void query_scan_close(toon_query *q) {
  query_scan *s = q->scan;
  if (!s) return;
  query_output_free(q);
  toon_cursor_close(s->cursor);
  toon_columns_release(s->columns);
  toon_free(s->filter);
  toon_free(s->fields);
  toon_free(s->order);
  toon_free(s->masks);
  toon_buf_free(&s->refs);
  toon_buf_free(&s->loose);
  toon_buf_free(&s->text);
  toon_buf_free(&s->scratch);
  toon_free(s);
  q->scan = NULL;
  q->batch.len = 0;
}

/* ---- documents from the log ---- */

toon_status query_loose_add(toon_query *q, toon_slice id, toon_slice field, uint32_t *number) {
  query_scan *s = q->scan;
  query_loose l = {s->text.len, id.len, s->text.len + id.len, field.len};
  TOON_TRY(toon_buf_add(&s->text, id));
  TOON_TRY(toon_buf_add(&s->text, field));
  *number = (uint32_t)(s->loose.len / sizeof l);
  return toon_buf_append(&s->loose, &l, sizeof l);
}

static toon_status add_ref(query_scan *s, uint32_t block, uint32_t row) {
  query_ref ref = {block, row};
  return toon_buf_append(&s->refs, &ref, sizeof ref);
}

/* A document from the log: in the batch, if it is one and the filter holds. */
static toon_status add_document(toon_query *q, toon_slice id, const toon_row *row, toon_error *err) {
  bool holds = true;
  uint32_t number;
  if (!query_good_id(id) || toon_row_kind(row) != TOON_OBJECT) return TOON_OK;
  q->counts.rows++;
  q->counts.bytes += row->field.len;
  toon_status status = q->filter ? toon_filter_test(q->filter, id, row->field, q->ask, q->ctx, &holds) : TOON_OK;
  if (status == TOON_OK && holds) {
    status = query_loose_add(q, id, row->field, &number);
    if (status == TOON_OK) status = add_ref(q->scan, QUERY_LOOSE, number);
  }
  return status == TOON_OK ? TOON_OK : query_fail(err, status);
}

static toon_status open_walk(toon_query *q, uint32_t block, toon_error *err) {
  query_scan *s = q->scan;
  bool last = block + 1 == s->file->blocks;
  toon_buf lower = {0}, upper = {0};
  toon_range range = {.prefix = q->prefix, .has_lower = block > 0, .has_upper = !last, .upper_open = true};
  toon_status status = toon_buf_add(&lower, q->prefix);
  if (status == TOON_OK) status = toon_buf_add(&upper, q->prefix);
  if (status == TOON_OK) status = toon_buf_add(&lower, s->file->block[block].first);
  if (status == TOON_OK && !last) status = toon_buf_add(&upper, s->file->block[block + 1].first);
  if (status != TOON_OK) {
    query_fail(err, status);
  } else {
    range.lower = toon_buf_slice(&lower);
    range.upper = toon_buf_slice(&upper);
    status = toon_cursor_open(q->db, q->snapshot, &range, &s->cursor, err);
  }
  toon_buf_free(&lower);
  toon_buf_free(&upper);
  return status;
}

static toon_status walk(toon_query *q, toon_error *err) {
  query_scan *s = q->scan;
  for (size_t i = 0; i < WALK_ROWS && s->text.len < WALK_BYTES; i++) {
    toon_key key;
    toon_row row;
    bool end;
    TOON_TRY(toon_cursor_next(s->cursor, false, &key, &row, &end, err));
    if (end) {
      toon_cursor_close(s->cursor);
      s->cursor = NULL;
      return TOON_OK;
    }
    TOON_TRY(add_document(q, toon_slice_of(key.ptr + q->prefix.len, key.len - q->prefix.len), &row, err));
  }
  toon_cursor_pause(s->cursor);
  return TOON_OK;
}

/* ---- blocks ---- */

/* A vector that is needed, counted as read. False if it is not there. */
static bool need(toon_query *q, uint32_t block, uint32_t column) {
  column_vector v;
  const column_place *place = column_place_of(q->scan->file, block, column);
  if (place->kind == COLUMN_ROWS_ONLY || !column_vector_get(q->scan->file, block, column, &v)) return false;
  q->counts.bytes += place->length;
  return true;
}

static bool need_all(toon_query *q, uint32_t block) {
  const query_scan *s = q->scan;
  bool id = false;
  for (size_t i = 0; s->picks && i < toon_projection_count(q->fields); i++) {
    if (!need(q, block, s->fields[i])) return false;
    id = id || s->fields[i] == 0;
  }
  for (size_t i = 0; i < q->order_count; i++)
    if (!need(q, block, s->order[i])) return false;
  return id || (s->picks && !q->order_count) || need(q, block, 0);
}

static size_t count_ones(const uint8_t *mask, uint32_t rows) {
  size_t n = 0;
  for (uint32_t i = 0; i < rows; i++) n += mask[i];
  return n;
}

static size_t smaller(uint64_t a, uint64_t b) { return (size_t)(a < b ? a : b); }

/* How many more documents of the block are asked for. */
static size_t wanted(const toon_query *q) {
  uint64_t most = q->limit - q->taken, skip = q->offset - q->skipped, have = q->scan->refs.len / sizeof(query_ref);
  if (q->order_count || most > UINT64_MAX - skip) return SIZE_MAX;
  return smaller(most + skip > have ? most + skip - have : 0, SIZE_MAX);
}

/* Rows [from, to) of a block that the mask (NULL: all) has, as far as they are asked for. */
static toon_status add_rows(toon_query *q, uint32_t block, const uint8_t *mask, uint32_t from, uint32_t to) {
  query_scan *s = q->scan;
  size_t most = wanted(q);
  if (!mask) to = from + (uint32_t)smaller(to - from, most);
  TOON_TRY(toon_buf_reserve(&s->refs, (size_t)(to - from) * sizeof(query_ref)));
  query_ref *out = (query_ref *)(void *)(s->refs.ptr + s->refs.len);
  const query_ref *end = out + smaller(to - from, most);
  if (!mask)
    for (uint32_t i = from; i < to; i++) *out++ = (query_ref){block, i};
  else
    for (uint32_t i = from; i < to && out < end; i++) {
      *out = (query_ref){block, i};
      out += mask[i];
    }
  s->refs.len = (size_t)((uint8_t *)out - s->refs.ptr);
  return TOON_OK;
}

/* The block with the documents [first, last) of those that have changed put in. */
static toon_status add_block(toon_query *q, uint32_t block, const uint8_t *mask, size_t first, size_t last,
                             toon_error *err) {
  query_scan *s = q->scan;
  uint32_t at = 0, rows = s->file->block[block].rows;
  column_vector ids = {0};
  toon_status status = TOON_OK;
  if (first < last) ids = query_vector(q, block, 0);
  for (size_t i = first; i < last && status == TOON_OK && wanted(q); i++) {
    bool old, found;
    uint32_t row = column_search(&ids, s->changed[i], &old);
    status = add_rows(q, block, mask, at, row);
    if (status != TOON_OK) break;
    at = row + old;
    TOON_TRY(query_get(q, s->changed[i], &found, err));
    if (found) TOON_TRY(add_document(q, s->changed[i], &q->row, err));
  }
  query_release(q);
  if (status == TOON_OK) status = add_rows(q, block, mask, at, rows);
  return status == TOON_OK ? TOON_OK : query_fail(err, status);
}

/* The rows of the next block. */
static toon_status begin_block(toon_query *q, toon_error *err) {
  query_scan *s = q->scan;
  uint32_t block = s->block++, rows = s->file->block[block].rows;
  bool last_block = s->block == s->file->blocks, usable = column_file_sound(s->file);
  size_t first = s->change;
  uint8_t *mask = NULL;
  while (s->change < s->changed_count &&
         (last_block || toon_slice_cmp(s->changed[s->change], s->file->block[block + 1].first) < 0))
    s->change++;
  size_t changed = s->change - first;
  if (!usable || changed > CHANGED_IN_BLOCK) return open_walk(q, block, err);
  uint64_t bytes = q->counts.bytes;
  if (q->filter) {
    toon_status status = query_mask(q, block, &mask, &usable);
    if (status == TOON_ESYNTAX && !column_file_sound(s->file))
      usable = false;
    else if (status != TOON_OK)
      return query_fail(err, status);
  }
  size_t selected = usable && mask ? count_ones(mask, rows) : rows;
  if (usable && selected && !s->picks && !q->counting && selected * PICK_SHARE > rows) usable = false;
  if (usable && selected) usable = need_all(q, block);
  if (usable && changed) usable = need(q, block, 0);
  if (!usable) return open_walk(q, block, err);
  if (q->counts.bytes != bytes || !q->filter) {
    s->blocks_read++;
    q->counts.rows += rows;
  }
  if (selected || changed) TOON_TRY(add_block(q, block, mask, first, s->change, err));
  if (column_file_sound(s->file)) return TOON_OK;
  s->refs.len = s->loose.len = s->text.len = 0; /* cut short meanwhile: what was selected may be wrong */
  return open_walk(q, block, err);
}

toon_status query_scan_next(toon_query *q, bool *end, toon_error *err) {
  query_scan *s = q->scan;
  s->at = s->refs.len = s->loose.len = s->text.len = 0;
  while (!s->refs.len) {
    *end = !s->cursor && s->block == s->file->blocks;
    if (*end) return TOON_OK;
    TOON_TRY(query_check_bytes(q, err));
    TOON_TRY(s->cursor ? walk(q, err) : begin_block(q, err));
  }
  return TOON_OK;
}

/* ---- handing out ---- */

/* How many of the documents that come next are of one kind, in columns or loose. */
static size_t run_of_kind(const toon_query *q, size_t most) {
  const query_item *items = query_items(q) + q->handed;
  size_t left = smaller(query_item_count(q) - q->handed, most), n = 0;
  while (n < left && (items[n].ref.block == QUERY_LOOSE) == (items[0].ref.block == QUERY_LOOSE)) n++;
  return n;
}

/* Of the documents that were sorted: those that are not in columns are read again. So a batch ends where the kind changes,
 * unless that is soon: then it is a mixed one. */
static toon_status take_sorted(toon_query *q, size_t most, toon_error *err) {
  query_scan *s = q->scan;
  s->loose.len = s->text.len = 0;
  size_t run = run_of_kind(q, most);
  most = run < MIXED_ROWS / 4 ? smaller(most, MIXED_ROWS) : run;
  for (; q->handed < query_item_count(q) && most; most--) {
    const query_item *item = &query_items(q)[q->handed++];
    query_ref ref = item->ref;
    toon_slice id = toon_slice_of(q->keys.ptr + item->at + item->key_len, item->id_len), field;
    if (ref.block == QUERY_LOOSE) {
      TOON_TRY(query_read(q, id, &field, err));
      if (query_loose_add(q, id, field, &ref.row) != TOON_OK) return query_fail(err, TOON_ENOMEM);
    }
    if (toon_buf_append(&q->batch, &ref, sizeof ref) != TOON_OK) return query_fail(err, TOON_ENOMEM);
    if (s->text.len > WALK_BYTES) break;
  }
  return TOON_OK;
}

toon_status query_take(toon_query *q, size_t most, toon_error *err) {
  query_scan *s = q->scan;
  q->batch.len = 0;
  if (q->order_count && !q->sorted) {
    TOON_TRY(query_sort(q, err));
    q->handed = smaller(q->offset, query_item_count(q));
  }
  most = smaller(most, q->limit - q->taken);
  if (q->sorted) {
    TOON_TRY(take_sorted(q, most, err));
    q->taken += query_batch_count(q);
    return TOON_OK;
  }
  while (most) {
    size_t left = s->refs.len / sizeof(query_ref) - s->at;
    size_t skip = smaller(left, q->offset - q->skipped);
    s->at += skip;
    q->skipped += skip;
    left = smaller(left - skip, most);
    if (left) {
      if (toon_buf_append(&q->batch, (query_ref *)(void *)s->refs.ptr + s->at, left * sizeof(query_ref)) != TOON_OK)
        return query_fail(err, TOON_ENOMEM);
      s->at += left;
      q->taken += left;
      return TOON_OK;
    }
    bool end;
    TOON_TRY(query_scan_next(q, &end, err));
    if (end) return TOON_OK;
  }
  return TOON_OK;
}

void query_untake(toon_query *q, size_t count) {
  q->batch.len -= count * sizeof(query_ref);
  q->taken -= count;
  if (q->sorted)
    q->handed -= count;
  else
    q->scan->at -= count;
}

toon_status query_ref_id(toon_query *q, query_ref ref, toon_slice *id) {
  query_scan *s = q->scan;
  if (ref.block == QUERY_LOOSE) {
    const query_loose *l = (const query_loose *)(const void *)s->loose.ptr + ref.row;
    *id = toon_slice_of(s->text.ptr + l->id, l->id_len);
    return TOON_OK;
  }
  column_vector ids = query_vector(q, ref.block, 0);
  if (ids.kind != COLUMN_IDS) return TOON_ESYNTAX;
  TOON_TRY(column_id(&ids, ref.row, &q->found));
  *id = toon_buf_slice(&q->found);
  return TOON_OK;
}

toon_status query_cell(toon_query *q, const column_vector *v, uint32_t row, toon_scalar *out, bool *there) {
  if (v->kind != COLUMN_IDS) return column_scalar(v, row, &q->scan->scratch, out, there);
  TOON_TRY(column_id(v, row, &q->found));
  *out = (toon_scalar){.kind = TOON_STRING, .text = toon_buf_slice(&q->found)};
  *there = true;
  return TOON_OK;
}

toon_status query_check_columns(toon_query *q, toon_error *err) {
  if (column_file_sound(q->scan->file)) return TOON_OK;
  for (size_t i = 0; i < query_batch_count(q); i++)
    if (q->sorted || query_batch(q)[i].block != QUERY_LOOSE) /* sorted: by what may have been gone */
      return toon_fail_at(err, TOON_ECORRUPT, q->scan->file->path, -1,
                          "a column file was damaged while it was read; it is not used any more, run the query again");
  return TOON_OK;
}
