/* Version words: how a cache of ready values learns that a key has changed, without asking.
 *
 * A table is memory that the cache reads by itself: words[0] is odd while a commit is being made visible, and
 * words[TOON_WORDS_FIRST + (hash & (slots - 1))] grows by one whenever a key of that hash changes. A commit makes every table odd,
 * bumps, publishes, and makes them even again. A value that was read between two looks at an even, unchanged words[0] is
 * good for as long as its slot's word stays what it was.
 *
 * Tables are added, removed and bumped under one lock of the owner's, which is never held during I/O. */
#ifndef TOON_CACHE_WORDS_H
#define TOON_CACHE_WORDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOON_WORDS_FIRST 16 /* slots begin in a cache line of their own */

typedef struct cache_words {
  struct cache_words *next;
  _Atomic uint32_t *words; /* NULL: not in use */
  uint32_t slots;          /* a power of two */
} cache_words;

/* What a read has to remember: valid if the table has not changed around it. */
typedef struct cache_stamp {
  uint32_t word, slot, version; /* slot: an index into words */
} cache_stamp;

/* Begin: all tables odd. Everything that follows in this thread is seen only together with that. */
void cache_words_begin(cache_words *tables);
/* `changes` keys change: with more keys than slots a table's slots are all bumped here, and bump leaves it alone. */
void cache_words_bump_all(cache_words *tables, size_t changes);
void cache_words_bump(cache_words *tables, size_t changes, uint64_t hash);
void cache_words_end(cache_words *tables);

/* Before and after a read of the key with this hash; true if what was read may be kept with the stamp. */
cache_stamp cache_words_stamp(const cache_words *table, uint64_t hash);
bool cache_words_unchanged(const cache_words *table, const cache_stamp *stamp);

#endif
