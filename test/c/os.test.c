/* The os room: one suite of behaviours for every vfs (real, in memory, and the faulty one over it), then
 * threads, faults and power cuts. */
#include "check.h"
#include "base/alloc.h"
#include "os/faulty.h"
#include "os/memfs.h"
#include "os/os.h"
#include "os/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t random_state = 42;
static uint32_t rnd(uint32_t n) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 33) % n;
}

/* ---- the same behaviour everywhere ---- */

static int no_fault(void *ctx, const char *call, const char *path) {
  (void)ctx, (void)call, (void)path;
  return 0;
}

static char dir[64];

static const char *in_dir(const char *name) {
  static char paths[4][128];
  static int turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", dir, name);
  return path;
}

/* Run `body` on each vfs with `dir` an empty directory there; nothing may be left allocated. */
static void on_each_vfs(void (*body)(os_vfs *vfs)) {
  size_t live = toon_alloc_live();
  snprintf(dir, sizeof dir, "/tmp/toon-os-test-XXXXXX");
  if (!mkdtemp(dir)) abort();
  body(os_posix());
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  if (system(command) != 0) abort();

  os_memfs *fs = os_memfs_new();
  snprintf(dir, sizeof dir, "/plain");
  CHECK_EQ(os_memfs_vfs(fs)->mkdir(os_memfs_vfs(fs), dir), 0);
  body(os_memfs_vfs(fs));
  os_vfs *faulty = os_faulty_wrap(os_memfs_vfs(fs), no_fault, NULL);
  snprintf(dir, sizeof dir, "/wrapped");
  CHECK_EQ(faulty->mkdir(faulty, dir), 0);
  body(faulty);
  os_faulty_free(faulty);
  os_memfs_free(fs);
  CHECK_EQ(toon_alloc_live(), live);
}

static os_file *must_open(os_vfs *vfs, const char *path, unsigned flags) {
  os_file *file = NULL;
  int error = vfs->open(vfs, path, flags, &file);
  if (error) {
    fprintf(stderr, "open %s: %s\n", path, strerror(error));
    abort();
  }
  return file;
}

static void put(os_vfs *vfs, os_file *file, uint64_t offset, const char *text) {
  CHECK_EQ(vfs->pwrite(vfs, file, text, strlen(text), offset), 0);
}

static bool holds(os_vfs *vfs, os_file *file, const char *text) {
  char bytes[300];
  size_t got = 999;
  int error = vfs->pread(vfs, file, bytes, sizeof bytes, 0, &got);
  return error == 0 && got == strlen(text) && memcmp(bytes, text, got) == 0;
}

static void opening(os_vfs *vfs) {
  os_file *file = NULL, *again = NULL;
  os_stat st;
  CHECK_EQ(vfs->open(vfs, in_dir("a"), OS_READ, &file), ENOENT);
  CHECK_EQ(vfs->open(vfs, in_dir("a"), OS_WRITE, &file), ENOENT);
  CHECK(file == NULL);
  CHECK_EQ(vfs->open(vfs, in_dir("none/a"), OS_WRITE | OS_CREATE, &file), ENOENT);
  file = must_open(vfs, in_dir("a"), OS_WRITE | OS_CREATE | OS_EXCLUSIVE);
  CHECK_EQ(vfs->open(vfs, in_dir("a"), OS_WRITE | OS_CREATE | OS_EXCLUSIVE, &again), EEXIST);
  CHECK_EQ(vfs->open(vfs, in_dir("a/b"), OS_READ, &again), ENOTDIR);
  put(vfs, file, 0, "hello");
  again = must_open(vfs, in_dir("a"), OS_READ);
  CHECK(holds(vfs, again, "hello"));
  CHECK_EQ(vfs->pwrite(vfs, again, "x", 1, 0), EBADF);
  CHECK_EQ(vfs->truncate(vfs, again, 0), EINVAL);
  CHECK_EQ(vfs->close(vfs, again), 0);
  again = must_open(vfs, in_dir("a"), OS_WRITE | OS_CREATE);
  CHECK(holds(vfs, again, "hello"));
  CHECK_EQ(vfs->close(vfs, again), 0);
  again = must_open(vfs, in_dir("a"), OS_WRITE | OS_CREATE | OS_TRUNCATE);
  CHECK(holds(vfs, file, ""));
  CHECK_EQ(vfs->close(vfs, again), 0);
  CHECK_EQ(vfs->fstat(vfs, file, &st), 0);
  CHECK(st.size == 0 && st.nlink == 1 && !st.is_dir);
  CHECK_EQ(vfs->open(vfs, dir, OS_WRITE, &again), EISDIR);
  CHECK_EQ(vfs->close(vfs, file), 0);
}
TEST(files_open_as_the_flags_say) { on_each_vfs(opening); }

