/* Fuzz target: bytes as JSON text. What can be encoded must come back, as a document and as a field.
 *
 * With a fuzzer: clang -fsanitize=fuzzer,address,undefined -Icsrc test/fuzz/toon_encode.c csrc/toon/?.c
 * csrc/base/?.c Without: the same with any compiler and -DTOON_FUZZ_MAIN; the files of a corpus are the
 * arguments. */
#include "fuzz.h"
#include "toon/toon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  toon_text_options options = {(uint8_t) ",\t|"[size % 3], (uint8_t)(1 + size % 4), true};
  toon_slice json = fuzz_copy(data, size);
  toon_buf text = {0}, back = {0}, again = {0}, field = {0}, document = {0};
  toon_error err;
  uint8_t flags = 0, other = 0;
  if (toon_encode(json, &options, &text, &err) == TOON_OK) {
    FUZZ_OK(toon_decode(toon_buf_slice(&text), &options, &back, &err));
    FUZZ_OK(toon_encode(toon_buf_slice(&back), &options, &again, &err));
    FUZZ_SAME(text, again);

    again.len = 0;
    FUZZ_OK(toon_encode(json, NULL, &again, &err));
    FUZZ_OK(toon_field_json(json, SIZE_MAX, &field, &flags, &err));
    FUZZ_CHECK(toon_field_flags(toon_buf_slice(&field)) == flags);
    FUZZ_OK(toon_field_to_document(toon_buf_slice(&field), &document, &err));
    FUZZ_SAME(again, document);
    back.len = again.len = 0;
    FUZZ_OK(toon_field_to_json(toon_buf_slice(&field), &back, &err));
    FUZZ_OK(toon_field_json(toon_buf_slice(&back), field.len, &again, &other,
                            &err)); /* a limit just large enough */
    FUZZ_SAME(field, again);
    FUZZ_CHECK(flags == other);

    static const toon_slice names[] = {
        {(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}, {(const uint8_t *)"", 0}};
    const toon_path paths[] = {{names, 1}, {names, 2}, {names + 1, 1}, {names + 1, 2}};
    back.len = 0;
    FUZZ_OK(toon_project(toon_buf_slice(&field), paths, 4, &back, &err));
  } else {
    FUZZ_CHECK(text.len == 0);
  }

  field.len = back.len = 0;
  if (toon_field_string(json, SIZE_MAX, &field, &flags, &err) == TOON_OK) { /* the same bytes as a string */
    FUZZ_CHECK(toon_field_flags(toon_buf_slice(&field)) == flags);
    FUZZ_OK(toon_field_to_string(toon_buf_slice(&field), &back, &err));
    FUZZ_CHECK(toon_slice_eq(toon_buf_slice(&back), json));
    toon_slice key;
    size_t len;
    field.len = 0;
    FUZZ_OK(toon_put_key(&field, json));
    toon_buf_byte(&field, ':');
    FUZZ_OK(toon_get_key(toon_buf_slice(&field), &again, &key, &len, &err));
    FUZZ_CHECK(len == field.len - 1 && toon_slice_eq(key, json));
  }
  toon_buf_free(&text);
  toon_buf_free(&back);
  toon_buf_free(&again);
  toon_buf_free(&field);
  toon_buf_free(&document);
  free((void *)json.ptr);
  return 0;
}
