/* Scans of a run. A seek finds the block by the fences and the entry by the block's offset table; a move within a block
 * decodes one entry. Keys are assembled only where the cursor stops. */
#include "index/run_format.h"

void index_run_cursor_init(index_run_cursor *cursor, index_run *run) {
  cursor->run = run;
  cursor->block = cursor->index = 0;
  cursor->valid = false;
  cursor->entry = (index_entry){0};
  cursor->key = (toon_key){cursor->key_bytes, 0, 0};
  cursor->head = (index_run_block){0};
  cursor->same = 0;
}

/* The search key, looked at as it would be stored: byte 0 is its space. */
static size_t stored_len(const toon_key *key) { return (size_t)key->len + 1; }

/* Length of the common beginning of the key and a stored one. */
static size_t common_prefix(const toon_key *key, const uint8_t *stored, size_t len) {
  if (len == 0 || key->space != stored[0]) return 0;
  size_t n = len < stored_len(key) ? len : stored_len(key), i = 1;
  while (i < n && key->ptr[i - 1] == stored[i]) i++;
  return i;
}

/* Compare the key from its byte `from` on with stored bytes. */
static int cmp_from(const toon_key *key, size_t from, const uint8_t *stored, size_t len) {
  if (from == 0) return run_key_cmp(*key, stored, len);
  return toon_slice_cmp(toon_slice_of(key->ptr + (from - 1), stored_len(key) - from), toon_slice_of(stored, len));
}

/* ---- fences ---- */

static int cmp_fence(const index_run *run, const toon_key *key, uint32_t block) {
  const uint8_t *fence = run_fence(run, block);
  return run_key_cmp(*key, run->heads + toon_load64(fence + RUN_FENCE_KEY), run_load16(fence + RUN_FENCE_KEY_LEN));
}

