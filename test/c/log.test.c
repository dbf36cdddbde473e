/* The log room: frames, row texts, segments. */
#include "check.h"
#include "base/alloc.h"
#include "log/frame.h"
#include "log/rowtext.h"
#include "log/segment.h"
#include "os/memfs.h"

#define STORE 0xC0FFEEu

static toon_error err;

static void add_group(toon_buf *log, const char *text, uint64_t sequence, uint64_t synced) {
  toon_buf group = {0};
  log_frame frame = {.sequence = sequence, .next_row = 7, .synced = synced};
  toon_buf_append(&group, text, strlen(text));
  CHECK_EQ(log_frame_append(&group, STORE, &frame), TOON_OK);
  CHECK_EQ(frame.bytes, strlen(text));
  toon_buf_add(log, toon_buf_slice(&group));
  toon_buf_free(&group);
}

TEST(a_frame_is_found_verified_and_bound_to_its_store_and_sequence) {
  toon_buf log = {0};
  toon_slice text;
  log_frame frame;
  uint64_t next;
  add_group(&log, "a: 1\n", 1, 0);
  add_group(&log, "", 2, 1);
  add_group(&log, "b: 2\nc: 3\n", 3, 1);
  toon_buf_lit(&log, "\n\n\n");
  uint64_t at = 0;
  for (uint64_t i = 1; i <= 3; i++, at = next) {
    CHECK_EQ(log_next_group(toon_buf_slice(&log), at, STORE, &text, &frame, &next), LOG_GROUP);
    CHECK_EQ(frame.sequence, i);
    CHECK_EQ(frame.next_row, 7);
  }
  CHECK_EQ(log_next_group(toon_buf_slice(&log), at, STORE, &text, &frame, &next), LOG_END);
  CHECK_EQ(log_next_group(toon_buf_slice(&log), 0, STORE + 1, &text, &frame, &next), LOG_BAD);
  toon_buf_free(&log);
}

TEST(a_flipped_bit_anywhere_in_a_group_or_its_frame_is_noticed) {
  toon_buf log = {0};
  toon_slice text;
  log_frame frame;
  uint64_t next;
  add_group(&log, "name: Alice\nlist[2]: a,b\n", 41, 40);
  for (size_t bit = 0; bit < log.len * 8; bit++) {
    log.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    CHECK(log_next_group(toon_buf_slice(&log), 0, STORE, &text, &frame, &next) == LOG_BAD);
    log.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  for (size_t len = 1; len < log.len; len++)
    CHECK(log_next_group(toon_slice_of(log.ptr, len), 0, STORE, &text, &frame, &next) == LOG_BAD);
  toon_buf_free(&log);
}

TEST(only_canonical_frame_lines_are_frames) {
  static const char *const bad[] = {
      "# commit 01 0 0 0 00000000\n", "# commit 1 0 0 0 0000000A\n", "# commit 1 0 0 0 00000000 \n", "# commit 1 0 0 0 00000000",
      "# commit 1  0 0 0 00000000\n", "# commit -1 0 0 0 00000000\n", "# commit 1 0 0 00000000\n", "# commit 1 0 0 0 000000\n",
      "# commit 18446744073709551616 0 0 0 00000000\n", "#commit 1 0 0 0 00000000\n", "# commit 1 0 0 0 0 00000000\n"};
  log_frame frame;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK(!log_frame_parse(toon_slice_of(bad[i], strlen(bad[i])), &frame));
  CHECK(log_frame_parse(TOON_SLICE_LIT("# commit 18446744073709551615 0 0 0 0000000a\n"), &frame));
  CHECK(frame.sequence == UINT64_MAX && frame.crc == 10);
}

TEST(later_frames_tell_whether_a_broken_group_had_been_synced) {
  toon_buf log = {0};
  add_group(&log, "a: 1\n", 1, 0);
  size_t broken = log.len;
  add_group(&log, "b: 2\n", 2, 1);
  size_t after = log.len;
  add_group(&log, "c: 3\n", 3, 1);
  log.ptr[broken + 3] ^= 1;
  CHECK(!log_synced_later(toon_buf_slice(&log), broken, STORE, 2)); /* 2 was never synced: a torn tail */
  add_group(&log, "d: 4\n", 4, 3);
  CHECK(log_synced_later(toon_buf_slice(&log), broken, STORE, 2));
  CHECK(!log_synced_later(toon_buf_slice(&log), broken, STORE, 4));
  memset(log.ptr + broken, 'x', after - broken - 1); /* the broken group has not even line ends */
  CHECK(log_synced_later(toon_buf_slice(&log), broken, STORE, 2));
  toon_buf_free(&log);
}

/* What a frame says is believed only when its checksum is right: these lengths lead out of the file, and out of memory. */
TEST(the_length_in_a_damaged_frame_leads_nowhere) {
  static const char *const lengths[] = {"4096", "4294967296", "1152921504606846976", "18446744073709551615"};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    toon_buf log = {0};
    toon_slice text;
    log_frame frame;
    uint64_t next;
    add_group(&log, "a: 1\n", 1, 0);
    size_t broken = log.len;
    toon_buf_printf(&log, "b: 2\n# commit 2 %s 0 9 00000000\n", lengths[i]);
    CHECK_EQ(log_next_group(toon_buf_slice(&log), broken, STORE, &text, &frame, &next), LOG_BAD);
    CHECK(!log_synced_later(toon_buf_slice(&log), broken, STORE, 2));
    toon_buf_free(&log);
  }
}

