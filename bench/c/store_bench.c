/* What the engine does without JavaScript: one thread, 16-byte keys, values of VALUE bytes.
 *   cc -O3 -std=c11 -D_GNU_SOURCE -Icsrc bench/c/store_bench.c csrc/{base,os,toon,log,index,store}/[a-z]*.c -lm -pthread -o /tmp/store_bench
 *   /tmp/store_bench [KEYS=1000000] [VALUE=100] [DIRECTORY=/tmp/toonstore-bench-c]   (the directory is emptied first) */
#include "toonstore.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static toon_error err;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static void must(toon_status status) {
  if (status == TOON_OK) return;
  fprintf(stderr, "%s: %s (%s)\n", toon_status_name(status), err.message, err.path);
  exit(1);
}
static uint64_t rng = 88172645463325252ull;
static uint64_t next(void) {
  rng ^= rng << 13;
  rng ^= rng >> 7;
  return rng ^= rng << 17;
}
static toon_key key_of(char *bytes, uint64_t i) {
  snprintf(bytes, 20, "%016llx", (unsigned long long)(i * 0x9E3779B97F4A7C15ull));
  return toon_user_key(bytes, 16);
}
static void report(const char *what, double seconds, double count) {
  printf("%-44s %10.0f /s  %8.1f ns\n", what, count / seconds, seconds / count * 1e9);
}

static void load(toon_db *db, size_t keys, toon_slice value, size_t per_batch) {
  char bytes[20];
  for (size_t i = 0; i < keys;) {
    toon_batch *batch;
    must(toon_batch_new(db, &batch, &err));
    must(toon_batch_begin(batch, &err));
    for (size_t n = 0; n < per_batch && i < keys; n++, i++)
      must(toon_batch_put(batch, key_of(bytes, i), TOON_INPUT_STRING, value, NULL, &err));
    must(toon_batch_end(batch, &err));
    must(toon_commit(db, batch, &err));
    uint64_t v;
    must(toon_batch_result(batch, 0, &v, &err));
    toon_batch_free(batch);
  }
}

static void gets(toon_db *db, size_t keys, const char *what) {
  char bytes[20];
  size_t rounds = 1000000, sum = 0;
  for (int round = 0; round < 2; round++) {
    double t = now();
    for (size_t i = 0; i < rounds; i++) {
      toon_row row;
      bool found;
      must(toon_get(db, NULL, key_of(bytes, next() % keys), &row, &found, &err));
      if (!found) exit(2);
      sum += row.field.len;
      toon_row_release(db, &row);
    }
    if (round) report(what, now() - t, (double)rounds);
  }
  double t = now();
  for (size_t i = 0; i < rounds; i++) sum += key_of(bytes, next() % keys).ptr[3];
  report("  of which making the key", now() - t, (double)rounds);
  if (sum == 42) puts("");
}

int main(int argc, char **argv) {
  size_t keys = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, len = argc > 2 ? strtoul(argv[2], NULL, 10) : 100;
  const char *directory = argc > 3 ? argv[3] : "/tmp/toonstore-bench-c";
  char command[600];
  snprintf(command, sizeof command, "rm -rf '%s'", directory);
  if (system(command)) return 1;
  char *bytes = malloc(len + 1);
  for (size_t i = 0; i < len; i++) bytes[i] = "abcdefghij klmnop"[i % 17];
  toon_slice value = toon_slice_of(bytes, len);
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_INTERVAL;
  o.max_db_size = 1ull << 40;
  toon_db *db;
  must(toon_open(directory, &o, &db, &err));
  double t = now();
  load(db, keys, value, 1000);
  report("load, batches of 1000, interval", now() - t, (double)keys);
  t = now();
  load(db, keys, value, 1000);
  report("overwrite, batches of 1000, interval", now() - t, (double)keys);
  size_t singles = keys < 200000 ? keys : 200000;
  t = now();
  load(db, singles, value, 1);
  report("single commits, interval", now() - t, (double)singles);
  gets(db, keys, "random get, as it stands");
  t = now();
  must(toon_checkpoint(db, &err));
  printf("checkpoint %.1f ms\n", (now() - t) * 1e3);
  gets(db, keys, "random get, from runs");
  toon_range range = {0};
  for (int round = 0; round < 2; round++) {
    toon_cursor *cursor;
    toon_key key;
    toon_row row;
    bool end = false;
    size_t n = 0, sum = 0;
    t = now();
    must(toon_cursor_open(db, NULL, &range, &cursor, &err));
    for (;; n++) {
      must(toon_cursor_next(cursor, false, &key, &row, &end, &err));
      if (end) break;
      sum += row.field.len;
    }
    toon_cursor_close(cursor);
    if (round) report("scan", now() - t, (double)n);
    if (n != keys) return 3;
  }
  t = now();
  must(toon_close(db, &err));
  printf("close %.1f ms\n", (now() - t) * 1e3);
  t = now();
  must(toon_open(directory, &o, &db, &err));
  printf("open %.2f ms\n", (now() - t) * 1e3);
  toon_buf json = {0};
  must(toon_stats(db, &json, &err));
  printf("%.*s\n", (int)json.len, (char *)json.ptr);
  must(toon_close(db, &err));
  return system(command);
}
