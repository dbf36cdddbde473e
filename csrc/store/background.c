/* The engine's one background thread: syncs that are due, checkpoints, merges, the sweeper, and giving old views back. */
#include "store/engine.h"

#define RETRY_MS 200 /* after a failed checkpoint or merge */
#define LOOK_MS \
  60000 /* timed waits do not count suspended time, but expiry and the age of snapshots do: look at the clock again */
#define HELD_MS 20   /* look again whether a reader has let go of a view or a segment */
#define IDLE_MS 1000 /* without a checkpoint: time to tidy up what is not urgent */

bool background_stopping(store_engine *engine) {
  os_mutex_lock(&engine->wake_lock);
  bool stop = engine->stop;
  os_mutex_unlock(&engine->wake_lock);
  return stop;
}

void background_want_checkpoint(store_engine *engine) {
  os_mutex_lock(&engine->wake_lock);
  if (!engine->want_checkpoint) {
    engine->want_checkpoint = true;
    os_cond_signal(&engine->wake_cond);
  }
  os_mutex_unlock(&engine->wake_lock);
}

void background_want_leader(store_engine *engine) {
  os_mutex_lock(&engine->wake_lock);
  engine->want_leader = true;
  os_cond_signal(&engine->wake_cond);
  os_mutex_unlock(&engine->wake_lock);
}

/* Milliseconds until the next sync is due; UINT64_MAX if none ever is. */
static uint64_t sync_due_in(store_engine *engine) {
  if (engine->options.durability != TOON_DURABLE_INTERVAL) return UINT64_MAX;
  uint64_t passed = (engine_now_ns(engine) - engine->last_sync_ns) / 1000000;
  return passed >= engine->options.sync_interval_ms ? 0 : engine->options.sync_interval_ms - passed;
}

/* A failure that nobody waits for. */
static void note_failure(store_engine *engine, const toon_error *err) {
  os_mutex_lock(&engine->error_lock);
  engine->background_error = *err;
  os_mutex_unlock(&engine->error_lock);
  atomic_fetch_add_explicit(&engine->background_failures, 1, memory_order_release);
}

void background_slice(store_engine *engine) {
  if (!engine->background_started) return;
  os_mutex_lock(&engine->wake_lock);
  bool lead = engine->want_leader;
  engine->want_leader = false;
  os_mutex_unlock(&engine->wake_lock);
  if (lead) commit_lead_waiting(engine);
  if (sync_due_in(engine) != 0) return;
  toon_error err;
  bool poisoned = atomic_load(&engine->poisoned) != TOON_OK;
  engine->last_sync_ns = engine_now_ns(engine);
  if (engine_sync(engine, &err) != TOON_OK && !poisoned)
    note_failure(engine, &err); /* the next write fails with it too */
}

static void note_checkpoint(store_engine *engine, toon_status status, const toon_error *err) {
  os_mutex_lock(&engine->error_lock);
  if (status == TOON_OK)
    engine->checkpoint_error.status = TOON_OK;
  else
    engine->checkpoint_error = *err;
  os_mutex_unlock(&engine->error_lock);
  if (status == TOON_OK) return;
  atomic_fetch_add_explicit(&engine->stats.checkpoint_failures, 1, memory_order_relaxed);
  note_failure(engine, err);
}

/* Do a checkpoint, and answer whoever waits for one. */
static toon_status checkpoint_now(store_engine *engine) {
  toon_error err;
  os_mutex_lock(&engine->wake_lock);
  uint64_t wanted = engine->checkpoints_wanted;
  engine->want_checkpoint = false;
  os_mutex_unlock(&engine->wake_lock);
  toon_status status = engine_checkpoint(engine, false, &err);
  engine->retry_ns = status == TOON_OK ? 0 : engine_now_ns(engine) + RETRY_MS * 1000000ull;
  note_checkpoint(engine, status, &err);
  os_mutex_lock(&engine->wake_lock);
  engine->checkpoint_status = status;
  engine->checkpoints_done = wanted;
  os_cond_broadcast(&engine->idle_cond);
  os_mutex_unlock(&engine->wake_lock);
  engine_release_retired(engine);
  snapshot_limit(engine); /* long work must not keep them from being looked after */
  snapshot_release(engine);
  if (status == TOON_OK) columns_look(engine);
  return status;
}

