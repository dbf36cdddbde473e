/* Cutting a text into lines. */
#include "toon/lines.h"

static toon_status wrong(toon_fault *fault, const uint8_t *at, const char *expected) {
  *fault = (toon_fault){at, expected};
  return TOON_ESYNTAX;
}

toon_status toon_lines_read(toon_lines *lines, bool *more, toon_fault *fault) {
  while (lines->next) {
    const uint8_t *p = lines->next, *end = p < lines->end ? memchr(p, '\n', (size_t)(lines->end - p)) : NULL;
    lines->next = end ? end + 1 : NULL;
    if (!end) end = lines->end;
    lines->number++;
    if (lines->number == 1 && end - p >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) p += 3;
    if (end > p && end[-1] == '\r') end--;
    const uint8_t *start = p;
    while (p < end && *p == ' ') p++;
    uint32_t spaces = (uint32_t)(p - start), tabs = 0;
    if (p < end && *p == '\t') {
      if (lines->strict) return wrong(fault, p, "no tab in the indentation");
      for (; p < end && (*p == ' ' || *p == '\t'); p++) tabs += *p == '\t';
      spaces = (uint32_t)(p - start) - tabs;
    } else if (p < end && *p == '#') {
      continue;
    }
    while (end > p && end[-1] == ' ') end--;
    if (p == end) {
      lines->blank = lines->number;
      continue;
    }
    uint32_t depth = lines->indent_size == 2 ? spaces / 2 : spaces / lines->indent_size;
    if (lines->strict && depth * lines->indent_size != spaces) return wrong(fault, p, "an indentation by whole levels");
    lines->line = (toon_line){p, end, depth + tabs, lines->number, lines->blank};
    lines->have = true;
    return TOON_OK;
  }
  *more = false;
  return TOON_OK;
}
