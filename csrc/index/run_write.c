/* Writing runs: one pass over the source. Blocks go to the file as they fill. Kept until the end are 16 bytes an entry for
 * the hash pages, parted by the top bits of the hash: up to 8 MiB in memory, the rest in a file without a name; and the
 * fences: 24 bytes and a separator a block, with hostile keys at most half of the key bytes. */
#include "index/run_format.h"

#include "base/alloc.h"

#include <errno.h>

#ifndef RUN_SPILL_RECORDS /* tests spill sooner */
#define RUN_SPILL_RECORDS (1u << 19)
#endif

enum {
  OUT_PAGES = 128,                                 /* the write buffer */
  BLOCK_ENTRIES = RUN_BLOCK_PAGES * RUN_PAGE / 18, /* the smallest entry takes 16 bytes and 2 in the table */
  CANCEL_EVERY = 4096,
  SYNC_BYTES = 64 << 20, /* of output: not all at the end, which would take seconds */
  PARTS = 256,
  CHUNK_RECORDS = 255
};

/* What the hash pages need to know of an entry. */
typedef struct hash_record {
  uint64_t hash, place; /* place: a slot without its fingerprint */
} hash_record;

typedef struct hash_chunk {
  struct hash_chunk *next;
  uint64_t used;
  hash_record records[CHUNK_RECORDS];
} hash_chunk;

/* Records of a part in the spill file. */
typedef struct spilled {
  uint64_t offset;
  size_t len;
} spilled;

typedef struct writer {
  os_vfs *vfs;
  os_file *file;
  const char *path;
  toon_error *err;
  bool (*cancel)(void *ctx);
  void *cancel_ctx;
  index_run_info info;
  uint32_t seed;

  uint8_t *out; /* OUT_PAGES pages: what is not yet in the file */
  size_t out_len;
  uint64_t out_offset; /* of out in the file */
  uint64_t synced;     /* bytes of it */

  /* The block being filled, in place in `out`; block NULL: none. */
  uint8_t *block;
  uint32_t block_size, used, count, first_len, shared; /* shared: of the last entry with the first */
  int64_t block_min_expires;
  uint16_t offsets[BLOCK_ENTRIES];
  uint8_t last[RUN_KEY_MAX]; /* the last key, as stored */
  uint32_t last_len;         /* 0: none yet */

  uint32_t blocks, hash_page, hash_pages, hash_homes, fence_page, fence_pages, fence_prefix;
  uint64_t fence_bytes;
  toon_buf fences, fence_keys;
  hash_chunk *parts[PARTS];
  size_t part_len[PARTS]; /* records, with those spilled */
  size_t held;            /* records in memory */
  os_file *spill;
  uint64_t spill_len;
  toon_buf spilled[PARTS]; /* of that type */

  /* The hash page being filled, in place in `out`, and what did not fit into the ones before. */
  uint8_t *hash_at;
  uint32_t hash_used;
  toon_buf carry;
} writer;

static void store16(uint8_t *ptr, uint32_t v) { memcpy(ptr, &(uint16_t){(uint16_t)v}, 2); }
static void store32(uint8_t *ptr, uint32_t v) { memcpy(ptr, &v, 4); }
static void store64(uint8_t *ptr, uint64_t v) { memcpy(ptr, &v, 8); }

static uint8_t *put_varint(uint8_t *p, uint64_t v) {
  for (; v >= 0x80; v >>= 7) *p++ = (uint8_t)(v | 0x80);
  *p++ = (uint8_t)v;
  return p;
}

static toon_status no_memory(writer *w) { return toon_fail(w->err, TOON_ENOMEM, NULL); }

static toon_status ask_cancel(writer *w) {
  if (w->cancel && w->cancel(w->cancel_ctx)) return toon_fail(w->err, TOON_ETIMEOUT, "the index run was given up");
  return TOON_OK;
}

/* ---- output ---- */

static toon_status sync_out(writer *w) {
  int code = w->vfs->datasync(w->vfs, w->file);
  w->synced = w->out_offset;
  return code ? toon_fail_os(w->err, code, "datasync", w->path) : TOON_OK;
}

static toon_status flush(writer *w) {
  if (w->out_len == 0) return TOON_OK;
  int code = w->vfs->pwrite(w->vfs, w->file, w->out, w->out_len, w->out_offset);
  if (code) return toon_fail_os(w->err, code, "pwrite", w->path);
  w->out_offset += w->out_len;
  w->out_len = 0;
  return w->out_offset - w->synced < SYNC_BYTES ? TOON_OK : sync_out(w);
}

