/* Storms: one workload of everything the engine does, held against a plain model, while calls fail, allocations fail, the
 * power goes, files are damaged. ATTACK=N in the environment multiplies the number of seeds. */
#include "check.h"
#include "api.h"
#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum { KEYS = 40, ROWS = 64, STEPS_MAX = 200 };

static void key_name(int i, char out[16]) {
  snprintf(out, 16, i % 3 == 0 ? "a%02d" : i % 3 == 1 ? "b %02d" : "\xff%02d", i);
}
static const char *value_text(uint32_t v) {
  static _Thread_local char text[8000];
  size_t n = (size_t)snprintf(text, sizeof text, "%u ", v), more = v % 61 == 0 ? 6000 : v * 37 % 300;
  memset(text + n, 'a' + v % 26, more);
  text[n + more] = 0;
  return text;
}

#include "model.h"

static int times(int n) { return n * (int)setting("ATTACK", 1); }

/* One step. *m becomes what it should be if the step is acknowledged. *reopen: close and open instead. */
static toon_status step(toon_db *db, uint64_t *rng, uint32_t v, model *m, bool *reopen, bool *checkpoint) {
  uint64_t dice = lcg(rng) % 100;
  int i = (int)(lcg(rng) % KEYS), n = 1;
  char name[16];
  toon_batch *b;
  uint64_t value = 0;
  *reopen = dice >= 97;
  *checkpoint = dice >= 91 && dice < 97;
  if (*reopen) return TOON_OK;
  if (*checkpoint) return toon_checkpoint(db, &err);
  TOON_TRY(toon_batch_new(db, &b, &err));
  toon_status status = TOON_OK;
  key_name(i, name);
  if (dice < 40) {
    toon_put_options o = {.expires_at = dice < 4 ? 1 : dice < 8 ? 4000000000000 : 0};
    status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), &o, &err);
    m->user[i] = v;
    m->lapsed[i] = dice < 4;
  } else if (dice < 55) {
    n = 4;
    status = toon_batch_begin(b, &err);
    for (int k = 0; k < 4 && status == TOON_OK; k++) {
      int j = (i + k * 7) % KEYS;
      key_name(j, name);
      if (k == 2) {
        status = toon_batch_delete(b, K(name), &err);
        m->user[j] = 0;
        m->lapsed[j] = false;
      } else {
        status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), NULL, &err);
        m->user[j] = v;
        m->lapsed[j] = false;
      }
    }
    if (status == TOON_OK) status = toon_batch_end(b, &err);
  } else if (dice < 72) {
    status = toon_batch_delete(b, K(name), &err);
    m->user[i] = 0;
    m->lapsed[i] = false;
  } else if (dice < 80) {
    if (m->next_row < ROWS) {
      status = toon_batch_row_put(b, TOON_INPUT_STRING, S(value_text(v)), NULL, &err);
      m->row[m->next_row++] = v;
    }
  } else if (dice < 83) {
    uint8_t id[8];
    int r = (int)(lcg(rng) % ROWS);
    status = toon_batch_delete(b, toon_row_key((uint64_t)r, id), &err);
    m->row[r] = 0;
  } else if (dice < 85) {
    toon_range range = {.prefix = S("a")};
    status = toon_batch_clear(b, &range, &err);
    for (int j = 0; j < KEYS; j += 3) m->user[j] = 0, m->lapsed[j] = false;
  } else {
    bool absent = dice & 1, there = m->user[i] && !m->lapsed[i];
    toon_put_options o = {.conditions = absent ? TOON_IF_ABSENT : TOON_IF_PRESENT};
    status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), &o, &err);
    if (absent != there) m->user[i] = v, m->lapsed[i] = false;
  }
  (void)n;
  if (status == TOON_OK && toon_batch_members(b)) {
    status = toon_commit(db, b, &err);
    if (status == TOON_OK) status = toon_batch_result(b, 0, &value, &err);
  }
  toon_batch_free(b);
  return status;
}

/* ---------------------------------------------------------------- power cuts */

typedef struct history {
  model states[STEPS_MAX + 1];
  size_t ops[STEPS_MAX + 1]; /* journal entries when state i had been acknowledged */
  size_t count;
} history;
static history *h;

