/* A collection as lib/collection.js keeps it, for workloads that are cut short: documents under "c/", each with its entries in
 * two indexes, of which one is unique, and columns. A document is a number from 1 on; 0: it is not there. */
#ifndef TOON_TEST_DOCUMENTS_H
#define TOON_TEST_DOCUMENTS_H

#include "api.h"
#include "column/column.h"
#include "query/query.h"

static const toon_slice document_names[] = {
    {(const uint8_t *)"n", 1}, {(const uint8_t *)"city", 4}, {(const uint8_t *)"sku", 3}};
static const toon_path document_fields[] = {{&document_names[0], 1}, {&document_names[1], 1}, {&document_names[2], 1}};

/* The keys and texts of document i with the number v. */
typedef struct document_texts {
  char key[16], json[80], city[32], sku[32], holder[16];
} document_texts;
static inline void document_texts_of(int i, uint32_t v, document_texts *out) {
  snprintf(out->key, sizeof out->key, "c/%03d", i);
  snprintf(out->json, sizeof out->json, "{\"n\":%u,\"city\":\"c%u\",\"sku\":\"s%u-%d\"}", v, v % 5, v, i);
  snprintf(out->city, sizeof out->city, "$index/1/Sc%u %03d", v % 5, i);
  snprintf(out->sku, sizeof out->sku, "$index/2/Ss%u-%d ", v, i);
  snprintf(out->holder, sizeof out->holder, "\"%03d\"", i);
}

/* Write into a transaction that document i, which was `old`, is now v. */
static inline toon_status document_write(toon_batch *b, int i, uint32_t old, uint32_t v, toon_error *e) {
  document_texts before, now;
  document_texts_of(i, old, &before);
  document_texts_of(i, v, &now);
  if (old && (!v || strcmp(before.city, now.city) != 0)) TOON_TRY(toon_batch_delete(b, K(before.city), e));
  if (old && v != old) TOON_TRY(toon_batch_delete(b, K(before.sku), e));
  if (!v) return toon_batch_delete(b, K(now.key), e);
  TOON_TRY(toon_batch_put(b, K(now.city), TOON_INPUT_JSON, S("null"), NULL, e));
  TOON_TRY(toon_batch_put(b, K(now.sku), TOON_INPUT_JSON, S(now.holder), NULL, e));
  return toon_batch_put(b, K(now.key), TOON_INPUT_JSON, S(now.json), NULL, e);
}

/* Columns of them are kept from now on. */
static inline toon_status documents_keep(toon_db *db, toon_error *e) {
  return toon_columns_keep(db, S("c/"), document_fields, 3, e);
}

static inline bool is_of_documents(toon_key key) {
  return key.len >= 2 && (memcmp(key.ptr, "c/", 2) == 0 || memcmp(key.ptr, "$i", 2) == 0);
}

/* One key of them: a document is noted, an entry counted. False: it should not be there, or is not what it should be. */
static inline bool document_see(toon_key key, const toon_row *row, uint32_t *values, int count, int entries[2]) {
  document_texts want;
  toon_buf json = {0};
  char name[64] = "";
  int i = -1;
  bool right = toon_field_to_json(row->field, &json, &err) == TOON_OK && toon_buf_byte(&json, 0) == TOON_OK &&
               key.len < sizeof name;
  if (right) {
    const char *text = (const char *)json.ptr, *space;
    memcpy(name, key.ptr, key.len);
    space = strrchr(name, ' ');
    if (name[0] == 'c') {
      i = atoi(name + 2);
      right = i >= 0 && i < count && values[i] > 0;
      if (right) document_texts_of(i, values[i], &want);
      right = right && strcmp(want.key, name) == 0 && strcmp(want.json, text) == 0;
    } else {
      bool unique = name[7] == '2';
      i = space ? atoi(unique ? text + 1 : space + 1) : -1;
      right = i >= 0 && i < count && values[i] > 0;
      if (right) document_texts_of(i, values[i], &want);
      right =
          right && strcmp(unique ? want.sku : want.city, name) == 0 && strcmp(unique ? want.holder : "null", text) == 0;
      entries[unique]++;
    }
  }
  toon_buf_free(&json);
  return right;
}

/* What is there, by the numbers of the documents alone. */
static inline toon_status documents_read(toon_db *db, uint32_t *values, int count) {
  memset(values, 0, (size_t)count * sizeof *values);
  for (int i = 0; i < count; i++) {
    document_texts texts;
    toon_row row;
    toon_buf json = {0};
    bool found;
    document_texts_of(i, 0, &texts);
    TOON_TRY(toon_get(db, NULL, K(texts.key), &row, &found, &err));
    if (!found) continue;
    if (toon_field_to_json(row.field, &json, &err) == TOON_OK && toon_buf_byte(&json, 0) == TOON_OK && json.len > 6)
      values[i] = (uint32_t)atoi((const char *)json.ptr + 5);
    toon_buf_free(&json);
    toon_row_release(db, &row);
  }
  return TOON_OK;
}

/* Are there these documents, whole, with an entry of each in both indexes, and nothing else? */
static inline bool documents_hold(toon_db *db, uint32_t *values, int count) {
  static const char *const prefixes[] = {"$index/", "c/"};
  int documents = 0, seen = 0, entries[2] = {0};
  bool right = true;
  for (int i = 0; i < count; i++) documents += values[i] > 0;
  for (int p = 0; p < 2; p++) {
    toon_range range = {.prefix = S(prefixes[p])};
    toon_cursor *cursor;
    toon_key key;
    toon_row row;
    bool end = false;
    if (toon_cursor_open(db, NULL, &range, &cursor, &err) != TOON_OK) return false;
    while (right && toon_cursor_next(cursor, false, &key, &row, &end, &err) == TOON_OK && !end) {
      right = document_see(key, &row, values, count, entries);
      seen += p;
    }
    toon_cursor_close(cursor);
    right = right && end;
  }
  return right && seen == documents && entries[0] == documents && entries[1] == documents;
}

static inline toon_status documents_ask(toon_db *db, const toon_snapshot *snapshot, bool columns, int order,
                                        toon_buf *out, bool *used) {
  const toon_slice bounds[] = {S("c/"), S("c0")};
  const bool descending = order == 2;
  toon_query_options o = {.prefix = S("c/"), .bounds = bounds, .ranges = 1, .limit = UINT64_MAX, .columns = columns};
  toon_query *q;
  size_t count;
  bool end = false;
  o.fields = document_fields, o.field_count = 3, o.picks = true;
  o.order = &document_fields[order], o.order_count = order > 0, o.descending = &descending;
  TOON_TRY(toon_query_open(db, snapshot, &o, &q, &err));
  if (used) *used = toon_query_counted(q).columns;
  toon_status status = toon_query_json(q, SIZE_MAX, SIZE_MAX, out, &count, &end, &err);
  toon_query_close(q);
  return status;
}

/* Do queries of columns say what documents say? *used: there are columns. */
static inline bool documents_agree(toon_db *db, bool *used) {
  toon_snapshot *snapshot;
  bool same = true;
  if (toon_snapshot_open(db, &snapshot, &err) != TOON_OK) return false;
  for (int order = 0; order < 3 && same; order++) {
    toon_buf with = {0}, without = {0};
    same = documents_ask(db, snapshot, false, order, &without, NULL) == TOON_OK &&
           documents_ask(db, snapshot, true, order, &with, used) == TOON_OK &&
           toon_slice_eq(toon_buf_slice(&with), toon_buf_slice(&without));
    toon_buf_free(&with);
    toon_buf_free(&without);
  }
  toon_snapshot_close(snapshot);
  return same;
}

#endif
