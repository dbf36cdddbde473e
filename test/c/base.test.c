/* The base room: checksums, UTF, base64, buffers, allocator, status table. */
#include "check.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "base/key.h"
#include "base/utf.h"

#include <errno.h>
#include <pthread.h>

/* The plain C versions once more, under other names: on this machine the room is built with SIMD. */
#define TOON_UTF_PLAIN
#define toon_is_ascii plain_is_ascii
#define toon_utf8_valid plain_utf8_valid
#define toon_utf16_to_utf8 plain_utf16_to_utf8
#define toon_utf8_to_utf16 plain_utf8_to_utf16
#include "../../csrc/base/utf.c"
#define TOON_BASE64_PLAIN
#define toon_base64_encode plain_base64_encode
#define toon_base64_decode plain_base64_decode
#include "../../csrc/base/base64.c"
#undef toon_base64_encode
#undef toon_base64_decode
#undef toon_is_ascii
#undef toon_utf8_valid
#undef toon_utf16_to_utf8
#undef toon_utf8_to_utf16

static uint64_t random_state = 42;
static uint32_t rnd(uint32_t n) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 33) % n;
}

/* A copy that ends where its memory ends, so that the address sanitizer sees every byte too far. */
static void *exactly(size_t n) { return malloc(n > 0 ? n : 1); }

static uint8_t *tight(const void *ptr, size_t n) {
  uint8_t *copy = exactly(n);
  if (n) memcpy(copy, ptr, n);
  return copy;
}

/* ---- crc32c ---- */

/* Bit by bit, straight from the definition. */
static uint32_t crc_reference(uint32_t crc, const uint8_t *p, size_t n) {
  crc = ~crc;
  while (n--) {
    crc ^= *p++;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
  }
  return ~crc;
}

static void *crc_first_call(void *arg) {
  *(uint32_t *)arg = toon_crc32c(0, "123456789", 9) ^ toon_crc32c_plain(0, "123456789", 9);
  return NULL;
}

/* Registered first, so that the threads race for the very first call. */
TEST(crc32c_first_calls_may_come_from_several_threads) {
  pthread_t threads[4];
  uint32_t results[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, crc_first_call, &results[i]);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 4; i++) CHECK_EQ(results[i], 0);
}

TEST(crc32c_gives_the_vectors_of_rfc_3720) {
  uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
  static const uint8_t pdu[48] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                  0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                  0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
  memset(ones, 0xff, sizeof ones);
  for (int i = 0; i < 32; i++) {
    up[i] = (uint8_t)i;
    down[i] = (uint8_t)(31 - i);
  }
  uint32_t (*const versions[])(uint32_t, const void *, size_t) = {toon_crc32c, toon_crc32c_plain};
  for (int v = 0; v < 2; v++) {
    CHECK_EQ(versions[v](0, "123456789", 9), 0xE3069283u);
    CHECK_EQ(versions[v](0, zeros, 32), 0x8A9136AAu);
    CHECK_EQ(versions[v](0, ones, 32), 0x62A8AB43u);
    CHECK_EQ(versions[v](0, up, 32), 0x46DD794Eu);
    CHECK_EQ(versions[v](0, down, 32), 0x113FDB5Cu);
    CHECK_EQ(versions[v](0, pdu, 48), 0xD9963A56u);
    CHECK_EQ(versions[v](7, NULL, 0), 7);
  }
}

TEST(crc32c_agrees_with_its_definition_at_every_length_and_alignment) {
  uint8_t bytes[700];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)rnd(256);
  for (size_t n = 0; n < 600; n++) {
    uint8_t *copy = tight(bytes + n % 17, n);
    uint32_t seed = rnd(UINT32_MAX), want = crc_reference(seed, copy, n);
    CHECK_EQ(toon_crc32c(seed, copy, n), want);
    CHECK_EQ(toon_crc32c_plain(seed, copy, n), want);
    free(copy);
  }
}

TEST(crc32c_of_long_input_agrees_and_chains) {
  size_t n = 300000;
  uint8_t *bytes = malloc(n);
  for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)rnd(256);
  for (int round = 0; round < 60; round++) {
    size_t from = rnd(64), len = round ? rnd((uint32_t)n - 64) : n - 64, cut = rnd((uint32_t)len + 1);
    uint32_t whole = toon_crc32c(0, bytes + from, len);
    CHECK_EQ(whole, toon_crc32c_plain(0, bytes + from, len));
    CHECK_EQ(whole, toon_crc32c(toon_crc32c(0, bytes + from, cut), bytes + from + cut, len - cut));
  }
  free(bytes);
}

