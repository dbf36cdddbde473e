/* The engine: one per directory and process, shared by its handles. Internal to the store room.
 *
 * Threads. Any thread reads: guard, view, published sequence, in that order. Writes go through a queue of batches; one
 * thread at a time leads: it forms groups, writes, syncs, inserts, publishes. One background thread syncs, checkpoints,
 * merges and gives old views back.
 *
 * Locks, in the order in which they may be taken:
 *   commit_lock   a group is being formed and committed; the delta is frozen between two groups
 *   manifest_lock a manifest is being written
 *   tally_lock    entries of the deltas are being resolved against what lies below
 *   apply_lock    entries become visible: insertion + publish, and every replacement of the view. Held briefly
 *   sync_lock     the log is being synced
 *   queue_lock, wake_lock   the queue of batches; the background thread's orders. Innermost, never held while working */
#ifndef TOON_STORE_ENGINE_H
#define TOON_STORE_ENGINE_H

#include "cache/words.h"
#include "index/cursor.h"
#include "log/frame.h"
#include "log/segment.h"
#include "os/thread.h"
#include "store/columns.h"
#include "store/guard.h"
#include "store/manifest.h"
#include "store/view.h"
#include "toonstore.h"

#define ENGINE_DELTA_BYTES (32u << 20) /* memory of a delta at which a checkpoint starts */
#define ENGINE_REPLAY_BYTES \
  (4 * ENGINE_DELTA_BYTES) /* and at which replay makes it a run: more than writers leave behind */

/* How far a delta has been resolved against the levels below it: which of its keys exist there, and which of their bytes
 * it makes dead (counted in the segments). */
typedef struct store_tally {
  const index_node *last;       /* nodes up to this one are resolved */
  int64_t existed[TOON_SPACES]; /* resolved keys that have a put below */
} store_tally;

typedef struct store_position {
  uint32_t segment, crc;
  uint64_t position, sequence, next_row;
  uint64_t overhead, deletes; /* of the segment, up to the position */
} store_position;

/* What recovery did, for stats(). */
typedef struct store_recovery {
  bool clean, rebuilt;
  const char *rebuilt_because; /* static text */
  uint64_t groups, bytes, rewritten, cut_bytes, cut_offset, segments_removed, microseconds;
  char cut_file[64];
} store_recovery;

typedef struct store_stats {
  _Atomic uint64_t commits, members, rows_written, bytes_written, syncs, checkpoints, checkpoint_failures, merges,
      rolls, compactions, rows_moved, rows_expired, stalls, stall_us, reads, damaged_rows;
} store_stats;

/* The sweeper between its steps. Background thread. */
typedef struct store_sweep {
  uint64_t not_before_ns, spent_ns; /* spent: on the pass under way */
  uint64_t freed_bytes;             /* of rows deleted since it last asked for a checkpoint */
  int64_t next, run_next;           /* smallest expiry to come that the pass has met; in the run it is in */
  uint64_t run_number;              /* where to go on; 0: from the start */
  uint32_t block;
  bool under_way, failing;
} store_sweep;

typedef enum engine_state { ENGINE_OPENING, ENGINE_OPEN, ENGINE_CLOSING } engine_state;

