/* What snapshots hold, and what they do not: versions in the delta, views, and the limits on both. */
#include "check.h"
#include "stats.h"
#include "memory.h"
#include "base/alloc.h"
#include "os/memfs.h"
#include "toonstore.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static toon_error err;
static toon_db *db;
static os_memfs *fs;

static toon_slice S(const char *text) { return toon_slice_of(text, strlen(text)); }
static toon_key K(const char *text) { return toon_user_key(text, strlen(text)); }

static bool open_with(uint64_t segment, uint64_t checkpoint, uint64_t max) {
  toon_options o = toon_options_default();
  o.vfs = os_memfs_vfs(fs);
  o.durability = TOON_DURABLE_CLOSE;
  o.segment_size = segment;
  o.checkpoint_bytes = checkpoint;
  o.max_db_size = max;
  return toon_open("/d", &o, &db, &err) == TOON_OK;
}
static void start(uint64_t segment, uint64_t checkpoint, uint64_t max) {
  fs = os_memfs_new();
  CHECK(open_with(segment, checkpoint, max));
}
static void stop(void) {
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}
static toon_status commit(toon_batch *b) {
  uint64_t value;
  toon_status status = toon_commit(db, b, &err);
  for (size_t i = 0; i < toon_batch_members(b) && status == TOON_OK; i++)
    status = toon_batch_result(b, i, &value, &err);
  toon_batch_free(b);
  return status;
}
static void put(const char *key, long n) {
  char text[24];
  toon_batch *b;
  snprintf(text, sizeof text, "%ld", n);
  if (toon_batch_new(db, &b, &err) != TOON_OK ||
      toon_batch_put(b, K(key), TOON_INPUT_JSON, S(text), NULL, &err) != TOON_OK || commit(b) != TOON_OK)
    CHECK(!"put");
}
/* The number at a key, -1: none, -2: TOON_ESNAPSHOT. */
static long get_at(const toon_snapshot *s, const char *key) {
  toon_row row;
  toon_error e;
  bool found = false;
  toon_status status = toon_get(db, s, K(key), &row, &found, &e);
  if (status == TOON_ESNAPSHOT) return -2;
  if (status != TOON_OK) return -3;
  if (!found) return -1;
  char text[24] = {0};
  memcpy(text, row.field.ptr + 2, row.field.len - 3 < 23 ? row.field.len - 3 : 23);
  toon_row_release(db, &row);
  return atol(text);
}
static toon_snapshot *snap(void) {
  toon_snapshot *s = NULL;
  CHECK_EQ(toon_snapshot_open(db, &s, &err), TOON_OK);
  return s;
}
/* Write keys k0 ..., again and again: `groups` commits of `rows` rows. The values are numbers, or texts of 8 KB. */
static void overwrite(long groups, int rows, int keys, bool large) {
  static char key[16], text[8200];
  for (long g = 0; g < groups; g++) {
    toon_batch *b;
    CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
    for (int i = 0; i < rows; i++) {
      int n = snprintf(text, sizeof text, large ? "[%ld,\"" : "%ld", g);
      if (large) {
        memset(text + n, 'x', 8000);
        memcpy(text + n + 8000, "\"]", 3);
      }
      snprintf(key, sizeof key, "k%ld", (g * rows + i) % keys);
      CHECK_EQ(toon_batch_put(b, K(key), TOON_INPUT_JSON, S(text), NULL, &err), TOON_OK);
    }
    CHECK_EQ(commit(b), TOON_OK);
  }
}

TEST(a_hot_key_does_not_grow_the_delta) {
  start(1 << 30, 1 << 30, 1ull << 40);
  overwrite(100, 1000, 10, false);
  uint64_t bytes = stat_of(db, "deltaBytes");
  CHECK(bytes < 2 << 20);
  overwrite(1000, 1000, 10, false);
  CHECK(stat_of(db, "deltaBytes") <= bytes + (1 << 20)); /* a million versions of 48 bytes */
  toon_snapshot *old = snap(); /* one that stays, and those of transactions that come and go */
  put("hot", 0);
  for (long n = 1; n < 100000; n++) {
    toon_snapshot *s = snap();
    put("hot", n);
    if (n % 1000 == 0) CHECK_EQ(get_at(s, "hot"), n - 1);
    toon_snapshot_close(s);
  }
  CHECK(stat_of(db, "deltaBytes") <= bytes + (1 << 20));
  CHECK_EQ(get_at(old, "hot"), -1);
  CHECK_EQ(get_at(old, "k3"), 999);
  CHECK_EQ(stat_of(db, "checkpoints"), 1); /* that of the creation */
  toon_snapshot_close(old);
  stop();
}

