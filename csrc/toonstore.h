/* toonstore: an embedded store of JSON values, strings and bytes as TOON text. This header is the manual of the C API.
 *
 * Rules that hold for every function
 * - A function that can fail returns a toon_status and fills *err (which may be NULL). Outputs are written only on
 *   success.
 * - Slices and keys passed in are borrowed for the call and copied if they are needed longer. Slices that come out are
 *   borrowed from the object named; each function says until when.
 * - A toon_db may be used from any number of threads at once, except that toon_close must be the last call. A batch, a
 *   cursor and a row belong to one thread at a time.
 * - Nothing here calls abort or prints. Damage in files is TOON_ECORRUPT with path and offset.
 * - The first toon_open installs a handler for SIGBUS, which makes faults of mapped files such errors and passes all others on to
 *   the handler that was there. One that is installed later must do the same.
 *
 * A store is a directory. Several toon_db handles in one process on one directory share one engine; their durability and
 * limits must agree (TOON_EINVAL). Another process gets TOON_ELOCKED unless it opens read-only. */
#ifndef TOONSTORE_H
#define TOONSTORE_H

#include "base/buf.h"
#include "base/key.h"
#include "base/status.h"
#include "toon/toon.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TOON_VERSION "0.1.0"

typedef struct toon_db toon_db;
typedef struct toon_batch toon_batch;
typedef struct toon_snapshot toon_snapshot;
typedef struct toon_cursor toon_cursor;
struct os_vfs;

/* When is an acknowledged write safe? At every level it survives the death of the process. */
typedef enum toon_durability {
  TOON_DURABLE_COMMIT = 0,   /* survives power loss: fdatasync before the acknowledgement */
  TOON_DURABLE_INTERVAL = 1, /* power loss takes at most the last sync_interval_ms */
  TOON_DURABLE_CLOSE = 2     /* synced by toon_sync, checkpoints and toon_close */
} toon_durability;

typedef struct toon_options {
  toon_durability durability; /* default COMMIT */
  uint32_t sync_interval_ms;  /* 1 to 3,600,000; default 1000 */
  uint64_t max_value_size;    /* bytes of stored TOON text of one value, 1 to 1 GiB; default 1 MiB */
  uint64_t max_db_size;       /* live bytes of the store; default 1 GiB */
  uint64_t max_txn_size;      /* bytes of log text of one atomic member, up to 1 GiB; default 64 MiB */
  uint64_t segment_size;      /* bytes of a log segment, 4 KiB to 1 GiB; default 64 MiB */
  uint64_t checkpoint_bytes;  /* bytes of log between checkpoints, 4 KiB to 1 GiB; default 32 MiB */
  uint64_t ttl_ms;            /* default time to live of puts, up to 10^12; 0 = none */
  bool read_only;             /* no lock, no writes: the store as it is at the open */
  bool repair;                /* cut damage away instead of refusing to open; what was cut is in the statistics */
  bool create_if_missing;     /* default true */
  bool error_if_exists;       /* TOON_EINVAL if there is a store already */
  struct os_vfs *vfs;         /* NULL: the operating system */
} toon_options;

/* The defaults above. */
toon_options toon_options_default(void);

/* Open the store in directory `path`, recovering it if the last process died. Blocks; other opens of the same
 * directory in this process wait. TOON_ENOTFOUND, TOON_ELOCKED, TOON_ECORRUPT, TOON_EFORMAT, TOON_EINVAL, TOON_EIO… */
toon_status toon_open(const char *path, const toon_options *options, toon_db **out, toon_error *err);

/* Take no more writes through this handle: toon_commit and toon_submit give TOON_ECLOSED from now on, and what was submitted
 * before is still done. Never waits. For a program whose threads go on writing: toon_stop, let them end, toon_close. */
void toon_stop(toon_db *db);

/* Close a handle; the last one of an engine writes what waits, checkpoints and marks the store clean. The handle is gone
 * whatever is returned; an error tells that the end was not clean (a poisoned log, a full disk): the next open recovers.
 * Snapshots and cursors of the handle must be closed before. */
toon_status toon_close(toon_db *db, toon_error *err);

/* ------------------------------------------------------------------------------------------------ writing
 *
 * Writes are collected in a batch and committed. A batch has *members*; each is atomic by itself and has a result of its
 * own. A put or delete outside begin/end is a member of its own. All members waiting when a commit starts, of whatever
 * batch, share one write and one sync; they take effect in the order of submission. */

