/* Attacks on compaction: one random workload with everything that moves, drops or hides rows, held against a table, also
 * through old snapshots, over power cuts, with and without the manifest; then single sequences that aim at one place.
 * ATTACK=N in the environment multiplies the number of seeds. */
#include "check.h"
#include "api.h"
#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 30, ROWS = 24, STEPS = 110 };

static void key_name(int i, char out[16]) { snprintf(out, 16, i % 3 ? "b %02d" : "a%02d", i); }
static const char *value_text(uint32_t v) {
  static _Thread_local char text[6000];
  size_t n = (size_t)snprintf(text, sizeof text, "%u ", v), more = v % 53 == 0 ? 5000 : v * 37 % 400;
  memset(text + n, 'a' + v % 26, more);
  text[n + more] = 0;
  return text;
}

#include "model.h"

static int times(int n) { return n * (int)setting("ATTACK", 1); }
static bool has(toon_db *db, const char *key) {
  bool found = false;
  CHECK_EQ(toon_has(db, NULL, K(key), &found, &err), TOON_OK);
  return found;
}

/* ---------------------------------------------------------------- the workload */

enum { OPEN_AGAIN = 1, SNAPSHOT = 2 };

/* One step; *m becomes what it should be. Returns OPEN_AGAIN or SNAPSHOT in *also for the caller to do. */
static toon_status step(toon_db *db, uint64_t *rng, uint32_t v, model *m, int *also) {
  uint64_t dice = lcg(rng) % 100, value = 0;
  int i = (int)(lcg(rng) % KEYS);
  char name[16];
  toon_batch *b;
  *also = dice >= 97 ? OPEN_AGAIN : dice >= 92 ? SNAPSHOT : 0;
  if (*also) return TOON_OK;
  if (dice >= 87) return toon_compact(db, NULL, NULL, &err);
  if (dice >= 82) return toon_checkpoint(db, &err);
  TOON_TRY(toon_batch_new(db, &b, &err));
  toon_status status = TOON_OK;
  key_name(i, name);
  if (dice < 38) {
    toon_put_options o = {.expires_at = dice < 4 ? 1 : dice < 8 ? 4000000000000 : 0};
    status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), &o, &err);
    m->user[i] = v;
    m->lapsed[i] = dice < 4;
  } else if (dice < 48) { /* one group: a key put, deleted and put again, others deleted */
    status = toon_batch_begin(b, &err);
    for (int k = 0; k < 5 && status == TOON_OK; k++) {
      int j = (i + (k / 2) * 7) % KEYS;
      key_name(j, name);
      bool gone = k % 2 || k == 4;
      status = gone ? toon_batch_delete(b, K(name), &err)
                    : toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), NULL, &err);
      m->user[j] = gone ? 0 : v;
      m->lapsed[j] = false;
    }
    if (status == TOON_OK) status = toon_batch_end(b, &err);
  } else if (dice < 62) {
    status = toon_batch_delete(b, K(name), &err);
    m->user[i] = 0;
    m->lapsed[i] = false;
  } else if (dice < 70) {
    int64_t at = dice < 64 ? 1 : dice < 67 ? 0 : 4000000000001;
    status = toon_batch_expire(b, K(name), at, &err);
    if (m->user[i] && !m->lapsed[i]) m->lapsed[i] = at == 1;
  } else if (dice < 76) {
    if (m->next_row < ROWS) {
      status = toon_batch_row_put(b, TOON_INPUT_STRING, S(value_text(v)), NULL, &err);
      m->row[m->next_row++] = v;
    }
  } else if (dice < 79) {
    uint8_t id[8];
    int r = (int)(lcg(rng) % ROWS);
    status = toon_batch_delete(b, toon_row_key((uint64_t)r, id), &err);
    m->row[r] = 0;
  } else if (dice < 80) {
    toon_range range = {.prefix = S("a")};
    status = toon_batch_clear(b, &range, &err);
    for (int j = 0; j < KEYS; j += 3) m->user[j] = 0, m->lapsed[j] = false;
  } else {
    bool there = m->user[i] && !m->lapsed[i];
    toon_put_options o = {.conditions = dice == 80 ? TOON_IF_ABSENT : TOON_IF_PRESENT};
    status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), &o, &err);
    if (there == (dice != 80)) m->user[i] = v, m->lapsed[i] = false;
  }
  if (status == TOON_OK && toon_batch_members(b)) {
    status = toon_commit(db, b, &err);
    if (status == TOON_OK) status = toon_batch_result(b, 0, &value, &err);
  }
  toon_batch_free(b);
  return status;
}

