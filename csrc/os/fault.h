/* Mapped files that can be read no more: an access gives zeros instead of killing the process, and this tells of it. */
#ifndef TOON_OS_FAULT_H
#define TOON_OS_FAULT_H

#include "os/os.h"
#include <stdatomic.h>

/* For the vfs: files are mapped here, and not any more (before they are unmapped). 0 or ENOMEM. */
int os_fault_add(const uint8_t *map, size_t len);
void os_fault_remove(const uint8_t *map);

extern _Atomic uint32_t os_map_faults; /* in this process so far */
bool os_fault_in(const uint8_t *map);

/* Has a page of this mapping been replaced by zeros? Asked after reading, and before the bytes are believed, unless a checksum
 * guards them. */
static inline bool os_map_damaged(const uint8_t *map) {
  atomic_signal_fence(memory_order_seq_cst); /* the handler runs in the thread that reads, */
#if !defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
  atomic_thread_fence(memory_order_acquire); /* or has run in another */
#endif
  return atomic_load_explicit(&os_map_faults, memory_order_acquire) != 0 && os_fault_in(map);
}

#endif
