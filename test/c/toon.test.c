/* The codec: forms, errors with their places, numbers, keys, fields, projections, limits, memory. What needs
 * the reference implementation is in test/differential/toon.mjs. */

/* The scanning functions once more, as machines without SIMD have them, under other names. */
#ifndef TOON_SCAN_PLAIN
#define TOON_SCAN_PLAIN
#endif
#define toon_class plain_class
#define toon_scan_escape_long plain_scan_escape
#define toon_scan_cell_long plain_scan_cell
#define toon_scan_string_long plain_scan_string
#define toon_scan_any_long plain_scan_any
#define toon_scan_text plain_scan_text
#include "../../csrc/toon/scan.c"
#undef toon_scan_escape_long
#undef toon_scan_cell_long
#undef toon_scan_string_long
#undef toon_scan_any_long
#undef toon_scan_text
const uint8_t *toon_scan_escape_long(const uint8_t *p, const uint8_t *end);
const uint8_t *toon_scan_cell_long(const uint8_t *p, const uint8_t *end, uint8_t delimiter);
const uint8_t *toon_scan_string_long(const uint8_t *p, const uint8_t *end, uint8_t delimiter, bool *special);
const uint8_t *toon_scan_any_long(const uint8_t *p, const uint8_t *end, uint8_t a, uint8_t b, uint8_t c);
unsigned toon_scan_text(const uint8_t *p, size_t n, uint8_t delimiter);

#include "check.h"
#include "memory.h"
#include "toon/number.h"
#include "toon/toon.h"

static toon_slice text_of(const char *text) { return toon_slice_of(text, strlen(text)); }

static bool is(const toon_buf *buf, const char *text) {
  if (toon_slice_eq(toon_buf_slice(buf), text_of(text))) return true;
  fprintf(stderr, "got:\n%.*s\nexpected:\n%s\n", (int)buf->len, buf->ptr ? (const char *)buf->ptr : "", text);
  return false;
}

/* What encoding (decoding) gives; "ERROR line:column" if it is refused. */
static bool encodes_with(const char *json, toon_text_options options, const char *expected) {
  toon_buf out = {0};
  toon_error err;
  if (toon_encode(text_of(json), &options, &out, &err) != TOON_OK)
    toon_buf_printf(&out, "%s %u:%u", toon_status_name(err.status), err.line, err.column);
  bool same = is(&out, expected);
  toon_buf_free(&out);
  return same;
}
static bool encodes(const char *json, const char *expected) {
  return encodes_with(json, TOON_TEXT_DEFAULTS, expected);
}

static bool decodes_with(const char *text, toon_text_options options, const char *expected) {
  toon_buf out = {0};
  toon_error err;
  if (toon_decode(text_of(text), &options, &out, &err) != TOON_OK)
    toon_buf_printf(&out, "%s %u:%u", toon_status_name(err.status), err.line, err.column);
  bool same = is(&out, expected);
  toon_buf_free(&out);
  return same;
}
static bool decodes(const char *text, const char *expected) {
  return decodes_with(text, TOON_TEXT_DEFAULTS, expected);
}
static bool leniently(const char *text, const char *expected) {
  return decodes_with(text, (toon_text_options){',', 2, false}, expected);
}

/* ---- documents ---- */

TEST(encodes_scalars) {
  CHECK(encodes("null", "null"));
  CHECK(encodes(" true ", "true"));
  CHECK(encodes("\"\"", "\"\""));
  CHECK(encodes("\"hello world\"", "hello world"));
  CHECK(encodes("\"true\"", "\"true\""));
  CHECK(encodes("\"05\"", "\"05\""));
  CHECK(encodes("\"+1e5\"", "\"+1e5\""));
  CHECK(encodes("\"1.\"", "1."));
  CHECK(encodes("\" a\"", "\" a\""));
  CHECK(encodes("\"- a\"", "\"- a\""));
  CHECK(encodes("\"#a\"", "\"#a\""));
  CHECK(encodes("\"a#-b\"", "a#-b"));
  CHECK(encodes("\"a\\u0000\\b\\f\\n\\/\\u001F\"", "\"a\\u0000\\u0008\\u000c\\n/\\u001f\""));
  CHECK(encodes("\"\\u00e9\\ud83d\\ude00\"", "\xC3\xA9\xF0\x9F\x98\x80"));
  CHECK(encodes("\"\xEF\xBB\xBF!\"",
                "\"\xEF\xBB\xBF!\"")); /* a mark at the start of a document would be lost */
  CHECK(encodes("[\"\xEF\xBB\xBF!\"]", "[1]: \xEF\xBB\xBF!"));
}

TEST(encodes_containers) {
  CHECK(encodes("{}", ""));
  CHECK(encodes("[]", "[]"));
  CHECK(encodes("{\"a\":{},\"b\":[],\"c d\":1,\"\":2,\"x.y\":3,\"1\":4}",
                "a:\nb: []\n\"c d\": 1\n\"\": 2\nx.y: 3\n\"1\": 4"));
  CHECK(encodes("[1,\"a,b\",null]", "[3]: 1,\"a,b\",null"));
  CHECK(encodes("[[1,2],[]]", "[2]:\n  - [2]: 1,2\n  - [0]:"));
  CHECK(encodes("[{},1,{\"a\":[{\"b\":1}],\"c\":2}]", "[3]:\n  -\n  - 1\n  - a[1]{b}:\n      1\n    c: 2"));
  CHECK(encodes("[[{\"a\":1}]]", "[1]:\n  - [1]:\n    - a: 1"));
}

