/* UTF-8 and UTF-16. Nearly all text is ASCII in long runs, so every function goes over runs in blocks of 16
 * to 64 bytes and drops to one character at a time only around what is not. The blocks are a handful of
 * primitives, written for SSE2, NEON and plain C (which TOON_UTF_PLAIN selects, for the test); everything
 * below them is common. */
#include "base/utf.h"

#include <string.h>

#if defined(__SSE2__) && !defined(TOON_UTF_PLAIN)
#include <emmintrin.h>
#elif defined(__aarch64__) && !defined(TOON_UTF_PLAIN)
#include <arm_neon.h>
#endif

#define HIGH_BITS 0x8080808080808080u

static inline uint64_t load8(const void *ptr) {
  uint64_t v;
  memcpy(&v, ptr, 8);
  return v;
}

static inline uint32_t load4(const void *ptr) {
  uint32_t v;
  memcpy(&v, ptr, 4);
  return v;
}

/* ---- blocks: each looks at a fixed number of characters and says whether they all are ASCII; narrow and
 * widen may have written rubbish to their output if not, but never more than the block's own room ---- */

static inline bool narrow4(const uint16_t *in, uint8_t *out) {
  uint64_t v = load8(in);
  if (v & 0xFF80FF80FF80FF80u) return false;
  v |= v >> 8;
  uint32_t packed = (uint32_t)(v & 0xFFFF) | (uint32_t)(v >> 16 & 0xFFFF0000u);
  memcpy(out, &packed, 4);
  return true;
}

static inline bool widen4(const uint8_t *in, uint16_t *out) {
  uint64_t v = load4(in);
  if (v & 0x80808080u) return false;
  v = (v | v << 16) & 0x0000FFFF0000FFFFu;
  v = (v | v << 8) & 0x00FF00FF00FF00FFu;
  memcpy(out, &v, 8);
  return true;
}

#if defined(__SSE2__) && !defined(TOON_UTF_PLAIN)

static inline __m128i load16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline void store16(void *p, __m128i v) { _mm_storeu_si128((__m128i *)p, v); }

static inline bool ascii16(const uint8_t *p) { return _mm_movemask_epi8(load16(p)) == 0; }

static inline bool ascii64(const uint8_t *p) {
  __m128i any = _mm_or_si128(_mm_or_si128(load16(p), load16(p + 16)), _mm_or_si128(load16(p + 32), load16(p + 48)));
  return _mm_movemask_epi8(any) == 0;
}

static inline bool units_ascii(__m128i any) {
  __m128i high = _mm_and_si128(any, _mm_set1_epi16((short)0xFF80));
  return _mm_movemask_epi8(_mm_cmpeq_epi16(high, _mm_setzero_si128())) == 0xFFFF;
}

static inline bool narrow8(const uint16_t *in, uint8_t *out) {
  __m128i a = load16(in);
  if (!units_ascii(a)) return false;
  _mm_storel_epi64((__m128i *)out, _mm_packus_epi16(a, a));
  return true;
}

static inline bool narrow32(const uint16_t *in, uint8_t *out) {
  __m128i a = load16(in), b = load16(in + 8), c = load16(in + 16), d = load16(in + 24);
  if (!units_ascii(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)))) return false;
  store16(out, _mm_packus_epi16(a, b));
  store16(out + 16, _mm_packus_epi16(c, d));
  return true;
}

static inline bool widen16(const uint8_t *in, uint16_t *out) {
  __m128i a = load16(in), zero = _mm_setzero_si128();
  if (_mm_movemask_epi8(a)) return false;
  store16(out, _mm_unpacklo_epi8(a, zero));
  store16(out + 8, _mm_unpackhi_epi8(a, zero));
  return true;
}

#elif defined(__aarch64__) && !defined(TOON_UTF_PLAIN)

static inline bool ascii16(const uint8_t *p) { return vmaxvq_u8(vld1q_u8(p)) < 0x80; }

