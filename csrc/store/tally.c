/* Exact counts without looking anything up on a put: the keys of a delta are resolved against the levels below later, once
 * each, by the background thread before the delta becomes a run, or when somebody asks for a count. What lies below a
 * delta's keys does not change while the delta lives, so the answer keeps. */
#include "store/engine.h"

#define WINDOW 32 /* nodes whose cache misses overlap */
#define SLICE 128 /* windows between which others have their turn */

toon_status tally_resolve_some(store_engine *engine, unsigned level, bool *done, toon_error *err) {
  toon_status status = TOON_OK;
  os_mutex_lock(&engine->tally_lock); /* freezing takes it too, so the levels keep their places */
  store_view *view = engine_view(engine);
  store_tally *tally = &engine->tallies[level];
  index_delta *delta = view->deltas[level];
  *done = false;
  for (int windows = 0; windows < SLICE; windows++) {
    const index_node *nodes[WINDOW], *node = tally->last;
    size_t count = 0;
    while (delta && count < WINDOW && (node = index_delta_after(delta, node))) {
      view_prefetch(view, level + 1, node->hash);
      nodes[count++] = node;
    }
    if (!count) {
      *done = true;
      break;
    }
    for (size_t i = 0; i < count; i++) view_prefetch_entry(view, level + 1, nodes[i]->hash);
    for (size_t i = 0; i < count; i++) {
      index_entry entry;
      bool found;
      node = nodes[i];
      TOON_GOTO(view_get(view, level + 1, index_node_key(node), node->hash, INDEX_NEWEST, &entry, &found, err));
      if (found && entry.kind == INDEX_PUT) {
        tally->existed[node->space]++;
        log_segment *segment = view_segment(view, entry.segment);
        if (segment)
          atomic_fetch_add_explicit(level ? &segment->dead_frozen : &segment->dead_active, entry.length,
                                    memory_order_relaxed);
      }
      tally->last = node;
    }
  }
out:
  os_mutex_unlock(&engine->tally_lock);
  view_unref(view);
  return status;
}

toon_status tally_resolve(store_engine *engine, unsigned level, toon_error *err) {
  for (bool done = false; !done;) TOON_TRY(tally_resolve_some(engine, level, &done, err));
  return TOON_OK;
}

uint64_t tally_live_bytes(store_engine *engine) {
  uint64_t live = 0;
  store_view *view = engine_view(engine);
  for (size_t i = 0; i < view->segment_count; i++) {
    log_segment *s = view->segments[i];
    if (!s) continue;
    uint64_t dead = atomic_load_explicit(&s->overhead, memory_order_relaxed) +
                    atomic_load_explicit(&s->dead, memory_order_relaxed) +
                    atomic_load_explicit(&s->dead_frozen, memory_order_relaxed) +
                    atomic_load_explicit(&s->dead_active, memory_order_relaxed);
    uint64_t length = atomic_load_explicit(&s->length, memory_order_relaxed);
    live += length > dead ? length - dead : 0;
  }
  view_unref(view);
  return live;
}

toon_status tally_size(store_engine *engine, uint8_t space, uint64_t *out, toon_error *err) {
  if (space >= TOON_SPACES) return toon_fail(err, TOON_EINVAL, "unknown key space");
  for (int attempt = 0;; attempt++) {
    bool alone = attempt >= 3; /* writers are too fast: keep them out for a moment */
    if (alone) os_mutex_lock(&engine->commit_lock);
    toon_status status = tally_resolve(engine, 1, err);
    if (status == TOON_OK) status = tally_resolve(engine, 0, err);
    if (status != TOON_OK) {
      if (alone) os_mutex_unlock(&engine->commit_lock);
      return status;
    }
    /* Exact only if nothing was inserted since: look once more while nothing can be. */
    os_mutex_lock(&engine->tally_lock);
    os_mutex_lock(&engine->apply_lock);
    store_view *view = atomic_load(&engine->view);
    bool settled = true;
    int64_t size = 0;
    for (unsigned level = 0; level < 2; level++) {
      if (!view->deltas[level]) continue;
      settled = settled && !index_delta_after(view->deltas[level], engine->tallies[level].last);
      size += index_delta_get_info(view->deltas[level]).puts[space] - engine->tallies[level].existed[space];
    }
    for (size_t i = 0; i < view->run_count; i++) size += index_run_get_info(view->raw_runs[i])->net_keys[space];
    os_mutex_unlock(&engine->apply_lock);
    os_mutex_unlock(&engine->tally_lock);
    if (alone) os_mutex_unlock(&engine->commit_lock);
    if (settled) {
      *out = size > 0 ? (uint64_t)size : 0;
      return TOON_OK;
    }
  }
}
