/* System calls that fail under the real file system layer: the linker leads the engine's open, pread, pwrite and so on
 * through here (see the Makefile). One workload of everything that touches files; the n-th call of a kind fails once, or
 * from then on, for every n: what was acknowledged stays, what failed has not happened, the store goes on or says that it cannot,
 * and opens again when the fault is gone. Then a disk that is really full, and every allocation refused from the n-th on.
 *   FAULTS=N  every N-th n (default 19; 1: all) */
#include "check.h"
#include "api.h"
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEYS = 16, ROWS = 16, STEPS = 44, SHORT = -1, EINTR_TIMES = 9 };

static void key_name(int i, char out[16]) { snprintf(out, 16, i % 3 ? "b %02d" : "a%02d", i); }
static const char *value_text(uint32_t v) {
  static _Thread_local char text[2200];
  size_t n = (size_t)snprintf(text, sizeof text, "%u ", v), more = v % 19 == 0 ? 2000 : v * 37 % 300;
  memset(text + n, 'a' + v % 26, more);
  text[n + more] = 0;
  return text;
}

#include "model.h"

/* ---------------------------------------------------------------- the calls */

enum { OPEN, PREAD, PWRITE, FDATASYNC, FSYNC, FTRUNCATE, MMAP, RENAME, UNLINK, CLOSE, FSTAT, CALLS };
static const char *const names[] = {"open", "pread", "pwrite", "fdatasync", "fsync", "ftruncate",
                                    "mmap", "rename", "unlink", "close", "fstat"};
static _Atomic int wanted = -1, skip, times, hits;
static int error_wanted;

/* The errno value this call shall fail with, 0 for none. */
static int asked(int call) {
  if (atomic_load(&wanted) != call) return 0;
  if (atomic_fetch_sub(&skip, 1) > 0 || atomic_fetch_sub(&times, 1) <= 0) return 0;
  atomic_fetch_add(&hits, 1);
  return error_wanted;
}
#define ASK(call)                      \
  do {                                 \
    int asked_ = asked(call);          \
    if (asked_ > 0) {                  \
      errno = asked_;                  \
      return -1;                       \
    }                                  \
  } while (0)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  va_list args;
  ASK(OPEN);
  va_start(args, flags);
  int mode = flags & O_CREAT ? va_arg(args, int) : 0;
  va_end(args);
  return __real_open(path, flags, mode);
}
ssize_t __real_pread(int fd, void *ptr, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *ptr, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *ptr, size_t len, off_t at) {
  int error = asked(PREAD);
  if (error > 0) return errno = error, -1;
  return __real_pread(fd, ptr, error == SHORT && len > 1 ? len / 2 : len, at);
}
ssize_t __real_pwrite(int fd, const void *ptr, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *ptr, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *ptr, size_t len, off_t at) {
  int error = asked(PWRITE);
  if (error > 0) return errno = error, -1;
  return __real_pwrite(fd, ptr, error == SHORT && len > 1 ? len / 2 : len, at);
}
#define WRAP_INT(call, name, ...)  \
  {                                \
    ASK(call);                     \
    return __real_##name(__VA_ARGS__); \
  }
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd) WRAP_INT(FDATASYNC, fdatasync, fd)
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) WRAP_INT(FSYNC, fsync, fd)
int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size) WRAP_INT(FTRUNCATE, ftruncate, fd, size)
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) WRAP_INT(RENAME, rename, from, to)
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path) WRAP_INT(UNLINK, unlink, path)
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st) WRAP_INT(FSTAT, fstat, fd, st)
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) { /* an error of close comes after the fact */
  int error = asked(CLOSE), result = __real_close(fd);
  if (error > 0) return errno = error, -1;
  return result;
}
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset) {
  int error = asked(MMAP);
  if (error > 0) return errno = error, MAP_FAILED;
  return __real_mmap(at, len, prot, flags, fd, offset);
}

/* ---------------------------------------------------------------- the workload */

static char base[64];
static bool make_base(void) {
  snprintf(base, sizeof base, "%s/toon-faults-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  return mkdtemp(base) != NULL;
}
static void remove_all(const char *path) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", path);
  CHECK_EQ(system(command), 0);
}

