/* Projections: the paths of the fields that JavaScript asks for, and what was picked as a JavaScript value. */
#include "range.h"

namespace toonstore {

bool Paths::read(Env *e, napi_value paths) {
  napi_valuetype type = napi_undefined;
  napi_typeof(e->env, paths, &type);
  given = type != napi_undefined;
  if (!given) return true;
  uint32_t count = 0;
  std::vector<uint32_t> counts;
  if (napi_get_array_length(e->env, paths, &count) != napi_ok) return fail_type(e, "paths were expected"), false;
  for (uint32_t i = 0; i < count; i++) {
    napi_value path, name;
    uint32_t n = 0;
    if (napi_get_element(e->env, paths, i, &path) != napi_ok || napi_get_array_length(e->env, path, &n) != napi_ok)
      return fail_type(e, "a path must be an array of names"), false;
    counts.push_back(n);
    for (uint32_t j = 0; j < n; j++) {
      toon_slice text;
      if (napi_get_element(e->env, path, j, &name) != napi_ok || !read_text(e, name, &text)) return false;
      texts.emplace_back(reinterpret_cast<const char *>(text.ptr), text.len);
    }
  }
  for (const std::string &text : texts) names.push_back(toon_slice_of(text.data(), text.size()));
  size_t at = 0;
  for (uint32_t n : counts) {
    list.push_back({names.data() + at, n});
    at += n;
  }
  return true;
}

bool Projection::read(Env *e, napi_value value, bool nulls) {
  Paths paths;
  if (!paths.read(e, value)) return false;
  if (!paths.given) return true;
  toon_error err;
  if (toon_projection_new(paths.list.data(), paths.list.size(), nulls, &toon, &err) == TOON_OK) return true;
  fail(e, &err);
  return false;
}

toon_status Projection::pick(toon_slice field, int mode, toon_buf *out, toon_error *err) {
  if (mode == MODE_VALUE) return toon_projection_json(toon, field, out, err);
  toon_buf json = {};
  toon_status status = toon_projection_json(toon, field, &json, err);
  if (status == TOON_OK) status = toon_encode(toon_buf_slice(&json), nullptr, out, err);
  toon_buf_free(&json);
  return status;
}

toon_status make_picked(Env *e, toon_slice picked, int mode, napi_value *out, uint8_t *kind, toon_error *err) {
  if (mode == MODE_BUFFER) return make_bytes(e, picked, out, kind, err);
  *kind = mode == MODE_VALUE ? KIND_JSON : KIND_READY;
  return make_string(e, picked, false, out, err);
}

} // namespace toonstore
