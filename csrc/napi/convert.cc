/* Keys and values between JavaScript and the engine.
 *
 * Strings are read as UTF-16: N-API's Latin-1 reader drops high bytes and its UTF-8 reader hides lone
 * surrogates and is the slowest. They are made from Latin-1 when the text is ASCII and from UTF-16 otherwise,
 * for the same reason. Bytes are always copied: embedders with a memory cage refuse buffers on foreign
 * memory, and mapped memory may go away. */
#include "convert.h"

#include <string.h>

namespace toonstore {

namespace {

/* The bytes of a Uint8Array (a Buffer is one). */
bool byte_array(Env *e, napi_value value, toon_slice *out) {
  bool is = false;
  if (napi_is_typedarray(e->env, value, &is) != napi_ok || !is) return false;
  napi_typedarray_type type;
  size_t length;
  void *data;
  if (napi_get_typedarray_info(e->env, value, &type, &length, &data, nullptr, nullptr) != napi_ok) return false;
  if (type != napi_uint8_array) return false;
  *out = toon_slice_of(data, length);
  return true;
}

bool read_units(Env *e, napi_value value, size_t *count, uint64_t max = UINT64_MAX) {
  if (toon_buf_reserve(&e->units, 4096) == TOON_OK) {
    size_t room = e->units.cap / 2, n;
    auto *units = reinterpret_cast<char16_t *>(e->units.ptr);
    napi_status status = napi_get_value_string_utf16(e->env, value, units, room, &n);
    if (status != napi_ok) {
      fail_type(e, "a string was expected");
      return false;
    }
    if (n + 1 < room) {
      *count = n;
      return true;
    }
    napi_get_value_string_utf16(e->env, value, nullptr, 0, &n);
    if (n > max) { /* no unit takes less than a byte */
      toon_error err;
      toon_fail(&err, TOON_EVALUETOOBIG, "the value has %zu bytes; maxValueSize is %llu", n, (unsigned long long)max);
      fail(e, &err);
      return false;
    }
    if (toon_buf_reserve(&e->units, 2 * (n + 2)) == TOON_OK) {
      units = reinterpret_cast<char16_t *>(e->units.ptr);
      napi_get_value_string_utf16(e->env, value, units, e->units.cap / 2, count);
      return true;
    }
  }
  fail(e, TOON_ENOMEM, nullptr);
  return false;
}

/* JSON.stringify writes a lone surrogate, and nothing else, as an escape \ud…; text from elsewhere may escape
 * pairs. */
bool has_lone_escape(toon_slice json) {
  const uint8_t *p = json.ptr, *end = json.ptr + json.len;
  auto surrogate = [&](const uint8_t *at) -> unsigned {
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || (at[2] | 32) != 'd') return 0;
    unsigned unit = 0;
    for (int i = 2; i < 6; i++) {
      uint8_t c = at[i] | 32;
      unit = unit << 4 | (at[i] <= '9' ? at[i] - '0' : c - 'a' + 10u);
    }
    return unit >= 0xD800 && unit < 0xE000 ? unit : 0;
  };
  while ((p = static_cast<const uint8_t *>(memchr(p, '\\', (size_t)(end - p))))) {
    unsigned unit = surrogate(p);
    if (!unit) {
      p += 2; /* an escape takes at least two bytes; JSON text never ends within one */
    } else {
      unsigned next = unit < 0xDC00 ? surrogate(p + 6) : 0;
      if (next < 0xDC00) return true;
      p += 12;
    }
    if (p >= end) break;
  }
  return false;
}

/* Exact for up to 15 digits and powers of ten up to 22: both are doubles, so one division rounds correctly.
 */
bool plain_number(const uint8_t *p, size_t len, double *out) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const uint8_t *end = p + len;
  bool negative = p < end && *p == '-';
  p += negative;
  uint64_t digits = 0;
  int count = 0, fraction = 0;
  bool dot = false;
  if (p == end) return false;
  for (; p < end; p++) {
    if (*p >= '0' && *p <= '9') {
      digits = digits * 10 + (*p - '0');
      count += digits != 0;
      fraction += dot;
      if (count > 15 || fraction > 22) return false;
    } else if (*p == '.' && !dot) {
      dot = true;
    } else {
      return false;
    }
  }
  double value = (double)digits / powers[fraction];
  *out = negative ? -value : value;
  return true;
}

} // namespace

