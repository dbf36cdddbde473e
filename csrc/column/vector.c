/* Vectors: how a column of a block is written, and how cells are read back.
 *
 *     INT, FLOAT  u32 marks (1 some are missing, 2 some of those are null), u32 0, i64 base, bits of the missing rows,
 *                 bits of those that are null, values
 *     DICT        u32 count, u32 0, u32 offsets of the tokens (count + 1), tokens, codes
 *     TEXT        u32 offsets (rows + 1), tokens
 *     IDS         u32 length, u32 0, so many bytes that all begin with, u32 offsets (rows + 1), what follows them
 *
 * Each part begins at a multiple of 8. Absent cells are empty tokens. */
#include "base/hash.h"
#include "column/parts.h"
#include "toon/number.h"
#include "toon/scan.h"

#define EXACT 9007199254740992 /* 2^53: up to here a double holds every whole number */
#define DIGITS_MAX 15

static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
static const int64_t whole_powers[] = {
    1,         10,         100,         1000,         10000,         100000,         1000000,         10000000,
    100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000};

/* ---- writing ---- */

/* All numbers of a column, if they are all of one kind. */
typedef struct numbers {
  uint8_t kind, scale;
  bool missing, null;
  int64_t whole[COLUMN_ROWS];
  uint8_t scales[COLUMN_ROWS];
  double real[COLUMN_ROWS];
  uint8_t state[COLUMN_ROWS]; /* 0 a number, 1 null, 2 absent */
} numbers;

/* The different tokens of a column, in the order they came in. */
typedef struct dictionary {
  uint32_t count, first[COLUMN_ROWS]; /* where each was met first */
  uint16_t codes[COLUMN_ROWS];
  size_t bytes;
} dictionary;

struct column_scratch {
  numbers numbers;
  dictionary dictionary;
};

static toon_slice cell(const column_cells *c, uint32_t i) {
  return toon_slice_of(c->bytes.ptr + c->at[i], c->at[i + 1] - c->at[i]);
}
static bool is_null(toon_slice token) { return token.len == 4 && memcmp(token.ptr, "null", 4) == 0; }

/* A number's token as mantissa / 10^scale, if it is just how that is written. */
static bool read_decimal(toon_slice token, int64_t *mantissa, uint8_t *scale) {
  const uint8_t *p = token.ptr, *end = p + token.len;
  bool negative = *p == '-';
  int64_t value = 0;
  uint32_t digits = 0, fraction = 0;
  p += negative;
  if (p == end || (*p == '0' && end - p > 1 && p[1] != '.')) return false;
  for (; p < end && toon_is_digit(*p); p++, digits++) {
    if (digits == DIGITS_MAX) return false;
    value = value * 10 + (*p - '0');
  }
  if (!digits) return false;
  if (p < end) {
    if (*p != '.' || end - p < 2 || end[-1] == '0') return false;
    for (p++; p < end && toon_is_digit(*p); p++, digits++, fraction++) {
      if (digits == DIGITS_MAX) return false;
      value = value * 10 + (*p - '0');
    }
    if (p < end) return false;
  }
  if (negative && !value) return false;
  if (fraction > 6 && value < whole_powers[fraction - 6]) return false; /* below 1e-6 there is an exponent */
  *mantissa = negative ? -value : value;
  *scale = (uint8_t)fraction;
  return true;
}

static bool read_real(toon_slice token, double *value) {
  uint8_t text[TOON_NUMBER_TEXT_MAX];
  toon_number_form form;
  if (!(toon_is_digit(*token.ptr) || *token.ptr == '-') ||
      toon_number_scan(token.ptr, token.ptr + token.len, &form) != token.len)
    return false;
  *value = toon_number_value(token.ptr, token.len);
  if (*value - *value != 0) return false;
  return toon_slice_eq(token, toon_slice_of(text, toon_number_print(*value, text)));
}