typedef enum toon_input {
  TOON_INPUT_JSON,   /* JSON text */
  TOON_INPUT_STRING, /* a string, UTF-8 */
  TOON_INPUT_UTF16,  /* a string, UTF-16 in native order; the slice's len is in bytes */
  TOON_INPUT_BYTES
} toon_input;

enum { TOON_IF_ABSENT = 1, TOON_IF_PRESENT = 2, TOON_IF_VERSION = 4 };

typedef struct toon_put_options {
  int64_t expires_at;  /* ms since 1970, up to 2^53 - 1; 0: the store's ttl_ms if there is one, else never */
  uint32_t conditions; /* TOON_IF_*; a condition that does not hold makes the member's value 0 and writes nothing */
  uint64_t version;    /* with TOON_IF_VERSION: the sequence the row must have; 0 = must be absent */
} toon_put_options;

/* Order of keys: bytes. gte beats gt, lte beats lt, prefix narrows further. Zeroed: everything of the user space. */
typedef struct toon_range {
  toon_slice lower, upper, prefix;
  bool has_lower, has_upper, lower_open, upper_open; /* open: the bound itself is outside */
  bool reverse;
  uint8_t space;  /* TOON_SPACE_USER or TOON_SPACE_ROW (bounds are then 8-byte big-endian ids) */
  uint64_t limit; /* 0 = none */
} toon_range;

toon_status toon_batch_new(toon_db *db, toon_batch **out, toon_error *err);
void toon_batch_free(toon_batch *batch);

/* Add an operation. On an error the batch is as before. TOON_EKEYTOOBIG, TOON_EVALUETOOBIG, TOON_EINVAL (ill-formed text),
 * TOON_ENOMEM, TOON_EREADONLY. JSON is checked only when committed (the member's result). options may be NULL. */
toon_status toon_batch_put(toon_batch *batch, toon_key key, toon_input input, toon_slice value,
                           const toon_put_options *options, toon_error *err);
toon_status toon_batch_delete(toon_batch *batch, toon_key key, toon_error *err);
/* Give a row another expiry (ms since 1970; 0: none), its value unchanged. The member's value is 1 if there was a row,
 * with expires_at 0 only if that row had an expiry. */
toon_status toon_batch_expire(toon_batch *batch, toon_key key, int64_t expires_at, toon_error *err);
/* A row without a key; the member's value is its id. */
toon_status toon_batch_row_put(toon_batch *batch, toon_input input, toon_slice value, const toon_put_options *options,
                               toon_error *err);
/* Delete all keys of the range (limit and reverse count); alone in its member. Atomic up to max_txn_size of delete
 * lines, in several atomic steps beyond. The member's value is the number of keys that were deleted. */
toon_status toon_batch_clear(toon_batch *batch, const toon_range *range, toon_error *err);

/* The operations between begin and end are one member. abandon drops those since begin. */
toon_status toon_batch_begin(toon_batch *batch, toon_error *err);
toon_status toon_batch_end(toon_batch *batch, toon_error *err);
void toon_batch_abandon(toon_batch *batch);

/* As begin, for a transaction that read from `snapshot`: the member fails with TOON_ECONFLICT, and writes nothing, if a key
 * that it writes has been changed (put, deleted, created) since the snapshot. To be serializable it also names what it
 * read: keys, present or absent, and ranges. The snapshot stays open until the batch has been processed. */
toon_status toon_batch_begin_at(toon_batch *batch, const toon_snapshot *snapshot, toon_error *err);
toon_status toon_batch_expect(toon_batch *batch, toon_key key, toon_error *err);
toon_status toon_batch_expect_range(toon_batch *batch, const toon_range *range, toon_error *err);
/* The open member, begun without a snapshot, reads from this one from now on: as if begun by toon_batch_begin_at. */
toon_status toon_batch_read_from(toon_batch *batch, const toon_snapshot *snapshot, toon_error *err);

/* For a writer that computes one change from another before either is committed (the server). The open member expects that
 * the row has this version when it is committed (0: there is none), else it fails with TOON_ECONFLICT. */