TEST(every_snapshot_keeps_its_own_version) {
  start(4096, 1 << 20, 1ull << 40);
  enum { SNAPS = 40 };
  toon_snapshot *held[SNAPS] = {0};
  long at[SNAPS] = {0};
  uint64_t rng = 7;
  put("a", -0);
  for (long n = 1; n < 20000; n++) {
    rng = rng * 6364136223846793005ull + 1442695040888963407ull;
    int i = (int)((rng >> 33) % SNAPS);
    if ((rng >> 40) % 3 == 0) {
      toon_snapshot_close(held[i]);
      held[i] = (rng >> 45) % 2 ? snap() : NULL;
      at[i] = n - 1;
    }
    put("a", n);
    if (held[i] && get_at(held[i], "a") != at[i]) CHECK_EQ(get_at(held[i], "a"), at[i]);
    if (n % 5000 == 0) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  }
  for (int i = 0; i < SNAPS; i++) {
    if (held[i]) CHECK_EQ(get_at(held[i], "a"), at[i]);
    toon_snapshot_close(held[i]);
  }
  CHECK_EQ(get_at(NULL, "a"), 19999);
  stop();
}

/* Writers keep all keys of a commit equal, and growing; whoever reads two must never see the second older, and a snapshot
 * and a cursor must see them all equal. */
static struct {
  _Atomic bool stop;
  _Atomic long bad;
} race;
enum { HOT = 8 };
static void hot_key(char *key, int i) { snprintf(key, 16, "h%d", i); }

static void *race_reader(void *arg) {
  long kind = (long)(intptr_t)arg;
  char key[16];
  toon_error e;
  while (!race.stop) {
    if (kind == 0) {
      long last = 0;
      for (int i = 0; i < HOT; i++) {
        hot_key(key, i);
        long n = get_at(NULL, key);
        if (n < last) race.bad++;
        last = n;
      }
      continue;
    }
    toon_snapshot *s;
    toon_cursor *cursor;
    toon_range range = {.prefix = S("h")};
    if (toon_snapshot_open(db, &s, &e) != TOON_OK) continue;
    long first = get_at(s, "h0"), seen = 0;
    for (int i = 1; i < HOT; i++) {
      hot_key(key, i);
      if (get_at(s, key) != first) race.bad++;
    }
    if (toon_cursor_open(db, s, &range, &cursor, &e) == TOON_OK) {
      toon_key k;
      toon_row row;
      bool end = false;
      while (toon_cursor_next(cursor, false, &k, &row, &end, &e) == TOON_OK && !end) {
        char text[24] = {0};
        memcpy(text, row.field.ptr + 2, row.field.len - 3);
        seen += atol(text) == first;
      }
      toon_cursor_close(cursor);
      if (seen != HOT) race.bad++;
    }
    toon_snapshot_close(s);
  }
  return NULL;
}

TEST(readers_meet_no_version_that_was_dropped) {
  start(1 << 16, 1 << 20, 1ull << 40);
  pthread_t threads[3];
  char key[16], text[24];
  race.stop = false;
  race.bad = 0;
  for (long n = 0; n < 12000; n++) {
    toon_batch *b;
    CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
    CHECK_EQ(toon_batch_begin(b, &err), TOON_OK);
    snprintf(text, sizeof text, "%ld", n);
    for (int i = HOT - 1; i >= 0; i--) {
      hot_key(key, i);
      CHECK_EQ(toon_batch_put(b, K(key), TOON_INPUT_JSON, S(text), NULL, &err), TOON_OK);
    }
    CHECK_EQ(toon_batch_end(b, &err), TOON_OK);
    CHECK_EQ(commit(b), TOON_OK);
    if (n == 0)
      for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, race_reader, (void *)(intptr_t)(i % 2));
    if (n % 4000 == 3999) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  }
  race.stop = true;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(race.bad, 0);
  stop();
}

static toon_cursor *walk(const toon_snapshot *s) {
  toon_cursor *cursor = NULL;
  toon_range all = {0};
  CHECK_EQ(toon_cursor_open(db, s, &all, &cursor, &err), TOON_OK);
  return cursor;
}
static toon_status step(toon_cursor *cursor) {
  toon_key key;
  toon_row row;
  bool end;
  return toon_cursor_next(cursor, false, &key, &row, &end, &err);
}