bool read_key(Env *e, napi_value value, toon_key *out) {
  size_t n;
  toon_slice bytes;
  double id;
  napi_status status =
      napi_get_value_string_utf16(e->env, value, reinterpret_cast<char16_t *>(e->key_units), TOON_KEY_MAX + 2, &n);
  if (status == napi_ok) {
    /* No unit takes less than a byte. */
    size_t len = n > TOON_KEY_MAX ? TOON_KEY_MAX + 1 : toon_utf16_to_utf8(e->key_units, n, e->key_bytes, nullptr);
    if (len <= TOON_KEY_MAX) {
      *out = toon_user_key(e->key_bytes, len);
      return true;
    }
    if (len == SIZE_MAX)
      fail_type(e, "the key has a lone surrogate, which is not valid Unicode");
    else
      fail(e, TOON_EKEYTOOBIG, nullptr);
    return false;
  }
  if (napi_get_value_double(e->env, value, &id) == napi_ok && id >= 0 && id <= 9007199254740991.0) {
    *out = toon_row_key((uint64_t)id, e->key_bytes);
    return true;
  }
  if (byte_array(e, value, &bytes)) {
    if (bytes.len <= TOON_KEY_MAX) {
      *out = toon_user_key(bytes.ptr, bytes.len);
      return true;
    }
    fail(e, TOON_EKEYTOOBIG, nullptr);
    return false;
  }
  fail_type(e, "a key must be a string or a Uint8Array");
  return false;
}

bool read_text(Env *e, napi_value value, toon_slice *out) {
  size_t n;
  if (!read_units(e, value, &n)) return false;
  e->text.len = 0;
  if (toon_buf_reserve(&e->text, 3 * n + 16) != TOON_OK) {
    fail(e, TOON_ENOMEM, nullptr);
    return false;
  }
  size_t len = toon_utf16_to_utf8(reinterpret_cast<uint16_t *>(e->units.ptr), n, e->text.ptr, nullptr);
  if (len == SIZE_MAX) {
    fail_type(e, "the text has a lone surrogate, which is not valid Unicode");
    return false;
  }
  *out = toon_slice_of(e->text.ptr, len);
  return true;
}

bool read_property(Env *e, napi_value object, const char *name, double *out) {
  napi_value value;
  return napi_get_named_property(e->env, object, name, &value) == napi_ok &&
         napi_get_value_double(e->env, value, out) == napi_ok;
}

bool read_property(Env *e, napi_value object, const char *name, bool *out) {
  napi_value value;
  return napi_get_named_property(e->env, object, name, &value) == napi_ok &&
         napi_get_value_bool(e->env, value, out) == napi_ok;
}

bool read_property(Env *e, napi_value object, const char *name, std::string *out) {
  napi_value value;
  size_t n;
  if (napi_get_named_property(e->env, object, name, &value) != napi_ok ||
      napi_get_value_string_utf8(e->env, value, nullptr, 0, &n) != napi_ok)
    return false;
  out->resize(n + 1);
  bool read = napi_get_value_string_utf8(e->env, value, &(*out)[0], n + 1, &n) == napi_ok;
  out->resize(n);
  return read;
}

Scratch::~Scratch() {
  const size_t kept = 8 << 20;
  for (toon_buf *buf : {&e->units, &e->text, &e->keys, &e->out})
    if (buf->cap > kept) toon_buf_free(buf);
}

bool read_value(Env *e, napi_value value, int given, toon_input *input, toon_slice *out, uint64_t max) {
  size_t n;
  switch (given) {
  case GIVEN_STRING:
    if (!read_units(e, value, &n, max)) return false;
    *input = TOON_INPUT_UTF16;
    *out = toon_slice_of(e->units.ptr, 2 * n);
    return true;
  case GIVEN_JSON:
    if (!read_text(e, value, out)) return false;
    *input = TOON_INPUT_JSON;
    if (!has_lone_escape(*out)) return true;
    fail_type(e, "the value has a string with a lone surrogate, which is not valid Unicode");
    return false;
  default:
    *input = TOON_INPUT_BYTES;
    if (byte_array(e, value, out)) return true;
    fail_type(e, "bytes must be a Uint8Array");
    return false;
  }
}

toon_status make_string(Env *e, toon_slice text, bool ascii, napi_value *out, toon_error *err) {
  napi_status status;
  if (ascii || toon_is_ascii(text.ptr, text.len)) {
    status = napi_create_string_latin1(e->env, reinterpret_cast<const char *>(text.ptr), text.len, out);
  } else {
    if (toon_buf_reserve(&e->units, 2 * text.len + 16) != TOON_OK) return toon_fail(err, TOON_ENOMEM, nullptr);
    size_t n = toon_utf8_to_utf16(text.ptr, text.len, reinterpret_cast<uint16_t *>(e->units.ptr));
    status = napi_create_string_utf16(e->env, reinterpret_cast<char16_t *>(e->units.ptr), n, out);
  }
  return status == napi_ok ? TOON_OK : toon_fail(err, TOON_ENOMEM, "the text is too long for a JavaScript string");
}

/* Whoever got bytes from the slab can reach its ArrayBuffer and detach it. */
static bool slab_attached(Env *e) {
  napi_value memory;
  bool detached = true;
  return napi_get_reference_value(e->env, e->slab_ref, &memory) == napi_ok &&
         napi_is_detached_arraybuffer(e->env, memory, &detached) == napi_ok && !detached;
}

