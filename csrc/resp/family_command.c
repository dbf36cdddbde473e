/* COMMAND: the table of commands told to clients, as Redis 7 tells of its own. */
#include "resp/command.h"

#include <stdio.h>

enum { CLIENT_FLAGS = 8 };

static const struct {
  unsigned flag;
  const char *name;
} flag_names[CLIENT_FLAGS] = {
    {COMMAND_WRITE, "write"}, {COMMAND_READONLY, "readonly"}, {COMMAND_ADMIN, "admin"},      {COMMAND_PUBSUB, "pubsub"},
    {COMMAND_FAST, "fast"},   {COMMAND_NO_AUTH, "no_auth"},   {COMMAND_NO_MULTI, "no_multi"}};

static toon_status text(toon_buf *out, const char *s) { return resp_bulk(out, toon_slice_of(s, strlen(s))); }
static toon_status set(toon_buf *out, int version, size_t count) {
  return version == 3 ? toon_buf_printf(out, "~%zu\r\n", count) : resp_array(out, count);
}

static bool is_subcommand(const command *c) { return strchr(c->name, '|') != NULL; }

/* The commands of the table behind which subcommands may stand. */
static size_t count_commands(void) {
  size_t all, count = 0;
  const command *table = command_table(&all);
  for (size_t i = 0; i < all; i++) count += !is_subcommand(&table[i]);
  return count;
}

static size_t count_subcommands(const command *c) {
  size_t all, count = 0;
  const command *table = command_table(&all);
  if (!command_is_container(c)) return 0;
  for (const command *sub = c + 1; sub < table + all && is_subcommand(sub); sub++) count++;
  return count;
}

/* The categories that an access rule could name. */
static size_t categories(const command *c, const char *out[6]) {
  size_t n = 0;
  if (c->flags & COMMAND_WRITE) out[n++] = "@write";
  if (c->flags & COMMAND_READONLY) out[n++] = "@read";
  if (c->flags & COMMAND_ADMIN) out[n++] = "@admin";
  if (!strcmp(c->group, "generic")) out[n++] = "@keyspace";
  if (!strcmp(c->group, "string")) out[n++] = "@string";
  if (!strcmp(c->group, "hash")) out[n++] = "@hash";
  if (!strcmp(c->group, "connection")) out[n++] = "@connection";
  if (!strcmp(c->group, "transactions")) out[n++] = "@transaction";
  if (!strcmp(c->group, "pubsub")) out[n++] = "@pubsub";
  out[n++] = c->flags & COMMAND_FAST ? "@fast" : "@slow";
  return n;
}

/* What COMMAND tells of one command. */
static toon_status describe(toon_buf *out, int version, const command *c) {
  const char *names[6];
  size_t flags = 0, subs = count_subcommands(c), count = categories(c, names);
  for (size_t i = 0; i < CLIENT_FLAGS; i++) flags += (c->flags & flag_names[i].flag) != 0;
  TOON_TRY(resp_array(out, 10));
  TOON_TRY(text(out, c->name));
  TOON_TRY(resp_int(out, c->arity));
  TOON_TRY(set(out, version, flags));
  for (size_t i = 0; i < CLIENT_FLAGS; i++)
    if (c->flags & flag_names[i].flag) TOON_TRY(resp_status(out, flag_names[i].name));
  TOON_TRY(resp_int(out, c->first));
  TOON_TRY(resp_int(out, c->last));
  TOON_TRY(resp_int(out, c->step));
  TOON_TRY(set(out, version, count));
  for (size_t i = 0; i < count; i++) TOON_TRY(resp_status(out, names[i]));
  TOON_TRY(resp_array(out, 0)); /* tips */
  TOON_TRY(resp_array(out, 0)); /* key specifications: first, last and step say it all */
  TOON_TRY(resp_array(out, subs));
  for (size_t i = 1; i <= subs; i++) TOON_TRY(describe(out, version, c + i));
  return TOON_OK;
}

static toon_status document(toon_buf *out, int version, const command *c) {
  size_t subs = count_subcommands(c);
  TOON_TRY(text(out, c->name));
  TOON_TRY(resp_map(out, version, subs ? 4 : 3));
  TOON_TRY(text(out, "summary"));
  TOON_TRY(text(out, c->summary));
  TOON_TRY(text(out, "since"));
  TOON_TRY(text(out, c->since));
  TOON_TRY(text(out, "group"));
  TOON_TRY(text(out, c->group));
  if (!subs) return TOON_OK;
  TOON_TRY(text(out, "subcommands"));
  TOON_TRY(resp_map(out, version, subs));
  for (size_t i = 1; i <= subs; i++) TOON_TRY(document(out, version, c + i));
  return TOON_OK;
}

