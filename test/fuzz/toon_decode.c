/* Fuzz target: bytes as TOON text, strict or not, and as field text. What can be decoded is JSON that can be
 * encoded and comes back; field text that nobody's encoder wrote is refused or read, but never beyond its
 * bounds. Build as toon_encode.c. */
#include "fuzz.h"
#include "toon/toon.h"

/* Says how many rows of how many tables came, and reads all of every column. */
static toon_status take_table(void *ctx, const toon_table *table) {
  uint64_t *sum = ctx;
  *sum += table->rows + table->ends[table->count - 1];
  for (uint32_t i = 0; i < table->count; i++)
    for (size_t j = 0; j < table->columns[i].data.len; j++) *sum += table->columns[i].data.ptr[j];
  return TOON_OK;
}

/* With tables set aside the verdict is the same. */
static void check_tables(toon_slice text, toon_status verdict) {
  toon_buf json = {0};
  toon_error err;
  uint64_t sum = 0;
  FUZZ_CHECK(toon_decode_tables(text, NULL, take_table, &sum, &json, &err) == verdict);
  toon_buf_free(&json);
}

static void check_document(toon_slice text, const toon_text_options *options) {
  toon_buf json = {0}, again = {0}, back = {0}, third = {0};
  toon_error err;
  if (toon_decode(text, options, &json, &err) == TOON_OK) {
    FUZZ_OK(toon_encode(toon_buf_slice(&json), NULL, &again, &err));
    FUZZ_OK(toon_decode(toon_buf_slice(&again), NULL, &back, &err));
    FUZZ_OK(toon_encode(toon_buf_slice(&back), NULL, &third, &err));
    FUZZ_SAME(again, third);
  } else {
    FUZZ_CHECK(json.len == 0);
  }
  toon_buf_free(&json);
  toon_buf_free(&again);
  toon_buf_free(&back);
  toon_buf_free(&third);
}

/* Rows of one document: the field alone, after a row of scalars, and twice. */
static void check_rows(toon_slice field) {
  static const toon_slice name = {(const uint8_t *)"a", 1},
                          keys[] = {{(const uint8_t *)"k", 1}, {(const uint8_t *)"l", 1}};
  static const toon_slice good = {(const uint8_t *)":\n  a: \"x,y\"\n", 13};
  const toon_path path = {&name, 1};
  for (int how = 0; how < 8; how++) {
    toon_projection *projection = NULL;
    toon_emitter *emitter = NULL;
    toon_buf out = {0};
    toon_error err;
    if (how & 1) FUZZ_OK(toon_projection_new(&path, 1, true, &projection, &err));
    FUZZ_OK(toon_emitter_new(projection, (toon_slice){NULL, 0}, how & 2 ? '|' : ',', &emitter, &err));
    if (toon_emitter_add(emitter, keys[0], how & 4 ? good : field, &err) == TOON_OK &&
        toon_emitter_add(emitter, keys[1], field, &err) == TOON_OK)
      toon_emitter_end(emitter, &out, &err);
    toon_emitter_free(emitter);
    toon_projection_free(projection);
    toon_buf_free(&out);
  }
}

static void check_field(toon_slice field) {
  static const toon_slice names[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}, {(const uint8_t *)"a b", 3}};
  const toon_path paths[] = {{names, 1}, {names, 2}, {names + 1, 1}, {names + 1, 2}};
  toon_buf out = {0}, scratch = {0};
  toon_error err;
  toon_slice key;
  size_t len;
  toon_field_flags(field);
  toon_field_to_json(field, &out, &err);
  toon_field_to_string(field, &out, &err);
  toon_field_to_bytes(field, &out, &err);
  toon_field_to_document(field, &out, &err);
  toon_project(field, paths, 4, &out, &err);
  if (toon_get_key(field, &scratch, &key, &len, &err) == TOON_OK) FUZZ_CHECK(len <= field.len);
  toon_buf_free(&out);
  toon_buf_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  toon_slice text = fuzz_copy(data, size);
  check_document(text, NULL);
  toon_buf json = {0};
  toon_error err;
  check_tables(text, toon_decode(text, NULL, &json, &err));
  toon_buf_free(&json);
  check_document(text, &(toon_text_options){',', (uint8_t)(1 + size % 4), false});
  check_field(text);
  check_rows(text);
  free((void *)text.ptr);
  return 0;
}
