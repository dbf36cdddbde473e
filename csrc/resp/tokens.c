/* The pieces of a text in the order in which lib/tokens.js tries them; lengths of other scripts in UTF-16 units, as there. */
#include "resp/tokens.h"

static bool is_small(uint8_t c) { return c >= 'a' && c <= 'z'; }
static bool is_capital(uint8_t c) { return c >= 'A' && c <= 'Z'; }
static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool is_mark(uint8_t c) { return c > ' ' && c < 127 && !is_small(c) && !is_capital(c) && !is_digit(c); }

/* The character at p; *units: of UTF-16. Returns its bytes. */
static size_t character(const uint8_t *p, uint32_t *c, size_t *units) {
  size_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
  *c = n == 1 ? *p : *p & (0xffu >> (n + 1));
  for (size_t i = 1; i < n; i++) *c = *c << 6 | (p[i] & 63);
  *units = n == 4 ? 2 : 1;
  return n;
}

static bool is_cjk(uint32_t c) {
  return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7af);
}

/* Bytes from p on that are of the kind. */
static size_t run(const uint8_t *p, const uint8_t *end, bool (*of)(uint8_t)) {
  const uint8_t *from = p;
  while (p < end && of(*p)) p++;
  return (size_t)(p - from);
}

/* One piece at p: its bytes; its tokens are added. */
static size_t piece(const uint8_t *p, const uint8_t *end, size_t *tokens) {
  size_t blank = *p == ' ' && p + 1 < end, n;
  const uint8_t *q = p + blank;
  size_t capital = is_capital(*q) && q + 1 < end && is_small(q[1]);
  if ((n = run(q + capital, end, is_small)) > 0) {
    n += capital;
    *tokens += n <= 8 ? 1 : 1 + (n - 8 + 3) / 4;
    return blank + n;
  }
  if ((n = run(q, end, is_capital)) > 0) {
    *tokens += (n + 2) / 3;
    return blank + n;
  }
  if (is_digit(*p)) {
    n = run(p, end, is_digit);
    ++*tokens;
    return n < 3 ? n : 3;
  }
  if (*p == '\n' || *p == '\r') {
    ++*tokens;
    for (n = 0; p + n < end && (p[n] == '\n' || p[n] == '\r');) n++;
    return n;
  }
  if (*p == ' ' || *p == '\t') { /* of several blanks the last belongs to what comes */
    size_t spaces = 0;
    while (p + spaces < end && p[spaces] == ' ') spaces++;
    for (n = 0; p + n < end && (p[n] == ' ' || p[n] == '\t');) n++;
    ++*tokens;
    return spaces >= 2 ? spaces - 1 : n;
  }
  if ((n = run(p, end, is_mark)) > 0) {
    *tokens += (n + 2) / 3;
    return n;
  }
  if (*p < 0x80) {
    ++*tokens;
    return 1;
  }
  uint32_t c = 0;
  size_t units = 0, length = 0;
  n = character(p, &c, &units);
  if (is_cjk(c)) {
    ++*tokens;
    return n;
  }
  for (n = 0; p + n < end && p[n] >= 0x80; length += units) n += character(p + n, &c, &units);
  uint32_t last = c >= 0x10000 ? 0xdc00 + (c & 0x3ff) : c;
  *tokens += last >= 0x3040 && last <= 0xd7af ? 1 : (length + 3) / 4;
  return n;
}

size_t tokens_estimate(toon_slice text) {
  const uint8_t *p = text.ptr, *end = p + text.len;
  size_t tokens = 0;
  while (p < end) p += piece(p, end, &tokens);
  return tokens;
}
