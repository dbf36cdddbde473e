/* What the fuzz targets share: checks that stop the program, exact copies of the input (so that a sanitizer
 * sees every byte read beyond it), and a main that replays a corpus where there is no fuzzer. */
#ifndef TOON_TEST_FUZZ_H
#define TOON_TEST_FUZZ_H

#include "base/buf.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond)                                                     \
  do {                                                                       \
    if (!(cond)) {                                                           \
      fprintf(stderr, "%s:%d: FUZZ_CHECK(%s)\n", __FILE__, __LINE__, #cond); \
      abort();                                                               \
    }                                                                        \
  } while (0)
#define FUZZ_OK(expr) FUZZ_CHECK((expr) == TOON_OK)
#define FUZZ_SAME(a, b) FUZZ_CHECK(toon_slice_eq(toon_buf_slice(&(a)), toon_buf_slice(&(b))))

static inline toon_slice fuzz_copy(const uint8_t *data, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) abort();
  if (size) memcpy(copy, data, size);
  return toon_slice_of(copy, size);
}

#ifdef TOON_FUZZ_MAIN
/* Replay the files given. */
int main(int argc, char **argv) {
  static uint8_t data[1 << 20];
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file) {
      perror(argv[i]);
      return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
  }
  printf("%d inputs replayed\n", argc - 1);
  return 0;
}
#endif

#endif