TEST(encodes_tables) {
  CHECK(encodes("[{\"a\":1,\"b\":{\"c\":2,\"d\":{\"e\":3}}}]", "[1]{a,b{c,d{e}}}:\n  1,2,3"));
  CHECK(encodes("[{\"a\":1,\"b\":2},{\"b\":3,\"a\":4}]",
                "[2]{a,b}:\n  1,2\n  4,3")); /* keys in another order */
  CHECK(encodes("{\"t\":[{\"a\":1,\"b\":{\"x\":1,\"y\":2}},{\"b\":{\"y\":3,\"x\":4},\"a\":5}]}",
                "t[2]{a,b{x,y}}:\n  1,1,2\n  5,4,3"));
  CHECK(encodes("[{\"a\":1},{\"b\":2}]", "[2]:\n  - a: 1\n  - b: 2"));
  CHECK(encodes("[{\"a\":1},{\"a\":[]}]", "[2]:\n  - a: 1\n  - a: []"));
  CHECK(encodes("[{\"a\":1},{\"a\":1,\"b\":1}]", "[2]:\n  - a: 1\n  - a: 1\n    b: 1"));
  CHECK(encodes("{\"p\":{\"x\":1},\"q\":{\"x\":2}}", "[2:]{x}:\n  p: 1\n  q: 2"));
  CHECK(encodes("{\"k\":{\"p\":{\"x\":1}}}", "k:\n  p:\n    x: 1"));
  CHECK(encodes_with("{\"k\":{\"p\":{\"x\":1,\"y\":\"a|b\"},\"q\":{\"y\":\"c,d\",\"x\":2}}}",
                     (toon_text_options){'|', 4, true}, "k[2:|]{x|y}:\n    p: 1|\"a|b\"\n    q: 2|c,d"));
}

TEST(keeps_the_last_of_equal_keys_at_the_place_of_the_first) {
  CHECK(encodes("{\"a\":1,\"b\":2,\"a\":3}", "a: 3\nb: 2"));
  CHECK(encodes("{\"a\":{\"x\":1},\"b\":{\"c\":1,\"\\u0063\":[{\"d\":1},{\"d\":2}]},\"a\":[]}",
                "a: []\nb:\n  c[2]{d}:\n    1\n    2"));
  CHECK(encodes("[{\"a\":1,\"a\":2},{\"a\":3}]", "[2]{a}:\n  2\n  3"));
  toon_buf json = {0}, out = {0};
  toon_buf_lit(&json, "{");
  for (int i = 0; i < 200; i++) toon_buf_printf(&json, "\"k%d\":%d,", i % 100, i);
  json.ptr[json.len - 1] = '}';
  REQUIRE(toon_encode(toon_buf_slice(&json), NULL, &out, NULL) == TOON_OK);
  CHECK(strncmp((char *)out.ptr, "k0: 100\nk1: 101\n", 16) == 0);
  toon_buf_free(&json);
  toon_buf_free(&out);
}

TEST(says_where_json_is_wrong) {
  CHECK(encodes("", "TOON_ESYNTAX 1:1"));
  CHECK(encodes("[1,\n 2 3]", "TOON_ESYNTAX 2:4"));
  CHECK(encodes("{\"a\":1,}", "TOON_ESYNTAX 1:8"));
  CHECK(encodes("{\"a\" 1}", "TOON_ESYNTAX 1:6"));
  CHECK(encodes("[1}", "TOON_ESYNTAX 1:3"));
  CHECK(encodes("01", "TOON_ESYNTAX 1:1"));
  CHECK(encodes("1.", "TOON_ESYNTAX 1:1"));
  CHECK(encodes("-", "TOON_ESYNTAX 1:1"));
  CHECK(encodes("nul", "TOON_ESYNTAX 1:1"));
  CHECK(encodes("1 1", "TOON_ESYNTAX 1:3"));
  CHECK(encodes("\"a\tb\"", "TOON_ESYNTAX 1:3"));
  CHECK(encodes("\"ab", "TOON_ESYNTAX 1:4"));
  CHECK(encodes("\"a\\x\"", "TOON_ESYNTAX 1:3"));
  CHECK(encodes("\"\\u12g4\"", "TOON_ESYNTAX 1:2"));
  CHECK(encodes("[\"\\ud800\"]", "TOON_ESYNTAX 1:3"));
  CHECK(encodes("[\"\\ud800\\u0041\"]", "TOON_ESYNTAX 1:3"));
  CHECK(encodes("[\"\\udc00\"]", "TOON_ESYNTAX 1:3"));
  CHECK(encodes("[1,\n\"\xFF\"]", "TOON_ESYNTAX 2:2"));
  CHECK(encodes("\"\xED\xA0\x80\"", "TOON_ESYNTAX 1:2"));
  CHECK(encodes("\xEF\xBB\xBF{}", "TOON_ESYNTAX 1:1"));
  toon_error err;
  toon_buf out = {0};
  toon_text_options odd = {';', 2, true};
  CHECK_EQ(toon_encode(text_of("1"), &odd, &out, &err), TOON_EINVAL);
  odd = (toon_text_options){',', 17, true};
  CHECK_EQ(toon_encode(text_of("1"), &odd, &out, &err), TOON_EINVAL);
  CHECK_EQ(toon_decode(text_of("1"), &odd, &out, &err), TOON_EINVAL);
  toon_buf_free(&out);
}

TEST(decodes_forms) {
  CHECK(decodes("", "{}"));
  CHECK(decodes("# only a comment\n\n", "{}"));
  CHECK(decodes("\xEF\xBB\xBF"
                "a: 1\r\nb: x y \r\n",
                "{\"a\":1,\"b\":\"x y\"}"));
  CHECK(decodes("hello", "\"hello\""));
  CHECK(decodes("[2]: 1,\"a\\u0041\\n\"", "[1,\"aA\\n\"]"));
  CHECK(decodes("[2|]{a|\"b,c\"}:\n  1|x,y\n  2|", "[{\"a\":1,\"b,c\":\"x,y\"},{\"a\":2,\"b,c\":\"\"}]"));
  CHECK(decodes("k[2:]{x,y{z}}:\n  a: 1,2\n  \"b c\": 3,4\nm: []",
                "{\"k\":{\"a\":{\"x\":1,\"y\":{\"z\":2}},\"b c\":{\"x\":3,\"y\":{\"z\":4}}},\"m\":[]}"));
  CHECK(decodes("l[4]:\n  -\n  - 1\n  - a[1]{b}:\n      2\n    c:\n      d: 3\n  - [2]: 4,5",
                "{\"l\":[{},1,{\"a\":[{\"b\":2}],\"c\":{\"d\":3}},[4,5]]}"));
  CHECK(decodes("a: 1e5\nb: -0.0\nc: 1e999\nd: 01\ne: 12345678901234567890",
                "{\"a\":1e5,\"b\":0,\"c\":\"1e999\",\"d\":\"01\","
                "\"e\":12345678901234567890}"));
  CHECK(decodes("a\"b: c\"d: 1", "{\"a\\\"b: c\\\"d\":1}"));
  CHECK(decodes("a: x\ty\\z\"", "{\"a\":\"x\\ty\\\\z\\\"\"}"));
}