static void token_round_trip(const void *bytes, size_t len, const char *want) {
  toon_buf out = {0}, scratch = {0};
  toon_key key;
  size_t token;
  CHECK_EQ(log_put_key_token(&out, toon_user_key(bytes, len)), TOON_OK);
  if (want) CHECK(out.len == strlen(want) && memcmp(out.ptr, want, out.len) == 0);
  toon_buf_lit(&out, ": 1\n");
  CHECK_EQ(log_get_key_token(toon_buf_slice(&out), &scratch, &key, &token, &err), TOON_OK);
  CHECK_EQ(token, out.len - 4);
  CHECK(toon_key_eq(key, toon_user_key(bytes, len)));
  toon_buf_free(&out);
  toon_buf_free(&scratch);
}

TEST(different_keys_have_different_tokens_and_come_back) {
  token_round_trip("users", 5, "users");
  token_round_trip("users/1", 7, "\"users/1\"");
  token_round_trip("", 0, "\"\"");
  token_round_trip("row.17", 6, "hex.726f772e3137");
  token_round_trip("row.017", 7, "row.017");
  token_round_trip("row.", 4, "row.");
  token_round_trip("row.99999999999999999999999", 27, NULL);
  token_round_trip("hex.", 4, "hex.");
  token_round_trip("hex.a", 5, "hex.a");
  token_round_trip("hex.AB", 6, "hex.AB");
  token_round_trip("hex.ab", 6, "hex.6865782e6162");
  token_round_trip("\xff\x00", 2, "hex.ff00");
  token_round_trip("# commit 1", 10, "\"# commit 1\"");
  token_round_trip(" x", 2, "\" x\"");
  token_round_trip("a\nb", 3, "\"a\\nb\"");
  token_round_trip("\0", 1, NULL);
  char all[TOON_KEY_MAX];
  for (size_t i = 0; i < sizeof all; i++) all[i] = (char)i;
  token_round_trip(all, sizeof all, NULL);
  memset(all, '\n', sizeof all);
  token_round_trip(all, sizeof all, NULL);
  uint8_t id[8];
  toon_buf out = {0}, scratch = {0};
  toon_key key;
  size_t token;
  log_put_key_token(&out, toon_row_key(UINT64_MAX, id));
  CHECK(out.len == 24 && memcmp(out.ptr, "row.18446744073709551615", 24) == 0);
  toon_buf_lit(&out, ": 1\n");
  CHECK_EQ(log_get_key_token(toon_buf_slice(&out), &scratch, &key, &token, &err), TOON_OK);
  CHECK(key.space == TOON_SPACE_ROW && toon_row_id(key) == UINT64_MAX);
  toon_buf_free(&out);
  toon_buf_free(&scratch);
}

TEST(lists_of_segments_are_no_rows) {
  static const uint32_t ids[] = {0, 1, 2, 5, 7, 8, UINT32_MAX};
  toon_buf out = {0};
  log_rows rows;
  log_row row;
  bool end;
  uint32_t first, last;
  CHECK_EQ(log_put_segments(&out, ids, 1), TOON_OK);
  CHECK_EQ(toon_buf_lit(&out, "a: 1\n"), TOON_OK);
  CHECK_EQ(log_put_segments(&out, ids, 7), TOON_OK);
  CHECK(toon_slice_eq(toon_buf_slice(&out), TOON_SLICE_LIT("# segments 0\na: 1\n# segments 0-2,5,7-8,4294967295\n")));
  log_rows_init(&rows, toon_buf_slice(&out));
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(!end && row.offset == 13 && row.length == 5);
  CHECK(toon_slice_eq(rows.segments, TOON_SLICE_LIT("0")));
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(end);
  CHECK_EQ(rows.list_bytes, out.len - 5);
  toon_slice list = rows.segments;
  CHECK(log_take_segments(&list, &first, &last) && first == 0 && last == 2);
  CHECK(log_take_segments(&list, &first, &last) && first == 5 && last == 5);
  CHECK(log_take_segments(&list, &first, &last) && first == 7 && last == 8);
  CHECK(log_take_segments(&list, &first, &last) && first == UINT32_MAX && last == UINT32_MAX && !list.len);
  log_rows_free(&rows);
  toon_buf_free(&out);
}

