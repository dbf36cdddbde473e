/* Ranges: a snapshot taken when the range is made, or one that JavaScript holds, a cursor on it opened at the first row, rows handed out in
 * chunks. */
#include "range.h"
#include "functions.h"

#include <string.h>

namespace toonstore {

namespace {

enum { LOWER_OPEN = 1, UPPER_OPEN = 2, REVERSE = 4, ROWS = 8 };
enum { WANT_KEY = 1, WANT_VALUE = 2, KEY_BYTES = 4 };

/* A chunk ends after so many bytes of values, whatever its number of rows. */
const size_t CHUNK_BYTES = 256 * 1024;
/* Scratch larger than this is given back after a document of a range. */
const size_t KEPT_UNITS = 1024 * 1024;

bool keep_bound(Env *e, napi_value value, std::unique_ptr<uint8_t[]> *memory, toon_slice *out, bool *given) {
  napi_valuetype type = napi_undefined;
  napi_typeof(e->env, value, &type);
  *given = type != napi_undefined;
  if (!*given) return true;
  toon_key key;
  if (!read_key(e, value, &key)) return false;
  memory->reset(new (std::nothrow) uint8_t[key.len + 1]);
  if (!*memory) {
    fail(e, TOON_ENOMEM, nullptr);
    return false;
  }
  if (key.len) memcpy(memory->get(), key.ptr, key.len);
  *out = toon_slice_of(memory->get(), key.len);
  return true;
}

} // namespace

bool Range::read(Env *e, const napi_value *argv) {
  int32_t flags = 0;
  double limit = 0;
  bool prefixed;
  toon = {};
  if (!keep_bound(e, argv[0], &memory[0], &toon.lower, &toon.has_lower) ||
      !keep_bound(e, argv[1], &memory[1], &toon.upper, &toon.has_upper) ||
      !keep_bound(e, argv[2], &memory[2], &toon.prefix, &prefixed))
    return false;
  napi_get_value_int32(e->env, argv[3], &flags);
  napi_get_value_double(e->env, argv[4], &limit);
  toon.lower_open = flags & LOWER_OPEN;
  toon.upper_open = flags & UPPER_OPEN;
  toon.reverse = flags & REVERSE;
  toon.space = flags & ROWS ? TOON_SPACE_ROW : TOON_SPACE_USER;
  toon.limit = (uint64_t)limit;
  return true;
}

struct Cursor {
  Store *store;
  Handle handle = 0;
  Range range;
  Projection projection;
  int mode = MODE_VALUE, want = WANT_KEY | WANT_VALUE;
  toon_snapshot *snapshot = nullptr;
  Snapshot *held = nullptr; /* whose snapshot that is; nullptr: the cursor's own */
  toon_cursor *cursor = nullptr;
  bool busy = false, closed = false; /* busy: a job uses it */

