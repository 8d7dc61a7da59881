/*
 * The program's table: one row a procedure, in the order of proto/fileshare.x
 * (a test holds the two together).
 */
#include "server/procedures/service.h"

#include "proto/fileshare.h"

void fileshare_prog_1(struct svc_req *request, SVCXPRT *transport); /* rpcgen's dispatcher */

enum { QUICK_MS = 10000, DISK_MS = 60000, BULK_MS = 120000 };

/* The calls of a large upload are sent without waiting for the one before: one connection's stay in order. */
static const struct rpc_procedure procedures[] = {
    /*  label                 writes  waits  order  repeat anonym time limit */
};

const struct rpc_program *service_program(void)
{
    static const struct rpc_program program = {
        .number = FILESHARE_PROG,
        .version = FILESHARE_V1,
        .procedures = procedures,
        .count = sizeof procedures / sizeof procedures[0],
        .dispatch = fileshare_prog_1,
    };
    return &program;
}

/* Results come from the call's arena (rpc/call.h): nothing is to be freed. */
int fileshare_prog_1_freeresult(SVCXPRT *transport, xdrproc_t routine, caddr_t result)
{
    (void)transport, (void)routine, (void)result;
    return TRUE;
}
