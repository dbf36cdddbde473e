/* Keys of JSON objects: whether one comes twice, a tape on which the last one has won, rows with the same
 * keys. */
#include "toon/tape.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "toon/toon.h"

/* Objects of up to this many keys are compared pair by pair. */
#define FEW 12

static inline bool same_key(const toon_tape *tape, const toon_node *a, const toon_node *b) {
  return a->len == b->len && memcmp(toon_tape_bytes(tape, a), toon_tape_bytes(tape, b), a->len) == 0;
}

/* A table of keys, open addressing; slots hold the index of a key's node, or 0 (which is never a key). */
typedef struct key_table {
  uint32_t *slots;
  size_t mask;
  uint64_t seed;
} key_table;

static toon_status table_begin(key_table *table, uint32_t count) {
  size_t size = 16;
  while (size < (size_t)count * 2) size *= 2;
  table->slots = toon_calloc(size, sizeof *table->slots);
  if (!table->slots) return TOON_ENOMEM;
  table->mask = size - 1;
  table->seed = (uint64_t)(uintptr_t)table->slots ^ (uint64_t)(uintptr_t)table; /* not to be guessed from outside */
  return TOON_OK;
}

/* The slot that holds a key equal to the one at `index`, or the empty one where it belongs. */
static uint32_t *table_slot(const key_table *table, const toon_tape *tape, uint32_t index) {
  const toon_node *key = &tape->nodes[index];
  size_t i = toon_hash(toon_tape_bytes(tape, key), key->len, table->seed) & table->mask;
  while (table->slots[i] && !same_key(tape, &tape->nodes[table->slots[i]], key)) i = (i + 1) & table->mask;
  return &table->slots[i];
}

toon_status toon_tape_unique(const toon_tape *tape, uint32_t first, uint32_t end, uint32_t count, bool *unique) {
  if (count <= FEW) {
    const toon_node *keys[FEW];
    uint32_t n = 0;
    for (uint32_t i = first; i < end; i = toon_tape_next(tape, i + 1)) {
      const toon_node *key = keys[n] = &tape->nodes[i];
      for (uint32_t j = 0; j < n; j++) {
        if (keys[j]->len == key->len && same_key(tape, keys[j], key)) {
          *unique = false;
          return TOON_OK;
        }
      }
      n++;
    }
    return TOON_OK;
  }
  key_table table;
  TOON_TRY(table_begin(&table, count));
  for (uint32_t i = first; *unique && i < end; i = toon_tape_next(tape, i + 1)) {
    uint32_t *slot = table_slot(&table, tape, i);
    if (*slot) *unique = false;
    *slot = i;
  }
  toon_free(table.slots);
  return TOON_OK;
}

/* ---- the rebuild. Rare, so it is simple: every node is copied once, in the order it is to have. ---- */

/* A container on its way to the new tape: what is left of it on the old one. */
typedef struct copy_frame {
  uint32_t at, end;      /* next entry: a node of the old tape or, with `listed`, an index into the list */
  uint32_t node, common; /* on the new tape */
  uint32_t count;
  bool object, listed;
} copy_frame;

/* A surviving entry of an object whose keys come twice. */
typedef struct entry {
  uint32_t key, value;
} entry;

typedef struct rebuild {
  const toon_tape *from;
  toon_tape *to;
  toon_buf frames, list; /* of copy_frame and of entry: stacks */
} rebuild;

/* List the entries of the object at `index`: keys in the order they first came, each with its last value. */
static toon_status list_entries(rebuild *b, uint32_t index) {
  const toon_tape *tape = b->from;
  uint32_t end = tape->nodes[index].len;
  size_t begin = b->list.len;
  key_table table;
  TOON_TRY(table_begin(&table, tape->nodes[index].at));
  toon_status status = TOON_OK;
  /* While the list is made, `key` of an entry is that of the first of its equals, and the table finds it;
   * where in the list that entry is stands in a second table of the same shape. */
  uint32_t *places = toon_calloc(table.mask + 1, sizeof *places);
  if (!places) status = TOON_ENOMEM;
  for (uint32_t i = index + 1; status == TOON_OK && i < end; i = toon_tape_next(tape, i + 1)) {
    uint32_t *slot = table_slot(&table, tape, i);
    if (*slot) {
      entry *old = (entry *)(void *)(b->list.ptr + begin) + places[slot - table.slots];
      old->value = i + 1;
    } else {
      entry fresh = {i, i + 1};
      *slot = i;
      places[slot - table.slots] = (uint32_t)((b->list.len - begin) / sizeof fresh);
      status = toon_buf_append(&b->list, &fresh, sizeof fresh);
    }
  }
  toon_free(places);
  toon_free(table.slots);
  return status;
}

