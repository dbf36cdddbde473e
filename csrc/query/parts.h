/* What the files of this room share. */
#ifndef TOON_QUERY_PARTS_H
#define TOON_QUERY_PARTS_H

#include "column/column.h"
#include "query/query.h"
#include "toon/scalar.h"

/* Where a document is: a row of a block of columns, or, with this block, the one of that number among the loose ones. */
typedef struct query_ref {
  uint32_t block, row;
} query_ref;
#define QUERY_LOOSE UINT32_MAX

/* A document that is not read from columns, copied. */
typedef struct query_loose {
  size_t id, id_len, field, field_len; /* places in scan->text */
} query_loose;

/* A walk over columns. */
typedef struct query_scan {
  toon_columns *columns;
  column_file *file;
  const toon_slice *changed; /* ids that are read from the log */
  size_t changed_count, change;
  uint32_t *filter, *fields, *order; /* columns of the paths: 0 the id, i + 1 field i of the file */
  bool picks;                        /* all fields that are asked for are columns */
  uint32_t block;                    /* the next */
  toon_cursor *cursor;               /* the block before is walked in the log */
  uint64_t blocks_read;
  toon_buf refs;  /* query_ref: the documents of a batch that the filter holds for */
  size_t at;      /* of those: handed out */
  toon_buf loose; /* query_loose, of the batch */
  toon_buf text, scratch;
  uint8_t *masks; /* COLUMN_ROWS bytes for each depth of the filter */
  size_t mask_count;
  struct query_output *output; /* table.c */
} query_scan;

/* A document that waits: its key to sort by and its id lie in a buffer one behind the other. */
typedef struct query_item {
  size_t at; /* of the key */
  uint32_t key_len, id_len;
  const uint8_t *key; /* set for sorting */
  toon_slice field;   /* in the mapped log as long as the cursors are open; ptr NULL: to be read again */
  query_ref ref;      /* in columns, if there is a scan; loose ones are read again */
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
  bool counting;                  /* no document is handed out */
  toon_filter *filter;
  toon_projection *fields, *order;
  bool *descending;
  size_t order_count;
  uint64_t offset, limit, most_bytes;
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
  bool placed;      /* some of the documents collected or listed have their field */
  query_scan *scan; /* NULL: documents are read from the log */
  toon_buf batch;   /* query_ref: what query_take gave */

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

/* ---- columns ---- */

/* Use columns, if there are any and they have what the query needs. */
toon_status query_scan_open(toon_query *q, const toon_query_options *options, toon_error *err);
void query_scan_close(toon_query *q);
/* The next batch: its documents are in refs. *end: there are no more. */
toon_status query_scan_next(toon_query *q, bool *end, toon_error *err);
/* mask[i] is 1 where the filter holds. *usable is false if a vector is missing. */
toon_status query_mask(toon_query *q, uint32_t block, uint8_t **mask, bool *usable);

/* The next documents, at most `most`, as q->batch. None at the end. */
toon_status query_take(toon_query *q, size_t most, toon_error *err);
/* The last `count` of them were not used. */
void query_untake(toon_query *q, size_t count);
/* What a document has as its id, and, of a loose one, its text. Borrowed until the next batch or call. */
toon_status query_ref_id(toon_query *q, query_ref ref, toon_slice *id);
static inline toon_slice query_loose_field(const toon_query *q, uint32_t i) {
  const query_loose *l = (const query_loose *)(const void *)q->scan->loose.ptr + i;
  return toon_slice_of(q->scan->text.ptr + l->field, l->field_len);
}
toon_status query_loose_add(toon_query *q, toon_slice id, toon_slice field, uint32_t *number);
static inline const query_ref *query_batch(const toon_query *q) {
  return (const query_ref *)(const void *)q->batch.ptr;
}
static inline size_t query_batch_count(const toon_query *q) { return q->batch.len / sizeof(query_ref); }
/* The vector of a path, by what the scan knows of paths (scan->fields[i]). It was found good when its block was begun. */
static inline column_vector query_vector(const toon_query *q, uint32_t block, uint32_t column) {
  column_vector v = {0};
  column_vector_get(q->scan->file, block, column, &v);
  return v;
}
/* The value of a cell; text is borrowed until the next call. */
toon_status query_cell(toon_query *q, const column_vector *v, uint32_t row, toon_scalar *out, bool *there);
/* The documents of a batch as JSON, or a table of them. table.c */
toon_status query_json_of_columns(toon_query *q, size_t rows, size_t bytes, toon_buf *out, toon_query_chunk *chunk,
                                  toon_error *err);
void query_output_free(toon_query *q);
/* The file was cut short while it was read: what came of it may be wrong. */
toon_status query_check_columns(toon_query *q, toon_error *err);

/* TOON_EVALUETOOBIG if more has been read than may be. */
toon_status query_check_bytes(const toon_query *q, toon_error *err);
toon_status query_fail(toon_error *err, toon_status status);
void query_release(toon_query *q); /* the row that is held */
bool query_good_id(toon_slice id);
toon_status query_get(toon_query *q, toon_slice id, bool *found, toon_error *err);
static inline query_item *query_items(const toon_query *q) { return (query_item *)(void *)q->items.ptr; }
static inline size_t query_item_count(const toon_query *q) { return q->items.len / sizeof(query_item); }

#endif
