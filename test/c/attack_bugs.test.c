/* Attacks on the storage engine, each a sequence of events that once broke it. */
#include "check.h"
#include "api.h"
#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

/* A string of n bytes. */
static const char *filler(size_t n) {
  static char text[1 << 20];
  memset(text, 'x', n);
  text[n] = 0;
  return text;
}
static bool has(toon_db *db, const char *key) {
  bool found = false;
  toon_row row;
  if (toon_get(db, NULL, K(key), &row, &found, &err) != TOON_OK) return false;
  if (found) toon_row_release(db, &row);
  return found;
}
/* Fails the n-th call of a kind on a path that contains `fault_path`, and `fault_times` - 1 more. */
static const char *fault_call, *fault_path;
static int fault_skip, fault_times, fault_error;
static int fault(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (strcmp(call, fault_call) != 0 || !strstr(path, fault_path)) return 0;
  if (fault_skip-- > 0) return 0;
  return fault_times-- > 0 ? fault_error : 0;
}
static void fail(os_memfs *fs, const char *call, const char *path, int skip, int times, int error) {
  fault_call = call, fault_path = path, fault_skip = skip, fault_times = times, fault_error = error;
  os_memfs_set_fault(fs, fault, NULL);
}

/* ---------------------------------------------------------------- an expiry with 19 digits cannot be replayed */
TEST(an_expiry_at_the_end_of_time_can_be_recovered) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  toon_put_options o = {.expires_at = INT64_MAX};
  toon_status status = put_with(db, K("a"), TOON_INPUT_STRING, S("v"), &o); /* TOON_EINVAL would be right too */
  os_memfs *after = killed(fs);
  toon_close(db, &err);
  CHECK_EQ(open_on(after, toon_options_default(), &db), TOON_OK);
  if (err.status == TOON_OK) {
    CHECK_EQ(has(db, "a"), status == TOON_OK);
    toon_close(db, &err);
  } else {
    fprintf(stderr, "%s %s\n", toon_status_name(err.status), err.message);
  }
  os_memfs_free(after);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- the greatest row id makes the ids start anew */
TEST(a_put_to_the_greatest_row_id_does_not_make_row_ids_start_anew) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_batch *b;
  uint64_t id = 99;
  uint8_t bytes[8];
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  toon_batch_new(db, &b, &err);
  toon_batch_row_put(b, TOON_INPUT_STRING, S("first"), NULL, &err);
  CHECK_EQ(commit_one(db, b, &id), TOON_OK);
  CHECK_EQ(id, 0);
  put_with(db, toon_row_key(UINT64_MAX, bytes), TOON_INPUT_STRING, S("last"), NULL); /* should be refused */
  toon_batch_new(db, &b, &err);
  toon_batch_row_put(b, TOON_INPUT_STRING, S("third"), NULL, &err);
  toon_status status = commit_one(db, b, &id);
  CHECK(status != TOON_OK || id == 1); /* not 0: that row is "first" */
  toon_close(db, &err);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- err may be NULL */
TEST(a_failing_sync_without_an_error_to_fill_does_not_crash) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "a", "v"), TOON_OK);
  fail(fs, "datasync", "db.toon", 0, 1 << 30, EIO);
  CHECK_EQ(toon_sync(db, NULL), TOON_EIO);
  CHECK_EQ(toon_close(db, NULL), TOON_EIO);
  os_memfs_free(fs);
}
TEST(a_failing_sync_in_a_close_without_an_error_to_fill_does_not_crash) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "a", "v"), TOON_OK);
  fail(fs, "datasync", "db.toon", 0, 1 << 30, EIO);
  CHECK_EQ(toon_close(db, NULL), TOON_EIO);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- a segment without a group */