static os_memfs *record(toon_options o, uint64_t seed, int steps) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  uint64_t rng = seed;
  if (!h) h = malloc(sizeof *h);
  memset(h, 0, sizeof *h);
  CHECK_EQ(open_on(fs, o, &db), TOON_OK);
  h->count = 1;
  for (int i = 0; i < steps; i++) {
    bool reopen, checkpoint;
    model next = h->states[h->count - 1];
    CHECK_EQ(step(db, &rng, (uint32_t)i + 1, &next, &reopen, &checkpoint), TOON_OK);
    if (reopen) {
      CHECK_EQ(toon_close(db, &err), TOON_OK);
      CHECK_EQ(open_on(fs, o, &db), TOON_OK);
    }
    h->states[h->count] = next;
    h->ops[h->count++] = os_memfs_ops(fs);
  }
  model seen;
  bool wrong = false;
  CHECK_EQ(read_all(db, NULL, &seen, &wrong), TOON_OK);
  CHECK(!wrong && same(&seen, &h->states[h->count - 1]) && sizes_right(db, &h->states[h->count - 1]));
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  return fs;
}

/* Which state does the store hold? -1: none of those from `least` on. */
static int state_of(toon_db *db, size_t least) {
  model seen;
  bool wrong = false;
  if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong) return -1;
  for (size_t i = least; i < h->count; i++)
    if (same(&seen, &h->states[i]) && sizes_right(db, &h->states[i])) return (int)i;
  return -1;
}

static int check_crash(os_memfs *after, toon_options o, size_t least, const char *what) {
  toon_db *db;
  int state = -1;
  if (open_on(after, o, &db) != TOON_OK) {
    fprintf(stderr, "%s: open: %s %s at %lld\n", what, err.message, err.path, (long long)err.offset);
    check_failures_here++;
    return -1;
  }
  state = state_of(db, least);
  if (state < 0) {
    model seen;
    bool wrong = false;
    toon_status s = read_all(db, NULL, &seen, &wrong);
    int any = -1;
    for (size_t i = 0; i < h->count; i++)
      if (same(&seen, &h->states[i])) any = (int)i;
    fprintf(stderr, "%s: state %d, acknowledged %zu, read %d, wrong %d, sizes %d\n", what, any, least, s, wrong,
            any >= 0 && sizes_right(db, &h->states[any]));
    check_failures_here++;
  }
  toon_status s = toon_close(db, &err);
  if (s != TOON_OK) {
    fprintf(stderr, "%s: close: %s\n", what, err.message);
    check_failures_here++;
  }
  return state;
}

static void storm_of_cuts(toon_durability durability, os_crash_mode mode, uint64_t seed, size_t stride, bool twice) {
  toon_options o = tiny(durability);
  os_memfs *fs = record(o, seed, 120);
  size_t ops = os_memfs_ops(fs);
  char what[120];
  for (size_t cut = seed % stride; cut <= ops && check_failures_here < 8; cut += stride) {
    size_t acked = 0;
    os_memfs *after = os_memfs_crash(fs, cut, mode, seed * 7919 + cut);
    if (durability == TOON_DURABLE_COMMIT || mode == OS_CRASH_KEEP_ALL)
      while (acked + 1 < h->count && h->ops[acked + 1] <= cut) acked++;
    snprintf(what, sizeof what, "durability %d mode %d seed %d cut %zu of %zu", durability, mode, (int)seed, cut, ops);
    int state = check_crash(after, o, acked, what);
    size_t more = os_memfs_ops(after);
    strcat(what, ", closed");
    int closed = check_crash(after, o, acked, what);
    CHECK_EQ(closed, state);
    for (size_t cut2 = 0; twice && cut2 <= more; cut2 += 1 + more / 6) {
      os_memfs *again = os_memfs_crash(after, cut2, mode, seed + cut2);
      snprintf(what, sizeof what, "durability %d mode %d seed %d cut %zu of %zu, then %zu of %zu", durability, mode, (int)seed, cut,
               ops, cut2, more);
      check_crash(again, o, acked, what);
      os_memfs_free(again);
    }
    os_memfs_free(after);
  }
  os_memfs_free(fs);
}

