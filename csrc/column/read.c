/* Reading a column file: header and directory are checked when it is opened, vectors when they are first asked for. All
 * lengths are held against the size of the file before anything is allocated or looked at. */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "column/parts.h"
#include "os/fault.h"

#include <errno.h>

/* ---- opening ---- */

/* What is left of the directory. After something went beyond its end, `wrong`. */
typedef struct reader {
  const uint8_t *at, *end;
  bool wrong;
} reader;

static const uint8_t *take(reader *r, size_t len) {
  const uint8_t *p = r->at;
  if ((size_t)(r->end - p) < len) r->wrong = true;
  if (r->wrong) return NULL;
  r->at += len;
  return p;
}
static uint32_t take_u32(reader *r) {
  const uint8_t *p = take(r, 4);
  return p ? column_u32(p) : 0;
}
static toon_slice take_text(reader *r) {
  uint32_t len = take_u32(r);
  const uint8_t *p = take(r, len);
  return p ? toon_slice_of(p, len) : toon_slice_of("", 0);
}
/* A number of things that take at least `least` bytes each. */
static uint32_t take_count(reader *r, size_t least) {
  uint32_t count = take_u32(r);
  if (!r->wrong && count > (size_t)(r->end - r->at) / least) r->wrong = true;
  return r->wrong ? 0 : count;
}

static toon_status read_fields(column_file *f, reader *r) {
  reader ahead = *r;
  size_t names = 0;
  uint32_t fields = take_count(&ahead, 4);
  if (fields > COLUMN_PATHS_MAX) return TOON_ECORRUPT;
  for (uint32_t i = 0; i < fields; i++) {
    uint32_t count = take_count(&ahead, 4);
    names += count;
    for (uint32_t j = 0; j < count; j++) take_text(&ahead);
    if (!count) return TOON_ECORRUPT;
  }
  if (ahead.wrong) return TOON_ECORRUPT;
  f->paths = toon_calloc(fields + 1, sizeof *f->paths);
  f->names = toon_calloc(names + 1, sizeof *f->names);
  if (!f->paths || !f->names) return TOON_ENOMEM;
  toon_slice *name = f->names;
  f->fields = take_u32(r);
  for (uint32_t i = 0; i < fields; i++) {
    f->paths[i] = (toon_path){name, take_u32(r)};
    for (size_t j = 0; j < f->paths[i].count; j++) *name++ = take_text(r);
  }
  return TOON_OK;
}

static toon_status read_others(column_file *f, reader *r) {
  f->other_count = take_count(r, 4);
  f->others = toon_calloc(f->other_count + 1, sizeof *f->others);
  if (!f->others) return TOON_ENOMEM;
  for (size_t i = 0; i < f->other_count; i++) {
    f->others[i] = take_text(r);
    if (i && toon_slice_cmp(f->others[i - 1], f->others[i]) >= 0) return TOON_ECORRUPT;
  }
  return TOON_OK;
}

static bool read_place(const column_file *f, reader *r, uint64_t end, column_place *place) {
  const uint8_t *p = take(r, COLUMN_PLACE_BYTES);
  if (!p) return false;
  memcpy(&place->offset, p, 8);
  place->length = column_u32(p + 8);
  place->crc = column_u32(p + 12);
  place->kind = p[16];
  place->width = p[17];
  place->scale = p[18];
  memcpy(&place->min, p + 24, 8);
  memcpy(&place->max, p + 32, 8);
  return place->offset >= COLUMN_HEADER && place->offset % 8 == 0 && place->offset <= end &&
         place->length <= end - place->offset && f->map;
}

static toon_status read_blocks(column_file *f, reader *r, uint64_t end) {
  size_t vectors = f->fields + 1;
  uint64_t rows = 0;
  f->blocks = take_count(r, 8 + vectors * COLUMN_PLACE_BYTES);
  f->block = toon_calloc((size_t)f->blocks + 1, sizeof *f->block);
  f->places = toon_calloc((size_t)f->blocks * vectors + 1, sizeof *f->places);
  f->checked = toon_calloc((size_t)f->blocks * vectors + 1, sizeof *f->checked);
  if (!f->block || !f->places || !f->checked) return TOON_ENOMEM;
  for (uint32_t b = 0; b < f->blocks; b++) {
    f->block[b].rows = take_u32(r);
    f->block[b].first = take_text(r);
    if (!f->block[b].rows || f->block[b].rows > COLUMN_ROWS) return TOON_ECORRUPT;
    if (b && toon_slice_cmp(f->block[b - 1].first, f->block[b].first) >= 0) return TOON_ECORRUPT;
    for (size_t i = 0; i < vectors; i++) {
      column_place *place = &f->places[b * vectors + i];
      if (!read_place(f, r, end, place) || (place->kind == COLUMN_IDS) != (i == 0)) return TOON_ECORRUPT;
    }
    rows += f->block[b].rows;
  }
  return rows == f->rows ? TOON_OK : TOON_ECORRUPT;
}

