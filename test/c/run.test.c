/* Runs of the index: what is written is read back, any way of reading;
 * what is damaged is reported, never returned. */
#include "check.h"

#include "memory.h"
#include "index/run_format.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* ---- a file system of one file and what is spilled, in memory; a mapping is a block of its own, so that ASan sees reads beyond it ---- */

typedef struct one_file {
  os_vfs vfs;
  uint8_t *ptr;
  size_t len, cap;
  bool there;
  int opens, maps;   /* not yet closed, unmapped */
  int fail_at, calls; /* call number fail_at fails with EIO; -1: none */
  int synced;
  struct one_file *spill; /* the file beside it, while it is open */
} one_file;

static int fails(one_file *f) { return f->calls++ == f->fail_at ? EIO : 0; }

static int of_open(os_vfs *vfs, const char *path, unsigned flags, os_file **out) {
  one_file *f = vfs->ctx;
  if (fails(f)) return EIO;
  if (strcmp(path, RUN_SPILL_NAME) == 0) {
    *out = (os_file *)(f->spill = calloc(1, sizeof *f));
    f->spill->there = true;
    f->opens++;
    return 0;
  }
  if (!(flags & OS_CREATE) && !f->there) return ENOENT;
  if ((flags & OS_EXCLUSIVE) && f->there) return EEXIST;
  if (flags & OS_CREATE) f->there = true;
  f->opens++;
  *out = (os_file *)f;
  return 0;
}
static int of_close(os_vfs *vfs, os_file *file) {
  one_file *f = vfs->ctx;
  f->opens--;
  if (file != (os_file *)f) { /* nobody asks what becomes of it */
    CHECK(!f->spill->there);
    free(f->spill->ptr);
    free(f->spill);
    f->spill = NULL;
    return 0;
  }
  return fails(f);
}
static int of_pwrite(os_vfs *vfs, os_file *file, const void *ptr, size_t len, uint64_t offset) {
  one_file *f = vfs->ctx;
  if (fails(f)) return EIO;
  f = (one_file *)file;
  if (offset + len > f->cap) {
    f->cap = (offset + len) * 2;
    f->ptr = realloc(f->ptr, f->cap);
  }
  if (offset > f->len) memset(f->ptr + f->len, 0, offset - f->len);
  memcpy(f->ptr + offset, ptr, len);
  if (offset + len > f->len) f->len = offset + len;
  return 0;
}
static int of_pread(os_vfs *vfs, os_file *file, void *ptr, size_t len, uint64_t offset, size_t *got) {
  one_file *f = vfs->ctx;
  if (fails(f)) return EIO;
  f = (one_file *)file;
  *got = offset > f->len ? 0 : f->len - offset < len ? f->len - offset : len;
  if (*got) memcpy(ptr, f->ptr + offset, *got);
  return 0;
}
static int of_datasync(os_vfs *vfs, os_file *file) {
  (void)file;
  one_file *f = vfs->ctx;
  if (fails(f)) return EIO;
  f->synced++;
  return 0;
}
static int of_fstat(os_vfs *vfs, os_file *file, os_stat *out) {
  one_file *f = vfs->ctx;
  (void)file;
  if (fails(f)) return EIO;
  *out = (os_stat){.size = f->len, .nlink = 1};
  return 0;
}
static int of_map(os_vfs *vfs, os_file *file, size_t len, const uint8_t **out) {
  one_file *f = vfs->ctx;
  (void)file;
  if (fails(f)) return EIO;
  uint8_t *copy = malloc(len);
  memcpy(copy, f->ptr, len);
  f->maps++;
  *out = copy;
  return 0;
}
static void of_unmap(os_vfs *vfs, const uint8_t *ptr, size_t len) {
  (void)len;
  ((one_file *)vfs->ctx)->maps--;
  free((void *)ptr);
}
static int of_unlink(os_vfs *vfs, const char *path) {
  one_file *f = vfs->ctx;
  bool spill = strcmp(path, RUN_SPILL_NAME) == 0;
  if (spill) f->spill->there = false;
  if (fails(f)) return EIO;
  if (spill) return 0;
  if (!f->there) return ENOENT;
  f->there = false;
  f->len = 0;
  return 0;
}

static void one_file_init(one_file *f) {
  memset(f, 0, sizeof *f);
  f->vfs = (os_vfs){.ctx = f,
                    .open = of_open,
                    .close = of_close,
                    .pwrite = of_pwrite,
                    .pread = of_pread,
                    .datasync = of_datasync,
                    .fstat = of_fstat,
                    .map = of_map,
                    .unmap = of_unmap,
                    .unlink = of_unlink};
  f->fail_at = -1;
}
static void one_file_free(one_file *f) {
  CHECK_EQ(f->opens, 0);
  CHECK_EQ(f->maps, 0);
  free(f->ptr);
}

/* ---- random rows, and the sorted table they are compared with ---- */

static uint64_t rng_state = 1;
static uint64_t rng(void) {
  uint64_t z = rng_state += 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}
static uint64_t below(uint64_t n) { return rng() % n; }

typedef struct row {
  toon_key key;
  index_entry entry;
} row;

