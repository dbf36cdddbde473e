/* The engine through its public header: on a real directory and on a file system in memory that can lose power. */
#include "check.h"
#include "api.h"
#include "base/alloc.h"

#include <pthread.h>
#include <unistd.h>

static char shown[256];

/* The JSON of a key's value, or "" if there is none, or the error's name. */
static const char *get(toon_db *db, const char *key) {
  toon_row row;
  bool found;
  toon_buf json = {0};
  toon_status status = toon_get(db, NULL, K(key), &row, &found, &err);
  if (status != TOON_OK) return toon_status_name(status);
  if (!found) return "";
  status = toon_field_to_json(row.field, &json, &err);
  toon_row_release(db, &row);
  snprintf(shown, sizeof shown, "%.*s", (int)json.len, (const char *)json.ptr);
  toon_buf_free(&json);
  return status == TOON_OK ? shown : toon_status_name(status);
}
static uint64_t size_of(toon_db *db, uint8_t space) {
  uint64_t n = UINT64_MAX;
  CHECK_EQ(toon_size(db, space, &n, &err), TOON_OK);
  return n;
}
static uint64_t count_range(toon_db *db, bool reverse) {
  toon_range range = {.reverse = reverse};
  toon_cursor *cursor;
  uint64_t n = 0;
  bool end = false;
  if (toon_cursor_open(db, NULL, &range, &cursor, &err) != TOON_OK) return UINT64_MAX;
  while (!end) {
    toon_key key;
    toon_row row;
    if (toon_cursor_next(cursor, false, &key, &row, &end, &err) != TOON_OK) break;
    n += !end;
  }
  toon_cursor_close(cursor);
  return n;
}