/* One step; *m becomes what it should be. *upkeep: no write of a user. */
static toon_status step(toon_db **db, const char *path, toon_options o, uint64_t *rng, uint32_t v, model *m, bool *upkeep) {
  uint64_t dice = lcg(rng) % 100;
  int i = (int)(lcg(rng) % KEYS);
  char name[16];
  toon_batch *b;
  *upkeep = dice >= 70;
  if (dice >= 95) {
    toon_status status = toon_close(*db, &err);
    *db = NULL;
    if (status != TOON_OK) return status;
    return open_at(NULL, path, o, db);
  }
  if (dice >= 85) return toon_compact(*db, NULL, NULL, &err);
  if (dice >= 76) return toon_checkpoint(*db, &err);
  if (dice >= 70) return toon_sync(*db, &err);
  TOON_TRY(toon_batch_new(*db, &b, &err));
  toon_status status = TOON_OK;
  key_name(i, name);
  if (dice < 30) {
    toon_put_options p = {.expires_at = dice < 4 ? 1 : 0};
    status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), &p, &err);
    m->user[i] = v;
    m->lapsed[i] = dice < 4;
  } else if (dice < 45) {
    status = toon_batch_begin(b, &err);
    for (int k = 0; k < 4 && status == TOON_OK; k++) {
      int j = (i + k * 5) % KEYS;
      key_name(j, name);
      status = k == 2 ? toon_batch_delete(b, K(name), &err)
                      : toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), NULL, &err);
      m->user[j] = k == 2 ? 0 : v;
      m->lapsed[j] = false;
    }
    if (status == TOON_OK) status = toon_batch_end(b, &err);
  } else if (dice < 58) {
    status = toon_batch_delete(b, K(name), &err);
    m->user[i] = 0;
    m->lapsed[i] = false;
  } else if (dice < 66 && m->next_row < ROWS) {
    status = toon_batch_row_put(b, TOON_INPUT_STRING, S(value_text(v)), NULL, &err);
    m->row[m->next_row++] = v;
  } else {
    toon_range range = {.prefix = S("a")};
    status = toon_batch_clear(b, &range, &err);
    for (int j = 0; j < KEYS; j += 3) m->user[j] = 0, m->lapsed[j] = false;
  }
  if (status == TOON_OK) return commit_one(*db, b, NULL);
  toon_batch_free(b);
  return status;
}

static int runs, met;
static void failed(const char *what, int at, const char *why) {
  check_failures_here++;
  fprintf(stderr, "%s: step %d: %s (%s %s)\n", what, at, why, err.message, err.path);
}
/* Is an error that the workload may meet: what the system said, in the engine's words. */
static bool fits(toon_status status) {
  return status == TOON_EIO || status == TOON_ENOSPC || status == TOON_ENOMEM;
}
static void heal(void) {
  atomic_store(&wanted, -1);
  allow_all_allocations();
}

/* The workload with the fault that has been set. Sweeping is left to another test: lapsed rows count until then. */
static void run(toon_durability durability, const char *what, bool invisible) {
  char path[96];
  toon_options o = tiny(durability);
  toon_db *db = NULL;
  uint64_t rng = 5;
  model now = {0}, maybe = {0};
  bool unknown = false, taken = false;
  size_t live = toon_alloc_live();
  snprintf(path, sizeof path, "%s/%d", base, runs++);
  toon_status status = open_at(NULL, path, o, &db);
  if (status != TOON_OK && (!fits(status) || invisible)) failed(what, -1, toon_status_name(status));
  for (int i = 0; i < STEPS && status == TOON_OK && !taken && check_failures_here < 12; i++) {
    model next = now;
    bool upkeep;
    toon_status s = step(&db, path, o, &rng, (uint32_t)i + 1, &next, &upkeep);
    if (s != TOON_OK && (!fits(s) || invisible)) failed(what, i, toon_status_name(s));
    if (!db) { /* a close that was not clean, or an open that failed */
      status = s;
      break;
    }
    if (s == TOON_OK) now = next;
    if (s == TOON_EIO && !upkeep && !unknown) maybe = next, unknown = true;
    taken = s != TOON_OK && next.next_row != now.next_row; /* whether the id is given out again depends: stop here */
    int before = atomic_exchange(&wanted, -1);
    long left = atomic_exchange(&allowed, 1l << 40); /* the background thread is at work: the hook itself stays */
    model seen;
    bool wrong = false;
    if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong || !same(&seen, &now)) failed(what, i, "wrong state");
    atomic_store(&wanted, before);
    atomic_store(&allowed, left);
  }
  if (db) {
    status = toon_close(db, &err);
    if (status != TOON_OK && (!fits(status) || invisible)) failed(what, STEPS, toon_status_name(status));
  }
  heal();
  if (toon_alloc_live() != live) failed(what, STEPS, "memory is lost");
  for (int round = 0; round < 2; round++) {
    if (open_at(NULL, path, o, &db) != TOON_OK) {
      failed(what, STEPS, "does not open again");
      break;
    }
    model seen;
    bool wrong = false;
    if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong || !(same(&seen, &now) || (unknown && same(&seen, &maybe))))
      failed(what, STEPS + round, "wrong state after it opened again");
    if (round == 0 && (put(db, "b 01", value_text(999)) != TOON_OK || toon_compact(db, NULL, NULL, &err) != TOON_OK))
      failed(what, STEPS, "does not go on");
    now.user[1] = maybe.user[1] = 999, now.lapsed[1] = maybe.lapsed[1] = false;
    if (toon_close(db, &err) != TOON_OK) failed(what, STEPS, "does not close");
  }
  remove_all(path);
}

