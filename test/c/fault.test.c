/* Files that are cut short while they are mapped: an error, never the end of the process. On the real file system. */
#include "check.h"
#include "base/alloc.h"
#include "os/fault.h"
#include "toonstore.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static toon_error err;
static toon_db *db;
static char dir[64], path[128];

static toon_key K(const char *text) { return toon_user_key(text, strlen(text)); }
static const char *in_dir(const char *name) {
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}
static void make_dir(void) {
  snprintf(dir, sizeof dir, "/tmp/toonstore-fault-XXXXXX");
  CHECK(mkdtemp(dir) != NULL);
}
static int drop(void *ctx, const char *name) {
  (void)ctx;
  return unlink(in_dir(name));
}
static void remove_dir(void) {
  os_posix()->list(os_posix(), dir, drop, NULL);
  CHECK_EQ(rmdir(dir), 0);
}

/* A handler that was there before the first file was mapped. This test comes first. */
static sigjmp_buf back;
static volatile sig_atomic_t passed_on;
static void earlier(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)context;
  passed_on++;
  if (info->si_code > 0) siglongjmp(back, 1);
}
static const uint8_t *map_pages(int pages, int *fd, size_t page) {
  *fd = open(in_dir("file"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK_EQ(ftruncate(*fd, (off_t)(pages * page)), 0);
  const uint8_t *map = mmap(NULL, pages * page, PROT_READ, MAP_SHARED, *fd, 0);
  CHECK(map != MAP_FAILED);
  return map;
}

TEST(a_process_without_another_handler_dies_of_its_own_faults) { /* before this one has mapped anything */
  int fd, status;
  size_t page = os_page_size();
  make_dir();
  const uint8_t *theirs = map_pages(2, &fd, page);
  CHECK_EQ(ftruncate(fd, 0), 0);
  fflush(stdout);
  fflush(stderr);
  pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO); /* the sanitizers' report */
    if (os_fault_add((const uint8_t *)&status, sizeof status)) _exit(0);
    _exit(*(volatile const uint8_t *)theirs);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : WEXITSTATUS(status) != 0);
  munmap((void *)(uintptr_t)theirs, 2 * page);
  close(fd);
  remove_dir();
}

TEST(faults_elsewhere_go_to_the_handler_before_ours) {
  struct sigaction action = {.sa_sigaction = earlier, .sa_flags = SA_SIGINFO};
  size_t page = os_page_size();
  int fd, ours_fd;
  make_dir();
  CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
  const uint8_t *ours = map_pages(3, &ours_fd, page), *theirs = map_pages(3, &fd, page);
  CHECK_EQ(os_fault_add(ours, 2 * page), 0);
  CHECK_EQ(ftruncate(fd, 0), 0);
  uint32_t faults = os_map_faults;
  if (sigsetjmp(back, 1) == 0) {
    CHECK_EQ(*(volatile const uint8_t *)theirs, 1); /* never gets so far */
  }
  CHECK_EQ(passed_on, 1);
  CHECK_EQ(raise(SIGBUS), 0); /* not a fault at all */
  CHECK_EQ(passed_on, 2);
  CHECK_EQ(os_map_faults, faults);
  CHECK(!os_map_damaged(ours));
  os_fault_remove(ours);
  munmap((void *)(uintptr_t)ours, 3 * page);
  munmap((void *)(uintptr_t)theirs, 3 * page);
  close(fd);
  close(ours_fd);
  remove_dir();
}

TEST(what_was_cut_off_reads_as_zeros_and_is_known) {
  enum { PAGES = 60 };
  size_t page = os_page_size();
  os_vfs *vfs = os_posix();
  os_file *file, *other;
  const uint8_t *map, *sound;
  make_dir();
  char text[] = "some bytes";
  CHECK_EQ(vfs->open(vfs, in_dir("other"), OS_WRITE | OS_CREATE, &other), 0);
  CHECK_EQ(vfs->pwrite(vfs, other, text, sizeof text, 0), 0);
  CHECK_EQ(vfs->map(vfs, other, page, &sound), 0);
  CHECK_EQ(vfs->open(vfs, in_dir("file"), OS_WRITE | OS_CREATE, &file), 0);
  for (size_t i = 0; i < PAGES; i++) CHECK_EQ(vfs->pwrite(vfs, file, text, sizeof text, i * page), 0);
  CHECK_EQ(vfs->map(vfs, file, PAGES * page, &map), 0);
  CHECK_EQ(map[2 * page], 's');
  CHECK_EQ(vfs->truncate(vfs, file, page), 0);
  for (size_t i = PAGES - 1; i > 0; i--) CHECK_EQ(*(volatile const uint8_t *)(map + i * page), 0);
  CHECK(os_map_damaged(map));
  CHECK(!os_map_damaged(sound));
  CHECK_EQ(map[0], 's');
  vfs->unmap(vfs, map, PAGES * page);
  CHECK(!os_map_damaged(map));
  CHECK_EQ(vfs->map(vfs, other, page, &map), 0);
  CHECK(!os_map_damaged(map));
  vfs->unmap(vfs, map, page);
  vfs->unmap(vfs, sound, page);
  vfs->close(vfs, file);
  vfs->close(vfs, other);
  remove_dir();
}

