/*
 * page: the way of one request, from the complete record to the reply.
 *
 * page_read takes the call's header apart and finds its procedure, so that the
 * caller can see whether it may wait; page_serve does all the rest on one page:
 * checks version, program and procedure, authenticates, gates, dispatches,
 * counts, and returns the reply. It knows nothing of connections: the server
 * uses it, and a client that takes reversed calls does.
 *
 * A struct page is made once for a program and then used by any number of
 * threads at once.
 */
#pragma once

#include "base/clock.h"
#include "rpc/message.h"
#include "rpc/principal.h"
#include "rpc/program.h"
#include "rpc/record.h"

#include <stdatomic.h>
#include <stdint.h>

struct page {
    const struct rpc_program *program;
    uint32_t number;      /* the program number in use */
    bool trust_anonymous; /* no procedure wants a credential */
    size_t reply_max;     /* bytes of one reply, mark included */
    const struct clock *clock;
    _Atomic uint64_t *calls;  /* by procedure: those that were dispatched */
    _Atomic size_t *largest;  /* by procedure: bytes of its largest reply so far */
    _Atomic uint64_t refused; /* version, program, procedure, credential, arguments */
    _Atomic uint64_t late;    /* took longer than the procedure's time limit */
};

/* `number` 0: the program's own. NOMEM. */
must_check enum outcome page_init(struct page *page, const struct rpc_program *program, uint32_t number,
                                  bool trust_anonymous, size_t reply_max, const struct clock *clock,
                                  struct failure *why);
void page_fini(struct page *page);

/* Where a request came by. */
struct page_caller {
    uint64_t connection;
    struct peer *peer;
    void *context; /* found by transport_call(...)->context */
};

struct page_request {
    bool readable; /* the header could be read */
    struct message_call header;
    const struct rpc_procedure *procedure; /* NULL: there is none, page_serve says what is wrong */
};

/* Never fails: what is wrong with the record is answered by page_serve. */
void page_read(const struct page *page, const struct record *record, struct page_request *out);

/*
 * Serves it. The reply is yours; NULL if there is none to give (no memory, or a
 * record that is no call at all): then the connection is of no use any more.
 */
struct record *page_serve(struct page *page, const struct page_caller *caller,
                          const struct page_request *request, const struct record *record);

/* Whether replies of this procedure have been seen to be large. */
bool page_is_bulky(const struct page *page, uint32_t procedure);

/* Calls of one procedure so far; 0 for a number the program does not have. */
uint64_t page_calls(const struct page *page, uint32_t procedure);
