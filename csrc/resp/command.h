/* The table of commands, and what their functions are given.
 *
 * A command is a function of a connection and its arguments that appends one reply to call->out. It reads and writes keys by
 * the data_ functions, which keep to the order in which the server took the commands, though writes are committed later:
 *
 * - Writes go into the batch of the loop's turn, each command a member of it. The reply waits until the batch is committed; other
 *   connections are served meanwhile, and the commands behind it on its own connection as well.
 * - A command that writes sees what commands before it in its batch have written (the batch tells), and waits if a key that it
 *   reads is being written by the batch under way. What it read of the store is expected to be so still at the commit.
 * - A command that only reads sees the committed state, unless replies of its own connection still wait: then it sees
 *   what those have written too, and its reply waits with theirs.
 * - If a commit finds that somebody else (JavaScript) has changed what was read, that command and all behind it are taken back
 *   and run again from the input, which is kept until then. So a function may run several times before its reply is sent, and must
 *   not do what could not be done twice. */
#ifndef TOON_RESP_COMMAND_H
#define TOON_RESP_COMMAND_H

#include "resp/protocol.h"

#include <stdio.h>

typedef struct resp_conn resp_conn;

typedef struct command command;

/* What a command, or all commands of an EXEC together, do to the store. */
typedef struct command_work {
  toon_batch *batch;       /* of the turn; NULL until something was added */
  toon_snapshot *snapshot; /* what is read now is read from here; NULL: the newest state */
  toon_snapshot *ranges;   /* an EXEC's: what its ranges are read from, and expected to be as they are there */
  size_t range_count;      /* of ranges expected */
  size_t walked;           /* keys that an EXEC has looked at in ranges */
  bool open;               /* its member of the batch has been begun */
  bool wrote;              /* and holds a write */
  bool cleared;            /* FLUSHALL: a member of its own, ended already */
  bool isolated;           /* what it reads is expected to be so still at the commit */
  bool exec;               /* it is an EXEC */
  bool ran;                /* whose commands were run */
  bool depends;            /* it has read what is not yet committed */
  bool waits;              /* it has to be run again after the commit under way */
} command_work;

typedef struct command_call {
  resp_conn *conn;
  toon_db *db;
  const resp_parser *parser;
  toon_slice input;
  size_t count; /* of arguments, the name included */
  const command *command;
  command_work *work;
  toon_buf *out;
  size_t from; /* where its reply begins in *out */
  bool failed; /* the reply is an error: nothing is written */
} command_call;

static inline toon_slice call_arg(const command_call *call, size_t i) { return resp_arg(call->parser, call->input, i); }

enum {
  COMMAND_WRITE = 1,     /* adds to the batch */
  COMMAND_BLIND = 2,     /* and reads nothing: may stand behind another write of its connection */
  COMMAND_READONLY = 4,  /* reads keys */
  COMMAND_FAST = 8,      /* for COMMAND INFO */
  COMMAND_ADMIN = 16,    /* for administrators only */
  COMMAND_NO_AUTH = 32,  /* allowed before AUTH */
  COMMAND_PUBSUB = 64,   /* allowed to a RESP2 connection that has subscribed */
  COMMAND_NO_MULTI = 128 /* not within MULTI */
};

/* Returns TOON_ENOMEM if memory is short: the connection is then closed. Any other status comes from the functions below, which
 * have seen to the reply, and is passed on as it is. */
typedef toon_status (*command_fn)(command_call *call);

/* A row of the table; table.h says what its columns mean. */
struct command {
  const char *name; /* lower case */
  command_fn run;
  int arity;
  unsigned flags;
  int first, last, step;
  const char *group, *since, *summary;
};

/* Every command, subcommands behind their container; *count of them. */
const command *command_table(size_t *count);
/* By name ("client|id" is one), in any case; NULL if there is none. */
const command *command_find(toon_slice name);
/* The command that the arguments are, a subcommand if its container stands first. NULL if there is none: *container is then
 * the container whose subcommand is not known, or NULL. */
