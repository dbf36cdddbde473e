/* Point reads: one key, many keys in one call, and reads on the threadpool. A `source` is a store or a snapshot. */
#include "convert.h"
#include "functions.h"

#include <string.h>

namespace toonstore {

static int32_t length_of(const toon_row *row) {
  return row->field.len > INT32_MAX ? INT32_MAX : (int32_t)row->field.len;
}

enum { HOT_MIN = 128 }; /* bytes of text from which on the cache is quicker than to decode it */

/* Bytes that are read often (and, as a Buffer, what they were replaced by), from the cache in C. False if they are not there, or anything is in the way: the way past the cache
 * finds out. */
static bool get_hot(Env *e, Store *store, toon_key key, int mode, napi_value *out) {
  toon_row facts;
  toon_error err;
  bool found;
  uint8_t kind;
  if (!store->cache || (mode != MODE_VALUE && mode != MODE_BUFFER) || !toon_cache_wants(store->cache, key, false))
    return false;
  e->text.len = 0;
  if (toon_cache_get(store->cache, key, &e->text, &facts, &found, &err) != TOON_OK || !found ||
      (mode == MODE_VALUE && (facts.flags & 7) != TOON_BYTES) ||
      make_bytes(e, toon_buf_slice(&e->text), out, &kind, &err) != TOON_OK)
    return false;
  e->shared->version = (double)facts.version;
  e->shared->expires_at = (double)facts.expires_at;
  e->shared->keep = 0;
  e->shared->kind = kind;
  return true;
}

/* Bytes were read past it. Without memory for a cache there is none. */
static void vote_hot(Store *store, toon_key key) {
  toon_error err;
  if (store->cache || toon_cache_open(store->db, store->cache_rows, store->cache_bytes, &store->cache, &err) == TOON_OK)
    toon_cache_wants(store->cache, key, true);
}

/* get(source, key, mode) -> the value, with its kind, version and expiry in the shared memory. MODE_FACTS: without
 * the value */
napi_value js_get(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Env *e = c.e;
  Source from(e, c[0]);
  Store *store = from.store;
  toon_key key;
  if (!store || !read_key(e, c[1], &key)) return nullptr;
  toon_row row;
  toon_error err;
  bool found, watched = store->words && !from.snapshot;
  toon_stamp stamp = {};
  napi_value out = nullptr;
  if (watched && get_hot(e, store, key, c.integer(2), &out)) return out;
  if (watched) stamp = toon_watch_stamp(store->db, key);
  if (toon_get(store->db, from.snapshot, key, &row, &found, &err) != TOON_OK) return fail(e, &err);
  if (!found) {
    e->shared->kind = KIND_MISSING;
    return nullptr;
  }
  uint8_t kind;
  toon_status status = TOON_OK;
  bool hot = watched && (row.flags & 7) == TOON_BYTES && row.field.len >= HOT_MIN;
  if (c.integer(2) == MODE_FACTS)
    kind = KIND_READY;
  else
    status = make_value(e, row.field, row.flags, c.integer(2), &out, &kind, &err);
  e->shared->version = (double)row.version;
  e->shared->expires_at = (double)row.expires_at;
  e->shared->length = length_of(&row);
  toon_row_release(store->db, &row);
  if (hot) vote_hot(store, key);
  e->shared->keep = watched && toon_watch_unchanged(store->db, &stamp);
  e->shared->slot = (int32_t)stamp.slot;
  e->shared->version_word = (int32_t)stamp.version;
  if (status != TOON_OK) return fail(e, &err);
  e->shared->kind = kind;
  return out;
}

/* has(source, key) -> boolean */
napi_value js_has(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Source from(c.e, c[0]);
  Store *store = from.store;
  toon_key key;
  toon_error err;
  bool found;
  if (!store || !read_key(c.e, c[1], &key)) return nullptr;
  if (toon_has(store->db, from.snapshot, key, &found, &err) != TOON_OK) return fail(c.e, &err);
  return make_bool(c.e, found);
}

/* checkKey(key): throws what a read or write with the key would throw for it */
napi_value js_checkKey(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  toon_key key;
  read_key(c.e, c[0], &key);
  return nullptr;
}

namespace {

/* The state that all reads of one call see: that of the source's snapshot, or one that is closed at the end of
 * the call. */
struct Moment {
  explicit Moment(const Source &source) : from(source), snapshot(source.snapshot) {}
  ~Moment() {
    if (snapshot && !from.snapshot) toon_snapshot_close(snapshot);
  }
  toon_status open(toon_error *err) { return snapshot ? TOON_OK : toon_snapshot_open(from.store->db, &snapshot, err); }
  const Source &from;
  toon_snapshot *snapshot;
};

napi_value collect(Env *e, size_t count, napi_value *values) {
  napi_value self, out = nullptr;
  napi_get_undefined(e->env, &self);
  napi_call_function(e->env, self, env_function(e, e->collect), count, values, &out);
  return out;
}

} // namespace

/* One of many reads, at one moment. False with an exception pending. */
static bool read_one(Env *e, Store *store, const Moment &moment, toon_key key, int mode, napi_value *out,
                     uint8_t *kind) {
  toon_error err;
  toon_row row;
  bool found;
  toon_status status = mode == MODE_EXISTS ? toon_has(store->db, moment.snapshot, key, &found, &err)
                                           : toon_get(store->db, moment.snapshot, key, &row, &found, &err);
  if (status == TOON_OK && mode == MODE_EXISTS) {
    *kind = KIND_READY;
    *out = make_bool(e, found);
  } else if (status == TOON_OK && found) {
    status = make_value(e, row.field, row.flags, mode, out, kind, &err);
    toon_row_release(store->db, &row);
  } else if (status == TOON_OK) {
    *kind = KIND_MISSING;
    napi_get_undefined(e->env, out);
  }
  if (status == TOON_OK) return true;
  fail(e, &err);
  return false;
}

/* Keys of a call from an argument on, copied. False with an exception pending. */
static bool read_keys(Env *e, const napi_value *argv, size_t count, toon_key *keys) {
  e->keys.len = 0;
  for (size_t i = 0; i < count; i++) {
    if (!read_key(e, argv[i], &keys[i])) return false;
    if (toon_buf_append(&e->keys, keys[i].ptr, keys[i].len) != TOON_OK) return fail(e, TOON_ENOMEM, nullptr), false;
  }
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    keys[i].ptr = e->keys.ptr + at;
    at += keys[i].len;
  }
  return true;
}

