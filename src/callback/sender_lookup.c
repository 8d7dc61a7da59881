#include "callback/sender_lookup.h"

#include "base/address.h"

#include <rpc/pmap_prot.h>
#include <rpc/rpcb_prot.h>
#include <string.h>

enum { QUESTION_SIZE = 128, UNIVERSAL_MAX = 127, PORT_MIN = 1024 };

enum outcome lookup_ask(struct dial *dial, bool ipv6, uint32_t program, uint32_t version, struct failure *why)
{
    char netid[] = "tcp6", nothing[] = "";
    struct message_target target = {.program = RPCBPROG};
    if (ipv6) {
        RPCB question = {.r_prog = program,
                         .r_vers = version,
                         .r_netid = netid,
                         .r_addr = nothing,
                         .r_owner = nothing};
        target.version = RPCBVERS;
        target.procedure = RPCBPROC_GETADDR;
        return dial_call(dial, &target, (xdrproc_t)xdr_rpcb, &question, QUESTION_SIZE, why);
    }
    struct pmap question = {.pm_prog = program, .pm_vers = version, .pm_prot = IPPROTO_TCP};
    target.version = PMAPVERS;
    target.procedure = PMAPPROC_GETPORT;
    return dial_call(dial, &target, (xdrproc_t)xdr_pmap, &question, QUESTION_SIZE, why);
}

/* 0: it does not know the program. False if that is no answer. */
static bool decode_port(XDR *xdrs, bool ipv6, u_int *port)
{
    if (!ipv6)
        return xdr_u_int(xdrs, port);
    char text[UNIVERSAL_MAX + 1] = "", *universal = text;
    struct address address;
    if (!xdr_string(xdrs, &universal, UNIVERSAL_MAX))
        return false;
    *port = 0;
    if (text[0] != '\0') {
        if (address_from_universal("tcp6", text, &address, NULL) != OUTCOME_OK)
            return false;
        *port = address_port(&address);
    }
    return true;
}

enum outcome lookup_answer(struct record *reply, bool ipv6, uint16_t *port, struct failure *why)
{
    XDR xdrs;
    u_int told = 0;
    enum outcome outcome = message_parse_reply(reply, &xdrs, NULL, NULL, why);
    bool sound = outcome == OUTCOME_OK && decode_port(&xdrs, ipv6, &told);
    record_free(reply);
    if (outcome != OUTCOME_OK)
        return failure_set(why, OUTCOME_PROTOCOL, "the client's rpcbind did not answer");
    if (!sound)
        return failure_set(why, OUTCOME_PROTOCOL, "the client's rpcbind gave an answer that is none");
    if (told == 0)
        return failure_set(why, OUTCOME_ABSENT, "the client's rpcbind does not know the program");
    if (told < PORT_MIN || told > UINT16_MAX)
        return failure_set(why, OUTCOME_PROTOCOL,
                           "the client's rpcbind tells port %u, at least %d it must be", told, PORT_MIN);
    *port = (uint16_t)told;
    return OUTCOME_OK;
}
