/* Commit frames: writing, parsing, verifying, and finding them in a segment. */
#include "log/frame.h"
#include "base/crc32c.h"

#include <stdio.h>

#define MARK_LEN (sizeof LOG_FRAME_MARK - 1)

static uint32_t seeded_crc(uint32_t store_id, uint64_t sequence) {
  uint8_t seed[12];
  for (int i = 0; i < 4; i++) seed[i] = (uint8_t)(store_id >> (8 * i));
  for (int i = 0; i < 8; i++) seed[4 + i] = (uint8_t)(sequence >> (8 * i));
  return toon_crc32c(0, seed, sizeof seed);
}

toon_status log_frame_append(toon_buf *group, uint32_t store_id, log_frame *frame) {
  TOON_TRY(toon_buf_reserve(group, LOG_FRAME_MAX));
  frame->bytes = group->len;
  char *line = (char *)group->ptr + group->len;
  int len = snprintf(line, LOG_FRAME_MAX, LOG_FRAME_MARK "%llu %llu %llu %llu ", (unsigned long long)frame->sequence,
                     (unsigned long long)frame->bytes, (unsigned long long)frame->next_row,
                     (unsigned long long)frame->synced);
  frame->crc = toon_crc32c(seeded_crc(store_id, frame->sequence), group->ptr, group->len + (size_t)len);
  len += snprintf(line + len, LOG_FRAME_MAX - (size_t)len, "%08x\n", frame->crc);
  group->len += (size_t)len;
  return TOON_OK;
}

/* A canonical decimal followed by a space; moves *p behind the space. */
static bool take_number(const uint8_t **p, const uint8_t *end, uint64_t *out) {
  const uint8_t *q = *p;
  uint64_t value = 0;
  if (q == end || *q < '0' || *q > '9' || (*q == '0' && q + 1 < end && q[1] != ' ')) return false;
  for (; q < end && *q >= '0' && *q <= '9'; q++) {
    unsigned digit = (unsigned)(*q - '0');
    if (value > (UINT64_MAX - digit) / 10) return false;
    value = value * 10 + digit;
  }
  if (q == end || *q != ' ') return false;
  *p = q + 1;
  *out = value;
  return true;
}

bool log_frame_parse(toon_slice line, log_frame *frame) {
  if (line.len < MARK_LEN + 9 || line.len > LOG_FRAME_MAX || memcmp(line.ptr, LOG_FRAME_MARK, MARK_LEN) != 0)
    return false;
  const uint8_t *p = line.ptr + MARK_LEN, *end = line.ptr + line.len;
  log_frame f;
  if (!take_number(&p, end, &f.sequence) || !take_number(&p, end, &f.bytes) || !take_number(&p, end, &f.next_row) ||
      !take_number(&p, end, &f.synced))
    return false;
  if (end - p != 9 || p[8] != '\n') return false;
  f.crc = 0;
  for (int i = 0; i < 8; i++) {
    unsigned c = p[i], digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
    if (digit == 16) return false;
    f.crc = f.crc << 4 | digit;
  }
  *frame = f;
  return true;
}

bool log_frame_verify(const log_frame *frame, uint32_t store_id, toon_slice text, toon_slice line) {
  if (frame->bytes != text.len || line.len < 9) return false;
  uint32_t crc = toon_crc32c(seeded_crc(store_id, frame->sequence), text.ptr, text.len);
  return toon_crc32c(crc, line.ptr, line.len - 9) == frame->crc;
}

/* The next line from `offset` on that starts with the frame mark; false if there is none. `offset` is a line start. */
static bool find_mark(toon_slice bytes, uint64_t offset, uint64_t *at) {
  if (bytes.len - offset >= MARK_LEN && memcmp(bytes.ptr + offset, LOG_FRAME_MARK, MARK_LEN) == 0) {
    *at = offset;
    return true;
  }
  const uint8_t *hit = memmem(bytes.ptr + offset, bytes.len - offset, "\n" LOG_FRAME_MARK, MARK_LEN + 1);
  if (!hit) return false;
  *at = (uint64_t)(hit + 1 - bytes.ptr);
  return true;
}

/* The line at `at`, its newline included; empty if the newline is missing or too far away for a frame. */
static toon_slice line_at(toon_slice bytes, uint64_t at) {
  size_t max = bytes.len - at < LOG_FRAME_MAX ? (size_t)(bytes.len - at) : LOG_FRAME_MAX;
  const uint8_t *newline = memchr(bytes.ptr + at, '\n', max);
  return toon_slice_of(bytes.ptr + at, newline ? (size_t)(newline + 1 - (bytes.ptr + at)) : 0);
}

log_found log_next_group(toon_slice bytes, uint64_t offset, uint32_t store_id, toon_slice *text, log_frame *frame,
                         uint64_t *next) {
  if (offset > bytes.len) return LOG_BAD;
  uint64_t at;
  if (offset == bytes.len) return LOG_END;
  if (bytes.ptr[offset] == '\n') { /* padding: a group never starts with an empty line */
    for (uint64_t i = offset; i < bytes.len; i++)
      if (bytes.ptr[i] != '\n') return LOG_BAD;
    return LOG_END;
  }
  if (!find_mark(bytes, offset, &at)) return LOG_BAD;
  toon_slice line = line_at(bytes, at), group = toon_slice_of(bytes.ptr + offset, (size_t)(at - offset));
  if (!log_frame_parse(line, frame) || !log_frame_verify(frame, store_id, group, line)) return LOG_BAD;
  *text = group;
  *next = at + line.len;
  return LOG_GROUP;
}

bool log_synced_later(toon_slice bytes, uint64_t offset, uint32_t store_id, uint64_t sequence) {
  uint64_t at, floor = offset;
  const uint8_t *from = bytes.ptr + offset;
  while (offset < bytes.len) {
    /* `from` may be anywhere in a line, so look for the mark at line starts only. */
    if (from == bytes.ptr || from[-1] == '\n') {
      if (!find_mark(bytes, offset, &at)) return false;
    } else {
      const uint8_t *hit = memmem(from, bytes.len - offset, "\n" LOG_FRAME_MARK, MARK_LEN + 1);
      if (!hit) return false;
      at = (uint64_t)(hit + 1 - bytes.ptr);
    }
    toon_slice line = line_at(bytes, at);
    log_frame frame;
    if (log_frame_parse(line, &frame) && frame.synced >= sequence && frame.bytes <= at - floor &&
        log_frame_verify(&frame, store_id, toon_slice_of(bytes.ptr + at - frame.bytes, (size_t)frame.bytes), line))
      return true;
    floor = offset = at + (line.len ? line.len : MARK_LEN);
    from = bytes.ptr + offset;
  }
  return false;
}
