/* From TOON text to JSON text: the reader behind toon_decode, fields and projections. */
#ifndef TOON_TOON_DECODE_H
#define TOON_TOON_DECODE_H

#include "toon/header.h"
#include "toon/lines.h"

typedef struct toon_decoder {
  toon_lines lines;
  toon_writer w;
  toon_fault fault;
  bool strict, unique; /* unique: refuse keys that come twice */
  struct toon_decode_frame *frames;
  uint32_t depth, frames_cap;
  toon_keyset keys;
  toon_columns columns;
} toon_decoder;

/* Write the JSON of what follows a key: `first` is the rest of the key's line, d->lines has the lines after it, and
 * the key stands at `depth`. Lines after the value stay unread. */
toon_status toon_decode_member(toon_decoder *d, toon_slice first, uint32_t depth);
/* The JSON of a scalar token. */
toon_status toon_decode_token(toon_decoder *d, toon_slice token);
/* The JSON of the cell at *p, which goes to the delimiter behind it or to the end of the line. */
toon_status toon_decode_cell(toon_decoder *d, const uint8_t **p, const uint8_t *end, uint8_t delimiter);
/* The JSON object of a table's row. */
toon_status toon_decode_row(toon_decoder *d, const toon_columns *columns, const uint8_t *p, const uint8_t *end,
                            uint8_t delimiter);
void toon_decoder_free(toon_decoder *d);

#endif
