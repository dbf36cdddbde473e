/* Exact counts without looking anything up on a put: the keys of a delta are resolved against the levels below later, once
 * each, by the background thread before the delta becomes a run, or when somebody asks for a count. What lies below a
 * delta's keys does not change while the delta lives, so the answer keeps. */
#include "store/engine.h"
#include "base/alloc.h"

#define SLICE 65536 /* nodes that are resolved together */

typedef struct probe {
  uint64_t hash;
  const index_node *node;
} probe;

/* Sort by hash: 16 bits of it suffice, because only neighbourhood matters. */
static void sort_probes(probe *a, probe *scratch, size_t count) {
  for (unsigned shift = 48; shift < 64; shift += 8) {
    size_t starts[256] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++) starts[a[i].hash >> shift & 255]++;
    for (int i = 0; i < 256; i++) {
      size_t n = starts[i];
      starts[i] = sum;
      sum += n;
    }
    for (size_t i = 0; i < count; i++) scratch[starts[a[i].hash >> shift & 255]++] = a[i];
    probe *t = a; /* twice: the result is in a again */
    a = scratch;
    scratch = t;
  }
}

/* What has been found below, to be counted when all has. */
typedef struct below {
  const store_view *view;
  int64_t existed[TOON_SPACES];
  uint64_t *dead; /* by segment of the view */
} below;

static void count_below(below *b, const index_node *node, const index_entry *entry) {
  uint32_t i = entry->segment - b->view->first_segment;
  if (entry->kind != INDEX_PUT) return;
  b->existed[node->space]++;
  if (i < b->view->segment_count) b->dead[i] += entry->length;
}

/* Look the probes up; those that are not found stay. */
static size_t probe_delta(const index_delta *delta, below *b, probe *probes, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    index_entry entry;
    bool cut;
    if (i + 16 < count) {
      index_delta_prefetch(delta, probes[i + 16].hash);
      index_node_prefetch(probes[i + 16].node); /* they lie in memory as they came */
    }
    if (i + 8 < count) index_delta_prefetch_node(delta, probes[i + 8].hash);
    if (index_delta_get(delta, index_node_key(probes[i].node), probes[i].hash, INDEX_NEWEST, &entry, &cut))
      count_below(b, probes[i].node, &entry);
    else
      probes[kept++] = probes[i];
  }
  return kept;
}

static toon_status probe_run(index_run *run, below *b, probe *probes, size_t *count, toon_error *err) {
  size_t n = *count, kept = 0;
  for (size_t i = 0; i < n; i++) {
    index_entry entry;
    bool found;
    if (i + 24 < n) {
      index_run_prefetch(run, probes[i + 24].hash);
      index_node_prefetch(probes[i + 24].node);
    }
    if (i + 12 < n) index_run_prefetch_entry(run, probes[i + 12].hash);
    TOON_TRY(index_run_get(run, index_node_key(probes[i].node), probes[i].hash, &entry, &found, err));
    if (found)
      count_below(b, probes[i].node, &entry);
    else
      probes[kept++] = probes[i];
  }
  *count = kept;
  return TOON_OK;
}

/* Levels are looked at one after the other, and keys in the order of their hashes, which is that of a run's hash pages: so
 * each page is gone to once. */
toon_status tally_resolve_some(store_engine *engine, unsigned level, bool *done, toon_error *err) {
  toon_status status = TOON_OK;
  os_mutex_lock(&engine->tally_lock); /* freezing takes it too, so the levels keep their places */
  store_view *view = engine_view(engine);
  store_tally *tally = &engine->tallies[level];
  below b = {.view = view};
  probe *probes = NULL;
  const index_delta *delta = view->deltas[level];
  const index_node *node = tally->last;
  size_t count = 0, left;
  while (delta && count < SLICE && (node = index_delta_after(delta, node))) count++;
  *done = count < SLICE;
  if (!count) goto out;
  probes = toon_malloc(2 * count * sizeof *probes);
  b.dead = toon_calloc(view->segment_count, sizeof *b.dead);
  if (!probes || !b.dead) TOON_GOTO(toon_fail(err, TOON_ENOMEM, NULL));
  node = tally->last;
  for (left = 0; left < count; left++) {
    node = index_delta_after(delta, node);
    probes[left] = (probe){node->hash, node};
  }
  sort_probes(probes, probes + count, count);
  if (!level && view->deltas[1]) left = probe_delta(view->deltas[1], &b, probes, left);
  for (size_t i = 0; i < view->run_count && left; i++) {
    status = probe_run(view->raw_runs[i], &b, probes, &left, err);
    if (status == TOON_ECORRUPT) atomic_store(&view->runs[i]->unlink_when_free, true); /* as view_note_damage */
    if (status != TOON_OK) goto out;
  }
  tally->last = node;
  for (int i = 0; i < TOON_SPACES; i++) tally->existed[i] += b.existed[i];
  for (size_t i = 0; i < view->segment_count; i++) {
    log_segment *s = view->segments[i];
    if (s && b.dead[i])
      atomic_fetch_add_explicit(level ? &s->dead_frozen : &s->dead_active, b.dead[i], memory_order_relaxed);
  }
out:
  toon_free(probes);
  toon_free(b.dead);
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
