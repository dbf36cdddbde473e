/* Queries over a store in memory: sorted, limited, by an index, as TOON and as groups; and each allocation failing in turn. */
#include "api.h"
#include "check.h"
#include "memory.h"
#include "query/query.h"

#define DOCUMENTS 60

/* Documents d/00 to d/59 with n = i % 7, and the entries of an index on n. */
static toon_db *filled(os_memfs *fs) {
  toon_db *db = NULL;
  char key[64], json[128];
  toon_options o = toon_options_default(); /* nothing happens in the background while allocations fail */
  o.durability = TOON_DURABLE_CLOSE;
  if (open_on(fs, o, &db) != TOON_OK) return NULL;
  for (int i = 0; i < DOCUMENTS; i++) {
    snprintf(key, sizeof key, "d/%02d", i);
    snprintf(json, sizeof json, "{\"n\":%d,\"text\":\"number \\\"%d\\\"\",\"list\":[%d,\"x\"]}", i % 7, i, i);
    CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, json), TOON_OK);
    snprintf(key, sizeof key, "$index/1/P401%d %02d", i % 7, i);
    CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, "null"), TOON_OK);
  }
  CHECK_EQ(put_as(db, "d/text", TOON_INPUT_STRING, "no document"), TOON_OK);
  CHECK_EQ(put_as(db, "d/00/more", TOON_INPUT_JSON, "{}"), TOON_OK);
  CHECK_EQ(put_as(db, "$index/1/P4013 99", TOON_INPUT_JSON, "null"), TOON_OK); /* leads nowhere */
  CHECK_EQ(put_as(db, "$index/1/P4014 ", TOON_INPUT_STRING, "04"), TOON_OK);   /* as a unique index has it */
  return db;
}

static const toon_slice n_name = {(const uint8_t *)"n", 1}, text_name = {(const uint8_t *)"text", 4};
static const toon_path n_path = {&n_name, 1};
static const toon_path both[] = {{&n_name, 1}, {&text_name, 1}};
/* n > 2 */
static const uint8_t more_than_two[] = {TOON_FILTER_GT, 16, 0, 0, 0, 0, 0, TOON_NUMBER, 0, 0, 0, 0, 0, 0, 0, 0x40};

/* What a query gives as text: JSON, TOON and groups. */
static toon_status run(toon_db *db, const toon_query_options *o, toon_buf *out) {
  toon_snapshot *snapshot;
  toon_query *query = NULL;
  size_t count;
  uint64_t rows;
  bool end = false;
  TOON_TRY(toon_snapshot_open(db, &snapshot, &err));
  toon_status status = toon_query_open(db, snapshot, o, &query, &err);
  while (status == TOON_OK && !end) status = toon_query_json(query, 7, 1000, out, &count, &end, &err);
  toon_query_close(query);
  query = NULL;
  if (status == TOON_OK) status = toon_query_open(db, snapshot, o, &query, &err);
  for (uint64_t most = 3; status == TOON_OK && most < 100; most *= 5)
    status = toon_query_toon(query, most, S("t"), ',', out, &rows, &err);
  toon_query_close(query);
  query = NULL;
  if (status == TOON_OK) status = toon_query_open(db, snapshot, o, &query, &err);
  if (status == TOON_OK && o->picks) status = toon_query_groups(query, 1, out, &err);
  toon_query_close(query);
  toon_snapshot_close(snapshot);
  return status;
}

static toon_query_options options(const toon_slice *bounds, bool index) {
  static const bool descending = true;
  return (toon_query_options){.prefix = S("d/"),
                              .bounds = bounds,
                              .ranges = 1,
                              .base = index ? S("$index/1/") : (toon_slice){NULL, 0},
                              .parts = index ? 1 : 0,
                              .filter_paths = &n_path,
                              .filter_count = 1,
                              .program = toon_slice_of(more_than_two, sizeof more_than_two),
                              .fields = both,
                              .field_count = 2,
                              .picks = true,
                              .nulls = true,
                              .order = &n_path,
                              .descending = &descending,
                              .order_count = 1,
                              .offset = 1,
                              .limit = 20};
}

