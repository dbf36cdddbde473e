/* Channels, patterns and who listens to them. Everything belongs to the loop's thread. */
#ifndef TOON_RESP_PUBSUB_H
#define TOON_RESP_PUBSUB_H

#include "resp/command.h"

typedef struct resp_server resp_server;
typedef struct pubsub_topic pubsub_topic;
typedef struct pubsub_link pubsub_link;

typedef enum pubsub_kind { PUBSUB_CHANNEL, PUBSUB_PATTERN, PUBSUB_KINDS } pubsub_kind;

/* All topics of a server. */
typedef struct pubsub {
  pubsub_topic *first[PUBSUB_KINDS], *last[PUBSUB_KINDS]; /* in the order in which they were made */
  pubsub_topic **slots;                                   /* a hash of them by name, chained */
  pubsub_link **link_slots;                               /* a hash of who listens to what, chained */
  size_t slot_count, link_slot_count, links, counts[PUBSUB_KINDS];
  bool publishing, sweep; /* topics stay while a message is given out; some have become empty */
} pubsub;

/* What a connection listens to. */
typedef struct pubsub_list {
  pubsub_link **links;
  size_t cap, counts[PUBSUB_KINDS]; /* together, the number of links */
} pubsub_list;

static inline size_t pubsub_list_count(const pubsub_list *list) { return list->counts[0] + list->counts[1]; }

/* Give a message to those who listen. *count: to how many. */
toon_status pubsub_publish(resp_server *server, toon_slice channel, toon_slice message, size_t *count);
/* How many would get it. */
size_t pubsub_count(const pubsub *all, toon_slice channel);
/* A connection listens to nothing any more. */
void pubsub_leave(resp_conn *conn);
void pubsub_free(pubsub *all);

#endif