/* A put needs a new segment; the segment is made, the group's own write meets a full disk. */
static os_memfs *with_an_empty_tail(toon_db **db, bool checkpoint_first) {
  os_memfs *fs = os_memfs_new();
  if (open_on(fs, tiny(TOON_DURABLE_COMMIT), db) != TOON_OK) return NULL;
  CHECK_EQ(put(*db, "a", filler(3000)), TOON_OK);
  if (checkpoint_first) CHECK_EQ(toon_checkpoint(*db, &err), TOON_OK);
  fail(fs, "pwrite", "db.1.toon", 1, 1, ENOSPC);
  CHECK_EQ(put(*db, "b", filler(3000)), TOON_ENOSPC);
  os_memfs_set_fault(fs, NULL, NULL);
  return fs;
}
TEST(a_store_closed_with_a_segment_that_has_no_group_yet_opens_again) {
  toon_db *db;
  os_memfs *fs = with_an_empty_tail(&db, true);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  toon_status status = open_on(fs, tiny(TOON_DURABLE_COMMIT), &db);
  CHECK_EQ(status, TOON_OK);
  if (status != TOON_OK) fprintf(stderr, "%s %s\n", err.message, err.path);
  if (status == TOON_OK) {
    CHECK(has(db, "a"));
    toon_close(db, &err);
  }
  os_memfs_free(fs);
}
TEST(a_commit_larger_than_a_segment_behind_one_without_a_group_is_kept) {
  toon_db *db;
  os_memfs *fs = with_an_empty_tail(&db, false);
  CHECK_EQ(put(db, "big", filler(9000)), TOON_OK);
  CHECK(has(db, "big"));
  os_memfs *after = killed(fs);
  toon_close(db, &err);
  toon_status status = open_on(after, tiny(TOON_DURABLE_COMMIT), &db);
  CHECK_EQ(status, TOON_OK);
  if (status == TOON_OK) {
    CHECK(has(db, "a"));
    CHECK(has(db, "big"));
    toon_close(db, &err);
  }
  os_memfs_free(after);
  os_memfs_free(fs);
}
TEST(commits_behind_a_segment_without_a_group_are_not_corruption) {
  toon_db *db;
  os_memfs *fs = with_an_empty_tail(&db, false);
  CHECK_EQ(put(db, "big", filler(9000)), TOON_OK);
  CHECK_EQ(put(db, "c", "v"), TOON_OK);
  os_memfs *after = killed(fs);
  toon_close(db, &err);
  toon_status status = open_on(after, tiny(TOON_DURABLE_COMMIT), &db);
  CHECK_EQ(status, TOON_OK);
  if (status != TOON_OK) fprintf(stderr, "%s %s\n", err.message, err.path);
  if (status == TOON_OK) {
    CHECK(has(db, "a") && has(db, "big") && has(db, "c"));
    toon_close(db, &err);
  }
  os_memfs_free(after);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- the disk fills up while the log is padded */
TEST(a_disk_that_fills_up_during_padding_leaves_a_store_that_opens) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  toon_close(db, &err);
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  fail(fs, "pwrite", "db.toon", 1, 1, OS_FAULT_SHORT); /* 0: the manifest has another name; the group, then padding */
  CHECK_EQ(put(db, "a", "v"), TOON_OK);
  CHECK(fault_times == 0);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  toon_status status = open_on(fs, toon_options_default(), &db);
  CHECK_EQ(status, TOON_OK);
  if (status != TOON_OK) fprintf(stderr, "%s %s\n", err.message, err.path);
  if (status == TOON_OK) {
    CHECK(has(db, "a"));
    toon_close(db, &err);
  }
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- the leader reads keys of batches that are gone */
TEST(a_large_batch_with_conditions_may_be_freed_after_its_commit) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_batch *b;
  toon_put_options absent = {.conditions = TOON_IF_ABSENT};
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  toon_batch_new(db, &b, &err);
  char key[16];
  for (int i = 0; i < 20; i++) {
    snprintf(key, sizeof key, "k%d", i);
    toon_batch_put(b, K(key), TOON_INPUT_STRING, S(filler(500000)), &absent, &err);
  }
  CHECK_EQ(toon_commit(db, b, &err), TOON_OK);
  toon_batch_free(b); /* too large to be kept: its memory goes back to the system */
  CHECK_EQ(put(db, "next", "v"), TOON_OK);
  toon_close(db, &err);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- frames count as live bytes for ever */
TEST(updating_one_small_row_for_long_does_not_fill_the_store) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  o.max_db_size = 20000;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  int i = 0;
  while (i < 3000 && put(db, "counter", "1") == TOON_OK) i++;
  CHECK_EQ(i, 3000);
  toon_close(db, &err);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- a full store lets rows be replaced by equal ones */
TEST(a_row_of_a_full_store_can_be_replaced_by_one_of_its_size) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  o.max_db_size = 100000;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "a", filler(60000)), TOON_OK);
  CHECK_EQ(put(db, "a", filler(60000)), TOON_OK);
  toon_close(db, &err);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- whoever leads is kept leading */
