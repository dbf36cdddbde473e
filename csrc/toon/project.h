/* What emitters, filters and queries need of a projection beside its public face. */
#ifndef TOON_TOON_PROJECT_H
#define TOON_TOON_PROJECT_H

#include "toon/toon.h"
#include "toon/write.h"

/* Write the picked fields of a document as the cells of a row, null for those that are not there. *fits: it is an
 * object and all of them are scalars; else nothing was written. TOON_ESYNTAX if the text is damaged. */
toon_status toon_projection_cells(toon_projection *p, toon_slice field, uint8_t delimiter, toon_writer *w, bool *fits);
/* From now on the path _id gives this (valid UTF-8), whatever fields the documents have. */
toon_status toon_projection_set_id(toon_projection *p, toon_slice id);

/* Find all paths in a document, to be looked at one by one. *object: it is an object, else nothing was found. The field
 * must stay. TOON_ESYNTAX if the text is damaged. */
toon_status toon_projection_find(toon_projection *p, toon_slice field, bool *object);

/* What the i-th path led to. */
typedef struct toon_found {
  enum { TOON_FOUND_NOTHING, TOON_FOUND_SCALAR, TOON_FOUND_ARRAY, TOON_FOUND_OBJECT } kind;
  toon_slice text; /* SCALAR: its token; ARRAY: what follows the key, to the end of the value */
  uint32_t depth;  /* ARRAY: of the key */
} toon_found;
toon_found toon_projection_found(const toon_projection *p, size_t i);
/* Append its JSON; null for nothing. */
toon_status toon_projection_found_json(toon_projection *p, size_t i, toon_buf *out);

/* Number of paths; the column that the i-th is in a table. */
size_t toon_projection_count(const toon_projection *p);
toon_slice toon_projection_column(const toon_projection *p, size_t i);
/* The key that it has in JSON: a string and a colon. Whether what is not there is null. */
toon_slice toon_projection_key(const toon_projection *p, size_t i);
bool toon_projection_nulls(const toon_projection *p);

/* A scalar's token as stored (for the comma), as it stands between the delimiters. */
toon_status toon_put_cell(toon_writer *w, toon_slice token, uint8_t delimiter, toon_buf *scratch);

#endif
