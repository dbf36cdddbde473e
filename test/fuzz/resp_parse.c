/* Fuzz target: bytes as commands of the Redis protocol. What is parsed does not depend on how the bytes come in: whole, or in
 * chunks whose lengths the first bytes give. Arguments lie within the input, and no command is longer than it. Build as
 * toon_encode.c, with csrc/resp/protocol.c. */
#include "fuzz.h"
#include "resp/protocol.h"

/* What a stream came to: its arguments one behind the other, its commands, and how it ended. */
typedef struct outcome {
  toon_buf args;
  size_t commands, used;
  resp_parsed end;
  char error[96];
} outcome;

static void take_command(outcome *out, const resp_parser *parser, toon_slice input) {
  FUZZ_CHECK(parser->used <= input.len && parser->used > 0);
  for (size_t i = 0; i < parser->count; i++) {
    toon_slice arg = resp_arg(parser, input, i);
    FUZZ_CHECK(arg.len <= input.len);
    FUZZ_OK(toon_buf_printf(&out->args, "%zu:", arg.len));
    FUZZ_OK(toon_buf_add(&out->args, arg)); /* reads every byte */
  }
  FUZZ_OK(toon_buf_lit(&out->args, ";"));
  out->commands++;
}

/* Parse all of `data`, given in chunks of step[0], step[1], … bytes (0: all the rest). */
static void run(const uint8_t *data, size_t size, bool anonymous, const uint8_t *steps, size_t count, outcome *out) {
  resp_parser parser;
  size_t given = 0, taken = 0, turn = 0;
  *out = (outcome){.end = RESP_MORE};
  resp_parser_init(&parser);
  parser.anonymous = anonymous;
  while (given < size && out->end == RESP_MORE) {
    size_t step = count ? steps[turn++ % count] : 0;
    given += step && step < size - given ? step : size - given;
    toon_slice copy = fuzz_copy(data + taken, given - taken); /* memory of its own: nothing is kept from before */
    size_t from = 0;
    while (from < copy.len) {
      toon_slice input = toon_slice_of(copy.ptr + from, copy.len - from);
      resp_parsed parsed = resp_parse(&parser, input);
      FUZZ_CHECK(parsed != RESP_NOMEM);
      if (parsed == RESP_BROKEN) {
        out->end = RESP_BROKEN;
        snprintf(out->error, sizeof out->error, "%s", parser.error);
      }
      if (parsed != RESP_COMMAND) break;
      take_command(out, &parser, input);
      from += parser.used;
      resp_parser_next(&parser);
    }
    taken += from;
    free((void *)copy.ptr);
  }
  out->used = taken;
  resp_parser_free(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 4) return 0;
  static const uint8_t one = 1;
  outcome whole, chunks, bytes;
  bool anonymous = data[0] & 1;
  run(data + 4, size - 4, anonymous, NULL, 0, &whole);
  run(data + 4, size - 4, anonymous, data + 1, 3, &chunks);
  run(data + 4, size - 4, anonymous, &one, 1, &bytes);
  const outcome *others[] = {&chunks, &bytes};
  for (int i = 0; i < 2; i++) {
    FUZZ_CHECK(others[i]->commands == whole.commands && others[i]->end == whole.end);
    FUZZ_CHECK(others[i]->used == whole.used && strcmp(others[i]->error, whole.error) == 0);
    FUZZ_SAME(others[i]->args, whole.args);
  }
  toon_buf_free(&whole.args);
  toon_buf_free(&chunks.args);
  toon_buf_free(&bytes.args);
  return 0;
}
