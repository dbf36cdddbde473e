/* The documents of a query as one TOON document. Those that were once needed are kept, so that the same query can be
 * asked for fewer or more of them. */
#include "query/parts.h"

/* Keep as many as are wanted. */
static toon_status list(toon_query *q, uint64_t rows, toon_error *err) {
  while (!q->listed && q->list.len / sizeof(query_item) < rows) {
    toon_slice id, field;
    TOON_TRY(toon_query_next(q, &id, &field, &q->listed, err));
    if (q->listed) return TOON_OK;
    query_item item = {.at = q->ids.len, .id_len = (uint32_t)id.len};
    if (!q->base.len) item.field = field;
    q->placed = true;
    if (toon_buf_add(&q->ids, id) != TOON_OK || toon_buf_append(&q->list, &item, sizeof item) != TOON_OK)
      return query_fail(err, TOON_ENOMEM);
  }
  return TOON_OK;
}

toon_status toon_query_toon(toon_query *q, uint64_t rows, toon_slice name, uint8_t delimiter, toon_buf *out,
                            uint64_t *count, toon_error *err) {
  toon_emitter *emitter;
  TOON_TRY(list(q, rows, err));
  TOON_TRY(toon_emitter_new(q->fields, name, delimiter, &emitter, err));
  toon_emitter_items(emitter);
  toon_status status = TOON_OK;
  const query_item *items = (const query_item *)(const void *)q->list.ptr;
  *count = q->list.len / sizeof *items;
  if (*count > rows) *count = rows;
  for (size_t i = 0; status == TOON_OK && i < *count; i++) {
    toon_slice id = toon_slice_of(q->ids.ptr + items[i].at, items[i].id_len), field = items[i].field;
    if (!field.ptr) status = query_read(q, id, &field, err);
    if (status == TOON_OK) status = toon_emitter_add(emitter, id, field, err);
  }
  if (status == TOON_OK) status = toon_emitter_end(emitter, out, err);
  toon_emitter_free(emitter);
  return status;
}