void background_checkpoint_if_wanted(store_engine *engine) {
  os_mutex_lock(&engine->wake_lock);
  bool wanted = engine->want_checkpoint || engine->checkpoints_wanted != engine->checkpoints_done;
  os_mutex_unlock(&engine->wake_lock);
  if (engine->retry_ns && engine_now_ns(engine) >= engine->retry_ns) wanted = true;
  if (wanted) checkpoint_now(engine);
}

toon_status background_between(store_engine *engine, toon_error *err) {
  background_checkpoint_if_wanted(engine);
  bool merged = true;
  while (merged && !background_stopping(engine)) TOON_TRY(engine_merge(engine, false, &merged, err));
  return TOON_OK;
}

/* Compact while it is worth it. True if something failed. */
static bool compact_due(store_engine *engine, bool idle) {
  toon_error err;
  bool done = true;
  while (done && !background_stopping(engine)) {
    if (compact_if_due(engine, idle, &done, &err) != TOON_OK) {
      if (!background_stopping(engine)) note_failure(engine, &err);
      return true;
    }
    engine_release_retired(engine);
    compact_unlink_removed(engine, false);
    if (done) background_checkpoint_if_wanted(engine);
  }
  return false;
}

static void serve_compaction(store_engine *engine) {
  os_mutex_lock(&engine->wake_lock);
  compact_request *request = engine->compact_request;
  if (request) request->taken = true;
  os_mutex_unlock(&engine->wake_lock);
  if (!request) return;
  toon_status status = compact_all(engine, request, &request->error);
  engine_release_retired(engine);
  compact_unlink_removed(engine, false);
  os_mutex_lock(&engine->wake_lock);
  request->status = status;
  request->finished = true;
  engine->compact_request = NULL;
  os_cond_broadcast(&engine->idle_cond);
  os_mutex_unlock(&engine->wake_lock);
}

toon_status background_compact(store_engine *engine, compact_request *request, toon_error *err) {
  os_mutex_lock(&engine->wake_lock);
  if (engine->compact_request) {
    os_mutex_unlock(&engine->wake_lock);
    return toon_fail(err, TOON_EINVAL, "a compaction is under way already");
  }
  engine->compact_request = request;
  os_cond_signal(&engine->wake_cond);
  while (!request->finished && !(engine->stop && !request->taken)) os_cond_wait(&engine->idle_cond, &engine->wake_lock);
  bool finished = request->finished;
  if (!finished) engine->compact_request = NULL;
  os_mutex_unlock(&engine->wake_lock);
  if (!finished) return toon_fail(err, TOON_ECLOSED, NULL);
  if (request->status != TOON_OK && err) *err = request->error;
  return request->status;
}

/* One checkpoint and the merges it makes due; `idle`: the checkpoint only if there is something in it, and then what can
 * wait for a quiet moment. True if something failed and should be tried again later. */
static bool work(store_engine *engine, bool idle) {
  toon_error err;
  toon_status status = idle && !compact_wants_checkpoint(engine) ? TOON_OK : checkpoint_now(engine);
  bool merged = status == TOON_OK;
  while (merged && !background_stopping(engine)) {
    if (engine_merge(engine, idle, &merged, &err) != TOON_OK) {
      if (background_stopping(engine)) return false;
      note_failure(engine, &err);
      return true;
    }
    engine_release_retired(engine);
  }
  if (status == TOON_OK && compact_due(engine, idle)) return !background_stopping(engine);
  return engine->retry_ns && atomic_load(&engine->poisoned) == TOON_OK;
}

static void sweep(store_engine *engine) {
  toon_error err;
  bool failed = sweep_if_due(engine, &err) != TOON_OK;
  if (failed && !engine->sweep.failing && !background_stopping(engine)) note_failure(engine, &err); /* told once */
  engine->sweep.failing = failed;
}