typedef struct history {
  model states[STEPS + 1];
  size_t ops[STEPS + 1]; /* journal entries when state i had been acknowledged */
  size_t count;
} history;
static history *h;

/* Run the workload, old snapshots held over it and read again and again. */
static os_memfs *record(toon_options o, uint64_t seed) {
  enum { HELD = 3 };
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_snapshot *held[HELD] = {0};
  model then[HELD];
  int next_held = 0;
  uint64_t rng = seed;
  static history history_;
  h = &history_;
  memset(h, 0, sizeof *h);
  CHECK_EQ(open_on(fs, o, &db), TOON_OK);
  h->count = 1;
  for (int i = 0; i < STEPS; i++) {
    int also;
    model next = h->states[h->count - 1];
    CHECK_EQ(step(db, &rng, (uint32_t)i + 1, &next, &also), TOON_OK);
    if (also == SNAPSHOT) {
      toon_snapshot_close(held[next_held]);
      held[next_held] = NULL;
      CHECK_EQ(toon_snapshot_open(db, &held[next_held], &err), TOON_OK);
      then[next_held] = next;
      next_held = (next_held + 1) % HELD;
    }
    if (i % 6 == 0 || also)
      for (int j = 0; j < HELD; j++)
        if (held[j] && !holds_model(db, held[j], &then[j])) {
          fprintf(stderr, "seed %d step %d: a snapshot has changed: %s\n", (int)seed, i, err.message);
          check_failures_here++;
        }
    if (also == OPEN_AGAIN) {
      for (int j = 0; j < HELD; j++) toon_snapshot_close(held[j]), held[j] = NULL;
      CHECK_EQ(toon_close(db, &err), TOON_OK);
      CHECK_EQ(open_on(fs, o, &db), TOON_OK);
    }
    h->states[h->count] = next;
    h->ops[h->count++] = os_memfs_ops(fs);
    if (i % 10 == 0) CHECK(holds_model(db, NULL, &next));
  }
  for (int j = 0; j < HELD; j++) toon_snapshot_close(held[j]);
  CHECK(holds_model(db, NULL, &h->states[h->count - 1]));
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  return fs;
}

static int state_of(toon_db *db, size_t least) {
  for (size_t i = h->count; i-- > least;)
    if (holds_model(db, NULL, &h->states[i])) return (int)i;
  return -1;
}

static void check_after(os_memfs *fs, toon_options o, size_t least, const char *what, bool then_compact) {
  toon_db *db;
  if (open_on(fs, o, &db) != TOON_OK) {
    fprintf(stderr, "%s: open: %s %s at %lld\n", what, err.message, err.path, (long long)err.offset);
    check_failures_here++;
    return;
  }
  int state = state_of(db, least);
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
  } else if (then_compact) {
    CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    if (!holds_model(db, NULL, &h->states[state]))
      fprintf(stderr, "%s: compacted: not state %d\n", what, state), check_failures_here++;
    CHECK_EQ(stat_of(db, "deadBytes"), 0);
    for (int round = 0; round < 2; round++) {
      CHECK_EQ(toon_close(db, &err), TOON_OK);
      if (round == 1) unlink_manifest(fs);
      REQUIRE(open_on(fs, o, &db) == TOON_OK);
      if (!holds_model(db, NULL, &h->states[state]))
        fprintf(stderr, "%s: again %d: not state %d\n", what, round, state), check_failures_here++;
      CHECK_EQ(stat_of(db, "deadBytes"), 0);
    }
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
}

