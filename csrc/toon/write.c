/* The slow path of the writer: more memory, or the limit. */
#include "toon/write.h"

toon_status toon_writer_grow(toon_writer *w, size_t n) {
  size_t written = toon_written(w);
  if (n > w->max - written) return TOON_EVALUETOOBIG;
  w->buf->len = w->start + written;
  toon_status status = toon_buf_grow(w->buf, n + TOON_WRITE_SLACK);
  if (status != TOON_OK) return status;
  w->at = w->buf->ptr + w->buf->len;
  size_t room = w->buf->cap - w->buf->len - TOON_WRITE_SLACK;
  w->end = w->at + (room < w->max - written ? room : w->max - written);
  return TOON_OK;
}
