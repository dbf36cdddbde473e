/* The sweeper: rows that have lapsed get a logged delete, so that they stop counting and compaction can drop them.
 *
 * Reads never see a lapsed row; this only clears up. A pass goes through the deltas and then the runs, of which it reads
 * the blocks that hold an expiry that is due. A row is deleted if, under the commit lock, its key's newest entry is a lapsed
 * put: whatever is older stays covered, first by the put, then by the delete. The deletes are an ordinary group, not synced:
 * if the power goes, the rows are swept again.
 *
 * Work is bounded: groups of GROUP_ROWS, and steps of STEP_ROWS, after which merges and compactions have their turn and the
 * pass goes on where it was. Between passes it rests for nine times as long as the last took, within limits (the clock counts
 * a suspended machine's time as work). */
#include "store/engine.h"

#define PAUSE_MS 1000
#define PAUSE_MAX_MS 10000
#define GROUP_ROWS 256
#define STEP_ROWS 65536
#define SLICE_BLOCKS 64
#define SLICE_NODES 4096
#define FREED_BYTES (4u << 20) /* a checkpoint then tells compaction of them */

/* Rows found lapsed, to be deleted in one group. */
typedef struct found_rows {
  toon_buf keys;
  size_t count;
  struct {
    size_t at;
    uint64_t hash;
    uint32_t len;
    uint8_t space;
  } rows[GROUP_ROWS];
} found_rows;

typedef struct sweep_step {
  store_engine *engine;
  store_view *view;
  int64_t now;
  uint64_t deleted;
  bool ended; /* no time for more: the store closes, enough was done, or there is no room */
  found_rows found;
} sweep_step;

static int64_t sooner(int64_t a, int64_t b) { return !a || (b && b < a) ? b : a; }

/* Is the key's newest row one that has lapsed? */
static toon_status has_lapsed(const store_view *view, toon_key key, uint64_t hash, int64_t now, index_entry *entry,
                              bool *lapsed, toon_error *err) {
  bool found;
  TOON_TRY(view_get(view, 0, key, hash, INDEX_NEWEST, entry, &found, err));
  *lapsed = found && entry->kind == INDEX_PUT && entry->expires && entry->expires <= now;
  return TOON_OK;
}

static toon_status delete_found(sweep_step *step, toon_error *err) {
  store_engine *engine = step->engine;
  found_rows *found = &step->found;
  toon_status status = TOON_OK;
  uint64_t bytes = 0;
  os_mutex_lock(&engine->commit_lock);
  store_view *view = engine_view(engine);
  engine->group.len = 0;
  engine->insert_count = 0;
  for (size_t i = 0; i < found->count; i++) {
    toon_key key = {found->keys.ptr + found->rows[i].at, found->rows[i].len, found->rows[i].space};
    index_entry entry;
    bool lapsed;
    TOON_GOTO(has_lapsed(view, key, found->rows[i].hash, step->now, &entry, &lapsed, err));
    if (!lapsed) continue;
    TOON_GOTO(commit_add_delete(engine, key, found->rows[i].hash, err));
    bytes += entry.length;
  }
  if (engine->insert_count) {
    uint64_t count = engine->insert_count;
    TOON_GOTO(commit_write_group(engine, false, err));
    step->deleted += count;
    engine->sweep.freed_bytes += bytes;
    atomic_fetch_add_explicit(&engine->stats.rows_expired, count, memory_order_relaxed);
  }
out:
  engine->insert_count = 0;
  engine->group.len = 0;
  view_unref(view);
  os_mutex_unlock(&engine->commit_lock);
  found->count = found->keys.len = 0;
  return status;
}

/* What else is due goes first. */
static void make_way(sweep_step *step) {
  background_slice(step->engine);
  background_checkpoint_if_wanted(step->engine);
  step->ended =
      step->ended || step->deleted >= STEP_ROWS || background_stopping(step->engine) || engine_delta_full(step->engine);
}

static toon_status flush(sweep_step *step, toon_error *err) {
  if (!step->found.count) return TOON_OK;
  TOON_TRY(delete_found(step, err));
  make_way(step);
  return TOON_OK;
}

