/* A file system in memory that records what is done to it, for tests. It behaves as the posix vfs does (map included:
 * a mapping sees later writes) and keeps a journal of every change: write, truncate, sync, create, rename, unlink,
 * mkdir, directory sync. os_memfs_crash lays out what a disk may hold after the power went at a given point:
 * data not synced may be kept, lost or torn, at 512-byte granularity and out of order; names not synced by a dirsync
 * may be kept or lost, in order per directory. */
#ifndef TOON_OS_MEMFS_H
#define TOON_OS_MEMFS_H

#include "os/faulty.h"
#include "os/os.h"

typedef struct os_memfs os_memfs;

/* An empty file system with its root directory "/". Paths start there, with or without the first slash; links and ".."
 * do not exist; directories cannot be opened. Every file system has a device number of its own, so a registry by
 * (dev, ino) keeps them apart. It stands for the kernel and its disk, so only file handles come from base/alloc.h:
 * a test that lets allocations fail meets the engine's, not ours. NULL without memory. */
os_memfs *os_memfs_new(void);
/* Free it with all files and open handles; mappings of it become invalid. */
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
 * journal and all its content counts as synced; its clocks go on from those of the old one. NULL without memory.
 *
 * OS_CRASH_RANDOM, the same for the same seed. Files: a block holds what it held at the last sync of its file or after
 * some later write or truncate; a file has some size it had since then, those a long write passes through included;
 * what is inside that size and was lost reads as zeros. How much survives is itself drawn per file: about all, half, or
 * hardly any of the blocks, or everything up to some change, which is torn, and nothing after. Names: per directory,
 * its changes since its last dirsync survive up to some random one; of a rename between two directories each sees its
 * own half. Syncing a file does not keep its name: that takes the dirsync. */
os_memfs *os_memfs_crash(const os_memfs *fs, size_t ops, os_crash_mode mode, uint64_t seed);

/* Fault injection, as os_faulty_wrap does it for any vfs (see os/faulty.h). NULL: none. */
void os_memfs_set_fault(os_memfs *fs, os_fault_fn fault, void *ctx);
/* The clock is manual: starts at wall 1700000000000 ms, monotonic 1 s, and moves only by this call, by so much each. */
void os_memfs_advance_ms(os_memfs *fs, int64_t wall_ms, uint64_t monotonic_ms);
/* Whole content of a file for comparisons (borrowed until the next change), or NULL. */
const uint8_t *os_memfs_content(const os_memfs *fs, const char *path, size_t *len);

#endif
