/* Making column files: a thread of the engine's own looks after checkpoints, and when it is asked to, which files are due.
 * Blocks in which nothing has changed are copied from the file before. */
#include "store/columns_parts.h"
#include "base/alloc.h"
#include "base/utf.h"

#include <errno.h>

#define DUE_SHARE 16 /* a file is made again when a 16th of its rows has changed */
#define SAMPLE 1000  /* documents that columns are learnt from */
#define ASK_STOP 64  /* rows */

typedef struct build {
  store_engine *engine;
  toon_snapshot *snapshot;
  toon_slice prefix;
  toon_columns *old; /* a reference; NULL: nothing is copied */
  column_file *like; /* a reference: has the columns that are to be kept, if nobody asks for any */
  column_writer *writer;
  columns_paths *asked;   /* a reference */
  const toon_path *paths; /* those, or the old file's, or learnt */
  size_t count;
  toon_slice *learnt_names;
  toon_path *learnt;
  column_learner learner;
} build;

static bool stopping(store_engine *engine) {
  store_columns *c = &engine->columns;
  os_mutex_lock(&c->lock);
  bool stop = c->stop;
  os_mutex_unlock(&c->lock);
  return stop;
}

/* ---- documents ---- */

static bool good_id(toon_slice id) {
  return id.len && !memchr(id.ptr, '/', id.len) && toon_utf8_valid(id.ptr, id.len) == id.len;
}

typedef toon_status (*document_fn)(build *b, toon_slice id, const toon_row *row, toon_error *err);

