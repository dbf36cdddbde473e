/* Reading runs: open, checks, point reads. The file is mapped whole; nothing of a page is used before its checksum was
 * found right, and what is read after that is still held against the limits of its unit. */
#include "index/run_format.h"

#include "base/alloc.h"

#include <inttypes.h>

uint64_t index_key_hash(uint32_t store_id, toon_key key) {
  return toon_hash(key.ptr, key.len, store_id | (uint64_t)key.space << 32);
}

/* ---- checks ---- */

void run_note_corrupt(const index_run *run, uint32_t page, uint32_t offset, const char *what, toon_error *err) {
  toon_fail_at(err, TOON_ECORRUPT, run->path, (int64_t)page * RUN_PAGE + offset, "index run %" PRIu64 " is damaged: %s",
               run->info.number, what);
}

static bool unit_is_sound(const uint8_t *map, uint32_t seed, uint32_t page, uint32_t pages) {
  const uint8_t *ptr = map + (size_t)page * RUN_PAGE;
  size_t len = (size_t)pages * RUN_PAGE - RUN_CRC;
  return toon_crc32c(run_unit_seed(seed, page), ptr, len) == toon_load32(ptr + len);
}

toon_status run_check_unit(const index_run *run, uint32_t page, uint32_t pages, toon_error *err) {
  if (unit_is_sound(run->map, run->seed, page, pages)) return TOON_OK;
  return run_corrupt(run, page, 0, "a checksum is wrong", err);
}

/* The number of pages is read from a block not yet checked: a wrong one gives a wrong checksum. */
static toon_status check_block(const index_run *run, uint32_t page, uint32_t *pages, toon_error *err) {
  *pages = run_load16(run->map + (size_t)page * RUN_PAGE + RUN_BLOCK_SIZE);
  if (*pages == 0 || *pages > RUN_BLOCK_PAGES || *pages > run->data_pages - (page - 1))
    return run_corrupt(run, page, RUN_BLOCK_SIZE, "a block has no sensible size", err);
  return run_check_unit(run, page, *pages, err);
}

toon_status run_check_block(index_run *run, uint32_t page, toon_error *err) {
  uint32_t pages;
  TOON_TRY(check_block(run, page, &pages, err));
  run_set_checked(run, page);
  return TOON_OK;
}

/* ---- open ---- */

/* Header and footer: the same beginning. The checksum is seeded with what the page itself says, so that a sound file
 * that is another run can be told from a damaged one. */
static toon_status check_end_page(const index_run *run, uint32_t page, const char *magic, toon_error *err) {
  const uint8_t *ptr = run->map + (size_t)page * RUN_PAGE;
  uint32_t version = toon_load32(ptr + RUN_AT_VERSION), store_id = toon_load32(ptr + RUN_AT_STORE);
  uint64_t number = toon_load64(ptr + RUN_AT_NUMBER);
  if (memcmp(ptr, magic, 8) != 0) return run_corrupt(run, page, 0, "its header or footer is missing", err);
  if (!unit_is_sound(run->map, run_seed(store_id, number), page, 1))
    return run_corrupt(run, page, 0, "the checksum of its header or footer is wrong", err);
  if (version != RUN_VERSION)
    return toon_fail_at(err, TOON_EFORMAT, run->path, (int64_t)page * RUN_PAGE + RUN_AT_VERSION,
                        "index run %" PRIu64 " has format version %" PRIu32 ", this toonstore reads version %d", number,
                        version, RUN_VERSION);
  if (store_id != run->info.store_id || number != run->info.number)
    return toon_fail_at(err, TOON_ECORRUPT, run->path, (int64_t)page * RUN_PAGE + RUN_AT_STORE,
                        "this is index run %" PRIu64 " of store %08" PRIx32 ", expected run %" PRIu64
                        " of store %08" PRIx32,
                        number, store_id, run->info.number, run->info.store_id);
  return TOON_OK;
}

