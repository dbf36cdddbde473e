/* What is left of a file system in memory after a power cut: the journal is played back up to the cut, twice.
 *
 * First the names. Each directory keeps its changes up to its last dirsync and, depending on the mode, none,
 * all or some prefix of the later ones. Then the content of the files that can still be reached from the
 * root. Up to its last sync a file simply gets its changes. From there on there are two contents: `page`,
 * what the running system saw, and `disk`, what has come through. Each later change is made to the page in
 * full; of the blocks it touched, those that survive are copied to the disk whole, because a disk writes
 * whole blocks of the page and so never a newer change to a block without the older ones. */
#include "os/memfs_parts.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 512

/* ---- chance: splitmix64, a stream of its own for every file and directory ---- */

static uint64_t toss(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

static uint64_t below(uint64_t *state, uint64_t n) { return toss(state) % n; }

static uint64_t stream(uint64_t seed, uint64_t id) {
  uint64_t state = seed ^ (id + 1) * 0xD1B54A32D192ED03u;
  return toss(&state);
}

/* ---- what is known of a node while playing back ---- */

typedef enum survival {
  SURVIVE_SCATTERED, /* each block by itself, `odds` of 32 */
  SURVIVE_PREFIX     /* every change before `cut`, change `cut` torn, nothing after */
} survival;

typedef struct past {
  size_t synced; /* journal index behind the last sync of the file or dirsync of the directory */
  size_t later;  /* changes after that */
  size_t seen;   /* of these, how many have been played back */
  uint64_t random;
  bool reached;
  uint32_t id_after; /* of a reached node in the new file system */

  names names; /* of a directory: those that survive */
  size_t keep; /* how many of the later changes do */

  uint8_t *page, *disk; /* of a file; both have `cap` bytes and zeros behind their sizes */
  size_t cap, page_size, disk_size;
  survival survival;
  uint64_t odds, cut;
  bool last_size;
} past;

typedef struct crash {
  const os_memfs *fs;
  size_t end; /* journal entries that happened */
  os_crash_mode mode;
  past *nodes;
  os_memfs *after;
} crash;

static bool is_name_op(op_kind kind) {
  return kind == OP_CREATE || kind == OP_MKDIR || kind == OP_UNLINK || kind == OP_RENAME;
}

static bool is_content_op(op_kind kind) { return kind == OP_WRITE || kind == OP_TRUNCATE; }

/* Find the syncs, count what came later, and draw the lot of every node. */
static void draw(crash *c, uint64_t seed) {
  for (size_t i = 0; i < c->end; i++) {
    const op *o = &c->fs->ops[i];
    if (is_name_op(o->kind)) {
      c->nodes[o->dir].later++;
      if (o->to_dir != o->dir) c->nodes[o->to_dir].later++;
    } else if (is_content_op(o->kind)) {
      c->nodes[o->node].later++;
    } else {
      c->nodes[o->node].synced = i + 1;
      c->nodes[o->node].later = 0;
    }
  }
  for (size_t i = 0; i < c->fs->node_count; i++) {
    past *n = &c->nodes[i];
    static const uint64_t odds[] = {16, 31, 1};
    n->random = stream(seed, i);
    n->keep = c->mode == OS_CRASH_KEEP_ALL   ? n->later
              : c->mode == OS_CRASH_LOSE_ALL ? 0
                                             : below(&n->random, n->later + 1);
    uint64_t how = below(&n->random, 4);
    n->survival = how == 3 ? SURVIVE_PREFIX : SURVIVE_SCATTERED;
    n->odds = odds[how % 3];
    n->cut = below(&n->random, n->later + 1);
    n->last_size = toss(&n->random) & 1;
  }
}

/* ---- names ---- */

static bool name_survives(past *dir, size_t i) { return i < dir->synced || dir->seen++ < dir->keep; }

static bool name_add(past *dir, const char *what, uint32_t id) {
  if (!memfs_names_reserve(&dir->names)) return false;
  memfs_names_set(&dir->names, what, id);
  return true;
}

static bool play_names(crash *c) {
  for (size_t i = 0; i < c->end; i++) {
    const op *o = &c->fs->ops[i];
    if (!is_name_op(o->kind)) continue;
    past *dir = &c->nodes[o->dir], *to = &c->nodes[o->to_dir];
    bool here = name_survives(dir, i), there = to == dir ? here : name_survives(to, i);
    if (o->kind == OP_CREATE || o->kind == OP_MKDIR) {
      if (here && !name_add(dir, o->name, o->node)) return false;
    } else {
      if (here) memfs_names_remove(&dir->names, o->name);
      if (o->kind == OP_RENAME && there && !name_add(to, o->to_name, o->node)) return false;
    }
  }
  return true;
}

/* ---- content ---- */

static bool room(past *f, size_t size, bool both) {
  if (size > f->cap || (both && !f->disk)) {
    size_t cap = size > f->cap ? (f->cap * 2 > size ? f->cap * 2 : size) : f->cap;
    cap = (cap + BLOCK - 1) / BLOCK * BLOCK;
    uint8_t *page = realloc(f->page, cap ? cap : BLOCK);
    if (!page) return false;
    memset(page + f->cap, 0, cap - f->cap);
    f->page = page;
    if (both) {
      uint8_t *disk = realloc(f->disk, cap ? cap : BLOCK);
      if (!disk) return false;
      if (!f->disk) /* the first change after the sync: until now they were the same */
        memcpy(disk, page, f->cap);
      memset(disk + f->cap, 0, cap - f->cap);
      f->disk = disk;
    }
    f->cap = cap;
  }
  return true;
}

static void change_page(past *f, const op *o) {
  if (o->kind == OP_WRITE) {
    memcpy(f->page + o->offset, o->data, o->len);
    if (o->offset + o->len > f->page_size) f->page_size = (size_t)o->offset + o->len;
  } else {
    if (o->offset < f->page_size) memset(f->page + o->offset, 0, f->page_size - (size_t)o->offset);
    f->page_size = (size_t)o->offset;
  }
}

/* A size the file had during a change: a long write makes it grow step by step. */
static size_t size_within(past *f, size_t before) {
  size_t grown = f->page_size > before ? f->page_size - before : 0;
  if (grown <= BLOCK || toss(&f->random) % 4) return f->page_size;
  size_t size = (before + (size_t)below(&f->random, grown)) / BLOCK * BLOCK;
  return size > before ? size : f->page_size;
}

/* A change that was not synced: make it to the page, let some of its blocks come through to the disk. */
static void change_disk(past *f, const op *o) {
  size_t before = f->page_size, turn = f->seen++;
  change_page(f, o);
  size_t from = (size_t)o->offset, to = o->kind == OP_WRITE ? from + o->len : before > from ? before : from;

  uint64_t odds = f->odds;
  if (f->survival == SURVIVE_PREFIX) odds = turn < f->cut ? 32 : turn == f->cut ? 16 : 0;
  for (size_t block = from / BLOCK * BLOCK; block < to; block += BLOCK)
    if (odds == 32 || (odds && below(&f->random, 32) < odds)) memcpy(f->disk + block, f->page + block, BLOCK);

  bool take_size = f->survival == SURVIVE_PREFIX ? odds == 32 || (odds && toss(&f->random) & 1)
                                                 : below(&f->random, turn + 2) == 0; /* each size as likely */
  if (take_size) f->disk_size = odds == 32 ? f->page_size : size_within(f, before);
}

static bool play_content(crash *c) {
  for (size_t i = 0; i < c->end; i++) {
    const op *o = &c->fs->ops[i];
    past *f = &c->nodes[o->node];
    if (!is_content_op(o->kind) || !f->reached) continue;
    bool synced = i < f->synced || c->mode == OS_CRASH_KEEP_ALL;
    if (!synced && c->mode == OS_CRASH_LOSE_ALL) continue;
    if (!synced && !f->disk) f->disk_size = f->page_size;
    if (!room(f, (size_t)o->offset + o->len, !synced)) return false;
    if (synced)
      change_page(f, o);
    else
      change_disk(f, o);
  }
  return true;
}

/* The content a file is left with, now owned by the caller; NULL if it is empty. */
static uint8_t *take_content(past *f, size_t *size) {
  uint8_t *data = f->disk ? f->disk : f->page, *other = f->disk ? f->page : NULL;
  *size = f->page_size;
  if (f->disk) {
    bool last = f->survival == SURVIVE_SCATTERED && f->last_size;
    *size = last ? f->page_size : f->disk_size;
    memset(data + *size, 0, f->cap - *size);
  }
  free(other);
  f->page = f->disk = NULL;
  if (*size > 0) return data;
  free(data);
  return NULL;
}

/* ---- the new file system ---- */

static bool log_new(os_memfs *fs, op entry) {
  if (!memfs_reserve(fs)) return false;
  memfs_log(fs, entry);
  return true;
}

/* Give node `id_after` the names that directory `id` is left with, and go down. Paths are of no use in hidden
 * entries. */
static bool build_names(crash *c, uint32_t id) {
  past *dir = &c->nodes[id];
  for (size_t i = 0; i < dir->names.count; i++) {
    uint32_t child = dir->names.list[i].node;
    past *p = &c->nodes[child];
    bool is_dir = c->fs->nodes[child]->is_dir, first = !p->reached;
    if (is_dir && !first) continue; /* half a rename left it with two names; a file may have them, a directory not */
    const char *what = memfs_text(c->after, dir->names.list[i].text);
    node *n = first ? memfs_node(c->after, is_dir) : c->after->nodes[p->id_after];
    if (!what || !n) return false;
    p->reached = true;
    p->id_after = n->id;
    n->nlink += is_dir ? 2 : 1;
    names *names_after = &c->after->nodes[dir->id_after]->names;
    if (!memfs_names_reserve(names_after)) return false;
    memfs_names_set(names_after, what, n->id);
    if (!log_new(c->after, (op){.kind = is_dir ? OP_MKDIR : OP_CREATE,
                                .node = n->id,
                                .dir = dir->id_after,
                                .to_dir = dir->id_after,
                                .name = what}))
      return false;
    if (is_dir && !build_names(c, child)) return false;
  }
  return log_new(c->after, (op){.kind = OP_DIRSYNC, .node = dir->id_after});
}

static bool build_content(crash *c) {
  for (size_t i = 0; i < c->fs->node_count; i++) {
    past *f = &c->nodes[i];
    if (!f->reached || c->fs->nodes[i]->is_dir) continue;
    size_t size;
    uint8_t *data = take_content(f, &size);
    if (!data) continue;
    node *n = c->after->nodes[f->id_after];
    if (!log_new(c->after, (op){.kind = OP_WRITE, .node = n->id, .len = size, .data = data})) {
      free(data);
      return false;
    }
    n->data = data;
    n->size = n->cap = size;
    n->borrowed = true;
    if (!log_new(c->after, (op){.kind = OP_SYNC, .node = n->id})) return false;
  }
  return true;
}

static bool play(crash *c, uint64_t seed) {
  draw(c, seed);
  if (!play_names(c)) return false;
  c->nodes[0].reached = true;
  if (!build_names(c, 0)) return false;
  for (size_t i = 0; i < c->fs->node_count; i++) c->nodes[i].seen = 0;
  return play_content(c) && build_content(c);
}

os_memfs *os_memfs_crash(const os_memfs *fs, size_t ops, os_crash_mode mode, uint64_t seed) {
  os_mutex *mutex = &((os_memfs *)(uintptr_t)fs)->mutex;
  os_memfs *after = os_memfs_new();
  if (!after) return NULL;
  os_mutex_lock(mutex);
  crash c = {.fs = fs, .mode = mode, .after = after};
  c.end = ops < fs->op_count - fs->base_ops ? fs->base_ops + ops : fs->op_count;
  c.nodes = calloc(fs->node_count, sizeof *c.nodes);
  bool done = c.nodes && play(&c, seed);
  for (size_t i = 0; c.nodes && i < fs->node_count; i++) {
    free(c.nodes[i].names.list);
    free(c.nodes[i].page);
    free(c.nodes[i].disk);
  }
  free(c.nodes);
  after->base_ops = after->op_count;
  after->wall_ms = fs->wall_ms;
  after->monotonic_ns = fs->monotonic_ns;
  os_mutex_unlock(mutex);
  if (done) return after;
  os_memfs_free(after);
  return NULL;
}