/* Walk the documents from `from` on (ptr NULL: from the first) up to `to` (ptr NULL: to the last), at most `most`. */
static toon_status walk(build *b, toon_slice from, toon_slice to, size_t most, document_fn fn, toon_error *err) {
  toon_buf lower = {0}, upper = {0};
  toon_cursor *cursor = NULL;
  toon_status status = TOON_OK;
  bool end = false;
  toon_range range = {
      .prefix = b->prefix, .has_lower = from.ptr != NULL, .has_upper = to.ptr != NULL, .upper_open = true};
  if (toon_buf_add(&lower, b->prefix) != TOON_OK || toon_buf_add(&upper, b->prefix) != TOON_OK ||
      toon_buf_add(&lower, from) != TOON_OK || toon_buf_add(&upper, to) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  range.lower = toon_buf_slice(&lower);
  range.upper = toon_buf_slice(&upper);
  TOON_GOTO(toon_cursor_open(b->engine->columns.db, b->snapshot, &range, &cursor, err));
  for (size_t n = 0, documents = 0; documents < most; n++) {
    toon_key key;
    toon_row row;
    if (n % ASK_STOP == 0 && stopping(b->engine)) {
      status = toon_fail(err, TOON_ECLOSED, NULL);
      break;
    }
    TOON_GOTO(toon_cursor_next(cursor, false, &key, &row, &end, err));
    if (end) break;
    toon_slice id = toon_slice_of(key.ptr + b->prefix.len, key.len - b->prefix.len);
    if (!good_id(id) || toon_row_kind(&row) != TOON_OBJECT) continue;
    documents++;
    TOON_GOTO(fn(b, id, &row, err));
  }
out:
  toon_cursor_close(cursor);
  toon_buf_free(&lower);
  toon_buf_free(&upper);
  return status;
}

static toon_status add_document(build *b, toon_slice id, const toon_row *row, toon_error *err) {
  if (row->expires_at) return column_writer_other(b->writer, id, err);
  return column_writer_add(b->writer, id, row->field, err);
}

static toon_status learn_document(build *b, toon_slice id, const toon_row *row, toon_error *err) {
  (void)id;
  return column_learn(&b->learner, row->field) == TOON_OK ? TOON_OK : toon_fail(err, TOON_ENOMEM, NULL);
}

static const toon_slice nowhere = {NULL, 0};

/* The columns, if nobody named them. */
static toon_status learn(build *b, toon_error *err) {
  TOON_TRY(walk(b, nowhere, nowhere, SAMPLE, learn_document, err));
  b->learnt_names = toon_calloc(COLUMN_FIELDS_MAX, sizeof *b->learnt_names);
  b->learnt = toon_calloc(COLUMN_FIELDS_MAX, sizeof *b->learnt);
  if (!b->learnt_names || !b->learnt) return toon_fail(err, TOON_ENOMEM, NULL);
  size_t at = 0;
  while (b->count < COLUMN_FIELDS_MAX && column_learnt(&b->learner, &at, &b->learnt_names[b->count])) {
    b->learnt[b->count] = (toon_path){&b->learnt_names[b->count], 1};
    b->count++;
  }
  b->paths = b->learnt;
  return TOON_OK;
}

/* ---- a file ---- */

static bool same_columns(const column_file *file, const toon_path *paths, size_t count) {
  bool same = file->fields == count;
  for (size_t i = 0; same && i < count; i++) same = column_find(file, &paths[i]) == i;
  return same;
}

/* All of it: blocks of the old file where nothing has changed, documents elsewhere. */
static toon_status write_documents(build *b, toon_error *err) {
  if (!b->old || !b->old->file->blocks) return walk(b, nowhere, nowhere, SIZE_MAX, add_document, err);
  column_file *file = b->old->file;
  const toon_columns *old = b->old;
  size_t change = 0;
  toon_slice from = nowhere; /* where documents that are not yet written begin */
  bool pending = false, taken;
  for (uint32_t i = 0; i < file->blocks; i++) {
    bool last = i + 1 == file->blocks;
    size_t first = change;
    while (change < old->count && (last || toon_slice_cmp(old->ids[change], file->block[i + 1].first) < 0)) change++;
    toon_slice start = i ? file->block[i].first : nowhere;
    if (change == first && file->block[i].rows * 2 >= column_block_rows && !stopping(b->engine)) {
      if (pending) TOON_TRY(walk(b, from, start, SIZE_MAX, add_document, err));
      pending = false;
      TOON_TRY(column_writer_copy(b->writer, file, i, &taken, err));
      if (taken) continue;
    }
    if (!pending) from = start;
    pending = true;
  }
  return pending ? walk(b, from, nowhere, SIZE_MAX, add_document, err) : TOON_OK;
}

static toon_status write_file(build *b, uint64_t number, toon_buf *path, toon_buf *temporary, toon_error *err) {
  store_engine *engine = b->engine;
  os_vfs *vfs = engine->vfs;
  if (columns_path(engine, number, false, path) != TOON_OK || columns_path(engine, number, true, temporary) != TOON_OK)
    return toon_fail(err, TOON_ENOMEM, NULL);
  TOON_TRY(column_writer_new(vfs, (char *)temporary->ptr, engine->store_id, number, b->prefix, b->paths, b->count,
                             &b->writer, err));
  TOON_TRY(write_documents(b, err));
  /* What the file knows must be in the log whatever happens, or sequences could be used again. */
  TOON_TRY(engine_sync(engine, err));
  TOON_TRY(column_writer_end(b->writer, toon_snapshot_sequence(b->snapshot), err));
  column_writer_free(b->writer);
  b->writer = NULL;
  int e = vfs->rename(vfs, (char *)temporary->ptr, (char *)path->ptr);
  if (e) {
    vfs->unlink(vfs, (char *)temporary->ptr);
    return toon_fail_os(err, e, "rename", (char *)path->ptr);
  }
  e = vfs->dirsync(vfs, engine->directory);
  return e ? toon_fail_os(err, e, "fsync", engine->directory) : TOON_OK;
}

/* Before the deletes that the file before does not know may go, it must be gone itself. */
static toon_status replace(build *b, columns_collection *col, const char *path, toon_error *err) {
  store_columns *c = &b->engine->columns;
  column_file *file;
  TOON_TRY(column_file_open(b->engine->vfs, path, b->engine->store_id, &file, err));
  os_mutex_lock(&c->lock);
  column_file *before = col->current ? col->current->file : NULL;
  if (before) column_file_ref(before);
  os_mutex_unlock(&c->lock);
  toon_status status = before ? columns_remove(b->engine, before, err) : TOON_OK;
  column_file_unref(before);
  if (status == TOON_OK) {
    os_mutex_lock(&c->lock);
    if (!col->asked && !col->current)
      status = toon_fail(err, TOON_EINVAL, "the columns are not wanted any more");
    else if (!columns_install(col, file))
      status = toon_fail(err, TOON_ENOMEM, NULL);
    c->built += status == TOON_OK;
    c->unlisted = c->unlisted || status == TOON_OK;
    os_mutex_unlock(&c->lock);
  }
  if (status != TOON_OK) column_file_unref(file);
  return status;
}

/* A file that came to nothing must not be there at the next open, or deletes have to be kept for it. */
static void forget(build *b, const char *path) {
  store_engine *engine = b->engine;
  int e = engine->vfs->unlink(engine->vfs, path);
  if (e == ENOENT || (!e && !engine->vfs->dirsync(engine->vfs, engine->directory))) return;
  os_mutex_lock(&engine->columns.lock);
  if (engine->columns.building < engine->columns.floor) engine->columns.floor = engine->columns.building;
  os_mutex_unlock(&engine->columns.lock);
}

static toon_status make(build *b, columns_collection *col, toon_error *err) {
  store_columns *c = &b->engine->columns;
  toon_buf path = {0}, temporary = {0};
  if (!b->count && !b->like) TOON_TRY(learn(b, err));
  if (b->old && !same_columns(b->old->file, b->paths, b->count)) {
    toon_columns_release(b->old);
    b->old = NULL;
  }
  os_mutex_lock(&c->lock);
  uint64_t number = c->next_number++;
  os_mutex_unlock(&c->lock);
  toon_status status = write_file(b, number, &path, &temporary, err);
  if (status == TOON_OK) status = replace(b, col, (char *)path.ptr, err);
  if (status != TOON_OK && path.len) forget(b, (char *)path.ptr);
  toon_buf_free(&path);
  toon_buf_free(&temporary);
  return status;
}

/* ---- the thread ---- */

/* Whether a collection's file is due. Takes a reference of what it can be made from. lock held. */
static bool is_due(const columns_collection *col, bool asked, toon_columns **old) {
  *old = NULL;
  if (!col->current) return col->asked != NULL;
  const column_file *file = col->current->file;
  size_t changed = col->current->count - file->other_count;
  bool other = col->asked && col->asked->count && !same_columns(file, col->asked->list, col->asked->count);
  if (!col->overrun && !other && !(asked && changed) && changed * DUE_SHARE < file->rows + DUE_SHARE) return false;
  if (!col->overrun && !atomic_load(&file->damaged)) {
    *old = col->current;
    atomic_fetch_add_explicit(&(*old)->refs, 1, memory_order_relaxed);
  }
  return true;
}

static toon_status look_at(store_engine *engine, columns_collection *col, bool asked, toon_error *err) {
  store_columns *c = &engine->columns;
  build b = {.engine = engine, .prefix = columns_prefix(col)};
  toon_status status = TOON_OK;
  os_mutex_lock(&c->lock);
  c->building = atomic_load(&engine->published); /* the snapshot sees no less: deletes that come after stay */
  column_file *gone = col->gone;
  if (gone) column_file_ref(gone);
  os_mutex_unlock(&c->lock);
  if (gone) {
    TOON_GOTO(columns_remove(engine, gone, err));
    os_mutex_lock(&c->lock);
    bool ours = col->gone == gone; /* nobody else has done it meanwhile */
    if (ours) col->gone = NULL;
    if (ours && !col->current) col->floor = UINT64_MAX;
    os_mutex_unlock(&c->lock);
    if (ours) column_file_unref(gone);
  }
  TOON_GOTO(toon_snapshot_open(c->db, &b.snapshot, err));
  b.snapshot->now = INT64_MIN; /* documents that have lapsed may not have, after the clock was set back */
  os_mutex_lock(&c->lock);
  if (col->current) status = columns_catch_up(engine, col, b.snapshot, err);
  bool due = status == TOON_OK && is_due(col, asked, &b.old);
  b.asked = col->asked;
  if (b.asked) {
    atomic_fetch_add_explicit(&b.asked->refs, 1, memory_order_relaxed);
    b.paths = b.asked->list;
    b.count = b.asked->count;
  } else if (col->current) {
    b.like = col->current->file;
    column_file_ref(b.like);
    b.paths = b.like->paths;
    b.count = b.like->fields;
  }
  os_mutex_unlock(&c->lock);
  if (due) status = make(&b, col, err);
out:
  column_file_unref(gone);
  toon_snapshot_close(b.snapshot);
  if (b.old) toon_columns_release(b.old);
  columns_paths_unref(b.asked);
  column_file_unref(b.like);
  column_writer_free(b.writer);
  column_learner_free(&b.learner);
  toon_free(b.learnt);
  toon_free(b.learnt_names);
  os_mutex_lock(&c->lock);
  c->building = UINT64_MAX;
  os_mutex_unlock(&c->lock);
  return status;
}

static void *columns_main(void *arg) {
  store_engine *engine = arg;
  store_columns *c = &engine->columns;
  os_mutex_lock(&c->lock);
  while (!c->stop) {
    if (!c->look) {
      os_cond_wait(&c->wake, &c->lock);
      continue;
    }
    c->look = false;
    for (columns_collection *col = c->list; col && !c->stop; col = col->next) {
      uint64_t asked = col->build_wanted;
      if (!col->current && !col->asked && !col->gone) continue;
      bool now = asked != col->build_done;
      os_mutex_unlock(&c->lock);
      toon_error err = {.status = TOON_OK};
      toon_status status = look_at(engine, col, now, &err);
      os_mutex_lock(&c->lock);
      err.status = status;
      col->error = err;
      if (status != TOON_OK && !c->stop) c->failures++;
      col->build_done = asked;
      os_cond_broadcast(&c->done);
    }
  }
  os_cond_broadcast(&c->done);
  os_mutex_unlock(&c->lock);
  return NULL;
}

toon_status columns_start(store_engine *engine, toon_error *err) {
  store_columns *c = &engine->columns;
  if (c->started) return TOON_OK;
  if (!c->db && !(c->db = toon_calloc(1, sizeof *c->db))) return toon_fail(err, TOON_ENOMEM, NULL);
  c->db->engine = engine;
  int e = os_thread_start(&c->thread, "toonstore-cols", columns_main, engine);
  if (e) return toon_fail_os(err, e, "pthread_create", engine->directory);
  c->started = true;
  return TOON_OK;
}

void columns_stop(store_engine *engine) {
  store_columns *c = &engine->columns;
  os_mutex_lock(&c->lock);
  bool started = c->started;
  c->stop = true;
  os_cond_broadcast(&c->wake);
  os_cond_broadcast(&c->done);
  os_mutex_unlock(&c->lock);
  if (started) os_thread_join(c->thread);
  c->started = false;
}

void columns_look(store_engine *engine) {
  store_columns *c = &engine->columns;
  toon_error err;
  os_mutex_lock(&c->lock);
  bool any = false;
  for (const columns_collection *col = c->list; col; col = col->next) any = any || col->current || col->asked;
  if (any && !c->stop && columns_start(engine, &err) == TOON_OK) {
    c->look = true;
    os_cond_signal(&c->wake);
  }
  os_mutex_unlock(&c->lock);
}
