/* The file system in memory: nodes, names, the journal and the vfs over them. memfs_crash.c reads the journal
 * back.
 *
 * A file's bytes are one plain buffer. A mapping is a region of address space of its own, reserved in full
 * and opened page by page as the file grows, into which every write is copied as well: so mappings never
 * move, files that nobody maps cost nothing, and touching what lies beyond the end is a fault as it is with
 * real files. */
#include "os/memfs_parts.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NAME_SIZE 256
#define FILE_MAX ((uint64_t)1 << 40)

struct os_file {
  os_file *next, **link;
  node *node;
  const char *path;
  bool writable;
};

/* ---- storage ---- */

/* Grow an array of *cap items for one more. */
static bool grow(void **list, size_t count, size_t *cap, size_t item) {
  if (count < *cap) return true;
  size_t more = *cap ? *cap * 2 : 8;
  void *bigger = realloc(*list, more * item);
  if (!bigger) return false;
  *list = bigger;
  *cap = more;
  return true;
}

const char *memfs_text(os_memfs *fs, const char *chars) {
  for (text *t = fs->texts; t; t = t->next)
    if (strcmp(t->chars, chars) == 0) return t->chars;
  size_t size = strlen(chars) + 1;
  text *t = malloc(sizeof *t + size);
  if (!t) return NULL;
  memcpy(t->chars, chars, size);
  t->next = fs->texts;
  fs->texts = t;
  return t->chars;
}

node *memfs_node(os_memfs *fs, bool is_dir) {
  if (!grow((void **)&fs->nodes, fs->node_count, &fs->node_cap, sizeof *fs->nodes)) return NULL;
  node *n = calloc(1, sizeof *n);
  if (!n) return NULL;
  n->id = (uint32_t)fs->node_count;
  n->is_dir = is_dir;
  fs->nodes[fs->node_count++] = n;
  return n;
}

bool memfs_reserve(os_memfs *fs) { return grow((void **)&fs->ops, fs->op_count, &fs->op_cap, sizeof *fs->ops); }

void memfs_log(os_memfs *fs, op entry) { fs->ops[fs->op_count++] = entry; }

bool memfs_names_reserve(names *in) { return grow((void **)&in->list, in->count, &in->cap, sizeof *in->list); }

name *memfs_names_find(const names *in, const char *what) {
  for (size_t i = 0; i < in->count; i++)
    if (strcmp(in->list[i].text, what) == 0) return &in->list[i];
  return NULL;
}

void memfs_names_set(names *in, const char *what, uint32_t id) {
  name *there = memfs_names_find(in, what);
  if (!there) there = &in->list[in->count++];
  *there = (name){what, id};
}

void memfs_names_remove(names *in, const char *what) {
  name *there = memfs_names_find(in, what);
  if (there) *there = in->list[--in->count];
}

/* ---- paths ---- */

typedef struct place {
  node *dir;            /* where the last name of the path is or would be; NULL for the root itself */
  node *node;           /* what the path names; NULL if nothing */
  char name[NAME_SIZE]; /* its last name */
} place;

static int walk(os_memfs *fs, const char *path, place *out) {
  out->dir = NULL;
  out->node = fs->nodes[0];
  out->name[0] = 0;
  for (;;) {
    path += strspn(path, "/");
    size_t len = strcspn(path, "/");
    if (len == 0) return 0;
    if (len >= NAME_SIZE) return ENAMETOOLONG;
    if (len == 1 && path[0] == '.') {
      path++;
      continue;
    }
    if (!out->node) return ENOENT;
    if (!out->node->is_dir) return ENOTDIR;
    memcpy(out->name, path, len);
    out->name[len] = 0;
    out->dir = out->node;
    name *there = memfs_names_find(&out->dir->names, out->name);
    out->node = there ? fs->nodes[there->node] : NULL;
    path += len;
  }
}

/* Start of every call: the fault hook, asked without the lock because it may ask us back. */
static int ask(os_memfs *fs, const char *call, const char *path) {
  os_mutex_lock(&fs->mutex);
  os_fault_fn fault = fs->fault;
  void *ctx = fs->fault_ctx;
  os_mutex_unlock(&fs->mutex);
  return fault ? fault(ctx, call, path) : 0;
}

