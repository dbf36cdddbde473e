/* Fields: one value as the log keeps it, the text that follows its key at column 0. Such text is written here
 * only, so it is trusted to be well made (its checksum was verified): reading it checks no counts against
 * damage done on purpose, but never reads or writes outside its bounds. */
#include "toon/toon.h"

#include "base/base64.h"
#include "base/utf.h"
#include "toon/decode.h"
#include "toon/encode.h"
#include "toon/number.h"
#include "toon/scan.h"

#define BYTES_MARK "base64:"
#define BYTES_MARK_LEN (sizeof BYTES_MARK - 1)

static const toon_text_options stored = {',', 2, true};

static toon_status fail(toon_error *err, toon_status status) { return toon_fail(err, status, NULL); }

/* ---- writing ---- */

toon_status toon_field_json(toon_slice json, size_t max, toon_buf *out, uint8_t *flags, toon_error *err) {
  TOON_TRY(toon_check_utf8(json, err));
  size_t len = out->len;
  toon_tape tape;
  toon_writer w;
  uint8_t found = 0;
  if (max > TOON_TEXT_MAX) max = TOON_TEXT_MAX;
  toon_status status = toon_tape_read(&tape, json, ',', err);
  bool reported = status != TOON_OK;
  if (status == TOON_OK) status = toon_writer_begin(&w, out, json.len + 4, max);
  if (status == TOON_OK) status = toon_encode_tape(&tape, &stored, true, &w);
  if (status == TOON_OK) {
    toon_writer_end(&w);
    found = toon_field_flags(toon_slice_of(out->ptr + len, out->len - len));
  }
  toon_tape_free(&tape);
  if (status == TOON_OK) {
    *flags = found;
    return TOON_OK;
  }
  out->len = len;
  return reported ? status : fail(err, status);
}

toon_status toon_field_string(toon_slice text, size_t max, toon_buf *out, uint8_t *flags, toon_error *err) {
  text = toon_slice_some(text);
  unsigned has = toon_scan_text(text.ptr, text.len, ',');
  if (has & TOON_HAS_HIGH && toon_utf8_valid(text.ptr, text.len) != text.len)
    return toon_fail(err, TOON_EINVAL, "the string is not valid UTF-8");
  bool plain = !(has & TOON_HAS_SPECIAL) && toon_text_is_bare(text.ptr, text.len);
  if (max > TOON_TEXT_MAX) max = TOON_TEXT_MAX;
  size_t len = out->len;
  toon_writer w;
  toon_status status = toon_writer_begin(&w, out, text.len + 5, max);
  if (status == TOON_OK) status = toon_room(&w, 2);
  if (status == TOON_OK) {
    toon_write(&w, ": ", 2);
    if (has & TOON_HAS_ESCAPE) {
      status = toon_write_quoted(&w, text);
    } else {
      status = toon_room(&w, text.len + (plain ? 0 : 2));
      if (status == TOON_OK) {
        if (!plain) toon_write_byte(&w, '"');
        if (text.len) toon_write(&w, text.ptr, text.len);
        if (!plain) toon_write_byte(&w, '"');
      }
    }
  }
  if (status == TOON_OK) status = toon_room(&w, 1);
  if (status != TOON_OK) {
    out->len = len;
    return fail(err, status);
  }
  toon_write_byte(&w, '\n');
  toon_writer_end(&w);
  *flags = (uint8_t)(TOON_STRING | (has & TOON_HAS_HIGH ? 0 : TOON_TEXT_ASCII) | (plain ? TOON_TEXT_PLAIN : 0));
  return TOON_OK;
}

