/* Ranges: bounds and prefixes. */
#include "store/batch.h"
#include "base/alloc.h"

toon_status range_bounds(const toon_range *range, toon_buf *successor, index_bounds *bounds, bool *empty,
                         toon_error *err) {
  uint8_t space = range->space;
  if (space >= TOON_SPACES) return toon_fail(err, TOON_EINVAL, "unknown key space");
  *empty = false;
  /* A space ends where the next begins: an exclusive bound at its empty key. */
  *bounds = (index_bounds){.has_lower = true,
                           .has_upper = true,
                           .upper_open = true,
                           .reverse = range->reverse,
                           .lower = {NULL, 0, space},
                           .upper = {NULL, 0, (uint8_t)(space + 1)}};
  if (range->has_lower) {
    bounds->lower = (toon_key){range->lower.ptr, (uint32_t)range->lower.len, space};
    bounds->lower_open = range->lower_open;
  }
  if (range->has_upper) {
    bounds->upper = (toon_key){range->upper.ptr, (uint32_t)range->upper.len, space};
    bounds->upper_open = range->upper_open;
  }
  if (range->prefix.len) {
    toon_key from = {range->prefix.ptr, (uint32_t)range->prefix.len, space};
    if (toon_key_cmp(from, bounds->lower) > 0) {
      bounds->lower = from;
      bounds->lower_open = false;
    }
    /* The end of the prefix: its last byte that is not 0xff, one greater, and nothing behind. */
    size_t n = range->prefix.len;
    while (n && range->prefix.ptr[n - 1] == 0xff) n--;
    if (n) {
      successor->len = 0;
      if (toon_buf_append(successor, range->prefix.ptr, n) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
      successor->ptr[n - 1]++;
      toon_key to = {successor->ptr, (uint32_t)n, space};
      if (toon_key_cmp(to, bounds->upper) <= 0) {
        bounds->upper = to;
        bounds->upper_open = true;
      }
    }
  }
  int c = toon_key_cmp(bounds->lower, bounds->upper);
  *empty = c > 0 || (c == 0 && (bounds->lower_open || bounds->upper_open));
  return TOON_OK;
}

toon_range *range_copy(const toon_range *range) {
  toon_range *copy = toon_malloc(sizeof *copy + range->lower.len + range->upper.len + range->prefix.len);
  if (!copy) return NULL;
  *copy = *range;
  uint8_t *p = (uint8_t *)(copy + 1);
  toon_slice *slices[] = {&copy->lower, &copy->upper, &copy->prefix};
  for (int i = 0; i < 3; i++) {
    if (slices[i]->len) memcpy(p, slices[i]->ptr, slices[i]->len);
    slices[i]->ptr = p;
    p += slices[i]->len;
  }
  return copy;
}

bool range_holds(const index_bounds *b, toon_key key) {
  int lower = toon_key_cmp(key, b->lower), upper = toon_key_cmp(key, b->upper);
  return (lower > 0 || (lower == 0 && !b->lower_open)) && (upper < 0 || (upper == 0 && !b->upper_open));
}
