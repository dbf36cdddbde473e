/* From the JSON of a filter to the program of toon/filter.h. The text is first read and written again by our own codec, so that what
 * is walked here is compact, and a key comes once. */
#include "query/where.h"

#include "base/alloc.h"
#include "toon/number.h"

#include <stdarg.h>
#include <stdio.h>

#define DEPTH_MAX 64
#define TEXT_MAX (16u << 20) /* of the filter as TOON, where depth costs indentation */
#define PATHS_MAX 1024
#define PLACE_SHOWN 100

struct toon_where {
  toon_buf json, program, names, text; /* text: an unescaped string; names: of all paths */
  toon_path *paths;
  toon_slice *slices;
  size_t count;
  toon_buf ends; /* while parsing: of each path in names (size_t) */
};

typedef struct compiler {
  toon_where *w;
  const uint8_t *end;
  toon_buf place; /* for errors */
  toon_error *err;
} compiler;

static toon_status wrong(compiler *c, const char *what) {
  size_t len = c->place.len < PLACE_SHOWN ? c->place.len : PLACE_SHOWN;
  return toon_fail(c->err, TOON_EINVAL, "%.*s%s %s", (int)len, (const char *)c->place.ptr,
                   len < c->place.len ? "..." : "", what);
}
static toon_status no_memory(compiler *c) { return toon_fail(c->err, TOON_ENOMEM, NULL); }

/* ---- the JSON ---- */

static const uint8_t *behind_string(const uint8_t *p) {
  for (p++; *p != '"'; p++)
    if (*p == '\\') p++;
  return p + 1;
}

/* Behind the value at p. */
static const uint8_t *behind(const compiler *c, const uint8_t *p) {
  size_t depth = 0;
  do {
    if (*p == '"') {
      p = behind_string(p);
      continue;
    }
    if (*p == '{' || *p == '[') {
      depth++;
      p++;
    } else if (*p == '}' || *p == ']') {
      depth--;
      p++;
    } else {
      while (p < c->end && *p != ',' && *p != '}' && *p != ']' && *p != '{' && *p != '[' && *p != '"') p++;
      if (depth && *p == ',') p++;
    }
  } while (depth);
  return p;
}

/* The string at p, in w->text. */
static toon_status read_string(compiler *c, const uint8_t *p) {
  static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  toon_buf *out = &c->w->text;
  out->len = 0;
  for (p++; *p != '"'; p++) {
    uint8_t byte = *p;
    if (byte == '\\') {
      const char *found = strchr(escapes, *++p);
      if (*p == 'u') { /* a control character: our decoder writes no other so */
        char hex[5] = {(char)p[1], (char)p[2], (char)p[3], (char)p[4], 0};
        unsigned code = 0;
        sscanf(hex, "%4x", &code);
        byte = (uint8_t)code;
        p += 4;
      } else {
        byte = found ? (uint8_t)meant[found - escapes] : *p;
      }
    }
    if (toon_buf_byte(out, byte) != TOON_OK) return no_memory(c);
  }
  return TOON_OK;
}

/* ---- the program ---- */

static toon_status begin(compiler *c, uint8_t op, size_t *at) {
  const uint8_t head[5] = {op};
  *at = c->w->program.len;
  return toon_buf_append(&c->w->program, head, 5) == TOON_OK ? TOON_OK : no_memory(c);
}

static void finish(compiler *c, size_t at) {
  uint32_t size = (uint32_t)(c->w->program.len - at);
  memcpy(c->w->program.ptr + at + 1, &size, 4);
}

/* The path named in `name`, by its number. */
static toon_status put_path(compiler *c, toon_slice name) {
  toon_where *w = c->w;
  const size_t *ends = (const size_t *)(const void *)w->ends.ptr;
  size_t i = 0;
  for (size_t from = 0; i < w->count; from = ends[i++])
    if (toon_slice_eq(toon_slice_of(w->names.ptr + from, ends[i] - from), name)) break;
  if (i == PATHS_MAX) return wrong(c, "is one field too many");
  if (i == w->count) {
    size_t end = w->names.len + name.len;
    if (toon_buf_add(&w->names, name) != TOON_OK || toon_buf_append(&w->ends, &end, sizeof end) != TOON_OK)
      return no_memory(c);
    w->count++;
  }
  const uint8_t number[2] = {(uint8_t)i, (uint8_t)(i >> 8)};
  return toon_buf_append(&w->program, number, 2) == TOON_OK ? TOON_OK : no_memory(c);
}

