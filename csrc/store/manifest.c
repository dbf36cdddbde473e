/* The manifest: printing, strict parsing, atomic replacement. */
#include "store/manifest.h"
#include "base/alloc.h"
#include "base/crc32c.h"

#include <errno.h>
#include <stdio.h>

#define CRC_LINE_LEN 15 /* "# crc xxxxxxxx\n" */

toon_status manifest_print(const store_manifest *m, toon_buf *out) {
  size_t start = out->len;
  TOON_TRY(toon_buf_printf(out,
                           "format: toonstore\nversion: %d\nstoreId: %lu\nclean: %s\nreplay:\n  segment: %lu\n"
                           "  position: %llu\n  sequence: %llu\n  crc: %lu\n  nextRow: %llu\n",
                           MANIFEST_VERSION, (unsigned long)m->store_id, m->clean ? "true" : "false",
                           (unsigned long)m->replay_segment, (unsigned long long)m->replay_position,
                           (unsigned long long)m->replay_sequence, (unsigned long)m->replay_crc,
                           (unsigned long long)m->next_row));
  TOON_TRY(toon_buf_printf(out, "segments[%zu]{id,bytes,crc,dead,overhead,deletes}:\n", m->segment_count));
  for (size_t i = 0; i < m->segment_count; i++)
    TOON_TRY(toon_buf_printf(out, "  %lu,%llu,%lu,%llu,%llu,%llu\n", (unsigned long)m->segments[i].id,
                             (unsigned long long)m->segments[i].bytes, (unsigned long)m->segments[i].crc,
                             (unsigned long long)m->segments[i].dead, (unsigned long long)m->segments[i].overhead,
                             (unsigned long long)m->segments[i].deletes));
  if (m->run_count) TOON_TRY(toon_buf_printf(out, "runs[%zu]{number,bytes}:\n", m->run_count));
  for (size_t i = 0; i < m->run_count; i++)
    TOON_TRY(toon_buf_printf(out, "  %llu,%llu\n", (unsigned long long)m->runs[i].number,
                             (unsigned long long)m->runs[i].bytes));
  if (m->column_count) TOON_TRY(toon_buf_printf(out, "columns[%zu]{number,crc}:\n", m->column_count));
  for (size_t i = 0; i < m->column_count; i++)
    TOON_TRY(toon_buf_printf(out, "  %llu,%lu\n", (unsigned long long)m->columns[i].number,
                             (unsigned long)m->columns[i].crc));
  return toon_buf_printf(out, "# crc %08lx\n", (unsigned long)toon_crc32c(0, out->ptr + start, out->len - start));
}

/* A reader that goes on only while all was as expected. */
typedef struct reader {
  const uint8_t *p, *end;
  bool ok;
} reader;

static void take_text(reader *r, const char *text) {
  size_t n = strlen(text);
  r->ok = r->ok && (size_t)(r->end - r->p) >= n && memcmp(r->p, text, n) == 0;
  if (r->ok) r->p += n;
}

static uint64_t take_number(reader *r, uint64_t max) {
  uint64_t value = 0;
  const uint8_t *start = r->p;
  while (r->ok && r->p < r->end && *r->p >= '0' && *r->p <= '9') {
    unsigned digit = (unsigned)(*r->p++ - '0');
    if (value > (UINT64_MAX - digit) / 10) r->ok = false;
    value = value * 10 + digit;
  }
  if (r->p == start || value > max) r->ok = false;
  return value;
}

static uint64_t take_field(reader *r, const char *before, uint64_t max) {
  take_text(r, before);
  return take_number(r, max);
}

/* How many rows can still come: no memory on the word of a number. */
static size_t take_count(reader *r, const char *before, const char *after) {
  uint64_t n = take_field(r, before, SIZE_MAX / 64);
  take_text(r, after);
  if (n > (uint64_t)(r->end - r->p)) r->ok = false;
  return r->ok ? (size_t)n : 0;
}

