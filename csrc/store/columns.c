/* The register of column files, and what has changed since they were made. */
#include "store/columns_parts.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the register ---- */

void columns_init(store_engine *engine) {
  store_columns *c = &engine->columns;
  os_mutex_init(&c->lock);
  os_cond_init(&c->wake);
  os_cond_init(&c->done);
  c->floor = c->building = UINT64_MAX;
  c->next_number = 1;
}

static void columns_unref(toon_columns *c) {
  if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) return;
  column_file_unref(c->file);
  toon_buf_free(&c->memory);
  toon_free(c->ids);
  toon_free(c);
}

void columns_paths_unref(columns_paths *paths) {
  if (!paths || atomic_fetch_sub_explicit(&paths->refs, 1, memory_order_acq_rel) != 1) return;
  toon_free(paths->list);
  toon_free(paths->names);
  toon_buf_free(&paths->memory);
  toon_free(paths);
}

static void collection_free(columns_collection *col) {
  columns_unref(col->current);
  column_file_unref(col->gone);
  columns_paths_unref(col->asked);
  toon_free(col->prefix);
  toon_free(col);
}

void columns_free(store_engine *engine) {
  store_columns *c = &engine->columns;
  while (c->list) {
    columns_collection *next = c->list->next;
    collection_free(c->list);
    c->list = next;
  }
  toon_free(c->db);
  toon_free(c->expected);
  os_mutex_destroy(&c->lock);
  os_cond_destroy(&c->wake);
  os_cond_destroy(&c->done);
}

toon_slice columns_prefix(const columns_collection *col) { return toon_slice_of(col->prefix, col->prefix_len); }

static columns_collection *find(store_columns *c, toon_slice prefix) {
  columns_collection *col = c->list;
  while (col && !toon_slice_eq(columns_prefix(col), prefix)) col = col->next;
  return col;
}

/* The same, made if it is not there; NULL without memory. */
static columns_collection *enter(store_columns *c, toon_slice prefix) {
  columns_collection *col = find(c, prefix);
  if (col) return col;
  col = toon_calloc(1, sizeof *col);
  uint8_t *copy = toon_malloc(prefix.len + 1);
  if (!col || !copy) {
    toon_free(col);
    toon_free(copy);
    return NULL;
  }
  if (prefix.len) memcpy(copy, prefix.ptr, prefix.len);
  col->prefix = copy;
  col->prefix_len = prefix.len;
  col->floor = UINT64_MAX;
  col->next = c->list;
  c->list = col;
  return col;
}

uint64_t columns_floor(store_engine *engine) {
  store_columns *c = &engine->columns;
  os_mutex_lock(&c->lock);
  uint64_t floor = c->floor < c->building ? c->floor : c->building;
  if (!c->loaded && !engine->recovery.rebuilt) floor = 0; /* nobody knows yet */
  for (const columns_collection *col = c->list; col; col = col->next)
    if (col->floor < floor) floor = col->floor;
  os_mutex_unlock(&c->lock);
  return floor;
}

/* A file with nothing but its others changed. Takes the reference over; NULL without memory. */
static toon_columns *columns_new(column_file *file) {
  toon_columns *c = toon_calloc(1, sizeof *c);
  if (c) c->ids = toon_calloc(file->other_count + 1, sizeof *c->ids);
  if (!c || !c->ids) {
    toon_free(c);
    return NULL;
  }
  atomic_init(&c->refs, 1);
  c->file = file;
  c->through = file->sequence;
  c->count = file->other_count;
  if (c->count) memcpy(c->ids, file->others, c->count * sizeof *c->ids);
  return c;
}

bool columns_install(columns_collection *col, column_file *file) {
  toon_columns *fresh = columns_new(file);
  if (!fresh) return false;
  columns_unref(col->current);
  col->current = fresh;
  col->floor = file->sequence;
  col->overrun = false;
  return true;
}

