/* The cache of decoded rows (toon_cache_*): its bounds, and that nothing it gives is stale. */
#include "check.h"
#include "api.h"
#include "os/thread.h"

#include <stdatomic.h>

static os_memfs *fs;
static toon_db *db;
static toon_cache *cache;

static void start(uint64_t rows, uint64_t bytes) {
  fs = os_memfs_new();
  CHECK_EQ(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db), TOON_OK);
  CHECK_EQ(toon_cache_open(db, rows, bytes, &cache, &err), TOON_OK);
}
static void stop(void) {
  toon_cache_close(cache);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* What the cache gives for a key; "-" for nothing. Borrowed until the next call. */
static const char *value_of(const char *key) {
  static toon_buf out;
  toon_row facts;
  bool found = false;
  out.len = 0;
  CHECK_EQ(toon_cache_get(cache, K(key), &out, &facts, &found, &err), TOON_OK);
  if (!found) return "-";
  CHECK_EQ(toon_buf_byte(&out, 0), TOON_OK);
  return (const char *)out.ptr;
}
#define GIVES(key, text) CHECK(strcmp(value_of(key), text) == 0)

TEST(a_value_comes_as_it_would_uncached_and_then_from_memory) {
  start(100, 1 << 20);
  CHECK_EQ(put_as(db, "plain", TOON_INPUT_STRING, "some text"), TOON_OK);
  CHECK_EQ(put_as(db, "quoted", TOON_INPUT_STRING, "a, \"b\": c\n"), TOON_OK);
  CHECK_EQ(put_as(db, "empty", TOON_INPUT_STRING, ""), TOON_OK);
  CHECK_EQ(put_as(db, "doc", TOON_INPUT_JSON, "{\"a\":1,\"b\":[1,2]}"), TOON_OK);
  CHECK_EQ(put_as(db, "bytes", TOON_INPUT_BYTES, "raw"), TOON_OK);
  for (int round = 0; round < 3; round++) {
    GIVES("plain", "some text");
    GIVES("quoted", "a, \"b\": c\n");
    GIVES("empty", "");
    GIVES("doc", "a: 1\nb[2]: 1,2");
    GIVES("bytes", "raw");
    GIVES("absent", "-");
  }
  toon_cache_counts counts = toon_cache_count(cache);
  CHECK_EQ(counts.hits, 10);
  CHECK_EQ(counts.misses, 8);
  CHECK_EQ(counts.rows, 5);
  CHECK_EQ(counts.evictions, 0);
  stop();
}

TEST(facts_are_those_of_the_row) {
  start(100, 1 << 20);
  toon_put_options with = {.expires_at = toon_now(db) + 1000000};
  CHECK_EQ(put_with(db, K("k"), TOON_INPUT_STRING, S("v"), &with), TOON_OK);
  toon_row row, facts;
  bool found;
  toon_buf out = {0};
  REQUIRE(toon_get(db, NULL, K("k"), &row, &found, &err) == TOON_OK && found);
  toon_row_release(db, &row);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(toon_cache_get(cache, K("k"), &out, &facts, &found, &err), TOON_OK);
    CHECK(found && facts.version == row.version && facts.flags == row.flags && facts.expires_at == row.expires_at);
  }
  CHECK_EQ(toon_cache_count(cache).hits, 1);
  CHECK(out.len == 2 && memcmp(out.ptr, "vv", 2) == 0);
  toon_buf_free(&out);
  stop();
}

