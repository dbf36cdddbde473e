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
  BATCH_EXPECT_RANGE,
  BATCH_EXPECT_VERSION
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
  bool depends;                  /* on earlier members of its batch */
  toon_error *error;             /* owned; NULL unless it failed */
} batch_member;

/* The newest operation on each key, for toon_batch_find: a hash that is filled when it is first asked. Taken back newest
 * first, which keeps linear probing intact. */
typedef struct batch_index {
  uint32_t *slots;  /* index of an operation + 1; 0 free */
  uint32_t *before; /* per operation: the earlier one of the same key (of a clear: the earlier clear) + 1 */
  size_t slot_count, before_cap, indexed;
  uint32_t clear; /* the newest clear + 1 */
} batch_index;

struct toon_batch {
  toon_db *db;
  toon_batch *next; /* in the queue, or among the spare ones */
  toon_buf arena;
  batch_op *ops;
  size_t op_count, op_cap;
  batch_member *members;
  size_t member_count, member_cap;
  bool open, submitted, done; /* open: between begin and end; done is guarded by the queue lock */
  bool in_order;              /* toon_batch_in_order */
  bool failed, broken;        /* in order: a member has failed; with a conflict */
  size_t next_member;         /* where the next leader goes on */
  batch_index index;
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

/* In a batch that is in order: may this member be formed after what became of those before it? */
toon_status batch_check_order(const toon_batch *batch, const batch_member *member, toon_error *err);
/* batch_find.c: forget operations from `count` on; all of it, and the memory. */
void batch_index_rewind(toon_batch *batch, size_t count);
void batch_index_free(toon_batch *batch);

/* An open snapshot. Its view goes when it is closed or given up; whoever reads through it without a guard counts as a use,
 * which keeps it from being given up meanwhile. */
struct toon_snapshot {
  toon_db *db;
  _Atomic(store_view *) view; /* NULL: it was given up */
  uint64_t sequence;
  index_horizon horizon;
  int64_t now;
  uint64_t opened_ns;
  toon_snapshot *older, *newer; /* in engine->snapshots (apply_lock), while `listed` */
  bool listed;
  _Atomic uint32_t uses; /* with SNAPSHOT_DROPPED: it is given up, now or when the last of these ends */
  _Atomic uint32_t refs; /* its owner and cursors */
};
#define SNAPSHOT_DROPPED (1u << 31)

/* snapshot.c: TOON_ESNAPSHOT if it was given up; else its view stays until snapshot_unuse. */
toon_status snapshot_use(const toon_snapshot *snapshot, toon_error *err);
void snapshot_unuse(const toon_snapshot *snapshot);
/* To be asked by who uses it for long, and then to let go. */
static inline bool snapshot_dropped(const toon_snapshot *snapshot) {
  return atomic_load_explicit(&snapshot->uses, memory_order_relaxed) & SNAPSHOT_DROPPED;
}
toon_status snapshot_gone(toon_error *err);
void snapshot_ref(const toon_snapshot *snapshot);

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
/* Is the key within? */
bool range_holds(const index_bounds *bounds, toon_key key);
/* A copy that owns its slices; free with toon_free. */
toon_range *range_copy(const toon_range *range);

#endif