/* Queries use it no more. The thread removes the file; until then deletes are kept. lock held. */
static void give_up(store_columns *c, columns_collection *col) {
  column_file_ref(col->current->file);
  if (col->gone) column_file_unref(col->gone);
  col->gone = col->current->file;
  columns_unref(col->current);
  col->current = NULL;
  c->dropped++;
  c->unlisted = true;
  c->look = true;
  os_cond_signal(&c->wake);
}

/* ---- what has changed ---- */

/* Ids found by a walk, in order. */
typedef struct found_ids {
  toon_buf bytes, ends; /* ends: size_t */
} found_ids;

static size_t found_count(const found_ids *f) { return f->ends.len / sizeof(size_t); }
static toon_slice found_id(const found_ids *f, size_t i) {
  const size_t *ends = (const size_t *)(const void *)f->ends.ptr;
  size_t from = i ? ends[i - 1] : 0;
  return toon_slice_of(f->bytes.ptr + from, ends[i] - from);
}

/* The old ids and the new ones, each once. */
static toon_columns *merge_ids(const toon_columns *old, const found_ids *found, uint64_t through) {
  toon_columns *c = toon_calloc(1, sizeof *c);
  size_t n = found_count(found), bytes = 0, i = 0, j = 0;
  for (size_t k = 0; k < old->count; k++) bytes += old->ids[k].len;
  if (c) c->ids = toon_malloc((old->count + n + 1) * sizeof *c->ids);
  if (!c || !c->ids || toon_buf_reserve(&c->memory, bytes + found->bytes.len + 1) != TOON_OK) {
    if (c) toon_free(c->ids);
    toon_free(c);
    return NULL;
  }
  while (i < old->count || j < n) {
    int order = i == old->count ? 1 : j == n ? -1 : toon_slice_cmp(old->ids[i], found_id(found, j));
    toon_slice id = order <= 0 ? old->ids[i] : found_id(found, j);
    c->ids[c->count++] = toon_slice_of(c->memory.ptr + c->memory.len, id.len);
    if (id.len) memcpy(c->memory.ptr + c->memory.len, id.ptr, id.len);
    c->memory.len += id.len;
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
  atomic_init(&c->refs, 1);
  c->file = old->file;
  column_file_ref(c->file);
  c->through = through;
  return c;
}

/* Walk what is newer than `through` in the prefix. */
static toon_status walk_changes(store_engine *engine, const store_view *view, const toon_snapshot *snapshot,
                                toon_slice prefix, uint64_t through, size_t most, found_ids *found, toon_error *err) {
  toon_status status = TOON_OK;
  index_cursor *cursor = NULL;
  toon_buf end_key = {0};
  index_run **runs = toon_malloc((view->run_count + 1) * sizeof *runs);
  size_t run_count = 0;
  bool end = false;
  if (!runs || toon_buf_add(&end_key, prefix) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  end_key.ptr[end_key.len - 1]++; /* a prefix ends with a slash */
  for (size_t i = 0; i < view->run_count; i++)
    if (index_run_get_info(view->raw_runs[i])->max_sequence > through) runs[run_count++] = view->raw_runs[i];
  index_bounds bounds = {.has_lower = true,
                         .has_upper = true,
                         .upper_open = true,
                         .lower = toon_user_key(prefix.ptr, prefix.len),
                         .upper = toon_user_key(end_key.ptr, end_key.len)};
  uint32_t token = guard_enter(&engine->guard);
  atomic_load_explicit(&snapshot->view, memory_order_seq_cst);
  status = index_cursor_open(view->deltas, view->deltas[1] ? 2 : 1, runs, run_count, snapshot->horizon, &bounds,
                             &cursor, err);
  guard_leave(&engine->guard, token);
  while (status == TOON_OK && !end && found_count(found) <= most) {
    token = guard_enter(&engine->guard);
    atomic_load_explicit(&snapshot->view, memory_order_seq_cst);
    for (int i = 0; i < 256 && status == TOON_OK && !end; i++) {
      toon_key key;
      index_entry entry;
      status = index_cursor_next(cursor, &key, &entry, &end, err);
      if (status != TOON_OK || end || entry.sequence <= through) continue;
      toon_slice id = toon_slice_of(key.ptr + prefix.len, key.len - prefix.len);
      if (!id.len || memchr(id.ptr, '/', id.len)) continue;
      size_t to = found->bytes.len + id.len;
      if (toon_buf_add(&found->bytes, id) != TOON_OK || toon_buf_append(&found->ends, &to, sizeof to) != TOON_OK)
        status = toon_fail(err, TOON_ENOMEM, NULL);
    }
    guard_leave(&engine->guard, token);
  }
out:
  index_cursor_close(cursor);
  toon_buf_free(&end_key);
  toon_free(runs);
  return status;
}

toon_status columns_catch_up(store_engine *engine, columns_collection *col, const toon_snapshot *snapshot,
                             toon_error *err) {
  toon_columns *now = col->current;
  found_ids found = {0};
  size_t most = CHANGED_MOST(now->file->rows);
  if (col->overrun || snapshot->sequence <= now->through) return TOON_OK;
  TOON_TRY(snapshot_use(snapshot, err));
  toon_status status = walk_changes(engine, atomic_load(&snapshot->view), snapshot, columns_prefix(col), now->through,
                                    most, &found, err);
  snapshot_unuse(snapshot);
  if (status == TOON_OK) {
    col->overrun = found_count(&found) + now->count - now->file->other_count > most;
    if (!col->overrun && found_count(&found)) {
      toon_columns *fresh = merge_ids(now, &found, snapshot->sequence);
      if (fresh)
        col->current = fresh;
      else
        status = toon_fail(err, TOON_ENOMEM, NULL);
      if (fresh) columns_unref(now);
    } else {
      now->through = snapshot->sequence;
    }
  }
  toon_buf_free(&found.bytes);
  toon_buf_free(&found.ends);
  return status;
}

toon_status toon_columns_use(toon_db *db, const toon_snapshot *snapshot, toon_slice prefix, toon_columns **out,
                             toon_error *err) {
  store_engine *engine = db->engine;
  store_columns *c = &engine->columns;
  toon_status status = TOON_OK;
  *out = NULL;
  os_mutex_lock(&c->lock);
  columns_collection *col = find(c, prefix);
  if (col && col->current && !column_file_sound(col->current->file)) give_up(c, col);
  const column_file *file = col && col->current ? col->current->file : NULL;
  bool worth = file && file->blocks && file->other_count <= CHANGED_MOST(file->rows);
  if (worth && snapshot->sequence >= file->sequence) {
    status = columns_catch_up(engine, col, snapshot, err);
    if (status == TOON_OK && !col->overrun) {
      *out = col->current;
      atomic_fetch_add_explicit(&(*out)->refs, 1, memory_order_relaxed);
    }
  }
  os_mutex_unlock(&c->lock);
  return status;
}

column_file *toon_columns_file(const toon_columns *columns) { return columns->file; }
const toon_slice *toon_columns_changed(const toon_columns *columns, size_t *count) {
  *count = columns->count;
  return columns->ids;
}
void toon_columns_release(toon_columns *columns) { columns_unref(columns); }

toon_status columns_remove(store_engine *engine, const column_file *file, toon_error *err) {
  int e = engine->vfs->unlink(engine->vfs, file->path);
  if (e == ENOENT) e = 0;
  if (!e) e = engine->vfs->dirsync(engine->vfs, engine->directory);
  return e ? toon_fail_os(err, e, "unlink", file->path) : TOON_OK;
}

/* ---- the manifest's list ---- */

void columns_expect(store_engine *engine, store_manifest *manifest) {
  store_columns *c = &engine->columns;
  toon_free(c->expected); /* of a reader that looks again */
  c->expected = manifest->columns;
  c->expected_count = manifest->column_count;
  manifest->columns = NULL;
  manifest->column_count = 0;
}

bool columns_list(store_engine *engine, manifest_columns **out, size_t *count) {
  store_columns *c = &engine->columns;
  size_t n = 0;
  os_mutex_lock(&c->lock);
  for (const columns_collection *col = c->list; col; col = col->next) n += col->current != NULL;
  if (!c->loaded) n = c->expected_count;
  manifest_columns *list = toon_calloc(n + 1, sizeof *list);
  if (list && !c->loaded && n) memcpy(list, c->expected, n * sizeof *list);
  n = c->loaded ? 0 : n;
  for (const columns_collection *col = c->list; list && c->loaded && col; col = col->next)
    if (col->current) list[n++] = (manifest_columns){col->current->file->number, col->current->file->crc};
  if (list) c->unlisted = false;
  os_mutex_unlock(&c->lock);
  *out = list;
  *count = n;
  return list != NULL;
}

void columns_not_listed(store_engine *engine) {
  os_mutex_lock(&engine->columns.lock);
  engine->columns.unlisted = true;
  os_mutex_unlock(&engine->columns.lock);
}

bool columns_listed(store_engine *engine) {
  os_mutex_lock(&engine->columns.lock);
  bool listed = !engine->columns.unlisted;
  os_mutex_unlock(&engine->columns.lock);
  return listed;
}

/* ---- opening ---- */

static bool file_number(const char *name, uint64_t *number, bool *temporary) {
  static const char prefix[] = "db.toon.col-";
  if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
  const char *digits = name + sizeof prefix - 1;
  char *end;
  unsigned long long n = strtoull(digits, &end, 10);
  *temporary = strcmp(end, ".tmp") == 0;
  *number = n;
  return *digits >= '0' && *digits <= '9' && n <= TOON_ROW_MAX && (!*end || *temporary);
}

/* Names of column files: u64 each, with the highest bit set for temporary ones. */
#define TEMPORARY (1ull << 63)
static int visit(void *ctx, const char *name) {
  uint64_t number;
  bool temporary;
  if (!file_number(name, &number, &temporary)) return 0;
  if (temporary) number |= TEMPORARY;
  return toon_buf_append(ctx, &number, 8) == TOON_OK ? 0 : ENOMEM;
}

toon_status columns_path(const store_engine *engine, uint64_t number, bool temporary, toon_buf *path) {
  path->len = 0;
  return toon_buf_printf(path, "%s/db.toon.col-%llu%s", engine->directory, (unsigned long long)number,
                         temporary ? ".tmp" : "");
}

static int unlink_number(store_engine *engine, uint64_t number) {
  toon_buf path = {0};
  if (columns_path(engine, number & ~TEMPORARY, number & TEMPORARY, &path) != TOON_OK) return ENOMEM;
  int e = engine->vfs->unlink(engine->vfs, (char *)path.ptr);
  toon_buf_free(&path);
  return e == ENOENT ? 0 : e;
}

toon_status columns_remove_all(store_engine *engine, toon_error *err) {
  toon_buf numbers = {0};
  int e = engine->vfs->list(engine->vfs, engine->directory, visit, &numbers);
  const uint64_t *list = (const uint64_t *)(const void *)numbers.ptr;
  for (size_t i = 0; !e && i < numbers.len / 8; i++) e = unlink_number(engine, list[i]);
  toon_buf_free(&numbers);
  return e ? toon_fail_os(err, e, "unlink", engine->directory) : TOON_OK;
}

/* Take a file in. False if it is of no use. */
static bool load(store_engine *engine, uint64_t number, bool *removed) {
  store_columns *c = &engine->columns;
  column_file *file = NULL;
  toon_buf path = {0};
  toon_error err;
  size_t i = 0;
  while (i < c->expected_count && c->expected[i].number != number) i++;
  if (i == c->expected_count) return false;
  bool good = columns_path(engine, number, false, &path) == TOON_OK &&
              column_file_open(engine->vfs, (char *)path.ptr, engine->store_id, &file, &err) == TOON_OK;
  toon_buf_free(&path);
  if (!good) return false;
  good = file->number == number && file->crc == c->expected[i].crc && file->sequence <= engine->sequence;
  columns_collection *col = good ? enter(c, file->prefix) : NULL;
  good = col && (!col->current || col->current->file->sequence <= file->sequence);
  if (good && col->current && !engine->options.read_only) { /* a crash has left both */
    *removed = true;
    if (unlink_number(engine, col->current->file->number)) c->floor = 0;
  }
  good = good && columns_install(col, file);
  if (!good) column_file_unref(file);
  return good;
}

toon_status columns_load(store_engine *engine, toon_error *err) {
  store_columns *c = &engine->columns;
  toon_buf numbers = {0};
  bool removed = false;
  int e = engine->recovery.rebuilt ? 0 : engine->vfs->list(engine->vfs, engine->directory, visit, &numbers);
  if (e) { /* a file that stays unknown would be wrong after the next merge */
    toon_buf_free(&numbers);
    return toon_fail_os(err, e, "readdir", engine->directory);
  }
  const uint64_t *list = (const uint64_t *)(const void *)numbers.ptr;
  for (size_t i = 0; i < numbers.len / 8; i++) {
    uint64_t number = list[i] & ~TEMPORARY;
    if (number >= c->next_number) c->next_number = number + 1;
    if (!(list[i] & TEMPORARY) && load(engine, number, &removed)) continue;
    if (engine->options.read_only) continue;
    if (!(list[i] & TEMPORARY)) c->dropped++;
    removed = true;
    if (unlink_number(engine, list[i])) c->floor = 0; /* it may come back: deletes are kept */
  }
  if (removed && engine->vfs->dirsync(engine->vfs, engine->directory)) c->floor = 0;
  toon_buf_free(&numbers);
  os_mutex_lock(&c->lock);
  c->loaded = true;
  os_mutex_unlock(&c->lock);
  return TOON_OK;
}

/* ---- keeping ---- */

/* A copy; NULL without memory. */
static columns_paths *copy_paths(const toon_path *paths, size_t count) {
  columns_paths *p = toon_calloc(1, sizeof *p);
  size_t names = 0, n = 0;
  if (!p) return NULL;
  atomic_init(&p->refs, 1);
  for (size_t i = 0; i < count; i++) names += paths[i].count;
  p->list = toon_calloc(count + 1, sizeof *p->list);
  p->names = toon_calloc(names + 1, sizeof *p->names);
  toon_status status = p->list && p->names ? TOON_OK : TOON_ENOMEM;
  for (size_t i = 0; status == TOON_OK && i < count; i++)
    for (size_t j = 0; status == TOON_OK && j < paths[i].count; j++)
      status = toon_buf_add(&p->memory, paths[i].names[j]);
  if (status != TOON_OK) {
    columns_paths_unref(p);
    return NULL;
  }
  const uint8_t *at = p->memory.ptr;
  for (size_t i = 0; i < count; i++) {
    p->list[i] = (toon_path){&p->names[n], paths[i].count};
    for (size_t j = 0; j < paths[i].count; j++, n++) {
      p->names[n] = toon_slice_of(at, paths[i].names[j].len);
      at += p->names[n].len;
    }
  }
  p->count = count;
  return p;
}

toon_status toon_columns_keep(toon_db *db, toon_slice prefix, const toon_path *paths, size_t count, toon_error *err) {
  store_engine *engine = db->engine;
  store_columns *c = &engine->columns;
  if (count > COLUMN_PATHS_MAX) return toon_fail(err, TOON_EINVAL, "more than %d columns", COLUMN_PATHS_MAX);
  if (!prefix.len || prefix.ptr[prefix.len - 1] != '/')
    return toon_fail(err, TOON_EINVAL, "a prefix ends with a slash");
  if (engine->options.read_only) return TOON_OK;
  os_mutex_lock(&c->lock);
  toon_status status = TOON_OK;
  columns_collection *col = enter(c, prefix);
  columns_paths *asked = copy_paths(paths, count);
  if (!col || !asked) {
    columns_paths_unref(asked);
    status = toon_fail(err, TOON_ENOMEM, NULL);
  } else {
    columns_paths_unref(col->asked);
    col->asked = asked;
    status = columns_start(engine, err);
    c->look = true;
    os_cond_signal(&c->wake);
  }
  os_mutex_unlock(&c->lock);
  return status;
}

toon_status toon_columns_drop(toon_db *db, toon_slice prefix, toon_error *err) {
  store_engine *engine = db->engine;
  store_columns *c = &engine->columns;
  column_file *file = NULL;
  if (engine->options.read_only) return TOON_OK;
  os_mutex_lock(&c->lock);
  columns_collection *col = find(c, prefix);
  if (col) {
    columns_paths_unref(col->asked);
    col->asked = NULL;
    if (col->current) {
      file = col->current->file;
      give_up(c, col); /* it stays col->gone until it is gone indeed, and keeps a reference */
    }
  }
  os_mutex_unlock(&c->lock);
  if (!file) return TOON_OK;
  TOON_TRY(columns_remove(engine, file, err));
  os_mutex_lock(&c->lock);
  if (col->gone == file) {
    col->gone = NULL;
    column_file_unref(file);
    if (!col->current) col->floor = UINT64_MAX;
  }
  os_mutex_unlock(&c->lock);
  return TOON_OK;
}

toon_status toon_columns_build(toon_db *db, toon_slice prefix, toon_error *err) {
  store_engine *engine = db->engine;
  store_columns *c = &engine->columns;
  if (engine->options.read_only) return toon_fail(err, TOON_EREADONLY, NULL);
  os_mutex_lock(&c->lock);
  columns_collection *col = find(c, prefix);
  toon_status status = TOON_OK;
  if (!col || (!col->asked && !col->current)) {
    status = toon_fail(err, TOON_EINVAL, "the collection keeps no columns: give db.collection() the option columns");
  } else if ((status = columns_start(engine, err)) == TOON_OK) {
    uint64_t ticket = ++col->build_wanted;
    c->look = true;
    os_cond_signal(&c->wake);
    while (col->build_done < ticket && !c->stop) os_cond_wait(&c->done, &c->lock);
    status = col->build_done < ticket ? toon_fail(err, TOON_ECLOSED, NULL) : col->error.status;
    if (status != TOON_OK && col->build_done >= ticket && err) *err = col->error;
  }
  os_mutex_unlock(&c->lock);
  return status;
}

void toon_columns_block_rows(uint32_t rows) { column_block_rows = rows; }

toon_status columns_stats(store_engine *engine, toon_buf *out) {
  store_columns *c = &engine->columns;
  unsigned long long files = 0, bytes = 0, rows = 0, changed = 0;
  os_mutex_lock(&c->lock);
  for (const columns_collection *col = c->list; col; col = col->next) {
    if (!col->current) continue;
    files++;
    bytes += col->current->file->size;
    rows += col->current->file->rows;
    changed += col->current->count;
  }
  unsigned long long built = c->built, dropped = c->dropped, failures = c->failures;
  os_mutex_unlock(&c->lock);
  return toon_buf_printf(out,
                         "{\"files\":%llu,\"bytes\":%llu,\"rows\":%llu,\"changed\":%llu,\"built\":%llu,"
                         "\"dropped\":%llu,\"failures\":%llu}",
                         files, bytes, rows, changed, built, dropped, failures);
}