/* The fault hook, then the lock; a hook that wants failure leaves the function. */
#define ENTER(call, path)                                          \
  os_memfs *fs = vfs->ctx;                                         \
  do {                                                             \
    int asked_ = ask(fs, call, path);                              \
    if (asked_) return asked_ == OS_FAULT_SHORT ? ENOSPC : asked_; \
    os_mutex_lock(&fs->mutex);                                     \
  } while (0)

static int leave(os_memfs *fs, int error) {
  os_mutex_unlock(&fs->mutex);
  return error;
}

/* ---- content ---- */

static size_t pages(size_t len) {
  size_t page = os_page_size();
  return (len + page - 1) / page * page;
}

/* Bytes of a mapping that may be touched while the file has `size` bytes. */
static size_t open_part(const mapping *m, size_t size) { return pages(size < m->len ? size : m->len); }

/* Let the mappings of a file follow its size. Growing may fail, and is then undone by nobody: pages opened
 * too early are zeros that a caller must not look at anyway. */
static int maps_resize(os_memfs *fs, node *n, size_t size) {
  for (mapping *m = fs->maps; m; m = m->next) {
    if (m->node != n) continue;
    size_t before = open_part(m, n->size), after = open_part(m, size);
    if (after > before && mprotect(m->ptr + before, after - before, PROT_READ | PROT_WRITE) < 0) return ENOMEM;
    if (size < n->size && size < m->len) memset(m->ptr + size, 0, before - size);
    if (after < before) mprotect(m->ptr + after, before - after, PROT_NONE);
  }
  return 0;
}

static void maps_write(os_memfs *fs, node *n, const void *ptr, size_t len, size_t offset) {
  for (mapping *m = fs->maps; m; m = m->next) {
    if (m->node != n || offset >= m->len) continue;
    size_t most = m->len - offset;
    memcpy(m->ptr + offset, ptr, len < most ? len : most);
  }
}

/* Make the buffer the file's own, with room for `size` bytes. */
static bool content_reserve(node *n, size_t size) {
  if (!n->borrowed && size <= n->cap) return true;
  size_t cap = n->cap * 2 > size ? n->cap * 2 : size;
  if (cap < 64) cap = 64;
  uint8_t *data = n->borrowed ? malloc(cap) : realloc(n->data, cap);
  if (!data) return false;
  if (n->borrowed) memcpy(data, n->data, n->size);
  memset(data + n->size, 0, cap - n->size);
  n->data = data;
  n->cap = cap;
  n->borrowed = false;
  return true;
}

static void content_drop(node *n) {
  if (!n->borrowed) free(n->data);
  n->data = NULL;
  n->size = n->cap = 0;
  n->borrowed = false;
}

static int content_resize(os_memfs *fs, node *n, size_t size) {
  if (!content_reserve(n, size)) return ENOSPC;
  int error = maps_resize(fs, n, size);
  if (error) return error;
  if (size < n->size) memset(n->data + size, 0, n->size - size);
  n->size = size;
  return 0;
}

/* What nobody can reach any more needs no bytes; the node stays for the journal. */
static void maybe_drop(os_memfs *fs, node *n) {
  if (n->is_dir || n->nlink > 0) return;
  for (os_file *f = fs->files; f; f = f->next)
    if (f->node == n) return;
  for (mapping *m = fs->maps; m; m = m->next)
    if (m->node == n) return;
  content_drop(n);
}

static int truncate_node(os_memfs *fs, node *n, const char *path, uint64_t size) {
  if (size > FILE_MAX) return EFBIG;
  if (!memfs_reserve(fs)) return ENOSPC;
  int error = content_resize(fs, n, (size_t)size);
  if (error) return error;
  memfs_log(fs, (op){.kind = OP_TRUNCATE, .node = n->id, .path = path, .offset = size});
  return 0;
}

/* ---- the vfs: files ---- */

/* Make a node under a name that is free. */
static int create(os_memfs *fs, const place *at, const char *path, bool is_dir, node **out) {
  if (!at->dir) return EEXIST;
  const char *last = memfs_text(fs, at->name);
  if (!last || !memfs_reserve(fs) || !memfs_names_reserve(&at->dir->names)) return ENOSPC;
  node *n = memfs_node(fs, is_dir);
  if (!n) return ENOSPC;
  n->nlink = is_dir ? 2 : 1;
  memfs_names_set(&at->dir->names, last, n->id);
  memfs_log(fs, (op){.kind = is_dir ? OP_MKDIR : OP_CREATE,
                     .node = n->id,
                     .dir = at->dir->id,
                     .to_dir = at->dir->id,
                     .name = last,
                     .path = path});
  *out = n;
  return 0;
}

