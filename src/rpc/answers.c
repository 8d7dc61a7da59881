/*
 * answers: what a dispatcher, or the page, says of a call, by the names that
 * <rpc/svc.h> gives them; rpcgen's dispatchers call them.
 *
 * libtirpc has the same, in one object with its server, and that with RPCSEC_GSS
 * and the Kerberos libraries. A program that brings its own has libtirpc from its
 * archive and loads none of those: a client process starts in half the time.
 * tests/wire/answers_test.c holds them to libtirpc's, bit by bit.
 */
#include <rpc/rpc.h>
#include <stdint.h>

static struct rpc_msg accepted(const SVCXPRT *transport, enum accept_stat stat)
{
    struct rpc_msg message = {.rm_direction = REPLY};
    message.rm_reply.rp_stat = MSG_ACCEPTED;
    message.acpted_rply.ar_verf = transport->xp_verf;
    message.acpted_rply.ar_stat = stat;
    return message;
}

static void answer(SVCXPRT *transport, enum accept_stat stat)
{
    struct rpc_msg message = accepted(transport, stat);
    SVC_REPLY(transport, &message);
}

bool_t svc_sendreply(SVCXPRT *transport, xdrproc_t encode, void *results)
{
    struct rpc_msg message = accepted(transport, SUCCESS);
    message.acpted_rply.ar_results.proc = encode;
    message.acpted_rply.ar_results.where = results;
    return SVC_REPLY(transport, &message);
}

void svcerr_decode(SVCXPRT *transport)
{
    answer(transport, GARBAGE_ARGS);
}

void svcerr_noproc(SVCXPRT *transport)
{
    answer(transport, PROC_UNAVAIL);
}

void svcerr_noprog(SVCXPRT *transport)
{
    answer(transport, PROG_UNAVAIL);
}

void svcerr_systemerr(SVCXPRT *transport)
{
    answer(transport, SYSTEM_ERR);
}

void svcerr_progvers(SVCXPRT *transport, rpcvers_t low, rpcvers_t high)
{
    struct rpc_msg message = accepted(transport, PROG_MISMATCH);
    message.acpted_rply.ar_vers.low = (uint32_t)low;
    message.acpted_rply.ar_vers.high = (uint32_t)high;
    SVC_REPLY(transport, &message);
}

void svcerr_auth(SVCXPRT *transport, enum auth_stat why)
{
    struct rpc_msg message = {.rm_direction = REPLY};
    message.rm_reply.rp_stat = MSG_DENIED;
    message.rjcted_rply.rj_stat = AUTH_ERROR;
    message.rjcted_rply.rj_why = why;
    SVC_REPLY(transport, &message);
}
