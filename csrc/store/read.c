/* Reading: point reads, snapshots, cursors. A read enters the guard and loads view and published sequence together; what
 * the view holds beyond that sequence is passed over. */
#include "store/batch.h"
#include "base/alloc.h"
#include "base/crc32c.h"
#include "os/fault.h"

enum { LINE = 64, PREFETCH_MAX = 32 * LINE };

/* Ask for a row's text all at once: what checks and copies it goes through it in order, and would wait for line after line. */
static void prefetch_text(const store_view *view, const index_entry *entry) {
  log_segment *segment = view_segment(view, entry->segment);
  if (!segment) return;
  uint64_t length = atomic_load_explicit(&segment->length, memory_order_relaxed), end = entry->position;
  end += entry->length < PREFETCH_MAX ? entry->length : PREFETCH_MAX;
  for (uint64_t at = entry->position; at < end && at < length; at += LINE) __builtin_prefetch(segment->map + at);
}

struct toon_cursor {
  toon_db *db;
  const toon_snapshot *snapshot; /* a reference */
  const store_view *view;        /* while `using` */
  bool using;                    /* the snapshot, since the last pause */
  index_cursor *index;           /* NULL: the range is empty */
  uint64_t left;
};

static bool lapsed(const index_entry *entry, int64_t now) { return entry->expires && entry->expires <= now; }

/* The row an entry names, checked. The view must stay until the row has been used. */
static toon_status read_row(store_engine *engine, const store_view *view, const index_entry *entry, toon_row *row,
                            toon_error *err) {
  log_segment *segment = view_segment(view, entry->segment);
  if (!segment)
    return toon_fail_at(err, TOON_ECORRUPT, engine->directory, -1, "the index names segment %lu, which is not there",
                        (unsigned long)entry->segment);
  uint64_t length = atomic_load_explicit(&segment->length, memory_order_acquire);
  const uint8_t *text = segment->map + entry->position;
  if ((uint64_t)entry->position + entry->length > length || entry->field >= entry->length ||
      toon_crc32c(0, text, entry->length) != entry->crc) {
    atomic_fetch_add_explicit(&engine->stats.damaged_rows, 1, memory_order_relaxed);
    return toon_fail_at(err, TOON_ECORRUPT, segment->path, entry->position,
                        os_map_damaged(segment->map)
                            ? "the log file was cut short, or cannot be read, while it was in use; restore a backup"
                            : "a row's checksum is wrong: its bytes on disk have changed; restore a backup");
  }
  *row = (toon_row){.field = {text + entry->field, entry->length - entry->field},
                    .flags = entry->flags,
                    .version = entry->sequence,
                    .expires_at = entry->expires};
  return TOON_OK;
}

/* View and sequence together, inside a guard: if the view is still the current one after the sequence was read, it has
 * every level and segment that commits up to the sequence wrote to (a segment roll replaces the view, not the delta). */
static const store_view *now(store_engine *engine, uint64_t *sequence) {
  for (;;) {
    const store_view *view = atomic_load_explicit(&engine->view, memory_order_seq_cst);
    *sequence = atomic_load_explicit(&engine->published, memory_order_acquire);
    if (view == atomic_load_explicit(&engine->view, memory_order_acquire)) return view;
  }
}

/* The visible entry of a key, by a snapshot or as it is now, and the view to read its row from. Inside a guard. */
static toon_status find(store_engine *engine, const toon_snapshot *snapshot, toon_key key, const store_view **view,
                        index_entry *entry, bool *found, toon_error *err) {
  *found = false;
  if (snapshot && !(*view = atomic_load_explicit(&snapshot->view, memory_order_seq_cst))) return snapshot_gone(err);
  if (key.len > TOON_KEY_MAX || key.space >= TOON_SPACES) return TOON_OK; /* no such key can be stored */
  uint64_t hash = index_key_hash(engine->store_id, key);
  if (snapshot) {
    view_prefetch(*view, hash);
    TOON_TRY(view_get(*view, 0, key, hash, snapshot->horizon, entry, found, err));
    /* Given up meanwhile: what it should see may have been dropped from under us. */
    if (!atomic_load_explicit(&snapshot->view, memory_order_acquire)) return snapshot_gone(err);
  } else {
    bool cut;
    do { /* again only if there is something newer to be seen */
      uint64_t sequence;
      cut = false;
      *view = now(engine, &sequence);
      view_prefetch(*view, hash); /* the levels do not wait for each other's cache misses */
      TOON_TRY(view_get_at(*view, 0, key, hash, view_horizon(*view, sequence), entry, found, &cut, err));
    } while (cut);
  }
  if (*found && (entry->kind == INDEX_DELETE ||
                 (entry->expires && lapsed(entry, snapshot ? snapshot->now : engine_now_ms(engine)))))
    *found = false;
  return TOON_OK;
}

