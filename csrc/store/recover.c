/* Recovery: from what is in the directory to an engine that can read and write.
 *
 *     manifest -> runs -> segments -> replay group by group from the recorded position -> cut a torn tail
 *     -> rewrite and sync what may not be on disk -> (if the index had to be rebuilt) checkpoint
 *
 * A bad or missing frame at the end of the log is a torn tail: a write that was under way when the power went. It is
 * corruption instead if the manifest says the log went further, or if a later frame says that the broken group had been
 * synced. Nothing is changed on disk before that has been decided. */
#include "store/recover.h"
#include "base/alloc.h"
#include "log/rowtext.h"
#include "os/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define COPY_STEP (1u << 20)
#define HOLE_MAX (1u << 20) /* segments in a row that compactions may have removed */

/* ------------------------------------------------------------------ what is there */

static int by_id(const void *a, const void *b) {
  uint32_t x = ((const found_segment *)a)->id, y = ((const found_segment *)b)->id;
  return (x > y) - (x < y);
}

static int visit_name(void *ctx, const char *name) {
  recovery *r = ctx;
  uint32_t id;
  static const char run_prefix[] = "db.toon.idx-";
  if (log_segment_name(name, &id)) {
    found_segment *grown = toon_realloc(r->found, (r->found_count + 1) * sizeof *grown);
    if (!grown) return ENOMEM;
    r->found = grown;
    r->found[r->found_count++] = (found_segment){.id = id};
  } else if (strncmp(name, run_prefix, sizeof run_prefix - 1) == 0) {
    char *end;
    const char *digits = name + sizeof run_prefix - 1;
    unsigned long long number = strtoull(digits, &end, 10);
    if (*digits < '0' || *digits > '9' || *end || number > TOON_ROW_MAX) return 0; /* none of ours */
    uint64_t *grown = toon_realloc(r->run_numbers, (r->run_number_count + 1) * sizeof *grown);
    if (!grown) return ENOMEM;
    r->run_numbers = grown;
    r->run_numbers[r->run_number_count++] = number;
    if (number >= r->engine->next_run_number) r->engine->next_run_number = number + 1;
  } else if (strlen(name) > 10 && strcmp(name + strlen(name) - 10, ".toon.copy") == 0) {
    r->copies = true;
  } else if (strcmp(name, RUN_SPILL_NAME) == 0) {
    r->spill = true;
  }
  return 0;
}

static toon_status look_around(recovery *r, toon_error *err) {
  store_engine *engine = r->engine;
  int e = engine->vfs->list(engine->vfs, engine->directory, visit_name, r);
  if (e == ENOENT) return TOON_OK;
  if (e) return toon_fail_os(err, e, "readdir", engine->directory);
  if (r->found_count) qsort(r->found, r->found_count, sizeof *r->found, by_id);
  return manifest_read(engine->vfs, engine->directory, &r->manifest, &r->state, err);
}

