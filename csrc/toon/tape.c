/* Reading JSON text onto the tape, in one pass and without recursion. */
#include "toon/tape.h"

#include "base/alloc.h"
#include "toon/number.h"
#include "toon/quote.h"
#include "toon/scan.h"
#include "toon/toon.h"

#define SCALAR (TOON_NODE_SCALARS | TOON_NODE_ROW | TOON_NODE_SAME)

/* An open container. */
typedef struct frame {
  uint32_t node, count;
  uint32_t common;           /* what all its entries so far have in common */
  uint32_t model, model_end; /* next key of the model, 0 if there is none or it is lost; behind its last value */
  uint32_t previous;         /* the object that was its last entry of that kind, as a model for the next; or 0 */
  bool synced;               /* every key so far was the model's */
  bool object;
  bool aligned; /* an object that began with a model */
} frame;

#define FRAMES_SMALL 16

typedef struct reader {
  toon_tape *tape;
  const uint8_t *start, *end;
  uint8_t delimiter;
  toon_fault fault;
  bool twice;    /* some object has a key twice */
  frame *frames; /* frames[depth] is the innermost; frames[0] stands for what is outside the value */
  uint32_t depth, frames_cap;
  frame frames_small[FRAMES_SMALL];
} reader;

static toon_status wrong(reader *r, const uint8_t *at, const char *expected) {
  r->fault = (toon_fault){at, expected};
  return TOON_ESYNTAX;
}

toon_status toon_tape_grow(toon_tape *tape) {
  uint32_t cap = tape->cap < 0x80000000u ? tape->cap * 2 : 0xFFFFFFFFu;
  toon_node *nodes = toon_realloc(tape->nodes == tape->small ? NULL : tape->nodes, cap * sizeof *nodes);
  if (!nodes) return TOON_ENOMEM;
  if (tape->nodes == tape->small) memcpy(nodes, tape->small, sizeof tape->small);
  tape->nodes = nodes;
  tape->cap = cap;
  return TOON_OK;
}

static inline toon_status push(toon_tape *tape, uint32_t at, uint32_t len, uint32_t info) {
  if (tape->count == tape->cap) TOON_TRY(toon_tape_grow(tape));
  tape->nodes[tape->count++] = (toon_node){at, len, info};
  return TOON_OK;
}

static inline const uint8_t *skip_space(const uint8_t *p, const uint8_t *end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
  return p;
}

/* ---- strings ---- */

/* Check the escape at p. Returns the place behind it, NULL if it is wrong. *plain: TOON writes it the same
 * way. */
static const uint8_t *check_escape(reader *r, const uint8_t *p, bool *plain) {
  const uint8_t *end = r->end;
  switch (p + 1 < end ? p[1] : 0) {
  case '"':
  case '\\':
  case 'n':
  case 'r':
  case 't': *plain = true; return p + 2;
  case 'b':
  case 'f':
  case '/': *plain = false; return p + 2;
  case 'u': break;
  default: wrong(r, p, "one of the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"); return NULL;
  }
  *plain = false;
  int unit = toon_hex4(p + 2, end);
  if (unit < 0) {
    wrong(r, p, "four hex digits after \\u");
    return NULL;
  }
  /* JSON.stringify writes control characters as TOON does, if they have no letter: \u00 and two lower-case
   * digits. */
  *plain = unit < 0x20 && unit != '\n' && unit != '\r' && unit != '\t' && (p[5] <= '9' || p[5] >= 'a');
  if (unit < 0xD800 || unit > 0xDFFF) return p + 6;
  if (unit <= 0xDBFF && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
    int low = toon_hex4(p + 8, end);
    if (low >= 0xDC00 && low <= 0xDFFF) return p + 12;
  }
  wrong(r, p, "a pair of surrogates; a lone one is no character");
  return NULL;
}

