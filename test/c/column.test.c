/* Column files: cells come back to the letter; queries give the same with and without them, whatever was written in between,
 * whatever has been damaged and wherever the power went. */
#include "api.h"
#include "check.h"
#include "column/column.h"
#include "memory.h"
#include "query/query.h"

#include <errno.h>

/* ---- documents ---- */

enum { FIELDS = 5 };
static const toon_slice names[FIELDS] = {{(const uint8_t *)"n", 1},
                                         {(const uint8_t *)"city", 4},
                                         {(const uint8_t *)"price", 5},
                                         {(const uint8_t *)"text", 4},
                                         {(const uint8_t *)"rare", 4}};
static const toon_path paths[FIELDS] = {{&names[0], 1}, {&names[1], 1}, {&names[2], 1}, {&names[3], 1}, {&names[4], 1}};

static uint64_t seed = 1;
static uint64_t pick(uint64_t n) { return lcg(&seed) % n; }

static const char *random_json(void) {
  static char json[512];
  static const char *const cities[] = {"\"Bonn\"", "\"Ulm\"", "\"a,b\"", "null", "true", "\"5\"", "7", "\"\""};
  static const char *const rare[] = {"1e300", "-0.5",      "[1,2]", "{\"x\":1}", "12345678901234567890",
                                     "1e-7",  "\"l\\nm\"", "0.1"};
  size_t n = (size_t)snprintf(json, sizeof json, "{\"n\":%lld", (long long)pick(2000) - 1000);
  if (pick(20)) n += (size_t)snprintf(json + n, sizeof json - n, ",\"city\":%s", cities[pick(8)]);
  if (pick(20))
    n += (size_t)snprintf(json + n, sizeof json - n, ",\"price\":%llu.%02llu", (unsigned long long)pick(500),
                          (unsigned long long)pick(100));
  if (pick(3))
    n += (size_t)snprintf(json + n, sizeof json - n, ",\"text\":\"number %llu\"", (unsigned long long)pick(100000));
  if (!pick(30)) n += (size_t)snprintf(json + n, sizeof json - n, ",\"rare\":%s", rare[pick(8)]);
  snprintf(json + n, sizeof json - n, "}");
  return json;
}

static void write_some(toon_db *db, int count, int ids) {
  char key[64];
  for (int i = 0; i < count; i++) {
    toon_put_options o = {.expires_at = pick(40) ? 0 : pick(2) ? 1 : 4000000000000};
    snprintf(key, sizeof key, pick(50) ? "d/%05d" : "d/%05d/below", (int)pick((uint64_t)ids));
    if (!pick(5))
      CHECK_EQ(del(db, key, NULL), TOON_OK);
    else
      CHECK_EQ(put_with(db, K(key), TOON_INPUT_JSON, pick(60) ? S(random_json()) : S("[1]"), &o), TOON_OK);
  }
}

static toon_db *opened(os_memfs *fs) {
  toon_db *db = NULL;
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  if (open_on(fs, o, &db) != TOON_OK) printf("%s\n", err.message);
  return db;
}

/* ---- queries ---- */

/* A condition on a path: n, city, price, text or rare. */
static size_t put_condition(uint8_t *out) {
  static const uint8_t ops[] = {TOON_FILTER_EQ, TOON_FILTER_GT, TOON_FILTER_GE,
                                TOON_FILTER_LT, TOON_FILTER_LE, TOON_FILTER_IN};
  uint8_t *p = out;
  *p++ = pick(8) ? ops[pick(6)] : TOON_FILTER_EXISTS;
  p += 4;
  *p++ = (uint8_t)pick(FIELDS);
  *p++ = 0;
  for (uint64_t n = *out == TOON_FILTER_IN ? pick(4) : *out != TOON_FILTER_EXISTS; n; n--) {
    uint8_t kind = (uint8_t)pick(5);
    double number = pick(2) ? (double)pick(2000) - 1000 : (double)pick(50000) / 100;
    if ((*out == TOON_FILTER_GT || *out == TOON_FILTER_LT) && !kind) kind = TOON_NUMBER;
    *p++ = kind;
    if (kind == TOON_NUMBER) memcpy(p, &number, 8), p += 8;
    if (kind == TOON_STRING) memcpy(p, "\4\0\0\0Bonn", 8), p += 8;
  }
  uint32_t len = (uint32_t)(p - out);
  memcpy(out + 1, &len, 4);
  return len;
}
static size_t put_filter(uint8_t *out, int depth) {
  if (depth && !pick(3)) {
    uint8_t *p = out + 5;
    *out = (uint8_t)(TOON_FILTER_AND + pick(3));
    for (uint64_t n = *out == TOON_FILTER_NOT ? 1 : pick(3) + 1; n; n--) p += put_filter(p, depth - 1);
    uint32_t len = (uint32_t)(p - out);
    memcpy(out + 1, &len, 4);
    return len;
  }
  return put_condition(out);
}

