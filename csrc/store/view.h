/* A view: everything a read needs, as it was at one moment: the active delta, the one being checkpointed, the runs and
 * the segments. Views are immutable and counted by reference; the engine's current one is replaced, never changed. */
#ifndef TOON_STORE_VIEW_H
#define TOON_STORE_VIEW_H

#include "index/delta.h"
#include "index/run.h"
#include "log/segment.h"

/* A run counted by reference. */
typedef struct store_run {
  _Atomic uint32_t refs;
  _Atomic bool unlink_when_free;
  int64_t next_expires; /* smallest expiry here that was not swept; 0: none (background thread) */
  os_vfs *vfs;
  index_run *run;
} store_run;

typedef struct store_view {
  _Atomic uint32_t refs;
  struct store_view *next_retired;
  index_delta *deltas[2]; /* active, frozen (NULL if none) */
  size_t run_count;
  store_run **runs;     /* newest first */
  index_run **raw_runs; /* the same, as index_cursor_open wants them */
  uint32_t first_segment;
  size_t segment_count;
  log_segment **segments; /* by id - first_segment; NULL where compaction left a gap */
} store_view;

store_run *store_run_new(os_vfs *vfs, index_run *run); /* takes the run over; NULL without memory */
void store_run_ref(store_run *run);
void store_run_unref(store_run *run);

/* A view of these parts; takes references of its own on all of them. Segments in id order. `active` NULL: to hold runs, not to
 * look up keys. One reference; NULL without memory. */
store_view *view_new(index_delta *active, index_delta *frozen, store_run *const *runs, size_t run_count,
                     log_segment *const *segments, size_t segment_count);
void view_ref(store_view *view);
void view_unref(store_view *view);

static inline log_segment *view_segment(const store_view *view, uint32_t id) {
  uint32_t i = id - view->first_segment;
  return i < view->segment_count ? view->segments[i] : NULL;
}

/* If `err` tells of damage in one of the view's runs, the run's file will be unlinked when it is not used any more: the next
 * open finds it missing and rebuilds the index from the log. */
void view_note_damage(const store_view *view, const toon_error *err);

/* What a reader at this sequence sees through the view. */
static inline index_horizon view_horizon(const store_view *view, uint64_t sequence) {
  return (index_horizon){sequence, view->first_segment + (uint32_t)view->segment_count - 1};
}

/* The newest entry of a key within the horizon, deletes included; from the given level down: 0 the active delta, 1 the
 * frozen one, 2 the runs. *cut: see index_delta_get. */
toon_status view_get_at(const store_view *view, unsigned level, toon_key key, uint64_t hash, index_horizon horizon,
                        index_entry *entry, bool *found, bool *cut, toon_error *err);
/* The same for a horizon that pruning asks about (an open snapshot's), or INDEX_NEWEST. Inside a guard, or with the commit
 * lock held, if level 0 is looked at. */
static inline toon_status view_get(const store_view *view, unsigned level, toon_key key, uint64_t hash,
                                   index_horizon horizon, index_entry *entry, bool *found, toon_error *err) {
  bool cut = false;
  return view_get_at(view, level, key, hash, horizon, entry, found, &cut, err);
}

/* Ask the memory for what a later view_get of the hash touches first: the slots of all levels. */
void view_prefetch(const store_view *view, uint64_t hash);

#endif