TEST(every_kind_of_change_is_seen_also_of_another_handle) {
  start(100, 1 << 20);
  toon_db *other;
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &other) == TOON_OK);
  CHECK_EQ(put_as(db, "k", TOON_INPUT_STRING, "one"), TOON_OK);
  GIVES("k", "one");
  CHECK_EQ(put_as(db, "k", TOON_INPUT_STRING, "two"), TOON_OK);
  GIVES("k", "two");
  CHECK_EQ(put_with(other, K("k"), TOON_INPUT_STRING, S("three"), NULL), TOON_OK);
  GIVES("k", "three");
  CHECK_EQ(del(db, "k", NULL), TOON_OK);
  GIVES("k", "-");
  CHECK_EQ(put_as(db, "k", TOON_INPUT_STRING, "four"), TOON_OK);
  GIVES("k", "four");
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
  uint64_t hits = toon_cache_count(cache).hits;
  GIVES("k", "four"); /* a move changes nothing */
  CHECK_EQ(toon_cache_count(cache).hits, hits + 1);
  CHECK_EQ(toon_close(other, &err), TOON_OK);
  stop();
}

TEST(a_row_that_lapses_is_gone) {
  start(100, 1 << 20);
  toon_put_options with = {.expires_at = toon_now(db) + 20};
  CHECK_EQ(put_with(db, K("k"), TOON_INPUT_STRING, S("v"), &with), TOON_OK);
  value_of("k");
  GIVES("k", "v");
  os_memfs_advance_ms(fs, 20, 20);
  GIVES("k", "-");
  stop();
}

TEST(it_keeps_no_more_rows_than_it_may_those_used_last) {
  start(3, 1 << 20);
  for (const char *key = "abcd"; *key; key++) CHECK_EQ(put_as(db, (char[]){*key, 0}, TOON_INPUT_STRING, "x"), TOON_OK);
  value_of("a");
  value_of("b");
  value_of("c");
  value_of("a");
  value_of("d"); /* b goes */
  toon_cache_counts before = toon_cache_count(cache);
  CHECK_EQ(before.rows, 3);
  CHECK_EQ(before.evictions, 1);
  value_of("a");
  value_of("c");
  value_of("d");
  CHECK_EQ(toon_cache_count(cache).hits, before.hits + 3);
  value_of("b");
  CHECK_EQ(toon_cache_count(cache).misses, before.misses + 1);
  stop();
}

TEST(a_key_is_wanted_that_is_read_more_often_than_others) {
  start(100, 1 << 20);
  CHECK(!toon_cache_wants(cache, K("a"), true));
  CHECK(!toon_cache_wants(cache, K("a"), true));
  CHECK(toon_cache_wants(cache, K("a"), false));
  CHECK(!toon_cache_wants(cache, K("b"), false));
  char key[16];
  for (int i = 0; i < 20000; i++) { /* about twenty of them where "a" is */
    snprintf(key, sizeof key, "key%d", i);
    CHECK(!toon_cache_wants(cache, K(key), true));
  }
  CHECK(!toon_cache_wants(cache, K("a"), false));
  stop();
}

TEST(it_keeps_no_more_bytes_than_it_may) {
  enum { ROOM = 16 * 8192 };
  start(100000, ROOM);
  char key[16], value[2000];
  memset(value, 'v', sizeof value);
  uint64_t state = 1;
  for (int i = 0; i < 2000; i++) {
    snprintf(key, sizeof key, "key%d", i % 500);
    value[lcg(&state) % sizeof value] = 0;
    if (i < 500) CHECK_EQ(put_as(db, key, TOON_INPUT_STRING, value), TOON_OK);
    value[strlen(value)] = 'v';
    value_of(key);
    CHECK(toon_cache_count(cache).bytes <= ROOM);
  }
  CHECK(toon_cache_count(cache).evictions > 0);
  CHECK(toon_cache_count(cache).rows > 16);
  memset(value, 'v', sizeof value - 1);
  toon_buf large = {0};
  for (int i = 0; i < 10; i++) CHECK_EQ(toon_buf_append(&large, value, sizeof value - 1), TOON_OK);
  CHECK_EQ(put_with(db, K("large"), TOON_INPUT_STRING, toon_buf_slice(&large), NULL), TOON_OK);
  uint64_t rows = toon_cache_count(cache).rows;
  CHECK_EQ(strlen(value_of("large")), large.len); /* larger than its shard: read, not kept */
  CHECK_EQ(toon_cache_count(cache).rows, rows);
  toon_buf_free(&large);
  stop();
}