toon_status toon_get(toon_db *db, const toon_snapshot *snapshot, toon_key key, toon_row *row, bool *found,
                     toon_error *err) {
  store_engine *engine = db->engine;
  index_entry entry;
  const store_view *view;
  uint32_t token = guard_enter(&engine->guard);
  toon_status status = find(engine, snapshot, key, &view, &entry, found, err);
  if (status == TOON_OK && *found) {
    prefetch_text(view, &entry);
    status = read_row(engine, view, &entry, row, err);
  }
  if (status != TOON_OK || !*found) {
    guard_leave(&engine->guard, token);
    return status;
  }
  row->pin[0] = 1;
  row->pin[1] = token;
  return TOON_OK;
}

/* ---- many keys ---- */

enum {
  SLOTS_AHEAD = 16,  /* keys ahead whose slots of hashes are asked for */
  ENTRIES_AHEAD = 8, /* and the entries that those name */
  TEXTS_AHEAD = 6,   /* rows ahead whose texts are */
  MANY_TRIES = 4     /* of a moment that passes too soon */
};

typedef struct place {
  uint64_t hash;
  index_entry entry;
  bool found;
} place;

static void prefetch_entry(const store_view *view, uint64_t hash) {
  for (int level = 0; level < 2; level++)
    if (view->deltas[level]) index_delta_prefetch_node(view->deltas[level], hash);
  for (size_t i = 0; i < view->run_count; i++) index_run_prefetch_entry(view->raw_runs[i], hash);
}

/* Where the rows of all keys are, as the view shows them at the horizon. *cut: what should be seen is gone already. NULL for a
 * snapshot: what it sees is kept, and only what is newer may have been dropped. */
static toon_status find_places(const store_view *view, index_horizon horizon, int64_t at, const toon_key *keys,
                               size_t count, place *places, bool *cut, toon_error *err) {
  for (size_t i = 0; i < count && i < SLOTS_AHEAD; i++) view_prefetch(view, places[i].hash);
  for (size_t i = 0; i < count; i++) {
    place *p = &places[i];
    bool passed = false;
    if (i + SLOTS_AHEAD < count) view_prefetch(view, places[i + SLOTS_AHEAD].hash);
    if (i + ENTRIES_AHEAD < count) prefetch_entry(view, places[i + ENTRIES_AHEAD].hash);
    p->found = false;
    if (keys[i].len > TOON_KEY_MAX || keys[i].space >= TOON_SPACES) continue;
    TOON_TRY(view_get_at(view, 0, keys[i], p->hash, horizon, &p->entry, &p->found, &passed, err));
    if (cut && passed) {
      *cut = true;
      break;
    }
    if (p->found && (p->entry.kind == INDEX_DELETE || lapsed(&p->entry, at))) p->found = false;
  }
  return TOON_OK;
}

static toon_status take_rows(store_engine *engine, const store_view *view, const place *places, size_t count,
                             toon_row_fn take, void *ctx, toon_error *err) {
  for (size_t i = 0; i < count && i < TEXTS_AHEAD; i++)
    if (places[i].found) prefetch_text(view, &places[i].entry);
  for (size_t i = 0; i < count; i++) {
    toon_row row = {0};
    if (i + TEXTS_AHEAD < count && places[i + TEXTS_AHEAD].found) prefetch_text(view, &places[i + TEXTS_AHEAD].entry);
    if (places[i].found) TOON_TRY(read_row(engine, view, &places[i].entry, &row, err));
    if (!take(ctx, i, places[i].found ? &row : NULL)) return TOON_OK;
  }
  return TOON_OK;
}

