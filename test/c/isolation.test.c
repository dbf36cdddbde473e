/* Isolation, judged by histories. Threads run transactions while others checkpoint, compact, let rows lapse, hold old snapshots, open and close;
 * each notes what it read, wrote and was told. Afterwards the notes are held against each other, without asking the engine:
 *   a read saw a transaction that had not committed, a value that was overwritten within its own, or not the newest of its snapshot;
 *   a snapshot lacks a commit that had been acknowledged before it was opened;
 *   two transactions replaced the same version (lost update);
 *   the graph of who must come before whom has a circle: under 'serializable' of any kind (write skew, phantoms), else one
 *   that snapshot isolation forbids;
 *   the accounts do not add up.
 * Every value is "ID AMOUNT", ID its transaction. ISOLATION=N transactions (default 6000); .ci/isolation runs 100,000. */
#include "check.h"
#include "api.h"
#include "base/alloc.h"
#include "os/thread.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum {
  ACCOUNTS = 8, /* keys 0 .. 7: money moves between them */
  PAIRS = 4,    /* 8 .. 15: both are read, one is written */
  SLOTS = 10,   /* 16 .. 25: a range that is read, rows come and go */
  TWICE = 4,    /* 26 .. 29: written twice in one transaction */
  KEYS = ACCOUNTS + 2 * PAIRS + SLOTS + TWICE,
  MONEY = 1000,
  WORKERS = 4,
  OPS = 24,
  HALF = 1 << 30 /* added to the ID of a value that its own transaction overwrites */
};
enum { FIRST_PAIR = ACCOUNTS, FIRST_SLOT = FIRST_PAIR + 2 * PAIRS, FIRST_TWICE = FIRST_SLOT + SLOTS };

typedef struct op {
  uint32_t key, id; /* id: whose value was read; NONE: there was none */
  bool write, put;
} op;
enum { NONE = 0 }; /* also the ID of the transaction that made the store's first state */
typedef struct txn {
  uint64_t snapshot, commit; /* sequences; commit 0: it wrote nothing, or was refused or abandoned */
  uint32_t count;
  bool refused;
  op ops[OPS];
} txn;

typedef struct history {
  txn *txns; /* number i is transaction i; 0 is the first state */
  uint32_t count, room;
  bool serializable;
} history;

static void key_of(uint32_t i, char out[16]) {
  static const char *const kinds[] = {"account", "pair", "slot", "twice"};
  uint32_t first[] = {0, FIRST_PAIR, FIRST_SLOT, FIRST_TWICE}, kind = 3;
  while (first[kind] > i) kind--;
  snprintf(out, 16, "%s/%02u", kinds[kind], i);
}

/* ---------------------------------------------------------------- the judge */

typedef struct verdict {
  int dirty, stale, early, lost, circles, money;
} verdict;

typedef struct written {
  uint64_t commit;
  uint32_t id;
  bool put;
} written;
static int by_commit(const void *a, const void *b) {
  const written *x = a, *y = b;
  return x->commit != y->commit ? (x->commit > y->commit) - (x->commit < y->commit) : (x->id > y->id) - (x->id < y->id);
}