typedef struct asked {
  toon_query_options o;
  uint8_t program[2048];
  toon_slice bounds[2];
  toon_path fields[2], order[1];
  bool descending;
} asked;

static void ask(asked *a) {
  a->bounds[0] = S("d/");
  a->bounds[1] = S("d0");
  a->o = (toon_query_options){.prefix = S("d/"),
                              .bounds = a->bounds,
                              .ranges = 1,
                              .filter_paths = paths,
                              .filter_count = FIELDS,
                              .limit = UINT64_MAX};
  if (pick(5)) a->o.program = toon_slice_of(a->program, put_filter(a->program, 2));
  a->o.picks = pick(4) != 0;
  a->o.nulls = pick(2);
  a->fields[0] = paths[pick(FIELDS)];
  a->fields[1] = paths[pick(FIELDS)];
  if (a->o.picks) a->o.fields = a->fields, a->o.field_count = 2;
  if (!pick(3)) {
    a->order[0] = paths[pick(FIELDS)];
    a->descending = pick(2);
    a->o.order = a->order, a->o.descending = &a->descending, a->o.order_count = 1;
  }
  if (!pick(3)) a->o.limit = pick(30);
  if (!pick(4)) a->o.offset = pick(10);
}

static uint64_t from_columns, blocks_read, rows_of_tables;

/* JSON of tables, as lib/tables.js would make it, is not built here: their documents are asked for once more as JSON. */
static toon_status take_all(toon_query *q, toon_buf *out) {
  bool end = false;
  size_t count;
  while (!end) {
    TOON_TRY(toon_query_json(q, 7, 300, out, &count, &end, &err));
    TOON_TRY(toon_buf_byte(out, '|'));
    while (out->len && out->ptr[out->len - 1] == '|') out->len--; /* chunks need not be the same */
    if (!end && toon_buf_byte(out, ',') != TOON_OK) return TOON_ENOMEM;
  }
  while (out->len && out->ptr[out->len - 1] == ',') out->len--;
  return TOON_OK;
}

/* Everything a query can give, as text. */
static toon_status answer(toon_db *db, const toon_snapshot *snapshot, toon_query_options o, bool columns,
                          toon_buf *out) {
  toon_query *q = NULL;
  toon_status status;
  uint64_t rows = 0;
  o.columns = columns;
  TOON_GOTO(toon_query_open(db, snapshot, &o, &q, &err));
  TOON_GOTO(take_all(q, out));
  if (columns) from_columns += toon_query_counted(q).columns, blocks_read += toon_query_counted(q).blocks_read;
  toon_query_close(q);
  q = NULL;
  TOON_GOTO(toon_query_open(db, snapshot, &o, &q, &err));
  if (o.nulls || !o.picks)
    for (uint64_t most = 5; most < 5000; most *= 30)
      TOON_GOTO(toon_query_toon(q, most, S("t"), most == 5 ? '|' : ',', out, &rows, &err));
  toon_query_close(q);
  q = NULL;
  if (o.picks && o.limit == UINT64_MAX && !o.offset) {
    o.order_count = 0;
    TOON_GOTO(toon_query_open(db, snapshot, &o, &q, &err));
    TOON_GOTO(toon_query_groups(q, 1, out, &err));
    toon_query_close(q);
    q = NULL;
  }
  TOON_GOTO(toon_query_open(db, snapshot, &o, &q, &err));
  TOON_GOTO(toon_query_count(q, &rows, &err));
  TOON_GOTO(toon_buf_printf(out, " %llu", (unsigned long long)rows));
  toon_query_close(q);
  q = NULL;
  TOON_GOTO(toon_query_open(db, snapshot, &o, &q, &err)); /* as tables: their rows are counted */
  rows = 0;
  for (toon_query_chunk chunk = {.rows = 0}; !chunk.end; rows += chunk.rows) {
    toon_buf ignored = {0};
    status = toon_query_take_chunk(q, 10, 100, &ignored, &chunk, &err);
    toon_buf_free(&ignored);
    if (status != TOON_OK) goto out;
    if (chunk.table) rows_of_tables += chunk.rows;
  }
  TOON_GOTO(toon_buf_printf(out, " %llu", (unsigned long long)rows));
out:
  toon_query_close(q);
  return status;
}

