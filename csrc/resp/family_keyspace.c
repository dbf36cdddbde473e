/* Commands on all keys at once: KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHALL; and the patterns that they and others match. */
#include "resp/connection.h"

#include "base/alloc.h"

/* FLUSHDB, FLUSHALL [ASYNC | SYNC] */
toon_status command_flush(command_call *call) {
  if (call->count > 2 ||
      (call->count == 2 && !command_word(call_arg(call, 1), "async") && !command_word(call_arg(call, 1), "sync")))
    return command_syntax_error(call);
  TOON_TRY(data_clear(call));
  return resp_status(call->out, "OK");
}

/* The set at the start of a pattern, behind its bracket: does it hold the byte? *used: the bytes of the set. */
static bool in_set(toon_slice p, uint8_t byte, size_t *used) {
  size_t i = 0;
  bool negated = p.len > 0 && p.ptr[0] == '^', hit = false;
  if (negated) i++;
  while (i < p.len && p.ptr[i] != ']') {
    if (p.ptr[i] == '\\' && i + 1 < p.len) {
      i++;
      if (p.ptr[i] == byte) hit = true;
    } else if (i + 2 < p.len && p.ptr[i + 1] == '-') {
      uint8_t low = p.ptr[i], high = p.ptr[i + 2];
      if (low > high) {
        uint8_t swap = low;
        low = high;
        high = swap;
      }
      if (byte >= low && byte <= high) hit = true;
      i += 2;
    } else if (p.ptr[i] == byte) {
      hit = true;
    }
    i++;
  }
  *used = i < p.len ? i + 1 : i;
  return hit != negated;
}

bool command_matches(toon_slice pattern, toon_slice text) {
  size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;
  for (;;) {
    if (p < pattern.len && pattern.ptr[p] == '*') { /* go back to the last star only: no other has to give more */
      star = ++p;
      mark = t;
      continue;
    }
    if (t == text.len && p == pattern.len) return true;
    bool hit = false;
    size_t used = 1;
    if (t < text.len && p < pattern.len) {
      uint8_t c = pattern.ptr[p];
      if (c == '?') {
        hit = true;
      } else if (c == '[') {
        hit = in_set(toon_slice_of(pattern.ptr + p + 1, pattern.len - p - 1), text.ptr[t], &used);
        used++;
      } else {
        if (c == '\\' && p + 1 < pattern.len) {
          c = pattern.ptr[p + 1];
          used = 2;
        }
        hit = c == text.ptr[t];
      }
    }
    if (hit) {
      p += used;
      t++;
    } else if (star != SIZE_MAX && mark < text.len) {
      p = star;
      t = ++mark;
    } else {
      return false;
    }
  }
}

static bool matches_all(toon_slice pattern) { return pattern.len == 1 && pattern.ptr[0] == '*'; }

/* The bytes that every match of a pattern begins with. */
static toon_slice fixed_prefix(toon_slice pattern) {
  size_t n = 0;
  while (n < pattern.len && !memchr("*?[\\", pattern.ptr[n], 4)) n++;
  return toon_slice_of(pattern.ptr, n);
}

/* ---- KEYS, DBSIZE ---- */

typedef struct key_list {
  command_call *call;
  toon_slice pattern;
  toon_buf text;
  int64_t count;
} key_list;

static toon_status take_key(void *ctx, toon_key key, uint8_t flags, bool *stop) {
  key_list *list = (key_list *)ctx;
  toon_slice name = toon_slice_of(key.ptr, key.len);
  (void)flags;
  (void)stop;
  if (!matches_all(list->pattern) && !command_matches(list->pattern, name)) return TOON_OK;
  list->count++;
  if (command_overfull(list->call, list->text.len)) return TOON_ENOMEM;
  return resp_bulk(&list->text, name);
}

