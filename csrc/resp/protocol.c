/* The Redis protocol: parser and writer. The error texts are those that Redis's clients know. */
#include "resp/protocol.h"

#include "base/alloc.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

void resp_parser_init(resp_parser *parser) {
  memset(parser, 0, sizeof *parser);
  parser->missing = parser->bulk = -1;
}

void resp_parser_free(resp_parser *parser) {
  toon_free(parser->args);
  toon_buf_free(&parser->words);
  resp_parser_init(parser);
}

void resp_parser_next(resp_parser *parser) {
  parser->used = parser->scanned = parser->count = 0;
  parser->missing = parser->bulk = -1;
  parser->inlined = false;
  parser->words.len = 0;
  if (parser->words.cap > RESP_LINE_MAX) toon_buf_free(&parser->words);
  if (parser->cap > 1024) { /* one long command must not keep its memory */
    toon_free(parser->args);
    parser->args = NULL;
    parser->cap = 0;
  }
}

toon_slice resp_arg(const resp_parser *parser, toon_slice input, size_t i) {
  const uint8_t *base = parser->inlined ? parser->words.ptr : input.ptr;
  return toon_slice_of(base ? base + parser->args[i].offset : NULL, parser->args[i].len);
}

bool resp_integer(toon_slice text, int64_t *out) {
  bool negative = text.len > 0 && text.ptr[0] == '-';
  size_t i = negative;
  uint64_t value = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
  if (i == text.len || text.len > 20) return false;
  if (text.ptr[i] == '0' && text.len > 1) return false;
  for (; i < text.len; i++) {
    unsigned digit = (unsigned)text.ptr[i] - '0';
    if (digit > 9 || value > (limit - digit) / 10) return false;
    value = value * 10 + digit;
  }
  *out = negative ? (int64_t)(0 - value) : (int64_t)value;
  return true;
}

static bool add_arg(resp_parser *parser, size_t offset, size_t len) {
  if (parser->count == parser->cap) {
    size_t cap = parser->cap ? parser->cap * 2 : 8;
    resp_span *args = (resp_span *)toon_realloc(parser->args, cap * sizeof *args);
    if (!args) return false;
    parser->args = args;
    parser->cap = cap;
  }
  parser->args[parser->count++] = (resp_span){offset, len};
  return true;
}

static resp_parsed broken(resp_parser *parser, const char *text) {
  parser->error = text;
  return RESP_BROKEN;
}

