/* MULTI, EXEC, DISCARD, WATCH, UNWATCH. Commands are kept as they came; EXEC runs them as one member of the turn's batch, which is one
 * transaction of the engine: what they read is expected to be unchanged at the commit, and all they write is one group. */
#include "resp/connection.h"

#include "base/alloc.h"
#include "base/hash.h"

enum {
  QUEUE_MAX = 256 << 20, /* bytes of a transaction's commands, and of its messages */
  WATCH_MAX = 64 << 20,  /* bytes of what WATCH remembers */
  ARENA_LEAST = 64 << 20 /* bytes that an EXEC may always add to its batch */
};

typedef struct queued {
  const command *command;
  size_t text, first, count; /* where its bytes and its arguments begin, how many arguments */
} queued;

typedef struct watched {
  size_t key; /* in `keys` */
  uint32_t len;
  uint64_t version;
} watched;

struct resp_multi {
  bool open, refused;            /* between MULTI and EXEC; a command was refused */
  toon_buf text, args, commands; /* bytes; resp_span each; queued each */
  toon_buf keys, watches, slots; /* bytes; watched each; a hash of them, uint32_t each: number + 1 */
  toon_buf published, messages;  /* resp_span each, two a message; bytes */
};

static size_t count_of(const toon_buf *list, size_t size) { return list->len / size; }

static toon_status multi_of(resp_conn *conn, resp_multi **out) {
  if (!conn->multi) conn->multi = (resp_multi *)toon_calloc(1, sizeof *conn->multi);
  *out = conn->multi;
  return conn->multi ? TOON_OK : TOON_ENOMEM;
}

static void free_multi(resp_multi *m) {
  if (!m) return;
  toon_buf_free(&m->text);
  toon_buf_free(&m->args);
  toon_buf_free(&m->commands);
  toon_buf_free(&m->keys);
  toon_buf_free(&m->watches);
  toon_buf_free(&m->slots);
  toon_buf_free(&m->published);
  toon_buf_free(&m->messages);
  toon_free(m);
}

void multi_free(resp_conn *conn) {
  free_multi(conn->multi);
  conn->multi = NULL;
}

toon_status multi_publish(resp_conn *conn, toon_slice channel, toon_slice message) {
  resp_multi *m = conn->multi;
  resp_span spans[2] = {{m->messages.len, channel.len}, {m->messages.len + channel.len, message.len}};
  TOON_TRY(toon_buf_add(&m->messages, channel));
  TOON_TRY(toon_buf_add(&m->messages, message));
  return toon_buf_append(&m->published, spans, sizeof spans);
}

void multi_done(resp_server *server, resp_multi **multi, bool committed) {
  resp_multi *m = *multi;
  *multi = NULL; /* giving out may close the connection */
  size_t count = m && committed ? count_of(&m->published, 2 * sizeof(resp_span)) : 0;
  for (size_t i = 0; i < count; i++) {
    const resp_span *span = (const resp_span *)(const void *)m->published.ptr + 2 * i;
    size_t listeners;
    /* Without memory a message is lost, as it may be at any time. */
    (void)pubsub_publish(server, toon_slice_of(m->messages.ptr + span[0].offset, span[0].len),
                         toon_slice_of(m->messages.ptr + span[1].offset, span[1].len), &listeners);
  }
  free_multi(m);
}

int multi_count(const resp_conn *conn) {
  return conn->multi && conn->multi->open ? (int)count_of(&conn->multi->commands, sizeof(queued)) : -1;
}

void multi_refused(resp_conn *conn) {
  if (conn->multi && conn->multi->open) conn->multi->refused = true;
}

static toon_status keep(resp_multi *m, const command_call *call) {
  queued q = {call->command, m->text.len, count_of(&m->args, sizeof(resp_span)), call->count};
  for (size_t i = 0; i < call->count; i++) {
    toon_slice arg = call_arg(call, i);
    resp_span span = {m->text.len - q.text, arg.len};
    TOON_TRY(toon_buf_append(&m->args, &span, sizeof span));
    TOON_TRY(toon_buf_add(&m->text, arg));
  }
  return toon_buf_append(&m->commands, &q, sizeof q);
}

