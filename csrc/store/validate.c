/* Conflicts: has what a transaction wrote or read changed since its snapshot? First committer wins.
 *
 * A key has changed if its newest entry is younger than the snapshot, or if it has no entry any more although the snapshot
 * sees a row (the delete was dropped by a merge at the bottom). A key that was not there for the snapshot, having lapsed
 * perhaps, and is deleted now has not changed, nor has a row that a compaction moved: it keeps its sequence. */
#include "store/batch.h"

static toon_status conflict(toon_error *err) { return toon_fail(err, TOON_ECONFLICT, NULL); }

/* A row that the snapshot does or would see. */
static bool is_row(const index_entry *entry, const toon_snapshot *snapshot) {
  return entry->kind == INDEX_PUT && (!entry->expires || entry->expires > snapshot->now);
}

/* The newest entry of a key. If the view is the snapshot's own still, its runs hold nothing younger than the snapshot and
 * nothing was dropped from them, so what is not in the deltas has not changed: *settled. */
static toon_status newest(const store_view *view, const store_view *then, toon_key key, uint64_t hash,
                          index_entry *entry, bool *found, bool *settled, toon_error *err) {
  bool cut = false;
  *settled = view == then;
  if (!*settled) return view_get(view, 0, key, hash, INDEX_NEWEST, entry, found, err);
  for (int i = 0; i < 2; i++)
    if ((*found = view->deltas[i] && index_delta_get(view->deltas[i], key, hash, INDEX_NEWEST, entry, &cut))) break;
  return TOON_OK;
}

toon_status validate_key(store_engine *engine, const store_view *view, const toon_snapshot *snapshot, toon_key key,
                         uint64_t hash, toon_error *err) {
  index_entry entry;
  bool found, settled;
  const store_view *then = atomic_load(&snapshot->view);
  TOON_TRY(commit_pending_find(engine, key, hash, &entry, &found, err));
  if (found) { /* by an earlier member: unless it is this member itself, writing a key twice */
    if (entry.position < engine->member_start) return conflict(err);
    return TOON_OK;
  }
  TOON_TRY(newest(view, then, key, hash, &entry, &found, &settled, err));
  if (found ? entry.sequence <= snapshot->sequence : settled) return TOON_OK;
  if (found && entry.kind == INDEX_PUT) return conflict(err);
  TOON_TRY(view_get(then, 0, key, hash, snapshot->horizon, &entry, &found, err));
  return found && is_row(&entry, snapshot) ? conflict(err) : TOON_OK;
}

static toon_status next_row(const toon_snapshot *snapshot, index_cursor *cursor, toon_key *key, index_entry *entry,
                            bool *end, toon_error *err) {
  do TOON_TRY(index_cursor_next(cursor, key, entry, end, err));
  while (!*end && !is_row(entry, snapshot));
  return TOON_OK;
}

static toon_status open_cursor(const store_view *view, index_horizon horizon, const index_bounds *bounds,
                               index_cursor **out, toon_error *err) {
  return index_cursor_open(view->deltas, view->deltas[1] ? 2 : 1, view->raw_runs, view->run_count, horizon, bounds, out,
                           err);
}

toon_status validate_range(store_engine *engine, const store_view *view, const toon_snapshot *snapshot,
                           const toon_range *range, toon_error *err) {
  toon_status status = TOON_OK;
  toon_buf successor = {0};
  index_bounds bounds;
  index_cursor *then = NULL, *now = NULL;
  toon_key old_key, new_key;
  index_entry old_entry, new_entry;
  bool empty, old_end = false, new_end = false;
  TOON_GOTO(range_bounds(range, &successor, &bounds, &empty, err));
  if (empty) goto out;
  for (size_t i = 0; i < engine->insert_count; i++)
    if (engine->inserts[i].entry.position < engine->member_start && range_holds(&bounds, engine->inserts[i].key)) {
      status = conflict(err);
      goto out;
    }
  if (atomic_load(&engine->published) == snapshot->sequence) goto out; /* nothing was committed since */
  bounds.reverse = false;
  TOON_GOTO(open_cursor(atomic_load(&snapshot->view), snapshot->horizon, &bounds, &then, err));
  TOON_GOTO(open_cursor(view, INDEX_NEWEST, &bounds, &now, err));
  for (;;) { /* the same rows of the same age, and no others */
    TOON_GOTO(next_row(snapshot, then, &old_key, &old_entry, &old_end, err));
    TOON_GOTO(next_row(snapshot, now, &new_key, &new_entry, &new_end, err));
    if (old_end && new_end) break;
    if (old_end || new_end || !toon_key_eq(old_key, new_key) || old_entry.sequence != new_entry.sequence) {
      status = conflict(err);
      break;
    }
  }
out:
  index_cursor_close(then);
  index_cursor_close(now);
  toon_buf_free(&successor);
  return status;
}