const command *command_of(const command_call *call, const command **container);
/* Does it have subcommands? */
bool command_is_container(const command *c);
/* Is the count of arguments one that it takes? */
bool command_takes(const command *c, size_t count);

/* ---- for the functions of commands (connection.c) ---- */

toon_buf *conn_out(resp_conn *conn);
int conn_version(const resp_conn *conn);
void conn_set_version(resp_conn *conn, int version);
uint64_t conn_id(const resp_conn *conn);
toon_buf *conn_name(resp_conn *conn);
void conn_close_after_reply(resp_conn *conn);
/* ---- reading and writing keys (data.c) ---- */

/* Make the reply this error, and write nothing. Always a failure. */
toon_status command_error(command_call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for an error of the store. */
toon_status command_fail(command_call *call, const toon_error *err);
toon_status command_syntax_error(command_call *call);
toon_status command_wrong_type(command_call *call);
/* Has the command written more than its connection may leave unread, with `more` bytes that are still to come? It then returns
 * TOON_ENOMEM, for what is still to come might not find memory. data_get and EXEC do, so that only what writes much for one row, or
 * without one, asks. */
bool command_overfull(const command_call *call, size_t more);

/* A row: committed, or what an earlier command will have written. data_release it, also one that was not found. */
typedef struct data_row {
  toon_row row;  /* version 0: not committed */
  toon_buf text; /* its field, if not committed */
} data_row;

/* Argument i as a key. */
toon_status command_key(command_call *call, size_t i, toon_key *key);
toon_status data_get(command_call *call, toon_key key, data_row *row, bool *found);
/* The value of a key as GET gives it, if the server's cache is worth asking for it: what had to be decoded when it was read last, by
 * a command that reads the committed state. *asked: it was; *value is then borrowed until the next call, its ptr NULL for no such key. */
toon_status data_get_hot(command_call *call, toon_key key, bool *asked, toon_slice *value);
void data_release(command_call *call, data_row *row);
toon_status data_has(command_call *call, toon_key key, bool *found);
/* A command that reads several keys reads them from one state. */
toon_status data_snapshot(command_call *call);
toon_status data_put(command_call *call, toon_key key, toon_input input, toon_slice value, int64_t expires_at);
/* Put bytes: a string if they are UTF-8, else bytes. */
toon_status data_put_bytes(command_call *call, toon_key key, toon_slice value, int64_t expires_at);
/* Put the value of a row. */
toon_status data_put_row(command_call *call, toon_key key, const data_row *row, int64_t expires_at);
toon_status data_delete(command_call *call, toon_key key);
toon_status data_expire(command_call *call, toon_key key, int64_t expires_at);
/* Delete every key. */
toon_status data_clear(command_call *call);
/* The number of keys as the command sees it; in an EXEC, its own writes count. */
toon_status data_size(command_call *call, uint64_t *size);
/* Walk the keys of a range as the command sees them; in an EXEC, keys that it made come last. `take` may set *stop. */
typedef toon_status (*data_key_fn)(void *ctx, toon_key key, uint8_t flags, bool *stop);
toon_status data_walk(command_call *call, const toon_range *range, data_key_fn take, void *ctx);

/* ---- families ---- */

#define X(function, name, arity, flags, first, last, step, group, since, summary) \
  toon_status command_##function(command_call *call);
#include "resp/table.h"
#undef X

/* ---- shared by families ---- */

/* A number as INCRBYFLOAT takes it, and as it gives it: in full, at most 17 places behind the point. */
bool command_float(toon_slice text, long double *out);
int command_float_text(long double value, char *out, size_t size);
/* Does the text match the pattern of KEYS, with * ? [a-c] [^a] and \\? In time O(pattern x text) at most. */
bool command_matches(toon_slice pattern, toon_slice text);
/* True if the argument is this word, in any case (`word` in lower case). */
bool command_word(toon_slice arg, const char *word);

#endif