static toon_status read_footer(index_run *run, toon_error *err) {
  uint32_t last = (uint32_t)(run->info.file_size / RUN_PAGE - 1);
  TOON_TRY(check_end_page(run, 0, RUN_HEADER_MAGIC, err));
  if (toon_load32(run->map + RUN_AT_PAGE_SIZE) != RUN_PAGE)
    return run_corrupt(run, 0, RUN_AT_PAGE_SIZE, "a page size it cannot have", err);
  TOON_TRY(check_end_page(run, last, RUN_FOOTER_MAGIC, err));

  const uint8_t *ptr = run->map + (size_t)last * RUN_PAGE;
  index_run_info *info = &run->info;
  info->entries = toon_load64(ptr + RUN_AT_ENTRIES);
  info->puts = toon_load64(ptr + RUN_AT_PUTS);
  info->deletes = toon_load64(ptr + RUN_AT_DELETES);
  info->max_sequence = toon_load64(ptr + RUN_AT_MAX_SEQUENCE);
  info->min_sequence = toon_load64(ptr + RUN_AT_MIN_SEQUENCE);
  info->min_expires = (int64_t)toon_load64(ptr + RUN_AT_MIN_EXPIRES);
  for (int i = 0; i < TOON_SPACES; i++) info->net_keys[i] = (int64_t)toon_load64(ptr + RUN_AT_NET_KEYS + 8 * i);
  run->blocks = toon_load32(ptr + RUN_AT_BLOCKS);
  run->hash_page = toon_load32(ptr + RUN_AT_HASH_PAGE);
  run->hash_pages = toon_load32(ptr + RUN_AT_HASH_PAGES);
  run->hash_homes = toon_load32(ptr + RUN_AT_HASH_HOMES);
  run->fence_page = toon_load32(ptr + RUN_AT_FENCE_PAGE);
  run->fence_pages = toon_load32(ptr + RUN_AT_FENCE_PAGES);
  run->fence_prefix = toon_load32(ptr + RUN_AT_FENCE_PREFIX);
  run->fence_bytes = toon_load64(ptr + RUN_AT_FENCE_BYTES);

  /* The sections follow each other and fill the file; an empty run has none. */
  bool some = info->entries != 0;
  uint64_t fence_room = (uint64_t)run->fence_pages * RUN_PAGE;
  if (toon_load32(ptr + RUN_AT_PAGES) != last + 1 || run->hash_page == 0 ||
      (uint64_t)run->hash_page + run->hash_pages != run->fence_page ||
      (uint64_t)run->fence_page + run->fence_pages != last || info->puts + info->deletes != info->entries ||
      some != (run->blocks != 0) || some != (run->hash_homes != 0) || some != (run->fence_pages != 0) ||
      run->hash_homes > run->hash_pages || run->blocks > run->hash_page - 1 ||
      (some ? fence_room < run->fence_bytes || fence_room - run->fence_bytes < RUN_CRC : last != 1))
    return run_corrupt(run, last, 0, "its footer contradicts itself", err);
  run->data_pages = run->hash_page - 1;
  run->hash = run->map + (size_t)run->hash_page * RUN_PAGE;
  run->heads = run->map + (size_t)run->fence_page * RUN_PAGE;
  run->fences = run->heads + (size_t)run->blocks * RUN_FENCE_HEAD;
  return TOON_OK;
}

