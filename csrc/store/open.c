/* Opening and closing: options, the lock, and the registry that lets the handles of a process share engines. */
#include "store/batch.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>

static os_mutex registry_lock = PTHREAD_MUTEX_INITIALIZER;
static os_cond registry_cond = PTHREAD_COND_INITIALIZER;
static store_engine *registry;

toon_options toon_options_default(void) {
  return (toon_options){.durability = TOON_DURABLE_COMMIT,
                        .sync_interval_ms = 1000,
                        .max_value_size = 1u << 20,
                        .max_db_size = 1ull << 30,
                        .max_txn_size = 64u << 20,
                        .segment_size = 64u << 20,
                        .checkpoint_bytes = 32u << 20,
                        .create_if_missing = true};
}

static toon_status check_options(const toon_options *o, toon_error *err) {
  const uint64_t gib = 1ull << 30;
  const char *bad = o->durability > TOON_DURABLE_CLOSE                         ? "durability"
                    : o->sync_interval_ms < 1 || o->sync_interval_ms > 3600000 ? "syncInterval"
                    : o->max_value_size < 1 || o->max_value_size > gib         ? "maxValueSize"
                    : o->max_db_size < 1                                       ? "maxDbSize"
                    : o->max_txn_size < 1 || o->max_txn_size > gib             ? "maxTxnSize"
                    : o->segment_size < 4096 || o->segment_size > gib          ? "segmentSize"
                    : o->checkpoint_bytes < 4096 || o->checkpoint_bytes > gib  ? "checkpointBytes"
                    : o->ttl_ms > 1000000000000ull                             ? "ttl"
                                                                               : NULL;
  return bad ? toon_fail(err, TOON_EINVAL, "option %s is out of its range", bad) : TOON_OK;
}

static bool same_limits(const toon_options *a, const toon_options *b) {
  return a->durability == b->durability && a->sync_interval_ms == b->sync_interval_ms &&
         a->max_value_size == b->max_value_size && a->max_db_size == b->max_db_size &&
         a->max_txn_size == b->max_txn_size && a->segment_size == b->segment_size &&
         a->checkpoint_bytes == b->checkpoint_bytes && a->read_only == b->read_only;
}

/* ------------------------------------------------------------------ an engine's life */

static void engine_init(store_engine *engine) {
  guard_init(&engine->guard);
  index_pool_init(&engine->pool);
  columns_init(engine);
  os_mutex *locks[] = {&engine->queue_lock, &engine->commit_lock, &engine->manifest_lock, &engine->tally_lock,
                       &engine->apply_lock, &engine->error_lock,  &engine->wake_lock,     &engine->sync_lock};
  for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) os_mutex_init(locks[i]);
  os_cond_init(&engine->queue_cond);
  os_cond_init(&engine->wake_cond);
  os_cond_init(&engine->idle_cond);
}

static void registry_remove(store_engine *engine);

/* Everything goes, the lock on the directory included, before the registry lets the next opener in. */
static void engine_free(store_engine *engine) {
  while (!snapshot_release(engine) || !engine_release_retired(engine))
    os_sleep_ms(1); /* a row that is not released holds the close up */
  view_unref(atomic_load(&engine->view));
  compact_unlink_removed(engine, true);
  if (engine->lock_file) engine->vfs->close(engine->vfs, engine->lock_file);
  os_mutex_lock(&registry_lock);
  registry_remove(engine);
  os_cond_broadcast(&registry_cond);
  os_mutex_unlock(&registry_lock);
  columns_free(engine);
  index_pool_destroy(&engine->pool);
  commit_pending_free(engine);
  toon_buf_free(&engine->group);
  toon_free(engine->inserts);
  toon_free(engine->removed);
  toon_free(engine->directory);
  os_mutex *locks[] = {&engine->queue_lock, &engine->commit_lock, &engine->manifest_lock, &engine->tally_lock,
                       &engine->apply_lock, &engine->error_lock,  &engine->wake_lock,     &engine->sync_lock};
  for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) os_mutex_destroy(locks[i]);
  os_cond_destroy(&engine->queue_cond);
  os_cond_destroy(&engine->wake_cond);
  os_cond_destroy(&engine->idle_cond);
  toon_free(engine);
}

