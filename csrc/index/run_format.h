/* The bytes of a run and the parts of the reader that run_read.c and run_cursor.c share. Internal to the runs;
 * FORMAT.md describes the same file for people.
 *
 * A run is made of units: one or more whole pages whose last 4 bytes are the CRC32C of the unit's other bytes, seeded
 * with store id, run number and the unit's first page number, so that a page of another place, file or store, or a
 * stale page of a reused disk block, is not taken for the real one.
 *
 *   page 0         header
 *   page 1 ...     data blocks, 1 or 2 pages each, one unit each
 *   hash_page ...  hash pages, one unit each (none in an empty run)
 *   fence_page ... fences, all one unit (none in an empty run)
 *   last page      footer
 *
 * Header and footer begin alike: magic, version, store id, run number. These and the CRC stay where they are in every
 * later version. */
#ifndef TOON_INDEX_RUN_FORMAT_H
#define TOON_INDEX_RUN_FORMAT_H

#include "base/crc32c.h"
#include "base/hash.h"
#include "index/run.h"
#include "os/fault.h"

#include <stdatomic.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "runs are read in place, as little-endian numbers");

#define RUN_HEADER_MAGIC "TOONRUN\n"
#define RUN_FOOTER_MAGIC "TOONEND\n"

enum {
  RUN_VERSION = 1,
  RUN_PAGE = 4096,
  RUN_CRC = 4,                    /* at the end of every unit */
  RUN_KEY_MAX = TOON_KEY_MAX + 1, /* a stored key: its space, then its bytes */
  RUN_BLOCK_PAGES = 2,            /* at most; a key and its entry always fit */

  /* Header and footer. */
  RUN_AT_MAGIC = 0,
  RUN_AT_VERSION = 8, /* u32 */
  RUN_AT_STORE = 12,  /* u32 */
  RUN_AT_NUMBER = 16, /* u64 */
  /* Header only. */
  RUN_AT_PAGE_SIZE = 24, /* u32 */
  /* Footer only. */
  RUN_AT_ENTRIES = 24,       /* u64 */
  RUN_AT_PUTS = 32,          /* u64 */
  RUN_AT_DELETES = 40,       /* u64 */
  RUN_AT_MAX_SEQUENCE = 48,  /* u64 */
  RUN_AT_MIN_SEQUENCE = 56,  /* u64 */
  RUN_AT_MIN_EXPIRES = 64,   /* i64 */
  RUN_AT_NET_KEYS = 72,      /* i64 x 2 */
  RUN_AT_PAGES = 88,         /* u32, of the file */
  RUN_AT_BLOCKS = 92,        /* u32 */
  RUN_AT_HASH_PAGE = 96,     /* u32 */
  RUN_AT_HASH_PAGES = 100,   /* u32 */
  RUN_AT_HASH_HOMES = 104,   /* u32 */
  RUN_AT_FENCE_PAGE = 108,   /* u32 */
  RUN_AT_FENCE_PAGES = 112,  /* u32 */
  RUN_AT_FENCE_PREFIX = 116, /* u32 */
  RUN_AT_FENCE_BYTES = 120,  /* u64 */

  /* Data block: head, first key, entries, ... zeros ..., table of u16 offsets of the entries, CRC. */
  RUN_BLOCK_COUNT = 0,     /* u16, entries */
  RUN_BLOCK_SIZE = 2,      /* u16, pages */
  RUN_BLOCK_FIRST_LEN = 4, /* u16, bytes of the first key; 2 zero bytes follow */
  RUN_BLOCK_SEQUENCE = 8,  /* u64, what the entries' sequences are told from */
  RUN_BLOCK_EXPIRES = 16,  /* i64, what the entries' expiries are told from */
  RUN_BLOCK_HEAD = 24,
  RUN_ENTRY_PUT = 1, /* bits of an entry's tag */
  RUN_ENTRY_EXPIRES = 2,
  RUN_ENTRY_MAX = 64, /* an encoded entry without its suffix is shorter than that */

  /* Hash page: 63 buckets of 8 slots, 60 zero bytes, CRC. A slot is fingerprint << 45 | page << 13 | offset in block;
   * 0 is empty. */
  RUN_BUCKET_SLOTS = 8,
  RUN_BUCKETS = 63,
  RUN_HASH_SLOTS = RUN_BUCKETS * RUN_BUCKET_SLOTS,
  RUN_HASH_LOAD = 403, /* slots used of a page on average, at most: 0.8 */
  RUN_OFFSET_BITS = 13,
  RUN_PRINT_SHIFT = 45,
  RUN_PRINT_BITS = 19,

