/* What the cache of decoded rows wins: reads of hot keys as bytes, by toon_get and toon_row_value and through toon_cache_get,
 * for texts that are stored as they are, texts that are quoted, documents and bytes, among few and many keys. Compile with all of csrc's .c files of
 * the engine: cc -O3 -std=c11 -D_GNU_SOURCE -Icsrc -Ibench/c bench/c/cache_bench.c csrc/{base,os,toon,log,index,cache,store}/x.c -lpthread
 * Usage: cache_bench DIRECTORY KEYS HOT */
#include "bench.h"
#include "toonstore.h"

#include <string.h>

static size_t make(int kind, uint32_t n, char *out, toon_input *input) {
  static const char *const words[] = {"store", "engine", "memory", "page", "segment", "commit", "snapshot", "index"};
  size_t len = 0;
  *input = kind == 3 ? TOON_INPUT_BYTES : kind == 2 ? TOON_INPUT_JSON : TOON_INPUT_STRING;
  if (kind == 2) {
    len = (size_t)sprintf(
        out, "{\"id\":%u,\"name\":\"user %u\",\"active\":true,\"tags\":[\"a\",\"b\",\"c\"],\"items\":[", n, n);
    for (int i = 0; i < 12; i++)
      len +=
          (size_t)sprintf(out + len, "%s{\"sku\":\"A-%d\",\"count\":%d,\"price\":%d.5}", i ? "," : "", i * 7, i, i * 3);
    return len + (size_t)sprintf(out + len, "],\"owner\":{\"name\":\"Ada\",\"since\":\"2026-01-01\"}}");
  }
  while (len < 1000)
    len += (size_t)sprintf(out + len, kind == 1 && len % 5 == 0 ? "%s, \"%s\": " : "%s ", words[(n + len) % 8],
                           words[n % 8]);
  out[len++] = 'x';
  return len;
}

static toon_key key_of(uint32_t n, uint8_t *bytes) {
  memcpy(bytes, "keyskeys", 8);
  uint64_t digits = hex8(n);
  memcpy(bytes + 8, &digits, 8);
  return toon_user_key(bytes, BENCH_KEY);
}

int main(int argc, char **argv) {
  static const char *const names[] = {"plain text", "quoted text", "document", "bytes"};
  ensure(argc == 4, "cache_bench DIRECTORY KEYS HOT");
  uint32_t keys = (uint32_t)atoi(argv[2]), hot = (uint32_t)atoi(argv[3]);
  for (int kind = 0; kind < 4; kind++) {
    char dir[500], value[4096];
    uint8_t bytes[BENCH_KEY];
    snprintf(dir, sizeof dir, "%s/%d", argv[1], kind);
    toon_options options = toon_options_default();
    options.durability = TOON_DURABLE_INTERVAL;
    options.max_db_size = (uint64_t)1 << 40;
    toon_db *db;
    must(toon_open(dir, &options, &db, &err));
    for (uint32_t n = 0; n < keys;) {
      toon_batch *batch;
      must(toon_batch_new(db, &batch, &err));
      for (int i = 0; i < 1000 && n < keys; i++, n++) {
        toon_input input;
        size_t len = make(kind, n, value, &input);
        must(toon_batch_put(batch, key_of((uint32_t)mix(n), bytes), input, toon_slice_of(value, len), NULL, &err));
      }
      must(toon_commit(db, batch, &err));
      toon_batch_free(batch);
    }
    must(toon_checkpoint(db, &err));
    toon_cache *cache;
    must(toon_cache_open(db, 2 * (uint64_t)hot, (uint64_t)1 << 32, &cache, &err));
    double ns[2][5];
    toon_buf out = {0};
    uint64_t total[2] = {0, 0};
    for (int round = 0; round < 6; round++)
      for (int cached = 0; cached < 2; cached++) {
        const uint32_t reads = 400000;
        double start = now();
        for (uint32_t i = 0; i < reads; i++) {
          toon_key key = key_of((uint32_t)mix((uint32_t)(mix(i) % hot)), bytes);
          toon_row row;
          bool found;
          out.len = 0;
          if (cached) {
            must(toon_cache_get(cache, key, &out, &row, &found, &err));
          } else {
            must(toon_get(db, NULL, key, &row, &found, &err));
            must(toon_row_value(&row, &out, &err));
            toon_row_release(db, &row);
          }
          total[cached] += out.len;
        }
        if (round > 0) ns[cached][round - 1] = (now() - start) / reads * 1e9;
      }
    ensure(total[0] == total[1], "the two did not read the same");
    double plain = median(ns[0], 5), by_cache = median(ns[1], 5);
    printf("%-12s %u keys, %u hot: %4.0f ns, cached %4.0f ns, %.2f x\n", names[kind], keys, hot, plain, by_cache,
           plain / by_cache);
    toon_buf_free(&out);
    toon_cache_close(cache);
    must(toon_close(db, &err));
  }
  return 0;
}