TEST(says_where_toon_is_wrong) {
  CHECK(decodes("a: 1\n b: 2", "TOON_ESYNTAX 2:2"));
  CHECK(decodes("a: 1\n\tb: 2", "TOON_ESYNTAX 2:1"));
  CHECK(decodes("a: 1\na: 2", "TOON_ESYNTAX 2:1"));
  CHECK(decodes("a: 1\n\"\\u0061\": 2", "TOON_ESYNTAX 2:1"));
  CHECK(decodes("a: \"x", "TOON_ESYNTAX 1:4"));
  CHECK(decodes("a: \"\\ud800\"", "TOON_ESYNTAX 1:5"));
  CHECK(decodes("a: \"\\x\"", "TOON_ESYNTAX 1:5"));
  CHECK(decodes("a[2]: 1", "TOON_ESYNTAX 1:7"));
  CHECK(decodes("a[2]{b}:\n  1\n\n  2", "TOON_ESYNTAX 4:3"));
  CHECK(decodes("a[1]{b}:\n  1\n  2", "TOON_ESYNTAX 3:3"));
  CHECK(decodes("a[1]{b,b}:\n  1,2", "TOON_ESYNTAX 1:8"));
  CHECK(decodes("a[1]{b|c}:\n  1,2", "TOON_ESYNTAX 1:7"));
  CHECK(decodes("a[1]\nb: 1", "TOON_ESYNTAX 1:1"));
  CHECK(decodes("a[x]: 1", "TOON_ESYNTAX 1:3"));
  CHECK(decodes("a [1]: 1", "TOON_ESYNTAX 1:2"));
  CHECK(decodes("a:\n    b: 1", "TOON_ESYNTAX 2:5"));
  CHECK(decodes("a: 1\nb: \xC0\x80", "TOON_ESYNTAX 2:4"));
  CHECK(decodes("[1]: 1\nb: 1", "TOON_ESYNTAX 2:1"));
  CHECK(decodes("- a\n- b", "TOON_ESYNTAX 1:1"));
}

TEST(takes_an_empty_column_name_twice_as_the_reference_does) {
  CHECK(decodes("[1]{\"\",\"\"}:\n  1,2", "[{\"\":1,\"\":2}]"));
  CHECK(decodes("[1]{\"\",a{\"\",\"\"},b,b}:\n  1,2,3,4,5",
                "[{\"\":1,\"a\":{\"\":2,\"\":3},\"b\":4,\"b\":5}]"));
  CHECK(decodes("[1]{b,b,\"\",\"\"}:\n  1,2,3,4", "TOON_ESYNTAX 1:7"));
}

TEST(recovers_in_lenient_mode_only_as_the_reference_does) {
  CHECK(leniently("a: 1\na: 2", "{\"a\":1,\"a\":2}")); /* JSON.parse takes the last */
  CHECK(leniently("a[3]: 1", "{\"a\":[1]}"));
  CHECK(leniently("a[5]{b}:\n  1\n\n  2", "{\"a\":[{\"b\":1},{\"b\":2}]}"));
  CHECK(leniently("a:\n   b: 1", "{\"a\":{\"b\":1}}"));
  CHECK(leniently("a:\n\tb: 1", "{\"a\":{\"b\":1}}"));
  CHECK(leniently("a[x]: 1", "TOON_ESYNTAX 1:3"));
  CHECK(leniently("a[1]{b}:\n  1,2", "TOON_ESYNTAX 2:4"));
}

TEST(refuses_nesting_beyond_the_limit) {
  toon_buf json = {0}, text = {0}, back = {0};
  toon_error err;
  for (int objects = 0; objects < 2; objects++) {
    for (int depth = TOON_MAX_DEPTH; depth <= TOON_MAX_DEPTH + 1; depth++) {
      json.len = text.len = back.len = 0;
      for (int i = 0; i < depth; i++) objects ? toon_buf_lit(&json, "{\"a\":") : toon_buf_lit(&json, "[");
      toon_buf_lit(&json, "1");
      for (int i = 0; i < depth; i++) toon_buf_byte(&json, objects ? '}' : ']');
      toon_status status = toon_encode(toon_buf_slice(&json), NULL, &text, &err);
      CHECK_EQ(status, depth > TOON_MAX_DEPTH ? TOON_ESYNTAX : TOON_OK);
      if (status != TOON_OK) continue;
      CHECK_EQ(toon_decode(toon_buf_slice(&text), NULL, &back, &err), TOON_OK);
      CHECK(toon_slice_eq(toon_buf_slice(&json), toon_buf_slice(&back)));
    }
  }
  for (int depth = TOON_MAX_DEPTH; depth <= TOON_MAX_DEPTH + 1; depth++) {
    toon_status expected = depth > TOON_MAX_DEPTH ? TOON_ESYNTAX : TOON_OK;
    text.len = 0; /* the root and depth - 2 objects around an empty one */
    for (int i = 0; i < depth - 1; i++) toon_buf_printf(&text, "%*sa:\n", 2 * i, "");
    CHECK_EQ(toon_decode(toon_buf_slice(&text), NULL, &back, &err), expected);
    text.len = 0; /* an array and depth - 1 objects in its rows */
    toon_buf_lit(&text, "[1]{");
    for (int i = 0; i < depth - 2; i++) toon_buf_lit(&text, "a{");
    toon_buf_lit(&text, "b");
    for (int i = 0; i < depth - 2; i++) toon_buf_lit(&text, "}");
    toon_buf_lit(&text, "}:\n  1");
    CHECK_EQ(toon_decode(toon_buf_slice(&text), NULL, &back, &err), expected);
  }
  toon_buf_free(&json);
  toon_buf_free(&text);
  toon_buf_free(&back);
}

