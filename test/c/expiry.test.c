/* Rows that lapse, and the sweeper that clears them up: on a file system in memory whose clock the tests move. */
#include "check.h"
#include "stats.h"
#include "base/alloc.h"
#include "os/memfs.h"
#include "toonstore.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

static toon_error err;
static toon_db *db;
static os_memfs *fs;
static os_vfs *vfs; /* NULL: that of fs */

static toon_slice S(const char *text) { return toon_slice_of(text, strlen(text)); }
static toon_key K(const char *text) { return toon_user_key(text, strlen(text)); }

static bool open_with(uint32_t bytes) {
  toon_options o = toon_options_default();
  o.vfs = vfs ? vfs : os_memfs_vfs(fs);
  o.durability = TOON_DURABLE_CLOSE;
  o.segment_size = o.checkpoint_bytes = bytes;
  o.max_db_size = 1ull << 40;
  return toon_open("/d", &o, &db, &err) == TOON_OK;
}
static void start(uint32_t bytes) {
  fs = os_memfs_new();
  vfs = NULL;
  CHECK(open_with(bytes));
}
static void stop(void) {
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}
static void reopen(void) {
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  CHECK(open_with(4096));
}
static toon_status finish(toon_batch *b) {
  uint64_t ignored;
  toon_status status = toon_commit(db, b, &err);
  if (status == TOON_OK) status = toon_batch_result(b, 0, &ignored, &err);
  toon_batch_free(b);
  return status;
}
static void put(const char *key, const char *json, int64_t ttl) {
  toon_batch *b;
  toon_put_options o = {.expires_at = ttl ? toon_now(db) + ttl : 0};
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_put(b, K(key), TOON_INPUT_JSON, S(json), &o, &err), TOON_OK);
  CHECK_EQ(finish(b), TOON_OK);
}
static int get(const char *key) {
  toon_row row;
  bool found = false;
  CHECK_EQ(toon_get(db, NULL, K(key), &row, &found, &err), TOON_OK);
  if (!found) return -1;
  int n = atoi((const char *)row.field.ptr + 2);
  toon_row_release(db, &row);
  return n;
}
static uint64_t size_of(uint8_t space) {
  uint64_t n = UINT64_MAX;
  CHECK_EQ(toon_size(db, space, &n, &err), TOON_OK);
  return n;
}
static void checkpoint(void) { CHECK_EQ(toon_checkpoint(db, &err), TOON_OK); }
static bool early(void *ctx, double done) {
  (void)ctx;
  return done > 2;
}
/* Let time pass, wake the background thread, and wait until the sweeper has deleted `rows` rows in all. */
static void sweep_after(int64_t ms, uint64_t rows) {
  os_memfs_advance_ms(fs, ms, (uint64_t)ms + 2000);
  static int patience = 60000;
  for (int i = 0; stat_of(db, "rowsExpired") < rows; i++) {
    if (i >= patience) patience = 10; /* the rest fails as well */
    if (i >= patience) break;
    checkpoint();
    usleep(1000);
  }
  CHECK_EQ(stat_of(db, "rowsExpired"), rows);
  toon_status status = toon_compact(db, early, NULL, &err); /* has its turn when the sweeper's step has ended */
  CHECK(status == TOON_OK || status == TOON_ETIMEOUT);
}

TEST(lapsed_rows_stop_counting) {
  start(1 << 20);
  char name[32];
  toon_batch *b;
  toon_put_options o = {.expires_at = toon_now(db) + 5000};
  for (int i = 0; i < 1000; i++) { /* a third in a run, a third in another, the rest in the delta */
    snprintf(name, sizeof name, "k%04d", i);
    put(name, "\"some text that takes a little room\"", i % 2 ? 5000 : 0);
    if (i == 333 || i == 666) checkpoint();
  }
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_row_put(b, TOON_INPUT_JSON, S("1"), &o, &err), TOON_OK);
  CHECK_EQ(toon_batch_row_put(b, TOON_INPUT_JSON, S("2"), NULL, &err), TOON_OK);
  CHECK_EQ(finish(b), TOON_OK);
  sweep_after(1000, 0);
  CHECK_EQ(size_of(TOON_SPACE_USER), 1000);
  CHECK_EQ(size_of(TOON_SPACE_ROW), 2);
  uint64_t live = stat_of(db, "liveBytes");
  sweep_after(5000, 501);
  CHECK_EQ(size_of(TOON_SPACE_USER), 500);
  CHECK_EQ(size_of(TOON_SPACE_ROW), 1);
  CHECK_EQ(get("k0001"), -1);
  CHECK(get("k0002") != -1);
  checkpoint();
  CHECK(stat_of(db, "liveBytes") < live * 8 / 10); /* half of the rows, and the delete lines */
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  CHECK(stat_of(db, "bytes") < live * 7 / 10);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(size_of(TOON_SPACE_USER), 500);
    CHECK_EQ(size_of(TOON_SPACE_ROW), 1);
    reopen();
  }
  stop();
}