  toon_status next(toon_key *key, toon_row *row, bool *end, toon_error *err) {
    if (!cursor) TOON_TRY(toon_cursor_open(store->db, snapshot, &range.toon, &cursor, err));
    return toon_cursor_next(cursor, !(want & WANT_VALUE), key, row, end, err);
  }
  void pause() {
    if (cursor) toon_cursor_pause(cursor);
  }
};

void cursor_close(Env *e, Cursor *cursor) {
  if (!cursor->closed) e->cursors.remove(cursor->handle);
  cursor->closed = true;
  if (cursor->busy) return; /* the job's end comes back here */
  if (cursor->cursor) toon_cursor_close(cursor->cursor);
  if (cursor->held)
    snapshot_release(cursor->held);
  else if (cursor->snapshot)
    toon_snapshot_close(cursor->snapshot);
  delete cursor;
}

void cursors_close(Store *store) {
  Env *e = store->env;
  e->cursors.each([&](Cursor *cursor) {
    if (cursor->store == store) cursor_close(e, cursor);
  });
}

/* cursorOpen(source, lower, upper, prefix, flags, limit, mode, want, paths) -> cursor. paths: undefined or an array of
 * arrays of names. The snapshot is taken now */
napi_value js_cursorOpen(napi_env env, napi_callback_info info) {
  Call<9> c(env, info);
  Source from(c.e, c[0]);
  Store *store = from.store;
  if (!store) return nullptr;
  std::unique_ptr<Cursor> cursor(new (std::nothrow) Cursor());
  if (!cursor) return fail(c.e, TOON_ENOMEM, nullptr);
  cursor->store = store;
  if (!cursor->range.read(c.e, c.argv + 1) || !cursor->projection.read(c.e, c[8], false)) return nullptr;
  cursor->mode = c.integer(6);
  cursor->want = c.integer(7);
  toon_error err;
  cursor->snapshot = from.snapshot;
  if (!cursor->snapshot && toon_snapshot_open(store->db, &cursor->snapshot, &err) != TOON_OK) return fail(c.e, &err);
  cursor->handle = c.e->cursors.add(cursor.get());
  if (!cursor->handle) {
    if (!from.held) toon_snapshot_close(cursor->snapshot);
    return fail(c.e, TOON_ENOMEM, "too many ranges are open: read them to their end, or return() them");
  }
  cursor->held = from.held;
  if (from.held) from.held->uses++;
  return make_number(c.e, cursor.release()->handle);
}

/* cursorClose(cursor). Does nothing for one that is closed */
napi_value js_cursorClose(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Cursor *cursor = c.e->cursors.get(c.handle(0));
  if (cursor && !env_forked(c.e)) cursor_close(c.e, cursor);
  return nullptr;
}

/* cursorNext(cursor, rows) -> [key, value, …] of the next rows, or only keys or values as wanted; their kinds
 * in the shared memory, and whether that was the end, which closes the cursor. An error closes it too */
napi_value js_cursorNext(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Env *e = c.e;
  Cursor *cursor = cursor_of(e, c[0]);
  if (!cursor) return nullptr;
  if (cursor->busy) return fail(e, TOON_EINVAL, "the range is being read asynchronously");
  napi_value values[2 * ROWS_PER_CALL], self, out = nullptr;
  uint8_t *kinds = e->shared->kinds;
  size_t rows = (size_t)c.integer(1), count = 0, bytes = 0;
  toon_status status = TOON_OK;
  toon_error err;
  bool end = false;
  if (rows > ROWS_PER_CALL) rows = ROWS_PER_CALL;
  for (size_t i = 0; i < rows && bytes < CHUNK_BYTES && status == TOON_OK; i++) {
    toon_key key;
    toon_row row;
    status = cursor->next(&key, &row, &end, &err);
    if (status != TOON_OK || end) break;
    if (cursor->want & WANT_KEY) {
      status = make_key(e, key, cursor->want & KEY_BYTES, &values[count], &kinds[count], &err);
      count++;
    }
    if (status == TOON_OK && (cursor->want & WANT_VALUE)) {
      if (cursor->projection.concerns(row.flags)) {
        e->text.len = 0;
        status = cursor->projection.pick(row.field, cursor->mode, &e->text, &err);
        if (status == TOON_OK)
          status = make_picked(e, toon_buf_slice(&e->text), cursor->mode, &values[count], &kinds[count], &err);
      } else {
        status = make_value(e, row.field, row.flags, cursor->mode, &values[count], &kinds[count], &err);
      }
      bytes += row.field.len;
      count++;
    }
  }
  cursor->pause();
  if (end || status != TOON_OK) cursor_close(e, cursor);
  if (status != TOON_OK) return fail(e, &err);
  e->shared->ended = end;
  napi_get_undefined(env, &self);
  napi_call_function(env, self, env_function(e, e->collect), count, values, &out);
  return out;
}

namespace {

/* Rows of a cursor copied on the threadpool. */
struct Chunk : Job {
  Chunk(Env *env, Cursor *c, int32_t callback, size_t count) : Job(env), cursor(c), id(callback), rows(count) {
    store = cursor->store;
    cursor->busy = true;
    store_hold(store);
  }
  ~Chunk() override {
    cursor->busy = false;
    if (end || status != TOON_OK || cursor->closed) cursor_close(e, cursor);
    toon_buf_free(&bytes);
    store_release(store);
  }

  void run() override {
    copy_rows();
    cursor->pause();
  }

  void copy_rows() {
    while (list.size() < rows && bytes.len < CHUNK_BYTES) {
      toon_key key;
      toon_row row;
      status = cursor->next(&key, &row, &end, &err);
      if (status != TOON_OK || end) return;
      Copy copy = {bytes.len, key.len, key.space, row.flags, false, 0};
      if (cursor->want & WANT_KEY) status = toon_buf_append(&bytes, key.ptr, key.len);
      if (status == TOON_OK && (cursor->want & WANT_VALUE)) {
        size_t from = bytes.len;
        copy.picked = cursor->projection.concerns(row.flags);
        if (copy.picked) {
          status = cursor->projection.pick(row.field, cursor->mode, &bytes, &err);
          if (status != TOON_OK) return;
        } else {
          status = toon_buf_add(&bytes, row.field);
        }
        copy.field_len = bytes.len - from;
      }
      if (status != TOON_OK) {
        toon_fail(&err, status, nullptr);
        return;
      }
      list.push_back(copy);
    }
  }

  /* onChunk(id, end, error, ...values) */
  void done() override {
    size_t count = 0;
    napi_value *out = values + 3;
    uint8_t *kinds = e->shared->kinds;
    if (napi_create_int32(e->env, id, &values[0]) != napi_ok || !(values[1] = make_bool(e, end)) ||
        napi_get_undefined(e->env, &values[2]) != napi_ok)
      return;
    for (const Copy &copy : list) {
      const uint8_t *at = bytes.ptr + copy.at;
      if (status == TOON_OK && (cursor->want & WANT_KEY)) {
        toon_key key = {at, copy.key_len, copy.space};
        status = make_key(e, key, cursor->want & KEY_BYTES, &out[count], &kinds[count], &err);
        at += copy.key_len;
        count++;
      }
      if (status == TOON_OK && (cursor->want & WANT_VALUE)) {
        toon_slice field = toon_slice_of(at, copy.field_len);
        status = copy.picked ? make_picked(e, field, cursor->mode, &out[count], &kinds[count], &err)
                             : make_value(e, field, copy.flags, cursor->mode, &out[count], &kinds[count], &err);
        count++;
      }
    }
    if (status != TOON_OK) {
      count = 0;
      values[2] = error_object(e, &err);
      if (!values[2]) return;
    }
    env_call(e, e->on_chunk, 3 + count, values);
  }

