/* JSON trees. Recursion goes as deep as the texts, which is TOON_MAX_DEPTH. */
#include "resp/json.h"

#include "base/alloc.h"
#include "base/hash.h"

enum { HASH_FROM = 16 }; /* members that are looked through one by one */

void json_free(json_tree *tree) {
  toon_free(tree->nodes);
  toon_free(tree->slots);
  *tree = (json_tree){0};
}

static toon_status new_node(json_tree *tree, uint8_t kind, uint32_t *out) {
  if (tree->count == tree->cap) {
    uint32_t cap = tree->cap ? tree->cap * 2 : 32;
    json_node *nodes = (json_node *)toon_realloc(tree->nodes, cap * sizeof *nodes);
    if (!nodes) return TOON_ENOMEM;
    tree->nodes = nodes;
    tree->cap = cap;
  }
  tree->nodes[tree->count] = (json_node){.kind = kind, .first = JSON_NONE, .last = JSON_NONE, .next = JSON_NONE};
  *out = tree->count++;
  return TOON_OK;
}

/* Behind the string that begins at p, or NULL. */
static const uint8_t *skip_string(const uint8_t *p, const uint8_t *end) {
  for (p++; p < end && *p != '"'; p++)
    if (*p == '\\') p++;
  return p < end ? p + 1 : NULL;
}

static toon_status parse(json_tree *tree, const uint8_t **at, const uint8_t *end, uint32_t *out) {
  const uint8_t *p = *at, *from = p;
  if (p == end) return TOON_ESYNTAX;
  bool object = *p == '{', array = *p == '[';
  TOON_TRY(new_node(tree, *p == '-' || (*p >= '0' && *p <= '9') ? 0 : *p, out));
  if (!object && !array) {
    if (*p == '"')
      p = skip_string(p, end);
    else
      while (p < end && *p != ',' && *p != ']' && *p != '}') p++;
    if (!p) return TOON_ESYNTAX;
    tree->nodes[*out].text = toon_slice_of(from, (size_t)(p - from));
    *at = p;
    return TOON_OK;
  }
  uint8_t close = object ? '}' : ']';
  p++;
  while (p < end && *p != close) {
    toon_slice key = {0};
    uint32_t child;
    if (*p == ',') p++;
    if (object) {
      const uint8_t *behind = p < end && *p == '"' ? skip_string(p, end) : NULL;
      if (!behind || behind == end) return TOON_ESYNTAX;
      key = toon_slice_of(p, (size_t)(behind - p));
      p = behind + 1;
    }
    TOON_TRY(parse(tree, &p, end, &child));
    json_append(tree, *out, key, child);
  }
  if (p == end) return TOON_ESYNTAX;
  *at = p + 1;
  return TOON_OK;
}

toon_status json_add(json_tree *tree, toon_slice text, uint32_t *node) {
  const uint8_t *p = text.ptr;
  TOON_TRY(parse(tree, &p, text.ptr + text.len, node));
  return p == text.ptr + text.len ? TOON_OK : TOON_ESYNTAX;
}

/* ---- members ---- */

static uint32_t there(const json_tree *tree, uint32_t i) {
  while (i != JSON_NONE && tree->nodes[i].gone) i = tree->nodes[i].next;
  return i;
}

uint32_t json_first(const json_tree *tree, uint32_t parent) { return there(tree, tree->nodes[parent].first); }
uint32_t json_next(const json_tree *tree, uint32_t child) { return there(tree, tree->nodes[child].next); }

static uint32_t *slot_of(const json_tree *tree, toon_slice key) {
  uint32_t mask = tree->slot_count - 1, i = (uint32_t)toon_hash(key.ptr, key.len, 0) & mask;
  while (tree->slots[i] != JSON_NONE && !toon_slice_eq(tree->nodes[tree->slots[i]].key, key)) i = (i + 1) & mask;
  return &tree->slots[i];
}

static toon_status hash_members(json_tree *tree, uint32_t object) {
  uint32_t count = 64;
  while (count < tree->nodes[object].count * 4) count *= 2;
  uint32_t *slots = (uint32_t *)toon_malloc(count * sizeof *slots);
  if (!slots) return TOON_ENOMEM;
  toon_free(tree->slots);
  tree->slots = slots;
  tree->slot_count = count;
  tree->hashed = object;
  tree->used = tree->nodes[object].count;
  tree->full = false;
  memset(slots, 0xff, count * sizeof *slots);
  for (uint32_t i = json_first(tree, object); i != JSON_NONE; i = json_next(tree, i))
    *slot_of(tree, tree->nodes[i].key) = i;
  return TOON_OK;
}

