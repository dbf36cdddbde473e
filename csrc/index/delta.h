/* The delta: the newest part of the index, in memory. What commits insert since the last checkpoint is here, every version
 * of it, newest first per key:
 *
 *     shard -> slots (hash, node) -> node {key, newest} -> version -> older version -> ...
 *
 * One thread at a time inserts (the commit leader); any number reads without a lock: slots, chains and the list of nodes
 * are published by release stores, and memory goes only when the whole delta does. A read names its horizon.
 *
 * Versions that nobody can see any more are dropped from their chains (index_delta_prune) and, once no reader can be
 * standing on one, used again. So a chain is read inside a guard, or by the thread that inserts; and who passes over a
 * version that is marked INDEX_CUT, and is not on the list of those that pruning asks about, has to look at what is
 * published now and start again: the version it could see may be gone.
 *
 * Point reads go through the hash. For scans the nodes are sorted when first asked for: only those that came since the
 * last time, into a piece that is merged with earlier pieces when it has grown to a fraction of their size. */
#ifndef TOON_INDEX_DELTA_H
#define TOON_INDEX_DELTA_H

#include "index/entry.h"
#include "os/thread.h"
#include <stdatomic.h>

typedef struct index_delta index_delta;
typedef struct index_version index_version;
typedef struct index_node index_node;

struct index_version {
  index_entry entry;
  _Atomic uintptr_t older; /* the next older version | INDEX_CUT: versions in between have been dropped */
};
#define INDEX_CUT ((uintptr_t)1)

struct index_node {
  _Atomic(index_version *) newest;
  _Atomic(index_node *) next; /* in the order of insertion */
  uint64_t hash;
  uint32_t key_len;
  uint8_t space;
  uint8_t key[];
};

/* Memory that deltas leave to those that follow them: what has been used before costs no page faults. Any thread. */
typedef struct index_chunk index_chunk;
typedef struct index_pool {
  os_mutex lock;
  os_cond taken;
  index_chunk *chunks;
  size_t count;
  bool ahead; /* a thread makes chunks before they are asked for */
  os_thread thread;
} index_pool;
void index_pool_init(index_pool *pool);
/* Have a thread make chunks ahead of a delta that is about to grow, until it is told to end. One at a time; without a thread
 * the delta makes them itself. */
void index_pool_run_ahead(index_pool *pool);
void index_pool_end_ahead(index_pool *pool);
void index_pool_trim(index_pool *pool); /* give all of it back */
void index_pool_destroy(index_pool *pool);

/* NULL without memory. One reference. The pool (may be NULL: none) must outlive the delta. */
index_delta *index_delta_new(index_pool *pool);
void index_delta_ref(index_delta *delta);
void index_delta_unref(index_delta *delta);

/* What one insertion needs; the key is borrowed for the call. */
typedef struct index_insert {
  toon_key key;
  uint64_t hash; /* index_key_hash */
  index_entry entry;
  const index_version *replaced; /* out: the version of this delta that it follows, or NULL */
  index_version *version;        /* out: the one that was made */
} index_insert;

/* Get all memory that inserting these will need. TOON_ENOMEM leaves the delta usable and unchanged. */
toon_status index_delta_reserve(index_delta *delta, const index_insert *inserts, size_t count);
/* Insert what was reserved; cannot fail. Entries of one key come oldest first. */
void index_delta_insert(index_delta *delta, index_insert *inserts, size_t count);

/* Drop what the insertion has made invisible, after it has been published: of the versions under the new one, at most a
 * few a call, those for which `needed` says that nobody is left who sees the older one and not the newer. It is asked from
 * the newest pair down. Only the thread that inserts. */
typedef bool (*index_needed_fn)(void *ctx, const index_entry *older, const index_entry *newer);
void index_delta_prune(index_delta *delta, const index_insert *insert, index_needed_fn needed, void *ctx);
/* Use dropped versions again: when enough have come together, and `passed` says of the ticket taken when they were counted
 * (`now` is the ticket of this moment) that all readers of then have gone. */
void index_delta_recycle(index_delta *delta, uint64_t now, bool (*passed)(void *ctx, uint64_t ticket), void *ctx);
bool index_delta_may_recycle(const index_delta *delta);

/* The newest version of a key within the horizon. False: none here. *cut is set if an INDEX_CUT was passed over, else left
 * as it is. */
bool index_delta_get(const index_delta *delta, toon_key key, uint64_t hash, index_horizon horizon, index_entry *entry,
                     bool *cut);
/* Ask the memory for what a get of this hash will touch: its slot; then, a few keys later, the node that stands there. */
void index_delta_prefetch(const index_delta *delta, uint64_t hash);
void index_delta_prefetch_node(const index_delta *delta, uint64_t hash);
static inline bool index_entry_within(const index_entry *entry, index_horizon horizon) {
  return entry->sequence <= horizon.sequence && entry->segment <= horizon.segment;
}
/* The newest version of a node within the horizon, or NULL. */
static inline const index_version *index_node_version(const index_node *node, index_horizon horizon, bool *cut) {
  const index_version *v = atomic_load_explicit(&((index_node *)node)->newest, memory_order_acquire);
  while (v && !index_entry_within(&v->entry, horizon)) {
    uintptr_t older = atomic_load_explicit(&((index_version *)v)->older, memory_order_acquire);
    if (older & INDEX_CUT) *cut = true;
    v = (const index_version *)(older & ~INDEX_CUT);
  }
  return v;
}
static inline void index_node_prefetch_version(const index_node *node) {
  __builtin_prefetch(atomic_load_explicit(&((index_node *)node)->newest, memory_order_relaxed));
}
/* Ask the memory for a node and its key, if that is not long. */
static inline void index_node_prefetch(const index_node *node) {
  __builtin_prefetch(node);
  __builtin_prefetch(node->key + 16);
}
static inline toon_key index_node_key(const index_node *node) {
  return (toon_key){node->key, node->key_len, node->space};
}

typedef struct index_delta_info {
  uint64_t nodes, bytes;
  int64_t puts[TOON_SPACES]; /* keys whose newest version is a put */
} index_delta_info;
/* Counters, as of the last finished insertion. Any thread. */
index_delta_info index_delta_get_info(const index_delta *delta);

/* Walk the nodes in the order of insertion, from the start (NULL) or behind a node: for resolving them against what lies
 * below. */
const index_node *index_delta_after(const index_delta *delta, const index_node *node);

/* ---- sorted order ---- */

/* An immutable sorted list of nodes; counted by reference. */
typedef struct index_piece {
  _Atomic uint32_t refs;
  size_t count;
  const index_node *nodes[];
} index_piece;

#define INDEX_PIECES_MAX 8

/* All nodes inserted before the call, as at most INDEX_PIECES_MAX sorted pieces, each with a reference for the caller. */
toon_status index_delta_sorted(index_delta *delta, index_piece *pieces[INDEX_PIECES_MAX], size_t *count);
void index_piece_unref(index_piece *piece);

#endif