manifest_state manifest_parse(toon_slice text, store_manifest *manifest, bool *newer) {
  *newer = false;
  if (text.len <= CRC_LINE_LEN) return MANIFEST_DAMAGED;
  char crc_line[CRC_LINE_LEN + 1];
  size_t body = text.len - CRC_LINE_LEN;
  snprintf(crc_line, sizeof crc_line, "# crc %08lx\n", (unsigned long)toon_crc32c(0, text.ptr, body));
  if (memcmp(text.ptr + body, crc_line, CRC_LINE_LEN) != 0) return MANIFEST_DAMAGED;

  reader r = {text.ptr, text.ptr + body, true};
  store_manifest m = {0};
  uint64_t version = take_field(&r, "format: toonstore\nversion: ", UINT32_MAX);
  if (r.ok && version != MANIFEST_VERSION) {
    *newer = true;
    return MANIFEST_DAMAGED;
  }
  m.store_id = (uint32_t)take_field(&r, "\nstoreId: ", UINT32_MAX);
  take_text(&r, "\nclean: ");
  m.clean = r.ok && r.p < r.end && *r.p == 't';
  take_text(&r, m.clean ? "true" : "false");
  m.replay_segment = (uint32_t)take_field(&r, "\nreplay:\n  segment: ", UINT32_MAX);
  m.replay_position = take_field(&r, "\n  position: ", UINT32_MAX);
  m.replay_sequence = take_field(&r, "\n  sequence: ", UINT64_MAX);
  m.replay_crc = (uint32_t)take_field(&r, "\n  crc: ", UINT32_MAX);
  m.next_row = take_field(&r, "\n  nextRow: ", UINT64_MAX);
  m.segment_count = take_count(&r, "\nsegments[", "]{id,bytes,crc,dead,overhead,deletes}:\n");
  m.segments = toon_calloc(m.segment_count, sizeof *m.segments);
  for (size_t i = 0; m.segments && i < m.segment_count && r.ok; i++) {
    manifest_segment *s = &m.segments[i];
    s->id = (uint32_t)take_field(&r, "  ", UINT32_MAX);
    s->bytes = take_field(&r, ",", UINT32_MAX);
    s->crc = (uint32_t)take_field(&r, ",", UINT32_MAX);
    s->dead = take_field(&r, ",", UINT64_MAX);
    s->overhead = take_field(&r, ",", UINT32_MAX);
    s->deletes = take_field(&r, ",", UINT32_MAX);
    take_text(&r, "\n");
    if (i && s->id <= s[-1].id) r.ok = false;
  }
  if (r.ok && r.p < r.end && *r.p == 'r') {
    m.run_count = take_count(&r, "runs[", "]{number,bytes}:\n");
    m.runs = toon_calloc(m.run_count, sizeof *m.runs);
    for (size_t i = 0; m.runs && i < m.run_count && r.ok; i++) {
      m.runs[i].number = take_field(&r, "  ", UINT64_MAX);
      m.runs[i].bytes = take_field(&r, ",", UINT64_MAX);
      take_text(&r, "\n");
    }
    if (!m.runs) r.ok = false;
  }
  if (r.ok && r.p < r.end) {
    m.column_count = take_count(&r, "columns[", "]{number,crc}:\n");
    m.columns = toon_calloc(m.column_count, sizeof *m.columns);
    for (size_t i = 0; m.columns && i < m.column_count && r.ok; i++) {
      m.columns[i].number = take_field(&r, "  ", UINT64_MAX);
      m.columns[i].crc = (uint32_t)take_field(&r, ",", UINT32_MAX);
      take_text(&r, "\n");
    }
    if (!m.columns) r.ok = false;
  }
  if (!r.ok || r.p != r.end || !m.segments || !m.segment_count ||
      m.segments[m.segment_count - 1].id != m.replay_segment) {
    manifest_free(&m);
    return MANIFEST_DAMAGED;
  }
  *manifest = m;
  return MANIFEST_SOUND;
}

void manifest_free(store_manifest *manifest) {
  toon_free(manifest->segments);
  toon_free(manifest->runs);
  toon_free(manifest->columns);
  *manifest = (store_manifest){0};
}

toon_status manifest_read(os_vfs *vfs, const char *directory, store_manifest *manifest, manifest_state *state,
                          toon_error *err) {
  toon_buf path = {0}, text = {0};
  os_file *file = NULL;
  os_stat st;
  toon_status status = TOON_OK;
  size_t got;
  int e;
  bool newer;
  *manifest = (store_manifest){0};
  if (toon_buf_printf(&path, "%s/metadata.toon", directory) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  const char *name = (const char *)path.ptr;
  e = vfs->open(vfs, name, OS_READ, &file);
  if (e == ENOENT) {
    *state = MANIFEST_MISSING;
    goto out;
  }
  if (e) {
    status = toon_fail_os(err, e, "open", name);
    goto out;
  }
  if ((e = vfs->fstat(vfs, file, &st))) {
    status = toon_fail_os(err, e, "fstat", name);
    goto out;
  }
  *state = MANIFEST_DAMAGED;
  if (st.size > (64u << 20)) goto out; /* a million segments would not make it this large */
  if (toon_buf_reserve(&text, (size_t)st.size + 1) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  if ((e = vfs->pread(vfs, file, text.ptr, (size_t)st.size, 0, &got))) {
    status = toon_fail_os(err, e, "read", name);
    goto out;
  }
  *state = manifest_parse(toon_slice_of(text.ptr, got), manifest, &newer);
  if (newer)
    status = toon_fail_at(err, TOON_EFORMAT, name, 0, "the manifest has a newer format version; upgrade toonstore");
out:
  if (file) vfs->close(vfs, file);
  toon_buf_free(&path);
  toon_buf_free(&text);
  return status;
}

toon_status manifest_write(os_vfs *vfs, const char *directory, const store_manifest *manifest, bool *named,
                           toon_error *err) {
  toon_buf path = {0}, temp = {0}, text = {0};
  os_file *file = NULL;
  toon_status status = TOON_OK;
  const char *name, *call = "open", *what;
  int e;
  *named = false;
  if (toon_buf_printf(&path, "%s/metadata.toon", directory) != TOON_OK ||
      toon_buf_printf(&temp, "%s/metadata.toon.tmp", directory) != TOON_OK ||
      manifest_print(manifest, &text) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  what = name = (const char *)temp.ptr;
  if ((e = vfs->open(vfs, name, OS_WRITE | OS_CREATE | OS_TRUNCATE, &file))) goto failed;
  call = "write";
  if ((e = vfs->pwrite(vfs, file, text.ptr, text.len, 0))) goto failed;
  call = "fsync";
  if ((e = vfs->sync(vfs, file))) goto failed;
  what = directory;
  if ((e = vfs->dirsync(vfs, directory))) goto failed;
  call = "rename";
  what = (const char *)path.ptr;
  if ((e = vfs->rename(vfs, name, what))) goto failed;
  *named = true;
  call = "fsync";
  what = directory;
  if ((e = vfs->dirsync(vfs, directory))) goto failed;
  goto out;
failed:
  status = toon_fail_os(err, e, call, what);
  if (file) vfs->unlink(vfs, name);
out:
  if (file) vfs->close(vfs, file);
  toon_buf_free(&path);
  toon_buf_free(&temp);
  toon_buf_free(&text);
  return status;
}
