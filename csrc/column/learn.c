/* Which fields a collection's documents have, by a sample of them. */
#include "column/column.h"
#include "toon/scan.h"

#define NAMES_MAX 1024

typedef struct column_seen {
  uint32_t at, len, documents;
} column_seen;

static column_seen *all_seen(const column_learner *l) { return (column_seen *)(void *)l->names.ptr; }
static size_t seen_count(const column_learner *l) { return l->names.len / sizeof(column_seen); }

static toon_status note(column_learner *l, toon_slice name) {
  size_t count = seen_count(l);
  for (size_t i = 0; i < count; i++) {
    column_seen *seen = &all_seen(l)[i];
    if (!toon_slice_eq(toon_slice_of(l->text.ptr + seen->at, seen->len), name)) continue;
    seen->documents++;
    return TOON_OK;
  }
  if (count == NAMES_MAX || toon_slice_eq(name, TOON_SLICE_LIT("_id"))) return TOON_OK;
  column_seen seen = {(uint32_t)l->text.len, (uint32_t)name.len, 1};
  TOON_TRY(toon_buf_add(&l->text, name));
  return toon_buf_append(&l->names, &seen, sizeof seen);
}

toon_status column_learn(column_learner *l, toon_slice field) {
  l->documents++;
  if (field.len < 2 || field.ptr[0] != ':' || field.ptr[1] != '\n') return TOON_OK; /* no field is a scalar */
  const uint8_t *p = field.ptr + 2, *end = field.ptr + field.len;
  for (const uint8_t *line; p < end; p = line + 1) {
    line = memchr(p, '\n', (size_t)(end - p));
    if (!line) return TOON_OK;
    toon_slice name;
    size_t token;
    if (line - p < 5 || p[2] == ' ') continue;
    if (toon_get_key(toon_slice_of(p + 2, (size_t)(line - p) - 2), &l->scratch, &name, &token, NULL) != TOON_OK)
      continue;
    const uint8_t *behind = p + 2 + token;
    if (line - behind < 3 || behind[0] != ':' || behind[1] != ' ' || behind[2] == '[') continue;
    TOON_TRY(note(l, name));
  }
  return TOON_OK;
}

bool column_learnt(const column_learner *l, size_t *at, toon_slice *name) {
  while (*at < seen_count(l)) {
    const column_seen *seen = &all_seen(l)[(*at)++];
    if (2 * (uint64_t)seen->documents < l->documents) continue;
    *name = toon_slice_of(l->text.ptr + seen->at, seen->len);
    return true;
  }
  return false;
}

void column_learner_free(column_learner *l) {
  toon_buf_free(&l->names);
  toon_buf_free(&l->text);
  toon_buf_free(&l->scratch);
}
