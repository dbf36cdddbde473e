/* A cursor that writes to a toon_buf: room is asked for once a piece, and behind the room asked for there are
 * always TOON_WRITE_SLACK bytes more, so that short pieces can be copied as whole blocks. A limit on what is
 * written is kept before memory is taken. */
#ifndef TOON_TOON_WRITE_H
#define TOON_TOON_WRITE_H

#include "base/buf.h"

#define TOON_WRITE_SLACK 32
/* No text of this room is longer. (A V8 string cannot be, either.) */
#define TOON_TEXT_MAX 0x7FFFFFFFu

typedef struct toon_writer {
  uint8_t *at, *end; /* end: how far room goes without asking */
  toon_buf *buf;
  size_t start, max; /* where in buf we began, and how many bytes we may write */
} toon_writer;

/* Begin behind what buf holds. hint: bytes that will likely be written. */
static inline toon_status toon_writer_begin(toon_writer *w, toon_buf *buf, size_t hint, size_t max) {
  if (hint > max) hint = max;
  TOON_TRY(toon_buf_reserve(buf, hint + TOON_WRITE_SLACK));
  *w = (toon_writer){.buf = buf, .start = buf->len, .max = max, .at = buf->ptr + buf->len};
  size_t room = buf->cap - buf->len - TOON_WRITE_SLACK;
  w->end = w->at + (room < max ? room : max);
  return TOON_OK;
}
/* What was written so far. */
static inline size_t toon_written(const toon_writer *w) { return (size_t)(w->at - w->buf->ptr) - w->start; }
/* Keep it. */
static inline void toon_writer_end(toon_writer *w) { w->buf->len = (size_t)(w->at - w->buf->ptr); }

/* The slow path of toon_room. TOON_EVALUETOOBIG past the limit. */
toon_status toon_writer_grow(toon_writer *w, size_t n);

/* Make sure n bytes can be written. */
static inline toon_status toon_room(toon_writer *w, size_t n) {
  return (size_t)(w->end - w->at) >= n ? TOON_OK : toon_writer_grow(w, n);
}

/* The following write where there is room. */
static inline void toon_write(toon_writer *w, const void *src, size_t n) {
  memcpy(w->at, src, n);
  w->at += n;
}
static inline void toon_write_byte(toon_writer *w, uint8_t byte) { *w->at++ = byte; }
/* As toon_write, quicker for short pieces; src_end: how far src may be read. */
static inline void toon_write_near(toon_writer *w, const uint8_t *src, size_t n, const uint8_t *src_end) {
  if (n <= 16 && src_end - src >= 16)
    memcpy(w->at, src, 16);
  else if (n <= 32 && src_end - src >= 32)
    memcpy(w->at, src, 32);
  else
    memcpy(w->at, src, n);
  w->at += n;
}

#endif
