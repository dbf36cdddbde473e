/* Snapshots: a sequence, a view that is held, and a place in the engine's list, in the order of their opening. The list says
 * which versions of rows somebody may still see, and what they all hold back; what is too much is taken from the oldest.
 *
 * Giving one up: its view pointer is taken away and the view retired, as after a replacement. A point read has the view
 * in a guard and looks at the pointer again when it has found its entry; cursors and commits count as uses. One that is in
 * use is marked: nobody begins to use it any more, cursors fail at their next step, and it goes when the last has let go. No
 * younger one goes in its stead. */
#include "store/batch.h"
#include "base/alloc.h"

#include <stdlib.h>

#define CHECK_MS 1000
/* Limits. Files: the store's own, max_db_size. */
#define MEMORY_MAX (128ull << 20)
#define AGE_MAX_MS 3600000ull
#define AGE_MIN_BYTES (16ull << 20) /* an old one that holds less may stay */

toon_status toon_snapshot_open(toon_db *db, toon_snapshot **out, toon_error *err) {
  store_engine *engine = db->engine;
  toon_snapshot *snapshot = toon_calloc(1, sizeof *snapshot);
  if (!snapshot) return toon_fail(err, TOON_ENOMEM, NULL);
  snapshot->db = db;
  snapshot->now = engine_now_ms(engine);
  snapshot->opened_ns = engine_now_ns(engine);
  snapshot->listed = true;
  atomic_init(&snapshot->refs, 1);
  /* View and sequence together: nothing is published or replaced meanwhile. */
  os_mutex_lock(&engine->apply_lock);
  store_view *view = atomic_load(&engine->view);
  view_ref(view);
  atomic_init(&snapshot->view, view);
  snapshot->sequence = atomic_load(&engine->published);
  snapshot->horizon = view_horizon(view, snapshot->sequence);
  snapshot->older = engine->snapshots;
  if (snapshot->older) snapshot->older->newer = snapshot;
  engine->snapshots = snapshot;
  os_mutex_unlock(&engine->apply_lock);
  atomic_fetch_add_explicit(&engine->snapshots_open, 1, memory_order_relaxed);
  *out = snapshot;
  return TOON_OK;
}

/* apply_lock held. */
static void unlist(store_engine *engine, toon_snapshot *snapshot) {
  if (!snapshot->listed) return;
  snapshot->listed = false;
  if (snapshot->newer)
    snapshot->newer->older = snapshot->older;
  else
    engine->snapshots = snapshot->older;
  if (snapshot->older) snapshot->older->newer = snapshot->newer;
  atomic_fetch_sub_explicit(&engine->snapshots_open, 1, memory_order_relaxed);
}

void toon_snapshot_close(toon_snapshot *snapshot) {
  if (!snapshot || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1) return;
  store_engine *engine = snapshot->db->engine;
  os_mutex_lock(&engine->apply_lock);
  unlist(engine, snapshot);
  os_mutex_unlock(&engine->apply_lock);
  view_unref(atomic_load(&snapshot->view));
  toon_free(snapshot);
}

uint64_t toon_snapshot_sequence(const toon_snapshot *snapshot) { return snapshot->sequence; }

void snapshot_ref(const toon_snapshot *snapshot) {
  atomic_fetch_add_explicit(&((toon_snapshot *)snapshot)->refs, 1, memory_order_relaxed);
}

toon_status snapshot_gone(toon_error *err) {
  return toon_fail(err, TOON_ESNAPSHOT,
                   "the snapshot was open for too long, or held back too much memory or disk, and was given up; take a "
                   "new one, and close snapshots, transactions and ranges when they are done");
}

toon_status snapshot_use(const toon_snapshot *snapshot, toon_error *err) {
  _Atomic uint32_t *uses = &((toon_snapshot *)snapshot)->uses;
  uint32_t n = atomic_load_explicit(uses, memory_order_relaxed);
  do
    if (n & SNAPSHOT_DROPPED) return snapshot_gone(err);
  while (!atomic_compare_exchange_weak(uses, &n, n + 1));
  return TOON_OK;
}

void snapshot_unuse(const toon_snapshot *snapshot) { atomic_fetch_sub(&((toon_snapshot *)snapshot)->uses, 1); }

/* ------------------------------------------------------------------ who still sees what */

/* Is there a snapshot that sees `older` but not `newer`? What one sees, all newer ones see too: only the newest of those
 * that do not see `newer` matters. *ctx: the snapshots not newer than that. */
static bool needed(void *ctx, const index_entry *older, const index_entry *newer) {
  const toon_snapshot **at = ctx;
  while (*at && index_entry_within(newer, (*at)->horizon)) *at = (*at)->older;
  return *at && index_entry_within(older, (*at)->horizon);
}

static bool passed(void *ctx, uint64_t ticket) { return guard_passed(ctx, ticket); }

void snapshot_prune(store_engine *engine, index_delta *active) {
  for (size_t i = 0; i < engine->insert_count; i++) {
    const toon_snapshot *at = engine->snapshots;
    if (engine->inserts[i].replaced) index_delta_prune(active, &engine->inserts[i], needed, &at);
  }
  if (index_delta_may_recycle(active))
    index_delta_recycle(active, guard_ticket(&engine->guard), passed, &engine->guard);
}

/* ------------------------------------------------------------------ what they cost */

/* A delta, run or segment that a view holds. */
typedef struct held_part {
  const void *part;
  uint64_t memory, file;
  bool current; /* it is in the engine's view too */
} held_part;

static int by_part(const void *a, const void *b) {
  const held_part *x = a, *y = b;
  if (x->part != y->part) return (uintptr_t)x->part < (uintptr_t)y->part ? -1 : 1;
  return y->current - x->current; /* current first */
}

