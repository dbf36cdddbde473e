/* The keys of the objects that are being read, to refuse one that comes twice. Objects nest, so the sets are
 * a stack: keys are pushed as they come and dropped, all of an object at once, when it ends. A key is told by
 * its JSON text, which lies in a buffer of the caller's. Sets of few keys are searched one by one; larger
 * ones share a hash table, from which keys go in the reverse of the order in which they came (so that open
 * addressing needs no tombstones). */
#ifndef TOON_TOON_KEYSET_H
#define TOON_TOON_KEYSET_H

#include "base/buf.h"

typedef struct toon_keyset {
  struct toon_keyset_key *keys;
  uint32_t count, cap;
  uint32_t *slots;       /* index of a key + 1, or 0 */
  uint32_t mask, hashed; /* size - 1; keys in the table */
  uint64_t seed;
} toon_keyset;

/* Where a set that begins now begins. */
static inline uint32_t toon_keyset_begin(const toon_keyset *set) { return set->count; }
/* Add the key at text[at, at + len) to the set that began at `begin`. *fresh: it was not yet there. */
toon_status toon_keyset_add(toon_keyset *set, uint32_t begin, const uint8_t *text, uint32_t at, uint32_t len,
                            bool *fresh);
/* End the set that began at `begin`; it must be the last. `text` as above. */
void toon_keyset_end(toon_keyset *set, uint32_t begin);
void toon_keyset_free(toon_keyset *set);

#endif