/* A graph whose circles are looked for (Tarjan, without recursion). */
typedef struct graph {
  uint32_t nodes, edges, room;
  uint32_t *from, *to;
} graph;
static void edge(graph *g, uint32_t from, uint32_t to) {
  if (g->edges == g->room) {
    g->room = g->room ? g->room * 2 : 1 << 16;
    g->from = realloc(g->from, g->room * sizeof *g->from);
    g->to = realloc(g->to, g->room * sizeof *g->to);
  }
  g->from[g->edges] = from;
  g->to[g->edges++] = to;
}
/* The number of strongly connected components of more than one node. */
static int circles(const graph *g) {
  uint32_t n = g->nodes, *start = calloc(n + 2, sizeof *start), *out = malloc((g->edges + 1) * sizeof *out);
  uint32_t *number = calloc(n, sizeof *number), *low = calloc(n, sizeof *low), *at = calloc(n, sizeof *at);
  uint32_t *path = malloc(n * sizeof *path), *stack = malloc(n * sizeof *stack), depth = 0, top = 0, counter = 0;
  bool *on = calloc(n, sizeof *on);
  int found = 0;
  for (uint32_t i = 0; i < g->edges; i++) start[g->from[i] + 2]++;
  for (uint32_t i = 1; i < n + 2; i++) start[i] += start[i - 1];
  for (uint32_t i = 0; i < g->edges; i++) out[start[g->from[i] + 1]++] = g->to[i];
  for (uint32_t root = 0; root < n; root++) {
    if (number[root]) continue;
    path[depth++] = root;
    while (depth) {
      uint32_t v = path[depth - 1];
      if (!number[v]) {
        number[v] = low[v] = ++counter;
        at[v] = start[v];
        stack[top++] = v;
        on[v] = true;
      }
      bool deeper = false;
      while (at[v] < start[v + 1] && !deeper) {
        uint32_t w = out[at[v]];
        if (!number[w]) {
          path[depth++] = w;
          deeper = true;
        } else {
          if (on[w] && low[w] < low[v]) low[v] = low[w];
          at[v]++;
        }
      }
      if (deeper) continue;
      if (low[v] == number[v]) {
        uint32_t size = 0, w;
        do on[w = stack[--top]] = false, size++;
        while (w != v);
        found += size > 1;
      }
      depth--;
    }
  }
  free(start), free(out), free(number), free(low), free(at), free(path), free(stack), free(on);
  return found;
}

/* Node 2 i: transaction i, from which only what it saw to be before others leads on. Node 2 i + 1: that has been followed,
 * and one step from a read to a later write may be. For 'serializable' both are the same. */
static void add_dependency(graph *g, bool serializable, uint32_t from, uint32_t to) {
  if (from == to) return;
  edge(g, 2 * from, serializable ? 2 * to : 2 * to + 1);
}
static void add_overtaken(graph *g, bool serializable, uint32_t from, uint32_t to) {
  if (from == to) return;
  edge(g, serializable ? 2 * from : 2 * from + 1, 2 * to);
}