static void cuts(toon_durability durability, os_crash_mode mode, uint64_t seed, size_t count) {
  toon_options o = tiny(durability);
  os_memfs *fs = record(o, seed);
  size_t total = os_memfs_ops(fs), stride = total / count + 1;
  char what[120];
  for (size_t cut = seed % stride, n = 0; cut <= total && check_failures_here < 8; cut += stride, n++) {
    size_t acked = 0;
    os_memfs *after = os_memfs_crash(fs, cut, mode, seed * 7919 + cut);
    if (durability == TOON_DURABLE_COMMIT || mode == OS_CRASH_KEEP_ALL)
      while (acked + 1 < h->count && h->ops[acked + 1] <= cut) acked++;
    bool wiped = n % 2;
    if (wiped) unlink_manifest(after);
    snprintf(what, sizeof what, "durability %d mode %d seed %d cut %zu of %zu%s", durability, mode, (int)seed, cut,
             total, wiped ? ", no manifest" : "");
    check_after(after, o, acked, what, n % 3 == 0);
    if (n % 4 == 0) { /* the power goes once more, during or after that recovery */
      os_memfs *again = os_memfs_crash(after, os_memfs_ops(after) * (n % 7) / 7, mode, cut);
      strcat(what, ", again");
      check_after(again, o, acked, what, false);
      os_memfs_free(again);
    }
    os_memfs_free(after);
  }
  os_memfs_free(fs);
}

TEST(power_cuts_around_compactions_keep_what_was_acknowledged) {
  for (int seed = 1; seed <= times(2); seed++) {
    cuts(TOON_DURABLE_COMMIT, OS_CRASH_LOSE_ALL, (uint64_t)seed, 40);
    cuts(TOON_DURABLE_COMMIT, OS_CRASH_RANDOM, (uint64_t)seed + 50, 60);
  }
}
TEST(power_cuts_around_compactions_without_syncs_keep_a_prefix) {
  for (int seed = 1; seed <= times(2); seed++) {
    cuts(TOON_DURABLE_CLOSE, OS_CRASH_LOSE_ALL, (uint64_t)seed + 100, 30);
    cuts(TOON_DURABLE_CLOSE, OS_CRASH_RANDOM, (uint64_t)seed + 150, 60);
    cuts(TOON_DURABLE_CLOSE, OS_CRASH_KEEP_ALL, (uint64_t)seed + 200, 40);
  }
}
TEST(a_rebuild_after_compactions_counts_the_same) {
  for (int seed = 1; seed <= times(4); seed++) {
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    os_memfs *fs = record(o, (uint64_t)seed * 31);
    toon_db *db;
    o.checkpoint_bytes = 1 << 20; /* nothing is compacted by itself between the two looks */
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    CHECK(holds_model(db, NULL, &h->states[h->count - 1]));
    uint64_t dead = stat_of(db, "deadBytes");
    toon_close(db, &err);
    unlink_manifest(fs);
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    CHECK(holds_model(db, NULL, &h->states[h->count - 1]));
    CHECK_EQ(stat_of(db, "deadBytes"), dead);
    toon_close(db, &err);
    os_memfs_free(fs);
  }
}

/* ---------------------------------------------------------------- failing calls */

static struct {
  const char *call;
  _Atomic int skip, times, error, hit;
} f;
static int fault(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (strcmp(call, f.call) != 0 || strcmp(path, "/") == 0) return 0;
  if (atomic_fetch_sub(&f.skip, 1) > 0 || atomic_fetch_sub(&f.times, 1) <= 0) return 0;
  f.hit = 1;
  return f.error;
}