TEST(power_cuts_keep_what_was_acknowledged) {
  for (int seed = 1; seed <= times(2); seed++) {
    storm_of_cuts(TOON_DURABLE_COMMIT, OS_CRASH_LOSE_ALL, (uint64_t)seed, 5, true);
    storm_of_cuts(TOON_DURABLE_COMMIT, OS_CRASH_RANDOM, (uint64_t)seed, 3, true);
  }
}
TEST(power_cuts_without_syncs_keep_a_prefix) {
  for (int seed = 1; seed <= times(2); seed++) {
    storm_of_cuts(TOON_DURABLE_CLOSE, OS_CRASH_LOSE_ALL, (uint64_t)seed, 5, true);
    storm_of_cuts(TOON_DURABLE_CLOSE, OS_CRASH_RANDOM, (uint64_t)seed, 3, true);
    storm_of_cuts(TOON_DURABLE_INTERVAL, OS_CRASH_RANDOM, (uint64_t)seed, 5, true);
  }
}
TEST(the_death_of_the_process_loses_nothing) {
  for (int seed = 1; seed <= times(2); seed++) {
    storm_of_cuts(TOON_DURABLE_COMMIT, OS_CRASH_KEEP_ALL, (uint64_t)seed, 5, true);
    storm_of_cuts(TOON_DURABLE_CLOSE, OS_CRASH_KEEP_ALL, (uint64_t)seed, 5, true);
  }
}

/* ---------------------------------------------------------------- rebuilds */

TEST(a_rebuild_gives_the_same_state_and_the_same_counts) {
  for (int seed = 1; seed <= times(10); seed++) {
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    os_memfs *fs = record(o, (uint64_t)seed * 31, 190);
    os_vfs *vfs = os_memfs_vfs(fs);
    toon_db *db;
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    CHECK_EQ(state_of(db, h->count - 1), (int)h->count - 1);
    uint64_t dead = stat_of(db, "deadBytes");
    toon_close(db, &err);
    vfs->unlink(vfs, "/d/metadata.toon");
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    CHECK_EQ(state_of(db, h->count - 1), (int)h->count - 1);
    CHECK_EQ(stat_of(db, "deadBytes"), dead);
    toon_close(db, &err);
    os_memfs_free(fs);
  }
}

/* ---------------------------------------------------------------- failing calls */

static struct {
  const char *call;
  int skip, times, error;
  bool hit;
} f;
static pthread_mutex_t f_lock = PTHREAD_MUTEX_INITIALIZER;
static int fault(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (strcmp(call, f.call) != 0 || strcmp(path, "/") == 0) return 0; /* the directory's own parent: best effort */
  pthread_mutex_lock(&f_lock);
  int error = f.skip-- > 0 ? 0 : f.times-- > 0 ? f.error : 0;
  if (error) f.hit = true;
  pthread_mutex_unlock(&f_lock);
  return error;
}

/* The store's background thread asks fault() too, so the test changes and reads it under the lock. */
static int swap_times(int times) {
  pthread_mutex_lock(&f_lock);
  int before = f.times;
  f.times = times;
  pthread_mutex_unlock(&f_lock);
  return before;
}
static bool fault_was_hit(void) {
  pthread_mutex_lock(&f_lock);
  bool hit = f.hit;
  pthread_mutex_unlock(&f_lock);
  return hit;
}

