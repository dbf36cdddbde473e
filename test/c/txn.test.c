/* Conflicts of transactions, conditions, and expiry, through the public header. */
#include "check.h"
#include "base/alloc.h"
#include "os/memfs.h"
#include "toonstore.h"

static toon_error err;
static toon_db *db;
static os_memfs *fs;

static toon_slice S(const char *text) { return toon_slice_of(text, strlen(text)); }
static toon_key K(const char *text) { return toon_user_key(text, strlen(text)); }

static bool open_store(void) {
  toon_options o = toon_options_default();
  o.vfs = os_memfs_vfs(fs);
  o.durability = TOON_DURABLE_CLOSE;
  o.segment_size = o.checkpoint_bytes = 4096;
  return toon_open("/d", &o, &db, &err) == TOON_OK;
}
static void start(void) {
  fs = os_memfs_new();
  CHECK(open_store());
}
static void stop(void) {
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}
static toon_status finish(toon_batch *b, uint64_t *value) {
  uint64_t ignored;
  toon_status status = toon_commit(db, b, &err);
  if (status == TOON_OK) status = toon_batch_result(b, 0, value ? value : &ignored, &err);
  toon_batch_free(b);
  return status;
}
static void put(const char *key, const char *json) {
  toon_batch *b;
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_put(b, K(key), TOON_INPUT_JSON, S(json), NULL, &err), TOON_OK);
  CHECK_EQ(finish(b, NULL), TOON_OK);
}
static void del(const char *key) {
  toon_batch *b;
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_delete(b, K(key), &err), TOON_OK);
  CHECK_EQ(finish(b, NULL), TOON_OK);
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
static toon_snapshot *snap(void) {
  toon_snapshot *s = NULL;
  CHECK_EQ(toon_snapshot_open(db, &s, &err), TOON_OK);
  return s;
}
/* A transaction that read `reads` (or the range of `prefix`) at the snapshot and puts `writes`. Closes the snapshot. */
static toon_status txn(toon_snapshot *s, const char *writes, const char *reads, const char *prefix) {
  toon_batch *b;
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_begin_at(b, s, &err), TOON_OK);
  if (reads) CHECK_EQ(toon_batch_expect(b, K(reads), &err), TOON_OK);
  toon_range range = {.prefix = S(prefix ? prefix : "")};
  if (prefix) CHECK_EQ(toon_batch_expect_range(b, &range, &err), TOON_OK);
  if (writes) CHECK_EQ(toon_batch_put(b, K(writes), TOON_INPUT_JSON, S("99"), NULL, &err), TOON_OK);
  CHECK_EQ(toon_batch_end(b, &err), TOON_OK);
  toon_status status = finish(b, NULL);
  toon_snapshot_close(s);
  return status;
}

TEST(the_first_committer_wins) {
  start();
  put("a", "1");
  toon_snapshot *s = snap(), *t = snap();
  CHECK_EQ(txn(s, "a", NULL, NULL), TOON_OK);
  CHECK_EQ(txn(t, "a", NULL, NULL), TOON_ECONFLICT);
  CHECK_EQ(txn(snap(), "a", NULL, NULL), TOON_OK);
  CHECK_EQ(get("a"), 99);
  stop();
}

TEST(creation_and_deletion_are_changes) {
  start();
  put("a", "1");
  toon_snapshot *s = snap(), *t = snap();
  put("new", "1");
  del("a");
  CHECK_EQ(txn(s, "new", NULL, NULL), TOON_ECONFLICT);
  CHECK_EQ(txn(t, "a", NULL, NULL), TOON_ECONFLICT);
  CHECK_EQ(get("a"), -1);
  stop();
}

