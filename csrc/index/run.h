/* Runs: sorted, immutable files of the index (db.toon.idx-N). Written once from a sorted source, then mapped and read.
 *
 * A run is a sequence of 4 KiB pages, each guarded by a CRC32C that is checked the first time the page is used (a bitmap
 * remembers), so opening costs little and damage is never returned as data:
 *
 *   header page | data blocks (one or more pages each) | hash pages | fence pages | footer page
 *
 * - data block: entries sorted by key; each key is stored as (bytes shared with the block's first key, rest), so any
 *   entry is read without the ones before it, and in both directions. A table of 16-bit offsets allows binary search.
 * - hash pages: open addressing within a page of 8-byte slots (fingerprint, block, index in block); a lookup starts at
 *   page hash % pages and goes on to the next page only if that one is full.
 * - fences: per block its page number and its first key, for binary search by scans. Keys are stored with their space as
 *   first byte.
 * - footer: counts, key space totals, smallest and largest key, largest sequence, smallest expiry, section places.
 *
 * The exact bytes are in FORMAT.md. All numbers little-endian. Any thread may read a run. */
#ifndef TOON_INDEX_RUN_H
#define TOON_INDEX_RUN_H

#include "index/entry.h"
#include "os/os.h"

typedef struct index_run index_run;

typedef struct index_run_info {
  uint64_t number;
  uint32_t store_id;
  uint64_t file_size;
  uint64_t entries, puts, deletes; /* entries = puts + deletes */
  uint64_t max_sequence, min_sequence;
  int64_t min_expires;             /* smallest non-zero expiry, 0 = none */
  int64_t net_keys[2];             /* per key space: set by the writer's caller, kept verbatim (exact key counts) */
} index_run_info;

/* Write a run from `source` to `path` (a new file; an existing one is replaced), datasync it, close it. The caller
 * syncs the directory. info->number, store_id and net_keys are taken from *info (net_keys is read after the source is
 * exhausted, so the source may compute it); the other fields are filled in. On failure the file is unlinked.
 * `cancel` (may be NULL) is asked now and then; true ends the work with TOON_ETIMEOUT. */
toon_status index_run_write(os_vfs *vfs, const char *path, const index_source *source, index_run_info *info,
                            bool (*cancel)(void *ctx), void *cancel_ctx, toon_error *err);

/* Map and check a run: header, footer, fences always; all pages when the file has at most verify_bytes. TOON_ECORRUPT
 * with file and offset if a check fails or number/store_id differ from the expected; TOON_EFORMAT for a newer version. */
toon_status index_run_open(os_vfs *vfs, const char *path, uint64_t number, uint32_t store_id, uint64_t verify_bytes,
                           index_run **out, toon_error *err);
void index_run_close(index_run *run);
const index_run_info *index_run_get_info(const index_run *run);
const char *index_run_path(const index_run *run);

/* Hash of a key as the run's hash pages and the delta use it (seed: the store id). */
uint64_t index_key_hash(uint32_t store_id, toon_key key);

/* Point read. *found tells whether the run has an entry (a delete is an entry). `hash` is index_key_hash of the key. */
toon_status index_run_get(index_run *run, toon_key key, uint64_t hash, index_entry *entry, bool *found,
                          toon_error *err);
/* Ask the memory for what a later index_run_get of this hash will touch first. */
void index_run_prefetch(const index_run *run, uint64_t hash);

/* A cursor over a run: a plain struct, no memory of its own to free; it borrows the run. Its key is assembled in the
 * struct and valid until the next move. */
typedef struct index_run_cursor {
  index_run *run;
  uint32_t block, index; /* current place */
  bool valid;            /* false before the first seek, past the ends, and after an error */
  index_entry entry;
  toon_key key;
  uint8_t key_bytes[TOON_KEY_MAX];
} index_run_cursor;

void index_run_cursor_init(index_run_cursor *cursor, index_run *run);
/* To the first entry >= key (inclusive) or > key; with `back`, to the last entry <= key or < key. key NULL: the first
 * (last) entry of all. */
toon_status index_run_seek(index_run_cursor *cursor, const toon_key *key, bool inclusive, bool back, toon_error *err);
toon_status index_run_next(index_run_cursor *cursor, toon_error *err);
toon_status index_run_prev(index_run_cursor *cursor, toon_error *err);

/* Check every page. */
toon_status index_run_verify(index_run *run, toon_error *err);

#endif