static void reading_and_writing(os_vfs *vfs) {
  os_file *file = must_open(vfs, in_dir("a"), OS_WRITE | OS_CREATE);
  char bytes[16];
  size_t got = 99;
  CHECK_EQ(vfs->pread(vfs, file, bytes, 4, 0, &got), 0);
  CHECK_EQ(got, 0);
  put(vfs, file, 3, "def");
  CHECK_EQ(vfs->pread(vfs, file, bytes, 16, 0, &got), 0);
  CHECK(got == 6 && memcmp(bytes, "\0\0\0def", 6) == 0);
  put(vfs, file, 0, "abc");
  CHECK(holds(vfs, file, "abcdef"));
  CHECK_EQ(vfs->pread(vfs, file, bytes, 2, 3, &got), 0);
  CHECK(got == 2 && memcmp(bytes, "de", 2) == 0);
  CHECK_EQ(vfs->pread(vfs, file, bytes, 9, 4, &got), 0);
  CHECK_EQ(got, 2);
  CHECK_EQ(vfs->pread(vfs, file, bytes, 9, 1u << 30, &got), 0);
  CHECK_EQ(got, 0);
  CHECK_EQ(vfs->pwrite(vfs, file, "", 0, 100), 0);
  CHECK(holds(vfs, file, "abcdef"));
  CHECK_EQ(vfs->truncate(vfs, file, 2), 0);
  CHECK_EQ(vfs->truncate(vfs, file, 5), 0);
  CHECK_EQ(vfs->pread(vfs, file, bytes, 16, 0, &got), 0);
  CHECK(got == 5 && memcmp(bytes, "ab\0\0\0", 5) == 0);
  CHECK_EQ(vfs->sync(vfs, file), 0);
  CHECK_EQ(vfs->datasync(vfs, file), 0);
  CHECK(vfs->pwrite(vfs, file, "x", 1, UINT64_MAX - 1) != 0);
  CHECK(vfs->truncate(vfs, file, UINT64_MAX - 1) != 0);
  CHECK_EQ(vfs->close(vfs, file), 0);
}
TEST(files_read_back_what_was_written) { on_each_vfs(reading_and_writing); }

static void mapping_grows(os_vfs *vfs) {
  size_t page = os_page_size(), most = 64 * page + 100;
  os_file *file = must_open(vfs, in_dir("a"), OS_WRITE | OS_CREATE);
  const uint8_t *map = NULL, *small = NULL;
  CHECK_EQ(vfs->map(vfs, file, 0, &map), EINVAL);
  put(vfs, file, 0, "begin");
  CHECK_EQ(vfs->map(vfs, file, most, &map), 0);
  CHECK_EQ(vfs->map(vfs, file, page, &small), 0);
  CHECK(memcmp(map, "begin", 6) == 0); /* with the zero that fills the page */
  put(vfs, file, 2, "G");
  CHECK(memcmp(map, "beGin", 5) == 0 && memcmp(small, "beGin", 5) == 0);
  for (size_t at = 5; at < most - 8; at += 777) {
    put(vfs, file, at, "grown");
    CHECK(memcmp(map + at, "grown", 5) == 0);
  }
  put(vfs, file, page - 2, "edge");
  CHECK(memcmp(small + page - 2, "ed", 2) == 0);
  put(vfs, file, most - 2, "over the end");
  CHECK(memcmp(map + most - 2, "ov", 2) == 0);
  CHECK_EQ(vfs->truncate(vfs, file, 3 * page + 4), 0);
  CHECK_EQ(map[3 * page + 5], 0);
  CHECK_EQ(vfs->truncate(vfs, file, 9 * page), 0);
  CHECK_EQ(map[8 * page], 0);
  put(vfs, file, 8 * page, "new");
  CHECK(memcmp(map + 8 * page, "new", 3) == 0);
  CHECK_EQ(vfs->unlink(vfs, in_dir("a")), 0);
  put(vfs, file, 0, "BEGIN");
  CHECK_EQ(vfs->close(vfs, file), 0);
  CHECK(memcmp(map, "BEGIN", 5) == 0);
  vfs->unmap(vfs, map, most);
  CHECK(memcmp(small, "BEGIN", 5) == 0);
  vfs->unmap(vfs, small, page);
}
TEST(a_mapping_sees_growth_and_outlives_close_and_unlink) { on_each_vfs(mapping_grows); }

static void locking(os_vfs *vfs) {
  os_file *one = must_open(vfs, in_dir("LOCK"), OS_WRITE | OS_CREATE),
          *two = must_open(vfs, in_dir("LOCK"), OS_WRITE);
  CHECK_EQ(vfs->lock(vfs, one), 0);
  CHECK_EQ(vfs->lock(vfs, one), 0);
  CHECK_EQ(vfs->lock(vfs, two), EWOULDBLOCK);
  os_file *three = must_open(vfs, in_dir("LOCK"), OS_WRITE);
  CHECK_EQ(vfs->close(vfs, three), 0); /* must not drop the lock of `one`, as a plain fcntl lock would be */
  CHECK_EQ(vfs->lock(vfs, two), EWOULDBLOCK);
  CHECK_EQ(vfs->close(vfs, one), 0);
  CHECK_EQ(vfs->lock(vfs, two), 0);
  CHECK_EQ(vfs->close(vfs, two), 0);
}
TEST(a_lock_belongs_to_one_open_file) { on_each_vfs(locking); }

typedef struct seen {
  char names[256];
  int count, stop_after;
  os_vfs *unlink_on;
} seen;

static int see(void *ctx, const char *name) {
  seen *s = ctx;
  strcat(strcat(s->names, name), " ");
  if (s->unlink_on) CHECK_EQ(s->unlink_on->unlink(s->unlink_on, in_dir(name)), 0);
  return ++s->count == s->stop_after ? -7 : 0;
}

