/* The public header in few words, for tests: one store at "/d" of a file system in memory, one commit a call, one error. */
#ifndef TOON_TEST_API_H
#define TOON_TEST_API_H

#include "os/memfs.h"
#include "stats.h"
#include "toonstore.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What went wrong in the last of these calls. Threads beside the main one keep an error of their own. */
static toon_error err;

static inline toon_slice S(const char *text) { return toon_slice_of(text, strlen(text)); }
static inline toon_key K(const char *text) { return toon_user_key(text, strlen(text)); }
/* A linear congruential generator: the same sequence everywhere. */
static inline uint64_t lcg(uint64_t *state) {
  *state = *state * 6364136223846793005ull + 1442695040888963407ull;
  return *state >> 33;
}
/* A number from the environment. */
static inline uint64_t setting(const char *name, uint64_t otherwise) {
  const char *e = getenv(name);
  return e ? strtoull(e, NULL, 10) : otherwise;
}

/* vfs NULL: the operating system. */
static inline toon_status open_at(os_vfs *vfs, const char *path, toon_options o, toon_db **db) {
  o.vfs = vfs;
  memset(&err, 0, sizeof err);
  return toon_open(path, &o, db, &err);
}
static inline toon_status open_on(os_memfs *fs, toon_options o, toon_db **db) {
  return open_at(os_memfs_vfs(fs), "/d", o, db);
}
/* Segments and checkpoint intervals so small that a few commits meet every path. */
static inline toon_options tiny(toon_durability durability) {
  toon_options o = toon_options_default();
  o.durability = durability;
  o.segment_size = o.checkpoint_bytes = 4096;
  return o;
}
/* The file system as the death of the process leaves it now. */
static inline os_memfs *killed(os_memfs *fs) { return os_memfs_crash(fs, os_memfs_ops(fs), OS_CRASH_KEEP_ALL, 0); }
static inline void unlink_manifest(os_memfs *fs) { os_memfs_vfs(fs)->unlink(os_memfs_vfs(fs), "/d/metadata.toon"); }

/* Commit a batch of one member and free it; its value in *value (may be NULL). */
static inline toon_status commit_one(toon_db *db, toon_batch *batch, uint64_t *value) {
  uint64_t ignored;
  toon_status status = toon_commit(db, batch, &err);
  if (status == TOON_OK) status = toon_batch_result(batch, 0, value ? value : &ignored, &err);
  toon_batch_free(batch);
  return status;
}
static inline toon_status put_with(toon_db *db, toon_key key, toon_input input, toon_slice value,
                                   const toon_put_options *options) {
  toon_batch *batch;
  TOON_TRY(toon_batch_new(db, &batch, &err));
  toon_status status = toon_batch_put(batch, key, input, value, options, &err);
  if (status == TOON_OK) return commit_one(db, batch, NULL);
  toon_batch_free(batch);
  return status;
}
static inline toon_status put_as(toon_db *db, const char *key, toon_input input, const char *value) {
  return put_with(db, K(key), input, S(value), NULL);
}
static inline toon_status put(toon_db *db, const char *key, const char *value) {
  return put_as(db, key, TOON_INPUT_STRING, value);
}
/* existed may be NULL. */
static inline toon_status del(toon_db *db, const char *key, uint64_t *existed) {
  toon_batch *batch;
  TOON_TRY(toon_batch_new(db, &batch, &err));
  toon_status status = toon_batch_delete(batch, K(key), &err);
  if (status == TOON_OK) return commit_one(db, batch, existed);
  toon_batch_free(batch);
  return status;
}

#endif
