/* Looking through text: the class table and the loops over long stretches. */
#include "toon/scan.h"

#if defined(TOON_SCAN_SSE2) && defined(__x86_64__)
#define TOON_SCAN_AVX2 1
#include <immintrin.h>
#endif

#define ESCAPE (TOON_CLASS_ESCAPE | TOON_CLASS_SPECIAL)
#define SPECIAL TOON_CLASS_SPECIAL
#define WORD (TOON_CLASS_KEY | TOON_CLASS_START)
#define DIGIT (TOON_CLASS_KEY | TOON_CLASS_DIGIT)

/* clang-format off */
const uint8_t toon_class[256] = {
    [0x00] = ESCAPE, [0x01] = ESCAPE, [0x02] = ESCAPE, [0x03] = ESCAPE, [0x04] = ESCAPE, [0x05] = ESCAPE,
    [0x06] = ESCAPE, [0x07] = ESCAPE, [0x08] = ESCAPE, [0x09] = ESCAPE, [0x0A] = ESCAPE, [0x0B] = ESCAPE,
    [0x0C] = ESCAPE, [0x0D] = ESCAPE, [0x0E] = ESCAPE, [0x0F] = ESCAPE, [0x10] = ESCAPE, [0x11] = ESCAPE,
    [0x12] = ESCAPE, [0x13] = ESCAPE, [0x14] = ESCAPE, [0x15] = ESCAPE, [0x16] = ESCAPE, [0x17] = ESCAPE,
    [0x18] = ESCAPE, [0x19] = ESCAPE, [0x1A] = ESCAPE, [0x1B] = ESCAPE, [0x1C] = ESCAPE, [0x1D] = ESCAPE,
    [0x1E] = ESCAPE, [0x1F] = ESCAPE,
    ['"'] = ESCAPE, ['\\'] = ESCAPE, [':'] = SPECIAL, ['['] = SPECIAL, [']'] = SPECIAL, ['{'] = SPECIAL,
    ['}'] = SPECIAL,
    ['.'] = TOON_CLASS_KEY, ['_'] = WORD, ['0'] = DIGIT, ['1'] = DIGIT, ['2'] = DIGIT, ['3'] = DIGIT,
    ['4'] = DIGIT, ['5'] = DIGIT, ['6'] = DIGIT, ['7'] = DIGIT, ['8'] = DIGIT, ['9'] = DIGIT,
    ['A'] = WORD, ['B'] = WORD, ['C'] = WORD, ['D'] = WORD, ['E'] = WORD, ['F'] = WORD, ['G'] = WORD,
    ['H'] = WORD, ['I'] = WORD, ['J'] = WORD, ['K'] = WORD, ['L'] = WORD, ['M'] = WORD, ['N'] = WORD,
    ['O'] = WORD, ['P'] = WORD, ['Q'] = WORD, ['R'] = WORD, ['S'] = WORD, ['T'] = WORD, ['U'] = WORD,
    ['V'] = WORD, ['W'] = WORD, ['X'] = WORD, ['Y'] = WORD, ['Z'] = WORD,
    ['a'] = WORD, ['b'] = WORD, ['c'] = WORD, ['d'] = WORD, ['e'] = WORD, ['f'] = WORD, ['g'] = WORD,
    ['h'] = WORD, ['i'] = WORD, ['j'] = WORD, ['k'] = WORD, ['l'] = WORD, ['m'] = WORD, ['n'] = WORD,
    ['o'] = WORD, ['p'] = WORD, ['q'] = WORD, ['r'] = WORD, ['s'] = WORD, ['t'] = WORD, ['u'] = WORD,
    ['v'] = WORD, ['w'] = WORD, ['x'] = WORD, ['y'] = WORD, ['z'] = WORD,
};
/* clang-format on */

const uint8_t *toon_scan_escape_long(const uint8_t *p, const uint8_t *end) {
#ifdef TOON_SCAN_SSE2
  for (; end - p >= 16; p += 16) {
    unsigned mask = (unsigned)_mm_movemask_epi8(toon_escapes128(toon_load128(p)));
    if (mask) return p + __builtin_ctz(mask);
  }
#endif
  while (p < end && !(toon_class[*p] & TOON_CLASS_ESCAPE)) p++;
  return p;
}

const uint8_t *toon_scan_cell_long(const uint8_t *p, const uint8_t *end, uint8_t delimiter) {
#ifdef TOON_SCAN_SSE2
  const __m128i split = _mm_set1_epi8((char)delimiter);
  for (; end - p >= 16; p += 16) {
    __m128i x = toon_load128(p);
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(x, split), toon_escapes128(x)));
    if (mask) return p + __builtin_ctz(mask);
  }
#endif
  while (p < end && !(toon_class[*p] & TOON_CLASS_ESCAPE) && *p != delimiter) p++;
  return p;
}

