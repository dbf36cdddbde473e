/* Damage, laid on thick: every bit of every file of small stores flipped, every file cut to every length, lost, swapped, put
 * back as it was earlier or taken from another store. Whatever comes of it is an error that names a file, or the right
 * data; and no memory is asked for on the word of a damaged number.
 *   DAMAGE=N       every N-th of the flips and lengths (default 1499; 1: all)
 *   DAMAGE_PART=I  of DAMAGE_PARTS=N processes this is number I */
#include "check.h"
#include "api.h"
#include "base/alloc.h"

#include <stdatomic.h>

enum { KEYS = 12, ROWS = 6, STEPS = 40, FILES = 32, ALLOCATION_MAX = 3 << 20 };

static void key_name(int i, char out[16]) { snprintf(out, 16, i % 3 ? "b %02d" : "a%02d", i); }
static const char *value_text(uint32_t v) {
  static _Thread_local char text[200];
  int n = snprintf(text, sizeof text, "%u word ", v), more = (int)(v * 37 % 150);
  memset(text + n, 'x', (size_t)more);
  text[n + more] = 0;
  return text;
}

#include "model.h"

/* The largest block that was asked for. */
static _Atomic size_t largest;
static int note_size(void *ctx, size_t size) {
  (void)ctx;
  size_t before = atomic_load(&largest);
  while (size > before && !atomic_compare_exchange_weak(&largest, &before, size)) {
  }
  return 0;
}

/* ---------------------------------------------------------------- the stores */

typedef struct sample {
  const char *name;
  toon_options options;
  os_memfs *fs, *earlier, *foreign; /* the store; as it was half-way; another one that was made in the same way */
  model states[STEPS + 1];
  int count, least; /* states[count - 1] is the last; none before `least` may come back from damage in the tail */
  bool dead;        /* the process died: a damaged tail may be one that was torn */
} sample;

enum { CLOSED = 1, COMPACTED = 2, CHECKPOINTS = 4, SMALL_SEGMENTS = 8 };

static void grow(toon_db *db, sample *s, int from, int to, int flags) {
  uint64_t rng = 77;
  for (int i = from; i < to; i++) {
    model *m = &s->states[s->count];
    char name[16];
    toon_batch *b;
    uint8_t id[8];
    int k = (int)(lcg(&rng) % KEYS), r = i % ROWS;
    *m = s->states[s->count - 1];
    key_name(k, name);
    CHECK_EQ(toon_batch_new(db, &b, &err), TOON_OK);
    toon_put_options o = {.expires_at = i % 11 == 0 ? 4000000000000 : 0};
    toon_batch_begin(b, &err);
    if (i % 5 == 4)
      toon_batch_delete(b, K(name), &err), m->user[k] = 0;
    else
      toon_batch_put(b, K(name), TOON_INPUT_STRING, S(value_text((uint32_t)i + 1)), &o, &err), m->user[k] = (uint32_t)i + 1;
    if (i % 7 == 3 && m->next_row < ROWS) {
      toon_batch_row_put(b, TOON_INPUT_STRING, S(value_text((uint32_t)i + 1)), NULL, &err);
      m->row[m->next_row++] = (uint32_t)i + 1;
    } else if (i % 13 == 12 && m->row[r]) {
      toon_batch_delete(b, toon_row_key((uint64_t)r, id), &err);
      m->row[r] = 0;
    }
    toon_batch_end(b, &err);
    CHECK_EQ(commit_one(db, b, NULL), TOON_OK);
    s->count++;
    if (flags & CHECKPOINTS && i % 12 == 8 && i < STEPS * 2 / 3) { /* sealed segments behind the last one, too */
      CHECK_EQ(toon_checkpoint(db, &err), TOON_OK);
      s->least = s->count - 1;
    }
    if (flags & COMPACTED && i % 16 == 15) {
      CHECK_EQ(toon_compact(db, NULL, NULL, &err), TOON_OK);
      s->least = s->count - 1;
    }
  }
}
static os_memfs *make(sample *s, int flags) {
  toon_db *db;
  os_memfs *fs = os_memfs_new(), *left;
  s->options = toon_options_default();
  s->options.durability = TOON_DURABLE_INTERVAL; /* no padding: a small file is damaged quicker */
  s->options.sync_interval_ms = 3600000;
  if (flags & SMALL_SEGMENTS) s->options.segment_size = 4096;
  s->dead = !(flags & CLOSED);
  s->count = 1;
  s->least = 0;
  memset(s->states, 0, sizeof s->states);
  CHECK_EQ(open_on(fs, s->options, &db), TOON_OK);
  grow(db, s, 0, STEPS / 2, flags);
  os_memfs_free(s->earlier);
  s->earlier = killed(fs);
  grow(db, s, STEPS / 2, STEPS, flags);
  if (flags & CLOSED) CHECK_EQ(toon_close(db, &err), TOON_OK);
  left = killed(fs);
  if (!(flags & CLOSED)) toon_close(db, &err);
  os_memfs_free(fs);
  return left;
}

/* ---------------------------------------------------------------- what comes of it */