/* The page that comes next in the file; out_len is at the end of a unit. */
static uint32_t next_page(const writer *w) { return (uint32_t)((w->out_offset + w->out_len) / RUN_PAGE); }

/* Zeroed room for a unit, in place. It counts as written when seal is called. */
static toon_status begin_unit(writer *w, uint32_t pages, uint8_t **out) {
  size_t len = (size_t)pages * RUN_PAGE;
  if (w->out_len + len > (size_t)OUT_PAGES * RUN_PAGE) TOON_TRY(flush(w));
  if ((w->out_offset + w->out_len) / RUN_PAGE > UINT32_MAX - 2 * RUN_BLOCK_PAGES)
    return toon_fail_at(w->err, TOON_EINVAL, w->path, -1, "an index run cannot have more than 16 TiB");
  *out = w->out + w->out_len;
  memset(*out, 0, len);
  return TOON_OK;
}

static void seal(writer *w, uint8_t *unit, uint32_t pages) {
  size_t len = (size_t)pages * RUN_PAGE - RUN_CRC;
  store32(unit + len, toon_crc32c(run_unit_seed(w->seed, next_page(w)), unit, len));
  w->out_len += len + RUN_CRC;
}

/* Part of a unit that is too large for the buffer; the caller adds up the checksum. */
static toon_status put(writer *w, const void *ptr, size_t len, uint32_t *crc) {
  const uint8_t *from = ptr;
  *crc = toon_crc32c(*crc, from, len);
  while (len) {
    size_t room = (size_t)OUT_PAGES * RUN_PAGE - w->out_len, n = len < room ? len : room;
    memcpy(w->out + w->out_len, from, n);
    w->out_len += n;
    from += n;
    len -= n;
    if (n == room) TOON_TRY(flush(w));
  }
  return TOON_OK;
}

/* ---- data blocks ---- */

static toon_status end_block(writer *w) {
  if (!w->block) return TOON_OK;
  store16(w->block + RUN_BLOCK_COUNT, w->count);
  memcpy(w->block + w->block_size - RUN_CRC - 2 * w->count, w->offsets, 2 * (size_t)w->count);
  uint8_t *fence = w->fences.ptr + w->fences.len - RUN_FENCE_RECORD;
  store64(fence + RUN_FENCE_EXPIRES, (uint64_t)w->block_min_expires);
  seal(w, w->block, w->block_size / RUN_PAGE);
  w->block = NULL;
  return TOON_OK;
}

/* Note a fence: the place of its key in fence_keys is made a place in the section when all is known. */
static toon_status add_fence(writer *w, uint32_t page, const uint8_t *key, uint32_t len) {
  uint8_t record[RUN_FENCE_RECORD] = {0};
  store64(record + RUN_FENCE_KEY, w->fence_keys.len);
  store32(record + RUN_FENCE_PAGE_NO, page);
  store16(record + RUN_FENCE_KEY_LEN, len);
  if (toon_buf_append(&w->fences, record, sizeof record) != TOON_OK ||
      toon_buf_append(&w->fence_keys, key, len) != TOON_OK)
    return no_memory(w);
  return TOON_OK;
}

/* Begin a block whose first key is w->last, the first `common` bytes of which it shares with the key before. */
static toon_status begin_block(writer *w, const index_entry *entry, uint32_t common) {
  uint32_t least = RUN_BLOCK_HEAD + w->last_len + RUN_ENTRY_MAX + 2 + RUN_CRC;
  uint32_t pages = least <= RUN_PAGE ? 1 : 2;
  _Static_assert(RUN_BLOCK_HEAD + RUN_KEY_MAX + RUN_ENTRY_MAX + 2 + RUN_CRC <= RUN_BLOCK_PAGES * RUN_PAGE,
                 "every key fits into a block");
  TOON_TRY(begin_unit(w, pages, &w->block));
  TOON_TRY(add_fence(w, next_page(w), w->last, w->blocks ? common + 1 : w->last_len));
  w->blocks++;
  w->block_size = pages * RUN_PAGE;
  w->count = 0;
  w->block_min_expires = 0;
  w->first_len = w->shared = w->last_len;
  w->used = RUN_BLOCK_HEAD + w->last_len;
  store16(w->block + RUN_BLOCK_SIZE, pages);
  store16(w->block + RUN_BLOCK_FIRST_LEN, w->first_len);
  store64(w->block + RUN_BLOCK_SEQUENCE, entry->sequence);
  memcpy(w->block + RUN_BLOCK_HEAD, w->last, w->last_len);
  return TOON_OK;
}

