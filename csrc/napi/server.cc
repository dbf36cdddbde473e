/* Servers of the Redis protocol over a store of this environment. Each holds its store until it has stopped. */
#include "convert.h"
#include "functions.h"

#include <napi.h>
#include <string>

namespace toonstore {

namespace {

struct Stop : Job {
  Stop(Env *env, Server *s) : Job(env), server(s) {}
  void run() override { resp_server_stop(server->server); }
  void done() override {
    napi_value undefined = nullptr;
    store_release(server->store);
    delete server;
    if (napi_get_undefined(e->env, &undefined) == napi_ok) napi_resolve_deferred(e->env, deferred, undefined);
  }

  Server *server;
  napi_deferred deferred = nullptr;
};

} // namespace

void servers_stop(Env *e) {
  e->servers.each([&](Server *server) {
    resp_server_stop(server->server);
    e->servers.remove(server->handle);
    server->store->busy--; /* its environment closes it next */
    delete server;
  });
}

/* serverStart(store, host, port, maxClients) -> server */
napi_value js_serverStart(napi_env env, napi_callback_info info) {
  Call<4> c(env, info);
  Store *store = store_of(c.e, c[0]);
  if (!store) return nullptr;
  std::string host = Napi::Value(env, c[1]).As<Napi::String>().Utf8Value();
  resp_options options = {host.c_str(), (uint16_t)c.integer(2), (uint32_t)c.integer(3)};
  std::unique_ptr<Server> server(new (std::nothrow) Server());
  toon_error err;
  if (!server || !(server->handle = c.e->servers.add(server.get()))) return fail(c.e, TOON_ENOMEM, nullptr);
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
  Server *server = c.e->servers.get(c.integer(0));
  return server ? make_number(c.e, resp_server_port(server->server)) : fail(c.e, TOON_ECLOSED, "the server is closed");
}

/* serverStop(server) -> promise */
napi_value js_serverStop(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Server *server = c.e->servers.get(c.integer(0));
  napi_value promise = nullptr;
  if (!server) return fail(c.e, TOON_ECLOSED, "the server is closed");
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
