/*
 * The program's table: one row a procedure, in the order of proto/fileshare.x
 * (a test holds the two together).
 */
#include "server/procedures/service.h"

#include "proto/fileshare.h"

void fileshare_prog_1(struct svc_req *request, SVCXPRT *transport); /* rpcgen's dispatcher */

enum { QUICK_MS = 10000, DISK_MS = 60000, BULK_MS = 120000 };

static const struct rpc_procedure procedures[] = {
    /*  label                 writes  waits  order  repeat  anonymous  time limit */
    {"null",                  false,  false, false, true,   true,      QUICK_MS},
    {"hello",                 false,  false, false, true,   true,      QUICK_MS},
    {"upload",                true,   true,   false, true,   false,     BULK_MS},
    {"upload_open",           true,   true,   true,  true,   false,     DISK_MS},
    {"upload_data",           true,   true,   true,  true,   false,     BULK_MS},
    {"upload_commit",         true,   true,   true,  true,   false,     BULK_MS},
    {"upload_abort",          true,   true,   true,  true,   false,     DISK_MS},
    {"download",              false,  true,   true,  true,   false,     BULK_MS},
    {"list",                  false,  true,   false, true,   false,     DISK_MS},
    {"stat",                  false,  true,   false, true,   false,     DISK_MS},
    {"remove",                true,   true,   false, true,   false,     DISK_MS},
    {"rename",                true,   true,   false, true,   false,     DISK_MS},
    {"register_interest",     true,   true,   false, true,   false,     DISK_MS},
    {"cancel_interest",       true,   true,   false, true,   false,     DISK_MS},
    {"renew_interest",        true,   true,   false, true,   false,     DISK_MS},
    {"list_interests",        false,  true,   false, true,   false,     DISK_MS},
    {"attach",                true,   true,   false, true,   false,     DISK_MS},
    {"detach",                true,   true,   false, true,   false,     DISK_MS},
    {"events",                true,   true,   false, true,   false,     DISK_MS},
    {"status",                false,  false, false, true,   false,     QUICK_MS},
    {"upload_many",           true,   true,   false, true,   false,     BULK_MS},
    {"download_many",         false,  true,   false, true,   false,     BULK_MS},
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
