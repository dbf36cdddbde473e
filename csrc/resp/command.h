/* The table of commands, and what their functions are given.
 *
 * A command is a function of a connection and its arguments that appends one reply to conn->out. One that writes does not
 * commit by itself: it adds to the batch of the loop's turn (`command_batch`) and says how its reply comes about when that
 * has been committed (`command_reply_*`). A connection whose replies are waiting takes further blind writes, and no
 * other command before they have come: so replies keep their order and a client reads what it wrote.
 *
 * A *blind* command needs nothing but its members' results. One that reads what it writes goes through `command_change`:
 * a snapshot and a member that fails if somebody else, in the server or in JavaScript, has changed its keys since; the
 * command is then run again. Each has a snapshot of its own: one shared by a turn could be older than what a client was
 * told before it sent the command. */
#ifndef TOON_RESP_COMMAND_H
#define TOON_RESP_COMMAND_H

#include "resp/protocol.h"

typedef struct resp_conn resp_conn;

typedef struct command_call {
  resp_conn *conn;
  toon_db *db;
  const resp_parser *parser;
  toon_slice input;
  size_t count;            /* of arguments, the name included */
  toon_batch *changing;    /* of command_change, until command_commit */
  size_t first;            /* its member */
  toon_snapshot *snapshot; /* what it reads from */
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

/* Returns an error only if memory is short: the connection is then closed. Everything else is an error reply. */
typedef toon_status (*command_fn)(command_call *call);

/* A row of the table; table.h says what its columns mean. */
typedef struct command {
  const char *name; /* lower case */
  command_fn run;
  int arity;
  unsigned flags;
  int first, last, step;
  const char *group, *since, *summary;
} command;

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
/* True while replies wait for a commit. A blind command that finds it has to read then returns at once, and is called again
 * when they have come. */
bool conn_waits(const resp_conn *conn);

/* The batch of this turn. */
toon_status command_batch(command_call *call, toon_batch **out, toon_error *err);
/* The reply of the members first … now of the batch: +OK; +OK or null if a condition did not hold; the sum of their
 * values. A member that failed makes it that error. */
toon_status command_reply_ok(command_call *call, size_t first);
toon_status command_reply_if(command_call *call, size_t first);
toon_status command_reply_sum(command_call *call, size_t first);
/* Begin a member of reads (from call->snapshot) and writes. A command that returns without command_commit has
 * written nothing, and its reply is what it appended. */
toon_status command_change(command_call *call, toon_batch **out, toon_error *err);
/* End it. What was appended to conn->out since `from` is the reply once it is committed. */
toon_status command_commit(command_call *call, size_t from);
/* The reply for an error of the store. */
toon_status command_fail(command_call *call, const toon_error *err);

/* ---- families ---- */

#define X(function, name, arity, flags, first, last, step, group, since, summary) \
  toon_status command_##function(command_call *call);
#include "resp/table.h"
#undef X

/* Shared by families: a key argument, false with the error reply written if it is too long. */
bool command_key(command_call *call, size_t i, toon_key *key, toon_status *status);
/* The bytes that GET gives for a row, appended to *out. */
toon_status command_value(const toon_row *row, toon_buf *out, toon_error *err);
/* Put bytes: a string if they are UTF-8, else bytes. */
toon_status command_put(toon_batch *batch, toon_key key, toon_slice value, const toon_put_options *options,
                        toon_error *err);
/* Does the text match the pattern of KEYS, with * ? [a-c] [^a] and \\? In time O(pattern x text) at most. */
bool command_matches(toon_slice pattern, toon_slice text);
/* True if the argument is this word, in any case (`word` in lower case). */
bool command_word(toon_slice arg, const char *word);

#endif