/* After this a fence can be used without checks: its key lies in the section and its block in the data. */
static toon_status check_fences(const index_run *run, toon_error *err) {
  if (!run->blocks) return TOON_OK;
  TOON_TRY(run_check_unit(run, run->fence_page, run->fence_pages, err));
  uint64_t records = (uint64_t)run->blocks * (RUN_FENCE_HEAD + RUN_FENCE_RECORD) + RUN_FENCE_RECORD;
  bool bad = run->fence_bytes < records;
  uint32_t page = 1, step = 0;
  for (uint32_t i = 0; !bad && i <= run->blocks; i++) {
    const uint8_t *fence = run_fence(run, i);
    uint64_t at = toon_load64(fence + RUN_FENCE_KEY), len = run_load16(fence + RUN_FENCE_KEY_LEN);
    step = toon_load32(fence + RUN_FENCE_PAGE_NO) - page;
    bad = (i == 0 ? step != 0 : step == 0 || step > RUN_BLOCK_PAGES) || len == 0 || len > RUN_KEY_MAX || at < records ||
          at > run->fence_bytes || len > run->fence_bytes - at || (i == 0 && run->fence_prefix > len);
    page += step;
  }
  if (bad || page != run->hash_page) return run_corrupt(run, run->fence_page, 0, "its fences make no sense", err);
  return TOON_OK;
}

/* Check all blocks and hash pages and remember the sound ones. */
static toon_status check_pages(index_run *run, toon_error *err) {
  for (uint32_t i = 0; i < run->blocks; i++)
    TOON_TRY(run_check_block(run, toon_load32(run_fence(run, i) + RUN_FENCE_PAGE_NO), err));
  for (uint32_t page = run->hash_page; page < run->fence_page; page++) {
    TOON_TRY(run_check_unit(run, page, 1, err));
    run_set_checked(run, page);
  }
  return TOON_OK;
}

static toon_status map_file(index_run *run, toon_error *err) {
  os_file *file;
  int code = run->vfs->open(run->vfs, run->path, OS_READ, &file);
  if (code) return toon_fail_os(err, code, "open", run->path);
  toon_status status = TOON_OK;
  os_stat stat;
  if ((code = run->vfs->fstat(run->vfs, file, &stat)) != 0) {
    status = toon_fail_os(err, code, "fstat", run->path);
  } else if (stat.size < 2 * RUN_PAGE || stat.size % RUN_PAGE != 0 || stat.size / RUN_PAGE > UINT32_MAX ||
             stat.size > SIZE_MAX) {
    status = toon_fail_at(err, TOON_ECORRUPT, run->path, (int64_t)stat.size,
                          "index run %" PRIu64 " is damaged: its size cannot be right", run->info.number);
  } else if ((code = run->vfs->map(run->vfs, file, (size_t)stat.size, &run->map)) != 0) {
    run->map = NULL;
    status = toon_fail_os(err, code, "mmap", run->path);
  } else {
    run->info.file_size = stat.size;
  }
  run->vfs->close(run->vfs, file); /* read-only: nothing to lose */
  return status;
}

toon_status index_run_open(os_vfs *vfs, const char *path, uint64_t number, uint32_t store_id, uint64_t verify_bytes,
                           index_run **out, toon_error *err) {
  toon_status status = TOON_OK;
  index_run *run = toon_calloc(1, sizeof *run);
  if (!run) return toon_fail(err, TOON_ENOMEM, NULL);
  run->vfs = vfs;
  run->info.number = number;
  run->info.store_id = store_id;
  run->seed = run_seed(store_id, number);
  run->path = toon_strdup(path);
  if (!run->path) TOON_GOTO(toon_fail(err, TOON_ENOMEM, NULL));
  TOON_GOTO(map_file(run, err));
  TOON_GOTO(read_footer(run, err));
  TOON_GOTO(check_fences(run, err));
  run->checked = toon_calloc(run->fence_page / 64 + 1, sizeof *run->checked);
  if (!run->checked) TOON_GOTO(toon_fail(err, TOON_ENOMEM, NULL));
  if (run->info.file_size <= verify_bytes) TOON_GOTO(check_pages(run, err));
  *out = run;
  return TOON_OK;
out:
  index_run_close(run);
  return status;
}