TEST(keeps_values_of_every_kind_across_a_reopen) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  static const char *const values[] = {"null", "true", "false", "1.5", "\"\"", "\"a b\"", "\"true\"", "[]", "{}",
                                       "[1,2,3]", "{\"a\":{\"b\":[1,{\"c\":\"x\"}]}}", "[{\"a\":1,\"b\":2},{\"a\":3,\"b\":4}]"};
  char key[16];
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    snprintf(key, sizeof key, "k/%zu", i);
    CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, values[i]), TOON_OK);
  }
  CHECK_EQ(put_as(db, "s", TOON_INPUT_STRING, "Hello World"), TOON_OK);
  CHECK_EQ(put_as(db, "b", TOON_INPUT_BYTES, "\x01\xff"), TOON_OK);
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
      snprintf(key, sizeof key, "k/%zu", i);
      CHECK(strcmp(get(db, key), values[i]) == 0);
    }
    CHECK(strcmp(get(db, "s"), "\"Hello World\"") == 0);
    CHECK(strcmp(get(db, "b"), "\"base64:Af8=\"") == 0);
    CHECK_EQ(size_of(db, TOON_SPACE_USER), 14);
    CHECK_EQ(count_range(db, false), 14);
    CHECK_EQ(count_range(db, true), 14);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(delete_tells_whether_the_key_existed_and_writes_nothing_if_not) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  uint64_t existed;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  size_t ops = os_memfs_ops(fs);
  CHECK_EQ(del(db, "a", &existed), TOON_OK);
  CHECK_EQ(existed, 0);
  CHECK_EQ(os_memfs_ops(fs), ops);
  CHECK_EQ(put_as(db, "a", TOON_INPUT_JSON, "1"), TOON_OK);
  CHECK_EQ(del(db, "a", &existed), TOON_OK);
  CHECK_EQ(existed, 1);
  CHECK(strcmp(get(db, "a"), "") == 0);
  CHECK_EQ(size_of(db, 0), 0);
  toon_close(db, &err);
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  CHECK(strcmp(get(db, "a"), "") == 0);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(members_of_one_group_see_the_earlier_ones) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_batch *b;
  uint64_t v;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  REQUIRE(toon_batch_new(db, &b, &err) == TOON_OK);
  toon_put_options absent = {.conditions = TOON_IF_ABSENT};
  toon_batch_delete(b, K("x"), &err);                                     /* 0: no such key */
  toon_batch_put(b, K("x"), TOON_INPUT_JSON, S("1"), &absent, &err);      /* 1: written */
  toon_batch_put(b, K("x"), TOON_INPUT_JSON, S("2"), &absent, &err);      /* 2: not */
  toon_batch_put(b, K("y"), TOON_INPUT_JSON, S("{bad"), NULL, &err);      /* 3: fails alone */
  toon_batch_delete(b, K("x"), &err);                                     /* 4: existed */
  toon_batch_delete(b, K("x"), &err);                                     /* 5: no more */
  toon_batch_begin(b, &err);                                              /* 6: fails whole */
  toon_batch_put(b, K("z"), TOON_INPUT_JSON, S("1"), NULL, &err);
  toon_batch_put(b, K("z"), TOON_INPUT_JSON, S("2"), &absent, &err);
  toon_batch_end(b, &err);
  toon_batch_put(b, K("z"), TOON_INPUT_JSON, S("3"), &absent, &err);      /* 7: written */
  toon_batch_row_put(b, TOON_INPUT_STRING, S("row a"), NULL, &err);       /* 8 */
  toon_batch_row_put(b, TOON_INPUT_STRING, S("row b"), NULL, &err);       /* 9 */
  CHECK_EQ(toon_commit(db, b, &err), TOON_OK);
  static const uint64_t want[] = {0, 1, 0, 99, 1, 0, 99, 1, 0, 1};
  static const toon_status status[] = {0, 0, 0, TOON_ESYNTAX, 0, 0, TOON_ECONFLICT, 0, 0, 0};
  CHECK_EQ(toon_batch_members(b), 10);
  for (size_t i = 0; i < 10; i++) {
    v = 99;
    CHECK_EQ(toon_batch_result(b, i, &v, &err), status[i]);
    CHECK_EQ(v, want[i]);
  }
  toon_batch_free(b);
  CHECK(strcmp(get(db, "x"), "") == 0);
  CHECK(strcmp(get(db, "z"), "3") == 0);
  CHECK_EQ(size_of(db, TOON_SPACE_ROW), 2);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(clear_deletes_a_range_and_counts) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_batch *b;
  uint64_t v;
  char key[16];
  toon_options o = tiny(TOON_DURABLE_CLOSE);
  o.max_txn_size = 500; /* several steps */
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  for (int i = 0; i < 200; i++) {
    snprintf(key, sizeof key, "%c%03d", i % 2 ? 'a' : 'b', i);
    CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, "1"), TOON_OK);
  }
  toon_range range = {.prefix = S("a")};
  toon_batch_new(db, &b, &err);
  CHECK_EQ(toon_batch_clear(b, &range, &err), TOON_OK);
  CHECK_EQ(commit_one(db, b, &v), TOON_OK);
  CHECK_EQ(v, 100);
  CHECK_EQ(size_of(db, 0), 100);
  CHECK_EQ(count_range(db, true), 100);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(limits_have_their_own_errors) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_options o = toon_options_default();
  o.max_value_size = 10;
  o.max_db_size = 2000;
  o.max_txn_size = 300;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  CHECK_EQ(put_as(db, "k", TOON_INPUT_STRING, "0123456789a"), TOON_EVALUETOOBIG);
  CHECK_EQ(put_as(db, "k", TOON_INPUT_JSON, "[1,2,3,4,5,6,7,8]"), TOON_EVALUETOOBIG);
  CHECK_EQ(put_as(db, "k", TOON_INPUT_STRING, "\xff"), TOON_EINVAL);
  char big[TOON_KEY_MAX + 2];
  memset(big, 'k', sizeof big);
  big[TOON_KEY_MAX + 1] = 0;
  CHECK_EQ(put_as(db, big, TOON_INPUT_JSON, "1"), TOON_EKEYTOOBIG);
  toon_batch *b;
  toon_batch_new(db, &b, &err);
  toon_batch_begin(b, &err);
  for (int i = 0; i < 40; i++) toon_batch_put(b, K("some-key"), TOON_INPUT_JSON, S("1"), NULL, &err);
  toon_batch_end(b, &err);
  CHECK_EQ(commit_one(db, b, NULL), TOON_ETXNTOOBIG);
  CHECK_EQ(size_of(db, 0), 0);
  toon_status status = TOON_OK;
  int written = 0;
  char key[16];
  for (; written < 1000 && status == TOON_OK; written++) {
    snprintf(key, sizeof key, "k%d", written);
    status = put_as(db, key, TOON_INPUT_JSON, "1");
  }
  CHECK_EQ(status, TOON_EDBFULL);
  uint64_t existed;
  CHECK_EQ(del(db, "k0", &existed), TOON_OK); /* deletes are never refused */
  CHECK_EQ(existed, 1);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(agrees_with_a_plain_table_over_segments_checkpoints_and_reopens) {
  enum { KEYS = 60 };
  for (uint64_t seed = 1; seed <= 12; seed++) {
    os_memfs *fs = os_memfs_new();
    toon_db *db;
    int model[KEYS];
    uint64_t rng = seed;
    char key[16], value[200];
    memset(model, -1, sizeof model);
    REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
    for (int step = 0; step < 600; step++) {
      uint64_t dice = lcg(&rng) % 100;
      int i = (int)(lcg(&rng) % KEYS);
      snprintf(key, sizeof key, "%s%d", i % 3 ? "key-" : "\x01", i);
      if (dice < 60) {
        int v = (int)(lcg(&rng) % 1000000);
        int n = snprintf(value, sizeof value, "[%d,\"%.*s\"]", v, (int)(lcg(&rng) % 120),
                         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        CHECK(n > 0);
        CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, value), TOON_OK);
        model[i] = v;
      } else if (dice < 90) {
        uint64_t existed;
        CHECK_EQ(del(db, key, &existed), TOON_OK);
        CHECK_EQ(existed, model[i] >= 0);
        model[i] = -1;
      } else if (dice < 95) {
        CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
      } else {
        CHECK_EQ(toon_close(db, &err), TOON_OK);
        REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
      }
      if (step % 20 == 0) {
        int alive = 0;
        for (int j = 0; j < KEYS; j++) {
          snprintf(key, sizeof key, "%s%d", j % 3 ? "key-" : "\x01", j);
          const char *json = get(db, key);
          alive += model[j] >= 0;
          if (model[j] < 0)
            CHECK(*json == 0);
          else
            CHECK(*json == '[' && atoi(json + 1) == model[j]);
        }
        CHECK_EQ(size_of(db, 0), alive);
        CHECK_EQ(count_range(db, step % 40 == 0), alive);
      }
    }
    toon_close(db, &err);
    os_memfs_free(fs);
  }
}

