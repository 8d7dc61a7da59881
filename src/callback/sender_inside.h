/*
 * sender_inside: what the sender's files share.
 *
 *   sender.c           life, the thread's loop, what others call
 *   sender_mailboxes.c the table of mailboxes
 *   sender_way.c       the way back of one mailbox: proving it, and a batch over it
 *   sender_batch.c     a batch in its wire form; HELLO and NOTIFY
 *   sender_reversed.c  calls on the client's own connection
 *   sender_dial.c, sender_lookup.c, deadlines.c   on their own
 *
 * One lock guards all that is reachable from struct sender, except the returns
 * of reversed calls, which have their own. The sender's lock is never held while
 * `done` or a function of rpc/server.h is called. Order: sender.lock, then
 * sender_returns.lock; each may be taken alone.
 *
 * Only the sender's thread dials, finishes turns, calls `done`, and frees batches
 * and closed dials. Other threads, under the lock, may change a mailbox's route,
 * give it a batch, and put it into `attention`; or, if its way is READY, send the
 * batch (a socket takes it without waiting, or the rest of it goes by the thread).
 */
#pragma once

#include "base/list.h"
#include "callback/deadlines.h"
#include "callback/sender.h"
#include "callback/sender_dial.h"

#include <pthread.h>
#include <rpc/rpc.h>

/* ---- a batch of events, on its way ---- */

enum batch_phase {
    BATCH_WAITS,    /* for a way */
    BATCH_DIALLED,  /* NOTIFY is out on the dialled connection */
    BATCH_REVERSED, /* NOTIFY is out, or about to be, on the client's own */
};

struct sender_batch {
    struct list link; /* in sender.reversals, then in sender.finished */
    enum batch_phase phase;
    struct sender_result result;
    uint64_t last;    /* number of its last event */
    unsigned attempt; /* tells a reversed call's answer from that of an earlier one */
    bool tried_dial, tried_reversed;
    bool redialled;     /* after a connection that had rested turned out to be broken */
    int64_t wait_until; /* for the dial-back, if there is another way */
    size_t size;
    uint8_t rows[]; /* XDR of fs_notify_args.rows */
};

/* The arguments of NOTIFY: a ticket before rows that are encoded already. */
struct notify_arguments {
    struct id ticket;
    const uint8_t *rows;
    size_t size;
};
bool_t xdr_notify_arguments(XDR *xdrs, ...);

enum { NOTIFY_OVERHEAD = ID_SIZE };

must_check enum outcome batch_new(const struct id *mailbox, uint64_t token, const struct event *events,
                                  size_t count, struct sender_batch **out, struct failure *why);

/* Both take the reply over. DENIED; PROTOCOL if the answer is none, or for more than was sent. */
must_check enum outcome hello_answer(struct record *reply, const struct id *proof, struct failure *why);
must_check enum outcome notify_answer(struct record *reply, uint64_t last, uint64_t *acknowledged,
                                      struct failure *why);

/* ---- a mailbox ---- */

enum way_phase {
    WAY_NONE,   /* no dial-back, or given up until a delivery asks for it */
    WAY_LATER,  /* begins at retry_at */
    WAY_ASKING, /* the client's rpcbind is asked */
    WAY_CONNECTING,
    WAY_PROVING, /* HELLO is out */
    WAY_READY,   /* proved, connected, no call on it */
    WAY_TELLING, /* NOTIFY is out */
    WAY_RESTING, /* proved, but the connection was closed */
};

struct sender_mailbox {
    struct id id;
    struct sender_mailbox *same_id, *same_connection; /* chains of the table */
    struct list age;                                  /* in the table, the longest unused first */
    struct list attention;                            /* in sender.attention */
    struct sender_route route;
    enum way_phase phase;
    bool proved;         /* and not failed since */
    bool settled;        /* the first proof of this route has come out */
    bool fresh;          /* no NOTIFY went over this connection yet */
    bool in_vain;        /* the last NOTIFY by a reversed call on this connection came to nothing */
    unsigned failures;   /* in a row */
    int64_t prove_until; /* until then a first proof is waited for */
    int64_t retry_at;    /* WAY_LATER, WAY_RESTING */
    int64_t step_until;  /* of the phases that wait for the peer */
    struct dial *dial;
    struct sender_batch *batch;
    struct deadline due; /* the earliest of all those */
};