/* Unescape [p, end), which was checked, to the end of tape->own. */
static toon_status unescape(toon_tape *tape, const uint8_t *p, const uint8_t *end) {
  TOON_TRY(toon_buf_reserve(&tape->own, (size_t)(end - p)));
  uint8_t *out = tape->own.ptr + tape->own.len;
  while (p < end) {
    if (*p != '\\') {
      const uint8_t *stop = toon_scan_escape(p, end, end);
      memcpy(out, p, (size_t)(stop - p));
      out += stop - p;
      p = stop;
      continue;
    }
    switch (p[1]) {
    case 'n': *out++ = '\n'; break;
    case 'r': *out++ = '\r'; break;
    case 't': *out++ = '\t'; break;
    case 'b': *out++ = '\b'; break;
    case 'f': *out++ = '\f'; break;
    case 'u': {
      uint32_t code = (uint32_t)toon_hex4(p + 2, end);
      p += 4;
      if (code >= 0xD800 && code <= 0xDFFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + ((uint32_t)toon_hex4(p + 4, end) - 0xDC00);
        p += 6;
      }
      out += toon_put_utf8(code, out);
      break;
    }
    default: *out++ = p[1];
    }
    p += 2;
  }
  tape->own.len = (size_t)(out - tape->own.ptr);
  return TOON_OK;
}

/* The rest of a string whose first escape (or mistake) is at stop. *node is filled; *p goes behind the
 * closing quote. */
static toon_status read_escaped(reader *r, const uint8_t **p, const uint8_t *stop, bool key, toon_node *node) {
  const uint8_t *text = *p, *end = r->end;
  bool own = key;
  for (;;) {
    if (stop == end) return wrong(r, end, "a closing quote");
    if (*stop == '"') break;
    if (*stop != '\\') return wrong(r, stop, "no control character in a string; they are escaped");
    bool plain = false;
    stop = check_escape(r, stop, &plain);
    if (!stop) return TOON_ESYNTAX;
    own |= !plain;
    stop = toon_scan_escape(stop, end, end);
  }
  *p = stop + 1;
  if (!own) {
    *node =
        (toon_node){(uint32_t)(text - 1 - r->start), (uint32_t)(stop - text) + 2, TOON_NODE_STRING | TOON_NODE_QUOTE};
    return TOON_OK;
  }
  size_t at = r->tape->own.len;
  TOON_TRY(unescape(r->tape, text, stop));
  size_t len = r->tape->own.len - at;
  *node = (toon_node){(uint32_t)at, (uint32_t)len, TOON_NODE_OWN | (key ? TOON_NODE_KEY : TOON_NODE_STRING)};
  if (key && !toon_key_is_bare(r->tape->own.ptr + at, len)) node->info |= TOON_NODE_QUOTE;
  return TOON_OK;
}

/* The string at *p, a quote. */
static inline toon_status read_string(reader *r, const uint8_t **p, toon_node *node) {
  const uint8_t *text = *p + 1;
  bool special = false;
  const uint8_t *stop = toon_scan_string(text, r->end, r->delimiter, &special);
  if (stop == r->end || *stop != '"') {
    *p = text;
    return read_escaped(r, p, stop, false, node);
  }
  size_t len = (size_t)(stop - text);
  bool quote = special || !toon_text_is_bare(text, len);
  *node = (toon_node){(uint32_t)(text - quote - r->start), (uint32_t)len + 2 * quote,
                      quote ? TOON_NODE_STRING | TOON_NODE_QUOTE : TOON_NODE_STRING};
  *p = stop + 1;
  return TOON_OK;
}

/* ---- keys ---- */