/* Add w->last to the current block, if there is one with room for it. */
static bool fits_block(writer *w, const index_entry *entry, uint32_t common) {
  if (!w->block) return false;
  /* Keys ascend: what the new key shares with the first is the least of what neighbours share. */
  uint32_t shared = common < w->shared ? common : w->shared, suffix_len = w->last_len - shared;
  uint8_t front[8], payload[RUN_ENTRY_MAX], *f = front, *p = payload;
  f = put_varint(f, shared);
  f = put_varint(f, suffix_len);
  *p++ = (uint8_t)((entry->kind == INDEX_PUT ? RUN_ENTRY_PUT : 0) | (entry->expires ? RUN_ENTRY_EXPIRES : 0));
  *p++ = entry->flags;
  store32(p, entry->position);
  store32(p + 4, entry->crc);
  p = put_varint(p + 8, run_zigzag(entry->sequence - toon_load64(w->block + RUN_BLOCK_SEQUENCE)));
  p = put_varint(p, entry->segment);
  p = put_varint(p, entry->length);
  p = put_varint(p, entry->field);
  if (entry->expires) {
    if (w->block_min_expires == 0) store64(w->block + RUN_BLOCK_EXPIRES, (uint64_t)entry->expires);
    p = put_varint(p, run_zigzag((uint64_t)entry->expires - toon_load64(w->block + RUN_BLOCK_EXPIRES)));
  }
  size_t front_len = (size_t)(f - front), payload_len = (size_t)(p - payload);
  if (w->used + front_len + suffix_len + payload_len + 2 * (w->count + 1) + RUN_CRC > w->block_size) return false;

  w->offsets[w->count++] = (uint16_t)w->used;
  uint8_t *to = w->block + w->used;
  memcpy(to, front, front_len);
  memcpy(to + front_len, w->last + shared, suffix_len);
  memcpy(to + front_len + suffix_len, payload, payload_len);
  w->used += (uint32_t)(front_len + suffix_len + payload_len);
  w->shared = shared;
  if (entry->expires && (!w->block_min_expires || entry->expires < w->block_min_expires))
    w->block_min_expires = entry->expires;
  return true;
}

/* Make `key` the last key. *common is what it shares, as stored, with the one before, which must be smaller. */
static toon_status take_key(writer *w, toon_key key, uint32_t *common) {
  if (key.len > TOON_KEY_MAX || key.space >= TOON_SPACES)
    return toon_fail(w->err, TOON_EINVAL, "an index run was given a key it cannot hold");
  uint32_t same = 0;
  bool ascends = w->last_len == 0 || key.space > w->last[0];
  if (w->last_len && key.space == w->last[0]) {
    uint32_t n = key.len < w->last_len - 1 ? key.len : w->last_len - 1, i = 0;
    const uint8_t *last = w->last + 1;
    while (i + 8 <= n) {
      uint64_t differ = toon_load64(key.ptr + i) ^ toon_load64(last + i);
      if (differ) {
        n = i + (uint32_t)__builtin_ctzll(differ) / 8;
        break;
      }
      i += 8;
    }
    while (i < n && key.ptr[i] == last[i]) i++;
    same = i + 1;
    ascends = same == w->last_len ? key.len >= same : i < key.len && key.ptr[i] > last[i];
  }
  if (!ascends) return toon_fail(w->err, TOON_EINVAL, "an index run was given keys out of order");
  w->last[0] = key.space;
  uint32_t from = same ? same - 1 : 0;
  if (key.len > from) memcpy(w->last + 1 + from, key.ptr + from, key.len - from);
  w->last_len = key.len + 1;
  *common = same;
  return TOON_OK;
}

static void count_entry(index_run_info *info, const index_entry *entry) {
  if (!info->entries || entry->sequence < info->min_sequence) info->min_sequence = entry->sequence;
  if (!info->entries || entry->sequence > info->max_sequence) info->max_sequence = entry->sequence;
  if (entry->expires && (!info->min_expires || entry->expires < info->min_expires)) info->min_expires = entry->expires;
  info->entries++;
  if (entry->kind == INDEX_PUT)
    info->puts++;
  else
    info->deletes++;
}

