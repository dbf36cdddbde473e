/* What connections and the server are made of: for connection.c, turn.c and server.c, and for the commands that are about
 * them (CLIENT, INFO…). Everything here belongs to the loop's thread, unless it says otherwise. */
#ifndef TOON_RESP_CONNECTION_H
#define TOON_RESP_CONNECTION_H

#include "resp/command.h"
#include "resp/pubsub.h"
#include "resp/server.h"

#include <uv.h>

enum {
  CONN_ADDRESS_MAX = 128, /* of the text of an address */
  CONN_USER_MAX = 128,    /* bytes of a user's name */
  VALUE_KEPT = 1 << 20,   /* bytes of scratch kept for values that are decoded */
  VALUE_HOT = 128,        /* bytes of text from which on the cache is quicker than to decode it */
  SPARES = 64,            /* buffers kept for connections that need one for a moment */
  LOGINS_MAX = 64         /* logins that are being checked; who comes then waits */
};

/* A reply that waits for the commit of a member. */
typedef struct waiting {
  resp_conn *conn; /* NULL once it is gone */
  size_t member;
  size_t offset, len;       /* of the reply, in the turn's `bytes` */
  uint64_t at, end;         /* where its command stands in all the input of the connection */
  bool exec, mute;          /* mute: CLIENT REPLY, it is not sent */
  toon_snapshot *ranges;    /* of an EXEC: what its ranges were read from; owned */
  struct resp_multi *multi; /* of an EXEC whose connection is gone: what it publishes; owned */
} waiting;

/* The writes of a turn of the loop, and who waits for them. */
typedef struct turn {
  toon_batch *batch;
  waiting *replies; /* in the order of the commands */
  size_t count, cap;
  toon_buf bytes;
  bool built_on_flight; /* something here was read from the batch under way */
} turn;

/* A handle of the loop, as what it is asked for. */
typedef union conn_io {
  uv_handle_t handle;
  uv_stream_t stream;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
} conn_io;

typedef struct resp_multi resp_multi;
typedef struct resp_scans resp_scans;

/* A connection from another thread for the loop's. */
typedef struct server_adopted {
  struct server_adopted *next;
  int fd;
  char address[CONN_ADDRESS_MAX];
} server_adopted;

/* An answer for a connection that waits for it. There is room for all that may be asked for, so none is lost. */
typedef struct server_answer {
  uint64_t conn;
  int value;
} server_answer;

/* Work that takes long and is asked for by a command: done one after the other on a thread of its own. */
typedef enum upkeep_kind { UPKEEP_CHECKPOINT, UPKEEP_COMPACT, UPKEEP_KINDS } upkeep_kind;

typedef struct server_counters {
  uint64_t connections, rejected, commands, in_bytes, out_bytes, errors, hits, misses;
  int64_t expired; /* before these counters began */
} server_counters;

struct resp_server {
  toon_db *db;
  toon_cache *cache;    /* NULL: none */
  toon_buf value;       /* scratch: a value on its way into a reply */
  resp_options options; /* its strings are of the caller and not to be used after the start */
  char *path;
  uv_loop_t loop;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
  uv_async_t wake;
  uv_check_t after_poll;
  uv_timer_t clock;
  uv_thread_t loop_thread, lead_thread, upkeep_thread;
  uv_sem_t lead, upkeep;
  uv_mutex_t mutex; /* over the next four lines */
  bool done, lead_end, stopping;
  server_adopted *adopted, **adopted_end;
  server_answer logins_done[LOGINS_MAX], upkeep_done[UPKEEP_KINDS]; /* no connection: none is there */
  size_t logins_done_count;                                         /* also under the mutex */
  bool upkeep_wanted[UPKEEP_KINDS], upkeep_running[UPKEEP_KINDS], upkeep_end;
  uint64_t upkeep_waiter[UPKEEP_KINDS]; /* the connection that waits for it; 0: none. Also under the mutex */
  int64_t last_save;                    /* seconds since 1970. Also under the mutex */
  bool last_save_failed;                /* also under the mutex */
  bool closing, in_flight, submit_soon;
  bool relaxed, finishing; /* replies do not wait for the disk; a batch is being finished: see turn.c */
  uint32_t here_pause;
  bool holding; /* the next batch waits for more writes: until there are `expected` replies, or `hold` ends */
  size_t expected;
  uint64_t submitted; /* when the batch in flight was; uv_hrtime */
  uv_timer_t hold;
  turn turns[2]; /* collecting and in flight */
  unsigned collecting;
  resp_conn *conns, *pushed;       /* all; those with something to send that no command of theirs brought about */
  resp_conn *ready, **ready_end;   /* those with input of this turn */
  resp_conn *stalled;              /* those with a command that waits for the batch under way */
  resp_conn *queued, **queued_end; /* those with a login that waits for others to be checked */
  uint32_t logins;                 /* that are being checked */
  struct {
    conn_io io;
    bool busy, again; /* being closed; the listener waits for that */
  } refuse[2];        /* take connections of `tcp` and `pipe` for which there is no memory */
  pubsub pubsub;
  resp_scans *scans; /* family_keyspace.c */
  uint32_t conn_count, monitors;
  uint64_t last_id, started; /* `started`: ms of the loop's clock */
  uint16_t port;
  server_counters counters;
  uint64_t commands_before, commands_per_second; /* at the last tick of the clock */
  toon_buf spares[SPARES];
  size_t spare_count;
};

