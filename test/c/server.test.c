/* The server inside this process, over its sockets: every allocation refused once, and from then on; then clients that come and go
 * beside a writer that overtakes them, for the sanitizers. Nothing may be left over, and the server must serve the next who comes. */
#include "check.h"

#include "base/alloc.h"
#include "os/memfs.h"
#include "resp/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE = 60 /* s */, CLIENTS = 6, ROUNDS = 150 };

/* ---- allocations ---- */

static _Atomic bool armed;
static _Atomic long allowed, refusals; /* allocations that still succeed; how many then fail */

static int refuse(void *ctx, size_t size) {
  (void)ctx, (void)size;
  if (!atomic_load(&armed) || atomic_fetch_sub(&allowed, 1) > 0) return 0;
  return atomic_fetch_sub(&refusals, 1) > 0;
}

static void refuse_after(long n, long count) {
  atomic_store(&allowed, n);
  atomic_store(&refusals, count);
  atomic_store(&armed, true);
}

/* ---- a server ---- */

typedef struct rig {
  os_memfs *fs;
  toon_db *db;
  resp_server *server;
} rig;

static _Atomic(resp_server *) asked; /* logins are answered by the thread that was told of them, as they come */
static void on_event(void *ctx, const resp_event *event) {
  (void)ctx;
  resp_server *server = atomic_load(&asked);
  if (event->kind == RESP_EVENT_AUTH && server) resp_server_answer(server, event->conn, RESP_ADMIN);
}

static bool start(rig *r, bool auth) {
  signal(SIGPIPE, SIG_IGN);
  toon_options options = toon_options_default();
  toon_error err;
  r->fs = os_memfs_new();
  if (!r->fs) return false;
  options.vfs = os_memfs_vfs(r->fs);
  options.durability = TOON_DURABLE_CLOSE;
  options.segment_size = 1 << 20;
  if (toon_open("/store", &options, &r->db, &err) != TOON_OK) return false;
  resp_options served = {.host = "127.0.0.1",
                         .max_clients = 100,
                         .output_max = 8 << 20,
                         .push_max = 4 << 20,
                         .level = RESP_WARNING,
                         .cache_rows = 16,
                         .cache_bytes = 1 << 16,
                         .auth = auth,
                         .on_event = on_event};
  if (resp_server_start(r->db, &served, &r->server, &err) != TOON_OK) return false;
  atomic_store(&asked, r->server);
  return true;
}

static void stop(rig *r) {
  toon_error err;
  atomic_store(&asked, NULL);
  resp_server_stop(r->server);
  CHECK_EQ(toon_close(r->db, &err), TOON_OK);
  os_memfs_free(r->fs);
}

static int dial(const rig *r) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(resp_server_port(r->server))};
  struct timeval patience = {.tv_sec = PATIENCE};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

/* Send a text and its end, and read to theirs. False if nobody closes. Up to `size` bytes of the answer, with a NUL. */
static bool ask(const rig *r, const char *text, char *out, size_t size) {
  int fd = dial(r);
  size_t len = 0;
  out[0] = 0;
  if (fd < 0) return false;
  if (send(fd, text, strlen(text), MSG_NOSIGNAL) > 0) shutdown(fd, SHUT_WR);
  char scrap[4096];
  ssize_t n;
  while ((n = recv(fd, scrap, sizeof scrap, 0)) > 0) {
    size_t some = len + (size_t)n < size ? (size_t)n : size - 1 - len;
    memcpy(out + len, scrap, some);
    len += some;
    out[len] = 0;
  }
  bool ended = n == 0 || errno != EAGAIN;
  close(fd);
  return ended;
}