static void *background_main(void *arg) {
  store_engine *engine = arg;
  bool retry = false, tidy = true;
  uint64_t retry_ns = 0, tidy_ns = engine_now_ns(engine) + IDLE_MS * 1000000ull; /* when to try again, to tidy up */
  os_mutex_lock(&engine->wake_lock);
  while (!engine->stop) {
    bool wanted = engine->want_checkpoint || engine->checkpoints_wanted != engine->checkpoints_done;
    uint64_t wait = sync_due_in(engine), due = sweep_due_in(engine);
    if (due != UINT64_MAX && due > LOOK_MS) due = LOOK_MS;
    if (due < wait) wait = due;
    if (retry && wait > RETRY_MS) wait = RETRY_MS;
    if (atomic_load(&engine->snapshots_open) && wait > LOOK_MS) wait = LOOK_MS; /* at their age */
    bool held = engine->retiring || engine->removed_count || engine->given_up || engine->giving_up;
    if (held && wait > HELD_MS) wait = HELD_MS;
    uint64_t now = engine_now_ns(engine), idle_in = now < tidy_ns ? (tidy_ns - now) / 1000000 : 0;
    bool idle = tidy && !retry && !idle_in;
    if (tidy && !retry && wait > idle_in) wait = idle_in;
    if (!wanted && !engine->want_leader && !(engine->retired && !engine->retiring) && !engine->compact_request &&
        wait) {
      if (wait == UINT64_MAX)
        os_cond_wait(&engine->wake_cond, &engine->wake_lock);
      else
        os_cond_wait_ms(&engine->wake_cond, &engine->wake_lock, wait);
      if (retry && engine_now_ns(engine) >= retry_ns) engine->want_checkpoint = true;
      if (!held && !atomic_load(&engine->snapshots_open)) continue;
    }
    os_mutex_unlock(&engine->wake_lock);
    background_slice(engine);
    engine_release_retired(engine);
    compact_unlink_removed(engine, false);
    serve_compaction(engine);
    if (wanted || idle) {
      if (retry) os_sleep_ms(2); /* somebody waits for room while checkpoints fail: no busy loop */
      retry = work(engine, !wanted);
      if (!wanted) index_pool_trim(&engine->pool);
      tidy = wanted || retry;
      retry_ns = engine_now_ns(engine) + RETRY_MS * 1000000ull;
      tidy_ns = engine_now_ns(engine) + IDLE_MS * 1000000ull;
    }
    sweep(engine);
    snapshot_limit(engine);
    snapshot_release(engine);
    os_mutex_lock(&engine->wake_lock);
  }
  os_cond_broadcast(&engine->idle_cond);
  os_mutex_unlock(&engine->wake_lock);
  return NULL;
}

toon_status background_start(store_engine *engine, toon_error *err) {
  engine->last_sync_ns = engine_now_ns(engine);
  engine->stop = false;
  sweep_start(engine);
  engine->background_started = true;
  int e = os_thread_start(&engine->background, "toonstore", background_main, engine);
  if (!e) return TOON_OK;
  engine->background_started = false;
  return toon_fail_os(err, e, "pthread_create", engine->directory);
}

void background_stop(store_engine *engine) {
  if (!engine->background_started) return;
  os_mutex_lock(&engine->wake_lock);
  engine->stop = true;
  os_cond_broadcast(&engine->wake_cond);
  os_mutex_unlock(&engine->wake_lock);
  os_thread_join(engine->background);
  engine->background_started = false;
}

toon_status background_checkpoint(store_engine *engine, toon_error *err) {
  os_mutex_lock(&engine->wake_lock);
  uint64_t ticket = ++engine->checkpoints_wanted;
  os_cond_signal(&engine->wake_cond);
  while (engine->checkpoints_done < ticket && !engine->stop) os_cond_wait(&engine->idle_cond, &engine->wake_lock);
  bool done = engine->checkpoints_done >= ticket;
  toon_status status = engine->checkpoint_status;
  os_mutex_unlock(&engine->wake_lock);
  if (!done) return toon_fail(err, TOON_ECLOSED, NULL);
  if (status == TOON_OK || !err) return status;
  os_mutex_lock(&engine->error_lock);
  if (engine->checkpoint_error.status != TOON_OK)
    *err = engine->checkpoint_error;
  else
    toon_fail(err, status, NULL);
  os_mutex_unlock(&engine->error_lock);
  return status;
}