/* An answer that a command waits for and that comes from outside the loop. QUEUED: it is not asked for yet. */
typedef enum conn_asking { ASK_NOTHING, ASK_QUEUED, ASK_WAITING, ASK_ANSWERED } conn_asking;

struct resp_conn {
  conn_io io;
  uv_write_t write;
  resp_server *server;
  resp_conn *next, **link;
  resp_conn *next_pushed;
  uint64_t id;
  int version;
  resp_role role;
  conn_asking asking;
  int answer;
  toon_buf in;   /* input: from `kept` on of commands without a reply, from `taken` on not yet handled */
  uint64_t base; /* bytes of input before in.ptr */
  uint64_t
      counted; /* where in all its input the commands begin that were not yet counted: one may be run several times */
  size_t kept, taken;
  toon_buf out;    /* replies gathered */
  toon_buf flying; /* on their way */
  toon_buf name, library, library_version;
  char user[CONN_USER_MAX], address[CONN_ADDRESS_MAX], local[CONN_ADDRESS_MAX]; /* local: of our end */
  uint64_t born, active;                                                        /* ms of the loop's clock */
  uint64_t swelling;      /* since when its unread pushes are more than a quarter of what is allowed; 0: they are not */
  const command *command; /* the last */
  resp_parser parser;
  uint32_t pending; /* replies that wait for a commit */
  uint32_t tries;   /* of the EXEC that it waits with */
  bool eof;         /* its client sends no more; what has come is still answered */
  bool reading, refused, closing, close_after, is_pushed, monitor, no_evict, no_touch;
  bool mute, mute_next, mute_this; /* CLIENT REPLY OFF, SKIP, and what they mean for this command */
  bool exclusive;                  /* an EXEC waits for its commit: nothing may stand behind it */
  bool stalled, ready;
  resp_conn *next_stalled, *next_queued, *next_ready;
  pubsub_list topics; /* what it has subscribed to */
  resp_multi *multi;  /* family_transactions.c */
};

/* ---- connection.c ---- */

/* Replies that this connection has not taken yet, in bytes: what output-buffer limits look at. */
static inline size_t conn_out_bytes(const resp_conn *conn) { return conn->out.len + conn->flying.len; }
/* Take a connection of a listener, or a socket of which the server has become the owner (listener NULL). */
void conn_accept(resp_server *server, uv_stream_t *listener, int fd, const char *address);
/* Close it now; it is freed by the loop later. */
void conn_close(resp_conn *conn);
/* Send what was gathered, unless something is on its way. */
void conn_flush(resp_conn *conn);
/* Handle what has come in, until the input ends or a command has to wait; send what that gave. */
void conn_work(resp_conn *conn);
/* Handle what this turn has read. */
void conns_work_ready(resp_server *server);
/* Run the command of a call: its function, with the reply made complete. TOON_ENOMEM only. */
toon_status command_run(command_call *call);
/* Give conn->out memory from the spares, if it has none. */
void conn_lend(resp_conn *conn);
/* Something was appended to conn->out that is no reply: it is sent at the end of the turn. Closes a connection that does not
 * read what it has asked for. */
