/* The delta, its lazy sorted order, and the merging cursor, against a plain sorted table. */
#include "check.h"
#include "memory.h"
#include "index/cursor.h"
#include "os/memfs.h"

#include <pthread.h>

static toon_error err;
static _Thread_local bool cut; /* nothing is pruned here */
enum { KEYS = 400 };
#define AT(sequence_) ((index_horizon){sequence_, UINT32_MAX})

static uint64_t lcg(uint64_t *state) {
  *state = *state * 6364136223846793005ull + 1442695040888963407ull;
  return *state >> 33;
}
static toon_key name_key(char *bytes, int i) {
  int n = snprintf(bytes, 40, "%s%d", i % 7 == 0 ? "" : i % 2 ? "a-common-prefix/" : "b", i * 7919 % 1000);
  return (toon_key){(uint8_t *)bytes, (uint32_t)n, i % 5 == 0 ? TOON_SPACE_ROW : TOON_SPACE_USER};
}
static void insert(index_delta *delta, toon_key key, index_entry entry) {
  index_insert in = {.key = key, .hash = index_key_hash(1, key), .entry = entry};
  CHECK_EQ(index_delta_reserve(delta, &in, 1), TOON_OK);
  index_delta_insert(delta, &in, 1);
}

TEST(a_delta_shows_each_sequence_its_own_version) {
  index_delta *delta = index_delta_new(NULL);
  char bytes[40];
  toon_key key = name_key(bytes, 3);
  uint64_t hash = index_key_hash(1, key);
  index_entry e;
  CHECK(!index_delta_get(delta, key, hash, INDEX_NEWEST, &e, &cut));
  for (uint64_t s = 10; s <= 30; s += 10) insert(delta, key, (index_entry){.sequence = s, .kind = s != 20, .length = 5});
  CHECK(!index_delta_get(delta, key, hash, AT(9), &e, &cut));
  CHECK(index_delta_get(delta, key, hash, AT(10), &e, &cut) && e.sequence == 10);
  CHECK(index_delta_get(delta, key, hash, AT(29), &e, &cut) && e.sequence == 20 && e.kind == INDEX_DELETE);
  CHECK(index_delta_get(delta, key, hash, INDEX_NEWEST, &e, &cut) && e.sequence == 30);
  insert(delta, key, (index_entry){.sequence = 30, .segment = 4, .kind = INDEX_PUT}); /* moved by a compaction */
  CHECK(index_delta_get(delta, key, hash, INDEX_NEWEST, &e, &cut) && e.segment == 4);
  CHECK(index_delta_get(delta, key, hash, (index_horizon){30, 3}, &e, &cut) && e.segment == 0 && e.sequence == 30);
  index_delta_info info = index_delta_get_info(delta);
  CHECK(info.nodes == 1 && info.puts[key.space] == 1);
  index_delta_unref(delta);
}

typedef struct model_row {
  toon_key key;
  char bytes[40];
  index_entry entry;
  bool there;
} model_row;
static model_row model[KEYS];

static int by_key(const void *a, const void *b) {
  return toon_key_cmp((*(model_row *const *)a)->key, (*(model_row *const *)b)->key);
}

static toon_status run_next(void *ctx, toon_key *key, index_entry *entry, bool *end, toon_error *e) {
  return index_cursor_next(ctx, key, entry, end, e);
}

