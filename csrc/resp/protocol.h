/* The Redis protocol as bytes: a parser of commands and a writer of replies, RESP2 and RESP3. Knows no sockets and no store.
 *
 * A command comes as an array of bulk strings, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", or inline, as a line of words that may be
 * quoted. The parser is given the same growing input again and again and goes on where it stopped, so slow input costs no
 * more than fast; it takes no memory on the word of a declared count or length. */
#ifndef TOON_RESP_PROTOCOL_H
#define TOON_RESP_PROTOCOL_H

#include "toonstore.h"

#define RESP_LINE_MAX (64u << 10)            /* of an inline command and of a header line */
#define RESP_BULK_MAX (512ll << 20)          /* of an argument, refused at its header */
#define RESP_COUNT_MAX ((1ll << 31) - 1)     /* of arguments */
#define RESP_COUNT_MAX_ANONYMOUS 10          /* of arguments, before AUTH */
#define RESP_BULK_MAX_ANONYMOUS (16ll << 10) /* of an argument, before AUTH */

typedef enum resp_parsed {
  RESP_MORE,    /* the command has not come to its end */
  RESP_COMMAND, /* args[0 … count) are a command; count may be 0 (an empty line) */
  RESP_BROKEN,  /* `error` says why; nothing after this can be understood */
  RESP_NOMEM
} resp_parsed;

typedef struct resp_span {
  size_t offset, len;
} resp_span;

typedef struct resp_parser {
  bool anonymous;  /* the limits before AUTH hold */
  size_t used;     /* bytes of the input that belong to the command so far */
  size_t scanned;  /* bytes behind `used` known to hold no end of line */
  int64_t missing; /* arguments still to come; -1: the first line has not been read */
  int64_t bulk;    /* length of the argument being read; -1: its header has not been read */
  resp_span *args; /* in the input, or in `words` of an inline command */
  size_t count, cap;
  bool inlined;
  toon_buf words;
  const char *error; /* static text, or `text` */
  char text[64];
} resp_parser;

void resp_parser_init(resp_parser *parser);
void resp_parser_free(resp_parser *parser);
/* Begin the next command. The caller drops `used` bytes of its input. */
void resp_parser_next(resp_parser *parser);
/* Go on with the input, which begins where the command began. */
resp_parsed resp_parse(resp_parser *parser, toon_slice input);
/* Argument i of a complete command; borrowed from the input and the parser. */
toon_slice resp_arg(const resp_parser *parser, toon_slice input, size_t i);

/* A whole number as Redis takes it: "-" and digits, no more. */
bool resp_integer(toon_slice text, int64_t *out);

/* Replies, appended to *out. `version` is 2 or 3. */
toon_status resp_status(toon_buf *out, const char *text);
/* "-" and the text, its line breaks made spaces. */
toon_status resp_error(toon_buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
toon_status resp_int(toon_buf *out, int64_t value);
toon_status resp_bulk(toon_buf *out, toon_slice bytes);
/* Text for people: in RESP3 a verbatim string. */
toon_status resp_text(toon_buf *out, int version, toon_slice text);
toon_status resp_null(toon_buf *out, int version);
toon_status resp_array(toon_buf *out, size_t count);
/* The head of `pairs` keys and values: a map, in RESP2 an array. */
toon_status resp_map(toon_buf *out, int version, size_t pairs);

#endif