/* ---- numbers ---- */

TEST(writes_numbers_as_javascript_does) {
  static const char *const pairs[][2] = {
      {"0", "0"},
      {"-0", "0"},
      {"-0.0", "0"},
      {"-0e9", "0"},
      {"1.0", "1"},
      {"1e5", "100000"},
      {"1E+2", "100"},
      {"1.50", "1.5"},
      {"0.10", "0.1"},
      {"1e21", "1e+21"},
      {"1e20", "100000000000000000000"},
      {"0.000001", "0.000001"},
      {"0.0000001", "1e-7"},
      {"1.5e-7", "1.5e-7"},
      {"1e-7", "1e-7"},
      {"5e-324", "5e-324"},
      {"2e-324", "0"},
      {"-2e-324", "0"},
      {"1e999", "null"},
      {"-1e999", "null"},
      {"1e400", "null"},
      {"9007199254740993", "9007199254740993"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"0.30000000000000004", "0.30000000000000004"},
      {"0.1000000000000000055511151231257827", "0.1"},
      {"9007199254740993.0", "9007199254740992"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"1.7976931348623159e308", "null"},
      {"2.2250738585072011e-308", "2.225073858507201e-308"},
      {"123456789.12345678", "123456789.12345678"},
      {"4.35", "4.35"},
      {"4.3499999999999996", "4.35"},
      {"2.5000000000000000000000001", "2.5"},
      {"9.5e-1", "0.95"},
      {"100e-2", "1"},
      {"-1.25", "-1.25"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) CHECK(encodes(pairs[i][0], pairs[i][1]));
  toon_buf digits = {0}, out = {0};
  for (int i = 0; i < 308; i++) toon_buf_byte(&digits, '7');
  CHECK_EQ(toon_encode(toon_buf_slice(&digits), NULL, &out, NULL), TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&digits), toon_buf_slice(&out)));
  toon_buf_byte(&digits, '7');
  out.len = 0;
  CHECK_EQ(toon_encode(toon_buf_slice(&digits), NULL, &out, NULL), TOON_OK);
  CHECK(is(&out, "null")); /* 7.7e308 */
  toon_buf_free(&digits);
  toon_buf_free(&out);
}

TEST(reads_numbers_to_the_nearest_double) {
  uint64_t state = 88172645463325252u;
  char text[900];
  for (int i = 0; i < 20000; i++) {
    double value, next;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    uint64_t bits = state & ~(1ull << 63);
    if (bits >> 52 >= 0x7FE) continue;
    memcpy(&value, &bits, 8);
    bits++;
    memcpy(&next, &bits, 8);
    /* shortest enough, too long, and exactly between two doubles */
    if (i % 3 == 0)
      snprintf(text, sizeof text, "%.17g", value);
    else if (i % 3 == 1)
      snprintf(text, sizeof text, "%.*e", (int)(state % 40), value);
    else
      snprintf(text, sizeof text, "%.*Le", 770 + (int)(state % 20),
               ((long double)value + (long double)next) / 2);
    double got = toon_number_value((uint8_t *)text, strlen(text)), expected = strtod(text, NULL);
    CHECK(memcmp(&got, &expected, 8) == 0);
    uint8_t printed[TOON_NUMBER_TEXT_MAX + 1];
    printed[toon_number_print(value, printed)] = 0;
    got = strtod((char *)printed, NULL);
    CHECK(memcmp(&got, &value, 8) == 0);
  }
}

/* ---- scanning ---- */

TEST(scans_the_same_with_and_without_simd) {
  uint8_t text[160];
  uint32_t state = 1;
  for (int i = 0; i < 20000; i++) {
    static const char odd[] = "\"\\:[]{},|\t\n\x01\x1f\x20\x7f\x80\xff-#;<>^_z|~";
    size_t n = i % sizeof text, from = (size_t)i % 7;
    memset(text, 'a', sizeof text);
    for (int k = 0; k < 1 + i % 3; k++) {
      state = state * 1664525 + 1013904223;
      text[state >> 8 & 127] = (uint8_t)odd[(state >> 20) % (sizeof odd - 1)];
    }
    const uint8_t *p = text + (from < n ? from : 0), *end = text + n;
    uint8_t delimiter = (uint8_t) ",|\t"[i % 3];
    bool a = false, b = false;
    CHECK(toon_scan_escape_long(p, end) == plain_scan_escape(p, end));
    CHECK(toon_scan_cell_long(p, end, delimiter) == plain_scan_cell(p, end, delimiter));
    CHECK(toon_scan_string_long(p, end, delimiter, &a) == plain_scan_string(p, end, delimiter, &b));
    CHECK(a == b || delimiter == '\t'); /* a tab stops the scan, whatever it is besides */
    CHECK(toon_scan_any_long(p, end, ':', '[', delimiter) == plain_scan_any(p, end, ':', '[', delimiter));
    CHECK_EQ(toon_scan_text(p, (size_t)(end - p), delimiter),
             plain_scan_text(p, (size_t)(end - p), delimiter));
  }
}

/* ---- keys ---- */

