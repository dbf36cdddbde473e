/* Closing while others write: it ends, they are told, and nothing that was acknowledged is lost. */
#include "check.h"
#include "base/alloc.h"
#include "os/faulty.h"
#include "os/memfs.h"
#include "toonstore.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static os_memfs *fs;
static toon_db *db, *other;

static toon_status open_store(toon_db **out) {
  toon_options o = toon_options_default();
  o.vfs = os_memfs_vfs(fs);
  o.durability = TOON_DURABLE_CLOSE;
  return toon_open("/d", &o, out, NULL);
}

typedef struct writer {
  toon_db *db;
  int id;
  long written;
  toon_status end;
  pthread_t thread;
} writer;
static _Atomic bool enough;

static toon_status write_one(toon_db *to, int id, long n) {
  char key[32];
  uint64_t value;
  toon_batch *b;
  snprintf(key, sizeof key, "%d/%ld", id, n);
  TOON_TRY(toon_batch_new(to, &b, NULL));
  toon_status status =
      toon_batch_put(b, toon_user_key(key, strlen(key)), TOON_INPUT_JSON, toon_slice_of("1", 1), NULL, NULL);
  if (status == TOON_OK) status = toon_commit(to, b, NULL);
  if (status == TOON_OK) status = toon_batch_result(b, 0, &value, NULL);
  toon_batch_free(b);
  return status;
}
static void *write_on(void *arg) {
  writer *w = arg;
  while (!enough && (w->end = write_one(w->db, w->id, w->written)) == TOON_OK) w->written++;
  return NULL;
}
static void check_written(const writer *writers, int count) {
  for (int i = 0; i < count; i++)
    for (long n = 0; n <= writers[i].written; n++) {
      char key[32];
      bool found;
      snprintf(key, sizeof key, "%d/%ld", writers[i].id, n);
      CHECK_EQ(toon_has(db, NULL, toon_user_key(key, strlen(key)), &found, NULL), TOON_OK);
      CHECK_EQ(found, n < writers[i].written);
    }
}
static void start(writer *writers, int count, int first) {
  for (int i = 0; i < count; i++) {
    writers[i].id = first + i;
    CHECK_EQ(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
  }
}

TEST(steady_writers_are_told_that_the_handle_is_stopped) {
  for (int round = 0; round < 10; round++) {
    fs = os_memfs_new();
    enough = false;
    CHECK_EQ(open_store(&db), TOON_OK);
    writer writers[4] = {{.db = db}, {.db = db}, {.db = db}, {.db = db}};
    start(writers, 4, 0);
    usleep(1000 * (unsigned)round);
    toon_stop(db);
    for (int i = 0; i < 4; i++) {
      pthread_join(writers[i].thread, NULL);
      CHECK_EQ(writers[i].end, TOON_ECLOSED);
    }
    check_written(writers, 4); /* reads go on */
    CHECK_EQ(toon_close(db, NULL), TOON_OK);
    CHECK_EQ(open_store(&db), TOON_OK);
    check_written(writers, 4);
    CHECK_EQ(toon_close(db, NULL), TOON_OK);
    os_memfs_free(fs);
  }
}

TEST(a_handle_closes_while_others_of_its_store_write_on) {
  fs = os_memfs_new();
  enough = false;
  CHECK_EQ(open_store(&db), TOON_OK);
  writer writers[3] = {{.db = db}, {.db = db}, {.db = db}};
  start(writers, 3, 0);
  for (long round = 0; round < 50; round++) {
    CHECK_EQ(open_store(&other), TOON_OK);
    for (long n = 0; n < 5; n++) CHECK_EQ(write_one(other, 100, 5 * round + n), TOON_OK);
    CHECK_EQ(toon_close(other, NULL), TOON_OK);
  }
  enough = true;
  for (int i = 0; i < 3; i++) {
    pthread_join(writers[i].thread, NULL);
    CHECK_EQ(writers[i].end, TOON_OK);
  }
  check_written(writers, 3);
  check_written(&(writer){.id = 100, .written = 250}, 1);
  CHECK_EQ(toon_close(db, NULL), TOON_OK);
  os_memfs_free(fs);
}

/* Submitted without waiting, by a stream that has a batch under way at any time, while a thread of another handle leads. */
static _Atomic long submitted, delivered;
static void submit_next(void *ctx, toon_batch *done);
static void submit_one(toon_db *to) {
  toon_batch *b;
  bool lead = false;
  CHECK_EQ(toon_batch_new(to, &b, NULL), TOON_OK);
  CHECK_EQ(toon_batch_put(b, toon_user_key("s", 1), TOON_INPUT_JSON, toon_slice_of("1", 1), NULL, NULL), TOON_OK);
  submitted++;
  CHECK_EQ(toon_submit(to, b, submit_next, to, &lead, NULL), TOON_OK);
  if (lead) toon_lead(to);
}
static void submit_next(void *ctx, toon_batch *done) {
  (void)ctx;
  toon_batch_free(done);
  delivered++;
}
static void *stream(void *arg) {
  while (!enough) {
    while (submitted - delivered > 50 && !enough) usleep(10);
    submit_one(arg);
  }
  return NULL;
}

TEST(a_leader_whose_handle_is_stopped_hands_over) {
  fs = os_memfs_new();
  enough = false;
  submitted = delivered = 0;
  CHECK_EQ(open_store(&db), TOON_OK);
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, stream, db);
  for (int round = 0; round < 30; round++) {
    pthread_t thread;
    CHECK_EQ(open_store(&other), TOON_OK);
    writer w = {other, 7, 0, TOON_OK, thread};
    pthread_create(&thread, NULL, write_on, &w);
    usleep(2000);
    toon_stop(other);
    pthread_join(thread, NULL);
    CHECK_EQ(w.end, TOON_ECLOSED);
    CHECK_EQ(toon_close(other, NULL), TOON_OK);
  }
  enough = true;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(toon_close(db, NULL), TOON_OK);
  CHECK_EQ(delivered, submitted); /* every one has its result */
  os_memfs_free(fs);
}