toon_status json_member(json_tree *tree, uint32_t object, toon_slice key, uint32_t *out) {
  *out = JSON_NONE;
  if (tree->nodes[object].count > HASH_FROM) {
    if (!tree->slots || tree->hashed != object || tree->full) TOON_TRY(hash_members(tree, object));
    *out = *slot_of(tree, key);
    if (*out != JSON_NONE && tree->nodes[*out].gone) *out = JSON_NONE;
    return TOON_OK;
  }
  for (uint32_t i = json_first(tree, object); i != JSON_NONE && *out == JSON_NONE; i = json_next(tree, i))
    if (toon_slice_eq(tree->nodes[i].key, key)) *out = i;
  return TOON_OK;
}

uint32_t json_item(const json_tree *tree, uint32_t array, uint32_t i) {
  if (i >= tree->nodes[array].count) return JSON_NONE;
  uint32_t item = json_first(tree, array);
  while (i--) item = json_next(tree, item);
  return item;
}

void json_append(json_tree *tree, uint32_t parent, toon_slice key, uint32_t node) {
  json_node *p = &tree->nodes[parent];
  tree->nodes[node].key = key;
  tree->nodes[node].next = JSON_NONE;
  if (p->last == JSON_NONE)
    p->first = node;
  else
    tree->nodes[p->last].next = node;
  p->last = node;
  p->count++;
  /* A full hash is made anew when it is next asked. */
  if (!tree->slots || tree->hashed != parent) return;
  tree->full = tree->full || tree->slot_count < 2 * ++tree->used;
  if (!tree->full) *slot_of(tree, key) = node;
}

void json_remove(json_tree *tree, uint32_t parent, uint32_t child) {
  tree->nodes[child].gone = true;
  tree->nodes[parent].count--;
}

void json_replace(json_tree *tree, uint32_t node, uint32_t value) {
  json_node old = tree->nodes[node];
  tree->nodes[node] = tree->nodes[value];
  tree->nodes[node].key = old.key;
  tree->nodes[node].next = old.next;
  if (tree->slots && tree->hashed == value) { /* its members have moved to another parent */
    toon_free(tree->slots);
    tree->slots = NULL;
  }
}

/* ---- text ---- */

toon_status json_write(const json_tree *tree, uint32_t node, toon_buf *out) {
  const json_node *n = &tree->nodes[node];
  if (n->kind != '{' && n->kind != '[') return toon_buf_add(out, n->text);
  TOON_TRY(toon_buf_byte(out, n->kind));
  uint32_t first = json_first(tree, node);
  for (uint32_t i = first; i != JSON_NONE; i = json_next(tree, i)) {
    if (i != first) TOON_TRY(toon_buf_byte(out, ','));
    if (n->kind == '{') {
      TOON_TRY(toon_buf_add(out, tree->nodes[i].key));
      TOON_TRY(toon_buf_byte(out, ':'));
    }
    TOON_TRY(json_write(tree, i, out));
  }
  return toon_buf_byte(out, n->kind == '{' ? '}' : ']');
}

static unsigned hex(const uint8_t *p) {
  unsigned value = 0;
  for (int i = 0; i < 4; i++) value = value << 4 | (unsigned)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
  return value;
}

static size_t put_utf8(unsigned c, uint8_t *out) {
  if (c < 0x80) {
    out[0] = (uint8_t)c;
    return 1;
  }
  size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (uint8_t)(0x80 | (c & 63));
  out[0] = (uint8_t)(c | (0xf00u >> n & 0xffu));
  return n;
}

toon_status json_unescape(toon_slice text, toon_buf *out) {
  const uint8_t *p = text.ptr + 1, *end = text.ptr + text.len - 1;
  TOON_TRY(toon_buf_reserve(out, text.len));
  while (p < end) {
    if (*p != '\\') {
      out->ptr[out->len++] = *p++;
      continue;
    }
    p++;
    uint8_t c = *p++;
    unsigned unit;
    switch (c) {
    case 'n': out->ptr[out->len++] = '\n'; break;
    case 'r': out->ptr[out->len++] = '\r'; break;
    case 't': out->ptr[out->len++] = '\t'; break;
    case 'b': out->ptr[out->len++] = '\b'; break;
    case 'f': out->ptr[out->len++] = '\f'; break;
    case 'u':
      if (end - p < 4) return TOON_ESYNTAX;
      unit = hex(p);
      p += 4;
      if (unit >= 0xd800 && unit < 0xdc00 && end - p >= 6 && p[0] == '\\') {
        unit = 0x10000 + ((unit - 0xd800) << 10) + (hex(p + 2) - 0xdc00);
        p += 6;
      }
      out->len += put_utf8(unit, out->ptr + out->len);
      break;
    default: out->ptr[out->len++] = c;
    }
  }
  return TOON_OK;
}