static void fail_calls(toon_durability durability, int call, int error, int stride) {
  char what[100];
  for (int forever = 0; forever < 2; forever++)
    for (int n = (error + forever) % stride; n < 2000 && check_failures_here < 12; n += stride) {
      bool unseen = error == SHORT || error == EINTR;
      error_wanted = error;
      atomic_store(&skip, n);
      atomic_store(&times, !forever ? 1 : error == EINTR ? EINTR_TIMES : 1 << 30);
      atomic_store(&hits, 0);
      atomic_store(&wanted, call);
      snprintf(what, sizeof what, "durability %d: %s number %d fails %s with %s", durability, names[call], n,
               forever ? "for ever" : "once", error == SHORT ? "a short transfer" : strerror(error));
      run(durability, what, unseen);
      met += atomic_load(&hits) > 0;
      if (!atomic_load(&hits)) break;
    }
}
static void fail_with(int error, const int *calls, int count) {
  int stride = (int)setting("FAULTS", 19);
  REQUIRE(make_base());
  for (int i = 0; i < count; i++) {
    fail_calls(TOON_DURABLE_COMMIT, calls[i], error, stride);
    fail_calls(TOON_DURABLE_CLOSE, calls[i], error, stride);
  }
  remove_all(base);
  fprintf(stderr, "faults: %d runs so far, %d of them met their fault\n", runs, met);
}
#define FAIL_WITH(error, ...)                                          \
  do {                                                                 \
    static const int calls_[] = {__VA_ARGS__};                         \
    fail_with(error, calls_, (int)(sizeof calls_ / sizeof *calls_));   \
  } while (0)

TEST(any_system_call_may_fail) {
  FAIL_WITH(EIO, OPEN, PREAD, PWRITE, FDATASYNC, FSYNC, FTRUNCATE, RENAME, UNLINK, CLOSE, FSTAT);
}
TEST(a_disk_may_be_full_at_any_call) { FAIL_WITH(ENOSPC, OPEN, PWRITE, FDATASYNC, FSYNC, FTRUNCATE, RENAME); }
TEST(files_and_maps_may_be_used_up) {
  FAIL_WITH(EMFILE, OPEN);
  FAIL_WITH(ENOMEM, MMAP);
}
TEST(a_signal_may_break_off_any_call_and_nobody_notices) {
  FAIL_WITH(EINTR, OPEN, PREAD, PWRITE, FDATASYNC, FSYNC, FTRUNCATE, CLOSE, FSTAT);
}
TEST(a_short_transfer_is_gone_on_with) { FAIL_WITH(SHORT, PREAD, PWRITE); }

