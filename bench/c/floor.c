/* The floor of uncached reads: an addon that does what Node-API and V8 ask for and nothing a store does. A call takes three arguments, as
 * ours does, reads the key and makes the value of memory in which it lies ready: no index, no checksum, no lock. bench/drivers/floor.js
 * compiles it. */
#include <node_api.h>
#include <stdint.h>
#include <string.h>

static uint8_t *values, *slab;
static size_t value_size, slab_size, slab_used;

/* The value of a key that ends in its number, or of a number. */
static const uint8_t *find(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3, len;
  int64_t store, number = 0;
  int32_t mode;
  double id;
  uint16_t key[64];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  napi_get_value_int64(env, argv[0], &store);
  if (napi_get_value_string_utf16(env, argv[1], (char16_t *)key, 64, &len) == napi_ok) {
    for (size_t i = len < 9 ? 0 : len - 9; i < len; i++) number = number * 10 + (key[i] - '0');
  } else {
    napi_get_value_double(env, argv[1], &id);
    number = (int64_t)id;
  }
  napi_get_value_int32(env, argv[2], &mode);
  return values + (size_t)number * value_size;
}

/* use(values, size, slab): the Buffers that hold the values, each of that size, and that take those of bytes() */
static napi_value use(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3;
  int64_t size;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  napi_get_buffer_info(env, argv[0], (void **)&values, NULL);
  napi_get_value_int64(env, argv[1], &size);
  napi_get_buffer_info(env, argv[2], (void **)&slab, &slab_size);
  value_size = (size_t)size;
  slab_used = 0;
  return NULL;
}

/* text(store, key, mode) -> a string of the value's Latin-1 */
static napi_value text(napi_env env, napi_callback_info info) {
  napi_value out = NULL;
  napi_create_string_latin1(env, (const char *)find(env, info), value_size, &out);
  return out;
}

/* bytes(store, key, mode) -> where in the slab the value was copied to; the slab begins anew at its end */
static napi_value bytes(napi_env env, napi_callback_info info) {
  napi_value out = NULL;
  const uint8_t *value = find(env, info);
  if (slab_used + value_size > slab_size) slab_used = 0;
  memcpy(slab + slab_used, value, value_size);
  napi_create_uint32(env, (uint32_t)slab_used, &out);
  slab_used += value_size;
  return out;
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {{"use", use}, {"text", text}, {"bytes", bytes}};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