toon_status command_keys(command_call *call) {
  key_list list = {.call = call, .pattern = call_arg(call, 1)};
  toon_range range = {.prefix = fixed_prefix(list.pattern)};
  toon_status status = data_walk(call, &range, take_key, &list);
  if (status == TOON_OK) status = resp_array(call->out, (size_t)list.count);
  if (status == TOON_OK) status = toon_buf_add(call->out, toon_buf_slice(&list.text));
  toon_buf_free(&list.text);
  return status;
}

toon_status command_dbsize(command_call *call) {
  uint64_t size;
  TOON_TRY(data_size(call, &size));
  return resp_int(call->out, (int64_t)size);
}

/* ---- RANDOMKEY ---- */

static toon_status keep_key(void *ctx, toon_key key, uint8_t flags, bool *stop) {
  toon_buf *out = (toon_buf *)ctx;
  (void)flags;
  out->len = 0;
  *stop = true;
  return toon_buf_append(out, key.ptr, key.len);
}

/* A point between two keys: the bytes they share, then eight that lie at random between theirs. */
static toon_status between(toon_slice low, toon_slice high, uint64_t random, toon_buf *out) {
  size_t shared = 0;
  uint64_t a = 0, b = 0;
  while (shared < low.len && shared < high.len && low.ptr[shared] == high.ptr[shared]) shared++;
  for (size_t i = 0; i < 8; i++) {
    a = a << 8 | (shared + i < low.len ? low.ptr[shared + i] : 0);
    b = b << 8 | (shared + i < high.len ? high.ptr[shared + i] : 0);
  }
  uint64_t point = b - a == UINT64_MAX ? random : a + random % (b - a + 1);
  out->len = 0;
  TOON_TRY(toon_buf_append(out, low.ptr, shared));
  for (int i = 56; i >= 0; i -= 8) TOON_TRY(toon_buf_byte(out, (uint8_t)(point >> i)));
  return TOON_OK;
}

/* A key near a random point between the first and the last: no key is impossible, those behind gaps are likelier. */
toon_status command_randomkey(command_call *call) {
  toon_buf first = {0}, last = {0}, point = {0}, found = {0};
  uint64_t random = 0;
  toon_range range = {.limit = 1}, back = {.limit = 1, .reverse = true};
  uv_random(NULL, NULL, &random, sizeof random, 0, NULL);
  toon_status status = data_walk(call, &range, keep_key, &first);
  bool none = first.ptr == NULL && first.len == 0;
  if (status == TOON_OK && !none) status = data_walk(call, &back, keep_key, &last);
  if (status == TOON_OK && !none) status = between(toon_buf_slice(&first), toon_buf_slice(&last), random, &point);
  if (status == TOON_OK && !none) {
    toon_range from = {.lower = toon_buf_slice(&point), .has_lower = true, .limit = 1};
    status = toon_buf_add(&found, toon_buf_slice(&last)); /* if there is nothing behind the point */
    if (status == TOON_OK) status = data_walk(call, &from, keep_key, &found);
  }
  if (status == TOON_OK)
    status = none ? resp_null(call->out, conn_version(call->conn)) : resp_bulk(call->out, toon_buf_slice(&found));
  toon_buf_free(&first);
  toon_buf_free(&last);
  toon_buf_free(&point);
  toon_buf_free(&found);
  return status;
}

/* ---- SCAN ---- */

/* A cursor is the number of an entry here: the key behind which the scan goes on. Old ones are overwritten, as a ring; a scan
 * whose cursor is no more begins anew, which keeps the promise: every key that is there throughout is returned. */
struct resp_scans {
  struct {
    uint64_t id;
    toon_buf key;
  } ring[SCANS];
  uint64_t last_id;
};

void scans_free(resp_scans *scans) {
  if (!scans) return;
  for (size_t i = 0; i < SCANS; i++) toon_buf_free(&scans->ring[i].key);
  toon_free(scans);
}

