/* The LRU: shards, chains and lists. */
#include "cache/lru.h"

#include "base/alloc.h"
#include "os/thread.h"

#include <string.h>

enum {
  SHARDS = 16,
  SHARDS_FROM = 1024, /* rows: a smaller cache is one shard, so that its bounds are exact */
  FIRST_CHAINS = 64
};

typedef struct row {
  struct row *next;          /* of the chain */
  struct row *newer, *older; /* of the list */
  uint64_t hash;
  cache_facts facts;
  uint32_t key_len, value_len;
  uint8_t space;
  uint8_t bytes[]; /* key, value */
} row;

typedef struct shard {
  _Alignas(128) os_mutex lock;
  row **chains; /* a power of two of them */
  size_t chain_count;
  row *newest, *oldest;
  cache_counts counts;
} shard;

struct cache_lru {
  uint64_t rows, bytes; /* of a shard, at most */
  uint32_t count;       /* of shards, a power of two */
  shard shards[SHARDS];
};

static shard *shard_of(cache_lru *lru, uint64_t hash) { return &lru->shards[(hash >> 60) & (lru->count - 1)]; }
static row **chain_of(const shard *s, uint64_t hash) { return &s->chains[(hash >> 20) & (s->chain_count - 1)]; }
static size_t size_of(const row *r) { return sizeof *r + r->key_len + r->value_len; }

cache_lru *cache_lru_new(uint64_t rows, uint64_t bytes) {
  cache_lru *lru = toon_calloc(1, sizeof *lru);
  if (!lru) return NULL;
  lru->count = rows < SHARDS_FROM ? 1 : SHARDS;
  lru->rows = rows / lru->count;
  lru->bytes = bytes / lru->count;
  bool ok = true;
  for (uint32_t i = 0; i < lru->count; i++) {
    shard *s = &lru->shards[i];
    os_mutex_init(&s->lock);
    s->chain_count = FIRST_CHAINS;
    s->chains = toon_calloc(FIRST_CHAINS, sizeof(row *));
    ok = ok && s->chains;
  }
  if (ok) return lru;
  cache_lru_free(lru);
  return NULL;
}

void cache_lru_free(cache_lru *lru) {
  if (!lru) return;
  for (uint32_t i = 0; i < lru->count; i++) {
    shard *s = &lru->shards[i];
    for (row *r = s->newest, *older; r; r = older) {
      older = r->older;
      toon_free(r);
    }
    toon_free(s->chains);
    os_mutex_destroy(&s->lock);
  }
  toon_free(lru);
}

static void list_remove(shard *s, row *r) {
  *(r->newer ? &r->newer->older : &s->newest) = r->older;
  *(r->older ? &r->older->newer : &s->oldest) = r->newer;
}

static void list_add(shard *s, row *r) {
  r->newer = NULL;
  r->older = s->newest;
  *(s->newest ? &s->newest->newer : &s->oldest) = r;
  s->newest = r;
}

/* The link that leads to the key's row, or to the NULL at the end of its chain. */
static row **find(const shard *s, toon_key key, uint64_t hash) {
  row **at = chain_of(s, hash);
  for (; *at; at = &(*at)->next) {
    const row *r = *at;
    if (r->hash == hash && r->key_len == key.len && r->space == key.space &&
        (key.len == 0 || memcmp(r->bytes, key.ptr, key.len) == 0))
      break;
  }
  return at;
}

static void drop(shard *s, row **at) {
  row *r = *at;
  *at = r->next;
  list_remove(s, r);
  s->counts.rows--;
  s->counts.bytes -= size_of(r);
  toon_free(r);
}

static void evict(shard *s) {
  row **at = chain_of(s, s->oldest->hash);
  while (*at != s->oldest) at = &(*at)->next;
  drop(s, at);
  s->counts.evictions++;
}

/* Chains stay short, unless there is no memory for more of them. */
static void grow(shard *s) {
  size_t count = 4 * s->chain_count;
  row **chains = toon_calloc(count, sizeof *chains);
  if (!chains) return;
  toon_free(s->chains);
  s->chains = chains;
  s->chain_count = count;
  for (row *r = s->newest; r; r = r->older) {
    row **at = chain_of(s, r->hash);
    r->next = *at;
    *at = r;
  }
}

toon_status cache_lru_get(cache_lru *lru, toon_key key, uint64_t hash, cache_current_fn current, void *ctx,
                          toon_buf *out, cache_facts *facts, bool *found) {
  toon_status status = TOON_OK;
  shard *s = shard_of(lru, hash);
  os_mutex_lock(&s->lock);
  row **at = find(s, key, hash), *r = *at;
  *found = r && current(ctx, &r->facts);
  if (*found) {
    status = toon_buf_append(out, r->bytes + r->key_len, r->value_len);
    *facts = r->facts;
    if (s->newest != r) {
      list_remove(s, r);
      list_add(s, r);
    }
    s->counts.hits++;
  } else {
    if (r) drop(s, at);
    s->counts.misses++;
  }
  os_mutex_unlock(&s->lock);
  return status;
}

void cache_lru_put(cache_lru *lru, toon_key key, uint64_t hash, toon_slice value, const cache_facts *facts) {
  size_t size = sizeof(row) + key.len + value.len;
  if (size > lru->bytes || lru->rows == 0) return;
  row *r = toon_malloc(size);
  if (!r) return;
  *r = (row){.hash = hash, .facts = *facts, .key_len = key.len, .value_len = (uint32_t)value.len, .space = key.space};
  if (key.len) memcpy(r->bytes, key.ptr, key.len);
  if (value.len) memcpy(r->bytes + key.len, value.ptr, value.len);
  shard *s = shard_of(lru, hash);
  os_mutex_lock(&s->lock);
  row **at = find(s, key, hash);
  if (*at) drop(s, at);
  while (s->oldest && (s->counts.rows >= lru->rows || s->counts.bytes + size > lru->bytes)) evict(s);
  if (s->counts.rows >= 2 * s->chain_count) grow(s);
  at = chain_of(s, hash);
  r->next = *at;
  *at = r;
  list_add(s, r);
  s->counts.rows++;
  s->counts.bytes += size;
  os_mutex_unlock(&s->lock);
}

void cache_lru_count(cache_lru *lru, cache_counts *out) {
  *out = (cache_counts){0};
  for (uint32_t i = 0; i < lru->count; i++) {
    shard *s = &lru->shards[i];
    os_mutex_lock(&s->lock);
    out->hits += s->counts.hits;
    out->misses += s->counts.misses;
    out->evictions += s->counts.evictions;
    out->rows += s->counts.rows;
    out->bytes += s->counts.bytes;
    os_mutex_unlock(&s->lock);
  }
}
