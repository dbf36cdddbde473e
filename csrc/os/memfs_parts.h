/* What memfs.c (the live file system) and memfs_crash.c (what is left of it) share. Not for anybody else.
 *
 * A node is a file or a directory and is never given up before the file system is, so journal entries name
 * nodes by number. The journal alone tells the whole history: a file system made by a crash begins with
 * entries that build its content and sync it (`base_ops`, hidden from the caller), so that it can crash
 * again. */
#ifndef TOON_OS_MEMFS_PARTS_H
#define TOON_OS_MEMFS_PARTS_H

#include "os/memfs.h"
#include "os/thread.h"

/* X(enumerator, name for messages) */
#define MEMFS_OPS(X)         \
  X(OP_CREATE, "create")     \
  X(OP_MKDIR, "mkdir")       \
  X(OP_UNLINK, "unlink")     \
  X(OP_RENAME, "rename")     \
  X(OP_DIRSYNC, "dirsync")   \
  X(OP_WRITE, "write")       \
  X(OP_TRUNCATE, "truncate") \
  X(OP_DATASYNC, "datasync") \
  X(OP_SYNC, "sync")

typedef enum op_kind {
#define X(name, text) name,
  MEMFS_OPS(X)
#undef X
} op_kind;

typedef struct op {
  op_kind kind;
  uint32_t node;              /* the file or directory concerned */
  uint32_t dir, to_dir;       /* where names change; to_dir only in a rename, else equal to dir */
  const char *name, *to_name; /* the names there */
  const char *path;           /* for messages */
  uint64_t offset;            /* of a write; the size of a truncate */
  size_t len;                 /* of a write */
  uint8_t *data;              /* of a write; owned */
} op;

typedef struct name {
  const char *text;
  uint32_t node;
} name;

typedef struct names {
  name *list;
  size_t count, cap;
} names;

typedef struct node {
  uint32_t id;
  bool is_dir, borrowed; /* borrowed: data belongs to a journal entry and is copied before it changes */
  uint32_t nlink;
  names names;   /* of a directory */
  uint8_t *data; /* of a file; zeros from size to cap */
  size_t size, cap;
  os_file *locker;
} node;

typedef struct mapping {
  struct mapping *next;
  node *node;
  uint8_t *ptr;
  size_t len;
} mapping;

typedef struct text {
  struct text *next;
  char chars[];
} text;

struct os_memfs {
  os_vfs vfs;
  os_mutex mutex; /* guards all below */
  uint64_t dev;
  node **nodes; /* by id; 0 is the root */
  size_t node_count, node_cap;
  op *ops;
  size_t op_count, op_cap, base_ops;
  os_file *files; /* open handles */
  mapping *maps;
  text *texts; /* names and paths, each once, until the end */
  int64_t wall_ms;
  uint64_t monotonic_ns;
  os_fault_fn fault;
  void *fault_ctx;
};

/* All return false or NULL without memory, with nothing changed. */
const char *memfs_text(os_memfs *fs, const char *chars);
node *memfs_node(os_memfs *fs, bool is_dir);
bool memfs_reserve(os_memfs *fs); /* room for one more journal entry: memfs_log cannot fail then */
void memfs_log(os_memfs *fs, op entry);
bool memfs_names_reserve(names *in); /* room for one more name: memfs_names_set cannot fail then */
void memfs_names_set(names *in, const char *what, uint32_t id);
void memfs_names_remove(names *in, const char *what);
name *memfs_names_find(const names *in, const char *what);

#endif