  struct Copy {
    size_t at;
    uint32_t key_len;
    uint8_t space, flags;
    bool picked;
    size_t field_len; /* or length of what was picked */
  };
  Cursor *cursor;
  Store *store;
  int32_t id;
  size_t rows;
  std::vector<Copy> list;
  toon_buf bytes = {};
  bool end = false;
  toon_status status = TOON_OK;
  toon_error err;
  napi_value values[3 + 2 * ROWS_PER_CALL];
};

} // namespace

/* cursorNextAsync(cursor, id, rows): as cursorNext, on the threadpool; onChunk(id, end, error, ...values) is
 * called */
napi_value js_cursorNextAsync(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Cursor *cursor = cursor_of(c.e, c[0]);
  if (!cursor) return nullptr;
  if (cursor->busy) return fail(c.e, TOON_EINVAL, "the range is being read asynchronously");
  size_t rows = (size_t)c.integer(2);
  if (rows > ROWS_PER_CALL) rows = ROWS_PER_CALL;
  Chunk *chunk = new (std::nothrow) Chunk(c.e, cursor, c.integer(1), rows);
  if (!chunk) return fail(c.e, TOON_ENOMEM, nullptr);
  chunk->start("toonstore range");
  return nullptr;
}

/* rangeCount(source, lower, upper, prefix, flags, limit) -> number of keys */
napi_value js_rangeCount(napi_env env, napi_callback_info info) {
  Call<6> c(env, info);
  Source from(c.e, c[0]);
  if (!from.store) return nullptr;
  Cursor cursor;
  cursor.store = from.store;
  cursor.snapshot = from.snapshot;
  cursor.want = WANT_KEY;
  if (!cursor.range.read(c.e, c.argv + 1)) return nullptr;
  toon_error err;
  bool end = false;
  double count = 0;
  toon_status status = TOON_OK;
  while (status == TOON_OK && !end) {
    toon_key key;
    toon_row row;
    status = cursor.next(&key, &row, &end, &err);
    if (status == TOON_OK && !end) count++;
  }
  if (cursor.cursor) toon_cursor_close(cursor.cursor);
  return status == TOON_OK ? make_number(c.e, count) : fail(c.e, &err);
}

/* Put the rows of a cursor into an emitter. */
static toon_status emit_rows(Cursor *cursor, toon_emitter *emitter, double *rows, toon_error *err) {
  for (bool end = false;;) {
    toon_key key;
    toon_row row;
    TOON_TRY(cursor->next(&key, &row, &end, err));
    if (end) return TOON_OK;
    TOON_TRY(toon_emitter_add(emitter, toon_slice_of(key.ptr, key.len), row.field, err));
    ++*rows;
  }
}

/* rangeToon(source, lower, upper, prefix, flags, limit, paths, name or undefined, delimiter as a character code) -> the
 * rows of a range as one TOON document; their number in the shared memory */
napi_value js_rangeToon(napi_env env, napi_callback_info info) {
  Call<9> c(env, info);
  Env *e = c.e;
  Source from(e, c[0]);
  if (!from.store) return nullptr;
  Cursor cursor;
  cursor.store = from.store;
  cursor.snapshot = from.snapshot;
  if (!cursor.range.read(e, c.argv + 1) || !cursor.projection.read(e, c[6], true)) return nullptr;
  napi_valuetype type = napi_undefined;
  napi_typeof(env, c[7], &type);
  toon_slice name = {nullptr, 0};
  if (type != napi_undefined && !read_text(e, c[7], &name)) return nullptr;
  toon_emitter *emitter = nullptr;
  toon_buf text = {};
  toon_error err;
  napi_value out = nullptr;
  double rows = 0;
  toon_status status = toon_emitter_new(cursor.projection.toon, name, (uint8_t)c.integer(8), &emitter, &err);
  if (status == TOON_OK) status = emit_rows(&cursor, emitter, &rows, &err);
  if (cursor.cursor) toon_cursor_close(cursor.cursor);
  if (status == TOON_OK) status = toon_emitter_end(emitter, &text, &err);
  toon_emitter_free(emitter);
  if (status == TOON_OK && make_string(e, toon_buf_slice(&text), false, &out, &err) != TOON_OK)
    status = toon_fail(&err, TOON_EVALUETOOBIG,
                       "the text is longer than a JavaScript string can be: take fewer rows or fields");
  toon_buf_free(&text);
  if (e->units.cap > KEPT_UNITS) toon_buf_free(&e->units);
  e->shared->rows = rows;
  return status == TOON_OK ? out : fail(e, &err);
}

} // namespace toonstore
