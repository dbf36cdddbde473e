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
/* For memory that comes from elsewhere: asked before it is taken (false: there shall be none), told when it is given back. */
bool toon_alloc_take(size_t size);
void toon_alloc_give(void);

/* For tests: `refuse(ctx, size)` is asked before every allocation; true makes it fail. NULL restores the default.
 * Set only while no other thread uses the engine. */
void toon_alloc_set_refuse(int (*refuse)(void *ctx, size_t size), void *ctx);
/* Blocks allocated and not yet freed, process-wide. */
size_t toon_alloc_live(void);

#endif
