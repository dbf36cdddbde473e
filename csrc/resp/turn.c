/* Turns: the writes of what the loop does between two waits share one batch, submitted at the end of the turn unless an
 * earlier one is still on its way. A thread of the server's own leads commits, so other clients are answered meanwhile; it
 * wakes the loop when a batch is done. */
#include "resp/connection.h"

#include "base/alloc.h"

static turn *collecting(resp_server *server) { return &server->turns[server->collecting]; }

toon_status command_batch(command_call *call, toon_batch **out, toon_error *err) {
  turn *t = collecting(call->conn->server);
  if (!t->batch) TOON_TRY(toon_batch_new(call->db, &t->batch, err));
  *out = t->batch;
  return TOON_OK;
}

toon_status command_change(command_call *call, toon_batch **out, toon_error *err) {
  TOON_TRY(command_batch(call, out, err));
  call->first = toon_batch_members(*out);
  TOON_TRY(toon_snapshot_open(call->db, &call->snapshot, err));
  TOON_TRY(toon_batch_begin_at(*out, call->snapshot, err));
  call->changing = *out;
  return TOON_OK;
}

void turn_change_end(command_call *call) {
  if (call->changing) toon_batch_abandon(call->changing);
  if (call->snapshot) toon_snapshot_close(call->snapshot);
  call->changing = NULL;
  call->snapshot = NULL;
}

static toon_status await(command_call *call, reply_kind kind, size_t first, size_t from) {
  resp_conn *conn = call->conn;
  turn *t = collecting(conn->server);
  if (t->count == t->cap) {
    size_t cap = t->cap ? t->cap * 2 : 64;
    waiting *replies = (waiting *)toon_realloc(t->replies, cap * sizeof *replies);
    if (!replies) return TOON_ENOMEM;
    t->replies = replies;
    t->cap = cap;
  }
  size_t len = conn->out.len - from, offset = t->bytes.len;
  if (len) TOON_TRY(toon_buf_append(&t->bytes, conn->out.ptr + from, len));
  conn->out.len = from;
  t->replies[t->count++] =
      (waiting){conn, first, toon_batch_members(t->batch) - first, kind, conn->mute_this, offset, len, call->snapshot};
  call->snapshot = NULL;
  conn->pending++;
  conn->server->submit_soon = true;
  return TOON_OK;
}

toon_status command_reply_ok(command_call *call, size_t first) {
  return await(call, REPLY_OK, first, call->conn->out.len);
}
toon_status command_reply_if(command_call *call, size_t first) {
  return await(call, REPLY_IF, first, call->conn->out.len);
}
toon_status command_reply_sum(command_call *call, size_t first) {
  return await(call, REPLY_SUM, first, call->conn->out.len);
}

toon_status command_commit(command_call *call, size_t from) {
  toon_error err;
  toon_status status = toon_batch_end(call->changing, &err);
  if (status != TOON_OK) {
    call->conn->out.len = from;
    return command_fail(call, &err);
  }
  call->changing = NULL;
  TOON_TRY(await(call, REPLY_BYTES, call->first, from));
  call->conn->changing = true;
  return TOON_OK;
}

static toon_status fail(toon_buf *out, const toon_error *err) {
  return resp_error(out, "%s %s", toon_status_resp(err->status),
                    err->message[0] ? err->message : toon_status_text(err->status));
}

toon_status command_fail(command_call *call, const toon_error *err) { return fail(&call->conn->out, err); }

/* On whatever thread leads. */
static void batch_done(void *ctx, toon_batch *batch) {
  resp_server *server = (resp_server *)ctx;
  (void)batch;
  uv_mutex_lock(&server->mutex);
  server->done = true;
  uv_mutex_unlock(&server->mutex);
  uv_async_send(&server->wake);
}

static toon_status turn_reply(turn *t, const waiting *w, const toon_error *refused, bool *again) {
  resp_conn *conn = w->conn;
  uint64_t sum = 0, value = 0;
  toon_error err;
  toon_status status = TOON_OK;
  if (refused) err = *refused;
  for (size_t i = 0; !refused && i < w->count && status == TOON_OK; i++) {
    status = toon_batch_result(t->batch, w->first + i, &value, &err);
    sum += value;
  }
  if (w->kind == REPLY_BYTES && status == TOON_ECONFLICT) {
    *again = true;
    return TOON_OK;
  }
  if (refused || status != TOON_OK) {
    conn->server->counters.errors++;
    return fail(&conn->out, &err);
  }
  switch (w->kind) {
  case REPLY_OK: return toon_buf_lit(&conn->out, "+OK\r\n");
  case REPLY_IF: return sum ? resp_status(&conn->out, "OK") : resp_null(&conn->out, conn->version);
  case REPLY_SUM: return resp_int(&conn->out, (int64_t)sum);
  default: return toon_buf_append(&conn->out, t->bytes.ptr + w->offset, w->len);
  }
}

/* Give the replies of a turn, send the next on its way, then let the connections go on. */
static void turn_finish(resp_server *server, turn *t, const toon_error *refused) {
  turn done = *t;
  memset(t, 0, sizeof *t);
  for (size_t i = 0; i < done.count; i++) {
    waiting *w = &done.replies[i];
    bool again = false;
    if (w->snapshot) toon_snapshot_close(w->snapshot);
    if (!w->conn || w->conn->closing) continue;
    w->conn->pending--;
    conn_lend(w->conn);
    size_t before = w->conn->out.len;
    toon_status status = turn_reply(&done, w, refused, &again);
    if (w->mute) w->conn->out.len = before;
    if (w->kind == REPLY_BYTES) {
      w->conn->changing = false;
      w->conn->again = again;
      if (!again) w->conn->taken += w->conn->parser.used;
      resp_parser_next(&w->conn->parser);
    }
    if (status != TOON_OK) conn_close(w->conn);
  }
  toon_batch_free(done.batch);
  turn_submit(server);
  for (size_t i = 0; i < done.count; i++) { /* a closing connection is freed by the loop, not before */
    resp_conn *conn = done.replies[i].conn;
    if (!conn || conn->closing || (i > 0 && done.replies[i - 1].conn == conn)) continue;
    if (server->closing)
      conn_flush(conn);
    else
      conn_work(conn);
  }
  toon_free(done.replies);
  toon_buf_free(&done.bytes);
}

void turn_submit(resp_server *server) {
  turn *t = collecting(server);
  if (server->in_flight || !t->batch || t->count == 0) return;
  toon_error err;
  bool lead = false;
  server->submit_soon = false;
  server->in_flight = true;
  server->collecting ^= 1;
  if (toon_submit(server->db, t->batch, batch_done, server, &lead, &err) != TOON_OK) {
    server->in_flight = false;
    turn_finish(server, t, &err);
  } else if (lead) {
    uv_sem_post(&server->lead);
  }
}

void turn_done(resp_server *server) {
  server->in_flight = false;
  turn_finish(server, &server->turns[server->collecting ^ 1], NULL);
}

void turn_lead(void *ctx) {
  resp_server *server = (resp_server *)ctx;
  for (;;) {
    uv_sem_wait(&server->lead);
    uv_mutex_lock(&server->mutex);
    bool end = server->lead_end;
    uv_mutex_unlock(&server->mutex);
    if (end) return;
    toon_lead(server->db);
  }
}
