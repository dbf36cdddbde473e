/* Scalars in stored text as values to compare. Types are ordered null, false, true, numbers, strings; strings by their
 * UTF-8 bytes. */
#ifndef TOON_TOON_SCALAR_H
#define TOON_TOON_SCALAR_H

#include "toon/project.h"

typedef struct toon_scalar {
  toon_kind kind; /* TOON_NULL to TOON_STRING */
  double number;
  toon_slice text; /* of a string, without quotes and escapes */
} toon_scalar;

/* The value of a token. text is borrowed from the token, or from scratch (overwritten) where there were escapes.
 * TOON_ESYNTAX if the token is damaged. */
toon_status toon_scalar_read(toon_slice token, toon_buf *scratch, toon_scalar *out);

/* < 0, 0, > 0. */
int toon_scalar_cmp(const toon_scalar *a, const toon_scalar *b);

/* The elements of a found array that are scalars, one after the other. Begin with {0}. False at the end. */
typedef struct toon_elements {
  const uint8_t *at, *end;
  bool begun, inline_; /* on the header's line, separated by commas */
} toon_elements;
bool toon_elements_next(toon_elements *elements, const toon_found *array, toon_slice *token);

#endif
