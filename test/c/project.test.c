/* Documents of rows: tables from stored text, and what makes an emitter leave them. */
#include "check.h"
#include "memory.h"
#include "toon/toon.h"

static toon_slice text_of(const char *text) { return toon_slice_of(text, strlen(text)); }

typedef struct row {
  const char *key, *json;
} row;

/* Rows as a document. fields: up to 4 names, NULL for all. */
static toon_status emit(const row *rows, size_t count, const char *const *fields, const char *name, uint8_t delimiter,
                        toon_buf *out, toon_error *err) {
  toon_slice names[4];
  toon_path paths[4];
  size_t used = 0;
  for (; fields && fields[used]; used++) {
    names[used] = text_of(fields[used]);
    paths[used] = (toon_path){&names[used], 1};
  }
  toon_projection *projection = NULL;
  toon_emitter *emitter = NULL;
  toon_buf field = {0};
  uint8_t flags;
  toon_status status = fields ? toon_projection_new(paths, used, true, &projection, err) : TOON_OK;
  toon_slice called = name ? text_of(name) : (toon_slice){NULL, 0};
  if (status == TOON_OK) status = toon_emitter_new(projection, called, delimiter, &emitter, err);
  for (size_t i = 0; status == TOON_OK && i < count; i++) {
    field.len = 0;
    status = toon_field_json(text_of(rows[i].json), SIZE_MAX, &field, &flags, err);
    if (status == TOON_OK) status = toon_emitter_add(emitter, text_of(rows[i].key), toon_buf_slice(&field), err);
  }
  if (status == TOON_OK) status = toon_emitter_end(emitter, out, err);
  toon_emitter_free(emitter);
  toon_projection_free(projection);
  toon_buf_free(&field);
  return status;
}

#define EMITS(rows, fields, name, delimiter, expected)                                                      \
  do {                                                                                                      \
    toon_buf out_ = {0};                                                                                    \
    toon_error err_;                                                                                        \
    toon_status status_ = emit(rows, sizeof(rows) / sizeof *(rows), fields, name, delimiter, &out_, &err_); \
    CHECK_EQ(status_, TOON_OK);                                                                             \
    CHECK(toon_slice_eq(toon_buf_slice(&out_), text_of(expected)));                                         \
    toon_buf_free(&out_);                                                                                   \
  } while (0)

static const char *const id_name[] = {"id", "name", NULL};

/* The writer grows for a long cell, and then keeps what it has written. */
TEST(a_long_row_that_ends_a_table_leaves_no_half_line_behind) {
  char json[2100] = "{\"id\":\"", expected[2200] = "a:\n  id: 1\n  x: 2\nb:\n  id: ";
  memset(json + strlen(json), 'z', 2000);
  memset(expected + strlen(expected), 'z', 2000);
  strcat(json, "\",\"x\":[]}");
  strcat(expected, "\n  x: []");
  const row rows[] = {{"a", "{\"id\":1,\"x\":2}"}, {"b", json}};
  EMITS(rows, NULL, NULL, ',', expected);
}

TEST(makes_tables_of_uniform_rows) {
  const row rows[] = {{"a", "{\"id\":1,\"name\":\"x,y\",\"z\":[1]}"},
                      {"b c", "{\"id\":12345678901234567890,\"z\":{}}"}};
  EMITS(rows, id_name, NULL, ',', "[2:]{id,name}:\n  a: 1,\"x,y\"\n  \"b c\": 12345678901234567890,null");
  EMITS(rows, id_name, "t", '|', "t[2:|]{id|name}:\n  a: 1|x,y\n  \"b c\": 12345678901234567890|null");
  const row same[] = {{"a", "{\"id\":1,\"x y\":\"p|q\"}"}, {"b", "{\"id\":2,\"x y\":\"p\\tq\"}"}};
  EMITS(same, NULL, NULL, '|', "[2:|]{id|\"x y\"}:\n  a: 1|\"p|q\"\n  b: 2|\"p\\tq\"");
  EMITS(same, NULL, NULL, ',', "[2:]{id,\"x y\"}:\n  a: 1,p|q\n  b: 2,\"p\\tq\"");
}

TEST(leaves_tables_for_what_does_not_fit) {
  const row odd[] = {{"a", "{\"id\":1}"}, {"b", "{\"id\":2}"}, {"c", "[1,2]"}};
  EMITS(odd, NULL, NULL, ',', "a:\n  id: 1\nb:\n  id: 2\nc[2]: 1,2");
  const row more[] = {{"a", "{\"id\":1}"}, {"b", "{\"id\":2,\"name\":3}"}};
  EMITS(more, NULL, NULL, ',', "a:\n  id: 1\nb:\n  id: 2\n  name: 3");
  EMITS(more, id_name, NULL, ',', "[2:]{id,name}:\n  a: 1,null\n  b: 2,3");
  const row nested[] = {{"a", "{\"id\":1,\"name\":{\"x\":1}}"}, {"b", "{\"id\":2,\"name\":{\"x\":2}}"}};
  EMITS(nested, id_name, NULL, ',', "[2:]{id,name{x}}:\n  a: 1,1\n  b: 2,2");
  const row turned[] = {{"a", "{\"id\":1,\"name\":2}"}, {"b", "{\"name\":3,\"id\":4}"}};
  EMITS(turned, NULL, NULL, ',', "[2:]{id,name}:\n  a: 1,2\n  b: 4,3");
  const row alone[] = {{"a", "{\"id\":1}"}};
  EMITS(alone, NULL, "t", ',', "t:\n  a:\n    id: 1");
  const row empty[] = {{"a", "{}"}, {"b", "{}"}};
  EMITS(empty, NULL, NULL, ',', "a:\nb:");
}

