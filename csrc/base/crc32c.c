/* CRC32C with the machine's own instruction, three streams at a time, or with tables.
 *
 * The instruction takes 8 bytes a cycle but answers after three, so one stream uses a third of it. Input is
 * cut into three equal parts of `stride` bytes whose checksums run side by side; then they are joined: the
 * checksum of a part followed by n more bytes is that checksum times x^8n modulo the polynomial, which is one
 * carry-less multiply by a constant and one more CRC instruction to reduce. The constants for every stride
 * that is a multiple of 8 come from a table filled at the first call, so any length, not only a few block
 * sizes, splits into three. */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the store's files and this code are little-endian"
#endif

typedef uint32_t (*crc_fn)(uint32_t crc, const uint8_t *p, size_t len);

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static uint32_t slices[8][256];

static inline uint64_t load64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

/* ---- tables: slicing by 8 ---- */

static uint32_t crc_tables(uint32_t crc, const uint8_t *p, size_t len) {
  while (len >= 8) {
    uint64_t v = load64(p) ^ crc;
    crc = slices[7][v & 255] ^ slices[6][v >> 8 & 255] ^ slices[5][v >> 16 & 255] ^ slices[4][v >> 24 & 255] ^
          slices[3][v >> 32 & 255] ^ slices[2][v >> 40 & 255] ^ slices[1][v >> 48 & 255] ^ slices[0][v >> 56];
    p += 8;
    len -= 8;
  }
  while (len--) crc = crc >> 8 ^ slices[0][(crc ^ *p++) & 255];
  return crc;
}

/* ---- the instruction ---- */

#if defined(__x86_64__) || defined(__aarch64__)
static inline uint32_t load32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#define CRC_HARDWARE __attribute__((target("sse4.2,pclmul")))
/* Of the processors with SSE4.2 only the first lacks the carry-less multiply; it takes the tables. */
static int has_hardware(void) { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"); }
CRC_HARDWARE static inline uint32_t crc_u64(uint32_t crc, uint64_t v) { return (uint32_t)_mm_crc32_u64(crc, v); }
CRC_HARDWARE static inline uint32_t crc_u32(uint32_t crc, uint32_t v) { return _mm_crc32_u32(crc, v); }
CRC_HARDWARE static inline uint32_t crc_u8(uint32_t crc, uint8_t v) { return _mm_crc32_u8(crc, v); }
CRC_HARDWARE static inline uint64_t carryless(uint32_t a, uint32_t b) {
  __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0);
  return (uint64_t)_mm_cvtsi128_si64(product);
}

#elif defined(__aarch64__)
#include <arm_neon.h>
#ifdef __clang__ /* whose arm_acle.h hides the names unless the whole file is compiled for them */
#define CRC_HARDWARE __attribute__((target("crc,aes")))
#define CRC_INSTRUCTION(size) __builtin_arm_crc32c##size
#else
#include <arm_acle.h>
#define CRC_INSTRUCTION(size) __crc32c##size
#define CRC_HARDWARE __attribute__((target("+crc+crypto")))
#endif
#ifdef __linux__
#include <sys/auxv.h>
static int has_hardware(void) {
  unsigned long need = 1ul << 4 | 1ul << 7; /* HWCAP_PMULL, HWCAP_CRC32: older headers lack the names */
  return (getauxval(AT_HWCAP) & need) == need;
}
#elif defined(__APPLE__)
static int has_hardware(void) { return 1; }
#else
static int has_hardware(void) { return 0; }
#endif
CRC_HARDWARE static inline uint32_t crc_u64(uint32_t crc, uint64_t v) { return CRC_INSTRUCTION(d)(crc, v); }
CRC_HARDWARE static inline uint32_t crc_u32(uint32_t crc, uint32_t v) { return CRC_INSTRUCTION(w)(crc, v); }
CRC_HARDWARE static inline uint32_t crc_u8(uint32_t crc, uint8_t v) { return CRC_INSTRUCTION(b)(crc, v); }
CRC_HARDWARE static inline uint64_t carryless(uint32_t a, uint32_t b) {
  return (uint64_t)vmull_p64((poly64_t)a, (poly64_t)b);
}
#endif