static int hex_digit(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Read one quoted word that begins behind its quote. The place behind its closing quote, or NULL. */
static const uint8_t *quoted(toon_buf *words, const uint8_t *p, const uint8_t *end, uint8_t quote) {
  while (p < end && *p != quote) {
    uint8_t c = *p++;
    if (c == '\\' && p < end) {
      if (quote == '\'') {
        if (*p == '\'') c = *p++;
      } else if (*p == 'x' && end - p >= 3 && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
        c = (uint8_t)(hex_digit(p[1]) << 4 | hex_digit(p[2]));
        p += 3;
      } else {
        c = *p++;
        switch (c) {
        case 'n': c = '\n'; break;
        case 'r': c = '\r'; break;
        case 't': c = '\t'; break;
        case 'b': c = '\b'; break;
        case 'a': c = '\a'; break;
        default: break;
        }
      }
    }
    words->ptr[words->len++] = c;
  }
  if (p == end || (p + 1 < end && !is_space(p[1]))) return NULL;
  return p + 1;
}

static resp_parsed parse_inline(resp_parser *parser, const uint8_t *p, const uint8_t *end) {
  parser->inlined = true;
  if (toon_buf_reserve(&parser->words, (size_t)(end - p)) != TOON_OK) return RESP_NOMEM;
  for (;;) {
    while (p < end && is_space(*p)) p++;
    if (p == end) return RESP_COMMAND;
    size_t start = parser->words.len;
    while (p < end && !is_space(*p)) {
      if (*p == '"' || *p == '\'') {
        p = quoted(&parser->words, p + 1, end, *p);
        if (!p) return broken(parser, "Protocol error: unbalanced quotes in request");
        break;
      }
      parser->words.ptr[parser->words.len++] = *p++;
    }
    if (!add_arg(parser, start, parser->words.len - start)) return RESP_NOMEM;
  }
}

/* The line behind `used`, without its end; the parser moves behind it. False if it has not ended. */
static bool take_line(resp_parser *parser, toon_slice input, uint8_t last, toon_slice *line) {
  size_t from = parser->used + parser->scanned;
  const uint8_t *end = from < input.len ? (const uint8_t *)memchr(input.ptr + from, last, input.len - from) : NULL;
  /* A header ends with \r and whatever byte comes next, as in Redis. */
  if (!end || (last == '\r' && end + 1 == input.ptr + input.len)) {
    parser->scanned = (end ? (size_t)(end - input.ptr) : input.len) - parser->used;
    return false;
  }
  *line = toon_slice_of(input.ptr + parser->used, (size_t)(end - input.ptr) - parser->used);
  parser->used += line->len + (last == '\r' ? 2 : 1);
  parser->scanned = 0;
  return true;
}

/* The first line: the count of arguments, or an inline command. */
static resp_parsed parse_first(resp_parser *parser, toon_slice input) {
  toon_slice line;
  int64_t count;
  if (input.ptr[0] != '*') {
    if (!take_line(parser, input, '\n', &line)) {
      return parser->scanned > RESP_LINE_MAX ? broken(parser, "Protocol error: too big inline request") : RESP_MORE;
    }
    if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
    return parse_inline(parser, line.ptr, line.ptr + line.len);
  }
  if (!take_line(parser, input, '\r', &line)) {
    return parser->scanned > RESP_LINE_MAX ? broken(parser, "Protocol error: too big mbulk count string") : RESP_MORE;
  }
  if (!resp_integer(toon_slice_of(line.ptr + 1, line.len - 1), &count) || count > RESP_COUNT_MAX)
    return broken(parser, "Protocol error: invalid multibulk length");
  if (parser->anonymous && count > RESP_COUNT_MAX_ANONYMOUS)
    return broken(parser, "Protocol error: unauthenticated multibulk length");
  parser->missing = count > 0 ? count : 0;
  return RESP_MORE;
}

static resp_parsed parse_argument_head(resp_parser *parser, toon_slice input) {
  toon_slice line;
  int64_t len;
  if (!take_line(parser, input, '\r', &line)) {
    return parser->scanned > RESP_LINE_MAX ? broken(parser, "Protocol error: too big bulk count string") : RESP_MORE;
  }
  if (line.len == 0 || line.ptr[0] != '$') {
    snprintf(parser->text, sizeof parser->text, "Protocol error: expected '$', got '%c'",
             line.len && line.ptr[0] >= 32 && line.ptr[0] < 127 ? line.ptr[0] : ' ');
    return broken(parser, parser->text);
  }
  if (!resp_integer(toon_slice_of(line.ptr + 1, line.len - 1), &len) || len < 0 || len > RESP_BULK_MAX)
    return broken(parser, "Protocol error: invalid bulk length");
  if (parser->anonymous && len > RESP_BULK_MAX_ANONYMOUS)
    return broken(parser, "Protocol error: unauthenticated bulk length");
  parser->bulk = len;
  return RESP_MORE;
}

resp_parsed resp_parse(resp_parser *parser, toon_slice input) {
  if (parser->missing < 0) {
    if (input.len == 0) return RESP_MORE;
    resp_parsed parsed = parse_first(parser, input);
    if (parsed != RESP_MORE || parser->missing < 0) return parsed;
  }
  while (parser->missing > 0) {
    if (parser->bulk < 0) {
      resp_parsed parsed = parse_argument_head(parser, input);
      if (parsed != RESP_MORE || parser->bulk < 0) return parsed;
    }
    if (input.len - parser->used < (size_t)parser->bulk + 2) return RESP_MORE;
    if (!add_arg(parser, parser->used, (size_t)parser->bulk)) return RESP_NOMEM;
    parser->used += (size_t)parser->bulk + 2;
    parser->bulk = -1;
    parser->missing--;
  }
  return RESP_COMMAND;
}

toon_status resp_status(toon_buf *out, const char *text) { return toon_buf_printf(out, "+%s\r\n", text); }

toon_status resp_error(toon_buf *out, const char *fmt, ...) {
  char text[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  for (char *p = text; *p; p++)
    if (*p == '\r' || *p == '\n') *p = ' ';
  return toon_buf_printf(out, "-%s\r\n", text);
}

/* A type byte, a number and the end of the line. */
static toon_status head(toon_buf *out, uint8_t type, int64_t value) {
  uint8_t digits[24], *p = digits + sizeof digits;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  *--p = '\n';
  *--p = '\r';
  do *--p = (uint8_t)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0) *--p = '-';
  *--p = type;
  return toon_buf_append(out, p, (size_t)(digits + sizeof digits - p));
}

toon_status resp_int(toon_buf *out, int64_t value) { return head(out, ':', value); }
toon_status resp_array(toon_buf *out, size_t count) { return head(out, '*', (int64_t)count); }

toon_status resp_bulk(toon_buf *out, toon_slice bytes) {
  TOON_TRY(toon_buf_reserve(out, bytes.len + 32));
  TOON_TRY(head(out, '$', (int64_t)bytes.len));
  TOON_TRY(toon_buf_add(out, bytes));
  return toon_buf_lit(out, "\r\n");
}

toon_status resp_text(toon_buf *out, int version, toon_slice text) {
  if (version != 3) return resp_bulk(out, text);
  TOON_TRY(head(out, '=', (int64_t)text.len + 4));
  TOON_TRY(toon_buf_lit(out, "txt:"));
  TOON_TRY(toon_buf_add(out, text));
  return toon_buf_lit(out, "\r\n");
}

toon_status resp_null(toon_buf *out, int version) {
  return version == 3 ? toon_buf_lit(out, "_\r\n") : toon_buf_lit(out, "$-1\r\n");
}

toon_status resp_map(toon_buf *out, int version, size_t pairs) {
  return version == 3 ? head(out, '%', (int64_t)pairs) : head(out, '*', (int64_t)pairs * 2);
}