/* hasAny(source, ...keys) -> whether one of them is there. At most ROWS_PER_CALL keys */
napi_value js_hasAny(napi_env env, napi_callback_info info) {
  Call<ROWS_PER_CALL + 1> c(env, info);
  Source from(c.e, c[0]);
  toon_key keys[ROWS_PER_CALL];
  toon_error err;
  bool found = false;
  size_t count = c.argc < 1 ? 0 : c.argc - 1;
  if (!from.store || !read_keys(c.e, c.argv + 1, count, keys)) return nullptr;
  for (size_t i = 0; i < count; i++) toon_prefetch(from.store->db, keys[i]);
  for (size_t i = 0; i < count && !found; i++)
    if (toon_has(from.store->db, from.snapshot, keys[i], &found, &err) != TOON_OK) return fail(c.e, &err);
  return make_bool(c.e, found);
}

namespace {

/* What js_getMany makes of the rows; value i takes the place of argument i, which was read before. */
struct Collected {
  Env *e;
  Store *store;
  const toon_key *keys;
  napi_value *values;
  int mode;
  bool watched;
  toon_status status;
  toon_error *err;

  static bool take(void *ctx, size_t i, const toon_row *row) {
    Collected &c = *static_cast<Collected *>(ctx);
    Shared &shared = *c.e->shared;
    shared.slots[i] = -1;
    if (!row) {
      shared.kinds[i] = KIND_MISSING;
      shared.lengths[i] = 0;
      napi_get_undefined(c.e->env, &c.values[i]);
      return true;
    }
    if (c.watched && row->field.len && !row->expires_at && (row->flags & 7) != TOON_BYTES)
      shared.slots[i] = (int32_t)toon_watch_stamp(c.store->db, c.keys[i]).slot;
    shared.lengths[i] = length_of(row);
    c.status = make_value(c.e, row->field, row->flags, c.mode, &c.values[i], &shared.kinds[i], c.err);
    return c.status == TOON_OK;
  }
};

} // namespace

/* getMany(source, mode, ...keys) -> values of one moment, their kinds in the shared memory. At most
 * ROWS_PER_CALL keys. Keys come as arguments, and values go to JavaScript as arguments of a function that
 * returns them as an array: four times faster than to read and write the elements of arrays. */
napi_value js_getMany(napi_env env, napi_callback_info info) {
  Call<ROWS_PER_CALL + 2> c(env, info);
  Source from(c.e, c[0]);
  Store *store = from.store;
  if (!store) return nullptr;
  int mode = c.integer(1);
  toon_error err;
  size_t count = c.argc < 2 ? 0 : c.argc - 2;
  toon_key keys[ROWS_PER_CALL];
  if (!read_keys(c.e, c.argv + 2, count, keys)) return nullptr;
  if (mode == MODE_EXISTS) {
    Moment moment(from);
    if (moment.open(&err) != TOON_OK) return fail(c.e, &err);
    for (size_t i = 0; i < count; i++)
      if (!read_one(c.e, store, moment, keys[i], mode, &c.argv[i], &c.e->shared->kinds[i])) return nullptr;
    return collect(c.e, count, c.argv);
  }
  Collected into = {c.e, store, keys, c.argv, mode, store->words && !from.snapshot, TOON_OK, &err};
  toon_status status = toon_get_many(store->db, from.snapshot, keys, count, Collected::take, &into, &err);
  if (status != TOON_OK || into.status != TOON_OK) return fail(c.e, &err);
  return collect(c.e, count, c.argv);
}

/* getLong(source, mode, keys, values, kinds): the same for any number of keys; fills the arrays values and
 * kinds (a Uint8Array), which are as long as keys */