static toon_status scan_save(resp_server *server, toon_slice key, uint64_t *id) {
  if (!server->scans) server->scans = (resp_scans *)toon_calloc(1, sizeof *server->scans);
  resp_scans *scans = server->scans;
  if (!scans) return TOON_ENOMEM;
  size_t at = (size_t)(++scans->last_id % SCANS);
  toon_buf *kept = &scans->ring[at].key;
  toon_buf_free(kept);
  TOON_TRY(toon_buf_add(kept, key));
  *id = scans->ring[at].id = scans->last_id;
  return TOON_OK;
}

typedef struct scan {
  command_call *call;
  toon_slice pattern, type;
  bool typed;
  int64_t visits; /* keys to look at */
  toon_buf text, last;
  size_t count;
  bool more;
} scan;

static toon_status scan_key(void *ctx, toon_key key, uint8_t flags, bool *stop) {
  scan *s = (scan *)ctx;
  toon_slice name = toon_slice_of(key.ptr, key.len);
  if (s->visits-- <= 0) {
    *stop = s->more = true;
    return TOON_OK;
  }
  s->last.len = 0;
  TOON_TRY(toon_buf_add(&s->last, name));
  const char *type = (flags & 7) == TOON_OBJECT ? "hash" : "string";
  if (s->typed && !command_word(s->type, type)) return TOON_OK;
  if (!matches_all(s->pattern) && !command_matches(s->pattern, name)) return TOON_OK;
  s->count++;
  if (command_overfull(s->call, s->text.len)) return TOON_ENOMEM;
  return resp_bulk(&s->text, name);
}

/* SCAN cursor [MATCH pattern] [COUNT count] [TYPE type] */
toon_status command_scan(command_call *call) {
  resp_server *server = call->conn->server;
  scan s = {.call = call, .pattern = TOON_SLICE_LIT("*"), .visits = 10};
  toon_range range = {0};
  uint64_t cursor = 0;
  toon_slice given = call_arg(call, 1);
  if (given.len == 0 || given.len > 20) return command_error(call, "ERR invalid cursor");
  for (size_t i = 0; i < given.len; i++) {
    unsigned digit = (unsigned)given.ptr[i] - '0';
    if (digit > 9 || cursor > (UINT64_MAX - digit) / 10) return command_error(call, "ERR invalid cursor");
    cursor = cursor * 10 + digit;
  }
  for (size_t i = 2; i < call->count; i += 2) {
    toon_slice option = call_arg(call, i);
    if (i + 1 == call->count) return command_syntax_error(call);
    if (command_word(option, "match")) {
      s.pattern = call_arg(call, i + 1);
    } else if (command_word(option, "type")) {
      s.type = call_arg(call, i + 1);
      s.typed = true;
    } else if (command_word(option, "count")) {
      if (!resp_integer(call_arg(call, i + 1), &s.visits))
        return command_error(call, "ERR value is not an integer or out of range");
      if (s.visits < 1) return command_syntax_error(call);
    } else {
      return command_syntax_error(call);
    }
  }
  range.prefix = fixed_prefix(s.pattern);
  if (cursor && server->scans && server->scans->ring[cursor % SCANS].id == cursor) {
    range.lower = toon_buf_slice(&server->scans->ring[cursor % SCANS].key);
    range.has_lower = range.lower_open = true;
  }
  uint64_t next = 0;
  char digits[24];
  toon_status status = data_walk(call, &range, scan_key, &s);
  if (status == TOON_OK && s.more) status = scan_save(server, toon_buf_slice(&s.last), &next);
  int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)next);
  if (status == TOON_OK) status = resp_array(call->out, 2);
  if (status == TOON_OK) status = resp_bulk(call->out, toon_slice_of(digits, (size_t)len));
  if (status == TOON_OK) status = resp_array(call->out, s.count);
  if (status == TOON_OK) status = toon_buf_add(call->out, toon_buf_slice(&s.text));
  toon_buf_free(&s.text);
  toon_buf_free(&s.last);
  return status;
}
