/* The allocator hook over the C library's allocator. */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int (*refuse_fn)(void *ctx, size_t size);
static void *refuse_ctx;
static atomic_size_t live_blocks;

static int refused(size_t size) { return refuse_fn && refuse_fn(refuse_ctx, size); }

static void *counted(void *ptr) {
  if (ptr) atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
  return ptr;
}

void *toon_malloc(size_t size) { return refused(size) ? NULL : counted(malloc(size ? size : 1)); }

void *toon_calloc(size_t count, size_t size) {
  return refused(size && count > SIZE_MAX / size ? SIZE_MAX : count * size)
             ? NULL
             : counted(calloc(count ? count : 1, size ? size : 1));
}

void *toon_realloc(void *ptr, size_t size) {
  if (refused(size)) return NULL;
  if (!ptr) return counted(malloc(size ? size : 1));
  return realloc(ptr, size ? size : 1);
}

void toon_free(void *ptr) {
  if (!ptr) return;
  atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
  free(ptr);
}

char *toon_strdup(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = toon_malloc(size);
  if (copy) memcpy(copy, text, size);
  return copy;
}

bool toon_alloc_take(size_t size) {
  if (refused(size)) return false;
  atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
  return true;
}

void toon_alloc_give(void) { atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed); }

void toon_alloc_set_refuse(int (*refuse)(void *ctx, size_t size), void *ctx) {
  refuse_fn = refuse;
  refuse_ctx = ctx;
}

size_t toon_alloc_live(void) { return atomic_load_explicit(&live_blocks, memory_order_relaxed); }