napi_value js_getLong(napi_env env, napi_callback_info info) {
  Call<5> c(env, info);
  Source from(c.e, c[0]);
  Store *store = from.store;
  int mode = c.integer(1);
  uint32_t count = 0;
  size_t kinds_count = 0;
  void *kinds = nullptr;
  toon_error err;
  Moment moment(from);
  if (!store) return nullptr;
  napi_get_array_length(env, c[2], &count);
  napi_get_typedarray_info(env, c[4], nullptr, &kinds_count, &kinds, nullptr, nullptr);
  if (count > kinds_count) return fail_type(c.e, "the array of kinds is too short");
  if (moment.open(&err) != TOON_OK) return fail(c.e, &err);
  for (uint32_t i = 0; i < count; i++) {
    napi_handle_scope scope;
    napi_value given, value;
    toon_key key;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return nullptr;
    bool ok = napi_get_element(env, c[2], i, &given) == napi_ok && read_key(c.e, given, &key) &&
              read_one(c.e, store, moment, key, mode, &value, static_cast<uint8_t *>(kinds) + i) &&
              napi_set_element(env, c[3], i, value) == napi_ok;
    napi_close_handle_scope(env, scope);
    if (!ok) return nullptr;
  }
  return nullptr;
}

/* ---- reads on the threadpool: all of one tick are one job ---- */

namespace {

struct Read {
  size_t at;    /* in `bytes`: the key, then the field text */
  uint32_t len; /* of the key */
  uint8_t space, flags;
  bool found;
  toon_status status;
  size_t field_at, field_len;
  std::unique_ptr<toon_error> err;
};

struct Reads : Job {
  Reads(Env *env, const Source &from) : Job(env), store(from.store), held(from.held), moment(from.snapshot) {
    store_hold(store);
    if (held) held->uses++;
  }
  ~Reads() override {
    toon_buf_free(&bytes);
    if (held) snapshot_release(held); /* before its store, which may be closed by this */
    store_release(store);
  }

  void run() override {
    for (Read &read : list) {
      toon_key key = {bytes.ptr + read.at, read.len, read.space};
      toon_row row;
      toon_error err;
      read.status = toon_get(store->db, moment, key, &row, &read.found, &err);
      if (read.status == TOON_OK && read.found) {
        read.flags = row.flags;
        read.field_at = bytes.len;
        read.field_len = row.field.len;
        read.status = toon_buf_add(&bytes, row.field);
        if (read.status != TOON_OK) toon_fail(&err, read.status, nullptr);
        toon_row_release(store->db, &row);
      }
      if (read.status != TOON_OK) read.err.reset(new (std::nothrow) toon_error(err));
    }
  }

  void done() override {
    if (napi_create_int32(e->env, handle, &values[0]) != napi_ok) return;
    for (size_t i = 0; i < list.size(); i++) {
      const Read &read = list[i];
      uint8_t *kind = &e->shared->kinds[i];
      napi_value *value = &values[i + 1];
      toon_error err;
      toon_status status = read.status;
      if (status == TOON_OK && !read.found) {
        *kind = KIND_MISSING;
        if (napi_get_undefined(e->env, value) != napi_ok) return;
        continue;
      }
      if (status == TOON_OK)
        status = make_value(e, toon_slice_of(bytes.ptr + read.field_at, read.field_len), read.flags, MODE_VALUE, value,
                            kind, &err);
      else if (read.err)
        err = *read.err;
      else
        toon_fail(&err, status, nullptr);
      if (status != TOON_OK) {
        *kind = KIND_FAILED;
        *value = error_object(e, &err);
        if (!*value) return;
      }
    }
    env_call(e, e->on_reads, list.size() + 1, values);
  }

  Store *store;
  Snapshot *held;
  toon_snapshot *moment;
  int32_t handle = 0;
  std::vector<Read> list;
  toon_buf bytes = {};
  napi_value values[ROWS_PER_CALL + 1];
};

} // namespace

/* readsStart(source, id, ...keys): onReads(id, ...values) is called when they are there. At most ROWS_PER_CALL
 * keys */
napi_value js_readsStart(napi_env env, napi_callback_info info) {
  Call<ROWS_PER_CALL + 2> c(env, info);
  Source from(c.e, c[0]);
  if (!from.store) return nullptr;
  std::unique_ptr<Reads> reads(new (std::nothrow) Reads(c.e, from));
  if (!reads) return fail(c.e, TOON_ENOMEM, nullptr);
  reads->handle = c.integer(1);
  for (size_t i = 2; i < c.argc; i++) {
    toon_key key;
    if (!read_key(c.e, c[i], &key)) return nullptr;
    Read read = {};
    read.at = reads->bytes.len;
    read.len = key.len;
    read.space = key.space;
    if (toon_buf_append(&reads->bytes, key.ptr, key.len) != TOON_OK) return fail(c.e, TOON_ENOMEM, nullptr);
    reads->list.push_back(std::move(read));
  }
  reads.release()->start("toonstore read");
  return nullptr;
}

} // namespace toonstore