static char files[FILES][40];
static int file_count;
static int visit(void *ctx, const char *name) {
  (void)ctx;
  if (strcmp(name, "LOCK") != 0 && file_count < FILES) snprintf(files[file_count++], sizeof files[0], "/d/%s", name);
  return 0;
}
static void list_files(os_memfs *fs) {
  file_count = 0;
  os_memfs_vfs(fs)->list(os_memfs_vfs(fs), "/d", visit, NULL);
}

static uint64_t cases;
static void failed(const char *what, const char *why, int number) {
  check_failures_here++;
  fprintf(stderr, "%s: %s %d (%s %s at %lld)\n", what, why, number, err.message, err.path, (long long)err.offset);
}
static bool names_a_file(void) { return strncmp(err.path, "/d/", 3) == 0 && strlen(err.path) > 3; }

/* Key by key: what is not an error is what the state says. */
static bool no_wrong_value(toon_db *db, const model *want) {
  for (int i = 0; i < KEYS; i++) {
    char name[16];
    toon_row row;
    bool found;
    key_name(i, name);
    toon_status status = toon_get(db, NULL, K(name), &row, &found, &err);
    if (status != TOON_OK && (status != TOON_ECORRUPT || !names_a_file())) return false;
    if (status != TOON_OK) continue;
    uint32_t v = found ? value_of(&row) : 0;
    if (found) toon_row_release(db, &row);
    if (found != (want->user[i] != 0) || v != want->user[i]) return false;
  }
  return true;
}

/* Open what is left, as it is or read-only or for repair. `loses`: damage of this kind may look like a torn tail; `moved`: whole
 * segments are gone or elsewhere, and a repair keeps what it finds. */
static void check_case(os_memfs *fs, const sample *s, bool loses, bool moved, const char *what) {
  toon_options o = s->options;
  toon_db *db;
  uint64_t turn = cases++;
  o.read_only = turn % 4 == 1;
  o.repair = turn % 4 == 3;
  atomic_store(&largest, 0);
  toon_alloc_set_refuse(note_size, NULL);
  toon_status status = open_on(fs, o, &db);
  if (status != TOON_OK) {
    bool fits = status == TOON_ECORRUPT || status == TOON_EFORMAT;
    if (!fits || !names_a_file()) failed(what, toon_status_name(status), (int)turn);
    if (o.repair && status == TOON_ECORRUPT && !strstr(err.message, "missing") &&
        !strstr(err.message, "another store") && !strstr(err.message, "header"))
      failed(what, "repair refused", (int)turn);
  } else {
    model seen;
    bool wrong = false;
    status = read_all(db, NULL, &seen, &wrong);
    int least = o.repair ? 0 : loses ? s->least : s->count - 1, state = -1;
    if (status == TOON_OK) {
      for (int i = s->count; i-- > least && state < 0;)
        if (same(&seen, &s->states[i])) state = i;
      if (state < 0 && o.repair && moved && !wrong) goto out;
      if (wrong || state < 0 || !sizes_right(db, &s->states[state])) failed(what, "wrong data, state", state);
    } else if (status != TOON_ECORRUPT || !names_a_file()) {
      failed(what, "cannot be read:", (int)turn);
    } else if (!no_wrong_value(db, &s->states[s->count - 1])) {
      failed(what, "a wrong value beside an error", (int)turn);
    }
  out:
    toon_close(db, &err);
    if (state >= 0 && turn % 8 == 0) { /* healed for good */
      if (open_on(fs, s->options, &db) != TOON_OK)
        failed(what, "does not open again", state);
      else {
        if (!holds_model(db, NULL, &s->states[state])) failed(what, "changes with a second open", state);
        toon_close(db, &err);
      }
    }
  }
  toon_alloc_set_refuse(NULL, NULL);
  if (atomic_load(&largest) > ALLOCATION_MAX) failed(what, "asked for bytes:", (int)atomic_load(&largest));
}

/* ---------------------------------------------------------------- the damage */

static void write_file(os_memfs *fs, const char *path, const uint8_t *bytes, size_t len) {
  os_vfs *vfs = os_memfs_vfs(fs);
  os_file *file;
  if (vfs->open(vfs, path, OS_WRITE | OS_CREATE | OS_TRUNCATE, &file)) return;
  vfs->pwrite(vfs, file, bytes, len, 0);
  vfs->close(vfs, file);
}
static void copy_file(os_memfs *to, const char *as, os_memfs *from, const char *path) {
  size_t len;
  const uint8_t *bytes = os_memfs_content(from, path, &len);
  if (bytes) write_file(to, as, bytes, len);
}
static bool is_segment(const char *path) { return strcmp(path + strlen(path) - 5, ".toon") == 0 && !strstr(path, "metadata"); }
static int segment_id(const char *path) { return strcmp(path, "/d/db.toon") == 0 ? 0 : atoi(path + 6); }
/* Is this the last segment of the log, where a tail may be torn? */
static bool is_tail(const char *path) {
  for (int i = 0; i < file_count; i++)
    if (is_segment(files[i]) && segment_id(files[i]) > segment_id(path)) return false;
  return is_segment(path);
}

