/* Base64: three bytes are four characters of six bits each. */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value of a character; NONE, a bit that no value has, if it is not of the alphabet. */
#define NONE 0x80
static const uint8_t values[256] = {
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, 62,   NONE, NONE, NONE, 63,
    52,   53,   54,   55,   56,   57,   58,   59,   60,   61,   NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, 0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,
    15,   16,   17,   18,   19,   20,   21,   22,   23,   24,   25,   NONE, NONE, NONE, NONE, NONE,
    NONE, 26,   27,   28,   29,   30,   31,   32,   33,   34,   35,   36,   37,   38,   39,   40,
    41,   42,   43,   44,   45,   46,   47,   48,   49,   50,   51,   NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
};

void toon_base64_encode(const uint8_t *ptr, size_t n, uint8_t *out) {
  while (n >= 3) {
    uint32_t v = (uint32_t)ptr[0] << 16 | (uint32_t)ptr[1] << 8 | ptr[2];
    out[0] = (uint8_t)alphabet[v >> 18];
    out[1] = (uint8_t)alphabet[v >> 12 & 63];
    out[2] = (uint8_t)alphabet[v >> 6 & 63];
    out[3] = (uint8_t)alphabet[v & 63];
    ptr += 3;
    out += 4;
    n -= 3;
  }
  if (n == 0) return;
  uint32_t v = (uint32_t)ptr[0] << 16 | (n == 2 ? (uint32_t)ptr[1] << 8 : 0);
  out[0] = (uint8_t)alphabet[v >> 18];
  out[1] = (uint8_t)alphabet[v >> 12 & 63];
  out[2] = n == 2 ? (uint8_t)alphabet[v >> 6 & 63] : '=';
  out[3] = '=';
}

/* Four characters, or -1 if one is not of the alphabet. */
static inline int32_t quartet(const uint8_t *p) {
  uint32_t a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
  if ((a | b | c | d) & NONE) return -1;
  return (int32_t)(a << 18 | b << 12 | c << 6 | d);
}

/* The last quartet, which may end in one or two '='. Returns the bytes it gave, 0 if it is not canonical. */
static size_t decode_last(const uint8_t *p, uint8_t *out) {
  size_t bytes = p[3] != '=' ? 3 : p[2] != '=' ? 2 : 1;
  uint8_t filled[4] = {p[0], p[1], bytes > 1 ? p[2] : 'A', bytes > 2 ? p[3] : 'A'};
  int32_t v = quartet(filled);
  if (v < 0 || (v & ((1 << (24 - 8 * bytes)) - 1)) != 0)
    return 0; /* bits behind the last byte must be zero */
  for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(v >> (16 - 8 * i));
  return bytes;
}

bool toon_base64_decode(const uint8_t *ptr, size_t n, uint8_t *out, size_t *out_len) {
  if (n % 4 != 0) return false;
  uint8_t *at = out;
  if (n > 0) {
    while (n > 4) {
      int32_t v = quartet(ptr);
      if (v < 0) return false;
      at[0] = (uint8_t)(v >> 16);
      at[1] = (uint8_t)(v >> 8);
      at[2] = (uint8_t)v;
      at += 3;
      ptr += 4;
      n -= 4;
    }
    size_t bytes = decode_last(ptr, at);
    if (bytes == 0) return false;
    at += bytes;
  }
  *out_len = (size_t)(at - out);
  return true;
}
