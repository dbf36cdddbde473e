/* The merging cursor: a handful of sorted sources (pieces of deltas, runs), of which the one with the next key is read. */
#include "index/cursor.h"
#include "base/alloc.h"

typedef struct source {
  /* a piece of a delta ... */
  index_piece *piece;
  size_t at;         /* index of the current node */
  index_entry entry; /* its visible version, copied: it may be dropped when we are elsewhere */
  /* ... or a run */
  index_run_cursor *run;
  bool valid;
  toon_key key; /* current key */
} source;

struct index_cursor {
  index_horizon horizon;
  bool reverse, has_end, end_open;
  toon_key end;    /* owned: the bound where the walk ends */
  source *current; /* the source whose key was returned last; NULL before the first */
  toon_buf last_key;
  toon_status failed; /* after an error the cursor stays where it is: going on would skip what could not be read */
  size_t count;
  source sources[];
};

/* Move a piece's source to the next node with a visible version, from index `at` on in the cursor's direction. */
static void piece_settle(const index_cursor *cursor, source *s) {
  const index_piece *piece = s->piece;
  for (; s->at < piece->count; cursor->reverse ? s->at-- : s->at++) { /* 0 - 1 wraps beyond count */
    const index_node *node = piece->nodes[s->at];
    size_t ahead = cursor->reverse ? s->at - 12 : s->at + 12; /* nodes lie in memory as they came */
    if (ahead < piece->count) __builtin_prefetch(piece->nodes[ahead]);
    ahead = cursor->reverse ? s->at - 6 : s->at + 6;
    if (ahead < piece->count) index_node_prefetch_version(piece->nodes[ahead]);
    bool cut = false; /* our horizon is one that pruning asks about, or the newest */
    const index_version *version = index_node_version(node, cursor->horizon, &cut);
    if (version) {
      s->entry = version->entry;
      s->key = index_node_key(node);
      s->valid = true;
      return;
    }
  }
  s->valid = false;
}