/* As Node does it: one thread submits and does not wait, a pool thread leads when asked to. */
typedef struct stream {
  toon_db *db;
  pthread_t committer;
  int led; /* groups that the committer has synced, in one commit */
  _Atomic bool go, stop, over, lead;
  _Atomic int flying;
} stream;
static int slow_sync(void *ctx, const char *call, const char *path) {
  stream *s = ctx;
  (void)path;
  if (strcmp(call, "datasync") != 0) return 0;
  if (pthread_equal(pthread_self(), s->committer)) {
    s->go = true;
    if (++s->led > 100) s->stop = true; /* else this might never end */
  }
  usleep(500);
  return 0;
}
static void landed(void *ctx, toon_batch *batch) {
  stream *s = ctx;
  toon_batch_free(batch);
  s->flying--;
}
static void *pool(void *arg) {
  stream *s = arg;
  while (!s->over || s->flying)
    if (s->lead) {
      s->lead = false;
      toon_lead(s->db);
    } else {
      usleep(20);
    }
  return NULL;
}
static void *submitter(void *arg) {
  stream *s = arg;
  toon_error e;
  while (!s->go) usleep(20);
  while (!s->stop) {
    if (s->flying >= 64) {
      usleep(20);
      continue;
    }
    toon_batch *b;
    bool lead;
    if (toon_batch_new(s->db, &b, &e) != TOON_OK) break;
    toon_batch_put(b, K("k"), TOON_INPUT_STRING, S("v"), NULL, &e);
    s->flying++;
    if (toon_submit(s->db, b, landed, s, &lead, &e) != TOON_OK) break;
    if (lead) s->lead = true;
    usleep(50);
  }
  return NULL;
}
TEST(a_commit_returns_although_others_go_on_committing) {
  os_memfs *fs = os_memfs_new();
  stream s = {.committer = pthread_self()};
  pthread_t threads[2];
  REQUIRE(open_on(fs, toon_options_default(), &s.db) == TOON_OK);
  os_memfs_set_fault(fs, slow_sync, &s);
  int most = 0;
  pthread_create(&threads[0], NULL, pool, &s);
  for (int i = 0; i < 50; i++) {
    /* The committer finds nobody leading; the stream begins while it is in its sync. */
    while (s.flying) usleep(20);
    s.go = s.stop = false;
    s.led = 0;
    pthread_create(&threads[1], NULL, submitter, &s);
    toon_batch *b;
    if (toon_batch_new(s.db, &b, &err) != TOON_OK) break;
    toon_batch_put(b, K("sync"), TOON_INPUT_STRING, S("v"), NULL, &err);
    CHECK_EQ(toon_commit(s.db, b, &err), TOON_OK);
    if (s.led > most) most = s.led;
    toon_batch_free(b);
    CHECK(s.go);
    s.go = s.stop = true;
    pthread_join(threads[1], NULL);
  }
  s.over = true;
  pthread_join(threads[0], NULL);
  CHECK_EQ(most, 1); /* its own group */
  toon_close(s.db, &err);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- counting while others write */
typedef struct busy {
  toon_db *db;
  _Atomic bool stop;
  _Atomic int left; /* batches: who counts must not need their end */
} busy;
static void *inserter(void *arg) {
  busy *s = arg;
  toon_error e;
  char key[64];
  for (uint64_t n = 0; !s->stop && s->left-- > 0; n++) {
    toon_batch *b;
    if (toon_batch_new(s->db, &b, &e) != TOON_OK) break;
    for (int i = 0; i < 4; i++) {
      snprintf(key, sizeof key, "%p/%llu/%d", (void *)&e, (unsigned long long)n, i);
      toon_batch_put(b, K(key), TOON_INPUT_STRING, S("v"), NULL, &e);
    }
    toon_commit(s->db, b, &e);
    toon_batch_free(b);
  }
  return NULL;
}
TEST(counting_ends_although_others_write) {
  os_memfs *fs = os_memfs_new();
  busy s = {.left = 1000000};
  pthread_t threads[2];
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  REQUIRE(open_on(fs, o, &s.db) == TOON_OK);
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, inserter, &s);
  for (int i = 0; i < 50; i++) {
    uint64_t before = 1000000 - (uint64_t)s.left, n;
    CHECK_EQ(toon_size(s.db, 0, &n, &err), TOON_OK);
    CHECK(before <= 2 || n >= 4 * (before - 2)); /* two of them may be under way */
    usleep(1000);
  }
  CHECK(s.left > 0);
  s.stop = true;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  toon_close(s.db, &err);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- a manifest whose directory sync fails */
TEST(a_failed_directory_sync_behind_a_manifest_leaves_its_runs) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  CHECK_EQ(put(db, "a", "v"), TOON_OK);
  fail(fs, "dirsync", "/d", 2, 1, EIO); /* the run's, the temporary manifest's, the one behind the rename */
  CHECK_EQ(toon_checkpoint(db, &err), TOON_EIO);
  os_memfs *after = killed(fs);
  os_memfs_set_fault(fs, NULL, NULL);
  toon_close(db, &err);
  REQUIRE(open_on(after, toon_options_default(), &db) == TOON_OK);
  CHECK(has(db, "a"));
  toon_buf json = {0};
  toon_stats(db, &json, &err);
  toon_buf_byte(&json, 0);
  CHECK(strstr((char *)json.ptr, "\"rebuilt\":false") != NULL);
  toon_buf_free(&json);
  toon_close(db, &err);
  os_memfs_free(after);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- a lost segment, found out only by its gap */
TEST(a_lost_segment_is_reported_though_an_index_file_is_damaged_too) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  toon_db *db;
  toon_options o = tiny(TOON_DURABLE_COMMIT);
  o.checkpoint_bytes = 1 << 30;
  REQUIRE(open_at(vfs, "/d", o, &db) == TOON_OK);
  CHECK_EQ(put(db, "a", filler(3000)), TOON_OK);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(put(db, "b", filler(3000)), TOON_OK);
  CHECK_EQ(put(db, "c", filler(3000)), TOON_OK);
  CHECK_EQ(put(db, "d", filler(3000)), TOON_OK);
  os_memfs *after = killed(fs);
  toon_close(db, &err);
  vfs = os_memfs_vfs(after);
  CHECK_EQ(vfs->unlink(vfs, "/d/db.2.toon"), 0);
  os_memfs *twice = killed(after);
  CHECK_EQ(open_at(vfs, "/d", o, &db), TOON_ECORRUPT);
  if (err.status == TOON_OK) toon_close(db, &err);
  vfs = os_memfs_vfs(twice);
  for (int i = 1; i < 4; i++) {
    char path[32];
    snprintf(path, sizeof path, "/d/db.toon.idx-%d", i);
    vfs->unlink(vfs, path);
  }
  toon_status status = open_at(vfs, "/d", o, &db);
  CHECK_EQ(status, TOON_ECORRUPT);
  if (status == TOON_OK) {
    fprintf(stderr, "opened: a %d b %d c %d d %d\n", has(db, "a"), has(db, "b"), has(db, "c"), has(db, "d"));
    toon_close(db, &err);
  }
  os_memfs_free(after);
  os_memfs_free(twice);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- a sealed segment with something behind its end */
TEST(what_stands_behind_a_sealed_segment_is_damage_and_no_torn_tail) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  os_file *file;
  toon_options o = tiny(TOON_DURABLE_CLOSE);
  o.checkpoint_bytes = 1 << 30;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "a", filler(3000)), TOON_OK);
  CHECK_EQ(put(db, "b", filler(3000)), TOON_OK); /* a roll */
  os_memfs *after = killed(fs);
  toon_close(db, &err);
  os_vfs *vfs = os_memfs_vfs(after);
  size_t len;
  REQUIRE(os_memfs_content(after, "/d/db.toon", &len) && os_memfs_content(after, "/d/db.1.toon", &len));
  os_memfs_content(after, "/d/db.toon", &len);
  REQUIRE(vfs->open(vfs, "/d/db.toon", OS_WRITE, &file) == 0);
  CHECK_EQ(vfs->pwrite(vfs, file, "x", 1, len), 0);
  vfs->close(vfs, file);
  for (int read_only = 1; read_only >= 0; read_only--) {
    o.read_only = read_only;
    toon_status status = open_on(after, o, &db); /* it was taken for a torn tail, and the next segment unlinked */
    CHECK_EQ(status, TOON_ECORRUPT);
    CHECK(strcmp(err.path, "/d/db.toon") == 0 && err.offset == (int64_t)len);
    if (status == TOON_OK) toon_close(db, &err);
  }
  os_memfs_free(after);
  os_memfs_free(fs);
}