toon_status toon_field_bytes(toon_slice bytes, size_t max, toon_buf *out, uint8_t *flags, toon_error *err) {
  if (bytes.len > TOON_TEXT_MAX) return fail(err, TOON_EVALUETOOBIG);
  size_t len = toon_base64_encoded_size(bytes.len), all = 2 + BYTES_MARK_LEN + len + 1;
  if (all > max) return fail(err, TOON_EVALUETOOBIG);
  if (toon_buf_reserve(out, all) != TOON_OK) return fail(err, TOON_ENOMEM);
  uint8_t *p = out->ptr + out->len;
  memcpy(p, ": " BYTES_MARK, 2 + BYTES_MARK_LEN);
  if (bytes.len) toon_base64_encode(bytes.ptr, bytes.len, p + 2 + BYTES_MARK_LEN);
  p[all - 1] = '\n';
  out->len += all;
  *flags = TOON_BYTES | TOON_TEXT_ASCII;
  return TOON_OK;
}

/* ---- looking ---- */

/* The token of a scalar field: between ": " and "\n". */
static toon_slice token_of(toon_slice field) { return toon_slice_of(field.ptr + 2, field.len - 3); }

static bool is_scalar(toon_slice field) { return field.len >= 4 && field.ptr[0] == ':' && field.ptr[1] == ' '; }

static bool is_bytes(toon_slice token) {
  return token.len >= BYTES_MARK_LEN && memcmp(token.ptr, BYTES_MARK, BYTES_MARK_LEN) == 0;
}

static uint8_t kind_of(toon_slice field) {
  if (field.len && field.ptr[0] == '[') { /* [N]… or [N:]… */
    const uint8_t *shut = memchr(field.ptr, ']', field.len);
    return shut && shut[-1] == ':' ? TOON_OBJECT : TOON_ARRAY;
  }
  if (!is_scalar(field)) return TOON_OBJECT;
  toon_slice token = token_of(field);
  toon_number_form form;
  switch (*token.ptr) {
  case '"': return TOON_STRING;
  case '[': return TOON_ARRAY;
  case 'n':
    if (toon_is_literal(token.ptr, token.len)) return TOON_NULL;
    break;
  case 't':
    if (toon_is_literal(token.ptr, token.len)) return TOON_TRUE;
    break;
  case 'f':
    if (toon_is_literal(token.ptr, token.len)) return TOON_FALSE;
    break;
  case 'b':
    if (is_bytes(token)) return TOON_BYTES;
    break;
  default:
    if ((toon_is_digit(*token.ptr) || *token.ptr == '-') &&
        toon_number_scan(token.ptr, token.ptr + token.len, &form) == token.len)
      return TOON_NUMBER;
  }
  return TOON_STRING | TOON_TEXT_PLAIN;
}

uint8_t toon_field_flags(toon_slice field) {
  return (uint8_t)(kind_of(field) | (toon_is_ascii(field.ptr, field.len) ? TOON_TEXT_ASCII : 0));
}

/* ---- reading ---- */

static toon_status not_a(toon_error *err, const char *what) {
  return toon_fail(err, TOON_EINVAL, "the field is not %s", what);
}

static toon_status report(const toon_decoder *d, toon_slice field, toon_status status, toon_error *err) {
  if (status != TOON_ESYNTAX) return fail(err, status);
  toon_fail(err, status, "the stored text is not as it was written; at byte %zu of the field expected %s",
            (size_t)(d->fault.at - field.ptr), d->fault.expected);
  return status;
}

toon_status toon_field_to_json(toon_slice field, toon_buf *out, toon_error *err) {
  size_t len = out->len;
  toon_decoder d = {.strict = true};
  const uint8_t *line = field.len ? memchr(field.ptr, '\n', field.len) : NULL;
  if (!line) return toon_fail(err, TOON_ESYNTAX, "the field has no newline");
  d.lines = (toon_lines){.next = line + 1, .end = field.ptr + field.len, .number = 1, .indent_size = 2, .strict = true};
  toon_status status = toon_writer_begin(&d.w, out, field.len + field.len / 4, TOON_TEXT_MAX);
  if (status == TOON_OK) {
    if (is_scalar(field) && field.ptr[2] != '[')
      status = toon_decode_token(&d, token_of(field));
    else
      status = toon_decode_member(&d, toon_slice_of(field.ptr, (size_t)(line - field.ptr)), 0);
  }
  if (status == TOON_OK)
    toon_writer_end(&d.w);
  else
    out->len = len;
  toon_decoder_free(&d);
  return status == TOON_OK ? status : report(&d, field, status, err);
}

