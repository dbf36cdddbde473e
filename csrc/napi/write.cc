/* Writes: an arena collects the calls of one tick and is submitted as one batch; its results come back
 * together. */
#include "range.h"
#include "functions.h"

namespace toonstore {

namespace {

/* An arena with more than this is submitted before the tick ends. */
const size_t ARENA_BYTES = 1 << 20;

/* What a writing function returns: true asks for the arena to be submitted. */
napi_value wrote(Env *e, const Arena *arena) {
  return toon_batch_bytes(arena->batch) >= ARENA_BYTES ? make_bool(e, true) : nullptr;
}

/* Ends the arena's stay on other threads. Called once, by whoever leads the commit. */
void arrived(void *ctx, toon_batch *) {
  Arena *arena = static_cast<Arena *>(ctx);
  std::shared_ptr<Mailbox> box = arena->mailbox; /* outlives the arena, which may be freed once we unlock */
  std::lock_guard<std::mutex> lock(box->mutex);
  arena->next = box->done;
  box->done = arena;
  box->in_flight--;
  if (box->open && !box->notified) {
    box->notified = true;
    napi_call_threadsafe_function(box->notify, nullptr, napi_tsfn_nonblocking);
  }
  if (box->in_flight == 0) box->emptied.notify_all();
}

struct Lead : Job {
  Lead(Env *env, Store *s) : Job(env), store(s) { store_hold(store); }
  ~Lead() override { store_release(store); }
  void run() override { toon_lead(store->db); }
  void done() override {}
  Store *store;
};

} // namespace

void arena_free(Env *e, Arena *arena) {
  e->arenas.remove(arena->handle);
  toon_batch_free(arena->batch);
  for (Snapshot *snapshot : arena->snapshots) snapshot_release(snapshot);
  delete arena;
}

void arenas_free(Store *store) {
  Env *e = store->env;
  e->arenas.each([&](Arena *arena) {
    if (arena->store == store && !arena->submitted) arena_free(e, arena);
  });
}

/* arenaNew(store) -> arena */
napi_value js_arenaNew(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Store *store = store_of(c.e, c[0]);
  if (!store) return nullptr;
  toon_error err;
  toon_batch *batch;
  if (toon_batch_new(store->db, &batch, &err) != TOON_OK) return fail(c.e, &err);
  Arena *arena = new (std::nothrow) Arena();
  if (arena) {
    arena->store = store;
    arena->batch = batch;
    arena->mailbox = c.e->mailbox;
    arena->handle = c.e->arenas.add(arena);
    if (arena->handle) return make_number(c.e, arena->handle);
    delete arena;
  }
  toon_batch_free(batch);
  return fail(c.e, TOON_ENOMEM, "too many writes wait");
}

/* arenaPut(arena, given, key, value) */
napi_value js_arenaPut(napi_env env, napi_callback_info info) {
  Call<4> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_key key;
  toon_input input;
  toon_slice value;
  toon_error err;
  if (!arena || !read_key(c.e, c[2], &key) ||
      !read_value(c.e, c[3], c.integer(1), &input, &value, arena->store->max_value_size))
    return nullptr;
  Scratch scratch(c.e);
  if (toon_batch_put(arena->batch, key, input, value, nullptr, &err) != TOON_OK) return fail(c.e, &err);
  return wrote(c.e, arena);
}

/* The time so many ms from now, as a JavaScript Date can hold it. */
static int64_t later(const Store *store, double ms) {
  const double latest = 8.64e15;
  double at = (double)toon_now(store->db) + ms;
  return (int64_t)(at < latest ? at : latest);
}

/* The last four arguments of arenaPutWith and arenaRow: ttl (ms, 0 = none), expiresAt (ms since 1970, 0 =
 * none), conditions (TOON_IF_*), version. */
static toon_put_options put_options(const Store *store, Env *e, const napi_value *argv) {
  double n[4] = {0, 0, 0, 0};
  for (int i = 0; i < 4; i++) napi_get_value_double(e->env, argv[i], &n[i]);
  toon_put_options out = {};
  out.expires_at = n[0] > 0 ? later(store, n[0]) : (int64_t)n[1];
  out.conditions = (uint32_t)n[2];
  out.version = (uint64_t)n[3];
  return out;
}

/* arenaPutWith(arena, given, key, value, ttl, expiresAt, conditions, version) */
napi_value js_arenaPutWith(napi_env env, napi_callback_info info) {
  Call<8> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_key key;
  toon_input input;
  toon_slice value;
  toon_error err;
  if (!arena || !read_key(c.e, c[2], &key) ||
      !read_value(c.e, c[3], c.integer(1), &input, &value, arena->store->max_value_size))
    return nullptr;
  Scratch scratch(c.e);
  toon_put_options options = put_options(arena->store, c.e, c.argv + 4);
  if (toon_batch_put(arena->batch, key, input, value, &options, &err) != TOON_OK) return fail(c.e, &err);
  return wrote(c.e, arena);
}

/* arenaRow(arena, given, value, ttl, expiresAt): a row without a key */
napi_value js_arenaRow(napi_env env, napi_callback_info info) {
  Call<7> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_input input;
  toon_slice value;
  toon_error err;
  if (!arena || !read_value(c.e, c[2], c.integer(1), &input, &value, arena->store->max_value_size)) return nullptr;
  Scratch scratch(c.e);
  toon_put_options options = put_options(arena->store, c.e, c.argv + 3);
  if (toon_batch_row_put(arena->batch, input, value, &options, &err) != TOON_OK) return fail(c.e, &err);
  return wrote(c.e, arena);
}

/* arenaDelete(arena, key) */
napi_value js_arenaDelete(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_key key;
  toon_error err;
  if (!arena || !read_key(c.e, c[1], &key)) return nullptr;
  if (toon_batch_delete(arena->batch, key, &err) != TOON_OK) return fail(c.e, &err);
  return wrote(c.e, arena);
}

/* arenaExpire(arena, key, ttl): ms from now; 0: take the expiry away */
napi_value js_arenaExpire(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_key key;
  toon_error err;
  if (!arena || !read_key(c.e, c[1], &key)) return nullptr;
  double ttl = c.number(2);
  int64_t at = ttl > 0 ? later(arena->store, ttl) : 0;
  if (toon_batch_expire(arena->batch, key, at, &err) != TOON_OK) return fail(c.e, &err);
  return wrote(c.e, arena);
}

/* arenaClear(arena, lower, upper, prefix, flags, limit) */
napi_value js_arenaClear(napi_env env, napi_callback_info info) {
  Call<6> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  Range range;
  toon_error err;
  if (!arena || !range.read(c.e, c.argv + 1)) return nullptr;
  if (toon_batch_clear(arena->batch, &range.toon, &err) != TOON_OK) return fail(c.e, &err);
  return nullptr;
}

/* arenaBegin(arena), arenaEnd(arena), arenaAbandon(arena): what is written between begin and end is one
 * member. arenaAbandon does nothing for an arena that is gone */
napi_value js_arenaBegin(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_error err;
  if (!arena) return nullptr;
  if (toon_batch_begin(arena->batch, &err) != TOON_OK) return fail(c.e, &err);
  arena->begun = arena->snapshots.size();
  return nullptr;
}

/* arenaBeginAt(arena, snapshot): as arenaBegin, for a transaction that read from the snapshot. The snapshot may be
 * closed afterwards */
napi_value js_arenaBeginAt(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  Snapshot *snapshot = arena ? snapshot_of(c.e, c[1]) : nullptr;
  toon_error err;
  if (!snapshot) return nullptr;
  if (toon_batch_begin_at(arena->batch, snapshot->snapshot, &err) != TOON_OK) return fail(c.e, &err);
  arena->begun = arena->snapshots.size();
  arena->snapshots.push_back(snapshot);
  snapshot->uses++;
  return nullptr;
}

/* arenaExpect(arena, key), arenaExpectRange(arena, lower, upper, prefix, flags, limit): what the transaction read */
napi_value js_arenaExpect(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_key key;
  toon_error err;
  if (!arena || !read_key(c.e, c[1], &key)) return nullptr;
  if (toon_batch_expect(arena->batch, key, &err) != TOON_OK) return fail(c.e, &err);
  return nullptr;
}

napi_value js_arenaExpectRange(napi_env env, napi_callback_info info) {
  Call<6> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  Range range;
  toon_error err;
  if (!arena || !range.read(c.e, c.argv + 1)) return nullptr;
  if (toon_batch_expect_range(arena->batch, &range.toon, &err) != TOON_OK) return fail(c.e, &err);
  return nullptr;
}

napi_value js_arenaEnd(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  toon_error err;
  if (!arena) return nullptr;
  if (toon_batch_end(arena->batch, &err) != TOON_OK) return fail(c.e, &err);
  return wrote(c.e, arena);
}

napi_value js_arenaAbandon(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Arena *arena = c.e->arenas.get(c.handle(0));
  if (!arena || arena->submitted || env_forked(c.e)) return nullptr;
  toon_batch_abandon(arena->batch);
  for (; arena->snapshots.size() > arena->begun; arena->snapshots.pop_back()) snapshot_release(arena->snapshots.back());
  return nullptr;
}

/* arenaDrop(arena): forget it. Does nothing for one that is gone */
napi_value js_arenaDrop(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Arena *arena = c.e->arenas.get(c.handle(0));
  if (arena && !arena->submitted && !env_forked(c.e)) arena_free(c.e, arena);
  return nullptr;
}

/* arenaSubmit(arena): onArena(arena, values, errors, events, failure) is called when all its members have their
 * results; events: TOON_EVENT_* or 0, failure: the error that TOON_EVENT_FAILED tells of. After an error the
 * arena is gone */
napi_value js_arenaSubmit(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Env *e = c.e;
  Arena *arena = arena_of(e, c[0]);
  if (!arena) return nullptr;
  Store *store = arena->store;
  toon_error err;
  bool lead = false;
  {
    std::lock_guard<std::mutex> lock(e->mailbox->mutex);
    e->mailbox->in_flight++;
  }
  arena->submitted = true;
  store_hold(store);
  if (e->pending++ == 0) napi_ref_threadsafe_function(env, e->mailbox->notify);
  if (toon_submit(store->db, arena->batch, arrived, arena, &lead, &err) != TOON_OK) {
    {
      std::lock_guard<std::mutex> lock(e->mailbox->mutex);
      e->mailbox->in_flight--;
    }
    if (--e->pending == 0) napi_unref_threadsafe_function(env, e->mailbox->notify);
    arena_free(e, arena);
    store_release(store);
    return fail(e, &err);
  }
  if (!lead) return nullptr;
  Lead *job = new (std::nothrow) Lead(e, store);
  if (job)
    job->start("toonstore commit");
  else
    toon_lead(store->db);
  return nullptr;
}

/* The value of each member as a Float64Array (undefined: all are 1), and their errors as an array (undefined:
 * none). */
static void results(Env *e, const toon_batch *batch, napi_value *values, napi_value *errors) {
  size_t count = toon_batch_members(batch);
  double *numbers = nullptr;
  bool failed = false;
  napi_get_undefined(e->env, values);
  *errors = *values;
  for (size_t i = 0; i < count; i++) {
    uint64_t value = 0;
    toon_error err;
    toon_status status = toon_batch_result(batch, i, &value, &err);
    if (status != TOON_OK) {
      if (!failed) napi_create_array_with_length(e->env, count, errors);
      failed = true;
      napi_value error = error_object(e, &err);
      if (error) napi_set_element(e->env, *errors, (uint32_t)i, error);
    } else if (value != 1 || numbers) {
      if (!numbers) {
        napi_value memory;
        void *data;
        if (napi_create_arraybuffer(e->env, count * sizeof(double), &data, &memory) != napi_ok ||
            napi_create_typedarray(e->env, napi_float64_array, count, memory, 0, values) != napi_ok)
          return;
        numbers = static_cast<double *>(data);
        for (size_t k = 0; k < i; k++) numbers[k] = 1;
      }
      numbers[i] = (double)value;
    }
  }
}

/* What toon_events tells. */
static void events(Env *e, Store *store, napi_value *flags, napi_value *failure) {
  uint32_t what = toon_events(store->db);
  napi_create_uint32(e->env, what, flags);
  napi_get_undefined(e->env, failure);
  if (!(what & TOON_EVENT_FAILED)) return;
  toon_error err;
  toon_last_failure(store->db, &err);
  napi_value error = error_object(e, &err);
  if (error) *failure = error;
}

void arena_deliver(Env *e, Arena *arena) {
  napi_handle_scope scope;
  Store *store = arena->store;
  bool scoped = napi_open_handle_scope(e->env, &scope) == napi_ok;
  napi_value argv[5];
  if (scoped && napi_create_int64(e->env, arena->handle, &argv[0]) == napi_ok) {
    results(e, arena->batch, &argv[1], &argv[2]);
    events(e, store, &argv[3], &argv[4]);
    arena_free(e, arena);
    if (--e->pending == 0) napi_unref_threadsafe_function(e->env, e->mailbox->notify);
    env_call(e, e->on_arena, 5, argv);
  } else {
    arena_free(e, arena);
    e->pending--;
  }
  if (scoped) napi_close_handle_scope(e->env, scope);
  store_release(store);
}

/* arenaCommit(arena) -> the value of its first member, or its error. Waits for the disk. The arena is gone
 * afterwards */
napi_value js_arenaCommit(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Arena *arena = arena_of(c.e, c[0]);
  if (!arena) return nullptr;
  toon_error err;
  uint64_t value = 0;
  toon_status status = toon_commit(arena->store->db, arena->batch, &err);
  if (status == TOON_OK && toon_batch_members(arena->batch) > 0)
    status = toon_batch_result(arena->batch, 0, &value, &err);
  arena_free(c.e, arena);
  return status == TOON_OK ? make_number(c.e, (double)value) : fail(c.e, &err);
}

} // namespace toonstore