/* The number of versions up to and with this sequence. */
static uint32_t behind(const written *all, uint32_t n, uint64_t commit) {
  uint32_t lo = 0, hi = n;
  while (lo < hi) {
    uint32_t mid = (lo + hi) / 2;
    if (all[mid].commit <= commit)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static verdict judge(const history *h) {
  verdict v = {0};
  written *versions[KEYS];
  uint32_t counts[KEYS] = {0};
  graph g = {.nodes = 2 * h->count};
  for (uint32_t i = 0; i < h->count; i++)
    for (uint32_t j = 0; j < h->txns[i].count; j++) counts[h->txns[i].ops[j].key] += h->txns[i].ops[j].write;
  for (int k = 0; k < KEYS; k++) versions[k] = malloc((counts[k] + 1) * sizeof **versions), counts[k] = 0;
  for (uint32_t i = 0; i < h->count; i++)
    for (uint32_t j = 0; j < h->txns[i].count; j++) {
      const op *o = &h->txns[i].ops[j];
      if (o->write && h->txns[i].commit) versions[o->key][counts[o->key]++] = (written){h->txns[i].commit, i, o->put};
    }
  for (int k = 0; k < KEYS; k++) {
    qsort(versions[k], counts[k], sizeof **versions, by_commit);
  }
  for (uint32_t i = 0; i < h->count; i++) {
    const txn *t = &h->txns[i];
    if (!h->serializable) edge(&g, 2 * i + 1, 2 * i);
    for (uint32_t j = 0; j < t->count; j++) {
      const op *o = &t->ops[j];
      const written *all = versions[o->key];
      uint32_t n = counts[o->key], next = behind(all, n, t->snapshot), mine = t->commit ? behind(all, n, t->commit - 1) : next;
      /* A key that came and went in between, leaving nothing, is as the snapshot saw it: that is no conflict, and under
       * snapshot isolation no dependency. */
      bool again = mine > next && !all[mine - 1].put && !(next && all[next - 1].put);
      if (again) next = mine;
      bool depends = next && !(again && !h->serializable);
      if (o->write) {
        v.lost += i && t->commit && all[next].id != i;
        if (depends && t->commit) add_dependency(&g, h->serializable, all[mine - 1].id, i);
        continue;
      }
      if (t->refused) continue; /* it has not happened */
      const written *seen = next ? &all[next - 1] : NULL;
      uint32_t want = seen && seen->put ? seen->id : NONE;
      if (o->id & HALF || o->id >= h->count || (o->id != NONE && !h->txns[o->id].commit)) v.dirty++;
      else if (o->id != want) v.stale++;
      if (depends) add_dependency(&g, h->serializable, seen->id, i);
      if (next < n) add_overtaken(&g, h->serializable, i, all[next].id);
    }
  }
  v.circles = circles(&g);
  free(g.from), free(g.to);
  for (int k = 0; k < KEYS; k++) free(versions[k]);
  return v;
}

/* ---------------------------------------------------------------- transactions */

typedef struct worker {
  toon_db *db;
  history *h;
  _Atomic uint32_t *next;
  _Atomic uint64_t *acknowledged; /* the newest commit that somebody has been told of */
  _Atomic uint64_t *newest;       /* of each account */
  uint64_t rng;
  uint32_t stale_id; /* the transaction whose private row is to be deleted */
  int early, money, conflicts, errors;
} worker;

static void raise(_Atomic uint64_t *at, uint64_t to) {
  uint64_t now = atomic_load(at);
  while (now < to && !atomic_compare_exchange_weak(at, &now, to)) {
  }
}
static void parse(const toon_row *row, uint32_t *id, int *amount) { /* ": ID AMOUNT\n" */
  char text[40] = {0}, *end;
  memcpy(text, row->field.ptr + 2, row->field.len - 2 < 39 ? row->field.len - 2 : 39);
  *id = (uint32_t)strtoul(text, &end, 10);
  *amount = atoi(end);
}
static int read_key(worker *w, txn *t, const toon_snapshot *s, uint32_t key) {
  char name[16];
  toon_row row;
  toon_error e;
  bool found;
  op o = {.key = key, .id = NONE};
  int amount = 0;
  key_of(key, name);
  if (toon_get(w->db, s, K(name), &row, &found, &e) != TOON_OK) {
    w->errors++;
    return 0;
  }
  if (found) {
    parse(&row, &o.id, &amount);
    toon_row_release(w->db, &row);
  }
  t->ops[t->count++] = o;
  return amount;
}
static void write_key(txn *t, toon_batch *b, uint32_t key, uint32_t id, int amount) {
  char name[16], value[32];
  toon_error e;
  key_of(key, name);
  snprintf(value, sizeof value, "%u %d", id, amount);
  toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value), NULL, &e);
  if (!(id & HALF)) t->ops[t->count++] = (op){.key = key, .write = true, .put = true};
}
static int scan_slots(worker *w, txn *t, const toon_snapshot *s) {
  toon_cursor *cursor;
  toon_error e;
  toon_key key;
  toon_row row;
  bool end = false;
  int n = 0;
  uint32_t ids[SLOTS] = {0};
  toon_range range = {.prefix = S("slot/"), .reverse = lcg(&w->rng) % 2};
  if (toon_cursor_open(w->db, s, &range, &cursor, &e) != TOON_OK) return w->errors++, 0;
  while (toon_cursor_next(cursor, false, &key, &row, &end, &e) == TOON_OK && !end) {
    int amount;
    uint32_t slot = (uint32_t)((key.ptr[5] - '0') * 10 + key.ptr[6] - '0') - FIRST_SLOT;
    parse(&row, &ids[slot], &amount);
    n++;
  }
  toon_cursor_close(cursor);
  for (uint32_t i = 0; i < SLOTS; i++) t->ops[t->count++] = (op){.key = FIRST_SLOT + i, .id = ids[i]};
  return n;
}
static void audit(worker *w, txn *t, const toon_snapshot *s) {
  int sum = 0;
  for (uint32_t i = 0; i < ACCOUNTS; i++) sum += read_key(w, t, s, i);
  if (sum != ACCOUNTS * MONEY) w->money++;
}