static toon_status read_all(column_file *f, uint32_t store_id) {
  const uint8_t *p = f->map;
  uint64_t at, length;
  if (f->size < COLUMN_HEADER || memcmp(p, COLUMN_MAGIC, 8) != 0 || toon_crc32c(0, p, 60) != column_u32(p + 60))
    return TOON_ECORRUPT;
  if (column_u32(p + 8) != COLUMN_VERSION) return TOON_EFORMAT;
  f->store_id = column_u32(p + 12);
  if (f->store_id != store_id) return TOON_ECORRUPT;
  memcpy(&f->number, p + 16, 8);
  memcpy(&f->sequence, p + 24, 8);
  memcpy(&f->rows, p + 32, 8);
  memcpy(&at, p + 40, 8);
  memcpy(&length, p + 48, 8);
  if (at < COLUMN_HEADER || at > f->size || length != f->size - at) return TOON_ECORRUPT;
  f->crc = column_u32(p + 56);
  if (toon_crc32c(store_id, p + at, length) != f->crc) return TOON_ECORRUPT;
  reader r = {p + at, p + f->size, false};
  f->prefix = take_text(&r);
  TOON_TRY(read_fields(f, &r));
  TOON_TRY(read_others(f, &r));
  TOON_TRY(read_blocks(f, &r, at));
  return r.wrong || r.at != r.end || !f->prefix.len || os_map_damaged(f->map) ? TOON_ECORRUPT : TOON_OK;
}

static toon_status map_file(column_file *f, const char *path, toon_error *err) {
  os_file *file;
  os_stat st;
  const char *call = "open";
  int e = f->vfs->open(f->vfs, path, OS_READ, &file);
  if (e) return toon_fail_os(err, e, call, path);
  call = "fstat";
  e = f->vfs->fstat(f->vfs, file, &st);
  if (!e && (st.size < COLUMN_HEADER || st.size > SIZE_MAX / 2)) {
    f->vfs->close(f->vfs, file);
    return toon_fail_at(err, TOON_ECORRUPT, path, 0, "the column file is too short");
  }
  if (!e) {
    call = "mmap";
    e = f->vfs->map(f->vfs, file, (size_t)st.size, &f->map);
  }
  f->vfs->close(f->vfs, file);
  if (e) return toon_fail_os(err, e, call, path);
  f->size = (size_t)st.size;
  return TOON_OK;
}

toon_status column_file_open(os_vfs *vfs, const char *path, uint32_t store_id, column_file **out, toon_error *err) {
  column_file *f = toon_calloc(1, sizeof *f);
  if (!f || !(f->path = toon_strdup(path))) {
    toon_free(f);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  f->vfs = vfs;
  atomic_init(&f->refs, 1);
  toon_status status = map_file(f, path, err);
  if (status == TOON_OK) {
    status = read_all(f, store_id);
    if (status != TOON_OK) toon_fail_at(err, status, path, 0, "the column file is damaged");
  }
  if (status != TOON_OK) {
    column_file_unref(f);
    return status;
  }
  *out = f;
  return TOON_OK;
}

void column_file_ref(column_file *f) { atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed); }

void column_file_unref(column_file *f) {
  if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1) return;
  if (f->map) f->vfs->unmap(f->vfs, f->map, f->size);
  toon_free(f->path);
  toon_free(f->paths);
  toon_free(f->names);
  toon_free(f->others);
  toon_free(f->block);
  toon_free(f->places);
  toon_free((void *)f->checked);
  toon_free(f);
}

/* ---- looking ---- */

uint32_t column_find(const column_file *f, const toon_path *path) {
  for (uint32_t i = 0; i < f->fields; i++) {
    bool same = f->paths[i].count == path->count;
    for (size_t j = 0; same && j < path->count; j++) same = toon_slice_eq(f->paths[i].names[j], path->names[j]);
    if (same) return i;
  }
  return COLUMN_NONE;
}

bool column_vector_get(column_file *f, uint32_t block, uint32_t column, column_vector *out) {
  size_t i = (size_t)block * (f->fields + 1) + column;
  const column_place *place = &f->places[i];
  const uint8_t *p = f->map + place->offset;
  uint32_t rows = f->block[block].rows;
  if (atomic_load_explicit(&f->checked[i], memory_order_relaxed)) {
    column_vector_reopen(out, place, rows, p);
    return true;
  }
  if (toon_crc32c(f->store_id, p, place->length) != place->crc || !column_vector_open(out, place, rows, p) ||
      !column_codes_valid(out) || os_map_damaged(f->map)) {
    atomic_store(&f->damaged, true);
    return false;
  }
  atomic_store_explicit(&f->checked[i], 1, memory_order_relaxed);
  return true;
}

bool column_file_sound(column_file *f) {
  if (os_map_damaged(f->map)) atomic_store(&f->damaged, true);
  return !atomic_load(&f->damaged);
}
