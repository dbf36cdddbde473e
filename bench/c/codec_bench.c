/* The codec from text to text: JSON to TOON and TOON to JSON, in MB/s of JSON text. One thread; the output buffer is kept
 * from call to call, as its owner would. Each figure is the median of SAMPLES samples of some milliseconds, after a warm-up.
 * Prints a line for each file: the one rate, the other. `npm run bench:codec` makes the files and runs it. By hand:
 *   cc -O3 -DNDEBUG -std=c11 -D_GNU_SOURCE -Icsrc bench/c/codec_bench.c csrc/{base,toon}/[a-z]*.c -lm -o /tmp/codec_bench
 *   /tmp/codec_bench MILLISECONDS FILE.json...   (of a sample; 20 is good) */
#include "bench.h"
#include "toon/toon.h"

enum { SAMPLES = 15, WARM_UP = 5 };

typedef toon_status convert(toon_slice in, const toon_text_options *options, toon_buf *out, toon_error *err);

static toon_buf read_file(const char *path) {
  toon_buf buf = {0};
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  size_t got;
  do {
    must(toon_buf_reserve(&buf, 65536));
    got = fread(buf.ptr + buf.len, 1, 65536, file);
    buf.len += got;
  } while (got);
  fclose(file);
  return buf;
}

/* Calls a second. *out: the last result. */
static double rate(convert *fn, toon_slice in, double seconds, toon_buf *out) {
  double samples[SAMPLES];
  size_t calls = 1, len = 0;
  for (int i = -WARM_UP; i < SAMPLES; i++) {
    double start = now(), t;
    for (size_t n = 0; n < calls; n++) {
      out->len = 0;
      must(fn(in, NULL, out, &err));
      if (len == 0) len = out->len;
      if (out->len != len) exit(fprintf(stderr, "another length: %zu, %zu\n", out->len, len));
    }
    t = now() - start;
    if (t < seconds) { /* so many that a sample takes its time; measure again */
      calls = t < seconds / 20 ? calls * 10 : (size_t)((double)calls * seconds / t * 1.2) + 1;
      i--;
      continue;
    }
    if (i >= 0) samples[i] = (double)calls / t;
  }
  return median(samples, SAMPLES);
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "codec_bench MILLISECONDS FILE.json...\n"), 1;
  double seconds = strtod(argv[1], NULL) / 1000;
  for (int i = 2; i < argc; i++) {
    toon_buf json = read_file(argv[i]), toon = {0}, back = {0};
    double encode = rate(toon_encode, toon_buf_slice(&json), seconds, &toon);
    double decode = rate(toon_decode, toon_buf_slice(&toon), seconds, &back);
    if (!toon_slice_eq(toon_buf_slice(&json), toon_buf_slice(&back)))
      return fprintf(stderr, "%s: not the same\n", argv[i]), 1;
    printf("%.1f %.1f\n", encode * (double)json.len / 1e6, decode * (double)json.len / 1e6);
    toon_buf_free(&json), toon_buf_free(&toon), toon_buf_free(&back);
  }
  return 0;
}