static inline bool ascii64(const uint8_t *p) {
  uint8x16_t any = vorrq_u8(vorrq_u8(vld1q_u8(p), vld1q_u8(p + 16)), vorrq_u8(vld1q_u8(p + 32), vld1q_u8(p + 48)));
  return vmaxvq_u8(any) < 0x80;
}

static inline bool narrow8(const uint16_t *in, uint8_t *out) {
  uint16x8_t a = vld1q_u16(in);
  if (vmaxvq_u16(a) >= 0x80) return false;
  vst1_u8(out, vmovn_u16(a));
  return true;
}

static inline bool narrow32(const uint16_t *in, uint8_t *out) {
  uint16x8_t a = vld1q_u16(in), b = vld1q_u16(in + 8), c = vld1q_u16(in + 16), d = vld1q_u16(in + 24);
  if (vmaxvq_u16(vorrq_u16(vorrq_u16(a, b), vorrq_u16(c, d))) >= 0x80) return false;
  vst1q_u8(out, vcombine_u8(vmovn_u16(a), vmovn_u16(b)));
  vst1q_u8(out + 16, vcombine_u8(vmovn_u16(c), vmovn_u16(d)));
  return true;
}

static inline bool widen16(const uint8_t *in, uint16_t *out) {
  uint8x16_t a = vld1q_u8(in);
  if (vmaxvq_u8(a) >= 0x80) return false;
  vst1q_u16(out, vmovl_u8(vget_low_u8(a)));
  vst1q_u16(out + 8, vmovl_u8(vget_high_u8(a)));
  return true;
}

#else

static inline bool ascii16(const uint8_t *p) { return ((load8(p) | load8(p + 8)) & HIGH_BITS) == 0; }

static inline bool ascii64(const uint8_t *p) {
  uint64_t any = 0;
  for (int i = 0; i < 64; i += 8) any |= load8(p + i);
  return (any & HIGH_BITS) == 0;
}

static inline bool narrow8(const uint16_t *in, uint8_t *out) { return narrow4(in, out) && narrow4(in + 4, out + 4); }

static inline bool narrow32(const uint16_t *in, uint8_t *out) {
  return narrow8(in, out) && narrow8(in + 8, out + 8) && narrow8(in + 16, out + 16) && narrow8(in + 24, out + 24);
}

static inline bool widen16(const uint8_t *in, uint16_t *out) {
  return widen4(in, out) && widen4(in + 4, out + 4) && widen4(in + 8, out + 8) && widen4(in + 12, out + 12);
}

#endif

/* ---- the four functions ---- */

/* The ends of short input are two loads that may overlap: no loop over single bytes. */
bool toon_is_ascii(const uint8_t *ptr, size_t n) {
  if (n == 0) return true; /* here and below: ptr may be NULL, which takes no arithmetic */
  const uint8_t *end = ptr + n;
  if (n >= 16) {
    for (; end - ptr >= 64; ptr += 64)
      if (!ascii64(ptr)) return false;
    for (; end - ptr >= 16; ptr += 16)
      if (!ascii16(ptr)) return false;
    return ascii16(end - 16);
  }
  if (n >= 8) return ((load8(ptr) | load8(end - 8)) & HIGH_BITS) == 0;
  if (n >= 4) return ((load4(ptr) | load4(end - 4)) & (uint32_t)HIGH_BITS) == 0;
  return (ptr[0] | ptr[n / 2] | ptr[n - 1]) < 0x80;
}

static inline bool is_tail(uint8_t byte) { return (byte & 0xC0) == 0x80; }

/* Length of the well-formed character at p, whose first byte is not ASCII; 0 if there is none. The second
 * byte carries all the special cases of table 3-7: overlong forms, surrogates and the end at U+10FFFF. */
static inline size_t character(const uint8_t *p, size_t left) {
  uint8_t first = p[0];
  if (first < 0xC2) return 0;
  if (first < 0xE0) return left >= 2 && is_tail(p[1]) ? 2 : 0;
  if (first < 0xF0) {
    if (left < 3 || !is_tail(p[1]) || !is_tail(p[2])) return 0;
    if ((first == 0xE0 && p[1] < 0xA0) || (first == 0xED && p[1] > 0x9F)) return 0;
    return 3;
  }
  if (first > 0xF4 || left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3])) return 0;
  if ((first == 0xF0 && p[1] < 0x90) || (first == 0xF4 && p[1] > 0x8F)) return 0;
  return 4;
}

