/* Base64: three bytes are four characters of six bits each. The bulk of long input goes 24 bytes (AVX2) or 48
 * bytes (NEON) at a time; plain C does the rest, the end, and everything where neither is there or
 * TOON_BASE64_PLAIN is set (for the test). The AVX2 way of looking characters up is Wojciech Mula's and
 * Alfred Klomp's. */
#include "base/base64.h"

#include <stdatomic.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value of a character; NONE, a bit that no value has, if it is not of the alphabet. */
#define NONE 0x80
static const uint8_t values[256] = {
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, 62,   NONE, NONE, NONE, 63,   52,   53,   54,   55,   56,   57,   58,   59,   60,
    61,   NONE, NONE, NONE, NONE, NONE, NONE, NONE, 0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,
    11,   12,   13,   14,   15,   16,   17,   18,   19,   20,   21,   22,   23,   24,   25,   NONE, NONE, NONE, NONE,
    NONE, NONE, 26,   27,   28,   29,   30,   31,   32,   33,   34,   35,   36,   37,   38,   39,   40,   41,   42,
    43,   44,   45,   46,   47,   48,   49,   50,   51,   NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
};

#define WIDE_MIN 28 /* shorter input has no bulk */

/* ---- many at a time: each takes some multiple of 3 bytes or 4 characters from the front and says how many.
 * Decoding stops at what is not of the alphabet, and never takes the last quartet, which may be padded ----
 */

#if defined(__x86_64__) && !defined(TOON_BASE64_PLAIN)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))

static bool has_wide(void) {
  static atomic_int known; /* 0: not yet asked, 1: no, 2: yes */
  int answer = atomic_load_explicit(&known, memory_order_relaxed);
  if (answer == 0) {
    answer = __builtin_cpu_supports("avx2") ? 2 : 1;
    atomic_store_explicit(&known, answer, memory_order_relaxed);
  }
  return answer == 2;
}

AVX2 static inline __m256i both(__m128i half) { return _mm256_broadcastsi128_si256(half); }

AVX2 static size_t encode_wide(const uint8_t *ptr, size_t n, uint8_t *out) {
  const __m256i spread = both(_mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
  const __m256i shifts = both(_mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                            '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0));
  size_t i = 0;
  for (; n - i >= 28; i += 24, out += 32) { /* the second half is loaded with 4 bytes more than it needs */
    __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(ptr + i))),
                                        _mm_loadu_si128((const __m128i *)(ptr + i + 12)), 1);
    /* Each 32 bits hold 3 bytes, the middle one twice; multiplications move the four groups of six to their
     * bytes. */
    v = _mm256_shuffle_epi8(v, spread);
    __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
    __m256i even =
        _mm256_mullo_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
    __m256i six = _mm256_or_si256(odd, even);
    /* The alphabet is six ranges; find which (13: letters below 26, 0: below 52, 1-12: the rest) and add its
     * shift. */
    __m256i range = _mm256_subs_epu8(six, _mm256_set1_epi8(51));
    __m256i capital = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), six);
    range = _mm256_or_si256(range, _mm256_and_si256(capital, _mm256_set1_epi8(13)));
    _mm256_storeu_si256((__m256i *)out, _mm256_add_epi8(six, _mm256_shuffle_epi8(shifts, range)));
  }
  return i;
}

AVX2 static size_t decode_wide(const uint8_t *ptr, size_t n, uint8_t *out) {
  /* A character is of the alphabet if the classes of its high and its low nibble have no bit in common. */
  const __m256i low_class = both(
      _mm_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1A, 0x1B, 0x1B, 0x1B, 0x1A));
  const __m256i high_class = both(
      _mm_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10));
  const __m256i shifts = both(_mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
  const __m256i pack = both(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
  const __m256i join = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7), slash = _mm256_set1_epi8('/');
  size_t i = 0;
  for (; n - i >= 44; i += 32, out += 24) { /* 32 bytes are stored of which 24 count; the rest has room for them */
    __m256i v = _mm256_loadu_si256((const __m256i *)(ptr + i));
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(v, 4), _mm256_set1_epi8(0x2f));
    __m256i low = _mm256_and_si256(v, _mm256_set1_epi8(0x2f));
    if (!_mm256_testz_si256(_mm256_shuffle_epi8(high_class, high), _mm256_shuffle_epi8(low_class, low))) break;
    v = _mm256_add_epi8(v, _mm256_shuffle_epi8(shifts, _mm256_add_epi8(_mm256_cmpeq_epi8(v, slash), high)));
    v = _mm256_madd_epi16(_mm256_maddubs_epi16(v, _mm256_set1_epi32(0x01400140)), _mm256_set1_epi32(0x00011000));
    v = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(v, pack), join);
    _mm256_storeu_si256((__m256i *)out, v);
  }
  return i;
}

