/* SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE, PUNSUBSCRIBE, PUBLISH, PUBSUB. A message is appended to the buffer of everybody who listens, and
 * sent at the end of the turn (conn_push, which closes who does not read). */
#include "resp/connection.h"

#include "base/alloc.h"
#include "base/hash.h"

struct pubsub_topic {
  pubsub_kind kind;
  toon_buf name;
  uint64_t hash;
  pubsub_topic *next, *before, *chain; /* all of the kind; those of a slot */
  resp_conn **conns;
  size_t count, cap;
};

/* ---- topics ---- */

static uint64_t hash_of(toon_slice name) { return toon_hash(name.ptr, name.len, 0); }

static pubsub_topic *find(const pubsub *all, pubsub_kind kind, toon_slice name) {
  if (kind == PUBSUB_CHANNEL) {
    if (!all->slot_count) return NULL;
    uint64_t hash = hash_of(name);
    pubsub_topic *t = all->slots[hash & (all->slot_count - 1)];
    while (t && (t->hash != hash || !toon_slice_eq(toon_buf_slice(&t->name), name))) t = t->chain;
    return t;
  }
  pubsub_topic *t = all->first[kind];
  while (t && !toon_slice_eq(toon_buf_slice(&t->name), name)) t = t->next;
  return t;
}

static toon_status grow_slots(pubsub *all) {
  if (all->counts[PUBSUB_CHANNEL] < all->slot_count) return TOON_OK;
  size_t count = all->slot_count ? all->slot_count * 2 : 64;
  pubsub_topic **slots = (pubsub_topic **)toon_calloc(count, sizeof(pubsub_topic *));
  if (!slots) return TOON_ENOMEM;
  for (pubsub_topic *t = all->first[PUBSUB_CHANNEL]; t; t = t->next) {
    t->chain = slots[t->hash & (count - 1)];
    slots[t->hash & (count - 1)] = t;
  }
  toon_free((void *)all->slots);
  all->slots = slots;
  all->slot_count = count;
  return TOON_OK;
}

static void topic_free(pubsub_topic *t) {
  toon_buf_free(&t->name);
  toon_free((void *)t->conns);
  toon_free(t);
}

static toon_status make(pubsub *all, pubsub_kind kind, toon_slice name, pubsub_topic **out) {
  *out = find(all, kind, name);
  if (*out) return TOON_OK;
  if (kind == PUBSUB_CHANNEL) TOON_TRY(grow_slots(all));
  pubsub_topic *t = (pubsub_topic *)toon_calloc(1, sizeof *t);
  if (!t) return TOON_ENOMEM;
  if (toon_buf_add(&t->name, name) != TOON_OK) {
    topic_free(t);
    return TOON_ENOMEM;
  }
  t->kind = kind;
  if (kind == PUBSUB_CHANNEL) {
    t->hash = hash_of(name);
    t->chain = all->slots[t->hash & (all->slot_count - 1)];
    all->slots[t->hash & (all->slot_count - 1)] = t;
  }
  t->before = all->last[kind];
  if (t->before)
    t->before->next = t;
  else
    all->first[kind] = t;
  all->last[kind] = t;
  all->counts[kind]++;
  *out = t;
  return TOON_OK;
}

static void drop(pubsub *all, pubsub_topic *t) {
  if (t->kind == PUBSUB_CHANNEL) {
    pubsub_topic **at = &all->slots[t->hash & (all->slot_count - 1)];
    while (*at != t) at = &(*at)->chain;
    *at = t->chain;
  }
  if (t->before)
    t->before->next = t->next;
  else
    all->first[t->kind] = t->next;
  if (t->next)
    t->next->before = t->before;
  else
    all->last[t->kind] = t->before;
  all->counts[t->kind]--;
  topic_free(t);
}

static void topic_leave(pubsub *all, pubsub_topic *t, const resp_conn *conn) {
  size_t i = t->count;
  while (i > 0 && t->conns[i - 1] != conn) i--;
  if (i > 0) t->conns[i - 1] = t->conns[--t->count];
  if (t->count) return;
  if (all->publishing)
    all->sweep = true;
  else
    drop(all, t);
}

void pubsub_leave(resp_conn *conn) {
  pubsub_list *list = &conn->topics;
  for (size_t i = pubsub_list_count(list); i > 0; i--) topic_leave(&conn->server->pubsub, list->topics[i - 1], conn);
  toon_free((void *)list->topics);
  *list = (pubsub_list){0};
}

void pubsub_free(pubsub *all) {
  for (int kind = 0; kind < PUBSUB_KINDS; kind++)
    while (all->first[kind]) drop(all, all->first[kind]);
  toon_free((void *)all->slots);
  *all = (pubsub){0};
}

/* ---- subscribing ---- */

static toon_status push_head(toon_buf *out, int version, size_t count) {
  return version == 3 ? toon_buf_printf(out, ">%zu\r\n", count) : resp_array(out, count);
}

