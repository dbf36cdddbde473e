/* From JSON to TOON: the tape is walked once, with a stack of our own, and every line is written as it comes.
 * The forms are those of the spec's section 9 as the reference chooses them:
 *
 *     key[2]: 1,2                 array of scalars
 *     key[2]{id,at{x,y}}:         array of rows; nested objects become groups of columns
 *       1,10,20
 *     key[2:]{x}:                 object of at least two rows
 *       a: 1
 *     key[2]:                     any other array
 *       - 1
 *       - id: 1                   an object in a list starts on the hyphen's line; its other fields follow
 * one level deeper tags[1]: x key: []    key:    -        empty array; empty object; empty object in a list
 */
#include "toon/encode.h"

#include "base/alloc.h"
#include "base/utf.h"
#include "toon/number.h"
#include "toon/quote.h"
#include "toon/scan.h"

/* A container whose entries are being written one a line (or more). */
typedef struct frame {
  uint32_t at, end; /* next entry, behind the last */
  uint32_t depth;   /* of its entries' lines */
  bool list;        /* items behind hyphens, else fields */
} frame;

#define FRAMES_SMALL 16

typedef struct encoder {
  toon_tape *tape;
  toon_writer *w;
  const uint8_t *json_end;
  uint8_t delimiter, indent_size;
  bool on_hyphen;         /* the next field stands behind a hyphen already written */
  toon_buf cells, groups; /* of uint32_t: cells of permuted rows; ends of open groups of columns */
  frame *frames;
  uint32_t depth, frames_cap;
  frame frames_small[FRAMES_SMALL];
} encoder;

static toon_status push(encoder *e, uint32_t index, uint32_t depth, bool list) {
  if (e->depth == e->frames_cap) {
    frame *frames = toon_realloc(e->frames == e->frames_small ? NULL : e->frames, e->frames_cap * 4 * sizeof *frames);
    if (!frames) return TOON_ENOMEM;
    if (e->frames == e->frames_small) memcpy(frames, e->frames_small, sizeof e->frames_small);
    e->frames = frames;
    e->frames_cap *= 4;
  }
  e->frames[e->depth++] = (frame){index + 1, e->tape->nodes[index].len, depth, list};
  return TOON_OK;
}

/* ---- pieces of lines ---- */

/* The spaces in front of a line, where there is room. */
static inline void write_indent(encoder *e, size_t spaces) {
  if (spaces <= 16)
    memset(e->w->at, ' ', 16);
  else
    memset(e->w->at, ' ', spaces);
  e->w->at += spaces;
}

static inline toon_status put_indent(encoder *e, uint32_t depth) {
  size_t spaces = (size_t)depth * e->indent_size;
  TOON_TRY(toon_room(e->w, spaces));
  write_indent(e, spaces);
  return TOON_OK;
}

static inline toon_status put_text(encoder *e, const char *text, size_t len) {
  TOON_TRY(toon_room(e->w, len));
  toon_write(e->w, text, len);
  return TOON_OK;
}
#define put_lit(e, text) put_text(e, text, sizeof(text) - 1)

static toon_status put_key(encoder *e, const toon_node *node) {
  toon_slice key = toon_slice_of(toon_tape_bytes(e->tape, node), node->len);
  if (node->info & TOON_NODE_QUOTE) return toon_write_quoted(e->w, key);
  TOON_TRY(toon_room(e->w, key.len));
  if (node->info & TOON_NODE_OWN)
    toon_write(e->w, key.ptr, key.len);
  else
    toon_write_near(e->w, key.ptr, key.len, e->json_end);
  return TOON_OK;
}

static toon_status put_odd_scalar(encoder *e, const toon_node *node) {
  const uint8_t *bytes = toon_tape_bytes(e->tape, node);
  if (node->info & TOON_NODE_OWN) return toon_write_text(e->w, toon_slice_of(bytes, node->len), e->delimiter);
  uint8_t scratch[TOON_NUMBER_TEXT_MAX];
  toon_slice text = toon_number_text(bytes, node->len, scratch);
  return put_text(e, (const char *)text.ptr, text.len);
}

/* The bytes of a key or scalar that are written as they stand in the JSON, where there is room. */
static inline bool stands(const toon_node *node) {
  return !(node->info & (TOON_NODE_OWN | TOON_NODE_REWRITE)) &&
         (node->info & (TOON_NODE_KIND | TOON_NODE_QUOTE)) != (TOON_NODE_KEY | TOON_NODE_QUOTE);
}
static inline void write_standing(encoder *e, const toon_node *node) {
  toon_write_near(e->w, e->tape->json.ptr + node->at, node->len, e->json_end);
}