TEST(a_cursor_keeps_its_moment) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_cursor *cursor;
  toon_range range = {0};
  toon_key k;
  toon_row row;
  bool end = false;
  char key[16];
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  for (int i = 0; i < 100; i++) {
    snprintf(key, sizeof key, "%03d", i);
    put_as(db, key, TOON_INPUT_JSON, "1");
  }
  CHECK_EQ(toon_cursor_open(db, NULL, &range, &cursor, &err), TOON_OK);
  for (int i = 0; i < 200; i++) {
    snprintf(key, sizeof key, "%03d", i);
    i % 2 ? del(db, key, NULL) : put_as(db, key, TOON_INPUT_JSON, "2");
  }
  toon_checkpoint(db, &err);
  int seen = 0;
  while (toon_cursor_next(cursor, false, &k, &row, &end, &err) == TOON_OK && !end) {
    CHECK(row.field.len == 4 && row.field.ptr[2] == '1');
    seen++;
  }
  CHECK_EQ(seen, 100);
  toon_cursor_close(cursor);
  CHECK_EQ(count_range(db, false), 100);
  toon_close(db, &err);
  os_memfs_free(fs);
}

/* ------------------------------------------------------------------ power cuts */

typedef struct ack {
  size_t ops; /* journal entries when it was acknowledged */
} ack;

/* A workload of numbered batches: batch i puts a/i and b/i together and deletes a/(i-3). */
static size_t run_workload(os_memfs *fs, toon_options o, ack *acks, size_t max) {
  toon_db *db;
  char a[32], b[32], c[32];
  size_t n = 0;
  if (open_on(fs, o, &db) != TOON_OK) return 0;
  for (size_t i = 0; i < max; i++) {
    toon_batch *batch;
    if (toon_batch_new(db, &batch, &err) != TOON_OK) break;
    snprintf(a, sizeof a, "a/%zu", i);
    snprintf(b, sizeof b, "b/%zu", i);
    snprintf(c, sizeof c, "a/%zu", i - 3);
    toon_batch_begin(batch, &err);
    toon_batch_put(batch, K(a), TOON_INPUT_JSON, S("{\"n\":1,\"text\":\"some text that makes the row longer than it was\"}"), NULL, &err);
    toon_batch_put(batch, K(b), TOON_INPUT_JSON, S("[1,2,3]"), NULL, &err);
    if (i >= 3) toon_batch_delete(batch, K(c), &err);
    toon_batch_end(batch, &err);
    if (commit_one(db, batch, NULL) != TOON_OK) break;
    acks[n++].ops = os_memfs_ops(fs);
    if (i % 7 == 6) toon_checkpoint(db, &err);
  }
  toon_close(db, &err);
  return n;
}

/* Batches 0..last are all there, nothing after; returns the number of batches found whole, or -1 if one is half there. */
static int whole_batches(toon_db *db, size_t max) {
  int found = 0;
  char a[32], b[32];
  for (size_t i = 0; i < max; i++) {
    snprintf(b, sizeof b, "b/%zu", i);
    bool has_b = *get(db, b) == '[';
    if (has_b) found++;
    if (has_b && (size_t)found != i + 1) return -1; /* a gap */
  }
  for (size_t i = 0; i < max; i++) {
    snprintf(a, sizeof a, "a/%zu", i);
    bool has_a = *get(db, a) == '{';
    if (has_a != ((int)i < found && (int)i + 3 >= found)) return -1;
  }
  return found;
}