static void naming(os_vfs *vfs) {
  os_stat st, top;
  CHECK_EQ(vfs->mkdir(vfs, dir), EEXIST);
  CHECK_EQ(vfs->mkdir(vfs, in_dir("d/e")), ENOENT);
  CHECK_EQ(vfs->mkdir(vfs, in_dir("d")), 0);
  CHECK_EQ(vfs->stat(vfs, in_dir("d"), &st), 0);
  CHECK_EQ(vfs->stat(vfs, dir, &top), 0);
  CHECK(st.is_dir && st.dev == top.dev && st.ino != top.ino);
  CHECK_EQ(vfs->stat(vfs, in_dir("f"), &st), ENOENT);

  os_file *file = must_open(vfs, in_dir("d/f"), OS_WRITE | OS_CREATE);
  put(vfs, file, 0, "one");
  os_file *target = must_open(vfs, in_dir("d/g"), OS_WRITE | OS_CREATE);
  put(vfs, target, 0, "two");
  os_stat before, after;
  CHECK_EQ(vfs->fstat(vfs, file, &before), 0);
  CHECK_EQ(vfs->rename(vfs, in_dir("d/none"), in_dir("d/g")), ENOENT);
  CHECK_EQ(vfs->mkdir(vfs, in_dir("empty")), 0);
  CHECK_EQ(vfs->rename(vfs, in_dir("d/f"), in_dir("empty")), EISDIR);
  CHECK_EQ(vfs->rename(vfs, in_dir("empty"), in_dir("d/f")), ENOTDIR);
  CHECK_EQ(vfs->rename(vfs, in_dir("empty"), in_dir("d")), ENOTEMPTY);
  CHECK_EQ(vfs->rename(vfs, in_dir("d"), in_dir("d/sub")), EINVAL);
  CHECK_EQ(vfs->rename(vfs, in_dir("d/f"), in_dir("d/g")), 0);
  CHECK_EQ(vfs->stat(vfs, in_dir("d/g"), &after), 0);
  CHECK(after.ino == before.ino && after.size == 3);
  CHECK_EQ(vfs->fstat(vfs, target, &after), 0);
  CHECK_EQ(after.nlink, 0);
  CHECK(holds(vfs, target, "two"));
  CHECK_EQ(vfs->close(vfs, target), 0);
  CHECK(holds(vfs, file, "one"));
  CHECK_EQ(vfs->rename(vfs, in_dir("d/g"), in_dir("h")), 0);
  CHECK_EQ(vfs->rename(vfs, in_dir("h"), in_dir("h")), 0);
  CHECK_EQ(vfs->stat(vfs, in_dir("d/g"), &st), ENOENT);
  CHECK_EQ(vfs->dirsync(vfs, dir), 0);
  CHECK_EQ(vfs->dirsync(vfs, in_dir("none")), ENOENT);
  CHECK_EQ(vfs->dirsync(vfs, in_dir("h")), ENOTDIR);
  CHECK_EQ(vfs->unlink(vfs, in_dir("h")), 0);
  CHECK_EQ(vfs->unlink(vfs, in_dir("h")), ENOENT);
  CHECK(vfs->unlink(vfs, in_dir("d")) != 0);
  CHECK(holds(vfs, file, "one"));
  CHECK_EQ(vfs->close(vfs, file), 0);
}
TEST(names_come_go_and_move) { on_each_vfs(naming); }

static void listing(os_vfs *vfs) {
  CHECK_EQ(vfs->mkdir(vfs, in_dir("d")), 0);
  for (int i = 0; i < 3; i++) {
    char name[8] = {'d', '/', (char)('x' + i), 0};
    CHECK_EQ(vfs->close(vfs, must_open(vfs, in_dir(name), OS_WRITE | OS_CREATE)), 0);
  }
  seen all = {0}, some = {.stop_after = 2}, none = {0};
  char sub[80];
  snprintf(sub, sizeof sub, "%s/d", dir);
  CHECK_EQ(vfs->list(vfs, sub, see, &all), 0);
  CHECK(all.count == 3 && strstr(all.names, "x ") && strstr(all.names, "y ") && strstr(all.names, "z "));
  CHECK_EQ(vfs->list(vfs, sub, see, &some), -7);
  CHECK_EQ(some.count, 2);
  CHECK_EQ(vfs->list(vfs, in_dir("none"), see, &none), ENOENT);
  CHECK_EQ(vfs->list(vfs, in_dir("d/x"), see, &none), ENOTDIR);
  CHECK_EQ(none.count, 0);
  char kept[64];
  strcpy(kept, dir);
  strcpy(dir, sub);
  all = (seen){.unlink_on = vfs};
  CHECK_EQ(vfs->list(vfs, sub, see, &all), 0);
  CHECK_EQ(all.count, 3);
  CHECK_EQ(vfs->list(vfs, sub, see, &none), 0);
  CHECK_EQ(none.count, 0);
  strcpy(dir, kept);
}
TEST(list_shows_every_name_and_lets_the_visitor_unlink) { on_each_vfs(listing); }

static int refuse_all(void *ctx, size_t size) {
  (void)ctx, (void)size;
  return 1;
}

static void without_memory(os_vfs *vfs) {
  os_file *file = NULL;
  os_stat st;
  toon_alloc_set_refuse(refuse_all, NULL);
  CHECK_EQ(vfs->open(vfs, in_dir("a"), OS_WRITE | OS_CREATE, &file), ENOMEM);
  toon_alloc_set_refuse(NULL, NULL);
  CHECK(file == NULL);
  CHECK_EQ(vfs->stat(vfs, in_dir("a"), &st), ENOENT);
}
TEST(open_without_memory_creates_nothing) { on_each_vfs(without_memory); }

static void clocks(os_vfs *vfs) {
  uint64_t before = vfs->monotonic_ns(vfs);
  CHECK(before > 0);
  CHECK(vfs->monotonic_ns(vfs) >= before);
  CHECK(vfs->wall_ms(vfs) >= 1700000000000);
}
TEST(clocks_run) { on_each_vfs(clocks); }

