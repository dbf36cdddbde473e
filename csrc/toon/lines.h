/* The lines of a TOON text: comments skipped, blank lines noted, indentation turned into depth, spaces at the
 * end off. One line can be looked at before it is taken. */
#ifndef TOON_TOON_LINES_H
#define TOON_TOON_LINES_H

#include "toon/quote.h"

typedef struct toon_line {
  const uint8_t *at, *end; /* content */
  uint32_t depth;
  uint32_t number; /* 1-based */
  uint32_t blank;  /* number of the last blank line before it; 0 if there is none */
} toon_line;

typedef struct toon_lines {
  const uint8_t *next, *end; /* unread text */
  uint32_t number;           /* of the last line read */
  uint32_t blank;
  uint8_t indent_size;
  bool strict;
  bool have; /* `line` has been read and not taken */
  toon_line line;
  uint32_t taken_blank; /* `blank` of the line last taken */
} toon_lines;

/* Read a line into lines->line unless there is one. Returns false at the end of the text. TOON_ESYNTAX:
 * *fault. */
toon_status toon_lines_read(toon_lines *lines, bool *more, toon_fault *fault);

static inline toon_status toon_lines_peek(toon_lines *lines, bool *more, toon_fault *fault) {
  *more = true;
  return lines->have ? TOON_OK : toon_lines_read(lines, more, fault);
}
static inline void toon_lines_take(toon_lines *lines) {
  lines->have = false;
  lines->taken_blank = lines->line.blank;
}

#endif
