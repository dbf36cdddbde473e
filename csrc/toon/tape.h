/* JSON text as a tape: one small node a value or key, in the order of the text, so that what follows a
 * container's node up to its end is its content:
 *
 *     {"a": [1, "x"], "b": {}}
 *     0 object at=2 len=7 | 1 key a | 2 array at=2 len=5 | 3 number 1 | 4 string x
 *                         | 5 key b | 6 object at=0 len=7
 *
 * at, len: for a key, its bytes; for any other scalar the bytes to be written to TOON text as they are, with
 * quotes if it needs them (JSON's escapes are TOON's, but for \b \f \/ and \u); for a container the number of
 * entries and the index of the node behind it. Most of what the encoder must know of a container is known
 * when it closes, from one `and` an entry: whether it is an inline array, a table, a row.
 *
 * Rows of one table have the same keys, nearly always in one order. While an object is read, its keys are
 * compared with those of its *model*: the object before it in the same container, or, inside a row, the one
 * at the same place in the row before. Equal keys need not be looked at again: they are unique because the
 * model's are. */
#ifndef TOON_TOON_TAPE_H
#define TOON_TOON_TAPE_H

#include "base/buf.h"

typedef struct toon_node {
  uint32_t at, len, info;
} toon_node;

/* info: the kind of node and what is known of it. */
enum {
  TOON_NODE_LITERAL = 0, /* null, true, false */
  TOON_NODE_NUMBER = 1,
  TOON_NODE_STRING = 2,
  TOON_NODE_KEY = 3,
  TOON_NODE_ARRAY = 4,
  TOON_NODE_OBJECT = 5,
  TOON_NODE_KIND = 7,

  TOON_NODE_QUOTE = 1 << 3,   /* key: stands in quotes. string: its bytes on the tape include the quotes */
  TOON_NODE_OWN = 1 << 4,     /* key, string: unescaped, at is an offset in tape->own; not yet looked at */
  TOON_NODE_REWRITE = 1 << 5, /* number: not canonical */

  TOON_NODE_SCALARS = 1 << 6, /* every entry is a scalar */
  TOON_NODE_ROWS = 1 << 7,    /* every entry is a row */
  TOON_NODE_ROW = 1 << 8,     /* object, not empty: every entry is a scalar or a row, so it could be a row of a table */
  TOON_NODE_SAME = 1 << 9, /* object: made as its model. array, object without ALIGNED: all its rows are made alike */
  TOON_NODE_ALIGNED = 1 << 10, /* object: had a model, so its entries were compared with the model's */
  TOON_NODE_TWICE = 1 << 11,   /* object: a key came twice (only until the tape is rebuilt) */
  TOON_NODE_PERMUTED = 1 << 12 /* row: at is where its cells, in the table's order, are listed */
};
/* What every entry of a container must have for the container to have it. */
#define TOON_NODE_COMMON (TOON_NODE_SCALARS | TOON_NODE_ROWS | TOON_NODE_ROW | TOON_NODE_SAME)

#define TOON_TAPE_SMALL 64

typedef struct toon_tape {
  toon_node *nodes;
  uint32_t count, cap;
  toon_slice json;
  toon_buf own; /* strings that had to be unescaped */
  toon_node small[TOON_TAPE_SMALL];
} toon_tape;

static inline unsigned toon_node_kind(const toon_node *node) { return node->info & TOON_NODE_KIND; }
static inline bool toon_node_is_scalar(const toon_node *node) { return toon_node_kind(node) <= TOON_NODE_STRING; }
/* Index of the node behind the value at i. */
static inline uint32_t toon_tape_next(const toon_tape *tape, uint32_t i) {
  return toon_node_kind(&tape->nodes[i]) >= TOON_NODE_ARRAY ? tape->nodes[i].len : i + 1;
}
static inline const uint8_t *toon_tape_bytes(const toon_tape *tape, const toon_node *node) {
  return (node->info & TOON_NODE_OWN ? tape->own.ptr : tape->json.ptr) + node->at;
}

/* Read JSON text, checked to be valid UTF-8, into *tape, whose old content does not matter. delimiter: that
 * of the TOON text to be. TOON_ESYNTAX with line and column. Release with toon_tape_free, after a failure
 * too. */
toon_status toon_tape_read(toon_tape *tape, toon_slice json, uint8_t delimiter, toon_error *err);
void toon_tape_free(toon_tape *tape);

/* Parts of the tape's making that are in tape_keys.c. */

/* True if no key of an object comes twice. first: its first key; end: behind its last value. */
toon_status toon_tape_unique(const toon_tape *tape, uint32_t first, uint32_t end, uint32_t count, bool *unique);
/* Make a new tape in which the last of several equal keys has won, at the place of the first. */
toon_status toon_tape_rebuild(toon_tape *tape);
/* The container at `index` has ROWS. *alike: all rows have the same keys, in any order, at every level, and
 * scalars where the first row has them. Rows in another order than the first are then PERMUTED: their cells'
 * nodes are listed in *cells (of uint32_t), in the first row's order, from `at` on. */
toon_status toon_tape_rows_alike(toon_tape *tape, uint32_t index, toon_buf *cells, bool *alike);
/* Room for one more node. */
toon_status toon_tape_grow(toon_tape *tape);

#endif
