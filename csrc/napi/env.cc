/* The environment: its birth and end, errors, jobs, and the return of finished arenas to JavaScript. */
#include "env.h"

#include <atomic>
#include <pthread.h>

namespace toonstore {

namespace {

/* Grows by one in every child of a fork(). Not bound to an environment. */
std::atomic<uint32_t> forks{0};
std::once_flag forks_watched;

void count_fork() { forks.fetch_add(1, std::memory_order_relaxed); }

/* Runs on the JavaScript thread, some time after arenas were put into the mailbox. */
void deliver(napi_env env, napi_value, void *context, void *) {
  Env *e = static_cast<Env *>(context);
  if (!env) return; /* the environment is ending; its cleanup hook frees what is left */
  Arena *list;
  ServerEvent *events;
  {
    std::lock_guard<std::mutex> lock(e->mailbox->mutex);
    list = e->mailbox->done;
    events = e->mailbox->events;
    e->mailbox->done = nullptr;
    e->mailbox->events = nullptr;
    e->mailbox->events_waiting = 0;
    e->mailbox->notified = false;
  }
  Arena *ordered = nullptr;
  while (list) {
    Arena *next = list->next;
    list->next = ordered;
    ordered = list;
    list = next;
  }
  while (ordered) {
    Arena *arena = ordered;
    ordered = arena->next;
    arena_deliver(e, arena);
  }
  server_events_deliver(e, events);
}

/* The environment ends: no JavaScript runs any more, and all jobs of this environment have ended. */
void cleanup(void *data) {
  Env *e = static_cast<Env *>(data);
  if (env_forked(e)) return;
  servers_stop(e);
  for (Store *store : e->all)
    if (e->pending) toon_lead(store->db);
  Arena *list;
  {
    std::unique_lock<std::mutex> lock(e->mailbox->mutex);
    e->mailbox->emptied.wait(lock, [&] { return e->mailbox->in_flight == 0; });
    e->mailbox->open = false;
    list = e->mailbox->done;
    e->mailbox->done = nullptr;
    server_events_free(e->mailbox->events);
    e->mailbox->events = nullptr;
  }
  while (list) {
    Arena *next = list->next;
    arena_free(e, list);
    list = next;
  }
  e->arenas.each([&](Arena *arena) { arena_free(e, arena); });
  e->queries.each([&](Query *query) { query_close(e, query); });
  e->cursors.each([&](Cursor *cursor) { cursor_close(e, cursor); });
  e->snapshots.each([&](Snapshot *snapshot) { snapshot_close(e, snapshot); });
  for (Store *store : e->all) {
    store_unwatch(store);
    toon_close(store->db, nullptr);
    delete store;
  }
  e->all.clear();
}

void finalize(napi_env, void *data, void *) {
  Env *e = static_cast<Env *>(data);
  toon_buf_free(&e->units);
  toon_buf_free(&e->text);
  toon_buf_free(&e->keys);
  toon_buf_free(&e->out);
  delete e;
}

} // namespace

Env *env_new(napi_env env) {
  std::call_once(forks_watched, [] { pthread_atfork(nullptr, nullptr, count_fork); });
  Env *e = new (std::nothrow) Env();
  if (!e) {
    napi_throw_error(env, "TOON_ENOMEM", toon_status_text(TOON_ENOMEM));
    return nullptr;
  }
  e->env = env;
  e->forks = forks.load(std::memory_order_relaxed);
  e->mailbox = std::make_shared<Mailbox>();
  napi_value memory, name;
  void *data;
  /* The hook is added after the function is made: hooks run in reverse order, so ours finds it still usable.
   */
  if (napi_set_instance_data(env, e, finalize, nullptr) != napi_ok ||
      napi_create_arraybuffer(env, sizeof(Shared), &data, &memory) != napi_ok ||
      napi_create_reference(env, memory, 1, &e->shared_ref) != napi_ok ||
      napi_create_string_utf8(env, "toonstore", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, e, deliver,
                                      &e->mailbox->notify) != napi_ok ||
      napi_unref_threadsafe_function(env, e->mailbox->notify) != napi_ok ||
      napi_add_env_cleanup_hook(env, cleanup, e) != napi_ok) {
    napi_throw_error(env, "TOON_ENOMEM", "cannot set up the addon");
    return nullptr;
  }
  e->shared = new (data) Shared();
  return e;
}

bool env_forked(const Env *e) { return e->forks != forks.load(std::memory_order_relaxed); }

napi_value env_function(Env *e, napi_ref ref) {
  napi_value function = nullptr;
  napi_get_reference_value(e->env, ref, &function);
  return function;
}

void env_call(Env *e, napi_ref function, size_t argc, napi_value *argv) {
  napi_value self, error;
  if (napi_get_undefined(e->env, &self) != napi_ok) return;
  if (napi_call_function(e->env, self, env_function(e, function), argc, argv, nullptr) != napi_pending_exception)
    return;
  if (napi_get_and_clear_last_exception(e->env, &error) == napi_ok) napi_fatal_exception(e->env, error);
}

napi_value error_object(Env *e, const toon_error *err) {
  napi_value self, argv[8], out = nullptr;
  napi_env env = e->env;
  if (napi_get_undefined(env, &self) != napi_ok) return nullptr;
  for (napi_value &v : argv) v = self;
  const char *code = toon_status_name(err->status);
  const char *message = err->message[0] ? err->message : toon_status_text(err->status);
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &argv[0]);
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &argv[1]);
  if (err->os_errno) napi_create_int32(env, err->os_errno, &argv[2]);
  if (err->syscall) napi_create_string_utf8(env, err->syscall, NAPI_AUTO_LENGTH, &argv[3]);
  if (err->path[0]) napi_create_string_utf8(env, err->path, NAPI_AUTO_LENGTH, &argv[4]);
  if (err->offset >= 0) napi_create_int64(env, err->offset, &argv[5]);
  if (err->line) napi_create_uint32(env, err->line, &argv[6]);
  if (err->column) napi_create_uint32(env, err->column, &argv[7]);
  if (napi_call_function(env, self, env_function(e, e->make_error), 8, argv, &out) != napi_ok) return nullptr;
  return out;
}

