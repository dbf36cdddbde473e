/* The manifest, metadata.toon: where recovery begins. A small TOON document, replaced atomically, whose last line is a
 * checksum of the lines above. It can always be rebuilt from the log.
 *
 *     format: toonstore
 *     version: 2
 *     storeId: 3735928559
 *     clean: true
 *     replay:
 *       segment: 1
 *       position: 1234
 *       sequence: 42
 *       crc: 2660137324
 *       nextRow: 18
 *     segments[2]{id,bytes,crc,dead,overhead,deletes}:
 *       0,67108864,1234567890,0,1700,0
 *       1,1234,2660137324,12,61,11
 *     runs[1]{number,bytes}:
 *       3,409600
 *     columns[1]{number,crc}:
 *       4,305419896
 *     # crc 9f8e7d6c
 *
 * replay: the end of the last group that the runs cover; crc is that of its frame. segments: all of the log up to there, each
 * with its bytes (all on disk), the CRC of its last frame, bytes of rows known to be dead, bytes that are no rows (header
 * and frames), and bytes of delete lines. columns: the column files there were, each with the CRC of its directory. clean: the log ends there. */
#ifndef TOON_STORE_MANIFEST_H
#define TOON_STORE_MANIFEST_H

#include "base/buf.h"
#include "os/os.h"

#define MANIFEST_VERSION 2

typedef struct manifest_segment {
  uint32_t id, crc;
  uint64_t bytes, dead, overhead, deletes;
} manifest_segment;

typedef struct manifest_run {
  uint64_t number, bytes;
} manifest_run;

typedef struct manifest_columns {
  uint64_t number;
  uint32_t crc;
} manifest_columns;

typedef struct store_manifest {
  uint32_t store_id;
  bool clean;
  uint32_t replay_segment, replay_crc;
  uint64_t replay_position, replay_sequence, next_row;
  manifest_segment *segments; /* in id order */
  size_t segment_count;
  manifest_run *runs; /* newest first */
  size_t run_count;
  manifest_columns *columns;
  size_t column_count;
} store_manifest;

typedef enum manifest_state { MANIFEST_SOUND, MANIFEST_MISSING, MANIFEST_DAMAGED } manifest_state;

/* Read DIRECTORY/metadata.toon. A missing or damaged one is no error: *state tells. TOON_EFORMAT for a newer version.
 * The manifest is zeroed unless sound; release with manifest_free. */
toon_status manifest_read(os_vfs *vfs, const char *directory, store_manifest *manifest, manifest_state *state,
                          toon_error *err);
/* Replace it: temporary file, fsync, fsync of the directory, rename, fsync of the directory. *named: the files it names may
 * be needed by the next open from now on, even if the call failed (behind the rename). */
toon_status manifest_write(os_vfs *vfs, const char *directory, const store_manifest *manifest, bool *named,
                           toon_error *err);
void manifest_free(store_manifest *manifest);

/* Parse and print, for the two above and for tests. */
manifest_state manifest_parse(toon_slice text, store_manifest *manifest, bool *newer);
toon_status manifest_print(const store_manifest *manifest, toon_buf *out);

#endif
