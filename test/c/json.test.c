/* The server's JSON trees: what is parsed, changed and written, against the text; and the estimate of tokens on any bytes. */
#include "check.h"
#include "base/alloc.h"
#include "resp/json.h"
#include "resp/tokens.h"

static toon_slice S(const char *text) { return toon_slice_of(text, strlen(text)); }

static bool writes(const json_tree *tree, const char *want) {
  toon_buf out = {0};
  CHECK_EQ(json_write(tree, 0, &out), TOON_OK);
  bool same = toon_slice_eq(toon_buf_slice(&out), S(want));
  if (!same) fprintf(stderr, "%.*s\n", (int)out.len, (const char *)out.ptr);
  toon_buf_free(&out);
  return same;
}

TEST(a_tree_is_written_as_it_was_read) {
  static const char *const texts[] = {"{}",
                                      "[]",
                                      "0",
                                      "-1.5",
                                      "\"\"",
                                      "\"a\\\"b\\\\\"",
                                      "true",
                                      "null",
                                      "[1,[2,{}],{\"a\":[]}]",
                                      "{\"a\":1,\"b\":{\"c\":\"x,y]}\"},\"\":[true,false,null]}"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    json_tree tree = {0};
    uint32_t root;
    CHECK_EQ(json_add(&tree, S(texts[i]), &root), TOON_OK);
    CHECK(writes(&tree, texts[i]));
    json_free(&tree);
  }
}

TEST(damaged_texts_are_refused) {
  static const char *const texts[] = {"", "{", "[1", "{\"a\"", "{\"a\":", "\"a", "[]]", "{\"a\":1}}", "{1:2}", "\"\\"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    json_tree tree = {0};
    uint32_t root;
    CHECK_EQ(json_add(&tree, S(texts[i]), &root), TOON_ESYNTAX);
    json_free(&tree);
  }
}

TEST(members_are_found_added_replaced_and_taken_away) {
  json_tree tree = {0};
  uint32_t root, node;
  CHECK_EQ(json_add(&tree, S("{\"a\":1,\"b\":[1,2,3]}"), &root), TOON_OK);
  CHECK_EQ(json_member(&tree, 0, S("\"b\""), &node), TOON_OK);
  CHECK(tree.nodes[node].kind == '[' && tree.nodes[node].count == 3);
  json_remove(&tree, node, json_item(&tree, node, 1));
  CHECK_EQ(json_item(&tree, node, 2), JSON_NONE);
  uint32_t value;
  CHECK_EQ(json_add(&tree, S("{\"x\":\"y\"}"), &value), TOON_OK);
  json_append(&tree, node, (toon_slice){0}, value);
  CHECK(writes(&tree, "{\"a\":1,\"b\":[1,3,{\"x\":\"y\"}]}"));
  CHECK_EQ(json_add(&tree, S("7"), &value), TOON_OK);
  json_replace(&tree, node, value);
  CHECK_EQ(json_member(&tree, 0, S("\"a\""), &node), TOON_OK);
  json_remove(&tree, 0, node);
  CHECK_EQ(json_member(&tree, 0, S("\"a\""), &node), TOON_OK);
  CHECK_EQ(node, JSON_NONE);
  CHECK(writes(&tree, "{\"b\":7}"));
  json_free(&tree);
}

/* Random changes to an object of up to 300 members, so that the hash is made and made anew, against a table. */
TEST(many_members_agree_with_a_table) {
  enum { KEYS = 300 };
  static char keys[KEYS][16];
  bool there[KEYS] = {0};
  size_t count = 0;
  unsigned seed = 1;
  json_tree tree = {0};
  uint32_t root, node;
  CHECK_EQ(json_add(&tree, S("{}"), &root), TOON_OK);
  for (int i = 0; i < KEYS; i++) snprintf(keys[i], sizeof keys[i], "\"k%d\"", i);
  for (int round = 0; round < 20000; round++) {
    seed = seed * 1103515245 + 12345;
    int k = (int)(seed >> 16) % KEYS;
    CHECK_EQ(json_member(&tree, 0, S(keys[k]), &node), TOON_OK);
    REQUIRE((node != JSON_NONE) == there[k]);
    if (there[k]) {
      json_remove(&tree, 0, node);
      count--;
    } else {
      uint32_t value;
      CHECK_EQ(json_add(&tree, S("1"), &value), TOON_OK);
      json_append(&tree, 0, S(keys[k]), value);
      count++;
    }
    there[k] = !there[k];
    CHECK_EQ(tree.nodes[0].count, count);
  }
  json_free(&tree);
}

TEST(strings_are_unescaped) {
  toon_buf out = {0};
  CHECK_EQ(json_unescape(S("\"a\\n\\t\\\\\\\"\\/\\u0001\\u00e9\\ud83d\\ude00\""), &out), TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&out), S("a\n\t\\\"/\x01\xc3\xa9\xf0\x9f\x98\x80")));
  toon_buf_free(&out);
}

TEST(tokens_are_counted_to_the_end_of_any_text) {
  CHECK_EQ(tokens_estimate(S("")), 0);
  CHECK_EQ(tokens_estimate(S("k: \"HTTPServer")), 7);
  static const char *const pieces[] = {
      "a", "Bc", "DEF", " ", "  ", "\t", "\n", "12345", "\"", "!!", "\xc3\xa9", "\xe6\xbc\xa2", "\xf0\x9f\x98\x80"};
  unsigned seed = 3;
  for (int round = 0; round < 2000; round++) {
    toon_buf text = {0};
    for (int i = 0; i < 12; i++) {
      seed = seed * 1103515245 + 12345;
      const char *piece = pieces[(seed >> 16) % (sizeof pieces / sizeof *pieces)];
      CHECK_EQ(toon_buf_append(&text, piece, strlen(piece)), TOON_OK);
    }
    size_t tokens = tokens_estimate(toon_buf_slice(&text));
    CHECK(tokens > 0 && tokens <= text.len);
    toon_buf_free(&text);
  }
}

CHECK_MAIN