static int memfs_open(os_vfs *vfs, const char *path, unsigned flags, os_file **out) {
  ENTER("open", path);
  place at;
  int error = walk(fs, path, &at);
  if (error) return leave(fs, error);
  node *n = at.node;
  if (n && flags & OS_CREATE && flags & OS_EXCLUSIVE) return leave(fs, EEXIST);
  if (n && n->is_dir) return leave(fs, EISDIR);
  if (!n && !(flags & OS_CREATE)) return leave(fs, ENOENT);

  os_file *file = toon_malloc(sizeof *file);
  const char *kept = memfs_text(fs, path);
  if (!file || !kept)
    error = ENOMEM;
  else if (!n)
    error = create(fs, &at, kept, false, &n);
  else if (flags & OS_TRUNCATE && n->size > 0)
    error = truncate_node(fs, n, kept, 0);
  if (error) {
    toon_free(file);
    return leave(fs, error);
  }
  *file = (os_file){fs->files, &fs->files, n, kept, (flags & OS_WRITE) != 0};
  if (file->next) file->next->link = &file->next;
  fs->files = file;
  *out = file;
  return leave(fs, 0);
}

static int memfs_close(os_vfs *vfs, os_file *file) {
  os_memfs *fs = vfs->ctx;
  int error = ask(fs, "close", file->path);
  os_mutex_lock(&fs->mutex);
  node *n = file->node;
  if (n->locker == file) n->locker = NULL;
  *file->link = file->next;
  if (file->next) file->next->link = file->link;
  maybe_drop(fs, n);
  toon_free(file);
  return leave(fs, error == OS_FAULT_SHORT ? ENOSPC : error);
}

static int memfs_pread(os_vfs *vfs, os_file *file, void *ptr, size_t len, uint64_t offset, size_t *got) {
  ENTER("pread", file->path);
  node *n = file->node;
  size_t most = offset < n->size ? n->size - (size_t)offset : 0;
  *got = len < most ? len : most;
  if (*got) memcpy(ptr, n->data + offset, *got);
  return leave(fs, 0);
}

static int write_node(os_memfs *fs, os_file *file, const void *ptr, size_t len, uint64_t offset) {
  node *n = file->node;
  if (!file->writable) return EBADF;
  if (len == 0) return 0;
  if (len > FILE_MAX || offset > FILE_MAX - len) return EFBIG;
  size_t end = (size_t)offset + len;
  uint8_t *copy = malloc(len);
  if (!copy || !memfs_reserve(fs) || !content_reserve(n, end)) {
    free(copy);
    return ENOSPC;
  }
  if (end > n->size) {
    int error = content_resize(fs, n, end);
    if (error) {
      free(copy);
      return error;
    }
  }
  memcpy(copy, ptr, len);
  memcpy(n->data + offset, ptr, len);
  maps_write(fs, n, ptr, len, (size_t)offset);
  memfs_log(fs, (op){.kind = OP_WRITE, .node = n->id, .path = file->path, .offset = offset, .len = len, .data = copy});
  return 0;
}

static int memfs_pwrite(os_vfs *vfs, os_file *file, const void *ptr, size_t len, uint64_t offset) {
  os_memfs *fs = vfs->ctx;
  int asked = ask(fs, "pwrite", file->path);
  if (asked && asked != OS_FAULT_SHORT) return asked;
  os_mutex_lock(&fs->mutex);
  int error = write_node(fs, file, ptr, asked ? len / 2 : len, offset);
  return leave(fs, error ? error : asked ? ENOSPC : 0);
}

static int sync_node(os_memfs *fs, os_file *file, op_kind kind) {
  if (!memfs_reserve(fs)) return EIO;
  memfs_log(fs, (op){.kind = kind, .node = file->node->id, .path = file->path});
  return 0;
}

static int memfs_datasync(os_vfs *vfs, os_file *file) {
  ENTER("datasync", file->path);
  return leave(fs, sync_node(fs, file, OP_DATASYNC));
}