TEST(writes_and_reads_key_tokens) {
  static const char *const pairs[][2] = {{"name", "name"},
                                         {"_a.b9", "_a.b9"},
                                         {"9a", "\"9a\""},
                                         {"users/1", "\"users/1\""},
                                         {"", "\"\""},
                                         {"a b", "\"a b\""},
                                         {"a\n\"\\\x01", "\"a\\n\\\"\\\\\\u0001\""},
                                         {"\xC3\xA9", "\"\xC3\xA9\""},
                                         {"__proto__", "__proto__"}};
  toon_buf out = {0}, scratch = {0};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    toon_slice key;
    size_t len;
    out.len = 0;
    CHECK_EQ(toon_put_key(&out, text_of(pairs[i][0])), TOON_OK);
    CHECK(is(&out, pairs[i][1]));
    toon_buf_lit(&out, ": 1\n");
    CHECK_EQ(toon_get_key(toon_buf_slice(&out), &scratch, &key, &len, NULL), TOON_OK);
    CHECK(toon_slice_eq(key, text_of(pairs[i][0])));
    CHECK_EQ(len, strlen(pairs[i][1]));
  }
  toon_error err;
  toon_slice key;
  size_t len;
  CHECK_EQ(toon_get_key(text_of("\"ab\\"), &scratch, &key, &len, &err), TOON_ESYNTAX);
  CHECK_EQ(toon_get_key(text_of("\"a\\q\""), &scratch, &key, &len, &err), TOON_ESYNTAX);
  CHECK_EQ(err.column, 3);
  CHECK_EQ(toon_get_key(text_of(": 1"), &scratch, &key, &len, &err), TOON_ESYNTAX);
  CHECK_EQ(toon_get_key(text_of(""), &scratch, &key, &len, &err), TOON_ESYNTAX);
  toon_buf_free(&out);
  toon_buf_free(&scratch);
}

/* ---- fields ---- */

static const struct {
  const char *json, *field;
  uint8_t flags;
} fields[] = {
    {"null", ": null\n", TOON_NULL | TOON_TEXT_ASCII},
    {"false", ": false\n", TOON_FALSE | TOON_TEXT_ASCII},
    {"true", ": true\n", TOON_TRUE | TOON_TEXT_ASCII},
    {"-1.5", ": -1.5\n", TOON_NUMBER | TOON_TEXT_ASCII},
    {"1e+21", ": 1e+21\n", TOON_NUMBER | TOON_TEXT_ASCII},
    {"\"\"", ": \"\"\n", TOON_STRING | TOON_TEXT_ASCII},
    {"\"Alice\"", ": Alice\n", TOON_STRING | TOON_TEXT_ASCII | TOON_TEXT_PLAIN},
    {"\"nullify\"", ": nullify\n", TOON_STRING | TOON_TEXT_ASCII | TOON_TEXT_PLAIN},
    {"\"12 monkeys\"", ": 12 monkeys\n", TOON_STRING | TOON_TEXT_ASCII | TOON_TEXT_PLAIN},
    {"\"base64\"", ": base64\n", TOON_STRING | TOON_TEXT_ASCII | TOON_TEXT_PLAIN},
    {"\"base64:abc\"", ": \"base64:abc\"\n", TOON_STRING | TOON_TEXT_ASCII},
    {"\"caf\xC3\xA9\"", ": caf\xC3\xA9\n", TOON_STRING | TOON_TEXT_PLAIN},
    {"\"a\\nb\"", ": \"a\\nb\"\n", TOON_STRING | TOON_TEXT_ASCII},
    {"\"\xEF\xBB\xBFx\"", ": \xEF\xBB\xBFx\n", TOON_STRING | TOON_TEXT_PLAIN},
    {"[]", ": []\n", TOON_ARRAY | TOON_TEXT_ASCII},
    {"{}", ":\n", TOON_OBJECT | TOON_TEXT_ASCII},
    {"[\"a\",\"b\"]", "[2]: a,b\n", TOON_ARRAY | TOON_TEXT_ASCII},
    {"{\"id\":1,\"at\":{\"x\":\"  \"}}", ":\n  id: 1\n  at:\n    x: \"  \"\n", TOON_OBJECT | TOON_TEXT_ASCII},
    {"[{\"id\":1},{\"id\":2}]", "[2]{id}:\n  1\n  2\n", TOON_ARRAY | TOON_TEXT_ASCII},
    {"[1,{\"a\":[]}]", "[2]:\n  - 1\n  - a: []\n", TOON_ARRAY | TOON_TEXT_ASCII},
    {"{\"a\":{\"x\":1},\"b\":{\"x\":2}}", "[2:]{x}:\n  a: 1\n  b: 2\n", TOON_OBJECT | TOON_TEXT_ASCII},
};

TEST(writes_fields_and_reads_them_back) {
  toon_buf field = {0}, back = {0}, document = {0};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    uint8_t flags = 0;
    toon_slice json = text_of(fields[i].json);
    field.len = back.len = document.len = 0;
    CHECK_EQ(toon_field_json(json, SIZE_MAX, &field, &flags, NULL), TOON_OK);
    CHECK(is(&field, fields[i].field));
    CHECK_EQ(flags, fields[i].flags);
    CHECK_EQ(toon_field_flags(toon_buf_slice(&field)), fields[i].flags);
    CHECK_EQ(toon_field_to_json(toon_buf_slice(&field), &back, NULL), TOON_OK);
    CHECK(is(&back, fields[i].json));
    back.len = 0;
    CHECK_EQ(toon_field_to_document(toon_buf_slice(&field), &back, NULL), TOON_OK);
    CHECK_EQ(toon_encode(json, NULL, &document, NULL), TOON_OK);
    CHECK(toon_slice_eq(toon_buf_slice(&back), toon_buf_slice(&document)));
  }
  toon_buf_free(&field);
  toon_buf_free(&back);
  toon_buf_free(&document);
}

