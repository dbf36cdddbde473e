/* Strings and keys: bare or quoted, and back. The rules are those of section 7 of the spec: inside quotes
 * \\ \" \n \r \t and \u00xx for the other control characters; a \u escape may name any character but a
 * surrogate when read. */
#include "toon/quote.h"

#include "toon/scan.h"
#include "toon/toon.h"

static const char hex_digits[] = "0123456789abcdef";

bool toon_is_literal(const uint8_t *ptr, size_t len) {
  return len == 4 ? memcmp(ptr, "true", 4) == 0 || memcmp(ptr, "null", 4) == 0
                  : len == 5 && memcmp(ptr, "false", 5) == 0;
}

/* [+-]?digits(.digits)?(e[+-]?digits)?, leading zeros and all. */
static bool is_number_like(const uint8_t *p, const uint8_t *end) {
  if (*p == '+' || *p == '-') p++;
  const uint8_t *digits = p;
  while (p < end && toon_is_digit(*p)) p++;
  if (p == digits) return false;
  if (p < end && *p == '.') {
    digits = ++p;
    while (p < end && toon_is_digit(*p)) p++;
    if (p == digits) return false;
  }
  if (p < end && (*p | 0x20) == 'e') {
    p++;
    if (p < end && (*p == '+' || *p == '-')) p++;
    digits = p;
    while (p < end && toon_is_digit(*p)) p++;
    if (p == digits) return false;
  }
  return p == end;
}

bool toon_text_is_bare(const uint8_t *ptr, size_t len) {
  if (len == 0) return false;
  uint8_t first = *ptr;
  if (first == ' ' || ptr[len - 1] == ' ' || first == '-' || first == '#') return false;
  if (toon_is_digit(first) || first == '+') return !is_number_like(ptr, ptr + len);
  if (len == 4 || len == 5) return !toon_is_literal(ptr, len);
  return true;
}

bool toon_key_is_bare(const uint8_t *ptr, size_t len) {
  if (len == 0 || !(toon_class[*ptr] & TOON_CLASS_START)) return false;
  for (size_t i = 1; i < len; i++)
    if (!(toon_class[ptr[i]] & TOON_CLASS_KEY)) return false;
  return true;
}