static int memfs_sync(os_vfs *vfs, os_file *file) {
  ENTER("sync", file->path);
  return leave(fs, sync_node(fs, file, OP_SYNC));
}

static int memfs_truncate(os_vfs *vfs, os_file *file, uint64_t size) {
  ENTER("truncate", file->path);
  return leave(fs, file->writable ? truncate_node(fs, file->node, file->path, size) : EINVAL);
}

static void fill_stat(const os_memfs *fs, const node *n, os_stat *out) {
  *out = (os_stat){.size = n->size, .dev = fs->dev, .ino = n->id + 1u, .nlink = n->nlink, .is_dir = n->is_dir};
}

static int memfs_fstat(os_vfs *vfs, os_file *file, os_stat *out) {
  ENTER("fstat", file->path);
  fill_stat(fs, file->node, out);
  return leave(fs, 0);
}

static int memfs_map(os_vfs *vfs, os_file *file, size_t len, const uint8_t **out) {
  ENTER("map", file->path);
  if (len == 0) return leave(fs, EINVAL);
  node *n = file->node;
  mapping *m = malloc(sizeof *m);
  if (!m) return leave(fs, ENOMEM);
  *m = (mapping){fs->maps, n, NULL, len};
  void *ptr = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  size_t open = open_part(m, n->size);
  if (ptr == MAP_FAILED || (open && mprotect(ptr, open, PROT_READ | PROT_WRITE) < 0)) {
    if (ptr != MAP_FAILED) munmap(ptr, len);
    free(m);
    return leave(fs, ENOMEM);
  }
  if (n->size) memcpy(ptr, n->data, n->size < len ? n->size : len);
  m->ptr = ptr;
  fs->maps = m;
  *out = ptr;
  return leave(fs, 0);
}

static void memfs_unmap(os_vfs *vfs, const uint8_t *ptr, size_t len) {
  os_memfs *fs = vfs->ctx;
  (void)len;
  os_mutex_lock(&fs->mutex);
  for (mapping **link = &fs->maps; *link; link = &(*link)->next) {
    mapping *m = *link;
    if (m->ptr != ptr) continue;
    *link = m->next;
    munmap(m->ptr, m->len);
    maybe_drop(fs, m->node);
    free(m);
    break;
  }
  os_mutex_unlock(&fs->mutex);
}

static int memfs_lock(os_vfs *vfs, os_file *file) {
  ENTER("lock", file->path);
  node *n = file->node;
  if (!file->writable) return leave(fs, EBADF);
  if (n->locker && n->locker != file) return leave(fs, EWOULDBLOCK);
  n->locker = file;
  return leave(fs, 0);
}

/* ---- the vfs: names ---- */

static int memfs_stat(os_vfs *vfs, const char *path, os_stat *out) {
  ENTER("stat", path);
  place at;
  int error = walk(fs, path, &at);
  if (!error && !at.node) error = ENOENT;
  if (!error) fill_stat(fs, at.node, out);
  return leave(fs, error);
}

static int memfs_mkdir(os_vfs *vfs, const char *path) {
  ENTER("mkdir", path);
  place at;
  node *made;
  int error = walk(fs, path, &at);
  if (!error && at.node) error = EEXIST;
  if (!error) {
    const char *kept = memfs_text(fs, path);
    error = kept ? create(fs, &at, kept, true, &made) : ENOSPC;
  }
  return leave(fs, error);
}

static int memfs_unlink(os_vfs *vfs, const char *path) {
  ENTER("unlink", path);
  place at;
  int error = walk(fs, path, &at);
  if (!error) error = !at.node ? ENOENT : at.node->is_dir ? EISDIR : 0;
  if (error) return leave(fs, error);
  const char *kept = memfs_text(fs, path), *last = memfs_text(fs, at.name);
  if (!kept || !last || !memfs_reserve(fs)) return leave(fs, EIO);
  memfs_names_remove(&at.dir->names, last);
  at.node->nlink--;
  maybe_drop(fs, at.node);
  memfs_log(
      fs,
      (op){
          .kind = OP_UNLINK, .node = at.node->id, .dir = at.dir->id, .to_dir = at.dir->id, .name = last, .path = kept});
  return leave(fs, 0);
}