/* The key at *p, and the colon. Compares it with the model's next key. */
static inline toon_status read_key(reader *r, frame *f, const uint8_t **at) {
  toon_tape *tape = r->tape;
  const uint8_t *p = *at, *end = r->end;
  if (p == end || *p != '"') return wrong(r, p, f->count ? "a key in quotes" : "a key in quotes, or }");
  const uint8_t *text = ++p;
  toon_node node;
  bool matched = false;
  if (f->model) { /* the model's key is probably next: compare instead of scanning */
    const toon_node *key = &tape->nodes[f->model];
    if (f->model < f->model_end && !(key->info & TOON_NODE_OWN) && (size_t)(end - text) > key->len &&
        text[key->len] == '"' && toon_same_near(r->start + key->at, text, key->len, end)) {
      node = (toon_node){(uint32_t)(text - r->start), key->len, key->info};
      p = text + key->len + 1;
      matched = true;
    }
  }
  if (!matched) {
    const uint8_t *stop = toon_scan_escape(text, end, end);
    if (stop == end || *stop != '"') {
      TOON_TRY(read_escaped(r, &p, stop, true, &node));
    } else {
      node = (toon_node){(uint32_t)(text - r->start), (uint32_t)(stop - text), TOON_NODE_KEY};
      if (!toon_key_is_bare(text, node.len)) node.info |= TOON_NODE_QUOTE;
      p = stop + 1;
    }
    if (f->model && f->model < f->model_end) { /* an escaped key may still be the same */
      const toon_node *key = &tape->nodes[f->model];
      matched = key->len == node.len && memcmp(toon_tape_bytes(tape, key), toon_tape_bytes(tape, &node), key->len) == 0;
    }
    if (!matched) {
      f->model = 0;
      f->synced = false;
    }
  }
  TOON_TRY(push(tape, node.at, node.len, node.info));
  p = skip_space(p, end);
  if (p == end || *p != ':') return wrong(r, p, "a colon");
  *at = p + 1;
  return TOON_OK;
}

/* ---- containers ---- */

/* The model of an object that begins as the next entry of f; 0 for none. */
static uint32_t model_of(const toon_tape *tape, const frame *f) {
  uint32_t model = !f->aligned ? f->previous : f->model ? f->model + 1 : 0;
  const toon_node *node = &tape->nodes[model];
  return model && toon_node_kind(node) == TOON_NODE_OBJECT && !(node->info & TOON_NODE_TWICE) ? model : 0;
}

/* An entry with the bits `has` joins f. `as_model`: it is made as the model's entry, if f has a model. */
static inline void join(const toon_tape *tape, frame *f, uint32_t has, bool as_model) {
  f->count++;
  if (f->aligned) {
    if (!as_model) has &= ~(uint32_t)TOON_NODE_SAME;
    if (f->model) f->model = toon_tape_next(tape, f->model + 1);
  }
  f->common &= has;
}

static inline void join_scalar(const toon_tape *tape, frame *f) {
  join(tape, f, SCALAR, f->model && toon_node_is_scalar(&tape->nodes[f->model + 1]));
}

static void join_container(const toon_tape *tape, frame *f, uint32_t index) {
  const toon_node *node = &tape->nodes[index];
  if (toon_node_kind(node) == TOON_NODE_ARRAY) {
    join(tape, f, 0, false);
    return;
  }
  bool as_model = node->info & TOON_NODE_ALIGNED && node->info & TOON_NODE_SAME;
  uint32_t has = node->info & TOON_NODE_ROW ? TOON_NODE_ROWS | TOON_NODE_ROW : 0;
  if (f->aligned || !f->previous || as_model) has |= TOON_NODE_SAME; /* the first is its own measure */
  f->previous = index;
  join(tape, f, has, as_model);
}

static inline toon_status deepen(reader *r, const uint8_t *p) {
  return r->depth < TOON_MAX_DEPTH ? TOON_OK : wrong(r, p, "no more than 2000 levels of nesting");
}

