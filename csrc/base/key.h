/* Keys. A key has a space: user keys (0; any bytes, in JavaScript UTF-8 strings) and row ids (1; 8 bytes big-endian).
 * Order is by (space, bytes). */
#ifndef TOON_BASE_KEY_H
#define TOON_BASE_KEY_H

#include "base/buf.h"

#define TOON_KEY_MAX 4096               /* bytes */
#define TOON_ROW_MAX ((1ull << 53) - 1) /* the greatest row id: a JavaScript number holds it */

enum { TOON_SPACE_USER = 0, TOON_SPACE_ROW = 1, TOON_SPACES = 2 };

typedef struct toon_key {
  const uint8_t *ptr;
  uint32_t len;
  uint8_t space;
} toon_key;

static inline int toon_key_cmp(toon_key a, toon_key b) {
  if (a.space != b.space) return a.space < b.space ? -1 : 1;
  return toon_slice_cmp(toon_slice_of(a.ptr, a.len), toon_slice_of(b.ptr, b.len));
}
static inline bool toon_key_eq(toon_key a, toon_key b) {
  return a.len == b.len && a.space == b.space && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline toon_key toon_user_key(const void *ptr, size_t len) {
  return (toon_key){(const uint8_t *)ptr, (uint32_t)len, TOON_SPACE_USER};
}
/* The key of a row id; `bytes` holds it. */
static inline toon_key toon_row_key(uint64_t id, uint8_t bytes[8]) {
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(id >> (56 - 8 * i));
  return (toon_key){bytes, 8, TOON_SPACE_ROW};
}
static inline uint64_t toon_row_id(toon_key key) {
  uint64_t id = 0;
  for (int i = 0; i < 8; i++) id = id << 8 | key.ptr[i];
  return id;
}

#endif
