#include "rpc/rpcbind_talk.h"

#include "base/clock.h"
#include "base/scoped.h"
#include "rpc/client.h"

#include <rpc/pmap_prot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MAX = 1048576 };

#define SOCKET_PATH "/run/rpcbind.sock"

struct rpcbind_talk {
    struct rpc_client *client; /* of version 3 */
    struct address where;
    unsigned deadline_ms;
    int stop_fd;
    int64_t left; /* of the time, in ns, that rpcbind may take for all of it */
};

static enum outcome connect_version(const struct rpcbind_talk *talk, uint32_t version,
                                    struct rpc_client **out, struct failure *why)
{
    const struct rpc_client_options options = {
        .number = RPCBPROG,
        .version = version,
        .connect_ms = talk->deadline_ms,
        .call_ms = talk->deadline_ms,
        .stop_fd = talk->stop_fd,
        .record_max = RECORD_MAX,
        .anonymous = true,
    };

    return rpc_client_connect(&talk->where, &options, out, why);
}

static enum outcome begin_talk(const struct address *where, unsigned deadline_ms, int stop_fd,
                               struct rpcbind_talk **out, struct failure *why)
{
    scoped_free struct rpcbind_talk *talk = calloc(1, sizeof(*talk));

    if (!talk)
        return failure_set(why, OUTCOME_NOMEM, "no memory to ask rpcbind");
    talk->where = *where;
    talk->deadline_ms = deadline_ms;
    talk->stop_fd = stop_fd;
    talk->left = (int64_t)deadline_ms * 2000000;
    enum outcome outcome = connect_version(talk, RPCBVERS, &talk->client, why);
    if (outcome == OUTCOME_OK)
        *out = take_ptr(&talk);
    return outcome;
}

enum outcome rpcbind_talk_here(unsigned deadline_ms, int stop_fd, struct rpcbind_talk **out,
                               struct failure *why)
{
    struct address where;
    enum outcome outcome = address_local(SOCKET_PATH, &where, why);

    if (outcome == OUTCOME_OK)
        outcome = begin_talk(&where, deadline_ms, stop_fd, out, why);
    if (outcome == OUTCOME_UNREACHABLE || outcome == OUTCOME_TIMEOUT)
        return failure_set(why, OUTCOME_UNAVAILABLE, "no rpcbind answers on this machine (%s)", SOCKET_PATH);
    return outcome;
}

enum outcome rpcbind_talk_with(const struct address *host, unsigned deadline_ms, int stop_fd,
                               struct rpcbind_talk **out, struct failure *why)
{
    struct address where = *host;

    address_set_port(&where, PMAPPORT);
    return begin_talk(&where, deadline_ms, stop_fd, out, why);
}

void *rpcbind_talk_end(struct rpcbind_talk *talk)
{
    if (talk)
        rpc_client_close(talk->client);
    free(talk);
    return NULL;
}

int rpcbind_talk_stop_fd(const struct rpcbind_talk *talk)
{
    return talk->stop_fd;
}

bool rpcbind_talk_is_stopped(const struct rpcbind_talk *talk)
{
    return rpc_is_stopped(talk->stop_fd);
}

static enum outcome call(struct rpc_client *client, uint32_t procedure, xdrproc_t encode,
                         const void *arguments, xdrproc_t decode, void *results, struct failure *why)
{
    struct rpc_pending *pending = NULL;
    enum outcome outcome = rpc_client_begin(client, procedure, encode, arguments, NULL, &pending, why);

    if (outcome == OUTCOME_OK)
        outcome = rpc_client_await(client, pending, decode, results, why);
    rpc_pending_free(client, pending);
    return outcome;
}

/* One that answers slowly, each time within the deadline, must not hold us up without end either. */
static enum outcome ask(struct rpcbind_talk *talk, uint32_t procedure, xdrproc_t encode,
                        const void *arguments, xdrproc_t decode, void *results, struct failure *why)
{
    if (talk->left <= 0)
        return failure_set(why, OUTCOME_TIMEOUT, "rpcbind answers too slowly");
    int64_t began = clock_elapsed(clock_system());
    enum outcome outcome = call(talk->client, procedure, encode, arguments, decode, results, why);
    talk->left -= clock_elapsed(clock_system()) - began;
    return outcome;
}

