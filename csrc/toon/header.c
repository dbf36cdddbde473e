/* Array headers. Whatever has a bracket outside quotes before its first colon outside quotes wants to be one,
 * and is refused if it is none; in strict mode and else. */
#include "toon/header.h"

#include "toon/scan.h"
#include "toon/toon.h"

static toon_status wrong(toon_fault *fault, const uint8_t *at, const char *expected) {
  *fault = (toon_fault){at, expected};
  return TOON_ESYNTAX;
}

const uint8_t *toon_closing_quote(const uint8_t *p, const uint8_t *end) {
  for (p++; (p = toon_scan_any(p, end, end, '"', '\\', '\\')) < end && *p == '\\'; p = end - p > 2 ? p + 2 : end) {
  }
  return p;
}

const uint8_t *toon_find_bare(const uint8_t *p, const uint8_t *end, uint8_t a, uint8_t b) {
  while ((p = toon_scan_any(p, end, end, a, b, '"')) < end && *p == '"') {
    p = toon_closing_quote(p, end);
    if (p == end) break;
    p++;
  }
  return p;
}

static toon_slice trim(const uint8_t *p, const uint8_t *end) {
  while (p < end && *p == ' ') p++;
  while (end > p && end[-1] == ' ') end--;
  return toon_slice_of(p, (size_t)(end - p));
}

/* What stands between the brackets: digits, a colon if keyed, a delimiter if it is not the comma. */
static toon_status read_brackets(const uint8_t *p, const uint8_t *end, toon_header *header, toon_fault *fault) {
  header->delimiter = ',';
  if (end > p && (end[-1] == '\t' || end[-1] == '|')) header->delimiter = *--end;
  header->keyed = end > p && end[-1] == ':';
  end -= header->keyed;
  if (p == end || (*p == '0' && end - p > 1)) return wrong(fault, p, "a length without leading zeros in the brackets");
  header->count = 0;
  for (; p < end; p++) {
    if (!toon_is_digit(*p)) return wrong(fault, p, "a length in the brackets: digits only");
    if (header->count < UINT64_MAX / 10 - 1)
      header->count = header->count * 10 + (uint64_t)(*p - '0');
    else
      header->count = UINT64_MAX;
  }
  return TOON_OK;
}

/* The brace that closes the one at p; end if none does. */
static const uint8_t *closing_brace(const uint8_t *p, const uint8_t *end) {
  for (size_t depth = 0; (p = toon_find_bare(p, end, '{', '}')) < end; p++) {
    if (*p == '{')
      depth++;
    else if (--depth == 0)
      break;
  }
  return p;
}

toon_status toon_read_header(const uint8_t *p, const uint8_t *end, toon_header *header, bool *is_header,
                             toon_fault *fault) {
  *is_header = false;
  const uint8_t *open;
  if (p < end && *p == '"') {
    open = toon_closing_quote(p, end);
    if (end - open < 2 || *++open != '[') return TOON_OK;
  } else {
    open = toon_find_bare(p, end, '[', ':');
    if (open == end || *open == ':') return TOON_OK;
  }
  if (toon_find_bare(open, end, ':', ':') == end) return TOON_OK;

  const uint8_t *shut = toon_find_bare(open, end, ']', ']');
  if (shut == end) return wrong(fault, open, "a ] that closes this bracket");
  const uint8_t *colon = shut + 1;
  header->columns = (toon_slice){NULL, 0};
  if (colon < end && *colon == '{') {
    const uint8_t *brace = closing_brace(colon, end);
    if (brace == end) return wrong(fault, colon, "a } that closes this brace");
    header->columns = toon_slice_of(colon + 1, (size_t)(brace - colon - 1));
    colon = brace + 1;
  }
  if (colon == end || *colon != ':') return wrong(fault, colon, "a colon right behind the header's bracket or brace");
  header->key = (toon_slice){NULL, 0};
  if (open > p) {
    if (open[-1] == ' ' || open[-1] == '\t') return wrong(fault, open - 1, "no space between key and bracket");
    header->key = toon_slice_of(p, (size_t)(open - p));
  }
  TOON_TRY(read_brackets(open + 1, shut, header, fault));
  header->values = trim(colon + 1, end);
  if (header->keyed && !header->columns.ptr)
    return wrong(fault, shut, "columns in braces behind a length with a colon");
  if (header->columns.ptr && header->values.len)
    return wrong(fault, header->values.ptr, "nothing behind the colon of a header with columns");
  *is_header = true;
  return TOON_OK;
}

/* ---- columns ---- */

typedef struct column_reader {
  toon_columns *columns;
  toon_writer w; /* on columns->text */
  bool first;    /* the next name is the first of its group */
  bool unique;
  uint32_t names; /* where the names of the group begin */
  toon_fault *fault;
} column_reader;

