/* Stores: open, close and upkeep. These wait for the disk, so they are jobs on the threadpool. */
#include "range.h"
#include "functions.h"

#include <algorithm>
#include <string>

namespace toonstore {

namespace {

struct Open : Task {
  using Task::Task;
  void run() override { status = toon_open(path.c_str(), &options, &db, &err); }
  void done() override {
    Store *store = status == TOON_OK ? store_add(e, db) : nullptr;
    if (status == TOON_OK && !store) {
      toon_close(db, nullptr);
      status = toon_fail(&err, TOON_ENOMEM, "too many stores are open");
    }
    if (store) store->max_value_size = options.max_value_size;
    settle(e, deferred, store ? make_number(e, store->handle) : nullptr, &err);
  }

  std::string path;
  toon_options options;
  toon_db *db = nullptr;
};

struct Close : Job {
  Close(Env *env, Store *s) : Job(env), store(s) {}
  void run() override { status = toon_close(store->db, &err); }
  void done() override {
    e->all.erase(std::remove(e->all.begin(), e->all.end(), store), e->all.end());
    napi_value undefined = nullptr;
    napi_get_undefined(e->env, &undefined);
    if (store->closed) Task::settle(e, store->closed, status == TOON_OK ? undefined : nullptr, &err);
    delete store;
  }

  Store *store;
  toon_status status = TOON_OK;
  toon_error err;
};

struct Upkeep : Task {
  Upkeep(Env *env, Store *s, toon_status (*f)(toon_db *, toon_error *)) : Task(env), store(s), work_of(f) {
    store_hold(store);
  }
  ~Upkeep() override { store_release(store); }
  void run() override { status = work_of(store->db, &err); }

  Store *store;
  toon_status (*work_of)(toon_db *, toon_error *);
};

/* A compaction. Its progress goes to JavaScript by a threadsafe function of its own. */
struct Compact : Task {
  Compact(Env *env, Store *s) : Task(env), store(s) {
    store_hold(store);
    store->stop_compaction = false;
  }
  ~Compact() override { store_release(store); }

  bool listen(napi_value function) {
    napi_value name;
    return napi_create_string_utf8(e->env, "toonstore progress", NAPI_AUTO_LENGTH, &name) == napi_ok &&
           napi_create_threadsafe_function(e->env, function, nullptr, name, 0, 1, nullptr, nullptr, this, tell,
                                           &notify) == napi_ok &&
           napi_unref_threadsafe_function(e->env, notify) == napi_ok;
  }
  void run() override { status = toon_compact(store->db, progress, this, &err); }
  void done() override {
    if (notify) napi_release_threadsafe_function(notify, napi_tsfn_release);
    Task::done();
  }