typedef struct store_engine {
  /* registry (its lock) */
  struct store_engine *next;
  uint64_t dev, ino;
  uint32_t handles;
  engine_state state;

  /* fixed after open */
  char *directory;
  os_vfs *vfs;
  os_file *lock_file;
  toon_options options;
  uint32_t store_id;
  int64_t clock_wall_ms; /* at clock_ns */
  uint64_t clock_ns;
  store_recovery recovery;
  int attempts_left; /* of a read-only open beside a writer */

  /* reading */
  store_guard guard;
  _Atomic(store_view *) view;
  index_pool pool;                /* of the deltas */
  _Atomic uint64_t published;     /* the newest visible sequence */
  _Atomic uint64_t published_row; /* the next row id, as of that sequence */

  /* the queue (queue_lock) */
  os_mutex queue_lock;
  os_cond queue_cond; /* a batch is done, or the leader has stopped */
  toon_batch *queue_head, *queue_tail;
  bool leading, guest, lead_requested; /* guest: the leader leads only until its own batch is done */
  bool lead_running, lead_joinable;    /* a thread that leads what nobody else does, or did */
  os_thread lead_thread;

  /* committing (commit_lock) */
  os_mutex commit_lock;
  uint64_t sequence; /* of the last group written */
  uint64_t next_row;
  log_segment *tail; /* also read under apply_lock */
  uint32_t tail_crc;
  toon_buf group; /* text of the group being formed */
  index_insert *inserts;
  size_t insert_count, insert_cap;
  uint64_t group_deletes;     /* bytes of delete lines in the group that no insert stands for */
  bool list_segments;         /* the next group names the segments there are */
  const log_segment *leaving; /* but for this one, whose rows are elsewhere */
  size_t member_start;        /* where in the group the text of the member being formed begins */
  struct commit_pending *pending;
  _Atomic bool manifest_clean;
  store_position replay;               /* what the next manifest says, as the runs of the current view cover it */
  _Atomic uint64_t bytes_since_freeze; /* of log text */

  os_mutex manifest_lock; /* from the writing of a manifest until the view agrees with it */
  os_mutex tally_lock;
  store_tally tallies[2]; /* of the active and the frozen delta */

  os_mutex apply_lock;
  toon_snapshot *snapshots; /* apply_lock: the newest; each sees no less than the one before */
  _Atomic uint64_t snapshots_open, snapshots_dropped;
  uint64_t snapshots_checked_ns; /* background thread */
  struct given_up *given_up;     /* background thread, close */
  bool giving_up;                /* the oldest, as soon as nobody uses it (background thread) */
  cache_words *words;            /* apply_lock: of the handles whose owners keep values */
  toon_cache *caches;            /* apply_lock */

  os_mutex sync_lock;      /* one log sync at a time, so that a failure is seen by whoever syncs next */
  _Atomic uint64_t synced; /* the last sequence known to be on disk */
  _Atomic int poisoned;    /* a toon_status; TOON_OK while the log can be written */
  os_mutex error_lock;
  toon_error poison_error;     /* error_lock */
  toon_error checkpoint_error; /* error_lock; status TOON_OK if the last one went well */
  toon_error background_error; /* error_lock; of the newest failure that nobody waited for */
  bool nearly_full;            /* commit_lock: above 80 % of max_db_size, and not below 70 % since */
  _Atomic uint64_t times_nearly_full, background_failures; /* for toon_events */

  /* the background thread (wake_lock) */
  os_mutex wake_lock;
  os_cond wake_cond, idle_cond;
  os_thread background;
  bool background_started, stop, want_checkpoint, want_leader;
  int64_t expiry_due;                            /* rows lapse from this time on; 0: none does */
  uint64_t checkpoints_wanted, checkpoints_done; /* tickets of toon_checkpoint */
  toon_status checkpoint_status;
  uint64_t retry_ns;    /* the last checkpoint failed: when to try again; 0: it did not (background thread) */
  store_view *retired;  /* views swapped out */
  store_view *retiring; /* those that the grace period under way is for (background thread) */
  uint64_t grace;       /* guard_ticket of those */
  uint64_t last_sync_ns;
  log_segment **removed; /* compacted away, one reference each: unlinked when nobody else has one (background thread) */
  size_t removed_count, removed_cap;
  bool removed_unsynced; /* unlinked, but the directory not synced since */
  bool ghosts;           /* open could not unlink a replaced segment: deletes are kept while this engine lives */
  struct compact_request *compact_request; /* wake_lock: the one being asked for or worked on */
  uint64_t next_run_number;                /* background thread, recovery, close */
  const store_run *merging;                /* the newest run of the merge under way (background thread) */
  store_sweep sweep;
  store_position frozen_at; /* end of the log that the frozen delta covers */
  bool has_frozen_at;

  store_columns columns;
  store_stats stats;
} store_engine;

struct toon_db {
  store_engine *engine;
  toon_options options;
  os_mutex spare_lock;
  toon_batch *spare; /* batches to use again: their memory is warm */
  uint32_t spare_count;
  _Atomic uint64_t seen_nearly_full, seen_failures; /* by toon_events */
  cache_words words;
  bool stopped;     /* queue_lock: no more writes */
  uint64_t waiting; /* queue_lock: its batches that have no results yet */
};