/* A row whose entry somewhere says that it has lapsed. */
static toon_status note_row(sweep_step *step, toon_key key, uint64_t hash, toon_error *err) {
  found_rows *found = &step->found;
  index_entry entry;
  bool lapsed;
  uint32_t token = guard_enter(&step->engine->guard);
  toon_status status = has_lapsed(step->view, key, hash, step->now, &entry, &lapsed, err);
  guard_leave(&step->engine->guard, token);
  if (status != TOON_OK) return status;
  if (!lapsed) return TOON_OK; /* written again, or deleted, since */
  size_t at = found->keys.len;
  if (toon_buf_append(&found->keys, key.ptr, key.len) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  found->rows[found->count].at = at;
  found->rows[found->count].hash = hash;
  found->rows[found->count].len = key.len;
  found->rows[found->count++].space = key.space;
  return found->count == GROUP_ROWS ? flush(step, err) : TOON_OK;
}

/* The rows of a delta that are there now. (Rows to come tell of their expiry themselves.) */
static toon_status sweep_delta(sweep_step *step, const index_delta *delta, int64_t *next, toon_error *err) {
  uint64_t left = index_delta_get_info(delta).nodes;
  const index_node *node = NULL;
  while (left-- && !step->ended && (node = index_delta_after(delta, node))) {
    bool cut = false;
    uint32_t token = guard_enter(&step->engine->guard);
    index_entry entry = index_node_version(node, INDEX_NEWEST, &cut)->entry;
    guard_leave(&step->engine->guard, token);
    if (left % SLICE_NODES == 0) make_way(step);
    if (entry.kind != INDEX_PUT || !entry.expires) continue;
    if (entry.expires > step->now)
      *next = sooner(*next, entry.expires);
    else
      TOON_TRY(note_row(step, index_node_key(node), node->hash, err));
  }
  return flush(step, err);
}

static toon_status sweep_block(sweep_step *step, index_run_cursor *cursor, uint32_t block, int64_t *next,
                               toon_error *err) {
  TOON_TRY(index_run_seek_block(cursor, block, err));
  for (uint32_t left = cursor->head.count; left && cursor->valid; left--) {
    const index_entry *entry = &cursor->entry;
    if (entry->kind == INDEX_PUT && entry->expires > step->now)
      *next = sooner(*next, entry->expires);
    else if (entry->kind == INDEX_PUT && entry->expires)
      TOON_TRY(note_row(step, cursor->key, index_key_hash(step->engine->store_id, cursor->key), err));
    if (left > 1) TOON_TRY(index_run_next(cursor, err));
  }
  return TOON_OK;
}

/* From a block on; where it stopped is in engine->sweep if the step has ended. */
static toon_status sweep_run(sweep_step *step, store_run *run, uint32_t block, toon_error *err) {
  store_sweep *sweep = &step->engine->sweep;
  index_run_cursor cursor;
  uint32_t blocks = index_run_blocks(run->run);
  if (block == 0) sweep->run_next = 0;
  index_run_cursor_init(&cursor, run->run);
  for (; block < blocks && !step->ended; block++) {
    int64_t expires = index_run_block_expires(run->run, block);
    if (expires > step->now)
      sweep->run_next = sooner(sweep->run_next, expires);
    else if (expires)
      TOON_TRY(sweep_block(step, &cursor, block, &sweep->run_next, err));
    if (block % SLICE_BLOCKS == SLICE_BLOCKS - 1) make_way(step);
  }
  TOON_TRY(flush(step, err));
  if (block < blocks) { /* a block left half way is done again */
    sweep->run_number = index_run_get_info(run->run)->number;
    sweep->block = block ? block - 1 : 0;
    return TOON_OK;
  }
  run->next_expires = sweep->run_next;
  sweep->run_number = 0;
  return TOON_OK;
}

/* One step of a pass. */
static toon_status sweep_some(sweep_step *step, toon_error *err) {
  store_sweep *sweep = &step->engine->sweep;
  const store_view *view = step->view;
  size_t first = view->run_count;
  while (first && sweep->run_number && index_run_get_info(view->raw_runs[first - 1])->number != sweep->run_number)
    first--;
  bool resume = sweep->under_way && sweep->run_number && first;
  if (!resume) { /* from the start, also if a merge has taken the run away that the last step stopped in */
    os_mutex_lock(&step->engine->wake_lock);
    sweep->next = 0;
    step->engine->expiry_due = 0; /* what comes from now on is noted anew */
    os_mutex_unlock(&step->engine->wake_lock);
    sweep->run_number = 0;
    sweep->under_way = true;
    for (int i = 0; i < 2 && !step->ended; i++)
      if (view->deltas[i]) TOON_TRY(sweep_delta(step, view->deltas[i], &sweep->next, err));
    if (step->ended) return TOON_OK;
  }
  for (size_t i = resume ? first - 1 : 0; i < view->run_count; i++) {
    store_run *run = view->runs[i];
    bool here = resume && i == first - 1;
    if (!here && (!run->next_expires || run->next_expires > step->now)) {
      sweep->next = sooner(sweep->next, run->next_expires);
      continue;
    }
    toon_status status = sweep_run(step, run, here ? sweep->block : 0, err);
    if (status == TOON_ECORRUPT) { /* what is left of it is swept after the next rebuild */
      view_note_damage(view, err);
      run->next_expires = 0;
    }
    if (status != TOON_OK || step->ended) return status;
    sweep->next = sooner(sweep->next, run->next_expires);
  }
  sweep->under_way = false;
  return TOON_OK;
}

void background_note_expiry(store_engine *engine, int64_t expires) {
  os_mutex_lock(&engine->wake_lock);
  if (!engine->expiry_due || expires < engine->expiry_due) {
    engine->expiry_due = expires;
    os_cond_signal(&engine->wake_cond);
  }
  os_mutex_unlock(&engine->wake_lock);
}

void sweep_start(store_engine *engine) {
  store_view *view = engine_view(engine);
  for (size_t i = 0; i < view->run_count; i++)
    if (view->runs[i]->next_expires) background_note_expiry(engine, view->runs[i]->next_expires);
  view_unref(view);
  engine->sweep.not_before_ns = engine_now_ns(engine) + PAUSE_MS * 1000000ull;
}

uint64_t sweep_due_in(const store_engine *engine) {
  if (!engine->sweep.under_way && !engine->expiry_due) return UINT64_MAX;
  if (atomic_load(&engine->poisoned) != TOON_OK) return UINT64_MAX;
  int64_t now = engine_now_ms(engine);
  uint64_t now_ns = engine_now_ns(engine), pause = 0, wait = 0;
  if (engine->sweep.not_before_ns > now_ns) pause = (engine->sweep.not_before_ns - now_ns) / 1000000 + 1;
  if (!engine->sweep.under_way && engine->expiry_due > now) wait = (uint64_t)(engine->expiry_due - now);
  return pause > wait ? pause : wait;
}

toon_status sweep_if_due(store_engine *engine, toon_error *err) {
  store_sweep *sweep = &engine->sweep;
  os_mutex_lock(&engine->wake_lock);
  bool due = sweep_due_in(engine) == 0;
  os_mutex_unlock(&engine->wake_lock);
  if (!due) return TOON_OK;
  uint64_t start = engine_now_ns(engine);
  sweep_step step = {.engine = engine, .view = engine_view(engine), .now = engine_now_ms(engine)};
  toon_status status = sweep_some(&step, err);
  view_unref(step.view);
  toon_buf_free(&step.found.keys);
  uint64_t end = engine_now_ns(engine), pause = PAUSE_MS * 1000000ull;
  sweep->spent_ns += end - start;
  if (status != TOON_OK) { /* again from the start */
    sweep->under_way = false;
    background_note_expiry(engine, 1);
  } else if (!sweep->under_way && sweep->next) {
    background_note_expiry(engine, sweep->next);
  }
  bool more = sweep->under_way && step.deleted >= STEP_ROWS;
  if (sweep->spent_ns > pause / 9) pause = sweep->spent_ns * 9;
  if (pause > PAUSE_MAX_MS * 1000000ull) pause = PAUSE_MAX_MS * 1000000ull;
  sweep->not_before_ns = more ? end : end + pause;
  if (!sweep->under_way) sweep->spent_ns = 0;
  if (sweep->freed_bytes >= FREED_BYTES || sweep->freed_bytes >= engine->options.segment_size) {
    sweep->freed_bytes = 0;
    background_want_checkpoint(engine);
  }
  return status;
}
