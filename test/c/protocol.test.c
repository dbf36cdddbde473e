/* The parser and the writer of the Redis protocol. */
#include "check.h"

#include "resp/protocol.h"

/* Parse a text at once; the parser is left for looking at. */
static resp_parsed parse(resp_parser *parser, const char *text, size_t len) {
  resp_parser_init(parser);
  return resp_parse(parser, toon_slice_of(text, len));
}

static int arg_is(const resp_parser *parser, const char *input, size_t i, const char *want) {
  return toon_slice_eq(resp_arg(parser, toon_slice_of(input, strlen(input)), i), toon_slice_of(want, strlen(want)));
}

TEST(a_command_is_read_whole_or_byte_by_byte) {
  static const char text[] = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n\0x\r\nrest";
  const size_t len = sizeof text - 1 - 4;
  resp_parser parser;
  for (size_t step = 1; step <= len; step++) {
    resp_parser_init(&parser);
    for (size_t given = step; given < len; given += step) {
      char *copy = (char *)malloc(given); /* so that a sanitizer sees a read behind the input */
      memcpy(copy, text, given);
      CHECK(resp_parse(&parser, toon_slice_of(copy, given)) == RESP_MORE);
      free(copy);
    }
    REQUIRE(resp_parse(&parser, toon_slice_of(text, sizeof text - 1)) == RESP_COMMAND);
    CHECK_EQ(parser.used, len);
    CHECK_EQ(parser.count, 3);
    CHECK(arg_is(&parser, text, 0, "SET"));
    toon_slice value = resp_arg(&parser, toon_slice_of(text, sizeof text - 1), 2);
    CHECK(value.len == 4 && memcmp(value.ptr, "\r\n\0x", 4) == 0);
    resp_parser_free(&parser);
  }
}

TEST(inline_commands_know_quotes) {
  static const char text[] = "SET \"a b\\x41\\n\" 'it\\'s'  x\r\n";
  resp_parser parser;
  REQUIRE(parse(&parser, text, sizeof text - 1) == RESP_COMMAND);
  CHECK_EQ(parser.count, 4);
  CHECK(arg_is(&parser, text, 1, "a bA\n"));
  CHECK(arg_is(&parser, text, 2, "it's"));
  CHECK(arg_is(&parser, text, 3, "x"));
  resp_parser_free(&parser);
  CHECK(parse(&parser, "\r\n", 2) == RESP_COMMAND);
  CHECK_EQ(parser.count, 0);
  resp_parser_free(&parser);
}

TEST(what_breaks_the_protocol_is_named_as_redis_names_it) {
  static const struct {
    const char *text, *error;
  } cases[] = {
      {"*abc\r\n", "Protocol error: invalid multibulk length"},
      {"*2147483648\r\n", "Protocol error: invalid multibulk length"},
      {"*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'"},
      {"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"},
      {"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"},
      {"*1\r\n$1x\r\n", "Protocol error: invalid bulk length"},
      {"GET \"a\r\n", "Protocol error: unbalanced quotes in request"},
      {"GET \"a\"b\r\n", "Protocol error: unbalanced quotes in request"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    resp_parser parser;
    CHECK(parse(&parser, cases[i].text, strlen(cases[i].text)) == RESP_BROKEN);
    CHECK(parser.error && strcmp(parser.error, cases[i].error) == 0);
    resp_parser_free(&parser);
  }
}

TEST(lines_without_end_are_refused_at_64_kb) {
  static char text[RESP_LINE_MAX + 2];
  static const char *const errors[] = {"Protocol error: too big inline request",
                                       "Protocol error: too big mbulk count string"};
  for (int i = 0; i < 2; i++) {
    resp_parser parser;
    memset(text, '1', sizeof text);
    if (i) text[0] = '*';
    CHECK(parse(&parser, text, RESP_LINE_MAX) == RESP_MORE);
    CHECK(resp_parse(&parser, toon_slice_of(text, sizeof text)) == RESP_BROKEN);
    CHECK(parser.error && strcmp(parser.error, errors[i]) == 0);
    resp_parser_free(&parser);
  }
}

TEST(before_auth_commands_are_small) {
  resp_parser parser;
  resp_parser_init(&parser);
  parser.anonymous = true;
  CHECK(resp_parse(&parser, TOON_SLICE_LIT("*11\r\n")) == RESP_BROKEN);
  CHECK(strcmp(parser.error, "Protocol error: unauthenticated multibulk length") == 0);
  resp_parser_init(&parser);
  parser.anonymous = true;
  CHECK(resp_parse(&parser, TOON_SLICE_LIT("*1\r\n$16385\r\n")) == RESP_BROKEN);
  CHECK(strcmp(parser.error, "Protocol error: unauthenticated bulk length") == 0);
  resp_parser_free(&parser);
}

TEST(a_declared_count_takes_no_memory) {
  resp_parser parser;
  CHECK(parse(&parser, "*2147483647\r\n$536870912\r\n", 25) == RESP_MORE);
  CHECK_EQ(parser.cap, 0);
  resp_parser_free(&parser);
}

TEST(integers_are_strict) {
  int64_t value;
  CHECK(resp_integer(TOON_SLICE_LIT("-9223372036854775808"), &value) && value == INT64_MIN);
  CHECK(resp_integer(TOON_SLICE_LIT("9223372036854775807"), &value) && value == INT64_MAX);
  CHECK(resp_integer(TOON_SLICE_LIT("0"), &value) && value == 0);
  static const char *const wrong[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "01",
                                      "-0",
                                      "1.0",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    CHECK(!resp_integer(toon_slice_of(wrong[i], strlen(wrong[i])), &value));
}

TEST(replies_are_written_for_both_versions) {
  toon_buf out = {0};
  CHECK(resp_status(&out, "OK") == TOON_OK);
  CHECK(resp_error(&out, "ERR a\r\nb %d", 1) == TOON_OK);
  CHECK(resp_int(&out, INT64_MIN) == TOON_OK);
  CHECK(resp_bulk(&out, TOON_SLICE_LIT("x\r\n")) == TOON_OK);
  CHECK(resp_null(&out, 2) == TOON_OK && resp_null(&out, 3) == TOON_OK);
  CHECK(resp_array(&out, 2) == TOON_OK && resp_map(&out, 2, 1) == TOON_OK && resp_map(&out, 3, 1) == TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&out),
                      TOON_SLICE_LIT("+OK\r\n-ERR a  b 1\r\n:-9223372036854775808\r\n$3\r\nx\r\n\r\n$-1\r\n_\r\n"
                                     "*2\r\n*2\r\n%1\r\n")));
  toon_buf_free(&out);
}

CHECK_MAIN