/* One guard from the first look to the last row, because places are good only as long as their view. */
static toon_status get_many(store_engine *engine, const toon_snapshot *snapshot, const toon_key *keys, size_t count,
                            place *places, toon_row_fn take, void *ctx, bool *cut, toon_error *err) {
  const store_view *view;
  index_horizon horizon;
  uint32_t token = guard_enter(&engine->guard);
  toon_status status = TOON_OK;
  *cut = false;
  if (snapshot) {
    view = atomic_load_explicit(&snapshot->view, memory_order_seq_cst);
    horizon = snapshot->horizon;
    if (!view) status = snapshot_gone(err);
  } else {
    uint64_t sequence;
    view = now(engine, &sequence);
    horizon = view_horizon(view, sequence);
  }
  if (status == TOON_OK)
    status = find_places(view, horizon, snapshot ? snapshot->now : engine_now_ms(engine), keys, count, places,
                         snapshot ? NULL : cut, err);
  /* Given up meanwhile: what it should see may have been dropped from under us. */
  if (status == TOON_OK && snapshot && !atomic_load_explicit(&snapshot->view, memory_order_acquire))
    status = snapshot_gone(err);
  if (status == TOON_OK && !*cut) status = take_rows(engine, view, places, count, take, ctx, err);
  guard_leave(&engine->guard, token);
  return status;
}

toon_status toon_get_many(toon_db *db, const toon_snapshot *snapshot, const toon_key *keys, size_t count,
                          toon_row_fn take, void *ctx, toon_error *err) {
  store_engine *engine = db->engine;
  place *places = toon_malloc(count ? count * sizeof *places : 1);
  toon_snapshot *own = NULL;
  toon_status status = TOON_OK;
  bool cut = true;
  if (!places) return toon_fail(err, TOON_ENOMEM, NULL);
  for (size_t i = 0; i < count; i++) places[i].hash = index_key_hash(engine->store_id, keys[i]);
  for (int tries = 0; cut && status == TOON_OK; tries++) {
    if (!snapshot && tries == MANY_TRIES) { /* the keys change faster than they are looked at: keep a moment for them */
      status = toon_snapshot_open(db, &own, err);
      if (status != TOON_OK) break;
    }
    status = get_many(engine, own ? own : snapshot, keys, count, places, take, ctx, &cut, err);
    if (snapshot || own) break;
  }
  if (own) toon_snapshot_close(own);
  toon_free(places);
  return status;
}

void toon_row_release(toon_db *db, toon_row *row) {
  if (row->pin[0]) guard_leave(&db->engine->guard, (uint32_t)row->pin[1]);
  row->pin[0] = 0;
}

toon_status toon_has(toon_db *db, const toon_snapshot *snapshot, toon_key key, bool *found, toon_error *err) {
  store_engine *engine = db->engine;
  index_entry entry;
  const store_view *view;
  uint32_t token = guard_enter(&engine->guard);
  toon_status status = find(engine, snapshot, key, &view, &entry, found, err);
  guard_leave(&engine->guard, token);
  return status;
}

void toon_prefetch(toon_db *db, toon_key key) {
  store_engine *engine = db->engine;
  uint64_t hash = index_key_hash(engine->store_id, key);
  uint32_t token = guard_enter(&engine->guard);
  const store_view *view = atomic_load_explicit(&engine->view, memory_order_seq_cst);
  view_prefetch(view, hash);
  guard_leave(&engine->guard, token);
}

toon_status toon_size(toon_db *db, uint8_t space, uint64_t *out, toon_error *err) {
  return tally_size(db->engine, space, out, err);
}

static toon_status cursor_use(toon_cursor *cursor, toon_error *err) {
  if (cursor->using) return snapshot_dropped(cursor->snapshot) ? snapshot_gone(err) : TOON_OK;
  TOON_TRY(snapshot_use(cursor->snapshot, err));
  cursor->view = atomic_load(&cursor->snapshot->view);
  cursor->using = true;
  return TOON_OK;
}

