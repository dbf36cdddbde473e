/* TOON.FIND: queries over the collections that JavaScript keeps, as one TOON table for a prompt. */
#include "resp/command.h"
#include "resp/tokens.h"

#include "query/where.h"

enum { PATHS_MAX = 256, NAMES_MAX = 1024, NAME_MAX_BYTES = 1000 };
/* Bytes that a query may read, and its text may have: it runs on the loop. */
#define BYTES_MAX (64ull << 20)

typedef struct path_list {
  toon_path paths[PATHS_MAX];
  bool descending[PATHS_MAX];
  toon_slice names[NAMES_MAX];
  size_t count, name_count;
} path_list;

typedef struct find_call {
  path_list fields, order;
  int64_t limit, budget; /* budget: tokens; -1: any number */
} find_call;

/* "a.b" is b within a. */
static toon_status add_path(command_call *call, path_list *list, toon_slice arg) {
  if (list->count == PATHS_MAX) return command_error(call, "ERR too many fields");
  toon_path *path = &list->paths[list->count++];
  *path = (toon_path){.names = &list->names[list->name_count]};
  for (size_t from = 0, at = 0; at <= arg.len; at++) {
    if (at < arg.len && arg.ptr[at] != '.') continue;
    if (list->name_count == NAMES_MAX) return command_error(call, "ERR too many fields");
    list->names[list->name_count++] = toon_slice_of(arg.ptr + from, at - from);
    path->count++;
    from = at + 1;
  }
  return TOON_OK;
}

static bool is_option(toon_slice arg) {
  return command_word(arg, "fields") || command_word(arg, "orderby") || command_word(arg, "limit") ||
         command_word(arg, "maxtokens");
}

static toon_status read_order(command_call *call, find_call *f, size_t *i) {
  size_t first = *i;
  for (; *i < call->count && !is_option(call_arg(call, *i)); ++*i) {
    bool down = command_word(call_arg(call, *i), "desc");
    if (*i > first && (down || command_word(call_arg(call, *i), "asc")))
      f->order.descending[f->order.count - 1] = down;
    else
      TOON_TRY(add_path(call, &f->order, call_arg(call, *i)));
  }
  return *i > first ? TOON_OK : command_syntax_error(call);
}

static toon_status read_options(command_call *call, find_call *f) {
  *f = (find_call){.limit = INT64_MAX, .budget = -1};
  for (size_t i = 3; i < call->count;) {
    toon_slice option = call_arg(call, i++);
    if (command_word(option, "fields")) {
      size_t first = i;
      for (; i < call->count && !is_option(call_arg(call, i)); i++)
        TOON_TRY(add_path(call, &f->fields, call_arg(call, i)));
      if (i == first) return command_syntax_error(call);
    } else if (command_word(option, "orderby")) {
      TOON_TRY(read_order(call, f, &i));
    } else {
      if (!is_option(option) || i == call->count) return command_syntax_error(call);
      bool rows = command_word(option, "limit");
      if (!resp_integer(call_arg(call, i++), rows ? &f->limit : &f->budget) || (rows ? f->limit < 1 : f->budget < 0))
        return command_error(call, "ERR value is not an integer or out of range");
    }
  }
  return TOON_OK;
}

/* As many rows as fit the budget: first ever more, then between the last that fitted and the first that did not. */
static toon_status make_within(toon_query *query, uint64_t most, uint64_t budget, toon_buf *out, toon_error *err) {
  uint64_t fits = 0, fails = UINT64_MAX, rows = 64 < most ? 64 : most, got;
  toon_buf text = {0};
  toon_status status = toon_query_toon(query, 0, toon_slice_of(NULL, 0), ',', out, &got, err);
  if (status != TOON_OK) return status;
  if (tokens_estimate(toon_buf_slice(out)) > budget) out->len = fails = 0; /* not even none */
  while (fits + 1 < fails && fits < most) {
    text.len = 0;
    status = toon_query_toon(query, rows, toon_slice_of(NULL, 0), ',', &text, &got, err);
    if (status != TOON_OK) break;
    if (tokens_estimate(toon_buf_slice(&text)) <= budget) {
      toon_buf better = text; /* what has fitted best is kept */
      text = *out;
      *out = better;
      fits = got;
      if (got < rows) break; /* there are no more */
    } else {
      fails = got;
    }
    rows = fails != UINT64_MAX ? fits + (fails - fits) / 2 : fits > most / 4 ? most : fits * 4;
    if (!rows) break;
  }
  toon_buf_free(&text);
  return status;
}

static toon_status answer(command_call *call, const find_call *f, const toon_query_options *o, toon_buf *out) {
  toon_snapshot *snapshot = NULL;
  toon_query *query = NULL;
  toon_error err;
  uint64_t got;
  toon_status status = toon_snapshot_open(call->db, &snapshot, &err);
  if (status == TOON_OK) status = toon_query_open(call->db, snapshot, o, &query, &err);
  if (status == TOON_OK)
    status = f->budget < 0 ? toon_query_toon(query, UINT64_MAX, toon_slice_of(NULL, 0), ',', out, &got, &err)
                           : make_within(query, o->limit, (uint64_t)f->budget, out, &err);
  toon_query_close(query);
  toon_snapshot_close(snapshot);
  return status == TOON_OK ? TOON_OK : command_fail(call, &err);
}

/* TOON.FIND collection filter [FIELDS field…] [ORDERBY field [ASC | DESC]…] [LIMIT rows] [MAXTOKENS tokens] */
toon_status command_toon_find(command_call *call) {
  toon_slice name = call_arg(call, 1);
  toon_buf prefix = {0}, end = {0}, text = {0};
  toon_where *where = NULL;
  toon_error err;
  find_call f;
  if (!name.len || name.len > NAME_MAX_BYTES || *name.ptr == '$' || *name.ptr == '/' || name.ptr[name.len - 1] == '/')
    return command_error(call, "ERR that is no name of a collection");
  TOON_TRY(read_options(call, &f));
  if (toon_where_parse(call_arg(call, 2), &where, &err) != TOON_OK)
    return err.line ? command_error(call, "ERR the filter is no JSON: line %u, column %u", err.line, err.column)
                    : command_fail(call, &err);
  toon_status status = toon_buf_add(&prefix, name);
  if (status == TOON_OK) status = toon_buf_byte(&prefix, '/');
  if (status == TOON_OK) status = toon_buf_add(&end, name);
  if (status == TOON_OK) status = toon_buf_byte(&end, '/' + 1);
  if (status == TOON_OK) {
    const toon_slice bounds[] = {toon_buf_slice(&prefix), toon_buf_slice(&end)};
    toon_query_options o = {.prefix = bounds[0],
                            .bounds = bounds,
                            .ranges = 1,
                            .fields = f.fields.paths,
                            .field_count = f.fields.count,
                            .picks = f.fields.count > 0,
                            .nulls = true,
                            .order = f.order.paths,
                            .descending = f.order.descending,
                            .order_count = f.order.count,
                            .limit = (uint64_t)f.limit,
                            .most_bytes = BYTES_MAX,
                            .columns = true};
    toon_where_use(where, &o);
    status = answer(call, &f, &o, &text);
  }
  if (status == TOON_OK && command_overfull(call, text.len)) status = TOON_ENOMEM;
  if (status == TOON_OK) status = resp_bulk(call->out, toon_buf_slice(&text));
  toon_where_free(where);
  toon_buf_free(&prefix);
  toon_buf_free(&end);
  toon_buf_free(&text);
  return status;
}
