/* The manifest: what is printed can be parsed, what was damaged cannot. */
#include "check.h"
#include "base/alloc.h"
#include "store/manifest.h"

static manifest_segment segments[] = {{0, 1, 67108864, 5, 16, 3}, {3, 4294967295u, 1234, 0, 99, 7}};
static manifest_run runs[] = {{7, 4096}, {2, 409600}};
static manifest_columns columns[] = {{9, 4294967295u}, {8, 0}};
static store_manifest sample(void) {
  return (store_manifest){.store_id = 3735928559u, .clean = true, .replay_segment = 3, .replay_crc = 4294967295u,
                          .replay_position = 1234, .replay_sequence = 42, .next_row = 18, .segments = segments,
                          .segment_count = 2, .runs = runs, .run_count = 2,
                          .columns = columns, .column_count = 2};
}

TEST(what_is_printed_can_be_parsed) {
  for (int with = 0; with < 4; with++) {
    int with_runs = with & 1, with_columns = with >> 1;
    store_manifest m = sample(), back;
    toon_buf text = {0};
    bool newer;
    m.run_count = with_runs ? 2 : 0;
    m.column_count = with_columns ? 2 : 0;
    CHECK_EQ(manifest_print(&m, &text), TOON_OK);
    REQUIRE(manifest_parse(toon_buf_slice(&text), &back, &newer) == MANIFEST_SOUND);
    CHECK(back.store_id == m.store_id && back.clean && back.replay_position == 1234 && back.replay_sequence == 42 &&
          back.next_row == 18 && back.replay_crc == m.replay_crc && back.segment_count == 2 && back.run_count == m.run_count);
    CHECK(back.segments[1].id == 3 && back.segments[0].dead == 5 && back.segments[1].overhead == 99 && back.segments[1].deletes == 7 && back.segments[1].crc == 4294967295u);
    CHECK_EQ(back.column_count, m.column_count);
    if (with_columns) CHECK(back.columns[0].number == 9 && back.columns[0].crc == 4294967295u && back.columns[1].number == 8);
    if (with_runs) CHECK(back.runs[1].number == 2 && back.runs[1].bytes == 409600);
    manifest_free(&back);
    toon_buf_free(&text);
  }
}

TEST(a_flipped_bit_or_a_missing_end_is_damage) {
  store_manifest m = sample(), back;
  toon_buf text = {0};
  bool newer;
  manifest_print(&m, &text);
  for (size_t bit = 0; bit < text.len * 8; bit++) {
    text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    CHECK(manifest_parse(toon_buf_slice(&text), &back, &newer) == MANIFEST_DAMAGED);
    text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  for (size_t len = 0; len < text.len; len++)
    CHECK(manifest_parse(toon_slice_of(text.ptr, len), &back, &newer) == MANIFEST_DAMAGED);
  toon_buf_free(&text);
}

TEST(gives_back_all_memory) { CHECK_EQ(toon_alloc_live(), 0); }

CHECK_MAIN
