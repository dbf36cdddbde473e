/* TOON text: the codec room. TOON spec v4 (github.com/toon-format/spec), as its reference implementation 4.4.0 behaves.
 *
 * Two levels. The *document* functions turn JSON text into TOON text and back; they are what `encode` and `decode` of
 * the JavaScript API call. The *field* functions write and read one value as the log keeps it: the text that follows a
 * key at column 0, from the key's last byte to the newline that ends the value, e.g.
 *
 *     key: Alice            ->  ": Alice\n"
 *     key[2]: a,b           ->  "[2]: a,b\n"
 *     key:                  ->  ":\n  id: 1\n"
 *       id: 1
 *     key:                  ->  ":\n"               (the empty object)
 *
 * so that key token + field text is one entry of a root object. Stored text always has comma and two spaces.
 *
 * All functions append to *out and, when they fail, leave out->len as it was. They are linear in their input, take no
 * memory on the word of a declared length, and refuse nesting deeper than TOON_MAX_DEPTH. */
#ifndef TOON_TOON_TOON_H
#define TOON_TOON_TOON_H

#include "base/buf.h"

#define TOON_MAX_DEPTH 2000

/* What a value is. The numbers are part of the run format: append only. */
typedef enum toon_kind {
  TOON_NULL = 0,
  TOON_FALSE = 1,
  TOON_TRUE = 2,
  TOON_NUMBER = 3,
  TOON_STRING = 4,
  TOON_BYTES = 5,
  TOON_ARRAY = 6,
  TOON_OBJECT = 7
} toon_kind;

enum {
  TOON_TEXT_ASCII = 8, /* every byte of the field text is below 0x80 */
  TOON_TEXT_PLAIN = 16 /* a string that stands unquoted: its bytes are the text between ": " and "\n" */
};

typedef struct toon_text_options {
  uint8_t delimiter;   /* ',' '\t' or '|' */
  uint8_t indent_size; /* encode: 1 to 16 spaces. decode: what one level is in strict mode */
  bool strict;         /* decode only */
} toon_text_options;
#define TOON_TEXT_DEFAULTS ((toon_text_options){',', 2, true})

/* ---- documents ---- */

/* Both: options NULL means TOON_TEXT_DEFAULTS. No text above 2 GiB is read or written (TOON_EVALUETOOBIG), because a
 * short text can stand for an endless one: a table's keys are repeated in the JSON, deep nesting is indented in TOON. */

/* JSON text (RFC 8259, UTF-8) to a TOON document without a final newline. The last of several equal keys wins, at the
 * place of the first, as JSON.parse has it. Number tokens become canonical, as JavaScript's String() gives them, except
 * that integers keep all their digits; what overflows a double (an infinity to JSON.parse) is null.
 * TOON_ESYNTAX with line and column of the JSON text if it is not valid; lone surrogate escapes are not. */
toon_status toon_encode(toon_slice json, const toon_text_options *options, toon_buf *out, toon_error *err);

/* Append text, which is valid UTF-8, as a JSON string. */
toon_status toon_put_json_string(toon_buf *out, toon_slice text);

/* A TOON document to compact JSON text. TOON_ESYNTAX with line and column. "base64:" tokens are strings here. Numbers
 * stay as they are written, but -0 is 0, and what overflows a double is a string, as the reference has it. A key that
 * comes twice is an error in strict mode; else it stands twice in the JSON, and JSON.parse takes the last, as the
 * reference does. */
toon_status toon_decode(toon_slice text, const toon_text_options *options, toon_buf *out, toon_error *err);

/* How the cells of a table's column are kept. */
typedef enum toon_column_kind {
  TOON_COLUMN_NONE = 0,
  TOON_COLUMN_INT = 1,    /* int32_t each */
  TOON_COLUMN_DOUBLE = 2, /* double each, finite, never -0 */
  TOON_COLUMN_BOOL = 3,   /* a byte each, 0 or 1 */
  TOON_COLUMN_TEXT = 4,   /* strings without newlines, joined by newlines */
  TOON_COLUMN_JSON = 5,   /* a JSON array of values */
  TOON_COLUMN_DICT = 6    /* of queries: a JSON array of scalars; uint16_t each, which of those, in `codes` */
} toon_column_kind;

typedef struct toon_table_column {
  toon_column_kind kind;
  toon_slice data;
  toon_slice codes; /* DICT */
} toon_table_column;

/* A table that was set aside. A row is the JSON text[0, ends[0]), the cell of the first column, text[ends[0], ends[1])
 * and so on, and at last what is left of the text. That text has no escapes. */
typedef struct toon_table {
  toon_slice path; /* where it belongs, as a JSON array of names and indexes: ["a",0,"b"]; [] is the document itself */
  toon_slice text;
  const uint32_t *ends;
  uint32_t count, rows; /* columns, rows */
  const toon_table_column *columns;
} toon_table;

/* Take a table; what it points to is valid during the call. Any other status than TOON_OK ends the decoding. */
typedef toon_status (*toon_table_fn)(void *ctx, const toon_table *table);

/* As toon_decode, but in strict mode tables of many rows are handed to fn, in the order of the text, and null stands
 * in the JSON instead. What was handed over is worth nothing if the call fails later. */