TEST(a_lapsed_put_never_uncovers_an_older_value) {
  for (int order = 0; order < 16; order++) {
    start(4096);
    put("a", "1", 0);
    put("b", "1", 0);
    if (order & 1) checkpoint();
    put("a", "2", 100);
    put("b", "2", 100);
    if (order & 2) checkpoint();
    os_memfs_advance_ms(fs, 200, 200); /* lapsed, and too early to be swept */
    CHECK_EQ(get("a"), -1);
    put("other", "1", 0);
    checkpoint();
    CHECK_EQ(get("a"), -1);
    for (int i = 0; i < 6; i++) { /* runs enough to be merged */
      put("other", "1", 0);
      checkpoint();
    }
    CHECK_EQ(get("a"), -1);
    if (order & 4) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    CHECK_EQ(get("a"), -1);
    CHECK_EQ(stat_of(db, "rowsExpired"), 0);
    if (order & 8) {
      reopen();
      CHECK_EQ(get("a"), -1);
    }
    sweep_after(200, 2);
    CHECK_EQ(get("a"), -1);
    CHECK_EQ(size_of(TOON_SPACE_USER), 1);
    CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    CHECK_EQ(os_memfs_vfs(fs)->unlink(os_memfs_vfs(fs), "/d/metadata.toon"), 0); /* rebuild from the log */
    CHECK(open_with(4096));
    CHECK_EQ(get("a"), -1);
    CHECK_EQ(get("b"), -1);
    CHECK_EQ(get("other"), 1);
    CHECK_EQ(size_of(TOON_SPACE_USER), 1);
    stop();
  }
}

TEST(the_sweeper_leaves_what_was_written_again) {
  start(4096);
  put("kept", "1", 100);
  put("longer", "1", 100);
  put("gone", "1", 100);
  checkpoint();
  put("kept", "2", 0);
  put("longer", "2", 100000);
  sweep_after(1000, 1);
  CHECK_EQ(get("kept"), 2);
  CHECK_EQ(get("longer"), 2);
  CHECK_EQ(get("gone"), -1);
  CHECK_EQ(size_of(TOON_SPACE_USER), 2);
  sweep_after(100000, 2);
  CHECK_EQ(get("longer"), -1);
  CHECK_EQ(size_of(TOON_SPACE_USER), 1);
  stop();
}

TEST(rows_of_every_expiry_are_swept_in_time) {
  start(1 << 20);
  char name[32];
  for (int i = 0; i < 500; i++) {
    snprintf(name, sizeof name, "k%d", i * 7919 % 500);
    put(name, "1", 10000 + 1000 * (i * 7919 % 500));
    if (i % 200 == 100) checkpoint();
  }
  os_memfs_advance_ms(fs, 9999, 9999);
  for (int i = 0; i < 25; i++) { /* twenty more lapse each time */
    sweep_after(i ? 18000 : 16000, 18 + 20 * (uint64_t)i);
    CHECK_EQ(size_of(TOON_SPACE_USER), 482 - 20 * i);
  }
  stop();
}

/* The wall clock counts at the open; from then on time only goes on. */
TEST(expiry_is_right_whatever_the_wall_clock_does) {
  const int64_t day = 86400000;
  start(4096);
  put("a", "1", 0);
  checkpoint();
  put("a", "2", 60000);
  put("b", "1", 2 * day);
  os_memfs_advance_ms(fs, 3 * day, 0); /* set forward while the store is open */
  sweep_after(0, 0);
  CHECK_EQ(get("a"), 2);
  CHECK_EQ(get("b"), 1);
  os_memfs_advance_ms(fs, -3 * day, 60000); /* and back */
  CHECK_EQ(get("a"), -1);
  sweep_after(0, 1);
  CHECK_EQ(size_of(TOON_SPACE_USER), 1);
  os_memfs_advance_ms(fs, -10 * day, 0); /* back before the open: what was swept is gone for good */
  reopen();
  CHECK_EQ(get("a"), -1);
  CHECK_EQ(get("b"), 1);
  CHECK_EQ(size_of(TOON_SPACE_USER), 1);
  os_memfs_advance_ms(fs, 15 * day, 0); /* forward before the open */
  reopen();
  CHECK_EQ(get("b"), -1);
  sweep_after(0, 1);
  CHECK_EQ(size_of(TOON_SPACE_USER), 0);
  CHECK_EQ(get("a"), -1);
  stop();
}