/* The same with and without columns? */
static bool agrees(toon_db *db, const toon_snapshot *snapshot, const asked *a) {
  toon_buf with = {0}, without = {0};
  CHECK_EQ(answer(db, snapshot, a->o, false, &without), TOON_OK);
  CHECK_EQ(answer(db, snapshot, a->o, true, &with), TOON_OK);
  bool same = toon_slice_eq(toon_buf_slice(&with), toon_buf_slice(&without));
  if (!same)
    printf("with    %.*s\nwithout %.*s\n", (int)(with.len < 3000 ? with.len : 3000), with.ptr,
           (int)(without.len < 3000 ? without.len : 3000), without.ptr);
  toon_buf_free(&with);
  toon_buf_free(&without);
  return same;
}

static bool agree_often(toon_db *db, int times) {
  toon_snapshot *snapshot;
  bool same = true;
  if (toon_snapshot_open(db, &snapshot, &err) != TOON_OK) return false;
  for (int i = 0; i < times && same; i++) {
    asked a;
    ask(&a);
    same = agrees(db, snapshot, &a);
  }
  toon_snapshot_close(snapshot);
  return same;
}

/* ---- tests ---- */

TEST(cells_come_back_to_the_letter) {
  static const char *const tokens[] = {"0",
                                       "1",
                                       "-1",
                                       "1.5",
                                       "12.34",
                                       "-0.05",
                                       "100",
                                       "99999999999999",
                                       "0.000001",
                                       "1e-7",
                                       "1e+21",
                                       "0.30000000000000004",
                                       "123456789012345678901",
                                       "9007199254740993",
                                       "null",
                                       "true",
                                       "text",
                                       "\"a,b\"",
                                       "\"5\"",
                                       "",
                                       "3.141592653589793",
                                       "5e-324"};
  enum { TOKENS = sizeof tokens / sizeof *tokens, ROWS = 300 };
  const toon_slice name = S("v");
  const toon_path path = {&name, 1};
  for (int round = 0; round < 200; round++) {
    os_memfs *fs = os_memfs_new();
    column_writer *w;
    column_file *file;
    const char *given[ROWS];
    int from = (int)pick(TOKENS), few = 1 + (int)pick(round % 2 ? 3 : TOKENS), rows = 1 + (int)pick(ROWS);
    REQUIRE(column_writer_new(os_memfs_vfs(fs), "/c", 7, 1, S("d/"), &path, 1, &w, &err) == TOON_OK);
    for (int i = 0; i < rows; i++) {
      char id[16], field[64];
      given[i] = tokens[(from + (int)pick((uint64_t)few)) % TOKENS];
      snprintf(id, sizeof id, "%04d", i);
      snprintf(field, sizeof field, *given[i] ? ":\n  v: %s\n" : ":\n  other: 1\n", given[i]);
      CHECK_EQ(column_writer_add(w, S(id), S(field), &err), TOON_OK);
    }
    CHECK_EQ(column_writer_end(w, 5, &err), TOON_OK);
    column_writer_free(w);
    REQUIRE(column_file_open(os_memfs_vfs(fs), "/c", 7, &file, &err) == TOON_OK);
    CHECK_EQ(file->rows, (uint64_t)rows);
    for (uint32_t block = 0, i = 0; block < file->blocks; block++) {
      column_vector v;
      CHECK(column_vector_get(file, block, 1, &v));
      for (uint32_t row = 0; row < v.rows; row++, i++) {
        uint8_t text[40];
        toon_slice token = column_token(&v, row, text);
        if (!toon_slice_eq(token, S(given[i]))) printf("%s became %.*s\n", given[i], (int)token.len, token.ptr);
        CHECK(toon_slice_eq(token, S(given[i])));
      }
    }
    column_file_unref(file);
    os_memfs_free(fs);
  }
}