/* ---- the real one ---- */

TEST(another_process_meets_the_lock_and_gets_it_after_the_holder_died) {
  os_vfs *vfs = os_posix();
  char path[] = "/tmp/toon-os-lock-XXXXXX";
  int fd = mkstemp(path), status = 0, ready[2];
  close(fd);
  REQUIRE(pipe(ready) == 0);
  pid_t child = fork();
  if (child == 0) {
    os_file *file = NULL;
    char ok = vfs->open(vfs, path, OS_WRITE, &file) == 0 && vfs->lock(vfs, file) == 0;
    _exit(write(ready[1], &ok, 1) == 1 ? pause() : 1);
  }
  char ok = 0;
  CHECK_EQ(read(ready[0], &ok, 1), 1);
  CHECK_EQ(ok, 1);
  os_file *file = must_open(vfs, path, OS_WRITE);
  CHECK_EQ(vfs->lock(vfs, file), EWOULDBLOCK);
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  CHECK_EQ(vfs->lock(vfs, file), 0);
  CHECK_EQ(vfs->close(vfs, file), 0);
  close(ready[0]);
  close(ready[1]);
  unlink(path);
}

TEST(random_bytes_differ) {
  uint8_t a[1000] = {0}, b[1000] = {0};
  CHECK_EQ(os_random(a, sizeof a), 0);
  CHECK_EQ(os_random(b, sizeof b), 0);
  CHECK(memcmp(a, b, sizeof a) != 0);
  int zeros = 0;
  for (size_t i = 0; i < sizeof a; i++) zeros += a[i] == 0;
  CHECK(zeros < 30);
  CHECK_EQ(os_random(NULL, 0), 0);
}

/* ---- threads ---- */

typedef struct mailbox {
  os_mutex mutex;
  os_cond cond;
  int sent, taken;
} mailbox;

static void *sender(void *arg) {
  mailbox *box = arg;
  for (int i = 0; i < 1000; i++) {
    os_mutex_lock(&box->mutex);
    while (box->sent != box->taken) os_cond_wait(&box->cond, &box->mutex);
    box->sent++;
    os_cond_broadcast(&box->cond);
    os_mutex_unlock(&box->mutex);
  }
  return NULL;
}

TEST(threads_hand_over_through_a_condition) {
  mailbox box = {.sent = 0};
  os_mutex_init(&box.mutex);
  os_cond_init(&box.cond);
  os_thread thread;
  REQUIRE(os_thread_start(&thread, "sender", sender, &box) == 0);
  os_mutex_lock(&box.mutex);
  while (box.taken < 1000) {
    while (box.sent == box.taken) CHECK(os_cond_wait_ms(&box.cond, &box.mutex, UINT64_MAX));
    box.taken++;
    os_cond_signal(&box.cond);
  }
  os_mutex_unlock(&box.mutex);
  os_thread_join(thread);
  CHECK_EQ(box.sent, 1000);
  os_cond_destroy(&box.cond);
  os_mutex_destroy(&box.mutex);
}

TEST(a_timed_wait_ends_when_the_time_ran_out) {
  os_vfs *vfs = os_posix();
  os_mutex mutex;
  os_cond cond;
  os_mutex_init(&mutex);
  os_cond_init(&cond);
  os_mutex_lock(&mutex);
  uint64_t before = vfs->monotonic_ns(vfs);
  while (os_cond_wait_ms(&cond, &mutex, 30)) {
  }
  uint64_t waited = vfs->monotonic_ns(vfs) - before;
  CHECK(waited >= 29000000 && waited < 5000000000u);
  CHECK(!os_cond_wait_ms(&cond, &mutex, 0));
  os_mutex_unlock(&mutex);
  before = vfs->monotonic_ns(vfs);
  os_sleep_ms(20);
  CHECK(vfs->monotonic_ns(vfs) - before >= 19000000);
  os_cond_destroy(&cond);
  os_mutex_destroy(&mutex);
}

static void *look_at_self(void *arg) {
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, NULL, &blocked);
  char *name = arg;
  if (sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGTERM) && !sigismember(&blocked, SIGSEGV))
    pthread_getname_np(pthread_self(), name, 32);
  return NULL;
}

TEST(a_thread_has_its_name_and_takes_no_signals) {
  char name[32] = "";
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  os_thread thread;
  REQUIRE(os_thread_start(&thread, "toon-background-long-name", look_at_self, name) == 0);
  os_thread_join(thread);
  CHECK(strcmp(name, "toon-background") == 0);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  CHECK_EQ(sigismember(&after, SIGINT), sigismember(&before, SIGINT));
  toon_alloc_set_refuse(refuse_all, NULL);
  CHECK_EQ(os_thread_start(&thread, "x", look_at_self, name), ENOMEM);
  toon_alloc_set_refuse(NULL, NULL);
}

typedef struct crowd {
  os_vfs *vfs;
  os_file *file;
  const uint8_t *map;
  int number;
  _Atomic uint32_t *published;
} crowd;