/* Index of the first node >= key (or > key). */
static size_t piece_lower(const index_piece *piece, toon_key key, bool open) {
  size_t lo = 0, hi = piece->count;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    int c = toon_key_cmp(index_node_key(piece->nodes[mid]), key);
    if (c < 0 || (open && c == 0))
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static toon_status source_start(const index_cursor *cursor, source *s, const index_bounds *b, toon_error *err) {
  bool bounded = b->reverse ? b->has_upper : b->has_lower;
  toon_key from = b->reverse ? b->upper : b->lower;
  bool open = b->reverse ? b->upper_open : b->lower_open;
  if (s->piece) {
    if (b->reverse)
      s->at = (bounded ? piece_lower(s->piece, from, !open) : s->piece->count) - 1; /* 0 - 1: nothing */
    else
      s->at = bounded ? piece_lower(s->piece, from, open) : 0;
    piece_settle(cursor, s);
    return TOON_OK;
  }
  TOON_TRY(index_run_seek(s->run, bounded ? &from : NULL, !open, b->reverse, err));
  s->valid = s->run->valid;
  s->key = s->run->key;
  return TOON_OK;
}

static toon_status source_advance(const index_cursor *cursor, source *s, toon_error *err) {
  if (s->piece) {
    cursor->reverse ? s->at-- : s->at++;
    piece_settle(cursor, s);
    return TOON_OK;
  }
  TOON_TRY(cursor->reverse ? index_run_prev(s->run, err) : index_run_next(s->run, err));
  s->valid = s->run->valid;
  s->key = s->run->key;
  return TOON_OK;
}

static const index_entry *source_entry(const source *s) { return s->piece ? &s->entry : &s->run->entry; }

toon_status index_cursor_open(index_delta *const *deltas, size_t delta_count, index_run *const *runs, size_t run_count,
                              index_horizon horizon, const index_bounds *bounds, index_cursor **out, toon_error *err) {
  size_t cap = delta_count * INDEX_PIECES_MAX + run_count;
  index_cursor *cursor = toon_calloc(1, sizeof *cursor + cap * sizeof cursor->sources[0]);
  toon_status status = TOON_OK;
  if (!cursor) return toon_fail(err, TOON_ENOMEM, NULL);
  cursor->horizon = horizon;
  cursor->reverse = bounds->reverse;
  cursor->has_end = bounds->reverse ? bounds->has_lower : bounds->has_upper;
  cursor->end_open = bounds->reverse ? bounds->lower_open : bounds->upper_open;
  if (cursor->has_end) {
    toon_key end = bounds->reverse ? bounds->lower : bounds->upper;
    uint8_t *copy = toon_malloc(end.len);
    if (!copy) {
      status = toon_fail(err, TOON_ENOMEM, NULL);
      goto out;
    }
    if (end.len) memcpy(copy, end.ptr, end.len);
    cursor->end = (toon_key){copy, end.len, end.space};
  }
  for (size_t i = 0; i < delta_count; i++) {
    index_piece *pieces[INDEX_PIECES_MAX];
    size_t n;
    if (index_delta_sorted(deltas[i], pieces, &n) != TOON_OK) {
      status = toon_fail(err, TOON_ENOMEM, NULL);
      goto out;
    }
    for (size_t j = 0; j < n; j++) cursor->sources[cursor->count++].piece = pieces[j];
  }
  for (size_t i = 0; i < run_count; i++) {
    index_run_cursor *run = toon_malloc(sizeof *run);
    if (!run) {
      status = toon_fail(err, TOON_ENOMEM, NULL);
      goto out;
    }
    index_run_cursor_init(run, runs[i]);
    cursor->sources[cursor->count++].run = run;
  }
  for (size_t i = 0; i < cursor->count; i++) TOON_GOTO(source_start(cursor, &cursor->sources[i], bounds, err));
out:
  if (status != TOON_OK) {
    index_cursor_close(cursor);
    return status;
  }
  *out = cursor;
  return TOON_OK;
}

bool index_cursor_in_deltas(const index_cursor *cursor) { return cursor->count && cursor->sources[0].piece; }

static toon_status next(index_cursor *cursor, toon_key *key, index_entry *entry, bool *end, toon_error *err) {
  /* Leave the key returned last: move its source, and every other source that stands on the same key. The others keep
   * their place while they are beyond it, so in the usual case one source moves and the rest are compared once. */
  if (cursor->current) {
    toon_key last = {cursor->last_key.ptr, (uint32_t)cursor->last_key.len, cursor->current->key.space};
    bool shared = cursor->count > 1;
    if (shared) {
      cursor->last_key.len = 0;
      if (toon_buf_append(&cursor->last_key, cursor->current->key.ptr, cursor->current->key.len) != TOON_OK)
        return toon_fail(err, TOON_ENOMEM, NULL);
      last.ptr = cursor->last_key.ptr;
      last.len = (uint32_t)cursor->last_key.len;
    }
    source *current = cursor->current;
    TOON_TRY(source_advance(cursor, current, err));
    for (source *s = cursor->sources; shared && s < cursor->sources + cursor->count; s++)
      if (s != current && s->valid && toon_key_eq(s->key, last)) TOON_TRY(source_advance(cursor, s, err));
  }
  source *best = NULL;
  for (source *s = cursor->sources; s < cursor->sources + cursor->count; s++) {
    if (!s->valid) continue;
    int c = best ? toon_key_cmp(s->key, best->key) : -1;
    if (best && cursor->reverse) c = -c;
    if (c < 0 || (c == 0 && index_entry_age(source_entry(best), source_entry(s)) < 0)) best = s;
  }
  cursor->current = best;
  *end = !best;
  if (best && cursor->has_end) {
    int c = toon_key_cmp(best->key, cursor->end);
    if (cursor->reverse) c = -c;
    if (c > 0 || (c == 0 && cursor->end_open)) {
      cursor->current = NULL;
      for (size_t i = 0; i < cursor->count; i++) cursor->sources[i].valid = false;
      *end = true;
    }
  }
  if (*end) return TOON_OK;
  *key = best->key;
  *entry = *source_entry(best);
  return TOON_OK;
}

toon_status index_cursor_next(index_cursor *cursor, toon_key *key, index_entry *entry, bool *end, toon_error *err) {
  if (cursor->failed != TOON_OK)
    return toon_fail(err, cursor->failed, "the cursor has met an error before; open a new one");
  return cursor->failed = next(cursor, key, entry, end, err);
}

void index_cursor_close(index_cursor *cursor) {
  if (!cursor) return;
  for (size_t i = 0; i < cursor->count; i++) {
    if (cursor->sources[i].piece) index_piece_unref(cursor->sources[i].piece);
    toon_free(cursor->sources[i].run);
  }
  toon_free((uint8_t *)cursor->end.ptr);
  toon_buf_free(&cursor->last_key);
  toon_free(cursor);
}