/* ---- view.c and friends, on the engine ---- */

/* The current view with a reference for the caller. */
store_view *engine_view(store_engine *engine);
/* Make `view` current (the reference goes to the engine), give the old one back after a grace period. apply_lock held. */
void engine_swap_view(store_engine *engine, store_view *view);
/* Give back the views that were swapped out, as far as no reader can still be using them. True when none is left. One
 * thread at a time: the background thread, or open and close. Never waits. */
bool engine_release_retired(store_engine *engine);

int64_t engine_now_ms(const store_engine *engine);
uint64_t engine_now_ns(const store_engine *engine);

/* ---- commit.c ---- */
/* One more entry of the group being formed, or replayed; the key is borrowed until the group has been applied. */
toon_status commit_add_insert(store_engine *engine, toon_key key, uint64_t hash, const index_entry *entry,
                              toon_error *err);
/* A delete line and its entry; the key is borrowed as above. */
toon_status commit_add_delete(store_engine *engine, toon_key key, uint64_t hash, toon_error *err);
/* The entries of the group have been inserted: count what they replaced in the same delta as dead, and the delete lines as
 * deletes of the segment that the group stands in (NULL: a read-only store that has only read it). */
void commit_count_replaced(store_engine *engine, const store_view *view, log_segment *written);
void commit_pending_free(store_engine *engine);
/* End the group in engine->group: write, sync if asked, apply, publish. commit_lock held. */
toon_status commit_write_group(store_engine *engine, bool sync, toon_error *err);
/* Write and sync a group that lists the segments without `leaving`, which no later list names either; until commit_has_left. */
toon_status commit_list_segments(store_engine *engine, const log_segment *leaving, toon_error *err);
void commit_has_left(store_engine *engine);
/* A failed write or sync of the log: no more writes. */
void engine_poison(store_engine *engine, const toon_error *why);
/* Sync a segment of the log: after a failure, this one or an earlier one, the log is poisoned and it is TOON_EIO. `whole`: with
 * fsync, when the file's size matters. */
toon_status commit_sync_log(store_engine *engine, log_segment *segment, bool whole, toon_error *err);
/* TOON_OK, or the poison. */
toon_status engine_check_poison(store_engine *engine, toon_error *err);
toon_status engine_withdraw_clean(store_engine *engine, toon_error *err);

/* Take no more writes through the handle, and see to it that those submitted are done; not those of other handles. */
void commit_finish(toon_db *db);
/* Try again to start a thread that leads. Background thread. */
void commit_lead_waiting(store_engine *engine);
/* Wait for the end of the thread that led; nothing is submitted any more. */
void commit_stop(store_engine *engine);

/* ---- tally.c: exact counts ---- */
/* Resolve what was not yet, of the active delta (0) or the frozen one (1), against what lies below. */
toon_status tally_resolve(store_engine *engine, unsigned level, toon_error *err);
/* Some of it; *done when that was all. */
toon_status tally_resolve_some(store_engine *engine, unsigned level, bool *done, toon_error *err);
/* Live bytes of the log by what is known now: an upper bound. */
uint64_t tally_live_bytes(store_engine *engine);
toon_status tally_size(store_engine *engine, uint8_t space, uint64_t *out, toon_error *err);

/* ---- checkpoint.c ---- */
/* Freeze, write the run, write the manifest. Only one thread at a time: the background thread, or recovery and close
 * while it does not run. `clean`: nothing will be written after it; the manifest says so. */
toon_status engine_checkpoint(store_engine *engine, bool clean, toon_error *err);
/* Merge runs if there are enough of a size; `idle`: there is nothing else to do, so fewer are enough. *merged tells whether
 * something was done. */
toon_status engine_merge(store_engine *engine, bool idle, bool *merged, toon_error *err);
/* The manifest as the current view and replay position have it. */
toon_status engine_write_manifest(store_engine *engine, bool clean, toon_error *err);
/* While recovery replays more than a delta should hold: turn the delta into a run that no manifest names yet. */
toon_status engine_spill(store_engine *engine, toon_error *err);
#define ENGINE_VERIFY_RUN (8u << 20) /* runs up to this size are checked whole when opened */
/* fdatasync the log up to what is published. */
toon_status engine_sync(store_engine *engine, toon_error *err);
/* Take the frozen delta's fill level: true while writers should wait for the checkpoint. */
bool engine_delta_full(store_engine *engine);

