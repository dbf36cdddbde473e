/* Slices (borrowed bytes) and buffers (owned, growing bytes). A buffer that could not grow keeps its content; the
 * call reports TOON_ENOMEM. Initialise a toon_buf with {0}; release it with toon_buf_free. */
#ifndef TOON_BASE_BUF_H
#define TOON_BASE_BUF_H

#include "base/status.h"
#include <string.h>

typedef struct toon_slice {
  const uint8_t *ptr; /* may be NULL only when len is 0 */
  size_t len;
} toon_slice;

typedef struct toon_buf {
  uint8_t *ptr;
  size_t len, cap;
} toon_buf;

#define TOON_SLICE_LIT(text) ((toon_slice){(const uint8_t *)(text), sizeof(text) - 1})

static inline toon_slice toon_slice_of(const void *ptr, size_t len) { return (toon_slice){(const uint8_t *)ptr, len}; }
static inline toon_slice toon_buf_slice(const toon_buf *buf) { return (toon_slice){buf->ptr, buf->len}; }
static inline bool toon_slice_eq(toon_slice a, toon_slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
/* Order by bytes, a prefix before what it begins. < 0, 0, > 0. */
static inline int toon_slice_cmp(toon_slice a, toon_slice b) {
  size_t n = a.len < b.len ? a.len : b.len;
  int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
  return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* The slow path of toon_buf_reserve: grows to at least len + more bytes, by doubling. */
toon_status toon_buf_grow(toon_buf *buf, size_t more);
/* Give the memory back and reset to {0}. */
void toon_buf_free(toon_buf *buf);
/* Printf at the end; no NUL is counted. */
toon_status toon_buf_printf(toon_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Make room for `more` bytes behind len. */
static inline toon_status toon_buf_reserve(toon_buf *buf, size_t more) {
  return buf->cap - buf->len >= more ? TOON_OK : toon_buf_grow(buf, more);
}
static inline toon_status toon_buf_append(toon_buf *buf, const void *ptr, size_t len) {
  TOON_TRY(toon_buf_reserve(buf, len));
  if (len) memcpy(buf->ptr + buf->len, ptr, len);
  buf->len += len;
  return TOON_OK;
}
static inline toon_status toon_buf_add(toon_buf *buf, toon_slice s) { return toon_buf_append(buf, s.ptr, s.len); }
static inline toon_status toon_buf_byte(toon_buf *buf, uint8_t byte) {
  TOON_TRY(toon_buf_reserve(buf, 1));
  buf->ptr[buf->len++] = byte;
  return TOON_OK;
}
#define toon_buf_lit(buf, text) toon_buf_append((buf), (text), sizeof(text) - 1)

#endif