static bool read_numbers(const column_cells *c, uint32_t rows, numbers *n) {
  bool any = false, decimal = true;
  n->scale = 0;
  n->missing = n->null = false;
  for (uint32_t i = 0; i < rows; i++) {
    toon_slice token = cell(c, i);
    n->state[i] = token.len == 0 ? 2 : is_null(token) ? 1 : 0;
    n->missing = n->missing || n->state[i];
    n->null = n->null || n->state[i] == 1;
    if (n->state[i]) {
      n->whole[i] = 0;
      n->scales[i] = 0;
      n->real[i] = 0;
      continue;
    }
    any = true;
    if (decimal && !(decimal = read_decimal(token, &n->whole[i], &n->scales[i])))
      for (uint32_t j = 0; j < i; j++) /* all of them as doubles, then */
        n->real[j] = (double)n->whole[j] / powers[n->scales[j]];
    if (decimal) {
      if (n->scales[i] > n->scale) n->scale = n->scales[i];
    } else if (!read_real(token, &n->real[i])) {
      return false;
    }
  }
  n->kind = COLUMN_FLOAT;
  if (!any || !decimal) return any;
  n->kind = COLUMN_INT;
  for (uint32_t i = 0; i < rows; i++) {
    int64_t factor = whole_powers[n->scale - n->scales[i]], limit = EXACT / factor;
    n->real[i] = (double)n->whole[i] / powers[n->scales[i]];
    if (n->whole[i] > limit || n->whole[i] < -limit) n->kind = COLUMN_FLOAT;
    if (n->kind == COLUMN_INT) n->scales[i] = 0, n->whole[i] *= factor;
  }
  return true;
}

static toon_status pad(toon_buf *out, size_t from) {
  static const uint8_t zeros[8];
  return toon_buf_append(out, zeros, (8 - (out->len - from) % 8) % 8);
}

static toon_status put_u32(toon_buf *out, uint32_t value) { return toon_buf_append(out, &value, 4); }

static toon_status put_bits(const numbers *n, uint32_t rows, uint8_t least, uint8_t most, toon_buf *out) {
  uint8_t bits[COLUMN_ROWS / 8] = {0};
  for (uint32_t i = 0; i < rows; i++)
    if (n->state[i] >= least && n->state[i] <= most) bits[i >> 3] |= (uint8_t)(1u << (i & 7));
  return toon_buf_append(out, bits, ((size_t)rows + 63) / 64 * 8);
}

static toon_status encode_numbers(const numbers *n, uint32_t rows, toon_buf *out, column_place *place) {
  size_t from = out->len;
  int64_t low = INT64_MAX, high = INT64_MIN;
  place->kind = n->kind;
  place->min = 1;
  place->max = 0;
  for (uint32_t i = 0; i < rows; i++) {
    if (n->state[i]) continue;
    bool first = place->min > place->max;
    if (first || n->real[i] < place->min) place->min = n->real[i];
    if (first || n->real[i] > place->max) place->max = n->real[i];
    if (n->whole[i] < low) low = n->whole[i];
    if (n->whole[i] > high) high = n->whole[i];
  }
  uint64_t range = (uint64_t)high - (uint64_t)low;
  place->width = n->kind == COLUMN_FLOAT ? 8
                 : !range                ? 0
                 : range <= UINT8_MAX    ? 1
                 : range <= UINT16_MAX   ? 2
                 : range <= UINT32_MAX   ? 4
                                         : 8;
  place->scale = n->kind == COLUMN_INT ? n->scale : 0;
  TOON_TRY(put_u32(out, (n->missing ? 1 : 0) | (n->null ? 2 : 0)));
  TOON_TRY(put_u32(out, 0));
  if (n->kind == COLUMN_FLOAT) low = 0;
  TOON_TRY(toon_buf_append(out, &low, 8));
  if (n->missing) TOON_TRY(put_bits(n, rows, 1, 2, out));
  if (n->null) TOON_TRY(put_bits(n, rows, 1, 1, out));
  if (n->kind == COLUMN_FLOAT) return toon_buf_append(out, n->real, (size_t)8 * rows);
  for (uint32_t i = 0; i < rows; i++) {
    uint64_t value = n->state[i] ? 0 : (uint64_t)n->whole[i] - (uint64_t)low;
    TOON_TRY(toon_buf_append(out, &value, place->width)); /* little-endian */
  }
  return pad(out, from);
}

static toon_status encode_text(const column_cells *c, uint32_t rows, toon_buf *out) {
  TOON_TRY(toon_buf_append(out, c->at, (size_t)4 * (rows + 1)));
  return toon_buf_append(out, c->bytes.ptr, c->at[rows]);
}

