/* Sorting the delta's nodes lazily: new nodes become a piece by merge sort on (8 key bytes behind the common prefix, node),
 * pieces are merged when the newer one has reached a quarter of the older. */
#include "index/delta_sort.h"
#include "base/alloc.h"

typedef struct pair {
  uint64_t prefix; /* 8 key bytes, big-endian, so that numbers compare as the bytes do */
  const index_node *node;
} pair;

void index_delta_order_init(index_delta_order *order) { os_mutex_init(&order->lock); }

void index_delta_order_free(index_delta_order *order) {
  for (size_t i = 0; i < order->count; i++) index_piece_unref(order->pieces[i]);
  os_mutex_destroy(&order->lock);
}

void index_piece_unref(index_piece *piece) {
  if (atomic_fetch_sub_explicit(&piece->refs, 1, memory_order_acq_rel) == 1) toon_free(piece);
}

static index_piece *piece_new(size_t count) {
  index_piece *piece = toon_malloc(sizeof *piece + count * sizeof piece->nodes[0]);
  if (!piece) return NULL;
  atomic_init(&piece->refs, 1);
  piece->count = count;
  return piece;
}

static uint64_t prefix_at(const index_node *node, size_t skip) {
  uint64_t prefix = 0;
  for (size_t i = 0; i < 8; i++) prefix = prefix << 8 | (skip + i < node->key_len ? node->key[skip + i] : 0);
  return prefix;
}

static int pair_cmp(const pair *a, const pair *b) {
  if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
  return toon_key_cmp(index_node_key(a->node), index_node_key(b->node));
}

/* Bottom-up merge sort; the result is in the array returned (a or scratch). */
static pair *sort_pairs(pair *a, pair *scratch, size_t count) {
  for (size_t start = 0; start < count; start += 16) { /* insertion sort of short stretches */
    size_t end = start + 16 < count ? start + 16 : count;
    for (size_t i = start + 1; i < end; i++) {
      pair p = a[i];
      size_t j = i;
      for (; j > start && pair_cmp(&p, &a[j - 1]) < 0; j--) a[j] = a[j - 1];
      a[j] = p;
    }
  }
  for (size_t width = 16; width < count; width *= 2) {
    for (size_t start = 0; start < count; start += 2 * width) {
      size_t mid = start + width < count ? start + width : count;
      size_t end = start + 2 * width < count ? start + 2 * width : count;
      if (mid < end && pair_cmp(&a[mid - 1], &a[mid]) < 0) { /* already in order: loads are often sorted */
        memcpy(&scratch[start], &a[start], (end - start) * sizeof a[0]);
        continue;
      }
      for (size_t i = start, j = mid, k = start; k < end; k++)
        scratch[k] = i < mid && (j >= end || pair_cmp(&a[i], &a[j]) < 0) ? a[i++] : a[j++];
    }
    pair *t = a;
    a = scratch;
    scratch = t;
  }
  return a;
}

/* Sort the nodes of one space; all keys share `skip` bytes, which need no comparing. */
static void sort_space(pair *pairs, pair *scratch, size_t count, const index_node **out) {
  size_t skip = 0;
  if (count) {
    const index_node *first = pairs[0].node;
    skip = first->key_len;
    for (size_t i = 1; i < count && skip; i++) {
      const index_node *node = pairs[i].node;
      size_t n = 0, max = node->key_len < skip ? node->key_len : skip;
      while (n < max && node->key[n] == first->key[n]) n++;
      skip = n;
    }
  }
  for (size_t i = 0; i < count; i++) pairs[i].prefix = prefix_at(pairs[i].node, skip);
  pair *sorted = sort_pairs(pairs, scratch, count);
  for (size_t i = 0; i < count; i++) out[i] = sorted[i].node;
}

/* The nodes behind `from` as a sorted piece. *piece is NULL if there are none. */
static toon_status sort_new(index_delta *delta, const index_node *from, index_piece **piece, const index_node **last) {
  size_t count = 0, users = 0;
  for (const index_node *node = index_delta_after(delta, from); node; node = index_delta_after(delta, node)) {
    count++;
    users += node->space == TOON_SPACE_USER;
    *last = node;
  }
  *piece = NULL;
  if (!count) return TOON_OK;
  pair *pairs = toon_malloc(2 * count * sizeof *pairs);
  index_piece *p = piece_new(count);
  if (!pairs || !p) {
    toon_free(pairs);
    toon_free(p);
    return TOON_ENOMEM;
  }
  size_t user = 0, row = users;
  const index_node *node = index_delta_after(delta, from);
  for (size_t i = 0; i < count; i++, node = index_delta_after(delta, node))
    pairs[node->space == TOON_SPACE_USER ? user++ : row++].node = node;
  sort_space(pairs, pairs + count, users, p->nodes);
  /* the scratch half may now hold the sorted users; the rows still stand in the first half */
  sort_space(pairs + users, pairs + count, count - users, p->nodes + users);
  toon_free(pairs);
  *piece = p;
  return TOON_OK;
}

static index_piece *merge(const index_piece *a, const index_piece *b) {
  index_piece *m = piece_new(a->count + b->count);
  if (!m) return NULL;
  for (size_t i = 0, j = 0, k = 0; k < m->count; k++)
    m->nodes[k] =
        i < a->count && (j >= b->count || toon_key_cmp(index_node_key(a->nodes[i]), index_node_key(b->nodes[j])) < 0)
            ? a->nodes[i++]
            : b->nodes[j++];
  return m;
}

toon_status index_delta_order_take(index_delta_order *order, index_delta *delta, index_piece *pieces[INDEX_PIECES_MAX],
                                   size_t *count) {
  toon_status status = TOON_OK;
  os_mutex_lock(&order->lock);
  index_piece *fresh;
  const index_node *last = order->last;
  TOON_GOTO(sort_new(delta, order->last, &fresh, &last));
  if (fresh) {
    size_t n = order->count;
    index_piece *piece = fresh;
    /* Merge while the piece before is less than four times as large, or there is no place for another. */
    while (n > 0 && (order->pieces[n - 1]->count < 4 * piece->count || n == INDEX_PIECES_MAX)) {
      index_piece *merged = merge(order->pieces[n - 1], piece);
      if (!merged) break;
      if (piece != fresh) index_piece_unref(piece);
      piece = merged;
      n--;
    }
    if (n == INDEX_PIECES_MAX || (piece == fresh && n < order->count)) {
      index_piece_unref(fresh);
      status = TOON_ENOMEM;
      goto out;
    }
    if (piece != fresh) index_piece_unref(fresh);
    for (size_t i = n; i < order->count; i++) index_piece_unref(order->pieces[i]);
    order->pieces[n] = piece;
    order->count = n + 1;
    order->last = last;
  }
  for (size_t i = 0; i < order->count; i++) {
    pieces[i] = order->pieces[i];
    atomic_fetch_add_explicit(&pieces[i]->refs, 1, memory_order_relaxed);
  }
  *count = order->count;
out:
  os_mutex_unlock(&order->lock);
  return status;
}
