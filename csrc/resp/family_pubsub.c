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
  pubsub_link **links;
  size_t count, cap;
};

/* A connection listens to a topic. Both know it by its place in their lists, so that it goes in constant time. */
struct pubsub_link {
  pubsub_topic *topic;
  resp_conn *conn;
  size_t of_topic, of_conn;
  pubsub_link *chain;
};

/* ---- topics ---- */

static uint64_t hash_of(pubsub_kind kind, toon_slice name) { return toon_hash(name.ptr, name.len, kind); }

static pubsub_topic *find(const pubsub *all, pubsub_kind kind, toon_slice name) {
  if (!all->slot_count) return NULL;
  uint64_t hash = hash_of(kind, name);
  pubsub_topic *t = all->slots[hash & (all->slot_count - 1)];
  while (t && (t->hash != hash || t->kind != kind || !toon_slice_eq(toon_buf_slice(&t->name), name))) t = t->chain;
  return t;
}

static toon_status grow_slots(pubsub *all) {
  if (all->counts[PUBSUB_CHANNEL] + all->counts[PUBSUB_PATTERN] < all->slot_count) return TOON_OK;
  size_t count = all->slot_count ? all->slot_count * 2 : 64;
  pubsub_topic **slots = (pubsub_topic **)toon_calloc(count, sizeof(pubsub_topic *));
  if (!slots) return TOON_ENOMEM;
  for (int kind = 0; kind < PUBSUB_KINDS; kind++)
    for (pubsub_topic *t = all->first[kind]; t; t = t->next) {
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
  toon_free((void *)t->links);
  toon_free(t);
}

static toon_status make(pubsub *all, pubsub_kind kind, toon_slice name, pubsub_topic **out) {
  *out = find(all, kind, name);
  if (*out) return TOON_OK;
  TOON_TRY(grow_slots(all));
  pubsub_topic *t = (pubsub_topic *)toon_calloc(1, sizeof *t);
  if (!t) return TOON_ENOMEM;
  if (toon_buf_add(&t->name, name) != TOON_OK) {
    topic_free(t);
    return TOON_ENOMEM;
  }
  t->kind = kind;
  t->hash = hash_of(kind, name);
  t->chain = all->slots[t->hash & (all->slot_count - 1)];
  all->slots[t->hash & (all->slot_count - 1)] = t;
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
  pubsub_topic **at = &all->slots[t->hash & (all->slot_count - 1)];
  while (*at != t) at = &(*at)->chain;
  *at = t->chain;
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

/* ---- who listens to what ---- */

static pubsub_link **link_slot(const pubsub *all, const resp_conn *conn, const pubsub_topic *t) {
  const void *pair[2] = {conn, t};
  return &all->link_slots[toon_hash((const void *)pair, sizeof pair, 0) & (all->link_slot_count - 1)];
}

static pubsub_link *find_link(const pubsub *all, const resp_conn *conn, const pubsub_topic *t) {
  if (!t || !all->link_slot_count) return NULL;
  pubsub_link *link = *link_slot(all, conn, t);
  while (link && (link->conn != conn || link->topic != t)) link = link->chain;
  return link;
}

static toon_status grow_link_slots(pubsub *all) {
  if (all->links < all->link_slot_count) return TOON_OK;
  size_t before = all->link_slot_count, count = before ? before * 2 : 64;
  pubsub_link **slots = (pubsub_link **)toon_calloc(count, sizeof(pubsub_link *)), **old = all->link_slots;
  if (!slots) return TOON_ENOMEM;
  all->link_slots = slots;
  all->link_slot_count = count;
  for (size_t i = 0; i < before; i++)
    for (pubsub_link *link = old[i], *next; link; link = next) {
      next = link->chain;
      pubsub_link **slot = link_slot(all, link->conn, link->topic);
      link->chain = *slot;
      *slot = link;
    }
  toon_free((void *)old);
  return TOON_OK;
}

/* One more place in a list of links. */
static toon_status grow_list(pubsub_link ***list, size_t count, size_t *cap) {
  if (count < *cap) return TOON_OK;
  size_t wanted = *cap ? *cap * 2 : 4;
  pubsub_link **links = (pubsub_link **)toon_realloc((void *)*list, wanted * sizeof(pubsub_link *));
  if (!links) return TOON_ENOMEM;
  *list = links;
  *cap = wanted;
  return TOON_OK;
}

static toon_status join(resp_conn *conn, pubsub_kind kind, toon_slice name) {
  pubsub *all = &conn->server->pubsub;
  pubsub_list *list = &conn->topics;
  pubsub_topic *t = find(all, kind, name);
  if (find_link(all, conn, t)) return TOON_OK;
  TOON_TRY(grow_link_slots(all));
  TOON_TRY(grow_list(&list->links, pubsub_list_count(list), &list->cap));
  TOON_TRY(make(all, kind, name, &t));
  pubsub_link *link = (pubsub_link *)toon_malloc(sizeof *link);
  if (!link || grow_list(&t->links, t->count, &t->cap) != TOON_OK) {
    toon_free(link);
    if (!t->count) drop(all, t);
    return TOON_ENOMEM;
  }
  pubsub_link **slot = link_slot(all, conn, t);
  *link = (pubsub_link){t, conn, t->count, pubsub_list_count(list), *slot};
  *slot = t->links[t->count++] = list->links[link->of_conn] = link;
  list->counts[kind]++;
  all->links++;
  return TOON_OK;
}

/* The last of each list takes its place. */
static void leave(pubsub *all, pubsub_link *link) {
  pubsub_topic *t = link->topic;
  pubsub_list *list = &link->conn->topics;
  pubsub_link **slot = link_slot(all, link->conn, t), *last = list->links[pubsub_list_count(list) - 1];
  while (*slot != link) slot = &(*slot)->chain;
  *slot = link->chain;
  list->links[last->of_conn = link->of_conn] = last;
  list->counts[t->kind]--;
  last = t->links[--t->count];
  t->links[last->of_topic = link->of_topic] = last;
  all->links--;
  toon_free(link);
  if (t->count) return;
  if (all->publishing)
    all->sweep = true;
  else
    drop(all, t);
}

void pubsub_leave(resp_conn *conn) {
  pubsub_list *list = &conn->topics;
  while (pubsub_list_count(list)) leave(&conn->server->pubsub, list->links[pubsub_list_count(list) - 1]);
  toon_free((void *)list->links);
  *list = (pubsub_list){0};
}

void pubsub_free(pubsub *all) {
  for (int kind = 0; kind < PUBSUB_KINDS; kind++)
    while (all->first[kind]) drop(all, all->first[kind]);
  toon_free((void *)all->slots);
  toon_free((void *)all->link_slots);
  *all = (pubsub){0};
}

/* ---- subscribing ---- */

static toon_status push_head(toon_buf *out, int version, size_t count) {
  return version == 3 ? toon_buf_printf(out, ">%zu\r\n", count) : resp_array(out, count);
}

/* What SUBSCRIBE and its kin say of each name. */
static toon_status confirm(command_call *call, const char *what, const toon_slice *name) {
  int version = conn_version(call->conn);
  if (command_overfull(call, 0)) return TOON_ENOMEM;
  TOON_TRY(push_head(call->out, version, 3));
  TOON_TRY(resp_bulk(call->out, toon_slice_of(what, strlen(what))));
  TOON_TRY(name ? resp_bulk(call->out, *name) : resp_null(call->out, version));
  return resp_int(call->out, (int64_t)pubsub_list_count(&call->conn->topics));
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
  pubsub *all = &call->conn->server->pubsub;
  pubsub_list *list = &call->conn->topics;
  if (call->count == 1 && !list->counts[kind]) return confirm(call, what, NULL);
  for (size_t i = pubsub_list_count(list); call->count == 1 && i > 0; i--) {
    pubsub_link *link = list->links[i - 1];
    if (link->topic->kind != kind) continue;
    toon_buf name = {0};
    toon_status status = toon_buf_add(&name, toon_buf_slice(&link->topic->name));
    leave(all, link);
    toon_slice told = toon_buf_slice(&name);
    if (status == TOON_OK) status = confirm(call, what, &told);
    toon_buf_free(&name);
    TOON_TRY(status);
  }
  for (size_t i = 1; i < call->count; i++) {
    toon_slice name = call_arg(call, i);
    pubsub_link *link = find_link(all, call->conn, find(all, kind, name));
    if (link) leave(all, link);
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
    resp_conn *conn = t->links[i - 1]->conn;
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
  if (call->count > 3) {
    return command_error(call, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.",
                         (int)call_arg(call, 1).len, (const char *)call_arg(call, 1).ptr);
  }
  for (const pubsub_topic *t = all->first[PUBSUB_CHANNEL]; t && status == TOON_OK; t = t->next) {
    if (call->count == 3 && !command_matches(call_arg(call, 2), toon_buf_slice(&t->name))) continue;
    count++;
    status = command_overfull(call, names.len) ? TOON_ENOMEM : resp_bulk(&names, toon_buf_slice(&t->name));
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
    if (command_overfull(call, 0)) return TOON_ENOMEM;
    TOON_TRY(resp_bulk(call->out, call_arg(call, i)));
    TOON_TRY(resp_int(call->out, t ? (int64_t)t->count : 0));
  }
  return TOON_OK;
}

toon_status command_pubsub_numpat(command_call *call) {
  return resp_int(call->out, (int64_t)call->conn->server->pubsub.counts[PUBSUB_PATTERN]);
}