toon_status toon_batch_expect_version(toon_batch *batch, toon_key key, uint64_t version, toon_error *err);
/* What the operations of a batch leave of a key, the newest last; those with conditions are taken to have written. A batch
 * that was submitted may be asked until it is freed, by one thread. */
typedef enum toon_pending_kind {
  TOON_PENDING_NONE,   /* the batch has nothing of this key */
  TOON_PENDING_PUT,    /* input, value, expires_at; the value is borrowed until the batch changes */
  TOON_PENDING_DELETE, /* nothing */
  TOON_PENDING_EXPIRE  /* what was there before the batch, with this expires_at */
} toon_pending_kind;
typedef struct toon_pending {
  toon_pending_kind kind;
  toon_input input;
  toon_slice value;
  int64_t expires_at;
} toon_pending;
toon_status toon_batch_find(toon_batch *batch, toon_key key, toon_pending *out, toon_error *err);
/* Walk the keys that the open member puts, deletes or expires, each once: from *at (0 at first) on, *at moves behind it. *end after the
 * last. The key is borrowed until the batch changes; what is added meanwhile is walked too. */
toon_status toon_batch_next_key(toon_batch *batch, size_t *at, toon_key *key, bool *end, toon_error *err);
/* From now on the members of this batch build on one another: after one that failed with TOON_ECONFLICT all later ones fail
 * so too, and after one that failed otherwise all later ones that depend (toon_batch_depends, of the open member). */
void toon_batch_in_order(toon_batch *batch);
void toon_batch_depends(toon_batch *batch);
/* Drop the operations of the open member since a mark. */
size_t toon_batch_mark(const toon_batch *batch);
void toon_batch_rewind(toon_batch *batch, size_t mark);

size_t toon_batch_members(const toon_batch *batch);
/* Bytes the batch holds, for deciding when to submit. */
size_t toon_batch_bytes(const toon_batch *batch);

/* Commit all members and wait. Returns TOON_OK when the batch was processed: each member has its own result. Fails only
 * for the batch as a whole (TOON_ECLOSED, TOON_EREADONLY). */
toon_status toon_commit(toon_db *db, toon_batch *batch, toon_error *err);

/* The same without waiting: `done` is called once, on whatever thread leads the commit, when every member has its result;
 * it must be short and must not call the store. If *lead is true there is no leader: the caller must see to it that
 * toon_lead runs soon, on a thread that may block. On an error nothing was queued and done is not called. */
typedef void (*toon_done_fn)(void *ctx, toon_batch *batch);
toon_status toon_submit(toon_db *db, toon_batch *batch, toon_done_fn done, void *ctx, bool *lead, toon_error *err);
/* Commit group after group until nothing waits. */
void toon_lead(toon_db *db);

/* Result of member i of a processed batch: its status, with *value = put: 1 written, 0 condition did not hold; delete: 1 if
 * the key existed; row_put: the id; clear: the number of keys; begin/end: 1. On failure *err is its error. */
toon_status toon_batch_result(const toon_batch *batch, size_t i, uint64_t *value, toon_error *err);

/* ------------------------------------------------------------------------------------------------ reading */

/* A row as read. `field` is its field text (see toon/toon.h) inside the mapped log: borrowed until toon_row_release. */
typedef struct toon_row {
  toon_slice field;
  uint8_t flags;      /* toon_kind | TOON_TEXT_ASCII | TOON_TEXT_PLAIN */
  uint64_t version;   /* sequence of the commit that wrote it */
  int64_t expires_at; /* ms since 1970, 0 = never */
  uintptr_t pin[2];   /* the engine's */
} toon_row;

static inline toon_kind toon_row_kind(const toon_row *row) { return (toon_kind)(row->flags & 7); }

/* The newest visible row of a key, or as `snapshot` sees it (NULL: now). *found tells; with true the row must be released,
 * soon and before its snapshot is closed: it holds back reuse of memory and files. Checks the row's checksum: TOON_ECORRUPT. */
toon_status toon_get(toon_db *db, const toon_snapshot *snapshot, toon_key key, toon_row *row, bool *found,
                     toon_error *err);
void toon_row_release(toon_db *db, toon_row *row);
/* The rows of many keys, in their order and at one moment, that of the snapshot or one within the call: each is given to `take`, or NULL if
 * there is none, and is good until that returns. `take` must be short and not use the store; false from it ends the walk. The first
 * row that is damaged ends it too: TOON_ECORRUPT. */