/* ---------------------------------------------------------------- chdir */
TEST(a_store_opened_by_a_relative_path_stays_where_it_is_when_the_process_moves) {
  char base[] = "/tmp/toon-attack-XXXXXX", before[1024], path[1100];
  toon_db *db;
  REQUIRE(getcwd(before, sizeof before) && mkdtemp(base) && chdir(base) == 0);
  toon_options o = tiny(TOON_DURABLE_COMMIT);
  REQUIRE(open_at(NULL, "store", o, &db) == TOON_OK);
  CHECK_EQ(chdir(before), 0);
  CHECK_EQ(put(db, "a", filler(3000)), TOON_OK);
  CHECK_EQ(put(db, "b", filler(3000)), TOON_OK); /* a roll */
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  if (err.status) fprintf(stderr, "%s %s\n", err.message, err.path);
  snprintf(path, sizeof path, "%s/store", base);
  if (open_at(NULL, path, o, &db) == TOON_OK) {
    CHECK(has(db, "b"));
    toon_close(db, &err);
  } else
    CHECK(!"opens");
  snprintf(path, sizeof path, "rm -rf %s", base);
  CHECK_EQ(system(path), 0);
}

/* ---------------------------------------------------------------- repair and a backup by hard links */
TEST(repair_does_not_cut_a_segment_that_a_backup_shares) {
  char base[] = "/tmp/toon-attack-XXXXXX", path[200], other[200];
  toon_db *db;
  REQUIRE(mkdtemp(base));
  toon_options o = tiny(TOON_DURABLE_COMMIT);
  char dir[100];
  snprintf(dir, sizeof dir, "%s/store", base);
  REQUIRE(open_at(NULL, dir, o, &db) == TOON_OK);
  char key[16];
  for (int i = 0; i < 12; i++) {
    snprintf(key, sizeof key, "k%d", i);
    CHECK_EQ(put(db, key, filler(1000)), TOON_OK);
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  snprintf(path, sizeof path, "%s/db.1.toon", dir);
  snprintf(other, sizeof other, "%s/backup.1.toon", base);
  REQUIRE(link(path, other) == 0);
  FILE *f = fopen(path, "r+b");
  REQUIRE(f);
  fseek(f, 0, SEEK_END);
  long before = ftell(f);
  fseek(f, 2000, SEEK_SET);
  fputc('#', f);
  fclose(f);
  snprintf(path, sizeof path, "%s/metadata.toon", dir);
  unlink(path); /* so that the whole log is replayed */
  o.repair = true;
  CHECK_EQ(open_at(NULL, dir, o, &db), TOON_OK);
  if (err.status == TOON_OK) toon_close(db, &err);
  f = fopen(other, "rb");
  fseek(f, 0, SEEK_END);
  CHECK_EQ(ftell(f), before);
  fclose(f);
  snprintf(path, sizeof path, "rm -rf %s", base);
  CHECK_EQ(system(path), 0);
}

TEST(newlines_of_a_segment_that_a_backup_shares_are_trimmed_from_a_copy) {
  char base[] = "/tmp/toon-attack-XXXXXX", dir[100], path[200], other[200];
  toon_db *db;
  REQUIRE(mkdtemp(base));
  toon_options o = tiny(TOON_DURABLE_COMMIT);
  snprintf(dir, sizeof dir, "%s/store", base);
  REQUIRE(open_at(NULL, dir, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "a", filler(3000)), TOON_OK);
  CHECK_EQ(put(db, "b", filler(3000)), TOON_OK); /* a roll */
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  snprintf(path, sizeof path, "%s/db.toon", dir);
  snprintf(other, sizeof other, "%s/backup.toon", base);
  REQUIRE(link(path, other) == 0);
  FILE *f = fopen(other, "ab");
  REQUIRE(f);
  fputc('\n', f);
  long before = ftell(f);
  fclose(f);
  snprintf(path, sizeof path, "%s/metadata.toon", dir);
  unlink(path);
  for (int i = 0; i < 2; i++) { /* the second time it was closed with a byte too many */
    REQUIRE(open_at(NULL, dir, o, &db) == TOON_OK);
    CHECK(has(db, "a") && has(db, "b"));
    CHECK_EQ(toon_close(db, &err), TOON_OK);
  }
  f = fopen(other, "rb");
  fseek(f, 0, SEEK_END);
  CHECK_EQ(ftell(f), before);
  fclose(f);
  snprintf(path, sizeof path, "rm -rf %s", base);
  CHECK_EQ(system(path), 0);
}

/* ---------------------------------------------------------------- a repair that does not come to its end */
/* A closed store of three segments; `damaged`: in the second, 1 in its rows, 2 in its header. */
static os_memfs *closed_store(int damaged) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  toon_db *db;
  os_file *file;
  if (open_on(fs, tiny(TOON_DURABLE_COMMIT), &db) != TOON_OK) return NULL;
  CHECK_EQ(put(db, "a", filler(3000)), TOON_OK);
  CHECK_EQ(put(db, "b", filler(3000)), TOON_OK);
  CHECK_EQ(put(db, "c", filler(3000)), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  if (!damaged) return fs;
  CHECK_EQ(vfs->open(vfs, "/d/db.1.toon", OS_WRITE, &file), 0);
  CHECK_EQ(vfs->pwrite(vfs, file, "DAMAGE", 6, damaged == 1 ? 1000 : 2), 0);
  vfs->close(vfs, file);
  return fs;
}
/* A healthy store is one without repair too, a damaged one at least with it. */
static void check_repaired(os_memfs *fs, bool damaged) {
  toon_db *db;
  toon_options o = tiny(TOON_DURABLE_COMMIT);
  toon_status status = open_on(fs, o, &db);
  if (!damaged) CHECK_EQ(status, TOON_OK);
  if (status != TOON_OK) {
    CHECK_EQ(status, TOON_ECORRUPT);
    o.repair = true;
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
  }
  CHECK(has(db, "a"));
  if (!damaged) CHECK(has(db, "b") && has(db, "c"));
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_COMMIT), &db) == TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
}
TEST(a_repair_that_is_interrupted_leaves_a_store_that_opens) {
  for (int damaged = 0; damaged < 3; damaged++) {
    toon_db *db;
    toon_options o = tiny(TOON_DURABLE_COMMIT);
    o.repair = true;
    os_memfs *fs = closed_store(damaged);
    size_t from = os_memfs_ops(fs);
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    size_t to = os_memfs_ops(fs);
    CHECK(to > from + 10);
    for (size_t ops = from; ops <= to; ops++) {
      for (uint64_t seed = 0; seed < 4; seed++) {
        os_memfs *after = os_memfs_crash(fs, ops, seed ? OS_CRASH_RANDOM : OS_CRASH_KEEP_ALL, seed);
        check_repaired(after, damaged);
        os_memfs_free(after);
      }
    }
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_free(fs);
  }
}
TEST(a_repair_cuts_the_log_at_a_header_that_is_damaged) {
  static const struct {
    int at; /* of a wrong byte in the header, or -1: the file is cut there */
    int len;
    bool manifest, repaired;
  } cases[] = {{-1, 0, true, true}, {-1, 7, true, true}, {-1, 7, false, true},  {3, 0, true, true},
               {3, 0, false, true}, {13, 0, true, true}, {13, 0, false, false}, /* which of the two ids is right? */
               {8, 0, true, false}};                                            /* a newer version */
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    toon_db *db;
    os_file *file;
    toon_options o = tiny(TOON_DURABLE_COMMIT);
    os_memfs *fs = closed_store(0);
    os_vfs *vfs = os_memfs_vfs(fs);
    size_t before;
    CHECK_EQ(vfs->open(vfs, "/d/db.1.toon", OS_WRITE, &file), 0);
    if (cases[i].at < 0)
      CHECK_EQ(vfs->truncate(vfs, file, (uint64_t)cases[i].len), 0);
    else
      CHECK_EQ(vfs->pwrite(vfs, file, "\x7f", 1, (uint64_t)cases[i].at), 0);
    vfs->close(vfs, file);
    if (!cases[i].manifest) CHECK_EQ(vfs->unlink(vfs, "/d/metadata.toon"), 0);
    for (int repair = 0; repair < 2; repair++) {
      o.repair = repair;
      toon_status status = open_on(fs, o, &db);
      if (repair && cases[i].repaired) {
        REQUIRE(status == TOON_OK);
        break;
      }
      CHECK(status == TOON_ECORRUPT || status == TOON_EFORMAT);
      CHECK(strcmp(err.path, "/d/db.1.toon") == 0);
      CHECK(!repair || !strstr(err.message, "repair"));
      CHECK(os_memfs_content(fs, "/d/db.1.toon", &before) && os_memfs_content(fs, "/d/db.2.toon", &before));
    }
    if (cases[i].repaired) {
      CHECK(has(db, "a") && !has(db, "b") && !has(db, "c"));
      CHECK(!os_memfs_content(fs, "/d/db.1.toon", &before) && !os_memfs_content(fs, "/d/db.2.toon", &before));
      CHECK_EQ(put(db, "d", filler(3000)), TOON_OK);
      CHECK_EQ(toon_close(db, &err), TOON_OK);
      o.repair = false;
      REQUIRE(open_on(fs, o, &db) == TOON_OK);
      CHECK(has(db, "a") && has(db, "d"));
      CHECK_EQ(toon_close(db, &err), TOON_OK);
    }
    os_memfs_free(fs);
  }
}
TEST(a_repair_that_meets_a_full_disk_leaves_a_store_that_opens) {
  for (int damaged = 0; damaged < 3; damaged++) {
    int failed = 0;
    for (int skip = 0;; skip++) {
      toon_db *db;
      toon_options o = tiny(TOON_DURABLE_COMMIT);
      o.repair = true;
      os_memfs *fs = closed_store(damaged);
      fail(fs, "pwrite", "", skip, 1 << 30, ENOSPC);
      toon_status status = open_on(fs, o, &db);
      os_memfs_set_fault(fs, NULL, NULL);
      if (status == TOON_OK) CHECK_EQ(toon_close(db, &err), TOON_OK);
      failed += status != TOON_OK;
      check_repaired(fs, damaged);
      os_memfs_free(fs);
      if (status == TOON_OK) break;
    }
    CHECK(failed > 3);
  }
}

