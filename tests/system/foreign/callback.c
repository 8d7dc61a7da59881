/*
 * The callback program, as anybody would write one: rpcgen's dispatcher on
 * libtirpc's own TCP transport, with a transient number.
 */
#include "callback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

void fileshare_callback_prog_1(struct svc_req *request, SVCXPRT *transport); /* rpcgen's dispatcher */

/* The stock dispatcher hands its procedures nothing of ours: one callback a process. */
static fs_callback ours;
static bool_t notified;

void callback_begin(fs_id proof, fs_id ticket, fs_callback *out)
{
    static char netid[] = "tcp", address[FS_ADDRESS_MAX];
    SVCXPRT *transport = svctcp_create(RPC_ANYSOCK, 0, 0);
    u_int number = FS_TRANSIENT_MIN;

    if (!transport) {
        fprintf(stderr, "foreign_client: svctcp_create failed\n");
        exit(2);
    }
    while (!svc_register(transport, number, FILESHARE_CALLBACK_V1, fileshare_callback_prog_1, IPPROTO_TCP))
        if (number++ == FS_TRANSIENT_MIN + 100) {
            fprintf(stderr, "foreign_client: no free program number\n");
            exit(2);
        }
    snprintf(address, sizeof(address), "127.0.0.1.%d.%d", transport->xp_port >> 8, transport->xp_port & 255);
    ours = (fs_callback){.prog = number,
                         .netid = {3, netid},
                         .address = {(u_int)strlen(address), address},
                         .proof = proof,
                         .ticket = ticket,
                         .reversed = FALSE};
    *out = ours;
}

bool_t callback_serve(int seconds)
{
    time_t deadline = time(NULL) + seconds;

    while (!notified && time(NULL) < deadline) {
        fd_set ready = svc_fdset;
        struct timeval moment = {.tv_usec = 100000};
        if (select(FD_SETSIZE, &ready, NULL, NULL, &moment) > 0)
            svc_getreqset(&ready);
    }
    svc_unregister(ours.prog, FILESHARE_CALLBACK_V1);
    return notified;
}

void *fscbproc_null_1_svc(void *nothing, struct svc_req *request)
{
    static char answer;

    (void)nothing;
    (void)request;
    return &answer;
}

fs_callback_hello *fscbproc_hello_1_svc(fs_callback_hello_args *args, struct svc_req *request)
{
    static fs_callback_hello answer;

    (void)args;
    (void)request;
    printf("hello\n");
    answer.proof = ours.proof;
    return &answer;
}

fs_notify *fscbproc_notify_1_svc(fs_notify_args *args, struct svc_req *request)
{
    static fs_notify answer;

    if (memcmp(args->ticket.octets, ours.ticket.octets, FS_ID_SIZE) != 0) {
        svcerr_auth(request->rq_xprt, AUTH_BADCRED);
        return NULL;
    }
    for (u_int i = 0; i < args->rows.rows_len; i++) {
        callback_show(&args->rows.rows_val[i]);
        answer.acknowledged = args->rows.rows_val[i].number;
        notified = TRUE;
    }
    return &answer;
}