void index_run_close(index_run *run) {
  if (!run) return;
  if (run->map) run->vfs->unmap(run->vfs, run->map, (size_t)run->info.file_size);
  toon_free((void *)run->checked);
  toon_free(run->path);
  toon_free(run);
}

const index_run_info *index_run_get_info(const index_run *run) { return &run->info; }
const char *index_run_path(const index_run *run) { return run->path; }
uint32_t index_run_blocks(const index_run *run) { return run->blocks; }

int64_t index_run_block_expires(const index_run *run, uint32_t block) {
  return block < run->blocks ? (int64_t)toon_load64(run_fence(run, block) + RUN_FENCE_EXPIRES) : 0;
}

bool index_run_bounds(const index_run *run, toon_key *smallest, toon_key *largest) {
  if (!run->blocks) return false;
  const uint8_t *ends[2] = {run_fence(run, 0), run_fence(run, run->blocks)};
  for (int i = 0; i < 2; i++) {
    const uint8_t *stored = run->heads + toon_load64(ends[i] + RUN_FENCE_KEY);
    *(i ? largest : smallest) = (toon_key){stored + 1, run_load16(ends[i] + RUN_FENCE_KEY_LEN) - 1u, stored[0]};
  }
  return true;
}

/* ---- point reads ---- */

int run_key_cmp(toon_key key, const uint8_t *stored, size_t len) {
  if (len == 0) return 1;
  if (key.space != stored[0]) return key.space < stored[0] ? -1 : 1;
  return toon_slice_cmp(toon_slice_of(key.ptr, key.len), toon_slice_of(stored + 1, len - 1));
}

static inline bool same_bytes(const uint8_t *a, const uint8_t *b, size_t len) {
  return len == 0 || memcmp(a, b, len) == 0;
}

/* Is the stored key this one? Nothing is assembled: each part is compared where it lies. */
static bool key_is(const index_run_block *block, const run_key *stored, toon_key key) {
  if (stored->shared + stored->suffix_len != key.len + 1) return false;
  if (stored->shared == 0) return stored->suffix[0] == key.space && same_bytes(stored->suffix + 1, key.ptr, key.len);
  const uint8_t *first = run_block_first(block);
  uint32_t shared = stored->shared - 1;
  return first[0] == key.space && same_bytes(stored->suffix, key.ptr + shared, stored->suffix_len) &&
         same_bytes(first + 1, key.ptr, shared);
}

/* Is the entry that a slot (of hash page number hash_page) names the key's? */
static toon_status read_slot(index_run *run, uint32_t hash_page, uint64_t slot, toon_key key, index_entry *entry,
                             bool *found, toon_error *err) {
  uint32_t page = (uint32_t)(slot >> RUN_OFFSET_BITS), offset = slot & ((1u << RUN_OFFSET_BITS) - 1);
  if (page - 1 >= run->data_pages) return run_corrupt(run, hash_page, 0, "a slot points outside of the data", err);
  __builtin_prefetch(run->map + (size_t)page * RUN_PAGE + offset);
  index_run_block block;
  TOON_TRY(run_block_at(run, page, &block, err));
  run_key stored;
  const uint8_t *payload = run_key_at(&block, offset, &stored);
  if (!payload) return run_bad_entry(run, &block, offset, err);
  if (!key_is(&block, &stored, key)) return TOON_OK;
  index_entry read;
  if (!run_entry_at(&block, payload, &read)) return run_bad_entry(run, &block, offset, err);
  *entry = read;
  *found = true;
  return TOON_OK;
}

toon_status run_note_cut(const index_run *run, toon_error *err) {
  return run_corrupt(run, 0, 0, "its file was cut short, or cannot be read, while it was in use", err);
}

