/* The vfs over POSIX: Linux and macOS. */
#include "os/os.h"
#include "base/alloc.h"
#include "os/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h> /* rename */
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct os_file {
  int fd;
};

/* macOS refuses a transfer of more than INT_MAX bytes, Linux cuts it; so neither gets to see one. */
#define TRANSFER_MAX ((size_t)1 << 30)

/* Repeat a system call that a signal broke off. */
#define RETRY(result, call) \
  do {                      \
    (result) = (call);      \
  } while ((result) < 0 && errno == EINTR)

static int open_fd(const char *path, int flags, int *fd) {
  RETRY(*fd, open(path, flags | O_CLOEXEC, 0666));
  return *fd < 0 ? errno : 0;
}

static int posix_open(os_vfs *vfs, const char *path, unsigned flags, os_file **out) {
  (void)vfs;
  int how = flags & OS_WRITE ? O_RDWR : O_RDONLY;
  if (flags & OS_CREATE) how |= O_CREAT;
  if (flags & OS_EXCLUSIVE) how |= O_EXCL;
  if (flags & OS_TRUNCATE) how |= O_TRUNC;
  os_file *file = toon_malloc(sizeof *file); /* first: without memory no file is created or cut */
  if (!file) return ENOMEM;
  int error = open_fd(path, how, &file->fd);
  if (error) {
    toon_free(file);
    return error;
  }
  *out = file;
  return 0;
}

static int posix_close(os_vfs *vfs, os_file *file) {
  (void)vfs;
  int result = close(file->fd);
  int error = result < 0 ? errno : 0;
  toon_free(file);
  /* An interrupted close has closed: to repeat it could close a descriptor another thread just got. */
  return error == EINTR ? 0 : error;
}

static int posix_pread(os_vfs *vfs, os_file *file, void *ptr, size_t len, uint64_t offset, size_t *got) {
  (void)vfs;
  size_t done = 0;
  while (done < len) {
    size_t want = len - done < TRANSFER_MAX ? len - done : TRANSFER_MAX;
    ssize_t n;
    RETRY(n, pread(file->fd, (char *)ptr + done, want, (off_t)(offset + done)));
    if (n < 0) return errno;
    if (n == 0) break;
    done += (size_t)n;
  }
  *got = done;
  return 0;
}

static int posix_pwrite(os_vfs *vfs, os_file *file, const void *ptr, size_t len, uint64_t offset) {
  (void)vfs;
  size_t done = 0;
  while (done < len) {
    size_t want = len - done < TRANSFER_MAX ? len - done : TRANSFER_MAX;
    ssize_t n;
    RETRY(n, pwrite(file->fd, (const char *)ptr + done, want, (off_t)(offset + done)));
    if (n < 0) return errno;
    if (n == 0) return EIO; /* no progress and no reason given: do not spin */
    done += (size_t)n;
  }
  return 0;
}

static int sync_fd(int fd) {
  int result;
#ifdef __APPLE__
  /* fsync alone leaves the data in the drive's cache. File systems without the call get fsync. */
  RETRY(result, fcntl(fd, F_FULLFSYNC));
  if (result >= 0) return 0;
  if (errno != ENOTSUP && errno != EINVAL && errno != ENOTTY) return errno;
#endif
  RETRY(result, fsync(fd));
  return result < 0 ? errno : 0;
}

static int posix_datasync(os_vfs *vfs, os_file *file) {
  (void)vfs;
#ifdef __linux__
  int result;
  RETRY(result, fdatasync(file->fd));
  return result < 0 ? errno : 0;
#else
  return sync_fd(file->fd);
#endif
}

static int posix_sync(os_vfs *vfs, os_file *file) {
  (void)vfs;
  return sync_fd(file->fd);
}

static int posix_truncate(os_vfs *vfs, os_file *file, uint64_t size) {
  (void)vfs;
  int result;
  RETRY(result, ftruncate(file->fd, (off_t)size));
  return result < 0 ? errno : 0;
}

static void fill_stat(const struct stat *st, os_stat *out) {
  out->size = (uint64_t)st->st_size;
  out->dev = (uint64_t)st->st_dev;
  out->ino = (uint64_t)st->st_ino;
  out->nlink = (uint32_t)st->st_nlink;
  out->is_dir = S_ISDIR(st->st_mode);
}

static int posix_fstat(os_vfs *vfs, os_file *file, os_stat *out) {
  (void)vfs;
  struct stat st;
  int result;
  RETRY(result, fstat(file->fd, &st));
  if (result < 0) return errno;
  fill_stat(&st, out);
  return 0;
}

static int posix_map(os_vfs *vfs, os_file *file, size_t len, const uint8_t **out) {
  (void)vfs;
  void *ptr = mmap(NULL, len, PROT_READ, MAP_SHARED, file->fd, 0);
  if (ptr == MAP_FAILED) return errno;
  int error = os_fault_add(ptr, len);
  if (error) {
    munmap(ptr, len);
    return error;
  }
  *out = ptr;
  return 0;
}