/* Batches that are submitted, and nobody who was asked to lead does. */
static _Atomic bool held, hold;
static _Atomic int given;
static void give(void *ctx, toon_batch *done) {
  toon_batch_free(done);
  given++;
  held = ctx != NULL;
  while (ctx && hold) usleep(100);
}
static void submit_text(toon_db *to, const char *key, size_t size, void *ctx, bool leads) {
  toon_batch *b;
  bool lead = false;
  char *text = malloc(size);
  REQUIRE(text != NULL);
  memset(text, 'x', size);
  CHECK_EQ(toon_batch_new(to, &b, NULL), TOON_OK);
  CHECK_EQ(toon_batch_put(b, toon_user_key(key, strlen(key)), TOON_INPUT_STRING, toon_slice_of(text, size), NULL, NULL),
           TOON_OK);
  CHECK_EQ(toon_submit(to, b, give, ctx, &lead, NULL), TOON_OK);
  CHECK_EQ(lead, leads);
  free(text);
}
static bool all_given(int count) {
  for (int i = 0; i < 60000 && given < count; i++) usleep(1000); /* a sanitizer takes its time */
  return given == count;
}
static void *write_once(void *arg) {
  CHECK_EQ(write_one(arg, 1, 1), TOON_OK);
  return NULL;
}
static void *close_it(void *arg) {
  CHECK_EQ(toon_close(arg, NULL), TOON_OK);
  return NULL;
}

TEST(what_a_closed_handle_was_asked_to_lead_is_done_behind_a_guest) {
  for (int round = 0; round < 20; round++) {
    pthread_t guest, closer;
    fs = os_memfs_new();
    given = 0;
    hold = true;
    held = false;
    CHECK_EQ(open_store(&db), TOON_OK);
    CHECK_EQ(open_store(&other), TOON_OK);
    submit_text(other, "a", 1, &hold, true); /* and never leads */
    CHECK_EQ(pthread_create(&guest, NULL, write_once, db), 0);
    while (!held) usleep(100);
    submit_text(db, "b", 1, NULL, false); /* while the guest gives back the first */
    CHECK_EQ(pthread_create(&closer, NULL, close_it, other), 0);
    usleep(500);
    hold = false;
    pthread_join(guest, NULL);
    pthread_join(closer, NULL);
    CHECK(all_given(2));
    CHECK_EQ(toon_close(db, NULL), TOON_OK);
    os_memfs_free(fs);
  }
}

/* During a compaction, on the thread that does it: a handle closes and leaves a batch that nobody leads. */
static int progress_calls;
static bool leave_one(void *ctx, double done) {
  (void)ctx;
  if (++progress_calls == 1) {
    submit_text(other, "large", 5 << 20, NULL, true); /* a group of its own */
    submit_text(db, "b", 1, NULL, false);
    CHECK_EQ(toon_close(other, NULL), TOON_OK);
    CHECK_EQ(given, 1);
  } else if (done < 1) {
    CHECK(all_given(2));
  }
  return true;
}

TEST(long_work_does_not_keep_others_from_leading) {
  toon_options o = toon_options_default();
  fs = os_memfs_new();
  o.vfs = os_memfs_vfs(fs);
  o.durability = TOON_DURABLE_CLOSE;
  o.max_value_size = 8 << 20;
  given = progress_calls = 0;
  CHECK_EQ(toon_open("/d", &o, &db, NULL), TOON_OK);
  CHECK_EQ(toon_open("/d", &o, &other, NULL), TOON_OK);
  for (int i = 0; i < 6; i++) {
    char key[2] = {(char)('a' + i % 5), 0};
    submit_text(db, key, 900 << 10, NULL, true);
    toon_lead(db);
  }
  given = 0;
  CHECK_EQ(toon_compact(db, leave_one, NULL, NULL), TOON_OK);
  CHECK(progress_calls > 3);
  CHECK_EQ(given, 2);
  CHECK_EQ(toon_close(db, NULL), TOON_OK);
  os_memfs_free(fs);
}