static void read_dictionary(const column_cells *c, uint32_t rows, dictionary *d) {
  enum { SLOTS = 4 * COLUMN_ROWS };
  uint16_t slots[SLOTS] = {0};
  d->count = 0;
  d->bytes = 0;
  for (uint32_t i = 0; i < rows; i++) {
    toon_slice token = cell(c, i);
    size_t slot = (size_t)toon_hash(token.ptr, token.len, 0) % SLOTS;
    while (slots[slot] && !toon_slice_eq(cell(c, d->first[slots[slot] - 1]), token)) slot = (slot + 1) % SLOTS;
    if (!slots[slot]) {
      d->first[d->count++] = i;
      d->bytes += token.len;
      slots[slot] = (uint16_t)d->count;
    }
    d->codes[i] = (uint16_t)(slots[slot] - 1);
  }
}

static toon_status encode_dictionary(const column_cells *c, uint32_t rows, const dictionary *d, toon_buf *out,
                                     column_place *place) {
  size_t from = out->len;
  uint32_t at = 0;
  place->kind = COLUMN_DICT;
  place->width = d->count == 1 ? 0 : d->count <= 256 ? 1 : 2;
  TOON_TRY(put_u32(out, d->count));
  TOON_TRY(put_u32(out, 0));
  for (uint32_t i = 0; i < d->count; i++) {
    TOON_TRY(put_u32(out, at));
    at += (uint32_t)cell(c, d->first[i]).len;
  }
  TOON_TRY(put_u32(out, at));
  for (uint32_t i = 0; i < d->count; i++) TOON_TRY(toon_buf_add(out, cell(c, d->first[i])));
  TOON_TRY(pad(out, from));
  for (uint32_t i = 0; i < rows; i++) TOON_TRY(toon_buf_append(out, &d->codes[i], place->width));
  return TOON_OK;
}

toon_status column_encode(const column_cells *c, uint32_t rows, column_scratch *scratch, toon_buf *out,
                          column_place *place) {
  *place = (column_place){.kind = COLUMN_ROWS_ONLY, .min = 1};
  if (c->rows_only) return TOON_OK;
  if (read_numbers(c, rows, &scratch->numbers)) return encode_numbers(&scratch->numbers, rows, out, place);
  dictionary *d = &scratch->dictionary;
  read_dictionary(c, rows, d);
  size_t width = d->count == 1 ? 0 : d->count <= 256 ? 1 : 2;
  if (16 + (size_t)4 * d->count + d->bytes + width * rows < (size_t)4 * rows + c->at[rows] || d->count == 1)
    return encode_dictionary(c, rows, d, out, place);
  place->kind = COLUMN_TEXT;
  return encode_text(c, rows, out);
}

toon_status column_encode_ids(const column_cells *c, uint32_t rows, toon_buf *out, column_place *place) {
  size_t from = out->len;
  toon_slice first = cell(c, 0), last = cell(c, rows - 1);
  uint32_t shared = 0, at = 0;
  while (shared < first.len && shared < last.len && first.ptr[shared] == last.ptr[shared]) shared++;
  *place = (column_place){.kind = COLUMN_IDS, .min = 1};
  TOON_TRY(put_u32(out, shared));
  TOON_TRY(put_u32(out, 0));
  TOON_TRY(toon_buf_append(out, first.ptr, shared));
  TOON_TRY(pad(out, from));
  for (uint32_t i = 0; i < rows; i++) {
    TOON_TRY(put_u32(out, at));
    at += (uint32_t)cell(c, i).len - shared;
  }
  TOON_TRY(put_u32(out, at));
  for (uint32_t i = 0; i < rows; i++) TOON_TRY(toon_buf_append(out, cell(c, i).ptr + shared, cell(c, i).len - shared));
  return TOON_OK;
}

size_t column_scratch_size(void) { return sizeof(column_scratch); }

/* ---- checking ---- */

