/* Column files of an engine's collections: which there are, what has changed since each was made, and the thread that makes
 * them.
 *
 * What has changed. A collection with a file has a list of ids: those with an entry newer than the file, and the file's
 * own `others`. A query reads documents of these ids from the log and all else from the file. The list is brought up to a
 * snapshot when a query asks, from the deltas and from those runs that hold anything newer than what was seen last; it
 * may have more ids than the snapshot needs, which costs only time. Runs merged at the bottom keep deletes that are newer
 * than the oldest file (columns_floor), or a document deleted since would seem unchanged. */
#ifndef TOON_STORE_COLUMNS_H
#define TOON_STORE_COLUMNS_H

#include "column/column.h"
#include "os/thread.h"
#include "store/manifest.h"
#include "toonstore.h"

struct store_engine;

typedef struct columns_collection columns_collection;

typedef struct store_columns {
  os_mutex lock;
  os_cond wake, done;
  columns_collection *list; /* grows only */
  uint64_t floor;           /* of files that could not be removed, and of the one being made */
  uint64_t building;
  uint64_t next_number;
  toon_db *db; /* the thread's own */
  os_thread thread;
  bool loaded, started, stop, look;
  uint64_t built, dropped, failures; /* lock */
  manifest_columns *expected;        /* what the manifest listed, until the files are loaded */
  size_t expected_count;
  bool unlisted; /* lock: there are others than the manifest lists */
} store_columns;

void columns_init(struct store_engine *engine);
/* Only these files of the directory are ours. Takes them from the manifest. */
void columns_expect(struct store_engine *engine, store_manifest *manifest);
/* The files there are, for a manifest that is to be written. False without memory. */
bool columns_list(struct store_engine *engine, manifest_columns **out, size_t *count);
/* That manifest was not written. */
void columns_not_listed(struct store_engine *engine);
/* Does the manifest list just the files there are? */
bool columns_listed(struct store_engine *engine);
/* The files of the directory, after recovery. Those that are of no use are removed. Fails only if the directory cannot be read. */
toon_status columns_load(struct store_engine *engine, toon_error *err);
/* The index is made anew, and with it go deletes: no file may outlive that. Before the manifest is written. */
toon_status columns_remove_all(struct store_engine *engine, toon_error *err);
/* Deletes newer than this are to be kept. */
uint64_t columns_floor(struct store_engine *engine);
/* There has been a checkpoint: files may be due. */
void columns_look(struct store_engine *engine);
void columns_stop(struct store_engine *engine);
void columns_free(struct store_engine *engine);
/* For stats(): a JSON object. */
toon_status columns_stats(struct store_engine *engine, toon_buf *out);

#endif
