/* Replay: the groups of the log into the index, and the judgement where and why it ends. */
#include "store/recover.h"
#include "base/crc32c.h"
#include "log/rowtext.h"

/* The rows of one verified group become entries of the active delta. `position`: of the group in its segment. */
static toon_status replay_group(recovery *r, found_segment *f, toon_slice text, uint64_t position,
                                const log_frame *frame, toon_error *err) {
  store_engine *engine = r->engine;
  toon_status status = TOON_OK;
  toon_buf keys = {0};
  log_rows rows;
  log_row row;
  bool end;
  engine->insert_count = 0;
  log_rows_init(&rows, text);
  for (;;) {
    TOON_GOTO(log_rows_next(&rows, &row, &end, err));
    if (end) break;
    /* Keys are copied: those that were escaped live in the walk's scratch only until the next row. */
    size_t at = keys.len;
    if (toon_buf_append(&keys, row.key.ptr, row.key.len) != TOON_OK) {
      status = toon_fail(err, TOON_ENOMEM, NULL);
      goto out;
    }
    index_entry entry = {.sequence = frame->sequence,
                         .segment = f->id,
                         .position = (uint32_t)(position + row.offset),
                         .length = row.length,
                         .crc = toon_crc32c(0, text.ptr + row.offset, row.length),
                         .expires = row.expires,
                         .kind = row.is_delete ? INDEX_DELETE : INDEX_PUT,
                         .flags = row.flags,
                         .field = (uint16_t)row.field};
    toon_key key = {(const uint8_t *)at, row.key.len, row.key.space}; /* the place, until all are copied */
    TOON_GOTO(commit_add_insert(engine, key, index_key_hash(engine->store_id, row.key), &entry, err));
    if (row.expires) background_note_expiry(engine, row.expires);
  }
  for (size_t i = 0; i < engine->insert_count; i++)
    engine->inserts[i].key.ptr = keys.ptr + (uintptr_t)engine->inserts[i].key.ptr;
  if (rows.segments.ptr) {
    r->list = rows.segments;
    r->list_segment = f->id;
    if (f->segment) atomic_fetch_add_explicit(&f->segment->overhead, rows.list_bytes, memory_order_relaxed);
  }
  store_view *view = atomic_load(&engine->view); /* nobody else is here yet */
  if (index_delta_reserve(view->deltas[0], engine->inserts, engine->insert_count) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  index_delta_insert(view->deltas[0], engine->inserts, engine->insert_count);
  commit_count_replaced(engine, view, f->segment);
out:
  engine->insert_count = 0;
  log_rows_free(&rows);
  toon_buf_free(&keys);
  if (status != TOON_OK && status != TOON_ENOMEM && err) {
    toon_buf path = {0};
    if (log_segment_path(engine->directory, f->id, &path) == TOON_OK)
      toon_fail_at(err, status, (char *)path.ptr, (int64_t)(position + rows.offset),
                   "a commit whose checksum is right holds "
                   "text that this version cannot read; it was written by another version or on purpose");
    toon_buf_free(&path);
  }
  return status;
}

/* Does any frame from the place on say that `sequence` had been synced? */
static bool was_synced(const recovery *r, size_t index, uint64_t offset, uint64_t sequence) {
  for (size_t i = index; i < r->found_count; i++, offset = LOG_HEADER_SIZE)
    if (offset < r->found[i].bytes.len && log_synced_later(r->found[i].bytes, offset, r->engine->store_id, sequence))
      return true;
  return false;
}

/* Does the segment begin with the group that comes next? Then the log goes on there: a segment is only begun when the one before
 * is on disk to its end. */
static bool goes_on_in(const recovery *r, size_t index) {
  toon_slice text;
  log_frame frame;
  uint64_t next;
  return index < r->found_count &&
         log_next_group(r->found[index].bytes, LOG_HEADER_SIZE, r->engine->store_id, &text, &frame, &next) ==
             LOG_GROUP &&
         frame.sequence == r->engine->sequence + 1;
}

static toon_status judge(recovery *r, size_t index, uint64_t offset, toon_error *err) {
  const found_segment *f = &r->found[index];
  const char *what = NULL;
  if (r->engine->options.repair) return TOON_OK;
  if (r->state == MANIFEST_SOUND && r->manifest.clean)
    what = "the store was closed properly, yet its log is not sound here";
  else if (offset < f->must_reach)
    what = "a commit that was safely on disk is damaged";
  else if (was_synced(r, index, offset, r->engine->sequence + 1))
    what = "a commit that was safely on disk is damaged (later commits are there)";
  else if (goes_on_in(r, index + 1))
    what = "something stands behind the last commit of this segment, and the next segment goes on";
  for (size_t i = index + 1; !what && i < r->found_count; i++)
    if (r->found[i].must_reach)
      what = "a commit that was safely on disk is damaged (the manifest knows later segments)";
  return what ? recovery_corrupt(r, f->id, offset, err, what) : TOON_OK;
}

/* So much log that memory for its entries is worth a thread. */
#define AHEAD_BYTES (4u << 20)

static uint64_t bytes_to_replay(const recovery *r) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < r->found_count; i++) {
    const found_segment *f = &r->found[i];
    if (r->rebuild || f->id > r->manifest.replay_segment)
      bytes += f->bytes.len;
    else if (f->id == r->manifest.replay_segment)
      bytes += f->bytes.len - r->manifest.replay_position;
  }
  return bytes;
}

