/* Views: building, counting, looking up. */
#include "store/view.h"
#include "base/alloc.h"

store_run *store_run_new(os_vfs *vfs, index_run *run) {
  store_run *r = toon_calloc(1, sizeof *r);
  if (!r) return NULL;
  atomic_init(&r->refs, 1);
  r->vfs = vfs;
  r->run = run;
  r->next_expires = index_run_get_info(run)->min_expires;
  return r;
}

void store_run_ref(store_run *run) { atomic_fetch_add_explicit(&run->refs, 1, memory_order_relaxed); }

void store_run_unref(store_run *run) {
  if (atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) != 1) return;
  if (atomic_load(&run->unlink_when_free)) run->vfs->unlink(run->vfs, index_run_path(run->run));
  index_run_close(run->run);
  toon_free(run);
}

store_view *view_new(index_delta *active, index_delta *frozen, store_run *const *runs, size_t run_count,
                     log_segment *const *segments, size_t segment_count) {
  uint32_t first = segment_count ? segments[0]->id : 0;
  size_t slots = segment_count ? segments[segment_count - 1]->id - first + 1 : 0;
  store_view *view =
      toon_calloc(1, sizeof *view + run_count * (sizeof *runs + sizeof(index_run *)) + slots * sizeof *segments);
  if (!view) return NULL;
  atomic_init(&view->refs, 1);
  view->deltas[0] = active;
  view->deltas[1] = frozen;
  if (active) index_delta_ref(active);
  if (frozen) index_delta_ref(frozen);
  view->run_count = run_count;
  view->runs = (store_run **)(view + 1);
  view->raw_runs = (index_run **)(view->runs + run_count);
  view->segments = (log_segment **)(view->raw_runs + run_count);
  for (size_t i = 0; i < run_count; i++) {
    store_run_ref(runs[i]);
    view->runs[i] = runs[i];
    view->raw_runs[i] = runs[i]->run;
  }
  view->first_segment = first;
  view->segment_count = slots;
  for (size_t i = 0; i < segment_count; i++) {
    log_segment_ref(segments[i]);
    view->segments[segments[i]->id - first] = segments[i];
  }
  return view;
}

void view_ref(store_view *view) { atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed); }

void view_unref(store_view *view) {
  if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1) return;
  for (int i = 0; i < 2; i++) index_delta_unref(view->deltas[i]);
  for (size_t i = 0; i < view->run_count; i++) store_run_unref(view->runs[i]);
  for (size_t i = 0; i < view->segment_count; i++)
    if (view->segments[i]) log_segment_unref(view->segments[i]);
  toon_free(view);
}

void view_note_damage(const store_view *view, const toon_error *err) {
  if (!err || err->status != TOON_ECORRUPT) return;
  size_t len = strlen(err->path);
  if (len > 3 && memcmp(err->path, "...", 3) == 0) len -= 3; /* a long path was cut in front */
  const char *end = err->path + strlen(err->path);
  for (size_t i = 0; len && i < view->run_count; i++) {
    const char *path = index_run_path(view->raw_runs[i]);
    size_t n = strlen(path);
    if (n >= len && strcmp(path + n - len, end - len) == 0) atomic_store(&view->runs[i]->unlink_when_free, true);
  }
}

toon_status view_get_at(const store_view *view, unsigned level, toon_key key, uint64_t hash, index_horizon horizon,
                        index_entry *entry, bool *found, bool *cut, toon_error *err) {
  *found = true;
  for (; level < 2; level++)
    if (view->deltas[level] && index_delta_get(view->deltas[level], key, hash, horizon, entry, cut)) return TOON_OK;
  *found = false;
  for (size_t i = 0; i < view->run_count && !*found; i++) {
    toon_status status = index_run_get(view->raw_runs[i], key, hash, entry, found, err);
    if (status == TOON_ECORRUPT) atomic_store(&view->runs[i]->unlink_when_free, true); /* as view_note_damage */
    if (status != TOON_OK) return status;
  }
  return TOON_OK;
}

void view_prefetch(const store_view *view, uint64_t hash) {
  for (int level = 0; level < 2; level++)
    if (view->deltas[level]) index_delta_prefetch(view->deltas[level], hash);
  for (size_t i = 0; i < view->run_count; i++) index_run_prefetch(view->raw_runs[i], hash);
}
