/* Power-cut enumeration: random workloads on a file system in memory, and the power cut all along their journals, what was
 * not synced lost, kept, reordered or torn at 512-byte blocks. Every outcome is opened and must
 *   hold one of the states the workload went through, whole, none older than the last one acknowledged as durable;
 *   be recovered for good: losing the power again gives the same state and the same bytes of log;
 *   take a write, and keep it over yet another power cut;
 *   have for each document its entries in two indexes and no others, and give by columns what documents give.
 *   POWERCUT=N       workloads (default 4)             POWERCUT_STATES=N  crash states of each (default 60)
 *   POWERCUT_SEED=N  seed of the first; the next is N + 1 (default 1) */
#include "check.h"
#include "api.h"
#include "base/alloc.h"
#include "documents.h"

#include <errno.h>
#include <stdbool.h>

enum { KEYS = 24, ROWS = 24, DOCUMENTS = 30, STEPS = 75, FAILURES_SHOWN = 8 };

static void key_name(int i, char out[16]) { snprintf(out, 16, i % 3 ? "b %02d" : "a%02d", i); }
static const char *value_text(uint32_t v) {
  static _Thread_local char text[6000];
  size_t n = (size_t)snprintf(text, sizeof text, "%u ", v), more = v % 29 == 0 ? 5000 : v * 37 % 300;
  memset(text + n, 'a' + v % 26, more);
  text[n + more] = 0;
  return text;
}

#define OTHER_KEY(key) is_of_documents(key)
#include "model.h"

typedef struct history {
  model states[STEPS + 1];
  uint32_t documents[STEPS + 1][DOCUMENTS];
  size_t ops[STEPS + 1];   /* journal entries when state i had been acknowledged */
  bool durable[STEPS + 1]; /* that acknowledgement says the state survives a power cut */
  size_t count;
} history;

static history h;
static uint64_t crash_states, with_columns;

/* ---------------------------------------------------------------- the workload */

static toon_status finish(toon_db *db, toon_batch *b, toon_status status) {
  uint64_t value;
  if (status == TOON_OK && toon_batch_members(b)) {
    status = toon_commit(db, b, &err);
    if (status == TOON_OK) status = toon_batch_result(b, 0, &value, &err);
  }
  toon_batch_free(b);
  return status;
}
static toon_status put_one(toon_batch *b, model *m, int i, uint32_t v, int64_t expires_at) {
  char name[16];
  toon_put_options o = {.expires_at = expires_at};
  key_name(i, name);
  m->user[i] = v;
  m->lapsed[i] = expires_at == 1;
  return toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text(v)), &o, &err);
}
static toon_status delete_one(toon_batch *b, model *m, int i) {
  char name[16];
  key_name(i, name);
  m->user[i] = 0;
  m->lapsed[i] = false;
  return toon_batch_delete(b, K(name), &err);
}

/* A transaction of some documents. */
static toon_status write_documents(toon_db *db, uint64_t *rng, uint32_t v, uint32_t *documents) {
  toon_batch *b;
  TOON_TRY(toon_batch_new(db, &b, &err));
  toon_status status = toon_batch_begin(b, &err);
  for (int k = (int)(lcg(rng) % 8); k >= 0 && status == TOON_OK; k--) {
    int i = (int)(lcg(rng) % DOCUMENTS);
    uint32_t now = lcg(rng) % 4 ? v : 0;
    status = document_write(b, i, documents[i], now, &err);
    documents[i] = now;
  }
  if (status == TOON_OK) status = toon_batch_end(b, &err);
  return finish(db, b, status);
}

