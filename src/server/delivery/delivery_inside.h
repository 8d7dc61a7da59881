/*
 * delivery_inside: what delivery's files share.
 *
 *   delivery.c   life; the thread that claims mailboxes and gives them to the sender
 *   attach.c     routes: ATTACH, DETACH, connections that close
 *   reports.c    what became of a batch, told to the store by threads of its own
 *   route.c      a route as the bytes that the store keeps
 *
 * attach_lock is held while a route is looked at and replaced, so that of two
 * processes one gets the mailbox. Nothing of the store or of rpc/server.h is called
 * under it. claim_lock is held while a mailbox is claimed and given to the sender.
 * Order: claim_lock, attach_lock, then the sender's lock; under claim_lock the store
 * is asked for a claim, which waits for nobody.
 */
#pragma once

#include "rpc/backoff.h"
#include "server/delivery/delivery.h"
#include "server/delivery/reports.h"

#include <pthread.h>
#include <stdatomic.h>

struct delivery {
    struct delivery_options options;
    struct sender *sender;
    struct reports reports;
    pthread_mutex_t attach_lock;
    int wake; /* eventfd */
    _Atomic bool stopping;
    bool started;
    pthread_t thread;
    struct backoff trouble; /* of claims that the store failed at; the thread's own */

    pthread_mutex_t claim_lock; /* guards what follows: room for one claim */
    struct store_event *claimed;
    struct event *events;
};
