/* The server: its start and end, its listeners and threads, what other threads tell it, and upkeep. */
#include "resp/connection.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 511, CLOCK_MS = 1000 };

/* ---- what the outside is told ---- */

void server_event(resp_server *server, const resp_event *event) {
  if (server->options.on_event) server->options.on_event(server->options.ctx, event);
}

void server_notice(resp_server *server, resp_level level, const char *fmt, ...) {
  char text[512];
  va_list args;
  if (level < server->options.level) return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  server_event(server,
               &(resp_event){.kind = RESP_EVENT_NOTICE, .text = toon_slice_of(text, strlen(text)), .level = level});
}

toon_slice server_stat(const toon_buf *stats, const char *name) {
  size_t len = strlen(name);
  for (size_t i = 1; i + len + 2 < stats->len; i++) {
    const uint8_t *p = stats->ptr + i;
    if (p[-1] != '"' || memcmp(p, name, len) != 0 || p[len] != '"' || p[len + 1] != ':') continue;
    p += len + 2 + (p[len + 2] == '"');
    size_t n = 0;
    while (p + n < stats->ptr + stats->len && !strchr("\",}", p[n])) n++;
    return toon_slice_of(p, n);
  }
  return TOON_SLICE_LIT("");
}

toon_status server_durability(toon_db *db, toon_buf *out, toon_error *err) {
  toon_buf json = {0};
  toon_status status = toon_stats(db, &json, err);
  if (status == TOON_OK) status = toon_buf_add(out, server_stat(&json, "durability"));
  toon_buf_free(&json);
  return status;
}

/* ---- what the outside tells ---- */

void resp_server_answer(resp_server *server, uint64_t conn, resp_role role) {
  uv_mutex_lock(&server->mutex);
  if (server->logins_done_count < LOGINS_MAX)
    server->logins_done[server->logins_done_count++] = (server_answer){conn, (int)role};
  uv_mutex_unlock(&server->mutex);
  uv_async_send(&server->wake);
}

