/* The state of a recovery, shared by recover.c (what is there, cut, rewrite) and replay.c (the log into the index). */
#ifndef TOON_STORE_RECOVER_H
#define TOON_STORE_RECOVER_H

#include "store/engine.h"

typedef struct found_segment {
  uint32_t id, nlink, last_crc;
  bool listed; /* in the manifest */
  bool own;    /* has been replaced by a copy of our own */
  uint64_t file_size;
  uint64_t must_reach; /* the manifest knows bytes up to here to be on disk */
  uint64_t dead, overhead, deletes;
  log_segment *segment;                   /* one reference; NULL while a read-only store has only read it */
  toon_buf copy;                          /* read-only: its content */
  toon_slice bytes;                       /* its content, mapped or copied */
  uint64_t first_sequence, last_sequence; /* of the groups replayed; 0: none */
  uint64_t replay_from, replay_end;       /* offsets */
} found_segment;

typedef struct recovery {
  store_engine *engine;
  store_manifest manifest;
  manifest_state state;
  found_segment *found; /* in id order */
  size_t found_count;
  uint64_t *run_numbers; /* of all run files in the directory */
  size_t run_number_count;
  bool copies; /* there are db*.toon.copy files */
  bool spill;  /* there is a file that the writing of a run has left */
  /* Of the segments found, those from here on are no part of the log and go: a last one that ends within its header, or, in a
   * repair, one whose header is damaged and all behind it. */
  size_t dropped_from, dropped_count;
  store_run **runs;
  size_t run_count;
  bool rebuild;          /* the index is built from the whole log */
  toon_slice list;       /* the newest list of segments that the log has; ptr NULL: none */
  uint32_t list_segment; /* it stands in this one */
} recovery;

/* TOON_ECORRUPT at a place of a segment, with the way out: a backup, or a repair if this is none. */
toon_status recovery_corrupt(recovery *r, uint32_t segment, uint64_t offset, toon_error *err, const char *what);

/* Replay the log from the recorded position (all of it to rebuild) into the engine's delta. Gives the place where the log
 * ends, and the last sequence known to be synced. TOON_ECORRUPT if what is wrong there cannot be a torn tail, unless the
 * store is opened with repair. Changes nothing on disk but run files that no manifest names. */
toon_status replay_log(recovery *r, size_t *end_index, uint64_t *end_offset, uint64_t *synced, toon_error *err);

#endif