/* Offsets of `count` texts at `offsets`, with their bytes behind them, which end before `end`. */
static bool check_texts(const uint8_t *offsets, uint32_t count, const uint8_t *end, const uint8_t **bytes,
                        uint32_t *length) {
  size_t room = (size_t)(end - offsets);
  if (count >= room / 4) return false;
  uint32_t last = 0;
  for (uint32_t i = 0; i <= count; i++) {
    uint32_t at = column_u32(offsets + (size_t)4 * i);
    if (at < last || (i == 0 && at)) return false;
    last = at;
  }
  *bytes = offsets + (size_t)4 * (count + 1);
  *length = last;
  return last <= room - (size_t)4 * (count + 1);
}

static bool open_numbers(column_vector *v, const uint8_t *p, size_t length) {
  size_t bits = ((size_t)v->rows + 63) / 64 * 8, need = 16;
  if (length < 16) return false;
  uint32_t marks = column_u32(p);
  if (marks > 3 || marks == 2 || v->scale > DIGITS_MAX) return false;
  memcpy(&v->base, p + 8, 8);
  if (v->kind == COLUMN_FLOAT ? v->width != 8 : v->width > 8 || (v->width & (v->width - 1))) return false;
  if (marks & 1) {
    v->missing = p + need;
    need += bits;
  }
  if (marks & 2) {
    v->nulls = p + need;
    need += bits;
  }
  v->values = p + need;
  v->divisor = powers[v->scale];
  return length >= need + (size_t)v->width * v->rows;
}

static bool open_dictionary(column_vector *v, const uint8_t *p, size_t length) {
  uint32_t bytes;
  if (length < 8) return false;
  v->count = column_u32(p);
  v->offsets = p + 8;
  if (!v->count || v->count > COLUMN_ROWS || v->width > 2 ||
      !check_texts(v->offsets, v->count, p + length, &v->bytes, &bytes))
    return false;
  size_t at = (size_t)(v->bytes - p) + bytes;
  at = (at + 7) / 8 * 8;
  v->values = p + at;
  return at + (size_t)v->width * v->rows <= length;
}

static bool open_ids(column_vector *v, const uint8_t *p, size_t length) {
  uint32_t bytes;
  if (length < 8 || column_u32(p) > length - 8) return false;
  v->shared = toon_slice_of(p + 8, column_u32(p));
  size_t at = (8 + v->shared.len + 7) / 8 * 8;
  v->offsets = p + at;
  return at <= length && check_texts(v->offsets, v->rows, p + length, &v->bytes, &bytes);
}

static void set_room(column_vector *v, const uint8_t *end) {
  v->room = v->bytes && v->bytes <= end ? (size_t)(end - v->bytes) : 0;
}

/* What the directory says of a vector. */
static column_vector described(const column_place *place, uint32_t rows) {
  return (column_vector){.kind = place->kind,
                         .width = place->width,
                         .scale = place->scale,
                         .rows = rows,
                         .divisor = 1,
                         .min = place->min,
                         .max = place->max};
}

bool column_vector_open(column_vector *v, const column_place *place, uint32_t rows, const uint8_t *p) {
  uint32_t bytes;
  bool good;
  *v = described(place, rows);
  switch (v->kind) {
  case COLUMN_ROWS_ONLY: return true;
  case COLUMN_INT:
  case COLUMN_FLOAT: return open_numbers(v, p, place->length);
  case COLUMN_DICT: good = open_dictionary(v, p, place->length); break;
  case COLUMN_TEXT:
    v->offsets = p;
    good = check_texts(p, rows, p + place->length, &v->bytes, &bytes);
    break;
  case COLUMN_IDS: good = open_ids(v, p, place->length); break;
  default: return false;
  }
  if (good) set_room(v, p + place->length);
  return good;
}

void column_vector_reopen(column_vector *v, const column_place *place, uint32_t rows, const uint8_t *p) {
  *v = described(place, rows);
  switch (v->kind) {
  case COLUMN_INT:
  case COLUMN_FLOAT: open_numbers(v, p, place->length); break;
  case COLUMN_DICT:
    v->count = column_u32(p);
    v->offsets = p + 8;
    v->bytes = v->offsets + (size_t)4 * (v->count + 1);
    v->values = p + ((size_t)(v->bytes - p) + column_u32(v->bytes - 4) + 7) / 8 * 8;
    break;
  case COLUMN_TEXT:
    v->offsets = p;
    v->bytes = p + (size_t)4 * (rows + 1);
    break;
  case COLUMN_IDS:
    v->shared = toon_slice_of(p + 8, column_u32(p));
    v->offsets = p + (8 + v->shared.len + 7) / 8 * 8;
    v->bytes = v->offsets + (size_t)4 * (rows + 1);
    break;
  default: break;
  }
  set_room(v, p + place->length);
}

