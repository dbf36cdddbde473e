/* The TOON codec for JavaScript: JSON text to TOON text and back. */
#include "convert.h"
#include "functions.h"

namespace toonstore {

namespace {

napi_value finish(Env *e, toon_status status, toon_buf *out, toon_error *err) {
  napi_value text = nullptr;
  if (status == TOON_OK) status = make_string(e, toon_buf_slice(out), false, &text, err);
  toon_buf_free(out);
  return status == TOON_OK ? text : fail(e, err);
}

} // namespace

/* encode(json, delimiter as a character code, indentSize) -> TOON text */
napi_value js_encode(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  toon_slice json;
  toon_input input;
  toon_error err;
  toon_buf out = {};
  if (!read_value(c.e, c[0], GIVEN_JSON, &input, &json)) return nullptr;
  toon_text_options options = {(uint8_t)c.integer(1), (uint8_t)c.integer(2), true};
  return finish(c.e, toon_encode(json, &options, &out, &err), &out, &err);
}

/* decode(text, indentSize, strict as 0 or 1) -> JSON text */
napi_value js_decode(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  toon_slice text;
  toon_error err;
  toon_buf out = {};
  if (!read_text(c.e, c[0], &text)) return nullptr;
  toon_text_options options = {',', (uint8_t)c.integer(1), c.integer(2) != 0};
  return finish(c.e, toon_decode(text, &options, &out, &err), &out, &err);
}

} // namespace toonstore