static toon_status put_node(rebuild *b, toon_node node) {
  if (b->to->count == b->to->cap) TOON_TRY(toon_tape_grow(b->to));
  b->to->nodes[b->to->count++] = node;
  return TOON_OK;
}

/* Copy the value at `index`; a container is only begun. */
static toon_status begin_value(rebuild *b, uint32_t index) {
  const toon_node *node = &b->from->nodes[index];
  if (toon_node_is_scalar(node)) return put_node(b, *node);
  bool object = toon_node_kind(node) == TOON_NODE_OBJECT;
  copy_frame frame = {
      .at = index + 1, .end = node->len, .node = b->to->count, .common = TOON_NODE_COMMON, .object = object};
  if (node->info & TOON_NODE_TWICE) {
    frame.listed = true;
    frame.at = (uint32_t)(b->list.len / sizeof(entry));
    TOON_TRY(list_entries(b, index));
    frame.end = (uint32_t)(b->list.len / sizeof(entry));
  }
  TOON_TRY(put_node(b, (toon_node){0, 0, toon_node_kind(node)}));
  return toon_buf_append(&b->frames, &frame, sizeof frame);
}

/* The value that was last put joins the container f. Nothing is said of rows being alike: that is found out
 * later. */
static void join(rebuild *b, copy_frame *f, const toon_node *value) {
  uint32_t has = 0;
  (void)b;
  if (toon_node_is_scalar(value))
    has = TOON_NODE_SCALARS | TOON_NODE_ROW;
  else if (toon_node_kind(value) == TOON_NODE_OBJECT && value->info & TOON_NODE_ROW)
    has = TOON_NODE_ROWS | TOON_NODE_ROW;
  f->common &= has;
  f->count++;
}

static toon_status copy_all(rebuild *b) {
  TOON_TRY(begin_value(b, 0));
  while (b->frames.len) {
    copy_frame *f = (copy_frame *)(void *)(b->frames.ptr + b->frames.len) - 1;
    if (f->at < f->end) {
      uint32_t value = f->at, key = 0;
      if (f->listed) {
        entry e = ((entry *)(void *)b->list.ptr)[f->at++];
        key = e.key;
        value = e.value;
      } else {
        if (f->object) key = value++;
        f->at = toon_tape_next(b->from, value);
      }
      if (f->object) TOON_TRY(put_node(b, b->from->nodes[key]));
      TOON_TRY(begin_value(b, value)); /* may move the frames */
      if (toon_node_is_scalar(&b->from->nodes[value]))
        join(b, (copy_frame *)(void *)(b->frames.ptr + b->frames.len) - 1, &b->to->nodes[b->to->count - 1]);
      continue;
    }
    toon_node *node = &b->to->nodes[f->node];
    uint32_t common = f->common & ~(uint32_t)TOON_NODE_SAME;
    if (f->count == 0) common &= ~(uint32_t)(TOON_NODE_ROWS | TOON_NODE_ROW);
    if (!f->object) common &= ~(uint32_t)TOON_NODE_ROW;
    node->at = f->count;
    node->len = b->to->count;
    node->info |= common;
    if (f->listed) b->list.len -= (f->count) * sizeof(entry);
    b->frames.len -= sizeof *f;
    if (b->frames.len) join(b, (copy_frame *)(void *)(b->frames.ptr + b->frames.len) - 1, node);
  }
  return TOON_OK;
}

toon_status toon_tape_rebuild(toon_tape *tape) {
  toon_tape to = {.nodes = NULL, .cap = 8, .json = tape->json};
  rebuild b = {.from = tape, .to = &to};
  toon_status status = toon_tape_grow(&to);
  if (status == TOON_OK) status = copy_all(&b);
  toon_buf_free(&b.frames);
  toon_buf_free(&b.list);
  if (status != TOON_OK) {
    toon_free(to.nodes);
    return status;
  }
  if (tape->nodes != tape->small) toon_free(tape->nodes);
  tape->nodes = to.nodes;
  tape->count = to.count;
  tape->cap = to.cap;
  return TOON_OK;
}

/* ---- rows with the same keys ---- */

/* An object of the first row and its counterpart in another row, being walked side by side. */
typedef struct pair {
  uint32_t model, model_end; /* the next key */
  uint32_t row;              /* the next key or, with `listed`, the place in the list of its value */
  bool listed;               /* the keys are in another order */
} pair;