/* Name what was read, for 'serializable'. */
static void expect_all(const txn *t, toon_batch *b) {
  toon_error e;
  bool slots = false;
  for (uint32_t i = 0; i < t->count; i++) {
    char name[16];
    if (t->ops[i].write) continue;
    if (t->ops[i].key >= FIRST_SLOT && t->ops[i].key < FIRST_TWICE) {
      slots = true;
      continue;
    }
    key_of(t->ops[i].key, name);
    toon_batch_expect(b, K(name), &e);
  }
  toon_range range = {.prefix = S("slot/")};
  if (slots) toon_batch_expect_range(b, &range, &e);
}

/* Read, then write into the batch. *writes: something. */
static void act(worker *w, txn *t, uint32_t id, const toon_snapshot *s, toon_batch *b, bool *writes) {
  uint64_t dice = lcg(&w->rng) % 100;
  uint32_t k = (uint32_t)(lcg(&w->rng) % ACCOUNTS), l = (k + 1 + (uint32_t)(lcg(&w->rng) % (ACCOUNTS - 1))) % ACCOUNTS;
  *writes = dice >= 15;
  if (dice < 15) {
    audit(w, t, s);
    if (dice < 5) scan_slots(w, t, s);
  } else if (dice < 45) {
    int a = read_key(w, t, s, k), c = read_key(w, t, s, l), much = (int)(lcg(&w->rng) % 50);
    write_key(t, b, k, id, a - much);
    write_key(t, b, l, id, c + much);
  } else if (dice < 65) {
    uint32_t pair = FIRST_PAIR + 2 * (k % PAIRS);
    int a = read_key(w, t, s, pair), c = read_key(w, t, s, pair + 1);
    write_key(t, b, pair + dice % 2, id, (a + c + 1) % 1000); /* without validation the sum would run away */
  } else if (dice < 85) {
    uint32_t slot = FIRST_SLOT + (uint32_t)(lcg(&w->rng) % SLOTS);
    uint32_t there = scan_slots(w, t, s) < SLOTS / 2 ? NONE : t->ops[slot - FIRST_SLOT].id;
    if (there == NONE) {
      write_key(t, b, slot, id, 1);
    } else {
      char name[16];
      toon_error e;
      key_of(slot, name);
      toon_batch_delete(b, K(name), &e);
      t->ops[t->count++] = (op){.key = slot, .write = true};
    }
  } else {
    uint32_t key = FIRST_TWICE + k % TWICE;
    int a = read_key(w, t, s, key);
    write_key(t, b, key, id | HALF, a);
    write_key(t, b, key, id, a + 1);
  }
}

