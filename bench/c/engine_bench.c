/* The engine without JavaScript: 16-byte keys, values of 100 bytes (VALUE in the environment: another size), no cache,
 * checksums on, and one thread that calls it (the engine's own background thread beside it). Each command runs in a
 * process of its own and prints its figures in one line. `npm run bench:engine` compiles it and runs them; by hand:
 *   cc -O3 -DNDEBUG -std=c11 -D_GNU_SOURCE -Icsrc bench/c/engine_bench.c csrc/{base,os,toon,log,index,cache,store}/[a-z]*.c \
 *      -lm -pthread -o /tmp/engine_bench
 *   engine_bench load DIRECTORY KEYS          a new store of KEYS keys by batches of 1,000, closed at the end: rows a
 *                                             second without the close; the most anonymous memory on the way, in MB
 *   engine_bench reads DIRECTORY KEYS         random point reads of what was loaded: reads a second
 *   engine_bench scan DIRECTORY KEYS          all rows in order: rows a second
 *   engine_bench batches DIRECTORY KEYS ROWS  batches of 1,000 random keys of those: rows a second
 *   engine_bench singles DIRECTORY            one put a commit, one after the other: commits a second
 *   engine_bench durable DIRECTORY            batches of 1,000 at durability commit: rows a second
 *   engine_bench write DIRECTORY BYTES        write so many bytes of keys and values, say so, and wait for the end
 *   engine_bench reopen DIRECTORY KEYS        open and read one value: milliseconds
 *   engine_bench memory DIRECTORY KEYS        anonymous MB after open and reads, and at most during a full scan
 *   engine_bench latency DIRECTORY KEYS       reads while others write, checkpoint and compact all the time: p99.9,
 *                                             p99.99 and the longest in microseconds
 *   engine_bench overwrite DIRECTORY BYTES    live data of BYTES, overwritten three times: MB on disk when it has settled
 */
#include "bench.h"
#include "toonstore.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 1000, ROUNDS = 5, READS = 1000000, LATENCIES = 10000000, LATENCY_SECONDS = 10 };

static char text[1 << 20];
static toon_slice value;

static uint64_t rng = 88172645463325252ull;
static inline uint64_t next(void) {
  rng ^= rng << 13;
  rng ^= rng >> 7;
  return rng ^= rng << 17;
}
static inline uint64_t below(uint64_t n) { return (uint64_t)((unsigned __int128)next() * n >> 64); }

static toon_db *open_store(const char *directory, toon_durability durability) {
  toon_options o = toon_options_default();
  toon_db *db;
  o.durability = durability;
  o.max_db_size = 1ull << 40;
  must(toon_open(directory, &o, &db, &err));
  return db;
}

/* MB of anonymous memory: what the process holds beside its mapped files. */
static double anonymous(void) {
  char line[256];
  double kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file)) sscanf(line, "RssAnon: %lf", &kilobytes);
  if (file) fclose(file);
  return kilobytes * 1024 / 1e6;
}

/* Commit `count` puts as one atomic member; number_of gives the keys. */
static void put_batch(toon_db *db, size_t count, uint64_t (*number_of)(uint64_t), uint64_t argument) {
  uint8_t bytes[BENCH_KEY];
  uint64_t result;
  toon_batch *batch;
  must(toon_batch_new(db, &batch, &err));
  must(toon_batch_begin(batch, &err));
  for (size_t i = 0; i < count; i++)
    must(toon_batch_put(batch, bench_key(mix(number_of(argument + i)), bytes), TOON_INPUT_STRING, value, NULL, &err));
  must(toon_batch_end(batch, &err));
  must(toon_commit(db, batch, &err));
  must(toon_batch_result(batch, 0, &result, &err));
  toon_batch_free(batch);
}

static uint64_t itself(uint64_t n) { return n; }
static uint64_t key_count; /* of random_key */
static uint64_t random_key(uint64_t n) { return (void)n, below(key_count); }

/* One read; the length of the field. */
static inline size_t get(toon_db *db, uint64_t number) {
  uint8_t bytes[BENCH_KEY];
  toon_row row;
  bool found;
  must(toon_get(db, NULL, bench_key(mix(number), bytes), &row, &found, &err));
  ensure(found, "a key is missing");
  size_t len = row.field.len;
  toon_row_release(db, &row);
  return len;
}