toon_status recovery_corrupt(recovery *r, uint32_t segment, uint64_t offset, toon_error *err, const char *what) {
  toon_buf path = {0};
  if (log_segment_path(r->engine->directory, segment, &path) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  toon_fail_at(err, TOON_ECORRUPT, (char *)path.ptr, (int64_t)offset, "%s; restore a backup%s", what,
               r->engine->options.repair ? "" : ", or open with repair: true to keep what is before it");
  toon_buf_free(&path);
  return TOON_ECORRUPT;
}

static void rebuild(recovery *r, const char *why) {
  r->rebuild = true;
  if (!r->engine->recovery.rebuilt_because) r->engine->recovery.rebuilt_because = why;
}

/* Take found segment `at` and all behind it out of the log; cut_tail() unlinks them. */
static void drop_from(recovery *r, size_t at) {
  for (size_t i = at; i < r->found_count; i++) { /* their sizes, for the report */
    toon_error ignored;
    log_header header = {0};
    log_segment_inspect(r->engine->vfs, r->engine->directory, r->found[i].id, &header, &ignored);
    r->found[i].file_size = header.file_size;
  }
  r->dropped_from = at;
  r->dropped_count = r->found_count - at;
  r->found_count = at;
}

/* Older than the replay position and not in a sound manifest: what a compaction has replaced. Nothing in it matters. */
static bool is_replaced(const recovery *r, uint32_t id) {
  if (r->state != MANIFEST_SOUND || id >= r->manifest.replay_segment) return false;
  for (size_t i = 0; i < r->manifest.segment_count; i++)
    if (r->manifest.segments[i].id == id) return false;
  return true;
}

/* Read the headers; agree on the store id; drop a last file whose creation was cut short, or, in a repair, the log from a
 * damaged header on. */
static toon_status check_headers(recovery *r, toon_error *err) {
  store_engine *engine = r->engine;
  bool known = r->state == MANIFEST_SOUND;
  engine->store_id = r->manifest.store_id;
  for (size_t i = 0; i < r->found_count; i++) {
    found_segment *f = &r->found[i];
    log_header header;
    const char *wrong = NULL;
    uint64_t offset = 0;
    if (i && f->id - r->found[i - 1].id > HOLE_MAX)
      return recovery_corrupt(r, f->id, 0, err, "the numbers of the segments have a hole that no compaction leaves");
    if (is_replaced(r, f->id)) continue;
    toon_status status = log_segment_inspect(engine->vfs, engine->directory, f->id, &header, err);
    if (status == TOON_EFORMAT && err->offset == 0 && (r->state == MANIFEST_SOUND || (i && engine->options.repair)))
      wrong = "the segment's header is damaged";
    else if (status != TOON_OK)
      return status;
    else if (!header.complete && i + 1 == r->found_count && !(known && f->id <= r->manifest.replay_segment)) {
      drop_from(r, i);
      break;
    } else if (!header.complete) {
      wrong = "the segment's header is cut short";
    } else if (known && header.store_id != engine->store_id) {
      wrong = "the segment belongs to another store";
      offset = 12;
    }
    if (wrong) {
      /* Nothing is before the first. And without a manifest the id may be wrong in the header that was believed. */
      bool certain = i && (!offset || r->state == MANIFEST_SOUND);
      if (!engine->options.repair || !certain) return recovery_corrupt(r, f->id, offset, err, wrong);
      drop_from(r, i);
      break;
    }
    f->file_size = header.file_size;
    f->nlink = header.nlink;
    engine->store_id = header.store_id;
    known = true;
  }
  return TOON_OK;
}

static found_segment *find_segment(recovery *r, uint32_t id) {
  for (size_t i = 0; i < r->found_count; i++)
    if (r->found[i].id == id) return &r->found[i];
  return NULL;
}

/* Does the frame that ends at `position` carry this CRC? */
static toon_status check_recorded_end(recovery *r, uint32_t id, uint64_t position, uint32_t crc, toon_error *err) {
  store_engine *engine = r->engine;
  toon_buf path = {0};
  os_file *file = NULL;
  uint8_t tail[LOG_FRAME_MAX];
  size_t want = position - LOG_HEADER_SIZE < sizeof tail ? (size_t)(position - LOG_HEADER_SIZE) : sizeof tail, got = 0;
  toon_status status = TOON_OK;
  log_frame frame;
  if (log_segment_path(engine->directory, id, &path) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  int e = engine->vfs->open(engine->vfs, (char *)path.ptr, OS_READ, &file);
  if (!e) e = engine->vfs->pread(engine->vfs, file, tail, want, position - want, &got);
  if (e) {
    status = toon_fail_os(err, e, file ? "read" : "open", (char *)path.ptr);
  } else {
    size_t start = got;
    while (start > 1 && tail[start - 2] != '\n') start--;
    start -= start > 0;
    if (got != want || !log_frame_parse(toon_slice_of(tail + start, got - start), &frame) || frame.crc != crc)
      status =
          recovery_corrupt(r, id, position, err, "the log does not hold the commit that the manifest records here");
  }
  if (file) engine->vfs->close(engine->vfs, file);
  toon_buf_free(&path);
  return status;
}

/* Hold the segments against the manifest. */
static toon_status check_manifest(recovery *r, toon_error *err) {
  const store_manifest *m = &r->manifest;
  for (size_t i = 0; i < m->segment_count; i++) { /* all of them, before anything can be found wrong */
    found_segment *f = find_segment(r, m->segments[i].id);
    if (f) f->listed = true;
  }
  for (size_t i = 0; i < m->segment_count; i++) {
    const manifest_segment *s = &m->segments[i];
    found_segment *f = find_segment(r, s->id);
    if (!f) return recovery_corrupt(r, s->id, 0, err, "a segment of the log is missing");
    f->must_reach = s->bytes;
    f->dead = s->dead;
    f->overhead = s->overhead;
    f->deletes = s->deletes;
    f->last_crc = s->crc;
    if (s->bytes < LOG_HEADER_SIZE || f->file_size < s->bytes)
      return recovery_corrupt(r, s->id, f->file_size, err, "the segment is shorter than the manifest records");
    if (m->clean && f->file_size != s->bytes)
      return recovery_corrupt(r, s->id, s->bytes, err,
                              "the store was closed, yet the log goes on behind its recorded end");
    if (s->bytes > LOG_HEADER_SIZE) TOON_TRY(check_recorded_end(r, s->id, s->bytes, s->crc, err));
  }
  const manifest_segment *last = &m->segments[m->segment_count - 1];
  if (last->bytes != m->replay_position || last->crc != m->replay_crc) rebuild(r, "the manifest contradicted itself");
  for (size_t i = 0; i < r->found_count; i++) {
    const found_segment *f = &r->found[i];
    /* A roll that failed may have left the next one, without a group: it becomes the tail. */
    bool stray = i + 1 == r->found_count && f->id == m->replay_segment + 1 && f->file_size == LOG_HEADER_SIZE;
    if (m->clean && !f->listed && f->id > m->replay_segment && !stray)
      return recovery_corrupt(r, f->id, 0, err, "the store was closed, yet there is a later segment");
  }
  return TOON_OK;
}

static toon_status open_runs(recovery *r, toon_error *err) {
  store_engine *engine = r->engine;
  toon_buf path = {0};
  toon_status status = TOON_OK;
  r->runs = toon_calloc(r->manifest.run_count, sizeof *r->runs);
  if (!r->runs) return toon_fail(err, TOON_ENOMEM, NULL);
  for (size_t i = 0; i < r->manifest.run_count && !r->rebuild; i++) {
    const manifest_run *m = &r->manifest.runs[i];
    index_run *run = NULL;
    path.len = 0;
    if (toon_buf_printf(&path, "%s/db.toon.idx-%llu", engine->directory, (unsigned long long)m->number) != TOON_OK) {
      status = toon_fail(err, TOON_ENOMEM, NULL);
      break;
    }
    status = index_run_open(engine->vfs, (char *)path.ptr, m->number, engine->store_id, ENGINE_VERIFY_RUN, &run, err);
    if (status == TOON_OK && index_run_get_info(run)->file_size != m->bytes) {
      index_run_close(run);
      rebuild(r, "an index file had the wrong size");
    } else if (status == TOON_OK) {
      r->runs[i] = store_run_new(engine->vfs, run);
      if (!r->runs[i]) {
        index_run_close(run);
        status = toon_fail(err, TOON_ENOMEM, NULL);
      } else {
        r->run_count++;
      }
    } else if (engine->options.read_only && err->os_errno == ENOENT && engine->attempts_left) {
      break; /* a writer beside us has just merged it away: look again */
    } else if (status == TOON_ECORRUPT || (err->os_errno == ENOENT && err->syscall)) {
      rebuild(r, "an index file was missing or damaged");
      status = TOON_OK;
    }
    if (status != TOON_OK) break;
  }
  toon_buf_free(&path);
  if (r->rebuild) {
    for (size_t i = 0; i < r->run_count; i++) store_run_unref(r->runs[i]);
    r->run_count = 0;
  }
  return status;
}

/* Without a manifest the log itself says which segments there are: those that its newest list names, and all behind the one
 * that has it. A log of an older version has no list. Where the log ends has been found; nothing has been cut. */
static toon_status check_list(recovery *r, toon_error *err) {
  static const char missing[] = "a segment of the log is missing (later ones name it)";
  toon_slice list = r->list;
  uint32_t first, last;
  size_t i = 0;
  if (!list.ptr || r->state == MANIFEST_SOUND || r->engine->options.repair) return TOON_OK;
  while (list.len && log_take_segments(&list, &first, &last)) {
    while (i < r->found_count && r->found[i].id < first) i++;
    for (uint64_t id = first; id <= last; id++, i++)
      if (i == r->found_count || r->found[i].id != id) return recovery_corrupt(r, (uint32_t)id, 0, err, missing);
  }
  while (i < r->found_count && r->found[i].id <= r->list_segment) i++;
  for (uint64_t id = (uint64_t)r->list_segment + 1; i < r->found_count; i++, id++)
    if (r->found[i].id != id) return recovery_corrupt(r, (uint32_t)id, 0, err, missing);
  return TOON_OK;
}

/* ------------------------------------------------------------------ segments and the first view */

/* A segment with several hard links is part of somebody's backup: never write into it. */
static toon_status unshare_segment(recovery *r, found_segment *f, toon_error *err) {
  store_engine *engine = r->engine;
  os_vfs *vfs = engine->vfs;
  toon_buf path = {0}, temp = {0};
  os_file *from = NULL, *to = NULL;
  uint8_t *bytes = toon_malloc(COPY_STEP);
  const char *call = "open";
  int e = 0;
  toon_status status = TOON_OK;
  if (!bytes || log_segment_path(engine->directory, f->id, &path) != TOON_OK ||
      toon_buf_printf(&temp, "%s.copy", (char *)path.ptr) != TOON_OK) {
    status = toon_fail(err, TOON_ENOMEM, NULL);
    goto out;
  }
  if ((e = vfs->open(vfs, (char *)path.ptr, OS_READ, &from))) goto out;
  if ((e = vfs->open(vfs, (char *)temp.ptr, OS_WRITE | OS_CREATE | OS_TRUNCATE, &to))) goto out;
  call = "write";
  for (uint64_t at = 0; at < f->file_size;) {
    size_t got;
    if ((e = vfs->pread(vfs, from, bytes, COPY_STEP, at, &got)) || (e = vfs->pwrite(vfs, to, bytes, got, at))) goto out;
    if (!got) break;
    at += got;
  }
  call = "fsync";
  if ((e = vfs->sync(vfs, to)) || (e = vfs->dirsync(vfs, engine->directory))) goto out;
  call = "rename";
  if ((e = vfs->rename(vfs, (char *)temp.ptr, (char *)path.ptr))) goto out;
  call = "fsync";
  e = vfs->dirsync(vfs, engine->directory);
  f->own = !e;
out:
  if (e) status = toon_fail_os(err, e, call, (char *)path.ptr);
  if (from) vfs->close(vfs, from);
  if (to) vfs->close(vfs, to);
  toon_free(bytes);
  toon_buf_free(&path);
  toon_buf_free(&temp);
  return status;
}

/* Read-only stores never map bytes that a writer may still cut off: what replay will look at is read instead. */
static toon_status read_segment(recovery *r, found_segment *f, toon_error *err) {
  store_engine *engine = r->engine;
  toon_buf path = {0};
  os_file *file = NULL;
  size_t got = 0;
  toon_status status = TOON_OK;
  if (log_segment_path(engine->directory, f->id, &path) != TOON_OK ||
      toon_buf_reserve(&f->copy, (size_t)f->file_size + 1) != TOON_OK) {
    toon_buf_free(&path);
    return toon_fail(err, TOON_ENOMEM, NULL);
  }
  int e = engine->vfs->open(engine->vfs, (char *)path.ptr, OS_READ, &file);
  if (!e) e = engine->vfs->pread(engine->vfs, file, f->copy.ptr, (size_t)f->file_size, 0, &got);
  if (e) status = toon_fail_os(err, e, file ? "read" : "open", (char *)path.ptr);
  f->copy.len = got;
  f->bytes = toon_buf_slice(&f->copy);
  if (file) engine->vfs->close(engine->vfs, file);
  toon_buf_free(&path);
  return status;
}

static bool replays(const recovery *r, const found_segment *f) {
  return r->rebuild || f->id >= r->manifest.replay_segment;
}

static toon_status open_segments(recovery *r, toon_error *err) {
  store_engine *engine = r->engine;
  bool read_only = engine->options.read_only;
  for (size_t i = 0; i < r->found_count; i++) {
    found_segment *f = &r->found[i];
    bool last = i + 1 == r->found_count;
    if (read_only && replays(r, f)) {
      TOON_TRY(read_segment(r, f, err)); /* opened when the length is known */
      continue;
    }
    if (last && f->nlink > 1 && !read_only) TOON_TRY(unshare_segment(r, f, err));
    size_t map = read_only ? (size_t)f->must_reach : last ? (size_t)engine->options.segment_size : (size_t)f->file_size;
    TOON_TRY(log_segment_open(engine->vfs, engine->directory, f->id, map, read_only, &f->segment, err));
    f->bytes = toon_slice_of(f->segment->map, (size_t)f->file_size);
    if (!replays(r, f)) log_segment_publish(f->segment, f->must_reach);
    f->segment->last_crc = f->last_crc;
    if (f->listed && !r->rebuild) {
      atomic_store(&f->segment->dead, f->dead);
      atomic_store(&f->segment->overhead, f->overhead);
      atomic_store(&f->segment->deletes, f->deletes);
    }
  }
  return TOON_OK;
}

/* The view of what has been opened. Called again when segments were dropped or, read-only, opened at last. */
static toon_status make_view(recovery *r, toon_error *err) {
  store_engine *engine = r->engine;
  store_view *old = atomic_load(&engine->view), *view = NULL;
  log_segment **segments = toon_malloc((r->found_count + 1) * sizeof *segments);
  index_delta *active = old ? old->deltas[0] : index_delta_new(&engine->pool);
  size_t n = 0;
  if (segments && active) {
    for (size_t i = 0; i < r->found_count; i++)
      if (r->found[i].segment) segments[n++] = r->found[i].segment;
    view = old ? view_new(active, old->deltas[1], old->runs, old->run_count, segments, n)
               : view_new(active, NULL, r->runs, r->run_count, segments, n);
  }
  if (!old) index_delta_unref(active);
  toon_free(segments);
  if (!view) return toon_fail(err, TOON_ENOMEM, NULL);
  engine_swap_view(engine, view);
  engine_release_retired(engine);
  return TOON_OK;
}

/* ------------------------------------------------------------------ cutting and rewriting */

static bool only_newlines(toon_slice bytes, uint64_t from) {
  for (uint64_t i = from; i < bytes.len; i++)
    if (bytes.ptr[i] != '\n') return false;
  return true;
}

/* Open the segment anew, with room for `map` bytes. The view still has the old one; nobody reads it. */
static toon_status reopen_segment(recovery *r, found_segment *f, size_t map, toon_error *err) {
  log_segment *old = f->segment, *fresh;
  TOON_TRY(log_segment_open(r->engine->vfs, r->engine->directory, f->id, map, false, &fresh, err));
  fresh->last_crc = old->last_crc;
  atomic_store(&fresh->dead, atomic_load(&old->dead));
  atomic_store(&fresh->dead_frozen, atomic_load(&old->dead_frozen));
  atomic_store(&fresh->dead_active, atomic_load(&old->dead_active));
  atomic_store(&fresh->overhead, atomic_load(&old->overhead));
  atomic_store(&fresh->deletes, atomic_load(&old->deletes));
  log_segment_publish(fresh, atomic_load(&old->length));
  log_segment_unref(old);
  f->segment = fresh;
  f->bytes = toon_slice_of(fresh->map, (size_t)f->file_size);
  return TOON_OK;
}

/* The file ends where the segment's last group does: make it so on disk. The last segment (`tail`) will be written to. */
static toon_status end_segment(recovery *r, found_segment *f, bool tail, toon_error *err) {
  store_engine *engine = r->engine;
  uint64_t end = atomic_load(&f->segment->length);
  size_t map = f->segment->map_len;
  bool longer = f->segment->padded != end, shared = f->nlink > 1 && !f->own && (longer || tail);
  if (shared) TOON_TRY(unshare_segment(r, f, err));
  /* One that had later segments behind it was mapped without room to grow. */
  if (tail && map < engine->options.segment_size) map = (size_t)engine->options.segment_size;
  if (shared || map != f->segment->map_len) TOON_TRY(reopen_segment(r, f, map, err));
  if (!longer) return TOON_OK;
  TOON_TRY(log_segment_trim(f->segment, end, err));
  int e = engine->vfs->sync(engine->vfs, f->segment->file);
  return e ? toon_fail_os(err, e, "fsync", f->segment->path) : TOON_OK;
}

static void name_cut(store_recovery *report, uint32_t segment, uint64_t offset) {
  report->cut_offset = offset;
  if (segment == 0)
    snprintf(report->cut_file, sizeof report->cut_file, "db.toon");
  else
    snprintf(report->cut_file, sizeof report->cut_file, "db.%lu.toon", (unsigned long)segment);
}

/* What is not newlines behind `offset` of the segment will be cut: report it. */
static void report_cut(recovery *r, const found_segment *f, uint64_t offset) {
  if (only_newlines(f->bytes, offset)) return;
  r->engine->recovery.cut_bytes += f->bytes.len - offset;
  name_cut(&r->engine->recovery, f->id, offset);
}

/* The log ends at `offset` of found segment `index`: make it so on disk, and let no earlier segment go on behind its last
 * group either (the newlines that a failed roll has left there, say): a clean manifest will have no byte more. */
static toon_status cut_tail(recovery *r, size_t index, uint64_t offset, toon_error *err) {
  store_engine *engine = r->engine;
  store_recovery *report = &engine->recovery;
  int e = 0;
  if (engine->options.repair && r->dropped_count) {
    for (size_t i = 0; i < r->dropped_count; i++) report->cut_bytes += r->found[r->dropped_from + i].file_size;
    report->segments_removed += (uint32_t)r->dropped_count;
    name_cut(report, r->found[r->dropped_from].id, 0);
  }
  for (size_t i = 0; i < index && !engine->options.read_only; i++)
    report_cut(r, &r->found[i], atomic_load(&r->found[i].segment->length));
  report_cut(r, &r->found[index], offset);
  bool unlinked = r->dropped_count > 0;
  for (size_t i = r->dropped_from + r->dropped_count; i-- > r->dropped_from;) { /* newest first, as those below */
    const found_segment *gone = &r->found[i];
    toon_buf path = {0};
    if (engine->options.read_only) break;
    if (log_segment_path(engine->directory, gone->id, &path) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
    e = engine->vfs->unlink(engine->vfs, (char *)path.ptr);
    toon_buf_free(&path);
    if (e) return toon_fail_os(err, e, "unlink", engine->directory);
  }
  while (r->found_count > index + 1) { /* newest first: what is left is always a prefix of the log */
    found_segment *gone = &r->found[r->found_count - 1];
    report->cut_bytes += gone->bytes.len;
    report->segments_removed++;
    unlinked = true;
    if (!engine->options.read_only) {
      e = engine->vfs->unlink(engine->vfs, gone->segment->path);
      if (e) return toon_fail_os(err, e, "unlink", gone->segment->path);
      log_segment_unref(gone->segment);
      gone->segment = NULL;
    }
    toon_buf_free(&gone->copy);
    r->found_count--;
  }
  if (engine->options.read_only) return TOON_OK;
  if (unlinked && (e = engine->vfs->dirsync(engine->vfs, engine->directory)))
    return toon_fail_os(err, e, "fsync", engine->directory);
  log_segment_publish(r->found[index].segment, offset);
  for (size_t i = 0; i <= index; i++) TOON_TRY(end_segment(r, &r->found[i], i == index, err));
  return TOON_OK;
}

/* The manifest on disk may call the log clean. Before a rebuild changes the log it is written again, without that: should we
 * not get as far as our own manifest, the log goes on behind its recorded end, and that is right. */
static toon_status withdraw_recorded_clean(recovery *r, toon_error *err) {
  bool named;
  if (r->state != MANIFEST_SOUND || !r->manifest.clean) return TOON_OK;
  r->manifest.clean = false;
  return manifest_write(r->engine->vfs, r->engine->directory, &r->manifest, &named, err);
}

/* Write bytes [from, end) of a segment again and sync it: the page cache may hold what the disk has lost. */
static toon_status rewrite_segment(recovery *r, found_segment *f, uint64_t from, uint8_t *bytes, toon_error *err) {
  os_vfs *vfs = r->engine->vfs;
  uint64_t end = atomic_load(&f->segment->length);
  for (uint64_t at = from; at < end;) {
    size_t n = end - at < COPY_STEP ? (size_t)(end - at) : COPY_STEP;
    memcpy(bytes, f->segment->map + at, n);
    if (os_map_damaged(f->segment->map))
      return toon_fail_at(err, TOON_ECORRUPT, f->segment->path, (int64_t)at,
                          "the log file was cut short, or cannot be read");
    int e = vfs->pwrite(vfs, f->segment->file, bytes, n, at);
    if (e == ENOSPC || e == EDQUOT)
      break; /* a copy-on-write file system that is full: syncing is all that can be done */
    if (e) return toon_fail_os(err, e, "write", f->segment->path);
    at += n;
    r->engine->recovery.rewritten += n;
  }
  return log_segment_sync(f->segment, err);
}

static toon_status rewrite_unsynced(recovery *r, uint64_t synced, toon_error *err) {
  store_engine *engine = r->engine;
  if (synced >= engine->sequence || !r->found_count) return TOON_OK;
  uint8_t *bytes = toon_malloc(COPY_STEP);
  toon_status status = TOON_OK;
  if (!bytes) return toon_fail(err, TOON_ENOMEM, NULL);
  /* The first segment with a group beyond `synced`, and that group's place in it. */
  for (size_t i = 0; i < r->found_count && status == TOON_OK; i++) {
    found_segment *f = &r->found[i];
    if (!f->first_sequence || f->last_sequence <= synced) continue;
    uint64_t offset = f->replay_from, next;
    if (f->first_sequence <= synced) {
      toon_slice text, readable = toon_slice_of(f->segment->map, (size_t)atomic_load(&f->segment->length));
      log_frame frame;
      while (log_next_group(readable, offset, engine->store_id, &text, &frame, &next) == LOG_GROUP &&
             frame.sequence <= synced)
        offset = next;
    }
    status = rewrite_segment(r, f, offset, bytes, err);
  }
  toon_free(bytes);
  return status;
}

/* ------------------------------------------------------------------ the whole */

static void remove_strays(recovery *r) {
  store_engine *engine = r->engine;
  toon_buf path = {0};
  for (size_t i = 0; i < r->run_number_count; i++) {
    bool named = false;
    for (size_t j = 0; j < r->manifest.run_count && !r->rebuild; j++)
      named = named || r->manifest.runs[j].number == r->run_numbers[i];
    path.len = 0;
    if (!named && toon_buf_printf(&path, "%s/db.toon.idx-%llu", engine->directory,
                                  (unsigned long long)r->run_numbers[i]) == TOON_OK)
      engine->vfs->unlink(engine->vfs, (char *)path.ptr); /* a stray that stays does no harm */
  }
  for (size_t i = 0; r->copies && i < r->found_count; i++) { /* of a segment that was being unshared */
    path.len = 0;
    if (log_segment_path(engine->directory, r->found[i].id, &path) == TOON_OK &&
        toon_buf_lit(&path, ".copy\0") == TOON_OK)
      engine->vfs->unlink(engine->vfs, (char *)path.ptr);
  }
  path.len = 0;
  if (r->spill && toon_buf_printf(&path, "%s/" RUN_SPILL_NAME, engine->directory) == TOON_OK)
    engine->vfs->unlink(engine->vfs, (char *)path.ptr);
  path.len = 0;
  if (toon_buf_printf(&path, "%s/metadata.toon.tmp", engine->directory) == TOON_OK)
    engine->vfs->unlink(engine->vfs, (char *)path.ptr);
  toon_buf_free(&path);
}

/* Segments older than the replay position that the manifest does not list are what a compaction had replaced. */
static void remove_replaced_segments(recovery *r) {
  size_t kept = 0;
  for (size_t i = 0; i < r->found_count; i++) {
    found_segment *f = &r->found[i];
    if (!is_replaced(r, f->id)) {
      r->found[kept++] = *f;
      continue;
    }
    toon_buf path = {0};
    if (!r->engine->options.read_only) {
      r->engine->removed_unsynced = true;
      if (log_segment_path(r->engine->directory, f->id, &path) != TOON_OK ||
          r->engine->vfs->unlink(r->engine->vfs, (char *)path.ptr))
        r->engine->ghosts = true;
    }
    toon_buf_free(&path);
  }
  r->found_count = kept;
}

static toon_status create_store(recovery *r, toon_error *err) {
  store_engine *engine = r->engine;
  found_segment f = {.id = 0};
  int e = os_random(&engine->store_id, sizeof engine->store_id);
  if (e) return toon_fail_os(err, e, "getrandom", engine->directory);
  TOON_TRY(log_segment_create(engine->vfs, engine->directory, 0, engine->store_id, (size_t)engine->options.segment_size,
                              &f.segment, err));
  r->found[0] = f;
  r->found_count = 1;
  engine->tail = f.segment;
  /* The header is on disk before anything stands behind it: what a power cut leaves is then known for what it is. */
  e = engine->vfs->sync(engine->vfs, f.segment->file);
  if (!e) e = engine->vfs->dirsync(engine->vfs, engine->directory);
  if (e) return toon_fail_os(err, e, "fsync", f.segment->path);
  TOON_TRY(make_view(r, err));
  /* The first group is empty, so that sequence and next row id always have a frame to stand in. */
  TOON_TRY(commit_write_group(engine, true, err));
  return engine_checkpoint(engine, false, err);
}

static toon_status recover(recovery *r, bool may_create, toon_error *err) {
  store_engine *engine = r->engine;
  store_recovery *report = &engine->recovery;
  toon_status status;
  r->found = toon_malloc(sizeof *r->found);
  if (!r->found) return toon_fail(err, TOON_ENOMEM, NULL);
  r->state = MANIFEST_MISSING;
  TOON_TRY(look_around(r, err));
  if (!r->found_count && r->state != MANIFEST_MISSING) return recovery_corrupt(r, 0, 0, err, "the log is missing");
  if (r->found_count) TOON_TRY(check_headers(r, err));
  if (!r->found_count) { /* nothing, or a file whose creation was cut short */
    if (engine->options.read_only || !may_create) return engine_absent(engine->directory, &engine->options, err);
    return create_store(r, err);
  }
  if (engine->options.error_if_exists)
    return toon_fail_at(err, TOON_EINVAL, engine->directory, -1, "there is a store here already (errorIfExists)");

  if (engine->options.repair) rebuild(r, "repair was asked for");
  if (r->state == MANIFEST_SOUND) {
    status = check_manifest(r, err);
    if (status == TOON_ECORRUPT && engine->options.repair) {
      rebuild(r, "repair: the log and the manifest disagreed");
      for (size_t i = 0; i < r->found_count; i++) r->found[i].must_reach = 0;
      status = TOON_OK;
    }
    if (status != TOON_OK) return status;
    remove_replaced_segments(r);
    TOON_TRY(open_runs(r, err));
  } else {
    rebuild(r, r->state == MANIFEST_MISSING ? "the manifest was missing" : "the manifest was damaged");
  }
  report->rebuilt = r->rebuild;
  if (!r->rebuild) columns_expect(engine, &r->manifest);
  if (r->rebuild && !engine->options.read_only) TOON_TRY(columns_remove_all(engine, err));
  report->clean = r->state == MANIFEST_SOUND && r->manifest.clean && !r->rebuild;
  TOON_TRY(open_segments(r, err));
  TOON_TRY(make_view(r, err));
  if (r->state == MANIFEST_SOUND && !r->rebuild) {
    engine->replay = (store_position){r->manifest.replay_segment,
                                      r->manifest.replay_crc,
                                      r->manifest.replay_position,
                                      r->manifest.replay_sequence,
                                      r->manifest.next_row,
                                      r->manifest.segments[r->manifest.segment_count - 1].overhead,
                                      r->manifest.segments[r->manifest.segment_count - 1].deletes};
    engine->sequence = r->manifest.replay_sequence;
    engine->next_row = r->manifest.next_row;
    engine->tail_crc = r->manifest.replay_crc;
  }
  atomic_store(&engine->published, engine->sequence);
  atomic_store(&engine->published_row, engine->next_row);
  engine->manifest_clean = report->clean;

  size_t end_index;
  uint64_t end_offset, synced;
  TOON_TRY(replay_log(r, &end_index, &end_offset, &synced, err));
  TOON_TRY(check_list(r, err));
  if (r->rebuild && !engine->options.read_only) TOON_TRY(withdraw_recorded_clean(r, err));
  TOON_TRY(cut_tail(r, end_index, end_offset, err));
  if (engine->options.read_only) {
    for (size_t i = 0; i < r->found_count; i++) {
      found_segment *f = &r->found[i];
      if (f->segment) continue;
      TOON_TRY(log_segment_open(engine->vfs, engine->directory, f->id, (size_t)f->replay_end, true, &f->segment, err));
    }
    TOON_TRY(make_view(r, err));
    engine->tail = r->found[r->found_count - 1].segment;
    return TOON_OK;
  }
  remove_strays(r);
  TOON_TRY(make_view(r, err));
  engine->tail = r->found[end_index].segment;
  TOON_TRY(rewrite_unsynced(r, synced, err));
  atomic_store(&engine->synced, engine->sequence);
  if (!r->rebuild) return TOON_OK;
  engine->list_segments = engine->options.repair; /* a segment that is gone is not asked for again */
  if (engine->list_segments || !engine->sequence || atomic_load(&engine->tail->length) == LOG_HEADER_SIZE) {
    engine->group.len = 0;
    engine->insert_count = 0;
    TOON_TRY(commit_write_group(engine, true, err));
  }
  return engine_checkpoint(engine, false, err);
}

toon_status engine_absent(const char *path, const toon_options *options, toon_error *err) {
  return toon_fail_at(err, TOON_ENOTFOUND, path, -1, "%s",
                      options->read_only ? "there is no store here, and readOnly does not make one"
                                         : toon_status_text(TOON_ENOTFOUND));
}

toon_status engine_recover(store_engine *engine, bool may_create, toon_error *err) {
  recovery r = {.engine = engine};
  toon_error local;
  uint64_t start = engine_now_ns(engine);
  toon_status status = recover(&r, may_create, err ? err : &local);
  for (size_t i = 0; i < r.found_count; i++) {
    if (r.found[i].segment) log_segment_unref(r.found[i].segment); /* the view has its own references */
    toon_buf_free(&r.found[i].copy);
  }
  for (size_t i = 0; i < r.run_count; i++) store_run_unref(r.runs[i]);
  toon_free(r.runs);
  toon_free(r.found);
  toon_free(r.run_numbers);
  manifest_free(&r.manifest);
  engine->recovery.microseconds = (engine_now_ns(engine) - start) / 1000;
  return status;
}
