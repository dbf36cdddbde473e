/* A segment that is missing: with or without the manifest, before and behind compactions. */
#include "api.h"
#include "base/alloc.h"
#include "check.h"
#include "log/frame.h"
#include "log/segment.h"

#include <errno.h>

static os_memfs *fs;
static toon_db *db;

enum { KEYS = 60, SEGMENTS_MAX = 200 };

/* KEYS keys, a segment every few of them. */
static void fill(int generation) {
  static char text[1000];
  char key[16];
  memset(text, 'a' + generation, sizeof text - 1);
  for (int i = 0; i < KEYS; i++) {
    snprintf(key, sizeof key, "k%02d", i);
    CHECK_EQ(put(db, key, text), TOON_OK);
  }
}
/* Are all keys there, of the given generation or a later one? */
static bool whole(int generation) {
  for (int i = 0; i < KEYS; i++) {
    char key[16];
    toon_row row;
    bool found;
    snprintf(key, sizeof key, "k%02d", i);
    if (toon_get(db, NULL, K(key), &row, &found, &err) != TOON_OK || !found) return false;
    bool right = row.field.ptr[2] >= 'a' + generation;
    toon_row_release(db, &row);
    if (!right) return false;
  }
  return true;
}
static toon_options options(void) {
  toon_options o = tiny(TOON_DURABLE_CLOSE);
  o.checkpoint_bytes = 1 << 20;
  return o;
}
static void segment_path(char *path, size_t size, int id) {
  if (id)
    snprintf(path, size, "/d/db.%d.toon", id);
  else
    snprintf(path, size, "/d/db.toon");
}
static bool is_there(os_memfs *of, int id) {
  char path[32];
  os_stat st;
  segment_path(path, sizeof path, id);
  return os_memfs_vfs(of)->stat(os_memfs_vfs(of), path, &st) == 0;
}

/* Without the manifest the store opens; without any segment but the last as well, it does not, and names a missing one. */
static void check_each_loss(int generation) {
  int last = SEGMENTS_MAX, gone = 0;
  while (last && !is_there(fs, last)) last--;
  os_memfs *bare = killed(fs);
  unlink_manifest(bare);
  REQUIRE(open_on(bare, options(), &db) == TOON_OK);
  CHECK(whole(generation));
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(bare);
  for (int id = 0; id < last; id++) {
    if (!is_there(fs, id)) continue;
    for (int wiped = 0; wiped < 2; wiped++) {
      char path[32];
      os_memfs *after = killed(fs);
      segment_path(path, sizeof path, id);
      os_memfs_vfs(after)->unlink(os_memfs_vfs(after), path);
      if (wiped) unlink_manifest(after);
      toon_status status = open_on(after, options(), &db);
      CHECK_EQ(status, TOON_ECORRUPT);
      if (status == TOON_OK) CHECK_EQ(toon_close(db, &err), TOON_OK);
      if (strcmp(err.path, path) != 0) CHECK(!"the missing one is named");
      gone++;
      toon_options o = options();
      o.repair = true;
      if (wiped && id % 3 == 0) { /* what is left; and then there is nothing missing any more */
        CHECK_EQ(open_on(after, o, &db), TOON_OK);
        CHECK_EQ(toon_close(db, &err), TOON_OK);
        unlink_manifest(after);
        CHECK_EQ(open_on(after, options(), &db), TOON_OK);
        CHECK_EQ(toon_close(db, &err), TOON_OK);
      }
      os_memfs_free(after);
    }
  }
  CHECK(gone > 8);
}

TEST(a_lost_segment_is_named_even_without_the_manifest) {
  fs = os_memfs_new();
  REQUIRE(open_on(fs, options(), &db) == TOON_OK);
  fill(0);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  check_each_loss(0);
  os_memfs_free(fs);
}

TEST(segments_that_compactions_have_removed_are_not_missed) {
  fs = os_memfs_new();
  REQUIRE(open_on(fs, options(), &db) == TOON_OK);
  fill(0);
  for (int round = 1; round < 4; round++) {
    for (int i = round; i < KEYS; i += 7) {
      char key[16];
      snprintf(key, sizeof key, "k%02d", i);
      CHECK_EQ(put(db, key, "zzz"), TOON_OK);
    }
    CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  }
  CHECK(stat_of(db, "compactions") > 3);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  check_each_loss(0);
  os_memfs_free(fs);
}

