/* Strings and keys in TOON text: when they stand bare, how they are quoted, how quotes are taken off again.
 */
#ifndef TOON_TOON_QUOTE_H
#define TOON_TOON_QUOTE_H

#include "toon/write.h"

/* True if a string stands bare in spite of holding no special byte (toon_scan_text): not empty, no space at
 * its ends, no - or # in front, no literal, nothing like a number. */
bool toon_text_is_bare(const uint8_t *ptr, size_t len);
/* True if a key stands bare. */
bool toon_key_is_bare(const uint8_t *ptr, size_t len);
/* True for null, true and false. */
bool toon_is_literal(const uint8_t *ptr, size_t len);

/* A string, bare or quoted as it must be. */
toon_status toon_write_text(toon_writer *w, toon_slice text, uint8_t delimiter);
/* A string in quotes. */
toon_status toon_write_quoted(toon_writer *w, toon_slice text);
/* A key, bare or quoted. */
toon_status toon_write_key(toon_writer *w, toon_slice key);

/* A string in JSON's quotes. */
toon_status toon_write_json_string(toon_writer *w, toon_slice text);

/* What is wrong with a text, and where. */
typedef struct toon_fault {
  const uint8_t *at;
  const char *expected;
} toon_fault;

/* Read the quoted string at *p (which is a quote) and go behind its closing quote. It is written as a JSON
 * string if `json`, else without quotes and escapes. TOON_ESYNTAX with *fault. */
toon_status toon_read_quoted(const uint8_t **p, const uint8_t *end, toon_writer *w, bool json, toon_fault *fault);

/* Four hex digits at p; -1 if they are not. */
int toon_hex4(const uint8_t *p, const uint8_t *end);
/* A code point as UTF-8: the bytes written to out. */
size_t toon_put_utf8(uint32_t code, uint8_t out[4]);

#endif