TEST(a_paused_cursor_goes_on_where_it_was_in_both_directions) {
  enum { KEYS = 200 };
  char name[16];
  for (int reverse = 0; reverse < 2; reverse++) {
    start(4096, 4096, 1ull << 40);
    for (int i = 0; i < KEYS; i++) {
      snprintf(name, sizeof name, "p%03d", i);
      put(name, i);
      if (i % 50 == 0) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    }
    toon_range all = {.reverse = reverse};
    toon_cursor *cursor;
    CHECK_EQ(toon_cursor_open(db, NULL, &all, &cursor, &err), TOON_OK);
    for (int n = 0; n <= KEYS; n++) {
      toon_key key;
      toon_row row;
      bool end;
      snprintf(name, sizeof name, "p%03d", reverse ? KEYS - 1 - n : n);
      CHECK_EQ(toon_cursor_next(cursor, false, &key, &row, &end, &err), TOON_OK);
      CHECK_EQ(end, n == KEYS);
      if (end) break;
      CHECK(toon_key_eq(key, K(name)));
      toon_cursor_pause(cursor);
      put(name, -1); /* behind it, and around its place */
      put(n % 2 ? "p0505" : "p1505", n);
      if (n % 40 == 20) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    }
    toon_cursor_close(cursor);
    stop();
  }
}