TEST(writes_strings_and_bytes_as_fields) {
  toon_buf field = {0}, back = {0};
  toon_error err;
  uint8_t flags;
  CHECK_EQ(toon_field_string(text_of("a: b"), SIZE_MAX, &field, &flags, NULL), TOON_OK);
  CHECK(is(&field, ": \"a: b\"\n"));
  CHECK_EQ(flags, TOON_STRING | TOON_TEXT_ASCII);
  CHECK_EQ(toon_field_to_string(toon_buf_slice(&field), &back, NULL), TOON_OK);
  CHECK(is(&back, "a: b"));
  field.len = back.len = 0;
  CHECK_EQ(toon_field_string((toon_slice){NULL, 0}, SIZE_MAX, &field, &flags, NULL), TOON_OK);
  CHECK(is(&field, ": \"\"\n"));
  CHECK_EQ(toon_field_string(text_of("a\xFF"), SIZE_MAX, &field, &flags, &err), TOON_EINVAL);
  CHECK(is(&field, ": \"\"\n"));

  field.len = 0;
  CHECK_EQ(toon_field_bytes(text_of("hello\xFF"), SIZE_MAX, &field, &flags, NULL), TOON_OK);
  CHECK(is(&field, ": base64:aGVsbG//\n"));
  CHECK_EQ(flags, TOON_BYTES | TOON_TEXT_ASCII);
  CHECK_EQ(toon_field_flags(toon_buf_slice(&field)), flags);
  CHECK_EQ(toon_field_to_bytes(toon_buf_slice(&field), &back, NULL), TOON_OK);
  CHECK(is(&back, "hello\xFF"));
  back.len = 0;
  CHECK_EQ(toon_field_to_json(toon_buf_slice(&field), &back, NULL), TOON_OK);
  CHECK(is(&back, "\"base64:aGVsbG//\""));
  back.len = 0;
  CHECK_EQ(toon_field_to_document(toon_buf_slice(&field), &back, NULL), TOON_OK);
  CHECK(is(&back, "base64:aGVsbG//"));
  CHECK_EQ(toon_field_to_string(toon_buf_slice(&field), &back, &err), TOON_EINVAL);
  CHECK_EQ(toon_field_to_bytes(text_of(": abc\n"), &back, &err), TOON_EINVAL);
  CHECK_EQ(toon_field_to_bytes(text_of(": base64:a\n"), &back, &err), TOON_ESYNTAX);
  field.len = back.len = 0;
  CHECK_EQ(toon_field_bytes((toon_slice){NULL, 0}, SIZE_MAX, &field, &flags, NULL), TOON_OK);
  CHECK(is(&field, ": base64:\n"));
  CHECK_EQ(toon_field_to_bytes(toon_buf_slice(&field), &back, NULL), TOON_OK);
  CHECK_EQ(back.len, 0);
  toon_buf_free(&field);
  toon_buf_free(&back);
}

TEST(keeps_the_size_limit_of_fields_to_the_byte) {
  toon_buf field = {0}, prefix = {0};
  uint8_t flags;
  toon_error err;
  toon_buf_lit(&prefix, "before");
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    size_t exact = strlen(fields[i].field);
    CHECK_EQ(toon_field_json(text_of(fields[i].json), exact, &prefix, &flags, &err), TOON_OK);
    prefix.len = 6;
    for (size_t less = 0; less < exact; less++) {
      CHECK_EQ(toon_field_json(text_of(fields[i].json), less, &prefix, &flags, &err), TOON_EVALUETOOBIG);
      CHECK_EQ(prefix.len, 6);
    }
  }
  CHECK_EQ(toon_field_string(text_of("a\nb"), 9, &prefix, &flags, &err), TOON_OK);
  prefix.len = 6;
  CHECK_EQ(toon_field_string(text_of("a\nb"), 8, &prefix, &flags, &err), TOON_EVALUETOOBIG);
  CHECK_EQ(toon_field_string(text_of("abc"), 6, &prefix, &flags, &err), TOON_OK);
  prefix.len = 6;
  CHECK_EQ(toon_field_string(text_of("abc"), 5, &prefix, &flags, &err), TOON_EVALUETOOBIG);
  CHECK_EQ(toon_field_bytes(text_of("abc"), 14, &prefix, &flags, &err), TOON_OK);
  prefix.len = 6;
  CHECK_EQ(toon_field_bytes(text_of("abc"), 13, &prefix, &flags, &err), TOON_EVALUETOOBIG);
  CHECK(is(&prefix, "before"));
  /* A short JSON text whose indentation is huge is refused without taking the memory for it. */
  toon_buf json = {0};
  for (int i = 0; i < 1000; i++) toon_buf_lit(&json, "[");
  for (int i = 0; i < 100000; i++) toon_buf_printf(&json, "{\"a\":{}}%s", i < 99999 ? "," : "");
  for (int i = 0; i < 1000; i++) toon_buf_lit(&json, "]");
  CHECK_EQ(toon_field_json(toon_buf_slice(&json), 1 << 20, &field, &flags, &err), TOON_EVALUETOOBIG);
  CHECK(field.cap <= 4 << 20);
  toon_buf_free(&json);
  toon_buf_free(&field);
  toon_buf_free(&prefix);
}

/* ---- projection ---- */

/* Paths are written with dots here, and separated by spaces. */
static bool projects(const char *json, const char *wanted, const char *expected) {
  toon_slice names[32];
  toon_path paths[16];
  size_t count = 0, used = 0;
  toon_buf field = {0}, out = {0};
  uint8_t flags;
  toon_error err;
  for (const char *p = wanted; *p;) {
    paths[count] = (toon_path){&names[used], 0};
    for (;; p++) {
      size_t len = strcspn(p, ". ");
      names[used++] = toon_slice_of(p, len);
      paths[count].count++;
      p += len;
      if (*p != '.') break;
    }
    count++;
    if (*p) p++;
  }
  bool same = toon_field_json(text_of(json), SIZE_MAX, &field, &flags, &err) == TOON_OK &&
              toon_project(toon_buf_slice(&field), paths, count, &out, &err) == TOON_OK && is(&out, expected);
  toon_buf_free(&field);
  toon_buf_free(&out);
  return same;
}

TEST(projects_objects) {
  const char *json = "{\"id\":7,\"name\":\"A\\nb\",\"at\":{\"city\":\"Rome\",\"geo\":{\"x\":1,\"y\":[1,2]}},"
                     "\"tags\":[\"a\",\"b\"],"
                     "\"list\":[{\"q\":1},[2]],\"by\":{\"p\":{\"u\":1,\"v\":{\"w\":2}},\"r "
                     "s\":{\"u\":3,\"v\":{\"w\":\"4,5\"}}},\"e\":{}}";
  CHECK(projects(json, "name id", "{\"name\":\"A\\nb\",\"id\":7}"));
  CHECK(projects(json, "at.city at.geo.x", "{\"at.city\":\"Rome\",\"at.geo.x\":1}"));
  CHECK(projects(json, "at", "{\"at\":{\"city\":\"Rome\",\"geo\":{\"x\":1,\"y\":[1,2]}}}"));
  CHECK(projects(json, "tags list e", "{\"tags\":[\"a\",\"b\"],\"list\":[{\"q\":1},[2]],\"e\":{}}"));
  CHECK(projects(json, "nope id.x tags.0 at.nope e.x", "{}"));
  CHECK(projects(json, "by.p by.p.u by.p.v by.p.v.w by.nope by.p.u.x",
                 "{\"by.p\":{\"u\":1,\"v\":{\"w\":2}},\"by.p.u\":1,\"by.p.v\":{\"w\":2},\"by.p.v.w\":2}"));
  CHECK(projects(json, "", "{}"));
  CHECK(projects("{}", "a", "{}"));
  CHECK(projects("{\"p\":{\"u\":1},\"q\":{\"u\":2}}", "q p.u", "{\"q\":{\"u\":2},\"p.u\":1}"));
}