static void cut_power_everywhere(toon_durability durability, os_crash_mode mode, int seeds) {
  enum { MAX = 40 };
  os_memfs *fs = os_memfs_new();
  ack acks[MAX];
  toon_options o = tiny(durability);
  size_t n = run_workload(fs, o, acks, MAX), ops = os_memfs_ops(fs);
  CHECK_EQ(n, MAX);
  for (size_t cut = 0; cut <= ops; cut++) {
    for (int seed = 0; seed < seeds; seed++) {
      os_memfs *after = os_memfs_crash(fs, cut, mode, (uint64_t)seed * 7919 + cut);
      toon_db *db;
      size_t acked = 0;
      while (acked < n && acks[acked].ops <= cut) acked++;
      toon_status status = open_on(after, o, &db);
      CHECK_EQ(status, TOON_OK);
      if (status != TOON_OK) {
        fprintf(stderr, "cut %zu of %zu, seed %d: %s %s\n", cut, ops, seed, err.message, err.path);
      } else {
        int whole = whole_batches(db, MAX);
        CHECK(whole >= 0);
        if (durability == TOON_DURABLE_COMMIT || mode == OS_CRASH_KEEP_ALL) CHECK(whole >= (int)acked);
        if (whole < 0 || (durability == TOON_DURABLE_COMMIT && whole < (int)acked))
          fprintf(stderr, "cut %zu of %zu, seed %d: %d whole, %zu acknowledged\n", cut, ops, seed, whole, acked);
        CHECK_EQ(size_of(db, 0), whole < 0 ? 0 : whole + (whole < 3 ? whole : 3));
        CHECK_EQ(put_as(db, "after", TOON_INPUT_JSON, "1"), TOON_OK);
        CHECK_EQ(toon_close(db, &err), TOON_OK);
        status = open_on(after, o, &db);
        CHECK_EQ(status, TOON_OK);
        if (status != TOON_OK)
          fprintf(stderr, "cut %zu of %zu, seed %d, second open: %s %s at %lld\n", cut, ops, seed, err.message, err.path,
                  (long long)err.offset);
        if (status == TOON_OK) {
          CHECK(strcmp(get(db, "after"), "1") == 0);
          CHECK_EQ(whole_batches(db, MAX), whole);
          toon_close(db, &err);
        }
      }
      os_memfs_free(after);
    }
  }
  os_memfs_free(fs);
}

TEST(loses_nothing_acknowledged_when_the_process_dies_anywhere) {
  cut_power_everywhere(TOON_DURABLE_CLOSE, OS_CRASH_KEEP_ALL, 1);
  cut_power_everywhere(TOON_DURABLE_COMMIT, OS_CRASH_KEEP_ALL, 1);
}
TEST(loses_nothing_acknowledged_at_commit_when_the_power_goes_and_the_cache_with_it) {
  cut_power_everywhere(TOON_DURABLE_COMMIT, OS_CRASH_LOSE_ALL, 1);
}
TEST(loses_nothing_acknowledged_at_commit_when_the_power_goes_and_blocks_are_torn) {
  cut_power_everywhere(TOON_DURABLE_COMMIT, OS_CRASH_RANDOM, 4);
}
TEST(keeps_a_prefix_at_close_durability_when_the_power_goes) {
  cut_power_everywhere(TOON_DURABLE_CLOSE, OS_CRASH_LOSE_ALL, 1);
  cut_power_everywhere(TOON_DURABLE_CLOSE, OS_CRASH_RANDOM, 2);
}

/* ------------------------------------------------------------------ compaction */

/* Rounds of overwriting 30 keys, deleting some, compacting in between; returns the value each key should have (0: none). */
enum { CKEYS = 30 };
static void compaction_rounds(toon_db *db, os_memfs *fs, int rounds, int expect[CKEYS], size_t *acked_ops) {
  char key[32], value[100];
  for (int r = 1; r <= rounds; r++) {
    for (int i = 0; i < CKEYS; i++) {
      snprintf(key, sizeof key, "key/%d", i);
      snprintf(value, sizeof value, "[%d,\"some words to make this row a good deal longer\"]", r * 100 + i);
      if ((i + r) % 4 == 0) {
        CHECK_EQ(del(db, key, NULL), TOON_OK);
        expect[i] = 0;
      } else {
        CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, value), TOON_OK);
        expect[i] = r * 100 + i;
      }
    }
    CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    if (acked_ops) acked_ops[r - 1] = os_memfs_ops(fs);
  }
}

static bool holds(toon_db *db, const int expect[CKEYS]) {
  char key[32];
  int alive = 0;
  for (int i = 0; i < CKEYS; i++) {
    snprintf(key, sizeof key, "key/%d", i);
    const char *json = get(db, key);
    alive += expect[i] != 0;
    if (expect[i] ? *json != '[' || atoi(json + 1) != expect[i] : *json != 0) return false;
  }
  return size_of(db, 0) == (uint64_t)alive && count_range(db, true) == (uint64_t)alive;
}