TEST(a_snapshot_that_holds_back_too_much_is_given_up) {
  enum { GENERATIONS = 10 };
  toon_snapshot *held[GENERATIONS];
  toon_cursor *idle = NULL, *used = NULL;
  toon_batch *b;
  start(64 << 10, 64 << 10, 4 << 20);
  for (int g = 0; g < GENERATIONS; g++) { /* a megabyte each */
    put("g", g);
    overwrite(12, 10, 120, true);
    held[g] = snap();
    if (g == 0) used = walk(held[0]);
    if (g == 0) CHECK_EQ(step(used), TOON_OK); /* and not paused: it is not taken away yet */
    if (g == 1) idle = walk(held[1]);
    if (g == 1) toon_cursor_pause(idle);
    if (g == 1) toon_snapshot_close(held[1]); /* its cursor goes on */
    if (g == 2) {
      CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
      CHECK_EQ(toon_batch_begin_at(b, held[2], &err), TOON_OK);
      CHECK_EQ(toon_batch_put(b, K("other"), TOON_INPUT_JSON, S("1"), NULL, &err), TOON_OK);
      CHECK_EQ(toon_batch_end(b, &err), TOON_OK);
    }
    CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    if (g == 2) {
      CHECK_EQ(stat_of(db, "open"), 3);
      CHECK(stat_of(db, "fileBytes") > 1 << 20);
      CHECK_EQ(stat_of(db, "dropped"), 0);
      CHECK_EQ(get_at(held[2], "g"), 2);
    }
  }
  for (int i = 0; i < 30; i++) { /* the oldest is in use: no younger one goes in its stead */
    os_memfs_advance_ms(fs, 0, 1000);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  CHECK_EQ(stat_of(db, "dropped"), 0);
  CHECK_EQ(get_at(held[0], "g"), 0);
  CHECK_EQ(get_at(held[3], "g"), 3);
  CHECK_EQ(step(used), TOON_ESNAPSHOT); /* but it is told, and lets go */
  toon_cursor_pause(used);
  for (int i = 0; i < 60000 && stat_of(db, "fileBytes") > 4 << 20; i++) {
    os_memfs_advance_ms(fs, 0, 1000);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    usleep(500);
  }
  CHECK(stat_of(db, "fileBytes") <= 4 << 20);
  CHECK_EQ(stat_of(db, "open") + stat_of(db, "dropped"), GENERATIONS);
  CHECK_EQ(get_at(held[GENERATIONS - 1], "g"), GENERATIONS - 1);
  CHECK_EQ(get_at(held[3], "g"), -2);
  CHECK_EQ(step(idle), TOON_ESNAPSHOT);
  CHECK(strstr(err.message, "take a new one") != NULL);
  CHECK_EQ(commit(b), TOON_ESNAPSHOT);
  CHECK_EQ(get_at(NULL, "other"), -1);
  CHECK_EQ(get_at(held[0], "g"), -2);
  bool found;
  CHECK_EQ(toon_has(db, held[2], K("g"), &found, &err), TOON_ESNAPSHOT);
  toon_cursor *none = NULL;
  toon_range all = {0};
  CHECK_EQ(toon_cursor_open(db, held[2], &all, &none, &err), TOON_ESNAPSHOT);
  toon_cursor_close(idle);
  toon_cursor_close(used);
  for (int g = 0; g < GENERATIONS; g++)
    if (g != 1) toon_snapshot_close(held[g]);
  CHECK_EQ(stat_of(db, "open"), 0);
  stop();
}

TEST(a_snapshot_that_was_marked_goes_even_if_its_cost_has_fallen) {
  enum { YOUNGER = 6 };
  toon_snapshot *marked = NULL, *younger[YOUNGER];
  toon_cursor *used = NULL;
  start(64 << 10, 64 << 10, 4 << 20);
  for (int g = -1; g < YOUNGER; g++) { /* a megabyte each */
    put("g", g + 2);
    overwrite(12, 10, 120, true);
    if (g < 0) used = walk(marked = snap());
    if (g < 0) CHECK_EQ(step(used), TOON_OK); /* and not paused */
    if (g >= 0) younger[g] = snap();
    CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  }
  toon_status told = TOON_OK;
  for (int i = 0; i < 100 && told == TOON_OK; i++) {
    os_memfs_advance_ms(fs, 0, 1000);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    told = step(used);
  }
  CHECK_EQ(told, TOON_ESNAPSHOT);
  CHECK_EQ(stat_of(db, "dropped"), 0);
  for (int g = 0; g < YOUNGER; g++) toon_snapshot_close(younger[g]);
  CHECK(stat_of(db, "fileBytes") < 2 << 20);
  for (int i = 0; i < 10; i++) {
    os_memfs_advance_ms(fs, 0, 1000);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  CHECK_EQ(get_at(marked, "g"), 1); /* it is still in use */
  toon_cursor_pause(used);
  for (int i = 0; i < 1000 && stat_of(db, "dropped") == 0; i++) {
    os_memfs_advance_ms(fs, 0, 1000);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    usleep(500);
  }
  CHECK_EQ(stat_of(db, "dropped"), 1);
  CHECK_EQ(get_at(marked, "g"), -2);
  CHECK_EQ(stat_of(db, "open"), 0);
  toon_cursor_close(used);
  toon_snapshot_close(marked);
  stop();
}

TEST(an_old_snapshot_is_given_up_if_it_holds_something_back) {
  start(64 << 20, 1 << 20, 1ull << 40);
  overwrite(23, 100, 2300, true); /* 18 MB */
  put("g", 1);
  toon_snapshot *old = snap();
  os_memfs_advance_ms(fs, 0, 3 * 3600000);
  for (int i = 0; i < 20; i++) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(get_at(old, "g"), 1); /* it costs nothing */
  CHECK_EQ(stat_of(db, "oldestMs"), 3 * 3600000);
  overwrite(23, 100, 2300, true);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  for (int i = 0; i < 60000 && stat_of(db, "dropped") == 0; i++) {
    os_memfs_advance_ms(fs, 0, 1000);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    usleep(500);
  }
  CHECK_EQ(get_at(old, "g"), -2);
  CHECK_EQ(stat_of(db, "fileBytes"), 0);
  CHECK_EQ(stat_of(db, "open"), 0);
  toon_snapshot_close(old);
  stop();
}

/* Reading while it is given up: the right row, or the error, never another row. */
static toon_snapshot *shared;
static void *drop_reader(void *arg) {
  (void)arg;
  while (!race.stop) {
    long n = get_at(shared, "hot");
    if (n != 5 && n != -2) race.bad++;
  }
  return NULL;
}

TEST(a_snapshot_is_given_up_under_its_readers) {
  enum { GENERATIONS = 12 };
  for (int round = 0; round < 4; round++) {
    toon_snapshot *young[GENERATIONS];
    pthread_t threads[2];
    int g = 0;
    start(64 << 10, 64 << 10, 512 << 10);
    overwrite(2, 10, 20, true);
    put("hot", 5);
    shared = snap();
    race.stop = false;
    race.bad = 0;
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, drop_reader, NULL);
    while (g < GENERATIONS && stat_of(db, "dropped") == 0) {
      overwrite(2, 10, 20, true);
      for (long n = 0; n < 300; n++) put("hot", 6 + n);
      young[g++] = snap();
      CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
      os_memfs_advance_ms(fs, 0, 2000);
      CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    }
    for (long n = 0; n < 2000; n++) put("hot", n + 1000);
    race.stop = true;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(race.bad, 0);
    CHECK(stat_of(db, "dropped") > 0);
    toon_snapshot_close(shared);
    while (g) toon_snapshot_close(young[--g]);
    stop();
  }
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
