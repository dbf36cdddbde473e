/* Threads and timed waits over pthreads. */
#include "os/thread.h"
#include "base/alloc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

/* A wait longer than this (about 30 years) is forever; it keeps the sums below from overflowing. */
#define WAIT_MAX_MS 1000000000000u

/* musl gives a thread 128 KiB, macOS 512 KiB; the same everywhere is one thing less to differ. */
#define STACK_SIZE ((size_t)2 << 20)

void os_mutex_init(os_mutex *mutex) { pthread_mutex_init(mutex, NULL); }

void os_cond_init(os_cond *cond) {
#ifdef __APPLE__
  pthread_cond_init(cond, NULL); /* no clock to choose there; the wait below is relative */
#else
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(cond, &attr);
  pthread_condattr_destroy(&attr);
#endif
}

bool os_cond_wait_ms(os_cond *cond, os_mutex *mutex, uint64_t ms) {
  if (ms > WAIT_MAX_MS) ms = WAIT_MAX_MS;
  struct timespec until = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
#ifdef __APPLE__
  return pthread_cond_timedwait_relative_np(cond, mutex, &until) != ETIMEDOUT;
#else
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  until.tv_sec += now.tv_sec;
  until.tv_nsec += now.tv_nsec;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
#endif
}

typedef struct start {
  void *(*main)(void *);
  void *arg;
  char name[16];
} start;

/* The name is set from inside because macOS can name only the calling thread. */
static void *run(void *ptr) {
  start self = *(start *)ptr;
  toon_free(ptr);
#ifdef __APPLE__
  pthread_setname_np(self.name);
#else
  pthread_setname_np(pthread_self(), self.name);
#endif
  return self.main(self.arg);
}

int os_thread_start(os_thread *thread, const char *name, void *(*main)(void *), void *arg) {
  start *self = toon_malloc(sizeof *self);
  if (!self) return ENOMEM;
  self->main = main;
  self->arg = arg;
  snprintf(self->name, sizeof self->name, "%s", name);

  sigset_t blocked, before;
  sigfillset(&blocked);
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);

  pthread_attr_t attr;
  int error = pthread_attr_init(&attr);
  if (!error) {
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    /* The new thread inherits the mask of its maker: no moment in which a signal could reach it. */
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    error = pthread_create(thread, &attr, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
  }
  if (error) toon_free(self);
  return error;
}

void os_sleep_ms(uint64_t ms) {
  if (ms > WAIT_MAX_MS) ms = WAIT_MAX_MS;
  struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
  while (nanosleep(&left, &left) < 0 && errno == EINTR) {
  }
}