TEST(a_full_compaction_leaves_only_live_rows_and_the_same_data) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  int expect[CKEYS];
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  compaction_rounds(db, fs, 6, expect, NULL);
  CHECK(holds(db, expect));
  toon_buf json = {0};
  toon_stats(db, &json, &err);
  toon_buf_byte(&json, 0);
  CHECK(strstr((char *)json.ptr, "\"deadBytes\":0,") != NULL);
  toon_buf_free(&json);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  size_t len;
  char path[32];
  for (int i = 0; i < 100; i++) {
    i ? snprintf(path, sizeof path, "/d/db.%d.toon", i) : snprintf(path, sizeof path, "/d/db.toon");
    const uint8_t *bytes = os_memfs_content(fs, path, &len);
    if (bytes) CHECK(memmem(bytes, len, "# delete", 8) == NULL);
  }
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  CHECK(holds(db, expect));
  toon_close(db, &err);
  /* and the log alone says the same */
  os_memfs_vfs(fs)->unlink(os_memfs_vfs(fs), "/d/metadata.toon");
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  CHECK(holds(db, expect));
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(a_cursor_reads_on_through_compactions) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_cursor *cursor;
  toon_snapshot *snapshot;
  int expect[CKEYS], seen = 0, old[CKEYS];
  bool end = false, found;
  toon_key k;
  toon_row row;
  toon_range range = {0};
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  compaction_rounds(db, fs, 1, old, NULL);
  CHECK_EQ(toon_snapshot_open(db, &snapshot, &err), TOON_OK);
  CHECK_EQ(toon_cursor_open(db, snapshot, &range, &cursor, &err), TOON_OK);
  compaction_rounds(db, fs, 4, expect, NULL);
  while (toon_cursor_next(cursor, false, &k, &row, &end, &err) == TOON_OK && !end) {
    int i = atoi((const char *)k.ptr + 4);
    CHECK(old[i] && memmem(row.field.ptr, row.field.len, "some words", 10) != NULL);
    CHECK_EQ(toon_get(db, snapshot, k, &row, &found, &err), TOON_OK);
    CHECK(found);
    seen++;
  }
  int alive = 0;
  for (int i = 0; i < CKEYS; i++) alive += old[i] != 0;
  CHECK_EQ(seen, alive);
  toon_cursor_close(cursor);
  toon_snapshot_close(snapshot);
  CHECK(holds(db, expect));
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(compaction_survives_a_power_cut_anywhere) {
  for (int mode = 0; mode < 3; mode++) {
    os_memfs *fs = os_memfs_new();
    toon_db *db;
    toon_options o = tiny(TOON_DURABLE_CLOSE);
    int states[8][CKEYS];
    size_t ops[8];
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    for (int r = 0; r < 3; r++) {
      compaction_rounds(db, fs, r + 1, states[r], NULL); /* the last of its rounds is what stays */
      ops[r] = os_memfs_ops(fs);
    }
    toon_close(db, &err);
    size_t total = os_memfs_ops(fs);
    for (size_t cut = ops[0]; cut <= total; cut++) {
      os_memfs *after = os_memfs_crash(fs, cut, (os_crash_mode)mode, cut);
      int wiped = (int)(cut % 2);
      if (wiped) os_memfs_vfs(after)->unlink(os_memfs_vfs(after), "/d/metadata.toon");
      toon_status status = open_on(after, o, &db);
      CHECK_EQ(status, TOON_OK);
      if (status != TOON_OK) {
        fprintf(stderr, "mode %d, cut %zu of %zu: %s %s\n", mode, cut, total, err.message, err.path);
      } else {
        /* Compactions end with a checkpoint: at a round's end its state is on disk, whatever the durability. */
        for (int r = 0; r < 3; r++)
          if (cut == ops[r] || (r == 2 && cut == total)) CHECK(holds(db, states[r]));
        char key[32];
        for (int i = 0; i < CKEYS; i++) {
          snprintf(key, sizeof key, "key/%d", i);
          const char *json = get(db, key);
          CHECK(*json == 0 || *json == '['); /* never an error */
        }
        CHECK_EQ(toon_close(db, &err), TOON_OK);
      }
      os_memfs_free(after);
    }
    os_memfs_free(fs);
  }
}

TEST(dead_rows_are_compacted_away_by_themselves) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  char key[32];
  toon_options o = tiny(TOON_DURABLE_CLOSE);
  o.segment_size = o.checkpoint_bytes = 16384;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  for (int i = 0; i < 5000; i++) {
    snprintf(key, sizeof key, "key/%d", i % 100);
    CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, "\"a value that is overwritten again and again, so that most of the log is dead\""), TOON_OK);
  }
  for (int i = 0; i < 3; i++) toon_checkpoint(db, &err);
  for (int i = 0; i < 6000; i++) { /* the background thread is at it */
    toon_buf json = {0};
    toon_stats(db, &json, &err);
    toon_buf_byte(&json, 0);
    const char *dead = strstr((char *)json.ptr, "\"deadBytes\":");
    long left = dead ? atol(dead + 12) : 0;
    toon_buf_free(&json);
    if (left < 50000) break;
    usleep(10000);
  }
  CHECK_EQ(size_of(db, 0), 100);
  CHECK_EQ(count_range(db, false), 100);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  size_t bytes = 0, len;
  for (int i = 0; i < 2000; i++) {
    char path[32];
    i ? snprintf(path, sizeof path, "/d/db.%d.toon", i) : snprintf(path, sizeof path, "/d/db.toon");
    if (os_memfs_content(fs, path, &len)) bytes += len;
  }
  CHECK(bytes < 100000); /* 5000 rows were 450 KB, the live ones are 9 KB */
  os_memfs_free(fs);
}

/* ------------------------------------------------------------------ damage */

/* "index":{"runs":N in the statistics. */
static int runs_of(toon_db *db) {
  toon_buf json = {0};
  CHECK_EQ(toon_stats(db, &json, &err), TOON_OK);
  const char *at = memmem(json.ptr, json.len, "\"runs\":", 7);
  int runs = at ? atoi(at + 7) : -1;
  toon_buf_free(&json);
  return runs;
}

