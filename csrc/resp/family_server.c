/* Commands about the server and the store: INFO, CONFIG, upkeep, sizes. */
#include "resp/connection.h"

#include <stdio.h>
#include <unistd.h>

static toon_status text(toon_buf *out, const char *s) { return resp_bulk(out, toon_slice_of(s, strlen(s))); }
static toon_status ok(const command_call *call) { return resp_status(conn_out(call->conn), "OK"); }
#define SYNTAX_ERROR "ERR syntax error"

toon_status command_time(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  int64_t now = toon_now(call->db);
  char digits[24];
  TOON_TRY(resp_array(out, 2));
  snprintf(digits, sizeof digits, "%lld", (long long)(now / 1000));
  TOON_TRY(text(out, digits));
  snprintf(digits, sizeof digits, "%lld", (long long)(now % 1000 * 1000));
  return text(out, digits);
}

/* ---- facts ---- */

/* The engine's counters as lines: {"log":{"liveBytes":98}} is log_live_bytes:98. */
static toon_status flatten(toon_slice json, toon_buf *out) {
  char path[4][32] = {{0}};
  size_t depth = 0;
  for (size_t i = 0; i < json.len; i++) {
    if (json.ptr[i] == '{') {
      if (i) depth++;
    } else if (json.ptr[i] == '}') {
      if (depth) depth--;
    } else if (json.ptr[i] == '"' && depth < 4) { /* a name, a colon, and a value or an object */
      size_t n = 0;
      for (i++; i < json.len && json.ptr[i] != '"'; i++) {
        uint8_t c = json.ptr[i];
        if (n + 2 < sizeof path[0] && c >= 'A' && c <= 'Z') path[depth][n++] = '_';
        if (n + 1 < sizeof path[0]) path[depth][n++] = (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
      }
      path[depth][n] = 0;
      i += 2;
      if (i >= json.len || json.ptr[i] == '{') {
        i--;
        continue;
      }
      bool quoted = json.ptr[i] == '"';
      size_t from = i += quoted;
      while (i < json.len && (quoted ? json.ptr[i] != '"' : json.ptr[i] != ',' && json.ptr[i] != '}'))
        i += quoted && json.ptr[i] == '\\' ? 2 : 1;
      for (size_t d = 0; d <= depth; d++) TOON_TRY(toon_buf_printf(out, "%s%s", d ? "_" : "", path[d]));
      TOON_TRY(toon_buf_printf(out, ":%.*s\r\n", (int)(i - from), (const char *)json.ptr + from));
      i -= !quoted;
    }
  }
  return TOON_OK;
}

typedef struct facts {
  resp_server *server;
  const toon_buf *stats;
  uint64_t keys;
  size_t memory;
  uint64_t uptime; /* seconds */
} facts;

static toon_status info_server(toon_buf *out, const facts *f) {
  return toon_buf_printf(
      out,
      "redis_version:7.0.0\r\nredis_mode:standalone\r\nos:%s\r\narch_bits:%zu\r\nmultiplexing_api:libuv "
      "%s\r\nprocess_id:%lld\r\ntcp_port:%u\r\nuptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\n"
      "toonstore_version:%s\r\n",
#ifdef __APPLE__
      "Darwin",
#else
      "Linux",
#endif
      sizeof(void *) * 8, uv_version_string(), (long long)getpid(), f->server->port, (unsigned long long)f->uptime,
      (unsigned long long)f->uptime / 86400, TOON_VERSION);
}

static toon_status info_clients(toon_buf *out, const facts *f) {
  return toon_buf_printf(out, "connected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:0\r\n", f->server->conn_count,
                         f->server->options.max_clients);
}

static toon_status info_memory(toon_buf *out, const facts *f) {
  return toon_buf_printf(out,
                         "used_memory:%zu\r\nused_memory_human:%.2fM\r\nused_memory_rss:%zu\r\nmaxmemory:0\r\n"
                         "maxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\n",
                         f->memory, (double)f->memory / (1 << 20), f->memory);
}

static toon_status info_persistence(toon_buf *out, const facts *f) {
  resp_server *server = f->server;
  uv_mutex_lock(&server->mutex);
  bool saving = server->upkeep_wanted[UPKEEP_CHECKPOINT] || server->upkeep_running[UPKEEP_CHECKPOINT];
  bool compacting = server->upkeep_wanted[UPKEEP_COMPACT] || server->upkeep_running[UPKEEP_COMPACT];
  bool failed = server->last_save_failed;
  int64_t last = server->last_save;
  uv_mutex_unlock(&server->mutex);
  return toon_buf_printf(out,
                         "loading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%lld\r\n"
                         "rdb_last_bgsave_status:%s\r\naof_enabled:1\r\naof_rewrite_in_progress:%d\r\n"
                         "aof_last_write_status:ok\r\n",
                         saving, (long long)last, failed ? "err" : "ok", compacting);
}

static toon_status info_stats(toon_buf *out, const facts *f) {
  const server_counters *c = &f->server->counters;
  int64_t expired = 0;
  (void)resp_integer(server_stat(f->stats, "rowsExpired"), &expired);
  return toon_buf_printf(
      out,
      "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
      "instantaneous_ops_per_sec:%llu\r\ntotal_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\n"
      "rejected_connections:%llu\r\nexpired_keys:%lld\r\nevicted_keys:0\r\nkeyspace_hits:%llu\r\nkeyspace_misses:%"
      "llu\r\n"
      "total_error_replies:%llu\r\n",
      (unsigned long long)c->connections, (unsigned long long)c->commands,
      (unsigned long long)f->server->commands_per_second, (unsigned long long)c->in_bytes,
      (unsigned long long)c->out_bytes, (unsigned long long)c->rejected, (long long)(expired - c->expired),
      (unsigned long long)c->hits, (unsigned long long)c->misses, (unsigned long long)c->errors);
}

static toon_status info_replication(toon_buf *out, const facts *f) {
  (void)f;
  return toon_buf_lit(out, "role:master\r\nconnected_slaves:0\r\n");
}

static toon_status info_cpu(toon_buf *out, const facts *f) {
  uv_rusage_t used = {0};
  (void)f;
  uv_getrusage(&used);
  return toon_buf_printf(out, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n", (long)used.ru_stime.tv_sec,
                         (long)used.ru_stime.tv_usec, (long)used.ru_utime.tv_sec, (long)used.ru_utime.tv_usec);
}

static toon_status info_keyspace(toon_buf *out, const facts *f) {
  if (!f->keys) return TOON_OK;
  return toon_buf_printf(out, "db0:keys=%llu,expires=0,avg_ttl=0\r\n", (unsigned long long)f->keys);
}

static toon_status info_toonstore(toon_buf *out, const facts *f) { return flatten(toon_buf_slice(f->stats), out); }

static const struct {
  const char *name, *title;
  toon_status (*write)(toon_buf *out, const facts *f);
} sections[] = {{"server", "Server", info_server},
                {"clients", "Clients", info_clients},
                {"memory", "Memory", info_memory},
                {"persistence", "Persistence", info_persistence},
                {"stats", "Stats", info_stats},
                {"replication", "Replication", info_replication},
                {"cpu", "CPU", info_cpu},
                {"keyspace", "Keyspace", info_keyspace},
                {"toonstore", "Toonstore", info_toonstore}};
enum { SECTIONS = sizeof sections / sizeof *sections };

/* INFO [section…] */
toon_status command_info(command_call *call) {
  toon_buf lines = {0}, stats = {0};
  toon_error err;
  resp_server *server = call->conn->server;
  facts f = {.server = server, .stats = &stats};
  toon_status status = toon_size(call->db, TOON_SPACE_USER, &f.keys, &err);
  if (status == TOON_OK) status = toon_stats(call->db, &stats, &err);
  if (status != TOON_OK) {
    toon_buf_free(&stats);
    return command_fail(call, &err);
  }
  uv_resident_set_memory(&f.memory);
  f.uptime = (uv_now(&server->loop) - server->started) / 1000;
  for (size_t s = 0; s < SECTIONS && status == TOON_OK; s++) {
    bool wanted = call->count == 1;
    for (size_t i = 1; i < call->count && !wanted; i++) {
      toon_slice name = call_arg(call, i);
      wanted = command_word(name, sections[s].name) || command_word(name, "all") || command_word(name, "default") ||
               command_word(name, "everything");
    }
    if (!wanted) continue;
    status = toon_buf_printf(&lines, "%s# %s\r\n", lines.len ? "\r\n" : "", sections[s].title);
    if (status == TOON_OK) status = sections[s].write(&lines, &f);
  }
  if (status == TOON_OK) status = resp_text(conn_out(call->conn), conn_version(call->conn), toon_buf_slice(&lines));
  toon_buf_free(&lines);
  toon_buf_free(&stats);
  return status;
}

/* ---- CONFIG ---- */

typedef struct setting {
  const char *name;
  const char *fixed;                                         /* its value, if it is always the same */
  toon_status (*read)(resp_server *server, toon_buf *value); /* else */
  uint32_t *(*number)(resp_server *server);                  /* or the number that it is, and that can be changed */
  uint32_t least, most;
} setting;

static uint32_t *max_clients_of(resp_server *server) { return &server->options.max_clients; }
static uint32_t *timeout_of(resp_server *server) { return &server->options.timeout; }
static uint32_t *keepalive_of(resp_server *server) { return &server->options.keepalive; }

static toon_status read_port(resp_server *server, toon_buf *value) {
  return toon_buf_printf(value, "%u", server->port);
}
static toon_status read_path(resp_server *server, toon_buf *value) {
  return toon_buf_printf(value, "%s", server->path ? server->path : "");
}
static toon_status read_directory(resp_server *server, toon_buf *value) {
  return toon_buf_printf(value, "%s", toon_directory(server->db));
}
static toon_status read_output(resp_server *server, toon_buf *value) {
  unsigned long long push = server->options.push_max;
  return toon_buf_printf(value, "normal %llu 0 0 slave 0 0 0 pubsub %llu %llu 60",
                         (unsigned long long)server->options.output_max, push, push / 4);
}
static toon_status read_sync(resp_server *server, toon_buf *value) {
  toon_buf word = {0};
  toon_error err;
  toon_status status = server_durability(server->db, &word, &err);
  if (status == TOON_OK) {
    status = toon_buf_printf(value, "%s",
                             command_word(toon_buf_slice(&word), "commit")     ? "always"
                             : command_word(toon_buf_slice(&word), "interval") ? "everysec"
                                                                               : "no");
  }
  toon_buf_free(&word);
  return status;
}
static toon_status read_level(resp_server *server, toon_buf *value) {
  static const char *const names[] = {"debug", "notice", "warning"};
  return toon_buf_printf(value, "%s", names[server->options.level]);
}

static const setting settings[] = {
    {"appendfsync", NULL, read_sync, NULL, 0, 0},
    {"appendonly", "yes", NULL, NULL, 0, 0},
    {"client-output-buffer-limit", NULL, read_output, NULL, 0, 0},
    {"databases", "1", NULL, NULL, 0, 0},
    {"dir", NULL, read_directory, NULL, 0, 0},
    {"loglevel", NULL, read_level, NULL, 0, 0},
    {"maxclients", NULL, NULL, max_clients_of, 1, 1000000},
    {"maxmemory", "0", NULL, NULL, 0, 0},
    {"maxmemory-policy", "noeviction", NULL, NULL, 0, 0},
    {"notify-keyspace-events", "", NULL, NULL, 0, 0},
    {"port", NULL, read_port, NULL, 0, 0},
    {"proto-max-bulk-len", "536870912", NULL, NULL, 0, 0},
    {"save", "", NULL, NULL, 0, 0},
    {"tcp-keepalive", NULL, NULL, keepalive_of, 0, 86400},
    {"timeout", NULL, NULL, timeout_of, 0, 100000000},
    {"unixsocket", NULL, read_path, NULL, 0, 0},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static toon_status read_setting(resp_server *server, const setting *s, toon_buf *value) {
  value->len = 0;
  if (s->fixed) return toon_buf_printf(value, "%s", s->fixed);
  return s->number ? toon_buf_printf(value, "%u", *s->number(server)) : s->read(server, value);
}

/* CONFIG GET pattern… */
toon_status command_config_get(command_call *call) {
  toon_buf *out = conn_out(call->conn), value = {0};
  bool wanted[SETTINGS];
  size_t count = 0;
  for (size_t s = 0; s < SETTINGS; s++) {
    toon_slice name = toon_slice_of(settings[s].name, strlen(settings[s].name));
    wanted[s] = false;
    for (size_t i = 2; i < call->count && !wanted[s]; i++)
      wanted[s] = command_matches(call_arg(call, i), name) || command_word(call_arg(call, i), settings[s].name);
    count += wanted[s];
  }
  toon_status status = resp_map(out, conn_version(call->conn), count);
  for (size_t s = 0; s < SETTINGS && status == TOON_OK; s++) {
    if (!wanted[s]) continue;
    status = text(out, settings[s].name);
    if (status == TOON_OK) status = read_setting(call->conn->server, &settings[s], &value);
    if (status == TOON_OK) status = resp_bulk(out, toon_buf_slice(&value));
  }
  toon_buf_free(&value);
  return status;
}

static toon_status cannot_set(toon_buf *out, const char *name, const char *why) {
  return resp_error(out, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", name, why);
}

static const setting *find_setting(toon_slice name) {
  for (size_t i = 0; i < SETTINGS; i++)
    if (command_word(name, settings[i].name)) return &settings[i];
  return NULL;
}

/* One pair of CONFIG SET; false with the error reply. Changes something only with `now`. */
static bool set_setting(command_call *call, size_t i, bool now, toon_status *status) {
  toon_buf *out = conn_out(call->conn), old = {0};
  toon_slice name = call_arg(call, i), value = call_arg(call, i + 1);
  const setting *s = find_setting(name);
  if (!s) {
    *status = resp_error(out, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                         (int)(name.len < 128 ? name.len : 128), (const char *)name.ptr);
    return false;
  }
  if (s->number) {
    int64_t number;
    bool integer = resp_integer(value, &number);
    if (!integer)
      *status = cannot_set(out, s->name, "argument couldn't be parsed into an integer");
    else if (number < s->least || number > s->most)
      *status = resp_error(
          out,
          "ERR CONFIG SET failed (possibly related to argument '%s') - argument must be between %u and %u inclusive",
          s->name, s->least, s->most);
    else if (now)
      *s->number(call->conn->server) = (uint32_t)number;
    return integer && number >= s->least && number <= s->most;
  }
  /* What cannot be changed may be set to what it is. */
  *status = read_setting(call->conn->server, s, &old);
  bool same = *status == TOON_OK && toon_slice_eq(value, toon_buf_slice(&old));
  toon_buf_free(&old);
  if (*status == TOON_OK && !same) *status = cannot_set(out, s->name, "can't set immutable config");
  return same;
}

/* CONFIG SET name value…: all or nothing */
toon_status command_config_set(command_call *call) {
  toon_status status;
  if (call->count % 2) return resp_error(conn_out(call->conn), SYNTAX_ERROR);
  for (size_t i = 2; i < call->count; i += 2) {
    if (!set_setting(call, i, false, &status)) return status;
    const setting *s = find_setting(call_arg(call, i));
    for (size_t j = 2; j < i; j += 2)
      if (find_setting(call_arg(call, j)) == s) return cannot_set(conn_out(call->conn), s->name, "duplicate parameter");
  }
  for (size_t i = 2; i < call->count; i += 2) (void)set_setting(call, i, true, &status);
  return ok(call);
}

toon_status command_config_resetstat(command_call *call) {
  resp_server *server = call->conn->server;
  toon_buf stats = {0};
  toon_error err;
  server_counters zero = {0};
  if (toon_stats(call->db, &stats, &err) != TOON_OK) return command_fail(call, &err);
  (void)resp_integer(server_stat(&stats, "rowsExpired"), &zero.expired);
  toon_buf_free(&stats);
  server->counters = zero;
  server->commands_before = 0;
  return ok(call);
}

/* ---- upkeep ---- */

/* SAVE: a checkpoint, waited for. */
toon_status command_save(command_call *call) {
  resp_conn *conn = call->conn;
  int answer;
  if (conn_answered(conn, &answer)) {
    if (answer == TOON_OK) return ok(call);
    return resp_error(conn_out(conn), "%s %s", toon_status_resp((toon_status)answer),
                      toon_status_text((toon_status)answer));
  }
  if (!server_upkeep(conn->server, UPKEEP_CHECKPOINT, conn->id))
    return resp_error(conn_out(conn), "ERR Background save already in progress");
  conn_ask(conn);
  return TOON_OK;
}

toon_status command_bgsave(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  if (call->count > 2 || (call->count == 2 && !command_word(call_arg(call, 1), "schedule")))
    return resp_error(out, SYNTAX_ERROR);
  if (!server_upkeep(call->conn->server, UPKEEP_CHECKPOINT, 0))
    return resp_error(out, "ERR Background save already in progress");
  return resp_status(out, "Background saving started");
}

toon_status command_bgrewriteaof(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  if (!server_upkeep(call->conn->server, UPKEEP_COMPACT, 0))
    return resp_error(out, "ERR Background append only file rewriting already in progress");
  return resp_status(out, "Background append only file rewriting started");
}

toon_status command_lastsave(command_call *call) {
  resp_server *server = call->conn->server;
  uv_mutex_lock(&server->mutex);
  int64_t last = server->last_save;
  uv_mutex_unlock(&server->mutex);
  return resp_int(conn_out(call->conn), last);
}

/* SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE]: whoever runs the server ends it, which closes the connection. What has been
 * acknowledged is kept in any case. */
toon_status command_shutdown(command_call *call) {
  resp_conn *conn = call->conn;
  bool save = false, nosave = false;
  for (size_t i = 1; i < call->count; i++) {
    toon_slice arg = call_arg(call, i);
    save |= command_word(arg, "save");
    nosave |= command_word(arg, "nosave");
    if (save && nosave) return resp_error(conn_out(conn), SYNTAX_ERROR);
    if (command_word(arg, "abort")) return resp_error(conn_out(conn), "ERR No shutdown in progress.");
    if (!command_word(arg, "nosave") && !command_word(arg, "save") && !command_word(arg, "now") &&
        !command_word(arg, "force"))
      return resp_error(conn_out(conn), SYNTAX_ERROR);
  }
  conn_ask(conn); /* nothing answers */
  server_event(conn->server, &(resp_event){.kind = RESP_EVENT_SHUTDOWN, .conn = conn->id});
  return TOON_OK;
}

/* ---- one key seen from inside ---- */

enum { ENTRY_BYTES = 56, EMBEDDED_MAX = 44 }; /* of the index, about; the longest string that Redis calls embstr */

/* The row of an argument; if there is none, the reply is null. */
static toon_status find_row(command_call *call, size_t i, data_row *row, bool *found) {
  toon_key key;
  TOON_TRY(command_key(call, i, &key));
  TOON_TRY(data_get(call, key, row, found));
  return *found ? TOON_OK : resp_null(call->out, conn_version(call->conn));
}

/* MEMORY USAGE key [SAMPLES count]: of its row in the log and its entry of the index */
toon_status command_memory_usage(command_call *call) {
  data_row row;
  bool found;
  int64_t samples;
  if (call->count != 3 && (call->count != 5 || !command_word(call_arg(call, 3), "samples")))
    return command_syntax_error(call);
  if (call->count == 5 && !resp_integer(call_arg(call, 4), &samples))
    return command_error(call, "ERR value is not an integer or out of range");
  if (call->count == 5 && samples < 0) return command_syntax_error(call);
  TOON_TRY(find_row(call, 2, &row, &found));
  size_t bytes = row.row.field.len + call_arg(call, 2).len + ENTRY_BYTES;
  data_release(call, &row);
  return found ? resp_int(call->out, (int64_t)bytes) : TOON_OK;
}

toon_status command_object_encoding(command_call *call) {
  data_row row;
  toon_buf value = {0};
  toon_error err;
  int64_t number;
  bool found;
  TOON_TRY(find_row(call, 2, &row, &found));
  if (!found) return TOON_OK;
  bool object = toon_row_kind(&row.row) == TOON_OBJECT;
  toon_status status = toon_row_value(&row.row, &value, &err);
  data_release(call, &row);
  const char *name = object                                          ? "hashtable"
                     : resp_integer(toon_buf_slice(&value), &number) ? "int"
                     : value.len <= EMBEDDED_MAX                     ? "embstr"
                                                                     : "raw";
  toon_buf_free(&value);
  return status == TOON_OK ? text(call->out, name) : command_fail(call, &err);
}

static toon_status object_number(command_call *call, int64_t number, const char *wrong) {
  data_row row;
  bool found;
  TOON_TRY(find_row(call, 2, &row, &found));
  data_release(call, &row);
  if (!found) return TOON_OK;
  return wrong ? command_error(call, "%s", wrong) : resp_int(call->out, number);
}

toon_status command_object_refcount(command_call *call) { return object_number(call, 1, NULL); }
toon_status command_object_idletime(command_call *call) { return object_number(call, 0, NULL); } /* nobody notes it */
toon_status command_object_freq(command_call *call) {
  return object_number(
      call, 0,
      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when "
      "switching between policies at runtime LRU and LFU data will take some time to adjust.");
}

/* What a container knows: CLIENT HELP and its kin. */
toon_status command_help(command_call *call) {
  toon_buf *out = conn_out(call->conn);
  size_t all, lines = 1;
  const command *table = command_table(&all), *container = command_find(call_arg(call, 0));
  if (!container) return resp_error(out, SYNTAX_ERROR);
  size_t len = strlen(container->name);
  const command *end = container + 1;
  while (end < table + all && strncmp(end->name, container->name, len) == 0 && end->name[len] == '|') end++;
  for (const command *c = container + 1; c < end; c++) lines += 2;
  TOON_TRY(resp_array(out, lines));
  TOON_TRY(resp_status(out, "Subcommands are:"));
  for (const command *c = container + 1; c < end; c++) {
    char name[32];
    snprintf(name, sizeof name, "%s", c->name + len + 1);
    for (char *p = name; *p; p++)
      if (*p >= 'a' && *p <= 'z') *p &= ~32;
    TOON_TRY(resp_status(out, name));
    TOON_TRY(toon_buf_printf(out, "+    %s.\r\n", c->summary));
  }
  return TOON_OK;
}