toon_status resp_server_adopt(resp_server *server, int fd, const char *address, toon_error *err) {
  server_adopted *a = (server_adopted *)toon_malloc(sizeof *a);
  if (!a) {
    close(fd);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  a->next = NULL;
  a->fd = fd;
  snprintf(a->address, sizeof a->address, "%s", address);
  uv_mutex_lock(&server->mutex);
  *server->adopted_end = a;
  server->adopted_end = &a->next;
  uv_mutex_unlock(&server->mutex);
  uv_async_send(&server->wake);
  return TOON_OK;
}

/* ---- upkeep ---- */

/* Compaction ends early with the server. */
static bool goes_on(void *ctx, double done) {
  resp_server *server = (resp_server *)ctx;
  (void)done;
  uv_mutex_lock(&server->mutex);
  bool end = server->upkeep_end;
  uv_mutex_unlock(&server->mutex);
  return !end;
}

static void upkeep_main(void *ctx) {
  resp_server *server = (resp_server *)ctx;
  for (;;) {
    uv_sem_wait(&server->upkeep);
    upkeep_kind kind = UPKEEP_CHECKPOINT;
    uv_mutex_lock(&server->mutex);
    bool end = server->upkeep_end;
    while (kind < UPKEEP_KINDS && !server->upkeep_wanted[kind]) kind++;
    if (kind < UPKEEP_KINDS) {
      server->upkeep_wanted[kind] = false;
      server->upkeep_running[kind] = true;
    }
    uv_mutex_unlock(&server->mutex);
    if (end) return;
    if (kind == UPKEEP_KINDS) continue;
    toon_error err;
    toon_status status =
        kind == UPKEEP_CHECKPOINT ? toon_checkpoint(server->db, &err) : toon_compact(server->db, goes_on, server, &err);
    uv_mutex_lock(&server->mutex);
    uint64_t waiter = server->upkeep_waiter[kind];
    server->upkeep_running[kind] = false;
    server->upkeep_waiter[kind] = 0;
    if (kind == UPKEEP_CHECKPOINT) {
      server->last_save_failed = status != TOON_OK;
      if (status == TOON_OK) server->last_save = toon_now(server->db) / 1000;
    }
    if (waiter) server->upkeep_done[kind] = (server_answer){waiter, (int)status};
    uv_mutex_unlock(&server->mutex);
    if (waiter) uv_async_send(&server->wake);
  }
}

bool server_upkeep(resp_server *server, upkeep_kind kind, uint64_t conn) {
  uv_mutex_lock(&server->mutex);
  bool free_now = !server->upkeep_wanted[kind] && !server->upkeep_running[kind] && !server->upkeep_done[kind].conn;
  if (free_now) {
    server->upkeep_wanted[kind] = true;
    server->upkeep_waiter[kind] = conn;
  }
  uv_mutex_unlock(&server->mutex);
  if (free_now) uv_sem_post(&server->upkeep);
  return free_now;
}

/* ---- the loop ---- */

void server_accept(resp_server *server, bool pipe) {
  uv_stream_t *listener = pipe ? (uv_stream_t *)&server->pipe : (uv_stream_t *)&server->tcp;
  conn_accept(server, listener, -1, pipe ? server->path : NULL);
}

static void on_connection(uv_stream_t *listener, int status) {
  resp_server *server = (resp_server *)listener->data;
  if (status < 0 || server->closing) return;
  server_accept(server, listener->type != UV_TCP);
}

static void close_handle(uv_handle_t *handle) {
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void close_all(resp_server *server) {
  while (server->conns) conn_close(server->conns);
  close_handle((uv_handle_t *)&server->tcp);
  close_handle((uv_handle_t *)&server->pipe);
  close_handle((uv_handle_t *)&server->wake);
  close_handle((uv_handle_t *)&server->clock);
  close_handle((uv_handle_t *)&server->hold);
  close_handle((uv_handle_t *)&server->after_poll);
}

static void take_adopted(resp_server *server, server_adopted *list) {
  while (list) {
    server_adopted *a = list;
    list = a->next;
    if (server->closing)
      close(a->fd);
    else
      conn_accept(server, NULL, a->fd, a->address);
    toon_free(a);
  }
}

static void on_wake(uv_async_t *handle) {
  resp_server *server = (resp_server *)handle->data;
  uv_mutex_lock(&server->mutex);
  bool done = server->done, stopping = server->stopping;
  server_adopted *adopted = server->adopted;
  server_answer logins[LOGINS_MAX], upkeep[UPKEEP_KINDS];
  size_t login_count = server->logins_done_count;
  memcpy(logins, server->logins_done, login_count * sizeof *logins);
  memcpy(upkeep, server->upkeep_done, sizeof upkeep);
  memset(server->upkeep_done, 0, sizeof upkeep);
  server->logins_done_count = 0;
  server->done = false;
  server->adopted = NULL;
  server->adopted_end = &server->adopted;
  uv_mutex_unlock(&server->mutex);
  if (stopping && !server->closing) {
    server->closing = true;
    close_handle((uv_handle_t *)&server->tcp);
    close_handle((uv_handle_t *)&server->pipe); /* libuv removes the socket's file */
    for (resp_conn *conn = server->conns; conn; conn = conn->next) uv_read_stop(&conn->io.stream);
  }
  take_adopted(server, adopted);
  for (size_t i = 0; i < UPKEEP_KINDS; i++) conn_answer(server, upkeep[i].conn, upkeep[i].value);
  for (size_t i = 0; i < login_count; i++) {
    conn_answer(server, logins[i].conn, logins[i].value);
    conns_login_done(server);
  }
  if (done) turn_finish(server, NULL);
  turn_submit(server);
  turn_end(server);
  if (server->closing && !server->in_flight) close_all(server);
}

static void on_turn_end(uv_check_t *handle) {
  resp_server *server = (resp_server *)handle->data;
  if (server->ready) conns_work_ready(server);
  turn_end(server);
  if (server->pushed) conns_flush_pushed(server);
}

static void on_clock(uv_timer_t *timer) {
  resp_server *server = (resp_server *)timer->data;
  server->commands_per_second = (server->counters.commands - server->commands_before) * 1000 / CLOCK_MS;
  server->commands_before = server->counters.commands;
  conns_check(server);
}

static void loop_main(void *ctx) {
  resp_server *server = (resp_server *)ctx;
  uv_run(&server->loop, UV_RUN_DEFAULT);
}

/* ---- start and stop ---- */

static toon_status fail_uv(toon_error *err, int code, const char *call, const char *where) {
  toon_fail(err, TOON_EIO, "cannot listen on %s: %s", where, uv_strerror(code));
  if (err) {
    err->os_errno = -code;
    err->syscall = call;
  }
  return TOON_EIO;
}

static toon_status listen_tcp(resp_server *server, const resp_options *options, toon_error *err) {
  struct sockaddr_storage address;
  int length = sizeof address, code;
  char where[96];
  snprintf(where, sizeof where, "%s port %u", options->host, options->port);
  if (uv_ip4_addr(options->host, options->port, (struct sockaddr_in *)&address) != 0 &&
      uv_ip6_addr(options->host, options->port, (struct sockaddr_in6 *)&address) != 0)
    return toon_fail(err, TOON_EINVAL, "'%s' is no IP address", options->host);
  code = uv_tcp_bind(&server->tcp, (struct sockaddr *)&address, 0);
  if (code < 0) return fail_uv(err, code, "bind", where);
  code = uv_listen((uv_stream_t *)&server->tcp, BACKLOG, on_connection);
  if (code < 0) return fail_uv(err, code, "listen", where);
  uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&address, &length);
  server->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                     : ((struct sockaddr_in *)&address)->sin_port);
  return TOON_OK;
}

/* A socket's file that nobody listens on is what a dead server has left: it is removed. Another file is not. */
static void remove_stale(const char *path) {
  struct stat facts;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path || lstat(path, &facts) != 0 || !S_ISSOCK(facts.st_mode)) return;
  memcpy(address.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return;
  bool dead = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno == ECONNREFUSED;
  close(fd);
  if (dead) unlink(path);
}