TEST(a_deletion_whose_trace_was_merged_away_is_still_a_change) {
  start();
  put("a", "1");
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  toon_snapshot *s = snap(), *t = snap();
  del("a");
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  for (int i = 0; i < 8; i++) { /* runs enough to be merged at the bottom */
    put("other", "1");
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  CHECK_EQ(txn(s, "a", NULL, NULL), TOON_ECONFLICT);
  CHECK_EQ(txn(t, "b", NULL, "a"), TOON_ECONFLICT);
  stop();
}

TEST(a_change_that_is_in_a_run_by_now_is_a_change) {
  start();
  put("a", "1");
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  toon_snapshot *s = snap(), *t = snap();
  put("a", "2");
  put("new", "1");
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(txn(s, "a", NULL, NULL), TOON_ECONFLICT);
  CHECK_EQ(txn(t, "new", NULL, NULL), TOON_ECONFLICT);
  stop();
}

TEST(moves_of_a_compaction_are_no_changes) {
  start();
  put("a", "1");
  put("b", "1");
  put("b", "2");
  toon_snapshot *s = snap(), *t = snap();
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  CHECK_EQ(txn(s, "c", "a", NULL), TOON_OK);
  CHECK_EQ(txn(t, "d", NULL, "a"), TOON_OK);
  CHECK_EQ(txn(snap(), "a", "b", "c"), TOON_OK);
  stop();
}

TEST(write_skew_phantoms_and_absent_reads_are_conflicts_when_named) {
  start();
  put("x", "1");
  put("y", "1");
  toon_snapshot *s = snap(), *t = snap();
  CHECK_EQ(txn(s, "x", "y", NULL), TOON_OK);
  CHECK_EQ(txn(t, "y", "x", NULL), TOON_ECONFLICT); /* skew */
  s = snap(), t = snap();
  CHECK_EQ(txn(s, "x", NULL, NULL), TOON_OK);
  CHECK_EQ(txn(t, "y", NULL, NULL), TOON_OK); /* snapshot isolation lets it pass */
  s = snap();
  put("p/1", "1");
  CHECK_EQ(txn(s, "z", NULL, "p/"), TOON_ECONFLICT); /* a phantom */
  s = snap();
  put("q/1", "1");
  CHECK_EQ(txn(s, "z", NULL, "p/"), TOON_OK);
  s = snap();
  put("gone", "1");
  CHECK_EQ(txn(s, "z", "gone", NULL), TOON_ECONFLICT); /* was absent */
  stop();
}

TEST(members_of_one_group_conflict_with_each_other) {
  start();
  put("a", "1");
  toon_snapshot *s = snap();
  toon_batch *b;
  uint64_t v;
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(toon_batch_begin_at(b, s, &err), TOON_OK);
    if (i == 1) CHECK_EQ(toon_batch_expect(b, K("a"), &err), TOON_OK);
    toon_range range = {.prefix = S("a")};
    if (i == 2) CHECK_EQ(toon_batch_expect_range(b, &range, &err), TOON_OK);
    CHECK_EQ(toon_batch_put(b, K(i ? "b" : "a"), TOON_INPUT_JSON, S("5"), NULL, &err), TOON_OK);
    CHECK_EQ(toon_batch_put(b, K(i ? "b" : "a"), TOON_INPUT_JSON, S("6"), NULL, &err), TOON_OK); /* its own key twice */
    CHECK_EQ(toon_batch_end(b, &err), TOON_OK);
  }
  CHECK_EQ(toon_commit(db, b, &err), TOON_OK);
  CHECK_EQ(toon_batch_result(b, 0, &v, &err), TOON_OK);
  CHECK_EQ(toon_batch_result(b, 1, &v, &err), TOON_ECONFLICT);
  CHECK_EQ(toon_batch_result(b, 2, &v, &err), TOON_ECONFLICT);
  toon_batch_free(b);
  toon_snapshot_close(s);
  CHECK_EQ(get("a"), 6);
  CHECK_EQ(get("b"), -1);
  stop();
}

static uint64_t expire(const char *key, int64_t at) {
  toon_batch *b;
  uint64_t v = 77;
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_expire(b, K(key), at, &err), TOON_OK);
  CHECK_EQ(finish(b, &v), TOON_OK);
  return v;
}

