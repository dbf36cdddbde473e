/* A range as JavaScript gives it, with its bounds kept. */
#ifndef TOON_NAPI_RANGE_H
#define TOON_NAPI_RANGE_H

#include "convert.h"

namespace toonstore {

struct Range {
  /* Read five arguments: lower, upper, prefix (undefined or a key), flags, limit. False with an exception
   * pending. */
  bool read(Env *e, const napi_value *argv);

  toon_range toon = {};
  std::unique_ptr<uint8_t[]> memory[3];
};

/* Paths as JavaScript gives them: undefined or an array of arrays of names. */
struct Paths {
  /* False with an exception pending. */
  bool read(Env *e, napi_value paths);

  bool given = false;
  std::vector<toon_path> list; /* into the following */
  std::vector<toon_slice> names;
  std::vector<std::string> texts;
};

/* The fields that JavaScript asks for. */
struct Projection {
  Projection() = default;
  Projection(const Projection &) = delete;
  Projection &operator=(const Projection &) = delete;
  ~Projection() { toon_projection_free(toon); }

  /* Read undefined or an array of paths, each an array of names. False with an exception pending. */
  bool read(Env *e, napi_value paths, bool nulls);
  /* Whether the value of a row with these flags is not handed out as it is. */
  bool concerns(uint8_t flags) const { return toon && (flags & 7) >= TOON_ARRAY; }
  /* Append what is picked of a value: JSON for MODE_VALUE, else TOON text. */
  toon_status pick(toon_slice field, int mode, toon_buf *out, toon_error *err);

  toon_projection *toon = nullptr;
};

/* A value from what pick() gave. */
toon_status make_picked(Env *e, toon_slice picked, int mode, napi_value *out, uint8_t *kind, toon_error *err);

/* Close every query, cursor and snapshot of a store; free its arenas that were not submitted. */
void queries_close(Store *store);
void cursors_close(Store *store);
void snapshots_close(Store *store);
void arenas_free(Store *store);

} // namespace toonstore

#endif
