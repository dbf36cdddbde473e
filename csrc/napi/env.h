/* What the files of the addon share: the state of one JavaScript environment (the main thread's or a
 * worker's), its tables of handles, and the way results of commits come back from other threads.
 *
 * JavaScript holds integers, never pointers: a store, an arena (writes being collected) and a cursor
 * are entries of a table, and a number that is no longer valid is TOON_ECLOSED. Hot functions are plain N-API
 * functions whose data pointer is the Env. Facts beside the value returned (its kind, a version) go through
 * memory that JavaScript sees as typed arrays, so that no object is made for them.
 *
 * Life of a store: `busy` counts what uses its toon_db outside the JavaScript thread (submitted arenas,
 * jobs). Closing takes the store out of its table at once; toon_close runs when busy is 0. When the
 * environment ends, the cleanup hook waits for what was submitted and closes what is left.
 *
 * Includes: toonstore.h, resp/server.h and, as a public header of base, utf.h. */
#ifndef TOON_NAPI_ENV_H
#define TOON_NAPI_ENV_H

#include <node_api.h>

extern "C" {
#include "toonstore.h"
#include "base/utf.h"
#include "resp/server.h"
}

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace toonstore {

struct Env;
struct Store;
struct Arena;
struct Cursor;
struct Query;
struct Snapshot;
struct ServerEvent;

/* How JavaScript has to finish a value. lib/values.js has the same list. */
enum Kind : uint8_t {
  KIND_MISSING = 0, /* there is none */
  KIND_READY = 1,   /* as it is */
  KIND_JSON = 2,    /* JSON text to parse */
  KIND_NUMERAL = 3, /* decimal text of a number */
  KIND_SLAB = 4,    /* bytes in the slab: offset << 13 | length */
  KIND_FAILED = 5   /* an error object */
};

/* What a read hands out. */
enum Mode { MODE_VALUE = 0, MODE_TEXT = 1, MODE_BUFFER = 2, MODE_EXISTS = 3, MODE_FACTS = 4 };

enum {
  ROWS_PER_CALL = 512, /* most rows that one call hands out */
  SLAB_VALUE_MAX = 4096
};

/* Memory that JavaScript sees; lib/binding.js has the same layout. */
struct Shared {
  int32_t kind;                     /* of the value just returned */
  int32_t ended;                    /* a cursor came to its end and is closed */
  int32_t keep, slot, version_word; /* get() of a watched store: may the value be kept, and by which word */
  int32_t length;                   /* of its text */
  int32_t spare[10];
  double version, expires_at;
  double rows; /* of the document just returned */
  double more[5];
  uint8_t kinds[2 * ROWS_PER_CALL]; /* of the values of a chunk, in order */
  int32_t slots[ROWS_PER_CALL];     /* getMany of a watched store: of each value that may be kept, its word; else -1 */
  int32_t lengths[ROWS_PER_CALL];   /* of their texts */
};

/* Integers for pointers. A handle is generation << 16 | index: no handle comes twice, so one that was removed
 * stays invalid. */
typedef int64_t Handle;

template <class T> class Table {
public:
  /* 0 if there are too many or memory is short. */
  Handle add(T *item) {
    if (free_.empty()) {
      if (slots_.size() <= 0xFFFF) {
        free_.push_back((uint32_t)slots_.size());
        slots_.push_back({nullptr, 0});
      } else {
        free_.swap(spent_);
      }
      if (free_.empty()) return 0;
    }
    uint32_t index = free_.back();
    free_.pop_back();
    Slot &slot = slots_[index];
    slot.item = item;
    return ++slot.generation << 16 | index;
  }
  T *get(Handle handle) const {
    uint32_t index = (uint32_t)handle & 0xFFFF;
    if (index >= slots_.size()) return nullptr;
    const Slot &slot = slots_[index];
    return slot.generation == handle >> 16 ? slot.item : nullptr;
  }
  void remove(Handle handle) {
    if (!get(handle)) return;
    uint32_t index = (uint32_t)handle & 0xFFFF;
    slots_[index].item = nullptr;
    (slots_[index].generation & 0x7FFF ? free_ : spent_).push_back(index);
  }
  /* fn may remove the item it is given. */
  template <class F> void each(F fn) {
    for (size_t i = 0; i < slots_.size(); i++)
      if (slots_[i].item) fn(slots_[i].item);
  }

private:
  struct Slot {
    T *item;
    int64_t generation;
  };
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t>
      spent_; /* their next handles are larger than the integers that V8 keeps without a heap number */
};

/* Where finished arenas wait for their JavaScript thread. Shared with the threads that lead commits, so it
 * may outlive the Env. */
struct Mailbox {
  std::mutex mutex;
  std::condition_variable emptied;
  napi_threadsafe_function notify = nullptr;
  Arena *done = nullptr;         /* a list, newest first */
  uint32_t in_flight = 0;        /* submitted, not done */
  ServerEvent *events = nullptr; /* a list, newest first */
  uint32_t events_waiting = 0;
  bool notified = false, open = true;
};

struct Store {
  Env *env;
  toon_db *db;
  Handle handle;
  uint32_t busy = 0;
  bool closing = false;
  uint64_t max_value_size = UINT64_MAX;
  std::atomic<bool> stop_compaction{false};
  napi_deferred closed = nullptr;
  napi_ref words = nullptr;    /* the version words of its cache */
  toon_cache *cache = nullptr; /* of bytes, which JavaScript's cache does not keep; made when it is needed */
  uint64_t cache_rows = 0, cache_bytes = 0; /* what it may keep */
};

/* A snapshot that JavaScript holds. Closing it takes its handle away; it goes when nothing uses it any more. To
 * JavaScript its handle is negative, so that every reading function takes a store or a snapshot. */
struct Snapshot {
  Store *store;
  toon_snapshot *snapshot;
  Handle handle;
  uint32_t uses = 1; /* its handle, cursors, arenas and reads on the threadpool */
};

/* A listening server; it holds its store. */
struct Server {
  Store *store;
  resp_server *server;
  Handle handle;
  std::shared_ptr<Mailbox> mailbox;
};

/* Writes being collected, or on their way. */
struct Arena {
  Store *store;
  toon_batch *batch;
  Handle handle;
  bool submitted = false;
  std::shared_ptr<Mailbox> mailbox;
  std::vector<Snapshot *> snapshots; /* of the transactions in it, a use of each */
  size_t begun = 0;                  /* snapshots when its last member began */
  Arena *next = nullptr;
};

struct Env {
  napi_env env;
  uint32_t forks; /* of the process when the Env was made */
  Shared *shared;
  napi_ref shared_ref = nullptr, slab_ref = nullptr;
  napi_ref make_error = nullptr, collect = nullptr, on_arena = nullptr, on_reads = nullptr, on_chunk = nullptr,
           on_server = nullptr;
  uint8_t *slab = nullptr;
  size_t slab_size = 0, slab_used = 0;
  Table<Store> stores;
  Table<Arena> arenas;
  Table<Cursor> cursors;
  Table<Query> queries;
  Table<Snapshot> snapshots;
  Table<Server> servers;
  std::vector<Store *> all; /* every store not yet closed, whether or not it still has a handle */
  std::shared_ptr<Mailbox> mailbox;
  uint32_t pending = 0; /* arenas submitted and not yet delivered; the process stays alive for them */

  /* Scratch of the JavaScript thread. */
  uint16_t key_units[TOON_KEY_MAX + 2];
  uint8_t key_bytes[3 * (TOON_KEY_MAX + 2)];
  toon_buf units = {}; /* UTF-16 */
  toon_buf text = {};
  toon_buf keys = {}; /* of one call */
  toon_buf out = {};  /* of the codec */
};

/* Set up the Env of `env`, with its mailbox and hooks. nullptr with an exception pending. */
Env *env_new(napi_env env);
/* True in a process made by fork() after the Env: its engine's threads are not here, so nothing may be used.
 */
bool env_forked(const Env *e);
/* The function behind a reference. */
napi_value env_function(Env *e, napi_ref ref);

/* Call a JavaScript function of ours from outside a call; an exception becomes 'uncaughtException'. */
void env_call(Env *e, napi_ref function, size_t argc, napi_value *argv);

/* Throw the JavaScript form of an error; returns nullptr, for `return fail(...)`. */
napi_value fail(Env *e, const toon_error *err);
napi_value fail(Env *e, toon_status status, const char *message);
napi_value fail_type(Env *e, const char *message);
/* The error object itself; nullptr if JavaScript cannot run any more. */
napi_value error_object(Env *e, const toon_error *err);

/* The object of a handle, or nullptr with an exception pending. */
Store *store_of(Env *e, napi_value handle);
Arena *arena_of(Env *e, napi_value handle);
Cursor *cursor_of(Env *e, napi_value handle);
Query *query_of(Env *e, napi_value handle);
Snapshot *snapshot_of(Env *e, napi_value handle);

/* What a reading function reads from: a store as it is now, or a snapshot of it. store is nullptr with an
 * exception pending. */
struct Source {
  Source(Env *e, napi_value handle);
  Store *store;
  Snapshot *held = nullptr;
  toon_snapshot *snapshot = nullptr;
};

/* Count a use of store->db by something that outlives the call; the last release of a closing store closes
 * it. */
void store_hold(Store *store);
void store_release(Store *store);
/* Let go of the version words. */
void store_unwatch(Store *store);
/* Enter an opened engine handle into the tables. nullptr: no room. */
Store *store_add(Env *e, toon_db *db);

/* Free an arena that was not submitted, or that is done. */
void arena_free(Env *e, Arena *arena);
/* Hand the results of a finished arena to JavaScript and free it. */
void arena_deliver(Env *e, Arena *arena);
/* Close a cursor and its snapshot; one that a job uses is closed by the job's end. */
void cursor_close(Env *e, Cursor *cursor);
void query_close(Env *e, Query *query);

/* Stop every server, when the environment ends. */
void servers_stop(Env *e);
/* Hand what servers have told to JavaScript, or drop it; frees the list. */
void server_events_deliver(Env *e, ServerEvent *list);
void server_events_free(ServerEvent *list);

void snapshot_release(Snapshot *snapshot);
/* Take the handle away. */
void snapshot_close(Env *e, Snapshot *snapshot);

/* A job on the threadpool: run() there, done() back on the JavaScript thread (which may be unable to run
 * JavaScript when the environment is ending), then it is deleted. */
struct Job {
  explicit Job(Env *env) : e(env) {}
  virtual ~Job() = default;
  virtual void run() = 0;
  virtual void done() = 0;
  /* Queue it. If that fails it is run and ended here and now. */
  void start(const char *name);

  Env *e;
  napi_async_work work = nullptr;
};

/* A job with a promise of its own, resolved with result() or rejected. */
struct Task : Job {
  explicit Task(Env *env) : Job(env) {}
  /* nullptr if it cannot be made; err says why. */
  virtual napi_value result() {
    napi_value out = nullptr;
    napi_get_undefined(e->env, &out);
    return out;
  }
  void done() override { settle(e, deferred, status == TOON_OK ? result() : nullptr, &err); }
  /* Resolve, or reject if value is nullptr. */
  static void settle(Env *e, napi_deferred deferred, napi_value value, const toon_error *err) {
    if (value)
      napi_resolve_deferred(e->env, deferred, value);
    else if (napi_value error = error_object(e, err))
      napi_reject_deferred(e->env, deferred, error);
  }

  napi_deferred deferred = nullptr;
  toon_status status = TOON_OK;
  toon_error err;
};

/* Queue a task; its promise, or nullptr if there is none, and then the task is gone. */
napi_value start(Task *task, const char *name);

/* Arguments of a call: `Call<3> c(env, info)`; c.e, c.argc, c[0]… Those not given are undefined. */
template <size_t N> struct Call {
  Call(napi_env env, napi_callback_info info) {
    void *data;
    argc = N;
    if (N > 16) { /* N-API fills up what was not given, which costs more than asking */
      size_t given = 0;
      napi_get_cb_info(env, info, &given, nullptr, nullptr, nullptr);
      if (given < N) argc = given < 3 ? 3 : given;
    }
    napi_get_cb_info(env, info, &argc, argv, nullptr, &data);
    if (argc > N) argc = N;
    e = static_cast<Env *>(data);
  }
  napi_value operator[](size_t i) const { return argv[i]; }
  int32_t integer(size_t i) const {
    int32_t v = 0;
    napi_get_value_int32(e->env, argv[i], &v);
    return v;
  }
  Handle handle(size_t i) const {
    int64_t v = 0;
    napi_get_value_int64(e->env, argv[i], &v);
    return v;
  }
  double number(size_t i) const {
    double v = 0;
    napi_get_value_double(e->env, argv[i], &v);
    return v;
  }

  Env *e;
  size_t argc;
  napi_value argv[N];
};

} // namespace toonstore

#endif
