/* Compaction: a segment's live rows are written again at the tail, in key order, and the segment goes.
 *
 * A move is an ordinary row of an ordinary group, but its entry keeps the row's sequence: for readers nothing has changed.
 * It is decided under the commit lock, against the newest place of the key, right before its text is written; so it can
 * never overwrite a newer write, live or at replay. `# delete` lines are carried along as text, unless nothing older than
 * the segment is left that they could have to silence.
 *
 * When the moves are synced the segment leaves the view and the manifest; its file is unlinked when the last view, snapshot
 * or cursor that may read it has gone. A crash at any point leaves rows twice at most, the later one being the same. */
#include "store/engine.h"
#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/rowtext.h"
#include "os/fault.h"

#include <errno.h>
#include <stdlib.h>

#define SLICE_BYTES (16u << 20) /* of a segment's text at a time: bounds memory, and within it rows come in key order */
#define GROUP_BYTES (1u << 20)
#define FLOOR_BYTES (4u << 20) /* dead bytes below which nothing is compacted by itself */
#define DEAD_SHARE 0.3         /* of the log that may be dead */
#define IDLE_SHARE 0.1         /* when there is nothing else to do */

typedef struct candidate {
  toon_key key; /* ptr is an offset until all keys of the slice are collected */
  uint64_t hash;
  uint32_t position, length;
  bool is_delete;
} candidate;

typedef struct slice {
  candidate *rows;
  size_t count, cap;
  toon_buf keys;
} slice;

static int by_key(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  int c = toon_key_cmp(x->key, y->key);
  return c ? c : (x->position > y->position) - (x->position < y->position);
}

/* Collect rows from *offset on, about SLICE_BYTES of text. */
static toon_status collect(store_engine *engine, const log_segment *segment, uint64_t *offset, bool drop_deletes,
                           slice *out, toon_error *err) {
  uint64_t length = atomic_load(&segment->length), stop = *offset + SLICE_BYTES;
  toon_slice bytes = toon_slice_of(segment->map, (size_t)length), text;
  toon_status status = TOON_OK;
  out->count = out->keys.len = 0;
  while (*offset < length && *offset < stop) {
    log_frame frame;
    log_rows rows;
    log_row row;
    uint64_t next;
    bool end;
    if (log_next_group(bytes, *offset, engine->store_id, &text, &frame, &next) != LOG_GROUP)
      return toon_fail_at(err, TOON_ECORRUPT, segment->path, (int64_t)*offset,
                          "a commit in this segment is damaged; it is not compacted");
    log_rows_init(&rows, text);
    while ((status = log_rows_next(&rows, &row, &end, err)) == TOON_OK && !end) {
      if (row.is_delete && drop_deletes) continue;
      if (out->count == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 4096;
        candidate *grown = toon_realloc(out->rows, cap * sizeof *grown);
        if (!grown) {
          status = toon_fail(err, TOON_ENOMEM, NULL);
          break;
        }
        out->rows = grown;
        out->cap = cap;
      }
      out->rows[out->count++] = (candidate){.key = {(const uint8_t *)out->keys.len, row.key.len, row.key.space},
                                            .hash = index_key_hash(engine->store_id, row.key),
                                            .position = (uint32_t)(*offset + row.offset),
                                            .length = row.length,
                                            .is_delete = row.is_delete};
      if (toon_buf_append(&out->keys, row.key.ptr, row.key.len) != TOON_OK) {
        status = toon_fail(err, TOON_ENOMEM, NULL);
        break;
      }
    }
    log_rows_free(&rows);
    if (status != TOON_OK) return status;
    *offset = next;
  }
  for (size_t i = 0; i < out->count; i++) out->rows[i].key.ptr = out->keys.ptr + (uintptr_t)out->rows[i].key.ptr;
  if (out->count) qsort(out->rows, out->count, sizeof *out->rows, by_key);
  return TOON_OK;
}

/* Is the candidate still what its key's newest entry names (a put), or still needed (a delete)? */
static toon_status is_current(const store_view *view, const log_segment *segment, const candidate *row,
                              index_entry *entry, bool *current, toon_error *err) {
  bool found;
  TOON_TRY(view_get(view, 0, row->key, row->hash, INDEX_NEWEST, entry, &found, err));
  if (row->is_delete)
    *current = !found || entry->kind != INDEX_PUT;
  else
    *current = found && entry->kind == INDEX_PUT && entry->segment == segment->id && entry->position == row->position;
  return TOON_OK;
}

