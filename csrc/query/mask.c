/* Filters over a block of columns: for each node of the program a byte a row. Numbers are compared in a loop, dictionaries
 * once for each token, and by the smallest and largest number whole blocks are decided without a look at them. */
#include "query/parts.h"

#include "base/alloc.h"

#define NODE_HEAD 5
#define DEPTH_MAX 110 /* toon_filter_new allows 100 */

static uint32_t node_size(const uint8_t *p) { return column_u32(p + 1); }

typedef struct masker {
  toon_query *q;
  uint32_t block, rows;
  bool usable;
} masker;

/* The mask of a depth of nodes. */
static toon_status mask_at(masker *m, uint32_t depth, uint8_t **out) {
  query_scan *s = m->q->scan;
  if (depth >= DEPTH_MAX) return TOON_EINVAL;
  if (!s->masks) s->masks = toon_malloc((size_t)DEPTH_MAX * COLUMN_ROWS);
  *out = s->masks ? s->masks + (size_t)depth * COLUMN_ROWS : NULL;
  return s->masks ? TOON_OK : TOON_ENOMEM;
}

static bool all_are(const uint8_t *mask, uint32_t rows, uint8_t byte) {
  return rows == 0 || (mask[0] == byte && memcmp(mask, mask + 1, rows - 1) == 0);
}

/* ---- numbers ---- */

static bool compare(uint8_t op, double x, double y) {
  switch (op) {
  case TOON_FILTER_GT: return x > y;
  case TOON_FILTER_GE: return x >= y;
  case TOON_FILTER_LT: return x < y;
  case TOON_FILTER_LE: return x <= y;
  default: return x == y;
  }
}

/* 1 if all numbers of a vector are on the right side, 0 if none is, -1 if it has to be looked at. */
static int decide(uint8_t op, const column_place *place, double y) {
  if (place->min > place->max) return 0;
  bool low = compare(op, place->min, y), high = compare(op, place->max, y);
  if (op == TOON_FILTER_EQ) return y < place->min || y > place->max ? 0 : low && high ? 1 : -1;
  return low && high ? 1 : low || high ? -1 : 0;
}

#define COMPARE_LOOP(sign)                                                    \
  for (uint32_t i = 0; i < v->rows; i++) out[i] = column_number(v, i) sign y; \
  break

/* By integers, where an operand stands for the same number of units. */
#define INT_LOOP(type, sign)                        \
  for (uint32_t i = 0; i < v->rows; i++) {          \
    type x;                                         \
    memcpy(&x, v->values + i * sizeof x, sizeof x); \
    out[i] = (int64_t)x sign units;                 \
  }                                                 \
  break
#define INT_OPS(type)                      \
  switch (op) {                            \
  case TOON_FILTER_GT: INT_LOOP(type, >);  \
  case TOON_FILTER_GE: INT_LOOP(type, >=); \
  case TOON_FILTER_LT: INT_LOOP(type, <);  \
  case TOON_FILTER_LE: INT_LOOP(type, <=); \
  default: INT_LOOP(type, ==);             \
  }                                        \
  return true

/* True if the comparison could be made on the stored whole numbers: y * divisor is one, and nothing is lost. */
static bool compare_units(uint8_t op, const column_vector *v, double y, uint8_t *out) {
  double units_real = y * v->divisor;
  if (v->kind != COLUMN_INT || v->width > 4 || !(units_real > -4e15 && units_real < 4e15)) return false;
  int64_t units = (int64_t)units_real;
  if ((double)units / v->divisor != y) return false;
  units -= v->base;
  switch (v->width) {
  case 1: INT_OPS(uint8_t);
  case 2: INT_OPS(uint16_t);
  case 4: INT_OPS(uint32_t);
  default: return false;
  }
}

static void compare_numbers(uint8_t op, const column_vector *v, const column_place *place, double y, uint8_t *out) {
  int decided = decide(op, place, y);
  if (decided >= 0) {
    memset(out, decided, v->rows);
    return;
  }
  if (compare_units(op, v, y, out)) return;
  switch (op) {
  case TOON_FILTER_GT: COMPARE_LOOP(>);
  case TOON_FILTER_GE: COMPARE_LOOP(>=);
  case TOON_FILTER_LT: COMPARE_LOOP(<);
  case TOON_FILTER_LE: COMPARE_LOOP(<=);
  default: COMPARE_LOOP(==);
  }
}

/* Rows without a number get what null gives. */
static toon_status fill_missing(const column_vector *v, uint8_t op, const uint8_t *p, const uint8_t *end,
                                uint8_t *out) {
  toon_scalar null = {.kind = TOON_NULL};
  bool holds = false;
  if (!v->missing) return TOON_OK;
  TOON_TRY(toon_filter_scalar(op, p, end, &null, NULL, NULL, &holds));
  for (uint32_t i = 0; i < v->rows; i++)
    if (column_bit(v->missing, i)) out[i] = holds;
  return TOON_OK;
}

