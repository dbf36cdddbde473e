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
  os_mutex_init(&guard->lock);
}

void guard_destroy(store_guard *guard) { os_mutex_destroy(&guard->lock); }

static bool phase_busy(store_guard *guard, uint32_t phase) {
  for (int i = 0; i < GUARD_STRIPES; i++)
    if (atomic_load_explicit(&guard->stripes[i].readers[phase], memory_order_seq_cst)) return true;
  return false;
}

void guard_synchronize(store_guard *guard) {
  os_mutex_lock(&guard->lock);
  /* Twice: a reader may have read the phase before a flip and counted itself after our look at its stripe; it then stands
   * in the phase that the second flip leaves. It has entered after the first flip, though, so it sees the new view. */
  for (int round = 0; round < 2; round++) {
    uint32_t phase = atomic_fetch_xor_explicit(&guard->phase, 1, memory_order_seq_cst) & 1;
    for (int spins = 0; phase_busy(guard, phase); spins++)
      if (spins < 100)
        sched_yield();
      else
        os_sleep_ms(1);
  }
  os_mutex_unlock(&guard->lock);
}