TEST(the_same_by_an_index_and_by_a_scan) {
  os_memfs *fs = os_memfs_new();
  toon_db *db = filled(fs);
  REQUIRE(db != NULL);
  const toon_slice scan[] = {S("d/"), S("d0")}, entries[] = {S("$index/1/"), S("$index/1/X")};
  toon_buf a = {0}, b = {0};
  toon_query_options one = options(scan, false), other = options(entries, true);
  CHECK_EQ(run(db, &one, &a), TOON_OK);
  CHECK(a.len > 500);
  CHECK(a.len > 20 && memcmp(a.ptr, "{\"n\":6,\"text\":\"number", 20) == 0);
  CHECK_EQ(del(db, "$index/1/P4014 04", NULL), TOON_OK); /* there is another entry of that document */
  CHECK_EQ(run(db, &other, &b), TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&a), toon_buf_slice(&b)));
  toon_buf_free(&a);
  toon_buf_free(&b);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(between_two_chunks_a_query_lets_its_snapshot_be_given_up) {
  for (int sorted = 0; sorted < 2; sorted++) {
    os_memfs *fs = os_memfs_new();
    toon_db *db;
    toon_options o = toon_options_default();
    o.durability = TOON_DURABLE_CLOSE;
    o.segment_size = 64 << 10;
    o.max_db_size = 450 << 10;
    REQUIRE(open_on(fs, o, &db) == TOON_OK);
    toon_query *query;
    toon_snapshot *snapshot;
    toon_buf out = {0};
    size_t count;
    bool end;
    char key[16];
    static char json[4000];
    memset(json, 'x', sizeof json - 1);
    memcpy(json, "{\"n\":1,\"x\":\"", 12);
    memcpy(json + sizeof json - 3, "\"}", 3);
    const toon_slice scan[] = {S("d/"), S("d0")};
    toon_query_options q = options(scan, false);
    q.order_count = (size_t)sorted;
    q.picks = false;
    q.program.len = 0;
    q.limit = UINT64_MAX;
    for (int round = 0; round < 4; round++) {
      for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "d/%02d", i);
        CHECK_EQ(put_as(db, key, TOON_INPUT_JSON, json), TOON_OK);
      }
      if (round == 1) { /* its files are two rounds */
        CHECK_EQ(toon_snapshot_open(db, &snapshot, &err), TOON_OK);
        CHECK_EQ(toon_query_open(db, snapshot, &q, &query, &err), TOON_OK);
        CHECK_EQ(toon_query_json(query, 10, SIZE_MAX, &out, &count, &end, &err), TOON_OK);
        CHECK_EQ(count, 10);
      }
      if (round == 2) { /* it goes on behind a pause */
        out.len = 0;
        CHECK_EQ(toon_query_json(query, 10, SIZE_MAX, &out, &count, &end, &err), TOON_OK);
        CHECK_EQ(count, 10);
        CHECK(out.len > 39000);
      }
      if (round > 1) CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
    }
    for (int i = 0; i < 60000 && stat_of(db, "dropped") == 0; i++) {
      os_memfs_advance_ms(fs, 0, 1000);
      CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
    }
    CHECK_EQ(stat_of(db, "dropped"), 1);
    CHECK_EQ(toon_query_json(query, 10, SIZE_MAX, &out, &count, &end, &err), TOON_ESNAPSHOT);
    toon_query_close(query);
    toon_snapshot_close(snapshot);
    toon_buf_free(&out);
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    os_memfs_free(fs);
  }
}

TEST(fails_cleanly_whichever_allocation_does) {
  os_memfs *fs = os_memfs_new();
  toon_db *db = filled(fs);
  REQUIRE(db != NULL);
  const toon_slice scan[] = {S("d/"), S("d0")}, entries[] = {S("$index/1/"), S("$index/1/X")};
  for (int index = 0; index < 2; index++) {
    toon_query_options o = options(index ? entries : scan, index);
    toon_status status = TOON_ENOMEM;
    long n = 0;
    for (; status != TOON_OK && n < 5000; n++) {
      toon_buf out = {0};
      allow_allocations(n);
      status = run(db, &o, &out);
      allow_all_allocations();
      CHECK(status == TOON_OK || status == TOON_ENOMEM);
      toon_buf_free(&out);
    }
    CHECK_EQ(status, TOON_OK);
    CHECK(n > 20);
  }
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
