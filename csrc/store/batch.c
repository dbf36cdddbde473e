/* Batches: collecting operations before a commit. Everything is copied at the call. */
#include "store/batch.h"
#include "base/alloc.h"
#include "base/utf.h"

#define SPARES 4
#define SPARE_MAX (4u << 20) /* larger arenas are not kept */

toon_status toon_batch_new(toon_db *db, toon_batch **out, toon_error *err) {
  if (db->options.read_only) return toon_fail(err, TOON_EREADONLY, NULL);
  os_mutex_lock(&db->spare_lock);
  toon_batch *batch = db->spare;
  if (batch) {
    db->spare = batch->next;
    db->spare_count--;
  }
  os_mutex_unlock(&db->spare_lock);
  if (!batch) batch = toon_calloc(1, sizeof *batch);
  if (!batch) return toon_fail(err, TOON_ENOMEM, NULL);
  batch->db = db;
  batch->next = NULL;
  *out = batch;
  return TOON_OK;
}

static void batch_reset(toon_batch *batch) {
  batch_index_rewind(batch, 0);
  for (size_t i = 0; i < batch->op_count; i++) toon_free(batch->ops[i].range);
  for (size_t i = 0; i < batch->member_count; i++) toon_free(batch->members[i].error);
  batch->arena.len = batch->op_count = batch->member_count = 0;
  batch->open = batch->submitted = batch->done = batch->in_order = batch->failed = batch->broken = false;
  batch->next_member = 0;
}

void batch_destroy(toon_batch *batch) {
  batch_reset(batch);
  batch_index_free(batch);
  toon_buf_free(&batch->arena);
  toon_free(batch->ops);
  toon_free(batch->members);
  toon_free(batch);
}

void toon_batch_free(toon_batch *batch) {
  if (!batch) return;
  toon_db *db = batch->db;
  batch_reset(batch);
  if (batch->arena.cap <= SPARE_MAX) {
    os_mutex_lock(&db->spare_lock);
    if (db->spare_count < SPARES) {
      batch->next = db->spare;
      db->spare = batch;
      db->spare_count++;
      batch = NULL;
    }
    os_mutex_unlock(&db->spare_lock);
  }
  if (batch) batch_destroy(batch);
}

void batch_fail(batch_member *member, const toon_error *err) {
  member->status = err->status;
  if (!member->error) member->error = toon_malloc(sizeof *err);
  if (member->error) *member->error = *err;
}

void toon_batch_in_order(toon_batch *batch) { batch->in_order = true; }

void toon_batch_depends(toon_batch *batch) {
  if (batch->open) batch->members[batch->member_count - 1].depends = true;
}

toon_status batch_check_order(const toon_batch *batch, const batch_member *member, toon_error *err) {
  if (!batch->in_order || !(batch->broken || (batch->failed && member->depends))) return TOON_OK;
  return toon_fail(err, TOON_ECONFLICT, NULL);
}

/* A new operation, in the open member or one of its own. */
static toon_status add_op(toon_batch *batch, batch_op **out, toon_error *err) {
  if (batch->submitted) return toon_fail(err, TOON_EINVAL, "the batch was submitted already; make a new one");
  if (batch->op_count == batch->op_cap) {
    size_t cap = batch->op_cap ? batch->op_cap * 2 : 64;
    batch_op *ops = toon_realloc(batch->ops, cap * sizeof *ops);
    if (!ops) return toon_fail(err, TOON_ENOMEM, NULL);
    batch->ops = ops;
    batch->op_cap = cap;
  }
  if (!batch->open) {
    toon_error ignored;
    TOON_TRY(toon_batch_begin(batch, err ? err : &ignored));
    batch->open = false;
  }
  batch->members[batch->member_count - 1].count++;
  *out = &batch->ops[batch->op_count++];
  **out = (batch_op){0};
  return TOON_OK;
}

toon_status toon_batch_begin(toon_batch *batch, toon_error *err) {
  if (batch->open || batch->submitted)
    return toon_fail(err, TOON_EINVAL, "begin inside of begin, or on a submitted batch");
  if (batch->op_count >= UINT32_MAX) return toon_fail(err, TOON_ETXNTOOBIG, NULL);
  if (batch->member_count == batch->member_cap) {
    size_t cap = batch->member_cap ? batch->member_cap * 2 : 64;
    batch_member *members = toon_realloc(batch->members, cap * sizeof *members);
    if (!members) return toon_fail(err, TOON_ENOMEM, NULL);
    batch->members = members;
    batch->member_cap = cap;
  }
  batch->members[batch->member_count++] = (batch_member){.first = (uint32_t)batch->op_count};
  batch->open = true;
  return TOON_OK;
}

toon_status toon_batch_begin_at(toon_batch *batch, const toon_snapshot *snapshot, toon_error *err) {
  TOON_TRY(toon_batch_begin(batch, err));
  batch->members[batch->member_count - 1].snapshot = snapshot;
  return TOON_OK;
}