toon_status toon_field_to_string(toon_slice field, toon_buf *out, toon_error *err) {
  uint8_t kind = kind_of(field);
  if ((kind & 7) != TOON_STRING) return not_a(err, "a string");
  toon_slice token = token_of(field);
  if (kind & TOON_TEXT_PLAIN) return toon_buf_add(out, token) == TOON_OK ? TOON_OK : fail(err, TOON_ENOMEM);
  const uint8_t *p = token.ptr;
  size_t len = out->len;
  toon_decoder d = {.strict = true};
  toon_status status = toon_writer_begin(&d.w, out, token.len, TOON_TEXT_MAX);
  if (status == TOON_OK) status = toon_read_quoted(&p, token.ptr + token.len, &d.w, false, &d.fault);
  if (status == TOON_OK) {
    toon_writer_end(&d.w);
    return TOON_OK;
  }
  out->len = len;
  return report(&d, field, status, err);
}

toon_status toon_field_to_bytes(toon_slice field, toon_buf *out, toon_error *err) {
  if (kind_of(field) != TOON_BYTES) return not_a(err, "bytes");
  toon_slice token = token_of(field);
  token = toon_slice_of(token.ptr + BYTES_MARK_LEN, token.len - BYTES_MARK_LEN);
  size_t len;
  if (toon_buf_reserve(out, token.len / 4 * 3 + 1) != TOON_OK) return fail(err, TOON_ENOMEM);
  if (!toon_base64_decode(token.ptr, token.len, out->ptr + out->len, &len))
    return toon_fail(err, TOON_ESYNTAX, "the stored bytes are not canonical base64");
  out->len += len;
  return TOON_OK;
}

/* An object's lines, one level further left. */
static toon_status put_dedented(toon_slice lines, toon_buf *out) {
  const uint8_t *p = lines.ptr, *end = p + lines.len;
  TOON_TRY(toon_buf_reserve(out, lines.len + 1));
  uint8_t *to = out->ptr + out->len;
  while (p < end) {
    const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
    newline = newline ? newline + 1 : end;
    if (newline - p > 2) {
      memcpy(to, p + 2, (size_t)(newline - p - 2));
      to += newline - p - 2;
    }
    p = newline;
  }
  out->len = (size_t)(to - out->ptr);
  return TOON_OK;
}

toon_status toon_field_to_document(toon_slice field, toon_buf *out, toon_error *err) {
  size_t len = out->len;
  toon_status status;
  if (field.len < 2) return toon_fail(err, TOON_ESYNTAX, "the field is too short");
  if (is_scalar(field)) {
    toon_slice token = token_of(field);
    /* Alone, a string that begins with a byte order mark is quoted: a reader would take the mark off. */
    bool quote = token.len >= 3 && memcmp(token.ptr, "\xEF\xBB\xBF", 3) == 0;
    status = quote ? toon_buf_byte(out, '"') : TOON_OK;
    if (status == TOON_OK) status = toon_buf_add(out, token);
    if (status == TOON_OK && quote) status = toon_buf_byte(out, '"');
  } else if (*field.ptr == ':') {
    status = put_dedented(toon_slice_of(field.ptr + 2, field.len - 2), out);
    if (status == TOON_OK && out->len > len) out->len--;
  } else {
    status = toon_buf_append(out, field.ptr, field.len - 1);
  }
  if (status == TOON_OK) return TOON_OK;
  out->len = len;
  return fail(err, status);
}