/* ---------------------------------------------------------------- a held row and the background thread */
typedef struct held {
  toon_db *db;
  _Atomic int done;
} held;
static void *checkpointer(void *arg) {
  held *h = arg;
  toon_error e;
  for (int i = 0; i < 3; i++) {
    toon_batch *b;
    if (toon_batch_new(h->db, &b, &e) != TOON_OK) break;
    toon_batch_put(b, K("k"), TOON_INPUT_STRING, S("v"), NULL, &e);
    toon_commit(h->db, b, &e);
    toon_batch_free(b);
    toon_checkpoint(h->db, &e);
    h->done++;
  }
  return NULL;
}
TEST(checkpoints_go_on_while_somebody_holds_a_row) {
  os_memfs *fs = os_memfs_new();
  held h = {0};
  pthread_t thread;
  toon_row row;
  bool found;
  REQUIRE(open_on(fs, toon_options_default(), &h.db) == TOON_OK);
  CHECK_EQ(put(h.db, "a", "v"), TOON_OK);
  CHECK_EQ(toon_get(h.db, NULL, K("a"), &row, &found, &err), TOON_OK);
  pthread_create(&thread, NULL, checkpointer, &h);
  for (int i = 0; i < 6000 && h.done < 3; i++) usleep(10000);
  CHECK_EQ(h.done, 3);
  toon_row_release(h.db, &row);
  pthread_join(thread, NULL);
  toon_close(h.db, &err);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
