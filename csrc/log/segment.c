/* Segments: creating, opening, appending. */
#include "log/segment.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char magic[8] = {'T', 'O', 'O', 'N', '0', '0', '1', '\n'};

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

toon_status log_segment_path(const char *directory, uint32_t id, toon_buf *out) {
  size_t start = out->len;
  toon_status status = id == 0 ? toon_buf_printf(out, "%s/db.toon", directory)
                               : toon_buf_printf(out, "%s/db.%lu.toon", directory, (unsigned long)id);
  if (status == TOON_OK) status = toon_buf_byte(out, 0);
  if (status != TOON_OK) {
    out->len = start;
    return status;
  }
  out->len--;
  return TOON_OK;
}

bool log_segment_name(const char *name, uint32_t *id) {
  if (strcmp(name, "db.toon") == 0) {
    *id = 0;
    return true;
  }
  if (strncmp(name, "db.", 3) != 0 || name[3] < '1' || name[3] > '9') return false;
  char *end;
  errno = 0;
  unsigned long long value = strtoull(name + 3, &end, 10);
  if (errno || value > UINT32_MAX || strcmp(end, ".toon") != 0) return false;
  *id = (uint32_t)value;
  return true;
}

static toon_status segment_new(os_vfs *vfs, const char *directory, uint32_t id, log_segment **out, toon_error *err) {
  toon_buf path = {0};
  log_segment *segment = toon_calloc(1, sizeof *segment);
  if (!segment || log_segment_path(directory, id, &path) != TOON_OK) {
    toon_free(segment);
    toon_buf_free(&path);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  segment->vfs = vfs;
  segment->id = id;
  segment->path = (char *)path.ptr;
  atomic_init(&segment->refs, 1);
  atomic_init(&segment->overhead, LOG_HEADER_SIZE);
  *out = segment;
  return TOON_OK;
}

static toon_status map_segment(log_segment *segment, size_t len, toon_error *err) {
  size_t page = os_page_size();
  len = (len + page - 1) / page * page;
  int e = segment->vfs->map(segment->vfs, segment->file, len, &segment->map);
  if (e) return toon_fail_os(err, e, "mmap", segment->path);
  segment->map_len = len;
  return TOON_OK;
}

toon_status log_segment_create(os_vfs *vfs, const char *directory, uint32_t id, uint32_t store_id, size_t map_len,
                               log_segment **out, toon_error *err) {
  log_segment *segment;
  TOON_TRY(segment_new(vfs, directory, id, &segment, err));
  toon_status status = TOON_OK;
  uint8_t header[LOG_HEADER_SIZE];
  memcpy(header, magic, 8);
  put32(header + 8, LOG_VERSION);
  put32(header + 12, store_id);
  int e = vfs->open(vfs, segment->path, OS_WRITE | OS_CREATE | OS_TRUNCATE, &segment->file);
  if (e) {
    status = toon_fail_os(err, e, "open", segment->path);
    goto out;
  }
  e = vfs->pwrite(vfs, segment->file, header, sizeof header, 0);
  if (e) {
    status = toon_fail_os(err, e, "write", segment->path);
    goto out;
  }
  status = map_segment(segment, map_len, err);
  segment->padded = sizeof header;
  atomic_store(&segment->length, sizeof header);
out:
  if (status != TOON_OK) {
    if (segment->file) atomic_store(&segment->unlink_when_free, true);
    log_segment_unref(segment);
    return status;
  }
  *out = segment;
  return TOON_OK;
}

toon_status log_segment_inspect(os_vfs *vfs, const char *directory, uint32_t id, log_header *header, toon_error *err) {
  toon_buf path = {0};
  os_file *file = NULL;
  uint8_t bytes[LOG_HEADER_SIZE] = {0};
  size_t got = 0;
  os_stat st;
  toon_status status = TOON_OK;
  int e;
  if (log_segment_path(directory, id, &path) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  const char *name = (const char *)path.ptr;
  if ((e = vfs->open(vfs, name, OS_READ, &file))) {
    status = toon_fail_os(err, e, "open", name);
    goto out;
  }
  if ((e = vfs->fstat(vfs, file, &st)) || (e = vfs->pread(vfs, file, bytes, sizeof bytes, 0, &got))) {
    status = toon_fail_os(err, e, "read", name);
    goto out;
  }
  *header = (log_header){.file_size = st.size, .nlink = st.nlink, .complete = got == sizeof bytes};
  bool zeros = true; /* a created file whose size reached the disk before its bytes */
  for (size_t i = 0; i < got; i++) zeros = zeros && bytes[i] == 0;
  if (zeros && st.size <= LOG_HEADER_SIZE) {
    header->complete = false;
    goto out;
  }
  if (memcmp(bytes, magic, got < 8 ? got : 8) != 0) {
    status = toon_fail_at(err, TOON_EFORMAT, name, 0, "this file does not begin as a toonstore log (TOON001)");
    goto out;
  }
  if (!header->complete) goto out;
  header->version = get32(bytes + 8);
  header->store_id = get32(bytes + 12);
  if (header->version == 1)
    status = toon_fail_at(err, TOON_EFORMAT, name, 8,
                          "this is the older layout (version 1), which this toonstore does not read");
  else if (header->version != LOG_VERSION)
    status = toon_fail_at(err, TOON_EFORMAT, name, 8,
                          "the log has format version %lu, this toonstore reads %d; upgrade toonstore",
                          (unsigned long)header->version, LOG_VERSION);
out:
  if (file) vfs->close(vfs, file);
  toon_buf_free(&path);
  return status;
}

toon_status log_segment_open(os_vfs *vfs, const char *directory, uint32_t id, size_t map_len, bool read_only,
                             log_segment **out, toon_error *err) {
  log_segment *segment;
  os_stat st;
  TOON_TRY(segment_new(vfs, directory, id, &segment, err));
  toon_status status = TOON_OK;
  int e = vfs->open(vfs, segment->path, read_only ? OS_READ : OS_WRITE, &segment->file);
  if (e) {
    status = toon_fail_os(err, e, "open", segment->path);
    goto out;
  }
  if ((e = vfs->fstat(vfs, segment->file, &st))) {
    status = toon_fail_os(err, e, "fstat", segment->path);
    goto out;
  }
  segment->padded = st.size;
  atomic_store(&segment->length, read_only ? map_len : st.size);
  status = map_segment(segment, !read_only && st.size > map_len ? (size_t)st.size : map_len, err);
out:
  if (status != TOON_OK) {
    log_segment_unref(segment);
    return status;
  }
  *out = segment;
  return TOON_OK;
}

void log_segment_ref(log_segment *segment) { atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed); }

void log_segment_unref(log_segment *segment) {
  if (atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) != 1) return;
  os_vfs *vfs = segment->vfs;
  if (segment->map) vfs->unmap(vfs, segment->map, segment->map_len);
  if (segment->file) vfs->close(vfs, segment->file);
  if (atomic_load(&segment->unlink_when_free)) vfs->unlink(vfs, segment->path);
  toon_free(segment->path);
  toon_free(segment);
}