static void load(const char *directory, size_t keys) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  double start = now(), memory = 0;
  for (size_t i = 0; i < keys; i += BATCH) {
    put_batch(db, keys - i < BATCH ? keys - i : BATCH, itself, i);
    if (i % 100000 == 0 && anonymous() > memory) memory = anonymous();
  }
  double rate = (double)keys / (now() - start);
  must(toon_close(db, &err));
  printf("%.0f %.1f\n", rate, memory);
}

static void reads(const char *directory, size_t keys) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  double samples[ROUNDS];
  size_t sum = 0;
  for (int round = -2; round < ROUNDS; round++) { /* two to touch the mapped pages */
    double start = now();
    for (size_t i = 0; i < READS; i++) sum += get(db, below(keys));
    if (round >= 0) samples[round] = READS / (now() - start);
  }
  ensure(sum == (size_t)READS * (ROUNDS + 2) * (value.len + 3), "a value has another length");
  printf("%.0f\n", median(samples, ROUNDS));
  must(toon_close(db, &err));
}

static size_t scan_all(toon_db *db, double *memory) {
  toon_range range = {0};
  toon_cursor *cursor;
  size_t rows = 0;
  must(toon_cursor_open(db, NULL, &range, &cursor, &err));
  for (;; rows++) {
    toon_key key;
    toon_row row;
    bool end;
    must(toon_cursor_next(cursor, false, &key, &row, &end, &err));
    if (end) break;
    ensure(row.field.len == value.len + 3, "a value has another length");
    if (memory && rows % 100000 == 0 && anonymous() > *memory) *memory = anonymous();
  }
  toon_cursor_close(cursor);
  return rows;
}

static void scan(const char *directory, size_t keys) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  double samples[ROUNDS];
  for (int round = -1; round < ROUNDS; round++) {
    double start = now();
    ensure(scan_all(db, NULL) == keys, "not all keys were scanned");
    if (round >= 0) samples[round] = (double)keys / (now() - start);
  }
  printf("%.0f\n", median(samples, ROUNDS));
  must(toon_close(db, &err));
}

static void batches(const char *directory, size_t keys, size_t rows) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  key_count = keys;
  put_batch(db, BATCH, random_key, 0);
  double start = now();
  for (size_t i = 0; i < rows; i += BATCH) put_batch(db, BATCH, random_key, 0);
  printf("%.0f\n", (double)rows / (now() - start));
  must(toon_close(db, &err));
}

static void commits(const char *directory, toon_durability durability, size_t rows, size_t per_commit) {
  toon_db *db = open_store(directory, durability);
  size_t warm = rows / 10 / per_commit * per_commit;
  double start = 0;
  for (size_t i = 0; i < rows + warm; i += per_commit) {
    if (i == warm) start = now();
    put_batch(db, per_commit, itself, i);
  }
  printf("%.0f\n", (double)rows / (now() - start));
  must(toon_close(db, &err));
}

static void write_and_wait(const char *directory, size_t bytes) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  size_t rows = bytes / (BENCH_KEY + value.len);
  double start = now();
  for (size_t i = 0; i < rows; i += BATCH) put_batch(db, BATCH, itself, i);
  printf("%.0f %zu\n", (double)rows / (now() - start), rows);
  fflush(stdout);
  for (;;) pause();
}

static void reopen(const char *directory, size_t keys) {
  double start = now();
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  size_t len = get(db, keys / 2);
  double time = now() - start;
  toon_buf json = {0};
  ensure(len == value.len + 3, "a value has another length");
  must(toon_stats(db, &json, &err));
  char *recovery = memmem(json.ptr, json.len, "\"recovery\"", 10);
  printf("%.3f %.*s\n", time * 1e3, (int)((char *)json.ptr + json.len - recovery), recovery);
  must(toon_close(db, &err));
}

static void memory(const char *directory, size_t keys) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  size_t sum = 0;
  for (size_t i = 0; i < READS; i++) sum += get(db, below(keys));
  double before = anonymous(), most = 0;
  ensure(scan_all(db, &most) == keys && sum, "not all keys were scanned");
  printf("%.1f %.1f\n", before, most);
  must(toon_close(db, &err));
}

/* ---- latency ---- */

static _Atomic bool stop;
static void *write_all_the_time(void *db) {
  while (!stop) put_batch(db, BATCH, random_key, 0);
  return NULL;
}
static void *checkpoint_all_the_time(void *db) {
  size_t *count = malloc(2 * sizeof *count);
  for (count[0] = count[1] = 0; !stop; count[0]++) {
    must(toon_checkpoint(db, &err));
    toon_status status = toon_compact(db, NULL, NULL, NULL); /* TOON_EINVAL: one is under way by itself */
    count[1] += status == TOON_OK;
  }
  return count;
}