static bool open_store(void) {
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  return toon_open(dir, &o, &db, &err) == TOON_OK;
}
static void put(int i) {
  char key[16], text[900];
  toon_batch *b;
  uint64_t value;
  snprintf(key, sizeof key, "key %04d", i);
  memset(text, 'a' + i % 26, sizeof text);
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  CHECK_EQ(toon_batch_put(b, K(key), TOON_INPUT_STRING, toon_slice_of(text, sizeof text), NULL, &err), TOON_OK);
  CHECK_EQ(toon_commit(db, b, &err), TOON_OK);
  CHECK_EQ(toon_batch_result(b, 0, &value, &err), TOON_OK);
  toon_batch_free(b);
}
/* 1: the right value, 0: TOON_ECORRUPT that names `file`, -1: anything else. */
static int get(int i, const char *file) {
  char key[16];
  toon_row row;
  bool found;
  snprintf(key, sizeof key, "key %04d", i);
  toon_status status = toon_get(db, NULL, K(key), &row, &found, &err);
  if (status == TOON_ECORRUPT) return strstr(err.path, file) ? 0 : -1;
  if (status != TOON_OK || !found) return -1;
  bool right = row.field.len == 903 && row.field.ptr[2] == 'a' + i % 26 && row.field.ptr[901] == 'a' + i % 26;
  toon_row_release(db, &row);
  return right ? 1 : -1;
}

TEST(a_log_that_is_cut_short_in_use_is_an_error_that_names_it) {
  enum { ROWS = 400 };
  make_dir();
  REQUIRE(open_store());
  for (int i = 0; i < ROWS; i++) put(i);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(truncate(in_dir("db.toon"), 100000), 0);
  int right = 0, failed = 0;
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < ROWS; i++) {
      int got = get(i, "db.toon");
      CHECK(got >= 0);
      if (got == 1) right++;
      if (got == 0) failed++;
    }
  CHECK(right >= 2 * 100 && failed >= 2 * 250);
  CHECK(strstr(err.message, "cut short") || right);
  toon_range all = {0};
  toon_cursor *cursor;
  toon_key key;
  toon_row row;
  bool end = false;
  toon_status status = TOON_OK;
  CHECK_EQ(toon_cursor_open(db, NULL, &all, &cursor, &err), TOON_OK);
  while (status == TOON_OK && !end) status = toon_cursor_next(cursor, false, &key, &row, &end, &err);
  CHECK_EQ(status, TOON_ECORRUPT);
  toon_cursor_close(cursor);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK); /* nothing is dead */
  toon_close(db, NULL);
  CHECK(!open_store()); /* never silently less */
  CHECK_EQ(err.status, TOON_ECORRUPT);
  CHECK(strstr(err.path, "db.toon") != NULL);
  remove_dir();
}

TEST(a_compaction_of_a_log_that_is_cut_short_keeps_the_segment) {
  make_dir();
  REQUIRE(open_store());
  for (int i = 0; i < 400; i++) put(i % 300);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(truncate(in_dir("db.toon"), 100000), 0);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_ECORRUPT);
  CHECK(strstr(err.path, "db.toon") != NULL);
  CHECK_EQ(access(in_dir("db.toon"), F_OK), 0);
  for (int i = 0; i < 300; i++) CHECK(get(i, "db.toon") >= 0);
  toon_close(db, NULL);
  CHECK(!open_store());
  remove_dir();
}

static char run_file[64];
static int find_run(void *ctx, const char *name) {
  (void)ctx;
  if (strncmp(name, "db.toon.idx-", 12) == 0) snprintf(run_file, sizeof run_file, "%.60s", name);
  return 0;
}

TEST(an_index_that_is_cut_short_in_use_is_an_error_and_is_made_anew) {
  enum { ROWS = 3000 };
  make_dir();
  REQUIRE(open_store());
  for (int i = 0; i < ROWS; i++) put(i);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  REQUIRE(open_store());
  CHECK_EQ(os_posix()->list(os_posix(), dir, find_run, NULL), 0);
  CHECK_EQ(truncate(in_dir(run_file), 4096), 0);
  int failed = 0;
  for (int i = 0; i < ROWS; i++) {
    int got = get(i, run_file);
    CHECK(got >= 0); /* never 'no such key' */
    failed += got == 0;
  }
  CHECK(failed > ROWS / 2);
  toon_range all = {0};
  toon_cursor *cursor = NULL;
  CHECK_EQ(toon_cursor_open(db, NULL, &all, &cursor, &err), TOON_ECORRUPT);
  toon_close(db, NULL);
  REQUIRE(open_store());
  for (int i = 0; i < ROWS; i++) CHECK_EQ(get(i, run_file), 1);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  remove_dir();
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