static toon_status put_name(column_reader *r, toon_slice name) {
  TOON_TRY(toon_room(&r->w, 1));
  toon_write_byte(&r->w, r->first ? '{' : ',');
  r->first = false;
  size_t at = toon_written(&r->w);
  if (*name.ptr == '"') {
    const uint8_t *p = name.ptr;
    TOON_TRY(toon_read_quoted(&p, name.ptr + name.len, &r->w, true, r->fault));
    if (p != name.ptr + name.len) return wrong(r->fault, p, "nothing behind the closing quote of a name");
  } else {
    TOON_TRY(toon_write_json_string(&r->w, name));
  }
  if (r->unique) {
    bool fresh;
    TOON_TRY(toon_keyset_add(&r->columns->names, r->names, r->w.buf->ptr, (uint32_t)at,
                             (uint32_t)(toon_written(&r->w) - at), &fresh));
    /* The reference takes an empty name found twice for none, and looks no further. */
    if (!fresh && toon_written(&r->w) - at > 2) return wrong(r->fault, name.ptr, "no column name twice in a header");
    r->unique = fresh;
  }
  TOON_TRY(toon_room(&r->w, 1));
  toon_write_byte(&r->w, ':');
  return TOON_OK;
}

/* Go from p to the end of a name, which is a delimiter, a brace or the end. */
static toon_status skip_name(const uint8_t **p, const uint8_t *end, uint8_t delimiter, toon_fault *fault) {
  const uint8_t *q = *p;
  for (; q < end; q++) {
    if (*q == '"') {
      q = toon_closing_quote(q, end);
      if (q == end) break;
    } else if (*q == delimiter || *q == '{' || *q == '}') {
      break;
    } else if (*q == ',' || *q == '|' || *q == '\t') {
      return wrong(fault, q, "the header's delimiter between columns");
    }
  }
  *p = q;
  return TOON_OK;
}

static toon_status begin_group(column_reader *r, const uint8_t *at) {
  toon_buf *groups = &r->columns->groups;
  if (groups->len >= TOON_MAX_DEPTH * sizeof r->names)
    return wrong(r->fault, at, "no more than 2000 levels of nesting");
  TOON_TRY(toon_buf_append(groups, &r->names, sizeof r->names));
  uint32_t depth = (uint32_t)(groups->len / sizeof r->names) + 1;
  if (r->columns->depth < depth) r->columns->depth = depth;
  r->names = toon_keyset_begin(&r->columns->names);
  r->first = true;
  return TOON_OK;
}

static toon_status end_group(column_reader *r) {
  toon_buf *groups = &r->columns->groups;
  toon_keyset_end(&r->columns->names, r->names);
  groups->len -= sizeof r->names;
  memcpy(&r->names, groups->ptr + groups->len, sizeof r->names);
  TOON_TRY(toon_room(&r->w, 1));
  toon_write_byte(&r->w, '}');
  return TOON_OK;
}

static toon_status read_columns(column_reader *r, const uint8_t *p, const uint8_t *end, uint8_t delimiter) {
  toon_columns *columns = r->columns;
  for (;;) { /* at the start of a column */
    while (p < end && *p == ' ') p++;
    const uint8_t *name = p;
    TOON_TRY(skip_name(&p, end, delimiter, r->fault));
    toon_slice text = trim(name, p);
    if (text.len == 0) return wrong(r->fault, name, "a column name");
    bool group = p < end && *p == '{';
    if (group && p[-1] == ' ') return wrong(r->fault, p - 1, "no space between a name and its group of columns");
    TOON_TRY(put_name(r, text));
    if (group) {
      TOON_TRY(begin_group(r, p++));
      continue;
    }
    uint32_t mark = (uint32_t)toon_written(&r->w);
    TOON_TRY(toon_buf_append(&columns->ends, &mark, sizeof mark));
    while (p < end && *p == '}') {
      if (columns->groups.len == 0) return wrong(r->fault, p, "no } without a {");
      TOON_TRY(end_group(r));
      p++;
      while (p < end && *p == ' ') p++;
    }
    if (p == end) break;
    if (*p != delimiter) return wrong(r->fault, p, "a delimiter or } behind a group of columns");
    p++;
  }
  if (columns->groups.len) return wrong(r->fault, p, "a }");
  TOON_TRY(toon_room(&r->w, 1));
  toon_write_byte(&r->w, '}');
  return TOON_OK;
}

toon_status toon_read_columns(toon_columns *columns, toon_slice list, uint8_t delimiter, bool unique,
                              toon_fault *fault) {
  column_reader r = {.columns = columns, .first = true, .unique = unique, .fault = fault};
  columns->text.len = columns->ends.len = columns->groups.len = 0;
  columns->depth = 1;
  toon_keyset_end(&columns->names, 0);
  TOON_TRY(toon_writer_begin(&r.w, &columns->text, list.len + 16, TOON_TEXT_MAX));
  TOON_TRY(read_columns(&r, list.ptr, list.ptr + list.len, delimiter));
  toon_writer_end(&r.w);
  return TOON_OK;
}

void toon_columns_free(toon_columns *columns) {
  toon_buf_free(&columns->text);
  toon_buf_free(&columns->ends);
  toon_buf_free(&columns->groups);
  toon_keyset_free(&columns->names);
}
