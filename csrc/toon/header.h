/* Array headers: key[N<:><delimiter>]{columns}: and the columns of a table. */
#ifndef TOON_TOON_HEADER_H
#define TOON_TOON_HEADER_H

#include "toon/keyset.h"
#include "toon/quote.h"

typedef struct toon_header {
  toon_slice key;     /* the token, quotes and all; ptr NULL if there is none */
  uint64_t count;     /* N; UINT64_MAX stands for all that is larger */
  toon_slice columns; /* between the braces; ptr NULL if there are none */
  toon_slice values;  /* behind the colon, without spaces around */
  uint8_t delimiter;
  bool keyed;
} toon_header;

/* What a line is: a header, something else (not *is_header), or a header gone wrong: TOON_ESYNTAX and *fault.
 */
toon_status toon_read_header(const uint8_t *p, const uint8_t *end, toon_header *header, bool *is_header,
                             toon_fault *fault);

/* From an opening quote to the closing one; end if there is none. */
const uint8_t *toon_closing_quote(const uint8_t *p, const uint8_t *end);
/* The first of a, b outside quotes in [p, end), else end. (Give one byte twice to look for it alone.) */
const uint8_t *toon_find_bare(const uint8_t *p, const uint8_t *end, uint8_t a, uint8_t b);

/* The columns of a table, made ready for writing rows as JSON: text[0] to ends[0] comes before the first
 * cell, and so on; from the last end on there is what closes the row.
 *
 *     id,at{x,y}   ->   {"id": | ,"at":{"x": | ,"y": | }} */
typedef struct toon_columns {
  toon_buf text, ends; /* ends: uint32_t */
  toon_buf groups;     /* scratch */
  toon_keyset names;   /* scratch */
  uint32_t depth;      /* how many objects a row is deep */
} toon_columns;

static inline uint32_t toon_columns_count(const toon_columns *c) { return (uint32_t)(c->ends.len / sizeof(uint32_t)); }
static inline const uint32_t *toon_columns_ends(const toon_columns *c) {
  return (const uint32_t *)(const void *)c->ends.ptr;
}

/* Read the columns between a header's braces. unique: refuse a name that comes twice in one group. */
toon_status toon_read_columns(toon_columns *columns, toon_slice list, uint8_t delimiter, bool unique,
                              toon_fault *fault);
void toon_columns_free(toon_columns *columns);

#endif
