/* Queries over the documents of a collection: the objects under keys that are a prefix and an id (UTF-8, without a
 * slash). A query walks ranges of those keys, or of an index's entries, keeps what its filter holds for, and hands it
 * out in order: as rows, as TOON, or as groups. Nothing of a document that is not handed out is decoded.
 *
 * An entry of an index is a key: its base, `parts` values that end with a space each, and the id; the id is the entry's
 * value (a string) where there is nothing behind the values. See lib/indexkeys.js.
 *
 * A query belongs to one thread at a time, and must be closed before its snapshot and its store. */
#ifndef TOON_QUERY_QUERY_H
#define TOON_QUERY_QUERY_H

#include "toon/filter.h"
#include "toonstore.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct toon_query toon_query;

typedef struct toon_query_options {
  toon_slice prefix;             /* of the documents' keys */
  const toon_slice *bounds;      /* pairs: first key, and where the range ends (not in it). Disjoint, in order */
  size_t ranges;                 /* number of pairs */
  toon_slice base;               /* of the index's entries; empty: the ranges are of documents */
  uint32_t parts;                /* values of an entry */
  bool reverse;                  /* walk the ranges from the last entry to the first */
  const toon_path *filter_paths; /* of the filter */
  size_t filter_count;
  toon_slice program;      /* of the filter; empty: none */
  const toon_path *fields; /* to pick */
  size_t field_count;
  bool picks;             /* fields are picked, else documents are whole */
  bool nulls;             /* what a document lacks of them is null */
  const toon_path *order; /* to be sorted by; none: as they come */
  const bool *descending;
  size_t order_count;
  uint64_t offset, limit; /* limit UINT64_MAX: none */
  uint64_t most_bytes;    /* that may be read, and that a text may have; TOON_EVALUETOOBIG beyond. 0: any number */
  bool columns;           /* use column files; the range is all of the prefix then, not reversed and without a base */
} toon_query_options;

/* What a query has read so far. */
typedef struct toon_query_counts {
  uint64_t entries; /* of an index */
  uint64_t rows;    /* documents looked at */
  uint64_t bytes;   /* of their text, or of columns */
  bool columns;     /* documents are read from columns, but for those that have changed since */
  uint64_t blocks, blocks_read;
} toon_query_counts;

/* All that is passed is copied. */
toon_status toon_query_open(toon_db *db, const toon_snapshot *snapshot, const toon_query_options *options,
                            toon_query **out, toon_error *err);
void toon_query_close(toon_query *query); /* NULL is fine */

/* Who answers REGEX conditions during the next calls; NULL: nobody. */
void toon_query_ask(toon_query *query, toon_ask_fn ask, void *ctx);

/* The next document; *end after the last. id and field are borrowed until the next call. */
toon_status toon_query_next(toon_query *query, toon_slice *id, toon_slice *field, bool *end, toon_error *err);

/* Append the JSON of up to `rows` documents, or of `bytes` of text, with commas between them. A whole document begins with
 * its _id. *count: how many. */
toon_status toon_query_json(toon_query *query, size_t rows, size_t bytes, toon_buf *out, size_t *count, bool *end,
                            toon_error *err);

/* A chunk of documents for a caller that makes objects of columns. */
typedef struct toon_query_chunk {
  bool table; /* else: JSON, as toon_query_json appends it */
  size_t rows;
  bool end;
  toon_slice pattern; /* of a table: the JSON of a row, with a byte 1 and a kind in place of each value */
  const toon_table_column *columns;
  size_t count;
} toon_query_chunk;
/* The next documents, at most `rows`: a table if they are read from columns and each has all fields. What it points to is borrowed
 * until the next call. JSON is appended to *out, about `bytes` at most. */
toon_status toon_query_take_chunk(toon_query *query, size_t rows, size_t bytes, toon_buf *out, toon_query_chunk *chunk,
                                  toon_error *err);

/* Append the TOON of the first `rows` documents, as encode() has it for their array (with a name: for an object with that
 * one field). It can be called again with other numbers of rows. *count: how many there were, up to `rows`. */
toon_status toon_query_toon(toon_query *query, uint64_t rows, toon_slice name, uint8_t delimiter, toon_buf *out,
                            uint64_t *count, toon_error *err);

/* The number of documents that are left. */
toon_status toon_query_count(toon_query *query, uint64_t *count, toon_error *err);

/* Group the documents that are left by the first `groups` of the fields, and append JSON: an array, in the order of the
 * groups' values, of [[value, …], documents, [numbers, sum, min, max], …] with one of the inner arrays for each other field.
 * numbers: how many there were, which is what sum is of; min and max: of all scalars but null, or null. */
toon_status toon_query_groups(toon_query *query, size_t groups, toon_buf *out, toon_error *err);

toon_query_counts toon_query_counted(const toon_query *query);

/* Append the JSON of the document under `prefix` that the entry of a unique index leads to, as toon_query_json has it. *entry: there
 * is such an entry; *document: and it leads to a document, whatever that holds by now. Its key is built in *key. */
toon_status toon_query_unique(toon_db *db, const toon_snapshot *snapshot, toon_key name, toon_slice prefix,
                              toon_buf *key, toon_buf *out, bool *entry, bool *document, toon_error *err);

#ifdef __cplusplus
}
#endif

#endif
