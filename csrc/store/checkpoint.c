/* Checkpoints and merges: the delta becomes a run, runs become fewer runs, and the manifest names them. One thread at a
 * time does this: the background thread, or open and close while that does not run. A failure leaves everything as it was
 * but for files that no manifest names. */
#include "store/engine.h"
#include "base/alloc.h"

#define TIER_RUNS 4 /* this many runs of a size are merged */
#define IDLE_RUNS 2 /* when there is nothing else to do */
#define MAX_RUNS 12 /* beyond this, whatever their sizes */

bool engine_delta_full(store_engine *engine) {
  store_view *view = engine_view(engine);
  uint64_t log_limit = 4 * engine->options.checkpoint_bytes;
  if (log_limit < (64u << 20)) log_limit = 64u << 20;
  bool full = index_delta_get_info(view->deltas[0]).bytes >= ENGINE_DELTA_BYTES + ENGINE_DELTA_BYTES / 2 ||
              (view->deltas[1] && atomic_load(&engine->bytes_since_freeze) >= log_limit);
  view_unref(view);
  return full;
}

toon_status engine_sync(store_engine *engine, toon_error *err) {
  TOON_TRY(engine_check_poison(engine, err));
  os_mutex_lock(&engine->apply_lock);
  uint64_t sequence = atomic_load(&engine->published);
  log_segment *tail = engine->tail;
  log_segment_ref(tail);
  os_mutex_unlock(&engine->apply_lock);
  toon_status status = TOON_OK;
  if (atomic_load(&engine->synced) < sequence) {
    /* A roll may happen meanwhile; it syncs the old segment by itself. */
    status = commit_sync_log(engine, tail, false, err);
    if (status == TOON_OK) {
      atomic_fetch_add_explicit(&engine->stats.syncs, 1, memory_order_relaxed);
      uint64_t synced = atomic_load(&engine->synced);
      while (synced < sequence && !atomic_compare_exchange_weak(&engine->synced, &synced, sequence)) {
      }
    }
  }
  log_segment_unref(tail);
  return status;
}

static toon_status run_path(const store_engine *engine, uint64_t number, toon_buf *path) {
  path->len = 0;
  return toon_buf_printf(path, "%s/db.toon.idx-%llu", engine->directory, (unsigned long long)number);
}

/* Write the manifest: the log up to `at`, these runs (newest first), and the dead bytes of the frozen delta too if
 * `with_frozen`. */
static toon_status write_manifest(store_engine *engine, const store_view *view, const store_position *at, bool clean,
                                  bool with_frozen, store_run *const *runs, size_t run_count, bool *named,
                                  toon_error *err) {
  toon_status status = TOON_OK;
  store_manifest m = {.store_id = engine->store_id,
                      .clean = clean,
                      .replay_segment = at->segment,
                      .replay_crc = at->crc,
                      .replay_position = at->position,
                      .replay_sequence = at->sequence,
                      .next_row = at->next_row};
  *named = false;
  m.segments = toon_calloc(view->segment_count, sizeof *m.segments);
  m.runs = toon_calloc(run_count, sizeof *m.runs);
  if (!m.segments || !m.runs) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  for (size_t i = 0; i < view->segment_count; i++) {
    log_segment *s = view->segments[i];
    if (!s || s->id > at->segment) continue;
    uint64_t dead = atomic_load(&s->dead) + (with_frozen ? atomic_load(&s->dead_frozen) : 0);
    bool last = s->id == at->segment;
    m.segments[m.segment_count++] = (manifest_segment){.id = s->id,
                                                       .crc = last ? at->crc : s->last_crc,
                                                       .bytes = last ? at->position : atomic_load(&s->length),
                                                       .dead = dead,
                                                       .overhead = last ? at->overhead : atomic_load(&s->overhead),
                                                       .deletes = last ? at->deletes : atomic_load(&s->deletes)};
  }
  for (size_t i = 0; i < run_count; i++) {
    const index_run_info *info = index_run_get_info(runs[i]->run);
    m.runs[m.run_count++] = (manifest_run){info->number, info->file_size};
  }
  if (!columns_list(engine, &m.columns, &m.column_count)) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  status = manifest_write(engine->vfs, engine->directory, &m, named, err);
  if (status != TOON_OK) columns_not_listed(engine);
out:
  manifest_free(&m);
  return status;
}