static void damage_bits(const sample *s, size_t every, size_t part, size_t parts) {
  char what[160];
  size_t n = part;
  for (int f = 0; f < file_count; f++) {
    size_t len;
    os_memfs_content(s->fs, files[f], &len);
    bool loses = s->dead && is_tail(files[f]);
    for (size_t bit = 0; bit < len * 8 && check_failures_here < 10; bit++) {
      if (n++ % (every * parts)) continue;
      os_memfs *copy = killed(s->fs);
      size_t size;
      uint8_t *bytes = (uint8_t *)(uintptr_t)os_memfs_content(copy, files[f], &size);
      bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
      snprintf(what, sizeof what, "%s: %s of %zu, bit %zu flipped", s->name, files[f], len, bit);
      check_case(copy, s, loses, false, what);
      os_memfs_free(copy);
    }
    for (size_t cut = 0; cut < len && check_failures_here < 10; cut++) {
      if (n++ % (every > 8 ? every / 8 * parts : parts)) continue;
      os_memfs *copy = killed(s->fs);
      os_vfs *vfs = os_memfs_vfs(copy);
      os_file *file;
      if (vfs->open(vfs, files[f], OS_WRITE, &file) == 0) {
        vfs->truncate(vfs, file, cut);
        vfs->close(vfs, file);
      }
      snprintf(what, sizeof what, "%s: %s of %zu, cut to %zu", s->name, files[f], len, cut);
      check_case(copy, s, loses, false, what);
      os_memfs_free(copy);
    }
  }
}

static void damage_files(const sample *s) {
  char what[160];
  for (int f = 0; f < file_count && check_failures_here < 10; f++) {
    const char *name = files[f];
    bool loses = s->dead && is_tail(name);
    for (int kind = 0; kind < 6 + file_count; kind++) {
      os_memfs *copy = killed(s->fs);
      os_vfs *vfs = os_memfs_vfs(copy);
      size_t len;
      const uint8_t *bytes = os_memfs_content(copy, name, &len);
      const char *how = NULL;
      bool may_lose = loses;
      if (kind == 0) {
        how = "missing";
        if (!(is_segment(name) && is_tail(name) && s->dead)) /* a last segment that no manifest names cannot be missed */
          vfs->unlink(vfs, name);
      } else if (kind == 1) {
        how = "as it was earlier";
        copy_file(copy, name, s->earlier, name);
      } else if (kind == 2) {
        how = "of another store";
        copy_file(copy, name, s->foreign, name);
      } else if (kind == 3) {
        how = "zeros";
        uint8_t *zeros = calloc(1, len + 1);
        write_file(copy, name, zeros, len);
        free(zeros);
      } else if (kind == 4 || kind == 5) {
        how = kind == 4 ? "twice, one behind the other" : "with something behind";
        uint8_t *twice = malloc(2 * len + 1);
        memcpy(twice, bytes, len);
        memcpy(twice + len, kind == 4 ? (const void *)bytes : "x", kind == 4 ? len : 1);
        write_file(copy, name, twice, kind == 4 ? 2 * len : len + 1);
        free(twice);
      } else {
        const char *other = files[kind - 6];
        how = other;
        may_lose = s->dead && (is_tail(name) || is_tail(other));
        copy_file(copy, name, s->fs, other);
        copy_file(copy, other, s->fs, name);
      }
      snprintf(what, sizeof what, "%s: %s of %zu, %s", s->name, name, len, how);
      for (int i = 0; i < 4; i++) { /* in each way of opening */
        os_memfs *again = killed(copy);
        check_case(again, s, may_lose, is_segment(name), what);
        os_memfs_free(again);
      }
      os_memfs_free(copy);
    }
  }
}

static void damage_store(const char *name, int flags) {
  sample s = {.name = name};
  size_t every = setting("DAMAGE", 1499), parts = setting("DAMAGE_PARTS", 1), part = setting("DAMAGE_PART", 0);
  s.foreign = make(&s, flags);
  s.fs = make(&s, flags);
  list_files(s.fs);
  uint64_t before = cases;
  os_memfs *sound = killed(s.fs);
  check_case(sound, &s, false, false, name);
  os_memfs_free(sound);
  damage_bits(&s, every, part, parts);
  if (part == 0) damage_files(&s);
  fprintf(stderr, "damage: %s, %d files, %llu cases\n", name, file_count, (unsigned long long)(cases - before));
  os_memfs_free(s.fs);
  os_memfs_free(s.earlier);
  os_memfs_free(s.foreign);
}

TEST(damage_to_a_closed_store) { damage_store("closed", CLOSED); }
TEST(damage_to_a_closed_store_of_many_files) { damage_store("closed, many files", CLOSED | CHECKPOINTS | SMALL_SEGMENTS | COMPACTED); }
TEST(damage_to_a_store_whose_process_died) { damage_store("dead", 0); }
TEST(damage_to_a_store_of_many_files_whose_process_died) { damage_store("dead, many files", CHECKPOINTS | SMALL_SEGMENTS); }

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
