/* Turns of the loop: batches that gather the writes of commands, the replies that wait for them, and what is taken back.
 *
 * One batch is on its way at most; while it is, the next is gathered. Replies wait in the order in which their commands were
 * run, each with one member of the batch (of no operations, if the command only has to stand behind others).
 *
 * A thread of the server's own leads commits, so other clients are served meanwhile. Where nobody waits for the disk, a small
 * batch is committed by the loop itself: it is one write to the page cache, and takes less time than waking two threads. If one
 * has taken long, the next go to the thread for a while.
 *
 * Where the disk is waited for, a sync costs as much for few writes as for many. Who has just been answered writes again soon, so the
 * next batch is held until it is as large as the last and what was gathered beside it, or for a millisecond: else clients
 * would fall into two halves that wait for each other's syncs. */
#include "resp/connection.h"

#include "base/alloc.h"

enum {
  BATCH_ENOUGH = 4 << 20, /* bytes of a batch while another is on its way */
  HERE_BYTES = 128 << 10, /* of a batch that the loop commits */
  HERE_NS = 2000000,      /* that took long */
  HERE_PAUSE = 1000,      /* batches for the thread after one that did */
  HERE_TURNS = 16,        /* batches in a row, before others are read from again */
  HOLD_REPLIES = 8,       /* for fewer nothing is held */
  HOLD_NS = 200000,       /* nor where a commit is quicker */
  HOLD_MS = 1,
  TRIES = 100 /* of an EXEC that others overtake again and again, before it is given up */
};

turn *turn_collecting(resp_server *server) { return &server->turns[server->collecting]; }
turn *turn_in_flight(resp_server *server) { return server->in_flight ? &server->turns[server->collecting ^ 1] : NULL; }

toon_status turn_batch(resp_server *server, turn *t, toon_error *err) {
  if (t->batch) return TOON_OK;
  TOON_TRY(toon_batch_new(server->db, &t->batch, err));
  toon_batch_in_order(t->batch);
  return TOON_OK;
}

bool turn_full(const resp_server *server) {
  const turn *t = &server->turns[server->collecting];
  return t->count && toon_batch_bytes(t->batch) + t->bytes.len > BATCH_ENOUGH; /* what has replies is sent soon */
}

/* Room for await: after this it cannot fail, so that no member is ended whose reply nobody waits for. */
static toon_status make_room(command_call *call) {
  turn *t = turn_collecting(call->conn->server);
  if (t->count == t->cap) {
    size_t cap = t->cap ? t->cap * 2 : 64;
    waiting *replies = (waiting *)toon_realloc(t->replies, cap * sizeof *replies);
    if (!replies) return TOON_ENOMEM;
    t->replies = replies;
    t->cap = cap;
  }
  return toon_buf_reserve(&t->bytes, call->out->len - call->from);
}

/* Put the reply that stands in call->out behind the commit of the member that was added last. */
static void await(command_call *call) {
  resp_conn *conn = call->conn;
  turn *t = turn_collecting(conn->server);
  size_t len = call->out->len - call->from, offset = t->bytes.len;
  (void)toon_buf_append(&t->bytes, call->out->ptr + call->from, len);
  call->out->len = call->from;
  uint64_t at = conn->base + conn->taken;
  t->replies[t->count++] = (waiting){.conn = conn,
                                     .member = toon_batch_members(t->batch) - 1,
                                     .offset = offset,
                                     .len = len,
                                     .at = at,
                                     .end = at + conn->parser.used,
                                     .exec = call->work->exec,
                                     .mute = conn->mute_this,
                                     .ranges = call->work->ranges};
  call->work->ranges = NULL;
  conn->pending++;
  if (call->work->exec) conn->exclusive = true;
  conn->server->submit_soon = true;
}

static void drop_batch(resp_server *server) {
  turn *t = turn_collecting(server);
  toon_batch_free(t->batch);
  t->batch = NULL;
}