static void latency(const char *directory, size_t keys) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  pthread_t writer, upkeep;
  double *samples = malloc(LATENCIES * sizeof *samples);
  size_t count = 0, sum = 0;
  uint64_t own = 7; /* the other thread draws from rng */
  void *done;
  key_count = keys;
  for (size_t i = 0; i < READS; i++) sum += get(db, below(keys));
  for (size_t i = 0; i < LATENCIES; i++) samples[i] = 0; /* touched now, not between reads */
  pthread_create(&writer, NULL, write_all_the_time, db);
  pthread_create(&upkeep, NULL, checkpoint_all_the_time, db);
  double start = now(), before = start;
  while (count < LATENCIES && before - start < LATENCY_SECONDS) {
    sum += get(db, mix(own++) % keys);
    double after = now();
    samples[count++] = after - before;
    before = after;
  }
  stop = true;
  pthread_join(writer, NULL);
  pthread_join(upkeep, &done);
  ensure(sum && ((size_t *)done)[0] && ((size_t *)done)[1], "no checkpoint or no compaction took place");
  qsort(samples, count, sizeof *samples, cmp_double);
  printf("%.2f %.2f %.2f %zu %zu %zu\n", samples[count - count / 1000 - 1] * 1e6,
         samples[count - count / 10000 - 1] * 1e6, samples[count - 1] * 1e6, count, ((size_t *)done)[0],
         ((size_t *)done)[1]);
  must(toon_close(db, &err));
}

/* ---- disk ---- */

static double bytes_on_disk(const char *directory) {
  char path[4096];
  double bytes = 0;
  DIR *dir = opendir(directory);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) bytes += (double)st.st_size;
  }
  if (dir) closedir(dir);
  return bytes;
}

static void overwrite(const char *directory, size_t bytes) {
  toon_db *db = open_store(directory, TOON_DURABLE_INTERVAL);
  size_t rows = bytes / (BENCH_KEY + value.len), same = 0;
  double most = 0, size = 0;
  for (int round = 0; round < 4; round++)
    for (size_t i = 0; i < rows; i += BATCH) {
      put_batch(db, rows - i < BATCH ? rows - i : BATCH, itself, i);
      if (i % 20000 == 0 && bytes_on_disk(directory) > most) most = bytes_on_disk(directory);
    }
  while (same < 20) { /* until nothing has changed for two seconds */
    usleep(100000);
    double new_size = bytes_on_disk(directory);
    same = new_size == size ? same + 1 : 0;
    size = new_size;
  }
  printf("%.1f %.1f %.1f\n", size / 1e6, most / 1e6, (double)(rows * (BENCH_KEY + value.len)) / 1e6);
  must(toon_close(db, &err));
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "engine_bench COMMAND DIRECTORY [COUNT [COUNT]]\n"), 1;
  const char *command = argv[1], *directory = argv[2], *size = getenv("VALUE");
  size_t count = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000000,
         rows = argc > 4 ? strtoull(argv[4], NULL, 10) : count;
  size_t len = size ? strtoull(size, NULL, 10) : 100;
  ensure(len < sizeof text, "VALUE is too large");
  for (size_t i = 0; i < len; i++) text[i] = "abcdefghij klmnop"[i % 17];
  value = toon_slice_of(text, len);
  if (strcmp(command, "load") == 0)
    load(directory, count);
  else if (strcmp(command, "reads") == 0)
    reads(directory, count);
  else if (strcmp(command, "scan") == 0)
    scan(directory, count);
  else if (strcmp(command, "batches") == 0)
    batches(directory, count, rows);
  else if (strcmp(command, "singles") == 0)
    commits(directory, TOON_DURABLE_INTERVAL, 500000, 1);
  else if (strcmp(command, "durable") == 0)
    commits(directory, TOON_DURABLE_COMMIT, 1000000, BATCH);
  else if (strcmp(command, "write") == 0)
    write_and_wait(directory, count);
  else if (strcmp(command, "reopen") == 0)
    reopen(directory, count);
  else if (strcmp(command, "memory") == 0)
    memory(directory, count);
  else if (strcmp(command, "latency") == 0)
    latency(directory, count);
  else if (strcmp(command, "overwrite") == 0)
    overwrite(directory, count);
  else
    return fprintf(stderr, "no such command: %s\n", command), 1;
  return 0;
}
