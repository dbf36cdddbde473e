/* The allocator hook: all memory of the engine comes through here, so that a test can make any allocation fail and
 * count what is left at the end. toon_alloc_* never abort; NULL means out of memory. */
#ifndef TOON_BASE_ALLOC_H
#define TOON_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

void *toon_malloc(size_t size);               /* not zeroed; size 0 gives a unique pointer */
void *toon_calloc(size_t count, size_t size); /* zeroed; overflow of count * size gives NULL */
void *toon_realloc(void *ptr, size_t size);
void toon_free(void *ptr); /* NULL is allowed */
char *toon_strdup(const char *text);
/* Memory that will all be used: the system is asked for its pages at once, or, `huge`, for pages of 2 MiB if it has them.
 * Not to be given to the others. */
#define TOON_LARGE ((size_t)2 << 20)
void *toon_malloc_large(size_t size, bool huge); /* a multiple of TOON_LARGE; not zeroed */
void toon_free_large(void *ptr, size_t size);

/* For tests: `refuse(ctx, size)` is asked before every allocation; true makes it fail. NULL restores the default.
 * Set only while no other thread uses the engine. */
void toon_alloc_set_refuse(int (*refuse)(void *ctx, size_t size), void *ctx);
/* Blocks allocated and not yet freed, process-wide. */
size_t toon_alloc_live(void);

#endif
