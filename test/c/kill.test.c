/* kill -9 under load, in C: a child process writes with several threads, beside checkpoints, compactions and syncs, and tells
 * through a pipe each operation that was acknowledged; it is killed at some moment, and what is left is held against that.
 * The operations of a thread follow from its number and count, so after n acknowledgements its keys are as after n operations
 * or, whole, after one more. Some of them are documents with entries in two indexes, and columns are made of them meanwhile.
 * At every durability, as the page cache outlives the process.
 *   KILL=N rounds (default 12)    KILL_SEED=N */
#include "check.h"
#include "api.h"
#include "base/alloc.h"
#include "documents.h"
#include "os/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WRITERS = 3, KEYS = 20, DOCUMENTS = 30, LIFE_US = 25000, AGE = 12 };

/* What the keys of a thread hold: numbers of operations, 0 = none. */
typedef struct state {
  uint32_t value[KEYS];
  bool lapsed[KEYS];
  uint32_t document[DOCUMENTS];
} state;

static void key_name(int writer, int i, char out[24]) { snprintf(out, 24, "w%d/%02d", writer, i); }
static void value_text(int writer, uint32_t n, char out[700]) {
  int len = snprintf(out, 700, "%u of %d ", n, writer), more = (int)(n % 97 == 0 ? 600 : n * 37 % 120);
  memset(out + len, 'a' + (char)(n % 26), (size_t)more);
  out[len + more] = 0;
}

/* Operation n of a writer: what it does to the state, and with db to the store. */
static toon_status operate(toon_db *db, int writer, uint32_t n, state *s, toon_error *e) {
  uint64_t rng = (uint64_t)writer * 7919 + n;
  uint64_t dice = (lcg(&rng), lcg(&rng) % 130);
  int i = (int)(lcg(&rng) % KEYS);
  char name[24], value[700];
  toon_batch *b = NULL;
  toon_snapshot *snapshot = NULL;
  toon_status status = db ? toon_batch_new(db, &b, e) : TOON_OK;
  if (status != TOON_OK) return status;
  key_name(writer, i, name);
  value_text(writer, n, value);
  if (dice < 45) {
    toon_put_options o = {.expires_at = dice < 5 ? 1 : dice < 10 ? 4000000000000 : 0};
    s->value[i] = n, s->lapsed[i] = dice < 5;
    if (b) status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value), &o, e);
  } else if (dice < 60) {
    s->value[i] = 0, s->lapsed[i] = false;
    if (b) status = toon_batch_delete(b, K(name), e);
  } else if (dice < 68) {
    if (s->value[i] && !s->lapsed[i]) s->lapsed[i] = dice < 64;
    if (b) status = toon_batch_expire(b, K(name), dice < 64 ? 1 : 4000000000001, e);
  } else if (dice >= 100) { /* documents, each with its entries, in one transaction */
    if (b) status = toon_batch_begin(b, e);
    for (int k = 0; k < 3 && status == TOON_OK; k++) {
      int j = (i + k * 11) % DOCUMENTS;
      uint32_t now = (n + (uint32_t)k) % 4 ? n : 0;
      if (b) status = document_write(b, writer * DOCUMENTS + j, s->document[j], now, e);
      s->document[j] = now;
    }
    if (b && status == TOON_OK) status = toon_batch_end(b, e);
  } else { /* a transaction, the later ones with a snapshot: all of it or nothing */
    if (b && dice >= 84) status = toon_snapshot_open(db, &snapshot, e);
    if (b && status == TOON_OK) status = snapshot ? toon_batch_begin_at(b, snapshot, e) : toon_batch_begin(b, e);
    for (int k = 0; k < 6 && status == TOON_OK; k++) {
      int j = (i + k * 3) % KEYS;
      bool gone = k % 3 == 2;
      key_name(writer, j, name);
      s->value[j] = gone ? 0 : n, s->lapsed[j] = false;
      if (b && gone) status = toon_batch_delete(b, K(name), e);
      if (b && !gone) status = toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value), NULL, e);
    }
    if (b && status == TOON_OK) status = toon_batch_end(b, e);
  }
  if (b && status == TOON_OK) {
    uint64_t result;
    status = toon_commit(db, b, e);
    if (status == TOON_OK) status = toon_batch_result(b, 0, &result, e);
  }
  toon_batch_free(b);
  toon_snapshot_close(snapshot);
  return status;
}

