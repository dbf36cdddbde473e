/* The documents of a query as one TOON document. Those that were once needed are kept, so that the same query can be
 * asked for fewer or more of them. */
#include "query/parts.h"

#include "base/alloc.h"
#include "toon/number.h"
#include "toon/quote.h"
#include "toon/scan.h"

/* Documents of columns that the list takes at once. */
static toon_status list_batch(toon_query *q, uint64_t most, toon_error *err) {
  TOON_TRY(query_take(q, most < SIZE_MAX ? (size_t)most : SIZE_MAX, err));
  q->listed = query_batch_count(q) == 0;
  for (size_t i = 0; i < query_batch_count(q); i++) {
    query_item item = {.ref = query_batch(q)[i], .at = q->ids.len};
    toon_slice id = {NULL, 0};
    toon_status status = TOON_OK;
    if (item.ref.block == QUERY_LOOSE || !q->scan->picks) {
      status = query_ref_id(q, item.ref, &id);
      item.ref.block = QUERY_LOOSE; /* to be read by its id */
    }
    item.id_len = (uint32_t)id.len;
    if (status == TOON_OK) status = toon_buf_add(&q->ids, id);
    if (status == TOON_OK) status = toon_buf_append(&q->list, &item, sizeof item);
    if (status != TOON_OK) return query_fail(err, status);
  }
  return TOON_OK;
}

/* Keep as many as are wanted. */
static toon_status list(toon_query *q, uint64_t rows, toon_error *err) {
  while (!q->listed && q->list.len / sizeof(query_item) < rows) {
    toon_slice id, field;
    if (q->scan) {
      TOON_TRY(list_batch(q, rows - q->list.len / sizeof(query_item), err));
      continue;
    }
    TOON_TRY(toon_query_next(q, &id, &field, &q->listed, err));
    if (q->listed) return TOON_OK;
    query_item item = {.at = q->ids.len, .id_len = (uint32_t)id.len, .ref = {QUERY_LOOSE, 0}};
    if (!q->base.len) item.field = field;
    q->placed = true;
    if (toon_buf_add(&q->ids, id) != TOON_OK || toon_buf_append(&q->list, &item, sizeof item) != TOON_OK)
      return query_fail(err, TOON_ENOMEM);
  }
  return TOON_OK;
}

/* ---- lines of columns ---- */

typedef struct line_writer {
  toon_query *q;
  uint8_t delimiter;
  uint32_t block; /* of the vectors */
  column_vector *vectors;
  size_t count;
  toon_writer w;
} line_writer;

static void use_block(line_writer *l, uint32_t block) {
  l->block = block;
  for (size_t i = 0; i < l->count; i++) l->vectors[i] = query_vector(l->q, block, l->q->scan->fields[i]);
}

static toon_status put_cell(line_writer *l, const column_vector *v, uint32_t row) {
  toon_writer *w = &l->w;
  if (v->kind == COLUMN_IDS) {
    TOON_TRY(column_id(v, row, &l->q->found));
    return toon_write_text(w, toon_slice_some(toon_buf_slice(&l->q->found)), l->delimiter);
  }
  TOON_TRY(toon_room(w, TOON_NUMBER_TEXT_MAX));
  if (v->kind == COLUMN_INT && !v->missing) {
    w->at += column_print(v, row, w->at);
    return TOON_OK;
  }
  uint8_t text[TOON_NUMBER_TEXT_MAX];
  toon_slice token = column_token(v, row, text);
  if (!token.len) token = TOON_SLICE_LIT("null");
  if (l->delimiter != ',') return toon_put_cell(w, token, l->delimiter, &l->q->cell);
  TOON_TRY(toon_room(w, token.len));
  toon_write(w, token.ptr, token.len);
  return TOON_OK;
}