static void *one_of_crowd(void *arg) {
  crowd *c = arg;
  char path[32];
  for (uint32_t i = 0; i < 200; i++) {
    uint64_t at = (uint64_t)c->number * 4096 + i * 16;
    if (c->vfs->pwrite(c->vfs, c->file, "0123456789abcdef", 16, at)) abort();
    atomic_store_explicit(c->published, i + 1, memory_order_release);
    char back[16];
    size_t got;
    if (c->vfs->pread(c->vfs, c->file, back, 16, at, &got) || got != 16 ||
        memcmp(back, "0123456789abcdef", 16))
      abort();
    for (int other = -c->number; other < 4 - c->number; other++) {
      uint32_t count = atomic_load_explicit(&c->published[other], memory_order_acquire);
      if (count && c->map[(c->number + other) * 4096 + (count - 1) * 16] != '0') abort();
    }
    snprintf(path, sizeof path, "/t%d-%u", c->number, i % 5);
    c->vfs->close(c->vfs, must_open(c->vfs, path, OS_WRITE | OS_CREATE));
    c->vfs->datasync(c->vfs, c->file);
    if (i % 3 == 0) c->vfs->unlink(c->vfs, path);
  }
  return NULL;
}

TEST(a_memfs_may_be_used_by_many_threads) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  os_file *file = must_open(vfs, "/shared", OS_WRITE | OS_CREATE);
  const uint8_t *map;
  REQUIRE(vfs->map(vfs, file, 4 * 4096, &map) == 0);
  CHECK_EQ(vfs->truncate(vfs, file, 100), 0);
  crowd members[4];
  _Atomic uint32_t published[4] = {0};
  os_thread threads[4];
  for (int i = 0; i < 4; i++) {
    members[i] = (crowd){vfs, file, map, i, &published[i]};
    REQUIRE(os_thread_start(&threads[i], "crowd", one_of_crowd, &members[i]) == 0);
  }
  for (int i = 0; i < 20; i++)
    os_memfs_free(os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_RANDOM, (uint64_t)i));
  for (int i = 0; i < 4; i++) os_thread_join(threads[i]);
  vfs->unmap(vfs, map, 4 * 4096);
  CHECK_EQ(vfs->close(vfs, file), 0);
  os_memfs_free(fs);
}

/* ---- faults ---- */

typedef struct plan {
  const char *call; /* NULL: every call */
  int error, asked;
  char path[64];
} plan;

static int follow_plan(void *ctx, const char *call, const char *path) {
  plan *p = ctx;
  if (p->call && strcmp(p->call, call) != 0) return 0;
  p->asked++;
  snprintf(p->path, sizeof p->path, "%s", path);
  return p->error;
}

static int count_name(void *ctx, const char *name) {
  (void)name;
  ++*(int *)ctx;
  return 0;
}

/* Every call fails with the planned error and does nothing. The two ways to inject faults behave alike. */
static void every_call_fails(os_vfs *vfs, plan *p) {
  os_file *file = must_open(vfs, "/f", OS_WRITE | OS_CREATE), *other = NULL;
  const uint8_t *map = NULL;
  size_t got = 77;
  int count = 0;
  os_stat st = {.size = 77};
  put(vfs, file, 0, "text");
  p->call = NULL;
  p->error = EIO;
  p->asked = 0;
  CHECK_EQ(vfs->open(vfs, "/g", OS_WRITE | OS_CREATE, &other), EIO);
  CHECK(strcmp(p->path, "/g") == 0);
  CHECK_EQ(vfs->pread(vfs, file, &st, 4, 0, &got), EIO);
  CHECK(strcmp(p->path, "/f") == 0);
  CHECK_EQ(vfs->pwrite(vfs, file, "TEXT", 4, 0), EIO);
  CHECK_EQ(vfs->datasync(vfs, file), EIO);
  CHECK_EQ(vfs->sync(vfs, file), EIO);
  CHECK_EQ(vfs->truncate(vfs, file, 1), EIO);
  CHECK_EQ(vfs->fstat(vfs, file, &st), EIO);
  CHECK_EQ(vfs->map(vfs, file, 100, &map), EIO);
  CHECK_EQ(vfs->lock(vfs, file), EIO);
  CHECK_EQ(vfs->stat(vfs, "/f", &st), EIO);
  CHECK_EQ(vfs->mkdir(vfs, "/d"), EIO);
  CHECK_EQ(vfs->unlink(vfs, "/f"), EIO);
  CHECK_EQ(vfs->rename(vfs, "/f", "/g"), EIO);
  CHECK_EQ(vfs->dirsync(vfs, "/"), EIO);
  CHECK_EQ(vfs->list(vfs, "/", count_name, &count), EIO);
  CHECK_EQ(p->asked, 15);
  p->call = "datasync";
  p->error = OS_FAULT_SHORT;
  CHECK_EQ(vfs->datasync(vfs, file), ENOSPC);
  p->error = 0;
  CHECK(holds(vfs, file, "text"));
  CHECK_EQ(vfs->stat(vfs, "/g", &st), ENOENT);
  CHECK(other == NULL && map == NULL && got == 77 && count == 0);

  p->call = "pwrite";
  p->error = OS_FAULT_SHORT;
  CHECK_EQ(vfs->pwrite(vfs, file, "12345678", 8, 2), ENOSPC);
  CHECK(holds(vfs, file, "te1234"));
  p->call = "close";
  p->error = EIO;
  CHECK_EQ(vfs->close(vfs, file), EIO);
  p->error = 0;
}

TEST(a_fault_makes_any_call_fail_and_do_nothing) {
  size_t live = toon_alloc_live();
  plan p = {.call = "none"};
  os_memfs *fs = os_memfs_new();
  os_memfs_set_fault(fs, follow_plan, &p);
  every_call_fails(os_memfs_vfs(fs), &p);
  CHECK_EQ(os_memfs_ops(fs), 3); /* create and the two writes that came through */
  os_memfs_free(fs);

  fs = os_memfs_new();
  p.call = "none";
  os_vfs *faulty = os_faulty_wrap(os_memfs_vfs(fs), follow_plan, &p);
  every_call_fails(faulty, &p);
  CHECK_EQ(os_memfs_ops(fs), 3);
  os_faulty_free(faulty);
  os_memfs_free(fs);
  CHECK_EQ(toon_alloc_live(), live);
}

