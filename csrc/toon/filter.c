/* Filters: the program is checked once, then walked for each document over what a projection has found. */
#include "toon/filter.h"

#include "base/alloc.h"
#include "toon/scalar.h"

#define DEPTH_MAX 100
#define NODE_HEAD 5

struct toon_filter {
  toon_projection *paths;
  toon_buf program;
  toon_buf scratch, json;
  toon_ask_fn ask; /* during a test */
  void *ctx;
};

static uint32_t u32_at(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static size_t path_at(const uint8_t *p) { return (size_t)p[0] | (size_t)p[1] << 8; }

/* An operand; returns behind it, NULL if it is not well made. A JSON's kind is TOON_OPERAND_JSON. */
const uint8_t *toon_filter_operand(const uint8_t *p, const uint8_t *end, toon_scalar *out) {
  if (p == end) return NULL;
  uint8_t type = *p++;
  *out = (toon_scalar){.kind = (toon_kind)type};
  if (type <= TOON_TRUE) return p;
  if (type == TOON_NUMBER) {
    if (end - p < 8) return NULL;
    memcpy(&out->number, p, 8);
    return p + 8;
  }
  if (type > TOON_OPERAND_JSON || end - p < 4 || u32_at(p) > (size_t)(end - p) - 4) return NULL;
  out->text = toon_slice_of(p + 4, u32_at(p));
  return p + 4 + out->text.len;
}

/* ---- checking ---- */

static bool check_nodes(const uint8_t *p, const uint8_t *end, size_t paths, int depth);

/* One node, which fills [p, end). */
static bool check_node(const uint8_t *p, const uint8_t *end, size_t paths, int depth) {
  uint8_t op = *p;
  const uint8_t *at = p + NODE_HEAD;
  toon_scalar operand;
  if (op == TOON_FILTER_AND || op == TOON_FILTER_OR) return check_nodes(at, end, paths, depth + 1);
  if (op == TOON_FILTER_NOT)
    return end - at >= NODE_HEAD && u32_at(at + 1) == (size_t)(end - at) && check_nodes(at, end, paths, depth + 1);
  if (op > TOON_FILTER_REGEX || op < TOON_FILTER_EXISTS || end - at < 2 || path_at(at) >= paths) return false;
  at += 2;
  if (op == TOON_FILTER_EXISTS) return at == end;
  if (op == TOON_FILTER_REGEX) return end - at == 4;
  if (op != TOON_FILTER_IN) return toon_filter_operand(at, end, &operand) == end;
  while (at && at < end) at = toon_filter_operand(at, end, &operand);
  return at == end;
}

static bool check_nodes(const uint8_t *p, const uint8_t *end, size_t paths, int depth) {
  if (depth > DEPTH_MAX) return false;
  while (p < end) {
    if (end - p < NODE_HEAD) return false;
    size_t size = u32_at(p + 1);
    if (size < NODE_HEAD || size > (size_t)(end - p) || !check_node(p, p + size, paths, depth)) return false;
    p += size;
  }
  return true;
}

toon_status toon_filter_new(const toon_path *paths, size_t count, toon_slice program, toon_filter **out,
                            toon_error *err) {
  if (program.len < NODE_HEAD || u32_at(program.ptr + 1) != program.len ||
      !check_nodes(program.ptr, program.ptr + program.len, count, 0))
    return toon_fail(err, TOON_EINVAL, "the filter is not well made, or nested more than %d deep", DEPTH_MAX);
  toon_filter *f = toon_calloc(1, sizeof *f);
  if (!f) return toon_fail(err, TOON_ENOMEM, NULL);
  toon_status status = toon_buf_add(&f->program, program);
  if (status != TOON_OK)
    toon_fail(err, status, NULL);
  else
    status = toon_projection_new(paths, count, false, &f->paths, err);
  if (status != TOON_OK) {
    toon_filter_free(f);
    return status;
  }
  *out = f;
  return TOON_OK;
}

void toon_filter_free(toon_filter *f) {
  if (!f) return;
  toon_projection_free(f->paths);
  toon_buf_free(&f->program);
  toon_buf_free(&f->scratch);
  toon_buf_free(&f->json);
  toon_free(f);
}

toon_slice toon_filter_program(const toon_filter *f) { return toon_buf_slice(&f->program); }

/* ---- testing ---- */

static bool compares(uint8_t op, const toon_scalar *value, const toon_scalar *operand) {
  if (op == TOON_FILTER_EQ || op == TOON_FILTER_IN)
    return value->kind == operand->kind && toon_scalar_cmp(value, operand) == 0;
  bool booleans = (value->kind == TOON_TRUE || value->kind == TOON_FALSE) &&
                  (operand->kind == TOON_TRUE || operand->kind == TOON_FALSE);
  if (value->kind != operand->kind && !booleans) return false;
  int c = toon_scalar_cmp(value, operand);
  if (op == TOON_FILTER_GT) return c > 0;
  if (op == TOON_FILTER_GE) return c >= 0;
  return op == TOON_FILTER_LT ? c < 0 : c <= 0;
}

toon_status toon_filter_scalar(uint8_t op, const uint8_t *p, const uint8_t *end, const toon_scalar *value,
                               toon_ask_fn ask, void *ctx, bool *holds) {
  *holds = false;
  if (op == TOON_FILTER_REGEX)
    return value->kind == TOON_STRING && ask ? ask(ctx, u32_at(p), value->text, holds) : TOON_OK;
  toon_scalar operand;
  while (!*holds && p && p < end) {
    p = toon_filter_operand(p, end, &operand);
    if (p && (int)operand.kind != TOON_OPERAND_JSON) *holds = compares(op, value, &operand);
  }
  return TOON_OK;
}

static toon_status test_scalar(toon_filter *f, uint8_t op, const uint8_t *p, const uint8_t *end,
                               const toon_scalar *value, bool *holds) {
  return toon_filter_scalar(op, p, end, value, f->ask, f->ctx, holds);
}

/* Whether all of an array or object equals an operand. */
static toon_status test_whole(toon_filter *f, size_t path, const uint8_t *p, const uint8_t *end, bool *holds) {
  toon_scalar operand;
  bool read = false;
  while (!*holds && p && p < end) {
    p = toon_filter_operand(p, end, &operand);
    if (!p || (int)operand.kind != TOON_OPERAND_JSON) continue;
    if (!read) {
      f->json.len = 0;
      TOON_TRY(toon_projection_found_json(f->paths, path, &f->json));
      read = true;
    }
    *holds = toon_slice_eq(toon_buf_slice(&f->json), operand.text);
  }
  return TOON_OK;
}

static toon_status test_condition(toon_filter *f, uint8_t op, const uint8_t *p, const uint8_t *end, bool *holds) {
  size_t path = path_at(p);
  toon_found found = toon_projection_found(f->paths, path);
  toon_scalar value = {.kind = TOON_NULL};
  p += 2;
  if (op == TOON_FILTER_EXISTS) {
    *holds = found.kind != TOON_FOUND_NOTHING;
    return TOON_OK;
  }
  if (found.kind == TOON_FOUND_NOTHING) return test_scalar(f, op, p, end, &value, holds);
  if (found.kind == TOON_FOUND_SCALAR) {
    TOON_TRY(toon_scalar_read(found.text, &f->scratch, &value));
    return test_scalar(f, op, p, end, &value, holds);
  }
  *holds = false;
  if (found.kind == TOON_FOUND_ARRAY) {
    toon_elements elements = {0};
    toon_slice token;
    while (!*holds && toon_elements_next(&elements, &found, &token)) {
      TOON_TRY(toon_scalar_read(token, &f->scratch, &value));
      TOON_TRY(test_scalar(f, op, p, end, &value, holds));
    }
  }
  if (*holds || (op != TOON_FILTER_EQ && op != TOON_FILTER_IN)) return TOON_OK;
  return test_whole(f, path, p, end, holds);
}

static toon_status test_node(toon_filter *f, const uint8_t *p, bool *holds) {
  const uint8_t *at = p + NODE_HEAD, *end = p + u32_at(p + 1);
  switch (*p) {
  case TOON_FILTER_AND:
  case TOON_FILTER_OR:
    *holds = *p == TOON_FILTER_AND;
    for (; at < end; at += u32_at(at + 1)) {
      TOON_TRY(test_node(f, at, holds));
      if (*holds == (*p == TOON_FILTER_OR)) return TOON_OK;
    }
    return TOON_OK;
  case TOON_FILTER_NOT:
    TOON_TRY(test_node(f, at, holds));
    *holds = !*holds;
    return TOON_OK;
  default: return test_condition(f, *p, at, end, holds);
  }
}

toon_status toon_filter_test(toon_filter *f, toon_slice id, toon_slice field, toon_ask_fn ask, void *ctx, bool *holds) {
  bool object;
  *holds = false;
  TOON_TRY(toon_projection_set_id(f->paths, id));
  TOON_TRY(toon_projection_find(f->paths, field, &object));
  if (!object) return TOON_OK;
  f->ask = ask;
  f->ctx = ctx;
  return test_node(f, f->program.ptr, holds);
}