static void posix_unmap(os_vfs *vfs, const uint8_t *ptr, size_t len) {
  (void)vfs;
  os_fault_remove(ptr);
  munmap((void *)(uintptr_t)ptr, len);
}

static int flock_fd(int fd) {
  int result;
  RETRY(result, flock(fd, LOCK_EX | LOCK_NB));
  return result < 0 ? errno : 0;
}

/* A plain fcntl lock would not do: it belongs to the process, and closing any other descriptor of the file
 * drops it. */
static int posix_lock(os_vfs *vfs, os_file *file) {
  (void)vfs;
#ifdef F_OFD_SETLK
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int result;
  RETRY(result, fcntl(file->fd, F_OFD_SETLK, &whole));
  if (result >= 0) return 0;
  if (errno == EAGAIN || errno == EACCES) return EWOULDBLOCK;
  if (errno != EINVAL) return errno;
    /* EINVAL: a kernel or sandbox without OFD locks. Every process there ends up at flock, so they still
     * exclude. */
#endif
  return flock_fd(file->fd);
}

static int posix_stat(os_vfs *vfs, const char *path, os_stat *out) {
  (void)vfs;
  struct stat st;
  int result;
  RETRY(result, stat(path, &st));
  if (result < 0) return errno;
  fill_stat(&st, out);
  return 0;
}

static int posix_mkdir(os_vfs *vfs, const char *path) {
  (void)vfs;
  return mkdir(path, 0777) < 0 ? errno : 0;
}

static int posix_unlink(os_vfs *vfs, const char *path) {
  (void)vfs;
  return unlink(path) < 0 ? errno : 0;
}

static int posix_rename(os_vfs *vfs, const char *from, const char *to) {
  (void)vfs;
  return rename(from, to) < 0 ? errno : 0;
}

static int posix_dirsync(os_vfs *vfs, const char *path) {
  (void)vfs;
  int fd, error = open_fd(path, O_RDONLY | O_DIRECTORY, &fd);
  if (error) return error;
  error = sync_fd(fd);
  close(fd);
  return error == EINVAL ? 0 : error; /* file systems that keep names safe by themselves refuse the call so */
}

static int posix_list(os_vfs *vfs, const char *path, int (*visit)(void *ctx, const char *name), void *ctx) {
  (void)vfs;
  int fd, result = open_fd(path, O_RDONLY | O_DIRECTORY, &fd);
  if (result) return result;
  DIR *dir = fdopendir(fd);
  if (!dir) {
    result = errno;
    close(fd);
    return result;
  }
  while (result == 0) {
    errno = 0; /* NULL is both the end and an error */
    struct dirent *entry = readdir(dir);
    if (!entry) {
      result = errno;
      break;
    }
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) result = visit(ctx, entry->d_name);
  }
  closedir(dir);
  return result;
}

static uint64_t posix_monotonic_ns(os_vfs *vfs) {
  (void)vfs;
  struct timespec now;
#ifdef CLOCK_BOOTTIME
  if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
#endif
    clock_gettime(CLOCK_MONOTONIC, &now); /* on macOS this one counts suspend */
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t posix_wall_ms(os_vfs *vfs) {
  (void)vfs;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

os_vfs *os_posix(void) {
  static os_vfs posix = {
      .open = posix_open,
      .close = posix_close,
      .pread = posix_pread,
      .pwrite = posix_pwrite,
      .datasync = posix_datasync,
      .sync = posix_sync,
      .truncate = posix_truncate,
      .fstat = posix_fstat,
      .map = posix_map,
      .unmap = posix_unmap,
      .lock = posix_lock,
      .stat = posix_stat,
      .mkdir = posix_mkdir,
      .unlink = posix_unlink,
      .rename = posix_rename,
      .dirsync = posix_dirsync,
      .list = posix_list,
      .monotonic_ns = posix_monotonic_ns,
      .wall_ms = posix_wall_ms,
  };
  return &posix;
}

size_t os_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

int os_random(void *ptr, size_t len) {
  uint8_t *p = ptr;
  while (len > 0) {
    size_t part = len < 256 ? len : 256; /* more at once is an error by contract of getentropy */
    if (getentropy(p, part) < 0) return errno;
    p += part;
    len -= part;
  }
  return 0;
}

int os_absolute_path(const char *path, char **out) {
  char here[PATH_MAX];
  size_t len = strlen(path), start = 0;
  if (path[0] != '/') {
    if (!getcwd(here, sizeof here)) return errno;
    start = strlen(here);
  }
  char *absolute = toon_malloc(start + 1 + len + 1);
  if (!absolute) return ENOMEM;
  if (start) {
    memcpy(absolute, here, start);
    absolute[start++] = '/';
  }
  memcpy(absolute + start, path, len + 1);
  *out = absolute;
  return 0;
}
