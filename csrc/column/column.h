/* Column files (db.toon.col-N): fields of a collection's documents by columns, for queries that need few of them. Derived
 * data: the log has it all, and a file that is missing or damaged is made again.
 *
 *     header | vectors of block 0 | vectors of block 1 | … | others | directory
 *
 * A block is up to COLUMN_ROWS documents in the order of their ids: a vector of their ids, and one for each field, in the
 * most compact of five forms (column_kind). What a vector gives is exactly what the document's text has: a cell that no
 * typed form gives back to the letter stays text. A field of which a document in the block has an array or object has no
 * vector there; such blocks are read as documents. `others` are the ids of documents that are in no block, because they
 * lapse: who reads the file reads these from the log. The directory says where blocks begin and where vectors are, and
 * has the checksum of each. The exact bytes are in FORMAT.md.
 *
 * A file holds the documents as of its sequence. It is written under a temporary name, synced and renamed, and never
 * changed. Any thread may read an open file. */
#ifndef TOON_COLUMN_COLUMN_H
#define TOON_COLUMN_COLUMN_H

#include "os/os.h"
#include "toon/scalar.h"
#include "toon/toon.h"
#include <stdatomic.h>

#define COLUMN_ROWS 4096
#define COLUMN_FIELDS_MAX 64 /* that are learnt; COLUMN_PATHS_MAX may be asked for */
#define COLUMN_PATHS_MAX 256
#define COLUMN_NONE UINT32_MAX

typedef enum column_kind {
  COLUMN_ROWS_ONLY = 0, /* no vector: read the documents */
  COLUMN_INT = 1,       /* whole numbers divided by 10^scale: those less a base, in 0 to 8 bytes each */
  COLUMN_FLOAT = 2,     /* doubles */
  COLUMN_DICT = 3,      /* numbers of tokens in a dictionary */
  COLUMN_TEXT = 4,      /* tokens */
  COLUMN_IDS = 5        /* ids, less what all of the block begin with */
} column_kind;

/* What the directory says of a vector. */
typedef struct column_place {
  uint64_t offset;
  uint32_t length, crc;
  uint8_t kind, width, scale;
  double min, max; /* of the numbers; min > max if there are none, or it is not known */
} column_place;

typedef struct column_block {
  uint32_t rows;
  toon_slice first; /* id */
} column_block;

typedef struct column_file {
  _Atomic uint32_t refs;
  os_vfs *vfs;
  char *path;
  const uint8_t *map;
  size_t size;
  uint32_t store_id, crc; /* crc: of the directory */
  uint64_t number, sequence, rows;
  toon_slice prefix;
  uint32_t fields, blocks;
  toon_path *paths;     /* of the fields */
  toon_slice *names;    /* of the paths */
  column_block *block;  /* by number */
  column_place *places; /* of block b: places[b * (fields + 1)] is that of the ids, then those of the fields */
  toon_slice *others;
  size_t other_count;
  _Atomic uint8_t *checked; /* of each place */
  _Atomic bool damaged;     /* something was found wrong: use it no more */
} column_file;

/* A vector ready to be read. Memory is the file's. */
typedef struct column_vector {
  uint8_t kind, width, scale;
  uint32_t rows, count; /* count: tokens of a dictionary */
  int64_t base;
  double divisor, min, max;
  const uint8_t *missing; /* a bit a row: no number there. NULL: they all are */
  const uint8_t *nulls;   /* of those: null, else absent. NULL: none is null */
  const uint8_t *values;  /* INT, FLOAT, DICT: width bytes each */
  const uint8_t *offsets; /* DICT, TEXT, IDS: of the texts, u32, one more than there are */
  const uint8_t *bytes;   /* what those count from */
  size_t room;            /* from there to the end of the vector */
  toon_slice shared;      /* IDS: what all begin with */
} column_vector;

/* ---- read.c ---- */

/* Map a file and check all of it but the vectors. TOON_ECORRUPT, TOON_EFORMAT, TOON_EIO; whatever is wrong, the file is of
 * no use. One reference. */
toon_status column_file_open(os_vfs *vfs, const char *path, uint32_t store_id, column_file **out, toon_error *err);
void column_file_ref(column_file *file);
void column_file_unref(column_file *file);
/* Nothing wrong has been found, and nothing that was read has gone from under the map. */
bool column_file_sound(column_file *file);
/* The number of a field's column, COLUMN_NONE if it has none. */
uint32_t column_find(const column_file *file, const toon_path *path);
/* The vector of a block: column 0 is the ids, field i is column i + 1. Checked when it is first asked for; false, and the
 * file is marked, if it is damaged. A vector of kind COLUMN_ROWS_ONLY has nothing in it. */