static void transact(worker *w, uint32_t id) {
  txn *t = &w->h->txns[id];
  toon_error e;
  toon_snapshot *s;
  toon_batch *b;
  toon_row row;
  char name[24];
  bool writes, found;
  uint64_t value, told = atomic_load(w->acknowledged);
  /* Now and then a plain read: never older than what somebody has been told. */
  uint32_t account = (uint32_t)(lcg(&w->rng) % ACCOUNTS);
  uint64_t least = atomic_load(&w->newest[account]);
  key_of(account, name);
  if (toon_get(w->db, NULL, K(name), &row, &found, &e) == TOON_OK && found) {
    if (row.version < least) w->early++;
    toon_row_release(w->db, &row);
  }
  if (toon_snapshot_open(w->db, &s, &e) != TOON_OK || toon_batch_new(w->db, &b, &e) != TOON_OK) {
    w->errors++;
    return;
  }
  t->snapshot = toon_snapshot_sequence(s);
  if (t->snapshot < told) w->early++;
  toon_batch_begin_at(b, s, &e);
  act(w, t, id, s, b, &writes);
  if (lcg(&w->rng) % 4 == 0) sched_yield(); /* let others come between */
  bool abandoned = lcg(&w->rng) % 20 == 0;
  if (!writes || abandoned) {
    toon_batch_abandon(b);
    t->refused = writes;
  } else {
    if (w->h->serializable) expect_all(t, b);
    snprintf(name, sizeof name, "t/%u", id);
    toon_batch_put(b, K(name), TOON_INPUT_JSON, S("1"), NULL, &e);
    toon_batch_end(b, &e);
    if (w->stale_id) {
      snprintf(name, sizeof name, "t/%u", w->stale_id);
      toon_batch_delete(b, K(name), &e);
      w->stale_id = 0;
    }
    toon_status status = toon_commit(w->db, b, &e);
    if (status == TOON_OK) status = toon_batch_result(b, 0, &value, &e);
    if (status == TOON_ECONFLICT) {
      t->refused = true;
      w->conflicts++;
    } else if (status != TOON_OK) {
      w->errors++;
    } else { /* the row of its own tells the sequence it was committed with */
      snprintf(name, sizeof name, "t/%u", id);
      if (toon_get(w->db, NULL, K(name), &row, &found, &e) != TOON_OK || !found) {
        w->errors++;
      } else {
        t->commit = row.version;
        toon_row_release(w->db, &row);
        w->stale_id = id;
        for (uint32_t i = 0; i < t->count; i++)
          if (t->ops[i].write && t->ops[i].key < ACCOUNTS) raise(&w->newest[t->ops[i].key], t->commit);
        raise(w->acknowledged, t->commit);
      }
    }
  }
  toon_batch_free(b);
  toon_snapshot_close(s);
}

static void *work(void *arg) {
  worker *w = arg;
  uint32_t id;
  toon_snapshot *old = NULL;
  toon_error e;
  for (int i = 0; (id = atomic_fetch_add(w->next, 1)) < w->h->room; i++) {
    if (i % 100 != 99 || !old) {
      transact(w, id);
    } else { /* what a snapshot of long ago still shows */
      txn *t = &w->h->txns[id];
      t->snapshot = toon_snapshot_sequence(old);
      audit(w, t, old);
      scan_slots(w, t, old);
    }
    if (i % 100 == 99) {
      toon_snapshot_close(old);
      if (toon_snapshot_open(w->db, &old, &e) != TOON_OK) old = NULL;
    }
  }
  toon_snapshot_close(old);
  return NULL;
}

typedef struct upkeep {
  toon_db *db;
  const char *path;
  toon_options options;
  _Atomic bool stop;
  int errors;
} upkeep;
static void *keep_up(void *arg) {
  upkeep *u = arg;
  toon_error e;
  for (int i = 0; !u->stop; i++) {
    toon_batch *b;
    toon_put_options soon = {.expires_at = toon_now(u->db) + 3};
    if (toon_batch_new(u->db, &b, &e) != TOON_OK) break;
    for (int k = 0; k < 20; k++) { /* rows that lapse, to be swept */
      char name[16];
      snprintf(name, sizeof name, "x/%d", k);
      toon_batch_put(b, K(name), TOON_INPUT_JSON, S("1"), &soon, &e);
    }
    if (toon_commit(u->db, b, &e) != TOON_OK) u->errors++;
    toon_batch_free(b);
    i % 2 ? toon_compact(u->db, NULL, NULL, &e) : toon_checkpoint(u->db, &e);
    os_sleep_ms(2);
  }
  return NULL;
}

