/* Servers of the Redis protocol over a store of this environment. Each holds its store until it has stopped. What a server
 * tells (logins to be checked, lines for the log) goes through the environment's mailbox. */
#include "convert.h"
#include "functions.h"

#include <fcntl.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace toonstore {

/* Something a server has told, on its way to JavaScript. */
struct ServerEvent {
  Handle handle;
  resp_event_kind kind;
  resp_level level;
  uint64_t conn;
  std::string first, second; /* user and password, or the text */
  ServerEvent *next;
};

namespace {

enum { NOTICES_MAX = 1000 }; /* lines that may wait for a busy JavaScript thread; more are lost, logins are not */

struct Stop : Task {
  Stop(Env *env, Server *s) : Task(env), server(s) {}
  void run() override { resp_server_stop(server->server); }
  void done() override {
    store_release(server->store);
    delete server;
    Task::done();
  }

  Server *server;
};

std::string string_of(toon_slice s) { return s.len ? std::string(reinterpret_cast<const char *>(s.ptr), s.len) : ""; }

/* On the server's thread. */
void on_event(void *ctx, const resp_event *event) {
  Server *server = static_cast<Server *>(ctx);
  Mailbox &mailbox = *server->mailbox;
  bool notice = event->kind == RESP_EVENT_NOTICE;
  ServerEvent *copy = new (std::nothrow) ServerEvent{server->handle,
                                                     event->kind,
                                                     event->level,
                                                     event->conn,
                                                     string_of(notice ? event->text : event->user),
                                                     string_of(event->password),
                                                     nullptr};
  if (!copy) return;
  std::lock_guard<std::mutex> lock(mailbox.mutex);
  if (!mailbox.open || (notice && mailbox.events_waiting >= NOTICES_MAX)) {
    delete copy;
    return;
  }
  copy->next = mailbox.events;
  mailbox.events = copy;
  mailbox.events_waiting++;
  if (mailbox.notified) return;
  mailbox.notified = true;
  napi_call_threadsafe_function(mailbox.notify, nullptr, napi_tsfn_nonblocking);
}

bool make_buffer(Env *e, const std::string &bytes, napi_value *out) {
  return napi_create_buffer_copy(e->env, bytes.size(), bytes.data(), nullptr, out) == napi_ok;
}

Server *server_of(Env *e, napi_value handle) {
  Handle number = 0;
  napi_get_value_int64(e->env, handle, &number);
  Server *server = e->servers.get(number);
  if (!server || env_forked(e)) {
    fail(e, TOON_ECLOSED, "the server is closed");
    return nullptr;
  }
  return server;
}

} // namespace

void server_events_free(ServerEvent *list) {
  while (list) {
    ServerEvent *next = list->next;
    delete list;
    list = next;
  }
}

void server_events_deliver(Env *e, ServerEvent *list) {
  ServerEvent *ordered = nullptr;
  while (list) {
    ServerEvent *next = list->next;
    list->next = ordered;
    ordered = list;
    list = next;
  }
  while (ordered) {
    std::unique_ptr<ServerEvent> event(ordered);
    ordered = event->next;
    napi_handle_scope scope;
    if (napi_open_handle_scope(e->env, &scope) != napi_ok) continue;
    bool notice = event->kind == RESP_EVENT_NOTICE;
    napi_value args[] = {make_number(e, (double)event->handle), make_number(e, event->kind),
                         make_number(e, (double)event->conn), nullptr, nullptr};
    bool made = notice ? napi_create_string_utf8(e->env, event->first.data(), event->first.size(), &args[3]) == napi_ok
                       : make_buffer(e, event->first, &args[3]);
    if (notice)
      args[4] = make_number(e, event->level);
    else
      made = made && make_buffer(e, event->second, &args[4]);
    if (made) env_call(e, e->on_server, 5, args);
    napi_close_handle_scope(e->env, scope);
  }
}

void servers_stop(Env *e) {
  e->servers.each([&](Server *server) {
    resp_server_stop(server->server);
    e->servers.remove(server->handle);
    server->store->busy--; /* its environment closes it next */
    delete server;
  });
}

