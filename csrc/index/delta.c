/* The delta's hash, its versions, and its memory. */
#include "index/delta.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "index/delta_sort.h"
#include "os/os.h"

#include <stddef.h>

#define SHARDS 64
#define FIRST_SLOTS 16
#define SMALL_CHUNK (64u << 10)
#define SMALL_BYTES (1u << 20) /* of a delta; then chunks are of 2 MiB */
#define POOL_CHUNKS 16         /* at most so many are kept: a delta's worth */
#define AHEAD_CHUNKS 4         /* ready before they are asked for */

/* A slot is a node's address without its three low bits (it is below 2^47), under 20 bits of the hash; 0: free. */
#define ADDRESS_BITS 44
#define TAG(hash) ((uint64_t)(hash) << ADDRESS_BITS)
typedef _Atomic uint64_t slot;
static inline index_node *slot_node(uint64_t s) {
  return (index_node *)(uintptr_t)((s & (((uint64_t)1 << ADDRESS_BITS) - 1)) << 3);
}

/* A table never shrinks or moves in place: growth makes a new one, and the old one stays until the delta goes, because
 * readers may be in it. Together the old ones are no larger than the newest. They lie in chunks of their own. */
typedef struct table {
  size_t mask;
  slot slots[];
} table;

typedef struct shard {
  _Atomic(table *) table;
  size_t used;
  size_t coming; /* counted by reserve */
} shard;

struct index_chunk {
  index_chunk *next;
  size_t used, size; /* of bytes */
  _Alignas(8) uint8_t bytes[];
};

/* Versions that have been dropped. */
typedef struct dropped {
  index_version **list;
  size_t count, cap;
} dropped;

struct index_delta {
  _Atomic uint32_t refs;
  index_pool *pool;
  shard shards[SHARDS];
  index_chunk *chunks;    /* in use, newest first: that one is being filled */
  index_chunk *ready;     /* reserved, empty, in the order in which they will be filled */
  index_chunk *tables;    /* newest first */
  dropped fresh, resting; /* those at rest wait until the readers of `ticket` have gone */
  uint64_t ticket;
  size_t asked;        /* how many were fresh when somebody looked for the last time */
  index_version *free; /* to be used again, linked by `older` */
  _Atomic uint64_t bytes;
  _Atomic uint64_t nodes;
  _Atomic int64_t puts[TOON_SPACES];
  _Atomic(index_node *) first;
  index_node *last;
  index_delta_order order;
};

static size_t shard_of(uint64_t hash) { return (size_t)(hash >> 58); }
static size_t round8(size_t n) { return (n + 7) & ~(size_t)7; }

void index_pool_init(index_pool *pool) {
  os_mutex_init(&pool->lock);
  os_cond_init(&pool->taken);
  pool->chunks = NULL;
  pool->count = 0;
  pool->ahead = false;
}

static void chunk_free(index_chunk *c) {
  size_t size = sizeof *c + c->size;
  if (size % OS_LARGE == 0)
    os_free_large(c, size);
  else
    toon_free(c);
}

void index_pool_trim(index_pool *pool) {
  os_mutex_lock(&pool->lock);
  index_chunk *c = pool->chunks, *next;
  pool->chunks = NULL;
  pool->count = 0;
  os_mutex_unlock(&pool->lock);
  for (; c; c = next) {
    next = c->next;
    chunk_free(c);
  }
}

void index_pool_destroy(index_pool *pool) {
  index_pool_trim(pool);
  os_cond_destroy(&pool->taken);
  os_mutex_destroy(&pool->lock);
}

static index_chunk *pool_take(index_pool *pool) {
  os_mutex_lock(&pool->lock);
  index_chunk *c = pool->chunks;
  if (c) {
    pool->chunks = c->next;
    pool->count--;
  }
  if (pool->ahead) os_cond_signal(&pool->taken);
  os_mutex_unlock(&pool->lock);
  return c;
}

static void *run_ahead(void *arg) {
  index_pool *pool = arg;
  os_mutex_lock(&pool->lock);
  while (pool->ahead) {
    if (pool->count >= AHEAD_CHUNKS) {
      os_cond_wait(&pool->taken, &pool->lock);
      continue;
    }
    os_mutex_unlock(&pool->lock);
    index_chunk *c = os_alloc_large(OS_LARGE);
    os_mutex_lock(&pool->lock);
    if (!c) break; /* whoever needs one will be told */
    c->size = OS_LARGE - sizeof *c;
    c->next = pool->chunks;
    pool->chunks = c;
    pool->count++;
  }
  os_mutex_unlock(&pool->lock);
  return NULL;
}

