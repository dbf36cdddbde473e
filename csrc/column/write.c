/* Writing a column file: documents come one by one, a block is written when it is full, the directory at the end and the
 * header last of all. Memory: a block, and the directory. */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "column/parts.h"

#include <string.h>

uint32_t column_block_rows = COLUMN_ROWS;

struct column_writer {
  os_vfs *vfs;
  os_file *file;
  char *path;
  bool ended;
  uint32_t store_id, fields, rows; /* rows: of the block */
  uint64_t number, at, total;
  toon_projection *projection;
  column_cells *cells; /* of the ids, then of the fields */
  column_scratch *scratch;
  toon_buf head;      /* directory: prefix and fields */
  toon_buf directory; /* its blocks */
  toon_buf others, block;
  uint32_t blocks, other_count;
};

static toon_status put_u32(toon_buf *out, uint32_t value) { return toon_buf_append(out, &value, 4); }
static toon_status put_u64(toon_buf *out, uint64_t value) { return toon_buf_append(out, &value, 8); }
static toon_status put_text(toon_buf *out, toon_slice text) {
  TOON_TRY(put_u32(out, (uint32_t)text.len));
  return toon_buf_add(out, text);
}

static toon_status failed(column_writer *w, int e, const char *call, toon_error *err) {
  return toon_fail_os(err, e, call, w->path);
}

static toon_status put_head(column_writer *w, toon_slice prefix, const toon_path *paths) {
  TOON_TRY(put_text(&w->head, prefix));
  TOON_TRY(put_u32(&w->head, w->fields));
  for (uint32_t i = 0; i < w->fields; i++) {
    TOON_TRY(put_u32(&w->head, (uint32_t)paths[i].count));
    for (size_t j = 0; j < paths[i].count; j++) TOON_TRY(put_text(&w->head, paths[i].names[j]));
  }
  return TOON_OK;
}

toon_status column_writer_new(os_vfs *vfs, const char *path, uint32_t store_id, uint64_t number, toon_slice prefix,
                              const toon_path *paths, size_t count, column_writer **out, toon_error *err) {
  if (count > COLUMN_PATHS_MAX) return toon_fail(err, TOON_EINVAL, "too many columns");
  column_writer *w = toon_calloc(1, sizeof *w);
  if (!w) return toon_fail(err, TOON_ENOMEM, NULL);
  w->vfs = vfs;
  w->store_id = store_id;
  w->number = number;
  w->fields = (uint32_t)count;
  w->at = COLUMN_HEADER;
  w->path = toon_strdup(path);
  w->cells = toon_calloc(count + 1, sizeof *w->cells);
  w->scratch = toon_malloc(column_scratch_size());
  toon_status status = w->path && w->cells && w->scratch ? put_head(w, prefix, paths) : TOON_ENOMEM;
  if (status != TOON_OK)
    toon_fail(err, status, NULL);
  else
    status = toon_projection_new(paths, count, false, &w->projection, err);
  if (status == TOON_OK) {
    int e = vfs->open(vfs, path, OS_WRITE | OS_CREATE | OS_TRUNCATE, &w->file);
    if (e) status = failed(w, e, "open", err);
  }
  if (status != TOON_OK) {
    column_writer_free(w);
    return status;
  }
  *out = w;
  return TOON_OK;
}

void column_writer_free(column_writer *w) {
  if (!w) return;
  if (w->file) {
    w->vfs->close(w->vfs, w->file);
    if (!w->ended) w->vfs->unlink(w->vfs, w->path);
  }
  for (uint32_t i = 0; w->cells && i <= w->fields; i++) toon_buf_free(&w->cells[i].bytes);
  toon_free(w->cells);
  toon_free(w->scratch);
  toon_free(w->path);
  toon_projection_free(w->projection);
  toon_buf_free(&w->head);
  toon_buf_free(&w->directory);
  toon_buf_free(&w->others);
  toon_buf_free(&w->block);
  toon_free(w);
}

/* ---- blocks ---- */

static toon_status put_place(toon_buf *out, const column_place *place) {
  const uint8_t marks[8] = {place->kind, place->width, place->scale};
  TOON_TRY(put_u64(out, place->offset));
  TOON_TRY(put_u32(out, place->length));
  TOON_TRY(put_u32(out, place->crc));
  TOON_TRY(toon_buf_append(out, marks, 8));
  TOON_TRY(toon_buf_append(out, &place->min, 8));
  return toon_buf_append(out, &place->max, 8);
}

/* A vector stands at [from, end) of w->block: note where it will be. */
static toon_status put_vector(column_writer *w, size_t from, column_place *place) {
  static const uint8_t zeros[8];
  place->offset = w->at + from;
  place->length = (uint32_t)(w->block.len - from);
  place->crc = toon_crc32c(w->store_id, w->block.ptr + from, place->length);
  TOON_TRY(toon_buf_append(&w->block, zeros, (8 - w->block.len % 8) % 8));
  return put_place(&w->directory, place);
}

static toon_status write_block(column_writer *w, uint32_t rows, toon_error *err) {
  int e = w->vfs->pwrite(w->vfs, w->file, w->block.ptr, w->block.len, w->at);
  if (e) return failed(w, e, "write", err);
  w->at += w->block.len;
  w->total += rows;
  w->blocks++;
  w->block.len = 0;
  return TOON_OK;
}

static toon_slice first_id(const column_writer *w) { return toon_slice_of(w->cells[0].bytes.ptr, w->cells[0].at[1]); }