toon_status toon_cursor_open(toon_db *db, const toon_snapshot *snapshot, const toon_range *range, toon_cursor **out,
                             toon_error *err) {
  toon_status status = TOON_OK;
  toon_buf successor = {0};
  index_bounds bounds;
  bool empty;
  toon_cursor *cursor = toon_calloc(1, sizeof *cursor);
  if (!cursor) return toon_fail(err, TOON_ENOMEM, NULL);
  cursor->db = db;
  cursor->left = range->limit ? range->limit : UINT64_MAX;
  if (snapshot) {
    cursor->snapshot = snapshot;
    snapshot_ref(snapshot);
  } else {
    toon_snapshot *own;
    TOON_GOTO(toon_snapshot_open(db, &own, err));
    cursor->snapshot = own;
  }
  TOON_GOTO(range_bounds(range, &successor, &bounds, &empty, err));
  TOON_GOTO(cursor_use(cursor, err));
  if (!empty) {
    const store_view *view = cursor->view;
    uint32_t token = guard_enter(&db->engine->guard);
    atomic_load_explicit(&cursor->snapshot->view, memory_order_seq_cst); /* orders what is read behind the entering */
    status = index_cursor_open(view->deltas, view->deltas[1] ? 2 : 1, view->raw_runs, view->run_count,
                               cursor->snapshot->horizon, &bounds, &cursor->index, err);
    guard_leave(&db->engine->guard, token);
  }
out:
  toon_buf_free(&successor);
  if (status != TOON_OK) {
    toon_cursor_close(cursor);
    return status;
  }
  *out = cursor;
  return TOON_OK;
}

/* The next entry of the index. */
static toon_status advance(toon_cursor *cursor, toon_key *key, index_entry *entry, bool *end, toon_error *err) {
  if (!index_cursor_in_deltas(cursor->index)) return index_cursor_next(cursor->index, key, entry, end, err);
  store_guard *guard = &cursor->db->engine->guard;
  uint32_t token = guard_enter(guard);
  atomic_load_explicit(&cursor->snapshot->view, memory_order_seq_cst);
  toon_status status = index_cursor_next(cursor->index, key, entry, end, err);
  guard_leave(guard, token);
  return status;
}

toon_status toon_cursor_next(toon_cursor *cursor, bool keys_only, toon_key *key, toon_row *row, bool *end,
                             toon_error *err) {
  const toon_snapshot *snapshot = cursor->snapshot;
  toon_error local;
  if (!err) err = &local;
  index_entry entry;
  *end = !cursor->index || !cursor->left;
  if (*end) return TOON_OK;
  TOON_TRY(cursor_use(cursor, err));
  do {
    toon_status status = advance(cursor, key, &entry, end, err);
    if (status != TOON_OK) {
      view_note_damage(cursor->view, err);
      return status;
    }
  } while (!*end && (entry.kind == INDEX_DELETE || lapsed(&entry, snapshot->now)));
  if (*end) return TOON_OK;
  cursor->left--;
  if (!keys_only) return read_row(cursor->db->engine, cursor->view, &entry, row, err);
  *row = (toon_row){.flags = entry.flags, .version = entry.sequence, .expires_at = entry.expires};
  return TOON_OK;
}

void toon_cursor_pause(toon_cursor *cursor) {
  if (cursor->using) snapshot_unuse(cursor->snapshot);
  cursor->using = false;
}

void toon_cursor_close(toon_cursor *cursor) {
  if (!cursor) return;
  index_cursor_close(cursor->index);
  toon_cursor_pause(cursor);
  toon_snapshot_close((toon_snapshot *)cursor->snapshot);
  toon_free(cursor);
}

void toon_watch(toon_db *db, uint32_t *words, uint32_t slots) {
  store_engine *engine = db->engine;
  os_mutex_lock(&engine->apply_lock); /* no commit is half visible */
  db->words = (cache_words){.next = engine->words, .words = (_Atomic uint32_t *)words, .slots = slots};
  engine->words = &db->words;
  os_mutex_unlock(&engine->apply_lock);
}

void toon_unwatch(toon_db *db) {
  store_engine *engine = db->engine;
  os_mutex_lock(&engine->apply_lock);
  cache_words **at = &engine->words;
  while (*at && *at != &db->words) at = &(*at)->next;
  if (*at) *at = db->words.next;
  db->words = (cache_words){0};
  os_mutex_unlock(&engine->apply_lock);
}

toon_stamp toon_watch_stamp(toon_db *db, toon_key key) {
  cache_stamp stamp = cache_words_stamp(&db->words, index_key_hash(db->engine->store_id, key));
  return (toon_stamp){stamp.word, stamp.slot, stamp.version};
}

bool toon_watch_unchanged(toon_db *db, const toon_stamp *stamp) {
  cache_stamp same = {stamp->word, stamp->slot, stamp->version};
  return cache_words_unchanged(&db->words, &same);
}
