#include "client/lib/reach.h"

#include "base/scoped.h"
#include "client/lib/translate.h"
#include "rpc/rpcbind.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 8, RPCBIND_MS = 1000 };

/* ---- where to try ---- */

struct addresses {
    struct address rows[ADDRESSES_MAX];
    size_t count;
};

static void addresses_add(struct addresses *addresses, const struct address *address)
{
    if (addresses->count < ADDRESSES_MAX)
        addresses->rows[addresses->count++] = *address;
}

static void addrinfo_free_at(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

static enum outcome look_up(const char *host, struct addresses *out, struct failure *why)
{
    struct address address;
    if (address_ip(host, 0, &address, NULL) == OUTCOME_OK) {
        addresses_add(out, &address);
        return OUTCOME_OK;
    }
    scoped(addrinfo_free_at) struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int error = getaddrinfo(host, NULL, &hints, &list);
    if (error != 0)
        return failure_set(why, OUTCOME_UNREACHABLE, "no address is known for the host \"%s\": %s", host,
                           gai_strerror(error));
    for (struct addrinfo *at = list; at; at = at->ai_next) {
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6)
            continue;
        address = address_of(at->ai_addr, at->ai_addrlen);
        addresses_add(out, &address);
    }
    return OUTCOME_OK;
}

/* ---- greeting ---- */

static void take_greeting(const struct rpc_client *client, const fs_hello *hello, struct greeting *out)
{
    const struct address *peer = rpc_client_peer(client);
    char text[ADDRESS_TEXT_SIZE];
    *out = (struct greeting){
        .address = *peer,
        .instance = translate_id_read(&hello->instance),
        .now = event_time_from_wire(hello->now),
        .data_max = hello->data_max,
        .list_max = hello->list_max,
        .interest_seconds_max = hello->interest_seconds_max,
    };
    snprintf(out->address_text, sizeof out->address_text, "%s%s", address_is_local(peer) ? "unix:" : "",
             address_text(peer, text));
    translate_text_read(&hello->host, out->host, sizeof out->host);
    translate_text_read(&hello->software, out->software, sizeof out->software);
    translate_text_read(&hello->principal, out->principal, sizeof out->principal);
}

static enum outcome check_greeting(const struct greeting *greeting, struct failure *why)
{
    if (greeting->data_max == 0 || greeting->data_max > FS_DATA_MAX || greeting->list_max == 0 ||
        greeting->list_max > FS_LIST_MAX || id_is_none(&greeting->instance))
        return failure_set(why, OUTCOME_PROTOCOL, "%s greets with limits that make no sense",
                           greeting->address_text);
    return OUTCOME_OK;
}