typedef struct table {
  row *rows;
  size_t len, next;
  int64_t *net_keys; /* set at the end of the source, as a merge does */
  int fail_after;    /* the source fails then; -1: never */
} table;

static int cmp_rows(const void *a, const void *b) { return toon_key_cmp(((const row *)a)->key, ((const row *)b)->key); }

static index_entry random_entry(void) {
  index_entry e = {0};
  bool wild = below(8) == 0;
  e.sequence = wild ? rng() : 1000000 + below(100000);
  e.segment = wild ? (uint32_t)rng() : (uint32_t)below(200);
  e.position = (uint32_t)rng();
  e.length = wild ? (uint32_t)rng() : (uint32_t)below(5000);
  e.crc = (uint32_t)rng();
  e.expires = below(3) ? 0 : wild ? (int64_t)rng() : 1700000000000 + (int64_t)below(10000000);
  e.kind = below(4) ? INDEX_PUT : INDEX_DELETE;
  e.flags = (uint8_t)rng();
  e.field = wild ? (uint16_t)rng() : (uint16_t)below(40);
  return e;
}

enum { SHORT, RANDOM, LONG, PREFIXED, HIGH, ROWS, MIXED, STYLES };

static toon_key random_key(int style) {
  static uint8_t common[TOON_KEY_MAX];
  static bool ready;
  if (!ready)
    for (size_t i = 0; i < sizeof common; i++) common[i] = (uint8_t)rng();
  ready = true;
  if (style == MIXED) style = (int)below(MIXED);
  uint32_t len = (uint32_t)below(style == SHORT ? 4 : 60);
  if (style == LONG) len = below(4) ? 1000 + (uint32_t)below(3097) : TOON_KEY_MAX;
  if (style == PREFIXED) len = below(2) ? 4080 + (uint32_t)below(17) : (uint32_t)below(4097);
  if (style == ROWS) len = 8;
  uint8_t *ptr = malloc(len + 1);
  for (uint32_t i = 0; i < len; i++)
    ptr[i] = (uint8_t)(style == HIGH ? 0xFE + below(2) : style == SHORT ? 'a' + below(6) : rng());
  if (style == PREFIXED) {
    uint32_t same = len - (len > 3 ? (uint32_t)below(4) : 0);
    if (below(4) == 0) same = (uint32_t)below(len + 1);
    memcpy(ptr, common, same);
  }
  if (style == ROWS) memset(ptr, 0, 5);
  return (toon_key){ptr, len, style == ROWS ? TOON_SPACE_ROW : (uint8_t)(below(5) == 0)};
}

static void table_make(table *t, size_t n, int style) {
  *t = (table){.rows = malloc((n + 1) * sizeof(row)), .fail_after = -1};
  for (size_t i = 0; i < n; i++) t->rows[i] = (row){random_key(style), random_entry()};
  qsort(t->rows, n, sizeof(row), cmp_rows);
  for (size_t i = 0; i < n; i++) {
    if (t->len && cmp_rows(&t->rows[t->len - 1], &t->rows[i]) == 0) free((void *)t->rows[i].key.ptr);
    else t->rows[t->len++] = t->rows[i];
  }
}
static void table_free(table *t) {
  for (size_t i = 0; i < t->len; i++) free((void *)t->rows[i].key.ptr);
  free(t->rows);
}
/* The number of rows < key, or <= key. */
static size_t rows_below(const table *t, toon_key key, bool or_equal) {
  size_t low = 0, high = t->len;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int c = toon_key_cmp(t->rows[middle].key, key);
    if (c < 0 || (or_equal && c == 0)) low = middle + 1;
    else high = middle;
  }
  return low;
}

static toon_status table_next(void *ctx, toon_key *key, index_entry *entry, bool *end, toon_error *err) {
  table *t = ctx;
  if (t->fail_after >= 0 && t->next == (size_t)t->fail_after) return toon_fail(err, TOON_ECORRUPT, "the source");
  *end = t->next == t->len;
  if (*end && t->net_keys) {
    t->net_keys[0] = 77;
    t->net_keys[1] = -5;
  }
  if (*end) return TOON_OK;
  *key = t->rows[t->next].key;
  *entry = t->rows[t->next++].entry;
  return TOON_OK;
}

static bool same_entry(const index_entry *a, const index_entry *b) {
  return index_entry_age(a, b) == 0 && a->length == b->length && a->crc == b->crc && a->expires == b->expires &&
         a->kind == b->kind && a->flags == b->flags && a->field == b->field;
}

enum { STORE = 0xC0FFEE, NUMBER = 9 };

static toon_status write_table(os_vfs *vfs, const char *path, table *t, index_run_info *info, toon_error *err) {
  *info = (index_run_info){.number = NUMBER, .store_id = STORE};
  t->next = 0;
  t->net_keys = info->net_keys;
  index_source source = {t, table_next};
  toon_status status = index_run_write(vfs, path, &source, info, NULL, NULL, err);
  t->net_keys = NULL; /* the caller's info goes before the table */
  return status;
}

static toon_status get(index_run *run, toon_key key, index_entry *entry, bool *found, toon_error *err) {
  uint64_t hash = index_key_hash(STORE, key);
  index_run_prefetch(run, hash);
  index_run_prefetch_entry(run, hash);
  return index_run_get(run, key, hash, entry, found, err);
}