/* Whether `dir` is `n` or lies below it. */
static bool below(os_memfs *fs, const node *n, const node *dir) {
  if (n == dir) return true;
  for (size_t i = 0; n->is_dir && i < n->names.count; i++)
    if (below(fs, fs->nodes[n->names.list[i].node], dir)) return true;
  return false;
}

static int rename_check(os_memfs *fs, const place *from, const place *to) {
  if (!from->node) return ENOENT;
  if (!from->dir || !to->dir) return EBUSY; /* the root */
  if (from->node->is_dir && below(fs, from->node, to->dir)) return EINVAL;
  if (!to->node) return 0;
  if (to->node->is_dir != from->node->is_dir) return to->node->is_dir ? EISDIR : ENOTDIR;
  return to->node->is_dir && to->node->names.count > 0 ? ENOTEMPTY : 0;
}

static int memfs_rename(os_vfs *vfs, const char *from_path, const char *to_path) {
  ENTER("rename", from_path);
  place from, to;
  int error = walk(fs, from_path, &from);
  if (!error) error = walk(fs, to_path, &to);
  if (!error) error = rename_check(fs, &from, &to);
  if (error || from.node == to.node) return leave(fs, error);
  const char *kept = memfs_text(fs, from_path);
  const char *from_name = memfs_text(fs, from.name), *to_name = memfs_text(fs, to.name);
  if (!kept || !from_name || !to_name || !memfs_reserve(fs) || !memfs_names_reserve(&to.dir->names))
    return leave(fs, ENOSPC);
  memfs_names_remove(&from.dir->names, from_name);
  memfs_names_set(&to.dir->names, to_name, from.node->id);
  if (to.node) {
    to.node->nlink = to.node->is_dir ? 0 : to.node->nlink - 1;
    maybe_drop(fs, to.node);
  }
  memfs_log(fs, (op){.kind = OP_RENAME,
                     .node = from.node->id,
                     .dir = from.dir->id,
                     .to_dir = to.dir->id,
                     .name = from_name,
                     .to_name = to_name,
                     .path = kept});
  return leave(fs, 0);
}

static int memfs_dirsync(os_vfs *vfs, const char *path) {
  ENTER("dirsync", path);
  place at;
  int error = walk(fs, path, &at);
  if (!error) error = !at.node ? ENOENT : !at.node->is_dir ? ENOTDIR : 0;
  if (error) return leave(fs, error);
  const char *kept = memfs_text(fs, path);
  if (!kept || !memfs_reserve(fs)) return leave(fs, EIO);
  memfs_log(fs, (op){.kind = OP_DIRSYNC, .node = at.node->id, .path = kept});
  return leave(fs, 0);
}

static int memfs_list(os_vfs *vfs, const char *path, int (*visit)(void *ctx, const char *name), void *ctx) {
  ENTER("list", path);
  place at;
  int error = walk(fs, path, &at);
  if (!error) error = !at.node ? ENOENT : !at.node->is_dir ? ENOTDIR : 0;
  if (error) return leave(fs, error);
  /* The visitor may come back to us, even to unlink what it is shown: so it is shown a copy, without the
   * lock. */
  size_t count = at.node->names.count;
  name *copy = malloc((count + 1) * sizeof *copy);
  if (!copy) return leave(fs, ENOMEM);
  if (count) memcpy(copy, at.node->names.list, count * sizeof *copy);
  os_mutex_unlock(&fs->mutex);
  for (size_t i = 0; i < count && error == 0; i++) error = visit(ctx, copy[i].text);
  free(copy);
  return error;
}

/* ---- clocks, and the file system as a whole ---- */

static uint64_t memfs_monotonic_ns(os_vfs *vfs) {
  os_memfs *fs = vfs->ctx;
  os_mutex_lock(&fs->mutex);
  uint64_t ns = fs->monotonic_ns;
  os_mutex_unlock(&fs->mutex);
  return ns;
}

static int64_t memfs_wall_ms(os_vfs *vfs) {
  os_memfs *fs = vfs->ctx;
  os_mutex_lock(&fs->mutex);
  int64_t ms = fs->wall_ms;
  os_mutex_unlock(&fs->mutex);
  return ms;
}

