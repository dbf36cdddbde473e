/* What the files of this room share. */
#ifndef TOON_COLUMN_PARTS_H
#define TOON_COLUMN_PARTS_H

#include "column/column.h"

/* The header, at the start of the file. */
#define COLUMN_MAGIC "TOONCOL\n"
enum { COLUMN_VERSION = 1, COLUMN_HEADER = 64, COLUMN_PLACE_BYTES = 40 };

/* A column of a block while it is put together: the tokens, empty for absent ones. */
typedef struct column_cells {
  toon_buf bytes; /* of all tokens */
  uint32_t at[COLUMN_ROWS + 1];
  bool rows_only; /* an array or object was met */
} column_cells;

/* The different forms a column could take. Large; one will do for all columns. */
typedef struct column_scratch column_scratch;
size_t column_scratch_size(void);

/* Append the most compact vector. Of place all but offset, length and crc is set. */
toon_status column_encode(const column_cells *cells, uint32_t rows, column_scratch *scratch, toon_buf *out,
                          column_place *place);
toon_status column_encode_ids(const column_cells *cells, uint32_t rows, toon_buf *out, column_place *place);

/* The vector at p. False if it is not well made. */
bool column_vector_open(column_vector *v, const column_place *place, uint32_t rows, const uint8_t *p);
/* The same for one that was found well made. */
void column_vector_reopen(column_vector *v, const column_place *place, uint32_t rows, const uint8_t *p);
bool column_codes_valid(const column_vector *v);

#endif