/* Other handles come and go, with the same engine or, to read, with one of their own. */
static void *open_and_close(void *arg) {
  upkeep *u = arg;
  toon_error e;
  for (int i = 0; !u->stop; i++) {
    toon_options o = u->options;
    toon_db *db;
    toon_row row;
    bool found = false;
    o.read_only = i % 4 == 3;
    if (toon_open(u->path, &o, &db, &e) != TOON_OK) {
      if (!u->errors++) fprintf(stderr, "open (read-only %d): %s %s\n", o.read_only, e.message, e.path);
      continue;
    }
    if (toon_get(db, NULL, K("account/00"), &row, &found, &e) != TOON_OK || !found) u->errors++;
    if (found) toon_row_release(db, &row);
    if (toon_close(db, &e) != TOON_OK) u->errors++;
    os_sleep_ms(1);
  }
  return NULL;
}

static void begin_history(history *h, uint32_t room, bool serializable) {
  *h = (history){.room = room, .count = room, .serializable = serializable, .txns = calloc(room, sizeof(txn))};
  h->txns[0].commit = 1; /* whatever its sequence: before all others */
}

static void storm(bool serializable) {
  char base[] = "/tmp/toon-isolation-XXXXXX", path[64], remove[96];
  toon_options o = toon_options_default();
  toon_db *db;
  toon_batch *b;
  history h;
  worker workers[WORKERS] = {0};
  _Atomic uint32_t next = 1;
  _Atomic uint64_t acknowledged = 0, newest[ACCOUNTS] = {0};
  pthread_t threads[WORKERS], others[2];
  upkeep u = {0}, opener = {0};
  REQUIRE(mkdtemp(base));
  snprintf(path, sizeof path, "%s/store", base);
  o.durability = TOON_DURABLE_CLOSE;
  o.segment_size = 64 << 10;
  o.checkpoint_bytes = 32 << 10;
  REQUIRE(open_at(NULL, path, o, &db) == TOON_OK);
  begin_history(&h, (uint32_t)setting("ISOLATION", 6000) + 1, serializable);
  CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
  toon_batch_begin(b, &err);
  for (uint32_t i = 0; i < FIRST_SLOT; i++) write_key(&h.txns[0], b, i, 0, i < ACCOUNTS ? MONEY : 0);
  toon_batch_end(b, &err);
  CHECK_EQ(commit_one(db, b, NULL), TOON_OK);
  u.db = db;
  opener.path = path;
  opener.options = o;
  pthread_create(&others[0], NULL, keep_up, &u);
  pthread_create(&others[1], NULL, open_and_close, &opener);
  for (int i = 0; i < WORKERS; i++) {
    workers[i] = (worker){.db = db, .h = &h, .next = &next, .acknowledged = &acknowledged, .newest = newest, .rng = (uint64_t)i + 1};
    pthread_create(&threads[i], NULL, work, &workers[i]);
  }
  int early = 0, money = 0, conflicts = 0, errors = 0;
  for (int i = 0; i < WORKERS; i++) {
    pthread_join(threads[i], NULL);
    early += workers[i].early, money += workers[i].money, conflicts += workers[i].conflicts, errors += workers[i].errors;
  }
  u.stop = opener.stop = true;
  for (int i = 0; i < 2; i++) pthread_join(others[i], NULL);
  errors += u.errors + opener.errors;
  verdict v = judge(&h);
  fprintf(stderr, "isolation: %s, %u transactions, %d refused, %d compactions: dirty %d, stale %d, early %d, lost %d, circles %d, money %d\n",
          serializable ? "serializable" : "snapshot", h.room - 1, conflicts, (int)stat_of(db, "compactions"), v.dirty, v.stale, early,
          v.lost, v.circles, money);
  CHECK_EQ(v.dirty + v.stale + v.lost + v.circles + early + money, 0);
  CHECK_EQ(errors, 0);
  CHECK(conflicts > 0); /* else they were not at it together */
  CHECK_EQ(toon_close(db, &err), TOON_OK);
  snprintf(remove, sizeof remove, "rm -rf %s", base);
  CHECK_EQ(system(remove), 0);
  free(h.txns);
}

