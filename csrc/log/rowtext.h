/* The text of a row in the log, and the walk over the rows of a group.
 *
 *     # expires 1795000000000      only if it lapses: first line of the row's text (ms since 1970)
 *     session_9: abc               key token + field text (toon/toon.h)
 *     # delete "users/2"           the end of a row
 *     # segments 0-2,5             no row: which segments there are, down to the one that the line stands in
 *
 * Key tokens: a user key stands as the spec's encoder writes it. Two bare forms are reserved: `row.N` (canonical decimal)
 * for a row without a key, and `hex.xx…` (lower case) for key bytes in hex. A user key that is not valid UTF-8, or that has
 * one of these forms itself, is written as hex; so different keys always have different tokens, quoted or not. */
#ifndef TOON_LOG_ROWTEXT_H
#define TOON_LOG_ROWTEXT_H

#include "base/key.h"

/* Append the token of a key. */
toon_status log_put_key_token(toon_buf *out, toon_key key);
/* Append `# expires N`, and `# delete TOKEN`, with newline. */
toon_status log_put_expires(toon_buf *out, int64_t expires_at);
toon_status log_put_delete(toon_buf *out, toon_key key);
/* Append `# segments LIST` with newline: ids in ascending order. At most LOG_SEGMENTS_MAX(count) bytes. */
toon_status log_put_segments(toon_buf *out, const uint32_t *ids, size_t count);
#define LOG_SEGMENTS_MAX(count) (16 + 22 * (size_t)(count))
/* Take the first range from a list; false if it does not begin with one. */
bool log_take_segments(toon_slice *list, uint32_t *first, uint32_t *last);

/* Read a key token at the start of text: *token_len bytes. The key's bytes are borrowed from text or *scratch. */
toon_status log_get_key_token(toon_slice text, toon_buf *scratch, toon_key *key, size_t *token_len, toon_error *err);

/* One row of a group. */
typedef struct log_row {
  bool is_delete;
  toon_key key;    /* borrowed from the group or the walk, until the next row */
  uint32_t offset; /* of the row's text in the group */
  uint32_t length; /* of that text */
  uint32_t field;  /* where in that text the field text begins; 0 for a delete */
  uint8_t flags;   /* toon_field_flags; 0 for a delete */
  int64_t expires; /* 0 = never */
} log_row;

typedef struct log_rows {
  toon_slice group;
  size_t offset;
  toon_buf scratch;
  toon_slice segments; /* the list of the last such line that was passed, borrowed from the group; ptr NULL: none yet */
  uint32_t list_bytes; /* of all of them */
} log_rows;

/* Walk the rows of a verified group. Release with log_rows_free. TOON_EFORMAT for a comment this version does not know,
 * TOON_ECORRUPT for text that no version writes. */
void log_rows_init(log_rows *rows, toon_slice group);
toon_status log_rows_next(log_rows *rows, log_row *row, bool *end, toon_error *err);
void log_rows_free(log_rows *rows);

#endif