void conn_push(resp_conn *conn);
/* Send what was pushed. */
void conns_flush_pushed(resp_server *server);
/* The limits that time brings about: idle connections, pushes that are not read. */
void conns_check(resp_server *server);
/* The connection of an id, or NULL. */
resp_conn *conn_find(resp_server *server, uint64_t id);
/* An answer for the command that waits on that connection. */
void conn_answer(resp_server *server, uint64_t id, int answer);
/* Begin to wait for an answer: the command runs again when it is there, and finds it by conn_answered. */
static inline void conn_ask(resp_conn *conn) { conn->asking = ASK_WAITING; }
static inline bool conn_waits(const resp_conn *conn) {
  return conn->asking == ASK_WAITING || conn->asking == ASK_QUEUED;
}
static inline bool conn_answered(resp_conn *conn, int *answer) {
  if (conn->asking != ASK_ANSWERED) return false;
  conn->asking = ASK_NOTHING;
  *answer = conn->answer;
  return true;
}
/* Ask whether a login is right, as conn_ask; or, if too many are being checked, run the command again when one is done (false). */
bool conn_ask_login(resp_conn *conn);
/* A login was checked. */
void conns_login_done(resp_server *server);
/* Show a command to those who monitor. */
void conn_show(const command_call *call);

/* ---- turn.c ---- */

/* The turn that gathers; the one on its way, or NULL. */
turn *turn_collecting(resp_server *server);
turn *turn_in_flight(resp_server *server);
/* Free all that a turn holds. */
void turn_free(turn *t);
/* Let the turn have a batch. */
toon_status turn_batch(resp_server *server, turn *t, toon_error *err);
/* Is so much gathered that connections should wait? */
bool turn_full(const resp_server *server);
/* A command was run: end its member of the batch, or drop it; leave its reply in call->out or let it wait for the commit. *waits:
 * nothing has happened, it is to be run again after the commit under way (conn_stall). */
toon_status turn_take(command_call *call, bool *waits);
/* Send what was gathered on its way, if nothing is. */
void turn_submit(resp_server *server);
/* The turn ends: the same, and what that lets connections gather in turn. */
void turn_end(resp_server *server);
/* Thread that leads commits; its argument is the server. */
void turn_lead(void *server);
/* The batch under way was processed (or refused, if not NULL): give replies, let connections go on, submit the next. */
void turn_finish(resp_server *server, const toon_error *refused);
/* Call conn_work when the batch under way is done. */
void conn_stall(resp_conn *conn);
void conn_unstall(resp_conn *conn);

/* ---- family_keyspace.c ---- */

enum { SCANS = 16384 }; /* cursors of SCAN that are known */
void scans_free(resp_scans *scans);

/* ---- family_transactions.c ---- */

/* Take a command into the transaction that MULTI has begun. False if it is to be run at once. */
bool multi_queue(command_call *call, toon_status *status);
/* A command between MULTI and EXEC was refused: EXEC will be too. */
void multi_refused(resp_conn *conn);
/* Commands between MULTI and EXEC; -1: no transaction. */
int multi_count(const resp_conn *conn);
/* Show the commands of an EXEC that was run. */
void multi_show(const command_call *call);
/* The transaction is over, its keys of WATCH are forgotten. */
void multi_free(resp_conn *conn);
/* An EXEC has ended; if it is committed, what it has published is given out. Takes *multi (may hold NULL) over. */
void multi_done(resp_server *server, resp_multi **multi, bool committed);
/* Note a message of the EXEC that is run. */
toon_status multi_publish(resp_conn *conn, toon_slice channel, toon_slice message);

/* ---- server.c ---- */

/* Take the next connection of a listener. */
void server_accept(resp_server *server, bool pipe);
/* A line for the log. */
void server_notice(resp_server *server, resp_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void server_event(resp_server *server, const resp_event *event);
/* Have upkeep done; conn (0: nobody) is answered with its status. False if the same is under way or waiting already. */
bool server_upkeep(resp_server *server, upkeep_kind kind, uint64_t conn);
/* The value of a name in what toon_stats tells, a string without its quotes; empty if there is none. */
toon_slice server_stat(const toon_buf *stats, const char *name);
/* "commit", "interval" or "close", appended to *out. */
toon_status server_durability(toon_db *db, toon_buf *out, toon_error *err);

#endif