TEST(a_store_left_alone_merges_its_few_runs_and_keeps_its_rows) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  char key[16];
  for (int i = 0; i < 300; i++) {
    snprintf(key, sizeof key, "k%d", i % 200);
    CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, i < 200 ? "1" : "2"), TOON_OK);
    if (i % 100 == 99) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  CHECK_EQ(runs_of(db), 3);
  for (int i = 0; i < 1200 && runs_of(db) > 1; i++) { /* again: the last checkpoint's work may not have ended yet */
    os_memfs_advance_ms(fs, 1100, 1100);
    usleep(50000);
  }
  CHECK_EQ(runs_of(db), 1);
  CHECK_EQ(size_of(db, TOON_SPACE_USER), 200);
  CHECK(strcmp(get(db, "k0"), "2") == 0 && strcmp(get(db, "k150"), "1") == 0);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(damage_is_healed_or_reported_never_returned) {
  enum { MAX = 12 };
  static const char *const files[] = {"/d/db.toon", "/d/metadata.toon", "/d/db.toon.idx-1"};
  os_memfs *fs = os_memfs_new();
  ack acks[MAX];
  toon_options o = toon_options_default();
  CHECK_EQ(run_workload(fs, o, acks, MAX), MAX);
  for (int f = 0; f < 3; f++) {
    size_t len = 0;
    if (!os_memfs_content(fs, files[f], &len)) continue;
    for (size_t byte = 0; byte < len; byte += f == 2 ? 37 : 3) {
      os_memfs *copy = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_KEEP_ALL, 0);
      os_vfs *vfs = os_memfs_vfs(copy);
      os_file *file;
      uint8_t c;
      size_t got;
      REQUIRE(vfs->open(vfs, files[f], OS_WRITE, &file) == 0);
      vfs->pread(vfs, file, &c, 1, byte, &got);
      c ^= (uint8_t)(1u << byte % 8);
      vfs->pwrite(vfs, file, &c, 1, byte);
      vfs->close(vfs, file);
      toon_db *db;
      toon_status status = open_at(vfs, "/d", o, &db);
      if (status == TOON_OK) {
        char key[16];
        for (int i = 0; i < MAX; i++) {
          snprintf(key, sizeof key, "b/%d", i);
          const char *json = get(db, key);
          CHECK(strcmp(json, "[1,2,3]") == 0 || strcmp(json, "TOON_ECORRUPT") == 0);
        }
        toon_close(db, NULL);
      } else {
        CHECK(status == TOON_ECORRUPT || status == TOON_EFORMAT);
        CHECK(strstr(err.path, "/d/") != NULL);
        CHECK(f == 0); /* manifest and runs are always healed */
      }
      os_memfs_free(copy);
    }
  }
  os_memfs_free(fs);
}

TEST(runs_and_manifest_are_rebuilt_from_the_log_when_they_are_gone) {
  enum { MAX = 30 };
  os_memfs *fs = os_memfs_new();
  ack acks[MAX];
  CHECK_EQ(run_workload(fs, tiny(TOON_DURABLE_COMMIT), acks, MAX), MAX);
  for (int which = 0; which < 3; which++) {
    os_memfs *copy = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_KEEP_ALL, 0);
    os_vfs *vfs = os_memfs_vfs(copy);
    toon_db *db;
    char path[64];
    if (which != 1) vfs->unlink(vfs, "/d/metadata.toon");
    for (int i = 0; which != 0 && i < 100; i++) {
      snprintf(path, sizeof path, "/d/db.toon.idx-%d", i);
      vfs->unlink(vfs, path);
    }
    REQUIRE(open_at(vfs, "/d", tiny(TOON_DURABLE_COMMIT), &db) == TOON_OK);
    CHECK_EQ(whole_batches(db, MAX), MAX);
    CHECK_EQ(size_of(db, 0), MAX + 3);
    toon_buf json = {0};
    CHECK_EQ(toon_stats(db, &json, &err), TOON_OK);
    toon_buf_byte(&json, 0);
    CHECK(strstr((char *)json.ptr, "\"rebuilt\":true") != NULL);
    toon_buf_free(&json);
    toon_close(db, &err);
    os_memfs_free(copy);
  }
  os_memfs_free(fs);
}

