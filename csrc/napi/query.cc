/* Queries over collections. Their conditions and plans come from lib/filter.js and lib/plan.js, ready made. */
#include "functions.h"
#include "range.h"

extern "C" {
#include "query/query.h"
}

namespace toonstore {

namespace {

enum { REVERSE = 1, PICKS = 2, NULLS = 4, COLUMNS = 8 };

/* A chunk ends after so many bytes of JSON, whatever its number of rows. */
const size_t CHUNK_BYTES = 256 * 1024;

/* Regular expressions are matched by a JavaScript function. */
struct Ask {
  Env *e;
  napi_value function;

  static toon_status ask(void *ctx, uint32_t number, toon_slice text, bool *yes) {
    Ask *self = static_cast<Ask *>(ctx);
    napi_env env = self->e->env;
    napi_handle_scope scope;
    napi_value argv[2], undefined, answer;
    toon_error err;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return TOON_ENOMEM;
    bool ok = napi_create_uint32(env, number, &argv[0]) == napi_ok &&
              make_string(self->e, text, false, &argv[1], &err) == TOON_OK &&
              napi_get_undefined(env, &undefined) == napi_ok &&
              napi_call_function(env, undefined, self->function, 2, argv, &answer) == napi_ok &&
              napi_get_value_bool(env, answer, yes) == napi_ok;
    napi_close_handle_scope(env, scope);
    return ok ? TOON_OK : TOON_EINVAL;
  }
};

} // namespace

struct Query {
  Store *store;
  Handle handle = 0;
  toon_query *query = nullptr;
  toon_snapshot *own = nullptr;
  Snapshot *held = nullptr;
  bool busy = false, closed = false; /* busy: a job uses it */
};

void query_close(Env *e, Query *query) {
  if (!query->closed) e->queries.remove(query->handle);
  query->closed = true;
  if (query->busy) return; /* the job's end comes back here */
  toon_query_close(query->query);
  if (query->held)
    snapshot_release(query->held);
  else
    toon_snapshot_close(query->own);
  delete query;
}

void queries_close(Store *store) {
  Env *e = store->env;
  e->queries.each([&](Query *query) {
    if (query->store == store) query_close(e, query);
  });
}

namespace {

/* The query of a call, which no job uses. `test` answers its regular expressions during the call. */
struct Use {
  Use(Env *e, napi_value handle, napi_value test) : ask{e, test} {
    query = query_of(e, handle);
    if (!query) return;
    if (query->busy) {
      fail(e, TOON_EINVAL, "the query is being read already");
      query = nullptr;
      return;
    }
    napi_valuetype type = napi_undefined;
    napi_typeof(e->env, test, &type);
    if (type == napi_function) toon_query_ask(query->query, Ask::ask, &ask);
    query->busy = true; /* a regular expression can be anybody's function, which may close the query or its store */
    store = query->store;
    store_hold(store);
  }
  ~Use() {
    if (!query) return;
    toon_query_ask(query->query, nullptr, nullptr);
    query->busy = false;
    if (query->closed) query_close(ask.e, query);
    store_release(store);
  }
  /* What a call that failed returns. */
  napi_value failed(const toon_error *err) {
    bool pending = false;
    napi_is_exception_pending(ask.e->env, &pending);
    return pending ? nullptr : fail(ask.e, err);
  }
  Ask ask;
  Query *query;
  Store *store;
};

bool read_texts(Env *e, napi_value array, std::vector<std::string> *out) {
  uint32_t count = 0;
  if (napi_get_array_length(e->env, array, &count) != napi_ok) return fail_type(e, "an array was expected"), false;
  for (uint32_t i = 0; i < count; i++) {
    napi_value item;
    toon_slice text;
    if (napi_get_element(e->env, array, i, &item) != napi_ok || !read_text(e, item, &text)) return false;
    out->emplace_back(reinterpret_cast<const char *>(text.ptr), text.len);
  }
  return true;
}

toon_slice slice_of(const std::string &text) { return toon_slice_of(text.data(), text.size()); }

/* The next documents: a table, or in *out a string of JSON: [1 if that was the end else 0, document, …] */
toon_status take_chunk(Query *query, size_t rows, bool tables, toon_buf *out, toon_query_chunk *chunk,
                       toon_error *err) {
  size_t start = out->len;
  *chunk = {};
  if (toon_buf_lit(out, "[0,") != TOON_OK) return toon_fail(err, TOON_ENOMEM, nullptr);
  if (tables)
    TOON_TRY(toon_query_take_chunk(query->query, rows, CHUNK_BYTES, out, chunk, err));
  else
    TOON_TRY(toon_query_json(query->query, rows, CHUNK_BYTES, out, &chunk->rows, &chunk->end, err));
  if (out->ptr[out->len - 1] == ',') out->len--; /* the end came behind a comma, or there is none */
  if (chunk->end) out->ptr[start + 1] = '1';
  return toon_buf_byte(out, ']') == TOON_OK ? TOON_OK : toon_fail(err, TOON_ENOMEM, nullptr);
}

size_t padded(size_t bytes) { return (bytes + 7) & ~(size_t)7; }

/* A table as lib/tables.js takes it: [pattern, rows, numbers, texts] */
toon_status make_table(Env *e, const toon_query_chunk &chunk, napi_value *out, toon_error *err) {
  napi_value pattern, rows, numbers, texts, text;
  size_t bytes = 0;
  uint32_t count = 0;
  void *memory;
  for (size_t i = 0; i < chunk.count; i++) {
    const toon_table_column &column = chunk.columns[i];
    if (column.kind <= TOON_COLUMN_BOOL) bytes += padded(column.data.len);
    if (column.kind == TOON_COLUMN_DICT) bytes += padded(column.codes.len);
  }
  TOON_TRY(make_string(e, chunk.pattern, false, &pattern, err));
  if (napi_create_uint32(e->env, (uint32_t)chunk.rows, &rows) != napi_ok ||
      napi_create_arraybuffer(e->env, bytes, &memory, &numbers) != napi_ok ||
      napi_create_array(e->env, &texts) != napi_ok || napi_create_array_with_length(e->env, 4, out) != napi_ok)
    return toon_fail(err, TOON_ENOMEM, nullptr);
  auto *at = static_cast<uint8_t *>(memory);
  for (size_t i = 0; i < chunk.count; i++) {
    const toon_table_column &column = chunk.columns[i];
    toon_slice fixed = column.kind == TOON_COLUMN_DICT ? column.codes : column.data;
    if (column.kind <= TOON_COLUMN_BOOL || column.kind == TOON_COLUMN_DICT) {
      if (fixed.len) memcpy(at, fixed.ptr, fixed.len);
      at += padded(fixed.len);
    }
    if (column.kind > TOON_COLUMN_BOOL) {
      TOON_TRY(make_string(e, column.data, false, &text, err));
      if (napi_set_element(e->env, texts, count++, text) != napi_ok) return toon_fail(err, TOON_ENOMEM, nullptr);
    }
  }
  napi_value parts[] = {pattern, rows, numbers, texts};
  for (uint32_t i = 0; i < 4; i++)
    if (napi_set_element(e->env, *out, i, parts[i]) != napi_ok) return toon_fail(err, TOON_ENOMEM, nullptr);
  return TOON_OK;
}

toon_status make_chunk(Env *e, const toon_query_chunk &chunk, toon_slice text, napi_value *out, toon_error *err) {
  return chunk.table ? make_table(e, chunk, out, err) : make_string(e, text, false, out, err);
}

struct Chunk : Task {
  Chunk(Env *env, Query *q, size_t n, bool t) : Task(env), query(q), store(q->store), rows(n), tables(t) {
    query->busy = true;
    store_hold(store);
  }
  ~Chunk() override {
    query->busy = false;
    if (query->closed) query_close(e, query);
    toon_buf_free(&text);
    store_release(store);
  }
  void run() override { status = take_chunk(query, rows, tables, &text, &chunk, &err); }
  napi_value result() override {
    napi_value value;
    return make_chunk(e, chunk, toon_buf_slice(&text), &value, &err) == TOON_OK ? value : nullptr;
  }