/* A file beside the run that loses its name at once; recovery removes one that a crash has left between the two. */
static toon_status open_spill(writer *w) {
  const char *slash = strrchr(w->path, '/');
  toon_buf path = {0};
  if (toon_buf_printf(&path, "%.*s" RUN_SPILL_NAME, slash ? (int)(slash + 1 - w->path) : 0, w->path) != TOON_OK)
    return no_memory(w);
  int code = w->vfs->open(w->vfs, (char *)path.ptr, OS_WRITE | OS_CREATE | OS_TRUNCATE, &w->spill);
  toon_status status = code ? toon_fail_os(w->err, code, "open", (char *)path.ptr) : TOON_OK;
  if (status == TOON_OK && (code = w->vfs->unlink(w->vfs, (char *)path.ptr)))
    status = toon_fail_os(w->err, code, "unlink", (char *)path.ptr);
  toon_buf_free(&path);
  return status;
}

/* Append the records of a part that are in memory, and forget them there. */
static toon_status take_part(writer *w, unsigned part, toon_buf *out) {
  for (hash_chunk *chunk; (chunk = w->parts[part]);) {
    if (toon_buf_append(out, chunk->records, (size_t)chunk->used * sizeof *chunk->records) != TOON_OK)
      return no_memory(w);
    w->held -= (size_t)chunk->used;
    w->parts[part] = chunk->next;
    toon_free(chunk);
  }
  return TOON_OK;
}

static toon_status spill_part(writer *w, unsigned part, toon_buf *scratch) {
  scratch->len = 0;
  TOON_TRY(take_part(w, part, scratch));
  if (!scratch->len) return TOON_OK;
  spilled place = {w->spill_len, scratch->len};
  int code = w->vfs->pwrite(w->vfs, w->spill, scratch->ptr, scratch->len, w->spill_len);
  if (code) return toon_fail_os(w->err, code, "pwrite", w->path);
  w->spill_len += scratch->len;
  return toon_buf_append(&w->spilled[part], &place, sizeof place) == TOON_OK ? TOON_OK : no_memory(w);
}

static toon_status spill_all(writer *w) {
  toon_buf scratch = {0};
  toon_status status = w->spill ? TOON_OK : open_spill(w);
  for (unsigned part = 0; part < PARTS && status == TOON_OK; part++) status = spill_part(w, part, &scratch);
  toon_buf_free(&scratch);
  return status;
}

static toon_status add_hash(writer *w, uint64_t hash, uint64_t place) {
  hash_chunk **part = &w->parts[hash >> 56], *chunk = *part;
  if (!chunk || chunk->used == CHUNK_RECORDS) {
    chunk = toon_malloc(sizeof *chunk);
    if (!chunk) return no_memory(w);
    chunk->next = *part;
    chunk->used = 0;
    *part = chunk;
  }
  chunk->records[chunk->used++] = (hash_record){hash, place};
  w->part_len[hash >> 56]++;
  return ++w->held < RUN_SPILL_RECORDS ? TOON_OK : spill_all(w);
}

static toon_status add_entry(writer *w, toon_key key, const index_entry *entry) {
  uint32_t common = 0;
  TOON_TRY(take_key(w, key, &common));
  if (entry->kind > INDEX_PUT) return toon_fail(w->err, TOON_EINVAL, "an index run was given an entry of no kind");
  if (!fits_block(w, entry, common)) {
    TOON_TRY(end_block(w));
    TOON_TRY(begin_block(w, entry, common));
    fits_block(w, entry, w->last_len); /* always: begin_block made room */
  }
  uint64_t place = (uint64_t)next_page(w) << RUN_OFFSET_BITS | w->offsets[w->count - 1];
  TOON_TRY(add_hash(w, index_key_hash(w->info.store_id, key), place));
  count_entry(&w->info, entry);
  return TOON_OK;
}

static toon_status write_data(writer *w, const index_source *source) {
  for (;;) {
    toon_key key;
    index_entry entry;
    bool end = false;
    if (w->info.entries % CANCEL_EVERY == 0) TOON_TRY(ask_cancel(w));
    TOON_TRY(source->next(source->ctx, &key, &entry, &end, w->err));
    if (end) break;
    TOON_TRY(add_entry(w, key, &entry));
  }
  return end_block(w);
}