const uint8_t *toon_scan_string_long(const uint8_t *p, const uint8_t *end, uint8_t delimiter, bool *special) {
#ifdef TOON_SCAN_SSE2
  const __m128i split = _mm_set1_epi8((char)delimiter);
  __m128i seen = _mm_setzero_si128();
  for (; end - p >= 16; p += 16) {
    __m128i x = toon_load128(p), asks = toon_specials128(x, split);
    unsigned stop = (unsigned)_mm_movemask_epi8(toon_escapes128(x));
    if (stop) {
      *special |= _mm_movemask_epi8(seen) || ((unsigned)_mm_movemask_epi8(asks) & (stop ^ (stop - 1)));
      return p + __builtin_ctz(stop);
    }
    seen = _mm_or_si128(seen, asks);
  }
  *special |= _mm_movemask_epi8(seen) != 0;
#endif
  for (; p < end && !(toon_class[*p] & TOON_CLASS_ESCAPE); p++)
    if (toon_class[*p] & TOON_CLASS_SPECIAL || *p == delimiter) *special = true;
  return p;
}

const uint8_t *toon_scan_any_long(const uint8_t *p, const uint8_t *end, uint8_t a, uint8_t b, uint8_t c) {
#ifdef TOON_SCAN_SSE2
  const __m128i va = _mm_set1_epi8((char)a), vb = _mm_set1_epi8((char)b), vc = _mm_set1_epi8((char)c);
  for (; end - p >= 16; p += 16) {
    __m128i x = toon_load128(p);
    unsigned mask = (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(x, va), _mm_or_si128(_mm_cmpeq_epi8(x, vb), _mm_cmpeq_epi8(x, vc))));
    if (mask) return p + __builtin_ctz(mask);
  }
#endif
  while (p < end && *p != a && *p != b && *p != c) p++;
  return p;
}

#ifdef TOON_SCAN_AVX2
/* One look-up by the low and one by the high half of each byte; a bit that both have tells the class:
 *     1 control   2 "   4 :   8 [ ]   16 { }   32 the delimiter, if it is , or |   64 \ */
__attribute__((target("avx2"))) static unsigned scan_text_avx2(const uint8_t *p, size_t n, uint8_t delimiter) {
  const char split_2 = delimiter == ',' ? 32 : 0, split_7 = delimiter == '|' ? 32 : 0;
  const __m256i low = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(1, 1, 1 | 2, 1, 1, 1, 1, 1, 1, 1, 1 | 4, 1 | 8 | 16, 1 | 32 | 64, 1 | 8 | 16, 1, 1));
  const __m256i high = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(1, 1, 2 | split_2, 4, 0, 8 | 64, 0, 16 | split_7, 0, 0, 0, 0, 0, 0, 0, 0));
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i classes = _mm256_setzero_si256(), bytes = classes;
  const uint8_t *last = p + n - 32; /* the last block may overlap the one before */
  for (;; p += 32) {
    if (p > last) p = last;
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i by_low = _mm256_shuffle_epi8(low, _mm256_and_si256(x, nibble));
    __m256i by_high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
    classes = _mm256_or_si256(classes, _mm256_and_si256(by_low, by_high));
    bytes = _mm256_or_si256(bytes, x);
    if (p == last) break;
  }
  unsigned has = _mm256_movemask_epi8(bytes) ? TOON_HAS_HIGH : 0;
  if (!_mm256_testz_si256(classes, _mm256_set1_epi8(1 | 2 | 64))) return has | TOON_HAS_ESCAPE | TOON_HAS_SPECIAL;
  return _mm256_testz_si256(classes, classes) ? has : has | TOON_HAS_SPECIAL;
}
#endif

unsigned toon_scan_text(const uint8_t *p, size_t n, uint8_t delimiter) {
#ifdef TOON_SCAN_AVX2
  if (n >= 64 && __builtin_cpu_supports("avx2")) return scan_text_avx2(p, n, delimiter);
#endif
  const uint8_t *end = p + n;
  unsigned has = 0;
#ifdef TOON_SCAN_SSE2
  const __m128i split = _mm_set1_epi8((char)delimiter);
  __m128i escapes = _mm_setzero_si128(), specials = escapes, high = escapes;
  for (; end - p >= 16; p += 16) {
    __m128i x = toon_load128(p);
    high = _mm_or_si128(high, x);
    escapes = _mm_or_si128(escapes, toon_escapes128(x));
    specials = _mm_or_si128(specials, toon_specials128(x, split));
  }
  if (_mm_movemask_epi8(escapes)) has |= TOON_HAS_ESCAPE | TOON_HAS_SPECIAL;
  if (_mm_movemask_epi8(specials)) has |= TOON_HAS_SPECIAL;
  if (_mm_movemask_epi8(high)) has |= TOON_HAS_HIGH;
#endif
  for (; p < end; p++) {
    if (*p >= 0x80) has |= TOON_HAS_HIGH;
    if (toon_class[*p] & TOON_CLASS_ESCAPE) has |= TOON_HAS_ESCAPE;
    if (toon_class[*p] & TOON_CLASS_SPECIAL || *p == delimiter) has |= TOON_HAS_SPECIAL;
  }
  return has;
}