typedef bool (*toon_row_fn)(void *ctx, size_t i, const toon_row *row);
toon_status toon_get_many(toon_db *db, const toon_snapshot *snapshot, const toon_key *keys, size_t count,
                          toon_row_fn take, void *ctx, toon_error *err);
/* As toon_get, without reading the log. */
toon_status toon_has(toon_db *db, const toon_snapshot *snapshot, toon_key key, bool *found, toon_error *err);
/* Ask the memory for what a later toon_get of the key touches first. A hint: does nothing wrong. */
void toon_prefetch(toon_db *db, toon_key key);
/* Number of keys of a space. Exact; rows that lapsed count until they are swept, a second or more later. */
toon_status toon_size(toon_db *db, uint8_t space, uint64_t *out, toon_error *err);
/* Version words, for an owner of values that were read: `words` is zeroed memory of 16 + slots (a power of two) numbers, which every
 * commit changes, whoever made it, until toon_unwatch or toon_close. words[0] is odd while a commit becomes visible; words[stamp.slot]
 * grows when a key of that slot changes. One table a handle; toon_watch and toon_unwatch with no read under way. */
void toon_watch(toon_db *db, uint32_t *words, uint32_t slots);
void toon_unwatch(toon_db *db);
typedef struct toon_stamp {
  uint32_t word, slot, version;
} toon_stamp;
/* Take a stamp before toon_get of the same key; if toon_watch_unchanged after it, the value is current as long as
 * words[stamp.slot] is stamp.version. Only on a handle that is watched. */
toon_stamp toon_watch_stamp(toon_db *db, toon_key key);
bool toon_watch_unchanged(toon_db *db, const toon_stamp *stamp);

/* The value of a row as bytes, appended to `out`: those of a string or of bytes, else the TOON text. */
toon_status toon_row_value(const toon_row *row, toon_buf *out, toon_error *err);

/* Values that were read lately, ready as toon_row_value makes them: two to seven times as fast as toon_get where they are quoted,
 * documents or bytes, or the index is large. Any threads. Never stale: what any handle of the directory commits is seen. To be
 * closed before `db`, whose reads it makes. */
typedef struct toon_cache toon_cache;
typedef struct toon_cache_counts {
  uint64_t hits, misses, evictions, rows, bytes;
} toon_cache_counts;
/* For at most so many rows, and bytes of values, keys and what keeps them; beyond, those not used for longest go. */
toon_status toon_cache_open(toon_db *db, uint64_t rows, uint64_t bytes, toon_cache **out, toon_error *err);
void toon_cache_close(toon_cache *cache);
/* Append the newest value of a key to `out`, if *found; flags, version and expiry in *facts, which has no field and is not released.
 * Otherwise as toon_get and toon_row_value, with their errors; `out` is then as it was. */
toon_status toon_cache_get(toon_cache *cache, toon_key key, toon_buf *out, toon_row *facts, bool *found,
                           toon_error *err);
toon_cache_counts toon_cache_count(toon_cache *cache);
/* For an owner who asks the cache only where it wins: is the key one that was read more often lately than others? `vote`: it was read, and
 * is worth keeping. What is read seldom so drives nothing out. A guess. */
bool toon_cache_wants(toon_cache *cache, toon_key key, bool vote);

/* The state of the store at this moment, unchanged by later writes, until closed. If the open ones hold back more than 128 MiB
 * of memory or max_db_size of files, or the oldest, open for an hour, 16 MiB, the oldest is given up: its use is then
 * TOON_ESNAPSHOT. It must be closed all the same. */
toon_status toon_snapshot_open(toon_db *db, toon_snapshot **out, toon_error *err);
void toon_snapshot_close(toon_snapshot *snapshot);
uint64_t toon_snapshot_sequence(const toon_snapshot *snapshot);

/* Walk a range in key order (backwards with reverse), at one snapshot: the given one, or one of the cursor's own from
 * open to close. The slices of a range are copied. */
toon_status toon_cursor_open(toon_db *db, const toon_snapshot *snapshot, const toon_range *range, toon_cursor **out,
                             toon_error *err);
/* The next row; *end after the last. Key and row are borrowed until the cursor is closed (row) or moved (key); the row must
 * not be released. `keys_only`: the log is not read and row->field is empty. */
