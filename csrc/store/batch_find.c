/* What a batch would leave of a key: for a writer that computes one change from another before either is committed. */
#include "store/batch.h"
#include "base/alloc.h"

#define SLOTS_KEPT (1u << 16) /* more are not kept for the next use of the batch */

static bool has_key(const batch_op *op) {
  return op->kind == BATCH_PUT || op->kind == BATCH_DELETE || op->kind == BATCH_EXPIRE;
}

static uint64_t hash_of(const toon_batch *batch, toon_key key) {
  return index_key_hash(batch->db->engine->store_id, key);
}

static size_t slot_of(const toon_batch *batch, toon_key key) {
  const batch_index *index = &batch->index;
  for (size_t i = (size_t)hash_of(batch, key) & (index->slot_count - 1);; i = (i + 1) & (index->slot_count - 1)) {
    if (!index->slots[i]) return i;
    if (toon_key_eq(batch_key(batch, &batch->ops[index->slots[i] - 1]), key)) return i;
  }
}

/* Room for all operations there are. */
static toon_status make_room(toon_batch *batch, toon_error *err) {
  batch_index *index = &batch->index;
  if (index->before_cap < batch->op_count) {
    uint32_t *before = toon_realloc(index->before, batch->op_cap * sizeof *before);
    if (!before) return toon_fail(err, TOON_ENOMEM, NULL);
    index->before = before;
    index->before_cap = batch->op_cap;
  }
  if (index->slot_count >= 2 * batch->op_count) return TOON_OK;
  size_t count = index->slot_count ? index->slot_count : 128;
  while (count < 2 * batch->op_count) count *= 2;
  uint32_t *slots = toon_calloc(count, sizeof *slots);
  if (!slots) return toon_fail(err, TOON_ENOMEM, NULL);
  toon_free(index->slots);
  index->slots = slots;
  index->slot_count = count;
  index->indexed = index->clear = 0;
  return TOON_OK;
}

static toon_status fill(toon_batch *batch, toon_error *err) {
  batch_index *index = &batch->index;
  if (index->indexed == batch->op_count) return TOON_OK;
  TOON_TRY(make_room(batch, err));
  for (; index->indexed < batch->op_count; index->indexed++) {
    const batch_op *op = &batch->ops[index->indexed];
    uint32_t *head = op->kind == BATCH_CLEAR ? &index->clear
                     : has_key(op)           ? &index->slots[slot_of(batch, batch_key(batch, op))]
                                             : NULL;
    index->before[index->indexed] = head ? *head : 0;
    if (head) *head = (uint32_t)index->indexed + 1;
  }
  return TOON_OK;
}

void batch_index_rewind(toon_batch *batch, size_t count) {
  batch_index *index = &batch->index;
  if (count == 0 && index->slot_count > SLOTS_KEPT) {
    batch_index_free(batch);
    return;
  }
  while (index->indexed > count) {
    const batch_op *op = &batch->ops[--index->indexed];
    uint32_t before = index->before[index->indexed];
    if (op->kind == BATCH_CLEAR)
      index->clear = before;
    else if (has_key(op))
      index->slots[slot_of(batch, batch_key(batch, op))] = before;
  }
}

void batch_index_free(toon_batch *batch) {
  toon_free(batch->index.slots);
  toon_free(batch->index.before);
  batch->index = (batch_index){0};
}

/* Is there a clear behind operation `op` (counted from 1) that takes the key? */
static toon_status cleared(const toon_batch *batch, toon_key key, uint32_t op, bool *out, toon_error *err) {
  *out = false;
  for (uint32_t i = batch->index.clear; i > op && !*out; i = batch->index.before[i - 1]) {
    toon_buf successor = {0};
    index_bounds bounds;
    bool empty;
    toon_status status = range_bounds(batch->ops[i - 1].range, &successor, &bounds, &empty, err);
    if (status == TOON_OK) *out = !empty && range_holds(&bounds, key);
    toon_buf_free(&successor);
    if (status != TOON_OK) return status;
  }
  return TOON_OK;
}

toon_status toon_batch_next_key(toon_batch *batch, size_t *at, toon_key *key, bool *end, toon_error *err) {
  if (!batch->open) return toon_fail(err, TOON_EINVAL, "there is no open member");
  TOON_TRY(fill(batch, err));
  size_t i = batch->members[batch->member_count - 1].first;
  for (i = i > *at ? i : *at; i < batch->op_count; i++) {
    const batch_op *op = &batch->ops[i];
    if (!has_key(op) || batch->index.slots[slot_of(batch, batch_key(batch, op))] != i + 1) continue;
    *at = i + 1;
    *key = batch_key(batch, op);
    *end = false;
    return TOON_OK;
  }
  *end = true;
  return TOON_OK;
}

toon_status toon_batch_find(toon_batch *batch, toon_key key, toon_pending *out, toon_error *err) {
  *out = (toon_pending){.kind = TOON_PENDING_NONE};
  if (!batch->op_count) return TOON_OK;
  TOON_TRY(fill(batch, err));
  uint32_t i = batch->index.slots[slot_of(batch, key)];
  bool gone;
  TOON_TRY(cleared(batch, key, i, &gone, err));
  if (gone) {
    out->kind = TOON_PENDING_DELETE;
    return TOON_OK;
  }
  for (; i; i = batch->index.before[i - 1]) {
    const batch_op *op = &batch->ops[i - 1];
    bool expire = out->kind == TOON_PENDING_EXPIRE;
    if (!expire) out->expires_at = op->expires_at;
    if (op->kind == BATCH_EXPIRE) {
      out->kind = TOON_PENDING_EXPIRE;
      TOON_TRY(cleared(batch, key, batch->index.before[i - 1], &gone, err));
      if (!gone) continue;
    }
    if (gone || op->kind == BATCH_DELETE) {
      *out = (toon_pending){.kind = TOON_PENDING_DELETE};
    } else {
      out->kind = TOON_PENDING_PUT;
      out->input = (toon_input)op->input;
      out->value = batch_value(batch, op);
    }
    break;
  }
  return TOON_OK;
}