static toon_status find_entry(index_run *run, toon_key key, uint64_t hash, index_entry *entry, bool *found,
                              toon_error *err) {
  *found = false;
  if (!run->hash_homes) return TOON_OK;
  if (key.len == 0) key.ptr = (const uint8_t *)""; /* NULL is allowed, but not to count from */
  uint64_t print = run_hash_print(hash);
  for (uint32_t i = run_hash_home(hash, run->hash_homes); i < run->hash_pages; i++) {
    if (!run_is_checked(run, run->hash_page + i)) {
      TOON_TRY(run_check_unit(run, run->hash_page + i, 1, err));
      run_set_checked(run, run->hash_page + i);
    }
    uint32_t bucket = run_hash_bucket(hash);
    for (int n = 0; n < RUN_BUCKETS; n++) {
      const uint8_t *slots = run->hash + (size_t)i * RUN_PAGE + (size_t)bucket * RUN_BUCKET_SLOTS * 8;
      for (int s = 0; s < RUN_BUCKET_SLOTS; s++) {
        uint64_t slot = toon_load64(slots + 8 * s);
        if (slot == 0) return TOON_OK;
        if ((slot ^ print) >> RUN_PRINT_SHIFT != 0) continue;
        TOON_TRY(read_slot(run, run->hash_page + i, slot, key, entry, found, err));
        if (*found) return TOON_OK;
      }
      if (++bucket == RUN_BUCKETS) bucket = 0;
    }
  }
  return TOON_OK;
}

toon_status index_run_get(index_run *run, toon_key key, uint64_t hash, index_entry *entry, bool *found,
                          toon_error *err) {
  toon_status status = find_entry(run, key, hash, entry, found, err);
  return os_map_damaged(run->map) ? run_note_cut(run, err) : status;
}

static inline const uint8_t *first_slots(const index_run *run, uint64_t hash) {
  size_t bucket = (size_t)run_hash_bucket(hash) * RUN_BUCKET_SLOTS * 8;
  return run->hash + (size_t)run_hash_home(hash, run->hash_homes) * RUN_PAGE + bucket;
}

void index_run_prefetch(const index_run *run, uint64_t hash) {
  if (!run->hash_homes) return;
  const uint8_t *slots = first_slots(run, hash);
  __builtin_prefetch(slots);
  __builtin_prefetch(slots + RUN_BUCKET_SLOTS * 8);
}

/* Only a hint: nothing needs to be sound here. */
void index_run_prefetch_entry(const index_run *run, uint64_t hash) {
  if (!run->hash_homes) return;
  const uint8_t *slots = first_slots(run, hash);
  uint64_t print = run_hash_print(hash);
  for (int s = 0; s < RUN_BUCKET_SLOTS; s++) {
    uint64_t slot = toon_load64(slots + 8 * s);
    uint32_t page = (uint32_t)(slot >> RUN_OFFSET_BITS);
    if ((slot ^ print) >> RUN_PRINT_SHIFT != 0 || page - 1 >= run->data_pages) continue;
    const uint8_t *block = run->map + (size_t)page * RUN_PAGE;
    __builtin_prefetch(block);
    __builtin_prefetch(block + (slot & ((1u << RUN_OFFSET_BITS) - 1)));
  }
}

/* ---- verify ---- */

/* The cursor is at a block's first entry: the fence lies between the key before and this one. */
static bool fence_parts(const index_run_cursor *cursor, const toon_buf *before) {
  const index_run *run = cursor->run;
  const uint8_t *fence = run_fence(run, cursor->block), *key = run->heads + toon_load64(fence + RUN_FENCE_KEY);
  size_t len = run_load16(fence + RUN_FENCE_KEY_LEN), prefix = run->fence_prefix;
  const uint8_t *first = run->heads + toon_load64(run_fence(run, 0) + RUN_FENCE_KEY);
  if (before->len) {
    toon_key last = {before->ptr + 1, (uint32_t)before->len - 1, before->ptr[0]};
    if (run_key_cmp(last, key, len) >= 0) return false;
  }
  uint64_t head = toon_load64(run->heads + (size_t)cursor->block * RUN_FENCE_HEAD);
  return run_key_cmp(cursor->key, key, len) >= 0 && prefix <= len && memcmp(first, key, prefix) == 0 &&
         head == run_fence_head(key + prefix, len - prefix);
}