/* ---- comparisons of a whole run with its table ---- */

static bool at_row(const index_run_cursor *c, const table *t, size_t i) {
  if (i >= t->len) return !c->valid;
  return c->valid && toon_key_eq(c->key, t->rows[i].key) && same_entry(&c->entry, &t->rows[i].entry);
}

static void check_gets(index_run *run, const table *t) {
  toon_error err;
  index_entry entry;
  bool found;
  int wrong = 0;
  for (size_t i = 0; i < t->len; i++) {
    found = false;
    if (get(run, t->rows[i].key, &entry, &found, &err) != TOON_OK || !found) wrong++;
    else if (!same_entry(&entry, &t->rows[i].entry)) wrong++;
  }
  CHECK_EQ(wrong, 0);
  for (int i = 0; i < 2000; i++) {
    toon_key key = random_key(i % STYLES);
    size_t at = rows_below(t, key, false);
    bool there = at < t->len && toon_key_eq(t->rows[at].key, key);
    if (get(run, key, &entry, &found, &err) != TOON_OK || found != there) wrong++;
    free((void *)key.ptr);
  }
  CHECK_EQ(wrong, 0);
}

static void check_scans(index_run *run, const table *t) {
  toon_error err;
  index_run_cursor *c = malloc(sizeof *c);
  index_run_cursor_init(c, run);
  CHECK(!c->valid);
  int wrong = 0;
  size_t i = 0;
  CHECK_EQ(index_run_seek(c, NULL, true, false, &err), TOON_OK);
  for (; i < t->len; i++) {
    if (!at_row(c, t, i)) wrong++;
    if (index_run_next(c, &err) != TOON_OK) wrong++;
  }
  CHECK(!c->valid);
  CHECK_EQ(index_run_next(c, &err), TOON_OK);
  CHECK(!c->valid);
  CHECK_EQ(index_run_seek(c, NULL, true, true, &err), TOON_OK);
  for (i = t->len; i-- > 0;) {
    if (!at_row(c, t, i)) wrong++;
    if (index_run_prev(c, &err) != TOON_OK) wrong++;
  }
  CHECK(!c->valid);
  CHECK_EQ(wrong, 0);
  free(c);
}

static void check_seek(index_run_cursor *c, const table *t, toon_key key) {
  toon_error err;
  for (int mode = 0; mode < 4; mode++) {
    bool inclusive = mode & 1, back = mode & 2;
    size_t want = rows_below(t, key, back == inclusive) - (back ? 1 : 0); /* SIZE_MAX: none */
    CHECK_EQ(index_run_seek(c, &key, inclusive, back, &err), TOON_OK);
    CHECK(at_row(c, t, want));
    if (!c->valid) continue;
    switch (below(4)) {
    case 0:
      CHECK_EQ(index_run_next(c, &err), TOON_OK);
      CHECK(at_row(c, t, want + 1));
      break;
    case 1:
      CHECK_EQ(index_run_prev(c, &err), TOON_OK);
      CHECK(at_row(c, t, want - 1));
      break;
    case 2: { /* on from its own key */
      CHECK_EQ(index_run_seek(c, &c->key, false, back, &err), TOON_OK);
      CHECK(at_row(c, t, back ? want - 1 : want + 1));
      break;
    }
    default: break;
    }
  }
}

static void check_seeks(index_run *run, const table *t) {
  index_run_cursor *c = malloc(sizeof *c);
  uint8_t *bytes = malloc(TOON_KEY_MAX + 1);
  index_run_cursor_init(c, run);
  size_t step = t->len / 300 + 1;
  for (size_t i = 0; i < t->len; i += 1 + below(step)) {
    toon_key key = t->rows[i].key;
    check_seek(c, t, key);
    if (key.len) memcpy(bytes, key.ptr, key.len);
    if (key.len < TOON_KEY_MAX) { /* just above */
      bytes[key.len] = 0;
      check_seek(c, t, (toon_key){bytes, key.len + 1, key.space});
    }
    if (key.len) { /* below, and a little off */
      check_seek(c, t, (toon_key){bytes, key.len - 1, key.space});
      bytes[below(key.len)]++;
      check_seek(c, t, (toon_key){bytes, key.len, key.space});
    }
  }
  for (uint32_t b = 0; b < index_run_blocks(run); b += 1 + (uint32_t)below(index_run_blocks(run) / 100 + 1)) {
    toon_error err;
    CHECK_EQ(index_run_seek_block(c, b, &err), TOON_OK);
    REQUIRE(c->valid && c->block == b && c->index == 0);
    check_seek(c, t, (toon_key){memcpy(bytes, c->key.ptr, c->key.len), c->key.len, c->key.space});
    int64_t least = 0;
    CHECK_EQ(index_run_seek_block(c, b, &err), TOON_OK);
    for (; c->valid && c->block == b; index_run_next(c, &err))
      if (c->entry.expires && (!least || c->entry.expires < least)) least = c->entry.expires;
    CHECK_EQ(index_run_block_expires(run, b), least);
  }
  for (int i = 0; i < 300; i++) {
    toon_key key = random_key(i % STYLES);
    check_seek(c, t, key);
    free((void *)key.ptr);
  }
  check_seek(c, t, (toon_key){NULL, 0, TOON_SPACE_USER});
  check_seek(c, t, (toon_key){NULL, 0, TOON_SPACE_ROW});
  free(c);
  free(bytes);
}