toon_status toon_decode_tables(toon_slice text, const toon_text_options *options, toon_table_fn fn, void *ctx,
                               toon_buf *out, toon_error *err);

/* ---- fields (what the log keeps) ---- */

/* A key token as the spec's encoder writes it: bare when it may be, quoted and escaped otherwise. key: valid UTF-8. */
toon_status toon_put_key(toon_buf *out, toon_slice key);
/* Read a key token (bare or quoted) at the start of text. *token_len: bytes of the token. The unescaped key is
 * *key: borrowed from text if it needed no unescaping, else from *scratch (overwritten). */
toon_status toon_get_key(toon_slice text, toon_buf *scratch, toon_slice *key, size_t *token_len, toon_error *err);

/* Field text of a JSON value / a string / bytes. *flags: kind | TOON_TEXT_ASCII | TOON_TEXT_PLAIN. More than max bytes
 * of field text are refused with TOON_EVALUETOOBIG, noticed while encoding, before they are allocated.
 * toon_field_string: TOON_EINVAL if text is not valid UTF-8. */
toon_status toon_field_json(toon_slice json, size_t max, toon_buf *out, uint8_t *flags, toon_error *err);
toon_status toon_field_string(toon_slice text, size_t max, toon_buf *out, uint8_t *flags, toon_error *err);
toon_status toon_field_bytes(toon_slice bytes, size_t max, toon_buf *out, uint8_t *flags, toon_error *err);

/* kind | flags of a field text by looking at it (recovery needs it). The text is trusted to be our encoder's. */
uint8_t toon_field_flags(toon_slice field);

/* Field text to JSON text; bytes come as the JSON string "base64:...". */
toon_status toon_field_to_json(toon_slice field, toon_buf *out, toon_error *err);
/* Field text of a string to its UTF-8 bytes (unescaped). */
toon_status toon_field_to_string(toon_slice field, toon_buf *out, toon_error *err);
/* Field text of bytes to the bytes. */
toon_status toon_field_to_bytes(toon_slice field, toon_buf *out, toon_error *err);
/* Field text to the TOON document of the value alone, equal to what toon_encode gives for it (indentation of nested
 * fields taken back one level; no final newline). Bytes come as the token base64:... */
toon_status toon_field_to_document(toon_slice field, toon_buf *out, toon_error *err);

/* ---- projection ---- */

/* One path of a projection, parsed once: "address.city" is two names. A name that has dots itself can be given by a
 * literal path (names given one by one). */
typedef struct toon_path {
  const toon_slice *names;
  size_t count;
} toon_path;

/* Paths made ready for many documents. It belongs to one thread at a time.
 * nulls: what a document lacks is null, not left out. TOON_EINVAL for a path without names. */
typedef struct toon_projection toon_projection;
toon_status toon_projection_new(const toon_path *paths, size_t count, bool nulls, toon_projection **out,
                                toon_error *err);
void toon_projection_free(toon_projection *projection); /* NULL is fine */

/* From the field text of an object, the JSON text of an object with just the picked fields, named by their paths
 * joined with dots, absent ones left out, in the order of the paths. Names lead through objects only, not into arrays.
 * Fields not asked for are skipped by indentation, not decoded. For an array: the array, with such objects in place of
 * its objects. For any other value: its JSON text. TOON_ESYNTAX if the text is damaged. */
toon_status toon_projection_json(toon_projection *projection, toon_slice field, toon_buf *out, toon_error *err);
/* The same for one document. */
toon_status toon_project(toon_slice field, const toon_path *paths, size_t count, toon_buf *out, toon_error *err);

/* ---- documents of rows ---- */

/* Makes one document of rows: what toon_encode gives for {"key": value, ...}, or for {"name": {...}} with a name. Rows that
 * are objects of scalars with the same keys become a keyed table, and are never decoded on the way. Memory: a small
 * multiple of the text. projection: NULL or borrowed until the emitter is freed, made with nulls. name: ptr NULL for none. */
typedef struct toon_emitter toon_emitter;
toon_status toon_emitter_new(toon_projection *projection, toon_slice name, uint8_t delimiter, toon_emitter **out,
                             toon_error *err);
/* Before the first row: the rows are the documents of a collection, and the document is their array; what would be keys
 * are ids, a column or field _id if the projection has one or there is no projection. */
void toon_emitter_items(toon_emitter *emitter);
/* key: valid UTF-8, different from the others (TOON_EINVAL if it is not UTF-8). Bytes become the string "base64:...". After a
 * failure the emitter can only be freed. TOON_EVALUETOOBIG above 2 GiB. */
toon_status toon_emitter_add(toon_emitter *emitter, toon_slice key, toon_slice field, toon_error *err);
/* For rows of which the caller has the cells: where to append lines of the table, each "  cell,cell\n", `toon_emitter_added` says
 * how many. NULL if the rows so far are no table: then rows are added one by one. */
toon_buf *toon_emitter_lines(toon_emitter *emitter);
toon_status toon_emitter_added(toon_emitter *emitter, uint64_t rows, toon_error *err);
/* Append the document to *out; then the emitter can only be freed. */
toon_status toon_emitter_end(toon_emitter *emitter, toon_buf *out, toon_error *err);
void toon_emitter_free(toon_emitter *emitter);

#endif
