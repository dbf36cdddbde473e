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

/* Close every cursor and snapshot of a store; free its arenas that were not submitted. */
void cursors_close(Store *store);
void snapshots_close(Store *store);
void arenas_free(Store *store);

} // namespace toonstore

#endif
