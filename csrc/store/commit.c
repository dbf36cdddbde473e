/* Commit: the queue of batches and the leader that turns what waits into groups.
 *
 * A group is formed member by member in queue order. Each member is validated against the published state plus the earlier
 * members of the group; only then does its text go into the group. When the group is full or nothing waits, all memory
 * that applying needs is reserved, the text and its frame are written with one pwrite and synced if the durability says so,
 * the entries are inserted, and one store publishes the sequence. From the write on nothing can refuse. */
#include "store/batch.h"
#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/rowtext.h"

#define GROUP_BYTES (4u << 20) /* a group takes no further member beyond this */
#define GROUP_ROWS 65536
#define PAD_STEP (1u << 20) /* the log grows by this much newline at durability commit */

/* ------------------------------------------------------------------ earlier members of the group */

/* Keys of the group being formed, so that members see each other: a hash over engine->inserts, filled when first asked.
 * A member that fails is taken out again, newest first, which keeps linear probing intact. */
typedef struct commit_pending {
  uint32_t *slots;  /* index of an insert + 1; 0 free */
  uint32_t *before; /* per insert: the earlier insert of the same key + 1 */
  size_t slot_count, before_cap, indexed;
} commit_pending;

void commit_pending_free(store_engine *engine) {
  if (!engine->pending) return;
  toon_free(engine->pending->slots);
  toon_free(engine->pending->before);
  toon_free(engine->pending);
  engine->pending = NULL;
}

static size_t pending_slot(const store_engine *engine, toon_key key, uint64_t hash) {
  const commit_pending *p = engine->pending;
  for (size_t i = (size_t)hash & (p->slot_count - 1);; i = (i + 1) & (p->slot_count - 1)) {
    if (!p->slots[i]) return i;
    const index_insert *insert = &engine->inserts[p->slots[i] - 1];
    if (insert->hash == hash && toon_key_eq(insert->key, key)) return i;
  }
}

static toon_status pending_index(store_engine *engine, toon_error *err) {
  commit_pending *p = engine->pending;
  if (!p && !(p = engine->pending = toon_calloc(1, sizeof *p))) return toon_fail(err, TOON_ENOMEM, NULL);
  if (p->before_cap < engine->insert_cap) {
    uint32_t *before = toon_realloc(p->before, engine->insert_cap * sizeof *before);
    if (!before) return toon_fail(err, TOON_ENOMEM, NULL);
    p->before = before;
    p->before_cap = engine->insert_cap;
  }
  if (p->slot_count < 2 * engine->insert_count) {
    size_t count = p->slot_count ? p->slot_count : 256;
    while (count < 2 * engine->insert_count) count *= 2;
    uint32_t *slots = toon_calloc(count, sizeof *slots);
    if (!slots) return toon_fail(err, TOON_ENOMEM, NULL);
    toon_free(p->slots);
    p->slots = slots;
    p->slot_count = count;
    p->indexed = 0;
  }
  for (; p->indexed < engine->insert_count; p->indexed++) {
    const index_insert *insert = &engine->inserts[p->indexed];
    size_t slot = pending_slot(engine, insert->key, insert->hash);
    p->before[p->indexed] = p->slots[slot];
    p->slots[slot] = (uint32_t)p->indexed + 1;
  }
  return TOON_OK;
}

static void pending_rewind(store_engine *engine, size_t count) {
  commit_pending *p = engine->pending;
  while (p && p->indexed > count) {
    p->indexed--;
    const index_insert *insert = &engine->inserts[p->indexed];
    p->slots[pending_slot(engine, insert->key, insert->hash)] = p->before[p->indexed];
  }
}

toon_status commit_pending_find(store_engine *engine, toon_key key, uint64_t hash, index_entry *entry, bool *found,
                                toon_error *err) {
  *found = false;
  if (!engine->insert_count) return TOON_OK;
  TOON_TRY(pending_index(engine, err));
  uint32_t i = engine->pending->slots[pending_slot(engine, key, hash)];
  if (!i) return TOON_OK;
  *entry = engine->inserts[i - 1].entry;
  *found = true;
  return TOON_OK;
}

/* ------------------------------------------------------------------ forming a group */

typedef struct group_state {
  store_view *view;
  int64_t now;
  uint64_t live;   /* upper bound of the store's live bytes before the group */
  bool resolved;   /* live has been made exact for this group */
  size_t credited; /* inserts whose predecessors are in `credit`: bytes that the group will make dead */
  uint64_t credit;
} group_state;

/* The newest state of a key: the group's earlier members first. */
typedef struct key_state {
  bool put;     /* there is a row, lapsed or not */
  bool visible; /* one that has not lapsed */
  bool pending; /* it is in the group, not yet in the log */
  index_entry entry;
} key_state;

static toon_status find_state(store_engine *engine, const group_state *g, toon_key key, uint64_t hash, key_state *state,
                              toon_error *err) {
  bool found;
  TOON_TRY(commit_pending_find(engine, key, hash, &state->entry, &state->pending, err));
  found = state->pending;
  if (!found) TOON_TRY(view_get(g->view, 0, key, hash, INDEX_NEWEST, &state->entry, &found, err));
  state->put = found && state->entry.kind == INDEX_PUT;
  state->visible = state->put && (!state->entry.expires || state->entry.expires > g->now);
  return TOON_OK;
}