/* Its file could not be unlinked, or a reader held it when the process was killed. */
TEST(what_a_compaction_has_replaced_may_be_damaged) {
  static const char *const contents[] = {"", "TOON", "no header at all, but as long as one or longer"};
  int replaced = 0;
  fs = os_memfs_new();
  REQUIRE(open_on(fs, options(), &db) == TOON_OK);
  fill(0);
  fill(1);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  while (is_there(fs, replaced)) replaced++;
  for (int i = 0; i < 6; i++) {
    os_file *file;
    char path[32];
    os_memfs *after = killed(fs);
    os_vfs *vfs = os_memfs_vfs(after);
    toon_options o = options();
    o.repair = i >= 3;
    segment_path(path, sizeof path, replaced);
    REQUIRE(vfs->open(vfs, path, OS_WRITE | OS_CREATE, &file) == 0);
    CHECK_EQ(vfs->pwrite(vfs, file, contents[i % 3], strlen(contents[i % 3]), 0), 0);
    vfs->close(vfs, file);
    REQUIRE(open_on(after, o, &db) == TOON_OK);
    CHECK(whole(1));
    CHECK(!is_there(after, replaced));
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_free(after);
  }
  os_memfs_free(fs);
}

/* A log as a version before the lists wrote it. */
static void old_segment(uint32_t id, uint64_t sequence, const char *text) {
  log_segment *s;
  toon_buf group = {0};
  log_frame frame = {.sequence = sequence, .synced = sequence - 1};
  bool poisoned;
  CHECK_EQ(log_segment_create(os_memfs_vfs(fs), "/d", id, 77, 4096, &s, &err), TOON_OK);
  CHECK_EQ(toon_buf_lit(&group, ""), TOON_OK);
  CHECK_EQ(toon_buf_add(&group, S(text)), TOON_OK);
  CHECK_EQ(log_frame_append(&group, 77, &frame), TOON_OK);
  CHECK_EQ(log_segment_write(s, toon_buf_slice(&group), 0, &poisoned, &err), TOON_OK);
  toon_buf_free(&group);
  log_segment_unref(s);
}

