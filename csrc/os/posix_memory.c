/* Large pieces of memory, from the system itself. */
#include "base/alloc.h"
#include "os/os.h"

#include <sys/mman.h>

void *os_alloc_large(size_t size) {
  if (!toon_alloc_take(size)) return NULL;
  size_t room = size + OS_LARGE; /* mappings begin anywhere: what is before and behind goes back */
  uint8_t *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) {
    toon_alloc_give();
    return NULL;
  }
  size_t before = (size_t)(-(uintptr_t)map & (OS_LARGE - 1));
  if (before) munmap(map, before);
  if (room - before - size) munmap(map + before + size, room - before - size);
#ifdef MADV_POPULATE_WRITE
  madvise(map + before, size, MADV_POPULATE_WRITE); /* a kernel that cannot does it page by page */
#endif
  return map + before;
}

void os_free_large(void *ptr, size_t size) {
  munmap(ptr, size);
  toon_alloc_give();
}