/* The workload until a write fails; what was acknowledged holds at once, after the process died, and after a power cut. */
static bool run_with_fault(const char *call, int skip, int count, int error, uint64_t seed) {
  toon_options o = tiny(TOON_DURABLE_COMMIT);
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  uint64_t rng = seed;
  model now = {0}, maybe = {0};
  char what[100];
  snprintf(what, sizeof what, "%s %d times %d error %d", call, skip, count, error);
  CHECK_EQ(open_on(fs, o, &db), TOON_OK);
  f.call = call;
  f.skip = skip;
  f.times = count;
  f.error = error;
  f.hit = 0;
  os_memfs_set_fault(fs, fault, NULL);
  for (int i = 0; i < 60; i++) {
    int also;
    model next = now;
    toon_status s = step(db, &rng, (uint32_t)i + 1, &next, &also);
    maybe = next;
    if (s == TOON_OK) now = next;
    if (s != TOON_OK && !f.hit)
      fprintf(stderr, "%s: step %d: %s without a fault\n", what, i, err.message), check_failures_here++;
    if (s != TOON_OK && memcmp(&now, &next, sizeof now) != 0) break;
  }
  f.times = 0;
  if (!holds_model(db, NULL, &now)) fprintf(stderr, "%s: wrong state: %s\n", what, err.message), check_failures_here++;
  size_t ops = os_memfs_ops(fs);
  os_memfs *all[] = {os_memfs_crash(fs, ops, OS_CRASH_KEEP_ALL, 0), os_memfs_crash(fs, ops, OS_CRASH_LOSE_ALL, 0),
                     os_memfs_crash(fs, ops, OS_CRASH_RANDOM, (uint64_t)skip),
                     os_memfs_crash(fs, ops, OS_CRASH_RANDOM, (uint64_t)skip), fs};
  os_memfs_set_fault(fs, NULL, NULL);
  toon_close(db, &err);
  unlink_manifest(all[2]);
  for (int i = 0; i < 5; i++) {
    if (open_on(all[i], o, &db) != TOON_OK) {
      fprintf(stderr, "%s: reopen %d: %s %s\n", what, i, err.message, err.path);
      check_failures_here++;
    } else {
      bool first = holds_model(db, NULL, &now), second = !first && holds_model(db, NULL, &maybe);
      toon_status s = toon_compact(db, NULL, NULL, &err);
      if (s != TOON_OK || (!first && !second) || !holds_model(db, NULL, first ? &now : &maybe)) {
        fprintf(stderr, "%s: after reopen %d: %d %d, compaction %s\n", what, i, first, second, toon_status_name(s));
        check_failures_here++;
      }
      toon_close(db, &err);
    }
    os_memfs_free(all[i]);
  }
  return f.hit;
}
TEST(any_call_may_fail_around_a_compaction) {
  static const char *const calls[] = {"open",     "pread", "pwrite", "datasync", "sync",
                                      "truncate", "fstat", "map",    "rename",   "dirsync"};
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
    for (int forever = 0; forever < 2; forever++)
      for (int n = 0, step_by = times(1) > 1 ? 1 : 23; n < 300 && check_failures_here < 10; n += step_by)
        if (!run_with_fault(calls[c], n, forever ? 1 << 30 : 1, n % 2 ? EIO : ENOSPC, 5 + (uint64_t)forever)) break;
}

/* ---------------------------------------------------------------- single sequences */

static _Atomic int fault_on;
static int log_only_fails_after_header(void *ctx, const char *call, const char *path) {
  static _Atomic int headers;
  (void)ctx;
  if (!atomic_load(&fault_on)) return atomic_store(&headers, 0), 0;
  if (strcmp(call, "pwrite") != 0) return 0;
  if (strstr(path, ".idx-")) return ENOSPC;
  if (strstr(path, "/db.1.toon"))
    return atomic_fetch_add(&headers, 1) ? ENOSPC : 0; /* the header fits, the group does not */
  return 0;
}

