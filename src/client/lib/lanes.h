/*
 * lanes: the connections over which one transfer's calls go.
 *
 * The first is the session's own. Where the server is far away, and packets are
 * lost on the way, TCP moves little over one connection, and several times as much
 * over several. So a transfer that sees that, and has much left, opens more; nobody
 * waits until they stand. One that is refused, breaks, or falls silent is left out: its calls are
 * lost, and go again over the others. If the session's own breaks, the transfer's round
 * ends as it would without the others.
 *
 * Far away calls are bound to a connection as late as can be, so that others find some left:
 * a call begins when the ones before it are out, and under way is not much more than
 * what TCP can have sent; near by all of this is left out.
 *
 *     lanes_ready                     a round begins: there is a connection
 *         lanes_widen                 so much is left: opens more if that pays
 *         lanes_pick, lanes_begin     a call, where least is under way
 *         lanes_wait, lanes_await     its reply; meanwhile others may take a call
 *         lanes_end                   of each call, before the next round
 *     lanes_close                     at the end, or when the session's connection is closed
 *
 * A call that is lost has no `pending` any more, and `lost` is set: whoever owns it
 * begins it again. One thread; replies live until lanes_end.
 */
#pragma once

#include "base/list.h"
#include "base/outcome.h"
#include "client/lib/pace.h"
#include "client/lib/window.h"
#include "fileshare/fileshare.h"
#include "rpc/bulk.h"
#include "rpc/client.h"

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fileshare;

enum {
    LANES_MOST = FILESHARE_CONNECTIONS_MAX,
    LANES_FROM = 256 << 10,  /* bytes left: for less none is opened */
    LANES_PIECE = 64 << 10,  /* the least that a call moves where there are several */
    LANES_SHARE = 128 << 10, /* may be under way on each at first, and however little is left */
    LANES_BEGIN = 1 << 20,   /* at first, where much is left */
    LANES_SLOW = 256 << 10,  /* bytes a round trip: what moves less, and loses, is slow */
};

struct lane {
    struct rpc_client *client;
    bool out;             /* broken or silent: nothing more goes there */
    size_t bytes;         /* of calls that are not answered, as far as known */
    struct window window; /* for these, where there are several lanes */
};

struct lane_call {
    struct list link; /* in lanes.calls until it is known to be answered */
    struct lane *lane;
    struct rpc_client *client;
    struct rpc_pending *pending; /* NULL: not under way */
    size_t bytes;
    bool lost; /* its lane broke */
};

struct lanes {
    struct lane rows[LANES_MOST]; /* the first is the session's own */
    unsigned count;               /* 0: no round began */
    bool late;                    /* calls are bound late: there are several, or may be */
    bool widened;                 /* once for each connection of the session's */
    int64_t round_trip;           /* of the first, where it is asked for */
    int64_t since;                /* when the first round began */
    struct distance_moved before; /* until then, over the first */
    struct list calls;
};

void lanes_init(struct lanes *lanes);

/* The session's connection is there (else it is made; as session_ready). UNREACHABLE if it broke under our calls. */
must_check enum outcome lanes_ready(struct fileshare *session, struct failure *why);
/* As lanes_ready; the pace learns how far away the server is, once of each connection. */
must_check enum outcome lanes_ready_paced(struct fileshare *session, struct pace *pace, struct failure *why);
/* So many bytes are left to be moved; UINT64_MAX: not known, but many. Opens more lanes if that pays. */
void lanes_widen(struct fileshare *session, uint64_t left);
/* Only the session's own from here on, as long as it stands. No call may be pending. */
void lanes_narrow(struct fileshare *session);
/* How many share what is left: those that are still being opened, too. */
unsigned lanes_count(const struct fileshare *session);
/* How much the next call moves of what is left; `most` where there is one connection. */
size_t lanes_piece(const struct fileshare *session, uint64_t left, size_t most);
/*
 * The lane for the next call, NULL if each has its share under way. `left` bytes are not begun
 * yet (UINT64_MAX: not known): no lane takes more than its share of them.
 */
struct lane *lanes_pick(struct fileshare *session, uint64_t left);

/*
 * Whether a call may be begun of many that `pace` counts, of which nobody knows how many are left: where calls are
 * bound late each lane has a window of its own.
 */
bool lanes_have_room(struct fileshare *session, const struct pace *pace);

/* Begins the call that moves so many bytes. As rpc_client_begin. */
must_check enum outcome lanes_begin(struct fileshare *session, struct lane *lane, struct lane_call *call,
                                    uint32_t procedure, xdrproc_t encode, const void *arguments,
                                    struct bulk_source *source, size_t bytes, struct failure *why);
/*
 * With several lanes waits until something happened. True: lanes_await will not wait, or there is nothing else
 * to be done than that. False: look whether another call can be begun, or one was lost, and come again.
 */
bool lanes_wait(struct fileshare *session, struct lane_call *call);
/* As rpc_client_await. */
must_check enum outcome lanes_await(struct lane_call *call, xdrproc_t decode, void *results,
                                    struct failure *why);
/* Forgets it, and its reply. Again is fine. */
void lanes_end(struct lane_call *call);

/* No call may be pending. The session's own connection stays. */
void lanes_close(struct lanes *lanes);
