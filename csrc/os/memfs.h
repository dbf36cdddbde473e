/* A file system in memory that records what is done to it, for tests. It behaves as the posix vfs does (map included:
 * a mapping sees later writes) and keeps a journal of every change: write, truncate, sync, create, rename, unlink,
 * mkdir, directory sync. os_memfs_crash lays out what a disk may hold after the power went at a given point:
 * data not synced may be kept, lost or torn, at 512-byte granularity and out of order; names not synced by a dirsync
 * may be kept or lost, in order per directory. */
#ifndef TOON_OS_MEMFS_H
#define TOON_OS_MEMFS_H

#include "os/os.h"

typedef struct os_memfs os_memfs;

/* An empty file system with its root directory "/". NULL without memory. */
os_memfs *os_memfs_new(void);
/* Free it with all files; mappings of it become invalid. */
void os_memfs_free(os_memfs *fs);
os_vfs *os_memfs_vfs(os_memfs *fs);

/* Number of journal entries so far. */
size_t os_memfs_ops(const os_memfs *fs);
/* Kind of entry i, as text ("write", "datasync", ...), and its path. For messages. */
const char *os_memfs_op(const os_memfs *fs, size_t i, const char **path);
/* A mark in the journal: returns os_memfs_ops, for "acknowledged at this point". */

typedef enum os_crash_mode {
  OS_CRASH_LOSE_ALL, /* nothing that was not synced survives */
  OS_CRASH_KEEP_ALL, /* everything done before the point survives */
  OS_CRASH_RANDOM    /* each unsynced 512-byte block, size change and name change by the toss of a coin */
} os_crash_mode;

/* A new file system as after a power cut once the first `ops` journal entries had been done. The new one has an empty
 * journal and all its content counts as synced. NULL without memory. */
os_memfs *os_memfs_crash(const os_memfs *fs, size_t ops, os_crash_mode mode, uint64_t seed);

/* Fault injection: asked before each vfs call with its name ("pwrite", "datasync", ...) and path; a non-zero errno
 * makes the call fail with it and do nothing. NULL: none. Works on any vfs through os_faulty_wrap too. */
typedef int (*os_fault_fn)(void *ctx, const char *call, const char *path);
void os_memfs_set_fault(os_memfs *fs, os_fault_fn fault, void *ctx);
/* The clock is manual: starts at wall 1700000000000 ms and moves only by this call. */
void os_memfs_advance_ms(os_memfs *fs, int64_t wall_ms, uint64_t monotonic_ms);
/* Whole content of a file for comparisons (borrowed until the next change), or NULL. */
const uint8_t *os_memfs_content(const os_memfs *fs, const char *path, size_t *len);

#endif