/* ---- power cuts ---- */

static bool file_is(const os_memfs *fs, const char *path, const char *text) {
  size_t len;
  const uint8_t *bytes = os_memfs_content(fs, path, &len);
  if (!text) return bytes == NULL;
  return bytes && len == strlen(text) && memcmp(bytes, text, len) == 0;
}

TEST(memfs_tells_its_journal_and_moves_its_clock_by_hand) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  CHECK_EQ(vfs->mkdir(vfs, "/d"), 0);
  os_file *file = must_open(vfs, "/d/a", OS_WRITE | OS_CREATE);
  put(vfs, file, 0, "x");
  CHECK_EQ(vfs->truncate(vfs, file, 9), 0);
  CHECK_EQ(vfs->datasync(vfs, file), 0);
  CHECK_EQ(vfs->sync(vfs, file), 0);
  CHECK_EQ(vfs->rename(vfs, "/d/a", "/d/b"), 0);
  CHECK_EQ(vfs->unlink(vfs, "d//b"), 0);
  CHECK_EQ(vfs->dirsync(vfs, "/d/"), 0);
  static const char *const kinds[] = {"mkdir", "create", "write",  "truncate", "datasync",
                                      "sync",  "rename", "unlink", "dirsync"};
  static const char *const paths[] = {"/d", "/d/a", "/d/a", "/d/a", "/d/a", "/d/a", "/d/a", "d//b", "/d/"};
  CHECK_EQ(os_memfs_ops(fs), 9);
  for (size_t i = 0; i < 9; i++) {
    const char *path = NULL, *kind = os_memfs_op(fs, i, &path);
    CHECK(kind && strcmp(kind, kinds[i]) == 0);
    CHECK(path && strcmp(path, paths[i]) == 0);
  }
  CHECK(os_memfs_op(fs, 9, NULL) == NULL);
  CHECK_EQ(vfs->close(vfs, file), 0);
  CHECK_EQ(vfs->wall_ms(vfs), 1700000000000);
  os_memfs_advance_ms(fs, -5, 7);
  CHECK_EQ(vfs->wall_ms(vfs), 1699999999995);
  CHECK_EQ(vfs->monotonic_ns(vfs), 1007000000);
  os_memfs_free(fs);
}

/* Two files, each step with its journal position; then cuts everywhere. */
TEST(a_power_cut_keeps_what_was_synced_and_loses_the_rest) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  os_file *a = must_open(vfs, "/a", OS_WRITE | OS_CREATE);
  put(vfs, a, 0, "one");
  CHECK_EQ(vfs->datasync(vfs, a), 0);
  size_t synced_without_name = os_memfs_ops(fs);
  CHECK_EQ(vfs->dirsync(vfs, "/"), 0);
  size_t named = os_memfs_ops(fs);
  put(vfs, a, 3, "two");
  CHECK_EQ(vfs->rename(vfs, "/a", "/b"), 0);
  size_t unsynced = os_memfs_ops(fs);
  CHECK_EQ(vfs->sync(vfs, a), 0);
  CHECK_EQ(vfs->dirsync(vfs, "/"), 0);
  CHECK_EQ(vfs->truncate(vfs, a, 1), 0);
  CHECK_EQ(vfs->unlink(vfs, "/b"), 0);
  size_t end = os_memfs_ops(fs);

  os_memfs *cut = os_memfs_crash(fs, synced_without_name, OS_CRASH_LOSE_ALL, 0);
  CHECK(file_is(cut, "/a", NULL));
  os_memfs_free(cut);
  cut = os_memfs_crash(fs, synced_without_name, OS_CRASH_KEEP_ALL, 0);
  CHECK(file_is(cut, "/a", "one"));
  os_memfs_free(cut);
  cut = os_memfs_crash(fs, named, OS_CRASH_LOSE_ALL, 0);
  CHECK(file_is(cut, "/a", "one"));
  os_memfs_free(cut);
  cut = os_memfs_crash(fs, unsynced, OS_CRASH_LOSE_ALL, 0);
  CHECK(file_is(cut, "/a", "one") && file_is(cut, "/b", NULL));
  os_memfs_free(cut);
  cut = os_memfs_crash(fs, unsynced, OS_CRASH_KEEP_ALL, 0);
  CHECK(file_is(cut, "/a", NULL) && file_is(cut, "/b", "onetwo"));
  os_memfs_free(cut);
  cut = os_memfs_crash(fs, end, OS_CRASH_LOSE_ALL, 0);
  CHECK(file_is(cut, "/a", NULL) && file_is(cut, "/b", "onetwo"));
  os_memfs_free(cut);
  cut = os_memfs_crash(fs, end, OS_CRASH_KEEP_ALL, 0);
  CHECK(file_is(cut, "/a", NULL) && file_is(cut, "/b", NULL));
  os_memfs_free(cut);
  CHECK_EQ(vfs->close(vfs, a), 0);
  os_memfs_free(fs);
}