TEST(a_log_of_an_older_version_may_have_gaps) {
  fs = os_memfs_new();
  CHECK_EQ(os_memfs_vfs(fs)->mkdir(os_memfs_vfs(fs), "/d"), 0);
  old_segment(0, 1, "a: 1\n");
  old_segment(3, 9, "b: 2\n");
  bool found;
  REQUIRE(open_on(fs, options(), &db) == TOON_OK);
  CHECK_EQ(toon_has(db, NULL, K("a"), &found, &err), TOON_OK);
  CHECK(found);
  fill(1);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  check_each_loss(1); /* from now on it has lists */
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- segments that recovery ends */
static char long_text[40000];

static toon_status put_long(int number, size_t length) {
  char key[16];
  memset(long_text, 'x', sizeof long_text);
  snprintf(key, sizeof key, "n%04d", number);
  return put_with(db, K(key), TOON_INPUT_STRING, toon_slice_of(long_text, length), NULL);
}
static bool reads(int number) {
  char key[16];
  toon_row row;
  bool found;
  snprintf(key, sizeof key, "n%04d", number);
  if (toon_get(db, NULL, K(key), &row, &found, &err) != TOON_OK || !found) return false;
  toon_row_release(db, &row);
  return true;
}
/* Write on beyond the old end of the segment; whatever has been written can be read all the time. */
static bool goes_on(void) {
  for (int i = 100; i < 200; i++) {
    if (put_long(i, 700) != TOON_OK) return false;
    for (int j = 100; j <= i; j++)
      if (!reads(j)) return false;
  }
  return true;
}
static toon_options of_64k(toon_durability durability) {
  toon_options o = toon_options_default();
  o.durability = durability;
  o.segment_size = 65536;
  return o;
}
/* Change a segment's bytes at an offset (-1: behind its end). */
static void scribble(os_memfs *on, int id, long at, const char *text) {
  char path[32];
  size_t length;
  os_file *file;
  os_vfs *vfs = os_memfs_vfs(on);
  segment_path(path, sizeof path, id);
  REQUIRE(os_memfs_content(on, path, &length) && vfs->open(vfs, path, OS_WRITE, &file) == 0);
  CHECK_EQ(vfs->pwrite(vfs, file, text, strlen(text), at < 0 ? length : (uint64_t)at), 0);
  vfs->close(vfs, file);
}
/* It opens, closes, and opens again without repair. */
static bool opens_twice(os_memfs *on, toon_options o) {
  for (int i = 0; i < 2; i++) {
    if (open_on(on, o, &db) != TOON_OK || toon_close(db, &err) != TOON_OK) {
      fprintf(stderr, "open %d: %s %s\n", i, err.message, err.path);
      return false;
    }
  }
  return true;
}

TEST(a_segment_that_becomes_the_last_one_by_a_cut_can_be_written_on) {
  toon_options o = of_64k(TOON_DURABLE_CLOSE);
  fs = os_memfs_new();
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  for (int i = 0; i < 10; i++) CHECK_EQ(put_long(i, 18000), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  CHECK(is_there(fs, 2));
  scribble(fs, 1, 50000, "DAMAGE");
  o.repair = true;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK(!is_there(fs, 2));
  CHECK(goes_on()); /* rows could not be read any more, or the process ended */
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  o.repair = false;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  for (int i = 0; i < 5; i++) CHECK(reads(i));
  for (int i = 100; i < 200; i++) CHECK(reads(i));
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* The directory cannot be synced behind the new segment, nor, if asked for, the new segment be unlinked. */
static bool failing, unlink_fails;
static int fail_roll(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (!failing) return 0;
  if (strcmp(call, "dirsync") == 0) return EIO;
  return unlink_fails && strcmp(call, "unlink") == 0 && strstr(path, "db.1.toon") ? EIO : 0;
}

static void check_failed_roll(toon_options o) {
  fs = os_memfs_new();
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  os_memfs_set_fault(fs, fail_roll, NULL);
  CHECK_EQ(put_long(0, 20000), TOON_OK);
  CHECK_EQ(put_long(1, 20000), TOON_OK);
  failing = true;
  CHECK(put_long(2, 30000) != TOON_OK);
  failing = false;
  CHECK_EQ(is_there(fs, 1), unlink_fails);
  CHECK_EQ(put_long(3, 9000), TOON_OK); /* goes on in the old one */
  toon_db *first = db;
  for (uint64_t seed = 0; seed < 40; seed++) { /* the process dies, and then the power goes */
    os_memfs *after = os_memfs_crash(fs, os_memfs_ops(fs), seed ? OS_CRASH_RANDOM : OS_CRASH_KEEP_ALL, seed);
    os_memfs *again = killed(after);
    CHECK(opens_twice(again, o)); /* "yet the log goes on behind its recorded end" */
    os_memfs_free(again);
    REQUIRE(open_on(after, o, &db) == TOON_OK);
    if (o.durability == TOON_DURABLE_COMMIT || !seed) CHECK(reads(0) && reads(1) && reads(3));
    CHECK(goes_on());
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    CHECK(opens_twice(after, o));
    os_memfs_free(after);
  }
  CHECK_EQ(toon_close(first, &err), TOON_OK);
  CHECK_EQ(is_there(fs, 1), unlink_fails);
  o.read_only = true;
  CHECK_EQ(open_on(fs, o, &db), TOON_OK); /* "yet there is a later segment" */
  CHECK(reads(0) && reads(1) && reads(3));
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  o.read_only = false;
  CHECK(opens_twice(fs, o));
  os_memfs_free(fs);
}
TEST(what_a_failed_roll_leaves_behind_is_no_damage) {
  for (int i = 0; i < 4; i++) {
    unlink_fails = i & 1;
    check_failed_roll(of_64k(i & 2 ? TOON_DURABLE_COMMIT : TOON_DURABLE_CLOSE));
  }
}
/* Only the next segment, with nothing but its header, is taken for that. */
TEST(a_later_segment_that_is_not_empty_behind_a_closed_store_is_damage) {
  fs = os_memfs_new();
  REQUIRE(open_on(fs, options(), &db) == TOON_OK);
  CHECK_EQ(put(db, "a", "1"), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  log_segment *s;
  size_t length;
  const uint8_t *header = os_memfs_content(fs, "/d/db.toon", &length);
  uint32_t store_id = header[12] | (uint32_t)header[13] << 8 | (uint32_t)header[14] << 16 | (uint32_t)header[15] << 24;
  CHECK_EQ(log_segment_create(os_memfs_vfs(fs), "/d", 1, store_id, 4096, &s, &err), TOON_OK);
  log_segment_unref(s);
  os_memfs *stray = killed(fs), *second = killed(fs);
  scribble(fs, 1, -1, "a: 2\n");
  CHECK_EQ(open_on(fs, options(), &db), TOON_ECORRUPT);
  CHECK(opens_twice(stray, options()));
  CHECK_EQ(log_segment_create(os_memfs_vfs(second), "/d", 2, store_id, 4096, &s, &err), TOON_OK);
  log_segment_unref(s);
  CHECK_EQ(open_on(second, options(), &db), TOON_ECORRUPT);
  os_memfs_free(second);
  os_memfs_free(stray);
  os_memfs_free(fs);
}

TEST(newlines_behind_any_segment_are_trimmed_before_a_store_counts_as_closed) {
  for (int listed = 0; listed < 2; listed++) {
    size_t before, after;
    toon_options o = of_64k(TOON_DURABLE_CLOSE);
    fs = os_memfs_new();
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    for (int i = 0; i < 10; i++) CHECK_EQ(put_long(i, 18000), TOON_OK);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    os_memfs *dead = killed(fs);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_content(dead, "/d/db.toon", &before);
    scribble(dead, 0, -1, "\n\n");
    scribble(dead, 1, -1, "\n");
    if (!listed) unlink_manifest(dead); /* else the manifest knows where it ends: it is not replayed */
    CHECK(opens_twice(dead, o));
    os_memfs_content(dead, "/d/db.toon", &after);
    CHECK_EQ(after, before);
    REQUIRE(open_on(dead, o, &db) == TOON_OK);
    CHECK_EQ(stat_of(db, "cutBytes"), 0);
    for (int i = 0; i < 10; i++) CHECK(reads(i));
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_free(dead);
    os_memfs_free(fs);
  }
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