static void check_info(index_run *run, const table *t, const index_run_info *written) {
  const index_run_info *info = index_run_get_info(run);
  CHECK(memcmp(info, written, sizeof *info) == 0);
  index_run_info seen = {0};
  for (size_t i = 0; i < t->len; i++) {
    const index_entry *e = &t->rows[i].entry;
    if (!i || e->sequence < seen.min_sequence) seen.min_sequence = e->sequence;
    if (e->sequence > seen.max_sequence) seen.max_sequence = e->sequence;
    if (e->expires && (!seen.min_expires || e->expires < seen.min_expires)) seen.min_expires = e->expires;
    seen.puts += e->kind == INDEX_PUT;
  }
  CHECK_EQ(info->entries, t->len);
  CHECK_EQ(info->puts, seen.puts);
  CHECK_EQ(info->deletes, t->len - seen.puts);
  CHECK_EQ(info->min_sequence, seen.min_sequence);
  CHECK_EQ(info->max_sequence, seen.max_sequence);
  CHECK_EQ(info->min_expires, seen.min_expires);
  CHECK_EQ(info->net_keys[0], 77);
  CHECK_EQ(info->net_keys[1], -5);
  CHECK_EQ(info->number, NUMBER);
  CHECK_EQ(info->store_id, STORE);
  toon_key smallest, largest;
  CHECK_EQ(index_run_bounds(run, &smallest, &largest), t->len > 0);
  if (t->len) {
    CHECK(toon_key_eq(smallest, t->rows[0].key));
    CHECK(toon_key_eq(largest, t->rows[t->len - 1].key));
  }
}

static void round_trip(size_t n, int style, uint64_t verify_bytes) {
  one_file f;
  one_file_init(&f);
  table t;
  table_make(&t, n, style);
  toon_error err;
  index_run_info info;
  index_run *run;
  REQUIRE(write_table(&f.vfs, "run", &t, &info, &err) == TOON_OK);
  CHECK_EQ(f.synced, 1);
  CHECK_EQ(info.file_size, f.len);
  REQUIRE(index_run_open(&f.vfs, "run", NUMBER, STORE, verify_bytes, &run, &err) == TOON_OK);
  CHECK(strcmp(index_run_path(run), "run") == 0);
  check_info(run, &t, &info);
  check_gets(run, &t);
  check_scans(run, &t);
  check_seeks(run, &t);
  CHECK_EQ(index_run_verify(run, &err), TOON_OK);
  index_run_close(run);
  table_free(&t);
  one_file_free(&f);
}

TEST(reads_back_what_was_written) {
  static const size_t sizes[] = {0, 1, 2, 3, 50, 402, 403, 404, 3000};
  for (int style = 0; style < STYLES; style++) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      int before = check_failures_here;
      round_trip(sizes[i], style, i % 2 ? 0 : UINT64_MAX);
      if (check_failures_here != before) fprintf(stderr, "  with style %d, %zu keys\n", style, sizes[i]);
    }
  }
}

TEST(reads_back_a_large_run) { round_trip(60000, RANDOM, 0); }

TEST(reads_back_single_keys_of_every_length) {
  one_file f;
  one_file_init(&f);
  uint8_t *bytes = malloc(TOON_KEY_MAX);
  memset(bytes, 0xFF, TOON_KEY_MAX);
  for (uint32_t len = 0; len <= TOON_KEY_MAX; len += len < 20 || len > 3900 ? 1 : 61) {
    row r = {{bytes, len, (uint8_t)(len & 1)}, random_entry()};
    table t = {.rows = &r, .len = 1, .fail_after = -1};
    toon_error err;
    index_run_info info;
    index_run *run;
    REQUIRE(write_table(&f.vfs, "run", &t, &info, &err) == TOON_OK);
    REQUIRE(index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &run, &err) == TOON_OK);
    index_entry entry;
    bool found = false;
    CHECK_EQ(get(run, r.key, &entry, &found, &err), TOON_OK);
    CHECK(found && same_entry(&entry, &r.entry));
    CHECK_EQ(index_run_verify(run, &err), TOON_OK);
    index_run_close(run);
  }
  free(bytes);
  one_file_free(&f);
}

/* All keys at home in the last page, as no real hash would have it: they overflow into pages behind the homes. */
TEST(finds_keys_that_overflow_their_hash_page) {
  enum { N = 1700 };
  one_file f;
  one_file_init(&f);
  table t = {.rows = malloc(N * sizeof(row)), .fail_after = -1};
  uint64_t next = 0;
  while (t.len < N) { /* with 1700 entries there are 5 homes; take the keys of the last */
    uint8_t *ptr = malloc(8);
    toon_key key = toon_row_key(next++, ptr);
    if (run_hash_home(index_key_hash(STORE, key), 5) == 4) t.rows[t.len++] = (row){key, random_entry()};
    else free(ptr);
  }
  toon_error err;
  index_run_info info;
  index_run *run;
  REQUIRE(write_table(&f.vfs, "run", &t, &info, &err) == TOON_OK);
  REQUIRE(index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &run, &err) == TOON_OK);
  CHECK_EQ(run->hash_homes, 5);
  CHECK_EQ(run->hash_pages, 8); /* 1700 slots are 3.4 pages */
  check_gets(run, &t);
  CHECK_EQ(index_run_verify(run, &err), TOON_OK);
  index_run_close(run);
  table_free(&t);
  one_file_free(&f);
}

