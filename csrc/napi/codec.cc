/* The TOON codec for JavaScript: JSON text to TOON text and back. */
#include "convert.h"
#include "functions.h"

#include <string.h>

namespace toonstore {

namespace {

/* The string of e->out, if all went well. */
napi_value finish(Env *e, toon_status status, toon_error *err) {
  napi_value text = nullptr;
  Scratch scratch(e);
  if (status == TOON_OK) status = make_string(e, toon_buf_slice(&e->out), false, &text, err);
  return status == TOON_OK ? text : fail(e, err);
}

/* Makes of tables what lib/tables.js asks for: for each its path, its pattern (the JSON of a row, with \x01 and a
 * digit for the column's kind where a cell goes), the number of rows, an ArrayBuffer with the columns that have a
 * fixed width, each begun at a multiple of eight bytes, and an array of the texts of the others. */
struct Tables {
  Env *e;
  std::vector<napi_value> values;

  static toon_status take(void *ctx, const toon_table *table) { return static_cast<Tables *>(ctx)->add(table); }

  static size_t width(const toon_table_column &column) {
    return column.kind <= TOON_COLUMN_BOOL ? (column.data.len + 7) & ~(size_t)7 : 0;
  }

  toon_status add(const toon_table *table) {
    napi_value path, shape, rows, numbers, texts, text;
    toon_error err;
    size_t bytes = 0;
    uint32_t from = 0, count = 0;
    toon_buf *pattern = &e->keys;
    pattern->len = 0;
    for (uint32_t i = 0; i < table->count; i++) {
      uint8_t mark[2] = {1, (uint8_t)('0' + table->columns[i].kind)};
      bytes += width(table->columns[i]);
      TOON_TRY(toon_buf_append(pattern, table->text.ptr + from, table->ends[i] - from));
      TOON_TRY(toon_buf_append(pattern, mark, sizeof mark));
      from = table->ends[i];
    }
    TOON_TRY(toon_buf_append(pattern, table->text.ptr + from, table->text.len - from));
    TOON_TRY(make_string(e, table->path, false, &path, &err));
    TOON_TRY(make_string(e, toon_buf_slice(pattern), false, &shape, &err));
    void *memory;
    if (napi_create_uint32(e->env, table->rows, &rows) != napi_ok ||
        napi_create_arraybuffer(e->env, bytes, &memory, &numbers) != napi_ok ||
        napi_create_array(e->env, &texts) != napi_ok)
      return TOON_ENOMEM;
    auto *at = static_cast<uint8_t *>(memory);
    for (uint32_t i = 0; i < table->count; i++) {
      const toon_table_column &column = table->columns[i];
      if (column.kind <= TOON_COLUMN_BOOL) {
        memcpy(at, column.data.ptr, column.data.len);
        at += width(column);
      } else {
        TOON_TRY(make_string(e, column.data, false, &text, &err));
        if (napi_set_element(e->env, texts, count++, text) != napi_ok) return TOON_ENOMEM;
      }
    }
    values.insert(values.end(), {path, shape, rows, numbers, texts});
    return TOON_OK;
  }
};

/* Put long strings back into JSON text: a string \u0001N stands for strings[N], and they come in order. The text is
 * in e->text before, in e->keys after. */
bool put_back(Env *e, napi_value strings, uint32_t count, toon_slice *json) {
  toon_buf source = e->text;
  toon_buf *out = &e->keys;
  toon_slice text;
  e->text = {};
  out->len = 0;
  toon_status status = TOON_OK;
  const uint8_t *p = json->ptr, *end = p + json->len;
  for (uint32_t i = 0; i < count && status == TOON_OK; i++) {
    auto *mark = static_cast<const uint8_t *>(memmem(p, (size_t)(end - p), "\"\\u0001", 7));
    if (!mark) {
      status = TOON_EINVAL;
      break;
    }
    napi_value item;
    if (napi_get_element(e->env, strings, i, &item) != napi_ok || !read_text(e, item, &text)) {
      toon_buf_free(&source);
      return false; /* with an exception */
    }
    status = toon_buf_append(out, p, (size_t)(mark - p));
    if (status == TOON_OK) status = toon_put_json_string(out, text);
    p = static_cast<const uint8_t *>(memchr(mark + 7, '"', (size_t)(end - mark - 7))) + 1;
  }
  if (status == TOON_OK) status = toon_buf_append(out, p, (size_t)(end - p));
  toon_buf_free(&source);
  *json = toon_buf_slice(out);
  if (status != TOON_OK) fail(e, status, nullptr);
  return status == TOON_OK;
}

} // namespace

/* encode(json, delimiter as a character code, indentSize, strings) -> TOON text. strings: see put_back; or undefined */
napi_value js_encode(napi_env env, napi_callback_info info) {
  Call<4> c(env, info);
  toon_slice json;
  toon_input input;
  toon_error err;
  uint32_t strings = 0;
  if (!read_value(c.e, c[0], GIVEN_JSON, &input, &json)) return nullptr;
  if (c.argc == 4) napi_get_array_length(env, c[3], &strings);
  if (strings && !put_back(c.e, c[3], strings, &json)) return nullptr;
  toon_text_options options = {(uint8_t)c.integer(1), (uint8_t)c.integer(2), true};
  c.e->out.len = 0;
  return finish(c.e, toon_encode(json, &options, &c.e->out, &err), &err);
}

/* decode(text, indentSize, flags: 1 strict, 2 set tables aside) -> JSON text, or [JSON text, table…] if there are
 * tables, each as lib/tables.js takes it */
napi_value js_decode(napi_env env, napi_callback_info info) {
  Call<3> c(env, info);
  Env *e = c.e;
  toon_slice text;
  toon_error err;
  if (!read_text(e, c[0], &text)) return nullptr;
  int32_t flags = c.integer(2);
  toon_text_options options = {',', (uint8_t)c.integer(1), (flags & 1) != 0};
  e->out.len = 0;
  if (!(flags & 2)) return finish(e, toon_decode(text, &options, &e->out, &err), &err);
  Tables tables = {e, {}};
  toon_status status = toon_decode_tables(text, &options, Tables::take, &tables, &e->out, &err);
  napi_value json = finish(e, status, &err), out;
  if (!json || tables.values.empty()) return json;
  if (napi_create_array_with_length(env, tables.values.size() + 1, &out) != napi_ok)
    return fail(e, TOON_ENOMEM, nullptr);
  napi_set_element(env, out, 0, json);
  for (size_t i = 0; i < tables.values.size(); i++) napi_set_element(env, out, (uint32_t)i + 1, tables.values[i]);
  return out;
}

} // namespace toonstore