/* The number of fences <= key: the key can only be in the last of these blocks. */
static uint32_t fences_up_to(const index_run *run, const toon_key *key) {
  size_t prefix = run->fence_prefix;
  const uint8_t *first = run->heads + toon_load64(run_fence(run, 0) + RUN_FENCE_KEY);
  size_t common = common_prefix(key, first, prefix);
  if (common < prefix) return cmp_from(key, common, first + common, prefix - common) < 0 ? 0 : run->blocks;

  uint64_t head;
  if (prefix == 0) {
    head = (uint64_t)key->space << 56 | run_fence_head(key->ptr, key->len) >> 8;
  } else {
    head = run_fence_head(key->ptr + (prefix - 1), stored_len(key) - prefix);
  }
  uint32_t low = 0, high = run->blocks; /* fences below low are <= key, those from high on are > key */
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    uint64_t other = toon_load64(run->heads + (size_t)middle * RUN_FENCE_HEAD);
    if (other < head || (other == head && cmp_fence(run, key, middle) >= 0))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* ---- blocks ---- */

static toon_status enter(index_run_cursor *cursor, uint32_t block, toon_error *err) {
  cursor->valid = false;
  uint32_t page = toon_load32(run_fence(cursor->run, block) + RUN_FENCE_PAGE_NO);
  TOON_TRY(run_block_at(cursor->run, page, &cursor->head, err));
  cursor->block = block;
  cursor->same = 0;
  return TOON_OK;
}

static inline uint32_t entry_offset(const index_run_block *head, uint32_t index) {
  return run_load16(head->ptr + head->table + 2 * (size_t)index);
}

/* Copy key bytes. Short ones go in whole words: there is room behind key_bytes, and a page behind every block. */
static inline void copy_key(uint8_t *to, const uint8_t *from, size_t len) {
  if (len <= 16)
    memcpy(to, from, 16);
  else if (len <= 32)
    memcpy(to, from, 32);
  else
    memcpy(to, from, len);
}

/* Stop at an entry of the current block: decode it and assemble its key. */
static inline toon_status stop_at(index_run_cursor *cursor, uint32_t index, toon_error *err) {
  const index_run_block *head = &cursor->head;
  uint32_t offset = entry_offset(head, index);
  run_key key;
  cursor->valid = false;
  const uint8_t *payload = run_key_at(head, offset, &key);
  if (!payload || !run_entry_at(head, payload, &cursor->entry)) return run_bad_entry(cursor->run, head, offset, err);
  if (key.shared == 0) { /* another space than the block's first key */
    cursor->key.space = key.suffix[0];
    cursor->same = 0;
    copy_key(cursor->key_bytes, key.suffix + 1, key.suffix_len - 1);
  } else {
    const uint8_t *first = run_block_first(head);
    if (cursor->same == 0) {
      cursor->key.space = first[0];
      cursor->same = 1;
    }
    if (key.shared > cursor->same)
      copy_key(cursor->key_bytes + (cursor->same - 1), first + cursor->same, key.shared - cursor->same);
    cursor->same = key.shared;
    copy_key(cursor->key_bytes + (key.shared - 1), key.suffix, key.suffix_len);
  }
  cursor->key.len = key.shared + key.suffix_len - 1;
  cursor->index = index;
  cursor->valid = true;
  return TOON_OK;
}

/* In the current block, the number of entries < key, or <= key. UINT32_MAX: damage. */
static uint32_t count_below(const index_run_cursor *cursor, const toon_key *key, bool or_equal, toon_error *err) {
  const index_run_block *head = &cursor->head;
  const uint8_t *first = run_block_first(head);
  size_t common = common_prefix(key, first, head->first_len);
  int to_first = cmp_from(key, common, first + common, head->first_len - common);
  uint32_t low = 0, high = head->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2, offset = entry_offset(head, middle);
    run_key stored;
    if (!run_key_at(head, offset, &stored)) {
      run_bad_entry(cursor->run, head, offset, err);
      return UINT32_MAX;
    }
    /* An entry that shares more with the first key than we do stands to us as the first key does. */
    int c = stored.shared > common ? to_first : cmp_from(key, stored.shared, stored.suffix, stored.suffix_len);
    if (c > 0 || (or_equal && c == 0))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* ---- moves ---- */

static toon_status stop_at_first(index_run_cursor *cursor, uint32_t block, toon_error *err) {
  cursor->valid = false;
  if (block >= cursor->run->blocks) return TOON_OK;
  TOON_TRY(enter(cursor, block, err));
  return stop_at(cursor, 0, err);
}

static toon_status stop_at_last(index_run_cursor *cursor, uint32_t blocks, toon_error *err) {
  cursor->valid = false;
  if (blocks == 0) return TOON_OK;
  TOON_TRY(enter(cursor, blocks - 1, err));
  return stop_at(cursor, cursor->head.count - 1, err);
}

static toon_status seek(index_run_cursor *cursor, const toon_key *key, bool inclusive, bool back, toon_error *err) {
  uint32_t blocks = cursor->run->blocks;
  if (!key) return back ? stop_at_last(cursor, blocks, err) : stop_at_first(cursor, 0, err);
  toon_key wanted = *key;
  if (wanted.len == 0) wanted.ptr = (const uint8_t *)""; /* NULL is allowed, but not to count from */
  uint32_t upto = blocks ? fences_up_to(cursor->run, &wanted) : 0;
  if (upto == 0) return back ? stop_at_last(cursor, 0, err) : stop_at_first(cursor, 0, err);
  TOON_TRY(enter(cursor, upto - 1, err));
  uint32_t below = count_below(cursor, &wanted, back == inclusive, err);
  if (below == UINT32_MAX) return TOON_ECORRUPT;
  if (back) return below ? stop_at(cursor, below - 1, err) : stop_at_last(cursor, upto - 1, err);
  return below < cursor->head.count ? stop_at(cursor, below, err) : stop_at_first(cursor, upto, err);
}

/* What a move has found, unless the file was cut off under it. */
static toon_status moved(index_run_cursor *cursor, toon_status status, toon_error *err) {
  if (!os_map_damaged(cursor->run->map)) return status;
  cursor->valid = false;
  return run_note_cut(cursor->run, err);
}

toon_status index_run_seek(index_run_cursor *cursor, const toon_key *key, bool inclusive, bool back, toon_error *err) {
  return moved(cursor, seek(cursor, key, inclusive, back, err), err);
}

toon_status index_run_seek_block(index_run_cursor *cursor, uint32_t block, toon_error *err) {
  return moved(cursor, stop_at_first(cursor, block, err), err);
}

toon_status index_run_next(index_run_cursor *cursor, toon_error *err) {
  if (!cursor->valid) return TOON_OK;
  toon_status status = cursor->index + 1 < cursor->head.count ? stop_at(cursor, cursor->index + 1, err)
                                                              : stop_at_first(cursor, cursor->block + 1, err);
  return moved(cursor, status, err);
}

toon_status index_run_prev(index_run_cursor *cursor, toon_error *err) {
  if (!cursor->valid) return TOON_OK;
  toon_status status =
      cursor->index > 0 ? stop_at(cursor, cursor->index - 1, err) : stop_at_last(cursor, cursor->block, err);
  return moved(cursor, status, err);
}