/* Random inserts spread over two deltas and two runs, as checkpoints would leave them; then every kind of walk. */
TEST(a_cursor_merges_all_levels_in_both_directions) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    uint64_t rng = seed, sequence = 0;
    os_memfs *fs = os_memfs_new();
    index_delta *deltas[4];
    index_run *runs[2];
    index_bounds all = {0};
    for (int i = 0; i < KEYS; i++) {
      model[i].there = false;
      model[i].key = name_key(model[i].bytes, i);
    }
    for (int d = 3; d >= 0; d--) {
      deltas[d] = index_delta_new(NULL);
      for (int n = 0; n < (d == 2 && seed % 3 == 0 ? 0 : 250); n++) {
        int i = (int)(lcg(&rng) % KEYS);
        index_entry entry = {
            .sequence = ++sequence, .length = 10, .field = 1, .kind = lcg(&rng) % 4 ? INDEX_PUT : INDEX_DELETE};
        insert(deltas[d], model[i].key, entry);
        model[i].entry = entry;
        model[i].there = true;
        if (n % 90 == 0) { /* sort in between, so that there are several pieces */
          index_piece *pieces[INDEX_PIECES_MAX];
          size_t count;
          CHECK_EQ(index_delta_sorted(deltas[d], pieces, &count), TOON_OK);
          for (size_t p = 0; p < count; p++) index_piece_unref(pieces[p]);
        }
      }
      if (d >= 2) { /* the two oldest become runs */
        char path[20];
        index_cursor *cursor;
        index_run_info info = {.number = (uint64_t)d, .store_id = 1};
        snprintf(path, sizeof path, "/run-%d", d);
        CHECK_EQ(index_cursor_open(&deltas[d], 1, NULL, 0, INDEX_NEWEST, &all, &cursor, &err), TOON_OK);
        CHECK_EQ(index_run_write(os_memfs_vfs(fs), path, &(index_source){cursor, run_next}, &info, NULL, NULL, &err),
                 TOON_OK);
        index_cursor_close(cursor);
        CHECK_EQ(index_run_open(os_memfs_vfs(fs), path, (uint64_t)d, 1, 1 << 20, &runs[d - 2], &err), TOON_OK);
      }
    }
    model_row *sorted[KEYS];
    size_t alive = 0;
    for (int i = 0; i < KEYS; i++)
      if (model[i].there) sorted[alive++] = &model[i];
    qsort(sorted, alive, sizeof *sorted, by_key);
    size_t distinct = 0; /* several i may give one key: the newest counts */
    for (size_t i = 0; i < alive; i++) {
      if (distinct && toon_key_eq(sorted[distinct - 1]->key, sorted[i]->key)) {
        if (sorted[i]->entry.sequence > sorted[distinct - 1]->entry.sequence) sorted[distinct - 1] = sorted[i];
      } else {
        sorted[distinct++] = sorted[i];
      }
    }
    for (int walk = 0; walk < 60; walk++) {
      index_bounds b = {.reverse = walk % 2,
                        .has_lower = walk % 3 > 0,
                        .has_upper = walk % 5 > 1,
                        .lower_open = walk % 7 > 3,
                        .upper_open = walk % 4 > 1};
      size_t lo = lcg(&rng) % distinct, hi = lo + lcg(&rng) % (distinct - lo);
      b.lower = sorted[lo]->key;
      b.upper = sorted[hi]->key;
      size_t from = b.has_lower ? lo + b.lower_open : 0, to = b.has_upper ? hi + !b.upper_open : distinct;
      index_cursor *cursor;
      toon_key key;
      index_entry entry;
      bool end;
      CHECK_EQ(index_cursor_open(deltas, 2, runs, 2, INDEX_NEWEST, &b, &cursor, &err), TOON_OK);
      for (size_t n = 0; from + n < to; n++) {
        model_row *want = sorted[b.reverse ? to - 1 - n : from + n];
        CHECK_EQ(index_cursor_next(cursor, &key, &entry, &end, &err), TOON_OK);
        if (end || !toon_key_eq(key, want->key) || entry.sequence != want->entry.sequence) {
          CHECK(!"the cursor and the table disagree");
          break;
        }
      }
      CHECK_EQ(index_cursor_next(cursor, &key, &entry, &end, &err), TOON_OK);
      CHECK(end);
      index_cursor_close(cursor);
    }
    for (int d = 0; d < 4; d++) index_delta_unref(deltas[d]);
    for (int r = 0; r < 2; r++) index_run_close(runs[r]);
    os_memfs_free(fs);
  }
}

TEST(a_delta_without_memory_stays_as_it_was) {
  enum { MANY = 20000 };
  char bytes[40];
  index_entry e;
  for (int n = 0; n < 6; n++) {
    index_delta *delta = index_delta_new(NULL);
    int inserted = 0;
    allow_allocations(n);
    for (int i = 0; i < MANY; i++) {
      toon_key key = name_key(bytes, i);
      index_insert in = {.key = key, .hash = index_key_hash(1, key), .entry = {.sequence = 1, .kind = INDEX_PUT}};
      if (index_delta_reserve(delta, &in, 1) != TOON_OK) break;
      index_delta_insert(delta, &in, 1);
      inserted++;
    }
    allow_all_allocations();
    for (int i = 0; i < inserted; i++) {
      toon_key key = name_key(bytes, i);
      CHECK(index_delta_get(delta, key, index_key_hash(1, key), AT(1), &e, &cut));
    }
    CHECK(inserted < MANY);
    insert(delta, name_key(bytes, 1), (index_entry){.sequence = 2, .kind = INDEX_PUT});
    index_delta_unref(delta);
  }
}

typedef struct race {
  index_delta *delta;
  _Atomic uint64_t published;
  _Atomic int bad;
} race;

static void *race_reader(void *arg) {
  race *r = arg;
  char bytes[40];
  uint64_t rng = 99;
  while (r->published < 20000) {
    uint64_t sequence = r->published;
    int i = (int)(lcg(&rng) % KEYS);
    toon_key key = name_key(bytes, i);
    index_entry e = {0};
    bool found = index_delta_get(r->delta, key, index_key_hash(1, key), AT(sequence), &e, &cut);
    if (found && (e.sequence > sequence || e.length != e.sequence)) r->bad++;
    if (rng % 512 == 0) {
      index_piece *pieces[INDEX_PIECES_MAX];
      size_t count;
      if (index_delta_sorted(r->delta, pieces, &count) != TOON_OK) continue;
      for (size_t p = 0; p < count; p++) {
        for (size_t n = 1; n < pieces[p]->count; n++)
          if (toon_key_cmp(index_node_key(pieces[p]->nodes[n - 1]), index_node_key(pieces[p]->nodes[n])) >= 0) r->bad++;
        index_piece_unref(pieces[p]);
      }
    }
  }
  return NULL;
}