bool multi_queue(command_call *call, toon_status *status) {
  resp_multi *m = call->conn->multi;
  const command *c = call->command;
  if (!m || !m->open) return false;
  if (c->run == command_exec || c->run == command_discard || c->run == command_multi || c->run == command_watch ||
      c->run == command_quit || c->run == command_reset)
    return false;
  if (c->flags & COMMAND_NO_MULTI) {
    m->refused = true;
    *status = resp_error(call->out, "ERR Command not allowed inside a transaction");
  } else if (m->text.len + m->args.len + m->commands.len > QUEUE_MAX) {
    m->refused = true;
    *status = resp_error(call->out, "ERR the transaction has more than %d bytes of commands", QUEUE_MAX);
  } else {
    *status = keep(m, call);
    if (*status == TOON_OK) *status = resp_status(call->out, "QUEUED");
  }
  return true;
}

/* Queued command number i as a call; *parser holds its arguments. */
static command_call call_of(resp_multi *m, size_t i, const command_call *outer, resp_parser *parser) {
  const queued *q = (const queued *)(const void *)m->commands.ptr + i;
  size_t end = m->text.len - q->text;
  memset(parser, 0, sizeof *parser);
  parser->args = (resp_span *)(void *)m->args.ptr + q->first;
  parser->count = q->count;
  command_call call = *outer;
  call.parser = parser;
  call.input = toon_slice_of(m->text.ptr ? m->text.ptr + q->text : NULL, end);
  call.count = q->count;
  call.command = q->command;
  call.failed = false;
  return call;
}

void multi_show(const command_call *call) {
  resp_multi *m = call->conn->multi;
  for (size_t i = 0; m && i < count_of(&m->commands, sizeof(queued)); i++) {
    resp_parser parser;
    command_call inner = call_of(m, i, call, &parser);
    if (!(inner.command->flags & COMMAND_ADMIN)) conn_show(&inner);
  }
}

toon_status command_multi(command_call *call) {
  resp_multi *m;
  TOON_TRY(multi_of(call->conn, &m));
  if (m->open) return command_error(call, "ERR MULTI calls can not be nested");
  m->open = true;
  return resp_status(call->out, "OK");
}

toon_status command_discard(command_call *call) {
  if (!call->conn->multi || !call->conn->multi->open) return command_error(call, "ERR DISCARD without MULTI");
  multi_free(call->conn);
  return resp_status(call->out, "OK");
}

static toon_slice watched_key(const resp_multi *m, const watched *w) {
  return toon_slice_of(m->keys.ptr + w->key, w->len);
}

/* Where in the hash a watched key stands, or would. */
static uint32_t *watch_slot(resp_multi *m, toon_slice key) {
  const watched *list = (const watched *)(const void *)m->watches.ptr;
  uint32_t *slots = (uint32_t *)(void *)m->slots.ptr;
  size_t mask = count_of(&m->slots, sizeof *slots) - 1, i = (size_t)toon_hash(key.ptr, key.len, 0) & mask;
  while (slots[i] && !toon_slice_eq(watched_key(m, &list[slots[i] - 1]), key)) i = (i + 1) & mask;
  return &slots[i];
}

static toon_status grow_watch_slots(resp_multi *m) {
  size_t count = count_of(&m->watches, sizeof(watched)), slots = count_of(&m->slots, sizeof(uint32_t));
  const watched *list = (const watched *)(const void *)m->watches.ptr;
  if (slots > 2 * count) return TOON_OK;
  slots = slots ? 2 * slots : 16;
  m->slots.len = 0;
  TOON_TRY(toon_buf_reserve(&m->slots, slots * sizeof(uint32_t)));
  memset(m->slots.ptr, 0, slots * sizeof(uint32_t));
  m->slots.len = slots * sizeof(uint32_t);
  for (size_t i = 0; i < count; i++) *watch_slot(m, watched_key(m, &list[i])) = (uint32_t)i + 1;
  return TOON_OK;
}

static void forget_watches(resp_multi *m) {
  toon_buf_free(&m->keys);
  toon_buf_free(&m->watches);
  toon_buf_free(&m->slots);
}