/* Who leads waits for room while the delta is full: only the background thread makes it. */
TEST(a_large_clear_that_a_closed_handle_left_finds_room) {
  enum { KEYS = 20000 };
  static char key[4000];
  toon_options o = toon_options_default();
  toon_batch *b = NULL;
  toon_range all = {0};
  bool lead;
  fs = os_memfs_new();
  o.vfs = os_memfs_vfs(fs);
  o.durability = TOON_DURABLE_CLOSE;
  o.max_txn_size = 1 << 20;
  CHECK_EQ(toon_open("/d", &o, &db, NULL), TOON_OK);
  CHECK_EQ(toon_open("/d", &o, &other, NULL), TOON_OK);
  memset(key, 'k', sizeof key);
  for (int i = 0; i < KEYS; i++) {
    if (!b) CHECK_EQ(toon_batch_new(db, &b, NULL), TOON_OK);
    snprintf(key, sizeof key, "%07d", i);
    CHECK_EQ(toon_batch_put(b, toon_user_key(key, sizeof key), TOON_INPUT_JSON, toon_slice_of("1", 1), NULL, NULL),
             TOON_OK);
    if (i % 200 != 199) continue;
    CHECK_EQ(toon_commit(db, b, NULL), TOON_OK);
    toon_batch_free(b);
    b = NULL;
  }
  CHECK_EQ(toon_checkpoint(db, NULL), TOON_OK);
  given = 0;
  submit_text(other, "x", 1, NULL, true); /* and never leads */
  CHECK_EQ(toon_batch_new(db, &b, NULL), TOON_OK);
  CHECK_EQ(toon_batch_clear(b, &all, NULL), TOON_OK);
  CHECK_EQ(toon_submit(db, b, give, NULL, &lead, NULL), TOON_OK);
  CHECK(!lead);
  CHECK_EQ(toon_close(other, NULL), TOON_OK);
  CHECK(all_given(2));
  CHECK_EQ(toon_close(db, NULL), TOON_OK);
  os_memfs_free(fs);
}

static _Atomic bool slow, in_slow;
static int slow_runs(void *ctx, const char *call, const char *path) {
  (void)ctx;
  if (slow && !strcmp(call, "pwrite") && strstr(path, ".idx-")) {
    in_slow = true;
    while (slow) usleep(1000);
  }
  return 0;
}
static void *write_large(void *arg) { /* until a checkpoint has to be waited for, and a little more */
  static char text[1000000];
  size_t size = sizeof text;
  char key[16];
  toon_batch *b;
  memset(text, 'x', size);
  for (int i = 0; i < 80; i++) {
    snprintf(key, sizeof key, "w%d", i);
    CHECK_EQ(toon_batch_new(arg, &b, NULL), TOON_OK);
    CHECK_EQ(
        toon_batch_put(b, toon_user_key(key, strlen(key)), TOON_INPUT_STRING, toon_slice_of(text, size), NULL, NULL),
        TOON_OK);
    CHECK_EQ(toon_commit(arg, b, NULL), TOON_OK);
    toon_batch_free(b);
  }
  return NULL;
}

TEST(a_guest_that_waits_for_a_checkpoint_does_not_keep_it_waiting) {
  toon_options o = toon_options_default();
  toon_db *guest;
  pthread_t thread;
  fs = os_memfs_new();
  o.vfs = os_faulty_wrap(os_memfs_vfs(fs), slow_runs, NULL);
  o.durability = TOON_DURABLE_CLOSE;
  o.checkpoint_bytes = 4 << 20;
  CHECK_EQ(toon_open("/d", &o, &db, NULL), TOON_OK);
  CHECK_EQ(toon_open("/d", &o, &other, NULL), TOON_OK);
  CHECK_EQ(toon_open("/d", &o, &guest, NULL), TOON_OK);
  slow = true;
  CHECK_EQ(pthread_create(&thread, NULL, write_large, guest), 0);
  for (bool stalls = false; !stalls || !in_slow;) {
    toon_buf json = {0};
    usleep(1000);
    CHECK_EQ(toon_stats(db, &json, NULL), TOON_OK);
    CHECK_EQ(toon_buf_append(&json, "", 1), TOON_OK);
    stalls = !strstr((const char *)json.ptr, "\"stalls\":0,");
    toon_buf_free(&json);
  }
  given = 0;
  submit_text(db, "b", 1, NULL, true); /* and leads when the other has closed */
  CHECK_EQ(toon_close(other, NULL), TOON_OK);
  slow = false;
  toon_lead(db);
  pthread_join(thread, NULL);
  CHECK(all_given(1));
  CHECK_EQ(toon_close(guest, NULL), TOON_OK);
  CHECK_EQ(toon_close(db, NULL), TOON_OK);
  os_faulty_free((os_vfs *)o.vfs);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
