/* From TOON text to JSON text: the reader behind toon_decode, fields and projections. */
#ifndef TOON_TOON_DECODE_H
#define TOON_TOON_DECODE_H

#include "toon/header.h"
#include "toon/lines.h"

#define TOON_DECODE_FRAMES_SMALL 8

/* An open container. */
typedef struct toon_decode_frame {
  uint64_t count;           /* list: items said */
  uint64_t items;           /* list: items read */
  uint32_t base;            /* lines at this depth or above end it (fields: above only) */
  uint32_t lines;           /* depth its lines have */
  uint32_t start;           /* list: number of its first line; 0 before */
  uint32_t keys;            /* fields: where their set begins */
  uint32_t key_at, key_len; /* fields: the last key, in what was written */
  bool list, any;           /* any: it has an entry, so the next needs a comma */
} toon_decode_frame;

/* Set strict, unique, lines and w; the rest is zero. */
typedef struct toon_decoder {
  toon_lines lines;
  toon_writer w;
  toon_fault fault;
  bool strict, unique;       /* unique: refuse keys that come twice */
  toon_decode_frame *frames; /* NULL: in frames_small */
  uint32_t depth, frames_cap;
  toon_keyset keys;
  toon_columns columns;
  struct toon_table_writer *tables; /* sets tables aside; NULL: none are */
  toon_decode_frame frames_small[TOON_DECODE_FRAMES_SMALL];
} toon_decoder;

/* Write the JSON of what follows a key: `first` is the rest of the key's line, d->lines has the lines after
 * it, and the key stands at `depth`. Lines after the value stay unread. */
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