/* What SUBSCRIBE and its kin say of each name. */
static toon_status confirm(command_call *call, const char *what, const toon_slice *name) {
  int version = conn_version(call->conn);
  TOON_TRY(push_head(call->out, version, 3));
  TOON_TRY(resp_bulk(call->out, toon_slice_of(what, strlen(what))));
  TOON_TRY(name ? resp_bulk(call->out, *name) : resp_null(call->out, version));
  return resp_int(call->out, (int64_t)pubsub_list_count(&call->conn->topics));
}

static toon_status join(resp_conn *conn, pubsub_kind kind, toon_slice name) {
  pubsub *all = &conn->server->pubsub;
  pubsub_list *list = &conn->topics;
  pubsub_topic *t = find(all, kind, name);
  size_t count = pubsub_list_count(list);
  bool few = t && t->count < count; /* the shorter list tells whether it has it already */
  for (size_t i = 0; t && i < (few ? t->count : count); i++)
    if (few ? t->conns[i] == conn : list->topics[i] == t) return TOON_OK;
  if (count == list->cap) {
    size_t cap = list->cap ? list->cap * 2 : 4;
    pubsub_topic **topics = (pubsub_topic **)toon_realloc((void *)list->topics, cap * sizeof(pubsub_topic *));
    if (!topics) return TOON_ENOMEM;
    list->topics = topics;
    list->cap = cap;
  }
  TOON_TRY(make(all, kind, name, &t));
  if (t->count == t->cap) {
    size_t cap = t->cap ? t->cap * 2 : 4;
    resp_conn **conns = (resp_conn **)toon_realloc((void *)t->conns, cap * sizeof(resp_conn *));
    if (!conns) {
      if (!t->count) drop(all, t);
      return TOON_ENOMEM;
    }
    t->conns = conns;
    t->cap = cap;
  }
  t->conns[t->count++] = conn;
  list->topics[count] = t;
  list->counts[kind]++;
  return TOON_OK;
}

static void leave_at(resp_conn *conn, size_t i) {
  pubsub_list *list = &conn->topics;
  pubsub_topic *t = list->topics[i];
  size_t count = pubsub_list_count(list);
  memmove((void *)(list->topics + i), (void *)(list->topics + i + 1), (count - i - 1) * sizeof(pubsub_topic *));
  list->counts[t->kind]--;
  topic_leave(&conn->server->pubsub, t, conn);
}

static toon_status subscribe(command_call *call, pubsub_kind kind, const char *what) {
  for (size_t i = 1; i < call->count; i++) {
    toon_slice name = call_arg(call, i);
    TOON_TRY(join(call->conn, kind, name));
    TOON_TRY(confirm(call, what, &name));
  }
  return TOON_OK;
}

/* Of all of the kind without an argument; it says so once if there was none. */
static toon_status unsubscribe(command_call *call, pubsub_kind kind, const char *what) {
  pubsub_list *list = &call->conn->topics;
  if (call->count == 1 && !list->counts[kind]) return confirm(call, what, NULL);
  for (size_t i = pubsub_list_count(list); call->count == 1 && i > 0; i--) {
    if (list->topics[i - 1]->kind != kind) continue;
    toon_buf name = {0};
    toon_status status = toon_buf_add(&name, toon_buf_slice(&list->topics[i - 1]->name));
    leave_at(call->conn, i - 1);
    toon_slice told = toon_buf_slice(&name);
    if (status == TOON_OK) status = confirm(call, what, &told);
    toon_buf_free(&name);
    TOON_TRY(status);
  }
  for (size_t i = 1; i < call->count; i++) {
    toon_slice name = call_arg(call, i);
    const pubsub_topic *t = find(&call->conn->server->pubsub, kind, name);
    for (size_t j = 0; t && j < pubsub_list_count(list); j++) {
      if (list->topics[j] != t) continue;
      leave_at(call->conn, j);
      break;
    }
    TOON_TRY(confirm(call, what, &name));
  }
  return TOON_OK;
}

toon_status command_subscribe(command_call *call) { return subscribe(call, PUBSUB_CHANNEL, "subscribe"); }
toon_status command_psubscribe(command_call *call) { return subscribe(call, PUBSUB_PATTERN, "psubscribe"); }
toon_status command_unsubscribe(command_call *call) { return unsubscribe(call, PUBSUB_CHANNEL, "unsubscribe"); }
toon_status command_punsubscribe(command_call *call) { return unsubscribe(call, PUBSUB_PATTERN, "punsubscribe"); }

/* ---- publishing ---- */

