/* The stack of key sets. */
#include "toon/keyset.h"

#include "base/alloc.h"
#include "base/hash.h"

#define FEW 16 /* a set of more keys is in the table, whole */

typedef struct toon_keyset_key {
  uint64_t hash; /* of the bytes and of where the set begins; the top bit tells that it is in the table */
  uint32_t at, len;
} key;

static void put_slot(toon_keyset *set, uint32_t index) {
  uint32_t i = (uint32_t)set->keys[index].hash & set->mask;
  while (set->slots[i]) i = (i + 1) & set->mask;
  set->slots[i] = index + 1;
}

/* Hash the keys [from, to) of one set. A table that grows is made anew in the order of the stack. */
static toon_status hash_keys(toon_keyset *set, uint32_t from, uint32_t to) {
  uint32_t hashed = set->hashed + (to - from);
  if (!set->slots || (uint64_t)hashed * 2 > set->mask) {
    uint64_t size = 256;
    while (size < (uint64_t)hashed * 4) size *= 2;
    uint32_t *slots = toon_calloc(size, sizeof *slots);
    if (!slots) return TOON_ENOMEM;
    toon_free(set->slots);
    set->slots = slots;
    set->mask = (uint32_t)(size - 1);
    for (uint32_t i = 0; i < from; i++)
      if (set->keys[i].hash >> 63) put_slot(set, i);
  }
  for (uint32_t i = from; i < to; i++) {
    set->keys[i].hash |= 1ull << 63;
    put_slot(set, i);
  }
  set->hashed = hashed;
  return TOON_OK;
}

toon_status toon_keyset_add(toon_keyset *set, uint32_t begin, const uint8_t *text, uint32_t at, uint32_t len,
                            bool *fresh) {
  if (!set->seed) set->seed = (uint64_t)(uintptr_t)set * 0x9E3779B97F4A7C15ull | 1;
  uint64_t hash = toon_hash(text + at, len, set->seed + begin) & ~(1ull << 63);
  uint32_t n = set->count - begin;
  *fresh = false;
  if (n <= FEW) {
    for (uint32_t i = begin; i < set->count; i++)
      if (set->keys[i].hash == hash && set->keys[i].len == len && memcmp(text + set->keys[i].at, text + at, len) == 0)
        return TOON_OK;
  } else {
    hash |= 1ull << 63;
    for (uint32_t i = (uint32_t)hash & set->mask; set->slots[i]; i = (i + 1) & set->mask) {
      const key *k = &set->keys[set->slots[i] - 1];
      if (k->hash == hash && set->slots[i] > begin && k->len == len && memcmp(text + k->at, text + at, len) == 0)
        return TOON_OK;
    }
  }
  if (set->count == set->cap) {
    if (set->cap >= 0x40000000u) return TOON_ENOMEM;
    uint32_t cap = set->cap ? set->cap * 2 : 32;
    key *keys = toon_realloc(set->keys, cap * sizeof *keys);
    if (!keys) return TOON_ENOMEM;
    set->keys = keys;
    set->cap = cap;
  }
  set->keys[set->count++] = (key){hash, at, len};
  *fresh = true;
  if (n == FEW) return hash_keys(set, begin, set->count);
  return n > FEW ? hash_keys(set, set->count - 1, set->count) : TOON_OK;
}

void toon_keyset_end(toon_keyset *set, uint32_t begin) {
  while (set->count > begin) {
    uint32_t index = --set->count;
    if (!(set->keys[index].hash >> 63)) continue;
    uint32_t i = (uint32_t)set->keys[index].hash & set->mask;
    while (set->slots[i] != index + 1) i = (i + 1) & set->mask;
    set->slots[i] = 0;
    set->hashed--;
  }
}

void toon_keyset_free(toon_keyset *set) {
  toon_free(set->keys);
  toon_free(set->slots);
  *set = (toon_keyset){0};
}