/* ---- hash pages ---- */

/* Put a record into the current page. False if the page is full. */
static bool fits_page(writer *w, const hash_record *record) {
  if (w->hash_used == RUN_HASH_SLOTS) return false;
  for (uint32_t bucket = run_hash_bucket(record->hash);; bucket = bucket + 1 == RUN_BUCKETS ? 0 : bucket + 1) {
    uint8_t *slots = w->hash_at + (size_t)bucket * RUN_BUCKET_SLOTS * 8;
    for (int i = 0; i < RUN_BUCKET_SLOTS; i++) {
      if (toon_load64(slots + 8 * i) != 0) continue;
      store64(slots + 8 * i, run_hash_print(record->hash) | record->place);
      w->hash_used++;
      return true;
    }
  }
}

static toon_status add_slot(writer *w, const hash_record *record) {
  if (!fits_page(w, record) && toon_buf_append(&w->carry, record, sizeof *record) != TOON_OK) return no_memory(w);
  return TOON_OK;
}

/* Begin the next page with what is left over from the ones before. */
static toon_status begin_hash_page(writer *w) {
  TOON_TRY(begin_unit(w, 1, &w->hash_at));
  w->hash_used = 0;
  w->hash_pages++;
  size_t kept = 0;
  for (size_t at = 0; at < w->carry.len; at += sizeof(hash_record)) {
    hash_record record;
    memcpy(&record, w->carry.ptr + at, sizeof record);
    if (fits_page(w, &record)) continue;
    memcpy(w->carry.ptr + kept, &record, sizeof record);
    kept += sizeof record;
  }
  w->carry.len = kept;
  return TOON_OK;
}

static void end_hash_page(writer *w) { seal(w, w->hash_at, 1); }

/* All records of a part. */
static toon_status load_part(writer *w, unsigned part, toon_buf *out) {
  out->len = 0;
  if (toon_buf_reserve(out, w->part_len[part] * sizeof(hash_record)) != TOON_OK) return no_memory(w);
  for (size_t at = 0; at < w->spilled[part].len; at += sizeof(spilled)) {
    spilled place;
    size_t got;
    memcpy(&place, w->spilled[part].ptr + at, sizeof place);
    int code = w->vfs->pread(w->vfs, w->spill, out->ptr + out->len, place.len, place.offset, &got);
    if (code || got != place.len) return toon_fail_os(w->err, code ? code : EIO, "pread", w->path);
    out->len += got;
  }
  return take_part(w, part, out);
}

typedef struct part_memory {
  toon_buf records, sorted, starts;
} part_memory;

/* Add the records of one part, by home page. Parts come in the order of their pages, neighbours may share one. */
static toon_status write_part(writer *w, unsigned part, part_memory *m) {
  uint64_t least = (uint64_t)part << 56;
  uint32_t first = run_hash_home(least, w->hash_homes);
  size_t pages = run_hash_home(least | UINT64_MAX >> 8, w->hash_homes) - first + 1, len = w->part_len[part], sum = 0;
  TOON_TRY(load_part(w, part, &m->records));
  m->sorted.len = m->starts.len = 0;
  if (toon_buf_reserve(&m->sorted, len * sizeof(hash_record)) != TOON_OK ||
      toon_buf_reserve(&m->starts, pages * sizeof(size_t)) != TOON_OK)
    return no_memory(w);
  const hash_record *records = (const hash_record *)(const void *)m->records.ptr;
  hash_record *sorted = (hash_record *)(void *)m->sorted.ptr;
  size_t *start = (size_t *)(void *)m->starts.ptr;
  memset(start, 0, pages * sizeof *start);
  for (size_t i = 0; i < len; i++) start[run_hash_home(records[i].hash, w->hash_homes) - first]++;
  for (size_t i = 0; i < pages; i++) {
    size_t n = start[i];
    start[i] = sum;
    sum += n;
  }
  for (size_t i = 0; i < len; i++) sorted[start[run_hash_home(records[i].hash, w->hash_homes) - first]++] = records[i];
  for (size_t i = 0; i < len; i++) {
    while (w->hash_pages - 1 < run_hash_home(sorted[i].hash, w->hash_homes)) {
      end_hash_page(w);
      TOON_TRY(begin_hash_page(w));
    }
    TOON_TRY(add_slot(w, &sorted[i]));
  }
  return TOON_OK;
}