TEST(writes_the_same_bytes_for_the_same_entries) {
  one_file f, g;
  one_file_init(&f);
  one_file_init(&g);
  table t;
  table_make(&t, 5000, MIXED);
  toon_error err;
  index_run_info info;
  REQUIRE(write_table(&f.vfs, "run", &t, &info, &err) == TOON_OK);
  REQUIRE(write_table(&g.vfs, "run", &t, &info, &err) == TOON_OK);
  CHECK(f.len == g.len && memcmp(f.ptr, g.ptr, f.len) == 0);
  table_free(&t);
  one_file_free(&f);
  one_file_free(&g);
}

TEST(works_on_the_real_file_system) {
  char dir[] = "/tmp/toon-run-XXXXXX", path[64];
  REQUIRE(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/db.toon.idx-9", dir);
  table t, small;
  table_make(&t, 20000, MIXED);
  table_make(&small, 10, RANDOM);
  toon_error err;
  index_run_info info;
  index_run *run, *missing;
  REQUIRE(write_table(os_posix(), path, &t, &info, &err) == TOON_OK);
  REQUIRE(index_run_open(os_posix(), path, NUMBER, STORE, 0, &run, &err) == TOON_OK);
  check_gets(run, &t);
  /* A run that is replaced stays whole for who has it open. */
  REQUIRE(write_table(os_posix(), path, &small, &info, &err) == TOON_OK);
  check_scans(run, &t);
  index_run_close(run);
  REQUIRE(index_run_open(os_posix(), path, NUMBER, STORE, 0, &run, &err) == TOON_OK);
  check_scans(run, &small);
  index_run_close(run);
  unlink(path);
  CHECK_EQ(index_run_open(os_posix(), path, NUMBER, STORE, 0, &missing, &err), TOON_EIO);
  CHECK_EQ(err.os_errno, ENOENT);
  rmdir(dir);
  table_free(&t);
  table_free(&small);
}

/* ---- threads: pages are checked by whoever comes first ---- */

static struct {
  index_run *run;
  const table *t;
  atomic_int wrong;
} shared;

static void *read_all(void *arg) {
  uint64_t state = (uint64_t)(uintptr_t)arg * 7919;
  toon_error err;
  int wrong = 0;
  for (size_t i = 0; i < shared.t->len; i++) {
    const row *r = &shared.t->rows[(state += 12345) % shared.t->len];
    index_entry entry = {0};
    bool found = false;
    if (get(shared.run, r->key, &entry, &found, &err) != TOON_OK || !found || !same_entry(&entry, &r->entry)) wrong++;
  }
  index_run_cursor *c = malloc(sizeof *c);
  index_run_cursor_init(c, shared.run);
  size_t n = 0;
  if (index_run_seek(c, NULL, true, false, &err) != TOON_OK) wrong++;
  for (; c->valid && at_row(c, shared.t, n); n++)
    if (index_run_next(c, &err) != TOON_OK) wrong++;
  free(c);
  atomic_fetch_add(&shared.wrong, wrong + (n != shared.t->len));
  return NULL;
}

TEST(is_read_by_many_threads) {
  one_file f;
  one_file_init(&f);
  table t;
  table_make(&t, 20000, MIXED);
  toon_error err;
  index_run_info info;
  REQUIRE(write_table(&f.vfs, "run", &t, &info, &err) == TOON_OK);
  REQUIRE(index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &shared.run, &err) == TOON_OK);
  shared.t = &t;
  pthread_t threads[4];
  for (size_t i = 0; i < 4; i++) REQUIRE(pthread_create(&threads[i], NULL, read_all, (void *)(i + 1)) == 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(shared.wrong, 0);
  index_run_close(shared.run);
  table_free(&t);
  one_file_free(&f);
}

/* ---- refusals of the writer ---- */

TEST(refuses_what_it_cannot_write) {
  one_file f;
  one_file_init(&f);
  toon_error err;
  index_run_info info;
  static uint8_t big[TOON_KEY_MAX + 1];
  row wrong[][2] = {
      {{toon_user_key("b", 1), {0}}, {toon_user_key("a", 1), {0}}},
      {{toon_user_key("a", 1), {0}}, {toon_user_key("a", 1), {0}}},
      {{toon_user_key("ab", 2), {0}}, {toon_user_key("a", 1), {0}}},
      {{toon_user_key("abcdefghijkl", 12), {0}}, {toon_user_key("abcdefghijKl", 12), {0}}},
      {{{(const uint8_t *)"a", 1, TOON_SPACE_ROW}, {0}}, {toon_user_key("b", 1), {0}}},
      {{toon_user_key("", 0), {0}}, {toon_user_key("", 0), {0}}},
      {{toon_user_key("a", 1), {0}}, {toon_user_key(big, sizeof big), {0}}},
      {{toon_user_key("a", 1), {0}}, {{(const uint8_t *)"b", 1, TOON_SPACES}, {0}}},
      {{toon_user_key("a", 1), {0}}, {toon_user_key("b", 1), {.kind = 2}}},
  };
  memset(big, 'b', sizeof big);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    table t = {.rows = wrong[i], .len = 2, .fail_after = -1};
    CHECK_EQ(write_table(&f.vfs, "run", &t, &info, &err), TOON_EINVAL);
    CHECK_EQ(err.status, TOON_EINVAL);
    CHECK(!f.there);
    CHECK_EQ(info.entries, 0);
  }
  one_file_free(&f);
}

