/* The cache of decoded rows: an LRU in front of toon_get, with version words of its own. A row is kept with the stamp that was
 * taken before it was read, and is current as long as its word is what it was then. */
#include "base/alloc.h"
#include "cache/lru.h"
#include "store/engine.h"
#include "toon/toon.h"

enum { WORDS_MIN = 1024, WORDS_MAX = 1 << 20 };

struct toon_cache {
  toon_db *db;
  cache_lru *lru;
  cache_words words;
};

toon_status toon_cache_open(toon_db *db, uint64_t rows, uint64_t bytes, toon_cache **out, toon_error *err) {
  store_engine *engine = db->engine;
  uint32_t slots = WORDS_MIN;
  while (slots < WORDS_MAX && slots < 2 * rows) slots *= 2;
  toon_cache *cache = toon_calloc(1, sizeof *cache);
  if (!cache) return toon_fail(err, TOON_ENOMEM, NULL);
  cache->db = db;
  cache->lru = cache_lru_new(rows, bytes);
  cache->words = (cache_words){.words = toon_calloc(TOON_WORDS_FIRST + slots, 4), .slots = slots};
  if (!cache->lru || !cache->words.words) {
    cache_lru_free(cache->lru);
    toon_free((void *)cache->words.words);
    toon_free(cache);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  os_mutex_lock(&engine->apply_lock); /* no commit is half visible */
  cache->words.next = engine->words;
  engine->words = &cache->words;
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
  os_mutex_unlock(&engine->apply_lock);
  cache_lru_free(cache->lru);
  toon_free((void *)cache->words.words);
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

toon_cache_counts toon_cache_count(toon_cache *cache) {
  cache_counts counts;
  cache_lru_count(cache->lru, &counts);
  return (toon_cache_counts){counts.hits, counts.misses, counts.evictions, counts.rows, counts.bytes};
}
