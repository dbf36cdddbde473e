/* Version words: a sequence lock over all keys and a counter per slot. */
#include "cache/words.h"

static void add(_Atomic uint32_t *word) { atomic_fetch_add_explicit(word, 1, memory_order_relaxed); }

void cache_words_begin(cache_words *tables) {
  for (cache_words *t = tables; t; t = t->next) add(&t->words[0]);
  atomic_thread_fence(memory_order_release);
}

void cache_words_bump_all(cache_words *tables, size_t changes) {
  for (cache_words *t = tables; t; t = t->next)
    if (changes > t->slots)
      for (uint32_t i = 0; i < t->slots; i++) add(&t->words[TOON_WORDS_FIRST + i]);
}

void cache_words_bump(cache_words *tables, size_t changes, uint64_t hash) {
  for (cache_words *t = tables; t; t = t->next)
    if (changes <= t->slots) add(&t->words[TOON_WORDS_FIRST + ((uint32_t)hash & (t->slots - 1))]);
}

void cache_words_end(cache_words *tables) {
  atomic_thread_fence(memory_order_release);
  for (cache_words *t = tables; t; t = t->next) add(&t->words[0]);
}

cache_stamp cache_words_stamp(const cache_words *table, uint64_t hash) {
  cache_stamp stamp = {.slot = TOON_WORDS_FIRST + ((uint32_t)hash & (table->slots - 1))};
  stamp.word = atomic_load_explicit(&table->words[0], memory_order_acquire);
  stamp.version = atomic_load_explicit(&table->words[stamp.slot], memory_order_acquire);
  return stamp;
}

bool cache_words_unchanged(const cache_words *table, const cache_stamp *stamp) {
  atomic_thread_fence(memory_order_acquire);
  return !(stamp->word & 1) && stamp->word == atomic_load_explicit(&table->words[0], memory_order_relaxed);
}