/* The LOCK file is never unlinked; but somebody may have done so by hand, and then two processes would each hold a lock
 * on a file of their own: so the file behind the descriptor must be the one behind the path. */
static toon_status take_lock(store_engine *engine, toon_error *err) {
  os_vfs *vfs = engine->vfs;
  toon_buf path = {0};
  toon_status status = TOON_OK;
  if (toon_buf_printf(&path, "%s/LOCK", engine->directory) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  const char *name = (const char *)path.ptr;
  for (int attempt = 0; attempt < 10; attempt++) {
    os_stat held, named;
    int e = vfs->open(vfs, name, OS_WRITE | OS_CREATE, &engine->lock_file);
    if (e) {
      status = toon_fail_os(err, e, "open", name);
      break;
    }
    e = vfs->lock(vfs, engine->lock_file);
    if (e == EWOULDBLOCK || e == EAGAIN || e == EACCES) {
      status = toon_fail_at(err, TOON_ELOCKED, engine->directory, -1, "%s", toon_status_text(TOON_ELOCKED));
      break;
    }
    if (e) {
      status = toon_fail_os(err, e, "lock", name);
      break;
    }
    if (!(e = vfs->fstat(vfs, engine->lock_file, &held)) && !(e = vfs->stat(vfs, name, &named)) &&
        held.dev == named.dev && held.ino == named.ino) {
      toon_buf_free(&path);
      return TOON_OK;
    }
    if (e && e != ENOENT) {
      status = toon_fail_os(err, e, "stat", name);
      break;
    }
    vfs->close(vfs, engine->lock_file);
    engine->lock_file = NULL;
    status = toon_fail_at(err, TOON_ELOCKED, name, -1, "the LOCK file is being replaced again and again");
  }
  toon_buf_free(&path);
  return status;
}

/* Make the directory if asked to, and find out which one it is. */
static toon_status find_directory(os_vfs *vfs, const char *path, const toon_options *options, os_stat *st,
                                  toon_error *err) {
  int e = vfs->stat(vfs, path, st);
  if (e == ENOENT && options->create_if_missing && !options->read_only) {
    /* Parents too, as mkdir -p does; each new name is synced into its directory. */
    toon_buf parent = {0};
    if (toon_buf_append(&parent, path, strlen(path) + 1) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
    char *p = (char *)parent.ptr;
    size_t n = strlen(p);
    while (n > 1 && p[n - 1] == '/') p[--n] = 0;
    char *slash = strrchr(p, '/');
    toon_status status = TOON_OK;
    if (slash && slash != p) {
      os_stat up;
      *slash = 0;
      status = find_directory(vfs, p, options, &up, err);
    }
    if (status == TOON_OK) {
      e = vfs->mkdir(vfs, path);
      if (e == EEXIST) e = 0;
      if (!e) {
        e = vfs->dirsync(vfs, slash ? (slash == p ? "/" : p) : ".");
        if (e == EACCES || e == EPERM) e = 0; /* a parent that may not be read */
      }
      if (!e) e = vfs->stat(vfs, path, st);
    }
    toon_buf_free(&parent);
    if (status != TOON_OK) return status;
    if (e) return toon_fail_os(err, e, "mkdir", path);
  }
  if (e == ENOENT) return engine_absent(path, options, err);
  if (e == ENOTDIR || (!e && !st->is_dir))
    return toon_fail_at(err, TOON_EINVAL, path, -1, "the location is a file; a store is a directory");
  if (e) return toon_fail_os(err, e, "stat", path);
  return TOON_OK;
}

/* ------------------------------------------------------------------ the registry */

static store_engine *registry_find(uint64_t dev, uint64_t ino, const os_vfs *vfs, bool read_only) {
  for (store_engine *e = registry; e; e = e->next)
    if (e->dev == dev && e->ino == ino && e->vfs == vfs && e->options.read_only == read_only) return e;
  return NULL;
}

static void registry_remove(store_engine *engine) {
  store_engine **p = &registry;
  while (*p != engine) p = &(*p)->next;
  *p = engine->next;
}

/* Find the engine or enter a new one; *owner tells that the caller must bring it up. Read-only handles on a store that this
 * process also writes get an engine of their own: they see the store as it was at their open. */
static toon_status registry_enter(const char *path, const os_stat *st, const toon_options *options, os_vfs *vfs,
                                  store_engine **out, bool *owner, toon_error *err) {
  toon_status status = TOON_OK;
  os_mutex_lock(&registry_lock);
  store_engine *engine;
  while ((engine = registry_find(st->dev, st->ino, vfs, options->read_only)) && engine->state != ENGINE_OPEN &&
         !options->read_only)
    os_cond_wait(&registry_cond, &registry_lock);
  *owner = !engine || options->read_only;
  if (!*owner) {
    if (options->error_if_exists)
      status = toon_fail_at(err, TOON_EINVAL, path, -1, "there is a store here already (errorIfExists)");
    else if (!same_limits(&engine->options, options))
      status = toon_fail(err, TOON_EINVAL,
                         "this process has the store open with other durability or limits; they must agree");
    else
      engine->handles++;
  } else {
    engine = toon_calloc(1, sizeof *engine);
    char *directory = toon_strdup(path);
    if (!engine || !directory) {
      toon_free(engine);
      toon_free(directory);
      status = toon_fail(err, TOON_ENOMEM, NULL);
    } else {
      engine->dev = st->dev;
      engine->ino = st->ino;
      engine->vfs = vfs;
      engine->options = *options;
      engine->directory = directory;
      engine->handles = 1;
      engine->next_run_number = 1;
      engine->clock_wall_ms = vfs->wall_ms(vfs);
      engine->clock_ns = vfs->monotonic_ns(vfs);
      engine_init(engine);
      engine->next = registry;
      registry = engine;
    }
  }
  os_mutex_unlock(&registry_lock);
  if (status == TOON_OK) *out = engine;
  return status;
}

static void registry_opened(store_engine *engine) {
  os_mutex_lock(&registry_lock);
  engine->state = ENGINE_OPEN;
  os_cond_broadcast(&registry_cond);
  os_mutex_unlock(&registry_lock);
}

static toon_status bring_up(store_engine *engine, toon_error *err) {
  if (!engine->options.read_only) TOON_TRY(take_lock(engine, err));
  toon_status status = TOON_OK;
  /* A reader beside a live writer may meet files that a checkpoint has just replaced: then it looks again. */
  for (engine->attempts_left = 99; engine->attempts_left >= 0; engine->attempts_left--) {
    status = engine_recover(engine, engine->options.create_if_missing, err);
    if (status == TOON_OK || !engine->options.read_only || (status != TOON_ECORRUPT && status != TOON_EIO)) break;
    /* A file that is gone is nothing but that; anything else is only given a few chances. */
    if (err->os_errno != ENOENT && engine->attempts_left > 4) engine->attempts_left = 4;
    view_unref(atomic_exchange(&engine->view, NULL));
    engine->sequence = engine->next_row = 0;
    engine->recovery = (store_recovery){0};
    os_sleep_ms(5);
  }
  if (status != TOON_OK) return status;
  TOON_TRY(columns_load(engine, err));
  return engine->options.read_only ? TOON_OK : background_start(engine, err);
}

toon_status toon_open(const char *path, const toon_options *options, toon_db **out, toon_error *err) {
  toon_options o = options ? *options : toon_options_default();
  toon_error local;
  os_stat st;
  store_engine *engine;
  bool owner;
  char *absolute = NULL;
  if (!err) err = &local;
  if (!path || !*path) return toon_fail(err, TOON_EINVAL, "the location is empty");
  TOON_TRY(check_options(&o, err));
  os_vfs *vfs = o.vfs ? o.vfs : os_posix();
  if (vfs == os_posix()) { /* the store stays where it is when the process changes its directory */
    int e = os_absolute_path(path, &absolute);
    if (e) return toon_fail_os(err, e, "getcwd", path);
    path = absolute;
  }
  toon_db *db = toon_calloc(1, sizeof *db);
  if (!db) {
    toon_free(absolute);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  os_mutex_init(&db->spare_lock);
  db->options = o;
  toon_status status = find_directory(vfs, path, &o, &st, err);
  if (status == TOON_OK) status = registry_enter(path, &st, &o, vfs, &engine, &owner, err);
  if (status == TOON_OK && owner) {
    status = bring_up(engine, err);
    if (status == TOON_OK)
      registry_opened(engine);
    else
      engine_free(engine);
  }
  toon_free(absolute);
  if (status != TOON_OK) {
    os_mutex_destroy(&db->spare_lock);
    toon_free(db);
    return status;
  }
  db->engine = engine;
  db->seen_nearly_full = engine->times_nearly_full;
  db->seen_failures = engine->background_failures;
  *out = db;
  return TOON_OK;
}

toon_status toon_close(toon_db *db, toon_error *err) {
  store_engine *engine = db->engine;
  toon_unwatch(db);
  toon_status status = TOON_OK;
  toon_error local;
  if (!err) err = &local;
  commit_finish(db);

  os_mutex_lock(&registry_lock);
  bool last = --engine->handles == 0;
  if (last) engine->state = ENGINE_CLOSING;
  os_mutex_unlock(&registry_lock);
  if (last) {
    columns_stop(engine);
    commit_stop(engine);
    background_stop(engine);
    if (!engine->options.read_only) {
      status = engine_check_poison(engine, err);
      if (status == TOON_OK) status = engine_checkpoint(engine, true, err);
    }
  }
  while (db->spare) {
    toon_batch *next = db->spare->next;
    batch_destroy(db->spare);
    db->spare = next;
  }
  if (last) engine_free(engine);
  os_mutex_destroy(&db->spare_lock);
  toon_free(db);
  return status;
}

toon_status toon_sync(toon_db *db, toon_error *err) {
  toon_error local; /* the engine keeps errors: inside it err is never NULL */
  return db->options.read_only ? TOON_OK : engine_sync(db->engine, err ? err : &local);
}

toon_status toon_checkpoint(toon_db *db, toon_error *err) {
  if (db->options.read_only) return toon_fail(err, TOON_EREADONLY, NULL);
  return background_checkpoint(db->engine, err);
}

toon_status toon_compact(toon_db *db, bool (*progress)(void *ctx, double done), void *ctx, toon_error *err) {
  if (db->options.read_only) return toon_fail(err, TOON_EREADONLY, NULL);
  compact_request request = {.progress = progress, .ctx = ctx};
  return background_compact(db->engine, &request, err);
}

uint32_t toon_events(toon_db *db) {
  uint32_t out = 0;
  uint64_t full = atomic_load_explicit(&db->engine->times_nearly_full, memory_order_relaxed);
  uint64_t failures = atomic_load_explicit(&db->engine->background_failures, memory_order_acquire);
  if (full != atomic_load_explicit(&db->seen_nearly_full, memory_order_relaxed) &&
      atomic_exchange(&db->seen_nearly_full, full) != full)
    out |= TOON_EVENT_NEARLY_FULL;
  if (failures != atomic_load_explicit(&db->seen_failures, memory_order_relaxed) &&
      atomic_exchange(&db->seen_failures, failures) != failures)
    out |= TOON_EVENT_FAILED;
  return out;
}

void toon_last_failure(toon_db *db, toon_error *out) {
  os_mutex_lock(&db->engine->error_lock);
  *out = db->engine->background_error;
  os_mutex_unlock(&db->engine->error_lock);
}

int64_t toon_now(toon_db *db) { return engine_now_ms(db->engine); }
const char *toon_directory(const toon_db *db) { return db->engine->directory; }
uint64_t toon_max_value_size(const toon_db *db) { return db->options.max_value_size; }
uint64_t toon_max_txn_size(const toon_db *db) { return db->options.max_txn_size; }
