/* The smallest test harness that reads well: TEST(name) bodies run in order, CHECK counts, a failure names file:line and
 * goes on. A test program is one .c file ending in CHECK_MAIN; its last line is "N passed, N failed". */
#ifndef TOON_TEST_CHECK_H
#define TOON_TEST_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*check_fn)(void);
static struct {
  const char *name;
  check_fn fn;
} check_tests[256];
static int check_count, check_failures_here, check_failed;

#define TEST(ident)                                                                                          \
  static void ident(void);                                                                                   \
  __attribute__((constructor)) static void ident##_register(void) {                                          \
    check_tests[check_count].name = #ident;                                                                  \
    check_tests[check_count++].fn = ident;                                                                   \
  }                                                                                                          \
  static void ident(void)

#define CHECK(cond)                                                                                          \
  do {                                                                                                       \
    if (!(cond)) {                                                                                           \
      check_failures_here++;                                                                                 \
      fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #cond);                                      \
    }                                                                                                        \
  } while (0)

#define CHECK_EQ(a, b)                                                                                       \
  do {                                                                                                       \
    long long check_a_ = (long long)(a), check_b_ = (long long)(b);                                          \
    if (check_a_ != check_b_) {                                                                              \
      check_failures_here++;                                                                                 \
      fprintf(stderr, "%s:%d: %s is %lld, %s is %lld\n", __FILE__, __LINE__, #a, check_a_, #b, check_b_);    \
    }                                                                                                        \
  } while (0)

/* As CHECK, and leaves the test: for what the rest depends on. */
#define REQUIRE(cond)                                                                                        \
  do {                                                                                                       \
    if (!(cond)) {                                                                                           \
      check_failures_here++;                                                                                 \
      fprintf(stderr, "%s:%d: REQUIRE(%s)\n", __FILE__, __LINE__, #cond);                                    \
      return;                                                                                                \
    }                                                                                                        \
  } while (0)

/* An argument runs only the tests whose name contains it. */
#define CHECK_MAIN                                                                                           \
  int main(int argc, char **argv) {                                                                          \
    int passed = 0;                                                                                          \
    for (int i = 0; i < check_count; i++) {                                                                  \
      if (argc > 1 && !strstr(check_tests[i].name, argv[1])) continue;                                       \
      check_failures_here = 0;                                                                               \
      check_tests[i].fn();                                                                                   \
      if (check_failures_here) {                                                                             \
        check_failed++;                                                                                      \
        fprintf(stderr, "not ok %s\n", check_tests[i].name);                                                 \
      } else {                                                                                               \
        passed++;                                                                                            \
      }                                                                                                      \
    }                                                                                                        \
    printf("%d passed, %d failed\n", passed, check_failed);                                                  \
    return check_failed != 0;                                                                                \
  }

#endif
