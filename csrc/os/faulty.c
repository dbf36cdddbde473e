/* The vfs that asks before each call: every function is the question and the call it passes on. */
#include "os/faulty.h"
#include "base/alloc.h"

#include <errno.h>
#include <string.h>

typedef struct faulty {
  os_vfs vfs;
  os_vfs *inner;
  os_fault_fn fault;
  void *ctx;
} faulty;

struct os_file {
  os_file *inner;
  char path[];
};

static inline faulty *of(os_vfs *vfs) { return vfs->ctx; }

/* The errno value a call shall fail with, or 0. */
static int asked(faulty *f, const char *call, const char *path) {
  int error = f->fault(f->ctx, call, path);
  return error == OS_FAULT_SHORT ? ENOSPC : error;
}

#define ASK(call, path)                \
  do {                                 \
    int asked_ = asked(f, call, path); \
    if (asked_) return asked_;         \
  } while (0)

static int faulty_open(os_vfs *vfs, const char *path, unsigned flags, os_file **out) {
  faulty *f = of(vfs);
  ASK("open", path);
  size_t size = strlen(path) + 1;
  os_file *file = toon_malloc(sizeof *file + size);
  if (!file) return ENOMEM;
  int error = f->inner->open(f->inner, path, flags, &file->inner);
  if (error) {
    toon_free(file);
    return error;
  }
  memcpy(file->path, path, size);
  *out = file;
  return 0;
}

static int faulty_close(os_vfs *vfs, os_file *file) {
  faulty *f = of(vfs);
  int wanted = asked(f, "close", file->path), error = f->inner->close(f->inner, file->inner);
  toon_free(file);
  return wanted ? wanted : error;
}

static int faulty_pread(os_vfs *vfs, os_file *file, void *ptr, size_t len, uint64_t offset, size_t *got) {
  faulty *f = of(vfs);
  ASK("pread", file->path);
  return f->inner->pread(f->inner, file->inner, ptr, len, offset, got);
}

static int faulty_pwrite(os_vfs *vfs, os_file *file, const void *ptr, size_t len, uint64_t offset) {
  faulty *f = of(vfs);
  int error = f->fault(f->ctx, "pwrite", file->path);
  if (error && error != OS_FAULT_SHORT) return error;
  int result = f->inner->pwrite(f->inner, file->inner, ptr, error ? len / 2 : len, offset);
  return result ? result : error ? ENOSPC : 0;
}

static int faulty_datasync(os_vfs *vfs, os_file *file) {
  faulty *f = of(vfs);
  ASK("datasync", file->path);
  return f->inner->datasync(f->inner, file->inner);
}

static int faulty_sync(os_vfs *vfs, os_file *file) {
  faulty *f = of(vfs);
  ASK("sync", file->path);
  return f->inner->sync(f->inner, file->inner);
}

static int faulty_truncate(os_vfs *vfs, os_file *file, uint64_t size) {
  faulty *f = of(vfs);
  ASK("truncate", file->path);
  return f->inner->truncate(f->inner, file->inner, size);
}

static int faulty_fstat(os_vfs *vfs, os_file *file, os_stat *out) {
  faulty *f = of(vfs);
  ASK("fstat", file->path);
  return f->inner->fstat(f->inner, file->inner, out);
}

static int faulty_map(os_vfs *vfs, os_file *file, size_t len, const uint8_t **out) {
  faulty *f = of(vfs);
  ASK("map", file->path);
  return f->inner->map(f->inner, file->inner, len, out);
}

static void faulty_unmap(os_vfs *vfs, const uint8_t *ptr, size_t len) {
  of(vfs)->inner->unmap(of(vfs)->inner, ptr, len);
}

static int faulty_lock(os_vfs *vfs, os_file *file) {
  faulty *f = of(vfs);
  ASK("lock", file->path);
  return f->inner->lock(f->inner, file->inner);
}

static int faulty_stat(os_vfs *vfs, const char *path, os_stat *out) {
  faulty *f = of(vfs);
  ASK("stat", path);
  return f->inner->stat(f->inner, path, out);
}

static int faulty_mkdir(os_vfs *vfs, const char *path) {
  faulty *f = of(vfs);
  ASK("mkdir", path);
  return f->inner->mkdir(f->inner, path);
}

static int faulty_unlink(os_vfs *vfs, const char *path) {
  faulty *f = of(vfs);
  ASK("unlink", path);
  return f->inner->unlink(f->inner, path);
}

static int faulty_rename(os_vfs *vfs, const char *from, const char *to) {
  faulty *f = of(vfs);
  ASK("rename", from);
  return f->inner->rename(f->inner, from, to);
}

static int faulty_dirsync(os_vfs *vfs, const char *path) {
  faulty *f = of(vfs);
  ASK("dirsync", path);
  return f->inner->dirsync(f->inner, path);
}

static int faulty_list(os_vfs *vfs, const char *path, int (*visit)(void *ctx, const char *name), void *ctx) {
  faulty *f = of(vfs);
  ASK("list", path);
  return f->inner->list(f->inner, path, visit, ctx);
}

static uint64_t faulty_monotonic_ns(os_vfs *vfs) { return of(vfs)->inner->monotonic_ns(of(vfs)->inner); }

static int64_t faulty_wall_ms(os_vfs *vfs) { return of(vfs)->inner->wall_ms(of(vfs)->inner); }

os_vfs *os_faulty_wrap(os_vfs *inner, os_fault_fn fault, void *ctx) {
  faulty *f = toon_malloc(sizeof *f);
  if (!f) return NULL;
  f->inner = inner;
  f->fault = fault;
  f->ctx = ctx;
  f->vfs = (os_vfs){
      .ctx = f,
      .open = faulty_open,
      .close = faulty_close,
      .pread = faulty_pread,
      .pwrite = faulty_pwrite,
      .datasync = faulty_datasync,
      .sync = faulty_sync,
      .truncate = faulty_truncate,
      .fstat = faulty_fstat,
      .map = faulty_map,
      .unmap = faulty_unmap,
      .lock = faulty_lock,
      .stat = faulty_stat,
      .mkdir = faulty_mkdir,
      .unlink = faulty_unlink,
      .rename = faulty_rename,
      .dirsync = faulty_dirsync,
      .list = faulty_list,
      .monotonic_ns = faulty_monotonic_ns,
      .wall_ms = faulty_wall_ms,
  };
  return &f->vfs;
}

void os_faulty_free(os_vfs *vfs) {
  if (vfs) toon_free(of(vfs));
}
