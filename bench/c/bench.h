/* What the programs here share: the clock, failures, numbers and keys that look random, medians. */
#ifndef TOON_BENCH_H
#define TOON_BENCH_H

#include "base/key.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BENCH_KEY = 16 };

static toon_error err;

/* Seconds. */
static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void must(toon_status status) {
  if (status == TOON_OK) return;
  fprintf(stderr, "%s: %s (%s)\n", toon_status_name(status), err.message, err.path);
  exit(1);
}

static inline void ensure(bool true_one, const char *what) {
  if (true_one) return;
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static inline int cmp_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts the samples. */
static inline double median(double *samples, size_t count) {
  qsort(samples, count, sizeof *samples, cmp_double);
  return samples[count / 2];
}

/* One to one. */
static inline uint64_t mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

/* The 8 hex digits of v as bytes in their order. */
static inline uint64_t hex8(uint32_t v) {
  uint64_t x = __builtin_bswap32(v);
  x = (x & 0xFFFF) | (x & 0xFFFF0000) << 16;
  x = (x | x << 8) & 0x00FF00FF00FF00FFull;
  x = (x >> 4 & 0x000F000F000F000Full) | (x << 8 & 0x0F000F000F000F00ull);
  uint64_t letters = (x + 0x0606060606060606ull) >> 4 & 0x0101010101010101ull;
  return x + 0x3030303030303030ull + letters * ('a' - '9' - 1);
}

/* A key of BENCH_KEY bytes: `k`, which TOON writes without quotes, and the lower 60 bits of v in hex. */
static inline toon_key bench_key(uint64_t v, uint8_t out[BENCH_KEY]) {
  uint64_t halves[2] = {hex8((uint32_t)(v >> 32)), hex8((uint32_t)v)};
  memcpy(out, halves, BENCH_KEY);
  out[0] = 'k';
  return toon_user_key(out, BENCH_KEY);
}

#endif