static inline toon_status put_scalar(encoder *e, const toon_node *node) {
  if (!stands(node)) return put_odd_scalar(e, node);
  TOON_TRY(toon_room(e->w, node->len));
  write_standing(e, node);
  return TOON_OK;
}

static inline toon_status put_cell(encoder *e, const toon_node *node, bool first) {
  if (!stands(node)) {
    if (!first) TOON_TRY(put_text(e, (const char *)&e->delimiter, 1));
    return put_odd_scalar(e, node);
  }
  TOON_TRY(toon_room(e->w, (size_t)node->len + !first));
  *e->w->at = e->delimiter;
  e->w->at += !first;
  write_standing(e, node);
  return TOON_OK;
}

/* [N], [N:], with the delimiter if it is not the comma. */
static toon_status put_length(encoder *e, uint32_t count, bool keyed) {
  uint32_t digits = 1;
  for (uint32_t rest = count; rest >= 10; rest /= 10) digits++;
  TOON_TRY(toon_room(e->w, digits + 2 + keyed + (e->delimiter != ',')));
  uint8_t *p = e->w->at;
  *p = '[';
  for (uint32_t i = digits; i > 0; i--, count /= 10) p[i] = (uint8_t)('0' + count % 10);
  p += 1 + digits;
  if (keyed) *p++ = ':';
  if (e->delimiter != ',') *p++ = e->delimiter;
  *p++ = ']';
  e->w->at = p;
  return TOON_OK;
}

/* The columns of a table: {a,b{c,d}}. */
static toon_status put_columns(encoder *e, uint32_t row) {
  const toon_tape *tape = e->tape;
  uint32_t end = tape->nodes[row].len;
  bool first = true;
  e->groups.len = 0;
  TOON_TRY(put_lit(e, "{"));
  for (uint32_t i = row + 1; i < end;) {
    if (!first) TOON_TRY(put_text(e, (const char *)&e->delimiter, 1));
    TOON_TRY(put_key(e, &tape->nodes[i]));
    i++;
    first = toon_node_kind(&tape->nodes[i]) == TOON_NODE_OBJECT;
    if (first) {
      TOON_TRY(put_lit(e, "{"));
      TOON_TRY(toon_buf_append(&e->groups, &tape->nodes[i].len, sizeof(uint32_t)));
    }
    i++;
    while (e->groups.len && ((uint32_t *)(void *)(e->groups.ptr + e->groups.len))[-1] == i) {
      TOON_TRY(put_lit(e, "}"));
      e->groups.len -= sizeof(uint32_t);
    }
  }
  return put_lit(e, "}");
}

/* The cells of a row; of those in order, keys and groups are skipped by just going on. */
static toon_status put_row(encoder *e, uint32_t row, uint32_t columns) {
  const toon_node *node = &e->tape->nodes[row], *end = e->tape->nodes + node->len;
  bool first = true;
  if (node->info & TOON_NODE_PERMUTED) {
    const uint32_t *cells = (const uint32_t *)(const void *)e->cells.ptr + node->at;
    for (uint32_t i = 0; i < columns; i++) TOON_TRY(put_cell(e, &e->tape->nodes[cells[i]], i == 0));
  } else {
    for (node++; node < end; node++) {
      if (!toon_node_is_scalar(node)) continue;
      TOON_TRY(put_cell(e, node, first));
      first = false;
    }
  }
  return put_lit(e, "\n");
}

/* ---- forms ---- */

/* True if the container at `index` is written as a table. */
static toon_status is_table(encoder *e, uint32_t index, bool *table) {
  const toon_node *node = &e->tape->nodes[index];
  bool keyed = toon_node_kind(node) == TOON_NODE_OBJECT;
  *table = false;
  if (!(node->info & TOON_NODE_ROWS) || (keyed && node->at < 2)) return TOON_OK;
  *table = node->info & TOON_NODE_SAME && !(node->info & TOON_NODE_ALIGNED);
  return *table ? TOON_OK : toon_tape_rows_alike(e->tape, index, &e->cells, table);
}