/* serverStart(store, { host, port, path, maxClients, timeout, keepalive, outputMax, pushMax, level, auth }) -> server */
napi_value js_serverStart(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Store *store = store_of(c.e, c[0]);
  if (!store) return nullptr;
  bool read = true;
  auto number = [&](const char *name) {
    double value = 0;
    read = read && read_property(c.e, c[1], name, &value);
    return value;
  };
  std::string host, path;
  read_property(c.e, c[1], "host", &host); /* undefined: none */
  read_property(c.e, c[1], "path", &path);
  resp_options options = {};
  options.host = host.empty() ? nullptr : host.c_str();
  options.port = static_cast<uint16_t>(number("port"));
  options.path = path.empty() ? nullptr : path.c_str();
  options.max_clients = static_cast<uint32_t>(number("maxClients"));
  options.timeout = static_cast<uint32_t>(number("timeout"));
  options.keepalive = static_cast<uint32_t>(number("keepalive"));
  options.output_max = static_cast<uint64_t>(number("outputMax"));
  options.push_max = static_cast<uint64_t>(number("pushMax"));
  options.cache_rows = static_cast<uint64_t>(number("cacheRows"));
  options.cache_bytes = static_cast<uint64_t>(number("cacheBytes"));
  options.level = static_cast<resp_level>(static_cast<int>(number("level")));
  read = read && read_property(c.e, c[1], "auth", &options.auth);
  if (!read) return nullptr;
  std::unique_ptr<Server> server(new (std::nothrow) Server());
  toon_error err;
  if (!server || !(server->handle = c.e->servers.add(server.get()))) return fail(c.e, TOON_ENOMEM, nullptr);
  server->mailbox = c.e->mailbox;
  options.on_event = on_event;
  options.ctx = server.get();
  if (resp_server_start(store->db, &options, &server->server, &err) != TOON_OK) {
    c.e->servers.remove(server->handle);
    return fail(c.e, &err);
  }
  server->store = store;
  store_hold(store);
  return make_number(c.e, server.release()->handle);
}

/* serverPort(server) -> number */
napi_value js_serverPort(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Server *server = server_of(c.e, c[0]);
  return server ? make_number(c.e, resp_server_port(server->server)) : nullptr;
}

/* serverAnswer(server, connection, role): what was asked by an event; 0 refuses */
napi_value js_serverAnswer(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Server *server = c.e->servers.get(c.handle(0)); /* one that is closed needs no answer */
  if (server)
    resp_server_answer(server->server, static_cast<uint64_t>(c.number(1)), static_cast<resp_role>(c.integer(2)));
  return nullptr;
}

/* serverAdopt(server, address) -> the file descriptor of our end of a new connection */
napi_value js_serverAdopt(napi_env env, napi_callback_info info) {
  Call<2> c(env, info);
  Server *server = server_of(c.e, c[0]);
  if (!server) return nullptr;
  toon_slice text;
  if (!read_text(c.e, c[1], &text)) return nullptr;
  std::string address = string_of(text);
  int ends[2];
  toon_error err;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
    toon_fail(&err, TOON_EIO, "cannot make a pair of sockets");
    err.os_errno = errno;
    err.syscall = "socketpair";
    return fail(c.e, &err);
  }
  for (int fd : ends) fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (resp_server_adopt(server->server, ends[0], address.c_str(), &err) != TOON_OK) {
    close(ends[1]);
    return fail(c.e, &err);
  }
  return make_number(c.e, ends[1]);
}

/* serverStop(server) -> promise */
napi_value js_serverStop(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Server *server = server_of(c.e, c[0]);
  napi_value promise = nullptr;
  if (!server) return nullptr;
  Stop *job = new (std::nothrow) Stop(c.e, server);
  if (!job) return fail(c.e, TOON_ENOMEM, nullptr);
  if (napi_create_promise(env, &job->deferred, &promise) != napi_ok) {
    delete job;
    return nullptr;
  }
  c.e->servers.remove(server->handle);
  job->start("toonstore server stop");
  return promise;
}

} // namespace toonstore
