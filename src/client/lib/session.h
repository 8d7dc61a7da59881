/*
 * session: what stands behind a struct fileshare: one connection, made anew when
 * it broke, and calls that are repeated over it.
 *
 *     struct session_call call = SESSION_CALL(FSPROC_STAT, fs_stat_args, &args,
 *                                             fs_entry_res, &res);
 *     outcome = session_call(session, &call, why);     (results are looked at)
 *     session_call_end(&call);
 *
 * Repeats. A call whose connection broke, that got no reply in time, or that was
 * answered FS_UNAVAILABLE or FS_UNKNOWN is sent again, the very same bytes, with
 * back-off, for as long as options.retry_seconds. Two repeats happen whatever
 * retry_seconds says: one when a connection broke that had been made (it may have
 * gone while idle), and a few after FS_UNKNOWN. Who keeps several calls in
 * flight (upload, download) does the same by hand: session_ready and struct
 * retry.
 *
 * Results point into the reply until session_call_end, and are gone when the
 * session calls again and has to reconnect: copy what outlives it.
 *
 * Threads: a session belongs to one at a time, but for `stop`.
 */
#pragma once

#include "client/lib/lanes.h"
#include "client/lib/partial.h"
#include "client/lib/reach.h"
#include "client/lib/stop.h"
#include "client/lib/translate.h"
#include "fileshare/fileshare.h"
#include "rpc/backoff.h"
#include "rpc/client.h"

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stdint.h>

struct attachment;

struct fileshare {
    struct target target;
    struct greeting greeting; /* of the last connection */
    unsigned retry_seconds;
    fileshare_told *told; /* may be NULL */
    void *told_context;
    char *state_folder; /* may be NULL */
    struct stop stop;
    unsigned call_ms;          /* of one call */
    struct rpc_client *client; /* NULL: not connected */
    unsigned connections;      /* of one transfer; 0: by how far away the server is */
    struct lanes lanes;
    unsigned generation;       /* grows with every connection */
    bool greeted;              /* there is, or was just now, a connection */
    struct reach_back back;    /* of connections that take reversed calls; else zeros */
    struct attachment *attachment;
    struct partial_clean clean; /* a folder in which downloads left nothing */
};

/* ---- one call ---- */

struct session_call {
    uint32_t procedure;
    xdrproc_t encode;
    const void *arguments;
    xdrproc_t decode;
    void *results; /* begin with an fs_status */
    size_t results_size;
    struct rpc_client *client;   /* whose reply it is */
    struct rpc_pending *pending; /* the reply that the results point into */
};

/* The conditionals hold the pointers to their types. */
#define SESSION_CALL(number, arguments_type, arguments_at, results_type, results_at)                       \
    {                                                                                                      \
        .procedure = (number), .encode = (xdrproc_t)xdr_##arguments_type,                                  \
        .arguments = 1 ? (arguments_at) : (arguments_type *)NULL, .decode = (xdrproc_t)xdr_##results_type, \
        .results = 1 ? (results_at) : (results_type *)NULL, .results_size = sizeof(results_type)           \
    }

/*
 * OK: the results are there, whatever their status. UNREACHABLE, TIMEOUT,
 * STOPPED, PROTOCOL and so on otherwise; end the call in any case.
 */
must_check enum outcome session_call(struct fileshare *session, struct session_call *call,
                                     struct failure *why);
/* UNKNOWN: what is told of "no room" after an earlier sending of the same act that may have been done. */
must_check enum outcome session_no_room_in_doubt(struct failure *why);
/* The same without any repeat. */
must_check enum outcome session_try(struct fileshare *session, struct session_call *call,
                                    struct failure *why);
/* Frees the results. Again is fine. */
void session_call_end(struct session_call *call);

/* ---- by hand ---- */

/* Connects if there is no connection, or it broke. */
must_check enum outcome session_ready(struct fileshare *session, struct failure *why);
/* Closes the connection. No call may be pending. */
void session_drop(struct fileshare *session);
/* How long a try to connect, and a call, may take from now on. */
void session_limit(struct fileshare *session, unsigned connect_ms, unsigned call_ms);

/* For how long, and how often, something is tried again. */
struct retry {
    struct backoff backoff;
    int64_t until; /* ns of the elapsed clock; 0: nothing failed yet */
    unsigned tries;
    bool told; /* that it is tried again */
};

void retry_init(struct retry *retry);
/* There was progress: the time begins anew; what may be tried whatever the time says does not. */
void retry_reset(struct retry *retry);
/*
 * After `outcome`: whether to try again. Waits first, and drops a connection of
 * no more use (no call may be pending). False leaves *outcome and `why` as they
 * are, or makes them STOPPED.
 */
bool retry_again(struct retry *retry, struct fileshare *session, enum outcome *outcome, struct failure *why);

/*
 * Whether calls under way may stay so after this outcome of one of them: an answer
 * that asks for a repeat, on a connection that is well.
 */
bool session_goes_on(const struct fileshare *session, enum outcome outcome);

/* Tells of an incident, if anybody wants to hear of it. */
void session_tell(const struct fileshare *session, const struct fileshare_incident *incident);

/* The end of every public function: takes away a stop that is answered by this. */
enum fileshare_status session_report(struct fileshare *session, enum outcome outcome,
                                     const struct failure *why, struct fileshare_error *error);
