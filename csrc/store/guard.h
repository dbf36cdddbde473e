/* Epoch guards: what lets a reader use the current view without counting references to it, and a writer know when nobody
 * can still be using an old one. Sleepable-RCU style: readers count themselves in one of two phases, on a stripe of their
 * own; a grace period flips the phase twice and waits for the counts of the phase left to reach zero.
 *
 * Inside a guard a thread must not wait for a lock or for I/O of others. (Reading mapped memory may fault pages in.) */
#ifndef TOON_STORE_GUARD_H
#define TOON_STORE_GUARD_H

#include "os/thread.h"
#include <stdatomic.h>

#define GUARD_STRIPES 32

typedef struct store_guard {
  _Atomic uint32_t phase;
  _Atomic uint64_t passed; /* grace periods that have ended */
  _Atomic bool polling;    /* somebody has `step` */
  uint32_t step;           /* of the grace period under way */
  struct {
    _Alignas(128) _Atomic uint64_t readers[2];
  } stripes[GUARD_STRIPES];
} store_guard;

void guard_init(store_guard *guard);

extern _Thread_local uint32_t guard_stripe; /* of this thread + 1; 0 until it has one */
uint32_t guard_take_stripe(void);

/* Begin to read; the result goes to guard_leave, from any thread. */
static inline uint32_t guard_enter(store_guard *guard) {
  uint32_t stripe = guard_stripe ? guard_stripe - 1 : guard_take_stripe();
  uint32_t phase = atomic_load_explicit(&guard->phase, memory_order_relaxed) & 1;
  atomic_fetch_add_explicit(&guard->stripes[stripe].readers[phase], 1, memory_order_seq_cst);
  return stripe << 1 | phase;
}
static inline void guard_leave(store_guard *guard, uint32_t token) {
  atomic_fetch_sub_explicit(&guard->stripes[token >> 1].readers[token & 1], 1, memory_order_release);
}
/* A ticket, and whether every guard that was entered before the ticket was taken has been left. Any thread, never waits; ask
 * again after a false. */
uint64_t guard_ticket(store_guard *guard);
bool guard_passed(store_guard *guard, uint64_t ticket);

#endif
