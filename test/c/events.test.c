/* toon_events: what a handle is told of the store's fill level and of failures that nobody waits for. */
#include "check.h"
#include "os/faulty.h"
#include "os/memfs.h"
#include "toonstore.h"

static toon_error err;
static os_memfs *fs;
static _Atomic int failing;

/* While `failing`: no file of the index can be created. */
static int fault(void *ctx, const char *call, const char *path) {
  (void)ctx;
  (void)call;
  return failing && path && strstr(path, ".idx-") ? 5 : 0;
}

static toon_slice S(const char *text) { return toon_slice_of(text, strlen(text)); }

static toon_db *open_with(os_vfs *vfs, uint64_t max_db_size) {
  toon_options o = toon_options_default();
  toon_db *db = NULL;
  o.vfs = vfs;
  o.durability = TOON_DURABLE_CLOSE;
  o.max_db_size = max_db_size;
  CHECK_EQ(toon_open("/d", &o, &db, &err), TOON_OK);
  return db;
}

/* Put 100 characters under a key, or delete it. */
static void change(toon_db *db, int i, bool there) {
  static const char value[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
  char key[16];
  toon_batch *b;
  uint64_t done;
  snprintf(key, sizeof key, "k%03d", i);
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  if (there)
    CHECK_EQ(toon_batch_put(b, toon_user_key(key, strlen(key)), TOON_INPUT_STRING, S(value), NULL, &err), TOON_OK);
  else
    CHECK_EQ(toon_batch_delete(b, toon_user_key(key, strlen(key)), &err), TOON_OK);
  CHECK_EQ(toon_commit(db, b, &err), TOON_OK);
  CHECK_EQ(toon_batch_result(b, 0, &done, &err), TOON_OK);
  toon_batch_free(b);
}

/* Put new keys from `first` on until an event comes; the first key not put, or `last`. */
static int fill(toon_db *db, int first, int last) {
  for (int i = first; i < last; i++) {
    change(db, i, true);
    if (toon_events(db) & TOON_EVENT_NEARLY_FULL) return i + 1;
  }
  return last;
}

TEST(nearly_full_is_told_once_per_crossing_and_handle) {
  fs = os_memfs_new();
  toon_db *db = open_with(os_memfs_vfs(fs), 20000), *other = open_with(os_memfs_vfs(fs), 20000);
  int n = fill(db, 0, 200);
  CHECK(n > 130 && n < 155); /* rows of about 110 bytes: 80 % are at 146 */
  CHECK_EQ(toon_events(db), 0);
  CHECK_EQ(fill(db, n, n + 10), n + 10);
  CHECK_EQ(toon_events(other), TOON_EVENT_NEARLY_FULL);
  CHECK_EQ(toon_events(other), 0);
  toon_db *late = open_with(os_memfs_vfs(fs), 20000);
  CHECK_EQ(toon_events(late), 0);
  /* A little below and up again is no crossing. */
  for (int i = 0; i < 15; i++) change(db, i, false);
  CHECK_EQ(fill(db, 0, 15), 15);
  /* Far below and up again is. */
  for (int i = 0; i < 80; i++) change(db, i, false);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  change(db, 0, true);
  CHECK_EQ(toon_events(db), 0);
  CHECK(fill(db, 1, 80) < 80);
  CHECK_EQ(toon_events(late), TOON_EVENT_NEARLY_FULL);
  toon_close(late, &err);
  toon_close(other, &err);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(overwriting_does_not_fill) {
  fs = os_memfs_new();
  toon_db *db = open_with(os_memfs_vfs(fs), 20000);
  for (int i = 0; i < 100; i++) change(db, i, true);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < 100; i++) change(db, i, true);
  CHECK_EQ(toon_events(db), 0);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(a_failed_checkpoint_is_told) {
  fs = os_memfs_new();
  os_vfs *vfs = os_faulty_wrap(os_memfs_vfs(fs), fault, NULL);
  toon_db *db = open_with(vfs, 1u << 30);
  toon_error why;
  toon_last_failure(db, &why);
  CHECK_EQ(why.status, TOON_OK);
  change(db, 1, true);
  failing = 1;
  CHECK(toon_checkpoint(db, &err) != TOON_OK);
  failing = 0;
  CHECK_EQ(toon_events(db), TOON_EVENT_FAILED);
  toon_last_failure(db, &why);
  CHECK_EQ(why.status, TOON_EIO);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  toon_events(db); /* a retry may have failed meanwhile */
  change(db, 2, true);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(toon_events(db), 0);
  toon_close(db, &err);
  os_faulty_free(vfs);
  os_memfs_free(fs);
}

CHECK_MAIN
