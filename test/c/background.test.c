/* What the background thread does while it is at long work: syncs that are due, checkpoints that failed, snapshots. */
#include "api.h"
#include "check.h"
#include "base/alloc.h"
#include "index/run.h"

#include <pthread.h>
#include <unistd.h>

static os_memfs *fs;
static toon_db *db;

static toon_options interval(void) {
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_INTERVAL;
  return o;
}
/* `count` keys from `from` on, in batches. */
static void fill(long from, long count, size_t size) {
  static char text[4096];
  char key[24];
  memset(text, 'x', sizeof text);
  for (long n = 0; n < count;) {
    toon_batch *b;
    CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
    CHECK_EQ(toon_batch_begin(b, &err), TOON_OK);
    for (int i = 0; i < 1000 && n < count; i++, n++) {
      snprintf(key, sizeof key, "k%08ld", from + n);
      CHECK_EQ(toon_batch_put(b, K(key), TOON_INPUT_STRING, toon_slice_of(text, size), NULL, &err), TOON_OK);
    }
    CHECK_EQ(toon_batch_end(b, &err), TOON_OK);
    CHECK_EQ(commit_one(db, b, NULL), TOON_OK);
  }
}
static bool is_log(const char *path) { return strcmp(path, "/d/db.toon") == 0; }
static bool is_run(const char *path) { return strstr(path, ".idx-") != NULL; }

/* At each write of a run the clock goes on by more than the interval, and there is something new to be synced. */
static struct {
  int in_a_row, most; /* writes of runs since the log was synced */
  bool busy;
} merge_watch;
static int watch_merge(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (merge_watch.busy) return 0;
  if (is_log(path) && strcmp(call, "datasync") == 0) merge_watch.in_a_row = 0;
  if (is_run(path) && strcmp(call, "pwrite") == 0) {
    toon_error e = err;
    merge_watch.busy = true;
    if (++merge_watch.in_a_row > merge_watch.most) merge_watch.most = merge_watch.in_a_row;
    CHECK_EQ(put(db, "new", "x"), TOON_OK);
    os_memfs_advance_ms(fs, 0, 2000);
    merge_watch.busy = false;
    err = e;
  }
  return 0;
}

