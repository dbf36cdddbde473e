/* Threads, mutexes and condition variables: pthreads, with names that fit the rest. Initialisation can fail only for
 * lack of memory. */
#ifndef TOON_OS_THREAD_H
#define TOON_OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef pthread_mutex_t os_mutex;
typedef pthread_cond_t os_cond; /* waits by CLOCK_MONOTONIC */
typedef pthread_t os_thread;

void os_mutex_init(os_mutex *mutex);
static inline void os_mutex_destroy(os_mutex *mutex) { pthread_mutex_destroy(mutex); }
static inline void os_mutex_lock(os_mutex *mutex) { pthread_mutex_lock(mutex); }
static inline void os_mutex_unlock(os_mutex *mutex) { pthread_mutex_unlock(mutex); }

void os_cond_init(os_cond *cond);
static inline void os_cond_destroy(os_cond *cond) { pthread_cond_destroy(cond); }
static inline void os_cond_wait(os_cond *cond, os_mutex *mutex) { pthread_cond_wait(cond, mutex); }
/* Wait at most ms milliseconds; false when the time ran out. */
bool os_cond_wait_ms(os_cond *cond, os_mutex *mutex, uint64_t ms);
static inline void os_cond_signal(os_cond *cond) { pthread_cond_signal(cond); }
static inline void os_cond_broadcast(os_cond *cond) { pthread_cond_broadcast(cond); }

/* Start a thread named `name` (cut to 15 bytes) that takes no signals, so that handlers of the host program run on its
 * own threads. Only those of a fault (SIGSEGV, SIGBUS ...) stay open: blocked, they would kill the process past Node's
 * and the sanitizers' reports. 0 or an errno value. */
int os_thread_start(os_thread *thread, const char *name, void *(*main)(void *), void *arg);
static inline void os_thread_join(os_thread thread) { pthread_join(thread, NULL); }
void os_sleep_ms(uint64_t ms);

#endif
