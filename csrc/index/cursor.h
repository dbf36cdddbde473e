/* A walk over the whole index in key order: deltas and runs merged, the newest entry of each key within a horizon.
 * The cursor borrows deltas and runs: the caller keeps them (by a view) while it is open. One thread at a time. */
#ifndef TOON_INDEX_CURSOR_H
#define TOON_INDEX_CURSOR_H

#include "index/delta.h"
#include "index/run.h"

typedef struct index_cursor index_cursor;

typedef struct index_bounds {
  bool has_lower, has_upper, lower_open, upper_open, reverse;
  toon_key lower, upper; /* borrowed for index_cursor_open only */
} index_bounds;

/* Deltas newest first, then runs newest first. All nodes inserted into the deltas before the call are met. */
toon_status index_cursor_open(index_delta *const *deltas, size_t delta_count, index_run *const *runs, size_t run_count,
                              index_horizon horizon, const index_bounds *bounds, index_cursor **out, toon_error *err);
/* The next key with its newest visible entry, deletes included. The key is borrowed until the next call. *end after the
 * last. */
toon_status index_cursor_next(index_cursor *cursor, toon_key *key, index_entry *entry, bool *end, toon_error *err);
/* Does it read deltas, and so need a guard at each call (or the commit lock)? Opening always does. */
bool index_cursor_in_deltas(const index_cursor *cursor);
void index_cursor_close(index_cursor *cursor);

#endif
