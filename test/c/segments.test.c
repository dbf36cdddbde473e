/* A segment that is missing: with or without the manifest, before and behind compactions. */
#include "api.h"
#include "base/alloc.h"
#include "check.h"
#include "log/frame.h"
#include "log/segment.h"

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

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
