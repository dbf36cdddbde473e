/* Failing allocations: all but the next few. */
#ifndef TOON_TEST_MEMORY_H
#define TOON_TEST_MEMORY_H

#include "base/alloc.h"

#include <stdatomic.h>

static _Atomic long allowed;

static inline int refuse_beyond(void *ctx, size_t size) {
  (void)ctx, (void)size;
  return atomic_fetch_sub(&allowed, 1) <= 0;
}
/* The next n allocations of the engine succeed, none after them. */
static inline void allow_allocations(long n) {
  atomic_store(&allowed, n);
  toon_alloc_set_refuse(refuse_beyond, NULL);
}
static inline void allow_all_allocations(void) { toon_alloc_set_refuse(NULL, NULL); }

#endif