typedef struct match {
  const toon_tape *tape;
  toon_buf pairs, list; /* of pair and of uint32_t: stacks */
  toon_buf *cells;
  bool permuted;
} match;

/* List the values of the object `row` in the order of the keys of `model`. */
static toon_status list_values(match *m, uint32_t model, uint32_t row, bool *same) {
  const toon_tape *tape = m->tape;
  key_table table;
  TOON_TRY(table_begin(&table, tape->nodes[row].at));
  for (uint32_t i = row + 1; i < tape->nodes[row].len; i = toon_tape_next(tape, i + 1))
    *table_slot(&table, tape, i) = i;
  toon_status status = TOON_OK;
  for (uint32_t i = model + 1; status == TOON_OK && i < tape->nodes[model].len; i = toon_tape_next(tape, i + 1)) {
    uint32_t value = *table_slot(&table, tape, i) + 1;
    *same = value != 1;
    if (!*same) break;
    status = toon_buf_append(&m->list, &value, sizeof value);
  }
  toon_free(table.slots);
  return status;
}

/* Begin to walk two objects; *same becomes false if their keys are not the same. */
static toon_status begin_pair(match *m, uint32_t model, uint32_t row, bool *same) {
  const toon_tape *tape = m->tape;
  const toon_node *a = &tape->nodes[model], *b = &tape->nodes[row];
  *same = a->at == b->at;
  if (!*same) return TOON_OK;
  pair p = {.model = model + 1, .model_end = a->len, .row = row + 1};
  uint32_t i = model + 1, j = row + 1;
  while (i < a->len && same_key(tape, &tape->nodes[i], &tape->nodes[j])) {
    i = toon_tape_next(tape, i + 1);
    j = toon_tape_next(tape, j + 1);
  }
  if (i < a->len) {
    p.listed = m->permuted = true;
    p.row = (uint32_t)(m->list.len / sizeof(uint32_t));
    TOON_TRY(list_values(m, model, row, same));
    if (!*same) return TOON_OK;
  }
  return toon_buf_append(&m->pairs, &p, sizeof p);
}

static toon_status match_row(match *m, uint32_t first, uint32_t row, bool *same) {
  const toon_tape *tape = m->tape;
  m->pairs.len = m->list.len = 0;
  m->permuted = false;
  TOON_TRY(begin_pair(m, first, row, same));
  while (*same && m->pairs.len) {
    pair *p = (pair *)(void *)(m->pairs.ptr + m->pairs.len) - 1;
    if (p->model == p->model_end) {
      m->pairs.len -= sizeof *p;
      continue;
    }
    uint32_t model = p->model + 1, value = p->row + 1;
    p->model = toon_tape_next(tape, model);
    if (p->listed)
      value = ((uint32_t *)(void *)m->list.ptr)[p->row++];
    else
      p->row = toon_tape_next(tape, value);
    bool scalar = toon_node_is_scalar(&tape->nodes[value]);
    if (scalar != toon_node_is_scalar(&tape->nodes[model]))
      *same = false;
    else if (scalar)
      TOON_TRY(toon_buf_append(m->cells, &value, sizeof value));
    else
      TOON_TRY(begin_pair(m, model, value, same));
  }
  return TOON_OK;
}

toon_status toon_tape_rows_alike(toon_tape *tape, uint32_t index, toon_buf *cells, bool *alike) {
  match m = {.tape = tape, .cells = cells};
  uint32_t end = tape->nodes[index].len, step = toon_node_kind(&tape->nodes[index]) == TOON_NODE_OBJECT;
  uint32_t first = index + 1 + step, count = tape->nodes[first].at, row = first;
  size_t cells_before = cells->len;
  toon_status status = TOON_OK;
  *alike = true;
  while (status == TOON_OK && *alike && (row = toon_tape_next(tape, row) + step) < end) {
    size_t before = cells->len;
    status = match_row(&m, first, row, alike);
    if (status == TOON_OK && *alike && m.permuted) {
      tape->nodes[row].at = (uint32_t)(before / sizeof(uint32_t));
      tape->nodes[row].info |= TOON_NODE_PERMUTED;
    } else {
      cells->len = before;
    }
  }
  if (!*alike) { /* take back what was said of the rows before */
    cells->len = cells_before;
    for (row = first; row < end; row = toon_tape_next(tape, row) + step) {
      if (tape->nodes[row].info & TOON_NODE_PERMUTED) {
        tape->nodes[row].info &= ~(uint32_t)TOON_NODE_PERMUTED;
        tape->nodes[row].at = count;
      }
    }
  }
  toon_buf_free(&m.pairs);
  toon_buf_free(&m.list);
  return status;
}