toon_status engine_write_manifest(store_engine *engine, bool clean, toon_error *err) {
  os_mutex_lock(&engine->manifest_lock);
  store_view *view = engine_view(engine);
  bool named;
  toon_status status =
      write_manifest(engine, view, &engine->replay, clean, false, view->runs, view->run_count, &named, err);
  if (status == TOON_OK) engine->manifest_clean = clean;
  view_unref(view);
  os_mutex_unlock(&engine->manifest_lock);
  return status;
}

/* A run's source: a cursor, with deletes left out at the bottom, and what is due done on the way: syncs, and, while runs
 * are merged, checkpoints and the merges of newer runs that they make due. Of the time at least a third is the source's
 * own, so that a large merge comes to its end however much is written; writers wait in the end. */
typedef struct run_source {
  store_engine *engine;
  index_cursor *cursor;
  bool drop_deletes, merging;
  uint64_t floor; /* deletes newer than this stay: column files have not seen them */
  uint64_t since, resume_ns;
  toon_error failure; /* of what was done on the way */
} run_source;

static toon_status do_what_is_due(run_source *source, toon_error *err) {
  background_slice(source->engine);
  uint64_t start = source->merging ? engine_now_ns(source->engine) : 0;
  if (!source->merging || start < source->resume_ns) return TOON_OK;
  TOON_TRY(background_between(source->engine, err));
  uint64_t back = engine_now_ns(source->engine);
  source->resume_ns = back + (back - start) / 2;
  return TOON_OK;
}

static toon_status source_next(void *ctx, toon_key *key, index_entry *entry, bool *end, toon_error *err) {
  run_source *source = ctx;
  do {
    if (++source->since % 4096 == 0) TOON_TRY(do_what_is_due(source, err));
    TOON_TRY(index_cursor_next(source->cursor, key, entry, end, err));
  } while (!*end && source->drop_deletes && entry->kind == INDEX_DELETE && entry->sequence <= source->floor);
  return TOON_OK;
}

/* Asked in the later part of the work too, where no entries are taken any more. */
static bool source_cancelled(void *ctx) {
  run_source *source = ctx;
  return do_what_is_due(source, &source->failure) != TOON_OK ||
         (source->merging && background_stopping(source->engine));
}

