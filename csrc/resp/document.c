/* Rows as documents. JSON has no bytes that are not UTF-8: as a name or value in a document they are the string "base64:" and their base64.
 * A string that has just this form but is no such bytes is written in the form once more, so that each comes back as it was. */
#include "resp/document.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/utf.h"

#define MARK "base64:"
enum { MARK_LENGTH = sizeof MARK - 1 };

void document_free(document *d) {
  json_free(&d->tree);
  toon_buf_free(&d->json);
  for (size_t i = 0; i < d->text_count; i++) toon_buf_free(&d->texts[i]);
  toon_free(d->texts);
  *d = (document){0};
}

static toon_status damaged(command_call *call, toon_status status) {
  if (status != TOON_ESYNTAX) return status;
  toon_error err;
  toon_fail(&err, TOON_ECORRUPT, NULL);
  return command_fail(call, &err);
}

toon_status document_read(command_call *call, size_t i, document *d) {
  data_row row;
  toon_error err;
  uint32_t root;
  memset(d, 0, sizeof *d);
  TOON_TRY(command_key(call, i, &d->key));
  toon_status status = data_get(call, d->key, &row, &d->found);
  if (status == TOON_OK && d->found) {
    d->expires_at = row.row.expires_at;
    if (toon_field_to_json(row.row.field, &d->json, &err) != TOON_OK) status = command_fail(call, &err);
  }
  data_release(call, &row);
  if (status == TOON_OK && d->found) status = damaged(call, json_add(&d->tree, toon_buf_slice(&d->json), &root));
  return status;
}

toon_status document_read_hash(command_call *call, size_t i, document *d) {
  uint32_t root;
  TOON_TRY(document_read(call, i, d));
  if (!d->found) return json_add(&d->tree, TOON_SLICE_LIT("{}"), &root);
  return d->tree.nodes[0].kind == '{' ? TOON_OK : command_wrong_type(call);
}

toon_status document_with(command_call *call, toon_status (*read)(command_call *call, size_t i, document *d),
                          document_fn fn) {
  document d;
  toon_status status = read(call, 1, &d);
  if (status == TOON_OK) status = fn(call, &d);
  document_free(&d);
  return status;
}

toon_status document_save(command_call *call, document *d, bool hash) {
  toon_buf json = {0};
  if (hash && d->tree.nodes[0].count == 0) return data_delete(call, d->key);
  toon_status status = json_write(&d->tree, 0, &json);
  if (status == TOON_OK) status = data_put(call, d->key, TOON_INPUT_JSON, toon_buf_slice(&json), d->expires_at);
  toon_buf_free(&json);
  return status;
}

toon_status document_text(document *d, toon_buf **out) {
  if (d->text_count == d->text_cap) {
    size_t cap = d->text_cap ? d->text_cap * 2 : 8;
    toon_buf *texts = (toon_buf *)toon_realloc(d->texts, cap * sizeof *texts);
    if (!texts) return TOON_ENOMEM;
    d->texts = texts;
    d->text_cap = cap;
  }
  *out = &d->texts[d->text_count++];
  **out = (toon_buf){0};
  return TOON_OK;
}

toon_status document_json(command_call *call, document *d, toon_slice json, uint32_t *node) {
  toon_buf field = {0}, *text;
  toon_error err;
  uint8_t flags;
  TOON_TRY(document_text(d, &text));
  /* Through the codec, which checks it and writes it as it writes all. */
  toon_status status = toon_field_json(json, (size_t)toon_max_value_size(call->db), &field, &flags, &err);
  if (status == TOON_OK) status = toon_field_to_json(toon_buf_slice(&field), text, &err);
  toon_buf_free(&field);
  if (status != TOON_OK) return command_fail(call, &err);
  return damaged(call, json_add(&d->tree, toon_buf_slice(text), node));
}

/* ---- bytes ---- */

static bool is_utf8(toon_slice s) { return toon_utf8_valid(s.ptr, s.len) == s.len; }

/* Does the text stand for other bytes? They are then in *out (as long as it is needed: the caller's). */
static toon_status unmark(toon_slice text, toon_buf *out, bool *marked) {
  *marked = false;
  if (text.len < MARK_LENGTH || memcmp(text.ptr, MARK, MARK_LENGTH) != 0) return TOON_OK;
  size_t len = text.len - MARK_LENGTH, decoded = 0, from = out->len;
  TOON_TRY(toon_buf_reserve(out, len / 4 * 3 + 1));
  if (!toon_base64_decode(text.ptr + MARK_LENGTH, len, out->ptr + from, &decoded)) return TOON_OK;
  toon_slice bytes = toon_slice_of(out->ptr + from, decoded);
  toon_buf inner = {0};
  bool again = false;
  toon_status status = is_utf8(bytes) ? unmark(bytes, &inner, &again) : TOON_OK;
  *marked = status == TOON_OK && (again || !is_utf8(bytes));
  toon_buf_free(&inner);
  if (*marked) out->len = from + decoded;
  return status;
}

toon_status document_quote(toon_slice bytes, toon_buf *out) {
  toon_buf scratch = {0};
  bool marked = !is_utf8(bytes);
  toon_status status = marked ? TOON_OK : unmark(bytes, &scratch, &marked);
  scratch.len = 0;
  if (status == TOON_OK && marked) {
    size_t len = toon_base64_encoded_size(bytes.len);
    status = toon_buf_append(&scratch, MARK, MARK_LENGTH);
    if (status == TOON_OK) status = toon_buf_reserve(&scratch, len);
    if (status == TOON_OK) {
      toon_base64_encode(bytes.ptr, bytes.len, scratch.ptr + MARK_LENGTH);
      scratch.len += len;
      bytes = toon_buf_slice(&scratch);
    }
  }
  if (status == TOON_OK) status = toon_put_json_string(out, bytes);
  toon_buf_free(&scratch);
  return status;
}

toon_status document_string(command_call *call, document *d, toon_slice bytes, uint32_t *node) {
  toon_buf *text;
  TOON_TRY(document_text(d, &text));
  TOON_TRY(document_quote(bytes, text));
  return damaged(call, json_add(&d->tree, toon_buf_slice(text), node));
}

toon_status document_name(toon_slice key, toon_buf *out) {
  toon_buf text = {0};
  bool marked = false;
  toon_status status = json_unescape(key, &text);
  if (status == TOON_OK) status = unmark(toon_buf_slice(&text), out, &marked);
  if (status == TOON_OK && !marked) status = toon_buf_add(out, toon_buf_slice(&text));
  toon_buf_free(&text);
  return status;
}

toon_status document_bytes(command_call *call, const document *d, uint32_t node, toon_buf *out) {
  const json_node *n = &d->tree.nodes[node];
  toon_error err;
  if (n->kind == '"') return document_name(n->text, out);
  if (n->kind != '{' && n->kind != '[') return toon_buf_add(out, n->text);
  toon_buf json = {0};
  toon_status status = json_write(&d->tree, node, &json);
  if (status == TOON_OK && toon_encode(toon_buf_slice(&json), NULL, out, &err) != TOON_OK)
    status = command_fail(call, &err);
  toon_buf_free(&json);
  return status;
}
