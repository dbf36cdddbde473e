/* The LRU: copies of decoded rows by key, bounded in rows and in bytes, in shards with a lock each.
 *
 * A shard is a hash table of chains, and a list from the row used last to the one used longest ago; what does not fit is taken
 * from the list's end, in constant time. Whether a row is still current is not the LRU's business: it keeps the stamp of its
 * version word (cache/words.h), and the caller's `current` is asked at each hit. */
#ifndef TOON_CACHE_LRU_H
#define TOON_CACHE_LRU_H

#include "base/buf.h"
#include "base/key.h"
#include "cache/words.h"

typedef struct cache_lru cache_lru;

/* Of a row, beside its value. */
typedef struct cache_facts {
  uint32_t slot, version; /* of its version word: where, and what it is while the row is current */
  int64_t expires;        /* ms since 1970, 0 = never */
  uint64_t sequence;
  uint8_t flags;
} cache_facts;

typedef struct cache_counts {
  uint64_t hits, misses, evictions, rows, bytes;
} cache_counts;

/* Is a row with these facts still what a read would give? */
typedef bool (*cache_current_fn)(void *ctx, const cache_facts *facts);

/* At most so many rows and bytes (of values, keys and what keeps them); a row is never larger than a sixteenth of a large cache's
 * bytes. NULL without memory. */
cache_lru *cache_lru_new(uint64_t rows, uint64_t bytes);
void cache_lru_free(cache_lru *lru);

/* Append the value of a key to `out`. *found is false if it is not here or not current; then it is a miss. TOON_ENOMEM */
toon_status cache_lru_get(cache_lru *lru, toon_key key, uint64_t hash, cache_current_fn current, void *ctx,
                          toon_buf *out, cache_facts *facts, bool *found);
/* Keep a copy, in place of what was kept for the key. Without memory nothing is kept. */
void cache_lru_put(cache_lru *lru, toon_key key, uint64_t hash, toon_slice value, const cache_facts *facts);
void cache_lru_count(cache_lru *lru, cache_counts *out);

#endif