static toon_status put_line(line_writer *l, query_ref ref) {
  toon_writer *w = &l->w;
  if (ref.block != l->block) use_block(l, ref.block);
  TOON_TRY(toon_room(w, 2));
  toon_write(w, "  ", 2);
  for (size_t i = 0; i < l->count; i++) {
    TOON_TRY(put_cell(l, &l->vectors[i], ref.row));
    TOON_TRY(toon_room(w, 1));
    toon_write_byte(w, i + 1 < l->count ? l->delimiter : '\n');
  }
  return TOON_OK;
}

/* Lines of the items from *at on, as long as they are in columns. */
static toon_status put_lines(line_writer *l, toon_buf *out, const query_item *items, uint64_t count, uint64_t *at) {
  toon_status status = TOON_OK;
  size_t most = l->q->most_bytes ? (size_t)l->q->most_bytes : TOON_TEXT_MAX;
  if (out->len >= most) return TOON_EVALUETOOBIG;
  TOON_TRY(toon_writer_begin(&l->w, out, 64, most - out->len));
  for (; *at < count && items[*at].ref.block != QUERY_LOOSE && status == TOON_OK; ++*at)
    status = put_line(l, items[*at].ref);
  if (status == TOON_OK) toon_writer_end(&l->w);
  return status;
}

/* ---- the document ---- */

static toon_status add_item(toon_query *q, toon_emitter *emitter, const query_item *item, toon_error *err) {
  toon_slice id = toon_slice_of(q->ids.ptr + item->at, item->id_len), field = item->field;
  if (item->ref.block != QUERY_LOOSE) { /* in columns, but the document is no table */
    toon_status status = query_ref_id(q, item->ref, &id);
    if (status != TOON_OK) return query_fail(err, status);
  }
  if (!field.ptr) TOON_TRY(query_read(q, id, &field, err));
  return toon_emitter_add(emitter, id, field, err);
}

static toon_status add_items(toon_query *q, toon_emitter *emitter, uint8_t delimiter, uint64_t count, toon_error *err) {
  const query_item *items = (const query_item *)(const void *)q->list.ptr;
  line_writer l = {.q = q, .delimiter = delimiter, .block = QUERY_LOOSE};
  toon_status status = TOON_OK;
  if (q->scan && q->scan->picks) l.count = toon_projection_count(q->fields);
  l.vectors = toon_calloc(l.count + 1, sizeof *l.vectors);
  if (!l.vectors) return query_fail(err, TOON_ENOMEM);
  for (uint64_t i = 0; status == TOON_OK && i < count;) {
    toon_buf *lines = items[i].ref.block == QUERY_LOOSE ? NULL : toon_emitter_lines(emitter);
    uint64_t from = i;
    if (!lines) {
      status = add_item(q, emitter, &items[i++], err);
      continue;
    }
    status = put_lines(&l, lines, items, count, &i);
    if (status == TOON_OK)
      status = toon_emitter_added(emitter, i - from, err);
    else
      toon_fail(err, status,
                status == TOON_EVALUETOOBIG ? "the text would be too long: take fewer rows or fields" : NULL);
  }
  toon_free(l.vectors);
  return status;
}

toon_status toon_query_toon(toon_query *q, uint64_t rows, toon_slice name, uint8_t delimiter, toon_buf *out,
                            uint64_t *count, toon_error *err) {
  toon_emitter *emitter;
  TOON_TRY(list(q, rows, err));
  TOON_TRY(toon_emitter_new(q->fields, name, delimiter, &emitter, err));
  toon_emitter_items(emitter);
  *count = q->list.len / sizeof(query_item);
  if (*count > rows) *count = rows;
  toon_status status = add_items(q, emitter, delimiter, *count, err);
  if (status == TOON_OK && q->scan && !column_file_sound(q->scan->file))
    status = toon_fail_at(err, TOON_ECORRUPT, q->scan->file->path, -1,
                          "a column file was damaged while it was read; it is not used any more, run the query again");
  if (status == TOON_OK) status = toon_emitter_end(emitter, out, err);
  toon_emitter_free(emitter);
  return status;
}