/* A key that is watched already is so from the first WATCH on. */
static toon_status watch(command_call *call, resp_multi *m, toon_key key) {
  data_row row;
  bool found;
  TOON_TRY(grow_watch_slots(m));
  uint32_t *slot = watch_slot(m, toon_slice_of(key.ptr, key.len));
  if (*slot) return TOON_OK;
  if (m->keys.len + m->watches.len + m->slots.len > WATCH_MAX)
    return command_error(call, "ERR more than %d bytes of keys are watched; UNWATCH some", WATCH_MAX);
  TOON_TRY(data_get(call, key, &row, &found));
  watched w = {m->keys.len, key.len, found ? row.row.version : 0};
  data_release(call, &row);
  TOON_TRY(toon_buf_append(&m->keys, key.ptr, key.len));
  TOON_TRY(toon_buf_append(&m->watches, &w, sizeof w));
  *slot = (uint32_t)count_of(&m->watches, sizeof w);
  return TOON_OK;
}

toon_status command_watch(command_call *call) {
  resp_multi *m;
  TOON_TRY(multi_of(call->conn, &m));
  if (m->open) return command_error(call, "ERR WATCH inside MULTI is not allowed");
  for (size_t i = 1; i < call->count; i++) {
    toon_key key;
    TOON_TRY(command_key(call, i, &key));
    TOON_TRY(watch(call, m, key));
  }
  return resp_status(call->out, "OK");
}

toon_status command_unwatch(command_call *call) {
  resp_multi *m = call->conn->multi;
  if (m && !call->work->exec) forget_watches(m);
  return resp_status(call->out, "OK");
}

/* Is what WATCH saw still there? What is not committed yet is younger. */
static toon_status unchanged(command_call *call, bool *same) {
  resp_multi *m = call->conn->multi;
  const watched *list = (const watched *)(const void *)m->watches.ptr;
  *same = true;
  for (size_t i = 0; i < count_of(&m->watches, sizeof *list) && *same; i++) {
    data_row row;
    bool found;
    TOON_TRY(data_get(call, toon_user_key(m->keys.ptr + list[i].key, list[i].len), &row, &found));
    *same = (found ? row.row.version : 0) == list[i].version && !(found && row.text.ptr);
    data_release(call, &row);
  }
  return TOON_OK;
}

/* Has the transaction more than could be committed, with what its later writes have taken the place of, and what it has read? */
static bool too_big(const command_call *call, size_t before) {
  const command_work *work = call->work;
  uint64_t most = 2 * toon_max_txn_size(call->db);
  if (most < ARENA_LEAST) most = ARENA_LEAST;
  return work->open && toon_batch_bytes(work->batch) - before > most;
}

/* Run the queued commands, each with its reply. One that fails writes nothing; the others do, as in Redis. */
static toon_status run_queued(command_call *call) {
  resp_multi *m = call->conn->multi;
  size_t count = count_of(&m->commands, sizeof(queued));
  const turn *t = turn_collecting(call->conn->server);
  size_t before = t->batch ? toon_batch_bytes(t->batch) : 0;
  call->work->ran = true;
  TOON_TRY(resp_array(call->out, count));
  for (size_t i = 0; i < count; i++) {
    resp_parser parser;
    command_call inner = call_of(m, i, call, &parser);
    inner.from = call->out->len;
    size_t mark = call->work->open ? toon_batch_mark(call->work->batch) : 0, ranges = call->work->range_count;
    if (command_overfull(call, 0)) return TOON_ENOMEM;
    TOON_TRY(command_run(&inner));
    if (call->work->waits) return TOON_ECONFLICT;
    if (inner.failed && call->work->open) {
      toon_batch_rewind(call->work->batch, mark);
      call->work->range_count = ranges;
    }
    if (too_big(call, before)) {
      toon_error err;
      toon_fail(&err, TOON_ETXNTOOBIG, NULL);
      return command_fail(call, &err);
    }
  }
  return TOON_OK;
}

toon_status command_exec(command_call *call) {
  resp_conn *conn = call->conn;
  resp_multi *m = conn->multi;
  bool same;
  if (!m || !m->open) return command_error(call, "ERR EXEC without MULTI");
  m->published.len = m->messages.len = 0; /* what it published when it was run before does not count */
  call->work->exec = true;                /* the transaction is over when the reply is given */
  if (m->refused) return command_error(call, "EXECABORT Transaction discarded because of previous errors.");
  call->work->isolated = true;
  TOON_TRY(unchanged(call, &same));
  if (same) return run_queued(call);
  call->work->isolated = false; /* nothing was done, so nothing is to be validated */
  return conn_version(conn) == 3 ? resp_null(call->out, 3) : toon_buf_lit(call->out, "*-1\r\n");
}