void index_pool_run_ahead(index_pool *pool) {
  pool->ahead = true;
  if (os_thread_start(&pool->thread, "toonstore-ahead", run_ahead, pool)) pool->ahead = false;
}

void index_pool_end_ahead(index_pool *pool) {
  os_mutex_lock(&pool->lock);
  bool running = pool->ahead;
  pool->ahead = false;
  os_cond_signal(&pool->taken);
  os_mutex_unlock(&pool->lock);
  if (running) os_thread_join(pool->thread);
}

static bool pool_put(index_pool *pool, index_chunk *c) {
  os_mutex_lock(&pool->lock);
  bool kept = pool->count < POOL_CHUNKS;
  if (kept) {
    c->next = pool->chunks;
    pool->chunks = c;
    pool->count++;
  }
  os_mutex_unlock(&pool->lock);
  return kept;
}

static void give(index_pool *pool, index_chunk *c) {
  index_chunk *next;
  for (; c; c = next) {
    next = c->next;
    if (!pool || sizeof *c + c->size != OS_LARGE || !pool_put(pool, c)) chunk_free(c);
  }
}

/* A chunk with room for `least` bytes: small while the delta is, so that a store with little in it takes little. */
static index_chunk *chunk_new(index_delta *delta, size_t least) {
  index_chunk *c;
  size_t size = SMALL_CHUNK;
  least += sizeof *c;
  if (least > size || atomic_load_explicit(&delta->bytes, memory_order_relaxed) >= SMALL_BYTES)
    size = (least + OS_LARGE - 1) & ~(OS_LARGE - 1);
  if (size == SMALL_CHUNK)
    c = toon_malloc(size);
  else if (!delta->pool || size > OS_LARGE || !(c = pool_take(delta->pool)))
    c = os_alloc_large(size);
  if (c && (uint64_t)(uintptr_t)c >>
               (ADDRESS_BITS + 3)) { /* a slot cannot hold it; no system gives such addresses unasked */
    c->size = size - sizeof *c;
    chunk_free(c);
    c = NULL;
  }
  if (!c) return NULL;
  c->next = NULL;
  c->used = 0;
  c->size = size - sizeof *c;
  atomic_fetch_add_explicit(&delta->bytes, size, memory_order_relaxed);
  return c;
}

/* Zeroed by writing: the memory may have been used before. */
static table *table_new(index_delta *delta, size_t slots) {
  table *t;
  size_t size = sizeof *t + slots * sizeof t->slots[0];
  index_chunk *c = delta->tables;
  if (!c || c->size - c->used < size) {
    if (!(c = chunk_new(delta, size))) return NULL;
    c->next = delta->tables;
    delta->tables = c;
  }
  t = (table *)(void *)(c->bytes + c->used);
  c->used += size;
  memset(t->slots, 0, slots * sizeof t->slots[0]);
  t->mask = slots - 1;
  return t;
}

index_delta *index_delta_new(index_pool *pool) {
  index_delta *delta = toon_calloc(1, sizeof *delta);
  if (!delta) return NULL;
  delta->pool = pool;
  atomic_init(&delta->refs, 1);
  index_delta_order_init(&delta->order);
  return delta;
}

void index_delta_ref(index_delta *delta) { atomic_fetch_add_explicit(&delta->refs, 1, memory_order_relaxed); }

void index_delta_unref(index_delta *delta) {
  if (!delta || atomic_fetch_sub_explicit(&delta->refs, 1, memory_order_acq_rel) != 1) return;
  give(delta->pool, delta->tables);
  give(delta->pool, delta->chunks);
  give(delta->pool, delta->ready);
  toon_free(delta->fresh.list);
  toon_free(delta->resting.list);
  index_delta_order_free(&delta->order);
  toon_free(delta);
}

static void table_put(table *t, uint64_t hash, uint64_t s) {
  size_t i = (size_t)hash & t->mask;
  while (atomic_load_explicit(&t->slots[i], memory_order_relaxed)) i = (i + 1) & t->mask;
  atomic_store_explicit(&t->slots[i], s, memory_order_release);
}

/* Make room so that used + coming stays at or below two thirds of the slots. */
static toon_status shard_grow(index_delta *delta, shard *s) {
  table *old = atomic_load_explicit(&s->table, memory_order_relaxed);
  size_t slots = old ? old->mask + 1 : FIRST_SLOTS;
  while ((s->used + s->coming) * 3 > slots * 2) slots *= 2;
  if (old && slots == old->mask + 1) return TOON_OK;
  table *t = table_new(delta, slots);
  if (!t) return TOON_ENOMEM;
  for (size_t i = 0; old && i <= old->mask; i++) {
    uint64_t one = atomic_load_explicit(&old->slots[i], memory_order_relaxed);
    if (one) table_put(t, t->mask >> (64 - ADDRESS_BITS) ? slot_node(one)->hash : one >> ADDRESS_BITS, one);
  }
  atomic_store_explicit(&s->table, t, memory_order_release);
  return TOON_OK;
}

