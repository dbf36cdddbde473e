/* Faults of mapped files. A file that is cut short under its mapping, or a disk that cannot read a page, makes the next
 * access a SIGBUS, which would kill the process. The handler puts a page of zeros there instead and marks the mapping as
 * damaged; whoever reads it looks at the mark, or at a checksum, before it believes what it has read.
 *
 * The handler is installed once, when the first file is mapped, and stays. It runs in the thread that faults and uses atomics and
 * mmap (a plain system call on Linux and macOS) only. Faults elsewhere, and signals sent by kill, go to the handler that
 * was there before. A handler that is installed after ours must do the same for us. */
#include "os/fault.h"
#include "os/thread.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#define SLOTS 256
#define FAULTS_MAX \
  16 /* of one mapping; then all the rest of it becomes zeros: the kernel's mappings are not without end */

typedef struct range {
  _Atomic uintptr_t start; /* 0: free */
  _Atomic uintptr_t end;
  _Atomic uint32_t faults;
} range;

/* Blocks are only added, never given back: the handler may be looking at them. */
typedef struct block {
  _Atomic(struct block *) next;
  range ranges[SLOTS];
} block;

_Atomic uint32_t os_map_faults;

static block first_block;
static os_mutex lock = PTHREAD_MUTEX_INITIALIZER; /* of changes */
static struct sigaction before;
static size_t page_size;

/* The range that holds an address.
 *
 * A slot may be given to another range while we look, so `start`, which is written last, is read before and behind `end`. An
 * older end cannot be read behind a newer start, and behind a newer end the old start is not read again (release, acquire): so
 * start and end are of one range, or of two that begin at the same place, and then the address of a mapping that is there
 * now is in the newer. No test shows what the loop prevents: none can hold a thread between the two loads. */
static range *find(uintptr_t at) {
  for (block *b = &first_block; b; b = atomic_load_explicit(&b->next, memory_order_acquire))
    for (int i = 0; i < SLOTS; i++) {
      range *r = &b->ranges[i];
      uintptr_t start, end;
      do {
        start = atomic_load_explicit(&r->start, memory_order_acquire);
        end = atomic_load_explicit(&r->end, memory_order_acquire);
      } while (start != atomic_load_explicit(&r->start, memory_order_relaxed));
      if (start && at >= start && at < end) return r;
    }
  return NULL;
}

static void pass_on(int sig, siginfo_t *info, void *context) {
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(sig, info, context);
  } else if (before.sa_handler == SIG_IGN && info->si_code <= 0) {
    return; /* sent by somebody; a fault cannot be ignored */
  } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
    struct sigaction end = {.sa_handler = SIG_DFL};
    sigaction(sig, &end, NULL);
    if (info->si_code <= 0) raise(sig); /* delivered when we return; a fault happens again by itself */
  } else {
    before.sa_handler(sig);
  }
}

static void on_fault(int sig, siginfo_t *info, void *context) {
  int saved = errno;
  uintptr_t at = (uintptr_t)info->si_addr;
  range *r = info->si_code > 0 ? find(at) : NULL;
  if (r) {
    /* Marked before there are zeros to be read. */
    uint32_t faults = atomic_fetch_add(&r->faults, 1);
    atomic_fetch_add(&os_map_faults, 1);
    uintptr_t page = at & ~(uintptr_t)(page_size - 1);
    uintptr_t end = faults < FAULTS_MAX ? page + page_size : atomic_load_explicit(&r->end, memory_order_relaxed);
    void *zeros = mmap((void *)page, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = saved;
    if (zeros != MAP_FAILED) return;
  }
  pass_on(sig, info, context);
  errno = saved;
}

static void install(void) {
  struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  page_size = os_page_size();
  sigemptyset(&ours.sa_mask);
  sigaction(SIGBUS, NULL, &before); /* before ours can be called */
  sigaction(SIGBUS, &ours, NULL);
}

static range *free_slot(void) {
  block *last = &first_block;
  for (block *b = last; b; last = b, b = atomic_load_explicit(&b->next, memory_order_relaxed))
    for (int i = 0; i < SLOTS; i++)
      if (!atomic_load_explicit(&b->ranges[i].start, memory_order_relaxed)) return &b->ranges[i];
  block *fresh = mmap(NULL, sizeof *fresh, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fresh == MAP_FAILED) return NULL;
  atomic_store_explicit(&last->next, fresh, memory_order_release);
  return &fresh->ranges[0];
}

int os_fault_add(const uint8_t *map, size_t len) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
  size_t whole = (len + page_size - 1) & ~(page_size - 1); /* the last page is ours too */
  os_mutex_lock(&lock);
  range *r = free_slot();
  if (r) {
    atomic_store_explicit(&r->end, (uintptr_t)map + whole, memory_order_release); /* behind the old start's end */
    atomic_store_explicit(&r->faults, 0, memory_order_relaxed);
    atomic_store_explicit(&r->start, (uintptr_t)map, memory_order_release);
  }
  os_mutex_unlock(&lock);
  return r ? 0 : ENOMEM;
}

void os_fault_remove(const uint8_t *map) {
  os_mutex_lock(&lock);
  range *r = find((uintptr_t)map);
  if (r) atomic_store_explicit(&r->start, 0, memory_order_release);
  os_mutex_unlock(&lock);
}

bool os_fault_in(const uint8_t *map) {
  range *r = find((uintptr_t)map);
  return r && atomic_load_explicit(&r->faults, memory_order_acquire) != 0;
}