/* The disk is full: a checkpoint fails and leaves a frozen delta; the log rolls, and the new segment's first group fails.
 * The tail is a bare header then. Space returns, and somebody compacts at once. */
TEST(compacting_with_a_bare_tail_loses_nothing) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_options o = toon_options_default();
  static char big[100001];
  char key[32];
  int rows = 0;
  o.durability = TOON_DURABLE_CLOSE;
  o.segment_size = 4 << 20;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  memset(big, 'x', 100000);
  for (; rows < 26; rows++) { /* 2.6 MB, that is more than half a segment */
    snprintf(key, sizeof key, "k%03d", rows);
    CHECK_EQ(put(db, key, big), TOON_OK);
  }
  CHECK_EQ(put(db, "gone", "x"), TOON_OK);
  CHECK_EQ(del(db, "gone", NULL), TOON_OK);
  for (int i = 0; i < 12; i++) CHECK_EQ(put(db, "filler", big), TOON_OK);
  os_memfs_set_fault(fs, log_only_fails_after_header, NULL);
  atomic_store(&fault_on, 1);
  CHECK(toon_checkpoint(db, &err) != TOON_OK);
  toon_status status = TOON_OK;
  int more = 0;
  for (; more < 10 && status == TOON_OK; more++) status = put(db, "filler", big);
  CHECK_EQ(status, TOON_ENOSPC);
  atomic_store(&fault_on, 0);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  for (int round = 0; round < 2; round++) {
    int bad = 0;
    for (int i = 0; i < rows; i++) {
      toon_row row;
      bool found = false;
      snprintf(key, sizeof key, "k%03d", i);
      toon_status s = toon_get(db, NULL, K(key), &row, &found, &err);
      if (s != TOON_OK || !found) {
        if (!bad++) fprintf(stderr, "round %d: %s: %s\n", round, key, s == TOON_OK ? "not found" : err.message);
      }
      if (s == TOON_OK && found) toon_row_release(db, &row);
    }
    CHECK_EQ(bad, 0);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    if (open_on(fs, o, &db) != TOON_OK) {
      fprintf(stderr, "reopen: %s\n", err.message);
      check_failures_here++;
      os_memfs_free(fs);
      return;
    }
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* A counter, written one commit at a time: 12 bytes of row and 30 to 50 of frame each. */
TEST(small_rows_overwritten_one_by_one_do_not_fill_the_disk) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  char text[16];
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  for (int i = 0; i < 6000; i++) {
    snprintf(text, sizeof text, "%d", i);
    CHECK_EQ(put(db, "c", text), TOON_OK);
  }
  for (int i = 0; i < 3; i++) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  for (int i = 0; i < 6000 && stat_of(db, "segments") > 6; i++) usleep(10000); /* the background thread is at it */
  CHECK(stat_of(db, "segments") <= 6);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* A queue of small jobs: each put, then deleted. Nothing is left, yet the delete lines count as live. */
TEST(a_queue_of_small_rows_does_not_fill_the_disk) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  char key[16];
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  for (int i = 0; i < 3000; i++) {
    snprintf(key, sizeof key, "j%06d", i);
    CHECK_EQ(put(db, key, "1"), TOON_OK);
    CHECK_EQ(del(db, key, NULL), TOON_OK);
  }
  for (int i = 0; i < 3; i++) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  for (int i = 0; i < 6000 && stat_of(db, "segments") > 6; i++) usleep(10000); /* the background thread is at it */
  CHECK(stat_of(db, "segments") <= 6);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* Somebody holds a row while views come and go: the background thread waits for it without burning a core. */
TEST(a_held_row_does_not_keep_a_core_busy) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_row row;
  bool found;
  struct timespec a, b;
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  CHECK_EQ(put(db, "k", "1"), TOON_OK);
  REQUIRE(toon_get(db, NULL, K("k"), &row, &found, &err) == TOON_OK && found);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(put(db, "k2", "1"), TOON_OK);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  usleep(20000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  usleep(300000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  long ms = (long)(b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
  fprintf(stderr, "held row: %ld ms of CPU in 300 ms\n", ms);
  CHECK(ms < 50);
  toon_row_release(db, &row);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

static bool give_up(void *ctx, double done) {
  (void)ctx, (void)done;
  return false;
}
/* A compaction that is ended early, or fails, again and again: what it has carried it need not carry again. */
TEST(compactions_that_are_ended_early_do_not_pile_up_deletes) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  char key[16];
  toon_options o = tiny(TOON_DURABLE_CLOSE);
  o.segment_size = 16384;
  o.checkpoint_bytes = 1 << 20;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  for (int i = 0; i < 500; i++) { /* the first segment stays: a snapshot holds it */
    snprintf(key, sizeof key, "k%d", i);
    CHECK_EQ(put(db, key, "1"), TOON_OK);
  }
  for (int i = 0; i < 500; i++) {
    snprintf(key, sizeof key, "k%d", i);
    CHECK_EQ(del(db, key, NULL), TOON_OK);
  }
  toon_snapshot *snapshot;
  CHECK_EQ(toon_snapshot_open(db, &snapshot, &err), TOON_OK);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK); /* all deletes carried: once */
  uint64_t before = stat_of(db, "bytesWritten");
  for (int i = 0; i < 20; i++) { /* each goes on where the last was ended, until nothing is left to do */
    toon_status status = toon_compact(db, give_up, NULL, &err);
    CHECK(status == TOON_OK || status == TOON_ETIMEOUT);
  }
  uint64_t more = stat_of(db, "bytesWritten") - before;
  fprintf(stderr, "ended early 20 times: %d bytes written\n", (int)more);
  CHECK(more < 20000); /* the delete lines are 7 KB */
  toon_snapshot_close(snapshot);
  toon_close(db, &err);
  os_memfs_free(fs);
}

static bool give_up_after(void *ctx, double done) {
  (void)done;
  return --*(int *)ctx > 0;
}
static void check_resumed(toon_db *db) {
  char key[16];
  uint64_t size;
  int wrong = 0;
  for (int i = 0; i < 6000; i++) {
    toon_row row;
    bool found;
    snprintf(key, sizeof key, "k%d", i);
    CHECK_EQ(toon_get(db, NULL, toon_user_key(key, strlen(key)), &row, &found, &err), TOON_OK);
    wrong += found != (i % 3 != 0);
    if (found) toon_row_release(db, &row);
  }
  CHECK_EQ(wrong, 0);
  CHECK_EQ(toon_size(db, TOON_SPACE_USER, &size, &err), TOON_OK);
  CHECK_EQ(size, 4000);
}
/* Segments of several groups each, ended early in every place, with deletes to be carried (a snapshot holds the files of
 * older segments) in one attempt and to be dropped in the next: what the next collects are other rows. */
TEST(a_compaction_goes_on_where_an_earlier_one_was_ended) {
  int ended = 0;
  char value[1001];
  memset(value, 'v', 1000);
  value[1000] = 0;
  for (int held = 0; held < 3; held++) {
    os_memfs *fs = os_memfs_new();
    toon_db *db;
    char key[16];
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    o.segment_size = 4 << 20;
    o.checkpoint_bytes = 64 << 20;
    o.max_db_size = 1 << 30;
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    for (int i = 0; i < 6000; i++) {
      snprintf(key, sizeof key, "k%d", i);
      CHECK_EQ(put(db, key, value), TOON_OK);
      snprintf(key, sizeof key, "k%d", i - 900);
      if (i >= 900 && (i - 900) % 3 == 0) CHECK_EQ(del(db, key, NULL), TOON_OK);
    }
    for (int i = 5100; i < 6000; i += 3) {
      snprintf(key, sizeof key, "k%d", i);
      CHECK_EQ(del(db, key, NULL), TOON_OK);
    }
    toon_status status = TOON_ETIMEOUT;
    for (int n = 0; n < 40 && status == TOON_ETIMEOUT; n++, ended++) {
      toon_snapshot *snapshot = NULL;
      int calls = 1 + n % 3;
      if (held == 1 || (held == 2 && n % 2 == 0)) CHECK_EQ(toon_snapshot_open(db, &snapshot, &err), TOON_OK);
      status = toon_compact(db, give_up_after, &calls, &err);
      CHECK(status == TOON_OK || status == TOON_ETIMEOUT);
      if (snapshot) toon_snapshot_close(snapshot);
    }
    CHECK_EQ(status, TOON_OK);
    check_resumed(db);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    check_resumed(db);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_free(fs);
  }
  CHECK(ended > 9);
}

static int visit_segment(void *ctx, const char *name) {
  size_t n = strlen(name);
  *(int *)ctx += strncmp(name, "db.", 3) == 0 && n > 5 && strcmp(name + n - 5, ".toon") == 0;
  return 0;
}
/* The manifest that gives up a segment cannot be written once; later ones can: the file goes. */
TEST(a_failed_manifest_leaves_no_file_behind) {
  int left = 0, hit = 0;
  for (int n = 0; n < 12; n++) {
    os_memfs *fs = os_memfs_new();
    os_vfs *vfs = os_memfs_vfs(fs);
    toon_db *db;
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    o.checkpoint_bytes = 1 << 20;
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    for (int i = 0; i < 40; i++) CHECK_EQ(put(db, i % 2 ? "a" : "b", value_text(205)), TOON_OK);
    f.call = "rename";
    f.skip = n;
    f.times = 1;
    f.error = EIO;
    f.hit = 0;
    os_memfs_set_fault(fs, fault, NULL);
    toon_compact(db, NULL, NULL, &err);
    os_memfs_set_fault(fs, NULL, NULL);
    hit += f.hit;
    for (int i = 0; i < 3; i++) {
      static const char *const fresh[] = {"c", "d", "e"};
      CHECK_EQ(put(db, fresh[i], "1"), TOON_OK);
      CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    }
    int files = 0, segments = -1;
    for (int i = 0; i < 6000 && files != segments; i++) { /* the background thread is at it */
      if (i) usleep(10000);
      files = 0;
      vfs->list(vfs, "/d", visit_segment, &files);
      segments = (int)stat_of(db, "segments");
    }
    if (files != segments && !left++) fprintf(stderr, "rename %d: %d segments, %d files\n", n, segments, files);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_free(fs);
  }
  CHECK(hit > 3);
  CHECK_EQ(left, 0);
}

/* One damaged row keeps its segment; the others are compacted all the same, each time somebody asks. */
TEST(a_damaged_row_keeps_only_its_own_segment) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  toon_db *db;
  os_file *file;
  char key[16];
  size_t len;
  toon_options o = tiny(TOON_DURABLE_CLOSE);
  o.checkpoint_bytes = 1 << 20;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "first", "stays"), TOON_OK);
  for (int i = 0; i < 200; i++) {
    snprintf(key, sizeof key, "k%02d", i % 50);
    CHECK_EQ(put(db, key, value_text(300u + (uint32_t)i)), TOON_OK);
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  const uint8_t *bytes = os_memfs_content(fs, "/d/db.toon", &len), *at = memmem(bytes, len, "stays", 5);
  REQUIRE(at);
  uint64_t offset = (uint64_t)(at - bytes);
  REQUIRE(vfs->open(vfs, "/d/db.toon", OS_WRITE, &file) == 0);
  vfs->pwrite(vfs, file, "S", 1, offset);
  vfs->close(vfs, file);
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  uint64_t before = stat_of(db, "deadBytes");
  toon_status status = toon_compact(db, NULL, NULL, &err);
  fprintf(stderr, "damaged: %s, dead %d -> %d\n", toon_status_name(status), (int)before, (int)stat_of(db, "deadBytes"));
  CHECK(stat_of(db, "deadBytes") < before / 2);
  for (int i = 0; i < 50; i++) {
    snprintf(key, sizeof key, "k%02d", i);
    CHECK(has(db, key));
  }
  toon_close(db, &err);
  os_memfs_free(fs);
}