static toon_status write_hash(writer *w) {
  w->hash_page = next_page(w);
  if (!w->info.entries) return TOON_OK;
  uint64_t homes = (w->info.entries + RUN_HASH_LOAD - 1) / RUN_HASH_LOAD;
  if (homes > UINT32_MAX / 2) return toon_fail(w->err, TOON_EINVAL, "an index run cannot have so many entries");
  w->hash_homes = (uint32_t)homes;
  TOON_TRY(begin_hash_page(w));
  part_memory memory = {0};
  toon_status status = TOON_OK;
  for (unsigned part = 0; part < PARTS; part++) {
    TOON_GOTO(ask_cancel(w));
    if (w->part_len[part]) TOON_GOTO(write_part(w, part, &memory));
  }
  end_hash_page(w);
  while (w->hash_pages < w->hash_homes || w->carry.len) {
    TOON_GOTO(begin_hash_page(w));
    end_hash_page(w);
  }
out:
  toon_buf_free(&memory.records);
  toon_buf_free(&memory.sorted);
  toon_buf_free(&memory.starts);
  return status;
}

/* ---- fences, header, footer ---- */

static const uint8_t *fence_key(const writer *w, uint32_t i, size_t *len) {
  const uint8_t *record = w->fences.ptr + (size_t)i * RUN_FENCE_RECORD;
  *len = run_load16(record + RUN_FENCE_KEY_LEN);
  return w->fence_keys.ptr + toon_load64(record + RUN_FENCE_KEY);
}

static toon_status write_fences(writer *w) {
  w->fence_page = next_page(w);
  if (!w->info.entries) return TOON_OK;
  TOON_TRY(add_fence(w, w->hash_page, w->last, w->last_len));

  /* What the first and the last separator share, all share. */
  size_t first_len, last_len, prefix = 0;
  const uint8_t *first = fence_key(w, 0, &first_len), *last = fence_key(w, w->blocks - 1, &last_len);
  while (prefix < first_len && prefix < last_len && first[prefix] == last[prefix]) prefix++;
  w->fence_prefix = (uint32_t)prefix;

  uint64_t records = (uint64_t)w->blocks * RUN_FENCE_HEAD + w->fences.len;
  w->fence_bytes = records + w->fence_keys.len;
  uint64_t pages = (w->fence_bytes + RUN_CRC + RUN_PAGE - 1) / RUN_PAGE;
  if (w->fence_page + pages >= UINT32_MAX)
    return toon_fail_at(w->err, TOON_EINVAL, w->path, -1, "an index run cannot have more than 16 TiB");
  w->fence_pages = (uint32_t)pages;
  uint32_t crc = run_unit_seed(w->seed, w->fence_page);
  for (uint32_t i = 0; i < w->blocks; i++) {
    size_t len;
    const uint8_t *key = fence_key(w, i, &len);
    TOON_TRY(put(w, &(uint64_t){run_fence_head(key + prefix, len - prefix)}, RUN_FENCE_HEAD, &crc));
  }
  for (uint32_t i = 0; i <= w->blocks; i++) {
    uint8_t *record = w->fences.ptr + (size_t)i * RUN_FENCE_RECORD;
    store64(record + RUN_FENCE_KEY, toon_load64(record + RUN_FENCE_KEY) + records);
  }
  TOON_TRY(put(w, w->fences.ptr, w->fences.len, &crc));
  TOON_TRY(put(w, w->fence_keys.ptr, w->fence_keys.len, &crc));
  static const uint8_t zeros[RUN_PAGE];
  TOON_TRY(put(w, zeros, (size_t)(pages * RUN_PAGE - RUN_CRC - w->fence_bytes), &crc));
  return put(w, &(uint32_t){crc}, RUN_CRC, &crc);
}

static void begin_end_page(const writer *w, uint8_t *page, const char *magic) {
  memcpy(page + RUN_AT_MAGIC, magic, 8);
  store32(page + RUN_AT_VERSION, RUN_VERSION);
  store32(page + RUN_AT_STORE, w->info.store_id);
  store64(page + RUN_AT_NUMBER, w->info.number);
}

static toon_status write_header(writer *w) {
  uint8_t *page;
  TOON_TRY(begin_unit(w, 1, &page));
  begin_end_page(w, page, RUN_HEADER_MAGIC);
  store32(page + RUN_AT_PAGE_SIZE, RUN_PAGE);
  seal(w, page, 1);
  return TOON_OK;
}