/* Write what the deltas and runs given hold into a new run and open it. */
static toon_status write_run(store_engine *engine, index_delta *delta, index_run *const *runs, size_t run_count,
                             bool drop_deletes, const int64_t net_keys[TOON_SPACES], bool may_cancel, store_run **out,
                             toon_error *err) {
  toon_status status = TOON_OK;
  index_bounds all = {0};
  run_source source = {
      .engine = engine, .drop_deletes = drop_deletes, .merging = may_cancel, .floor = columns_floor(engine)};
  index_run_info info = {.number = engine->next_run_number, .store_id = engine->store_id};
  index_run *run = NULL;
  toon_buf path = {0};
  int e;
  for (int i = 0; i < TOON_SPACES; i++) info.net_keys[i] = net_keys[i];
  if (run_path(engine, info.number, &path) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  TOON_GOTO(index_cursor_open(&delta, delta ? 1 : 0, runs, run_count, INDEX_NEWEST, &all, &source.cursor, err));
  engine->next_run_number++;
  TOON_GOTO(index_run_write(engine->vfs, (char *)path.ptr, &(index_source){&source, source_next}, &info,
                            source_cancelled, &source, err));
  if ((e = engine->vfs->dirsync(engine->vfs, engine->directory))) {
    status = toon_fail_os(err, e, "fsync", engine->directory);
    engine->vfs->unlink(engine->vfs, (char *)path.ptr);
    goto out;
  }
  status = index_run_open(engine->vfs, (char *)path.ptr, info.number, engine->store_id, 0, &run, err);
  if (status == TOON_OK && !(*out = store_run_new(engine->vfs, run))) {
    index_run_close(run);
    status = toon_fail(err, TOON_ENOMEM, NULL);
  }
  if (status != TOON_OK) engine->vfs->unlink(engine->vfs, (char *)path.ptr);
out:
  if (status == TOON_ETIMEOUT && source.failure.status != TOON_OK) {
    *err = source.failure;
    status = err->status;
  }
  index_cursor_close(source.cursor);
  toon_buf_free(&path);
  return status;
}

/* The segments of a view without its gaps; free with toon_free. */
static log_segment **segment_list(const store_view *view, size_t *count) {
  log_segment **list = toon_malloc((view->segment_count + 1) * sizeof *list);
  *count = 0;
  for (size_t i = 0; list && i < view->segment_count; i++)
    if (view->segments[i]) list[(*count)++] = view->segments[i];
  return list;
}

/* Between two groups: the active delta becomes the frozen one, a new one takes its place. */
static toon_status freeze(store_engine *engine, toon_error *err) {
  toon_status status = TOON_OK;
  index_delta *fresh = index_delta_new(&engine->pool);
  store_view *view = NULL;
  log_segment **segments = NULL;
  size_t count;
  if (!fresh) return toon_fail(err, TOON_ENOMEM, NULL);
  os_mutex_lock(&engine->tally_lock);
  os_mutex_lock(&engine->apply_lock);
  store_view *now = atomic_load(&engine->view);
  segments = segment_list(now, &count);
  if (segments) view = view_new(fresh, now->deltas[0], now->runs, now->run_count, segments, count);
  if (!view) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
  } else {
    for (size_t i = 0; i < count; i++)
      atomic_store(&segments[i]->dead_frozen, atomic_exchange(&segments[i]->dead_active, 0));
    engine->tallies[1] = engine->tallies[0];
    engine->tallies[0] = (store_tally){0};
    engine_swap_view(engine, view);
    engine->frozen_at = (store_position){engine->tail->id,
                                         engine->tail_crc,
                                         atomic_load(&engine->tail->length),
                                         engine->sequence,
                                         engine->next_row,
                                         atomic_load(&engine->tail->overhead),
                                         atomic_load(&engine->tail->deletes)};
    engine->bytes_since_freeze = 0;
  }
  os_mutex_unlock(&engine->apply_lock);
  os_mutex_unlock(&engine->tally_lock);
  index_delta_unref(fresh);
  toon_free(segments);
  return status;
}

/* The runs of a view with `replaced` taken out: `fresh` (may be NULL) stands in their place, or first if there are none. Free
 * with toon_free; NULL without memory. */
static store_run **runs_with(const store_view *now, store_run *fresh, store_run *const *replaced, size_t replaced_count,
                             size_t *count) {
  store_run **runs = toon_malloc((now->run_count + 1) * sizeof *runs);
  bool placed = !fresh || replaced_count;
  *count = 0;
  if (!runs) return NULL;
  if (!placed) runs[(*count)++] = fresh;
  placed = !fresh || !replaced_count;
  for (size_t i = 0; i < now->run_count; i++) {
    bool gone = false;
    for (size_t j = 0; j < replaced_count; j++) gone = gone || now->runs[i] == replaced[j];
    if (!gone) runs[(*count)++] = now->runs[i];
    if (gone && !placed) {
      runs[(*count)++] = fresh;
      placed = true;
    }
  }
  return runs;
}

/* Put the view with these runs and without the frozen delta in place; `fresh` (may be NULL) comes first. */
static toon_status install(store_engine *engine, store_run *fresh, store_run *const *replaced, size_t replaced_count,
                           bool drop_frozen, toon_error *err) {
  toon_status status = TOON_ENOMEM;
  store_view *view = NULL;
  os_mutex_lock(&engine->tally_lock);
  os_mutex_lock(&engine->apply_lock);
  store_view *now = atomic_load(&engine->view);
  size_t count, n;
  log_segment **segments = segment_list(now, &count);
  store_run **runs = runs_with(now, fresh, replaced, replaced_count, &n);
  if (segments && runs) view = view_new(now->deltas[0], drop_frozen ? NULL : now->deltas[1], runs, n, segments, count);
  if (view) {
    status = TOON_OK;
    engine_swap_view(engine, view);
    if (drop_frozen) {
      for (size_t i = 0; i < count; i++)
        atomic_fetch_add(&segments[i]->dead, atomic_exchange(&segments[i]->dead_frozen, 0));
      engine->tallies[1] = (store_tally){0};
      engine->replay = engine->frozen_at;
    }
  }
  os_mutex_unlock(&engine->apply_lock);
  os_mutex_unlock(&engine->tally_lock);
  toon_free(segments);
  toon_free(runs);
  return status == TOON_OK ? TOON_OK : toon_fail(err, TOON_ENOMEM, NULL);
}