/* One step; *m and documents become what they should be. *durable: what came before it is on disk when it has been acknowledged. */
static toon_status step(toon_db **db, os_memfs *fs, toon_options o, uint64_t *rng, uint32_t v, model *m,
                        uint32_t *documents, bool *durable) {
  uint64_t dice = lcg(rng) % 125;
  int i = (int)(lcg(rng) % KEYS);
  char name[16];
  toon_batch *b;
  toon_snapshot *snapshot = NULL;
  toon_status status = TOON_OK;
  *durable = o.durability == TOON_DURABLE_COMMIT;
  if (dice >= 105) return write_documents(*db, rng, v, documents);
  if (dice >= 100) return toon_columns_build(*db, S("c/"), &err);
  if (dice >= 84) {
    if (dice < 88) os_memfs_advance_ms(fs, 1500, 1500); /* the interval is over */
    if (dice < 88) return TOON_OK;
    *durable = true;
    if (dice < 90) return toon_sync(*db, &err);
    if (dice < 94) return toon_checkpoint(*db, &err);
    if (dice < 98) return toon_compact(*db, NULL, NULL, &err);
    TOON_TRY(toon_close(*db, &err));
    *db = NULL;
    TOON_TRY(open_on(fs, o, db));
    return documents_keep(*db, &err);
  }
  TOON_TRY(toon_batch_new(*db, &b, &err));
  key_name(i, name);
  if (dice < 30) {
    status = put_one(b, m, i, v, dice < 3 ? 1 : dice < 6 ? 4000000000000 : 0);
  } else if (dice < 52) { /* a transaction: whole or absent; the later ones read at a snapshot, and validate it */
    if (dice >= 42) status = toon_snapshot_open(*db, &snapshot, &err);
    if (status == TOON_OK) status = snapshot ? toon_batch_begin_at(b, snapshot, &err) : toon_batch_begin(b, &err);
    if (status == TOON_OK && snapshot) status = toon_batch_expect(b, K(name), &err);
    for (int k = 0; k < 5 && status == TOON_OK; k++) {
      int j = (i + k / 2 * 7) % KEYS;
      status = k % 2 || k == 4 ? delete_one(b, m, j) : put_one(b, m, j, v, 0);
    }
    for (int k = 1; k < 4 && status == TOON_OK; k++) status = put_one(b, m, (i + k * 5) % KEYS, v, 0);
    if (status == TOON_OK) status = toon_batch_end(b, &err);
  } else if (dice < 62) {
    status = delete_one(b, m, i);
  } else if (dice < 70) {
    int64_t at = dice < 65 ? 1 : dice < 68 ? 0 : 4000000000001;
    status = toon_batch_expire(b, K(name), at, &err);
    if (m->user[i] && !m->lapsed[i]) m->lapsed[i] = at == 1;
  } else if (dice < 78) {
    if (m->next_row < ROWS) {
      status = toon_batch_row_put(b, TOON_INPUT_STRING, S(value_text(v)), NULL, &err);
      m->row[m->next_row++] = v;
    }
  } else if (dice < 82) {
    uint8_t id[8];
    int r = (int)(lcg(rng) % ROWS);
    status = toon_batch_delete(b, toon_row_key((uint64_t)r, id), &err);
    m->row[r] = 0;
  } else {
    toon_range range = {.prefix = S("a")};
    status = toon_batch_clear(b, &range, &err);
    for (int j = 0; j < KEYS; j += 3) m->user[j] = 0, m->lapsed[j] = false;
  }
  status = finish(*db, b, status);
  toon_snapshot_close(snapshot);
  return status;
}

static os_memfs *record(toon_options o, uint64_t seed) {
  os_memfs *fs = os_memfs_new();
  toon_db *db = NULL;
  uint64_t rng = seed * 2654435761u;
  memset(&h, 0, sizeof h);
  CHECK_EQ(open_on(fs, o, &db), TOON_OK);
  if (db) CHECK_EQ(documents_keep(db, &err), TOON_OK);
  if (db)
    CHECK_EQ(toon_columns_build(db, S("c/"), &err), TOON_OK); /* there is a file from now on, whoever opens the store */
  h.ops[0] = os_memfs_ops(fs);
  h.count = 1;
  for (int i = 0; db && i < STEPS; i++) {
    model next = h.states[h.count - 1];
    uint32_t *documents = h.documents[h.count];
    memcpy(documents, h.documents[h.count - 1], sizeof h.documents[0]);
    CHECK_EQ(step(&db, fs, o, &rng, (uint32_t)i + 1, &next, documents, &h.durable[h.count]), TOON_OK);
    h.states[h.count] = next;
    h.ops[h.count++] = os_memfs_ops(fs);
  }
  if (db) CHECK_EQ(toon_close(db, &err), TOON_OK);
  return fs;
}

/* ---------------------------------------------------------------- what is left */

/* The number of the state the store holds, the newest first; -1: none from `least` on. */
static int state_of(toon_db *db, size_t least) {
  model seen;
  uint32_t documents[DOCUMENTS];
  bool wrong = false;
  if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong) return -1;
  if (documents_read(db, documents, DOCUMENTS) != TOON_OK || !documents_hold(db, documents, DOCUMENTS)) return -1;
  for (size_t i = h.count; i-- > least;)
    if (same(&seen, &h.states[i]) && memcmp(documents, h.documents[i], sizeof documents) == 0) return (int)i;
  return -1;
}