TEST(projects_arrays_of_objects) {
  const char *table = "[{\"id\":1,\"at\":{\"x\":\"a,b\",\"g\":{\"h\":2}},\"n\":\"k\"},{\"id\":3,\"at\":{"
                      "\"x\":\"c\",\"g\":{\"h\":4}},\"n\":null}]";
  CHECK(projects(table, "n id", "[{\"n\":\"k\",\"id\":1},{\"n\":null,\"id\":3}]"));
  CHECK(projects(table, "at.x at.g",
                 "[{\"at.x\":\"a,b\",\"at.g\":{\"h\":2}},{\"at.x\":\"c\",\"at.g\":{\"h\":4}}]"));
  CHECK(projects(table, "x at.h id.y", "[{},{}]"));
  CHECK(projects("[{\"a\":1,\"b\":[1]},{},{\"b\":{\"c\":2},\"a\":[{\"z\":1}]}]", "a b.c",
                 "[{\"a\":1},{},{\"a\":[{\"z\":1}],\"b.c\":2}]"));
  CHECK(projects("[1,{\"a\":1}]", "a", "[1,{\"a\":1}]"));
  CHECK(projects("[{\"a\":[]},\"x y\"]", "a", "[{\"a\":[]},\"x y\"]"));
  CHECK(projects("[\"a\"]", "a", "[\"a\"]"));
  CHECK(projects("[]", "a", "[]"));
  CHECK(projects("\"x\"", "a", "\"x\""));
  toon_path empty = {NULL, 0};
  toon_buf out = {0};
  CHECK_EQ(toon_project(text_of(":\n"), &empty, 1, &out, NULL), TOON_EINVAL);
  toon_buf_free(&out);
}

TEST(stays_inside_the_bounds_of_damaged_fields) {
  static const char *const damaged[] = {"",
                                        ":",
                                        "::",
                                        ":\n",
                                        ":\n\n",
                                        ":\n\n  oo[1][bar]k: 3un",
                                        "[1]{a{b,c:- id}:\n 1 2",
                                        "[1]{a{b}:\n  1\n",
                                        "[1]:\n  -",
                                        "[1]:\n - a: 1\n",
                                        "[2:]{a}:\n  x\n",
                                        "[]",
                                        "[",
                                        ": \"",
                                        ": \"\n",
                                        ": base64:\n\n",
                                        ":\n  a:\n    b[1:]{c}:\n"};
  static const toon_slice names[] = {TOON_SLICE_LIT("a"), TOON_SLICE_LIT("b"), TOON_SLICE_LIT("c")};
  const toon_path paths[] = {{names, 1}, {names, 3}, {names + 1, 1}};
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
    size_t len = strlen(damaged[i]);
    uint8_t *copy = malloc(len + 1); /* its end is the sanitizer's to watch */
    REQUIRE(copy != NULL);
    memcpy(copy, damaged[i], len);
    copy = realloc(copy, len ? len : 1);
    toon_slice field = toon_slice_of(copy, len);
    toon_buf out = {0};
    CHECK((toon_field_flags(field) & 7) <= TOON_OBJECT);
    toon_field_to_json(field, &out, NULL);
    toon_field_to_string(field, &out, NULL);
    toon_field_to_bytes(field, &out, NULL);
    toon_field_to_document(field, &out, NULL);
    toon_project(field, paths, 3, &out, NULL);
    toon_buf_free(&out);
    free(copy);
  }
}

/* ---- memory ---- */

/* Everything the room does, so that each allocation can be made to fail. */
static toon_status do_all(toon_slice json, toon_buf *out) {
  toon_slice names[] = {TOON_SLICE_LIT("list"), TOON_SLICE_LIT("t"), TOON_SLICE_LIT("a")};
  toon_path paths[] = {{names, 1}, {names + 1, 2}};
  toon_buf field = {0};
  uint8_t flags;
  toon_status status = toon_encode(json, NULL, out, NULL);
  if (status == TOON_OK) status = toon_field_json(json, SIZE_MAX, &field, &flags, NULL);
  if (status == TOON_OK) status = toon_field_to_json(toon_buf_slice(&field), out, NULL);
  if (status == TOON_OK) status = toon_field_to_document(toon_buf_slice(&field), out, NULL);
  if (status == TOON_OK) status = toon_project(toon_buf_slice(&field), paths, 2, out, NULL);
  size_t text = out->len;
  if (status == TOON_OK) status = toon_encode(json, NULL, out, NULL);
  toon_buf copy = {0};
  if (status == TOON_OK) status = toon_buf_append(&copy, out->ptr + text, out->len - text);
  if (status == TOON_OK) status = toon_decode(toon_buf_slice(&copy), NULL, out, NULL);
  toon_buf_free(&copy);
  toon_buf_free(&field);
  return status;
}