TEST(readers_of_a_delta_need_no_lock) {
  race r = {.delta = index_delta_new(NULL)};
  pthread_t threads[3];
  char bytes[40];
  uint64_t rng = 5;
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, race_reader, &r);
  for (uint64_t s = 1; s <= 20000; s++) {
    insert(r.delta, name_key(bytes, (int)(lcg(&rng) % KEYS)),
           (index_entry){.sequence = s, .length = (uint32_t)s, .kind = INDEX_PUT});
    r.published = s;
  }
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(r.bad, 0);
  index_delta_unref(r.delta);
}

/* Keys of all sizes, many of them twice in a group, fill chunks to the brim; the next delta uses them again. */
TEST(a_delta_has_room_for_what_was_reserved_and_leaves_it_to_the_next) {
  enum { GROUP = 500, GROUPS = 60 };
  static uint8_t keys[GROUP][TOON_KEY_MAX];
  index_insert inserts[GROUP];
  index_pool pool;
  uint64_t rng = 3, kept = 0;
  index_pool_init(&pool);
  for (int generation = 0; generation < 2; generation++) {
    index_delta *delta = index_delta_new(&pool);
    for (int g = 0; g < GROUPS; g++) {
      for (int i = 0; i < GROUP; i++) {
        uint32_t len = (uint32_t)(lcg(&rng) % 8 ? lcg(&rng) % 60 : lcg(&rng) % (TOON_KEY_MAX + 1));
        bool again = i && lcg(&rng) % 2;
        if (again) memcpy(keys[i], keys[i - 1], TOON_KEY_MAX);
        for (uint32_t j = 0; !again && j < len; j++) keys[i][j] = (uint8_t)lcg(&rng);
        toon_key key = toon_user_key(keys[i], again ? inserts[i - 1].key.len : len);
        inserts[i] = (index_insert){.key = key,
                                    .hash = index_key_hash(1, key),
                                    .entry = {.sequence = (uint64_t)g + 1, .length = (uint32_t)i, .kind = INDEX_PUT}};
      }
      REQUIRE(index_delta_reserve(delta, inserts, GROUP) == TOON_OK);
      if (g % 3 == 2) continue; /* its write failed: the room is for the next group */
      index_delta_insert(delta, inserts, GROUP);
      index_entry e;
      for (int i = 0; i < GROUP; i++) {
        bool last = i + 1 == GROUP || !toon_key_eq(inserts[i].key, inserts[i + 1].key);
        if (last)
          CHECK(index_delta_get(delta, inserts[i].key, inserts[i].hash, INDEX_NEWEST, &e, &cut) &&
                (e.length == (uint32_t)i || inserts[i].key.len < 3));
      }
    }
    uint64_t bytes = index_delta_get_info(delta).bytes;
    index_delta_unref(delta);
    if (generation == 0) kept = pool.count;
    CHECK(kept > 2 && pool.count >= kept && bytes > kept << 21);
  }
  index_pool_trim(&pool);
  CHECK_EQ(pool.count, 0);
  index_pool_destroy(&pool);
}

/* A thread makes the memory, the delta takes what is ready and makes the rest itself. */
TEST(a_delta_grows_into_memory_that_was_made_ahead) {
  enum { KEYS_AHEAD = 100000 };
  index_pool pool;
  index_pool_init(&pool);
  index_pool_end_ahead(&pool); /* nothing to end */
  for (int generation = 0; generation < 2; generation++) {
    index_pool_run_ahead(&pool);
    index_delta *delta = index_delta_new(&pool);
    for (uint64_t i = 0; i < KEYS_AHEAD; i++) {
      toon_key key = toon_user_key((const uint8_t *)&i, sizeof i);
      insert(delta, key, (index_entry){.sequence = i + 1, .length = (uint32_t)i, .kind = INDEX_PUT});
    }
    index_pool_end_ahead(&pool);
    for (uint64_t i = 0; i < KEYS_AHEAD; i++) {
      toon_key key = toon_user_key((const uint8_t *)&i, sizeof i);
      index_entry e;
      CHECK(index_delta_get(delta, key, index_key_hash(1, key), INDEX_NEWEST, &e, &cut) && e.length == i);
    }
    CHECK(index_delta_get_info(delta).bytes > 8 << 20);
    CHECK(pool.count <= 16);
    index_delta_unref(delta);
  }
  CHECK(pool.count >= 4);
  index_pool_destroy(&pool);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
