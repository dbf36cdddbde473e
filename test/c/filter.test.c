/* Filters: what they look at, and programs that are not well made. */
#include "check.h"
#include "toon/filter.h"

static const toon_slice names[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}};
static const toon_path paths[] = {{&names[0], 1}, {&names[1], 1}};

static toon_status make(const void *program, size_t len, toon_filter **out, toon_error *err) {
  return toon_filter_new(paths, 2, toon_slice_of(program, len), out, err);
}

/* a = "x" and b > 1 */
static const uint8_t good[] = {TOON_FILTER_AND,
                               34,
                               0,
                               0,
                               0,
                               TOON_FILTER_EQ,
                               13,
                               0,
                               0,
                               0,
                               0,
                               0,
                               TOON_STRING,
                               1,
                               0,
                               0,
                               0,
                               'x',
                               TOON_FILTER_GT,
                               16,
                               0,
                               0,
                               0,
                               1,
                               0,
                               TOON_NUMBER,
                               0,
                               0,
                               0,
                               0,
                               0,
                               0,
                               0xf0,
                               0x3f};

static bool holds(toon_filter *filter, const char *json) {
  toon_buf field = {0};
  toon_error err;
  uint8_t flags;
  bool result = false;
  CHECK_EQ(toon_field_json(toon_slice_of(json, strlen(json)), SIZE_MAX, &field, &flags, &err), TOON_OK);
  CHECK_EQ(toon_filter_test(filter, toon_slice_of("id", 2), toon_buf_slice(&field), NULL, NULL, &result), TOON_OK);
  toon_buf_free(&field);
  return result;
}

TEST(a_filter_looks_at_objects_of_every_stored_form) {
  toon_filter *filter;
  toon_error err;
  CHECK_EQ(sizeof good, 34);
  REQUIRE(make(good, sizeof good, &filter, &err) == TOON_OK);
  CHECK(holds(filter, "{\"a\":\"x\",\"b\":2}"));
  CHECK(!holds(filter, "{\"a\":\"x\",\"b\":1}"));
  CHECK(holds(filter, "{\"b\":[0,1.5],\"a\":[{\"y\":1},\"x\"]}"));
  CHECK(!holds(filter, "{\"b\":[],\"a\":[[\"x\"],{\"x\":\"x\"}]}"));
  CHECK(!holds(filter, "{\"a\":{\"c\":1},\"b\":{\"c\":2}}")); /* a keyed table */
  CHECK(!holds(filter, "{}"));
  CHECK(!holds(filter, "[{\"a\":\"x\",\"b\":2}]"));
  CHECK(!holds(filter, "\"x\""));
  toon_filter_free(filter);
}

TEST(a_program_that_is_cut_or_changed_is_refused_or_harmless) {
  toon_filter *filter;
  toon_error err;
  for (size_t len = 0; len < sizeof good; len++) CHECK_EQ(make(good, len, &filter, &err), TOON_EINVAL);
  for (size_t i = 0; i < sizeof good; i++) {
    for (unsigned value = 0; value < 256; value++) {
      uint8_t bad[sizeof good];
      memcpy(bad, good, sizeof good);
      bad[i] = (uint8_t)value;
      if (make(bad, sizeof bad, &filter, &err) != TOON_OK) continue;
      holds(filter, "{\"a\":\"x\",\"b\":[2,\"y\"]}");
      toon_filter_free(filter);
    }
  }
  uint8_t deep[5 * 200];
  for (size_t i = 0; i < 200; i++) {
    uint32_t size = (uint32_t)(sizeof deep - 5 * i);
    memcpy(deep + 5 * i, (uint8_t[]){TOON_FILTER_NOT, (uint8_t)size, (uint8_t)(size >> 8), 0, 0}, 5);
  }
  CHECK_EQ(make(deep, sizeof deep, &filter, &err), TOON_EINVAL);
}

CHECK_MAIN
