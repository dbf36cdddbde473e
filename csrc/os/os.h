/* The operating system as the engine sees it: a small table of functions (a vfs). posix.c is the real one; memfs.c
 * keeps files in memory and records every operation, so that a test can lay out the disk as a power cut would leave it.
 *
 * Every call returns 0 or an errno value (positive); outputs are written only on success. Calls retry EINTR and short
 * transfers themselves. Paths are NUL-terminated and used as given. Any thread may use any file; pread and pwrite of
 * one file may run at the same time. */
#ifndef TOON_OS_OS_H
#define TOON_OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct os_vfs os_vfs;
typedef struct os_file os_file;

typedef struct os_stat {
  uint64_t size, dev, ino;
  uint32_t nlink;
  bool is_dir;
} os_stat;

enum {
  OS_READ = 0,
  OS_WRITE = 1,     /* read and write */
  OS_CREATE = 2,    /* create if missing, mode 0666 & ~umask */
  OS_EXCLUSIVE = 4, /* with OS_CREATE: EEXIST if there */
  OS_TRUNCATE = 8
};

struct os_vfs {
  void *ctx;
  int (*open)(os_vfs *vfs, const char *path, unsigned flags, os_file **out); /* O_CLOEXEC always */
  int (*close)(os_vfs *vfs, os_file *file);                                  /* file is gone whatever it returns */
  /* Read up to len bytes; *got < len only at the end of the file. */
  int (*pread)(os_vfs *vfs, os_file *file, void *ptr, size_t len, uint64_t offset, size_t *got);
  /* Write all of len. On an error a part may have been written. */
  int (*pwrite)(os_vfs *vfs, os_file *file, const void *ptr, size_t len, uint64_t offset);
  int (*datasync)(os_vfs *vfs, os_file *file); /* fdatasync (F_FULLFSYNC on macOS) */
  int (*sync)(os_vfs *vfs, os_file *file);     /* fsync (F_FULLFSYNC on macOS) */
  int (*truncate)(os_vfs *vfs, os_file *file, uint64_t size);
  int (*fstat)(os_vfs *vfs, os_file *file, os_stat *out);
  /* Map len bytes from offset 0, read-only, shared. len may exceed the file: bytes become readable as the file grows,
   * and must not be touched before. The mapping outlives close and unlink. */
  int (*map)(os_vfs *vfs, os_file *file, size_t len, const uint8_t **out);
  void (*unmap)(os_vfs *vfs, const uint8_t *ptr, size_t len);
  /* Take an exclusive lock that belongs to this open file (OFD lock; flock where there is none). The file must be open
   * with OS_WRITE. EWOULDBLOCK if somebody else has it. Released by close. */
  int (*lock)(os_vfs *vfs, os_file *file);

  int (*stat)(os_vfs *vfs, const char *path, os_stat *out);
  int (*mkdir)(os_vfs *vfs, const char *path); /* one level, mode 0777 & ~umask; EEXIST if there */
  int (*unlink)(os_vfs *vfs, const char *path);
  int (*rename)(os_vfs *vfs, const char *from, const char *to);
  int (*dirsync)(os_vfs *vfs, const char *path); /* fsync of a directory */
  /* Call visit for every name in the directory but . and .. until it returns non-zero, which is then returned. */
  int (*list)(os_vfs *vfs, const char *path, int (*visit)(void *ctx, const char *name), void *ctx);

  uint64_t (*monotonic_ns)(os_vfs *vfs); /* never runs back, counts suspend (CLOCK_BOOTTIME) */
  int64_t (*wall_ms)(os_vfs *vfs);       /* ms since 1970, may jump */
};

/* The real one; a static object, always the same. */
os_vfs *os_posix(void);

/* The path made absolute by the current directory; links are not followed. *out is freed with toon_free. */
int os_absolute_path(const char *path, char **out);
/* Memory that will all be used, a multiple of OS_LARGE, not zeroed: its pages are asked for at once. NULL: there is none. */
#define OS_LARGE ((size_t)2 << 20)
void *os_alloc_large(size_t size);
void os_free_large(void *ptr, size_t size);
/* Size of a page of memory. */
size_t os_page_size(void);
/* Fill with random bytes from the system. */
int os_random(void *ptr, size_t len);

#endif
