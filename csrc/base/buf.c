/* Growing buffers. */
#include "base/buf.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

toon_status toon_buf_grow(toon_buf *buf, size_t more) {
  if (more > SIZE_MAX / 2 - buf->len) return TOON_ENOMEM;
  size_t cap = buf->cap < 64 ? 64 : buf->cap * 2;
  if (cap < buf->len + more) cap = buf->len + more;
  uint8_t *ptr = toon_realloc(buf->ptr, cap);
  if (!ptr) return TOON_ENOMEM;
  buf->ptr = ptr;
  buf->cap = cap;
  return TOON_OK;
}

void toon_buf_free(toon_buf *buf) {
  toon_free(buf->ptr);
  *buf = (toon_buf){0};
}

toon_status toon_buf_printf(toon_buf *buf, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  int need = vsnprintf(NULL, 0, fmt, args);
  va_end(args);
  if (need < 0) return TOON_EINVAL;
  TOON_TRY(toon_buf_reserve(buf, (size_t)need + 1));
  va_start(args, fmt);
  vsnprintf((char *)buf->ptr + buf->len, (size_t)need + 1, fmt, args);
  va_end(args);
  buf->len += (size_t)need;
  return TOON_OK;
}
