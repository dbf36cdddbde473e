/* A plain table to hold a store against. The file that includes this first defines
 *   enum { KEYS, ROWS }                  user keys and row ids that its workload uses
 *   void key_name(int i, char out[16])   key i; it ends in two decimal digits, those of i
 *   const char *value_text(uint32_t v)   the string that stands for value v: decimal v, a space, and something longer than a word
 *   OTHER_KEY(key)                       true for keys of its workload that are not in the table; none if it is not defined */
#ifndef TOON_TEST_MODEL_H
#define TOON_TEST_MODEL_H

#include "api.h"

#ifndef OTHER_KEY
#define OTHER_KEY(key) false
#endif

/* What the store holds: value numbers, 0 = none. A lapsed row counts but is not seen. */
typedef struct model {
  uint32_t user[KEYS], row[ROWS], next_row;
  bool lapsed[KEYS];
} model;

/* The value number of a row; 0: not what was written. */
static inline uint32_t value_of(const toon_row *row) {
  toon_buf json = {0};
  uint32_t v = 0;
  if (toon_field_to_json(row->field, &json, NULL) == TOON_OK && json.len > 2) {
    v = (uint32_t)atoi((const char *)json.ptr + 1);
    const char *want = value_text(v);
    if (json.len != strlen(want) + 2 || memcmp(json.ptr + 1, want, json.len - 2) != 0) v = 0;
  }
  toon_buf_free(&json);
  return v;
}
static inline uint64_t key_index(toon_key key) { /* KEYS: none of ours */
  if (key.len < 2) return KEYS;
  return (uint64_t)(key.ptr[key.len - 2] - '0') * 10 + key.ptr[key.len - 1] - '0';
}

/* Read everything, by cursors (forward and back) and by point reads, now or at a snapshot. *wrong: what one of them shows
 * was never written, or another one shows something else. */
static inline toon_status read_all(toon_db *db, const toon_snapshot *snapshot, model *m, bool *wrong) {
  memset(m, 0, sizeof *m);
  for (int space = 0; space < 2; space++)
    for (int reverse = 0; reverse < 2; reverse++) {
      toon_range range = {.space = (uint8_t)space, .reverse = reverse};
      toon_cursor *cursor;
      toon_key key;
      toon_row row;
      bool end = false;
      TOON_TRY(toon_cursor_open(db, snapshot, &range, &cursor, &err));
      for (;;) {
        toon_status status = toon_cursor_next(cursor, false, &key, &row, &end, &err);
        if (status != TOON_OK || end) {
          toon_cursor_close(cursor);
          TOON_TRY(status);
          break;
        }
        if (!space && OTHER_KEY(key)) continue;
        uint32_t v = value_of(&row);
        uint64_t i = space ? toon_row_id(key) : key_index(key);
        if (i >= (uint64_t)(space ? ROWS : KEYS)) {
          *wrong = true;
          continue;
        }
        uint32_t *at = space ? &m->row[i] : &m->user[i];
        if (!v || (reverse ? *at != v : *at != 0)) *wrong = true;
        *at = v;
      }
    }
  for (int i = 0; i < KEYS; i++) {
    char name[16];
    toon_row row;
    bool found;
    key_name(i, name);
    TOON_TRY(toon_get(db, snapshot, K(name), &row, &found, &err));
    if (found != (m->user[i] != 0) || (found && value_of(&row) != m->user[i])) *wrong = true;
    if (found) toon_row_release(db, &row);
  }
  return TOON_OK;
}
static inline bool same(const model *seen, const model *want) {
  for (int i = 0; i < KEYS; i++)
    if (seen->user[i] != (want->lapsed[i] ? 0 : want->user[i])) return false;
  return memcmp(seen->row, want->row, sizeof seen->row) == 0;
}
static inline bool sizes_right(toon_db *db, const model *m) {
  uint64_t users = 0, rows = 0, n;
  for (int i = 0; i < KEYS; i++) users += m->user[i] != 0;
  for (int i = 0; i < ROWS; i++) rows += m->row[i] != 0;
  if (toon_size(db, 0, &n, &err) != TOON_OK || n != users) return false;
  return toon_size(db, 1, &n, &err) == TOON_OK && n == rows;
}
/* Does the store (at a snapshot) hold exactly this? */
static inline bool holds_model(toon_db *db, const toon_snapshot *snapshot, const model *want) {
  model seen;
  bool wrong = false;
  return read_all(db, snapshot, &seen, &wrong) == TOON_OK && !wrong && same(&seen, want) &&
         (snapshot || sizes_right(db, want));
}

#endif