/* Put one row into the group. commit_lock held. */
static toon_status add_move(store_engine *engine, const log_segment *segment, const candidate *row,
                            const index_entry *entry, toon_error *err) {
  toon_buf *group = &engine->group;
  size_t start = group->len;
  if (toon_buf_append(group, segment->map + row->position, row->length) != TOON_OK)
    return toon_fail(err, TOON_ENOMEM, NULL);
  /* The copy is what is checked: the file may be cut off under us. */
  if (row->is_delete
          ? os_map_damaged(segment->map)
          : row->length != entry->length || toon_crc32c(0, group->ptr + start, entry->length) != entry->crc) {
    atomic_fetch_add_explicit(&engine->stats.damaged_rows, 1, memory_order_relaxed);
    return toon_fail_at(err, TOON_ECORRUPT, segment->path, row->position,
                        "a row is damaged; its segment is not compacted");
  }
  if (row->is_delete) { /* text only: the index has nothing to learn from it */
    engine->group_deletes += row->length;
    return TOON_OK;
  }
  index_entry moved = *entry;
  moved.position = (uint32_t)start;
  return commit_add_insert(engine, row->key, row->hash, &moved, err);
}

/* Move one group's worth of rows from *at on. */
static toon_status move_group(store_engine *engine, const log_segment *segment, const slice *s, size_t *at,
                              toon_error *err) {
  size_t limit = engine->options.segment_size - LOG_HEADER_SIZE - LOG_FRAME_MAX;
  if (limit > GROUP_BYTES) limit = GROUP_BYTES;
  toon_status status = TOON_OK;
  os_mutex_lock(&engine->commit_lock);
  store_view *view = engine_view(engine);
  engine->group.len = 0;
  engine->insert_count = 0;
  engine->group_deletes = 0;
  for (; *at < s->count; ++*at) {
    const candidate *row = &s->rows[*at];
    index_entry entry;
    bool current;
    if (engine->group.len && engine->group.len + row->length > limit) break;
    /* Of several deletes of one key the last stands for all. */
    if (row->is_delete && *at + 1 < s->count && s->rows[*at + 1].is_delete &&
        toon_key_eq(row->key, s->rows[*at + 1].key))
      continue;
    TOON_GOTO(is_current(view, segment, row, &entry, &current, err));
    if (current) TOON_GOTO(add_move(engine, segment, row, &entry, err));
  }
  if (engine->group.len) {
    uint64_t moved = engine->insert_count;
    status = commit_write_group(engine, false, err);
    if (status == TOON_OK) atomic_fetch_add_explicit(&engine->stats.rows_moved, moved, memory_order_relaxed);
  }
out:
  engine->insert_count = 0;
  engine->group.len = 0;
  engine->group_deletes = 0;
  view_unref(view);
  os_mutex_unlock(&engine->commit_lock);
  return status;
}

/* Take the segment out of the log's own list, the view, and the manifest; its file goes later. */
static toon_status remove_segment(store_engine *engine, log_segment *segment, toon_error *err) {
  store_view *view = NULL;
  if (engine->removed_count == engine->removed_cap) {
    size_t cap = engine->removed_cap ? engine->removed_cap * 2 : 8;
    log_segment **grown = toon_realloc(engine->removed, cap * sizeof *grown);
    if (!grown) return toon_fail(err, TOON_ENOMEM, NULL);
    engine->removed = grown;
    engine->removed_cap = cap;
  }
  toon_status status = commit_list_segments(engine, segment, err);
  if (status != TOON_OK) {
    commit_has_left(engine);
    return status;
  }
  os_mutex_lock(&engine->manifest_lock);
  os_mutex_lock(&engine->apply_lock);
  store_view *now = atomic_load(&engine->view);
  log_segment **segments = toon_malloc((now->segment_count + 1) * sizeof *segments);
  size_t n = 0;
  for (size_t i = 0; segments && i < now->segment_count; i++)
    if (now->segments[i] && now->segments[i] != segment) segments[n++] = now->segments[i];
  if (segments) view = view_new(now->deltas[0], now->deltas[1], now->runs, now->run_count, segments, n);
  if (view) {
    log_segment_ref(segment);
    engine->removed[engine->removed_count++] = segment;
    engine_swap_view(engine, view);
  }
  os_mutex_unlock(&engine->apply_lock);
  os_mutex_unlock(&engine->manifest_lock);
  toon_free(segments);
  commit_has_left(engine);
  if (!view) return toon_fail(err, TOON_ENOMEM, NULL);
  status = engine_write_manifest(engine, false, err);
  if (status == TOON_OK) {
    compact_manifest_written(engine);
    atomic_fetch_add_explicit(&engine->stats.compactions, 1, memory_order_relaxed);
  }
  return status;
}

void compact_manifest_written(store_engine *engine) {
  for (size_t i = 0; i < engine->removed_count; i++) atomic_store(&engine->removed[i]->unlink_when_free, true);
}