/* What follows the key (or the start) of a table. */
static toon_status put_table(encoder *e, uint32_t index, uint32_t depth) {
  const toon_tape *tape = e->tape;
  const toon_node *node = &tape->nodes[index];
  uint32_t keyed = toon_node_kind(node) == TOON_NODE_OBJECT, end = node->len, columns = 0;
  uint32_t first = index + 1 + keyed;
  for (uint32_t i = first + 1; i < tape->nodes[first].len; i++) columns += toon_node_is_scalar(&tape->nodes[i]);
  TOON_TRY(put_length(e, node->at, keyed));
  TOON_TRY(put_columns(e, first));
  TOON_TRY(put_lit(e, ":\n"));
  for (uint32_t row = first; row < end; row = toon_tape_next(tape, row) + keyed) {
    TOON_TRY(put_indent(e, depth + 1));
    if (keyed) {
      TOON_TRY(put_key(e, &tape->nodes[row - 1]));
      TOON_TRY(put_lit(e, ": "));
    }
    TOON_TRY(put_row(e, row, columns));
  }
  return TOON_OK;
}

/* [N]: a,b,c */
static toon_status put_inline(encoder *e, uint32_t index) {
  const toon_node *node = &e->tape->nodes[index], *item = node + 1, *end = e->tape->nodes + node->len;
  TOON_TRY(put_length(e, node->at, false));
  TOON_TRY(put_lit(e, ":"));
  for (bool first = true; item < end; item++, first = false) {
    if (first) TOON_TRY(put_lit(e, " "));
    TOON_TRY(put_cell(e, item, first));
  }
  return put_lit(e, "\n");
}

/* An array that is no table, from its bracket on. */
static toon_status put_list(encoder *e, uint32_t index, uint32_t depth) {
  if (e->tape->nodes[index].info & TOON_NODE_SCALARS) return put_inline(e, index);
  TOON_TRY(put_length(e, e->tape->nodes[index].at, false));
  TOON_TRY(put_lit(e, ":\n"));
  return push(e, index, depth + 1, true);
}

/* What follows a key at `depth`. */
static toon_status put_member(encoder *e, uint32_t index, uint32_t depth) {
  const toon_node *node = &e->tape->nodes[index];
  if (toon_node_is_scalar(node)) {
    TOON_TRY(put_lit(e, ": "));
    TOON_TRY(put_scalar(e, node));
    return put_lit(e, "\n");
  }
  bool table, array = toon_node_kind(node) == TOON_NODE_ARRAY;
  if (array && node->at == 0) return put_lit(e, ": []\n");
  TOON_TRY(is_table(e, index, &table));
  if (table) return put_table(e, index, depth);
  if (array) return put_list(e, index, depth);
  TOON_TRY(put_lit(e, ":\n"));
  return node->at ? push(e, index, depth + 1, false) : TOON_OK;
}

/* A list item. Arrays in lists are never tables. */
static toon_status put_item(encoder *e, uint32_t index, uint32_t depth) {
  const toon_node *node = &e->tape->nodes[index];
  size_t spaces = (size_t)depth * e->indent_size;
  TOON_TRY(toon_room(e->w, spaces + 2));
  write_indent(e, spaces);
  if (toon_node_kind(node) == TOON_NODE_OBJECT && node->at == 0) {
    toon_write(e->w, "-\n", 2);
    return TOON_OK;
  }
  toon_write(e->w, "- ", 2);
  if (toon_node_kind(node) == TOON_NODE_ARRAY) return put_list(e, index, depth);
  if (toon_node_is_scalar(node)) {
    TOON_TRY(put_scalar(e, node));
    return put_lit(e, "\n");
  }
  e->on_hyphen = true;
  return push(e, index, depth + 1, false);
}

static toon_status put_rest(encoder *e) {
  while (e->depth) {
    frame *f = &e->frames[e->depth - 1];
    if (f->at == f->end) {
      e->depth--;
      continue;
    }
    uint32_t entry = f->at, depth = f->depth;
    if (f->list) {
      f->at = toon_tape_next(e->tape, entry);
      TOON_TRY(put_item(e, entry, depth));
      continue;
    }
    const toon_node *key = &e->tape->nodes[entry], *value = key + 1;
    if (toon_node_is_scalar(value) && stands(key) && stands(value)) { /* most fields: one look for room */
      size_t spaces = e->on_hyphen ? 0 : (size_t)depth * e->indent_size;
      f->at = entry + 2;
      e->on_hyphen = false;
      TOON_TRY(toon_room(e->w, spaces + key->len + 2 + value->len + 1));
      write_indent(e, spaces);
      write_standing(e, key);
      toon_write(e->w, ": ", 2);
      write_standing(e, value);
      toon_write_byte(e->w, '\n');
      continue;
    }
    f->at = toon_tape_next(e->tape, entry + 1);
    if (!e->on_hyphen) TOON_TRY(put_indent(e, depth));
    e->on_hyphen = false;
    TOON_TRY(put_key(e, &e->tape->nodes[entry]));
    TOON_TRY(put_member(e, entry + 1, depth));
  }
  return TOON_OK;
}