TEST(the_rows_of_a_group_come_one_by_one) {
  log_rows rows;
  log_row row;
  bool end;
  log_rows_init(&rows, TOON_SLICE_LIT("a: 1\n\"b c\":\n  x: 1\n  y[2]: 1,2\n# delete a\n# expires 1795000000000\ns: v\nrow.3[2]:\n  - 1\n  -\n    k: v\n"));
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(!row.is_delete && row.offset == 0 && row.length == 5 && row.field == 1);
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(row.length == 26 && row.field == 5 && row.key.len == 3);
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(row.is_delete && row.key.len == 1 && row.length == 11);
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(row.expires == 1795000000000 && row.field == 25 && row.length == 29);
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(row.key.space == TOON_SPACE_ROW && toon_row_id(row.key) == 3);
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_OK);
  CHECK(end);
  log_rows_free(&rows);
  static const char *const bad[] = {"# expires 1\n", "# expires \na: 1\n", "# delete a b\n", "# delete a", "a: 1", "# expires 0\na: 1\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    log_rows_init(&rows, toon_slice_of(bad[i], strlen(bad[i])));
    CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_ECORRUPT);
    log_rows_free(&rows);
  }
  static const char *const lists[] = {"# segments \n", "# segments 1", "# segments 01\n", "# segments 1,\n", "# segments 2-1\n", "# segments 1,1\n", "# segments 0-3,3\n",
                                      "# segments 4294967296\n", "# segments 1-\n", "# segments -1\n", "# segments 1 2\n", "# segments x\n", "# segments 11111111111\n"};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    log_rows_init(&rows, toon_slice_of(lists[i], strlen(lists[i])));
    CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_ECORRUPT);
    log_rows_free(&rows);
  }
  log_rows_init(&rows, TOON_SLICE_LIT("# surprise 1\na: 1\n"));
  CHECK_EQ(log_rows_next(&rows, &row, &end, &err), TOON_EFORMAT);
  log_rows_free(&rows);
}

TEST(segment_names_are_canonical) {
  uint32_t id = 9;
  CHECK(log_segment_name("db.toon", &id) && id == 0);
  CHECK(log_segment_name("db.12.toon", &id) && id == 12);
  static const char *const bad[] = {"db.0.toon", "db.01.toon", "db..toon", "db.1.toon.copy", "db.toon.idx-1", "xdb.toon", "db.4294967296.toon", "db.-1.toon"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!log_segment_name(bad[i], &id));
}

static int fail_pwrite(void *ctx, const char *call, const char *path) {
  (void)path;
  return strcmp(call, "pwrite") == 0 || (*(int *)ctx && strcmp(call, "truncate") == 0) ? 28 : 0;
}

TEST(a_failed_write_is_cut_off_again_or_poisons) {
  os_memfs *fs = os_memfs_new();
  os_vfs *vfs = os_memfs_vfs(fs);
  log_segment *s;
  bool poisoned;
  int truncate_too = 0;
  REQUIRE(log_segment_create(vfs, "", 0, STORE, 1 << 16, &s, &err) == TOON_OK);
  os_memfs_set_fault(fs, fail_pwrite, &truncate_too);
  CHECK_EQ(log_segment_write(s, TOON_SLICE_LIT("x"), 0, &poisoned, &err), TOON_ENOSPC);
  CHECK(!poisoned);
  truncate_too = 1;
  CHECK_EQ(log_segment_write(s, TOON_SLICE_LIT("x"), 0, &poisoned, &err), TOON_ENOSPC);
  CHECK(poisoned);
  os_memfs_set_fault(fs, NULL, NULL);
  CHECK_EQ(log_segment_write(s, TOON_SLICE_LIT("hello\n"), 4096, &poisoned, &err), TOON_OK);
  size_t len;
  const uint8_t *bytes = os_memfs_content(fs, "/db.toon", &len);
  CHECK(bytes && len == 4096 && memcmp(bytes + 16, "hello\n\n\n", 8) == 0 && bytes[4095] == '\n');
  log_segment_publish(s, 22);
  CHECK_EQ(log_segment_trim(s, 22, &err), TOON_OK);
  os_memfs_content(fs, "/db.toon", &len);
  CHECK_EQ(len, 22);
  log_segment_unref(s);
  os_memfs_free(fs);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