void compact_unlink_removed(store_engine *engine, bool all) {
  size_t kept = 0;
  for (size_t i = 0; i < engine->removed_count; i++) {
    log_segment *segment = engine->removed[i];
    bool gone = all;
    if (!all && atomic_load(&segment->unlink_when_free) && atomic_load(&segment->refs) == 1) {
      int e = engine->vfs->unlink(engine->vfs, segment->path);
      gone = !e || e == ENOENT; /* else it is there: tried again later, and deletes are kept until then */
      if (gone) atomic_store(&segment->unlink_when_free, false);
    }
    if (gone) {
      engine->removed_unsynced = true;
      log_segment_unref(segment);
    } else {
      engine->removed[kept++] = segment;
    }
  }
  engine->removed_count = kept;
  /* Only when the directory has been synced does the next segment count as the oldest. */
  if (engine->removed_unsynced && !all && !engine->vfs->dirsync(engine->vfs, engine->directory))
    engine->removed_unsynced = false;
}

typedef struct progress {
  compact_request *request; /* NULL: nobody asked */
  uint64_t done, total;
} progress;

static bool go_on(store_engine *engine, progress *p) {
  if (background_stopping(engine)) return false;
  if (!p->request || !p->request->progress) return true;
  return p->request->progress(p->request->ctx, p->total ? (double)p->done / (double)p->total : 1.0);
}

/* Do deletes end in this segment? Only where no older one can come back. */
static bool ends_deletes(store_engine *engine, const log_segment *segment) {
  store_view *view = engine_view(engine);
  bool oldest = view->segments[0] == segment && !engine->removed_count && !engine->removed_unsynced && !engine->ghosts;
  view_unref(view);
  return oldest;
}

/* Goes on after the slices that an earlier, ended attempt has moved: their rows are in later segments, and stay there. */
static toon_status compact_segment(store_engine *engine, log_segment *segment, progress *p, toon_error *err) {
  toon_status status = TOON_OK;
  slice s = {0};
  uint64_t length = atomic_load(&segment->length), before = p->done;
  bool drop_deletes = ends_deletes(engine, segment);
  uint64_t offset = segment->compacted_to ? segment->compacted_to : LOG_HEADER_SIZE;
  while (offset < length) {
    TOON_GOTO(collect(engine, segment, &offset, drop_deletes, &s, err));
    if (os_map_damaged(segment->map)) { /* rows may have been overlooked */
      status = toon_fail_at(err, TOON_ECORRUPT, segment->path, (int64_t)offset,
                            "the segment was cut short, or cannot be read; it is not compacted");
      goto out;
    }
    for (size_t at = 0; at < s.count;) {
      TOON_GOTO(move_group(engine, segment, &s, &at, err));
      if (at == s.count) segment->compacted_to = offset;
      background_slice(engine);
      background_checkpoint_if_wanted(engine);
      p->done = before + (uint64_t)((double)(offset - LOG_HEADER_SIZE) * (double)at / (double)s.count);
      if (!go_on(engine, p)) {
        status = toon_fail(err, TOON_ETIMEOUT, "the compaction was ended early; nothing is lost");
        goto out;
      }
    }
  }
  /* The checkpoint syncs the moves and takes the replay position out of this segment. */
  TOON_GOTO(engine_checkpoint(engine, false, err));
  if (engine->replay.segment > segment->id) status = remove_segment(engine, segment, err);
  p->done = before + length;
out:
  toon_free(s.rows);
  toon_buf_free(&s.keys);
  return status;
}

static bool is_tail(store_engine *engine, const log_segment *segment) {
  os_mutex_lock(&engine->apply_lock);
  bool tail = engine->tail == segment;
  os_mutex_unlock(&engine->apply_lock);
  return tail;
}

static uint64_t dead_bytes(log_segment *s) {
  return atomic_load(&s->dead) + atomic_load(&s->dead_frozen) + atomic_load(&s->dead_active);
}

/* The segment to compact next, with a reference; NULL if it is not worth it. The oldest that is a quarter dead comes
 * first: there deletes end. */