static toon_status write_footer(writer *w) {
  uint8_t *page;
  TOON_TRY(begin_unit(w, 1, &page));
  begin_end_page(w, page, RUN_FOOTER_MAGIC);
  store64(page + RUN_AT_ENTRIES, w->info.entries);
  store64(page + RUN_AT_PUTS, w->info.puts);
  store64(page + RUN_AT_DELETES, w->info.deletes);
  store64(page + RUN_AT_MAX_SEQUENCE, w->info.max_sequence);
  store64(page + RUN_AT_MIN_SEQUENCE, w->info.min_sequence);
  store64(page + RUN_AT_MIN_EXPIRES, (uint64_t)w->info.min_expires);
  for (int i = 0; i < TOON_SPACES; i++) store64(page + RUN_AT_NET_KEYS + 8 * i, (uint64_t)w->info.net_keys[i]);
  store32(page + RUN_AT_PAGES, next_page(w) + 1);
  store32(page + RUN_AT_BLOCKS, w->blocks);
  store32(page + RUN_AT_HASH_PAGE, w->hash_page);
  store32(page + RUN_AT_HASH_PAGES, w->hash_pages);
  store32(page + RUN_AT_HASH_HOMES, w->hash_homes);
  store32(page + RUN_AT_FENCE_PAGE, w->fence_page);
  store32(page + RUN_AT_FENCE_PAGES, w->fence_pages);
  store32(page + RUN_AT_FENCE_PREFIX, w->fence_prefix);
  store64(page + RUN_AT_FENCE_BYTES, w->fence_bytes);
  seal(w, page, 1);
  TOON_TRY(flush(w));
  w->info.file_size = w->out_offset;
  return TOON_OK;
}

/* ---- the whole ---- */

static toon_status write_all(writer *w, const index_source *source, const index_run_info *info) {
  TOON_TRY(write_header(w));
  TOON_TRY(write_data(w, source));
  TOON_TRY(write_hash(w));
  TOON_TRY(write_fences(w));
  memcpy(w->info.net_keys, info->net_keys, sizeof w->info.net_keys);
  TOON_TRY(write_footer(w));
  return sync_out(w);
}

static void free_writer(writer *w) {
  for (int i = 0; i < PARTS; i++) {
    while (w->parts[i]) {
      hash_chunk *chunk = w->parts[i];
      w->parts[i] = chunk->next;
      toon_free(chunk);
    }
    toon_buf_free(&w->spilled[i]);
  }
  if (w->spill) w->vfs->close(w->vfs, w->spill);
  toon_buf_free(&w->fences);
  toon_buf_free(&w->fence_keys);
  toon_buf_free(&w->carry);
  toon_free(w->out);
  toon_free(w);
}

static toon_status create_file(writer *w) {
  int code = w->vfs->unlink(w->vfs, w->path);
  if (code && code != ENOENT) return toon_fail_os(w->err, code, "unlink", w->path);
  code = w->vfs->open(w->vfs, w->path, OS_WRITE | OS_CREATE | OS_EXCLUSIVE, &w->file);
  return code ? toon_fail_os(w->err, code, "open", w->path) : TOON_OK;
}

toon_status index_run_write(os_vfs *vfs, const char *path, const index_source *source, index_run_info *info,
                            bool (*cancel)(void *ctx), void *cancel_ctx, toon_error *err) {
  writer *w = toon_calloc(1, sizeof *w);
  if (!w) return toon_fail(err, TOON_ENOMEM, NULL);
  w->vfs = vfs;
  w->path = path;
  w->err = err;
  w->cancel = cancel;
  w->cancel_ctx = cancel_ctx;
  w->info.number = info->number;
  w->info.store_id = info->store_id;
  w->seed = run_seed(info->store_id, info->number);
  toon_status status = TOON_OK;
  w->out = toon_malloc((size_t)OUT_PAGES * RUN_PAGE);
  if (!w->out) TOON_GOTO(no_memory(w));
  TOON_GOTO(create_file(w));
  status = write_all(w, source, info);
  int code = vfs->close(vfs, w->file);
  if (status == TOON_OK && code) status = toon_fail_os(err, code, "close", path);
  if (status == TOON_OK)
    *info = w->info;
  else
    vfs->unlink(vfs, path);
out:
  free_writer(w);
  return status;
}