TEST(a_chance_power_cut_shows_every_outcome_and_no_other) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  char block[1024];
  os_file *a = must_open(vfs, "/a", OS_WRITE | OS_CREATE);
  memset(block, '0', sizeof block);
  CHECK_EQ(vfs->pwrite(vfs, a, block, 1024, 0), 0);
  CHECK_EQ(vfs->datasync(vfs, a), 0);
  CHECK_EQ(vfs->dirsync(vfs, "/"), 0);
  memset(block, '1', sizeof block);
  CHECK_EQ(vfs->pwrite(vfs, a, block, 1024, 0), 0);
  memset(block, '2', sizeof block);
  CHECK_EQ(vfs->pwrite(vfs, a, block, 1024, 512), 0); /* grows to 1536 */
  CHECK_EQ(vfs->rename(vfs, "/a", "/b"), 0);
  CHECK_EQ(vfs->close(vfs, must_open(vfs, "/c", OS_WRITE | OS_CREATE)), 0);
  CHECK_EQ(vfs->unlink(vfs, "/b"), 0);

  bool first[128] = {0}, second[128] = {0}, third[128] = {0}, sizes[4] = {0}, names[4] = {0};
  for (uint64_t seed = 0; seed < 3000; seed++) {
    os_memfs *cut = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_RANDOM, seed);
    size_t len, ignored;
    const uint8_t *in_a = os_memfs_content(cut, "/a", &len),
                  *in_b = in_a ? NULL : os_memfs_content(cut, "/b", &len);
    bool c = os_memfs_content(cut, "/c", &ignored) != NULL;
    const uint8_t *bytes = in_a ? in_a : in_b;
    CHECK(!in_a || !c); /* /c came after the rename */
    names[in_a ? 0 : in_b && !c ? 1 : in_b ? 2 : 3] = true;
    if (bytes) {
      CHECK(len == 1024 || len == 1536);
      if (len % 512 == 0 && len <= 1536) sizes[len / 512] = true;
      for (size_t i = 0; i < len; i += 512)
        for (size_t k = 1; k < 512; k++) CHECK(bytes[i + k] == bytes[i]);
      first[bytes[0] & 127] = second[bytes[512] & 127] = true;
      if (len > 1024) third[bytes[1024] & 127] = true;
    }
    os_memfs_free(cut);
  }
  CHECK(names[0] && names[1] && names[2] && names[3]);
  CHECK(sizes[2] && sizes[3]);
  CHECK(first['0'] && first['1'] && !first['2'] && !first[0]);
  CHECK(second['0'] && second['1'] && second['2'] && !second[0]);
  CHECK(third[0] && third['2'] && !third['0'] && !third['1']);
  CHECK_EQ(vfs->close(vfs, a), 0);
  os_memfs_free(fs);
}

/* A history of one file of a few blocks: every content it had, with the journal position where it began. */
typedef struct moment {
  size_t ops, size;
  bool synced;
  uint8_t bytes[8192];
} moment;

/* Every block of a cut is one the file had since the last sync, every size one it had or grew through. */
static bool possible(const moment *m, size_t count, size_t ops, const uint8_t *bytes, size_t len) {
  size_t last = 0, from = 0;
  for (size_t i = 0; i < count && m[i].ops <= ops; i++) {
    last = i;
    if (m[i].synced) from = i;
  }
  bool size_ok = false;
  for (size_t i = from; i <= last && !size_ok; i++) {
    size_ok = m[i].size == len || (i > from && m[i - 1].size < len && len < m[i].size && len % 512 == 0);
  }
  for (size_t at = 0; at < len; at += 512) {
    size_t n = len - at < 512 ? len - at : 512;
    bool found = false;
    for (size_t i = from; i <= last && !found; i++) found = memcmp(m[i].bytes + at, bytes + at, n) == 0;
    if (!found) return false;
  }
  return size_ok;
}

TEST(power_cuts_of_random_histories_are_possible_and_cut_again) {
  enum { STEPS = 40 };
  static moment m[STEPS + 2];
  for (int round = 0; round < 150; round++) {
    os_memfs *fs = os_memfs_new();
    os_vfs *vfs = os_memfs_vfs(fs);
    os_file *file = must_open(vfs, "/f", OS_WRITE | OS_CREATE);
    CHECK_EQ(vfs->dirsync(vfs, "/"), 0);
    memset(&m[0], 0, sizeof m[0]);
    m[0].ops = 2;
    size_t count = 1;
    for (int step = 0; step < STEPS; step++) {
      m[count] = m[count - 1];
      m[count].synced = false;
      uint32_t what = rnd(10);
      if (what < 7) {
        size_t at = rnd(6000), n = 1 + rnd(rnd(2) ? 2000 : 30);
        uint8_t bytes[2001];
        for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(1 + rnd(255));
        CHECK_EQ(vfs->pwrite(vfs, file, bytes, n, at), 0);
        memcpy(m[count].bytes + at, bytes, n);
        if (at + n > m[count].size) m[count].size = at + n;
      } else if (what < 8) {
        size_t size = rnd(8000);
        CHECK_EQ(vfs->truncate(vfs, file, size), 0);
        if (size < m[count].size) memset(m[count].bytes + size, 0, m[count].size - size);
        m[count].size = size;
      } else {
        CHECK_EQ(what == 8 ? vfs->sync(vfs, file) : vfs->datasync(vfs, file), 0);
        m[count].synced = true;
      }
      m[count++].ops = os_memfs_ops(fs);
    }
    for (size_t i = 0; i < count; i++) {
      size_t len;
      os_memfs *cut = os_memfs_crash(fs, m[i].ops, OS_CRASH_KEEP_ALL, 0);
      const uint8_t *bytes = os_memfs_content(cut, "/f", &len);
      CHECK(bytes && len == m[i].size && memcmp(bytes, m[i].bytes, len) == 0);
      os_memfs_free(cut);
      size_t synced = i;
      while (synced && !m[synced].synced) synced--;
      cut = os_memfs_crash(fs, m[i].ops, OS_CRASH_LOSE_ALL, 0);
      bytes = os_memfs_content(cut, "/f", &len);
      CHECK(bytes && len == m[synced].size && memcmp(bytes, m[synced].bytes, len) == 0);
      os_memfs_free(cut);
      for (uint64_t seed = 0; seed < 4; seed++) {
        cut = os_memfs_crash(fs, m[i].ops, OS_CRASH_RANDOM, seed * 1000 + (uint64_t)round);
        bytes = os_memfs_content(cut, "/f", &len);
        CHECK(bytes && possible(m, count, m[i].ops, bytes, len));
        CHECK_EQ(os_memfs_ops(cut), 0);
        /* What is left counts as synced: a second cut changes nothing, whatever is done in between. */
        os_vfs *after = os_memfs_vfs(cut);
        os_file *again = must_open(after, "/f", OS_WRITE);
        put(after, again, len / 2, "overwritten");
        os_memfs *second = os_memfs_crash(cut, os_memfs_ops(cut), OS_CRASH_LOSE_ALL, 0);
        os_memfs *third = os_memfs_crash(cut, 0, OS_CRASH_RANDOM, seed);
        os_memfs *same = os_memfs_crash(fs, m[i].ops, OS_CRASH_RANDOM, seed * 1000 + (uint64_t)round);
        size_t len2, len3, len4;
        const uint8_t *bytes2 = os_memfs_content(second, "/f", &len2),
                      *bytes3 = os_memfs_content(third, "/f", &len3),
                      *bytes4 = os_memfs_content(same, "/f", &len4);
        CHECK(bytes2 && len2 == len && bytes3 && len3 == len && memcmp(bytes2, bytes3, len) == 0);
        CHECK(bytes4 && len4 == len && memcmp(bytes2, bytes4, len) == 0);
        after->close(after, again);
        os_memfs_free(second);
        os_memfs_free(third);
        os_memfs_free(same);
        os_memfs_free(cut);
      }
    }
    CHECK_EQ(vfs->close(vfs, file), 0);
    os_memfs_free(fs);
  }
}

