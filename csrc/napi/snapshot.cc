/* Snapshots that JavaScript holds. */
#include "range.h"
#include "functions.h"

namespace toonstore {

void snapshot_release(Snapshot *snapshot) {
  if (--snapshot->uses > 0) return;
  toon_snapshot_close(snapshot->snapshot);
  delete snapshot;
}

void snapshot_close(Env *e, Snapshot *snapshot) {
  e->snapshots.remove(snapshot->handle);
  snapshot_release(snapshot);
}

void snapshots_close(Store *store) {
  Env *e = store->env;
  e->snapshots.each([&](Snapshot *snapshot) {
    if (snapshot->store == store) snapshot_close(e, snapshot);
  });
}

/* snapshotOpen(store) -> snapshot, a negative number */
napi_value js_snapshotOpen(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Store *store = store_of(c.e, c[0]);
  if (!store) return nullptr;
  std::unique_ptr<Snapshot> snapshot(new (std::nothrow) Snapshot());
  toon_error err;
  if (!snapshot) return fail(c.e, TOON_ENOMEM, nullptr);
  snapshot->store = store;
  if (toon_snapshot_open(store->db, &snapshot->snapshot, &err) != TOON_OK) return fail(c.e, &err);
  snapshot->handle = c.e->snapshots.add(snapshot.get());
  if (!snapshot->handle) {
    toon_snapshot_close(snapshot->snapshot);
    return fail(c.e, TOON_ENOMEM, "too many snapshots and transactions are open: close(), commit() or rollback() them");
  }
  return make_number(c.e, -snapshot.release()->handle);
}

/* snapshotClose(snapshot). Does nothing for one that is closed */
napi_value js_snapshotClose(napi_env env, napi_callback_info info) {
  Call<1> c(env, info);
  Snapshot *snapshot = c.e->snapshots.get(-c.handle(0));
  if (snapshot && !env_forked(c.e)) snapshot_close(c.e, snapshot);
  return nullptr;
}

} // namespace toonstore