/* Returns whether the fault was met. */
static bool run_with_fault(toon_durability durability, const char *call, int skip, int count, int error, uint64_t seed) {
  toon_options o = tiny(durability);
  os_memfs *fs = os_memfs_new();
  toon_db *db = NULL;
  uint64_t rng = seed;
  model now = {0}, maybe;
  bool unknown = false, poisoned = false, taken = false;
  char what[120];
  snprintf(what, sizeof what, "durability %d: %s %d times %d error %d", durability, call, skip, count, error);
  f.call = call, f.skip = skip, f.times = count, f.error = error, f.hit = false;
  os_memfs_set_fault(fs, fault, NULL);
  toon_status status = open_on(fs, o, &db);
  for (int i = 0; i < 60 && status == TOON_OK; i++) {
    bool reopen, checkpoint;
    model next = now, seen;
    if (i == 50) swap_times(0); /* the fault ends: what is not poisoned goes on */
    toon_status s = step(db, &rng, (uint32_t)i + 1, &next, &reopen, &checkpoint);
    if (reopen) {
      s = toon_close(db, &err);
      if (s != TOON_OK && !fault_was_hit()) CHECK(!"close failed without a fault");
      db = NULL;
      status = open_on(fs, o, &db);
      if (status != TOON_OK) break;
      if (unknown) { /* the write that poisoned the log may have become true */
        int left = swap_times(0);
        bool bad = false;
        if (read_all(db, NULL, &seen, &bad) == TOON_OK && same(&seen, &maybe) && sizes_right(db, &maybe)) now = maybe;
        swap_times(left);
        unknown = poisoned = false;
      }
    } else if (s == TOON_OK) {
      now = next;
    } else if (!checkpoint) {
      if (!fault_was_hit()) {
        fprintf(stderr, "%s: step %d: %s without a fault\n", what, i, err.message);
        check_failures_here++;
      }
      if (s == TOON_EIO && !poisoned) maybe = next, unknown = true, poisoned = true;
      taken = next.next_row != now.next_row; /* whether the id is given out again depends: stop here */
    }
    bool wrong = false;
    int errors_before = swap_times(0);
    if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong || !same(&seen, &now) || !sizes_right(db, &now)) {
      fprintf(stderr, "%s: step %d (%s): wrong state: %s\n", what, i, toon_status_name(s), err.message);
      check_failures_here++;
      i = 60;
    }
    swap_times(errors_before);
    if (taken) break;
  }
  bool hit = fault_was_hit();
  os_memfs *dead = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_KEEP_ALL, 0);
  os_memfs *dark = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_LOSE_ALL, 0);
  os_memfs_set_fault(fs, NULL, NULL);
  if (db) toon_close(db, &err);
  os_memfs *all[] = {dead, fs, dark};
  for (int i = 0; i < (durability == TOON_DURABLE_COMMIT ? 3 : 2); i++) {
    model seen;
    bool wrong = false;
    for (int round = 0; round < 2; round++) {
      if (open_on(all[i], o, &db) != TOON_OK) {
        fprintf(stderr, "%s: reopen %d round %d: %s %s\n", what, i, round, err.message, err.path);
        check_failures_here++;
        break;
      }
      if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong ||
          !((same(&seen, &now) && sizes_right(db, &now)) || (unknown && same(&seen, &maybe) && sizes_right(db, &maybe)))) {
        fprintf(stderr, "%s: after reopen %d round %d: wrong state\n", what, i, round);
        check_failures_here++;
      }
      toon_close(db, &err);
    }
  }
  for (int i = 0; i < 3; i++) os_memfs_free(all[i]);
  return hit;
}

static void storm_of_faults(toon_durability durability) {
  static const char *const calls[] = {"open",   "close",  "pread", "pwrite", "datasync", "sync", "truncate", "fstat",
                                      "map",    "lock",   "stat",  "mkdir",  "unlink",   "rename", "dirsync", "list"};
  static const int errors[] = {EIO, ENOSPC, OS_FAULT_SHORT};
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
    for (int e = 0; e < 3; e++)
      for (int forever = 0; forever < 2; forever++) {
        if (e == 2 && strcmp(calls[c], "pwrite") != 0) continue;
        int stride = times(1) > 1 ? 1 : 3;
        for (int n = e + forever; n < 400 && check_failures_here < 40; n += stride)
          if (!run_with_fault(durability, calls[c], n, forever ? 1 << 30 : 1, errors[e], 7)) break;
      }
}
TEST(any_call_may_fail_once_or_for_ever_at_commit) { storm_of_faults(TOON_DURABLE_COMMIT); }
TEST(any_call_may_fail_once_or_for_ever_at_close) { storm_of_faults(TOON_DURABLE_CLOSE); }

/* ---------------------------------------------------------------- failing allocations */

