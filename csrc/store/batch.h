/* Batches as the commit leader reads them. Keys and values stand in one growing arena, so operations hold offsets. */
#ifndef TOON_STORE_BATCH_H
#define TOON_STORE_BATCH_H

#include "store/engine.h"

typedef enum batch_kind {
  BATCH_PUT,
  BATCH_DELETE,
  BATCH_ROW_PUT,
  BATCH_CLEAR,
  BATCH_EXPIRE,
  BATCH_EXPECT,
  BATCH_EXPECT_RANGE
} batch_kind;

typedef struct batch_op {
  uint8_t kind, input, space, conditions;
  uint32_t key_len;
  size_t key, value, value_len; /* offsets in the arena */
  int64_t expires_at;           /* 0: never */
  uint64_t version;
  toon_range *range; /* BATCH_CLEAR, BATCH_EXPECT_RANGE: owned, slices owned too */
} batch_op;

typedef struct batch_member {
  uint32_t first, count; /* operations */
  toon_status status;
  uint64_t value;
  const toon_snapshot *snapshot; /* borrowed; NULL: no conflicts are looked for */
  toon_error *error;             /* owned; NULL unless it failed */
} batch_member;

struct toon_batch {
  toon_db *db;
  toon_batch *next; /* in the queue, or among the spare ones */
  toon_buf arena;
  batch_op *ops;
  size_t op_count, op_cap;
  batch_member *members;
  size_t member_count, member_cap;
  bool open, submitted, done; /* open: between begin and end; done is guarded by the queue lock */
  size_t next_member;         /* where the next leader goes on */
  toon_done_fn done_fn;
  void *done_ctx;
};

static inline toon_key batch_key(const toon_batch *batch, const batch_op *op) {
  return (toon_key){batch->arena.ptr + op->key, op->key_len, op->space};
}
static inline toon_slice batch_value(const toon_batch *batch, const batch_op *op) {
  return toon_slice_of(batch->arena.ptr + op->value, op->value_len);
}
/* Give member its failure. Without memory for the details the status remains. */
void batch_fail(batch_member *member, const toon_error *err);

/* snapshot.c's struct, which validation reads. */
struct toon_snapshot {
  toon_db *db;
  store_view *view;
  uint64_t sequence;
  int64_t now;
};

/* validate.c: TOON_ECONFLICT if the key (a key of the range) has changed since the snapshot, by what is published in `view`
 * or by earlier members of the group. commit_lock held. */
toon_status validate_key(store_engine *engine, const store_view *view, const toon_snapshot *snapshot, toon_key key,
                         uint64_t hash, toon_error *err);
toon_status validate_range(store_engine *engine, const store_view *view, const toon_snapshot *snapshot,
                           const toon_range *range, toon_error *err);
/* commit.c: the newest entry that an earlier member of the group has for a key. */
toon_status commit_pending_find(store_engine *engine, toon_key key, uint64_t hash, index_entry *entry, bool *found,
                                toon_error *err);

/* Free a batch for good, not into the handle's spare list. */
void batch_destroy(toon_batch *batch);

/* range.c: the bounds of a range as keys, prefix folded in. The slices of `bounds` borrow from range and *successor
 * (scratch for the end of a prefix). *empty: nothing can be in it. */
toon_status range_bounds(const toon_range *range, toon_buf *successor, index_bounds *bounds, bool *empty,
                         toon_error *err);
/* A copy that owns its slices; free with toon_free. */
toon_range *range_copy(const toon_range *range);

#endif