bool column_vector_get(column_file *file, uint32_t block, uint32_t column, column_vector *out);
static inline const column_place *column_place_of(const column_file *file, uint32_t block, uint32_t column) {
  return &file->places[(size_t)block * (file->fields + 1) + column];
}

static inline uint32_t column_u32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}
static inline bool column_bit(const uint8_t *bits, uint32_t row) { return bits[row >> 3] >> (row & 7) & 1; }
/* The i-th text of a vector or dictionary. Empty: absent, or the file was cut short since it was checked. */
static inline toon_slice column_text(const column_vector *v, uint32_t i) {
  uint32_t from = column_u32(v->offsets + (size_t)4 * i), to = column_u32(v->offsets + (size_t)4 * i + 4);
  return from <= to && to <= v->room ? toon_slice_of(v->bytes + from, to - from) : toon_slice_of("", 0);
}
static inline uint32_t column_code(const column_vector *v, uint32_t row) {
  if (v->width == 1) return v->values[row];
  uint16_t code = 0;
  if (v->width == 2) memcpy(&code, v->values + (size_t)2 * row, 2);
  return code;
}
/* Of an INT vector: the whole number, before the division. */
static inline int64_t column_int(const column_vector *v, uint32_t row) {
  uint64_t value = 0;
  switch (v->width) {
  case 1: value = v->values[row]; break;
  case 2: {
    uint16_t x;
    memcpy(&x, v->values + (size_t)2 * row, 2);
    value = x;
    break;
  }
  case 4: value = column_u32(v->values + (size_t)4 * row); break;
  case 8: memcpy(&value, v->values + (size_t)8 * row, 8); break;
  default: break;
  }
  return (int64_t)((uint64_t)v->base + value);
}
/* Of an INT or FLOAT vector. */
static inline double column_number(const column_vector *v, uint32_t row) {
  double x;
  if (v->kind == COLUMN_INT) return (double)column_int(v, row) / v->divisor;
  memcpy(&x, v->values + (size_t)8 * row, 8);
  return x;
}
/* Has an INT or FLOAT vector no number there? */
static inline bool column_is_missing(const column_vector *v, uint32_t row) {
  return v->missing && column_bit(v->missing, row);
}

/* The token of a cell, as the document has it: borrowed from the file, or from scratch (TOON_NUMBER_TEXT_MAX bytes). Empty: absent. */
toon_slice column_token(const column_vector *v, uint32_t row, uint8_t *scratch);
/* The same of an INT vector without missing rows, to out; its length. */
size_t column_print(const column_vector *v, uint32_t row, uint8_t *out);
/* The same without the way through text. *there: it is not absent. TOON_ESYNTAX if a token is damaged. */
toon_status column_scalar(const column_vector *v, uint32_t row, toon_buf *scratch, toon_scalar *out, bool *there);
/* An id, whole, in *out. */
toon_status column_id(const column_vector *ids, uint32_t row, toon_buf *out);
/* The first row whose id is not less; *found: it is equal. */
uint32_t column_search(const column_vector *ids, toon_slice id, bool *found);

/* ---- write.c ---- */

typedef struct column_writer column_writer;

/* Rows of a block: COLUMN_ROWS; fewer for tests, set before anything is written. */
extern uint32_t column_block_rows;

/* Begin a file at path (a temporary name). paths are copied. */
toon_status column_writer_new(os_vfs *vfs, const char *path, uint32_t store_id, uint64_t number, toon_slice prefix,
                              const toon_path *paths, size_t count, column_writer **out, toon_error *err);
/* The next document, in the order of ids. */
toon_status column_writer_add(column_writer *writer, toon_slice id, toon_slice field, toon_error *err);
/* The id of a document that is in no block, in the same order among the others. */
toon_status column_writer_other(column_writer *writer, toon_slice id, toon_error *err);
/* Take a block of another file of the same columns as it is. *taken is false if a vector there is damaged. */
toon_status column_writer_copy(column_writer *writer, column_file *from, uint32_t block, bool *taken, toon_error *err);
/* Write the rest and sync. The caller renames and syncs the directory. */
toon_status column_writer_end(column_writer *writer, uint64_t sequence, toon_error *err);
/* Without an end, the file is unlinked. */
void column_writer_free(column_writer *writer);

/* ---- learn.c ---- */

/* Which fields the documents of a collection have: those with a scalar in at least half of a sample. */
typedef struct column_learner {
  toon_buf names; /* of column_seen, with the names behind each other in `text` */
  toon_buf text, scratch;
  uint32_t documents;
} column_learner;
toon_status column_learn(column_learner *learner, toon_slice field);
/* The i-th such name; false if there are no more. *at goes from 0. */
bool column_learnt(const column_learner *learner, size_t *at, toon_slice *name);
void column_learner_free(column_learner *learner);

#endif
