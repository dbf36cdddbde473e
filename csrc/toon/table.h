/* Tables set aside: while a document is decoded, the rows of a large table are kept by columns instead of being
 * written as JSON, for whoever makes objects of them faster than a JSON parser would. A column of whole numbers is
 * an array of int32_t, and so on; a column of unlike cells is JSON after all. */
#ifndef TOON_TOON_TABLE_H
#define TOON_TOON_TABLE_H

#include "toon/decode.h"
#include "toon/toon.h"

typedef struct toon_table_writer {
  toon_table_column *columns; /* kind only, until the end */
  toon_buf *data;             /* of each column */
  uint32_t count, cap, rows;
  toon_buf scratch; /* an unescaped cell, the path */
  toon_table_fn fn;
  void *ctx;
} toon_table_writer;

/* Whether the table behind h, with d->columns read, is set aside; if so, begin it. */
toon_status toon_table_begin(toon_decoder *d, toon_table_writer *t, const toon_header *h, bool *taken);
/* Take the cells of a row. */
toon_status toon_table_row(toon_decoder *d, toon_table_writer *t, const uint8_t *p, const uint8_t *end,
                           uint8_t delimiter);
/* Hand the table over. */
toon_status toon_table_end(toon_decoder *d, toon_table_writer *t);
void toon_table_free(toon_table_writer *t);

#endif