TEST(makes_documents_of_no_rows) {
  const row none[1] = {{0}};
  toon_buf out = {0};
  CHECK_EQ(emit(none, 0, NULL, NULL, ',', &out, NULL), TOON_OK);
  CHECK_EQ(out.len, 0);
  CHECK_EQ(emit(none, 0, NULL, "", ',', &out, NULL), TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&out), text_of("\"\":")));
  toon_buf_free(&out);
}

TEST(refuses_what_has_no_form) {
  const row rows[] = {{"\xff", "1"}};
  toon_buf out = {0};
  toon_emitter *emitter;
  CHECK_EQ(emit(rows, 1, NULL, NULL, ',', &out, NULL), TOON_EINVAL);
  CHECK_EQ(toon_emitter_new(NULL, text_of("\xff"), ',', &emitter, NULL), TOON_EINVAL);
  CHECK_EQ(toon_emitter_new(NULL, text_of("a"), ';', &emitter, NULL), TOON_EINVAL);
  CHECK_EQ(out.len, 0);
  toon_buf_free(&out);
}

/* Every damaged field alone, and after a good row; the sanitizer watches the ends. */
TEST(stays_inside_the_bounds_of_damaged_rows) {
  static const char *const damaged[] = {"",
                                        ":",
                                        ":\n",
                                        ":\n  ",
                                        ":\n  a",
                                        ":\n  a:",
                                        ":\n  a: ",
                                        ":\n  a: \n",
                                        ":\n  a: 1",
                                        ":\n  \"a",
                                        ":\n  \"a\\",
                                        ":\n  a: \"\n",
                                        ":\n  a: \"\\\n",
                                        ":\n\n\n",
                                        "[2:]{a}:\n  x: \"",
                                        "[1]:\n  -",
                                        "[1]:\n  - ",
                                        "[1]:\n  - a",
                                        "[1]:\n  - [",
                                        "[1]:\n  - [\n"};
  const toon_slice name = TOON_SLICE_LIT("a");
  const toon_path path = {&name, 1};
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
    size_t len = strlen(damaged[i]);
    uint8_t *copy = malloc(len ? len : 1);
    REQUIRE(copy != NULL);
    memcpy(copy, damaged[i], len);
    for (int how = 0; how < 8; how++) {
      toon_projection *projection = NULL;
      toon_emitter *emitter = NULL;
      toon_buf out = {0};
      if (how & 1) CHECK_EQ(toon_projection_new(&path, 1, true, &projection, NULL), TOON_OK);
      REQUIRE(toon_emitter_new(projection, (toon_slice){NULL, 0}, how & 2 ? '|' : ',', &emitter, NULL) == TOON_OK);
      toon_status status = TOON_OK;
      if (how & 4) status = toon_emitter_add(emitter, text_of("k"), text_of(":\n  a: \"x,y\"\n"), NULL);
      CHECK_EQ(status, TOON_OK);
      status = toon_emitter_add(emitter, text_of("l"), toon_slice_of(copy, len), NULL);
      if (status == TOON_OK) status = toon_emitter_end(emitter, &out, NULL);
      toon_emitter_free(emitter);
      toon_projection_free(projection);
      toon_buf_free(&out);
    }
    free(copy);
  }
}

TEST(survives_every_failing_allocation_of_a_document) {
  const row rows[] = {
      {"a", "{\"id\":1,\"name\":\"a,b\"}"}, {"b", "{\"id\":2,\"name\":\"c\"}"}, {"c", "[[{\"id\":1}],{\"id\":2}]"}};
  size_t live = toon_alloc_live();
  int failures = 0;
  for (int variant = 0; variant < 4; variant++) {
    for (int n = 0;; n++) {
      toon_buf out = {0};
      allow_allocations(n);
      toon_status status = emit(rows, variant & 1 ? 3 : 2, variant & 2 ? id_name : NULL, "t", '|', &out, NULL);
      allow_all_allocations();
      toon_buf_free(&out);
      CHECK_EQ(toon_alloc_live(), live);
      if (status == TOON_OK) break;
      CHECK_EQ(status, TOON_ENOMEM);
      failures++;
      REQUIRE(failures < 1000);
    }
  }
  CHECK(failures > 20);
}

CHECK_MAIN