static toon_status open_container(reader *r, uint32_t kind, const uint8_t *p) {
  toon_tape *tape = r->tape;
  TOON_TRY(deepen(r, p));
  if (r->depth + 1 == r->frames_cap) {
    frame *frames = toon_realloc(r->frames == r->frames_small ? NULL : r->frames, r->frames_cap * 4 * sizeof *frames);
    if (!frames) return TOON_ENOMEM;
    if (r->frames == r->frames_small) memcpy(frames, r->frames_small, sizeof r->frames_small);
    r->frames = frames;
    r->frames_cap *= 4;
  }
  frame *f = &r->frames[r->depth++];
  uint32_t model = kind == TOON_NODE_OBJECT ? model_of(tape, f) : 0;
  *++f = (frame){.node = tape->count,
                 .common = TOON_NODE_COMMON,
                 .model = model ? model + 1 : 0,
                 .synced = model != 0,
                 .object = kind == TOON_NODE_OBJECT,
                 .aligned = model != 0};
  if (model) f->model_end = tape->nodes[model].len;
  return push(tape, 0, 0, kind | (model ? TOON_NODE_ALIGNED : 0));
}

static toon_status close_container(reader *r) {
  toon_tape *tape = r->tape;
  frame *f = &r->frames[r->depth--];
  toon_node *node = &tape->nodes[f->node];
  uint32_t index = f->node, common = f->common;
  node->at = f->count;
  node->len = tape->count;
  if (f->count == 0) common &= ~(uint32_t)(TOON_NODE_ROWS | TOON_NODE_ROW);
  if (f->object) {
    if (f->aligned && !(f->synced && f->model == f->model_end)) common &= ~(uint32_t)TOON_NODE_SAME;
    if (!f->synced && f->count > 1) {
      bool unique = true;
      TOON_TRY(toon_tape_unique(tape, index + 1, tape->count, f->count, &unique));
      if (!unique) {
        common |= TOON_NODE_TWICE;
        r->twice = true;
      }
    }
  } else {
    common &= ~(uint32_t)TOON_NODE_ROW;
  }
  node->info |= common;
  join_container(tape, f - 1, index);
  return TOON_OK;
}

/* ---- values ---- */

static inline toon_status read_number(reader *r, const uint8_t **p, toon_node *node) {
  const uint8_t *text = *p, *end = r->end, *digits = text + (*text == '-'), *q = toon_skip_digits(digits, end, end);
  size_t count = (size_t)(q - digits);
  toon_number_form form = TOON_NUMBER_CANONICAL;
  /* The usual case here: a short integer. */
  if (count == 0 || count > 15 || *digits == '0' || (q < end && (*q == '.' || (*q | 0x20) == 'e'))) {
    size_t len = toon_number_scan(text, end, &form);
    if (len == 0) return wrong(r, text, "a number as JSON has them");
    q = text + len;
  }
  *node = (toon_node){(uint32_t)(text - r->start), (uint32_t)(q - text),
                      form == TOON_NUMBER_CANONICAL ? TOON_NODE_NUMBER : TOON_NODE_NUMBER | TOON_NODE_REWRITE};
  *p = q;
  return TOON_OK;
}

static toon_status read_literal(reader *r, const uint8_t **p, toon_node *node) {
  const uint8_t *text = *p;
  size_t left = (size_t)(r->end - text), len = *text == 'f' ? 5 : 4;
  if (left < len || !toon_is_literal(text, len)) return wrong(r, text, "a value");
  *node = (toon_node){(uint32_t)(text - r->start), (uint32_t)len, TOON_NODE_LITERAL};
  *p = text + len;
  return TOON_OK;
}

