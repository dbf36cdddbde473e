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
  atomic_init(&guard->passed, 0);
  atomic_init(&guard->polling, false);
  guard->step = 0;
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
static bool poll(store_guard *guard) {
  while (guard->step < 4) {
    if (guard->step % 2 == 0)
      atomic_fetch_xor_explicit(&guard->phase, 1, memory_order_seq_cst);
    else if (phase_busy(guard, ~atomic_load_explicit(&guard->phase, memory_order_seq_cst) & 1))
      return false;
    guard->step++;
  }
  guard->step = 0;
  return true;
}

/* A period that is under way may have begun before the ticket was asked for; the one after it cannot. */
uint64_t guard_ticket(store_guard *guard) {
  atomic_thread_fence(memory_order_seq_cst);
  return atomic_load_explicit(&guard->passed, memory_order_seq_cst) + 2;
}

bool guard_passed(store_guard *guard, uint64_t ticket) {
  while (atomic_load_explicit(&guard->passed, memory_order_seq_cst) < ticket) {
    if (atomic_exchange_explicit(&guard->polling, true, memory_order_acquire)) return false;
    bool ended = poll(guard);
    if (ended) atomic_fetch_add_explicit(&guard->passed, 1, memory_order_seq_cst);
    atomic_store_explicit(&guard->polling, false, memory_order_release);
    if (!ended) return false;
  }
  return true;
}