toon_status toon_cursor_next(toon_cursor *cursor, bool keys_only, toon_key *key, toon_row *row, bool *end,
                             toon_error *err);
/* No row is used any more, and there may be a while until the next call: the cursor's snapshot may be given up meanwhile.
 * Without this it is only marked, from the first call to the close: the next call fails, and rows stay until the close. */
void toon_cursor_pause(toon_cursor *cursor);
void toon_cursor_close(toon_cursor *cursor);

/* The stored key token of a row id or key is never shown; values are read by the functions of toon/toon.h on row->field:
 * toon_field_to_json, toon_field_to_string, toon_field_to_bytes, toon_field_to_document. */

/* ------------------------------------------------------------------------------------------------ columns
 *
 * Column files (column/column.h) of the documents under a prefix, which ends with a slash. They are made in the background,
 * after checkpoints, and lag behind; what they lack is known. They are derived data: never backed up, made again when lost. */

/* Keep a file with these fields from now on; count 0: those that the documents have. Nothing on a read-only store. A file that
 * a directory has is used, and kept up to date, without this too. */
toon_status toon_columns_keep(toon_db *db, toon_slice prefix, const toon_path *paths, size_t count, toon_error *err);
/* Keep none any more. */
toon_status toon_columns_drop(toon_db *db, toon_slice prefix, toon_error *err);
/* Bring the file up to what is committed now, and wait. TOON_EINVAL if none is kept. */
toon_status toon_columns_build(toon_db *db, toon_slice prefix, toon_error *err);
/* Documents of a block, in all files made from now on: for tests, which want several blocks of few. Call it before a store is opened. */
void toon_columns_block_rows(uint32_t rows);

/* What a snapshot may use: a file, and the ids (keys without the prefix) that are to be read from the log instead, in order. */
typedef struct toon_columns toon_columns;
struct column_file;
/* *out is NULL if there is nothing to use. Else it is to be released. */
toon_status toon_columns_use(toon_db *db, const toon_snapshot *snapshot, toon_slice prefix, toon_columns **out,
                             toon_error *err);
struct column_file *toon_columns_file(const toon_columns *columns);
const toon_slice *toon_columns_changed(const toon_columns *columns, size_t *count);
void toon_columns_release(toon_columns *columns); /* NULL is fine */

/* ------------------------------------------------------------------------------------------------ upkeep */

/* Everything acknowledged so far is on disk when this returns. */
toon_status toon_sync(toon_db *db, toon_error *err);
/* Write the delta out as a run and shorten the next recovery to nothing. */
toon_status toon_checkpoint(toon_db *db, toon_error *err);
/* Rewrite every segment that holds superseded rows, so that the files hold the live rows only. `progress` (may be NULL) is
 * called from another thread, with a share from 0 to 1, and must not call the store; false from it ends the work early (TOON_ETIMEOUT), harmlessly.
 * Blocks. Only one at a time (TOON_EINVAL). */
toon_status toon_compact(toon_db *db, bool (*progress)(void *ctx, double done), void *ctx, toon_error *err);
enum { TOON_EVENT_NEARLY_FULL = 1, TOON_EVENT_FAILED = 2 };
/* What has happened since the last call on this handle (or since its open), TOON_EVENT_*:
 * NEARLY_FULL: the live bytes have risen above 80 % of max_db_size; told again only after they were below 70 %.
 * FAILED: a checkpoint, merge, compaction or sync of the background has failed; it is tried again unless the log is
 * poisoned. toon_last_failure tells why. */
uint32_t toon_events(toon_db *db);
/* The error of the newest background failure; its status is TOON_OK if there was none. */
void toon_last_failure(toon_db *db, toon_error *out);
/* Append a JSON object with the engine's counters (docs in index.d.ts, type Stats). */
toon_status toon_stats(toon_db *db, toon_buf *json, toon_error *err);
/* Milliseconds since 1970 by the engine's clock, which never runs back. */
int64_t toon_now(toon_db *db);
/* The options of these names. */
uint64_t toon_max_value_size(const toon_db *db);
uint64_t toon_max_txn_size(const toon_db *db);
/* The absolute path of the directory. Borrowed until close. */
const char *toon_directory(const toon_db *db);

#ifdef __cplusplus
}
#endif

#endif