/* SET and UNSET: an entry in, a bool out. Texts are not changed, though the struct would allow it. */
static enum outcome change(struct rpcbind_talk *talk, uint32_t procedure, uint32_t program, uint32_t version,
                           const char *netid, const char *universal, bool *out, struct failure *why)
{
    char netid_text[16], address_text_copy[ADDRESS_TEXT_SIZE], owner[] = "";
    struct rpcb entry = {.r_prog = program, .r_vers = version, .r_owner = owner};
    bool_t done = FALSE;

    snprintf(netid_text, sizeof(netid_text), "%s", netid);
    snprintf(address_text_copy, sizeof(address_text_copy), "%s", universal);
    entry.r_netid = netid_text;
    entry.r_addr = address_text_copy;
    enum outcome outcome = ask(talk, procedure, (xdrproc_t)xdr_rpcb, &entry, (xdrproc_t)xdr_bool, &done, why);
    if (outcome == OUTCOME_OK)
        *out = done;
    return outcome;
}

enum outcome rpcbind_talk_set(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                              const struct address *address, bool *out, struct failure *why)
{
    char universal[ADDRESS_TEXT_SIZE];

    return change(talk, RPCBPROC_SET, program, version, address_netid(address),
                  address_universal(address, universal), out, why);
}

enum outcome rpcbind_talk_unset(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                                const char *netid, bool *out, struct failure *why)
{
    return change(talk, RPCBPROC_UNSET, program, version, netid, "", out, why);
}

static bool_t no_arguments(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

enum outcome rpcbind_talk_dump(struct rpcbind_talk *talk, rpcblist_ptr *out, struct failure *why)
{
    rpcblist_ptr entries = NULL;
    enum outcome outcome = ask(talk, RPCBPROC_DUMP, no_arguments, NULL, (xdrproc_t)xdr_rpcblist_ptr, &entries,
                               why);

    if (outcome == OUTCOME_OK)
        *out = entries;
    return outcome;
}

void rpcbind_entries_free(rpcblist_ptr *entries)
{
    xdr_free((xdrproc_t)xdr_rpcblist_ptr, entries);
    *entries = NULL;
}

static enum outcome unknown_program(uint32_t program, struct failure *why)
{
    return failure_set(why, OUTCOME_ABSENT, "rpcbind there does not know program 0x%x", program);
}

static enum outcome port_of_version_3(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                                      const char *netid, uint16_t *out, struct failure *why)
{
    char netid_text[16], none[] = "", *universal = NULL;
    struct rpcb entry = {.r_prog = program,
                         .r_vers = version,
                         .r_netid = netid_text,
                         .r_addr = none,
                         .r_owner = none};
    struct address told;

    snprintf(netid_text, sizeof(netid_text), "%s", netid);
    enum outcome outcome = ask(talk, RPCBPROC_GETADDR, (xdrproc_t)xdr_rpcb, &entry, (xdrproc_t)xdr_wrapstring,
                               &universal, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (!universal || !universal[0])
        outcome = unknown_program(program, why);
    else if (address_from_universal(netid, universal, &told, NULL) != OUTCOME_OK || address_port(&told) == 0)
        outcome = failure_set(why, OUTCOME_PROTOCOL, "rpcbind there told an address that is none");
    else
        *out = address_port(&told);
    xdr_free((xdrproc_t)xdr_wrapstring, &universal);
    return outcome;
}

/* For a portmapper that speaks version 2 alone. */
static enum outcome port_of_version_2(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                                      uint16_t *out, struct failure *why)
{
    struct pmap question = {.pm_prog = program, .pm_vers = version, .pm_prot = IPPROTO_TCP};
    struct rpc_client *client = NULL;
    u_int port = 0;
    enum outcome outcome = connect_version(talk, PMAPVERS, &client, why);

    if (outcome == OUTCOME_OK)
        outcome = call(client, PMAPPROC_GETPORT, (xdrproc_t)xdr_pmap, &question, (xdrproc_t)xdr_u_int, &port,
                       why);
    rpc_client_close(client);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (port == 0 || port > UINT16_MAX)
        return unknown_program(program, why);
    *out = (uint16_t)port;
    return OUTCOME_OK;
}

enum outcome rpcbind_talk_port(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                               const char *netid, uint16_t *out, struct failure *why)
{
    enum outcome outcome = port_of_version_3(talk, program, version, netid, out, why);

    if ((outcome == OUTCOME_CHANGED || outcome == OUTCOME_UNAVAILABLE) && strcmp(netid, "tcp") == 0)
        outcome = port_of_version_2(talk, program, version, out, why);
    return outcome;
}