  Query *query;
  Store *store;
  size_t rows;
  bool tables;
  toon_query_chunk chunk = {};
  toon_buf text = {};
};

} // namespace

/* queryOpen(source, prefix, base, parts, flags, offset, limit, bounds, filter paths, program, fields, order, descending) ->
 * query. limit < 0: none. bounds: strings, two a range. program: Uint8Array or undefined. descending: Uint8Array */
napi_value js_queryOpen(napi_env env, napi_callback_info info) {
  Call<13> c(env, info);
  Env *e = c.e;
  Source from(e, c[0]);
  Scratch scratch(e);
  if (!from.store) return nullptr;
  std::unique_ptr<Query> query(new (std::nothrow) Query());
  if (!query) return fail(e, TOON_ENOMEM, nullptr);
  query->store = from.store;
  std::vector<std::string> bounds;
  std::string prefix, base;
  Paths filter, fields, order;
  toon_slice text;
  if (!read_text(e, c[1], &text)) return nullptr;
  prefix.assign(reinterpret_cast<const char *>(text.ptr), text.len);
  if (!read_text(e, c[2], &text)) return nullptr;
  base.assign(reinterpret_cast<const char *>(text.ptr), text.len);
  if (!read_texts(e, c[7], &bounds) || !filter.read(e, c[8]) || !fields.read(e, c[10]) || !order.read(e, c[11]))
    return nullptr;
  void *program = nullptr, *descending = nullptr;
  size_t program_len = 0, descending_len = 0;
  napi_get_typedarray_info(env, c[9], nullptr, &program_len, &program, nullptr, nullptr);
  napi_get_typedarray_info(env, c[12], nullptr, &descending_len, &descending, nullptr, nullptr);
  if (order.list.size() > descending_len) return fail_type(e, "an order has no direction");
  std::vector<toon_slice> slices;
  for (const std::string &bound : bounds) slices.push_back(slice_of(bound));
  std::unique_ptr<bool[]> directions(new (std::nothrow) bool[order.list.size() + 1]);
  if (!directions) return fail(e, TOON_ENOMEM, nullptr);
  for (size_t i = 0; i < order.list.size(); i++) directions[i] = static_cast<uint8_t *>(descending)[i] != 0;
  toon_query_options o = {};
  o.prefix = slice_of(prefix);
  o.base = slice_of(base);
  o.parts = (uint32_t)c.integer(3);
  o.reverse = c.integer(4) & REVERSE;
  o.picks = c.integer(4) & PICKS;
  o.nulls = c.integer(4) & NULLS;
  o.columns = c.integer(4) & COLUMNS;
  o.offset = (uint64_t)c.number(5);
  o.limit = c.number(6) < 0 ? UINT64_MAX : (uint64_t)c.number(6);
  o.bounds = slices.data();
  o.ranges = slices.size() / 2;
  o.filter_paths = filter.list.data();
  o.filter_count = filter.list.size();
  o.program = toon_slice_of(program, program_len);
  o.fields = fields.list.data();
  o.field_count = fields.list.size();
  o.order = order.list.data();
  o.order_count = order.list.size();
  o.descending = directions.get();
  toon_error err;
  toon_snapshot *snapshot = from.snapshot;
  if (!snapshot && toon_snapshot_open(from.store->db, &snapshot, &err) != TOON_OK) return fail(e, &err);
  toon_status status = toon_query_open(from.store->db, snapshot, &o, &query->query, &err);
  if (status == TOON_OK) query->handle = e->queries.add(query.get());
  if (status == TOON_OK && !query->handle)
    status = toon_fail(&err, TOON_ENOMEM, "too many queries are open: read them to their end, or return() them");
  if (status != TOON_OK) {
    toon_query_close(query->query);
    if (!from.held) toon_snapshot_close(snapshot);
    return fail(e, &err);
  }
  query->held = from.held;
  if (from.held)
    from.held->uses++;
  else
    query->own = snapshot;
  return make_number(e, query.release()->handle);
}

bool flag(Env *e, napi_value value) {
  bool yes = false;
  napi_get_value_bool(e->env, value, &yes);
  return yes;
}

/* queryNext(query, rows, test, tables) -> JSON text: [1 if that was the end else 0, document, …]; or, if tables is true and
 * the documents are read from columns, [pattern, rows, numbers, texts] for lib/tables.js */
napi_value js_queryNext(napi_env env, napi_callback_info info) {
  Call<4> c(env, info);
  Use use(c.e, c[0], c[2]);
  if (!use.query) return nullptr;
  toon_error err;
  napi_value out = nullptr;
  toon_query_chunk chunk;
  c.e->out.len = 0;
  if (take_chunk(use.query, (size_t)c.integer(1), flag(c.e, c[3]), &c.e->out, &chunk, &err) != TOON_OK ||
      make_chunk(c.e, chunk, toon_buf_slice(&c.e->out), &out, &err) != TOON_OK)
    return use.failed(&err);
  return out;
}

/* queryNextAsync(query, rows, tables) -> promise of the same, read on the threadpool */
napi_value js_queryNextAsync(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Query *query = query_of(c.e, c[0]);
  if (!query) return nullptr;
  if (query->busy) return fail(c.e, TOON_EINVAL, "the query is being read already");
  Chunk *chunk = new (std::nothrow) Chunk(c.e, query, (size_t)c.integer(1), flag(c.e, c[2]));
  if (!chunk) return fail(c.e, TOON_ENOMEM, nullptr);
  return start(chunk, "toonstore query");
}

/* queryToon(query, rows, name or undefined, delimiter as a character code, test) -> TOON of the first rows; their number in
 * the shared memory */
napi_value js_queryToon(napi_env env, napi_callback_info info) {
  Call<5> c(env, info);
  Use use(c.e, c[0], c[4]);
  if (!use.query) return nullptr;
  napi_valuetype type = napi_undefined;
  napi_typeof(env, c[2], &type);
  std::string name;
  toon_slice text = {nullptr, 0};
  if (type != napi_undefined) {
    if (!read_text(c.e, c[2], &text)) return nullptr;
    name.assign(reinterpret_cast<const char *>(text.ptr), text.len);
    text = slice_of(name);
  }
  toon_error err;
  toon_buf toon = {};
  napi_value out = nullptr;
  uint64_t count = 0;
  double rows = c.number(1);
  toon_status status = toon_query_toon(use.query->query, rows < 0 ? UINT64_MAX : (uint64_t)rows, text,
                                       (uint8_t)c.integer(3), &toon, &count, &err);
  if (status == TOON_OK && make_string(c.e, toon_buf_slice(&toon), false, &out, &err) != TOON_OK)
    status = toon_fail(&err, TOON_EVALUETOOBIG,
                       "the text is longer than a JavaScript string can be: take fewer rows or fields");
  toon_buf_free(&toon);
  c.e->shared->rows = (double)count;
  return status == TOON_OK ? out : use.failed(&err);
}

/* queryCount(query, test) -> number of the documents that are left */
napi_value js_queryCount(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Use use(c.e, c[0], c[1]);
  uint64_t count = 0;
  toon_error err;
  if (!use.query) return nullptr;
  if (toon_query_count(use.query->query, &count, &err) != TOON_OK) return use.failed(&err);
  return make_number(c.e, (double)count);
}

/* queryGroups(query, groups, test) -> JSON text, see toon_query_groups */
napi_value js_queryGroups(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Use use(c.e, c[0], c[2]);
  toon_error err;
  napi_value out = nullptr;
  if (!use.query) return nullptr;
  c.e->out.len = 0;
  if (toon_query_groups(use.query->query, (size_t)c.integer(1), &c.e->out, &err) != TOON_OK ||
      make_string(c.e, toon_buf_slice(&c.e->out), false, &out, &err) != TOON_OK)
    return use.failed(&err);
  return out;
}

/* queryCounted(query): entries, rows and bytes read, blocks (-1: no columns) and those read of them, in the shared memory */
napi_value js_queryCounted(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Query *query = query_of(c.e, c[0]);
  if (!query) return nullptr;
  toon_query_counts counts = toon_query_counted(query->query);
  c.e->shared->more[0] = (double)counts.entries;
  c.e->shared->more[1] = (double)counts.rows;
  c.e->shared->more[2] = (double)counts.bytes;
  c.e->shared->more[3] = counts.columns ? (double)counts.blocks : -1;
  c.e->shared->more[4] = (double)counts.blocks_read;
  return nullptr;
}

/* queryClose(query). Does nothing for one that is closed */
napi_value js_queryClose(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Query *query = c.e->queries.get(c.handle(0));
  if (query && !env_forked(c.e)) query_close(c.e, query);
  return nullptr;
}

/* queryUnique(source, entry, prefix) -> JSON text of the document that the entry of a unique index leads to; undefined: to none;
 * null: there is no entry */
napi_value js_queryUnique(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Env *e = c.e;
  Source from(e, c[0]);
  toon_key entry;
  toon_slice prefix;
  toon_error err;
  bool there, document;
  napi_value out = nullptr;
  if (!from.store || !read_key(e, c[1], &entry) || !read_text(e, c[2], &prefix)) return nullptr;
  e->out.len = 0;
  toon_status status =
      toon_query_unique(from.store->db, from.snapshot, entry, prefix, &e->keys, &e->out, &there, &document, &err);
  if (status == TOON_OK && document) status = make_string(e, toon_buf_slice(&e->out), false, &out, &err);
  if (status != TOON_OK) return fail(e, &err);
  if (!there) napi_get_null(env, &out);
  return out;
}

namespace {

/* A build of columns. */
struct Build : Task {
  Build(Env *env, Store *s, std::string p) : Task(env), store(s), prefix(std::move(p)) { store_hold(store); }
  ~Build() override { store_release(store); }
  void run() override { status = toon_columns_build(store->db, slice_of(prefix), &err); }

