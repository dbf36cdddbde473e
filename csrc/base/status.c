/* The status table's texts and the functions that fill a toon_error. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
  const char *name, *resp, *text;
} statuses[] = {
#define X(name, resp, text) {#name, resp, text},
    TOON_STATUS_TABLE(X)
#undef X
};

static unsigned clamp(toon_status status) {
  return (unsigned)status < TOON_STATUS_COUNT ? (unsigned)status : (unsigned)TOON_EINVAL;
}

const char *toon_status_name(toon_status status) { return statuses[clamp(status)].name; }
const char *toon_status_text(toon_status status) { return statuses[clamp(status)].text; }
const char *toon_status_resp(toon_status status) { return statuses[clamp(status)].resp; }

static void set_path(toon_error *err, const char *path) {
  size_t len = path ? strlen(path) : 0;
  if (len < sizeof err->path) {
    memcpy(err->path, path ? path : "", len + 1);
  } else {
    memcpy(err->path, "...", 3);
    memcpy(err->path + 3, path + len - (sizeof err->path - 4), sizeof err->path - 3);
  }
}

static toon_status vfail(toon_error *err, toon_status status, const char *fmt, va_list args) {
  if (!err) return status;
  err->status = status;
  err->os_errno = 0;
  err->syscall = NULL;
  err->offset = -1;
  err->line = err->column = 0;
  err->path[0] = 0;
  if (fmt)
    vsnprintf(err->message, sizeof err->message, fmt, args);
  else
    snprintf(err->message, sizeof err->message, "%s", toon_status_text(status));
  return status;
}

toon_status toon_fail(toon_error *err, toon_status status, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vfail(err, status, fmt, args);
  va_end(args);
  return status;
}

toon_status toon_fail_at(toon_error *err, toon_status status, const char *path, int64_t offset, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vfail(err, status, fmt, args);
  va_end(args);
  if (err) {
    set_path(err, path);
    err->offset = offset;
  }
  return status;
}

/* strerror is not thread-safe, and strerror_r has two signatures: GNU's gives the text, which need not be in the buffer. */
static const char *os_text(int os_errno, char *text, size_t size) {
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
  return strerror_r(os_errno, text, size);
#else
  if (strerror_r(os_errno, text, size) != 0) snprintf(text, size, "error %d", os_errno);
  return text;
#endif
}

toon_status toon_fail_os(toon_error *err, int os_errno, const char *syscall, const char *path) {
  toon_status status = os_errno == ENOSPC || os_errno == EDQUOT ? TOON_ENOSPC
                       : os_errno == ENOMEM                     ? TOON_ENOMEM
                                                                : TOON_EIO;
  char text[96];
  toon_fail(err, status, "%s failed: %s%s%s", syscall, os_text(os_errno, text, sizeof text),
            status == TOON_EIO ? "" : "; ", status == TOON_EIO ? "" : toon_status_text(status));
  if (err) {
    err->os_errno = os_errno;
    err->syscall = syscall;
    set_path(err, path);
  }
  return status;
}
