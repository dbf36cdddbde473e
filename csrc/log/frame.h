/* Commit frames. A *group* is the text of all rows that one commit writes; the frame is the comment line that closes it:
 *
 *     # commit SEQUENCE BYTES NEXTROW SYNCED CRC\n
 *
 * SEQUENCE  of the group, one more than that of the group before
 * BYTES     of the group's text, the frame line not counted
 * NEXTROW   the id that the next row without a key will get
 * SYNCED    the last sequence known to be on disk when the frame was written
 * CRC       8 lower-case hex digits: CRC32C, seeded with 4 bytes store id and 8 bytes sequence (little-endian), over the
 *           group's text and the frame line up to and including the space before the CRC
 *
 * Numbers are canonical decimals. Nothing in a group is believed before its frame has been verified. */
#ifndef TOON_LOG_FRAME_H
#define TOON_LOG_FRAME_H

#include "base/buf.h"

#define LOG_FRAME_MARK "# commit "
#define LOG_FRAME_MAX 128 /* bytes of the longest frame line */

typedef struct log_frame {
  uint64_t sequence, bytes, next_row, synced;
  uint32_t crc;
} log_frame;

/* Append the frame line to the group in `group` (all of the buffer is the group's text). frame->bytes and frame->crc are
 * filled in. */
toon_status log_frame_append(toon_buf *group, uint32_t store_id, log_frame *frame);

/* Parse a frame line (its newline included). False if it is not canonical to the byte. */
bool log_frame_parse(toon_slice line, log_frame *frame);

/* Does the parsed frame belong to this text? `text` is the group, `line` its frame line. */
bool log_frame_verify(const log_frame *frame, uint32_t store_id, toon_slice text, toon_slice line);

/* What stands at an offset of a segment. */
typedef enum log_found {
  LOG_GROUP, /* a verified group */
  LOG_END,   /* nothing but newlines up to the end */
  LOG_BAD    /* something else: a torn or damaged group */
} log_found;

/* Look at `bytes` (a whole segment, or its readable part) from `offset` on. For LOG_GROUP: *text is the group (borrowed),
 * *frame its frame, *next the offset behind the frame line. Sequence numbers are not judged here. */
log_found log_next_group(toon_slice bytes, uint64_t offset, uint32_t store_id, toon_slice *text, log_frame *frame,
                         uint64_t *next);

/* Is there, anywhere from `offset` on, a verified frame that says a sequence >= `sequence` was synced? Linear in the
 * input: a candidate's group can only reach back to the commit line before it. */
bool log_synced_later(toon_slice bytes, uint64_t offset, uint32_t store_id, uint64_t sequence);

#endif