toon_status make_bytes(Env *e, toon_slice bytes, napi_value *out, uint8_t *kind, toon_error *err) {
  if (bytes.len <= SLAB_VALUE_MAX && bytes.len <= e->slab_size - e->slab_used && slab_attached(e)) {
    if (bytes.len) memcpy(e->slab + e->slab_used, bytes.ptr, bytes.len);
    napi_create_uint32(e->env, (uint32_t)(e->slab_used << 13 | bytes.len), out);
    e->slab_used += (bytes.len + 7) & ~(size_t)7;
    if (e->slab_used > e->slab_size) e->slab_used = e->slab_size;
    *kind = KIND_SLAB;
    return TOON_OK;
  }
  if (napi_create_buffer_copy(e->env, bytes.len, bytes.ptr, nullptr, out) != napi_ok)
    return toon_fail(err, TOON_ENOMEM, nullptr);
  *kind = KIND_READY;
  return TOON_OK;
}

static toon_status make_text(Env *e, toon_slice field, uint8_t flags, napi_value *out, toon_error *err) {
  e->text.len = 0;
  TOON_TRY(toon_field_to_document(field, &e->text, err));
  return make_string(e, toon_buf_slice(&e->text), flags & TOON_TEXT_ASCII, out, err);
}

static toon_status make_raw(Env *e, toon_slice field, uint8_t flags, napi_value *out, uint8_t *kind, toon_error *err) {
  e->text.len = 0;
  switch (flags & 7) {
  case TOON_BYTES: TOON_TRY(toon_field_to_bytes(field, &e->text, err)); break;
  case TOON_STRING: TOON_TRY(toon_field_to_string(field, &e->text, err)); break;
  default: TOON_TRY(toon_field_to_document(field, &e->text, err));
  }
  return make_bytes(e, toon_buf_slice(&e->text), out, kind, err);
}

toon_status make_value(Env *e, toon_slice field, uint8_t flags, int mode, napi_value *out, uint8_t *kind,
                       toon_error *err) {
  *kind = KIND_READY;
  /* ": text\n"; as TOON a text is quoted nevertheless if it may begin with a byte order mark */
  if (mode != MODE_BUFFER && (flags & TOON_TEXT_PLAIN) && !(mode == MODE_TEXT && field.ptr[2] == 0xEF))
    return make_string(e, toon_slice_of(field.ptr + 2, field.len - 3), flags & TOON_TEXT_ASCII, out, err);
  if (mode == MODE_TEXT) return make_text(e, field, flags, out, err);
  if (mode == MODE_BUFFER) return make_raw(e, field, flags, out, kind, err);
  double number;
  e->text.len = 0;
  switch (flags & 7) {
  case TOON_NULL: napi_get_null(e->env, out); return TOON_OK;
  case TOON_FALSE:
  case TOON_TRUE: napi_get_boolean(e->env, (flags & 7) == TOON_TRUE, out); return TOON_OK;
  case TOON_NUMBER:
    if (field.len > 3 && plain_number(field.ptr + 2, field.len - 3, &number)) {
      napi_create_double(e->env, number, out);
      return TOON_OK;
    }
    *kind = KIND_NUMERAL;
    TOON_TRY(toon_field_to_json(field, &e->text, err));
    return make_string(e, toon_buf_slice(&e->text), true, out, err);
  case TOON_STRING:
    TOON_TRY(toon_field_to_string(field, &e->text, err));
    return make_string(e, toon_buf_slice(&e->text), false, out, err);
  case TOON_BYTES:
    TOON_TRY(toon_field_to_bytes(field, &e->text, err));
    return make_bytes(e, toon_buf_slice(&e->text), out, kind, err);
  default:
    *kind = KIND_JSON;
    TOON_TRY(toon_field_to_json(field, &e->text, err));
    return make_string(e, toon_buf_slice(&e->text), false, out, err);
  }
}

toon_status make_key(Env *e, toon_key key, bool bytes, napi_value *out, uint8_t *kind, toon_error *err) {
  *kind = KIND_READY;
  toon_slice text = toon_slice_of(key.ptr, key.len);
  if (key.space == TOON_SPACE_ROW) {
    napi_create_double(e->env, (double)toon_row_id(key), out);
    return TOON_OK;
  }
  if (bytes) return make_bytes(e, text, out, kind, err);
  if (toon_is_ascii(text.ptr, text.len)) return make_string(e, text, true, out, err);
  if (toon_utf8_valid(text.ptr, text.len) != text.len) return make_bytes(e, text, out, kind, err);
  return make_string(e, text, false, out, err);
}

napi_value make_bool(Env *e, bool value) {
  napi_value out = nullptr;
  napi_get_boolean(e->env, value, &out);
  return out;
}

napi_value make_number(Env *e, double value) {
  napi_value out = nullptr;
  napi_create_double(e->env, value, &out);
  return out;
}

} // namespace toonstore
