/* JSON.SET, GET, DEL, TYPE, NUMINCRBY on values of every kind. A path is `$` or `.` for all of it, then `.name`, `["name"]`, `[0]`,
 * `[-1]`. One that begins with `$` is answered with an array of what it found (none or one), another one with the value itself,
 * as RedisJSON has it. */
#include "resp/document.h"

#include <math.h>

enum { STEPS_MAX = 64 };

typedef struct step {
  bool item;
  int64_t index;
  toon_slice name; /* as a JSON string */
} step;

typedef struct path {
  bool dollar;
  size_t count;
  step steps[STEPS_MAX];
} path;

static toon_status bad_path(command_call *call, toon_slice text) {
  return command_error(call, "ERR the path '%.*s' is not understood: use $, .name, [\"name\"] and [0]",
                       (int)(text.len < 128 ? text.len : 128), (const char *)text.ptr);
}

static toon_status add_name(command_call *call, document *d, path *p, toon_slice name, bool quoted) {
  toon_buf *text;
  if (p->count == STEPS_MAX) return command_error(call, "ERR the path is too deep");
  TOON_TRY(document_text(d, &text));
  TOON_TRY(quoted ? toon_buf_add(text, name) : document_quote(name, text));
  p->steps[p->count++] = (step){.name = toon_buf_slice(text)};
  return TOON_OK;
}

/* [0] or ["name"], from the bracket on; *used: its bytes, 0 if it is neither. */
static toon_status read_bracket(command_call *call, document *d, path *p, toon_slice rest, size_t *used) {
  const uint8_t *close = (const uint8_t *)memchr(rest.ptr, ']', rest.len);
  int64_t index;
  *used = 0;
  if (rest.len < 3) return TOON_OK;
  uint8_t quote = rest.ptr[1];
  if (quote == '"' || quote == '\'') {
    size_t end = 2;
    while (end < rest.len && rest.ptr[end] != quote) end++;
    if (end + 1 >= rest.len || rest.ptr[end + 1] != ']') return TOON_OK;
    *used = end + 2;
    return add_name(call, d, p, toon_slice_of(rest.ptr + 2, end - 2), false);
  }
  if (!close || !resp_integer(toon_slice_of(rest.ptr + 1, (size_t)(close - rest.ptr) - 1), &index)) return TOON_OK;
  if (p->count == STEPS_MAX) return command_error(call, "ERR the path is too deep");
  p->steps[p->count++] = (step){.item = true, .index = index};
  *used = (size_t)(close - rest.ptr) + 1;
  return TOON_OK;
}

static toon_status read_path(command_call *call, document *d, toon_slice text, path *p) {
  size_t i = 0;
  p->count = 0;
  p->dollar = text.len > 0 && text.ptr[0] == '$';
  if (p->dollar) i++;
  bool first = !p->dollar;
  if (text.len - i == 1 && text.ptr[i] == '.') return TOON_OK;
  while (i < text.len) {
    toon_slice rest = toon_slice_of(text.ptr + i, text.len - i);
    size_t used = 0;
    if (rest.ptr[0] == '[') {
      TOON_TRY(read_bracket(call, d, p, rest, &used));
    } else if (rest.ptr[0] == '.' || first) {
      size_t from = rest.ptr[0] == '.';
      used = from;
      while (used < rest.len && rest.ptr[used] != '.' && rest.ptr[used] != '[') used++;
      if (used == from || rest.ptr[from] == '*') return bad_path(call, text);
      TOON_TRY(add_name(call, d, p, toon_slice_of(rest.ptr + from, used - from), false));
    }
    if (!used) return bad_path(call, text);
    i += used;
    first = false;
  }
  return TOON_OK;
}

/* The node that a path leads to, or JSON_NONE; *parent: the one before it, or JSON_NONE if that is missing or is the root. */
static toon_status follow(document *d, const path *p, uint32_t *parent, uint32_t *node) {
  *parent = JSON_NONE;
  *node = 0;
  for (size_t i = 0; i < p->count; i++) {
    const step *s = &p->steps[i];
    const json_node *n = &d->tree.nodes[*node];
    *parent = *node;
    if (s->item && n->kind == '[') {
      int64_t index = s->index < 0 ? s->index + n->count : s->index;
      *node = index < 0 || index >= n->count ? JSON_NONE : json_item(&d->tree, *node, (uint32_t)index);
    } else if (!s->item && n->kind == '{') {
      TOON_TRY(json_member(&d->tree, *node, s->name, node));
    } else {
      *node = JSON_NONE;
    }
    if (*node != JSON_NONE) continue;
    if (i + 1 < p->count) *parent = JSON_NONE;
    break;
  }
  return TOON_OK;
}