static toon_status put_text(compiler *c, uint8_t type, toon_slice text) {
  uint32_t len = (uint32_t)text.len;
  toon_buf *out = &c->w->program;
  toon_status status = toon_buf_byte(out, type);
  if (status == TOON_OK) status = toon_buf_append(out, &len, 4);
  if (status == TOON_OK) status = toon_buf_add(out, text);
  return status == TOON_OK ? TOON_OK : no_memory(c);
}

static toon_status put_operand(compiler *c, const uint8_t *p) {
  const uint8_t *end = behind(c, p);
  toon_buf *out = &c->w->program;
  toon_status status = TOON_OK;
  double number;
  switch (*p) {
  case '{':
  case '[': return put_text(c, TOON_OPERAND_JSON, toon_slice_of(p, (size_t)(end - p)));
  case '"': TOON_TRY(read_string(c, p)); return put_text(c, TOON_STRING, toon_buf_slice(&c->w->text));
  case 'n': status = toon_buf_byte(out, TOON_NULL); break;
  case 'f': status = toon_buf_byte(out, TOON_FALSE); break;
  case 't': status = toon_buf_byte(out, TOON_TRUE); break;
  default:
    number = toon_number_value(p, (size_t)(end - p));
    status = toon_buf_byte(out, TOON_NUMBER);
    if (status == TOON_OK) status = toon_buf_append(out, &number, 8);
  }
  return status == TOON_OK ? TOON_OK : no_memory(c);
}

static toon_status put_condition(compiler *c, uint8_t op, toon_slice path, const uint8_t *value) {
  size_t at;
  TOON_TRY(begin(c, op, &at));
  TOON_TRY(put_path(c, path));
  if (op == TOON_FILTER_IN) {
    for (value++; *value != ']'; value += *value == ',') {
      TOON_TRY(put_operand(c, value));
      value = behind(c, value);
    }
  } else if (op != TOON_FILTER_EXISTS) {
    TOON_TRY(put_operand(c, value));
  }
  finish(c, at);
  return TOON_OK;
}

/* ---- the language ---- */

typedef struct member {
  const uint8_t *key, *value, *next; /* next: NULL after the last */
} member;

/* The member at p, which stands behind { or a comma. False at the end. */
static bool read_member(const compiler *c, const uint8_t *p, member *m) {
  if (!p || *p == '}') return false;
  m->key = p;
  m->value = behind_string(p) + 1;
  m->next = behind(c, m->value);
  m->next = *m->next == ',' ? m->next + 1 : NULL;
  return true;
}

static toon_status enter(compiler *c, const uint8_t *key, size_t *len) {
  *len = c->place.len;
  TOON_TRY(read_string(c, key));
  if (toon_buf_byte(&c->place, '.') != TOON_OK || toon_buf_add(&c->place, toon_buf_slice(&c->w->text)) != TOON_OK)
    return no_memory(c);
  return TOON_OK;
}

static bool is(const compiler *c, const char *name) {
  return toon_slice_eq(toon_buf_slice(&c->w->text), toon_slice_of(name, strlen(name)));
}

static toon_status put_filter(compiler *c, const uint8_t *p, int depth);
static toon_status put_operators(compiler *c, const uint8_t *p, toon_slice path, int depth);

static toon_status put_not(compiler *c, uint8_t op, toon_slice path, const uint8_t *value) {
  size_t at;
  TOON_TRY(begin(c, TOON_FILTER_NOT, &at));
  TOON_TRY(put_condition(c, op, path, value));
  finish(c, at);
  return TOON_OK;
}

