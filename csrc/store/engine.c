/* The engine's small parts: its view, its clock. */
#include "store/engine.h"

store_view *engine_view(store_engine *engine) {
  uint32_t token = guard_enter(&engine->guard);
  store_view *view = atomic_load_explicit(&engine->view, memory_order_seq_cst);
  view_ref(view);
  guard_leave(&engine->guard, token);
  return view;
}

void engine_swap_view(store_engine *engine, store_view *view) {
  store_view *old = atomic_exchange_explicit(&engine->view, view, memory_order_seq_cst);
  if (!old) return;
  os_mutex_lock(&engine->wake_lock);
  old->next_retired = engine->retired;
  engine->retired = old;
  os_cond_signal(&engine->wake_cond);
  os_mutex_unlock(&engine->wake_lock);
}

bool engine_release_retired(store_engine *engine) {
  for (;;) {
    if (!engine->retiring) {
      os_mutex_lock(&engine->wake_lock);
      engine->retiring = engine->retired;
      engine->retired = NULL;
      os_mutex_unlock(&engine->wake_lock);
      if (!engine->retiring) return true;
      engine->grace = guard_ticket(&engine->guard);
    }
    if (!guard_passed(&engine->guard, engine->grace)) return false;
    while (engine->retiring) {
      store_view *view = engine->retiring;
      engine->retiring = view->next_retired;
      view_unref(view);
    }
  }
}

uint64_t engine_now_ns(const store_engine *engine) { return engine->vfs->monotonic_ns(engine->vfs); }

int64_t engine_now_ms(const store_engine *engine) {
  return engine->clock_wall_ms + (int64_t)((engine_now_ns(engine) - engine->clock_ns) / 1000000);
}