static toon_status no_path(command_call *call, toon_slice text) {
  return command_error(call, "ERR Path '%.*s' does not exist", (int)(text.len < 128 ? text.len : 128),
                       (const char *)text.ptr);
}

/* ---- reading ---- */

/* What a path finds, as JSON: in an array if it begins with $. */
static toon_status put_found(command_call *call, document *d, toon_slice text, bool arrays, toon_buf *out) {
  path p;
  uint32_t parent, node;
  TOON_TRY(read_path(call, d, text, &p));
  TOON_TRY(follow(d, &p, &parent, &node));
  if (!arrays && node == JSON_NONE) return no_path(call, text);
  if (arrays) TOON_TRY(toon_buf_byte(out, '['));
  if (node != JSON_NONE) TOON_TRY(json_write(&d->tree, node, out));
  return arrays ? toon_buf_byte(out, ']') : TOON_OK;
}

static bool is_dollar(toon_slice text) { return text.len > 0 && text.ptr[0] == '$'; }

static toon_status get(command_call *call, document *d, toon_buf *json) {
  bool arrays = false;
  if (!d->found) return resp_null(call->out, conn_version(call->conn));
  for (size_t i = 2; i < call->count; i++) arrays = arrays || is_dollar(call_arg(call, i));
  if (call->count > 3) TOON_TRY(toon_buf_byte(json, '{'));
  for (size_t i = 2; i < call->count || i == 2; i++) {
    toon_slice text = call->count == 2 ? TOON_SLICE_LIT(".") : call_arg(call, i);
    if (call->count > 3) {
      if (i > 2) TOON_TRY(toon_buf_byte(json, ','));
      TOON_TRY(document_quote(text, json));
      TOON_TRY(toon_buf_byte(json, ':'));
    }
    TOON_TRY(put_found(call, d, text, arrays, json));
    if (command_overfull(call, json->len)) return TOON_ENOMEM;
  }
  if (call->count > 3) TOON_TRY(toon_buf_byte(json, '}'));
  return resp_bulk(call->out, toon_buf_slice(json));
}

/* JSON.GET key [path…]: with several an object of what each has found */
toon_status command_json_get(command_call *call) {
  document d;
  toon_buf json = {0};
  toon_status status = document_read(call, 1, &d);
  if (status == TOON_OK) status = get(call, &d, &json);
  toon_buf_free(&json);
  document_free(&d);
  return status;
}

static const char *type_of(const json_node *n) {
  switch (n->kind) {
  case '{': return "object";
  case '[': return "array";
  case '"': return "string";
  case 'n': return "null";
  case 't':
  case 'f': return "boolean";
  default:
    return n->text.len < 32 && !memchr(n->text.ptr, '.', n->text.len) && !memchr(n->text.ptr, 'e', n->text.len)
               ? "integer"
               : "number";
  }
}

static toon_status type(command_call *call, document *d) {
  path p;
  uint32_t parent, node;
  toon_slice text = call->count > 2 ? call_arg(call, 2) : TOON_SLICE_LIT(".");
  if (!d->found) return resp_null(call->out, conn_version(call->conn));
  TOON_TRY(read_path(call, d, text, &p));
  TOON_TRY(follow(d, &p, &parent, &node));
  if (p.dollar) TOON_TRY(resp_array(call->out, node != JSON_NONE));
  if (node == JSON_NONE) return p.dollar ? TOON_OK : resp_null(call->out, conn_version(call->conn));
  const char *name = type_of(&d->tree.nodes[node]);
  return resp_bulk(call->out, toon_slice_of(name, strlen(name)));
}

toon_status command_json_type(command_call *call) {
  if (call->count > 3) return command_syntax_error(call);
  return document_with(call, document_read, type);
}

/* ---- writing ---- */