static size_t node_size(uint32_t key_len) { return round8(offsetof(index_node, key) + key_len); }

/* Chunks for what inserting these takes at most: what does not fit into the one being filled goes into the next. If less is
 * taken (a key that is here already needs no node), no place is reached that would not have been reached so. */
static toon_status reserve_chunks(index_delta *delta, const index_insert *inserts, size_t count) {
  size_t room = delta->chunks ? delta->chunks->size - delta->chunks->used : 0;
  index_chunk **next = &delta->ready;
  for (size_t i = 0; i < count; i++) {
    size_t sizes[2] = {sizeof(index_version), node_size(inserts[i].key.len)};
    for (int j = 0; j < 2; j++) {
      if (sizes[j] > room) {
        if (!*next && !(*next = chunk_new(delta, sizes[j]))) return TOON_ENOMEM;
        room = (*next)->size;
        next = &(*next)->next;
      }
      room -= sizes[j];
    }
  }
  return TOON_OK;
}

toon_status index_delta_reserve(index_delta *delta, const index_insert *inserts, size_t count) {
  toon_status status = TOON_OK;
  for (size_t i = 0; i < count; i++) delta->shards[shard_of(inserts[i].hash)].coming++;
  for (size_t i = 0; i < SHARDS; i++) {
    shard *s = &delta->shards[i];
    if (s->coming && status == TOON_OK) status = shard_grow(delta, s);
    s->coming = 0;
  }
  return status == TOON_OK ? reserve_chunks(delta, inserts, count) : status;
}

static void *take(index_delta *delta, size_t size) {
  index_chunk *c = delta->chunks;
  if (!c || c->size - c->used < size) {
    c = delta->ready;
    delta->ready = c->next;
    c->next = delta->chunks;
    delta->chunks = c;
  }
  void *ptr = c->bytes + c->used;
  c->used += size;
  return ptr;
}

static index_node *find(const index_delta *delta, toon_key key, uint64_t hash) {
  table *t = atomic_load_explicit(&((index_delta *)delta)->shards[shard_of(hash)].table, memory_order_acquire);
  if (!t) return NULL;
  for (size_t i = (size_t)hash & t->mask;; i = (i + 1) & t->mask) {
    uint64_t s = atomic_load_explicit(&t->slots[i], memory_order_acquire);
    if (!s) return NULL;
    if ((s ^ TAG(hash)) >> ADDRESS_BITS) continue;
    index_node *node = slot_node(s);
    if (node->hash == hash && toon_key_eq(index_node_key(node), key)) return node;
  }
}

static void insert_one(index_delta *delta, index_insert *insert) {
  index_node *node = find(delta, insert->key, insert->hash);
  index_version *older = node ? atomic_load_explicit(&node->newest, memory_order_relaxed) : NULL;
  index_version *version = delta->free;
  if (version)
    delta->free = (index_version *)atomic_load_explicit(&version->older, memory_order_relaxed);
  else
    version = take(delta, sizeof *version);
  version->entry = insert->entry;
  atomic_store_explicit(&version->older, (uintptr_t)older, memory_order_relaxed);
  insert->replaced = older;
  insert->version = version;
  int64_t change = (insert->entry.kind == INDEX_PUT) - (older && older->entry.kind == INDEX_PUT);
  if (change) atomic_fetch_add_explicit(&delta->puts[insert->key.space], change, memory_order_relaxed);
  if (node) {
    atomic_store_explicit(&node->newest, version, memory_order_release);
    return;
  }
  node = take(delta, node_size(insert->key.len));
  atomic_init(&node->newest, version);
  atomic_init(&node->next, NULL);
  node->hash = insert->hash;
  node->key_len = insert->key.len;
  node->space = insert->key.space;
  if (insert->key.len) memcpy(node->key, insert->key.ptr, insert->key.len);
  shard *s = &delta->shards[shard_of(insert->hash)];
  s->used++;
  table_put(atomic_load_explicit(&s->table, memory_order_relaxed), insert->hash,
            TAG(insert->hash) | (uint64_t)(uintptr_t)node >> 3);
  if (delta->last)
    atomic_store_explicit(&delta->last->next, node, memory_order_release);
  else
    atomic_store_explicit(&delta->first, node, memory_order_release);
  delta->last = node;
  atomic_fetch_add_explicit(&delta->nodes, 1, memory_order_relaxed);
}