toon_status toon_batch_read_from(toon_batch *batch, const toon_snapshot *snapshot, toon_error *err) {
  if (!batch->open || batch->members[batch->member_count - 1].snapshot)
    return toon_fail(err, TOON_EINVAL, "a member reads from one snapshot, from some time after its begin on");
  batch->members[batch->member_count - 1].snapshot = snapshot;
  return TOON_OK;
}

toon_status toon_batch_end(toon_batch *batch, toon_error *err) {
  if (!batch->open) return toon_fail(err, TOON_EINVAL, "end without begin");
  batch->open = false;
  return TOON_OK;
}

size_t toon_batch_mark(const toon_batch *batch) { return batch->op_count; }

void toon_batch_rewind(toon_batch *batch, size_t mark) {
  if (!batch->open || mark > batch->op_count) return;
  batch_member *member = &batch->members[batch->member_count - 1];
  if (mark < member->first) mark = member->first;
  batch_index_rewind(batch, mark);
  for (size_t i = mark; i < batch->op_count; i++) toon_free(batch->ops[i].range);
  batch->op_count = mark;
  member->count = (uint32_t)(mark - member->first);
}

void toon_batch_abandon(toon_batch *batch) {
  if (!batch->open) return;
  toon_batch_rewind(batch, 0);
  batch->member_count--;
  batch->open = false;
}

static toon_status check_key(toon_key key, toon_error *err) {
  if (key.len > TOON_KEY_MAX)
    return toon_fail(err, TOON_EKEYTOOBIG, "the key has %lu bytes; at most %d are allowed", (unsigned long)key.len,
                     TOON_KEY_MAX);
  if (key.space >= TOON_SPACES || (key.space == TOON_SPACE_ROW && key.len != 8))
    return toon_fail(err, TOON_EINVAL, "the key is not of a known key space");
  if (key.space == TOON_SPACE_ROW && toon_row_id(key) > TOON_ROW_MAX)
    return toon_fail(err, TOON_EINVAL, "the row id is above 2^53 - 1");
  return TOON_OK;
}

static toon_status check_expiry(int64_t expires_at, toon_error *err) {
  if (expires_at >= 0 && expires_at <= (int64_t)TOON_ROW_MAX) return TOON_OK;
  return toon_fail(err, TOON_EINVAL, "an expiry is a time in ms since 1970, from 0 to 2^53 - 1");
}

static toon_status too_big(const toon_batch *batch, size_t len, toon_error *err) {
  return toon_fail(err, TOON_EVALUETOOBIG, "the value has %zu bytes; maxValueSize is %llu", len,
                   (unsigned long long)batch->db->options.max_value_size);
}