TEST(serializable_transactions_can_be_put_in_an_order) { storm(true); }
TEST(snapshot_isolation_keeps_what_it_promises) { storm(false); }

/* ---------------------------------------------------------------- the judge finds what is wrong */

#define R(k, i) {.key = (k), .id = (i)}
#define W(k) {.key = (k), .write = true, .put = true}
#define D(k) {.key = (k), .write = true}
static verdict judged(const txn *txns, uint32_t count, bool serializable) {
  history h = {.txns = (txn *)(uintptr_t)txns, .count = count, .room = count, .serializable = serializable};
  return judge(&h);
}
#define FIRST {.commit = 1, .count = 3, .ops = {W(0), W(1), W(2)}}
TEST(the_judge_finds_a_lost_update) {
  const txn h[] = {FIRST, {.snapshot = 1, .commit = 2, .count = 2, .ops = {R(0, 0), W(0)}},
                   {.snapshot = 1, .commit = 3, .count = 2, .ops = {R(0, 0), W(0)}}};
  CHECK_EQ(judged(h, 3, false).lost, 1);
  CHECK(judged(h, 3, false).circles > 0);
  CHECK(judged(h, 3, true).circles > 0);
}
TEST(the_judge_finds_write_skew_and_lets_snapshot_isolation_have_it) {
  const txn h[] = {FIRST, {.snapshot = 1, .commit = 2, .count = 3, .ops = {R(0, 0), R(1, 0), W(0)}},
                   {.snapshot = 1, .commit = 3, .count = 3, .ops = {R(0, 0), R(1, 0), W(1)}}};
  CHECK(judged(h, 3, true).circles > 0);
  CHECK_EQ(judged(h, 3, false).circles, 0);
  CHECK_EQ(judged(h, 3, false).lost, 0);
}
TEST(the_judge_finds_phantoms) {
  const txn h[] = {FIRST, {.snapshot = 1, .commit = 2, .count = 3, .ops = {R(20, 0), R(21, 0), W(20)}},
                   {.snapshot = 1, .commit = 3, .count = 3, .ops = {R(20, 0), R(21, 0), W(21)}},
                   {.snapshot = 3, .commit = 4, .count = 3, .ops = {R(20, 1), R(21, 2), D(20)}}};
  CHECK(judged(h, 4, true).circles > 0);
  CHECK_EQ(judged(h, 4, false).circles, 0);
}
TEST(the_judge_finds_dirty_and_stale_reads) {
  const txn h[] = {FIRST, {.snapshot = 1, .commit = 0, .refused = true, .count = 1, .ops = {W(0)}},
                   {.snapshot = 1, .count = 1, .ops = {R(0, 1)}},
                   {.snapshot = 1, .commit = 2, .count = 1, .ops = {W(1)}},
                   {.snapshot = 2, .count = 1, .ops = {R(1, 0)}},
                   {.snapshot = 2, .count = 1, .ops = {R(1, 3 | HALF)}}};
  CHECK_EQ(judged(h, 6, true).dirty, 2);
  CHECK_EQ(judged(h, 6, true).stale, 1);
}
TEST(the_judge_finds_a_reader_between_two_halves) {
  const txn h[] = {FIRST, {.snapshot = 1, .commit = 2, .count = 2, .ops = {W(0), W(1)}},
                   {.snapshot = 2, .count = 2, .ops = {R(0, 1), R(1, 0)}}};
  CHECK_EQ(judged(h, 3, false).stale, 1);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
