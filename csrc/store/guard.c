/* Epoch guards: stripes and grace periods. */
#include "store/guard.h"

_Thread_local uint32_t guard_stripe;

uint32_t guard_take_stripe(void) {
  static _Atomic uint32_t next;
  guard_stripe = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % GUARD_STRIPES + 1;
  return guard_stripe - 1;
}

void guard_init(store_guard *guard) {
  atomic_init(&guard->phase, 0);
  for (int i = 0; i < GUARD_STRIPES; i++)
    for (int j = 0; j < 2; j++) atomic_init(&guard->stripes[i].readers[j], 0);
}

static bool phase_busy(store_guard *guard, uint32_t phase) {
  for (int i = 0; i < GUARD_STRIPES; i++)
    if (atomic_load_explicit(&guard->stripes[i].readers[phase], memory_order_seq_cst)) return true;
  return false;
}

/* The phase is flipped twice: a reader may have read it before a flip and counted itself after our look at its stripe; it
 * then stands in the phase that the second flip leaves. It has entered after the first flip, though, so it sees what was
 * current then. Steps: 0 flip, 1 wait for the phase left, 2 flip, 3 wait. */
bool guard_poll(store_guard *guard, uint32_t *step) {
  while (*step < 4) {
    if (*step % 2 == 0)
      atomic_fetch_xor_explicit(&guard->phase, 1, memory_order_seq_cst);
    else if (phase_busy(guard, ~atomic_load_explicit(&guard->phase, memory_order_seq_cst) & 1))
      return false;
    ++*step;
  }
  *step = 0;
  return true;
}