static toon_status encode_block(column_writer *w) {
  TOON_TRY(put_u32(&w->directory, w->rows));
  TOON_TRY(put_text(&w->directory, first_id(w)));
  for (uint32_t i = 0; i <= w->fields; i++) {
    column_place place;
    size_t from = w->block.len;
    TOON_TRY(i ? column_encode(&w->cells[i], w->rows, w->scratch, &w->block, &place)
               : column_encode_ids(&w->cells[0], w->rows, &w->block, &place));
    TOON_TRY(put_vector(w, from, &place));
    w->cells[i].bytes.len = 0;
    w->cells[i].rows_only = false;
  }
  return TOON_OK;
}

static toon_status flush(column_writer *w, toon_error *err) {
  if (!w->rows) return TOON_OK;
  toon_status status = encode_block(w);
  if (status != TOON_OK) return toon_fail(err, status, NULL);
  uint32_t rows = w->rows;
  w->rows = 0;
  return write_block(w, rows, err);
}

static toon_status add_cell(column_writer *w, uint32_t column, toon_slice token) {
  column_cells *cells = &w->cells[column];
  TOON_TRY(toon_buf_add(&cells->bytes, token));
  cells->at[w->rows + 1] = (uint32_t)cells->bytes.len;
  return TOON_OK;
}

static toon_status add(column_writer *w, toon_slice id, toon_slice field) {
  bool object;
  TOON_TRY(toon_projection_find(w->projection, field, &object));
  if (!object) return TOON_EINVAL;
  TOON_TRY(add_cell(w, 0, id));
  for (uint32_t i = 0; i < w->fields; i++) {
    toon_found found = toon_projection_found(w->projection, i);
    bool scalar = found.kind == TOON_FOUND_SCALAR;
    if (!scalar && found.kind != TOON_FOUND_NOTHING) w->cells[i + 1].rows_only = true;
    TOON_TRY(add_cell(w, i + 1, scalar ? found.text : toon_slice_of("", 0)));
  }
  return TOON_OK;
}

toon_status column_writer_add(column_writer *w, toon_slice id, toon_slice field, toon_error *err) {
  /* Long texts make a block end early, so that its memory stays bounded. */
  bool full = w->rows >= column_block_rows;
  for (uint32_t i = 0; w->rows && !full && i <= w->fields; i++) full = w->cells[i].bytes.len > (4u << 20);
  if (full) TOON_TRY(flush(w, err));
  toon_status status = add(w, id, field);
  if (status != TOON_OK) return toon_fail(err, status, NULL);
  w->rows++;
  return TOON_OK;
}

toon_status column_writer_other(column_writer *w, toon_slice id, toon_error *err) {
  if (put_text(&w->others, id) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  w->other_count++;
  return TOON_OK;
}

toon_status column_writer_copy(column_writer *w, column_file *from, uint32_t block, bool *taken, toon_error *err) {
  *taken = false;
  for (uint32_t i = 0; i <= from->fields; i++) {
    column_vector v;
    if (!column_vector_get(from, block, i, &v)) return TOON_OK;
  }
  TOON_TRY(flush(w, err));
  toon_status status = put_u32(&w->directory, from->block[block].rows);
  if (status == TOON_OK) status = put_text(&w->directory, from->block[block].first);
  for (uint32_t i = 0; status == TOON_OK && i <= from->fields; i++) {
    column_place place = *column_place_of(from, block, i);
    size_t at = w->block.len;
    status = toon_buf_append(&w->block, from->map + place.offset, place.length);
    if (status == TOON_OK) status = put_vector(w, at, &place);
    if (status == TOON_OK && place.crc != column_place_of(from, block, i)->crc)
      return toon_fail_at(err, TOON_ECORRUPT, from->path, (int64_t)column_place_of(from, block, i)->offset, NULL);
  }
  if (status != TOON_OK) return toon_fail(err, status, NULL);
  *taken = true;
  return write_block(w, from->block[block].rows, err);
}

/* ---- the end ---- */

static toon_status put_directory(column_writer *w, uint64_t sequence, toon_buf *header) {
  toon_buf *all = &w->head;
  TOON_TRY(put_u32(all, w->other_count));
  TOON_TRY(toon_buf_add(all, toon_buf_slice(&w->others)));
  TOON_TRY(put_u32(all, w->blocks));
  TOON_TRY(toon_buf_add(all, toon_buf_slice(&w->directory)));
  TOON_TRY(toon_buf_lit(header, COLUMN_MAGIC));
  TOON_TRY(put_u32(header, COLUMN_VERSION));
  TOON_TRY(put_u32(header, w->store_id));
  TOON_TRY(put_u64(header, w->number));
  TOON_TRY(put_u64(header, sequence));
  TOON_TRY(put_u64(header, w->total));
  TOON_TRY(put_u64(header, w->at));
  TOON_TRY(put_u64(header, all->len));
  TOON_TRY(put_u32(header, toon_crc32c(w->store_id, all->ptr, all->len)));
  return put_u32(header, toon_crc32c(0, header->ptr, header->len));
}

toon_status column_writer_end(column_writer *w, uint64_t sequence, toon_error *err) {
  toon_buf header = {0};
  TOON_TRY(flush(w, err));
  toon_status status = put_directory(w, sequence, &header);
  if (status != TOON_OK) {
    toon_fail(err, status, NULL);
    goto out;
  }
  const char *call = "write";
  int e = w->vfs->pwrite(w->vfs, w->file, w->head.ptr, w->head.len, w->at);
  if (!e) e = w->vfs->pwrite(w->vfs, w->file, header.ptr, header.len, 0);
  if (!e) {
    call = "fsync";
    e = w->vfs->sync(w->vfs, w->file);
  }
  if (e) status = failed(w, e, call, err);
  w->ended = status == TOON_OK;
out:
  toon_buf_free(&header);
  return status;
}
