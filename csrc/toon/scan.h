/* Looking through text for the bytes that matter. Everything that TOON and JSON give a meaning to is ASCII,
 * so bytes are enough. Long stretches go 16 bytes at a time where SSE2 is there (TOON_SCAN_PLAIN selects the
 * plain version, for the test), and 32 where the machine has AVX2. Nothing is read outside [p, end). */
#ifndef TOON_TOON_SCAN_H
#define TOON_TOON_SCAN_H

#include "base/buf.h"

#if defined(__SSE2__) && !defined(TOON_SCAN_PLAIN)
#define TOON_SCAN_SSE2 1
#include <emmintrin.h>
#endif

/* Classes of bytes. */
enum {
  TOON_CLASS_ESCAPE = 1,  /* control characters, " and \: escaped inside quotes */
  TOON_CLASS_SPECIAL = 2, /* those and : [ ] { }: a string with one of them stands in quotes */
  TOON_CLASS_KEY = 4,     /* letters, digits, _ and .: a key of nothing else stands bare */
  TOON_CLASS_START = 8,   /* letters and _: how such a key begins */
  TOON_CLASS_DIGIT = 16
};
extern const uint8_t toon_class[256];

/* The same slice with a pointer that may be counted with, also when it is empty. */
static inline toon_slice toon_slice_some(toon_slice s) { return s.ptr ? s : toon_slice_of("", 0); }
static inline bool toon_is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* The first control character, " or \ in [p, end), else end. */
const uint8_t *toon_scan_escape_long(const uint8_t *p, const uint8_t *end);
/* The same; *special becomes true if a byte before it is : [ ] { } or the delimiter. */
const uint8_t *toon_scan_string_long(const uint8_t *p, const uint8_t *end, uint8_t delimiter, bool *special);
/* The first of three bytes (they may be equal) in [p, end), else end. */
const uint8_t *toon_scan_any_long(const uint8_t *p, const uint8_t *end, uint8_t a, uint8_t b, uint8_t c);

/* The first control character, ", \ or delimiter in [p, end), else end. */
const uint8_t *toon_scan_cell_long(const uint8_t *p, const uint8_t *end, uint8_t delimiter);

/* The functions without _long do the first block in place. `limit` is how far may be read at all: past end,
 * so that short pieces inside a longer text take one block too. */

/* What is in a text: bits of TOON_HAS_*. */
enum {
  TOON_HAS_ESCAPE = 1,  /* a byte to be escaped inside quotes */
  TOON_HAS_SPECIAL = 2, /* a byte that asks for quotes (or escapes) */
  TOON_HAS_HIGH = 4     /* a byte above 0x7F */
};
unsigned toon_scan_text(const uint8_t *p, size_t n, uint8_t delimiter);

#ifdef TOON_SCAN_SSE2

static inline __m128i toon_load128(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
/* Bytes to be escaped. */
static inline __m128i toon_escapes128(__m128i x) {
  __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1F)), x);
  __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"')), slash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
  return _mm_or_si128(control, _mm_or_si128(quote, slash));
}
/* : [ ] { } and the delimiter. With bit 5 set, [ is { and ] is }. */
static inline __m128i toon_specials128(__m128i x, __m128i delimiter) {
  __m128i folded = _mm_or_si128(x, _mm_set1_epi8(0x20));
  __m128i open = _mm_cmpeq_epi8(folded, _mm_set1_epi8('{')), shut = _mm_cmpeq_epi8(folded, _mm_set1_epi8('}'));
  __m128i colon = _mm_cmpeq_epi8(x, _mm_set1_epi8(':')), split = _mm_cmpeq_epi8(x, delimiter);
  return _mm_or_si128(_mm_or_si128(open, shut), _mm_or_si128(colon, split));
}

/* The place of the lowest bit of a block's mask, or end if that is nearer. */
static inline const uint8_t *toon_at_bit(const uint8_t *p, const uint8_t *end, unsigned mask) {
  p += __builtin_ctz(mask);
  return p < end ? p : end;
}

/* Equality of short pieces; limit is how far b may be read, and a lies in front of b in the same text. */
static inline bool toon_same_near(const uint8_t *a, const uint8_t *b, size_t n, const uint8_t *limit) {
  if (n > 16 || limit - b < 16) return memcmp(a, b, n) == 0;
  unsigned equal = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(toon_load128(a), toon_load128(b)));
  return (~equal & ((1u << n) - 1)) == 0;
}

