/* How fast runs of the index are written and read: entries a second, 16-byte keys (hex of random numbers, sorted),
 * usual entries. One thread, file in the page cache. Figures are the best of three rounds.
 *   cc -O2 -std=c11 -D_GNU_SOURCE -Icsrc bench/c/run_bench.c csrc/index/run_*.c csrc/base/alloc.c csrc/base/buf.c \
 *      csrc/base/crc32c.c csrc/base/status.c csrc/os/posix.c -pthread -o /tmp/run_bench
 *   /tmp/run_bench [entries, default 1000000] [directory, default /tmp] */
#include "bench.h"
#include "index/run.h"

#include <unistd.h>

enum { KEY = BENCH_KEY, STORE = 7, NUMBER = 1, ROUNDS = 3 };

static int cmp_u64(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* The keys in order, and entries made up on the way. */
typedef struct rows {
  const uint8_t *keys;
  size_t len, next;
} rows;

static toon_status rows_next(void *ctx, toon_key *key, index_entry *entry, bool *end, toon_error *e) {
  rows *r = ctx;
  (void)e;
  *end = r->next == r->len;
  if (*end) return TOON_OK;
  uint64_t i = r->next++, m = mix(i + 1);
  *key = toon_user_key(r->keys + i * KEY, KEY);
  *entry = (index_entry){.sequence = 1000 + m % (r->len / 10 + 1),
                         .segment = (uint32_t)(m >> 20 & 15),
                         .position = (uint32_t)(m >> 32),
                         .length = 120,
                         .crc = (uint32_t)m,
                         .kind = INDEX_PUT,
                         .flags = 5,
                         .field = 18};
  return TOON_OK;
}

static double best[9];
static const char *const names[] = {
    "write",  "write without datasync", "get, random", "get, absent", "cursor next", "cursor prev", "seek, random",
    "verify", "get, random, prefetched"};
static void note(int what, double count, double seconds) {
  if (count / seconds > best[what]) best[what] = count / seconds;
}

static int no_sync(os_vfs *vfs, os_file *file) {
  (void)vfs, (void)file;
  return 0;
}

int main(int argc, char **argv) {
  size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, probes = n < 2000000 ? n : 2000000;
  char path[256];
  snprintf(path, sizeof path, "%s/run_bench.%d", argc > 2 ? argv[2] : "/tmp", (int)getpid());
  uint64_t *values = malloc((n + 1) * sizeof *values);
  uint8_t *keys = malloc(n * KEY + 1), *here = malloc(probes * KEY + 1), *gone = malloc(probes * KEY + 1);
  for (size_t i = 0; i < n; i++) values[i] = mix(i * 2) & ((1ull << 60) - 1); /* what a key shows */
  qsort(values, n, sizeof *values, cmp_u64);
  for (size_t i = 0; i < n; i++) bench_key(values[i], keys + i * KEY);
  for (size_t i = 0; i < probes; i++) {
    memcpy(here + i * KEY, keys + mix(i + 99) % n * KEY, KEY);
    bench_key(mix(i * 2 + 1), gone + i * KEY);
  }
  free(values);

  index_run *run;
  index_run_info info = {0};
  rows r = {keys, n, 0};
  index_source source = {&r, rows_next};
  os_vfs *posix = os_posix(), lazy = *posix;
  lazy.datasync = no_sync;
  double t, opening = 1e9;
  for (int round = 0; round < ROUNDS; round++) {
    for (int sync = 0; sync < 2; sync++) {
      info = (index_run_info){.number = NUMBER, .store_id = STORE};
      r.next = 0;
      t = now();
      must(index_run_write(sync ? posix : &lazy, path, &source, &info, NULL, NULL, &err));
      note(sync ? 0 : 1, (double)n, now() - t);
    }
  }
  index_run_cursor *c = malloc(sizeof *c);
  uint64_t sum = 0;
  for (int round = 0; round < ROUNDS; round++) {
    t = now();
    must(index_run_open(posix, path, NUMBER, STORE, 0, &run, &err));
    t = now() - t;
    if (t < opening) opening = t;
    t = now();
    must(index_run_verify(run, &err));
    note(7, (double)n, now() - t);
    for (int absent = 0; absent < 2; absent++) {
      const uint8_t *probe = absent ? gone : here;
      size_t found_count = 0;
      t = now();
      for (size_t i = 0; i < probes; i++) {
        toon_key key = toon_user_key(probe + i * KEY, KEY);
        index_entry entry;
        bool found;
        must(index_run_get(run, key, index_key_hash(STORE, key), &entry, &found, &err));
        if (found) {
          found_count++;
          sum += entry.position;
        }
      }
      note(2 + absent, (double)probes, now() - t);
      if (found_count != (absent ? 0 : probes)) return fprintf(stderr, "%zu found\n", found_count), 1;
    }
    t = now();
    uint64_t hashes[16] = {0};
    for (size_t i = 0; i < probes + 16; i++) {
      if (i >= 16) {
        index_entry entry;
        bool found;
        toon_key key = toon_user_key(here + (i - 16) * KEY, KEY);
        must(index_run_get(run, key, hashes[i % 16], &entry, &found, &err));
        sum += entry.position;
      }
      if (i >= 8 && i < probes + 8) index_run_prefetch_entry(run, hashes[(i - 8) % 16]);
      if (i < probes) {
        hashes[i % 16] = index_key_hash(STORE, toon_user_key(here + i * KEY, KEY));
        index_run_prefetch(run, hashes[i % 16]);
      }
    }
    note(8, (double)probes, now() - t);
    index_run_cursor_init(c, run);
    for (int back = 0; back < 2; back++) {
      size_t count = 0;
      t = now();
      must(index_run_seek(c, NULL, true, back, &err));
      for (; c->valid; count++) {
        sum += c->entry.position + c->key.ptr[15];
        must(back ? index_run_prev(c, &err) : index_run_next(c, &err));
      }
      note(4 + back, (double)count, now() - t);
      if (count != n) return fprintf(stderr, "%zu scanned\n", count), 1;
    }
    t = now();
    for (size_t i = 0; i < probes; i++) {
      toon_key key = toon_user_key(gone + i * KEY, KEY);
      must(index_run_seek(c, &key, true, false, &err));
      sum += c->entry.position;
    }
    note(6, (double)probes, now() - t);
    index_run_close(run);
  }
  unlink(path);
  printf("%zu entries, %.1f bytes each, opened in %.2f ms (check %llx)\n", n, (double)info.file_size / (double)n,
         opening * 1e3, (unsigned long long)sum);
  for (int i = 0; i < 9; i++) printf("%-24s %8.2f M/s\n", names[i], best[i] / 1e6);
  return 0;
}