TEST(a_damaged_block_of_a_large_run_is_reported_and_healed_by_the_next_open) {
  enum { MANY = 110000 };
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  char key[80];
  uint64_t rng = 1;
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  for (int i = 0; i < MANY;) {
    toon_batch *b;
    REQUIRE(toon_batch_new(db, &b, &err) == TOON_OK);
    for (int n = 0; n < 10000; n++, i++) {
      int at = snprintf(key, sizeof key, "%d/", i); /* long keys with nothing in common make a large run */
      while (at < 72) at += snprintf(key + at, sizeof key - (size_t)at, "%08llx", (unsigned long long)lcg(&rng));
      toon_batch_put(b, K(key), TOON_INPUT_JSON, S("1"), NULL, &err);
    }
    CHECK_EQ(toon_commit(db, b, &err), TOON_OK);
    toon_batch_free(b);
  }
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  char path[32];
  size_t len = 0, best = 0;
  for (int i = 1; i < 9; i++) {
    snprintf(shown, sizeof path, "/d/db.toon.idx-%d", i);
    if (os_memfs_content(fs, shown, &len) && len > best) memcpy(path, shown, sizeof path), best = len;
  }
  REQUIRE(best > (8u << 20)); /* else it is checked whole at open, and healed there */
  os_vfs *vfs = os_memfs_vfs(fs);
  os_file *file;
  REQUIRE(vfs->open(vfs, path, OS_WRITE, &file) == 0);
  vfs->pwrite(vfs, file, "damage", 6, best / 3);
  vfs->close(vfs, file);
  REQUIRE(open_at(vfs, "/d", o, &db) == TOON_OK);
  CHECK(count_range(db, false) < MANY);
  CHECK(err.status == TOON_ECORRUPT && strcmp(err.path, path) == 0);
  toon_close(db, NULL);
  REQUIRE(open_at(vfs, "/d", o, &db) == TOON_OK);
  CHECK_EQ(count_range(db, false), MANY);
  CHECK_EQ(size_of(db, 0), MANY);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* ------------------------------------------------------------------ failing calls */

static int fail_after;
static const char *fail_call;
static int fail_errno;
static int fault(void *ctx, const char *call, const char *path) {
  (void)ctx, (void)path;
  if (strcmp(call, fail_call) != 0) return 0;
  return fail_after-- <= 0 ? fail_errno : 0;
}

TEST(a_failed_sync_of_the_log_stops_writing_and_goes_on_reading) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  CHECK_EQ(put_as(db, "a", TOON_INPUT_JSON, "1"), TOON_OK);
  fail_call = "datasync", fail_after = 0, fail_errno = 5;
  os_memfs_set_fault(fs, fault, NULL);
  CHECK_EQ(put_as(db, "b", TOON_INPUT_JSON, "1"), TOON_EIO);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(put_as(db, "c", TOON_INPUT_JSON, "1"), TOON_EIO);
  CHECK(strcmp(get(db, "a"), "1") == 0);
  CHECK(strcmp(get(db, "b"), "") == 0);
  CHECK_EQ(toon_sync(db, &err), TOON_EIO);
  CHECK_EQ(toon_close(db, &err), TOON_EIO);
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  CHECK(strcmp(get(db, "a"), "1") == 0);
  CHECK_EQ(put_as(db, "c", TOON_INPUT_JSON, "1"), TOON_OK);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(a_full_disk_refuses_writes_and_heals) {
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  CHECK_EQ(put_as(db, "a", TOON_INPUT_JSON, "1"), TOON_OK);
  fail_call = "pwrite", fail_after = 0, fail_errno = 28;
  os_memfs_set_fault(fs, fault, NULL);
  CHECK_EQ(put_as(db, "b", TOON_INPUT_JSON, "1"), TOON_ENOSPC);
  CHECK(strcmp(get(db, "a"), "1") == 0);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(put_as(db, "c", TOON_INPUT_JSON, "1"), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  REQUIRE(open_on(fs, toon_options_default(), &db) == TOON_OK);
  CHECK(strcmp(get(db, "b"), "") == 0);
  CHECK(strcmp(get(db, "c"), "1") == 0);
  toon_close(db, &err);
  os_memfs_free(fs);
}

TEST(handles_of_a_process_share_an_engine_and_must_agree) {
  os_memfs *fs = os_memfs_new();
  toon_db *one, *two;
  toon_options o = toon_options_default();
  REQUIRE(open_on(fs, o, &one) == TOON_OK);
  REQUIRE(open_on(fs, o, &two) == TOON_OK);
  CHECK_EQ(put_as(one, "a", TOON_INPUT_JSON, "1"), TOON_OK);
  CHECK(strcmp(get(two, "a"), "1") == 0);
  CHECK_EQ(toon_close(one, &err), TOON_OK);
  CHECK_EQ(put_as(two, "b", TOON_INPUT_JSON, "1"), TOON_OK);
  toon_db *three;
  o.max_db_size++;
  CHECK_EQ(open_on(fs, o, &three), TOON_EINVAL);
  CHECK_EQ(toon_close(two, &err), TOON_OK);
  CHECK_EQ(open_on(fs, o, &three), TOON_OK);
  toon_close(three, &err);
  os_memfs_free(fs);
}

/* ------------------------------------------------------------------ threads */

typedef struct shared {
  toon_db *db;
  _Atomic bool stop;
  _Atomic int bad;
} shared;

static void *writer(void *arg) {
  shared *s = arg;
  char value[32];
  toon_error e;
  for (int i = 1; i <= 1500; i++) {
    toon_batch *b;
    if (i % 300 == 0) toon_compact(s->db, NULL, NULL, &e);
    uint64_t v;
    snprintf(value, sizeof value, "%d", i);
    if (toon_batch_new(s->db, &b, &e) != TOON_OK) break;
    toon_batch_begin(b, &e);
    toon_batch_put(b, K("left"), TOON_INPUT_JSON, S(value), NULL, &e);
    toon_batch_put(b, K("right"), TOON_INPUT_JSON, S(value), NULL, &e);
    toon_batch_end(b, &e);
    if (toon_commit(s->db, b, &e) != TOON_OK || toon_batch_result(b, 0, &v, &e) != TOON_OK) s->bad++;
    toon_batch_free(b);
  }
  s->stop = true;
  return NULL;
}

static int number(toon_db *db, const toon_snapshot *snapshot, const char *key) {
  toon_row row;
  bool found;
  toon_error e;
  if (toon_get(db, snapshot, K(key), &row, &found, &e) != TOON_OK) return -1;
  if (!found) return 0;
  int n = atoi((const char *)row.field.ptr + 2);
  toon_row_release(db, &row);
  return n;
}

/* What toon_get_many gives, by place: the number, 0 for nothing. */
typedef struct taken {
  int numbers[1000];
  size_t count, most;
} taken;

static bool take_number(void *ctx, size_t i, const toon_row *row) {
  taken *t = ctx;
  if (i != t->count) return false;
  t->numbers[t->count++] = row ? atoi((const char *)row->field.ptr + 2) : 0;
  return t->count < t->most;
}

static void *reader(void *arg) {
  shared *s = arg;
  int last = 0;
  toon_key many[] = {K("left"), K("none"), K("right"), K("left")};
  toon_error e;
  while (!s->stop) {
    int left = number(s->db, NULL, "left"), right = number(s->db, NULL, "right");
    if (right < left || left < last) s->bad++; /* right is read later: never older */
    taken t = {.most = 100};
    if (toon_get_many(s->db, NULL, many, 4, take_number, &t, &e) != TOON_OK || t.count != 4) s->bad++;
    if (t.numbers[0] != t.numbers[2] || t.numbers[0] != t.numbers[3] || t.numbers[0] < right) s->bad++;
    left = t.numbers[0];
    last = left;
    toon_snapshot *snapshot;
    if (toon_snapshot_open(s->db, &snapshot, &e) != TOON_OK) continue;
    if (number(s->db, snapshot, "left") != number(s->db, snapshot, "right")) s->bad++;
    toon_snapshot_close(snapshot);
  }
  return NULL;
}

TEST(many_keys_are_read_as_one_by_one) {
  enum { KEYS = 700 };
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_key keys[KEYS];
  static char names[KEYS][16];
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &db) == TOON_OK);
  for (int i = 0; i < KEYS; i++) {
    char value[16];
    snprintf(names[i], sizeof names[i], "key%d", i);
    snprintf(value, sizeof value, "%d", i);
    keys[i] = K(names[i]);
    toon_put_options lapsing = {.expires_at = toon_now(db) + 20};
    if (i % 5 != 1) CHECK_EQ(put_with(db, keys[i], TOON_INPUT_JSON, S(value), i % 7 == 2 ? &lapsing : NULL), TOON_OK);
    if (i % 11 == 3) CHECK_EQ(del(db, names[i], NULL), TOON_OK);
    if (i == 300) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  toon_snapshot *then;
  REQUIRE(toon_snapshot_open(db, &then, &err) == TOON_OK);
  os_memfs_advance_ms(fs, 20, 20);
  static const char *const later[] = {"-1", "-2", "-3"}; /* of which all but the last are pruned */
  for (int n = 0; n < 3; n++)
    for (int i = 0; i < KEYS; i += 13) CHECK_EQ(put_with(db, keys[i], TOON_INPUT_JSON, S(later[n]), NULL), TOON_OK);
  const toon_snapshot *const moments[] = {NULL, then};
  for (int m = 0; m < 2; m++) {
    static taken t;
    t = (taken){.most = 1000};
    CHECK_EQ(toon_get_many(db, moments[m], keys, KEYS, take_number, &t, &err), TOON_OK);
    REQUIRE(t.count == KEYS);
    for (int i = 0; i < KEYS; i++) CHECK_EQ(t.numbers[i], number(db, moments[m], names[i]));
  }
  taken some = {.most = 5};
  CHECK_EQ(toon_get_many(db, NULL, keys, KEYS, take_number, &some, &err), TOON_OK);
  CHECK_EQ(some.count, 5);
  CHECK_EQ(toon_get_many(db, NULL, keys, 0, take_number, &some, &err), TOON_OK);
  CHECK_EQ(some.count, 5);
  toon_snapshot_close(then);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(readers_never_see_half_of_a_commit_nor_time_run_back) {
  os_memfs *fs = os_memfs_new();
  shared s = {0};
  pthread_t threads[4];
  REQUIRE(open_on(fs, tiny(TOON_DURABLE_CLOSE), &s.db) == TOON_OK);
  pthread_create(&threads[0], NULL, writer, &s);
  for (int i = 1; i < 4; i++) pthread_create(&threads[i], NULL, reader, &s);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(s.bad, 0);
  CHECK_EQ(number(s.db, NULL, "left"), 1500);
  CHECK_EQ(toon_close(s.db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