/* Of every family something that allocates. */
static const char battery[] =
    "SET n 1\r\nINCR n\r\nAPPEND text abcdefgh\r\nSETRANGE text 3 xy\r\nGETRANGE text 0 -1\r\nMSET a 1 b 2 c 3\r\nMGET "
    "a b c none\r\n"
    "GETSET a 5\r\nINCRBYFLOAT f 1.5\r\nEXPIRE a 1000\r\nRENAME b d\r\nCOPY c e\r\nSETEX s 100 v\r\nLCS text "
    "text\r\nDEL none\r\n"
    "HSET h f 1 g 2\r\nHINCRBY h f 3\r\nHGETALL h\r\nHDEL h g\r\nHSCAN h 0\r\nHRANDFIELD h 2\r\n"
    "JSON.SET j $ '{\"x\":[1,2]}'\r\nJSON.NUMINCRBY j .x[0] 1\r\nJSON.GET j\r\nTOON.SET t 'a: 1'\r\nTOON.GET "
    "t\r\nTOON.RANGE - +\r\n"
    "KEYS *\r\nSCAN 0 COUNT 2\r\nRANDOMKEY\r\nDBSIZE\r\nINFO\r\nCOMMAND\r\nCOMMAND DOCS get\r\nCOMMAND LIST\r\nCONFIG "
    "GET *\r\nCLIENT LIST\r\n"
    "CLIENT LIST ID 1 2 3\r\nCLIENT SETNAME me\r\nCLIENT INFO\r\nMEMORY USAGE a\r\nOBJECT ENCODING a\r\nNOPE x y\r\n"
    "WATCH a b a\r\nMULTI\r\nSET m 1\r\nINCR m\r\nKEYS *\r\nDBSIZE\r\nRANDOMKEY\r\nSCAN 0\r\nPUBLISH ch "
    "x\r\nFLUSHALL\r\nSET m 2\r\nEXEC\r\n"
    "MULTI\r\nGET m\r\nDISCARD\r\nSUBSCRIBE ch other\r\nPSUBSCRIBE c*\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nPUBSUB "
    "CHANNELS\r\nPUBSUB NUMSUB ch\r\n"
    "MONITOR\r\nSAVE\r\nRESET\r\nSET end 1\r\nPING\r\n";

TEST(each_allocation_may_fail) {
  static char text[1 << 17];
  toon_alloc_set_refuse(refuse, NULL);
  for (int forever = 0; forever < 2; forever++) {
    bool reached = false;
    for (long n = 0; !reached && n < 20000; n += forever ? 7 : 1) {
      size_t before = toon_alloc_live();
      rig r;
      REQUIRE(start(&r, false));
      refuse_after(n, forever ? 1 << 20 : 1);
      CHECK(ask(&r, battery, text, sizeof text));
      reached = atomic_load(&allowed) > 0;
      atomic_store(&armed, false);
      if (reached && !strstr(text, "+RESET\r\n+OK\r\n+PONG\r\n"))
        fprintf(stderr, "%s\n", text + (strlen(text) > 1500 ? strlen(text) - 1500 : 0));
      if (reached) CHECK(strstr(text, "+RESET\r\n+OK\r\n+PONG\r\n") != NULL);
      /* Whatever it was, who comes next is served. */
      CHECK(ask(&r, "SET k v\r\nGET k\r\nMULTI\r\nDEL k\r\nKEYS k\r\nEXEC\r\nPUBSUB NUMPAT\r\n", text, sizeof text));
      CHECK(!strcmp(text, "+OK\r\n$1\r\nv\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n*0\r\n:0\r\n"));
      stop(&r);
      CHECK_EQ(toon_alloc_live(), before);
      if (check_failures_here) {
        fprintf(stderr, "allocation %ld refused%s: %.300s\n", n, forever ? ", and all behind it" : "", text);
        break;
      }
    }
    CHECK(reached);
  }
  toon_alloc_set_refuse(NULL, NULL);
}

/* ---- clients that come and go ---- */

typedef struct worker {
  const rig *r;
  unsigned seed;
} worker;

static unsigned roll(worker *w, unsigned n) {
  w->seed = w->seed * 1103515245u + 12345u;
  return (w->seed >> 16) % n;
}