/* ---------------------------------------------------------------- the child */

typedef struct report {
  uint32_t writer, count; /* writer WRITERS: the store is open; beyond: an error */
} report;
typedef struct job {
  toon_db *db;
  int writer, out;
  uint32_t done;
} job;

static void tell(int out, uint32_t writer, uint32_t count) {
  report r = {writer, count};
  if (write(out, &r, sizeof r) != (ssize_t)sizeof r) _exit(3);
}
static void *write_on(void *arg) {
  job *j = arg;
  toon_error e = {0};
  state s = {0};
  for (uint32_t n = 1; n <= j->done; n++) operate(NULL, j->writer, n, &s, &e);
  for (uint32_t n = j->done + 1;; n++) {
    if (operate(j->db, j->writer, n, &s, &e) != TOON_OK) {
      fprintf(stderr, "writer %d, operation %u: %s\n", j->writer, n, e.message);
      tell(j->out, WRITERS + 1, n);
      return NULL;
    }
    tell(j->out, (uint32_t)j->writer, n);
  }
}
static void *keep_up(void *arg) {
  toon_db *db = arg;
  toon_error e;
  for (int i = 0;; i++) {
    if (i % 4 == 0) toon_checkpoint(db, &e);
    if (i % 4 == 1) toon_compact(db, NULL, NULL, &e);
    if (i % 4 == 2) toon_columns_build(db, S("c/"), &e);
    if (i % 4 == 3) toon_sync(db, &e);
    os_sleep_ms(1);
  }
  return NULL;
}
static void child(const char *path, toon_options o, const uint32_t done[WRITERS], int out) {
  toon_db *db;
  pthread_t threads[WRITERS + 1];
  job jobs[WRITERS];
  column_block_rows = 16;
  if (open_at(NULL, path, o, &db) != TOON_OK || documents_keep(db, &err) != TOON_OK) {
    fprintf(stderr, "child: %s %s\n", err.message, err.path);
    tell(out, WRITERS + 1, 0);
    _exit(1);
  }
  tell(out, WRITERS, 0);
  for (int i = 0; i < WRITERS; i++) {
    jobs[i] = (job){db, i, out, done[i]};
    pthread_create(&threads[i], NULL, write_on, &jobs[i]);
  }
  pthread_create(&threads[WRITERS], NULL, keep_up, db);
  for (int i = 0; i <= WRITERS; i++) pthread_join(threads[i], NULL);
  _exit(2);
}

/* ---------------------------------------------------------------- the parent */

/* documents: those that are there, of all writers. */
static bool holds(toon_db *db, int writer, const state *s, const uint32_t *documents) {
  for (int i = 0; i < KEYS; i++) {
    char name[24], want[700];
    toon_row row;
    toon_buf json = {0};
    bool found, right;
    key_name(writer, i, name);
    if (toon_get(db, NULL, K(name), &row, &found, &err) != TOON_OK) return false;
    right = found == (s->value[i] && !s->lapsed[i]);
    if (found) {
      value_text(writer, s->value[i], want);
      right = right && toon_field_to_json(row.field, &json, &err) == TOON_OK && json.len == strlen(want) + 2 &&
              memcmp(json.ptr + 1, want, json.len - 2) == 0;
      toon_row_release(db, &row);
    }
    toon_buf_free(&json);
    if (!right) return false;
  }
  for (int i = 0; i < DOCUMENTS; i++)
    if (documents[writer * DOCUMENTS + i] != s->document[i]) return false;
  return true;
}

