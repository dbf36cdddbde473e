/* Batches whose members build on one another: what they leave of a key, versions that are expected, and the order of
 * failures. Against a plain model where one can be had. */
#include "check.h"
#include "base/alloc.h"
#include "os/memfs.h"
#include "toonstore.h"

static toon_error err;
static toon_db *db;
static os_memfs *fs;
static toon_batch *batch;

static toon_slice S(const char *text) { return toon_slice_of(text, strlen(text)); }
static toon_key K(const char *text) { return toon_user_key(text, strlen(text)); }

static void start(void) {
  fs = os_memfs_new();
  toon_options o = toon_options_default();
  o.vfs = os_memfs_vfs(fs);
  o.durability = TOON_DURABLE_CLOSE;
  o.max_value_size = 64;
  CHECK_EQ(toon_open("/d", &o, &db, &err), TOON_OK);
  CHECK_EQ(toon_batch_new(db, &batch, &err), TOON_OK);
}
static void stop(void) {
  toon_batch_free(batch);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}
static void put(const char *key, const char *value) {
  CHECK_EQ(toon_batch_put(batch, K(key), TOON_INPUT_STRING, S(value), NULL, &err), TOON_OK);
}
static uint64_t version_of(const char *key) {
  toon_row row;
  bool found = false;
  CHECK_EQ(toon_get(db, NULL, K(key), &row, &found, &err), TOON_OK);
  if (!found) return 0;
  toon_row_release(db, &row);
  return row.version;
}
static toon_status result(size_t member) {
  uint64_t value;
  return toon_batch_result(batch, member, &value, &err);
}
static void commit(void) {
  CHECK_EQ(toon_commit(db, batch, &err), TOON_OK);
}
static void next_batch(void) {
  toon_batch_free(batch);
  CHECK_EQ(toon_batch_new(db, &batch, &err), TOON_OK);
}
static toon_pending find(const char *key) {
  toon_pending p;
  CHECK_EQ(toon_batch_find(batch, K(key), &p, &err), TOON_OK);
  return p;
}
static bool is(toon_pending p, const char *value, int64_t expires_at) {
  return p.kind == TOON_PENDING_PUT && toon_slice_eq(p.value, S(value)) && p.expires_at == expires_at;
}

TEST(a_batch_tells_what_it_leaves_of_a_key) {
  start();
  CHECK_EQ(find("a").kind, TOON_PENDING_NONE);
  put("a", "1");
  CHECK(is(find("a"), "1", 0));
  CHECK_EQ(find("b").kind, TOON_PENDING_NONE);
  CHECK_EQ(toon_batch_expire(batch, K("a"), 77, &err), TOON_OK);
  CHECK_EQ(toon_batch_expire(batch, K("b"), 78, &err), TOON_OK);
  CHECK(is(find("a"), "1", 77));
  CHECK(find("b").kind == TOON_PENDING_EXPIRE && find("b").expires_at == 78);
  CHECK_EQ(toon_batch_delete(batch, K("a"), &err), TOON_OK);
  CHECK_EQ(find("a").kind, TOON_PENDING_DELETE);
  CHECK_EQ(toon_batch_expire(batch, K("a"), 79, &err), TOON_OK);
  CHECK_EQ(find("a").kind, TOON_PENDING_DELETE);
  stop();
}

TEST(a_clear_leaves_nothing_of_the_keys_in_its_range) {
  start();
  toon_range range = {.prefix = S("a")};
  put("a1", "1");
  put("b1", "1");
  CHECK_EQ(toon_batch_clear(batch, &range, &err), TOON_OK);
  CHECK_EQ(find("a1").kind, TOON_PENDING_DELETE);
  CHECK_EQ(find("a2").kind, TOON_PENDING_DELETE);
  CHECK(is(find("b1"), "1", 0));
  CHECK_EQ(find("b2").kind, TOON_PENDING_NONE);
  put("a1", "2");
  CHECK(is(find("a1"), "2", 0));
  CHECK_EQ(toon_batch_expire(batch, K("a3"), 5, &err), TOON_OK);
  CHECK_EQ(find("a3").kind, TOON_PENDING_DELETE);
  stop();
}

TEST(a_member_that_is_given_up_leaves_no_trace) {
  start();
  put("a", "1");
  CHECK_EQ(toon_batch_begin(batch, &err), TOON_OK);
  put("a", "2");
  size_t mark = toon_batch_mark(batch);
  put("a", "3");
  put("b", "3");
  CHECK(is(find("a"), "3", 0));
  toon_batch_rewind(batch, mark);
  CHECK(is(find("a"), "2", 0));
  CHECK_EQ(find("b").kind, TOON_PENDING_NONE);
  toon_batch_abandon(batch);
  CHECK(is(find("a"), "1", 0));
  CHECK_EQ(toon_batch_members(batch), 1);
  commit();
  next_batch();
  CHECK_EQ(find("a").kind, TOON_PENDING_NONE); /* a batch that is used again has forgotten the last one */
  stop();
}