typedef struct comparison {
  os_memfs *a, *b;
  bool differ;
} comparison;
static int compare_file(void *ctx, const char *name) {
  comparison *c = ctx;
  size_t size_a, size_b, len = strlen(name);
  char path[80];
  if (strncmp(name, "db.", 3) != 0 || len < 5 || strcmp(name + len - 5, ".toon") != 0) return 0;
  snprintf(path, sizeof path, "/d/%s", name);
  const uint8_t *a = os_memfs_content(c->a, path, &size_a), *b = os_memfs_content(c->b, path, &size_b);
  size_t least = a && b ? (size_a < size_b ? size_a : size_b) : 0;
  if (least && memcmp(a, b, least) != 0) c->differ = true;
  return 0;
}
/* Do two stores have the same log? The background may have gone on with one of them: moves are appended, and a segment given up. */
static bool same_log(os_memfs *a, os_memfs *b) {
  comparison c = {.a = a, .b = b};
  os_memfs_vfs(a)->list(os_memfs_vfs(a), "/d", compare_file, &c);
  return !c.differ;
}

static void failed(const char *what, const char *why) {
  check_failures_here++;
  fprintf(stderr, "%s: %s (%s %s at %lld)\n", what, why, err.message, err.path, (long long)err.offset);
}

/* Manifest and runs are on disk before anything depends on them: no power cut takes them. */
static bool was_rebuilt(toon_db *db) {
  toon_buf json = {0};
  bool rebuilt = toon_stats(db, &json, &err) != TOON_OK || memmem(json.ptr, json.len, "\"rebuilt\":true", 14);
  toon_buf_free(&json);
  return rebuilt;
}

/* The same, and the manifest is lost too: the log alone says what there was. */
static void check_bare(os_memfs *fs, size_t cut, os_crash_mode mode, uint64_t seed, toon_options o, const char *what) {
  size_t least = 0;
  os_memfs *after = os_memfs_crash(fs, cut, mode, seed);
  toon_db *db;
  for (size_t i = 0; i < h.count; i++)
    if (h.ops[i] <= cut && (h.durable[i] || mode == OS_CRASH_KEEP_ALL)) least = i;
  unlink_manifest(after);
  if (open_on(after, o, &db) != TOON_OK) {
    failed(what, "does not open without its manifest");
  } else {
    if (state_of(db, least) < 0) failed(what, "without its manifest not a state from the last durable one on");
    if (toon_close(db, &err) != TOON_OK) failed(what, "does not close, opened without its manifest");
  }
  os_memfs_free(after);
}

static void check_state(os_memfs *fs, size_t cut, os_crash_mode mode, uint64_t seed, toon_options o, const char *what) {
  size_t least = 0;
  os_memfs *after = os_memfs_crash(fs, cut, mode, seed), *again = NULL, *last = NULL;
  toon_db *db;
  crash_states++;
  if (seed % 4 == 0) check_bare(fs, cut, mode, seed, o, what);
  for (size_t i = 0; i < h.count; i++)
    if (h.ops[i] <= cut && (h.durable[i] || mode == OS_CRASH_KEEP_ALL)) least = i;
  if (open_on(after, o, &db) != TOON_OK) {
    failed(what, "does not open");
    os_memfs_free(after);
    return;
  }
  again = os_memfs_crash(after, os_memfs_ops(after), OS_CRASH_LOSE_ALL, 0); /* all that recovery did must be on disk */
  if (cut >= h.ops[0] && was_rebuilt(db)) failed(what, "the index had to be rebuilt");
  int state = state_of(db, least);
  if (state < 0) failed(what, "not a state from the last durable one on");
  bool columns = false;
  if (!documents_agree(db, &columns)) failed(what, "columns say something else than the documents");
  with_columns += columns;

  toon_batch *b;
  toon_status status = toon_batch_new(db, &b, &err);
  model with_probe = h.states[state < 0 ? 0 : state], seen;
  bool wrong = false;
  if (status == TOON_OK) status = finish(db, b, put_one(b, &with_probe, 0, 999, 0));
  if (status == TOON_OK) status = toon_sync(db, &err);
  if (status != TOON_OK) failed(what, "does not take a write");
  last = os_memfs_crash(after, os_memfs_ops(after), OS_CRASH_LOSE_ALL, 0);
  if (toon_close(db, &err) != TOON_OK) failed(what, "does not close");

  if (open_on(again, o, &db) != TOON_OK) {
    failed(what, "does not open a second time");
  } else {
    if (state_of(db, 0) != state) failed(what, "the second recovery gives another state");
    if (!documents_agree(db, NULL))
      failed(what, "after the second recovery columns say something else than the documents");
    if (!same_log(after, again)) failed(what, "the second recovery gives another log");
    if (toon_close(db, &err) != TOON_OK) failed(what, "does not close a second time");
  }
  if (open_on(last, o, &db) != TOON_OK) {
    failed(what, "does not open after a write");
  } else {
    if (read_all(db, NULL, &seen, &wrong) != TOON_OK || wrong || !same(&seen, &with_probe))
      failed(what, "a synced write is lost");
    if (toon_close(db, &err) != TOON_OK) failed(what, "does not close after a write");
  }
  os_memfs_free(last);
  os_memfs_free(again);
  os_memfs_free(after);
}