static bool cancel_later(void *ctx) { return --*(int *)ctx < 0; }

TEST(gives_up_when_told_and_when_the_source_fails) {
  one_file f;
  one_file_init(&f);
  table t;
  table_make(&t, 20000, RANDOM);
  toon_error err;
  for (int patience = 0;; patience++) {
    int left = patience;
    index_run_info info = {.number = NUMBER, .store_id = STORE};
    index_source source = {&t, table_next};
    t.next = 0;
    t.net_keys = NULL;
    toon_status status = index_run_write(&f.vfs, "run", &source, &info, cancel_later, &left, &err);
    if (status == TOON_OK) {
      CHECK(patience > 4);
      break;
    }
    CHECK_EQ(status, TOON_ETIMEOUT);
    CHECK(!f.there);
  }
  index_run_info info;
  t.fail_after = 10000;
  CHECK_EQ(write_table(&f.vfs, "run", &t, &info, &err), TOON_ECORRUPT);
  CHECK(strcmp(err.message, "the source") == 0);
  CHECK(!f.there);
  table_free(&t);
  one_file_free(&f);
}

TEST(removes_the_file_when_a_system_call_fails) {
  one_file f;
  one_file_init(&f);
  table t;
  table_make(&t, 2600, RANDOM); /* two spills */
  toon_error err;
  index_run_info info;
  int fail_at = 0;
  for (;; fail_at++) {
    f.calls = 0;
    f.fail_at = fail_at;
    toon_status status = write_table(&f.vfs, "run", &t, &info, &err);
    if (status == TOON_OK) break;
    CHECK_EQ(status, TOON_EIO);
    CHECK_EQ(err.os_errno, EIO);
    CHECK(strcmp(err.path, "run") == 0 || strcmp(err.path, RUN_SPILL_NAME) == 0);
    CHECK(!f.there || fail_at == 0);
    CHECK_EQ(f.opens, 0);
  }
  CHECK(fail_at >= 6); /* unlink, open, some writes, datasync, close */
  for (fail_at = 0;; fail_at++) {
    index_run *run = NULL;
    f.calls = 0;
    f.fail_at = fail_at;
    toon_status status = index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &run, &err);
    if (status == TOON_OK) {
      index_run_close(run);
      if (fail_at > 3) break;
      continue; /* close of a file that was only read may fail */
    }
    CHECK_EQ(status, TOON_EIO);
  }
  table_free(&t);
  one_file_free(&f);
}

TEST(survives_every_failing_allocation) {
  one_file f;
  one_file_init(&f);
  table t;
  table_make(&t, 3000, MIXED);
  toon_error err;
  index_run_info info;
  size_t live = toon_alloc_live();
  toon_status status = TOON_ENOMEM;
  for (int n = 0; status != TOON_OK; n++) {
    allow_allocations(n);
    status = write_table(&f.vfs, "run", &t, &info, &err);
    allow_all_allocations();
    CHECK(status == TOON_OK || (status == TOON_ENOMEM && err.status == TOON_ENOMEM));
    CHECK(status == TOON_OK || !f.there);
    CHECK_EQ(toon_alloc_live(), live);
  }
  status = TOON_ENOMEM;
  for (int n = 0; status != TOON_OK; n++) {
    index_run *run;
    allow_allocations(n);
    status = index_run_open(&f.vfs, "run", NUMBER, STORE, UINT64_MAX, &run, &err);
    toon_status verified = status == TOON_OK ? index_run_verify(run, &err) : TOON_ENOMEM;
    allow_all_allocations();
    CHECK(verified == TOON_OK || verified == TOON_ENOMEM);
    if (status == TOON_OK) index_run_close(run);
    if (verified == TOON_ENOMEM) status = TOON_ENOMEM;
    CHECK_EQ(toon_alloc_live(), live);
  }
  table_free(&t);
  one_file_free(&f);
}

/* ---- damage ---- */

static bool is_damage(toon_status status, const toon_error *err, size_t len) {
  return (status == TOON_ECORRUPT || status == TOON_EFORMAT) && err->status == status &&
         strcmp(err->path, "run") == 0 && err->offset >= 0 && err->offset <= (int64_t)len;
}