static _Atomic long allocations_left;
static int refuse(void *ctx, size_t size) {
  (void)ctx, (void)size;
  return atomic_fetch_sub(&allocations_left, 1) == 0;
}
TEST(any_allocation_may_fail) {
  toon_options o = tiny(TOON_DURABLE_CLOSE);
  for (long n = 0; n < 6000 && check_failures_here < 20; n += times(1) > 1 ? 1 : 11) {
    os_memfs *fs = os_memfs_new();
    size_t live = toon_alloc_live();
    toon_db *db;
    uint64_t rng = 11;
    model now = {0}, seen;
    atomic_store(&allocations_left, n);
    toon_alloc_set_refuse(refuse, NULL);
    toon_status status = open_on(fs, o, &db);
    for (int i = 0; i < 60 && status == TOON_OK; i++) {
      bool reopen, checkpoint, wrong = false;
      model next = now;
      toon_status s = step(db, &rng, (uint32_t)i + 1, &next, &reopen, &checkpoint);
      if (s != TOON_OK && s != TOON_ENOMEM) {
        fprintf(stderr, "allocation %ld, step %d: %s\n", n, i, toon_status_name(s));
        check_failures_here++;
      }
      if (reopen) {
        if ((s = toon_close(db, &err)) != TOON_OK) CHECK_EQ(s, TOON_ENOMEM);
        status = open_on(fs, o, &db);
        if (status != TOON_OK) break;
      } else if (s == TOON_OK) {
        now = next;
      } else {
        if (next.next_row != now.next_row) break;
        continue; /* later calls work */
      }
      long left = atomic_exchange(&allocations_left, -1000000000);
      if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong || !same(&seen, &now) || !sizes_right(db, &now)) {
        fprintf(stderr, "allocation %ld, step %d: wrong state\n", n, i);
        check_failures_here++;
        i = 60;
      }
      atomic_store(&allocations_left, left);
    }
    if (status != TOON_OK) CHECK_EQ(status, TOON_ENOMEM);
    bool met = atomic_load(&allocations_left) < 0;
    if (status == TOON_OK && toon_close(db, &err) != TOON_OK) CHECK_EQ(err.status, TOON_ENOMEM);
    toon_alloc_set_refuse(NULL, NULL);
    if (toon_alloc_live() != live) {
      fprintf(stderr, "allocation %ld: %zu blocks leaked\n", n, toon_alloc_live() - live);
      check_failures_here++;
    }
    status = open_on(fs, o, &db);
    bool wrong = false;
    if (status != TOON_OK || read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong || !same(&seen, &now)) {
      fprintf(stderr, "allocation %ld: after reopen: %s, wrong state: %s\n", n, toon_status_name(status), err.message);
      check_failures_here++;
    }
    if (status == TOON_OK) toon_close(db, &err);
    os_memfs_free(fs);
    if (!met) break;
  }
}

/* ---------------------------------------------------------------- damage */