static size_t parts_of(const store_view *view, bool current, held_part *out) {
  size_t n = 0;
  for (int i = 0; i < 2; i++)
    if (view->deltas[i])
      out[n++] = (held_part){view->deltas[i], index_delta_get_info(view->deltas[i]).bytes, 0, current};
  for (size_t i = 0; i < view->run_count; i++)
    out[n++] = (held_part){view->runs[i], 0, index_run_get_info(view->raw_runs[i])->file_size, current};
  for (size_t i = 0; i < view->segment_count; i++)
    if (view->segments[i])
      out[n++] = (held_part){view->segments[i], 0, atomic_load(&view->segments[i]->length), current};
  return n;
}

/* The current view and then those of the snapshots, each once in a row, with references. NULL without memory. */
static store_view **views_held(store_engine *engine, size_t *count, uint64_t *oldest_ns) {
  os_mutex_lock(&engine->apply_lock);
  size_t n = 1;
  for (toon_snapshot *s = engine->snapshots; s; s = s->older) n++;
  store_view **views = toon_malloc(n * sizeof(store_view *));
  if (views) {
    views[0] = atomic_load(&engine->view);
    n = 1;
    for (toon_snapshot *s = engine->snapshots; s; s = s->older) {
      *oldest_ns = s->opened_ns;
      store_view *view = atomic_load(&s->view);
      if (view != views[n - 1]) views[n++] = view;
    }
    for (size_t i = 0; i < n; i++) view_ref(views[i]);
    *count = n;
  }
  os_mutex_unlock(&engine->apply_lock);
  return views;
}

toon_status snapshot_measure(store_engine *engine, snapshot_cost *cost, toon_error *err) {
  size_t count = 0, most = 0, n = 0;
  uint64_t oldest_ns = 0;
  *cost = (snapshot_cost){.open = atomic_load(&engine->snapshots_open)};
  store_view **views = views_held(engine, &count, &oldest_ns);
  for (size_t i = 0; i < count; i++) most += 2 + views[i]->run_count + views[i]->segment_count;
  held_part *parts = views ? toon_malloc((most + 1) * sizeof *parts) : NULL;
  if (parts) {
    for (size_t i = 0; i < count; i++) n += parts_of(views[i], i == 0, parts + n);
    qsort(parts, n, sizeof *parts, by_part);
    bool current = false;
    for (size_t i = 0; i < n; i++) {
      bool first = i == 0 || parts[i].part != parts[i - 1].part;
      if (first) current = parts[i].current;
      if (!first || current) continue;
      cost->memory += parts[i].memory;
      cost->files += parts[i].file;
    }
    if (oldest_ns) cost->oldest_ms = (engine_now_ns(engine) - oldest_ns) / 1000000;
  }
  for (size_t i = 0; i < count; i++) view_unref(views[i]);
  toon_free(views);
  bool measured = parts != NULL;
  toon_free(parts);
  return measured ? TOON_OK : toon_fail(err, TOON_ENOMEM, NULL);
}

/* A view that has been taken from a snapshot. */
struct given_up {
  struct given_up *next;
  store_view *view;
  uint64_t ticket;
};

/* Give up the oldest; `marked`: only if it has been marked before. False if that is not done: there is none, or it is in use. */
static bool drop_oldest(store_engine *engine, bool marked) {
  store_view *view = NULL;
  struct given_up *record = toon_malloc(sizeof *record);
  if (!record) return false;
  os_mutex_lock(&engine->apply_lock);
  toon_snapshot *s = engine->snapshots;
  while (s && s->older) s = s->older;
  if (s && marked && !(atomic_load(&s->uses) & SNAPSHOT_DROPPED)) s = NULL; /* it was closed, and this is another */
  engine->giving_up = s && (atomic_fetch_or(&s->uses, SNAPSHOT_DROPPED) & ~SNAPSHOT_DROPPED);
  if (s && !engine->giving_up) {
    view = atomic_exchange(&s->view, NULL); /* before it leaves the list: see find in read.c */
    unlist(engine, s);
  }
  os_mutex_unlock(&engine->apply_lock);
  if (!view) {
    toon_free(record);
    return false;
  }
  *record = (struct given_up){engine->given_up, view, guard_ticket(&engine->guard)};
  engine->given_up = record;
  atomic_fetch_add_explicit(&engine->snapshots_dropped, 1, memory_order_relaxed);
  return true;
}

bool snapshot_release(store_engine *engine) {
  for (struct given_up **at = &engine->given_up, *record; (record = *at);) {
    if (!guard_passed(&engine->guard, record->ticket)) return false;
    *at = record->next;
    view_unref(record->view);
    toon_free(record);
  }
  return true;
}

void snapshot_limit(store_engine *engine) {
  uint64_t now = engine_now_ns(engine);
  bool due = engine->giving_up || now - engine->snapshots_checked_ns >= CHECK_MS * 1000000ull;
  /* What has been marked goes, whatever it costs by now: nobody can use it any more. */
  if (engine->giving_up) drop_oldest(engine, true);
  if (engine->giving_up || !atomic_load(&engine->snapshots_open) || !due) return;
  engine->snapshots_checked_ns = now;
  snapshot_cost cost;
  while (snapshot_measure(engine, &cost, NULL) == TOON_OK && cost.open) {
    bool old = cost.oldest_ms >= AGE_MAX_MS && cost.memory + cost.files >= AGE_MIN_BYTES;
    if (!old && cost.memory <= MEMORY_MAX && cost.files <= engine->options.max_db_size) return;
    if (!drop_oldest(engine, false)) return;
  }
}
