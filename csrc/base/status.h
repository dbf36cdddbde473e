/* The one table of outcomes. From it come the C enum, the stable names that JavaScript sees as `error.code`,
 * the default message of each, and the prefix of the RESP error reply. Nothing else in the project lists them.
 *
 * Names never change between major versions; messages may. */
#ifndef TOON_BASE_STATUS_H
#define TOON_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(enumerator, RESP prefix, what happened and what to do next) */
#define TOON_STATUS_TABLE(X)                                                                                    \
  X(TOON_OK, "OK", "no error")                                                                                  \
  X(TOON_ENOTFOUND, "ERR", "there is no store here; pass createIfMissing: true to create one")                  \
  X(TOON_ECONFLICT, "EXECABORT", "another writer changed a key of this transaction first; run it again")        \
  X(TOON_ELOCKED, "ERR", "another process has this store open for writing; open it with readOnly: true")        \
  X(TOON_ECLOSED, "ERR", "the store is closed; open it again")                                                  \
  X(TOON_EREADONLY, "READONLY", "the store was opened read-only")                                               \
  X(TOON_EINVAL, "ERR", "an argument has the wrong type or value")                                              \
  X(TOON_EKEYTOOBIG, "ERR", "the key is longer than 4096 bytes")                                                \
  X(TOON_EVALUETOOBIG, "ERR", "the value is larger than maxValueSize; raise that option or split the value")    \
  X(TOON_ETXNTOOBIG, "ERR", "the transaction is larger than maxTxnSize; split it")                              \
  X(TOON_EDBFULL, "OOM", "the store has reached maxDbSize; delete rows or raise that option")                   \
  X(TOON_ESYNTAX, "ERR", "the text is not valid")                                                               \
  X(TOON_ECORRUPT, "ERR", "a file of the store is damaged; restore a backup or open with repair: true")         \
  X(TOON_EFORMAT, "ERR", "the file is not in a format this version reads; upgrade toonstore or check the path") \
  X(TOON_EIO, "MISCONF", "the operating system reported an input/output error; close and reopen the store")     \
  X(TOON_ENOSPC, "MISCONF", "the disk is full; nothing of this write was kept; free some space and try again")  \
  X(TOON_ENOMEM, "OOM", "out of memory; nothing was changed")                                                   \
  X(TOON_ETIMEOUT, "ERR", "the operation took longer than its timeout and was given up")                        \
  X(TOON_EUNIQUE, "ERR", "another row already has this value in a unique index")                                \
  X(TOON_ESNAPSHOT, "ERR", "the snapshot is too old and was given up; take a new one")

typedef enum toon_status {
#define X(name, resp, text) name,
  TOON_STATUS_TABLE(X)
#undef X
      TOON_STATUS_COUNT
} toon_status;

/* What went wrong, in full. Filled by the function that fails; zeroed fields do not apply. Plain data: copy it freely. */
typedef struct toon_error {
  toon_status status;
  int os_errno;        /* errno of the failed system call, or 0 */
  const char *syscall; /* its name (static string), or NULL */
  int64_t offset;      /* byte offset in `path` (TOON_ECORRUPT), or -1 */
  uint32_t line;       /* 1-based (TOON_ESYNTAX), or 0 */
  uint32_t column;     /* 1-based, in UTF-8 bytes (TOON_ESYNTAX), or 0 */
  char path[512];      /* file concerned, "" when none; cut with ... in front if longer */
  char message[256];   /* one sentence */
} toon_error;

/* The stable name of a status ("TOON_EIO"); never NULL. */
const char *toon_status_name(toon_status status);
/* Its default message; never NULL. */
const char *toon_status_text(toon_status status);
/* The first word of the RESP error reply; never NULL. */
const char *toon_status_resp(toon_status status);

/* Fill *err (which may be NULL) and return `status`. fmt NULL: the default message. The fields path, offset, line and
 * column are reset. */
toon_status toon_fail(toon_error *err, toon_status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As toon_fail, for a failed system call: picks TOON_ENOSPC, TOON_ENOMEM or TOON_EIO from os_errno. */
toon_status toon_fail_os(toon_error *err, int os_errno, const char *syscall, const char *path);
/* As toon_fail, with file and offset. */
toon_status toon_fail_at(toon_error *err, toon_status status, const char *path, int64_t offset, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Pass an error up to the caller. */
#define TOON_TRY(expr)                                        \
  do {                                                        \
    toon_status toon_try_status_ = (expr);                    \
    if (toon_try_status_ != TOON_OK) return toon_try_status_; \
  } while (0)
/* The same in a function that cleans up at its label `out` and keeps its result in `status`. */
#define TOON_GOTO(expr)              \
  do {                               \
    status = (expr);                 \
    if (status != TOON_OK) goto out; \
  } while (0)

#endif