os_memfs *os_memfs_new(void) {
  static atomic_uint_fast64_t devices = 0x6d656d0000;
  os_memfs *fs = calloc(1, sizeof *fs);
  if (!fs) return NULL;
  node *root = memfs_node(fs, true);
  if (!root) {
    free(fs->nodes);
    free(fs);
    return NULL;
  }
  root->nlink = 2;
  os_mutex_init(&fs->mutex);
  fs->dev = atomic_fetch_add(&devices, 1);
  fs->wall_ms = 1700000000000;
  fs->monotonic_ns = 1000000000;
  fs->vfs = (os_vfs){
      .ctx = fs,
      .open = memfs_open,
      .close = memfs_close,
      .pread = memfs_pread,
      .pwrite = memfs_pwrite,
      .datasync = memfs_datasync,
      .sync = memfs_sync,
      .truncate = memfs_truncate,
      .fstat = memfs_fstat,
      .map = memfs_map,
      .unmap = memfs_unmap,
      .lock = memfs_lock,
      .stat = memfs_stat,
      .mkdir = memfs_mkdir,
      .unlink = memfs_unlink,
      .rename = memfs_rename,
      .dirsync = memfs_dirsync,
      .list = memfs_list,
      .monotonic_ns = memfs_monotonic_ns,
      .wall_ms = memfs_wall_ms,
  };
  return fs;
}

void os_memfs_free(os_memfs *fs) {
  if (!fs) return;
  while (fs->files) {
    os_file *next = fs->files->next;
    toon_free(fs->files);
    fs->files = next;
  }
  while (fs->maps) {
    mapping *next = fs->maps->next;
    munmap(fs->maps->ptr, fs->maps->len);
    free(fs->maps);
    fs->maps = next;
  }
  for (size_t i = 0; i < fs->node_count; i++) {
    content_drop(fs->nodes[i]);
    free(fs->nodes[i]->names.list);
    free(fs->nodes[i]);
  }
  for (size_t i = 0; i < fs->op_count; i++) free(fs->ops[i].data);
  while (fs->texts) {
    text *next = fs->texts->next;
    free(fs->texts);
    fs->texts = next;
  }
  free(fs->nodes);
  free(fs->ops);
  os_mutex_destroy(&fs->mutex);
  free(fs);
}

os_vfs *os_memfs_vfs(os_memfs *fs) { return &fs->vfs; }

size_t os_memfs_ops(const os_memfs *fs) {
  os_mutex *mutex = &((os_memfs *)(uintptr_t)fs)->mutex;
  os_mutex_lock(mutex);
  size_t count = fs->op_count - fs->base_ops;
  os_mutex_unlock(mutex);
  return count;
}

const char *os_memfs_op(const os_memfs *fs, size_t i, const char **path) {
  static const char *const kinds[] = {
#define X(name, text) text,
      MEMFS_OPS(X)
#undef X
  };
  os_mutex *mutex = &((os_memfs *)(uintptr_t)fs)->mutex;
  const char *kind = NULL;
  os_mutex_lock(mutex);
  if (i < fs->op_count - fs->base_ops) {
    const op *entry = &fs->ops[fs->base_ops + i];
    kind = kinds[entry->kind];
    if (path) *path = entry->path;
  }
  os_mutex_unlock(mutex);
  return kind;
}

void os_memfs_set_fault(os_memfs *fs, os_fault_fn fault, void *ctx) {
  os_mutex_lock(&fs->mutex);
  fs->fault = fault;
  fs->fault_ctx = ctx;
  os_mutex_unlock(&fs->mutex);
}

void os_memfs_advance_ms(os_memfs *fs, int64_t wall_ms, uint64_t monotonic_ms) {
  os_mutex_lock(&fs->mutex);
  fs->wall_ms += wall_ms;
  fs->monotonic_ns += monotonic_ms * 1000000;
  os_mutex_unlock(&fs->mutex);
}

const uint8_t *os_memfs_content(const os_memfs *fs, const char *path, size_t *len) {
  os_memfs *own = (os_memfs *)(uintptr_t)fs;
  place at;
  const uint8_t *data = NULL;
  os_mutex_lock(&own->mutex);
  if (walk(own, path, &at) == 0 && at.node && !at.node->is_dir) {
    data = at.node->data ? at.node->data : (const uint8_t *)"";
    *len = at.node->size;
  }
  os_mutex_unlock(&own->mutex);
  return data;
}