  Store *store;
  std::string prefix;
};

} // namespace

/* columnsKeep(store, prefix, paths or undefined): keep columns of the documents; undefined: of the fields they have */
napi_value js_columnsKeep(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Store *store = store_of(c.e, c[0]);
  Paths paths;
  toon_slice prefix;
  toon_error err;
  if (!store || !paths.read(c.e, c[2]) || !read_text(c.e, c[1], &prefix)) return nullptr;
  if (toon_columns_keep(store->db, prefix, paths.list.data(), paths.list.size(), &err) != TOON_OK)
    return fail(c.e, &err);
  return nullptr;
}

/* columnsDrop(store, prefix): keep none */
napi_value js_columnsDrop(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Store *store = store_of(c.e, c[0]);
  toon_slice prefix;
  toon_error err;
  if (!store || !read_text(c.e, c[1], &prefix)) return nullptr;
  if (toon_columns_drop(store->db, prefix, &err) != TOON_OK) return fail(c.e, &err);
  return nullptr;
}

/* columnsBuild(store, prefix) -> promise: bring them up to now */
napi_value js_columnsBuild(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Store *store = store_of(c.e, c[0]);
  toon_slice prefix;
  if (!store || !read_text(c.e, c[1], &prefix)) return nullptr;
  auto *build =
      new (std::nothrow) Build(c.e, store, std::string(reinterpret_cast<const char *>(prefix.ptr), prefix.len));
  if (!build) return fail(c.e, TOON_ENOMEM, nullptr);
  return start(build, "toonstore columns");
}

/* columnsBlockRows(rows): documents of a block, for tests. Of all stores of the process that are opened later */
napi_value js_columnsBlockRows(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  toon_columns_block_rows((uint32_t)c.integer(0));
  return nullptr;
}

} // namespace toonstore