/* Copy the value into the arena; *len its size there. Strings are checked here, JSON when it is encoded. */
static toon_status copy_value(toon_batch *batch, toon_input input, toon_slice value, size_t *len, toon_error *err) {
  uint64_t max = batch->db->options.max_value_size;
  switch (input) {
  case TOON_INPUT_UTF16: {
    size_t units = value.len / 2;
    if (units > max) return too_big(batch, units, err);
    if (toon_buf_reserve(&batch->arena, 3 * units) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
    *len =
        toon_utf16_to_utf8((const uint16_t *)(const void *)value.ptr, units, batch->arena.ptr + batch->arena.len, NULL);
    if (*len == SIZE_MAX)
      return toon_fail(err, TOON_EINVAL, "the string has a lone surrogate; it is not valid Unicode");
    if (*len > max) return too_big(batch, *len, err);
    batch->arena.len += *len;
    return TOON_OK;
  }
  case TOON_INPUT_STRING:
    if (value.len > max) return too_big(batch, value.len, err);
    if (toon_utf8_valid(value.ptr, value.len) != value.len)
      return toon_fail(err, TOON_EINVAL, "the string is not valid UTF-8");
    break;
  case TOON_INPUT_BYTES:
    if (value.len > max) return too_big(batch, value.len, err);
    break;
  case TOON_INPUT_JSON: /* can shrink to a table, but not without end */
    if (value.len > (1u << 30)) return too_big(batch, value.len, err);
    break;
  default: return toon_fail(err, TOON_EINVAL, "unknown kind of input");
  }
  if (toon_buf_add(&batch->arena, value) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  *len = value.len;
  return TOON_OK;
}

static toon_status add_put(toon_batch *batch, batch_kind kind, toon_key key, toon_input input, toon_slice value,
                           const toon_put_options *options, toon_error *err) {
  size_t start = batch->arena.len, value_len = 0;
  batch_op *op;
  if (options) TOON_TRY(check_expiry(options->expires_at, err));
  if (toon_buf_append(&batch->arena, key.ptr, key.len) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  toon_status status = copy_value(batch, input, value, &value_len, err);
  if (status == TOON_OK) status = add_op(batch, &op, err);
  if (status != TOON_OK) {
    batch->arena.len = start;
    return status;
  }
  *op = (batch_op){.kind = (uint8_t)kind,
                   .input = (uint8_t)input,
                   .space = key.space,
                   .key_len = key.len,
                   .key = start,
                   .value = start + key.len,
                   .value_len = value_len};
  if (options) {
    op->conditions = (uint8_t)options->conditions;
    op->version = options->version;
    op->expires_at = options->expires_at;
  }
  if (!op->expires_at && batch->db->options.ttl_ms)
    op->expires_at = engine_now_ms(batch->db->engine) + (int64_t)batch->db->options.ttl_ms; /* at most 10^12 each */
  return TOON_OK;
}

toon_status toon_batch_put(toon_batch *batch, toon_key key, toon_input input, toon_slice value,
                           const toon_put_options *options, toon_error *err) {
  TOON_TRY(check_key(key, err));
  return add_put(batch, BATCH_PUT, key, input, value, options, err);
}

toon_status toon_batch_row_put(toon_batch *batch, toon_input input, toon_slice value, const toon_put_options *options,
                               toon_error *err) {
  static const uint8_t room[8] = {0}; /* the leader writes the id here */
  return add_put(batch, BATCH_ROW_PUT, (toon_key){room, sizeof room, TOON_SPACE_ROW}, input, value, options, err);
}

/* An operation that is a key and nothing else. */
static toon_status add_key(toon_batch *batch, batch_kind kind, toon_key key, int64_t expires_at, toon_error *err) {
  batch_op *op;
  TOON_TRY(check_key(key, err));
  size_t start = batch->arena.len;
  if (toon_buf_append(&batch->arena, key.ptr, key.len) != TOON_OK) return toon_fail(err, TOON_ENOMEM, NULL);
  toon_status status = add_op(batch, &op, err);
  if (status != TOON_OK) {
    batch->arena.len = start;
    return status;
  }
  *op =
      (batch_op){.kind = (uint8_t)kind, .space = key.space, .key_len = key.len, .key = start, .expires_at = expires_at};
  return TOON_OK;
}

toon_status toon_batch_delete(toon_batch *batch, toon_key key, toon_error *err) {
  return add_key(batch, BATCH_DELETE, key, 0, err);
}

toon_status toon_batch_expire(toon_batch *batch, toon_key key, int64_t expires_at, toon_error *err) {
  TOON_TRY(check_expiry(expires_at, err));
  return add_key(batch, BATCH_EXPIRE, key, expires_at, err);
}

static toon_status check_in_transaction(const toon_batch *batch, toon_error *err) {
  if (batch->open && batch->members[batch->member_count - 1].snapshot) return TOON_OK;
  return toon_fail(err, TOON_EINVAL, "what was read is named between toon_batch_begin_at and end");
}

toon_status toon_batch_expect(toon_batch *batch, toon_key key, toon_error *err) {
  TOON_TRY(check_in_transaction(batch, err));
  return add_key(batch, BATCH_EXPECT, key, 0, err);
}

toon_status toon_batch_expect_version(toon_batch *batch, toon_key key, uint64_t version, toon_error *err) {
  if (!batch->open) return toon_fail(err, TOON_EINVAL, "what was read is named between begin and end");
  TOON_TRY(add_key(batch, BATCH_EXPECT_VERSION, key, 0, err));
  batch->ops[batch->op_count - 1].version = version;
  return TOON_OK;
}

static toon_status add_range(toon_batch *batch, batch_kind kind, const toon_range *range, toon_error *err) {
  if (range->space >= TOON_SPACES) return toon_fail(err, TOON_EINVAL, "unknown key space");
  toon_range *copy = range_copy(range);
  batch_op *op;
  if (!copy) return toon_fail(err, TOON_ENOMEM, NULL);
  toon_status status = add_op(batch, &op, err);
  if (status != TOON_OK) {
    toon_free(copy);
    return status;
  }
  *op = (batch_op){.kind = (uint8_t)kind, .space = range->space, .range = copy};
  return TOON_OK;
}

toon_status toon_batch_expect_range(toon_batch *batch, const toon_range *range, toon_error *err) {
  TOON_TRY(check_in_transaction(batch, err));
  return add_range(batch, BATCH_EXPECT_RANGE, range, err);
}

toon_status toon_batch_clear(toon_batch *batch, const toon_range *range, toon_error *err) {
  if (batch->open) return toon_fail(err, TOON_EINVAL, "clear stands alone, not between begin and end");
  return add_range(batch, BATCH_CLEAR, range, err);
}

size_t toon_batch_members(const toon_batch *batch) { return batch->member_count; }
size_t toon_batch_bytes(const toon_batch *batch) { return batch->arena.len + batch->op_count * sizeof(batch_op); }

toon_status toon_batch_result(const toon_batch *batch, size_t i, uint64_t *value, toon_error *err) {
  if (i >= batch->member_count) return toon_fail(err, TOON_EINVAL, "the batch has no such member");
  const batch_member *member = &batch->members[i];
  if (member->status != TOON_OK) {
    if (!member->error) return toon_fail(err, member->status, NULL);
    if (err) *err = *member->error;
    return member->status;
  }
  *value = member->value;
  return TOON_OK;
}