/* Extend the file with newlines so that it holds at least `need` bytes, in steps of `pad`. Failing to pad is no error:
 * the group is written all the same. */
static void extend(log_segment *segment, uint64_t need, size_t pad) {
  static const size_t step = 1 << 16;
  uint64_t want = (need + pad - 1) / pad * pad;
  if (want > segment->map_len) want = segment->map_len;
  uint64_t from = need > segment->padded ? need : segment->padded;
  if (want <= from) return;
  uint8_t *newlines = toon_malloc(step);
  if (!newlines) return;
  memset(newlines, '\n', step);
  while (from < want) {
    size_t n = want - from < step ? (size_t)(want - from) : step;
    bool failed = segment->vfs->pwrite(segment->vfs, segment->file, newlines, n, from);
    from += n; /* a part may have been written: what is recorded is never less than the file */
    if (failed) break;
  }
  toon_free(newlines);
  segment->padded = from;
}

toon_status log_segment_write(log_segment *segment, toon_slice group, size_t pad, bool *poisoned, toon_error *err) {
  uint64_t at = atomic_load_explicit(&segment->length, memory_order_relaxed), end = at + group.len;
  *poisoned = false;
  int e = segment->vfs->pwrite(segment->vfs, segment->file, group.ptr, group.len, at);
  if (e) {
    toon_status status = toon_fail_os(err, e, "write", segment->path);
    if (segment->vfs->truncate(segment->vfs, segment->file, at)) *poisoned = true;
    segment->padded = at;
    return status;
  }
  if (end > segment->padded) {
    segment->padded = end;
    if (pad) extend(segment, end, pad);
  }
  return TOON_OK;
}

toon_status log_segment_remap(log_segment *segment, size_t map_len, toon_error *err) {
  const uint8_t *old = segment->map;
  size_t old_len = segment->map_len;
  TOON_TRY(map_segment(segment, map_len, err));
  segment->vfs->unmap(segment->vfs, old, old_len);
  return TOON_OK;
}

toon_status log_segment_sync(log_segment *segment, toon_error *err) {
  int e = segment->vfs->datasync(segment->vfs, segment->file);
  return e ? toon_fail_os(err, e, "fdatasync", segment->path) : TOON_OK;
}

toon_status log_segment_trim(log_segment *segment, uint64_t length, toon_error *err) {
  if (segment->padded == length) return TOON_OK;
  int e = segment->vfs->truncate(segment->vfs, segment->file, length);
  if (e) return toon_fail_os(err, e, "ftruncate", segment->path);
  segment->padded = length;
  return TOON_OK;
}