/* Directories below directories, a rename between two of them, and a directory whose making was not synced.
 */
TEST(power_cuts_treat_each_directory_by_itself) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  CHECK_EQ(vfs->mkdir(vfs, "/a"), 0);
  CHECK_EQ(vfs->mkdir(vfs, "/b"), 0);
  CHECK_EQ(vfs->dirsync(vfs, "/"), 0);
  os_file *file = must_open(vfs, "/a/f", OS_WRITE | OS_CREATE);
  put(vfs, file, 0, "text");
  CHECK_EQ(vfs->sync(vfs, file), 0);
  CHECK_EQ(vfs->dirsync(vfs, "/a"), 0);
  CHECK_EQ(vfs->rename(vfs, "/a/f", "/b/g"), 0);
  CHECK_EQ(vfs->mkdir(vfs, "/lost"), 0);
  os_file *inside = must_open(vfs, "/lost/h", OS_WRITE | OS_CREATE);
  CHECK_EQ(vfs->sync(vfs, inside), 0);
  CHECK_EQ(vfs->dirsync(vfs, "/lost"), 0);
  os_stat st;
  os_memfs *cut = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_LOSE_ALL, 0);
  os_vfs *after = os_memfs_vfs(cut);
  CHECK(file_is(cut, "/a/f", "text") && file_is(cut, "/b/g", NULL));
  CHECK_EQ(after->stat(after, "/b", &st), 0);
  CHECK_EQ(after->stat(after, "/lost", &st), ENOENT);
  os_memfs_free(cut);
  int both = 0, none = 0, moved = 0, kept = 0, found = 0;
  for (uint64_t seed = 0; seed < 200; seed++) {
    cut = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_RANDOM, seed);
    after = os_memfs_vfs(cut);
    bool f = file_is(cut, "/a/f", "text"), g = file_is(cut, "/b/g", "text");
    both += f && g;
    none += !f && !g;
    moved += !f && g;
    kept += f && !g;
    found += file_is(cut, "/lost/h", "");
    if (f && g) {
      CHECK_EQ(after->stat(after, "/a/f", &st), 0);
      CHECK_EQ(st.nlink, 2);
    }
    os_memfs_free(cut);
  }
  CHECK(both && none && moved && kept && found);
  CHECK_EQ(vfs->close(vfs, file), 0);
  CHECK_EQ(vfs->close(vfs, inside), 0);
  os_memfs_free(fs);
}

TEST(two_file_systems_are_two_devices_and_free_takes_what_is_open) {
  os_memfs *one = os_memfs_new(), *two = os_memfs_crash(one, 0, OS_CRASH_KEEP_ALL, 0);
  os_stat a, b;
  size_t live = toon_alloc_live();
  CHECK_EQ(os_memfs_vfs(one)->stat(os_memfs_vfs(one), "/", &a), 0);
  CHECK_EQ(os_memfs_vfs(two)->stat(os_memfs_vfs(two), "/", &b), 0);
  CHECK(a.dev != b.dev && a.is_dir && b.is_dir);
  const uint8_t *map;
  os_file *file = must_open(os_memfs_vfs(one), "/x", OS_WRITE | OS_CREATE);
  CHECK_EQ(os_memfs_vfs(one)->map(os_memfs_vfs(one), file, 5000, &map), 0);
  os_memfs_free(one);
  os_memfs_free(two);
  os_memfs_free(NULL);
  CHECK_EQ(toon_alloc_live(), live);
}

CHECK_MAIN