static char names[64][40];
static int name_count;
static int visit(void *ctx, const char *name) {
  (void)ctx;
  if (strcmp(name, "LOCK") != 0 && name_count < 64) snprintf(names[name_count++], sizeof names[0], "/d/%s", name);
  return 0;
}
static bool is_numbered(const char *name) { /* a segment that may be the last */
  return strncmp(name, "/d/db.", 6) == 0 && strncmp(name, "/d/db.toon", 10) != 0;
}
static void damage(os_memfs *fs, uint64_t *rng, char *what, size_t what_size) {
  os_vfs *vfs = os_memfs_vfs(fs);
  name_count = 0;
  vfs->list(vfs, "/d", visit, NULL);
  const char *name = names[lcg(rng) % (uint64_t)name_count], *other = names[lcg(rng) % (uint64_t)name_count];
  size_t len;
  os_memfs_content(fs, name, &len);
  os_file *file;
  uint64_t kind = lcg(rng) % 10, at = len ? lcg(rng) % len : 0;
  size_t got;
  snprintf(what, what_size, "%s of %zu, kind %d at %d, other %s", name, len, (int)kind, (int)at, other);
  if (kind == 9) { /* a last segment that no manifest names yet cannot be missed */
    if (is_numbered(name)) return;
    vfs->unlink(vfs, name);
    return;
  }
  if (kind == 8) { /* over the manifest: two losses at once, and a rebuild cannot tell a lost segment from a compacted one */
    if (strcmp(other, "/d/metadata.toon") == 0 || is_numbered(name)) return;
    if (len == 0 && is_numbered(other)) return; /* a last segment that is empty has just been made */
    vfs->rename(vfs, name, other);
    return;
  }
  if (vfs->open(vfs, name, OS_WRITE, &file)) return;
  uint8_t bytes[512] = {0};
  if (kind < 6) {
    vfs->pread(vfs, file, bytes, 1, at, &got);
    bytes[0] ^= (uint8_t)(1u << lcg(rng) % 8);
    vfs->pwrite(vfs, file, bytes, 1, at);
  } else if (kind == 6) {
    if (at || !is_numbered(name)) vfs->truncate(vfs, file, at);
  } else {
    at = at / 512 * 512;
    vfs->pwrite(vfs, file, bytes, len - at < 512 ? len - at : 512, at);
  }
  vfs->close(vfs, file);
}
TEST(damage_is_reported_or_healed) {
  for (int seed = 1; seed <= times(4); seed++) {
    toon_options o = tiny(TOON_DURABLE_COMMIT);
    os_memfs *fs = record(o, (uint64_t)seed * 101, 150);
    uint64_t rng = (uint64_t)seed;
    for (int i = 0; i < 150 && check_failures_here < 10; i++) {
      /* Even: closed well. Odd: the process died somewhere. */
      size_t ops = i % 2 ? h->ops[h->count - 1 - lcg(&rng) % (h->count / 2)] : os_memfs_ops(fs), acked = 0;
      os_memfs *copy = os_memfs_crash(fs, ops, OS_CRASH_KEEP_ALL, 0);
      char what[200];
      while (acked + 1 < h->count && h->ops[acked + 1] <= ops) acked++;
      damage(copy, &rng, what, sizeof what);
      toon_db *db;
      toon_status status = open_on(copy, o, &db);
      if (status != TOON_OK) {
        CHECK(status == TOON_ECORRUPT || status == TOON_EFORMAT);
        CHECK(strstr(err.path, "/d/") != NULL);
        if (status != TOON_ECORRUPT && status != TOON_EFORMAT) fprintf(stderr, "%s: %s\n", what, err.message);
      } else {
        model seen;
        bool wrong = false, found = false;
        status = read_all(db, NULL, &seen, &wrong);
        if (status == TOON_OK && !wrong) {
          for (size_t j = acked; j < h->count && !found; j++) found = same(&seen, &h->states[j]);
          uint64_t cut = stat_of(db, "cutBytes");
          for (size_t j = 0; j < acked && cut && i % 2 && !found; j++) found = same(&seen, &h->states[j]);
          if (!found) {
            int any = -1;
            for (size_t j = 0; j < h->count; j++)
              if (same(&seen, &h->states[j])) any = (int)j;
            fprintf(stderr, "seed %d %d: %s: state %d, acknowledged %zu, cut %d\n", seed, i, what, any, acked, (int)cut);
            check_failures_here++;
          }
        } else if (wrong || status != TOON_ECORRUPT || !strstr(err.path, "/d/")) {
          fprintf(stderr, "seed %d %d: %s: wrong %d %s %s\n", seed, i, what, wrong, toon_status_name(status), err.path);
          check_failures_here++;
        }
        toon_close(db, &err);
      }
      os_memfs_free(copy);
    }
    os_memfs_free(fs);
  }
}

/* ---------------------------------------------------------------- threads */

