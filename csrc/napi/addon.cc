/* The addon's entry: an Env per environment, and the table of functions on the exports.
 *
 * Only the registration is node-addon-api's. Its wrappers throw when a call fails, and where JavaScript cannot run any
 * more because a worker is being terminated, that throw fails too and ends the process. */
#include "env.h"
#include "functions.h"

#include <napi.h>

namespace toonstore {

/* setup({ makeError, collect, onArena, onReads, onChunk, onServer }) -> the memory of `Shared` as an ArrayBuffer */
napi_value js_setup(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  auto keep = [&](const char *name) {
    napi_ref ref = nullptr;
    napi_value function;
    if (napi_get_named_property(env, c[0], name, &function) == napi_ok) napi_create_reference(env, function, 1, &ref);
    return ref;
  };
  c.e->make_error = keep("makeError");
  c.e->collect = keep("collect");
  c.e->on_arena = keep("onArena");
  c.e->on_reads = keep("onReads");
  c.e->on_chunk = keep("onChunk");
  c.e->on_server = keep("onServer");
  return env_function(c.e, c.e->shared_ref);
}

/* setSlab(ArrayBuffer): where the next small bytes are copied to */
napi_value js_setSlab(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  size_t length;
  void *data;
  napi_ref ref = nullptr;
  if (napi_get_arraybuffer_info(env, c[0], &data, &length) != napi_ok ||
      napi_create_reference(env, c[0], 1, &ref) != napi_ok)
    return fail_type(c.e, "a slab must be an ArrayBuffer");
  if (c.e->slab_ref) napi_delete_reference(env, c.e->slab_ref);
  c.e->slab_ref = ref;
  c.e->slab = static_cast<uint8_t *>(data);
  c.e->slab_size = length;
  c.e->slab_used = 0;
  return nullptr;
}

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  Env *e = env_new(env);
  if (!e) return exports;
  auto add = [&](const char *name, napi_callback callback) {
    napi_value function;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, e, &function) == napi_ok)
      napi_set_named_property(env, exports, name, function);
  };
#define X(name) add(#name, js_##name);
  TOON_NAPI_FUNCTIONS(X)
#undef X
  napi_value version;
  if (napi_create_string_utf8(env, TOON_VERSION, NAPI_AUTO_LENGTH, &version) == napi_ok)
    napi_set_named_property(env, exports, "version", version);
  return exports;
}

} // namespace
} // namespace toonstore

static Napi::Object toonstore_init(Napi::Env env, Napi::Object exports) { return toonstore::init(env, exports); }
NODE_API_MODULE(toonstore, toonstore_init)
