/* What columns.c and columns_build.c share. */
#ifndef TOON_STORE_COLUMNS_PARTS_H
#define TOON_STORE_COLUMNS_PARTS_H

#include "store/batch.h"

/* More changed ids than this, and the file is of no use until it is made again. */
#define CHANGED_MOST(rows) ((size_t)(rows) / 4 + 1000)

/* A file with the ids that have changed since. Never changed itself, but for `through`. */
struct toon_columns {
  _Atomic uint32_t refs;
  column_file *file;
  uint64_t through; /* lock: changes up to this sequence are in */
  size_t count;
  toon_slice *ids; /* in order; in memory or the file */
  toon_buf memory;
};

/* Paths that somebody has asked for. */
typedef struct columns_paths {
  _Atomic uint32_t refs;
  size_t count; /* 0: those that the documents have */
  toon_path *list;
  toon_slice *names;
  toon_buf memory;
} columns_paths;
void columns_paths_unref(columns_paths *paths); /* NULL is fine */

struct columns_collection {
  columns_collection *next;
  uint8_t *prefix;
  size_t prefix_len;
  columns_paths *asked;  /* in this process; NULL: nobody has */
  bool overrun;          /* too much has changed */
  toon_columns *current; /* NULL: there is no file */
  column_file *gone;     /* a reference: to be removed */
  uint64_t floor;        /* of its files, until they are gone from the disk; UINT64_MAX: none */
  uint64_t build_wanted, build_done;
  toon_error error; /* of the last build */
};

toon_slice columns_prefix(const columns_collection *col);
toon_status columns_path(const store_engine *engine, uint64_t number, bool temporary, toon_buf *path);
/* Take a file off the disk, for good. */
toon_status columns_remove(store_engine *engine, const column_file *file, toon_error *err);
/* Bring the list of changes up to a snapshot. lock held. */
toon_status columns_catch_up(store_engine *engine, columns_collection *col, const toon_snapshot *snapshot,
                             toon_error *err);
/* The collection's file from now on; takes the reference over. False without memory. lock held. */
bool columns_install(columns_collection *col, column_file *file);
/* Start the thread, if it does not run. lock held. */
toon_status columns_start(store_engine *engine, toon_error *err);

#endif