static toon_status put_message(toon_buf *out, int version, const pubsub_topic *t, toon_slice channel,
                               toon_slice message) {
  bool pattern = t->kind == PUBSUB_PATTERN;
  TOON_TRY(push_head(out, version, pattern ? 4 : 3));
  TOON_TRY(resp_bulk(out, pattern ? TOON_SLICE_LIT("pmessage") : TOON_SLICE_LIT("message")));
  if (pattern) TOON_TRY(resp_bulk(out, toon_buf_slice(&t->name)));
  TOON_TRY(resp_bulk(out, channel));
  return resp_bulk(out, message);
}

/* One text for each version of the protocol, made when the first of it listens. Who is closed for not reading leaves the
 * topic, so the list is walked from its end. */
static toon_status give_out(pubsub_topic *t, toon_slice channel, toon_slice message, size_t *count) {
  toon_buf texts[2] = {{0}};
  toon_status status = TOON_OK;
  for (size_t i = t->count; i > 0 && status == TOON_OK; i--) {
    resp_conn *conn = t->conns[i - 1];
    toon_buf *text = &texts[conn->version == 3];
    if (!text->len) status = put_message(text, conn->version, t, channel, message);
    if (status != TOON_OK) break;
    ++*count;
    conn_lend(conn);
    if (toon_buf_add(&conn->out, toon_buf_slice(text)) != TOON_OK)
      conn_close(conn);
    else
      conn_push(conn);
  }
  toon_buf_free(&texts[0]);
  toon_buf_free(&texts[1]);
  return status;
}

toon_status pubsub_publish(resp_server *server, toon_slice channel, toon_slice message, size_t *count) {
  pubsub *all = &server->pubsub;
  toon_status status = TOON_OK;
  *count = 0;
  all->publishing = true;
  pubsub_topic *t = find(all, PUBSUB_CHANNEL, channel);
  if (t) status = give_out(t, channel, message, count);
  for (t = all->first[PUBSUB_PATTERN]; t && status == TOON_OK; t = t->next)
    if (command_matches(toon_buf_slice(&t->name), channel)) status = give_out(t, channel, message, count);
  all->publishing = false;
  for (int kind = 0; all->sweep && kind < PUBSUB_KINDS; kind++) {
    pubsub_topic *next;
    for (t = all->first[kind]; t; t = next) {
      next = t->next;
      if (!t->count) drop(all, t);
    }
  }
  all->sweep = false;
  return status;
}

size_t pubsub_count(const pubsub *all, toon_slice channel) {
  const pubsub_topic *t = find(all, PUBSUB_CHANNEL, channel);
  size_t count = t ? t->count : 0;
  for (t = all->first[PUBSUB_PATTERN]; t; t = t->next)
    if (command_matches(toon_buf_slice(&t->name), channel)) count += t->count;
  return count;
}

/* In an EXEC the message is given out when that is committed. */
toon_status command_publish(command_call *call) {
  size_t count;
  if (call->work->exec) {
    TOON_TRY(multi_publish(call->conn, call_arg(call, 1), call_arg(call, 2)));
    count = pubsub_count(&call->conn->server->pubsub, call_arg(call, 1));
  } else {
    TOON_TRY(pubsub_publish(call->conn->server, call_arg(call, 1), call_arg(call, 2), &count));
  }
  return resp_int(call->out, (int64_t)count);
}

/* ---- PUBSUB ---- */

/* PUBSUB CHANNELS [pattern] */
toon_status command_pubsub_channels(command_call *call) {
  const pubsub *all = &call->conn->server->pubsub;
  toon_buf names = {0};
  size_t count = 0;
  toon_status status = TOON_OK;
  if (call->count > 3) return command_error(call, "ERR wrong number of arguments for 'pubsub|channels' command");
  for (const pubsub_topic *t = all->first[PUBSUB_CHANNEL]; t && status == TOON_OK; t = t->next) {
    if (call->count == 3 && !command_matches(call_arg(call, 2), toon_buf_slice(&t->name))) continue;
    count++;
    status = resp_bulk(&names, toon_buf_slice(&t->name));
  }
  if (status == TOON_OK) status = resp_array(call->out, count);
  if (status == TOON_OK) status = toon_buf_add(call->out, toon_buf_slice(&names));
  toon_buf_free(&names);
  return status;
}

/* PUBSUB NUMSUB [channel…] */
toon_status command_pubsub_numsub(command_call *call) {
  TOON_TRY(resp_array(call->out, 2 * (call->count - 2)));
  for (size_t i = 2; i < call->count; i++) {
    const pubsub_topic *t = find(&call->conn->server->pubsub, PUBSUB_CHANNEL, call_arg(call, i));
    TOON_TRY(resp_bulk(call->out, call_arg(call, i)));
    TOON_TRY(resp_int(call->out, t ? (int64_t)t->count : 0));
  }
  return TOON_OK;
}

toon_status command_pubsub_numpat(command_call *call) {
  return resp_int(call->out, (int64_t)call->conn->server->pubsub.counts[PUBSUB_PATTERN]);
}
