/* The cache of decoded rows: an LRU in front of toon_get, with version words of its own. A row is kept with the stamp that was
 * taken before it was read, and is current as long as its word is what it was then. */
#include "base/alloc.h"
#include "cache/lru.h"
#include "store/engine.h"
#include "toon/toon.h"

enum { WORDS_MIN = 1024, WORDS_MAX = 1 << 20 };

struct toon_cache {
  toon_db *db;
  struct toon_cache *next; /* of the engine's */
  cache_lru *lru;
  cache_words words;
  _Atomic uint16_t
      *marks; /* by hash, as many as words: a part of a key's hash, and how far it is ahead of other keys */
};

enum { AHEAD_BITS = 3, AHEAD_MAX = (1 << AHEAD_BITS) - 1, AHEAD_ENOUGH = 2 };

toon_status toon_cache_open(toon_db *db, uint64_t rows, uint64_t bytes, toon_cache **out, toon_error *err) {
  store_engine *engine = db->engine;
  uint32_t slots = WORDS_MIN;
  while (slots < WORDS_MAX && slots < 2 * rows) slots *= 2;
  toon_cache *cache = toon_calloc(1, sizeof *cache);
  if (!cache) return toon_fail(err, TOON_ENOMEM, NULL);
  cache->db = db;
  cache->lru = cache_lru_new(rows, bytes);
  cache->words = (cache_words){.words = toon_calloc(TOON_WORDS_FIRST + slots, 4), .slots = slots};
  cache->marks = toon_calloc(slots, sizeof *cache->marks);
  if (!cache->lru || !cache->words.words || !cache->marks) {
    cache_lru_free(cache->lru);
    toon_free((void *)cache->words.words);
    toon_free((void *)cache->marks);
    toon_free(cache);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  os_mutex_lock(&engine->apply_lock); /* no commit is half visible */
  cache->words.next = engine->words;
  engine->words = &cache->words;
  cache->next = engine->caches;
  engine->caches = cache;
  os_mutex_unlock(&engine->apply_lock);
  *out = cache;
  return TOON_OK;
}

void toon_cache_close(toon_cache *cache) {
  if (!cache) return;
  store_engine *engine = cache->db->engine;
  os_mutex_lock(&engine->apply_lock);
  cache_words **at = &engine->words;
  while (*at != &cache->words) at = &(*at)->next;
  *at = cache->words.next;
  toon_cache **listed = &engine->caches;
  while (*listed != cache) listed = &(*listed)->next;
  *listed = cache->next;
  os_mutex_unlock(&engine->apply_lock);
  cache_lru_free(cache->lru);
  toon_free((void *)cache->words.words);
  toon_free((void *)cache->marks);
  toon_free(cache);
}

static bool current(void *ctx, const cache_facts *facts) {
  const toon_cache *cache = ctx;
  return atomic_load_explicit(&cache->words.words[facts->slot], memory_order_acquire) == facts->version &&
         (!facts->expires || facts->expires > toon_now(cache->db));
}

toon_status toon_row_value(const toon_row *row, toon_buf *out, toon_error *err) {
  if (row->flags & TOON_TEXT_PLAIN) return toon_buf_append(out, row->field.ptr + 2, row->field.len - 3);
  switch (toon_row_kind(row)) {
  case TOON_STRING: return toon_field_to_string(row->field, out, err);
  case TOON_BYTES: return toon_field_to_bytes(row->field, out, err);
  default: return toon_field_to_document(row->field, out, err);
  }
}

toon_status toon_cache_get(toon_cache *cache, toon_key key, toon_buf *out, toon_row *facts, bool *found,
                           toon_error *err) {
  toon_db *db = cache->db;
  uint64_t hash = index_key_hash(db->engine->store_id, key);
  cache_facts kept;
  if (cache_lru_get(cache->lru, key, hash, current, cache, out, &kept, found) != TOON_OK)
    return toon_fail(err, TOON_ENOMEM, NULL);
  if (*found) {
    *facts = (toon_row){.flags = kept.flags, .version = kept.sequence, .expires_at = kept.expires};
    return TOON_OK;
  }
  cache_stamp stamp = cache_words_stamp(&cache->words, hash);
  size_t from = out->len;
  toon_row row;
  TOON_TRY(toon_get(db, NULL, key, &row, found, err));
  if (!*found) return TOON_OK;
  toon_status status = toon_row_value(&row, out, err);
  *facts = (toon_row){.flags = row.flags, .version = row.version, .expires_at = row.expires_at};
  toon_row_release(db, &row);
  if (status != TOON_OK) {
    *found = false;
    out->len = from;
    return status;
  }
  if (!cache_words_unchanged(&cache->words, &stamp)) return TOON_OK;
  cache_lru_put(cache->lru, key, hash, toon_slice_of(out->ptr + from, out->len - from),
                &(cache_facts){stamp.slot, stamp.version, facts->expires_at, facts->version, facts->flags});
  return TOON_OK;
}

/* Keys of one place outvote each other; what two threads do at once may count once. */
bool toon_cache_wants(toon_cache *cache, toon_key key, bool vote) {
  uint64_t hash = index_key_hash(cache->db->engine->store_id, key);
  _Atomic uint16_t *at = &cache->marks[hash >> 16 & (cache->words.slots - 1)];
  uint16_t mark = atomic_load_explicit(at, memory_order_relaxed), part = (uint16_t)(hash >> 48) & ~AHEAD_MAX;
  uint16_t ahead = mark & AHEAD_MAX;
  bool same = (mark & ~AHEAD_MAX) == part, wanted = same && ahead >= AHEAD_ENOUGH;
  if (same && (vote || wanted))
    mark = part | (ahead < AHEAD_MAX ? ahead + 1 : ahead);
  else if (!same && vote)
    mark = ahead ? mark - 1 : part | 1;
  else
    return wanted;
  atomic_store_explicit(at, mark, memory_order_relaxed);
  return wanted;
}

toon_cache_counts toon_cache_count(toon_cache *cache) {
  cache_counts counts;
  cache_lru_count(cache->lru, &counts);
  return (toon_cache_counts){counts.hits, counts.misses, counts.evictions, counts.rows, counts.bytes};
}

uint64_t store_count_caches(store_engine *engine, toon_cache_counts *sum) {
  uint64_t caches = 0;
  *sum = (toon_cache_counts){0};
  os_mutex_lock(&engine->apply_lock);
  for (toon_cache *cache = engine->caches; cache; cache = cache->next, caches++) {
    toon_cache_counts counts = toon_cache_count(cache);
    sum->hits += counts.hits;
    sum->misses += counts.misses;
    sum->evictions += counts.evictions;
    sum->rows += counts.rows;
    sum->bytes += counts.bytes;
  }
  os_mutex_unlock(&engine->apply_lock);
  return caches;
}