TEST(nothing_acknowledged_is_lost_when_the_process_is_killed) {
  uint64_t rounds = setting("KILL", 12), seed = setting("KILL_SEED", (uint64_t)getpid()), acknowledged = 0, early = 0,
           with_columns = 0;
  char base[] = "/tmp/toon-kill-XXXXXX", path[64], command[96];
  uint32_t done[WRITERS] = {0};
  state states[WRITERS] = {0};
  uint64_t rng = seed;
  REQUIRE(mkdtemp(base));
  for (uint64_t round = 0; round < rounds && check_failures_here < 3; round++) {
    uint64_t store = round / AGE;
    toon_options o = toon_options_default();
    o.durability = (toon_durability)((store + seed) % 3);
    o.sync_interval_ms = 5;
    if (store / 3 % 2 == 0) o.segment_size = 16 << 10, o.checkpoint_bytes = 8 << 10;
    snprintf(path, sizeof path, "%s/%llu", base, (unsigned long long)store);
    if (round % AGE == 0) {
      memset(done, 0, sizeof done);
      memset(states, 0, sizeof states);
    }
    int pipes[2], status;
    REQUIRE(pipe(pipes) == 0);
    fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      close(pipes[0]);
      child(path, o, done, pipes[1]);
    }
    close(pipes[1]);
    report r = {0};
    bool opened = false;
    if (lcg(&rng) % 5) opened = read(pipes[0], &r, sizeof r) == (ssize_t)sizeof r; /* else: while it opens */
    usleep((useconds_t)(lcg(&rng) % (opened ? LIFE_US : 3000)));
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    uint32_t told[WRITERS];
    memcpy(told, done, sizeof told);
    do {
      if (r.writer < WRITERS && r.count) told[r.writer] = r.count, acknowledged++;
      if (r.writer > WRITERS) CHECK(!"the child failed by itself");
    } while (read(pipes[0], &r, sizeof r) == (ssize_t)sizeof r);
    close(pipes[0]);
    early += !opened;

    toon_db *db;
    o.read_only = round % 2; /* then the next child finds what this one left */
    if (open_at(NULL, path, o, &db) != TOON_OK) {
      if (err.status == TOON_ENOTFOUND && !opened && round % AGE == 0) continue; /* killed before there was a store */
      fprintf(stderr, "KILL_SEED=%llu round %llu: does not open: %s %s\n", (unsigned long long)seed,
              (unsigned long long)round, err.message, err.path);
      check_failures_here++;
      continue;
    }
    uint32_t documents[WRITERS * DOCUMENTS];
    bool columns = false;
    if (documents_read(db, documents, WRITERS * DOCUMENTS) != TOON_OK ||
        !documents_hold(db, documents, WRITERS * DOCUMENTS) || !documents_agree(db, &columns)) {
      fprintf(stderr, "KILL_SEED=%llu round %llu, durability %d: documents, their entries and columns differ (%s)\n",
              (unsigned long long)seed, (unsigned long long)round, o.durability, path);
      check_failures_here++;
    }
    with_columns += columns;
    for (int w = 0; w < WRITERS; w++) {
      while (done[w] < told[w]) operate(NULL, w, ++done[w], &states[w], &err);
      state next = states[w];
      operate(NULL, w, done[w] + 1, &next, &err);
      bool as_told = holds(db, w, &states[w], documents);
      if (!as_told && holds(db, w, &next, documents)) {
        states[w] = next;
        done[w]++;
      } else if (!as_told) {
        fprintf(stderr, "KILL_SEED=%llu round %llu, durability %d: writer %d is not as after %u operations (%s)\n",
                (unsigned long long)seed, (unsigned long long)round, o.durability, w, done[w], path);
        check_failures_here++;
      }
    }
    CHECK_EQ(toon_close(db, &err), TOON_OK);
    if (round % AGE == AGE - 1 && !check_failures_here) {
      snprintf(command, sizeof command, "rm -rf %s", path);
      CHECK_EQ(system(command), 0);
    }
  }
  fprintf(stderr, "kill: %llu rounds, %llu operations acknowledged, %llu killed while opening, columns in %llu\n",
          (unsigned long long)rounds, (unsigned long long)acknowledged, (unsigned long long)early,
          (unsigned long long)with_columns);
  CHECK(acknowledged > 0);
  CHECK(rounds < 100 || with_columns > 0);
  snprintf(command, sizeof command, "rm -rf %s", base);
  if (!check_failures_here) CHECK_EQ(system(command), 0);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