/* Read a run that may be damaged in all ways. Every answer is right (if `strict`) or an error. Returns the errors. */
static int read_damaged(one_file *f, const table *t, uint64_t verify_bytes, bool strict) {
  toon_error err;
  index_run *run;
  int errors = 0;
  toon_status status = index_run_open(&f->vfs, "run", NUMBER, STORE, verify_bytes, &run, &err);
  if (status != TOON_OK) {
    CHECK(is_damage(status, &err, f->len));
    return 1;
  }
  index_run_cursor *c = malloc(sizeof *c);
  index_run_cursor_init(c, run);
  for (size_t i = 0; i < t->len; i++) {
    index_entry entry;
    bool found = false;
    status = get(run, t->rows[i].key, &entry, &found, &err);
    if (status != TOON_OK) {
      CHECK(is_damage(status, &err, f->len));
      CHECK_EQ(get(run, t->rows[i].key, &entry, &found, &err), status); /* every time */
      errors++;
    } else if (strict) {
      CHECK(found && same_entry(&entry, &t->rows[i].entry));
    }
    status = index_run_seek(c, &t->rows[i].key, true, i & 1, &err);
    if (status != TOON_OK) {
      CHECK(is_damage(status, &err, f->len) && !c->valid);
      errors++;
    } else if (strict) {
      CHECK(at_row(c, t, i));
    }
  }
  for (int back = 0; back < 2; back++) {
    size_t i = back ? t->len - 1 : 0;
    status = index_run_seek(c, NULL, true, back, &err);
    while (status == TOON_OK && c->valid) {
      if (strict) CHECK(at_row(c, t, i));
      volatile uint8_t touch = c->key.len ? c->key.ptr[c->key.len - 1] : 0;
      (void)touch;
      i = back ? i - 1 : i + 1;
      status = back ? index_run_prev(c, &err) : index_run_next(c, &err);
    }
    if (status != TOON_OK) {
      CHECK(is_damage(status, &err, f->len) && !c->valid);
      errors++;
    } else if (strict) {
      CHECK_EQ(i, back ? SIZE_MAX : t->len);
    }
  }
  status = index_run_verify(run, &err);
  if (status != TOON_OK) {
    CHECK(is_damage(status, &err, f->len));
    errors++;
  } else if (strict) {
    CHECK_EQ(errors, 0);
  }
  free(c);
  index_run_close(run);
  return errors;
}

static void small_run(one_file *f, table *t, size_t n, int style) {
  toon_error err;
  index_run_info info;
  one_file_init(f);
  table_make(t, n, style);
  REQUIRE(write_table(&f->vfs, "run", t, &info, &err) == TOON_OK);
}

TEST(reports_every_flipped_bit) {
  static const struct {
    size_t n;
    int style;
  } runs[] = {{0, SHORT}, {1, RANDOM}, {20, SHORT}, {200, RANDOM}, {8, LONG}, {60, PREFIXED}};
  for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
    one_file f;
    table t;
    small_run(&f, &t, runs[r].n, runs[r].style);
    size_t step = f.len / 1500 + 1;
    for (size_t at = 0; at < f.len; at += 1 + below(2 * step)) {
      uint8_t bit = (uint8_t)(1u << below(8));
      f.ptr[at] ^= bit;
      int lazy = read_damaged(&f, &t, 0, true), eager = read_damaged(&f, &t, UINT64_MAX, true);
      CHECK(lazy > 0);
      CHECK_EQ(eager, 1);
      f.ptr[at] ^= bit;
      if (check_failures_here) {
        fprintf(stderr, "  run %zu, byte %zu, bit %02x\n", r, at, bit);
        break;
      }
    }
    CHECK_EQ(read_damaged(&f, &t, 0, true), 0);
    table_free(&t);
    one_file_free(&f);
  }
}

TEST(reports_truncation_at_any_length) {
  one_file f;
  table t;
  small_run(&f, &t, 300, RANDOM);
  size_t len = f.len;
  for (size_t cut = 0; cut < len; cut += cut % RUN_PAGE == 0 || cut % RUN_PAGE == RUN_PAGE - 1 ? 1 : 1 + below(200)) {
    if (cut % RUN_PAGE && cut % RUN_PAGE + 200 > RUN_PAGE) cut |= RUN_PAGE - 1; /* the page boundaries exactly */
    f.len = cut < len ? cut : len;
    CHECK_EQ(read_damaged(&f, &t, 0, true), f.len < len);
  }
  f.len = len;
  CHECK_EQ(read_damaged(&f, &t, 0, true), 0);
  table_free(&t);
  one_file_free(&f);
}