TEST(a_sync_that_is_due_does_not_wait_for_any_part_of_a_merge) {
  fs = os_memfs_new();
  REQUIRE(open_on(fs, interval(), &db) == TOON_OK);
  for (int run = 0; run < 4; run++) {
    if (run) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    fill(run * 100000, 100000, 1);
  }
  CHECK_EQ(stat_of(db, "merges"), 0);
  memset(&merge_watch, 0, sizeof merge_watch);
  os_memfs_set_fault(fs, watch_merge, NULL);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  for (int i = 0; i < 60000 && stat_of(db, "merges") == 0; i++) usleep(1000);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(stat_of(db, "merges"), 1);
  CHECK(merge_watch.most > 0);
  CHECK(merge_watch.most <= 2);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* Between a checkpoint's sync of the log and its run there are only look-ups; the clock itself goes on, and rows come. */
static struct {
  _Atomic bool armed, looking;
  int syncs;
  bool busy;
  uint64_t (*real)(os_vfs *vfs);
} tally_watch;
static int watch_tally(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (!tally_watch.armed) return 0;
  if (is_log(path) && strcmp(call, "datasync") == 0) {
    tally_watch.looking = true;
    tally_watch.syncs++;
  }
  if (is_run(path) && strcmp(call, "open") == 0) tally_watch.armed = tally_watch.looking = false;
  return 0;
}
static uint64_t running_clock(os_vfs *vfs) {
  if (tally_watch.looking && !tally_watch.busy) {
    tally_watch.busy = true;
    toon_error e = err;
    CHECK_EQ(put(db, "new", "x"), TOON_OK);
    err = e;
    os_memfs_advance_ms(fs, 0, 2000);
    tally_watch.busy = false;
  }
  return tally_watch.real(vfs);
}

TEST(a_sync_that_is_due_does_not_wait_for_look_ups_of_a_checkpoint) {
  fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  tally_watch.real = vfs->monotonic_ns;
  vfs->monotonic_ns = running_clock;
  REQUIRE(open_on(fs, interval(), &db) == TOON_OK);
  fill(0, 100000, 1);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  fill(0, 100000, 1);
  os_memfs_set_fault(fs, watch_tally, NULL);
  tally_watch.armed = true;
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK(!tally_watch.armed);
  CHECK_EQ(tally_watch.syncs, 3);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* A file that is not kept: what of it is not on disk, at most. */
static struct {
  uint64_t written, unsynced, most;
  int syncs;
} sink;
static os_vfs *real; /* for what is spilled */
static int sink_open(os_vfs *vfs, const char *path, unsigned flags, os_file **out) {
  (void)vfs;
  if (strcmp(path, "run") != 0) return real->open(real, path, flags, out);
  *out = (os_file *)(void *)&sink;
  return 0;
}
static int sink_pwrite(os_vfs *vfs, os_file *file, const void *ptr, size_t len, uint64_t offset) {
  (void)vfs;
  if (file != (os_file *)(void *)&sink) return real->pwrite(real, file, ptr, len, offset);
  sink.written += len;
  sink.unsynced += len;
  if (sink.unsynced > sink.most) sink.most = sink.unsynced;
  return 0;
}
static int sink_sync(os_vfs *vfs, os_file *file) {
  (void)vfs, (void)file;
  sink.unsynced = 0;
  return 0;
}
static int sink_close(os_vfs *vfs, os_file *file) {
  (void)vfs;
  return file == (os_file *)(void *)&sink ? 0 : real->close(real, file);
}
static int sink_pread(os_vfs *vfs, os_file *file, void *ptr, size_t len, uint64_t offset, size_t *got) {
  (void)vfs;
  return real->pread(real, file, ptr, len, offset, got);
}
static int sink_unlink(os_vfs *vfs, const char *path) {
  (void)vfs;
  return real->unlink(real, path);
}
static toon_status large_keys(void *ctx, toon_key *key, index_entry *entry, bool *end, toon_error *e) {
  static char bytes[4000];
  long *left = ctx;
  (void)e;
  *end = !*left;
  snprintf(bytes, sizeof bytes, "%08ld", 1000000 - *left);
  *key = toon_user_key(bytes, sizeof bytes);
  *entry = (index_entry){.sequence = 1, .length = 1, .kind = INDEX_PUT};
  *left -= !*end;
  return TOON_OK;
}

TEST(a_large_run_is_on_disk_but_for_its_end_before_it_is_whole) {
  os_vfs vfs = {.open = sink_open,
                .pwrite = sink_pwrite,
                .pread = sink_pread,
                .datasync = sink_sync,
                .close = sink_close,
                .unlink = sink_unlink};
  fs = os_memfs_new();
  real = os_memfs_vfs(fs);
  long left = 25000;
  index_run_info info = {.number = 1, .store_id = 1};
  CHECK_EQ(index_run_write(&vfs, "run", &(index_source){&left, large_keys}, &info, NULL, NULL, &err), TOON_OK);
  CHECK_EQ(sink.unsynced, 0);
  CHECK(sink.written > 90ull << 20);
  CHECK(sink.most <= 65ull << 20);
  os_memfs_free(fs);
}

TEST(what_a_crash_leaves_of_a_spill_is_removed) {
  fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  os_file *file;
  os_stat st;
  REQUIRE(open_on(fs, interval(), &db) == TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  CHECK_EQ(vfs->open(vfs, "/d/" RUN_SPILL_NAME, OS_WRITE | OS_CREATE, &file), 0);
  CHECK_EQ(vfs->close(vfs, file), 0);
  REQUIRE(open_on(fs, interval(), &db) == TOON_OK);
  CHECK(vfs->stat(vfs, "/d/" RUN_SPILL_NAME, &st) != 0);
  fill(0, 5000, 1); /* more than tests spill from on: nothing is left of it */
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK(vfs->stat(vfs, "/d/" RUN_SPILL_NAME, &st) != 0);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

static int no_runs(void *ctx, const char *call, const char *path) {
  (void)ctx;
  return is_run(path) && strcmp(call, "open") == 0 ? 28 : 0;
}

TEST(a_checkpoint_behind_a_failed_one_covers_what_came_after_it) {
  fs = os_memfs_new();
  toon_options o = toon_options_default();
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "a", "1"), TOON_OK);
  os_memfs_set_fault(fs, no_runs, NULL);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_ENOSPC);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(put(db, "b", "1"), TOON_OK);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  os_memfs *after = killed(fs);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  REQUIRE(open_on(after, o, &db) == TOON_OK);
  CHECK_EQ(stat_of(db, "groups"), 0);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
  os_memfs_free(after);
}

/* The first run that is written waits until it is told to go on. */
static _Atomic bool held, go_on;
static int hold_runs(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (!is_run(path) || strcmp(call, "open") != 0) return 0;
  held = true;
  while (!go_on) usleep(1000);
  return 0;
}
static void *fill_more(void *arg) {
  fill(1000, 20000, 4000); /* the log may be 64 MiB ahead of a checkpoint */
  *(_Atomic bool *)arg = true;
  return NULL;
}

TEST(writers_who_wait_for_a_checkpoint_are_seen_in_the_statistics) {
  fs = os_memfs_new();
  toon_options o = toon_options_default();
  pthread_t writer;
  _Atomic bool written = false;
  o.durability = TOON_DURABLE_CLOSE;
  o.checkpoint_bytes = 1 << 20;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  fill(0, 500, 1000);
  CHECK_EQ(stat_of(db, "stalls"), 0);
  CHECK_EQ(stat_of(db, "stallMs"), 0);
  os_memfs_set_fault(fs, hold_runs, NULL);
  pthread_create(&writer, NULL, fill_more, &written);
  for (int i = 0; i < 30000 && !stat_of(db, "stalls"); i++) usleep(1000);
  usleep(20000);
  CHECK(held);
  CHECK(!written);
  CHECK_EQ(stat_of(db, "stalls"), 1);
  CHECK_EQ(stat_of(db, "stallMs"), 0); /* when it is over */
  os_memfs_advance_ms(fs, 0, 1234); /* the clock of these statistics */
  go_on = true;
  pthread_join(writer, NULL);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK(stat_of(db, "stallMs") >= 1234);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* During a compaction, on the background thread: writes make a checkpoint due, which fails once. */
static struct {
  int calls;
  uint64_t failures, checkpoints, dropped;
} during;
static bool fail_once(void *ctx, double done) {
  (void)ctx;
  if (done == 1) return true;
  switch (++during.calls) {
  case 1:
    fill(0, 3300, 1000);
    os_memfs_set_fault(fs, no_runs, NULL);
    break;
  case 2:
    os_memfs_set_fault(fs, NULL, NULL);
    during.failures = stat_of(db, "checkpointFailures");
    during.checkpoints = stat_of(db, "checkpoints");
    os_memfs_advance_ms(fs, 0, 1000);
    break;
  case 3: during.checkpoints = stat_of(db, "checkpoints") - during.checkpoints; break;
  default: break;
  }
  return true;
}

TEST(a_checkpoint_that_fails_during_long_work_is_tried_again_during_it) {
  fs = os_memfs_new();
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  o.checkpoint_bytes = 3 << 20;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  fill(0, 8000, 1000);
  fill(0, 600, 1000);
  memset(&during, 0, sizeof during);
  CHECK_EQ(toon_compact(db, fail_once, NULL, &err), TOON_OK);
  CHECK(during.calls >= 4);
  CHECK_EQ(during.failures, 1);
  CHECK(during.checkpoints > 0);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

static bool hold_back(void *ctx, double done) {
  (void)ctx;
  if (done == 1) return true;
  if (++during.calls == 1) { /* of a second compaction: the snapshot's files are gone from the view */
    os_memfs_advance_ms(fs, 0, 3 * 3600000);
    fill(0, 1200, 1000);
  } else if (during.calls == 3) {
    during.dropped = stat_of(db, "dropped");
  }
  return true;
}

TEST(snapshots_are_looked_after_during_long_work) {
  fs = os_memfs_new();
  toon_options o = toon_options_default();
  toon_snapshot *old;
  o.durability = TOON_DURABLE_CLOSE;
  o.checkpoint_bytes = 1 << 20;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  fill(0, 20000, 1000);
  CHECK_EQ(toon_snapshot_open(db, &old, &err), TOON_OK);
  fill(0, 600, 1000);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  CHECK(stat_of(db, "fileBytes") > 16 << 20);
  CHECK_EQ(stat_of(db, "dropped"), 0);
  fill(0, 600, 1000);
  memset(&during, 0, sizeof during);
  CHECK_EQ(toon_compact(db, hold_back, NULL, &err), TOON_OK);
  CHECK(during.calls >= 4);
  CHECK_EQ(during.dropped, 1);
  toon_snapshot_close(old);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

static bool merged_to(uint64_t runs) {
  for (int i = 0; i < 60000 && stat_of(db, "runs") > runs; i++) {
    os_memfs_advance_ms(fs, 0, 100);
    usleep(1000);
  }
  return stat_of(db, "runs") == runs;
}

TEST(what_was_replayed_counts_towards_the_next_checkpoint) {
  fs = os_memfs_new();
  REQUIRE(open_on(fs, interval(), &db) == TOON_OK);
  fill(0, 5000, 1000);
  os_memfs *after = killed(fs);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
  fs = after;
  REQUIRE(open_on(fs, interval(), &db) == TOON_OK);
  CHECK(stat_of(db, "groups") > 0);
  for (int i = 0; i < 60000 && stat_of(db, "runs") == 0; i++) { /* when there is nothing else to do */
    os_memfs_advance_ms(fs, 0, 100);
    usleep(1000);
  }
  CHECK_EQ(stat_of(db, "runs"), 1);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(a_small_run_does_not_keep_those_behind_it_from_being_merged) {
  fs = os_memfs_new();
  REQUIRE(open_on(fs, interval(), &db) == TOON_OK);
  for (int run = 0; run < 3; run++) {
    fill(run * 10000, 10000, 1);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  CHECK_EQ(put(db, "k", "1"), TOON_OK);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(stat_of(db, "runs"), 4);
  CHECK(merged_to(2)); /* when there is nothing else to do */
  CHECK_EQ(stat_of(db, "merges"), 1);
  uint64_t size;
  CHECK_EQ(toon_size(db, TOON_SPACE_USER, &size, &err), TOON_OK);
  CHECK_EQ(size, 30001);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