static toon_status test_numbers(const column_vector *v, const column_place *place, uint8_t op, const uint8_t *p,
                                const uint8_t *end, uint8_t *out) {
  uint8_t one[COLUMN_ROWS];
  memset(out, 0, v->rows);
  const uint8_t *at = p;
  for (bool first = true; op != TOON_FILTER_REGEX && at && at < end;) {
    toon_scalar operand;
    at = toon_filter_operand(at, end, &operand);
    if (!at || operand.kind != TOON_NUMBER) continue;
    compare_numbers(op == TOON_FILTER_IN ? TOON_FILTER_EQ : op, v, place, operand.number, first ? out : one);
    for (uint32_t i = 0; !first && i < v->rows; i++) out[i] |= one[i];
    first = false;
  }
  return fill_missing(v, op, p, end, out);
}

/* ---- conditions ---- */

static toon_status test_cell(masker *m, const column_vector *v, uint32_t row, uint8_t op, const uint8_t *p,
                             const uint8_t *end, uint8_t *out) {
  toon_scalar value;
  bool there, holds;
  TOON_TRY(query_cell(m->q, v, row, &value, &there));
  holds = there;
  if (op != TOON_FILTER_EXISTS) TOON_TRY(toon_filter_scalar(op, p, end, &value, m->q->ask, m->q->ctx, &holds));
  *out = holds;
  return TOON_OK;
}

static toon_status test_dictionary(masker *m, const column_vector *v, uint8_t op, const uint8_t *p, const uint8_t *end,
                                   uint8_t *out) {
  uint8_t tokens[COLUMN_ROWS];
  column_vector each = *v; /* of which row i is token i */
  each.kind = COLUMN_TEXT;
  if (v->count > COLUMN_ROWS) return TOON_ESYNTAX;
  for (uint32_t i = 0; i < v->count; i++) TOON_TRY(test_cell(m, &each, i, op, p, end, &tokens[i]));
  if (v->width == 0 || all_are(tokens, v->count, tokens[0]))
    memset(out, tokens[0], v->rows);
  else
    for (uint32_t i = 0; i < v->rows; i++) out[i] = tokens[column_code(v, i)];
  return TOON_OK;
}

/* Can the directory alone decide that no row fulfils a condition on numbers? */
static bool decided_by_place(const column_place *place, uint8_t op, const uint8_t *p, const uint8_t *end) {
  if (op < TOON_FILTER_EQ || op > TOON_FILTER_LE || (place->kind != COLUMN_INT && place->kind != COLUMN_FLOAT))
    return false;
  toon_scalar operand;
  return toon_filter_operand(p, end, &operand) && operand.kind == TOON_NUMBER && decide(op, place, operand.number) == 0;
}

static toon_status test_condition(masker *m, uint8_t op, const uint8_t *p, const uint8_t *end, uint8_t *out) {
  toon_query *q = m->q;
  uint32_t column = q->scan->filter[(uint32_t)p[0] | (uint32_t)p[1] << 8];
  const column_place *place = column_place_of(q->scan->file, m->block, column);
  column_vector v;
  p += 2;
  if (decided_by_place(place, op, p, end)) { /* what is missing does not fulfil it either */
    memset(out, 0, m->rows);
    return TOON_OK;
  }
  m->usable = place->kind != COLUMN_ROWS_ONLY && column_vector_get(q->scan->file, m->block, column, &v);
  if (!m->usable) return TOON_OK;
  q->counts.bytes += place->length;
  if (v.kind == COLUMN_DICT) return test_dictionary(m, &v, op, p, end, out);
  if ((v.kind == COLUMN_INT || v.kind == COLUMN_FLOAT) && op != TOON_FILTER_EXISTS)
    return test_numbers(&v, place, op, p, end, out);
  for (uint32_t i = 0; i < m->rows; i++) TOON_TRY(test_cell(m, &v, i, op, p, end, &out[i]));
  return TOON_OK;
}

static toon_status test_node(masker *m, const uint8_t *p, uint32_t depth, uint8_t *out) {
  const uint8_t *at = p + NODE_HEAD, *end = p + node_size(p);
  uint8_t op = *p, *inner;
  if (op > TOON_FILTER_NOT) return test_condition(m, op, at, end, out);
  if (op == TOON_FILTER_NOT) {
    TOON_TRY(test_node(m, at, depth + 1, out));
    for (uint32_t i = 0; i < m->rows; i++) out[i] ^= 1;
    return TOON_OK;
  }
  memset(out, op == TOON_FILTER_AND, m->rows);
  TOON_TRY(mask_at(m, depth + 1, &inner));
  for (; at < end && m->usable && !all_are(out, m->rows, op != TOON_FILTER_AND); at += node_size(at)) {
    TOON_TRY(test_node(m, at, depth + 1, inner));
    if (op == TOON_FILTER_AND)
      for (uint32_t i = 0; i < m->rows; i++) out[i] &= inner[i];
    else
      for (uint32_t i = 0; i < m->rows; i++) out[i] |= inner[i];
  }
  return TOON_OK;
}

toon_status query_mask(toon_query *q, uint32_t block, uint8_t **mask, bool *usable) {
  masker m = {q, block, q->scan->file->block[block].rows, true};
  TOON_TRY(mask_at(&m, 0, mask));
  TOON_TRY(test_node(&m, toon_filter_program(q->filter).ptr, 0, *mask));
  *usable = m.usable;
  return TOON_OK;
}
