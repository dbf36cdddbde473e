/* What the index knows of a key: the place of its newest row in the log.
 *
 * Wherever two entries of one key meet, the greater (sequence, segment, position) is the newer, deletes included. */
#ifndef TOON_INDEX_ENTRY_H
#define TOON_INDEX_ENTRY_H

#include "base/key.h"

/* 40 bytes. */
typedef struct index_entry {
  uint64_t sequence; /* of the group that wrote it (a compaction move keeps the row's) */
  uint32_t segment;
  uint32_t position; /* of the row's text (its "# expires" line, if any, included) in the segment's file */
  uint32_t length;   /* of that text */
  uint32_t crc;      /* CRC32C of that text, seeded with 0 */
  int64_t expires;   /* ms since 1970, 0 = never */
  uint8_t kind;      /* INDEX_PUT or INDEX_DELETE */
  uint8_t flags;     /* toon_kind | TOON_TEXT_*; 0 for a delete */
  uint16_t field;    /* where in that text the field text begins: after the expires line and the key token */
} index_entry;

enum { INDEX_DELETE = 0, INDEX_PUT = 1 };

/* < 0, 0, > 0: is a older, the same, newer than b? */
static inline int index_entry_age(const index_entry *a, const index_entry *b) {
  if (a->sequence != b->sequence) return a->sequence < b->sequence ? -1 : 1;
  if (a->segment != b->segment) return a->segment < b->segment ? -1 : 1;
  return (a->position > b->position) - (a->position < b->position);
}

/* How far a reader sees: versions up to a sequence, in segments up to a number. A compaction moves a row to a later segment
 * but keeps its sequence; a view that lacks that segment sees the row where it was. */
typedef struct index_horizon {
  uint64_t sequence;
  uint32_t segment;
} index_horizon;
#define INDEX_NEWEST ((index_horizon){UINT64_MAX, UINT32_MAX})

/* A source of entries in key order, one per key: what a run is written from and a merge reads. */
typedef struct index_source {
  void *ctx;
  /* The next entry; key bytes are borrowed until the next call. *end is true after the last. */
  toon_status (*next)(void *ctx, toon_key *key, index_entry *entry, bool *end, toon_error *err);
} index_source;

#endif
