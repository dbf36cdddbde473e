/* Documents with their ids as JSON. */
#include "toon/item.h"

#include "toon/project.h"
#include "toon/scan.h"

/* Whether the text has _id somewhere, perhaps as the name of a field. */
static bool mentions_id(toon_slice text) {
  const uint8_t *p = text.ptr, *end = p + text.len;
  while (p < end && (p = memchr(p, '_', (size_t)(end - p)))) {
    if (end - p >= 3 && p[1] == 'i' && p[2] == 'd') return true;
    p++;
  }
  return false;
}

static toon_status put_id(toon_slice id, toon_buf *out) {
  TOON_TRY(toon_buf_lit(out, "\"_id\":"));
  return toon_put_json_string(out, id);
}

toon_status toon_item_json(toon_projection *projection, toon_slice id, toon_slice field, toon_buf *out,
                           toon_error *err) {
  size_t len = out->len;
  id = toon_slice_some(id);
  toon_status status = projection ? toon_projection_set_id(projection, id) : toon_buf_byte(out, '{');
  if (status != TOON_OK) return toon_fail(err, status, NULL);
  if (projection) return toon_projection_json(projection, field, out, err);
  status = put_id(id, out);
  size_t at = out->len;
  if (status == TOON_OK) {
    status = toon_field_to_json(field, out, err);
    if (status != TOON_OK) {
      out->len = len;
      return status;
    }
    if (out->len - at == 2) { /* no fields */
      out->len = at;
      status = toon_buf_byte(out, '}');
    } else {
      out->ptr[at] = ',';
      if (mentions_id(field)) { /* the last one of a name counts, and stands where the first is */
        out->ptr[out->len - 1] = ',';
        status = put_id(id, out);
        if (status == TOON_OK) status = toon_buf_byte(out, '}');
      }
    }
  }
  if (status == TOON_OK) return TOON_OK;
  out->len = len;
  return toon_fail(err, status, NULL);
}