toon_status turn_take(command_call *call, bool *waits) {
  command_work *work = call->work;
  resp_conn *conn = call->conn;
  toon_error err;
  *waits = work->waits;
  bool member = work->open && !work->waits && !call->failed && (work->wrote || (work->exec && work->isolated));
  if (work->open && !member) {
    toon_batch_abandon(work->batch);
    work->open = false;
    if (toon_batch_members(work->batch) == 0) drop_batch(conn->server); /* it would only grow by what is given up */
  }
  if (work->waits) {
    call->out->len = call->from;
    return TOON_OK;
  }
  if (work->cleared) {
    TOON_TRY(make_room(call));
    await(call);
    return TOON_OK;
  }
  if (!member) {
    if (!conn->pending && !work->depends) {
      if (work->exec) {
        conn->tries = 0;
        multi_done(conn->server, &conn->multi, !call->failed);
      }
      return TOON_OK;
    }
    TOON_TRY(turn_batch(conn->server, turn_collecting(conn->server), &err));
    work->batch = turn_collecting(conn->server)->batch;
    TOON_TRY(toon_batch_begin(work->batch, &err));
    work->open = true;
  }
  TOON_TRY(make_room(call));
  if (work->depends) toon_batch_depends(work->batch);
  TOON_TRY(toon_batch_end(work->batch, &err));
  await(call);
  return TOON_OK;
}

/* ---- connections that wait ---- */

void conn_stall(resp_conn *conn) {
  if (conn->stalled) return;
  conn->stalled = true;
  conn->next_stalled = conn->server->stalled;
  conn->server->stalled = conn;
}

void conn_unstall(resp_conn *conn) {
  if (!conn->stalled) return;
  resp_conn **at = &conn->server->stalled;
  while (*at != conn) at = &(*at)->next_stalled;
  *at = conn->next_stalled;
  conn->stalled = false;
}

/* ---- committing ---- */

/* On whatever thread leads. */
static void batch_done(void *ctx, toon_batch *batch) {
  resp_server *server = (resp_server *)ctx;
  (void)batch;
  uv_mutex_lock(&server->mutex);
  server->done = true;
  uv_mutex_unlock(&server->mutex);
  uv_async_send(&server->wake);
}

/* Commit the batch that is in flight on this thread; false if it is not to be. */
static bool commit_here(resp_server *server, toon_batch *batch) {
  toon_error err;
  if (!server->relaxed || toon_batch_bytes(batch) > HERE_BYTES) return false;
  if (server->here_pause) {
    server->here_pause--;
    return false;
  }
  uint64_t before = uv_hrtime();
  toon_status status = toon_commit(server->db, batch, &err);
  if (uv_hrtime() - before > HERE_NS) server->here_pause = HERE_PAUSE;
  turn_finish(server, status == TOON_OK ? NULL : &err);
  return true;
}

/* Is the batch to be held until more writes have come? */
static bool held(resp_server *server) {
  const turn *t = turn_collecting(server);
  if (!server->holding) return false;
  if (!server->closing && t->count < server->expected && t->batch && toon_batch_bytes(t->batch) < HERE_BYTES)
    return true;
  server->holding = false;
  uv_timer_stop(&server->hold);
  return false;
}

static void on_hold_end(uv_timer_t *timer) {
  resp_server *server = (resp_server *)timer->data;
  server->holding = false;
  turn_submit(server);
}

/* A batch with so many replies was committed, and so many were gathered meanwhile. */
static void hold(resp_server *server, size_t replies, size_t gathered) {
  uint64_t took = uv_hrtime() - server->submitted;
  server->expected = replies + gathered;
  server->holding = !server->relaxed && !server->closing && server->expected >= HOLD_REPLIES && took >= HOLD_NS;
  if (server->holding) uv_timer_start(&server->hold, on_hold_end, HOLD_MS, 0);
}

void turn_submit(resp_server *server) {
  turn *t = turn_collecting(server);
  if (server->in_flight || !t->batch || t->count == 0 || held(server)) return;
  if (server->finishing) { /* its turn comes when the one before it has been finished */
    server->submit_soon = true;
    return;
  }
  toon_error err;
  bool lead = false;
  server->submit_soon = false;
  server->in_flight = true;
  server->collecting ^= 1;
  if (commit_here(server, t->batch)) return;
  server->submitted = uv_hrtime();
  if (toon_submit(server->db, t->batch, batch_done, server, &lead, &err) != TOON_OK)
    turn_finish(server, &err);
  else if (lead)
    uv_sem_post(&server->lead);
}

static void close_ranges(waiting *w) {
  toon_snapshot_close(w->ranges);
  w->ranges = NULL;
}

void turn_free(turn *t) {
  for (size_t i = 0; i < t->count; i++) {
    close_ranges(&t->replies[i]);
    if (t->replies[i].multi) multi_done(NULL, &t->replies[i].multi, false);
  }
  toon_batch_free(t->batch);
  toon_free(t->replies);
  toon_buf_free(&t->bytes);
  memset(t, 0, sizeof *t);
}