/* Behind the digits at p. Most numbers are short, and a loop has the next one sooner than a block does. */
static inline const uint8_t *toon_skip_digits(const uint8_t *p, const uint8_t *end, const uint8_t *limit) {
  for (int i = 0; i < 4; i++, p++)
    if (p == end || !toon_is_digit(*p)) return p;
  while (limit - p >= 16) {
    __m128i x = _mm_sub_epi8(toon_load128(p), _mm_set1_epi8('0'));
    unsigned other = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(9)), x));
    p += __builtin_ctz(other);
    if (!(other & 0xFFFF)) continue;
    return p < end ? p : end;
  }
  while (p < end && toon_is_digit(*p)) p++;
  return p;
}

static inline const uint8_t *toon_scan_escape(const uint8_t *p, const uint8_t *end, const uint8_t *limit) {
  if (limit - p >= 16) {
    unsigned mask = (unsigned)_mm_movemask_epi8(toon_escapes128(toon_load128(p)));
    if (mask) return toon_at_bit(p, end, mask);
    if (end - p <= 16) return end;
    p += 16;
  }
  return toon_scan_escape_long(p, end);
}

static inline const uint8_t *toon_scan_cell(const uint8_t *p, const uint8_t *end, const uint8_t *limit,
                                            uint8_t delimiter) {
  if (limit - p >= 16) {
    __m128i x = toon_load128(p), split = _mm_cmpeq_epi8(x, _mm_set1_epi8((char)delimiter));
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(split, toon_escapes128(x)));
    if (mask) return toon_at_bit(p, end, mask);
    if (end - p <= 16) return end;
    p += 16;
  }
  return toon_scan_cell_long(p, end, delimiter);
}

static inline const uint8_t *toon_scan_string(const uint8_t *p, const uint8_t *end, uint8_t delimiter, bool *special) {
  if (end - p >= 16) {
    __m128i x = toon_load128(p);
    unsigned stop = (unsigned)_mm_movemask_epi8(toon_escapes128(x));
    unsigned asks = (unsigned)_mm_movemask_epi8(toon_specials128(x, _mm_set1_epi8((char)delimiter)));
    if (stop) {
      *special |= (asks & (stop ^ (stop - 1))) != 0;
      return p + __builtin_ctz(stop);
    }
    *special |= asks != 0;
    p += 16;
  }
  return toon_scan_string_long(p, end, delimiter, special);
}

static inline const uint8_t *toon_scan_any(const uint8_t *p, const uint8_t *end, const uint8_t *limit, uint8_t a,
                                           uint8_t b, uint8_t c) {
  if (limit - p >= 16) {
    __m128i x = toon_load128(p);
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(
        _mm_cmpeq_epi8(x, _mm_set1_epi8((char)a)),
        _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8((char)b)), _mm_cmpeq_epi8(x, _mm_set1_epi8((char)c)))));
    if (mask) return toon_at_bit(p, end, mask);
    if (end - p <= 16) return end;
    p += 16;
  }
  return toon_scan_any_long(p, end, a, b, c);
}

#else

static inline bool toon_same_near(const uint8_t *a, const uint8_t *b, size_t n, const uint8_t *limit) {
  (void)limit;
  return memcmp(a, b, n) == 0;
}
static inline const uint8_t *toon_skip_digits(const uint8_t *p, const uint8_t *end, const uint8_t *limit) {
  (void)limit;
  while (p < end && toon_is_digit(*p)) p++;
  return p;
}
static inline const uint8_t *toon_scan_escape(const uint8_t *p, const uint8_t *end, const uint8_t *limit) {
  (void)limit;
  return toon_scan_escape_long(p, end);
}
static inline const uint8_t *toon_scan_cell(const uint8_t *p, const uint8_t *end, const uint8_t *limit,
                                            uint8_t delimiter) {
  (void)limit;
  return toon_scan_cell_long(p, end, delimiter);
}
static inline const uint8_t *toon_scan_string(const uint8_t *p, const uint8_t *end, uint8_t delimiter, bool *special) {
  return toon_scan_string_long(p, end, delimiter, special);
}
static inline const uint8_t *toon_scan_any(const uint8_t *p, const uint8_t *end, const uint8_t *limit, uint8_t a,
                                           uint8_t b, uint8_t c) {
  (void)limit;
  return toon_scan_any_long(p, end, a, b, c);
}

#endif

#endif