/* An object all of whose names begin with $; it is an error if only some do. */
static toon_status is_operators(compiler *c, const uint8_t *value, bool *yes) {
  size_t marked = 0, all = 0;
  *yes = false;
  if (*value != '{') return TOON_OK;
  member m;
  for (const uint8_t *p = value + 1; read_member(c, p, &m); p = m.next, all++) marked += m.key[1] == '$';
  if (marked && marked < all) return wrong(c, "mixes operators and fields");
  *yes = marked > 0;
  return TOON_OK;
}

static toon_status put_operator(compiler *c, const uint8_t *value, toon_slice path, int depth) {
  static const struct {
    const char *name;
    uint8_t op;
  } comparisons[] = {
      {"$gt", TOON_FILTER_GT}, {"$gte", TOON_FILTER_GE}, {"$lt", TOON_FILTER_LT}, {"$lte", TOON_FILTER_LE}};
  for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
    if (!is(c, comparisons[i].name)) continue;
    if (*value == '{' || *value == '[' || *value == 'n')
      return wrong(c, "compares with a number, a string or a boolean");
    return put_condition(c, comparisons[i].op, path, value);
  }
  if (is(c, "$eq")) return put_condition(c, TOON_FILTER_EQ, path, value);
  if (is(c, "$ne")) return put_not(c, TOON_FILTER_EQ, path, value);
  if (is(c, "$in") || is(c, "$nin")) {
    if (*value != '[') return wrong(c, "must be an array");
    return is(c, "$in") ? put_condition(c, TOON_FILTER_IN, path, value) : put_not(c, TOON_FILTER_IN, path, value);
  }
  if (is(c, "$exists")) {
    if (*value != 't' && *value != 'f') return wrong(c, "must be a boolean");
    return *value == 't' ? put_condition(c, TOON_FILTER_EXISTS, path, value)
                         : put_not(c, TOON_FILTER_EXISTS, path, value);
  }
  if (is(c, "$not")) {
    bool operators;
    size_t at;
    TOON_TRY(is_operators(c, value, &operators));
    if (!operators) return wrong(c, "must be an object of operators");
    TOON_TRY(begin(c, TOON_FILTER_NOT, &at));
    TOON_TRY(put_operators(c, value, path, depth + 1));
    finish(c, at);
    return TOON_OK;
  }
  if (is(c, "$regex") || is(c, "$options")) return wrong(c, "needs JavaScript, which is not here");
  return wrong(c, "is no operator");
}

static toon_status put_operators(compiler *c, const uint8_t *p, toon_slice path, int depth) {
  size_t at, len;
  member m;
  if (depth > DEPTH_MAX) return wrong(c, "is nested too deep");
  TOON_TRY(begin(c, TOON_FILTER_AND, &at));
  for (p++; read_member(c, p, &m); p = m.next) {
    TOON_TRY(enter(c, m.key, &len));
    TOON_TRY(put_operator(c, m.value, path, depth));
    c->place.len = len;
  }
  finish(c, at);
  return TOON_OK;
}

static toon_status put_list(compiler *c, uint8_t op, const uint8_t *p, int depth) {
  size_t at;
  if (*p != '[' || p[1] == ']') return wrong(c, "must be an array of at least one filter");
  TOON_TRY(begin(c, op, &at));
  for (p++; *p != ']'; p += *p == ',') {
    TOON_TRY(put_filter(c, p, depth + 1));
    p = behind(c, p);
  }
  finish(c, at);
  return TOON_OK;
}

static toon_status put_field(compiler *c, const uint8_t *value, int depth) {
  bool operators;
  toon_buf path = {0};
  toon_status status = is_operators(c, value, &operators);
  if (status == TOON_OK && toon_buf_add(&path, toon_buf_slice(&c->w->text)) != TOON_OK) status = no_memory(c);
  toon_slice name = path.ptr ? toon_buf_slice(&path) : toon_slice_of("", 0);
  if (status == TOON_OK)
    status = operators ? put_operators(c, value, name, depth) : put_condition(c, TOON_FILTER_EQ, name, value);
  toon_buf_free(&path);
  return status;
}