/* The command of this reply, and what its connection has behind it, is to be run again. Whose client is gone is not. */
static void take_back(waiting *w) {
  resp_conn *conn = w->conn;
  close_ranges(w);
  if (w->multi) multi_done(NULL, &w->multi, false);
  if (!conn || conn->closing) return;
  conn->pending--;
  conn->exclusive = false;
  if (w->mute && !conn->mute) conn->mute_next = true; /* it was behind CLIENT REPLY SKIP */
  if (w->at < conn->base + conn->taken) {
    conn->taken = (size_t)(w->at - conn->base);
    resp_parser_next(&conn->parser);
  }
  conn_stall(conn);
}

/* Give the reply of a member that was processed. */
static void settle(resp_server *server, turn *t, waiting *w, toon_status status, const toon_error *err) {
  resp_conn *conn = w->conn;
  close_ranges(w);
  if (w->exec) multi_done(server, conn ? &conn->multi : &w->multi, status == TOON_OK);
  if (!conn || conn->closing) return;
  conn->pending--;
  conn->kept = (size_t)(w->end - conn->base);
  if (w->exec) {
    conn->exclusive = false;
    conn->tries = 0;
  }
  conn_lend(conn);
  size_t before = conn->out.len;
  if (status != TOON_OK) conn->server->counters.errors++;
  if (status == TOON_OK)
    status = toon_buf_append(&conn->out, t->bytes.ptr + w->offset, w->len);
  else
    status = resp_error(&conn->out, "%s %s", toon_status_resp(err->status),
                        err->message[0] ? err->message : toon_status_text(err->status));
  if (w->mute) conn->out.len = before;
  if (status != TOON_OK) conn_close(conn);
}

void turn_finish(resp_server *server, const toon_error *refused) {
  turn *flown = turn_in_flight(server), done = *flown, *next = turn_collecting(server);
  memset(flown, 0, sizeof *flown);
  server->in_flight = false;
  server->finishing = server->relaxed;
  hold(server, done.count, next->count);
  bool failed = false;
  size_t i = 0;
  for (; i < done.count; i++) {
    toon_error err;
    uint64_t value;
    toon_status status;
    if (refused)
      status = (err = *refused).status;
    else
      status = toon_batch_result(done.batch, done.replies[i].member, &value, &err);
    waiting *w = &done.replies[i];
    if (status == TOON_ECONFLICT && !(w->exec && w->conn && ++w->conn->tries == TRIES)) break;
    failed = failed || status != TOON_OK;
    settle(server, &done, w, status, &err);
  }
  bool again = i < done.count;
  for (size_t j = i; j < done.count; j++) take_back(&done.replies[j]);
  if (again || (failed && next->built_on_flight)) {
    turn dropped = *next;
    memset(next, 0, sizeof *next);
    for (size_t j = 0; j < dropped.count; j++) take_back(&dropped.replies[j]);
    turn_free(&dropped);
  }
  toon_batch_free(done.batch);
  /* Who has waited comes first, so that it gets into the batch that is sent next: others could keep it waiting for ever. */
  resp_conn *stalled = NULL;
  while (server->stalled) { /* in the order in which they came to wait */
    resp_conn *conn = server->stalled;
    server->stalled = conn->next_stalled;
    conn->stalled = false;
    conn->next_stalled = stalled;
    stalled = conn;
  }
  while (stalled) {
    resp_conn *conn = stalled;
    stalled = conn->next_stalled;
    if (!conn->closing && !server->closing) conn_work(conn);
  }
  turn_submit(server);
  for (size_t j = 0; j < i; j++) { /* a closing connection is freed by the loop, not before */
    resp_conn *conn = done.replies[j].conn;
    if (!conn || conn->closing || (j > 0 && done.replies[j - 1].conn == conn)) continue;
    if (server->closing)
      conn_flush(conn);
    else
      conn_work(conn);
  }
  toon_free(done.replies);
  toon_buf_free(&done.bytes);
  server->finishing = false;
}

void turn_end(resp_server *server) {
  for (int i = 0; server->submit_soon && !server->in_flight && !held(server); i++) {
    if (i == HERE_TURNS) {
      uv_async_send(&server->wake);
      return;
    }
    server->submit_soon = false;
    turn_submit(server);
  }
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