static int no_unlink(void *ctx, const char *call, const char *path) {
  (void)ctx;
  return strcmp(call, "unlink") == 0 && strcmp(path, "/d/db.toon") == 0 ? EIO : 0;
}
/* The unlink of a replaced segment fails: it is still there, so deletes must not be given up as if it were not. */
TEST(a_segment_that_cannot_be_unlinked_brings_no_deleted_row_back) {
  for (int repair = 0; repair < 2; repair++) {
    os_memfs *fs = os_memfs_new();
    toon_db *db;
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    CHECK_EQ(put(db, "gone", "x"), TOON_OK);
    for (int i = 0; i < 30; i++) CHECK_EQ(put(db, "filler", value_text(205)), TOON_OK);
    CHECK_EQ(del(db, "gone", NULL), TOON_OK);
    os_memfs_set_fault(fs, no_unlink, NULL);
    for (int i = 0; i < 2; i++) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    CHECK(!has(db, "gone"));
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_set_fault(fs, NULL, NULL);
    if (repair)
      o.repair = true;
    else
      unlink_manifest(fs);
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    CHECK(!has(db, "gone"));
    if (has(db, "gone")) fprintf(stderr, "repair %d: a deleted row is back\n", repair);
    toon_close(db, &err);
    os_memfs_free(fs);
  }
}