static toon_status put_filter(compiler *c, const uint8_t *p, int depth) {
  size_t at, inner, len;
  member m;
  if (*p != '{') return wrong(c, "must be an object of conditions");
  if (depth > DEPTH_MAX) return wrong(c, "is nested too deep");
  TOON_TRY(begin(c, TOON_FILTER_AND, &at));
  for (p++; read_member(c, p, &m); p = m.next) {
    TOON_TRY(enter(c, m.key, &len));
    if (is(c, "$and")) {
      TOON_TRY(put_list(c, TOON_FILTER_AND, m.value, depth));
    } else if (is(c, "$or")) {
      TOON_TRY(put_list(c, TOON_FILTER_OR, m.value, depth));
    } else if (is(c, "$not")) {
      TOON_TRY(begin(c, TOON_FILTER_NOT, &inner));
      TOON_TRY(put_filter(c, m.value, depth + 1));
      finish(c, inner);
    } else if (m.key[1] == '$') {
      return wrong(c, "is no operator");
    } else {
      TOON_TRY(put_field(c, m.value, depth + 1));
    }
    c->place.len = len;
  }
  finish(c, at);
  return TOON_OK;
}

/* ---- the whole ---- */

/* Paths of the names: parts between dots. */
static toon_status split_paths(toon_where *w) {
  const size_t *ends = (const size_t *)(const void *)w->ends.ptr;
  size_t parts = w->count, n = 0;
  for (size_t i = 0; i < w->names.len; i++) parts += w->names.ptr[i] == '.';
  w->paths = toon_calloc(w->count + 1, sizeof *w->paths);
  w->slices = toon_calloc(parts + 1, sizeof *w->slices);
  if (!w->paths || !w->slices) return TOON_ENOMEM;
  const uint8_t *base = w->names.ptr ? w->names.ptr : (const uint8_t *)"";
  for (size_t i = 0, at = 0; i < w->count; at = ends[i++]) {
    size_t from = at;
    w->paths[i] = (toon_path){&w->slices[n], 0};
    for (size_t j = at; j <= ends[i]; j++) {
      if (j < ends[i] && base[j] != '.') continue;
      w->slices[n++] = toon_slice_of(base + from, j - from);
      w->paths[i].count++;
      from = j + 1;
    }
  }
  return TOON_OK;
}

toon_status toon_where_parse(toon_slice json, toon_where **out, toon_error *err) {
  toon_buf field = {0};
  uint8_t flags;
  toon_where *w = toon_calloc(1, sizeof *w);
  if (!w) return toon_fail(err, TOON_ENOMEM, NULL);
  compiler c = {.w = w, .err = err};
  toon_status status = toon_field_json(json, TEXT_MAX, &field, &flags, err);
  if (status == TOON_EVALUETOOBIG) status = toon_fail(err, TOON_EINVAL, "the filter is too long, or nested too deep");
  if (status == TOON_OK) status = toon_field_to_json(toon_buf_slice(&field), &w->json, err);
  toon_buf_free(&field);
  if (status == TOON_OK && toon_buf_lit(&c.place, "where") != TOON_OK) status = no_memory(&c);
  c.end = w->json.ptr + w->json.len;
  if (status == TOON_OK) status = put_filter(&c, w->json.ptr, 0);
  if (status == TOON_OK && w->program.len == 5) w->program.len = 0; /* everything */
  if (status == TOON_OK && split_paths(w) != TOON_OK) status = no_memory(&c);
  toon_buf_free(&c.place);
  if (status != TOON_OK) {
    toon_where_free(w);
    return status;
  }
  *out = w;
  return TOON_OK;
}

void toon_where_free(toon_where *w) {
  if (!w) return;
  toon_buf *buffers[] = {&w->json, &w->program, &w->names, &w->text, &w->ends};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) toon_buf_free(buffers[i]);
  toon_free(w->paths);
  toon_free(w->slices);
  toon_free(w);
}

void toon_where_use(const toon_where *w, toon_query_options *o) {
  o->filter_paths = w->paths;
  o->filter_count = w->count;
  o->program = toon_buf_slice(&w->program);
}
