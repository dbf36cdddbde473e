/* Runs: sorted, immutable files of the index (db.toon.idx-N). Written once from a sorted source, then mapped and read.
 *
 * A run is a sequence of 4 KiB pages, each guarded by a CRC32C that is checked the first time the page is used (a
 * bitmap remembers), so opening costs little and damage is never returned as data:
 *
 *   header page | data blocks (one or two pages each) | hash pages | fences | footer page
 *
 * - data block: entries sorted by key; each key is stored as (bytes shared with the block's first key, rest), so any
 *   entry is read without the ones before it, and in both directions. A table of 16-bit offsets allows binary search.
 * - hash pages: open addressing, by buckets of 64 bytes, of 8-byte slots (fingerprint, page and offset of the entry: a
 *   point read needs no table). A lookup starts at page hash * pages >> 64 and goes on to the next page only if that
 *   one is full; what overflows the last page has pages of its own behind it, so that the section is written in one
 *   pass.
 * - fences: per block its page number, its smallest expiry and a separator (greater than the last key of the block
 *   before, not greater than its own first key), for binary search by scans; the first and the largest key in full.
 *   Keys are stored with their space as first byte.
 * - footer: counts, key space totals, largest sequence, smallest expiry, section places.
 *
 * The exact bytes are in FORMAT.md. All numbers little-endian. Any thread may read a run. */
#ifndef TOON_INDEX_RUN_H
#define TOON_INDEX_RUN_H

#include "index/entry.h"
#include "os/os.h"

typedef struct index_run index_run;
#define RUN_SPILL_NAME "db.toon.spill" /* a file that a crash may leave */

typedef struct index_run_info {
  uint64_t number;
  uint32_t store_id;
  uint64_t file_size;
  uint64_t entries, puts, deletes; /* entries = puts + deletes */
  uint64_t max_sequence, min_sequence;
  int64_t min_expires; /* smallest non-zero expiry, 0 = none */
  int64_t net_keys[2]; /* per key space: set by the writer's caller, kept verbatim (exact key counts) */
} index_run_info;

/* Write a run from `source` to `path` (a new file; an existing one is unlinked first, so its readers keep it), datasync
 * it, close it. The caller syncs the directory. Keys must ascend strictly, or it is TOON_EINVAL. Memory: 16 bytes an
 * entry until the hash pages are written, what exceeds 8 MiB of it in a file beside `path`, and the fences. info->number, store_id and net_keys are taken from *info
 * (net_keys is read after the source is exhausted, so the source may compute it); the other fields are filled in. On
 * failure the file is unlinked. `cancel` (may be NULL) is asked now and then; true ends the work with TOON_ETIMEOUT. */
toon_status index_run_write(os_vfs *vfs, const char *path, const index_source *source, index_run_info *info,
                            bool (*cancel)(void *ctx), void *cancel_ctx, toon_error *err);

/* Map and check a run: header, footer, fences always; all pages when the file has at most verify_bytes. TOON_ECORRUPT
 * with file and offset if a check fails or number/store_id differ from the expected; TOON_EFORMAT for a newer version;
 * TOON_EIO with os_errno ENOENT if there is no such file. */
toon_status index_run_open(os_vfs *vfs, const char *path, uint64_t number, uint32_t store_id, uint64_t verify_bytes,
                           index_run **out, toon_error *err);
void index_run_close(index_run *run);
const index_run_info *index_run_get_info(const index_run *run);
const char *index_run_path(const index_run *run);
/* The smallest and the largest key, borrowed from the run. False for an empty run. (To leave runs out of a scan or a
 * conflict check by their range.) */
bool index_run_bounds(const index_run *run, toon_key *smallest, toon_key *largest);

/* Hash of a key as the run's hash pages and the delta use it (toon_hash, seed: store id + space * 2^32). */
uint64_t index_key_hash(uint32_t store_id, toon_key key);

/* Point read. *found tells whether the run has an entry (a delete is an entry). `hash` is index_key_hash of the key. */
toon_status index_run_get(index_run *run, toon_key key, uint64_t hash, index_entry *entry, bool *found,
                          toon_error *err);
/* Ask the memory for what a later index_run_get of this hash will touch: first the hash page; then, a few keys later,
 * by what is there, the block and the entry. Many gets at once overlap their cache misses so (3 x faster at 1 M
 * entries): call the first for key i + 16, the second for key i + 8, then get key i. */
void index_run_prefetch(const index_run *run, uint64_t hash);
void index_run_prefetch_entry(const index_run *run, uint64_t hash);

/* The head of a data block, decoded; for the cursor's own use. */
typedef struct index_run_block {
  const uint8_t *ptr;
  uint32_t page, count, first_len, table;
  uint64_t sequence, expires;
} index_run_block;

/* A cursor over a run: a plain struct, no memory of its own to free; it borrows the run. Its key is assembled in the
 * struct and valid until the next move. Do not copy it while its key is in use: the key points into it. */
typedef struct index_run_cursor {
  index_run *run;
  uint32_t block, index; /* current place */
  bool valid;            /* false before the first seek, past the ends, and after an error */
  index_entry entry;
  toon_key key;
  index_run_block head; /* of the current block, so that a move within it decodes one entry and no more */
  uint32_t same;        /* leading bytes of the stored key (space included) that are those of the block's first key */
  uint8_t key_bytes[TOON_KEY_MAX + 32]; /* room for copies in whole words */
} index_run_cursor;

void index_run_cursor_init(index_run_cursor *cursor, index_run *run);
/* To the first entry >= key (inclusive) or > key; with `back`, to the last entry <= key or < key. key NULL: the first
 * (last) entry of all. The key may be the cursor's own. */
toon_status index_run_seek(index_run_cursor *cursor, const toon_key *key, bool inclusive, bool back, toon_error *err);
/* One entry on or back. A cursor that is not valid stays so (TOON_OK). */
toon_status index_run_next(index_run_cursor *cursor, toon_error *err);
toon_status index_run_prev(index_run_cursor *cursor, toon_error *err);

/* For the expiry sweeper: the number of data blocks, the smallest non-zero expiry in one (0 = none; costs no access to
 * the block), and a seek to its first entry. From there to the first entry of the next block is that block. */
uint32_t index_run_blocks(const index_run *run);
int64_t index_run_block_expires(const index_run *run, uint32_t block);
toon_status index_run_seek_block(index_run_cursor *cursor, uint32_t block, toon_error *err);

/* Check every page anew, and that what they hold is consistent: keys ascend, fences part the blocks, the footer's
 * counts are right, every key is found by its hash. */
toon_status index_run_verify(index_run *run, toon_error *err);

#endif
