/* A figure of toon_stats, for tests. */
#ifndef TOON_TEST_STATS_H
#define TOON_TEST_STATS_H

#include "check.h"
#include "toonstore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first number that is called "name" in the statistics; UINT64_MAX if there is none. */
static inline uint64_t stat_of(toon_db *db, const char *name) {
  toon_buf json = {0};
  toon_error failure;
  char pattern[64];
  CHECK_EQ(toon_stats(db, &json, &failure), TOON_OK);
  CHECK_EQ(toon_buf_byte(&json, 0), TOON_OK);
  snprintf(pattern, sizeof pattern, "\"%s\":", name);
  const char *at = strstr((const char *)json.ptr, pattern);
  uint64_t n = at ? strtoull(at + strlen(pattern), NULL, 10) : UINT64_MAX;
  toon_buf_free(&json);
  return n;
}

#endif