static toon_status read_all(reader *r) {
  toon_tape *tape = r->tape;
  const uint8_t *p = r->start, *end = r->end;
  frame *f = r->frames; /* the innermost */
  for (;;) {            /* a value comes next */
    p = skip_space(p, end);
    if (p == end) return wrong(r, p, "a value");
    uint8_t c = *p;
    if ((c == '{' || c == '[') && end - p > 1 && p[1] == c + 2) { /* empty: } is { + 2, and ] is [ + 2 */
      TOON_TRY(deepen(r, p));
      TOON_TRY(push(tape, 0, tape->count + 1, (c == '{' ? TOON_NODE_OBJECT : TOON_NODE_ARRAY) | TOON_NODE_SCALARS));
      join_container(tape, f, tape->count - 1);
      p += 2;
    } else if (c == '{' || c == '[') {
      TOON_TRY(open_container(r, c == '{' ? TOON_NODE_OBJECT : TOON_NODE_ARRAY, p));
      f = &r->frames[r->depth];
      p = skip_space(p + 1, end);
      if (p == end || *p != c + 2) {
        if (c == '{') TOON_TRY(read_key(r, f, &p));
        continue;
      }
      p++;
      TOON_TRY(close_container(r));
      f--;
    } else {
      toon_node node;
      if (c == '"')
        TOON_TRY(read_string(r, &p, &node));
      else if (c == '-' || toon_is_digit(c))
        TOON_TRY(read_number(r, &p, &node));
      else
        TOON_TRY(read_literal(r, &p, &node));
      TOON_TRY(push(tape, node.at, node.len, node.info));
      join_scalar(tape, f);
    }
    for (;;) { /* a value has ended */
      p = skip_space(p, end);
      if (r->depth == 0) return p == end ? TOON_OK : wrong(r, p, "nothing behind the value");
      if (p < end && *p == ',') {
        p++;
        if (f->object) {
          p = skip_space(p, end);
          TOON_TRY(read_key(r, f, &p));
        }
        break;
      }
      if (p == end || *p != (f->object ? '}' : ']')) return wrong(r, p, f->object ? "a comma or }" : "a comma or ]");
      p++;
      TOON_TRY(close_container(r));
      f--;
    }
  }
}

/* Fill *err with the place of the fault. */
static toon_status report(const reader *r, toon_error *err) {
  const uint8_t *at = r->fault.at, *line = r->start;
  uint32_t number = 1;
  for (const uint8_t *p; (p = memchr(line, '\n', (size_t)(at - line))); line = p + 1) number++;
  bool at_end = at == r->end;
  toon_fail(err, TOON_ESYNTAX, "JSON, line %u, column %u: expected %s%s", number, (unsigned)(at - line) + 1,
            r->fault.expected, at_end ? ", but the text ends" : "");
  if (err) {
    err->line = number;
    err->column = (uint32_t)(at - line) + 1;
  }
  return TOON_ESYNTAX;
}

toon_status toon_tape_read(toon_tape *tape, toon_slice json, uint8_t delimiter, toon_error *err) {
  json = toon_slice_some(json);
  tape->nodes = tape->small;
  tape->cap = TOON_TAPE_SMALL;
  tape->count = 0;
  tape->json = json;
  tape->own = (toon_buf){0};
  if (json.len > TOON_TEXT_MAX) return toon_fail(err, TOON_EVALUETOOBIG, "the JSON text is longer than 2 GiB");
  reader r; /* its frames are filled as they are opened */
  r.tape = tape;
  r.start = json.ptr;
  r.end = json.ptr + json.len;
  r.delimiter = delimiter;
  r.twice = false;
  r.depth = 0;
  r.frames = r.frames_small;
  r.frames_cap = FRAMES_SMALL;
  r.frames[0] = (frame){0};
  toon_status status = read_all(&r);
  if (status == TOON_OK && r.twice) status = toon_tape_rebuild(tape);
  if (r.frames != r.frames_small) toon_free(r.frames);
  if (status == TOON_ESYNTAX) return report(&r, err);
  return status == TOON_OK ? status : toon_fail(err, status, NULL);
}

void toon_tape_free(toon_tape *tape) {
  if (tape->nodes != tape->small) toon_free(tape->nodes);
  toon_buf_free(&tape->own);
  tape->nodes = NULL;
}