/* Every command of the table, subcommands within theirs. */
static toon_status tell_all(command_call *call, bool docs) {
  toon_buf *out = conn_out(call->conn);
  int version = conn_version(call->conn);
  size_t all, count = count_commands();
  const command *table = command_table(&all);
  TOON_TRY(docs ? resp_map(out, version, count) : resp_array(out, count));
  if (command_overfull(call, 0)) return TOON_ENOMEM;
  for (size_t i = 0; i < all; i++)
    if (!is_subcommand(&table[i]))
      TOON_TRY(docs ? document(out, version, &table[i]) : describe(out, version, &table[i]));
  return TOON_OK;
}

toon_status command_command(command_call *call) { return tell_all(call, false); }

toon_status command_command_count(command_call *call) {
  return resp_int(conn_out(call->conn), (int64_t)count_commands());
}

toon_status command_command_docs(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int version = conn_version(call->conn);
  size_t known = 0;
  if (call->count == 2) return tell_all(call, true);
  for (size_t i = 2; i < call->count; i++) known += command_find(call_arg(call, i)) != NULL;
  TOON_TRY(resp_map(out, version, known));
  for (size_t i = 2; i < call->count; i++) {
    const command *c = command_find(call_arg(call, i));
    if (command_overfull(call, 0)) return TOON_ENOMEM;
    if (c) TOON_TRY(document(out, version, c));
  }
  return TOON_OK;
}

toon_status command_command_info(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int version = conn_version(call->conn);
  if (call->count == 2) return tell_all(call, false);
  TOON_TRY(resp_array(out, call->count - 2));
  for (size_t i = 2; i < call->count; i++) {
    const command *c = command_find(call_arg(call, i));
    if (command_overfull(call, 0)) return TOON_ENOMEM;
    if (c)
      TOON_TRY(describe(out, version, c));
    else
      TOON_TRY(resp_null(out, version));
  }
  return TOON_OK;
}

/* COMMAND GETKEYS name [argument…] */
toon_status command_command_getkeys(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  resp_parser inner = *call->parser;
  command_call given = *call;
  const command *container;
  inner.args += 2;
  given.parser = &inner;
  given.count = call->count - 2;
  const command *c = command_of(&given, &container);
  if (!c) return resp_error(out, "ERR Invalid command specified");
  if (!c->first) return resp_error(out, "ERR The command has no key arguments");
  if (!command_takes(c, given.count)) return resp_error(out, "ERR Invalid number of arguments specified for command");
  size_t last = c->last < 0 ? given.count - (size_t)-c->last : (size_t)c->last;
  TOON_TRY(resp_array(out, (last - (size_t)c->first) / (size_t)c->step + 1));
  for (size_t i = (size_t)c->first; i <= last; i += (size_t)c->step) TOON_TRY(resp_bulk(out, call_arg(&given, i)));
  return TOON_OK;
}

/* COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern] */
toon_status command_command_list(command_call *call) {
  toon_buf *out = conn_out(call->conn), names = {0};
  enum { EVERY, MODULE, CATEGORY, PATTERN } by = EVERY;
  size_t all, count = 0;
  const command *table = command_table(&all);
  toon_status status = TOON_OK;
  if (call->count == 5 && command_word(call_arg(call, 2), "filterby")) {
    toon_slice what = call_arg(call, 3);
    by = command_word(what, "module")    ? MODULE
         : command_word(what, "aclcat")  ? CATEGORY
         : command_word(what, "pattern") ? PATTERN
                                         : EVERY;
  }
  if (call->count > 2 && by == EVERY) return resp_error(out, "ERR syntax error");
  for (size_t i = 0; i < all && status == TOON_OK; i++) {
    const command *c = &table[i];
    bool listed = by != MODULE && (by != EVERY || !is_subcommand(c));
    if (by == PATTERN) listed = command_matches(call_arg(call, 4), toon_slice_of(c->name, strlen(c->name)));
    if (by == CATEGORY) {
      const char *of[6];
      size_t n = categories(c, of);
      listed = false;
      for (size_t j = 0; j < n; j++) listed = listed || command_word(call_arg(call, 4), of[j] + 1);
    }
    if (!listed) continue;
    count++;
    status = text(&names, c->name);
  }
  if (status == TOON_OK) status = resp_array(out, count);
  if (status == TOON_OK) status = toon_buf_add(out, toon_buf_slice(&names));
  toon_buf_free(&names);
  return status;
}

/* CLIENT without a subcommand never gets here: its arity asks for one. COMMAND has a function of its own. */
toon_status command_container(command_call *call) { return resp_error(conn_out(call->conn), "ERR syntax error"); }