/* Start a new segment, if the tail has a group. Not under the commit lock. */
toon_status commit_roll(store_engine *engine, toon_error *err);

/* ---- snapshot.c ---- */
/* The entries of a group have been published: drop what they have made invisible. apply_lock and commit_lock held. */
void snapshot_prune(store_engine *engine, index_delta *active);
/* What the open snapshots keep from being reused: memory of deltas, bytes of files. */
typedef struct snapshot_cost {
  uint64_t open, oldest_ms, memory, files;
} snapshot_cost;
toon_status snapshot_measure(store_engine *engine, snapshot_cost *cost, toon_error *err);
/* Give up the oldest snapshots while they cost too much. Now and then; background thread. */
void snapshot_limit(store_engine *engine);
/* Let go of what snapshots that were given up have held. False while somebody may still be reading. Background thread, close. */
bool snapshot_release(store_engine *engine);

/* ---- compact.c ---- */
/* One request for a full compaction. progress may be NULL; false from it ends the work. */
typedef struct compact_request {
  bool (*progress)(void *ctx, double done);
  void *ctx;
  bool taken, finished;
  toon_status status;
  toon_error error;
} compact_request;
/* If dead bytes are worth it, compact one segment; `idle`: there is nothing else to do, so fewer are enough. *done tells
 * whether something was done. Background thread. */
toon_status compact_if_due(store_engine *engine, bool idle, bool *done, toon_error *err);
/* Has so much been written since the last checkpoint that its dead bytes matter? */
bool compact_wants_checkpoint(store_engine *engine);
/* Compact everything that holds dead rows or deletes. Background thread. */
toon_status compact_all(store_engine *engine, compact_request *request, toon_error *err);
/* A manifest that does not name the removed segments is on disk. */
void compact_manifest_written(store_engine *engine);
/* Unlink removed segments that nobody uses any more. With `all`: nobody is left (close). */
void compact_unlink_removed(store_engine *engine, bool all);

/* ---- sweep.c ---- */
/* Begin to sweep, some time after the open. */
void sweep_start(store_engine *engine);
/* Milliseconds until there is something to sweep; UINT64_MAX: nothing lapses. wake_lock held. */
uint64_t sweep_due_in(const store_engine *engine);
/* A step, if it is due. Background thread. */
toon_status sweep_if_due(store_engine *engine, toon_error *err);
/* A row was inserted that lapses then. */
void background_note_expiry(store_engine *engine, int64_t expires);

/* ---- hot.c ---- */
/* How many caches there are, and what they have counted together. */
uint64_t store_count_caches(store_engine *engine, toon_cache_counts *sum);

/* ---- background.c ---- */
toon_status background_start(store_engine *engine, toon_error *err);
void background_stop(store_engine *engine);
void background_want_checkpoint(store_engine *engine);
toon_status background_compact(store_engine *engine, compact_request *request, toon_error *err);
/* Do the checkpoint that is due, in the middle of a compaction. */
void background_checkpoint_if_wanted(store_engine *engine);
/* Do the checkpoint that is due in the middle of a merge, and merge the newer runs it makes too many. */
toon_status background_between(store_engine *engine, toon_error *err);
/* Called now and then from long work of the background thread, which holds no lock: syncs and leads if that is due. */
void background_slice(store_engine *engine);
bool background_stopping(store_engine *engine);
/* Batches wait, and no thread could be started that leads. */
void background_want_leader(store_engine *engine);
/* Wait for a checkpoint that begins after the call. */
toon_status background_checkpoint(store_engine *engine, toon_error *err);

/* ---- recover.c ---- */
/* Bring the engine's state up from the directory: manifest, runs, replay, cut, rewrite. */
toon_status engine_recover(store_engine *engine, bool may_create, toon_error *err);
/* TOON_ENOTFOUND: no store at this path, and none is to be made. */
toon_status engine_absent(const char *path, const toon_options *options, toon_error *err);

#endif