/* ---- UTF ---- */

static size_t put_utf8(uint32_t c, uint8_t *out) {
  if (c < 0x80) return out[0] = (uint8_t)c, 1;
  if (c < 0x800) return out[0] = (uint8_t)(0xC0 | c >> 6), out[1] = (uint8_t)(0x80 | (c & 63)), 2;
  size_t n = c < 0x10000 ? 3 : 4;
  for (size_t i = n; i-- > 1; c >>= 6) out[i] = (uint8_t)(0x80 | (c & 63));
  out[0] = (uint8_t)((n == 3 ? 0xE0 : 0xF0) | c);
  return n;
}

static size_t put_utf16(uint32_t c, uint16_t *out) {
  if (c < 0x10000) return out[0] = (uint16_t)c, 1;
  out[0] = (uint16_t)(0xD800 | (c - 0x10000) >> 10);
  out[1] = (uint16_t)(0xDC00 | (c & 0x3FF));
  return 2;
}

/* By decoding and encoding again: well-formed is what the encoder could have written. */
static size_t valid_reference(const uint8_t *p, size_t n) {
  size_t i = 0;
  while (i < n) {
    size_t len = p[i] < 0x80 ? 1 : p[i] < 0xC0 ? 0 : p[i] < 0xE0 ? 2 : p[i] < 0xF0 ? 3 : p[i] < 0xF8 ? 4 : 0;
    if (len == 0 || len > n - i) break;
    uint32_t c = len == 1 ? p[i] : p[i] & (0x7Fu >> len);
    for (size_t k = 1; k < len; k++) c = c << 6 | (p[i + k] & 63);
    uint8_t again[4];
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) || put_utf8(c, again) != len || memcmp(again, p + i, len))
      break;
    i += len;
  }
  return i;
}

/* Every function of the room in both versions on one text of valid characters, at its tight size. */
static void check_text(const uint32_t *text, size_t count) {
  uint8_t wide8[4 * 400] = {0};
  uint16_t wide16[2 * 400] = {0};
  size_t n8 = 0, n16 = 0;
  bool ascii = true;
  for (size_t i = 0; i < count; i++) {
    n8 += put_utf8(text[i], wide8 + n8);
    n16 += put_utf16(text[i], wide16 + n16);
    ascii = ascii && text[i] < 0x80;
  }
  uint8_t *in8 = tight(wide8, n8), *out8 = exactly(3 * n16);
  uint16_t *in16 = (uint16_t *)tight(wide16, 2 * n16), *out16 = exactly(2 * n8);
  bool said = !ascii;

  CHECK_EQ(toon_is_ascii(in8, n8), ascii);
  CHECK_EQ(plain_is_ascii(in8, n8), ascii);
  CHECK_EQ(toon_utf8_valid(in8, n8), n8);
  CHECK_EQ(plain_utf8_valid(in8, n8), n8);
  CHECK_EQ(toon_utf16_to_utf8(in16, n16, out8, &said), n8);
  CHECK_EQ(said, ascii);
  CHECK(memcmp(out8, in8, n8) == 0);
  memset(out8, 0, 3 * n16);
  CHECK_EQ(plain_utf16_to_utf8(in16, n16, out8, NULL), n8);
  CHECK(memcmp(out8, in8, n8) == 0);
  CHECK_EQ(toon_utf8_to_utf16(in8, n8, out16), n16);
  CHECK(memcmp(out16, in16, 2 * n16) == 0);
  memset(out16, 0, 2 * n8);
  CHECK_EQ(plain_utf8_to_utf16(in8, n8, out16), n16);
  CHECK(memcmp(out16, in16, 2 * n16) == 0);
  free(in8);
  free(in16);
  free(out8);
  free(out16);
}

TEST(utf_converts_every_code_point_both_ways) {
  for (uint32_t c = 0; c <= 0x10FFFF; c++) {
    if (c >= 0xD800 && c < 0xE000) continue;
    uint8_t bytes[4], again[6];
    uint16_t units[2], units_again[4];
    size_t n8 = put_utf8(c, bytes), n16 = put_utf16(c, units);
    if (toon_utf8_valid(bytes, n8) != n8 || toon_utf16_to_utf8(units, n16, again, NULL) != n8 ||
        memcmp(bytes, again, n8) || toon_utf8_to_utf16(bytes, n8, units_again) != n16 ||
        memcmp(units, units_again, 2 * n16)) {
      CHECK_EQ(c, -1);
      return;
    }
  }
}