#elif defined(__aarch64__) && !defined(TOON_BASE64_PLAIN)
#include <arm_neon.h>

static bool has_wide(void) { return true; }

static size_t encode_wide(const uint8_t *ptr, size_t n, uint8_t *out) {
  const uint8x16x4_t table = vld1q_u8_x4((const uint8_t *)alphabet);
  const uint8x16_t six = vdupq_n_u8(63);
  size_t i = 0;
  for (; n - i >= 48; i += 48, out += 64) {
    uint8x16x3_t in = vld3q_u8(ptr + i);
    uint8x16x4_t v;
    v.val[0] = vqtbl4q_u8(table, vshrq_n_u8(in.val[0], 2));
    v.val[1] = vqtbl4q_u8(table, vandq_u8(vsliq_n_u8(vshrq_n_u8(in.val[1], 4), in.val[0], 4), six));
    v.val[2] = vqtbl4q_u8(table, vandq_u8(vsliq_n_u8(vshrq_n_u8(in.val[2], 6), in.val[1], 2), six));
    v.val[3] = vqtbl4q_u8(table, vandq_u8(in.val[2], six));
    vst4q_u8(out, v);
  }
  return i;
}

static size_t decode_wide(const uint8_t *ptr, size_t n, uint8_t *out) {
  const uint8x16x4_t below = vld1q_u8_x4(values), above = vld1q_u8_x4(values + 64);
  size_t i = 0;
  for (; n - i > 64; i += 64, out += 48) {
    uint8x16x4_t in = vld4q_u8(ptr + i);
    uint8x16_t any = vdupq_n_u8(0);
    for (int k = 0; k < 4; k++) {
      /* A look-up outside the table's 64 gives 0, so one of the two is; both are for bytes that are not
       * ASCII. */
      uint8x16_t c = in.val[k], foreign = vandq_u8(c, vdupq_n_u8(NONE));
      c = vorrq_u8(vqtbl4q_u8(below, c), vqtbl4q_u8(above, veorq_u8(c, vdupq_n_u8(64))));
      in.val[k] = c;
      any = vorrq_u8(any, vorrq_u8(c, foreign));
    }
    if (vmaxvq_u8(any) >= NONE) break;
    uint8x16x3_t v;
    v.val[0] = vorrq_u8(vshlq_n_u8(in.val[0], 2), vshrq_n_u8(in.val[1], 4));
    v.val[1] = vorrq_u8(vshlq_n_u8(in.val[1], 4), vshrq_n_u8(in.val[2], 2));
    v.val[2] = vorrq_u8(vshlq_n_u8(in.val[2], 6), in.val[3]);
    vst3q_u8(out, v);
  }
  return i;
}

#else

static bool has_wide(void) { return false; }
static size_t encode_wide(const uint8_t *ptr, size_t n, uint8_t *out) { return (void)ptr, (void)n, (void)out, 0; }
static size_t decode_wide(const uint8_t *ptr, size_t n, uint8_t *out) { return (void)ptr, (void)n, (void)out, 0; }

#endif

/* ---- plain C ---- */

void toon_base64_encode(const uint8_t *ptr, size_t n, uint8_t *out) {
  if (n >= WIDE_MIN && has_wide()) {
    size_t taken = encode_wide(ptr, n, out);
    ptr += taken;
    n -= taken;
    out += taken / 3 * 4;
  }
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
  if (v < 0 || (v & ((1 << (24 - 8 * bytes)) - 1)) != 0) return 0; /* bits behind the last byte must be zero */
  for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(v >> (16 - 8 * i));
  return bytes;
}

bool toon_base64_decode(const uint8_t *ptr, size_t n, uint8_t *out, size_t *out_len) {
  if (n % 4 != 0) return false;
  uint8_t *at = out;
  if (n > 0) {
    if (n >= WIDE_MIN && has_wide()) {
      size_t taken = decode_wide(ptr, n, out);
      ptr += taken;
      n -= taken;
      at += taken / 4 * 3;
    }
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