size_t toon_utf8_valid(const uint8_t *ptr, size_t n) {
  size_t i = 0;
  while (i < n) {
    if (ptr[i] < 0x80) {
      while (n - i >= 64 && ascii64(ptr + i)) i += 64;
      while (n - i >= 8 && (load8(ptr + i) & HIGH_BITS) == 0) i += 8;
      while (i < n && ptr[i] < 0x80) i++;
    } else {
      size_t len = character(ptr + i, n - i);
      if (len == 0) break;
      i += len;
    }
  }
  return i;
}

size_t toon_utf16_to_utf8(const uint16_t *units, size_t n, uint8_t *out, bool *ascii) {
  const uint16_t *end = n ? units + n : units;
  uint8_t *at = out;
  bool all_ascii = true;
  while (units < end) {
    while (end - units >= 32 && narrow32(units, at)) units += 32, at += 32;
    while (end - units >= 8 && narrow8(units, at)) units += 8, at += 8;
    if (end - units >= 4 && narrow4(units, at)) units += 4, at += 4;
    /* Take some characters singly before trying blocks again, or text without ASCII would pay for each trial.
     */
    const uint16_t *pause = end - units > 16 ? units + 16 : end;
    while (units < pause) {
      uint32_t c = *units++;
      if (c < 0x80) {
        *at++ = (uint8_t)c;
        continue;
      }
      all_ascii = false;
      if (c < 0x800) {
        *at++ = (uint8_t)(0xC0 | c >> 6);
      } else if (c < 0xD800 || c > 0xDFFF) {
        *at++ = (uint8_t)(0xE0 | c >> 12);
        *at++ = (uint8_t)(0x80 | (c >> 6 & 63));
      } else {
        if (c > 0xDBFF || units == end || (*units & 0xFC00) != 0xDC00) return SIZE_MAX;
        c = 0x10000 + ((c & 0x3FF) << 10 | (*units++ & 0x3FF));
        *at++ = (uint8_t)(0xF0 | c >> 18);
        *at++ = (uint8_t)(0x80 | (c >> 12 & 63));
        *at++ = (uint8_t)(0x80 | (c >> 6 & 63));
      }
      *at++ = (uint8_t)(0x80 | (c & 63));
    }
  }
  if (ascii) *ascii = all_ascii;
  return (size_t)(at - out);
}

size_t toon_utf8_to_utf16(const uint8_t *ptr, size_t n, uint16_t *out) {
  const uint8_t *end = n ? ptr + n : ptr;
  uint16_t *at = out;
  while (ptr < end) {
    while (end - ptr >= 16 && widen16(ptr, at)) ptr += 16, at += 16;
    while (end - ptr >= 4 && widen4(ptr, at)) ptr += 4, at += 4;
    const uint8_t *pause = end - ptr > 16 ? ptr + 16 : end;
    while (ptr < pause) {
      uint32_t c = *ptr;
      if (c < 0x80) {
        ptr += 1;
      } else if (c < 0xE0) {
        c = (c & 31) << 6 | (ptr[1] & 63);
        ptr += 2;
      } else if (c < 0xF0) {
        c = (c & 15) << 12 | (uint32_t)(ptr[1] & 63) << 6 | (ptr[2] & 63);
        ptr += 3;
      } else {
        c = (c & 7) << 18 | (uint32_t)(ptr[1] & 63) << 12 | (uint32_t)(ptr[2] & 63) << 6 | (ptr[3] & 63);
        ptr += 4;
        *at++ = (uint16_t)(0xD7C0 + (c >> 10)); /* 0xD800 with the 0x10000 that surrogates leave out */
        c = 0xDC00 | (c & 0x3FF);
      }
      *at++ = (uint16_t)c;
    }
  }
  return (size_t)(at - out);
}