/* Make sure there is a frozen delta, if there is anything to checkpoint. *left: a failed checkpoint has left it. */
static toon_status freeze_if_needed(store_engine *engine, bool *frozen, bool *left, toon_error *err) {
  toon_status status = TOON_OK;
  os_mutex_lock(&engine->commit_lock);
  store_view *view = engine_view(engine);
  *frozen = *left = view->deltas[1] != NULL;
  if (!*frozen && (engine->sequence != engine->replay.sequence || engine->tail->id != engine->replay.segment ||
                   index_delta_get_info(view->deltas[0]).nodes)) {
    /* A segment whose first group is still to come gets an empty one, so that it can be recorded. */
    if (atomic_load(&engine->tail->length) == LOG_HEADER_SIZE) {
      engine->group.len = 0;
      engine->insert_count = 0;
      status = commit_write_group(engine, false, err);
    }
    if (status == TOON_OK) status = freeze(engine, err);
    *frozen = status == TOON_OK;
  }
  view_unref(view);
  os_mutex_unlock(&engine->commit_lock);
  return status;
}

static toon_status checkpoint_frozen(store_engine *engine, toon_error *err) {
  toon_status status = TOON_OK;
  store_view *view = NULL;
  store_run *run = NULL;
  store_run **runs = NULL;
  TOON_TRY(engine_sync(engine, err));
  for (bool done = false; !done; background_slice(engine)) TOON_TRY(tally_resolve_some(engine, 1, &done, err));
  view = engine_view(engine);
  index_delta *delta = view->deltas[1];
  index_delta_info info = index_delta_get_info(delta);
  size_t n;
  if (info.nodes) {
    int64_t net[TOON_SPACES];
    for (int i = 0; i < TOON_SPACES; i++) net[i] = info.puts[i] - engine->tallies[1].existed[i];
    TOON_GOTO(write_run(engine, delta, NULL, 0, view->run_count == 0, net, false, &run, err));
  }
  runs = runs_with(view, run, NULL, 0, &n);
  if (!runs) {
    if (run) atomic_store(&run->unlink_when_free, true);
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  os_mutex_lock(&engine->manifest_lock);
  bool named;
  status = write_manifest(engine, view, &engine->frozen_at, false, true, runs, n, &named, err);
  if (status != TOON_OK && run && !named) atomic_store(&run->unlink_when_free, true);
  if (status == TOON_OK) {
    compact_manifest_written(engine);
    status = install(engine, run, NULL, 0, true, err);
  }
  os_mutex_unlock(&engine->manifest_lock);
out:
  if (run) store_run_unref(run);
  toon_free(runs);
  view_unref(view);
  return status;
}

toon_status engine_spill(store_engine *engine, toon_error *err) {
  toon_status status = TOON_OK;
  store_run *run = NULL;
  TOON_TRY(freeze(engine, err));
  TOON_TRY(tally_resolve(engine, 1, err));
  store_view *view = engine_view(engine);
  index_delta_info info = index_delta_get_info(view->deltas[1]);
  int64_t net[TOON_SPACES];
  for (int i = 0; i < TOON_SPACES; i++) net[i] = info.puts[i] - engine->tallies[1].existed[i];
  status = write_run(engine, view->deltas[1], NULL, 0, view->run_count == 0, net, false, &run, err);
  view_unref(view);
  if (status != TOON_OK) return status;
  status = install(engine, run, NULL, 0, true, err);
  store_run_unref(run);
  engine_release_retired(engine);
  return status;
}

toon_status engine_checkpoint(store_engine *engine, bool clean, toon_error *err) {
  bool frozen, left;
  do { /* what a failed one left goes first; then what came after it */
    TOON_TRY(freeze_if_needed(engine, &frozen, &left, err));
    if (!frozen) break;
    TOON_TRY(checkpoint_frozen(engine, err));
    atomic_fetch_add_explicit(&engine->stats.checkpoints, 1, memory_order_relaxed);
  } while (left);
  if (!clean || (engine->manifest_clean && columns_listed(engine))) return TOON_OK;
  TOON_TRY(log_segment_trim(engine->tail, atomic_load(&engine->tail->length), err));
  int e = engine->vfs->sync(engine->vfs, engine->tail->file);
  if (e) return toon_fail_os(err, e, "fsync", engine->tail->path);
  return engine_write_manifest(engine, true, err);
}

/* How many runs, from *first on, should become one; 0: none. Runs come newest first, and mostly smallest; one joins while it is
 * at most twice as large as all newer ones that have, so each entry is rewritten about log(n) times. The newest end comes
 * first, but a small run there does not keep those behind it from being merged. Those of a merge under way (from `merging`
 * on) are left alone. */
static size_t merge_width(const store_view *view, const store_run *merging, bool idle, size_t *first) {
  size_t count = 0, end;
  while (count < view->run_count && view->runs[count] != merging) count++;
  for (*first = 0; *first < count; ++*first) {
    uint64_t sum = 0;
    for (end = *first; end < count; end++) {
      uint64_t size = index_run_get_info(view->raw_runs[end])->file_size;
      if (end > *first && size > 2 * sum && count <= MAX_RUNS) break;
      sum += size;
    }
    if (end - *first >= (idle ? IDLE_RUNS : TIER_RUNS)) return end - *first;
  }
  return 0;
}

toon_status engine_merge(store_engine *engine, bool idle, bool *merged, toon_error *err) {
  toon_status status = TOON_OK;
  store_view *whole = engine_view(engine), *view = NULL, *now = NULL;
  store_run *run = NULL, **runs = NULL;
  const store_run *outer = engine->merging; /* we are called on the way of a larger merge */
  size_t first, width = merge_width(whole, outer, idle, &first), n = 0;
  bool named = false, bottom = first + width == whole->run_count;
  *merged = false;
  /* These runs alone are held while they are merged, not the deltas and segments of this moment. */
  if (width) view = view_new(NULL, NULL, whole->runs + first, width, NULL, 0);
  view_unref(whole);
  if (!width) return TOON_OK;
  if (!view) return toon_fail(err, TOON_ENOMEM, NULL);
  store_run **replaced = view->runs;
  engine->merging = replaced[0];
  int64_t net[TOON_SPACES] = {0};
  for (size_t i = 0; i < width; i++)
    for (int j = 0; j < TOON_SPACES; j++) net[j] += index_run_get_info(replaced[i]->run)->net_keys[j];
  status = write_run(engine, NULL, view->raw_runs, width, bottom, net, true, &run, err);
  if (status != TOON_OK) {
    view_note_damage(view, err);
    goto out;
  }
  now = engine_view(engine); /* checkpoints on the way may have put new runs in front */
  runs = runs_with(now, run, replaced, width, &n);
  os_mutex_lock(&engine->manifest_lock);
  if (!runs) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
  } else {
    status = write_manifest(engine, now, &engine->replay, engine->manifest_clean, false, runs, n, &named, err);
  }
  if (status != TOON_OK && !named) atomic_store(&run->unlink_when_free, true);
  if (status == TOON_OK) status = install(engine, run, replaced, width, false, err);
  os_mutex_unlock(&engine->manifest_lock);
  if (status != TOON_OK) goto out;
  for (size_t i = 0; i < width; i++) atomic_store(&replaced[i]->unlink_when_free, true);
  atomic_fetch_add_explicit(&engine->stats.merges, 1, memory_order_relaxed);
  *merged = true;
out:
  engine->merging = outer;
  if (run) store_run_unref(run);
  if (now) view_unref(now);
  toon_free(runs);
  view_unref(view);
  return status;
}