static toon_status replay_groups(recovery *r, size_t *end_index, uint64_t *end_offset, uint64_t *synced,
                                 toon_error *err) {
  store_engine *engine = r->engine;
  bool first = r->rebuild; /* the first group of a rebuild may have any sequence */
  *synced = r->rebuild ? 0 : engine->sequence;
  *end_index = 0;
  *end_offset = LOG_HEADER_SIZE;
  for (size_t i = 0; i < r->found_count; i++) {
    found_segment *f = &r->found[i];
    uint64_t offset = LOG_HEADER_SIZE, next;
    if (!r->rebuild && f->id < r->manifest.replay_segment) continue;
    if (!r->rebuild && f->id == r->manifest.replay_segment) offset = r->manifest.replay_position;
    f->replay_from = f->replay_end = offset;
    engine->tail = f->segment;
    if (f->segment) log_segment_publish(f->segment, offset);
    *end_index = i;
    *end_offset = offset;
    for (;;) {
      toon_slice text;
      log_frame frame;
      log_found found = log_next_group(f->bytes, offset, engine->store_id, &text, &frame, &next);
      bool last = i + 1 == r->found_count;
      /* Only a rebuild may find a gap, and only where a compacted segment stood. */
      bool compacted = r->state != MANIFEST_SOUND || f->id <= r->manifest.replay_segment;
      bool gap_allowed =
          first || (r->rebuild && compacted && offset == LOG_HEADER_SIZE && frame.sequence > engine->sequence);
      if (found == LOG_GROUP && frame.sequence != engine->sequence + 1 && !gap_allowed) found = LOG_BAD;
      if (found == LOG_END && offset < f->must_reach) found = LOG_BAD;
      if (found == LOG_END && !last && offset == LOG_HEADER_SIZE) found = LOG_BAD; /* a segment without a group */
      if (found == LOG_END) break;
      if (found == LOG_BAD) return judge(r, i, offset, err);
      TOON_TRY(replay_group(r, f, text, offset, &frame, err));
      first = false;
      uint64_t offset_before = offset;
      offset = next;
      engine->sequence = frame.sequence;
      engine->next_row = frame.next_row;
      engine->tail_crc = frame.crc;
      if (frame.synced > *synced) *synced = frame.synced;
      if (f->segment) {
        atomic_fetch_add_explicit(&f->segment->overhead, next - (offset_before + text.len), memory_order_relaxed);
        f->segment->last_crc = frame.crc;
        log_segment_publish(f->segment, offset);
      }
      if (!f->first_sequence) f->first_sequence = frame.sequence;
      f->last_sequence = frame.sequence;
      f->replay_end = *end_offset = offset;
      atomic_store(&engine->published_row, frame.next_row);
      atomic_store(&engine->published, frame.sequence);
      engine->bytes_since_freeze += next - offset_before; /* it counts towards the next checkpoint */
      engine->recovery.groups++;
      engine->recovery.bytes += text.len;
      store_view *view = atomic_load(&engine->view);
      if (!engine->options.read_only && index_delta_get_info(view->deltas[0]).bytes > ENGINE_REPLAY_BYTES)
        TOON_TRY(engine_spill(engine, err));
    }
  }
  return TOON_OK;
}

toon_status replay_log(recovery *r, size_t *end_index, uint64_t *end_offset, uint64_t *synced, toon_error *err) {
  bool ahead = bytes_to_replay(r) >= AHEAD_BYTES;
  if (ahead) index_pool_run_ahead(&r->engine->pool);
  toon_status status = replay_groups(r, end_index, end_offset, synced, err);
  if (ahead) index_pool_end_ahead(&r->engine->pool);
  if (ahead && r->engine->options.read_only) index_pool_trim(&r->engine->pool); /* no thread will */
  return status;
}