static toon_status set(command_call *call, document *d) {
  path p;
  uint32_t parent, node, value;
  bool nx = false, xx = false;
  int version = conn_version(call->conn);
  if (call->count == 5) {
    nx = command_word(call_arg(call, 4), "nx");
    xx = command_word(call_arg(call, 4), "xx");
  }
  if (call->count > 5 || (call->count == 5 && !nx && !xx)) return command_syntax_error(call);
  TOON_TRY(read_path(call, d, call_arg(call, 2), &p));
  if (!d->found) {
    if (p.count) return command_error(call, "ERR new objects must be created at the root");
    if (xx) return resp_null(call->out, version);
    TOON_TRY(document_json(call, d, call_arg(call, 3), &value)); /* it is the root then */
    TOON_TRY(document_save(call, d, false));
    return resp_status(call->out, "OK");
  }
  TOON_TRY(follow(d, &p, &parent, &node));
  TOON_TRY(document_json(call, d, call_arg(call, 3), &value));
  if ((nx && node != JSON_NONE) || (xx && node == JSON_NONE)) return resp_null(call->out, version);
  if (node != JSON_NONE) {
    json_replace(&d->tree, node, value);
    if (node == 0) d->expires_at = 0; /* all of it anew, as SET */
  } else if (parent != JSON_NONE && d->tree.nodes[parent].kind == '{' && !p.steps[p.count - 1].item) {
    json_append(&d->tree, parent, p.steps[p.count - 1].name, value);
  } else {
    return p.dollar ? resp_null(call->out, version) : no_path(call, call_arg(call, 2));
  }
  TOON_TRY(document_save(call, d, false));
  return resp_status(call->out, "OK");
}

/* JSON.SET key path value [NX | XX] */
toon_status command_json_set(command_call *call) { return document_with(call, document_read, set); }

static toon_status del(command_call *call, document *d) {
  path p;
  uint32_t parent, node;
  toon_slice text = call->count > 2 ? call_arg(call, 2) : TOON_SLICE_LIT(".");
  if (!d->found) return resp_int(call->out, 0);
  TOON_TRY(read_path(call, d, text, &p));
  TOON_TRY(follow(d, &p, &parent, &node));
  if (node == JSON_NONE) return resp_int(call->out, 0);
  if (node == 0) {
    TOON_TRY(data_delete(call, d->key));
  } else {
    json_remove(&d->tree, parent, node);
    TOON_TRY(document_save(call, d, false));
  }
  return resp_int(call->out, 1);
}

/* JSON.DEL key [path] */
toon_status command_json_del(command_call *call) {
  if (call->count > 3) return command_syntax_error(call);
  return document_with(call, document_read, del);
}

static bool number_of(toon_slice text, long double *out) { return command_float(text, out) && !isinf(*out); }

static toon_status add(command_call *call, document *d) {
  path p;
  uint32_t parent, node, value;
  int64_t a, b;
  long double x = 0, y;
  char digits[64];
  int len;
  toon_slice by = call_arg(call, 3);
  if (!d->found) return command_error(call, "ERR could not perform this operation on a key that doesn't exist");
  if (!number_of(by, &y)) return command_error(call, "ERR value is not a valid float");
  TOON_TRY(read_path(call, d, call_arg(call, 2), &p));
  TOON_TRY(follow(d, &p, &parent, &node));
  if (node == JSON_NONE)
    return p.dollar ? resp_bulk(call->out, TOON_SLICE_LIT("[]")) : no_path(call, call_arg(call, 2));
  if (d->tree.nodes[node].kind != 0 || !number_of(d->tree.nodes[node].text, &x)) {
    if (p.dollar) return resp_bulk(call->out, TOON_SLICE_LIT("[null]"));
    return command_error(call, "ERR the value at the path is no number");
  }
  if (resp_integer(d->tree.nodes[node].text, &a) && resp_integer(by, &b) && !__builtin_add_overflow(a, b, &a))
    len = snprintf(digits, sizeof digits, "%lld", (long long)a);
  else
    len = snprintf(digits, sizeof digits, "%.17g", (double)(x + y));
  if (isinf((double)(x + y))) return command_error(call, "ERR increment would produce NaN or Infinity");
  TOON_TRY(document_json(call, d, toon_slice_of(digits, (size_t)len), &value));
  json_replace(&d->tree, node, value);
  TOON_TRY(document_save(call, d, false));
  toon_buf told = {0};
  toon_status status = p.dollar ? toon_buf_byte(&told, '[') : TOON_OK;
  if (status == TOON_OK) status = toon_buf_add(&told, d->tree.nodes[node].text);
  if (status == TOON_OK && p.dollar) status = toon_buf_byte(&told, ']');
  if (status == TOON_OK) status = resp_bulk(call->out, toon_buf_slice(&told));
  toon_buf_free(&told);
  return status;
}

/* JSON.NUMINCRBY key path number */
toon_status command_json_numincrby(command_call *call) { return document_with(call, document_read, add); }