/* The letters of two-character escapes; 0 for what needs \u00xx. JSON's \b and \f are not TOON's. */
static const uint8_t letters[2][128] = {
    {['"'] = '"', ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'},
    {['"'] = '"', ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\b'] = 'b', ['\f'] = 'f'},
};

static inline toon_status write_escape(toon_writer *w, uint8_t c, bool json) {
  uint8_t letter = letters[json][c];
  TOON_TRY(toon_room(w, letter ? 2 : 6));
  toon_write_byte(w, '\\');
  if (letter) {
    toon_write_byte(w, letter);
  } else {
    toon_write(w, "u00", 3);
    toon_write_byte(w, (uint8_t)hex_digits[c >> 4]);
    toon_write_byte(w, (uint8_t)hex_digits[c & 15]);
  }
  return TOON_OK;
}

static toon_status write_escaped(toon_writer *w, toon_slice text, bool json) {
  text = toon_slice_some(text);
  const uint8_t *p = text.ptr, *end = p + text.len;
  TOON_TRY(toon_room(w, text.len + 2));
  toon_write_byte(w, '"');
  while (p < end) {
    const uint8_t *stop = toon_scan_escape(p, end, end);
    TOON_TRY(toon_room(w, (size_t)(stop - p)));
    toon_write(w, p, (size_t)(stop - p));
    for (p = stop; p < end && toon_class[*p] & TOON_CLASS_ESCAPE; p++) TOON_TRY(write_escape(w, *p, json));
  }
  TOON_TRY(toon_room(w, 1));
  toon_write_byte(w, '"');
  return TOON_OK;
}

toon_status toon_write_quoted(toon_writer *w, toon_slice text) { return write_escaped(w, text, false); }
toon_status toon_write_json_string(toon_writer *w, toon_slice text) { return write_escaped(w, text, true); }

toon_status toon_write_text(toon_writer *w, toon_slice text, uint8_t delimiter) {
  unsigned has = toon_scan_text(text.ptr, text.len, delimiter);
  if (has & TOON_HAS_ESCAPE) return toon_write_quoted(w, text);
  bool bare = !(has & TOON_HAS_SPECIAL) && toon_text_is_bare(text.ptr, text.len);
  TOON_TRY(toon_room(w, text.len + (bare ? 0 : 2)));
  if (!bare) toon_write_byte(w, '"');
  if (text.len) toon_write(w, text.ptr, text.len);
  if (!bare) toon_write_byte(w, '"');
  return TOON_OK;
}

toon_status toon_write_key(toon_writer *w, toon_slice key) {
  if (!toon_key_is_bare(key.ptr, key.len)) return toon_write_quoted(w, key);
  TOON_TRY(toon_room(w, key.len));
  toon_write(w, key.ptr, key.len);
  return TOON_OK;
}

int toon_hex4(const uint8_t *p, const uint8_t *end) {
  if (end - p < 4) return -1;
  int code = 0;
  for (int i = 0; i < 4; i++) {
    uint8_t c = p[i], lower = c | 0x20;
    int digit = toon_is_digit(c) ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    if (digit < 0) return -1;
    code = code << 4 | digit;
  }
  return code;
}

size_t toon_put_utf8(uint32_t code, uint8_t out[4]) {
  if (code < 0x80) {
    out[0] = (uint8_t)code;
    return 1;
  }
  if (code < 0x800) {
    out[0] = (uint8_t)(0xC0 | code >> 6);
    out[1] = (uint8_t)(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = (uint8_t)(0xE0 | code >> 12);
    out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code & 0x3F));
    return 3;
  }
  out[0] = (uint8_t)(0xF0 | code >> 18);
  out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
  out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
  out[3] = (uint8_t)(0x80 | (code & 0x3F));
  return 4;
}

static toon_status fault_at(toon_fault *fault, const uint8_t *at, const char *expected) {
  *fault = (toon_fault){at, expected};
  return TOON_ESYNTAX;
}

/* The character that the escape at *p (a backslash) stands for. */
static toon_status read_escape(const uint8_t **p, const uint8_t *end, uint32_t *code, toon_fault *fault) {
  const uint8_t *at = *p;
  if (end - at < 2) return fault_at(fault, at, "a character after the backslash");
  *p = at + 2;
  switch (at[1]) {
  case 'n': *code = '\n'; return TOON_OK;
  case 'r': *code = '\r'; return TOON_OK;
  case 't': *code = '\t'; return TOON_OK;
  case '"':
  case '\\': *code = at[1]; return TOON_OK;
  case 'u': break;
  default: return fault_at(fault, at, "one of the escapes \\\\ \\\" \\n \\r \\t \\uXXXX");
  }
  int unit = toon_hex4(at + 2, end);
  if (unit < 0) return fault_at(fault, at, "four hex digits after \\u");
  if (unit >= 0xD800 && unit <= 0xDFFF)
    return fault_at(fault, at, "a \\u escape that is no surrogate; characters above U+FFFF stand as themselves");
  *code = (uint32_t)unit;
  *p = at + 6;
  return TOON_OK;
}

toon_status toon_read_quoted(const uint8_t **at, const uint8_t *end, toon_writer *w, bool json, toon_fault *fault) {
  const uint8_t *open = *at, *p = open + 1;
  if (json) {
    TOON_TRY(toon_room(w, 1));
    toon_write_byte(w, '"');
  }
  for (;;) {
    const uint8_t *stop = toon_scan_escape(p, end, end);
    if (stop == end) return fault_at(fault, open, "a closing quote");
    TOON_TRY(toon_room(w, (size_t)(stop - p) + 1));
    toon_write_near(w, p, (size_t)(stop - p), end);
    p = stop;
    if (*p == '"') break;
    uint32_t code = *p;
    if (code == '\\')
      TOON_TRY(read_escape(&p, end, &code, fault));
    else
      p++;
    if (json && code < 0x80 && toon_class[code] & TOON_CLASS_ESCAPE) {
      TOON_TRY(write_escape(w, (uint8_t)code, true));
    } else {
      TOON_TRY(toon_room(w, 4));
      w->at += toon_put_utf8(code, w->at);
    }
  }
  if (json) toon_write_byte(w, '"');
  *at = p + 1;
  return TOON_OK;
}

/* ---- key tokens by themselves ---- */

toon_status toon_put_key(toon_buf *out, toon_slice key) {
  size_t len = out->len;
  toon_writer w;
  key = toon_slice_some(key);
  TOON_TRY(toon_writer_begin(&w, out, key.len + 2, SIZE_MAX / 4));
  toon_status status = toon_write_key(&w, key);
  if (status == TOON_OK)
    toon_writer_end(&w);
  else
    out->len = len;
  return status;
}

toon_status toon_get_key(toon_slice text, toon_buf *scratch, toon_slice *key, size_t *token_len, toon_error *err) {
  text = toon_slice_some(text);
  const uint8_t *p = text.ptr, *end = p + text.len;
  if (text.len && *p == '"') {
    const uint8_t *stop = toon_scan_escape(p + 1, end, end);
    if (stop < end && *stop == '"') {
      *key = toon_slice_of(p + 1, (size_t)(stop - p - 1));
      *token_len = key->len + 2;
      return TOON_OK;
    }
    toon_writer w;
    toon_fault fault;
    scratch->len = 0;
    toon_status status = toon_writer_begin(&w, scratch, 32, SIZE_MAX / 4);
    if (status == TOON_OK) status = toon_read_quoted(&p, end, &w, false, &fault);
    if (status == TOON_ESYNTAX) {
      toon_fail(err, status, "expected %s", fault.expected);
      if (err) {
        err->line = 1;
        err->column = (uint32_t)(fault.at - text.ptr) + 1;
      }
      return status;
    }
    if (status != TOON_OK) return toon_fail(err, status, NULL);
    toon_writer_end(&w);
    *key = toon_buf_slice(scratch);
  } else {
    if (text.len && toon_class[*p] & TOON_CLASS_START)
      while (p < end && toon_class[*p] & TOON_CLASS_KEY) p++;
    *key = toon_slice_of(text.ptr, (size_t)(p - text.ptr));
    if (key->len == 0) {
      toon_fail(err, TOON_ESYNTAX, "expected a key: a letter or _, or a quoted string");
      if (err) err->line = err->column = 1;
      return TOON_ESYNTAX;
    }
  }
  *token_len = (size_t)(p - text.ptr);
  return TOON_OK;
}
