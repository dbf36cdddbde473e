/* Keys as commands see and change them, between the committed state and the batches that are on their way. command.h has the
 * rules. */
#include "resp/connection.h"

#include "base/alloc.h"

#include <stdarg.h>

enum {
  RANGES_MAX = 16,   /* that an EXEC expects one by one */
  WALK_MAX = 4 << 20 /* keys that its walks may have looked at before the last of them: they hold up the loop */
};

/* ---- errors ---- */

toon_status command_error(command_call *call, const char *fmt, ...) {
  char text[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  call->out->len = call->from;
  TOON_TRY(resp_error(call->out, "%s", text));
  call->failed = true;
  return TOON_EINVAL;
}

toon_status command_fail(command_call *call, const toon_error *err) {
  return command_error(call, "%s %s", toon_status_resp(err->status),
                       err->message[0] ? err->message : toon_status_text(err->status));
}

toon_status command_syntax_error(command_call *call) { return command_error(call, "ERR syntax error"); }

toon_status command_wrong_type(command_call *call) {
  return command_error(call, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

/* An error of the store, or none. */
static toon_status check(command_call *call, toon_status status, const toon_error *err) {
  return status == TOON_OK ? TOON_OK : command_fail(call, err);
}

toon_status command_key(command_call *call, size_t i, toon_key *key) {
  toon_slice arg = call_arg(call, i);
  if (arg.len > TOON_KEY_MAX) {
    toon_error err;
    toon_fail(&err, TOON_EKEYTOOBIG, NULL);
    return command_fail(call, &err);
  }
  *key = toon_user_key(arg.ptr, arg.len);
  return TOON_OK;
}

/* ---- reading ---- */

/* Has the batch under way, or the one being gathered, something of the key? */
static toon_status find_pending(command_call *call, toon_key key, toon_pending *out) {
  resp_server *server = call->conn->server;
  turn *now = turn_collecting(server), *flying = turn_in_flight(server);
  toon_error err;
  int64_t expires_at = 0;
  bool expires = false;
  *out = (toon_pending){.kind = TOON_PENDING_NONE};
  if (now->batch) TOON_TRY(check(call, toon_batch_find(now->batch, key, out, &err), &err));
  if (out->kind != TOON_PENDING_NONE) call->work->depends = true;
  if (out->kind == TOON_PENDING_EXPIRE) {
    expires_at = out->expires_at;
    expires = true;
  } else if (out->kind != TOON_PENDING_NONE) {
    return TOON_OK;
  }
  if (flying && flying->batch) {
    toon_pending older;
    TOON_TRY(check(call, toon_batch_find(flying->batch, key, &older, &err), &err));
    if (older.kind != TOON_PENDING_NONE) {
      if (call->work->isolated) {
        call->work->waits = true;
        return TOON_ECONFLICT;
      }
      call->work->depends = now->built_on_flight = true;
      *out = older;
      if (expires) out->expires_at = expires_at;
    }
  }
  return TOON_OK;
}

/* A row that is not yet committed, as it will be. */
static toon_status make_row(command_call *call, const toon_pending *p, data_row *row, bool *found) {
  toon_error err;
  uint8_t flags = 0;
  size_t max = (size_t)toon_max_value_size(call->db);
  if (p->expires_at && p->expires_at <= toon_now(call->db)) return TOON_OK;
  toon_status status = p->input == TOON_INPUT_JSON    ? toon_field_json(p->value, max, &row->text, &flags, &err)
                       : p->input == TOON_INPUT_BYTES ? toon_field_bytes(p->value, max, &row->text, &flags, &err)
                                                      : toon_field_string(p->value, max, &row->text, &flags, &err);
  if (status == TOON_ENOMEM) {
    toon_buf_free(&row->text);
    return status;
  }
  /* What cannot be stored will fail, and take back what depends on it: what is answered here is not sent. */
  *found = status == TOON_OK;
  row->row = (toon_row){.field = toon_buf_slice(&row->text), .flags = flags, .expires_at = p->expires_at};
  return TOON_OK;
}

static toon_status open_member(command_call *call) {
  command_work *work = call->work;
  toon_error err;
  if (work->open) return TOON_OK;
  turn *t = turn_collecting(call->conn->server);
  TOON_TRY(check(call, turn_batch(call->conn->server, t, &err), &err));
  work->batch = t->batch;
  TOON_TRY(check(call, toon_batch_begin(work->batch, &err), &err));
  work->open = true;
  return TOON_OK;
}

static toon_status get(command_call *call, toon_key key, data_row *row, bool *found) {
  command_work *work = call->work;
  toon_error err;
  toon_pending p = {.kind = TOON_PENDING_NONE};
  memset(row, 0, sizeof *row);
  *found = false;
  if (command_overfull(call, 0)) return TOON_ENOMEM; /* a thousand reads of a large value must not fill the memory */
  if (work->isolated || call->conn->pending) TOON_TRY(find_pending(call, key, &p));
  if (p.kind == TOON_PENDING_DELETE) return TOON_OK;
  if (p.kind == TOON_PENDING_PUT) return make_row(call, &p, row, found);
  TOON_TRY(check(call, toon_get(call->db, work->snapshot, key, &row->row, found, &err), &err));
  if (p.kind == TOON_PENDING_EXPIRE) { /* whoever gave it the expiry has named what it expects */
    if (!*found) return TOON_OK;
    row->row.expires_at = p.expires_at;
    row->row.version = 0;
    if (!p.expires_at || p.expires_at > toon_now(call->db)) return TOON_OK;
    toon_row_release(call->db, &row->row);
    *found = false;
    return TOON_OK;
  }
  if (!work->isolated) return TOON_OK;
  toon_status status = open_member(call);
  if (status == TOON_OK)
    status = check(call, toon_batch_expect_version(work->batch, key, *found ? row->row.version : 0, &err), &err);
  if (status == TOON_OK) return TOON_OK;
  toon_row_release(call->db, &row->row); /* not every caller releases what it could not get */
  *found = false;
  return status;
}

/* For INFO: reads that have found something, or nothing. A command that is run again counts again. */
static void count_read(const command_call *call, bool found) {
  server_counters *c = &call->conn->server->counters;
  if (!(call->command->flags & COMMAND_READONLY)) return;
  c->hits += found;
  c->misses += !found;
}

toon_status data_get(command_call *call, toon_key key, data_row *row, bool *found) {
  toon_status status = get(call, key, row, found);
  if (status == TOON_OK) count_read(call, *found);
  return status;
}

toon_status data_get_hot(command_call *call, toon_key key, bool *asked, toon_slice *value) {
  resp_server *server = call->conn->server;
  const command_work *work = call->work;
  *asked = server->cache && !work->isolated && !work->snapshot && !call->conn->pending &&
           toon_cache_wants(server->cache, key, false);
  if (!*asked) return TOON_OK;
  if (command_overfull(call, 0)) return TOON_ENOMEM;
  toon_row facts;
  toon_error err;
  bool found;
  server->value.len = 0;
  TOON_TRY(check(call, toon_cache_get(server->cache, key, &server->value, &facts, &found, &err), &err));
  count_read(call, found);
  *value = found ? toon_slice_of(server->value.ptr ? server->value.ptr : (const uint8_t *)"", server->value.len)
                 : (toon_slice){NULL, 0};
  return TOON_OK;
}

void data_release(command_call *call, data_row *row) {
  toon_row_release(call->db, &row->row);
  toon_buf_free(&row->text);
}

toon_status data_has(command_call *call, toon_key key, bool *found) {
  toon_error err;
  data_row row;
  if (!call->work->isolated && !call->conn->pending) {
    TOON_TRY(check(call, toon_has(call->db, call->work->snapshot, key, found, &err), &err));
    count_read(call, *found);
    return TOON_OK;
  }
  toon_status status = data_get(call, key, &row, found);
  data_release(call, &row);
  return status;
}

toon_status data_snapshot(command_call *call) {
  toon_error err;
  if (call->work->isolated || call->work->snapshot) return TOON_OK;
  return check(call, toon_snapshot_open(call->db, &call->work->snapshot, &err), &err);
}

/* ---- writing ---- */

static toon_status wrote(command_call *call, toon_status status, const toon_error *err) {
  if (status == TOON_OK) call->work->wrote = true;
  return check(call, status, err);
}

toon_status data_put(command_call *call, toon_key key, toon_input input, toon_slice value, int64_t expires_at) {
  toon_put_options options = {.expires_at = expires_at};
  toon_error err;
  TOON_TRY(open_member(call));
  return wrote(call, toon_batch_put(call->work->batch, key, input, value, &options, &err), &err);
}

toon_status data_put_bytes(command_call *call, toon_key key, toon_slice value, int64_t expires_at) {
  toon_put_options options = {.expires_at = expires_at};
  toon_error err;
  TOON_TRY(open_member(call));
  toon_status status = toon_batch_put(call->work->batch, key, TOON_INPUT_STRING, value, &options, &err);
  if (status == TOON_EINVAL) status = toon_batch_put(call->work->batch, key, TOON_INPUT_BYTES, value, &options, &err);
  return wrote(call, status, &err);
}

toon_status data_put_row(command_call *call, toon_key key, const data_row *row, int64_t expires_at) {
  toon_buf value = {0};
  toon_error err;
  toon_kind kind = toon_row_kind(&row->row);
  toon_status status = kind == TOON_STRING  ? toon_field_to_string(row->row.field, &value, &err)
                       : kind == TOON_BYTES ? toon_field_to_bytes(row->row.field, &value, &err)
                                            : toon_field_to_json(row->row.field, &value, &err);
  status = check(call, status, &err);
  toon_input input = kind == TOON_STRING ? TOON_INPUT_STRING : kind == TOON_BYTES ? TOON_INPUT_BYTES : TOON_INPUT_JSON;
  if (status == TOON_OK) status = data_put(call, key, input, toon_buf_slice(&value), expires_at);
  toon_buf_free(&value);
  return status;
}

toon_status data_delete(command_call *call, toon_key key) {
  toon_error err;
  TOON_TRY(open_member(call));
  return wrote(call, toon_batch_delete(call->work->batch, key, &err), &err);
}

toon_status data_expire(command_call *call, toon_key key, int64_t expires_at) {
  toon_error err;
  TOON_TRY(open_member(call));
  return wrote(call, toon_batch_expire(call->work->batch, key, expires_at, &err), &err);
}

static toon_status delete_one(void *ctx, toon_key key, uint8_t flags, bool *stop) {
  (void)flags;
  (void)stop;
  return data_delete((command_call *)ctx, key);
}

toon_status data_clear(command_call *call) {
  toon_range all = {0};
  toon_error err;
  if (call->work->exec) return data_walk(call, &all, delete_one, call); /* it is one member with the rest */
  turn *t = turn_collecting(call->conn->server);
  TOON_TRY(check(call, turn_batch(call->conn->server, t, &err), &err));
  TOON_TRY(check(call, toon_batch_clear(t->batch, &all, &err), &err));
  call->work->batch = t->batch;
  call->work->cleared = true;
  return TOON_OK;
}

/* ---- walking ---- */

static bool in_range(const toon_range *range, toon_slice key) {
  int lower = range->has_lower ? toon_slice_cmp(key, range->lower) : 1;
  int upper = range->has_upper ? toon_slice_cmp(key, range->upper) : -1;
  if (lower < 0 || (lower == 0 && range->lower_open) || upper > 0 || (upper == 0 && range->upper_open)) return false;
  return key.len >= range->prefix.len &&
         (range->prefix.len == 0 || memcmp(key.ptr, range->prefix.ptr, range->prefix.len) == 0);
}

/* What an EXEC reads of a range must be so still at the commit. All its walks read from one snapshot, which the batch needs until it
 * was processed. It begins behind the batch under way; what else stands in its own batch before it makes it run again, as the first. */
static toon_status expect_range(command_call *call, const toon_range *range) {
  command_work *work = call->work;
  toon_range wanted = {0}; /* beyond some ranges all keys are expected */
  toon_error err;
  if (work->walked > WALK_MAX)
    return command_error(call, "ERR the transaction looks at more than %d keys; split it", WALK_MAX);
  if (turn_in_flight(call->conn->server)) {
    work->waits = true;
    return TOON_ECONFLICT;
  }
  TOON_TRY(open_member(call));
  if (!work->ranges) {
    TOON_TRY(check(call, toon_snapshot_open(call->db, &work->ranges, &err), &err));
    TOON_TRY(check(call, toon_batch_read_from(work->batch, work->ranges, &err), &err));
  }
  if (work->range_count == RANGES_MAX) return TOON_OK;
  if (++work->range_count < RANGES_MAX) wanted = *range;
  wanted.limit = 0;
  return check(call, toon_batch_expect_range(work->batch, &wanted, &err), &err);
}

/* The keys that an EXEC has made and the store has not. */
static toon_status walk_made(command_call *call, const toon_range *range, data_key_fn take, void *ctx, bool *stop) {
  command_work *work = call->work;
  toon_buf name = {0};
  toon_status status = TOON_OK;
  for (size_t at = 0; status == TOON_OK && !*stop; work->walked++) {
    toon_key key;
    toon_pending p;
    toon_error err;
    bool there = false, end;
    status = check(call, toon_batch_next_key(work->batch, &at, &key, &end, &err), &err);
    if (status != TOON_OK || end) break;
    if (!in_range(range, toon_slice_of(key.ptr, key.len))) continue;
    status = find_pending(call, key, &p);
    if (status != TOON_OK || p.kind != TOON_PENDING_PUT) continue;
    status = check(call, toon_has(call->db, work->ranges, key, &there, &err), &err);
    if (status != TOON_OK || there) continue;
    data_row row = {0};
    status = make_row(call, &p, &row, &there);
    name.len = 0; /* what is taken may change the batch */
    if (status == TOON_OK && there) status = toon_buf_append(&name, key.ptr, key.len);
    if (status == TOON_OK && there) status = take(ctx, toon_user_key(name.ptr, name.len), row.row.flags, stop);
    toon_buf_free(&row.text);
  }
  toon_buf_free(&name);
  return status;
}

toon_status data_walk(command_call *call, const toon_range *range, data_key_fn take, void *ctx) {
  command_work *work = call->work;
  toon_snapshot *snapshot = NULL;
  toon_cursor *cursor = NULL;
  toon_range all = *range;
  toon_error err;
  bool end = false, stop = false;
  if (work->exec) {
    TOON_TRY(expect_range(call, range));
    all.limit = 0; /* the first row may be one that it has deleted */
  } else {
    TOON_TRY(check(call, toon_snapshot_open(call->db, &snapshot, &err), &err));
  }
  const toon_snapshot *from = work->exec ? work->ranges : snapshot;
  toon_status status = check(call, toon_cursor_open(call->db, from, &all, &cursor, &err), &err);
  while (status == TOON_OK && !stop) {
    toon_key key;
    toon_row row;
    toon_pending p = {.kind = TOON_PENDING_NONE};
    status = check(call, toon_cursor_next(cursor, true, &key, &row, &end, &err), &err);
    if (status != TOON_OK || end) break;
    work->walked++;
    if (work->exec && (status = find_pending(call, key, &p)) != TOON_OK) break;
    uint8_t flags = row.flags;
    if (p.kind == TOON_PENDING_DELETE) continue;
    if (p.kind == TOON_PENDING_PUT) {
      data_row changed = {0};
      bool there = false;
      status = make_row(call, &p, &changed, &there);
      flags = changed.row.flags;
      toon_buf_free(&changed.text);
      if (status != TOON_OK) break;
      if (!there) continue;
    }
    status = take(ctx, key, flags, &stop);
  }
  if (status == TOON_OK && !stop && work->exec) status = walk_made(call, range, take, ctx, &stop);
  toon_cursor_close(cursor);
  toon_snapshot_close(snapshot);
  return status;
}

toon_status data_size(command_call *call, uint64_t *size) {
  command_work *work = call->work;
  toon_error err;
  toon_range all = {0};
  if (work->exec) TOON_TRY(expect_range(call, &all));
  TOON_TRY(check(call, toon_size(call->db, TOON_SPACE_USER, size, &err), &err));
  for (size_t at = 0; work->exec; work->walked++) {
    toon_key key;
    toon_pending p;
    bool before, end;
    TOON_TRY(check(call, toon_batch_next_key(work->batch, &at, &key, &end, &err), &err));
    if (end) break;
    TOON_TRY(check(call, toon_has(call->db, work->ranges, key, &before, &err), &err));
    TOON_TRY(find_pending(call, key, &p));
    bool after = p.kind == TOON_PENDING_PUT ? !p.expires_at || p.expires_at > toon_now(call->db)
                                            : before && p.kind == TOON_PENDING_EXPIRE;
    *size += (uint64_t)after - (uint64_t)before;
  }
  return TOON_OK;
}