  /* Fences: u64 heads of all blocks; then a record per block, and one more that tells the end of the data and the
   * largest key; then the key bytes. */
  RUN_FENCE_HEAD = 8,
  RUN_FENCE_RECORD = 24,
  RUN_FENCE_KEY = 0,      /* u64, from the start of the section */
  RUN_FENCE_EXPIRES = 8,  /* i64, smallest expiry of the block, 0 = none */
  RUN_FENCE_PAGE_NO = 16, /* u32, first page of the block */
  RUN_FENCE_KEY_LEN = 20  /* u16; 2 zero bytes follow */
};

static inline uint16_t run_load16(const uint8_t *ptr) {
  uint16_t v;
  memcpy(&v, ptr, 2);
  return v;
}

/* The seed of all checksums of a run, and of one unit. */
static inline uint32_t run_seed(uint32_t store_id, uint64_t number) {
  return toon_crc32c(toon_crc32c(0, &store_id, 4), &number, 8);
}
static inline uint32_t run_unit_seed(uint32_t seed, uint32_t page) { return toon_crc32c(seed, &page, 4); }

/* Where a hash lives: its first page among the homes, its first bucket in every page, its fingerprint. The three use
 * different bits of the hash. */
static inline uint32_t run_hash_home(uint64_t hash, uint32_t homes) {
  return (uint32_t)((unsigned __int128)hash * homes >> 64);
}
static inline uint32_t run_hash_bucket(uint64_t hash) {
  return (uint32_t)((hash >> RUN_PRINT_BITS & 0xFFFF) * RUN_BUCKETS >> 16);
}
static inline uint64_t run_hash_print(uint64_t hash) { return hash << RUN_PRINT_SHIFT; }

/* 8 bytes of a stored key behind a prefix, as a number that sorts like them; zeros stand for what is missing. */
static inline uint64_t run_fence_head(const uint8_t *ptr, size_t len) {
  uint64_t head = 0;
  for (size_t i = 0; i < 8; i++) head = head << 8 | (i < len ? ptr[i] : 0);
  return head;
}

struct index_run {
  os_vfs *vfs;
  const uint8_t *map;
  uint32_t seed;
  uint32_t data_pages; /* pages 1 .. data_pages */
  uint32_t blocks;
  uint32_t hash_page, hash_pages, hash_homes;
  uint32_t fence_page, fence_pages, fence_prefix;
  uint64_t fence_bytes;
  const uint8_t *hash, *heads, *fences; /* in the map */
  _Atomic uint64_t *checked;            /* a bit per page: the unit that begins there is sound */
  index_run_info info;
  char *path;
};

/* The unit of `pages` pages at `page` is damaged unless its checksum is right. */
toon_status run_check_unit(const index_run *run, uint32_t page, uint32_t pages, toon_error *err);
/* Check the data block at `page`, known to lie in the data, and remember it if it is sound. */
toon_status run_check_block(index_run *run, uint32_t page, toon_error *err);
/* Fill err: the one error of everything that is checked. */
void run_note_corrupt(const index_run *run, uint32_t page, uint32_t offset, const char *what, toon_error *err);
/* The same, as a status (inline: the compiler sees that it is not TOON_OK). */
static inline toon_status run_corrupt(const index_run *run, uint32_t page, uint32_t offset, const char *what,
                                      toon_error *err) {
  run_note_corrupt(run, page, offset, what, err);
  return TOON_ECORRUPT;
}
/* The mapping is damaged (os_map_damaged): TOON_ECORRUPT. */
toon_status run_note_cut(const index_run *run, toon_error *err);
/* Compare a key with a stored key. */
int run_key_cmp(toon_key key, const uint8_t *stored, size_t len);

static inline bool run_is_checked(const index_run *run, uint32_t page) {
  return atomic_load_explicit(&run->checked[page / 64], memory_order_relaxed) >> page % 64 & 1;
}
/* No order is needed: what the bit speaks of never changes. */
static inline void run_set_checked(index_run *run, uint32_t page) {
  atomic_fetch_or_explicit(&run->checked[page / 64], (uint64_t)1 << page % 64, memory_order_relaxed);
}

static inline const uint8_t *run_fence(const index_run *run, uint32_t block) {
  return run->fences + (size_t)block * RUN_FENCE_RECORD;
}

/* Read the head of the data block at `page`, which lies in the data. The limits are checked every time, not only with
 * the checksum: it costs nothing against the cache miss, and a file changed behind our back is then damaged, not a
 * crash. */