/* ---- the table of them ---- */

struct sender_mailboxes {
    struct sender_mailbox **by_id, **by_connection;
    size_t mask;
    uint64_t key[2]; /* the ids are the clients' choice: hashed with a secret */
    struct list by_age;
    size_t count;
};

must_check enum outcome mailboxes_init(struct sender_mailboxes *mailboxes, size_t expected,
                                       struct failure *why);
void mailboxes_fini(struct sender_mailboxes *mailboxes);
struct sender_mailbox *mailboxes_find(const struct sender_mailboxes *mailboxes, const struct id *id);
void mailboxes_insert(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox);
void mailboxes_remove(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox);
void mailboxes_touch(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox); /* used just now */
void mailboxes_connect(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox,
                       uint64_t connection);
/* The first whose route has this connection (not 0), or NULL. */
struct sender_mailbox *mailboxes_connected(const struct sender_mailboxes *mailboxes, uint64_t connection);

/* ---- answers of reversed calls ---- */

/*
 * Where workers of the RPC server leave them; lives until the sender and every
 * call are gone, for a call may be answered after the sender was freed.
 */
struct sender_returns {
    pthread_mutex_t lock; /* guards all */
    unsigned holders;     /* the sender, and each call that is out */
    int wake;             /* the sender's eventfd, or -1 once it is gone */
    struct list answers;  /* of struct reversed_call */
};

struct reversed_call {
    struct list link;
    struct sender_returns *returns;
    struct id mailbox;
    unsigned attempt;
    enum outcome outcome;
    uint64_t acknowledged;
};

struct sender_returns *returns_new(int wake);        /* NULL when there is no memory */
void *returns_close(struct sender_returns *returns); /* NULL is fine; returns NULL */

/* ---- the sender ---- */

struct sender {
    struct sender_options options;
    int epoll, wake;
    pthread_t thread;
    bool started;
    struct sender_returns *returns;

    pthread_mutex_t lock; /* guards all that follows */
    bool stopping;
    int64_t sleeps_until; /* elapsed; whoever sets an earlier deadline wakes the thread */
    struct sender_mailboxes mailboxes;
    struct deadlines deadlines;
    struct list attention; /* mailboxes that the thread must look at */
    struct list reversals; /* batches to be sent by a reversed call */
    struct list finished;  /* batches to be reported */
    struct list dials;     /* open, the longest unused first */
    struct list closed;    /* dials to be freed at the end of the turn */
    unsigned dial_count;
    unsigned batch_count;
    size_t batch_bytes;
};

/* ---- the way of one mailbox: the lock is held ---- */

void way_set_route(struct sender *sender, struct sender_mailbox *mailbox, const struct sender_route *route);
void way_attend(struct sender *sender, struct sender_mailbox *mailbox); /* something about it is new */
void way_step(struct sender *sender, struct sender_mailbox *mailbox, uint32_t events);
void way_due(struct sender *sender, struct sender_mailbox *mailbox);
void way_reversed(struct sender *sender, struct sender_mailbox *mailbox, const struct reversed_call *answer);
void way_disconnect(struct sender *sender,
                    struct sender_mailbox *mailbox);                   /* its reversed route is no more */
void way_doubt(struct sender *sender, struct sender_mailbox *mailbox); /* if it is open: is it there? */
bool way_is_open(const struct sender_mailbox *mailbox); /* a proved connection is open, for all we know */
void way_end(struct sender *sender, struct sender_mailbox *mailbox,
             enum outcome outcome); /* batch and dial */
enum sender_state way_state(const struct sender *sender, const struct sender_mailbox *mailbox);
bool way_leads_nowhere(const struct sender_mailbox *mailbox);

/* ---- reversed calls: on the sender's thread, the lock not held ---- */

void reversed_send_all(struct sender *sender);
void reversed_take_answers(struct sender *sender);
