/* What the files of this room share. */
#ifndef TOON_QUERY_PARTS_H
#define TOON_QUERY_PARTS_H

#include "query/query.h"
#include "toon/scalar.h"

/* A document that waits: its key to sort by and its id lie in a buffer one behind the other. */
typedef struct query_item {
  size_t at; /* of the key */
  uint32_t key_len, id_len;
  const uint8_t *key; /* set for sorting */
  toon_slice field;   /* in the mapped log as long as the cursors are open; ptr NULL: to be read again */
} query_item;

struct toon_query {
  toon_db *db;
  const toon_snapshot *snapshot;
  toon_buf memory; /* of the prefix, the base and the bounds */
  toon_slice prefix, base;
  toon_slice *bounds;
  size_t ranges;
  uint32_t parts;
  bool reverse, picks, keys_only; /* keys_only: the documents' text is not needed */
  toon_filter *filter;
  toon_projection *fields, *order;
  bool *descending;
  size_t order_count;
  uint64_t offset, limit;
  uint64_t skipped, taken; /* of those */

  toon_cursor **cursors; /* of the ranges, opened one after the other */
  size_t range;          /* that is walked */
  toon_buf key;          /* of the document that an entry leads to */
  toon_row row;
  bool held;      /* row is to be released */
  toon_buf found; /* id of the document handed out, where it has no other place */
  toon_buf cell;  /* scratch */
  toon_query_counts counts;
  toon_ask_fn ask;
  void *ctx;

  toon_buf items, keys; /* documents collected: query_item, and their keys and ids */
  size_t handed;        /* of those */
  bool sorted;
  bool placed; /* some of the documents collected or listed have their field */

  toon_buf list, ids; /* documents of toon_query_toon: query_item, without keys, and their ids */
  bool listed;        /* all there are */
};

/* The next document that the filter holds for, in the order of the walk. */
toon_status query_walk(toon_query *q, toon_slice *id, toon_slice *field, bool *end, toon_error *err);
/* Read a document again. Borrowed until the next call. */
toon_status query_read(toon_query *q, toon_slice id, toon_slice *field, toon_error *err);
/* Collect and sort what the walk gives. */
toon_status query_sort(toon_query *q, toon_error *err);

/* Append a scalar's bytes for memcmp; all of them inverted if `descending`. */
toon_status query_put_scalar(toon_buf *out, const toon_scalar *value, bool descending);
/* The same of what a path has led to; an array or object comes last, all of them alike. */
toon_status query_put_found(toon_query *q, toon_projection *paths, size_t i, bool descending, toon_buf *out);

toon_status query_fail(toon_error *err, toon_status status);
static inline query_item *query_items(const toon_query *q) { return (query_item *)(void *)q->items.ptr; }
static inline size_t query_item_count(const toon_query *q) { return q->items.len / sizeof(query_item); }

#endif