static toon_status listen_pipe(resp_server *server, const resp_options *options, toon_error *err) {
  server->path = toon_strdup(options->path);
  if (!server->path) return toon_fail(err, TOON_ENOMEM, NULL);
  remove_stale(options->path);
  int code = uv_pipe_bind(&server->pipe, options->path);
  if (code < 0) return fail_uv(err, code, "bind", options->path);
  /* Nobody can connect before listen. */
  if (chmod(options->path, S_IRUSR | S_IWUSR) < 0)
    return fail_uv(err, uv_translate_sys_error(errno), "chmod", options->path);
  code = uv_listen((uv_stream_t *)&server->pipe, BACKLOG, on_connection);
  return code < 0 ? fail_uv(err, code, "listen", options->path) : TOON_OK;
}

static void server_free(resp_server *server) {
  uv_loop_close(&server->loop);
  server->closing = true;
  take_adopted(server, server->adopted);
  uv_sem_destroy(&server->lead);
  uv_sem_destroy(&server->upkeep);
  uv_mutex_destroy(&server->mutex);
  for (int i = 0; i < 2; i++) turn_free(&server->turns[i]);
  while (server->spare_count) toon_buf_free(&server->spares[--server->spare_count]);
  scans_free(server->scans);
  toon_cache_close(server->cache);
  toon_buf_free(&server->value);
  pubsub_free(&server->pubsub);
  toon_free(server->path);
  toon_free(server);
}

static void end_thread(resp_server *server, bool *flag, uv_sem_t *sem, uv_thread_t *thread) {
  uv_mutex_lock(&server->mutex);
  *flag = true;
  uv_mutex_unlock(&server->mutex);
  uv_sem_post(sem);
  uv_thread_join(thread);
}

toon_status resp_server_start(toon_db *db, const resp_options *options, resp_server **out, toon_error *err) {
  resp_server *server = (resp_server *)toon_calloc(1, sizeof *server);
  if (!server) return toon_fail(err, TOON_ENOMEM, NULL);
  server->db = db;
  server->options = *options;
  server->adopted_end = &server->adopted;
  server->queued_end = &server->queued;
  server->ready_end = &server->ready;
  if (uv_loop_init(&server->loop) < 0) {
    toon_free(server);
    return toon_fail(err, TOON_ENOMEM, "cannot make a loop");
  }
  uv_tcp_init(&server->loop, &server->tcp);
  uv_pipe_init(&server->loop, &server->pipe, 0);
  uv_check_init(&server->loop, &server->after_poll);
  uv_timer_init(&server->loop, &server->clock);
  uv_timer_init(&server->loop, &server->hold);
  uv_async_init(&server->loop, &server->wake, on_wake);
  server->tcp.data = server->pipe.data = server->after_poll.data = server->wake.data = server->clock.data =
      server->hold.data = server;
  uv_check_start(&server->after_poll, on_turn_end);
  uv_timer_start(&server->clock, on_clock, CLOCK_MS, CLOCK_MS);
  uv_mutex_init(&server->mutex);
  uv_sem_init(&server->lead, 0);
  uv_sem_init(&server->upkeep, 0);
  server->started = uv_now(&server->loop);
  server->last_save = toon_now(db) / 1000;
  toon_buf durability = {0};
  toon_status status = server_durability(db, &durability, err);
  server->relaxed = status == TOON_OK && !command_word(toon_buf_slice(&durability), "commit");
  toon_buf_free(&durability);
  if (status == TOON_OK && options->cache_rows && options->cache_bytes)
    status = toon_cache_open(db, options->cache_rows, options->cache_bytes, &server->cache, err);
  if (status == TOON_OK && options->host) status = listen_tcp(server, options, err);
  if (status == TOON_OK && options->path) status = listen_pipe(server, options, err);
  bool leading = false, keeping = false;
  if (status == TOON_OK) {
    leading = uv_thread_create(&server->lead_thread, turn_lead, server) == 0;
    keeping = uv_thread_create(&server->upkeep_thread, upkeep_main, server) == 0;
    if (leading && keeping && uv_thread_create(&server->loop_thread, loop_main, server) == 0) {
      *out = server;
      return TOON_OK;
    }
    status = toon_fail(err, TOON_ENOMEM, "cannot start a thread");
  }
  if (leading) end_thread(server, &server->lead_end, &server->lead, &server->lead_thread);
  if (keeping) end_thread(server, &server->upkeep_end, &server->upkeep, &server->upkeep_thread);
  close_all(server);
  uv_run(&server->loop, UV_RUN_DEFAULT);
  server_free(server);
  return status;
}

uint16_t resp_server_port(const resp_server *server) { return server->port; }

void resp_server_stop(resp_server *server) {
  uv_mutex_lock(&server->mutex);
  server->stopping = true;
  uv_mutex_unlock(&server->mutex);
  uv_async_send(&server->wake);
  uv_thread_join(&server->loop_thread);
  end_thread(server, &server->upkeep_end, &server->upkeep, &server->upkeep_thread);
  end_thread(server, &server->lead_end, &server->lead, &server->lead_thread);
  server_free(server);
}