void index_delta_insert(index_delta *delta, index_insert *inserts, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (i + 16 < count) index_delta_prefetch(delta, inserts[i + 16].hash);
    if (i + 8 < count) index_delta_prefetch_node(delta, inserts[i + 8].hash);
    insert_one(delta, &inserts[i]);
  }
}

#define PRUNE_MAX 8 /* pairs looked at a call: more than one insertion adds, so that a chain gets shorter */
#define RECYCLE 1024

static void drop(dropped *d, index_version *version) {
  if (d->count == d->cap) {
    size_t cap = d->cap ? 2 * d->cap : RECYCLE;
    index_version **list = toon_realloc(d->list, cap * sizeof *list);
    if (!list) return; /* it is not used again before the delta goes */
    d->list = list;
    d->cap = cap;
  }
  d->list[d->count++] = version;
}

void index_delta_prune(index_delta *delta, const index_insert *insert, index_needed_fn needed, void *ctx) {
  index_version *newer = insert->version;
  for (int i = 0; i < PRUNE_MAX; i++) {
    uintptr_t link = atomic_load_explicit(&newer->older, memory_order_relaxed);
    index_version *older = (index_version *)(link & ~INDEX_CUT);
    if (!older) return;
    if (needed(ctx, &older->entry, &newer->entry)) {
      newer = older;
      continue;
    }
    uintptr_t below = atomic_load_explicit(&older->older, memory_order_relaxed);
    atomic_store_explicit(&newer->older, below | INDEX_CUT, memory_order_release);
    drop(&delta->fresh, older);
  }
}

bool index_delta_may_recycle(const index_delta *delta) {
  return delta->fresh.count >= RECYCLE && delta->fresh.count - delta->asked >= RECYCLE / 4;
}

void index_delta_recycle(index_delta *delta, uint64_t now, bool (*passed)(void *ctx, uint64_t ticket), void *ctx) {
  delta->asked = delta->fresh.count;
  if (delta->resting.count && !passed(ctx, delta->ticket)) return;
  for (size_t i = 0; i < delta->resting.count; i++) {
    index_version *version = delta->resting.list[i];
    atomic_store_explicit(&version->older, (uintptr_t)delta->free, memory_order_relaxed);
    delta->free = version;
  }
  dropped empty = delta->resting;
  empty.count = delta->asked = 0;
  delta->resting = delta->fresh;
  delta->fresh = empty;
  delta->ticket = now;
}

bool index_delta_get(const index_delta *delta, toon_key key, uint64_t hash, index_horizon horizon, index_entry *entry,
                     bool *cut) {
  const index_node *node = find(delta, key, hash);
  const index_version *version = node ? index_node_version(node, horizon, cut) : NULL;
  if (!version) return false;
  *entry = version->entry;
  return true;
}

void index_delta_prefetch(const index_delta *delta, uint64_t hash) {
  table *t = atomic_load_explicit(&((index_delta *)delta)->shards[shard_of(hash)].table, memory_order_acquire);
  if (t) __builtin_prefetch(&t->slots[(size_t)hash & t->mask]);
}

void index_delta_prefetch_node(const index_delta *delta, uint64_t hash) {
  table *t = atomic_load_explicit(&((index_delta *)delta)->shards[shard_of(hash)].table, memory_order_acquire);
  if (!t) return;
  uint64_t s = atomic_load_explicit(&t->slots[(size_t)hash & t->mask], memory_order_relaxed);
  if (s) __builtin_prefetch(slot_node(s));
}

index_delta_info index_delta_get_info(const index_delta *delta) {
  index_delta *d = (index_delta *)delta;
  index_delta_info info = {.nodes = atomic_load_explicit(&d->nodes, memory_order_relaxed),
                           .bytes = atomic_load_explicit(&d->bytes, memory_order_relaxed)};
  for (int i = 0; i < TOON_SPACES; i++) info.puts[i] = atomic_load_explicit(&d->puts[i], memory_order_relaxed);
  return info;
}

const index_node *index_delta_after(const index_delta *delta, const index_node *node) {
  return atomic_load_explicit(node ? &((index_node *)node)->next : &((index_delta *)delta)->first,
                              memory_order_acquire);
}

toon_status index_delta_sorted(index_delta *delta, index_piece *pieces[INDEX_PIECES_MAX], size_t *count) {
  return index_delta_order_take(&delta->order, delta, pieces, count);
}