TEST(many_rows_are_swept_in_steps_across_a_reopen) {
  enum { ROWS = 150000 };
  start(1 << 20);
  toon_put_options o = {.expires_at = toon_now(db) + 1000};
  char name[32];
  for (int i = 0; i < ROWS;) {
    toon_batch *b;
    CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
    for (int n = 0; n < 5000; n++, i++) {
      snprintf(name, sizeof name, "key %06d", i);
      CHECK_EQ(toon_batch_put(b, K(name), TOON_INPUT_JSON, S("1"), i % 10 ? &o : NULL, &err), TOON_OK);
    }
    CHECK_EQ(finish(b), TOON_OK);
  }
  checkpoint();
  os_memfs_advance_ms(fs, 3000, 3000);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK); /* the sweeper begins behind it, and is not given the time to end */
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  CHECK(open_with(1 << 20));
  sweep_after(0, size_of(TOON_SPACE_USER) - ROWS / 10);
  CHECK_EQ(size_of(TOON_SPACE_USER), ROWS / 10);
  CHECK_EQ(get("key 000010"), 1);
  CHECK_EQ(get("key 000011"), -1);
  stop();
}

static toon_status txn(toon_snapshot *s, const char *writes, const char *reads) {
  toon_batch *b;
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_begin_at(b, s, &err), TOON_OK);
  toon_range range = {.prefix = S(reads)};
  CHECK_EQ(toon_batch_expect(b, K(reads), &err), TOON_OK);
  CHECK_EQ(toon_batch_expect_range(b, &range, &err), TOON_OK);
  CHECK_EQ(toon_batch_put(b, K(writes), TOON_INPUT_JSON, S("9"), NULL, &err), TOON_OK);
  CHECK_EQ(toon_batch_end(b, &err), TOON_OK);
  toon_status status = finish(b);
  toon_snapshot_close(s);
  return status;
}
static toon_snapshot *snap(void) {
  toon_snapshot *s = NULL;
  CHECK_EQ(toon_snapshot_open(db, &s, &err), TOON_OK);
  return s;
}

TEST(a_sweep_is_no_conflict_for_who_never_saw_the_row) {
  start(4096);
  put("a", "1", 100);
  toon_snapshot *saw = snap(), *writes = snap();
  os_memfs_advance_ms(fs, 200, 200);
  toon_snapshot *later = snap(), *reads = snap();
  sweep_after(0, 1);
  CHECK_EQ(txn(later, "a", "none"), TOON_OK);
  CHECK_EQ(txn(writes, "a", "none"), TOON_ECONFLICT);
  put("a", "1", 100);
  put("a", "1", 0);
  CHECK_EQ(txn(reads, "x", "a"), TOON_ECONFLICT); /* somebody has put it since */
  CHECK_EQ(txn(saw, "x", "a"), TOON_ECONFLICT);
  put("b", "1", 100);
  os_memfs_advance_ms(fs, 200, 200);
  reads = snap();
  sweep_after(0, 2);
  CHECK_EQ(txn(reads, "x", "b"), TOON_OK);
  stop();
}

static _Atomic bool full;
static int no_space(void *ctx, const char *call, const char *path) {
  (void)ctx;
  return atomic_load(&full) && strcmp(call, "pwrite") == 0 && strstr(path, ".toon") ? ENOSPC : 0;
}

TEST(a_full_disk_holds_the_sweeper_up_and_loses_nothing) {
  fs = os_memfs_new();
  vfs = os_faulty_wrap(os_memfs_vfs(fs), no_space, NULL);
  CHECK(open_with(1 << 20));
  put("a", "1", 0);
  put("a", "2", 100);
  put("b", "1", 0);
  checkpoint();
  atomic_store(&full, true);
  os_memfs_advance_ms(fs, 3000, 3000);
  uint32_t events = 0;
  for (int i = 0; i < 60000 && !(events & TOON_EVENT_FAILED); i++) {
    toon_checkpoint(db, &err); /* may fail */
    events |= toon_events(db);
    usleep(100);
  }
  CHECK(events & TOON_EVENT_FAILED);
  CHECK_EQ(get("a"), -1);
  CHECK_EQ(get("b"), 1);
  atomic_store(&full, false);
  sweep_after(10000, 1); /* it pauses after a failure */
  CHECK_EQ(size_of(TOON_SPACE_USER), 1);
  CHECK_EQ(get("a"), -1);
  CHECK_EQ(get("b"), 1);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_faulty_free(vfs);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
