/* Fault injection: a vfs around any other one that asks a function before each call whether it shall fail. */
#ifndef TOON_OS_FAULTY_H
#define TOON_OS_FAULTY_H

#include "os/os.h"

/* Asked before each call that can fail, with its name as in os_vfs ("pwrite", "datasync" ...) and its path
 * (of a file: the one it was opened by; of a rename: the source). 0 lets it through; an errno value makes it
 * fail with that and do nothing, except that close closes all the same. OS_FAULT_SHORT makes a pwrite write
 * the first half of its bytes and fail with ENOSPC, as a disk does that fills up; any other call fails with
 * ENOSPC. Called with no lock held, by whatever thread made the call. */
typedef int (*os_fault_fn)(void *ctx, const char *call, const char *path);
#define OS_FAULT_SHORT (-1)

/* A vfs in front of `inner`, which must outlive it. Files opened through one are closed through the same.
 * NULL without memory. Free it when all its files are closed. */
os_vfs *os_faulty_wrap(os_vfs *inner, os_fault_fn fault, void *ctx);
void os_faulty_free(os_vfs *faulty);

#endif