static log_segment *choose(store_engine *engine, bool idle) {
  store_view *view = engine_view(engine);
  uint64_t bytes = 0, dead = 0, deletes = 0,
           floor = engine->options.segment_size < FLOOR_BYTES ? engine->options.segment_size : FLOOR_BYTES;
  log_segment *best = NULL, *oldest = NULL;
  double best_share = 0;
  for (size_t i = 0; i < view->segment_count; i++) {
    log_segment *s = view->segments[i];
    if (!s) continue;
    /* Frames go the way of the rows they stand behind: a segment of dead rows is dead altogether. */
    uint64_t length = atomic_load(&s->length), rows = length - atomic_load(&s->overhead);
    double share = rows ? (double)dead_bytes(s) / (double)rows : 0;
    uint64_t gone = (uint64_t)(share * (double)length);
    bytes += length;
    dead += gone;
    deletes += atomic_load(&s->deletes);
    if (atomic_load(&s->damaged)) continue;
    if (!oldest) oldest = s;
    if (s->id == view->first_segment + view->segment_count - 1 && gone < floor) continue; /* the tail waits */
    if (best_share < 0.25 && share > best_share) {
      best = s;
      best_share = share;
    }
  }
  if (dead < floor || (double)dead < (idle ? IDLE_SHARE : DEAD_SHARE) * (double)bytes || best_share < 0.1) best = NULL;
  /* Deletes only end where nothing older is left: when they have become many, segments go in order until they are gone. */
  bool ends = oldest == view->segments[0] && !engine->removed_count && !engine->removed_unsynced && !engine->ghosts;
  uint64_t live = bytes > dead + deletes ? bytes - dead - deletes : 0;
  if (deletes >= floor && deletes > live / 10 && ends) best = oldest;
  if (best) log_segment_ref(best);
  view_unref(view);
  return best;
}

bool compact_wants_checkpoint(store_engine *engine) { return atomic_load(&engine->bytes_since_freeze) >= FLOOR_BYTES; }

toon_status compact_if_due(store_engine *engine, bool idle, bool *done, toon_error *err) {
  toon_status status = TOON_OK;
  progress p = {0};
  log_segment *segment = choose(engine, idle);
  *done = false;
  if (!segment) return TOON_OK;
  if (is_tail(engine, segment)) status = commit_roll(engine, err);
  if (status == TOON_OK && is_tail(engine, segment)) goto out; /* it has no group */
  if (status == TOON_OK) status = compact_segment(engine, segment, &p, err);
  if (status == TOON_ECORRUPT) { /* it stays, is left alone from now on, and reads of the row report it */
    atomic_store(&segment->damaged, true);
    status = TOON_OK;
  }
  *done = status == TOON_OK;
out:
  log_segment_unref(segment);
  return status;
}

static bool has_deletes(const log_segment *s) {
  size_t length = (size_t)atomic_load(&s->length);
  if (length < LOG_HEADER_SIZE + 9) return false;
  return memcmp(s->map + LOG_HEADER_SIZE, "# delete ", 9) == 0 || memmem(s->map, length, "\n# delete ", 10) != NULL;
}

toon_status compact_all(store_engine *engine, compact_request *request, toon_error *err) {
  toon_status status = TOON_OK;
  progress p = {.request = request};
  log_segment **work = NULL;
  size_t count = 0;
  TOON_TRY(engine_checkpoint(engine, false, err)); /* dead bytes are exact now */
  compact_unlink_removed(engine, false);
  store_view *view = engine_view(engine);
  bool deletes = false, dead = false;
  for (size_t i = 0; i < view->segment_count; i++)
    if (view->segments[i]) {
      deletes = deletes || has_deletes(view->segments[i]);
      dead = dead || dead_bytes(view->segments[i]);
    }
  work = toon_malloc((view->segment_count + 1) * sizeof *work);
  if (!work) status = toon_fail(err, TOON_ENOMEM, NULL);
  for (size_t i = 0; status == TOON_OK && (deletes || dead) && i < view->segment_count; i++) {
    log_segment *s = view->segments[i];
    /* A delete is only given up where nothing older is left; so if there is one, everything is rewritten, oldest first. */
    if (!s || (!deletes && !dead_bytes(s)) || atomic_load(&s->length) == LOG_HEADER_SIZE) continue;
    log_segment_ref(s);
    work[count++] = s;
    p.total += atomic_load(&s->length);
  }
  view_unref(view);
  if (count && is_tail(engine, work[count - 1])) status = commit_roll(engine, err);
  toon_status damage = TOON_OK;
  toon_error what;
  for (size_t i = 0; i < count; i++) {
    /* Without dead rows there are only deletes to win, and none while a reader, or a failed unlink, holds an older file. */
    bool worth = dead_bytes(work[i]) || ends_deletes(engine, work[i]);
    if (status == TOON_OK && worth) status = compact_segment(engine, work[i], &p, err);
    if (status == TOON_ECORRUPT) { /* the segment stays; the others need not suffer for it */
      atomic_store(&work[i]->damaged, true);
      damage = status;
      what = *err;
      status = TOON_OK;
    }
    log_segment_unref(work[i]);
    engine_release_retired(engine);
    compact_unlink_removed(engine, false);
  }
  toon_free(work);
  if (status == TOON_OK && request->progress) request->progress(request->ctx, 1.0);
  if (status == TOON_OK) status = engine_checkpoint(engine, false, err);
  if (status == TOON_OK && damage != TOON_OK) {
    *err = what;
    status = damage;
  }
  return status;
}
