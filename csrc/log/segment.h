/* Segments: the files of the log. db.toon is segment 0, db.N.toon segment N.
 *
 * A segment begins with 16 bytes that are never rewritten ("TOON001\n", u32 version 2, u32 store id); then text. It is
 * mapped once, with room to grow, so readers never see it move; bytes become readable when `length` is raised. Only one
 * thread at a time (the commit leader, or recovery) writes; any thread reads. Segments are counted by reference. */
#ifndef TOON_LOG_SEGMENT_H
#define TOON_LOG_SEGMENT_H

#include "base/buf.h"
#include "os/os.h"
#include <stdatomic.h>

#define LOG_HEADER_SIZE 16
#define LOG_VERSION 2

typedef struct log_segment {
  os_vfs *vfs;
  os_file *file; /* NULL once sealed segments were closed for writing (read-only stores) */
  char *path;
  uint32_t id;
  const uint8_t *map;
  size_t map_len;
  _Atomic uint64_t length; /* readable bytes: up to the end of the last applied group */
  uint64_t padded;         /* bytes of the file; beyond `length` only newlines */
  uint32_t last_crc;       /* CRC of the last frame */
  /* Bytes of rows here that newer ones made dead: known to the manifest, and by the frozen and the active delta. */
  _Atomic uint64_t dead, dead_frozen, dead_active;
  _Atomic uint64_t overhead; /* bytes that are no rows: header and frames */
  _Atomic uint64_t deletes;  /* bytes of delete lines */
  _Atomic uint32_t refs;
  _Atomic bool unlink_when_free;
  _Atomic bool damaged;  /* compaction has met a damaged row or group and leaves the segment alone */
  uint64_t compacted_to; /* compactions that were ended early have moved what stands before. Background thread */
} log_segment;

/* DIRECTORY/db.toon or DIRECTORY/db.N.toon, appended with a NUL that is not counted in out->len. */
toon_status log_segment_path(const char *directory, uint32_t id, toon_buf *out);
/* Is this file name a segment's? */
bool log_segment_name(const char *name, uint32_t *id);

/* Create the file with its header (an old file of that name, left by a crash, is replaced), map room for map_len bytes.
 * Nothing is synced. One reference. */
toon_status log_segment_create(os_vfs *vfs, const char *directory, uint32_t id, uint32_t store_id, size_t map_len,
                               log_segment **out, toon_error *err);

typedef struct log_header {
  uint64_t file_size;
  uint32_t version, store_id;
  uint32_t nlink;
  bool complete; /* false: the file ends within the header, and what is there fits one (a creation cut short) */
} log_header;

/* Read the header of an existing segment. TOON_EFORMAT for a newer or older layout or a file that is none of ours. */
toon_status log_segment_inspect(os_vfs *vfs, const char *directory, uint32_t id, log_header *header, toon_error *err);

/* Open an existing segment whose header is sound, map max(file size, map_len) bytes (read-only: the first `map_len` bytes
 * exactly). `length` is set to the file's size (map_len): the caller lowers it to what it has verified. */
toon_status log_segment_open(os_vfs *vfs, const char *directory, uint32_t id, size_t map_len, bool read_only,
                             log_segment **out, toon_error *err);

void log_segment_ref(log_segment *segment);
/* Drop a reference; the last one unmaps, closes and, if so marked, unlinks. */
void log_segment_unref(log_segment *segment);

/* Write a group behind `length` without publishing it. With pad > 0 the file is first extended with newlines in steps of
 * `pad` bytes (at most to map_len): a file that does not grow syncs faster. On failure the file is cut back to `length`;
 * *poisoned tells whether even that failed, so that the file's end is unknown. */
toon_status log_segment_write(log_segment *segment, toon_slice group, size_t pad, bool *poisoned, toon_error *err);
/* Make the bytes up to `length` readable. */
static inline void log_segment_publish(log_segment *segment, uint64_t length) {
  atomic_store_explicit(&segment->length, length, memory_order_release);
}
/* Map room for map_len bytes instead, in a segment that holds no group yet. */
toon_status log_segment_remap(log_segment *segment, size_t map_len, toon_error *err);
toon_status log_segment_sync(log_segment *segment, toon_error *err);
/* Cut the file to `length`, which must be the published length or less than was ever published. */
toon_status log_segment_trim(log_segment *segment, uint64_t length, toon_error *err);

#endif