/* It was reported as a store that another process has. */
TEST(a_lock_file_that_cannot_be_looked_at_is_an_error_of_the_disk) {
  toon_db *db;
  REQUIRE(make_base());
  error_wanted = EIO;
  atomic_store(&skip, 0);
  atomic_store(&times, 1);
  atomic_store(&wanted, FSTAT);
  CHECK_EQ(open_at(NULL, base, tiny(TOON_DURABLE_CLOSE), &db), TOON_EIO);
  heal();
  CHECK(strstr(err.path, "/LOCK") != NULL);
  REQUIRE(open_at(NULL, base, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  remove_all(base);
}

TEST(any_allocation_may_be_the_last_that_succeeds) {
  int stride = (int)setting("FAULTS", 19) * 3;
  char what[80];
  REQUIRE(make_base());
  for (long n = 0; n < 20000 && check_failures_here < 12; n += stride) {
    atomic_store(&wanted, CALLS);
    allow_allocations(n);
    snprintf(what, sizeof what, "all allocations from number %ld on fail", n);
    int before = check_failures_here;
    run(n / stride % 2 ? TOON_DURABLE_CLOSE : TOON_DURABLE_COMMIT, what, false);
    if (check_failures_here == before && atomic_load(&allowed) > 0) break; /* never met */
  }
  remove_all(base);
}

/* ---------------------------------------------------------------- a disk that is full */

static void fill_disk(toon_durability durability, const char *dir) {
  char path[100], ballast[100], key[16];
  static char large[8001], zeros[65536];
  toon_options o = tiny(durability);
  toon_db *db;
  int written = 0, deleted;
  toon_status status = TOON_OK;
  snprintf(path, sizeof path, "%s/store", dir);
  snprintf(ballast, sizeof ballast, "%s/ballast", dir);
  o.segment_size = 256 << 10;
  o.checkpoint_bytes = 128 << 10;
  memset(large, 'x', 8000);
  FILE *f = fopen(ballast, "wb");
  for (int i = 0; f && i < 16; i++) fwrite(zeros, sizeof zeros, 1, f); /* 1 MiB of 4 */
  REQUIRE(f && fclose(f) == 0);
  REQUIRE(open_at(NULL, path, o, &db) == TOON_OK);
  for (int round = 0; round < 3; round++) { /* full: it refuses, and reads */
    status = TOON_OK; /* the background gives a little back now and then */
    for (; written < 2000 && status == TOON_OK; written += status == TOON_OK) {
      snprintf(key, sizeof key, "k%04d", written);
      status = put(db, key, large);
    }
    CHECK_EQ(status, TOON_ENOSPC);
    CHECK(written > 200);
    toon_status s = toon_compact(db, NULL, NULL, &err);
    CHECK(s == TOON_OK || s == TOON_ENOSPC);
    for (int i = 0; i < written; i++) {
      toon_row row;
      bool found = false;
      snprintf(key, sizeof key, "k%04d", i);
      CHECK_EQ(toon_get(db, NULL, K(key), &row, &found, &err), TOON_OK);
      CHECK(found);
      if (found) toon_row_release(db, &row);
    }
    if (round == 1) { /* and opens, if need be only for reading */
      s = toon_close(db, &err);
      CHECK(s == TOON_OK || s == TOON_ENOSPC);
      s = open_at(NULL, path, o, &db);
      if (s == TOON_ENOSPC) {
        fprintf(stderr, "full disk: opens for reading only: %s %s\n", err.message, err.path);
        o.read_only = true;
        REQUIRE(open_at(NULL, path, o, &db) == TOON_OK);
        CHECK_EQ(toon_close(db, &err), TOON_OK);
        o.read_only = false;
        break;
      }
      REQUIRE(s == TOON_OK);
    }
    if (round == 2) CHECK_EQ(toon_close(db, &err) == TOON_OK || err.status == TOON_ENOSPC, true);
  }
  CHECK_EQ(unlink(ballast), 0); /* space is back */
  REQUIRE(open_at(NULL, path, o, &db) == TOON_OK);
  CHECK_EQ(put(db, "more", large), TOON_OK);
  for (deleted = 0; deleted < written / 2; deleted++) {
    snprintf(key, sizeof key, "k%04d", deleted);
    CHECK_EQ(del(db, key, NULL), TOON_OK);
  }
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  for (int round = 0; round < 2; round++) {
    uint64_t n;
    CHECK_EQ(toon_size(db, 0, &n, &err), TOON_OK);
    CHECK_EQ(n, written - deleted + 1);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    if (round == 0) REQUIRE(open_at(NULL, path, o, &db) == TOON_OK);
  }
}
TEST(a_full_disk_refuses_writes_goes_on_reading_and_heals) {
  for (int i = 0; i < 3; i++) {
    REQUIRE(make_base());
    if (mount("tmpfs", base, "tmpfs", 0, "size=4m") != 0) {
      fprintf(stderr, "skipped: the test of a full disk mounts a tmpfs, which it may not here (%s)\n", strerror(errno));
      remove_all(base);
      return;
    }
    fill_disk((toon_durability)i, base);
    CHECK_EQ(umount(base), 0);
    remove_all(base);
  }
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
