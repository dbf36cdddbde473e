/* The sorted order of a delta's nodes, kept as a few sorted pieces of geometrically falling size. Internal to the delta. */
#ifndef TOON_INDEX_DELTA_SORT_H
#define TOON_INDEX_DELTA_SORT_H

#include "index/delta.h"
#include "os/thread.h"

typedef struct index_delta_order {
  os_mutex lock;
  const index_node *last; /* the last node that is in a piece */
  index_piece *pieces[INDEX_PIECES_MAX];
  size_t count;
} index_delta_order;

void index_delta_order_init(index_delta_order *order);
void index_delta_order_free(index_delta_order *order);
toon_status index_delta_order_take(index_delta_order *order, index_delta *delta, index_piece *pieces[INDEX_PIECES_MAX],
                                   size_t *count);

#endif