TEST(thousands_of_keys_are_told_apart) {
  start(10000, 1 << 24);
  char key[16], text[16];
  for (int i = 0; i < 3000; i++) {
    snprintf(key, sizeof key, "k%d", i);
    CHECK_EQ(put_as(db, key, TOON_INPUT_STRING, key), TOON_OK);
  }
  for (int i = 0; i < 9000; i++) {
    snprintf(key, sizeof key, "k%d", i % 3000);
    snprintf(text, sizeof text, "%s", key);
    GIVES(key, text);
  }
  CHECK_EQ(toon_cache_count(cache).hits, 6000);
  stop();
}

/* ---- many threads ---- */

enum { KEYS = 6 };
static _Atomic uint64_t acknowledged[KEYS];
static _Atomic bool ended;
static _Atomic int wrong;

/* Counts three keys up, each by turns; what is committed is noted. */
static void *writer(void *arg) {
  int first = *(int *)arg;
  toon_error own;
  for (uint64_t n = 1; !atomic_load(&ended); n++)
    for (int i = first; i < KEYS; i += 2) {
      char key[16], value[40];
      toon_batch *b;
      uint64_t ignored;
      snprintf(key, sizeof key, "k%d", i);
      snprintf(value, sizeof value, "%llu, \"quoted\"", (unsigned long long)n);
      bool ok = toon_batch_new(db, &b, &own) == TOON_OK;
      ok = ok && toon_batch_put(b, K(key), TOON_INPUT_STRING, S(value), NULL, &own) == TOON_OK;
      ok = ok && toon_commit(db, b, &own) == TOON_OK && toon_batch_result(b, 0, &ignored, &own) == TOON_OK;
      if (!ok) atomic_fetch_add(&wrong, 1);
      toon_batch_free(b);
      atomic_store(&acknowledged[i], n);
    }
  return NULL;
}

/* A value is never older than what was committed before the read, nor than what this thread has seen. */
static void *reader(void *arg) {
  uint64_t seen[KEYS] = {0}, state = (uint64_t)(uintptr_t)arg;
  toon_buf out = {0};
  toon_error own;
  while (!atomic_load(&ended)) {
    int i = (int)(lcg(&state) % KEYS);
    char key[16];
    toon_row facts;
    bool found;
    snprintf(key, sizeof key, "k%d", i);
    uint64_t least = atomic_load(&acknowledged[i]);
    out.len = 0;
    if (toon_cache_get(cache, K(key), &out, &facts, &found, &own) != TOON_OK || toon_buf_byte(&out, 0) != TOON_OK) {
      atomic_fetch_add(&wrong, 1);
      continue;
    }
    uint64_t n = found ? strtoull((char *)out.ptr, NULL, 10) : 0;
    if (n < least || n < seen[i]) atomic_fetch_add(&wrong, 1);
    seen[i] = n;
  }
  toon_buf_free(&out);
  return NULL;
}

TEST(no_thread_reads_what_is_stale) {
  start(KEYS - 2, 1 << 20);
  os_thread threads[5];
  int first[2] = {0, 1};
  atomic_store(&ended, false);
  for (int i = 0; i < KEYS; i++) atomic_store(&acknowledged[i], 0);
  for (int i = 0; i < 2; i++) REQUIRE(os_thread_start(&threads[i], "writer", writer, &first[i]) == 0);
  for (int i = 2; i < 5; i++) REQUIRE(os_thread_start(&threads[i], "reader", reader, (void *)(uintptr_t)i) == 0);
  os_sleep_ms(setting("CACHE_MS", 500));
  atomic_store(&ended, true);
  for (int i = 0; i < 5; i++) os_thread_join(threads[i]);
  CHECK_EQ(atomic_load(&wrong), 0);
  toon_cache_counts counts = toon_cache_count(cache);
  CHECK(counts.hits > 0 && counts.misses > 0 && counts.evictions > 0);
  stop();
}

CHECK_MAIN