typedef struct crowd {
  toon_db *db;
  os_memfs *fs;
  _Atomic bool stop;
  _Atomic int bad, number;
} crowd;
static void *crowd_writer(void *arg) {
  crowd *c = arg;
  toon_error e;
  int me = c->number++;
  char left[32], right[32], value[32];
  snprintf(left, sizeof left, "left%d", me), snprintf(right, sizeof right, "right%d", me);
  for (int i = 1; i <= 400; i++) {
    toon_batch *b;
    uint64_t v;
    toon_put_options o = {.conditions = i == 1 ? TOON_IF_ABSENT : TOON_IF_PRESENT};
    snprintf(value, sizeof value, "%d", i);
    if (toon_batch_new(c->db, &b, &e) != TOON_OK) break;
    toon_batch_begin(b, &e);
    toon_batch_put(b, K(left), TOON_INPUT_JSON, S(value), &o, &e);
    toon_batch_put(b, K(right), TOON_INPUT_JSON, S(value), NULL, &e);
    toon_batch_end(b, &e);
    toon_batch_put(b, K(value), TOON_INPUT_JSON, S(value_text((uint32_t)i) + 1), NULL, &e);
    toon_batch_row_put(b, TOON_INPUT_STRING, S("row"), NULL, &e);
    toon_batch_delete(b, K(value), &e);
    if (i % 50 == 0) {
      toon_range range = {.prefix = S("clear")};
      toon_batch_clear(b, &range, &e);
    }
    if (toon_commit(c->db, b, &e) != TOON_OK || toon_batch_result(b, 0, &v, &e) != TOON_OK) c->bad++;
    toon_batch_free(b);
  }
  return NULL;
}
static int number_at(toon_db *db, const toon_snapshot *s, const char *key) {
  toon_row row;
  bool found;
  toon_error e;
  if (toon_get(db, s, K(key), &row, &found, &e) != TOON_OK) return -1;
  if (!found) return 0;
  int n = atoi((const char *)row.field.ptr + 2);
  toon_row_release(db, &row);
  return n;
}
static void *crowd_reader(void *arg) {
  crowd *c = arg;
  toon_error e;
  int last = 0;
  uint64_t sequence = 0;
  while (!c->stop) {
    toon_snapshot *s;
    if (toon_snapshot_open(c->db, &s, &e) != TOON_OK) continue;
    if (toon_snapshot_sequence(s) < sequence) c->bad++;
    sequence = toon_snapshot_sequence(s);
    int n = number_at(c->db, s, "left0");
    if (n != number_at(c->db, s, "right0") || n < last) c->bad++;
    last = n;
    toon_range range = {.reverse = n & 1};
    toon_cursor *cursor;
    if (toon_cursor_open(c->db, s, &range, &cursor, &e) == TOON_OK) {
      bool end = false;
      toon_key key;
      toon_row row;
      while (!end)
        if (toon_cursor_next(cursor, false, &key, &row, &end, &e) != TOON_OK) {
          c->bad++;
          break;
        }
      toon_cursor_close(cursor);
    }
    toon_snapshot_close(s);
  }
  return NULL;
}
static void *crowd_opener(void *arg) {
  crowd *c = arg;
  toon_error e;
  for (int i = 0; !c->stop; i++) {
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    o.vfs = os_memfs_vfs(c->fs);
    o.read_only = i % 2;
    toon_db *db;
    toon_status s = toon_open("/d", &o, &db, &e);
    if (s != TOON_OK) {
      c->bad++;
      fprintf(stderr, "open (read_only %d): %s %s %s\n", o.read_only, toon_status_name(s), e.message, e.path);
      continue;
    }
    uint64_t n;
    if (toon_size(db, 1, &n, &e) != TOON_OK) c->bad++;
    toon_buf json = {0};
    toon_stats(db, &json, &e);
    toon_buf_free(&json);
    if (number_at(db, NULL, "left0") > number_at(db, NULL, "right0")) c->bad++;
    if (!o.read_only) toon_checkpoint(db, &e);
    if (!o.read_only) toon_sync(db, &e);
    if (toon_close(db, &e) != TOON_OK) c->bad++;
  }
  return NULL;
}
TEST(a_crowd_of_threads_gets_on) {
  crowd c = {.fs = os_memfs_new()};
  pthread_t t[7];
  REQUIRE(open_on(c.fs, tiny(TOON_DURABLE_CLOSE), &c.db) == TOON_OK);
  for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, crowd_writer, &c);
  for (int i = 3; i < 5; i++) pthread_create(&t[i], NULL, crowd_reader, &c);
  for (int i = 5; i < 7; i++) pthread_create(&t[i], NULL, crowd_opener, &c);
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  c.stop = true;
  for (int i = 3; i < 7; i++) pthread_join(t[i], NULL);
  CHECK_EQ(c.bad, 0);
  uint64_t n;
  CHECK_EQ(toon_size(c.db, 1, &n, &err), TOON_OK);
  CHECK_EQ(n, 1200);
  CHECK_EQ(toon_close(c.db, &err), TOON_OK);
  REQUIRE(open_on(c.fs, tiny(TOON_DURABLE_CLOSE), &c.db) == TOON_OK);
  CHECK_EQ(number_at(c.db, NULL, "left0"), 400);
  CHECK_EQ(number_at(c.db, NULL, "right2"), 400);
  CHECK_EQ(toon_size(c.db, 0, &n, &err), TOON_OK);
  CHECK_EQ(n, 6);
  CHECK_EQ(toon_close(c.db, &err), TOON_OK);
  os_memfs_free(c.fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