TEST(queries_are_the_same_with_columns_and_without) {
  column_block_rows = 32;
  os_memfs *fs = os_memfs_new();
  toon_db *db = opened(fs);
  REQUIRE(db != NULL);
  uint64_t steps = setting("COLUMN_STEPS", 60);
  CHECK_EQ(toon_columns_keep(db, S("d/"), paths, FIELDS, &err), TOON_OK);
  CHECK_EQ(toon_columns_build(db, S("d/"), &err), TOON_OK); /* there is a file from now on, whoever opens the store */
  for (uint64_t step = 0; step < steps; step++) {
    toon_snapshot *old = NULL;
    if (!pick(6)) CHECK_EQ(toon_snapshot_open(db, &old, &err), TOON_OK);
    write_some(db, step == 0 ? 400 : 1 + (int)pick(40), 300);
    if (!pick(3)) CHECK_EQ(toon_columns_build(db, S("d/"), &err), TOON_OK);
    if (!pick(5)) CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    if (!pick(12)) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    /* for some steps other columns: fewer, or those that the documents have */
    if (step % 10 == 5)
      CHECK_EQ(toon_columns_keep(db, S("d/"), paths + pick(2), pick(2) ? FIELDS - 1 : 0, &err), TOON_OK);
    if (step % 10 == 8) CHECK_EQ(toon_columns_keep(db, S("d/"), paths, FIELDS, &err), TOON_OK);
    if (old) {
      asked a;
      ask(&a);
      CHECK(agrees(db, old, &a));
      toon_snapshot_close(old);
    }
    if (!pick(8)) {
      CHECK_EQ(toon_close(db, &err), TOON_OK);
      db = opened(fs);
      REQUIRE(db != NULL);
    }
    if (!agree_often(db, 12)) {
      CHECK(false);
      printf("step %llu\n", (unsigned long long)step);
      break;
    }
  }
  CHECK(from_columns > steps);
  CHECK(blocks_read > steps);
  CHECK(rows_of_tables > steps);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* Merged runs at the bottom drop deletes; one that a file has not seen must not be among them. */
TEST(documents_deleted_since_stay_deleted_after_merges_and_reopening) {
  column_block_rows = 32;
  os_memfs *fs = os_memfs_new();
  toon_db *db = opened(fs);
  REQUIRE(db != NULL);
  seed = 5;
  write_some(db, 500, 200);
  CHECK_EQ(toon_columns_keep(db, S("d/"), paths, FIELDS, &err), TOON_OK);
  CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  CHECK_EQ(toon_columns_build(db, S("d/"), &err), TOON_OK);
  char key[16];
  for (int round = 0; round < 6; round++) { /* few enough that the file is not made again */
    snprintf(key, sizeof key, "d/%05d", 30 * round);
    CHECK_EQ(del(db, key, NULL), TOON_OK);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    CHECK(agree_often(db, 5));
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    db = opened(fs);
    REQUIRE(db != NULL);
    CHECK(agree_often(db, 5));
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

/* The name of the only column file. */
static int note_name(void *ctx, const char *name) {
  if (strncmp(name, "db.toon.col-", 12) == 0) snprintf(ctx, 64, "/d/%s", name);
  return 0;
}

/* A store with a file of some hundred bytes; its answers to some questions. */
static os_memfs *small_store(char path[64]) {
  column_block_rows = 4;
  os_memfs *fs = os_memfs_new();
  toon_db *db = opened(fs);
  seed = 9;
  for (int i = 0; i < 10; i++) {
    char key[16];
    snprintf(key, sizeof key, "d/%02d", i);
    CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, random_json()), TOON_OK);
  }
  CHECK_EQ(toon_columns_keep(db, S("d/"), paths, FIELDS, &err), TOON_OK);
  CHECK_EQ(toon_columns_build(db, S("d/"), &err), TOON_OK);
  CHECK_EQ(del(db, "d/03", NULL), TOON_OK);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_vfs(fs)->list(os_memfs_vfs(fs), "/d", note_name, path);
  return fs;
}

static bool same_when_damaged(os_memfs *fs, const asked *a) {
  toon_db *db = opened(fs);
  toon_snapshot *snapshot;
  if (!db || toon_snapshot_open(db, &snapshot, &err) != TOON_OK) return false;
  bool same = agrees(db, snapshot, a);
  toon_snapshot_close(snapshot);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  return same;
}

TEST(a_damaged_file_changes_no_answer) {
  char path[64] = "";
  os_memfs *fs = small_store(path);
  size_t len, every = (size_t)setting("COLUMN_BITS", 7);
  asked a;
  a.bounds[0] = S("d/");
  a.bounds[1] = S("d0");
  a.o = (toon_query_options){.prefix = S("d/"),
                             .bounds = a.bounds,
                             .ranges = 1,
                             .fields = paths,
                             .field_count = FIELDS,
                             .picks = true,
                             .nulls = true,
                             .limit = UINT64_MAX};
  const uint8_t *content = os_memfs_content(fs, path, &len);
  REQUIRE(content != NULL);
  CHECK(len > 500);
  for (size_t bit = 0; bit < len * 8 + len; bit += every) { /* every bit, then every length */
    os_memfs *copy = killed(fs);
    os_vfs *vfs = os_memfs_vfs(copy);
    os_file *file;
    REQUIRE(vfs->open(vfs, path, OS_WRITE, &file) == 0);
    if (bit < len * 8) {
      uint8_t byte = content[bit / 8] ^ (uint8_t)(1u << bit % 8);
      CHECK_EQ(vfs->pwrite(vfs, file, &byte, 1, bit / 8), 0);
    } else {
      CHECK_EQ(vfs->truncate(vfs, file, bit - len * 8), 0);
    }
    vfs->close(vfs, file);
    bool same = same_when_damaged(copy, &a);
    CHECK(same);
    if (!same) printf("bit %zu of %zu bytes\n", bit, len);
    os_memfs_free(copy);
    if (!same) break;
  }
  os_memfs_free(fs);
}

TEST(counting_reads_columns_whatever_share_of_them_is_wanted) {
  char path[64] = "";
  os_memfs *fs = small_store(path);
  toon_db *db = opened(fs);
  toon_query *q;
  toon_snapshot *snapshot;
  uint64_t count;
  static const uint8_t n_exists[] = {TOON_FILTER_EXISTS, 7, 0, 0, 0, 0, 0};
  const toon_slice bounds[] = {S("d/"), S("d0")};
  toon_query_options o = {.prefix = S("d/"),
                          .bounds = bounds,
                          .ranges = 1,
                          .filter_paths = paths,
                          .filter_count = FIELDS,
                          .program = toon_slice_of(n_exists, sizeof n_exists),
                          .columns = true,
                          .limit = UINT64_MAX};
  REQUIRE(db != NULL);
  REQUIRE(toon_snapshot_open(db, &snapshot, &err) == TOON_OK);
  REQUIRE(toon_query_open(db, snapshot, &o, &q, &err) == TOON_OK);
  CHECK_EQ(toon_query_count(q, &count, &err), TOON_OK);
  CHECK_EQ(count, 9);
  CHECK_EQ(toon_query_counted(q).blocks_read, 3);
  toon_query_close(q);
  toon_snapshot_close(snapshot);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

static size_t chunks_of(toon_db *db, const toon_query_options *o) {
  toon_query *q;
  toon_snapshot *snapshot;
  size_t chunks = 0, rows = 0;
  if (toon_snapshot_open(db, &snapshot, &err) != TOON_OK) return 0;
  if (toon_query_open(db, snapshot, o, &q, &err) == TOON_OK) {
    for (toon_query_chunk chunk = {.rows = 0}; !chunk.end; chunks++, rows += chunk.rows) {
      toon_buf json = {0};
      CHECK_EQ(toon_query_take_chunk(q, 4096, 1 << 20, &json, &chunk, &err), TOON_OK);
      toon_buf_free(&json);
    }
    CHECK(toon_query_counted(q).columns);
    toon_query_close(q);
  }
  toon_snapshot_close(snapshot);
  CHECK_EQ(rows, 800);
  return chunks;
}

/* Else each document of them was a batch of its own, for which all the changed ones behind it were read. */
TEST(a_sorted_query_takes_columns_and_changed_documents_that_alternate_together) {
  column_block_rows = 64;
  os_memfs *fs = os_memfs_new();
  toon_db *db = opened(fs);
  REQUIRE(db != NULL);
  char key[16], json[40];
  for (int round = 0; round < 2; round++) { /* then every second one of the first half, and a row of others */
    for (int i = 0; i < 800; i++) {
      if (round && (i < 400 ? i % 2 : i % 8 || i > 600)) continue;
      snprintf(key, sizeof key, "d/%03d", i);
      snprintf(json, sizeof json, "{\"n\":%d,\"city\":\"%d\"}", i < 400 ? i : 400 + i % 8 * 50 + i / 8 - 50, round);
      CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, json), TOON_OK);
    }
    if (round) break;
    CHECK_EQ(toon_columns_keep(db, S("d/"), paths, 2, &err), TOON_OK);
    CHECK_EQ(toon_columns_build(db, S("d/"), &err), TOON_OK);
  }
  const toon_slice bounds[] = {S("d/"), S("d0")};
  const bool descending = false;
  toon_query_options o = {.prefix = S("d/"),
                          .bounds = bounds,
                          .ranges = 1,
                          .fields = paths,
                          .field_count = 2,
                          .picks = true,
                          .order = paths,
                          .order_count = 1,
                          .descending = &descending,
                          .limit = UINT64_MAX,
                          .columns = true};
  CHECK(chunks_of(db, &o) < 20);
  asked a = {.o = o};
  a.bounds[0] = bounds[0], a.bounds[1] = bounds[1];
  toon_snapshot *snapshot;
  REQUIRE(toon_snapshot_open(db, &snapshot, &err) == TOON_OK);
  CHECK(agrees(db, snapshot, &a));
  toon_snapshot_close(snapshot);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

static int (*list_really)(os_vfs *vfs, const char *path, int (*visit)(void *ctx, const char *name), void *ctx);
static int lists_left;
static int list_so_often(os_vfs *vfs, const char *path, int (*visit)(void *ctx, const char *name), void *ctx) {
  return lists_left-- > 0 ? list_really(vfs, path, visit, ctx) : EIO;
}

/* Else a file that was not seen would be believed later, or its name taken. */
TEST(an_open_that_cannot_list_the_directory_fails) {
  char path[64] = "";
  os_memfs *fs = small_store(path);
  os_vfs *vfs = os_memfs_vfs(fs);
  toon_db *db = NULL;
  list_really = vfs->list;
  int failed = 0;
  for (; failed < 10 && !db; failed++) {
    vfs->list = list_so_often;
    lists_left = failed;
    db = opened(fs);
    vfs->list = list_really;
    if (db) CHECK(agree_often(db, 5));
    if (db && from_columns == 0) CHECK(false);
    if (!db) CHECK_EQ(err.status, TOON_EIO);
  }
  REQUIRE(db != NULL);
  CHECK(failed > 2);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(survives_the_power_going_at_any_moment) {
  column_block_rows = 8;
  os_memfs *fs = os_memfs_new();
  toon_db *db = opened(fs);
  REQUIRE(db != NULL);
  seed = setting("COLUMN_SEED", 3);
  for (int round = 0; round < 5; round++) {
    write_some(db, 60, 60);
    CHECK_EQ(toon_columns_keep(db, S("d/"), paths, FIELDS, &err), TOON_OK);
    CHECK_EQ(toon_columns_build(db, S("d/"), &err), TOON_OK);
    write_some(db, 5, 60);
    CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  size_t ops = os_memfs_ops(fs);
  uint64_t states = setting("COLUMN_STATES", 120);
  for (uint64_t i = 0; i < states; i++) {
    os_memfs *cut = os_memfs_crash(fs, pick(ops + 1), pick(3) ? OS_CRASH_RANDOM : OS_CRASH_KEEP_ALL, i);
    db = opened(cut);
    REQUIRE(db != NULL);
    bool same = agree_often(db, 2);
    write_some(db, 3, 60);
    same = same && agree_often(db, 2);
    CHECK(same);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_free(cut);
    if (!same) break;
  }
  os_memfs_free(fs);
}

TEST(fails_cleanly_whichever_allocation_does) {
  char path[64] = "";
  os_memfs *fs = small_store(path);
  toon_db *db = opened(fs);
  REQUIRE(db != NULL);
  toon_snapshot *snapshot;
  REQUIRE(toon_snapshot_open(db, &snapshot, &err) == TOON_OK);
  for (int round = 0; round < 6; round++) {
    asked a;
    ask(&a);
    toon_status status = TOON_ENOMEM;
    for (long n = 0; status != TOON_OK && n < 5000; n++) {
      toon_buf out = {0};
      allow_allocations(n);
      status = answer(db, snapshot, a.o, true, &out);
      allow_all_allocations();
      CHECK(status == TOON_OK || status == TOON_ENOMEM);
      toon_buf_free(&out);
    }
    CHECK_EQ(status, TOON_OK);
  }
  toon_snapshot_close(snapshot);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