TEST(reports_swapped_and_foreign_pages) {
  one_file f;
  table t;
  small_run(&f, &t, 2000, RANDOM);
  uint8_t *copy = malloc(f.len), page[RUN_PAGE];
  memcpy(copy, f.ptr, f.len);
  size_t pages = f.len / RUN_PAGE;
  for (size_t i = 0; i < pages; i++) {
    size_t other = (i + 1 + below(pages - 1)) % pages;
    memcpy(page, f.ptr + i * RUN_PAGE, RUN_PAGE);
    memcpy(f.ptr + i * RUN_PAGE, f.ptr + other * RUN_PAGE, RUN_PAGE);
    memcpy(f.ptr + other * RUN_PAGE, page, RUN_PAGE);
    CHECK(read_damaged(&f, &t, 0, true) > 0);
    memcpy(f.ptr, copy, f.len);
  }
  /* A page of the run that had this place on the disk before: another number, everything else the same. */
  toon_error err;
  index_run_info info = {.number = NUMBER - 1, .store_id = STORE};
  index_source source = {&t, table_next};
  t.next = 0;
  REQUIRE(index_run_write(&f.vfs, "run", &source, &info, NULL, NULL, &err) == TOON_OK);
  for (size_t i = 0; i < pages; i++) {
    memcpy(page, f.ptr + i * RUN_PAGE, RUN_PAGE);
    memcpy(f.ptr + i * RUN_PAGE, copy + i * RUN_PAGE, RUN_PAGE);
    memcpy(copy + i * RUN_PAGE, page, RUN_PAGE);
    uint8_t *older = f.ptr;
    f.ptr = copy;
    CHECK(read_damaged(&f, &t, 0, true) > 0);
    f.ptr = older;
    memcpy(page, f.ptr + i * RUN_PAGE, RUN_PAGE);
    memcpy(f.ptr + i * RUN_PAGE, copy + i * RUN_PAGE, RUN_PAGE);
    memcpy(copy + i * RUN_PAGE, page, RUN_PAGE);
  }
  free(copy);
  table_free(&t);
  one_file_free(&f);
}

/* Give the unit its right checksum: damage made on purpose. */
static void reseal(uint8_t *file, uint32_t page, uint32_t pages) {
  uint8_t *ptr = file + (size_t)page * RUN_PAGE;
  size_t len = (size_t)pages * RUN_PAGE - RUN_CRC;
  uint32_t crc = toon_crc32c(run_unit_seed(run_seed(STORE, NUMBER), page), ptr, len);
  memcpy(ptr + len, &crc, 4);
}

TEST(tells_other_runs_and_newer_versions) {
  one_file f;
  table t;
  small_run(&f, &t, 100, RANDOM);
  toon_error err;
  index_run *run;
  CHECK_EQ(index_run_open(&f.vfs, "run", NUMBER + 1, STORE, 0, &run, &err), TOON_ECORRUPT);
  CHECK(strstr(err.message, "this is index run 9 of store 00c0ffee, expected run 10 of store 00c0ffee"));
  CHECK_EQ(err.offset, RUN_AT_STORE);
  CHECK_EQ(index_run_open(&f.vfs, "run", NUMBER, STORE + 1, 0, &run, &err), TOON_ECORRUPT);
  f.ptr[RUN_AT_VERSION]++;
  CHECK_EQ(index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &run, &err), TOON_ECORRUPT);
  reseal(f.ptr, 0, 1);
  CHECK_EQ(index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &run, &err), TOON_EFORMAT);
  CHECK_EQ(err.offset, RUN_AT_VERSION);
  f.there = false;
  CHECK_EQ(index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &run, &err), TOON_EIO);
  CHECK_EQ(err.os_errno, ENOENT);
  table_free(&t);
  one_file_free(&f);
}

/* A file whose checksums are right but whose content is nonsense: answers may be wrong, but nothing is read beyond the
 * file (ASan sees to that) and everything ends. */
TEST(stays_in_bounds_on_crafted_files) {
  static const struct {
    size_t n;
    int style;
  } runs[] = {{1, RANDOM}, {40, SHORT}, {300, RANDOM}, {8, LONG}, {60, PREFIXED}};
  static const uint8_t nasty[] = {0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF};
  for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
    one_file f;
    table t;
    small_run(&f, &t, runs[r].n, runs[r].style);
    toon_error err;
    index_run *run;
    REQUIRE(index_run_open(&f.vfs, "run", NUMBER, STORE, 0, &run, &err) == TOON_OK);
    uint32_t pages = (uint32_t)(f.len / RUN_PAGE), units = 0;
    uint32_t *first = malloc((pages + 1) * sizeof *first);
    first[units++] = 0;
    for (uint32_t i = 0; i < run->blocks; i++) first[units++] = toon_load32(run_fence(run, i) + RUN_FENCE_PAGE_NO);
    for (uint32_t i = 0; i < run->hash_pages; i++) first[units++] = run->hash_page + i;
    first[units++] = run->fence_page;
    first[units++] = pages - 1;
    first[units] = pages;
    index_run_close(run);
    for (int round = 0; round < 3000; round++) {
      uint32_t unit = (uint32_t)below(units), n = first[unit + 1] - first[unit];
      uint8_t *ptr = f.ptr + (size_t)first[unit] * RUN_PAGE, *copy = malloc(n * RUN_PAGE);
      memcpy(copy, ptr, n * RUN_PAGE);
      for (uint64_t k = 1 + below(4); k > 0; k--) {
        size_t room = n * RUN_PAGE - RUN_CRC, near = unit == 0 || unit == units - 1 ? 128 : 400;
        size_t at = below(3) ? below(near) : below(8) ? below(room) : room - 1 - below(200);
        if (unit > 0 && unit < units - 1 && below(3) == 0) at = below(40);
        ptr[at] = below(2) ? nasty[below(sizeof nasty)] : (uint8_t)rng();
      }
      reseal(f.ptr, first[unit], n);
      read_damaged(&f, &t, below(2) ? 0 : UINT64_MAX, false);
      memcpy(ptr, copy, n * RUN_PAGE);
      free(copy);
    }
    free(first);
    table_free(&t);
    one_file_free(&f);
  }
}

CHECK_MAIN