TEST(an_expiry_can_be_set_changed_and_taken_back) {
  start();
  int64_t now = toon_now(db);
  put("a", "7");
  put("multi", "{\"x\":[1,2],\"y\":{\"z\":1}}");
  CHECK_EQ(expire("a", now + 1000), 1);
  CHECK_EQ(expire("multi", now + 1000), 1);
  CHECK_EQ(expire("none", now + 1000), 0);
  CHECK_EQ(expire("a", now + 5000), 1);
  CHECK_EQ(expire("multi", 0), 1);
  CHECK_EQ(expire("multi", 0), 0); /* there is none any more */
  CHECK_EQ(get("a"), 7);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  CHECK(open_store());
  toon_row row;
  bool found;
  CHECK_EQ(toon_get(db, NULL, K("a"), &row, &found, &err), TOON_OK);
  CHECK(found && row.expires_at == now + 5000);
  toon_row_release(db, &row);
  os_memfs_advance_ms(fs, 6000, 6000);
  CHECK_EQ(get("a"), -1);
  CHECK_EQ(expire("a", 0), 0); /* lapsed is gone */
  toon_buf json = {0};
  CHECK_EQ(toon_get(db, NULL, K("multi"), &row, &found, &err), TOON_OK);
  CHECK(found && row.expires_at == 0);
  CHECK_EQ(toon_field_to_json(row.field, &json, &err), TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&json), S("{\"x\":[1,2],\"y\":{\"z\":1}}")));
  toon_row_release(db, &row);
  toon_buf_free(&json);
  stop();
}

TEST(an_expiry_can_be_changed_within_the_group_that_put_the_row) {
  start();
  int64_t now = toon_now(db);
  toon_batch *b;
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  toon_put_options soon = {.expires_at = now + 10};
  CHECK_EQ(toon_batch_put(b, K("k"), TOON_INPUT_JSON, S("3"), &soon, &err), TOON_OK);
  CHECK_EQ(toon_batch_expire(b, K("k"), now + 100000, &err), TOON_OK);
  CHECK_EQ(toon_batch_expire(b, K("k"), 0, &err), TOON_OK);
  CHECK_EQ(finish(b, NULL), TOON_OK);
  os_memfs_advance_ms(fs, 1000, 1000);
  CHECK_EQ(get("k"), 3);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_vfs(fs)->unlink(os_memfs_vfs(fs), "/d/metadata.toon");
  CHECK(open_store());
  CHECK_EQ(get("k"), 3);
  stop();
}

/* A transaction that is refused, in one commit with a put that is not: nothing of it is seen. */
TEST(a_refused_member_leaves_nothing_in_its_group) {
  toon_batch *b;
  uint64_t v;
  start();
  put("a", "1");
  toon_snapshot *s = snap();
  put("a", "2");
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_begin_at(b, s, &err), TOON_OK);
  CHECK_EQ(toon_batch_put(b, K("x"), TOON_INPUT_JSON, S("3"), NULL, &err), TOON_OK);
  CHECK_EQ(toon_batch_put(b, K("a"), TOON_INPUT_JSON, S("3"), NULL, &err), TOON_OK);
  CHECK_EQ(toon_batch_end(b, &err), TOON_OK);
  CHECK_EQ(toon_batch_put(b, K("y"), TOON_INPUT_JSON, S("4"), NULL, &err), TOON_OK);
  CHECK_EQ(toon_commit(db, b, &err), TOON_OK);
  CHECK_EQ(toon_batch_result(b, 0, &v, &err), TOON_ECONFLICT);
  CHECK_EQ(toon_batch_result(b, 1, &v, &err), TOON_OK);
  toon_batch_free(b);
  toon_snapshot_close(s);
  os_memfs *left = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_KEEP_ALL, 0);
  for (int round = 0; round < 2; round++) { /* nor in the log */
    CHECK_EQ(get("x"), -1);
    CHECK_EQ(get("a"), 2);
    CHECK_EQ(get("y"), 4);
    stop();
    fs = left;
    if (round == 0) CHECK(open_store());
  }
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