TEST(utf_finds_one_foreign_character_at_every_place_of_ascii_text) {
  static const uint32_t foreign[] = {'x',   0x7F,   0x80,   0xFF,   0x100,   0x7FF,
                                     0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};
  uint32_t text[200];
  for (size_t i = 0; i < 200; i++) text[i] = 'a' + (uint32_t)i % 26;
  for (size_t n = 0; n < 150; n++) {
    check_text(text, n);
    for (size_t at = 0; at<n; at += n> 80 ? 7 : 1) {
      uint32_t kept = text[at];
      text[at] = foreign[(at + n) % 12];
      check_text(text, n);
      text[at] = kept;
    }
  }
}

TEST(utf_converts_random_mixtures) {
  uint32_t text[400];
  for (int round = 0; round < 4000; round++) {
    size_t n = rnd(400);
    uint32_t most = 1 + rnd(40), kind = 0;
    for (size_t i = 0; i < n; i++) {
      if (rnd(most) == 0) kind = rnd(4);
      do {
        text[i] = kind == 0 ? rnd(0x80) : kind == 1 ? rnd(0x800) : kind == 2 ? rnd(0x10000) : rnd(0x110000);
      } while (text[i] >= 0xD800 && text[i] < 0xE000);
    }
    check_text(text, n);
  }
}

TEST(utf8_validity_agrees_with_the_definition_on_all_short_sequences) {
  uint8_t p[4];
  for (uint32_t v = 0x80; v < 0x100; v++) {
    for (uint32_t w = 0; w < 0x10000; w++) {
      p[0] = (uint8_t)v;
      p[1] = (uint8_t)(w >> 8);
      p[2] = (uint8_t)w;
      p[3] = (uint8_t)(w * 7 % 0xC1);
      for (size_t n = 1; n <= 4; n++) {
        size_t want = valid_reference(p, n);
        if (toon_utf8_valid(p, n) != want || plain_utf8_valid(p, n) != want) {
          CHECK_EQ(v << 16 | w, -1);
          return;
        }
      }
    }
  }
}

TEST(utf8_validity_stops_at_the_first_bad_byte_anywhere) {
  for (int round = 0; round < 20000; round++) {
    uint8_t bytes[300];
    size_t n = rnd(200), len = 0;
    bool plain_only = rnd(2);
    while (len < n) {
      uint32_t c = plain_only ? rnd(0x80) : rnd(0x2000);
      len += put_utf8(c, bytes + len);
    }
    if (len) bytes[rnd((uint32_t)len)] = (uint8_t)rnd(256);
    uint8_t *copy = tight(bytes, len);
    CHECK_EQ(toon_utf8_valid(copy, len), valid_reference(copy, len));
    CHECK_EQ(plain_utf8_valid(copy, len), valid_reference(copy, len));
    free(copy);
  }
}

TEST(utf16_refuses_lone_surrogates) {
  static const uint16_t bad[][3] = {{0xD800, 'a', 'b'},   {0xDC00, 'a', 'b'},       {'a', 'b', 0xD800},
                                    {'a', 'b', 0xDFFF},   {0xD800, 0xD800, 0xDC00}, {0xDC00, 0xD800, 'a'},
                                    {0xDBFF, 0xE000, 'a'}};
  uint8_t out[400];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    CHECK(toon_utf16_to_utf8(bad[i], 3, out, NULL) == SIZE_MAX);
    CHECK(plain_utf16_to_utf8(bad[i], 3, out, NULL) == SIZE_MAX);
  }
  uint16_t text[100];
  for (size_t at = 0; at < 100; at++) {
    for (size_t i = 0; i < 100; i++) text[i] = 'a';
    text[at] = 0xDABC;
    CHECK(toon_utf16_to_utf8(text, 100, out, NULL) == SIZE_MAX);
  }
}

TEST(utf_takes_empty_text_without_a_pointer) {
  bool ascii = false;
  CHECK(toon_is_ascii(NULL, 0));
  CHECK_EQ(toon_utf8_valid(NULL, 0), 0);
  CHECK_EQ(toon_utf16_to_utf8(NULL, 0, NULL, &ascii), 0);
  CHECK(ascii);
  CHECK_EQ(toon_utf8_to_utf16(NULL, 0, NULL), 0);
}