napi_value fail(Env *e, const toon_error *err) {
  napi_value error = error_object(e, err);
  if (error) napi_throw(e->env, error);
  return nullptr;
}

napi_value fail(Env *e, toon_status status, const char *message) {
  toon_error err;
  toon_fail(&err, status, message ? "%s" : nullptr, message);
  return fail(e, &err);
}

napi_value fail_type(Env *e, const char *message) {
  napi_throw_type_error(e->env, "TOON_EINVAL", message);
  return nullptr;
}

namespace {

void fail_gone(Env *e) {
  if (env_forked(e))
    fail(e, TOON_ECLOSED, "this process was forked from the one that opened the store; open it anew here");
  else
    fail(e, TOON_ECLOSED, nullptr);
}

template <class T> T *look_up(Env *e, const Table<T> &table, napi_value handle) {
  Handle number = 0;
  napi_get_value_int64(e->env, handle, &number);
  T *item = table.get(number);
  if (item && !env_forked(e)) return item;
  fail_gone(e);
  return nullptr;
}

} // namespace

Store *store_of(Env *e, napi_value handle) { return look_up(e, e->stores, handle); }
Arena *arena_of(Env *e, napi_value handle) {
  Arena *arena = look_up(e, e->arenas, handle);
  if (!arena || !arena->submitted) return arena;
  fail_gone(e);
  return nullptr;
}
Cursor *cursor_of(Env *e, napi_value handle) { return look_up(e, e->cursors, handle); }
Query *query_of(Env *e, napi_value handle) { return look_up(e, e->queries, handle); }

Snapshot *snapshot_of(Env *e, napi_value handle) {
  Handle number = 0;
  napi_get_value_int64(e->env, handle, &number);
  Snapshot *snapshot = number < 0 ? e->snapshots.get(-number) : nullptr;
  if (snapshot && !env_forked(e)) return snapshot;
  if (env_forked(e))
    fail_gone(e);
  else
    fail(e, TOON_ECLOSED, "the snapshot is closed, or its store is");
  return nullptr;
}

Source::Source(Env *e, napi_value handle) {
  Handle number = 0;
  napi_get_value_int64(e->env, handle, &number);
  if (number >= 0) {
    store = store_of(e, handle);
    return;
  }
  held = snapshot_of(e, handle);
  store = held ? held->store : nullptr;
  snapshot = held ? held->snapshot : nullptr;
}

void Job::start(const char *name) {
  napi_value label;
  auto execute = [](napi_env, void *data) { static_cast<Job *>(data)->run(); };
  auto complete = [](napi_env env, napi_status status, void *data) {
    Job *job = static_cast<Job *>(data);
    if (status == napi_cancelled) job->run(); /* callers count on it having run */
    napi_delete_async_work(env, job->work);
    job->done();
    delete job;
  };
  if (napi_create_string_utf8(e->env, name, NAPI_AUTO_LENGTH, &label) == napi_ok &&
      napi_create_async_work(e->env, nullptr, label, execute, complete, this, &work) == napi_ok) {
    if (napi_queue_async_work(e->env, work) == napi_ok) return;
    napi_delete_async_work(e->env, work);
  }
  run();
  done();
  delete this;
}

napi_value start(Task *task, const char *name) {
  napi_value promise = nullptr;
  if (napi_create_promise(task->e->env, &task->deferred, &promise) != napi_ok) {
    delete task;
    return nullptr;
  }
  task->start(name);
  return promise;
}

} // namespace toonstore
