/* The engine's counters as a JSON object. Names and meaning are documented in index.d.ts (type Stats). */
#include "store/engine.h"

static toon_status add_string(toon_buf *out, const char *text) {
  TOON_TRY(toon_buf_byte(out, '"'));
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      TOON_TRY(toon_buf_printf(out, "\\%c", c));
    else if (c < 0x20)
      TOON_TRY(toon_buf_printf(out, "\\u%04x", c));
    else
      TOON_TRY(toon_buf_byte(out, c));
  }
  return toon_buf_byte(out, '"');
}

#define GET(field) ((unsigned long long)atomic_load_explicit(&engine->stats.field, memory_order_relaxed))

static toon_status print(store_engine *engine, const store_view *view, toon_buf *out) {
  static const char *const durabilities[] = {"commit", "interval", "close"};
  const store_recovery *r = &engine->recovery;
  uint64_t log_bytes = 0, dead = 0, run_bytes = 0, run_entries = 0, segments = 0, delta_bytes = 0, delta_keys = 0;
  for (size_t i = 0; i < view->segment_count; i++) {
    log_segment *s = view->segments[i];
    if (!s) continue;
    segments++;
    log_bytes += atomic_load(&s->length);
    dead += atomic_load(&s->dead) + atomic_load(&s->dead_frozen) + atomic_load(&s->dead_active);
  }
  for (size_t i = 0; i < view->run_count; i++) {
    run_bytes += index_run_get_info(view->raw_runs[i])->file_size;
    run_entries += index_run_get_info(view->raw_runs[i])->entries;
  }
  for (int i = 0; i < 2; i++)
    if (view->deltas[i]) {
      index_delta_info info = index_delta_get_info(view->deltas[i]);
      delta_bytes += info.bytes;
      delta_keys += info.nodes;
    }
  TOON_TRY(toon_buf_lit(out, "{\"path\":"));
  TOON_TRY(add_string(out, engine->directory));
  TOON_TRY(toon_buf_printf(
      out, ",\"durability\":\"%s\",\"readOnly\":%s,\"sequence\":%llu,\"syncedSequence\":%llu,\"nextRow\":%llu",
      durabilities[engine->options.durability], engine->options.read_only ? "true" : "false",
      (unsigned long long)atomic_load(&engine->published), (unsigned long long)atomic_load(&engine->synced),
      (unsigned long long)atomic_load(&engine->published_row)));
  TOON_TRY(toon_buf_printf(
      out,
      ",\"commits\":%llu,\"calls\":%llu,\"rowsWritten\":%llu,\"bytesWritten\":%llu,\"syncs\":%llu,"
      "\"checkpoints\":%llu,\"checkpointFailures\":%llu,\"merges\":%llu,\"stalls\":%llu,\"stallMs\":%.3f,"
      "\"compactions\":%llu,\"rowsMoved\":%llu,\"rowsExpired\":%llu,\"damagedRows\":%llu",
      GET(commits), GET(members), GET(rows_written), GET(bytes_written), GET(syncs), GET(checkpoints),
      GET(checkpoint_failures), GET(merges), GET(stalls), (double)GET(stall_us) / 1000.0, GET(compactions),
      GET(rows_moved), GET(rows_expired), GET(damaged_rows)));
  TOON_TRY(toon_buf_printf(
      out,
      ",\"log\":{\"segments\":%llu,\"bytes\":%llu,\"deadBytes\":%llu,\"liveBytes\":%llu}"
      ",\"index\":{\"runs\":%llu,\"runBytes\":%llu,\"runEntries\":%llu,\"deltaKeys\":%llu,\"deltaBytes\":%llu}",
      (unsigned long long)segments, (unsigned long long)log_bytes, (unsigned long long)dead,
      (unsigned long long)(log_bytes > dead ? log_bytes - dead : 0), (unsigned long long)view->run_count,
      (unsigned long long)run_bytes, (unsigned long long)run_entries, (unsigned long long)delta_keys,
      (unsigned long long)delta_bytes));
  TOON_TRY(toon_buf_printf(
      out,
      ",\"recovery\":{\"clean\":%s,\"rebuilt\":%s,\"groups\":%llu,\"bytes\":%llu,\"rewrittenBytes\":%llu,"
      "\"cutBytes\":%llu,\"cutOffset\":%llu,\"segmentsRemoved\":%llu,\"ms\":%.3f,\"cutFile\":",
      r->clean ? "true" : "false", r->rebuilt ? "true" : "false", (unsigned long long)r->groups,
      (unsigned long long)r->bytes, (unsigned long long)r->rewritten, (unsigned long long)r->cut_bytes,
      (unsigned long long)r->cut_offset, (unsigned long long)r->segments_removed, (double)r->microseconds / 1000.0));
  if (r->cut_file[0])
    TOON_TRY(add_string(out, r->cut_file));
  else
    TOON_TRY(toon_buf_lit(out, "null"));
  TOON_TRY(toon_buf_lit(out, ",\"rebuiltBecause\":"));
  if (r->rebuilt_because)
    TOON_TRY(add_string(out, r->rebuilt_because));
  else
    TOON_TRY(toon_buf_lit(out, "null"));
  toon_error err;
  snapshot_cost held;
  TOON_TRY(snapshot_measure(engine, &held, &err));
  TOON_TRY(toon_buf_printf(
      out, "},\"snapshots\":{\"open\":%llu,\"oldestMs\":%llu,\"memoryBytes\":%llu,\"fileBytes\":%llu,\"dropped\":%llu}",
      (unsigned long long)held.open, (unsigned long long)held.oldest_ms, (unsigned long long)held.memory,
      (unsigned long long)held.files, (unsigned long long)atomic_load(&engine->snapshots_dropped)));
  toon_cache_counts hot;
  uint64_t caches = store_count_caches(engine, &hot);
  TOON_TRY(toon_buf_printf(
      out, ",\"hot\":{\"caches\":%llu,\"hits\":%llu,\"misses\":%llu,\"evictions\":%llu,\"rows\":%llu,\"bytes\":%llu}",
      (unsigned long long)caches, (unsigned long long)hot.hits, (unsigned long long)hot.misses,
      (unsigned long long)hot.evictions, (unsigned long long)hot.rows, (unsigned long long)hot.bytes));
  TOON_TRY(toon_buf_lit(out, ",\"columns\":"));
  TOON_TRY(columns_stats(engine, out));
  TOON_TRY(toon_buf_lit(out, ",\"failed\":"));
  if (engine_check_poison(engine, &err) != TOON_OK)
    TOON_TRY(add_string(out, err.message));
  else
    TOON_TRY(toon_buf_lit(out, "null"));
  return toon_buf_byte(out, '}');
}

toon_status toon_stats(toon_db *db, toon_buf *json, toon_error *err) {
  store_view *view = engine_view(db->engine);
  size_t start = json->len;
  toon_status status = print(db->engine, view, json);
  view_unref(view);
  if (status == TOON_OK) return TOON_OK;
  json->len = start;
  return toon_fail(err, status, NULL);
}