#ifdef CRC_HARDWARE
enum {
  STRIDE_MAX = 4096, /* the joining is lost in the noise from here on */
  THREE_MIN = 80     /* shorter input gains less from three streams than joining them costs */
};

/* powers[i] is x^(64i - 33): times x^33, which the product and its reduction bring along, it appends 8i zero
 * bytes. */
static uint32_t powers[2 * STRIDE_MAX / 8 + 1];

CRC_HARDWARE static void fill_powers(void) {
  powers[1] = 1; /* x^31, bit-reflected */
  for (size_t i = 2; i < sizeof powers / sizeof *powers; i++) powers[i] = crc_u64(powers[i - 1], 0);
}

CRC_HARDWARE static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t len) {
  while (len >= THREE_MIN) {
    size_t stride = len / 24 * 8;
    if (stride > STRIDE_MAX) stride = STRIDE_MAX;
    const uint8_t *end = p + stride, *q = p + stride, *r = p + 2 * stride;
    uint32_t second = 0, third = 0;
    while (p < end) {
      crc = crc_u64(crc, load64(p));
      second = crc_u64(second, load64(q));
      third = crc_u64(third, load64(r));
      p += 8;
      q += 8;
      r += 8;
    }
    crc = third ^ crc_u64(0, carryless(crc, powers[stride / 4]) ^ carryless(second, powers[stride / 8]));
    p = r;
    len -= 3 * stride;
  }
  while (len >= 8) {
    crc = crc_u64(crc, load64(p));
    p += 8;
    len -= 8;
  }
  if (len >= 4) {
    crc = crc_u32(crc, load32(p));
    p += 4;
    len -= 4;
  }
  while (len--) crc = crc_u8(crc, *p++);
  return crc;
}
#endif

/* ---- choosing ---- */

static void fill_tables(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
    slices[0][i] = c;
  }
  for (int k = 1; k < 8; k++)
    for (int i = 0; i < 256; i++) slices[k][i] = slices[k - 1][i] >> 8 ^ slices[0][slices[k - 1][i] & 255];
#ifdef CRC_HARDWARE
  if (has_hardware()) fill_powers();
#endif
}

static uint32_t crc_choose(uint32_t crc, const uint8_t *p, size_t len);
static uint32_t crc_tables_first(uint32_t crc, const uint8_t *p, size_t len);

/* Release and acquire: who sees the chosen function also sees its tables. */
static _Atomic(crc_fn) crc_best = crc_choose;
static _Atomic(crc_fn) crc_plain = crc_tables_first;

static uint32_t crc_choose(uint32_t crc, const uint8_t *p, size_t len) {
  crc_fn fn = crc_tables;
  pthread_once(&tables_once, fill_tables);
#ifdef CRC_HARDWARE
  if (has_hardware()) fn = crc_hardware;
#endif
  atomic_store_explicit(&crc_best, fn, memory_order_release);
  return fn(crc, p, len);
}

static uint32_t crc_tables_first(uint32_t crc, const uint8_t *p, size_t len) {
  pthread_once(&tables_once, fill_tables);
  atomic_store_explicit(&crc_plain, crc_tables, memory_order_release);
  return crc_tables(crc, p, len);
}

uint32_t toon_crc32c(uint32_t crc, const void *ptr, size_t len) {
  return ~atomic_load_explicit(&crc_best, memory_order_acquire)(~crc, ptr, len);
}

uint32_t toon_crc32c_plain(uint32_t crc, const void *ptr, size_t len) {
  return ~atomic_load_explicit(&crc_plain, memory_order_acquire)(~crc, ptr, len);
}