static void count_entry(index_run_info *seen, const index_entry *entry) {
  if (!seen->entries || entry->sequence < seen->min_sequence) seen->min_sequence = entry->sequence;
  if (!seen->entries || entry->sequence > seen->max_sequence) seen->max_sequence = entry->sequence;
  if (entry->expires && (!seen->min_expires || entry->expires < seen->min_expires)) seen->min_expires = entry->expires;
  seen->entries++;
  if (entry->kind == INDEX_PUT)
    seen->puts++;
  else
    seen->deletes++;
}

/* Read the whole run in order. `before` is the key before the cursor's, as it is stored. */
static toon_status verify_entries(index_run *run, index_run_cursor *cursor, toon_buf *before, toon_error *err) {
  index_run_info seen = {0};
  int64_t block_expires = 0;
  index_run_cursor_init(cursor, run);
  TOON_TRY(index_run_seek(cursor, NULL, true, false, err));
  while (cursor->valid) {
    toon_key key = cursor->key;
    const char *wrong = NULL;
    uint32_t page = cursor->head.page;
    if (before->len && run_key_cmp(key, before->ptr, before->len) <= 0) wrong = "its keys are out of order";
    if (cursor->index == 0 && !fence_parts(cursor, before)) wrong = "a fence is wrong";
    if (cursor->index == 0) block_expires = 0;
    index_entry found_entry;
    bool found;
    TOON_TRY(index_run_get(run, key, index_key_hash(run->info.store_id, key), &found_entry, &found, err));
    if (!found || index_entry_age(&found_entry, &cursor->entry) != 0) wrong = "a key is not found by its hash";
    count_entry(&seen, &cursor->entry);
    int64_t expires = cursor->entry.expires;
    if (expires && (!block_expires || expires < block_expires)) block_expires = expires;
    if (cursor->index + 1 == cursor->head.count && block_expires != index_run_block_expires(run, cursor->block))
      wrong = "the smallest expiry of a block is wrong";
    if (wrong) return run_corrupt(run, page, 0, wrong, err);
    before->len = 0;
    if (toon_buf_byte(before, key.space) != TOON_OK || toon_buf_append(before, key.ptr, key.len) != TOON_OK)
      return toon_fail(err, TOON_ENOMEM, NULL);
    TOON_TRY(index_run_next(cursor, err));
  }
  toon_key smallest, largest;
  const index_run_info *info = &run->info;
  if (index_run_bounds(run, &smallest, &largest) && run_key_cmp(largest, before->ptr, before->len) != 0)
    return run_corrupt(run, run->fence_page, 0, "its largest key is wrong", err);
  if (seen.entries != info->entries || seen.puts != info->puts || seen.deletes != info->deletes ||
      seen.max_sequence != info->max_sequence || seen.min_sequence != info->min_sequence ||
      seen.min_expires != info->min_expires)
    return run_corrupt(run, run->fence_page + run->fence_pages, 0, "the footer does not describe its entries", err);
  return TOON_OK;
}

toon_status index_run_verify(index_run *run, toon_error *err) {
  TOON_TRY(check_end_page(run, 0, RUN_HEADER_MAGIC, err));
  TOON_TRY(check_end_page(run, run->fence_page + run->fence_pages, RUN_FOOTER_MAGIC, err));
  TOON_TRY(check_fences(run, err));
  TOON_TRY(check_pages(run, err));
  index_run_cursor *cursor = toon_malloc(sizeof *cursor);
  if (!cursor) return toon_fail(err, TOON_ENOMEM, NULL);
  toon_buf before = {0};
  toon_status status = verify_entries(run, cursor, &before, err);
  toon_buf_free(&before);
  toon_free(cursor);
  return status;
}
