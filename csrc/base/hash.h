/* A seeded 64-bit hash of bytes for in-memory tables and for the hash section of a run (whose seed is the store id).
 * Built on the 64 x 64 -> 128 bit multiply-and-fold that wyhash made popular; not a cryptographic hash. */
#ifndef TOON_BASE_HASH_H
#define TOON_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t toon_hash_fold(uint64_t a, uint64_t b) {
  unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t toon_load64(const void *ptr) {
  uint64_t v;
  memcpy(&v, ptr, 8);
  return v;
}
static inline uint32_t toon_load32(const void *ptr) {
  uint32_t v;
  memcpy(&v, ptr, 4);
  return v;
}

/* Same result on every little-endian machine; runs on disk depend on it. */
static inline uint64_t toon_hash(const void *ptr, size_t len, uint64_t seed) {
  const uint8_t *p = (const uint8_t *)ptr;
  const uint64_t k0 = 0x9E3779B97F4A7C15ull, k1 = 0xD1B54A32D192ED03ull, k2 = 0x8CB92BA72F3D8DD7ull;
  uint64_t state = seed ^ k0, a, b;
  size_t left = len;
  while (left > 16) {
    state = toon_hash_fold(toon_load64(p) ^ k1, toon_load64(p + 8) ^ state);
    p += 16;
    left -= 16;
  }
  if (left >= 8) {
    a = toon_load64(p);
    b = toon_load64(p + left - 8);
  } else if (left >= 4) {
    a = toon_load32(p);
    b = toon_load32(p + left - 4);
  } else if (left > 0) {
    a = (uint64_t)p[0] << 16 | (uint64_t)p[left >> 1] << 8 | p[left - 1];
    b = 0;
  } else {
    a = b = 0;
  }
  return toon_hash_fold(k2 ^ len, toon_hash_fold(a ^ k1, b ^ state));
}

#endif