/* A string that is all there is: with a byte order mark in front it is quoted, or a reader would take the
 * mark off. */
static bool starts_with_mark(toon_slice text) { return text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0; }

static toon_status put_root(encoder *e) {
  const toon_node *node = e->tape->nodes;
  if (toon_node_is_scalar(node)) {
    toon_slice text = toon_slice_of(toon_tape_bytes(e->tape, node), node->len);
    if (toon_node_kind(node) == TOON_NODE_STRING && starts_with_mark(text))
      TOON_TRY(toon_write_quoted(e->w, text));
    else
      TOON_TRY(put_scalar(e, node));
    return put_lit(e, "\n");
  }
  bool table;
  TOON_TRY(is_table(e, 0, &table));
  if (table) return put_table(e, 0, 0);
  if (toon_node_kind(node) == TOON_NODE_OBJECT) return push(e, 0, 0, false);
  return node->at ? put_list(e, 0, 0) : put_lit(e, "[]\n");
}

toon_status toon_encode_tape(toon_tape *tape, const toon_text_options *options, bool field, toon_writer *w) {
  encoder e = {.tape = tape,
               .w = w,
               .json_end = tape->json.ptr + tape->json.len,
               .delimiter = options->delimiter,
               .indent_size = options->indent_size,
               .frames_cap = FRAMES_SMALL};
  e.frames = e.frames_small;
  toon_status status = field ? put_member(&e, 0, 0) : put_root(&e);
  if (status == TOON_OK) status = put_rest(&e);
  if (e.frames != e.frames_small) toon_free(e.frames);
  toon_buf_free(&e.cells);
  toon_buf_free(&e.groups);
  return status;
}

/* ---- documents ---- */

toon_status toon_check_indent(const toon_text_options *options, toon_error *err) {
  if (options->indent_size >= 1 && options->indent_size <= 16) return TOON_OK;
  return toon_fail(err, TOON_EINVAL, "indentation must be 1 to 16 spaces a level");
}

toon_status toon_check_utf8(toon_slice text, toon_error *err) {
  size_t valid = text.len ? toon_utf8_valid(text.ptr, text.len) : 0;
  if (valid == text.len) return TOON_OK;
  const uint8_t *line = text.ptr, *at = text.ptr + valid;
  uint32_t number = 1;
  for (const uint8_t *p; (p = memchr(line, '\n', (size_t)(at - line))); line = p + 1) number++;
  toon_fail(err, TOON_ESYNTAX, "line %u, column %u: expected valid UTF-8, but found the byte 0x%02X", number,
            (unsigned)(at - line) + 1, *at);
  if (err) {
    err->line = number;
    err->column = (uint32_t)(at - line) + 1;
  }
  return TOON_ESYNTAX;
}

toon_status toon_encode(toon_slice json, const toon_text_options *options, toon_buf *out, toon_error *err) {
  static const toon_text_options defaults = {',', 2, true};
  if (!options) options = &defaults;
  TOON_TRY(toon_check_indent(options, err));
  if (options->delimiter != ',' && options->delimiter != '\t' && options->delimiter != '|')
    return toon_fail(err, TOON_EINVAL, "the delimiter must be a comma, a tab or |");
  TOON_TRY(toon_check_utf8(json, err));
  size_t len = out->len;
  toon_tape tape;
  toon_writer w;
  toon_status status = toon_tape_read(&tape, json, options->delimiter, err);
  bool reported = status != TOON_OK;
  if (status == TOON_OK) status = toon_writer_begin(&w, out, json.len, TOON_TEXT_MAX);
  if (status == TOON_OK) status = toon_encode_tape(&tape, options, false, &w);
  toon_tape_free(&tape);
  if (status != TOON_OK) {
    out->len = len;
    if (reported) return status;
    return toon_fail(err, status, status == TOON_EVALUETOOBIG ? "the text is longer than 2 GiB" : NULL);
  }
  toon_writer_end(&w);
  if (out->len > len) out->len--; /* no newline at the end of a document */
  return TOON_OK;
}

toon_status toon_put_json_string(toon_buf *out, toon_slice text) {
  toon_writer w;
  TOON_TRY(toon_writer_begin(&w, out, text.len + 2, TOON_TEXT_MAX));
  TOON_TRY(toon_write_json_string(&w, text));
  toon_writer_end(&w);
  return TOON_OK;
}