  /* On the engine's thread. */
  static bool progress(void *ctx, double share) {
    Compact *self = static_cast<Compact *>(ctx);
    double *data = self->notify ? new (std::nothrow) double(share) : nullptr;
    if (data) {
      napi_status sent = napi_call_threadsafe_function(self->notify, data, napi_tsfn_nonblocking);
      if (sent != napi_ok) delete data;
      if (sent == napi_closing) self->notify = nullptr; /* the environment ends */
    }
    return !self->store->stop_compaction;
  }
  /* On the JavaScript thread, maybe after the job is gone. */
  static void tell(napi_env env, napi_value function, void *, void *data) {
    double *share = static_cast<double *>(data);
    napi_value self, value, error;
    if (env && function && napi_get_undefined(env, &self) == napi_ok &&
        napi_create_double(env, *share, &value) == napi_ok &&
        napi_call_function(env, self, function, 1, &value, nullptr) == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
      napi_fatal_exception(env, error);
    delete share;
  }

  Store *store;
  napi_threadsafe_function notify = nullptr;
};

napi_value upkeep(napi_env env, napi_callback_info info, toon_status (*f)(toon_db *, toon_error *), const char *name) {
  Call<1> c(env, info);
  Store *store = store_of(c.e, c[0]);
  if (!store) return nullptr;
  Upkeep *task = new (std::nothrow) Upkeep(c.e, store, f);
  return task ? start(task, name) : fail(c.e, TOON_ENOMEM, nullptr);
}

} // namespace

Store *store_add(Env *e, toon_db *db) {
  Store *store = new (std::nothrow) Store();
  if (!store) return nullptr;
  store->env = e;
  store->db = db;
  store->handle = e->stores.add(store);
  if (!store->handle) {
    delete store;
    return nullptr;
  }
  e->all.push_back(store);
  return store;
}

void store_unwatch(Store *store) {
  if (!store->words) return;
  toon_cache_close(store->cache);
  store->cache = nullptr;
  toon_unwatch(store->db);
  napi_delete_reference(store->env->env, store->words);
  store->words = nullptr;
}

void store_hold(Store *store) { store->busy++; }

static void store_close(Store *store) {
  Job *job = new (std::nothrow) Close(store->env, store);
  if (job) job->start("toonstore close");
}

void store_release(Store *store) {
  if (--store->busy == 0 && store->closing) store_close(store);
}

/* storeOpen({ path, durability, … }) -> promise of a store. lib/options.js gives every field */
napi_value js_storeOpen(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Env *e = c.e;
  if (env_forked(e)) return fail(e, TOON_ECLOSED, "this process was forked from the one that loaded toonstore");
  std::unique_ptr<Open> task(new (std::nothrow) Open(e));
  if (!task) return fail(e, TOON_ENOMEM, nullptr);
  bool read = read_property(e, c[0], "path", &task->path);
  auto number = [&](const char *name) {
    double value = 0;
    read = read && read_property(e, c[0], name, &value);
    return value;
  };
  auto flag = [&](const char *name) {
    bool value = false;
    read = read && read_property(e, c[0], name, &value);
    return value;
  };
  toon_options &o = task->options;
  o = toon_options_default();
  o.durability = (toon_durability)(int)number("durability");
  o.sync_interval_ms = (uint32_t)number("syncInterval");
  o.max_value_size = (uint64_t)number("maxValueSize");
  o.max_db_size = (uint64_t)number("maxDbSize");
  o.max_txn_size = (uint64_t)number("maxTxnSize");
  o.segment_size = (uint64_t)number("segmentSize");
  o.checkpoint_bytes = (uint64_t)number("checkpointBytes");
  o.ttl_ms = (uint64_t)number("ttl");
  o.read_only = flag("readOnly");
  o.repair = flag("repair");
  o.create_if_missing = flag("createIfMissing");
  o.error_if_exists = flag("errorIfExists");
  return read ? start(task.release(), "toonstore open") : nullptr;
}

/* storeClose(store) -> promise. The store takes no calls any more; what was submitted is finished first */
napi_value js_storeClose(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Store *store = store_of(c.e, c[0]);
  napi_value promise = nullptr;
  if (!store) return nullptr;
  if (napi_create_promise(env, &store->closed, &promise) != napi_ok) return nullptr;
  c.e->stores.remove(store->handle);
  store_unwatch(store);
  store->closing = true;
  toon_stop(store->db); /* a job that leads need not go on for other threads' writes */
  store_hold(store);
  queries_close(store);
  cursors_close(store);
  arenas_free(store);
  snapshots_close(store);
  store_release(store);
  return promise;
}

/* storeWatch(store, words, rows, bytes): words is an Int32Array over shared memory, of 16 + a power of two zeros, in which commits count
 * what they change; at most so many rows of bytes, that take at most so much, are kept ready in C. Once a store */
napi_value js_storeWatch(napi_env env, napi_callback_info info) {
  Call<4> c(env, info);
  Store *store = store_of(c.e, c[0]);
  napi_typedarray_type type;
  size_t length;
  void *data;
  if (!store) return nullptr;
  if (store->words || napi_get_typedarray_info(env, c[1], &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array || length < 17 || ((length - 16) & (length - 17)) ||
      napi_create_reference(env, c[1], 1, &store->words) != napi_ok)
    return fail_type(c.e, "words must be an Int32Array of 16 + a power of two");
  toon_watch(store->db, static_cast<uint32_t *>(data), (uint32_t)(length - 16));
  store->cache_rows = (uint64_t)c.number(2);
  store->cache_bytes = (uint64_t)c.number(3);
  return nullptr;
}

/* storeSync(store), storeCheckpoint(store) -> promise */
napi_value js_storeSync(napi_env env, napi_callback_info info) {
  return upkeep(env, info, toon_sync, "toonstore sync");
}
napi_value js_storeCheckpoint(napi_env env, napi_callback_info info) {
  return upkeep(env, info, toon_checkpoint, "toonstore checkpoint");
}

/* storeCompact(store, progress) -> promise; progress(share), if it is a function, is called now and then */
napi_value js_storeCompact(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Store *store = store_of(c.e, c[0]);
  if (!store) return nullptr;
  std::unique_ptr<Compact> task(new (std::nothrow) Compact(c.e, store));
  napi_valuetype type = napi_undefined;
  napi_typeof(env, c[1], &type);
  if (!task || (type == napi_function && !task->listen(c[1]))) return fail(c.e, TOON_ENOMEM, nullptr);
  return start(task.release(), "toonstore compact");
}

/* storeCompactStop(store): ask the compaction under way to end early. Does nothing for a store that is closed */
napi_value js_storeCompactStop(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Store *store = c.e->stores.get(c.handle(0));
  if (store) store->stop_compaction = true;
  return nullptr;
}

/* storeSyncNow(store): waits for the disk */
napi_value js_storeSyncNow(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Store *store = store_of(c.e, c[0]);
  toon_error err;
  if (store && toon_sync(store->db, &err) != TOON_OK) return fail(c.e, &err);
  return nullptr;
}

/* storeStats(store) -> JSON text */
napi_value js_storeStats(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Store *store = store_of(c.e, c[0]);
  if (!store) return nullptr;
  toon_buf json = {};
  toon_error err;
  napi_value out = nullptr;
  toon_status status = toon_stats(store->db, &json, &err);
  if (status == TOON_OK) status = make_string(c.e, toon_buf_slice(&json), false, &out, &err);
  toon_buf_free(&json);
  return status == TOON_OK ? out : fail(c.e, &err);
}

/* storeSize(store, space) -> number of keys or rows */
napi_value js_storeSize(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Store *store = store_of(c.e, c[0]);
  uint64_t size;
  toon_error err;
  if (!store) return nullptr;
  if (toon_size(store->db, (uint8_t)c.integer(1), &size, &err) != TOON_OK) return fail(c.e, &err);
  return make_number(c.e, (double)size);
}

/* storeNow(source) -> ms since 1970 by the engine's clock */
napi_value js_storeNow(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Store *store = Source(c.e, c[0]).store;
  return store ? make_number(c.e, (double)toon_now(store->db)) : nullptr;
}

} // namespace toonstore