TEST(every_power_cut_leaves_a_state_that_was) {
  uint64_t workloads = setting("POWERCUT", 4), states = setting("POWERCUT_STATES", 60),
           first = setting("POWERCUT_SEED", 1);
  column_block_rows = 8;
  static const toon_durability durabilities[] = {TOON_DURABLE_COMMIT, TOON_DURABLE_INTERVAL, TOON_DURABLE_CLOSE};
  for (uint64_t seed = first; seed < first + workloads && check_failures_here < FAILURES_SHOWN; seed++) {
    toon_options o = toon_options_default();
    o.durability = durabilities[seed % 3];
    o.segment_size = 4096u << seed % 4;
    o.checkpoint_bytes = 4096u << seed / 4 % 4;
    os_memfs *fs = record(o, seed);
    size_t ops = os_memfs_ops(fs);
    for (uint64_t n = 0; n < states && check_failures_here < FAILURES_SHOWN; n++) {
      char what[160];
      size_t cut = (size_t)((n * ops + seed % states) / states);
      os_crash_mode mode = n % 8 == 7 ? OS_CRASH_KEEP_ALL : n % 4 ? OS_CRASH_RANDOM : OS_CRASH_LOSE_ALL;
      snprintf(what, sizeof what, "POWERCUT=1 POWERCUT_SEED=%llu POWERCUT_STATES=%llu, cut %zu of %zu, mode %d",
               (unsigned long long)seed, (unsigned long long)states, cut, ops, mode);
      check_state(fs, cut, mode, seed * 1000003 + n, o, what);
    }
    os_memfs_free(fs);
  }
  fprintf(stderr, "power cuts: %llu workloads from seed %llu, %llu crash states, %llu with columns\n",
          (unsigned long long)workloads, (unsigned long long)first, (unsigned long long)crash_states,
          (unsigned long long)with_columns);
  CHECK(workloads < 4 || with_columns > crash_states / 4);
}

static int everything_fails(void *ctx, const char *call, const char *path) {
  (void)ctx, (void)call, (void)path;
  return EIO;
}
/* The process dies, and what it wrote is in the page cache only. What the next one recovers from there and shows must not be
 * lost with the power. */
TEST(what_a_recovery_shows_is_on_disk) {
  toon_options o = toon_options_default();
  o.durability = TOON_DURABLE_CLOSE;
  os_memfs *fs = os_memfs_new();
  toon_db *db;
  toon_batch *b;
  model want = {0}, seen;
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  for (int i = 0; i < 10; i++) {
    CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
    CHECK_EQ(finish(db, b, put_one(b, &want, i, (uint32_t)i + 1, 0)), TOON_OK);
  }
  os_memfs_set_fault(fs, everything_fails, NULL); /* the death: close does nothing to the files */
  toon_close(db, &err);
  os_memfs_set_fault(fs, NULL, NULL);
  REQUIRE(open_on(fs, o, &db) == TOON_OK);
  bool wrong = false;
  CHECK(read_all(db, NULL, &seen, &wrong) == TOON_OK && !wrong && same(&seen, &want));
  os_memfs *after = os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_LOSE_ALL, 0);
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  REQUIRE(open_on(after, o, &db) == TOON_OK);
  CHECK(read_all(db, NULL, &seen, &wrong) == TOON_OK && !wrong && same(&seen, &want));
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  os_memfs_free(after);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