/* The tables that were set aside, as text: path, pattern, kinds and columns. */
static toon_status show_table(void *ctx, const toon_table *t) {
  toon_buf *out = ctx;
  TOON_TRY(toon_buf_add(out, t->path));
  TOON_TRY(toon_buf_printf(out, " %u rows of ", t->rows));
  TOON_TRY(toon_buf_add(out, t->text));
  for (uint32_t i = 0; i < t->count; i++) {
    const toon_table_column *c = &t->columns[i];
    int32_t integer = 0;
    double number = 0;
    switch (c->kind) {
    case TOON_COLUMN_INT:
      CHECK_EQ(c->data.len, t->rows * sizeof integer);
      memcpy(&integer, c->data.ptr + c->data.len - sizeof integer, sizeof integer);
      TOON_TRY(toon_buf_printf(out, " int %d", integer));
      break;
    case TOON_COLUMN_DOUBLE:
      CHECK_EQ(c->data.len, t->rows * sizeof number);
      memcpy(&number, c->data.ptr + c->data.len - sizeof number, sizeof number);
      TOON_TRY(toon_buf_printf(out, " double %g", number));
      break;
    case TOON_COLUMN_BOOL: TOON_TRY(toon_buf_printf(out, " bool %d", c->data.ptr[t->rows - 1])); break;
    default:
      TOON_TRY(toon_buf_lit(out, " "));
      TOON_TRY(toon_buf_add(out, c->data));
    }
  }
  return toon_buf_lit(out, ";");
}

static toon_buf table_text(void) {
  toon_buf text = {0};
  toon_buf_lit(&text, "a[1]:\n  - t[16]{i,d,g{b,s},j}:\n");
  for (int i = 0; i < 16; i++)
    toon_buf_printf(&text, "      %d,%s,%s,\"%d\",%s\n", i, i ? "2" : "1.5", i == 15 ? "true" : "false", i % 2, i % 8 ? "7" : "null");
  return text;
}

TEST(sets_large_tables_aside_by_columns) {
  toon_buf text = table_text(), tables = {0}, json = {0};
  toon_error err;
  CHECK_EQ(toon_decode_tables(toon_buf_slice(&text), NULL, show_table, &tables, &json, &err), TOON_OK);
  CHECK(is(&json, "{\"a\":[{\"t\":null}]}"));
  CHECK(is(&tables, "[\"a\",0,\"t\"] 16 rows of {\"i\":,\"d\":,\"g\":{\"b\":,\"s\":},\"j\":} int 15 double 2 bool 1 "
                    "0\n1\n0\n1\n0\n1\n0\n1\n0\n1\n0\n1\n0\n1\n0\n1 "
                    "[null,7,7,7,7,7,7,7,null,7,7,7,7,7,7,7];"));
  json.len = tables.len = 0;
  toon_text_options lenient = {',', 2, false};
  CHECK_EQ(toon_decode_tables(toon_buf_slice(&text), &lenient, show_table, &tables, &json, &err), TOON_OK);
  CHECK_EQ(tables.len, 0);
  toon_buf_free(&text);
  toon_buf_free(&tables);
  toon_buf_free(&json);
}

TEST(sets_tables_aside_or_fails_cleanly_without_memory) {
  toon_buf text = table_text();
  size_t live = toon_alloc_live();
  int failures = 0;
  for (int n = 0;; n++) {
    toon_buf json = {0}, tables = {0};
    allow_allocations(n);
    toon_status status = toon_decode_tables(toon_buf_slice(&text), NULL, show_table, &tables, &json, NULL);
    allow_all_allocations();
    toon_buf_free(&json);
    toon_buf_free(&tables);
    CHECK_EQ(toon_alloc_live(), live);
    if (status == TOON_OK) break;
    CHECK_EQ(status, TOON_ENOMEM);
    REQUIRE(++failures < 1000);
  }
  CHECK(failures > 5);
  toon_buf_free(&text);
}

TEST(survives_every_failing_allocation) {
  toon_buf json = {0}, out = {0};
  toon_buf_lit(&json, "{\"dup\":1,\"\\u0064up\":2,\"t\":{");
  for (int i = 0; i < 40; i++)
    toon_buf_printf(&json, "%s\"k%d\":{\"a\":1,\"b\":{\"c\":%d}}", i ? "," : "", i, i);
  toon_buf_lit(&json, "},\"list\":[{\"a\":1,\"b\":2,\"c\":{\"x\":1,\"y\":2}},{\"c\":{\"y\":3,\"x\":4},\"b\":"
                      "5,\"a\":6}],\"deep\":");
  for (int i = 0; i < 40; i++) toon_buf_lit(&json, "[{\"a\":");
  toon_buf_lit(&json, "\"\\u0041\"");
  for (int i = 0; i < 40; i++) toon_buf_lit(&json, "},1]");
  toon_buf_lit(&json, "}");
  size_t live = toon_alloc_live();
  int failures = 0;
  for (int n = 0;; n++) {
    out = (toon_buf){0};
    allow_allocations(n);
    toon_status status = do_all(toon_buf_slice(&json), &out);
    allow_all_allocations();
    toon_buf_free(&out);
    CHECK_EQ(toon_alloc_live(), live);
    if (status == TOON_OK) break;
    CHECK_EQ(status, TOON_ENOMEM);
    failures++;
    REQUIRE(failures < 1000);
  }
  CHECK(failures > 20);
  toon_buf_free(&json);
}

TEST(leaves_the_output_as_it_was_when_it_fails) {
  toon_buf out = {0};
  toon_error err;
  uint8_t flags;
  toon_buf_lit(&out, "before");
  CHECK_EQ(toon_encode(text_of("[1,2,{\"a\":}"), NULL, &out, &err), TOON_ESYNTAX);
  CHECK(is(&out, "before"));
  CHECK_EQ(toon_decode(text_of("a: 1\nb: 2\nc"), NULL, &out, &err), TOON_ESYNTAX);
  CHECK(is(&out, "before"));
  CHECK(strstr(err.message, "line 3, column 1") != NULL);
  CHECK_EQ(toon_field_json(text_of("[1,"), SIZE_MAX, &out, &flags, &err), TOON_ESYNTAX);
  CHECK(is(&out, "before"));
  CHECK_EQ(toon_field_to_json(text_of(":\n  a: \"\n"), &out, &err), TOON_ESYNTAX);
  CHECK(is(&out, "before"));
  CHECK_EQ(toon_field_to_string(text_of(": \"a\\x\"\n"), &out, &err), TOON_ESYNTAX);
  CHECK(is(&out, "before"));
  toon_buf_free(&out);
}

CHECK_MAIN