bool column_codes_valid(const column_vector *v) {
  if (v->kind != COLUMN_DICT) return true;
  uint32_t most = 0;
  for (uint32_t i = 0; i < v->rows; i++) {
    uint32_t code = column_code(v, i);
    if (code > most) most = code;
  }
  return most < v->count;
}

/* ---- reading ---- */

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
    "9899";

/* The digits of a number, so many at least; returns behind them. */
static uint8_t *put_digits(uint64_t value, uint32_t least, uint8_t *out) {
  uint8_t digits[24], *p = digits + sizeof digits;
  for (; value >= 100; value /= 100) memcpy(p -= 2, pairs + value % 100 * 2, 2);
  memcpy(p -= 2, pairs + value * 2, 2);
  if (value < 10) p++;
  while ((size_t)(digits + sizeof digits - p) < least) *--p = '0';
  size_t len = (size_t)(digits + sizeof digits - p);
  memcpy(out, p, len);
  return out + len;
}

/* Text of a whole number divided by 10^scale. */
static size_t print_decimal(int64_t value, uint8_t scale, uint8_t *out) {
  uint8_t *p = out;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  if (value < 0) *p++ = '-';
  if (!scale) return (size_t)(put_digits(rest, 1, p) - out);
  uint64_t unit = (uint64_t)whole_powers[scale], fraction = rest % unit;
  p = put_digits(rest / unit, 1, p);
  if (!fraction) return (size_t)(p - out);
  *p++ = '.';
  p = put_digits(fraction, scale, p);
  while (p[-1] == '0') p--;
  return (size_t)(p - out);
}

size_t column_print(const column_vector *v, uint32_t row, uint8_t *out) {
  return print_decimal(column_int(v, row), v->scale, out);
}

toon_slice column_token(const column_vector *v, uint32_t row, uint8_t *scratch) {
  if (v->kind == COLUMN_TEXT) return column_text(v, row);
  if (v->kind == COLUMN_DICT) return column_text(v, column_code(v, row));
  if (column_is_missing(v, row))
    return v->nulls && column_bit(v->nulls, row) ? TOON_SLICE_LIT("null") : toon_slice_of("", 0);
  if (v->kind == COLUMN_INT) return toon_slice_of(scratch, print_decimal(column_int(v, row), v->scale, scratch));
  return toon_slice_of(scratch, toon_number_print(column_number(v, row), scratch));
}

toon_status column_scalar(const column_vector *v, uint32_t row, toon_buf *scratch, toon_scalar *out, bool *there) {
  *out = (toon_scalar){.kind = TOON_NULL};
  if (v->kind == COLUMN_INT || v->kind == COLUMN_FLOAT) {
    bool missing = column_is_missing(v, row);
    *there = !missing || (v->nulls && column_bit(v->nulls, row));
    if (!missing) *out = (toon_scalar){.kind = TOON_NUMBER, .number = column_number(v, row)};
    return TOON_OK;
  }
  toon_slice token = column_text(v, v->kind == COLUMN_DICT ? column_code(v, row) : row);
  *there = token.len > 0;
  return *there ? toon_scalar_read(token, scratch, out) : TOON_OK;
}

toon_status column_id(const column_vector *ids, uint32_t row, toon_buf *out) {
  out->len = 0;
  TOON_TRY(toon_buf_add(out, ids->shared));
  return toon_buf_add(out, column_text(ids, row));
}

uint32_t column_search(const column_vector *ids, toon_slice id, bool *found) {
  *found = false;
  size_t n = id.len < ids->shared.len ? id.len : ids->shared.len;
  int c = n ? memcmp(id.ptr, ids->shared.ptr, n) : 0;
  if (c < 0 || (c == 0 && id.len < ids->shared.len)) return 0;
  if (c > 0) return ids->rows;
  id = toon_slice_of(id.ptr + n, id.len - n);
  uint32_t low = 0, high = ids->rows;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    c = toon_slice_cmp(column_text(ids, middle), id);
    if (c == 0) *found = true;
    if (c < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