static void *come_and_go(void *arg) {
  worker *w = (worker *)arg;
  static const char *const lines[] = {"INCR n\r\n",
                                      "SET k%u %u\r\n",
                                      "GET n\r\n",
                                      "APPEND k%u x\r\n",
                                      "PUBLISH ch %u\r\n",
                                      "MULTI\r\nINCR n\r\nPUBLISH ch %u\r\nEXEC\r\n",
                                      "WATCH n\r\nMULTI\r\nINCR n\r\nKEYS k*\r\nDBSIZE\r\nEXEC\r\n",
                                      "DEL k%u\r\n",
                                      "SCAN 0\r\n",
                                      "HINCRBY h f%u 1\r\n",
                                      "FLUSHALL\r\n",
                                      "CLIENT LIST\r\n",
                                      "AUTH x\r\n",
                                      "SUBSCRIBE ch\r\n",
                                      "UNSUBSCRIBE\r\nPSUBSCRIBE c*\r\n",
                                      "RESET\r\nAUTH x\r\n",
                                      "MONITOR\r\n",
                                      "MULTI\r\nRANDOMKEY\r\nFLUSHALL\r\nSET z 1\r\nEXEC\r\n"};
  char text[8192], scrap[8192];
  for (int round = 0; round < ROUNDS; round++) {
    int fd = dial(w->r);
    if (fd < 0) continue;
    size_t len = (size_t)snprintf(text, sizeof text, "AUTH x\r\n");
    for (unsigned i = roll(w, 60); i > 0 && len < sizeof text - 200; i--) {
      const char *line = lines[roll(w, sizeof lines / sizeof *lines)];
      unsigned a = roll(w, 20), b = roll(w, 1000);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      len += (size_t)snprintf(text + len, sizeof text - len, line, a, b);
#pragma GCC diagnostic pop
    }
    bool sent = send(fd, text, len, MSG_NOSIGNAL) > 0;
    unsigned how = roll(w, 4);
    if (sent && how > 0) (void)recv(fd, scrap, sizeof scrap, 0);
    if (how == 1) { /* it waits for everything */
      shutdown(fd, SHUT_WR);
      while (recv(fd, scrap, sizeof scrap, 0) > 0) {
      }
    } else if (how == 2) { /* it breaks off */
      struct linger none = {.l_onoff = 1};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    close(fd);
  }
  return NULL;
}

static _Atomic bool over;

static void *overtake(void *arg) {
  const rig *r = (const rig *)arg;
  toon_error err;
  for (unsigned i = 0; !atomic_load(&over); i++) {
    toon_batch *batch;
    char text[16];
    if (toon_batch_new(r->db, &batch, &err) != TOON_OK) return NULL;
    int len = snprintf(text, sizeof text, "%u", i);
    toon_status status = toon_batch_put(batch, toon_user_key(i % 3 ? "n" : "k1", i % 3 ? 1 : 2), TOON_INPUT_STRING,
                                        toon_slice_of(text, (size_t)len), NULL, &err);
    if (status == TOON_OK) (void)toon_commit(r->db, batch, &err);
    toon_batch_free(batch);
    usleep(200);
  }
  return NULL;
}

TEST(clients_come_and_go_beside_a_writer) {
  static char text[256];
  size_t before = toon_alloc_live();
  rig r;
  pthread_t threads[CLIENTS], writer;
  worker workers[CLIENTS];
  REQUIRE(start(&r, true));
  atomic_store(&over, false);
  REQUIRE(pthread_create(&writer, NULL, overtake, &r) == 0);
  for (unsigned i = 0; i < CLIENTS; i++) {
    workers[i] = (worker){&r, 20261121 + i};
    REQUIRE(pthread_create(&threads[i], NULL, come_and_go, &workers[i]) == 0);
  }
  for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
  atomic_store(&over, true);
  pthread_join(writer, NULL);
  CHECK(ask(&r, "GET k\r\nAUTH x\r\nSET k v\r\nGET k\r\n", text, sizeof text));
  CHECK(!strcmp(text, "-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n$1\r\nv\r\n"));
  stop(&r);
  CHECK_EQ(toon_alloc_live(), before);
}

CHECK_MAIN