/* ---- base64 ---- */

TEST(base64_gives_the_vectors_of_rfc_4648) {
  static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
  static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
  for (int i = 0; i < 7; i++) {
    size_t n = strlen(plain[i]), e = strlen(coded[i]), len = 99;
    uint8_t out[16];
    CHECK_EQ(toon_base64_encoded_size(n), e);
    toon_base64_encode((const uint8_t *)plain[i], n, out);
    CHECK(memcmp(out, coded[i], e) == 0);
    CHECK(toon_base64_decode((const uint8_t *)coded[i], e, out, &len));
    CHECK_EQ(len, n);
    CHECK(memcmp(out, plain[i], n) == 0);
  }
}

/* One character at a time from the alphabet of the RFC. */
static void encode_reference(const uint8_t *p, size_t n, uint8_t *out) {
  static const char alphabet64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t chars = (n * 8 + 5) / 6, padded = toon_base64_encoded_size(n);
  for (size_t i = 0; i < padded; i++) {
    uint32_t v = 0;
    for (size_t bit = 6 * i; bit < 6 * i + 6; bit++)
      v = v << 1 | (bit / 8 < n ? p[bit / 8] >> (7 - bit % 8) & 1 : 0);
    out[i] = i < chars ? (uint8_t)alphabet64[v] : '=';
  }
}

TEST(base64_round_trips_at_every_length) {
  uint8_t bytes[400], want[540];
  for (size_t n = 0; n < 400; n++) {
    for (int round = 0; round < 8; round++) {
      for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)rnd(256);
      size_t e = toon_base64_encoded_size(n), len = 0;
      uint8_t *in = tight(bytes, n), *coded = exactly(e), *back = exactly(e / 4 * 3);
      encode_reference(bytes, n, want);
      toon_base64_encode(in, n, coded);
      CHECK(memcmp(coded, want, e) == 0);
      CHECK(toon_base64_decode(coded, e, back, &len));
      CHECK_EQ(len, n);
      CHECK(memcmp(back, bytes, n) == 0);
      memset(coded, 0, e);
      memset(back, 0, e / 4 * 3);
      plain_base64_encode(in, n, coded);
      CHECK(memcmp(coded, want, e) == 0);
      CHECK(plain_base64_decode(coded, e, back, &len));
      CHECK(len == n && memcmp(back, bytes, n) == 0);
      free(in);
      free(coded);
      free(back);
    }
  }
}

TEST(base64_refuses_every_byte_outside_the_alphabet_at_every_place) {
  uint8_t bytes[120], coded[160], out[120];
  size_t len;
  for (size_t i = 0; i < 120; i++) bytes[i] = (uint8_t)rnd(256);
  toon_base64_encode(bytes, 120, coded);
  for (size_t at = 0; at < 160; at++) {
    uint8_t kept = coded[at];
    for (uint32_t c = 0; c < 256; c++) {
      bool good =
          (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
      coded[at] = (uint8_t)c;
      if (c == '=' && at == 159) continue; /* may be padding; the next test looks at that */
      if (toon_base64_decode(coded, 160, out, &len) != good) CHECK_EQ(at * 256 + c, -1);
      if (plain_base64_decode(coded, 160, out, &len) != good) CHECK_EQ(at * 256 + c, -1);
    }
    coded[at] = kept;
  }
}

TEST(base64_refuses_what_is_not_canonical) {
  static const char *const bad[] = {"Z",
                                    "Zg",
                                    "Zg=",
                                    "Zg==Zg==",
                                    "Zm9v=",
                                    "====",
                                    "Z===",
                                    "=Zg=",
                                    "Zg=v",
                                    "Zh==",
                                    "Zm9=",
                                    "Zm+/Zm9",
                                    "Zm9v\n",
                                    "Zm9 ",
                                    "Zm-_",
                                    " Zm9",
                                    "Zm9vZh==",
                                    "Zm9vZm9=",
                                    "Zm9vZm9vZm9vZm9vZm9vZm9vZm9vZm9vZm9vZm9v=m9vZm9v"};
  uint8_t out[64];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    size_t len = 77;
    CHECK(!toon_base64_decode((const uint8_t *)bad[i], strlen(bad[i]), out, &len));
    CHECK_EQ(len, 77);
  }
}

/* ---- memory ---- */

static int refuse_all(void *ctx, size_t size) {
  (void)ctx, (void)size;
  return 1;
}

