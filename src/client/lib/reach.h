/*
 * reach: from what people write for a server to a connection that greeted
 * it.
 *
 * Each place of the text is tried in its order: a Unix socket; or every address
 * of the host, at the port that was written, else the one that the host's rpcbind
 * tells within a second, else FS_PORT_DEFAULT. A place counts once its HELLO was
 * answered. Looking up the host's name may take as long as the resolver does; all
 * else has a deadline, and gives way to `stop`.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "base/outcome.h"
#include "client/lib/server_text.h"
#include "client/lib/stop.h"
#include "rpc/client.h"

#include "proto/fileshare.h"

enum { REACH_TEXT_SIZE = FS_TEXT_MAX + 1 };

struct target {
    struct server_place places[SERVER_PLACES_MAX];
    size_t count;
    uint32_t program;
    unsigned connect_ms;
    unsigned dead_ms; /* a server that is silent for so long is taken for dead by who waits */
    bool without_rpcbind;
    char software[REACH_TEXT_SIZE];
};

/* What the server said in its HELLO. */
struct greeting {
    struct address address;
    char address_text[160]; /* "127.0.0.1:18003", "unix:/run/fileshare/socket" */
    char host[REACH_TEXT_SIZE];
    char software[REACH_TEXT_SIZE];
    char principal[REACH_TEXT_SIZE];
    struct id instance;
    int64_t now; /* ns since 1970 */
    uint32_t data_max, list_max, interest_seconds_max;
};

/* For a connection that takes reversed calls: as in struct rpc_client_options. */
struct reach_back {
    const struct rpc_program *reversed;
    uint32_t reversed_number;
    void *context;
    void (*broken)(void *context);
    void *broken_context;
};

/*
 * `back` may be NULL: takes no reversed calls. UNREACHABLE, TIMEOUT, STOPPED,
 * PROTOCOL (something answers, but not as a fileshare server does), NOMEM. *out
 * is yours: rpc_client_close.
 */
must_check enum outcome reach_server(const struct target *target, const struct reach_back *back,
                                     unsigned call_ms, const struct stop *stop, struct rpc_client **out,
                                     struct greeting *greeting, struct failure *why);

/* The same at one address, where a server greeted before; it takes connect_ms for each of the two steps at most. */
must_check enum outcome reach_address(const struct target *target, const struct address *address,
                                      unsigned call_ms, const struct stop *stop, struct rpc_client **out,
                                      struct greeting *greeting, struct failure *why);

/*
 * One more connection to where a server greeted: begun, and not waited for (rpc_client_is_made). It
 * greets nobody. No network: waits as usual.
 */
must_check enum outcome reach_lane(const struct target *target, const struct address *address,
                                   unsigned call_ms, const struct stop *stop, struct rpc_client **out,
                                   struct failure *why);

/* How long a call on this connection may take from now on. */
void reach_limit(struct rpc_client *client, unsigned call_ms);