TEST(found_operations_agree_with_a_table) {
  enum { KEYS = 50 };
  int want[KEYS] = {0}, saved[KEYS]; /* 0 nothing, -1 deleted, else the value */
  unsigned seed = 7;
  bool open = false;
  start();
  for (int i = 0; i < 20000; i++) {
    seed = seed * 1103515245 + 12345;
    int k = (int)(seed >> 16) % KEYS, what = (int)(seed >> 24) % 16;
    char key[16], value[16];
    snprintf(key, sizeof key, "k%d", k);
    snprintf(value, sizeof value, "%d", i + 1);
    if (what == 0 && !open) {
      CHECK_EQ(toon_batch_begin(batch, &err), TOON_OK);
      memcpy(saved, want, sizeof want);
      open = true;
    } else if (what == 1 && open) {
      toon_batch_abandon(batch);
      memcpy(want, saved, sizeof want);
      open = false;
    } else if (what == 2 && open) {
      CHECK_EQ(toon_batch_end(batch, &err), TOON_OK);
      open = false;
    } else if (what < 6) {
      CHECK_EQ(toon_batch_delete(batch, K(key), &err), TOON_OK);
      want[k] = -1;
    } else {
      put(key, value);
      want[k] = i + 1;
    }
    toon_pending p = find(key);
    CHECK_EQ(p.kind, want[k] == 0 ? TOON_PENDING_NONE : want[k] < 0 ? TOON_PENDING_DELETE : TOON_PENDING_PUT);
    if (p.kind == TOON_PENDING_PUT) CHECK_EQ(atoi((const char *)memcpy((char[16]){0}, p.value.ptr, p.value.len)), want[k]);
  }
  if (open) toon_batch_abandon(batch);
  stop();
}

TEST(an_expected_version_is_that_of_the_row_at_the_commit) {
  start();
  put("a", "1");
  commit();
  uint64_t version = version_of("a");
  for (int wrong = 0; wrong < 2; wrong++) {
    next_batch();
    CHECK_EQ(toon_batch_begin(batch, &err), TOON_OK);
    CHECK_EQ(toon_batch_expect_version(batch, K("a"), version + (uint64_t)wrong, &err), TOON_OK);
    CHECK_EQ(toon_batch_expect_version(batch, K("none"), 0, &err), TOON_OK);
    put("b", "1");
    CHECK_EQ(toon_batch_end(batch, &err), TOON_OK);
    commit();
    CHECK_EQ(result(0), wrong ? TOON_ECONFLICT : TOON_OK);
  }
  next_batch();
  CHECK_EQ(toon_batch_expect_version(batch, K("a"), version, &err), TOON_EINVAL); /* outside of a member */
  stop();
}

/* A member of one put that expects version `version` of "guard". */
static void guarded(uint64_t version, const char *key, const char *value, bool depends) {
  CHECK_EQ(toon_batch_begin(batch, &err), TOON_OK);
  if (version) CHECK_EQ(toon_batch_expect_version(batch, K("guard"), version, &err), TOON_OK);
  if (depends) toon_batch_depends(batch);
  put(key, value);
  CHECK_EQ(toon_batch_end(batch, &err), TOON_OK);
}

TEST(after_a_conflict_every_later_member_conflicts) {
  start();
  toon_batch_in_order(batch);
  guarded(0, "a", "1", false);
  guarded(99, "b", "1", false);
  guarded(0, "c", "1", false);
  CHECK_EQ(toon_batch_begin(batch, &err), TOON_OK); /* a member of nothing */
  CHECK_EQ(toon_batch_end(batch, &err), TOON_OK);
  toon_range all = {0};
  CHECK_EQ(toon_batch_clear(batch, &all, &err), TOON_OK);
  commit();
  CHECK_EQ(result(0), TOON_OK);
  for (size_t i = 1; i < 5; i++) CHECK_EQ(result(i), TOON_ECONFLICT);
  CHECK(version_of("a") != 0);
  CHECK_EQ(version_of("c"), 0);
  stop();
}

TEST(after_another_failure_only_those_that_depend_conflict) {
  static const char quotes[] = "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"";
  start(); /* forty quotes: fewer than maxValueSize as they come, more when they are stored */
  toon_batch_in_order(batch);
  guarded(0, "a", quotes, false);
  guarded(0, "b", "1", false);
  guarded(0, "c", "1", true);
  guarded(0, "d", "1", false); /* behind a conflict */
  commit();
  CHECK_EQ(result(0), TOON_EVALUETOOBIG);
  CHECK_EQ(result(1), TOON_OK);
  CHECK_EQ(result(2), TOON_ECONFLICT);
  CHECK_EQ(result(3), TOON_ECONFLICT);
  CHECK(version_of("b") != 0 && version_of("c") == 0 && version_of("d") == 0);
  stop();
}

CHECK_MAIN