toon_status commit_add_insert(store_engine *engine, toon_key key, uint64_t hash, const index_entry *entry,
                              toon_error *err) {
  if (engine->insert_count == engine->insert_cap) {
    size_t cap = engine->insert_cap ? engine->insert_cap * 2 : 1024;
    index_insert *inserts = toon_realloc(engine->inserts, cap * sizeof *inserts);
    if (!inserts) return toon_fail(err, TOON_ENOMEM, NULL);
    engine->inserts = inserts;
    engine->insert_cap = cap;
  }
  engine->inserts[engine->insert_count++] = (index_insert){.key = key, .hash = hash, .entry = *entry};
  return TOON_OK;
}

toon_status commit_add_delete(store_engine *engine, toon_key key, uint64_t hash, toon_error *err) {
  size_t start = engine->group.len;
  if (log_put_delete(&engine->group, key) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  index_entry entry = {.sequence = engine->sequence + 1,
                       .position = (uint32_t)start,
                       .length = (uint32_t)(engine->group.len - start),
                       .kind = INDEX_DELETE};
  return commit_add_insert(engine, key, hash, &entry, err);
}

static toon_status add_put(store_engine *engine, const toon_batch *batch, const batch_op *op, toon_key key,
                           uint64_t hash, toon_error *err) {
  toon_buf *group = &engine->group;
  size_t start = group->len;
  uint8_t flags = 0;
  toon_slice value = batch_value(batch, op);
  uint64_t max = batch->db->options.max_value_size;
  if (op->expires_at && log_put_expires(group, op->expires_at) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  if (log_put_key_token(group, key) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  size_t field = group->len;
  toon_status status = op->input == TOON_INPUT_JSON    ? toon_field_json(value, (size_t)max, group, &flags, err)
                       : op->input == TOON_INPUT_BYTES ? toon_field_bytes(value, (size_t)max, group, &flags, err)
                                                       : toon_field_string(value, (size_t)max, group, &flags, err);
  if (status == TOON_ENOMEM) return toon_fail(err, TOON_ENOMEM, NULL);
  if (status != TOON_OK) return status;
  index_entry entry = {.sequence = engine->sequence + 1,
                       .position = (uint32_t)start,
                       .length = (uint32_t)(group->len - start),
                       .expires = op->expires_at,
                       .kind = INDEX_PUT,
                       .flags = flags,
                       .field = (uint16_t)(field - start)};
  return commit_add_insert(engine, key, hash, &entry, err);
}

/* The row once more, with another expiry line. */
static toon_status add_expire(store_engine *engine, const group_state *g, const key_state *state, toon_key key,
                              uint64_t hash, int64_t expires_at, toon_error *err) {
  toon_buf *group = &engine->group;
  index_entry entry = state->entry;
  size_t old = entry.position, start = group->len;
  toon_buf text = {0};
  const uint8_t *from;
  if (state->pending) {
    from = group->ptr + old;
  } else {
    log_segment *segment = view_segment(g->view, entry.segment);
    from = segment ? segment->map + old : NULL;
    if (!from)
      return toon_fail_at(err, TOON_ECORRUPT, engine->directory, (int64_t)old,
                          "the index names a segment that is not there");
  }
  /* The group may move while it grows, and the file be cut off under us: the text is set aside, and then checked. */
  if (toon_buf_append(&text, from, entry.length) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  if (!state->pending && toon_crc32c(0, text.ptr, entry.length) != entry.crc) {
    toon_buf_free(&text);
    return toon_fail_at(err, TOON_ECORRUPT, view_segment(g->view, entry.segment)->path, (int64_t)old,
                        "the row's checksum is wrong; it cannot be written again");
  }
  /* The line of the old expiry, if any, stays behind. */
  size_t skip = entry.expires ? (size_t)((const uint8_t *)memchr(text.ptr, '\n', entry.length) + 1 - text.ptr) : 0;
  if ((expires_at && log_put_expires(group, expires_at) != TOON_OK) ||
      toon_buf_append(group, text.ptr + skip, entry.length - skip) != TOON_OK) {
    toon_buf_free(&text);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  toon_buf_free(&text);
  size_t line = group->len - start - (entry.length - skip);
  entry.sequence = engine->sequence + 1;
  entry.position = (uint32_t)start;
  entry.length = (uint32_t)(group->len - start);
  entry.field = (uint16_t)(entry.field - skip + line);
  entry.expires = expires_at;
  return commit_add_insert(engine, key, hash, &entry, err);
}

/* Count the rows that the group's inserts replace. */
static toon_status credit_replaced(store_engine *engine, group_state *g, toon_error *err) {
  TOON_TRY(pending_index(engine, err));
  for (; g->credited < engine->insert_count; g->credited++) {
    const index_insert *insert = &engine->inserts[g->credited];
    uint32_t before = engine->pending->before[g->credited];
    index_entry entry;
    bool found = before != 0;
    if (found)
      entry = engine->inserts[before - 1].entry;
    else
      TOON_TRY(view_get(g->view, 0, insert->key, insert->hash, INDEX_NEWEST, &entry, &found, err));
    if (found && entry.kind == INDEX_PUT) g->credit += entry.length;
  }
  return TOON_OK;
}

/* Refuse what would take the store over its limit, on an upper bound first, then on the exact figure. */
static toon_status check_db_size(store_engine *engine, group_state *g, toon_error *err) {
  uint64_t max = engine->options.max_db_size;
  if (g->live + engine->group.len <= max) return TOON_OK;
  if (!g->resolved) {
    TOON_TRY(tally_resolve(engine, 1, err));
    TOON_TRY(tally_resolve(engine, 0, err));
    g->live = tally_live_bytes(engine);
    g->resolved = true;
  }
  TOON_TRY(credit_replaced(engine, g, err));
  if (g->live + engine->group.len <= max + g->credit) return TOON_OK;
  return toon_fail(err, TOON_EDBFULL, "the store would hold more than maxDbSize (%llu bytes); delete rows or raise it",
                   (unsigned long long)max);
}

/* Note when the store gets nearly full, once until it is well below again. `live` is an upper bound. */
static void note_fill(store_engine *engine, uint64_t live) {
  uint64_t max = engine->options.max_db_size, high = max / 10 * 8, low = max / 10 * 7;
  toon_error err;
  if (live <= (engine->nearly_full ? low : high)) {
    engine->nearly_full = false;
    return;
  }
  if (tally_resolve(engine, 1, &err) != TOON_OK || tally_resolve(engine, 0, &err) != TOON_OK) return; /* next time */
  live = tally_live_bytes(engine);
  if (!engine->nearly_full && live > high) {
    engine->nearly_full = true;
    atomic_fetch_add_explicit(&engine->times_nearly_full, 1, memory_order_relaxed);
  } else if (live < low) {
    engine->nearly_full = false;
  }
}

static bool conditions_hold(const batch_op *op, const key_state *state) {
  if ((op->conditions & TOON_IF_ABSENT) && state->visible) return false;
  if ((op->conditions & TOON_IF_PRESENT) && !state->visible) return false;
  return !(op->conditions & TOON_IF_VERSION) || (state->visible ? state->entry.sequence : 0) == op->version;
}

static toon_status form_op(store_engine *engine, group_state *g, toon_batch *batch, const batch_member *member,
                           batch_op *op, uint64_t *value, toon_error *err) {
  toon_key key = batch_key(batch, op);
  key_state state;
  *value = 1;
  if (op->kind == BATCH_EXPECT_RANGE) return validate_range(engine, g->view, member->snapshot, op->range, err);
  if (op->kind == BATCH_ROW_PUT) {
    if (engine->next_row > (1ull << 53) - 1) return toon_fail(err, TOON_EDBFULL, "row ids are used up (2^53)");
    *value = engine->next_row;
    key = toon_row_key(engine->next_row, batch->arena.ptr + op->key); /* the arena keeps room for the id */
  }
  uint64_t hash = index_key_hash(engine->store_id, key);
  if (member->snapshot && op->kind != BATCH_ROW_PUT)
    TOON_TRY(validate_key(engine, g->view, member->snapshot, key, hash, err));
  switch (op->kind) {
  case BATCH_EXPECT: return TOON_OK;
  case BATCH_EXPECT_VERSION:
    TOON_TRY(find_state(engine, g, key, hash, &state, err));
    if ((state.visible ? state.entry.sequence : 0) == op->version) return TOON_OK;
    return toon_fail(err, TOON_ECONFLICT, NULL);
  case BATCH_DELETE:
    TOON_TRY(find_state(engine, g, key, hash, &state, err));
    *value = state.visible;
    return state.put ? commit_add_delete(engine, key, hash, err) : TOON_OK;
  case BATCH_EXPIRE:
    TOON_TRY(find_state(engine, g, key, hash, &state, err));
    *value = state.visible && (op->expires_at || state.entry.expires);
    if (!state.visible || state.entry.expires == op->expires_at) return TOON_OK;
    return add_expire(engine, g, &state, key, hash, op->expires_at, err);
  default: break;
  }
  if (op->conditions) {
    TOON_TRY(find_state(engine, g, key, hash, &state, err));
    if (!conditions_hold(op, &state)) {
      *value = 0;
      if (member->count == 1) return TOON_OK;
      return toon_fail(err, TOON_ECONFLICT, "a condition of the transaction does not hold; nothing was written");
    }
  }
  if (op->space == TOON_SPACE_ROW && toon_row_id(key) >= engine->next_row) engine->next_row = toon_row_id(key) + 1;
  TOON_TRY(add_put(engine, batch, op, key, hash, err));
  return check_db_size(engine, g, err);
}

/* Validate and encode one member. On failure the group is as before. */
static toon_status form_member(store_engine *engine, group_state *g, toon_batch *batch, batch_member *member,
                               toon_error *err) {
  size_t text = engine->group.len, inserts = engine->insert_count;
  uint64_t next_row = engine->next_row, value = 1;
  toon_status status = TOON_OK;
  engine->member_start = text;
  if (member->snapshot) TOON_TRY(snapshot_use(member->snapshot, err));
  for (uint32_t i = 0; i < member->count && status == TOON_OK; i++) {
    status = form_op(engine, g, batch, member, &batch->ops[member->first + i], &value, err);
    if (status == TOON_OK && engine->group.len - text > engine->options.max_txn_size)
      status = toon_fail(err, TOON_ETXNTOOBIG, "the transaction has more than maxTxnSize (%llu) bytes; split it",
                         (unsigned long long)engine->options.max_txn_size);
  }
  if (member->snapshot) snapshot_unuse(member->snapshot);
  if (status != TOON_OK) {
    pending_rewind(engine, inserts);
    engine->group.len = text;
    engine->insert_count = inserts;
    engine->next_row = next_row;
    if (g->credited > inserts) g->credited = g->credit = 0;
    return status;
  }
  member->value = member->count == 1 ? value : 1;
  return TOON_OK;
}

static void group_reset(store_engine *engine) {
  pending_rewind(engine, 0);
  engine->group.len = 0;
  engine->insert_count = 0;
}

/* ------------------------------------------------------------------ writing a group */

void engine_poison(store_engine *engine, const toon_error *why) {
  os_mutex_lock(&engine->error_lock);
  if (atomic_load(&engine->poisoned) == TOON_OK) {
    engine->poison_error = *why;
    atomic_store(&engine->poisoned, TOON_EIO);
  }
  os_mutex_unlock(&engine->error_lock);
}

toon_status engine_check_poison(store_engine *engine, toon_error *err) {
  if (atomic_load_explicit(&engine->poisoned, memory_order_acquire) == TOON_OK) return TOON_OK;
  if (!err) return TOON_EIO;
  os_mutex_lock(&engine->error_lock);
  *err = engine->poison_error;
  os_mutex_unlock(&engine->error_lock);
  err->status = TOON_EIO;
  return TOON_EIO;
}

toon_status commit_sync_log(store_engine *engine, log_segment *segment, bool whole, toon_error *err) {
  os_mutex_lock(&engine->sync_lock);
  toon_status status = engine_check_poison(engine, err);
  if (status == TOON_OK) {
    os_vfs *vfs = segment->vfs;
    int e = whole ? vfs->sync(vfs, segment->file) : vfs->datasync(vfs, segment->file);
    if (e) {
      toon_fail_os(err, e, whole ? "fsync" : "fdatasync", segment->path);
      status = err->status = TOON_EIO; /* even if the disk is full: what is there is not known any more */
      engine_poison(engine, err);
    }
  }
  os_mutex_unlock(&engine->sync_lock);
  return status;
}

toon_status engine_withdraw_clean(store_engine *engine, toon_error *err) {
  if (!engine->manifest_clean) return TOON_OK; /* only this thread and open or close change it */
  TOON_TRY(engine_write_manifest(engine, false, err));
  return TOON_OK;
}

/* A new segment for a group of `need` bytes. */
static toon_status roll(store_engine *engine, size_t need, toon_error *err) {
  log_segment *old = engine->tail, *fresh = NULL;
  store_view *view = NULL;
  toon_status status = TOON_OK;
  int e;
  if (old->id == UINT32_MAX) return toon_fail(err, TOON_EDBFULL, "segment numbers are used up");
  /* Padding goes first, so that the sync covers the size too: the manifest will record it. */
  TOON_TRY(log_segment_trim(old, atomic_load(&old->length), err));
  TOON_TRY(commit_sync_log(engine, old, true, err));
  atomic_store(&engine->synced, engine->sequence);
  uint64_t room = LOG_HEADER_SIZE + (uint64_t)need;
  if (room < engine->options.segment_size) room = engine->options.segment_size;
  TOON_TRY(
      log_segment_create(engine->vfs, engine->directory, old->id + 1, engine->store_id, (size_t)room, &fresh, err));
  e = engine->vfs->sync(engine->vfs, fresh->file);
  if (!e) e = engine->vfs->dirsync(engine->vfs, engine->directory);
  if (e) {
    status = toon_fail_os(err, e, "fsync", fresh->path);
    goto out;
  }
  os_mutex_lock(&engine->apply_lock); /* the view does not change while we copy it */
  store_view *now = atomic_load(&engine->view);
  log_segment **segments = toon_malloc((now->segment_count + 1) * sizeof *segments);
  if (segments) {
    size_t n = 0;
    for (size_t i = 0; i < now->segment_count; i++)
      if (now->segments[i]) segments[n++] = now->segments[i];
    segments[n++] = fresh;
    view = view_new(now->deltas[0], now->deltas[1], now->runs, now->run_count, segments, n);
    toon_free(segments);
  }
  if (view) {
    engine_swap_view(engine, view);
    old->last_crc = engine->tail_crc;
    engine->tail = fresh;
  }
  os_mutex_unlock(&engine->apply_lock);
  if (!view) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  atomic_fetch_add_explicit(&engine->stats.rolls, 1, memory_order_relaxed);
out:
  if (status != TOON_OK) atomic_store(&fresh->unlink_when_free, true);
  log_segment_unref(fresh); /* the view has its own */
  return status;
}

toon_status commit_roll(store_engine *engine, toon_error *err) {
  toon_status status = TOON_OK;
  os_mutex_lock(&engine->commit_lock);
  if (atomic_load(&engine->tail->length) > LOG_HEADER_SIZE) {
    status = engine_check_poison(engine, err);
    if (status == TOON_OK) status = engine_withdraw_clean(engine, err);
    if (status == TOON_OK) status = roll(engine, LOG_FRAME_MAX, err);
  }
  os_mutex_unlock(&engine->commit_lock);
  return status;
}

void commit_count_replaced(store_engine *engine, const store_view *view, log_segment *written) {
  uint64_t deletes = engine->group_deletes;
  engine->group_deletes = 0;
  for (size_t i = 0; i < engine->insert_count; i++) {
    if (engine->inserts[i].entry.kind == INDEX_DELETE) deletes += engine->inserts[i].entry.length;
    const index_version *old = engine->inserts[i].replaced;
    if (!old || old->entry.kind != INDEX_PUT) continue;
    log_segment *segment = view_segment(view, old->entry.segment);
    if (segment) atomic_fetch_add_explicit(&segment->dead_active, old->entry.length, memory_order_relaxed);
  }
  if (deletes && written) atomic_fetch_add_explicit(&written->deletes, deletes, memory_order_relaxed);
}

/* Append the line that names the segments there are. */
static toon_status add_segment_list(store_engine *engine, const store_view *view, toon_error *err) {
  uint32_t *ids = toon_malloc(view->segment_count * sizeof *ids);
  size_t n = 0;
  for (size_t i = 0; ids && i < view->segment_count; i++)
    if (view->segments[i] && view->segments[i] != engine->leaving) ids[n++] = view->segments[i]->id;
  toon_status status = ids ? log_put_segments(&engine->group, ids, n) : TOON_ENOMEM;
  toon_free(ids);
  return status == TOON_OK ? TOON_OK : toon_fail(err, status, NULL);
}

/* Insert and publish; cannot fail. */
static void apply(store_engine *engine, store_view *view, const log_frame *frame, size_t text, uint64_t end) {
  index_delta *active = view->deltas[0];
  log_segment_publish(engine->tail, end);
  atomic_fetch_add_explicit(&engine->tail->overhead, engine->group.len - text, memory_order_relaxed);
  os_mutex_lock(&engine->apply_lock);
  /* Whoever keeps values learns of the keys that change before they do. Moved rows stay as they are. */
  size_t changes = 0;
  if (engine->words) {
    cache_words_begin(engine->words);
    for (size_t i = 0; i < engine->insert_count; i++) changes += engine->inserts[i].entry.sequence == frame->sequence;
    cache_words_bump_all(engine->words, changes);
    for (size_t i = 0; i < engine->insert_count; i++)
      if (engine->inserts[i].entry.sequence == frame->sequence)
        cache_words_bump(engine->words, changes, engine->inserts[i].hash);
  }
  index_delta_insert(active, engine->inserts, engine->insert_count);
  engine->sequence = frame->sequence;
  engine->tail_crc = engine->tail->last_crc = frame->crc;
  atomic_store_explicit(&engine->published_row, frame->next_row, memory_order_relaxed);
  atomic_store_explicit(&engine->published, frame->sequence, memory_order_release);
  if (engine->words) cache_words_end(engine->words);
  commit_count_replaced(engine, view, engine->tail);
  snapshot_prune(engine, active);
  os_mutex_unlock(&engine->apply_lock);
}

/* Room for the list of segments after a roll. */
static size_t list_room(store_engine *engine) {
  store_view *view = engine_view(engine);
  size_t count = 1;
  for (size_t i = 0; i < view->segment_count; i++) count += view->segments[i] != NULL;
  view_unref(view);
  return LOG_SEGMENTS_MAX(count);
}

toon_status commit_list_segments(store_engine *engine, const log_segment *leaving, toon_error *err) {
  os_mutex_lock(&engine->commit_lock);
  engine->leaving = leaving;
  engine->list_segments = true;
  group_reset(engine);
  toon_status status = commit_write_group(engine, false, err);
  engine->list_segments = false;
  group_reset(engine);
  os_mutex_unlock(&engine->commit_lock);
  return status == TOON_OK ? engine_sync(engine, err) : status;
}

void commit_has_left(store_engine *engine) {
  os_mutex_lock(&engine->commit_lock);
  engine->leaving = NULL;
  os_mutex_unlock(&engine->commit_lock);
}

toon_status commit_write_group(store_engine *engine, bool sync, toon_error *err) {
  toon_buf *group = &engine->group;
  store_view *view = NULL;
  bool poisoned = false;
  int64_t expires = 0;
  toon_status status = engine_check_poison(engine, err);
  if (status == TOON_OK) status = engine_withdraw_clean(engine, err);
  if (status != TOON_OK) return status;

  log_frame frame = {
      .sequence = engine->sequence + 1, .next_row = engine->next_row, .synced = atomic_load(&engine->synced)};
  /* Each segment but the first begins with a list of those there are: without a manifest it tells which one is missing. */
  size_t text = group->len, whole = text + LOG_FRAME_MAX;
  uint64_t used = atomic_load_explicit(&engine->tail->length, memory_order_relaxed);
  uint64_t room = engine->tail->map_len;
  if (room > engine->options.segment_size) room = engine->options.segment_size;
  if (engine->list_segments || used == LOG_HEADER_SIZE || used + whole > room) whole += list_room(engine);
  if (used + whole > room && used > LOG_HEADER_SIZE) {
    TOON_TRY(roll(engine, whole, err));
    frame.synced = atomic_load(&engine->synced);
  } else if (used + whole > engine->tail->map_len) {
    /* A tail without a group: nobody has anything to read in it yet. One that has groups is never mapped anew. */
    TOON_TRY(log_segment_remap(engine->tail, LOG_HEADER_SIZE + whole, err));
  }
  used = atomic_load_explicit(&engine->tail->length, memory_order_relaxed);

  view = engine_view(engine);
  if (engine->list_segments || (used == LOG_HEADER_SIZE && engine->tail->id))
    TOON_GOTO(add_segment_list(engine, view, err));
  if (index_delta_reserve(view->deltas[0], engine->inserts, engine->insert_count) != TOON_OK ||
      log_frame_append(group, engine->store_id, &frame) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  for (size_t i = 0; i < engine->insert_count; i++) {
    index_entry *entry = &engine->inserts[i].entry;
    entry->crc = toon_crc32c(0, group->ptr + entry->position, entry->length);
    entry->segment = engine->tail->id;
    entry->position += (uint32_t)used;
    if (entry->expires && (!expires || entry->expires < expires)) expires = entry->expires;
  }
  size_t pad = engine->options.durability == TOON_DURABLE_COMMIT && group->len < PAD_STEP / 4 ? PAD_STEP : 0;
  status = log_segment_write(engine->tail, toon_buf_slice(group), pad, &poisoned, err);
  if (poisoned) {
    status = err->status = TOON_EIO;
    engine_poison(engine, err);
  }
  if (status == TOON_OK && sync) status = commit_sync_log(engine, engine->tail, false, err);
  if (status != TOON_OK) goto out;
  engine->list_segments = false;
  apply(engine, view, &frame, text, used + group->len);
  if (expires) background_note_expiry(engine, expires);
  if (sync) atomic_store(&engine->synced, frame.sequence);
  engine->bytes_since_freeze += group->len;
  atomic_fetch_add_explicit(&engine->stats.commits, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&engine->stats.syncs, sync, memory_order_relaxed);
  atomic_fetch_add_explicit(&engine->stats.rows_written, engine->insert_count, memory_order_relaxed);
  atomic_fetch_add_explicit(&engine->stats.bytes_written, group->len, memory_order_relaxed);
  if (engine->bytes_since_freeze >= engine->options.checkpoint_bytes ||
      index_delta_get_info(view->deltas[0]).bytes >= ENGINE_DELTA_BYTES)
    background_want_checkpoint(engine);
out:
  view_unref(view);
  return status;
}

/* ------------------------------------------------------------------ leading */

/* Wait while the delta is full and its predecessor not yet checkpointed. Not under the commit lock, which the checkpoint
 * needs. Fails with the checkpoint's error if it cannot
 * make progress, rather than waiting for ever. */
static toon_status wait_for_room(store_engine *engine, toon_error *err) {
  if (!engine_delta_full(engine)) return TOON_OK;
  uint64_t start = engine_now_ns(engine);
  toon_status status = TOON_OK;
  atomic_fetch_add_explicit(&engine->stats.stalls, 1, memory_order_relaxed);
  while (engine_delta_full(engine)) {
    background_want_checkpoint(engine);
    os_mutex_lock(&engine->wake_lock);
    os_cond_wait_ms(&engine->idle_cond, &engine->wake_lock, 5);
    os_mutex_unlock(&engine->wake_lock);
    os_mutex_lock(&engine->error_lock);
    if (engine->checkpoint_error.status != TOON_OK && engine_delta_full(engine)) {
      if (err) *err = engine->checkpoint_error;
      status = engine->checkpoint_error.status;
    }
    os_mutex_unlock(&engine->error_lock);
    if (status != TOON_OK) break;
  }
  atomic_fetch_add_explicit(&engine->stats.stall_us, (engine_now_ns(engine) - start) / 1000, memory_order_relaxed);
  return status;
}

static bool syncs_commits(const store_engine *engine) { return engine->options.durability == TOON_DURABLE_COMMIT; }

/* Delete the keys of a range: in one group if it fits max_txn_size, else in several, each atomic. */
static toon_status run_clear(store_engine *engine, const toon_range *range, uint64_t *value, toon_error *err) {
  toon_status status = TOON_OK;
  index_cursor *cursor = NULL;
  toon_buf successor = {0}, keys = {0};
  index_bounds bounds;
  bool empty, end = false;
  uint64_t left = range->limit ? range->limit : UINT64_MAX;
  int64_t now = engine_now_ms(engine);
  store_view *view = engine_view(engine);
  *value = 0;
  TOON_GOTO(range_bounds(range, &successor, &bounds, &empty, err));
  if (empty) goto out;
  TOON_GOTO(index_cursor_open(view->deltas, view->deltas[1] ? 2 : 1, view->raw_runs, view->run_count, INDEX_NEWEST,
                              &bounds, &cursor, err));
  while (!end && left) {
    uint64_t cleared = 0;
    group_reset(engine);
    keys.len = 0;
    while (left && engine->group.len < engine->options.max_txn_size) {
      toon_key key;
      index_entry entry;
      TOON_GOTO(index_cursor_next(cursor, &key, &entry, &end, err));
      if (end) break;
      if (entry.kind != INDEX_PUT) continue;
      bool visible = !entry.expires || entry.expires > now;
      size_t at = keys.len; /* an offset for now: the buffer may move */
      if (toon_buf_append(&keys, key.ptr, key.len) != TOON_OK) {
        status = toon_fail(err, TOON_ENOMEM, NULL);
        goto out;
      }
      TOON_GOTO(commit_add_delete(engine, key, index_key_hash(engine->store_id, key), err));
      engine->inserts[engine->insert_count - 1].key.ptr = (const uint8_t *)at;
      cleared += visible;
      left -= visible;
    }
    if (!engine->insert_count) break;
    for (size_t i = 0; i < engine->insert_count; i++)
      engine->inserts[i].key.ptr = keys.ptr + (uintptr_t)engine->inserts[i].key.ptr;
    TOON_GOTO(commit_write_group(engine, syncs_commits(engine), err));
    *value += cleared;
    if (!end && left) {
      os_mutex_unlock(&engine->commit_lock); /* a checkpoint or compaction may need it to make room */
      status = wait_for_room(engine, err);
      os_mutex_lock(&engine->commit_lock);
      if (status != TOON_OK) goto out;
    }
  }
out:
  engine->insert_count = 0; /* the keys go; pending was not used */
  index_cursor_close(cursor);
  toon_buf_free(&successor);
  toon_buf_free(&keys);
  view_unref(view);
  return status;
}

typedef struct place {
  toon_batch *batch;
  size_t member;
} place;

static void member_failed(toon_batch *batch, batch_member *member, const toon_error *err) {
  batch_fail(member, err);
  batch->failed = true;
  batch->broken = batch->broken || err->status == TOON_ECONFLICT;
}

/* Form and commit one group from `at` on; moves *at behind its last member. commit_lock held. `no_room` (may be NULL): why
 * there is no room for writes. */
static void form_group(store_engine *engine, place *at, const toon_error *no_room) {
  place from = *at;
  toon_error err = {0};
  group_reset(engine);
  toon_status status = engine_check_poison(engine, &err);
  if (status == TOON_OK && no_room) {
    err = *no_room;
    status = err.status;
  }
  if (status != TOON_OK) {
    for (; at->member < at->batch->member_count; at->member++)
      member_failed(at->batch, &at->batch->members[at->member], &err);
    return;
  }
  batch_member *first = at->member < at->batch->member_count ? &at->batch->members[at->member] : NULL;
  if (first && first->count && at->batch->ops[first->first].kind == BATCH_CLEAR) {
    status = batch_check_order(at->batch, first, &err);
    if (status == TOON_OK) status = run_clear(engine, at->batch->ops[first->first].range, &first->value, &err);
    if (status != TOON_OK) member_failed(at->batch, first, &err);
    at->member++;
    return;
  }
  group_state g = {.view = engine_view(engine), .now = engine_now_ms(engine), .live = tally_live_bytes(engine)};
  for (;;) {
    if (at->member >= at->batch->member_count) {
      if (!at->batch->next) break;
      at->batch = at->batch->next;
      at->member = 0;
      continue;
    }
    batch_member *member = &at->batch->members[at->member];
    if (member->count && at->batch->ops[member->first].kind == BATCH_CLEAR) break;
    status = batch_check_order(at->batch, member, &err);
    if (status == TOON_OK) status = form_member(engine, &g, at->batch, member, &err);
    if (status != TOON_OK) member_failed(at->batch, member, &err);
    at->member++;
    atomic_fetch_add_explicit(&engine->stats.members, 1, memory_order_relaxed);
    if (engine->group.len >= GROUP_BYTES || engine->insert_count >= GROUP_ROWS) break;
  }
  view_unref(g.view);
  if (!engine->insert_count) return;
  status = commit_write_group(engine, syncs_commits(engine), &err);
  if (status == TOON_OK) {
    note_fill(engine, g.live + engine->group.len);
    return;
  }
  /* Nothing of the group is visible. Members that found nothing to do relied on it as well: all of them fail. Ids that were
   * taken are not given out again. */
  for (place p = from; p.batch != at->batch || p.member < at->member;) {
    if (p.member >= p.batch->member_count) {
      p = (place){p.batch->next, 0};
      continue;
    }
    if (p.batch->members[p.member].status == TOON_OK) member_failed(p.batch, &p.batch->members[p.member], &err);
    p.member++;
  }
}

static void lead_group(store_engine *engine, place *at, const toon_error *no_room) {
  form_group(engine, at, no_room);
  group_reset(engine); /* while the batches that hold its keys are still there */
}

/* Give the batch back. True if `leader` takes no more writes and waits for none: then it need not lead any longer. */
static bool finish_batch(store_engine *engine, toon_batch *batch, const toon_db *leader) {
  toon_db *db = batch->db; /* the batch may go in its done function; the handle stays until it waits for nothing */
  toon_done_fn done = batch->done_fn;
  if (done) done(batch->done_ctx, batch);
  os_mutex_lock(&engine->queue_lock);
  if (!done) batch->done = true;
  db->waiting--;
  if (!done || !db->waiting) os_cond_broadcast(&engine->queue_cond);
  bool leave = leader && leader->stopped && !leader->waiting;
  os_mutex_unlock(&engine->queue_lock);
  return leave;
}

/* Who leads, and for how long: a caller of toon_commit until its batch is done, a handle's toon_lead until nothing waits or the
 * handle has been stopped and waits for nothing, a thread that was started for it (both NULL) until nothing waits. */
typedef struct commit_leader {
  const toon_batch *until;
  const toon_db *db;
} commit_leader;

/* Commit group after group of the list; what is left when the leader stops is returned. */
static toon_batch *lead_list(store_engine *engine, toon_batch *list, commit_leader leader) {
  place at = {list, list->next_member};
  toon_batch *unfinished = list;
  bool stop = false;
  while (unfinished && !stop) {
    toon_error err;
    bool room = wait_for_room(engine, &err) == TOON_OK;
    os_mutex_lock(&engine->commit_lock);
    lead_group(engine, &at, room ? NULL : &err);
    os_mutex_unlock(&engine->commit_lock);
    while (unfinished && (unfinished != at.batch || at.member >= unfinished->member_count)) {
      toon_batch *batch = unfinished;
      unfinished = batch->next;
      if (batch == at.batch) at = (place){unfinished, 0};
      bool own = batch == leader.until, leave = finish_batch(engine, batch, leader.db);
      stop = stop || own || leave;
    }
  }
  if (unfinished) unfinished->next_member = at.member;
  return unfinished;
}

static void want_leader(store_engine *engine);

/* queue_lock held, nobody leading. */
static void lead_locked(store_engine *engine, commit_leader leader) {
  engine->leading = true;
  engine->guest = leader.until;
  bool stop = false;
  while (engine->queue_head && !stop) {
    toon_batch *list = engine->queue_head;
    engine->queue_head = engine->queue_tail = NULL;
    os_mutex_unlock(&engine->queue_lock);
    toon_batch *left = lead_list(engine, list, leader);
    os_mutex_lock(&engine->queue_lock);
    if (left) { /* back to the head of the queue */
      toon_batch *last = left;
      while (last->next) last = last->next;
      last->next = engine->queue_head;
      if (!engine->queue_tail) engine->queue_tail = last;
      engine->queue_head = left;
    }
    stop = leader.until ? leader.until->done : leader.db && leader.db->stopped && !leader.db->waiting;
  }
  engine->leading = engine->guest = false;
  /* Whoever waits in toon_commit leads then; for the others a thread does, unless somebody was asked to. */
  if (engine->queue_head && leader.db) want_leader(engine);
  os_cond_broadcast(&engine->queue_cond);
}

void toon_lead(toon_db *db) {
  store_engine *engine = db->engine;
  os_mutex_lock(&engine->queue_lock);
  engine->lead_requested = false;
  while (engine->leading && engine->guest) os_cond_wait(&engine->queue_cond, &engine->queue_lock); /* a group or two */
  /* Else: whoever leads takes everything before it stops, or sees to it. */
  if (!engine->leading) lead_locked(engine, (commit_leader){.db = db});
  os_mutex_unlock(&engine->queue_lock);
}

static void *lead_main(void *ctx) {
  store_engine *engine = ctx;
  os_mutex_lock(&engine->queue_lock);
  while (engine->leading && engine->guest) os_cond_wait(&engine->queue_cond, &engine->queue_lock);
  if (!engine->leading) lead_locked(engine, (commit_leader){0});
  engine->lead_running = false;
  os_mutex_unlock(&engine->queue_lock);
  return NULL;
}

/* Somebody has to lead what waits, whose handle cannot. Not the background thread: who leads waits for the room that it makes.
 * queue_lock held. */
static void want_leader(store_engine *engine) {
  if (engine->lead_running || !engine->queue_head) return;
  if (engine->lead_joinable) os_thread_join(engine->lead_thread); /* it is past the lock */
  engine->lead_running = engine->lead_joinable =
      os_thread_start(&engine->lead_thread, "toonstore-lead", lead_main, engine) == 0;
  if (!engine->lead_running) background_want_leader(engine); /* later */
}

void commit_lead_waiting(store_engine *engine) {
  os_mutex_lock(&engine->queue_lock);
  want_leader(engine);
  bool later = !engine->lead_running && engine->queue_head;
  os_mutex_unlock(&engine->queue_lock);
  if (later) os_sleep_ms(2);
}

void commit_stop(store_engine *engine) {
  os_mutex_lock(&engine->queue_lock);
  bool joinable = engine->lead_joinable;
  engine->lead_joinable = false;
  os_mutex_unlock(&engine->queue_lock);
  if (joinable) os_thread_join(engine->lead_thread);
}

void toon_stop(toon_db *db) {
  os_mutex_lock(&db->engine->queue_lock);
  db->stopped = true;
  os_cond_broadcast(&db->engine->queue_cond);
  os_mutex_unlock(&db->engine->queue_lock);
}

void commit_finish(toon_db *db) {
  store_engine *engine = db->engine;
  toon_stop(db);
  os_mutex_lock(&engine->queue_lock);
  while (db->waiting) {
    if (engine->leading)
      os_cond_wait(&engine->queue_cond, &engine->queue_lock);
    else
      lead_locked(engine, (commit_leader){.db = db});
  }
  if (engine->lead_requested) want_leader(engine); /* who was asked to lead may be us */
  engine->lead_requested = false;
  os_mutex_unlock(&engine->queue_lock);
}

/* Put the batch at the end of the queue. On success the queue_lock is held. */
static toon_status enqueue(store_engine *engine, toon_batch *batch, toon_done_fn done, void *ctx, toon_error *err) {
  if (batch->open || batch->submitted)
    return toon_fail(err, TOON_EINVAL,
                     batch->open ? "the batch has a begin without an end" : "the batch was submitted already");
  batch->submitted = true;
  batch->done_fn = done;
  batch->done_ctx = ctx;
  batch->next = NULL;
  os_mutex_lock(&engine->queue_lock);
  if (batch->db->stopped) {
    batch->submitted = false;
    os_mutex_unlock(&engine->queue_lock);
    return toon_fail(err, TOON_ECLOSED, NULL);
  }
  batch->db->waiting++;
  if (engine->queue_tail)
    engine->queue_tail->next = batch;
  else
    engine->queue_head = batch;
  engine->queue_tail = batch;
  return TOON_OK;
}

toon_status toon_submit(toon_db *db, toon_batch *batch, toon_done_fn done, void *ctx, bool *lead, toon_error *err) {
  store_engine *engine = db->engine;
  if (db->options.read_only) return toon_fail(err, TOON_EREADONLY, NULL);
  TOON_TRY(enqueue(engine, batch, done, ctx, err));
  *lead = (!engine->leading || engine->guest) && !engine->lead_requested;
  if (*lead) engine->lead_requested = true;
  os_mutex_unlock(&engine->queue_lock);
  return TOON_OK;
}

toon_status toon_commit(toon_db *db, toon_batch *batch, toon_error *err) {
  store_engine *engine = db->engine;
  if (db->options.read_only) return toon_fail(err, TOON_EREADONLY, NULL);
  TOON_TRY(enqueue(engine, batch, NULL, NULL, err));
  /* Lead if nobody does, even if somebody was asked to: that thread may be long in coming. */
  while (!batch->done) {
    if (engine->leading)
      os_cond_wait(&engine->queue_cond, &engine->queue_lock);
    else
      lead_locked(engine, (commit_leader){.until = batch});
  }
  os_mutex_unlock(&engine->queue_lock);
  return TOON_OK;
}