static inline toon_status run_block_at(index_run *run, uint32_t page, index_run_block *block, toon_error *err) {
  if (!run_is_checked(run, page)) TOON_TRY(run_check_block(run, page, err));
  const uint8_t *ptr = run->map + (size_t)page * RUN_PAGE;
  int32_t count = run_load16(ptr + RUN_BLOCK_COUNT), pages = run_load16(ptr + RUN_BLOCK_SIZE);
  int32_t first_len = run_load16(ptr + RUN_BLOCK_FIRST_LEN);
  int32_t table = pages * RUN_PAGE - RUN_CRC - 2 * count;
  if (pages == 0 || pages > RUN_BLOCK_PAGES || (uint32_t)pages > run->data_pages - (page - 1) || count == 0 ||
      first_len == 0 || first_len > RUN_KEY_MAX || RUN_BLOCK_HEAD + first_len > table)
    return run_corrupt(run, page, 0, "a block head makes no sense", err);
  block->ptr = ptr;
  block->page = page;
  block->count = (uint32_t)count;
  block->first_len = (uint32_t)first_len;
  block->table = (uint32_t)table;
  block->sequence = toon_load64(ptr + RUN_BLOCK_SEQUENCE);
  block->expires = toon_load64(ptr + RUN_BLOCK_EXPIRES);
  return TOON_OK;
}

/* The entry at `offset` of the block does not decode. */
static inline toon_status run_bad_entry(const index_run *run, const index_run_block *block, uint32_t offset,
                                        toon_error *err) {
  return run_corrupt(run, block->page, offset < block->table ? offset : 0, "an entry makes no sense", err);
}

static inline const uint8_t *run_block_first(const index_run_block *block) { return block->ptr + RUN_BLOCK_HEAD; }

/* A stored key as an entry has it: `shared` bytes of the block's first key, then the suffix. */
typedef struct run_key {
  const uint8_t *suffix;
  uint32_t shared, suffix_len;
} run_key;

/* LEB128. Reads at most 10 bytes, whatever they are: a footer page follows every block, so those bytes are there. */
static inline const uint8_t *run_varint(const uint8_t *p, uint64_t *out) {
  uint64_t v = *p++;
  if (v >= 0x80) {
    v &= 0x7F;
    for (unsigned shift = 7; shift < 70; shift += 7) {
      uint64_t byte = *p++;
      if (shift < 64) v |= (byte & 0x7F) << shift;
      if (byte < 0x80) break;
    }
  }
  *out = v;
  return p;
}

/* Read the key of the entry at `offset` of the block. Returns where its payload begins, NULL if that makes no sense. */
static inline const uint8_t *run_key_at(const index_run_block *block, uint32_t offset, run_key *key) {
  if (offset < RUN_BLOCK_HEAD + block->first_len || offset >= block->table) return NULL;
  uint64_t shared, suffix_len;
  const uint8_t *p = run_varint(block->ptr + offset, &shared);
  p = run_varint(p, &suffix_len);
  size_t at = (size_t)(p - block->ptr);
  if (shared > block->first_len || suffix_len > RUN_KEY_MAX - shared || shared + suffix_len == 0 || at > block->table ||
      suffix_len > block->table - at)
    return NULL;
  key->suffix = p;
  key->shared = (uint32_t)shared;
  key->suffix_len = (uint32_t)suffix_len;
  return p + suffix_len;
}

static inline uint64_t run_zigzag(uint64_t v) { return v << 1 ^ (0 - (v >> 63)); }
static inline uint64_t run_unzigzag(uint64_t v) { return v >> 1 ^ (0 - (v & 1)); }

/* Read the payload at p, which lies in the block. It may run over the block's table at first; what it finds there is
 * refused in the end. */
static inline bool run_entry_at(const index_run_block *block, const uint8_t *p, index_entry *entry) {
  uint64_t sequence, segment, length, field, expires = 0;
  uint8_t tag = p[0];
  entry->flags = p[1];
  entry->position = toon_load32(p + 2);
  entry->crc = toon_load32(p + 6);
  p = run_varint(p + 10, &sequence);
  p = run_varint(p, &segment);
  p = run_varint(p, &length);
  p = run_varint(p, &field);
  if (tag & RUN_ENTRY_EXPIRES) {
    p = run_varint(p, &expires);
    expires = block->expires + run_unzigzag(expires);
  }
  if (tag > (RUN_ENTRY_PUT | RUN_ENTRY_EXPIRES) || segment > UINT32_MAX || length > UINT32_MAX || field > UINT16_MAX ||
      p > block->ptr + block->table)
    return false;
  entry->sequence = block->sequence + run_unzigzag(sequence);
  entry->segment = (uint32_t)segment;
  entry->length = (uint32_t)length;
  entry->expires = (int64_t)expires;
  entry->kind = tag & RUN_ENTRY_PUT ? INDEX_PUT : INDEX_DELETE;
  entry->field = (uint16_t)field;
  return true;
}

#endif
