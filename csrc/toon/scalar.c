/* Scalars as values: tokens read, compared, and found in arrays. */
#include "toon/scalar.h"

#include "toon/header.h"
#include "toon/number.h"
#include "toon/quote.h"
#include "toon/scan.h"

toon_status toon_scalar_read(toon_slice token, toon_buf *scratch, toon_scalar *out) {
  toon_number_form form;
  if (!token.len) return TOON_ESYNTAX;
  *out = (toon_scalar){.kind = TOON_STRING, .text = token};
  switch (*token.ptr) {
  case '"': {
    if (token.len < 2) return TOON_ESYNTAX;
    out->text = toon_slice_of(token.ptr + 1, token.len - 2);
    if (!memchr(out->text.ptr, '\\', out->text.len)) return TOON_OK;
    const uint8_t *at = token.ptr;
    toon_writer w;
    toon_fault fault;
    scratch->len = 0;
    TOON_TRY(toon_writer_begin(&w, scratch, token.len, TOON_TEXT_MAX));
    TOON_TRY(toon_read_quoted(&at, token.ptr + token.len, &w, false, &fault));
    toon_writer_end(&w);
    out->text = toon_slice_some(toon_buf_slice(scratch));
    return TOON_OK;
  }
  case 'n':
  case 't':
  case 'f':
    if (toon_is_literal(token.ptr, token.len))
      out->kind = *token.ptr == 'n' ? TOON_NULL : *token.ptr == 't' ? TOON_TRUE : TOON_FALSE;
    return TOON_OK;
  default:
    if ((toon_is_digit(*token.ptr) || *token.ptr == '-') &&
        toon_number_scan(token.ptr, token.ptr + token.len, &form) == token.len) {
      out->kind = TOON_NUMBER;
      out->number = toon_number_value(token.ptr, token.len);
    }
    return TOON_OK;
  }
}

int toon_scalar_cmp(const toon_scalar *a, const toon_scalar *b) {
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (a->kind == TOON_NUMBER) return (a->number > b->number) - (a->number < b->number);
  return a->kind == TOON_STRING ? toon_slice_cmp(a->text, b->text) : 0;
}

/* Go to the first element. */
static void begin(toon_elements *elements, const toon_found *array) {
  const uint8_t *p = array->text.ptr, *end = p + array->text.len;
  const uint8_t *line = memchr(p, '\n', array->text.len);
  if (!line) line = end;
  elements->begun = true;
  elements->at = elements->end = end;
  const uint8_t *shut = *p == '[' ? memchr(p, ']', (size_t)(line - p)) : NULL; /* else ": []" */
  if (!shut || line - shut < 2 || shut[1] != ':') return;                      /* a table has objects only */
  elements->inline_ = line - shut > 3;
  elements->at = elements->inline_ ? shut + 3 : line < end ? line + 1 : end;
  elements->end = elements->inline_ ? line : end;
}

/* The token behind a hyphen, if it is a scalar's. */
static bool item_token(const uint8_t *p, const uint8_t *line, toon_slice *token) {
  const uint8_t *key = p;
  if (p == line || *p == '[') return false;
  if (*p == '"') {
    key = toon_closing_quote(p, line);
    if (key < line) key++;
  } else {
    while (key < line && toon_class[*key] & TOON_CLASS_KEY) key++;
  }
  if (key < line && key > p && (*key == ':' || *key == '[')) return false; /* the first field of an object */
  *token = toon_slice_of(p, (size_t)(line - p));
  return true;
}

bool toon_elements_next(toon_elements *elements, const toon_found *array, toon_slice *token) {
  if (!elements->begun) begin(elements, array);
  if (elements->inline_) {
    if (elements->at >= elements->end) return false;
    const uint8_t *cell = elements->at, *comma = toon_find_bare(cell, elements->end, ',', ',');
    *token = toon_slice_of(cell, (size_t)(comma - cell));
    elements->at = comma < elements->end ? comma + 1 : elements->end;
    return true;
  }
  size_t column = ((size_t)array->depth + 1) * 2;
  while (elements->at < elements->end) {
    const uint8_t *p = elements->at, *line = memchr(p, '\n', (size_t)(elements->end - p));
    if (!line) line = elements->end;
    elements->at = line < elements->end ? line + 1 : elements->end;
    if ((size_t)(line - p) > column + 2 && p[column] == '-' && p[column + 1] == ' ' &&
        item_token(p + column + 2, line, token))
      return true;
  }
  return false;
}