static enum outcome greet(struct rpc_client *client, const char *software, struct greeting *out,
                          struct failure *why)
{
    CLIENT *handle = rpc_client_handle(client);
    fs_hello_args args = {.software = translate_text(software)};
    fs_hello_res res = {0};
    enum outcome outcome = rpc_client_outcome(client, fsproc_hello_1(&args, &res, handle), why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct greeting greeting = {0};
    outcome = translate_outcome(res.status, &res.fs_hello_res_u.failure.reason, "cannot greet the server",
                                why);
    if (outcome == OUTCOME_OK) {
        take_greeting(client, &res.fs_hello_res_u.hello, &greeting);
        outcome = check_greeting(&greeting, why);
    }
    clnt_freeres(handle, (xdrproc_t)xdr_fs_hello_res, (caddr_t)&res);
    if (outcome == OUTCOME_OK)
        *out = greeting;
    return outcome;
}

/* ---- trying ---- */

void reach_limit(struct rpc_client *client, unsigned call_ms)
{
    struct timeval limit = {.tv_sec = call_ms / 1000, .tv_usec = (suseconds_t)(call_ms % 1000) * 1000};
    clnt_control(rpc_client_handle(client), CLSET_TIMEOUT, (char *)&limit);
}

struct attempt {
    const struct target *target;
    const struct rpc_client_options *options;
    const struct stop *stop;
    unsigned call_ms;
    struct rpc_client **out;
    struct greeting *greeting;
};

static enum outcome try_address(const struct attempt *attempt, const struct address *address,
                                struct failure *why)
{
    struct rpc_client *client = NULL;
    enum outcome outcome = stop_check(attempt->stop, why);
    if (outcome == OUTCOME_OK)
        outcome = rpc_client_connect(address, attempt->options, &client, why);
    if (outcome == OUTCOME_OK)
        outcome = greet(client, attempt->target->software, attempt->greeting, why);
    if (outcome != OUTCOME_OK) {
        rpc_client_close(client);
        return stop_is_asked(attempt->stop) ? stop_check(attempt->stop, why) : outcome;
    }
    reach_limit(client, attempt->call_ms);
    *attempt->out = client;
    return OUTCOME_OK;
}

static enum outcome try_host(const struct attempt *attempt, struct address address, uint16_t port,
                             struct failure *why)
{
    struct address told;
    enum outcome outcome;
    if (port == 0 && !attempt->target->without_rpcbind &&
        rpcbind_find(&address, attempt->target->program, FILESHARE_V1, RPCBIND_MS, attempt->stop->fd, &told,
                     NULL) == OUTCOME_OK) {
        outcome = try_address(attempt, &told, why);
        /* rpcbind keeps the entries of the dead: the default port may have a living one. */
        if (outcome == OUTCOME_OK || outcome == OUTCOME_STOPPED || address_port(&told) == FS_PORT_DEFAULT)
            return outcome;
    }
    address_set_port(&address, port != 0 ? port : FS_PORT_DEFAULT);
    return try_address(attempt, &address, why);
}

static enum outcome try_place(const struct attempt *attempt, const struct server_place *place,
                              struct failure *why)
{
    if (place->local) {
        struct address address;
        enum outcome outcome = address_local(place->host, &address, why);
        return outcome == OUTCOME_OK ? try_address(attempt, &address, why) : outcome;
    }
    struct addresses addresses = {.count = 0};
    enum outcome outcome = look_up(place->host, &addresses, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = failure_set(why, OUTCOME_UNREACHABLE, "the host \"%s\" has no address to connect to",
                          place->host);
    for (size_t i = 0; i < addresses.count; i++) {
        outcome = try_host(attempt, addresses.rows[i], place->port, why);
        if (outcome == OUTCOME_OK || outcome == OUTCOME_STOPPED)
            break;
    }
    return outcome;
}

static struct rpc_client_options options_of(const struct target *target, const struct reach_back *back,
                                            const struct stop *stop)
{
    struct rpc_client_options options = {
        .number = target->program,
        .version = FILESHARE_V1,
        .connect_ms = target->connect_ms,
        .call_ms = target->connect_ms, /* for the HELLO */
        .stop_fd = stop->fd,
    };
    if (back) {
        options.reversed = back->reversed;
        options.reversed_number = back->reversed_number;
        options.context = back->context;
        options.broken = back->broken;
        options.broken_context = back->broken_context;
    }
    return options;
}

enum outcome reach_address(const struct target *target, const struct address *address, unsigned call_ms,
                           const struct stop *stop, struct rpc_client **out, struct greeting *greeting,
                           struct failure *why)
{
    const struct rpc_client_options options = options_of(target, NULL, stop);
    const struct attempt attempt = {target, &options, stop, call_ms, out, greeting};
    return try_address(&attempt, address, why);
}

enum outcome reach_lane(const struct target *target, const struct address *address, unsigned call_ms,
                        const struct stop *stop, struct rpc_client **out, struct failure *why)
{
    struct rpc_client_options options = options_of(target, NULL, stop);
    options.later = true;
    enum outcome outcome = rpc_client_connect(address, &options, out, why);
    if (outcome == OUTCOME_OK)
        reach_limit(*out, call_ms);
    return outcome;
}

enum outcome reach_server(const struct target *target, const struct reach_back *back, unsigned call_ms,
                          const struct stop *stop, struct rpc_client **out, struct greeting *greeting,
                          struct failure *why)
{
    const struct rpc_client_options options = options_of(target, back, stop);
    const struct attempt attempt = {target, &options, stop, call_ms, out, greeting};
    enum outcome outcome = OUTCOME_UNREACHABLE;
    for (size_t i = 0; i < target->count; i++) {
        if (target->places[i].optional && access(target->places[i].host, F_OK) != 0)
            continue;
        outcome = try_place(&attempt, &target->places[i], why);
        if (outcome == OUTCOME_OK || outcome == OUTCOME_STOPPED)
            break;
    }
    return outcome;
}