TEST(buffers_keep_their_content_when_memory_runs_out) {
  size_t live = toon_alloc_live();
  toon_buf buf = {0};
  CHECK_EQ(toon_buf_lit(&buf, "hello"), TOON_OK);
  CHECK_EQ(toon_buf_printf(&buf, " %d %s", 7, "world"), TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&buf), TOON_SLICE_LIT("hello 7 world")));
  toon_alloc_set_refuse(refuse_all, NULL);
  CHECK_EQ(toon_buf_append(&buf, "", 0), TOON_OK);
  CHECK_EQ(toon_buf_reserve(&buf, 1000), TOON_ENOMEM);
  CHECK(toon_strdup("x") == NULL);
  toon_alloc_set_refuse(NULL, NULL);
  CHECK_EQ(buf.len, 13);
  CHECK_EQ(toon_buf_reserve(&buf, SIZE_MAX), TOON_ENOMEM);
  CHECK_EQ(toon_buf_reserve(&buf, 1000), TOON_OK);
  CHECK(memcmp(buf.ptr, "hello", 5) == 0);
  toon_buf_free(&buf);
  CHECK(buf.ptr == NULL && buf.len == 0);
  CHECK_EQ(toon_alloc_live(), live);
}

TEST(slices_and_keys_are_ordered_by_bytes_and_space) {
  CHECK(toon_slice_cmp(TOON_SLICE_LIT("a"), TOON_SLICE_LIT("ab")) < 0);
  CHECK(toon_slice_cmp(TOON_SLICE_LIT("b"), TOON_SLICE_LIT("ab")) > 0);
  CHECK(toon_slice_cmp(TOON_SLICE_LIT("\xff"), TOON_SLICE_LIT("a")) > 0);
  CHECK(toon_slice_eq(toon_slice_of(NULL, 0), TOON_SLICE_LIT("")));
  uint8_t a[8], b[8];
  CHECK(toon_key_cmp(toon_row_key(255, a), toon_row_key(256, b)) < 0);
  CHECK(toon_key_cmp(toon_row_key(0, a), toon_user_key("zz", 2)) > 0);
  CHECK_EQ(toon_row_id(toon_row_key(0x123456789ABCull, a)), 0x123456789ABCll);
}

TEST(hash_spreads_and_depends_on_seed_and_length) {
  uint8_t zeros[64] = {0};
  for (size_t n = 0; n < 64; n++) {
    CHECK(toon_hash(zeros, n, 1) != toon_hash(zeros, n + 1 > 64 ? 0 : n + 1, 1));
    CHECK(toon_hash(zeros, n, 1) != toon_hash(zeros, n, 2));
    for (size_t at = 0; at < n; at++) {
      uint64_t before = toon_hash(zeros, n, 1);
      zeros[at] ^= 1;
      CHECK(toon_hash(zeros, n, 1) != before);
      zeros[at] ^= 1;
    }
  }
}

/* ---- status ---- */

TEST(every_status_has_a_name_a_text_and_a_reply) {
  for (int i = 0; i < TOON_STATUS_COUNT; i++) {
    CHECK(strncmp(toon_status_name((toon_status)i), "TOON_", 5) == 0);
    CHECK(toon_status_text((toon_status)i)[0] != 0);
    CHECK(toon_status_resp((toon_status)i)[0] != 0);
  }
  CHECK(toon_status_name((toon_status)999) != NULL);
}

TEST(errors_of_system_calls_get_the_right_status) {
  toon_error err;
  CHECK_EQ(toon_fail_os(&err, ENOSPC, "pwrite", "/x"), TOON_ENOSPC);
  CHECK_EQ(err.os_errno, ENOSPC);
  CHECK(strcmp(err.path, "/x") == 0);
  CHECK_EQ(toon_fail_os(&err, ENOMEM, "mmap", "/x"), TOON_ENOMEM);
  CHECK_EQ(toon_fail_os(&err, EIO, "pread", "/x"), TOON_EIO);
  CHECK_EQ(toon_fail_os(NULL, EIO, "pread", "/x"), TOON_EIO);
  CHECK_EQ(toon_fail_at(&err, TOON_ECORRUPT, "/y", 42, "bad %s", "frame"), TOON_ECORRUPT);
  CHECK_EQ(err.offset, 42);
  CHECK(strcmp(err.message, "bad frame") == 0);
}

CHECK_MAIN