/* Readers open the store beside a writer that compacts all the time. */
typedef struct busy {
  os_memfs *fs;
  _Atomic bool stop;
  _Atomic int opened, failed, missing;
} busy;
static void *busy_reader(void *arg) {
  busy *x = arg;
  toon_error e;
  while (!x->stop) {
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    toon_db *db;
    bool found = false;
    o.vfs = os_memfs_vfs(x->fs);
    o.read_only = true;
    if (toon_open("/d", &o, &db, &e) != TOON_OK) {
      if (!x->failed++) fprintf(stderr, "read-only open: %s %s\n", e.message, e.path);
      continue;
    }
    x->opened++;
    for (int i = 0; i < 20; i++) {
      char key[16];
      toon_row row;
      snprintf(key, sizeof key, "k%02d", i);
      toon_status s = toon_get(db, NULL, K(key), &row, &found, &e);
      if ((s != TOON_OK || !found) && !x->missing++)
        fprintf(stderr, "read-only get %s: %s\n", key, s ? e.message : "missing");
      if (s == TOON_OK && found) toon_row_release(db, &row);
    }
    toon_close(db, &e);
  }
  return NULL;
}
TEST(readers_open_beside_compactions) {
  busy x = {.fs = os_memfs_new()};
  pthread_t t[2];
  toon_db *db;
  char key[16];
  REQUIRE(open_on(x.fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  for (int i = 0; i < 20; i++) {
    snprintf(key, sizeof key, "k%02d", i);
    CHECK_EQ(put(db, key, "first"), TOON_OK);
  }
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, busy_reader, &x);
  for (int i = 0; i < 400; i++) {
    snprintf(key, sizeof key, "k%02d", i % 20);
    CHECK_EQ(put(db, key, value_text((uint32_t)i)), TOON_OK);
    if (i % 10 == 0) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  }
  x.stop = true;
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  CHECK_EQ(x.missing, 0);
  CHECK_EQ(x.failed, 0);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(x.fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
