#include "callback/sender_inside.h"

#include "base/fault.h"
#include "base/scoped.h"

#include <stdlib.h>
#include <sys/eventfd.h>

struct sender_returns *returns_new(int wake)
{
    struct sender_returns *returns = calloc(1, sizeof *returns);
    if (!returns)
        return NULL;
    pthread_mutex_init(&returns->lock, NULL);
    returns->holders = 1;
    returns->wake = wake;
    list_init(&returns->answers);
    return returns;
}

/* One holder less; the last one puts out the light. */
static void let_go(struct sender_returns *returns)
{
    bool last;
    {
        scoped_lock(&returns->lock);
        last = --returns->holders == 0;
    }
    if (last) {
        pthread_mutex_destroy(&returns->lock);
        free(returns);
    }
}

static void free_answers(struct list *answers)
{
    list_each(at, answers) {
        list_remove(at);
        free(list_entry(at, struct reversed_call, link));
    }
}

void *returns_close(struct sender_returns *returns)
{
    if (returns) {
        {
            scoped_lock(&returns->lock);
            returns->wake = -1;
            free_answers(&returns->answers);
        }
        let_go(returns);
    }
    return NULL;
}

/* Of the RPC server, on one of its workers. */
static void take_answer(void *context, enum outcome outcome, XDR *reply)
{
    struct reversed_call *call = context;
    struct sender_returns *returns = call->returns;
    fs_notify notify = {.acknowledged = 0};
    call->outcome = outcome;
    if (outcome == OUTCOME_OK && !xdr_fs_notify(reply, &notify))
        call->outcome = OUTCOME_PROTOCOL;
    call->acknowledged = notify.acknowledged;
    {
        scoped_lock(&returns->lock);
        if (returns->wake >= 0) {
            list_append(&returns->answers, &call->link);
            (void)eventfd_write(returns->wake, 1);
        } else
            free(call);
    }
    let_go(returns);
}

/* What reversed_send needs of a batch once the lock is gone; the batch itself is freed by this thread alone. */
struct reversal {
    struct reversed_call *call;
    uint64_t connection;
    struct notify_arguments arguments;
};

/* The next batch that is to be sent, if there is one. */
static bool next_reversal(struct sender *sender, struct reversal *out)
{
    scoped_lock(&sender->lock);
    struct sender_batch *batch = list_first(&sender->reversals, struct sender_batch, link);
    if (!batch)
        return false;
    list_remove(&batch->link);
    const struct sender_mailbox *mailbox = mailboxes_find(&sender->mailboxes, &batch->result.mailbox);
    *out = (struct reversal){
        .call = calloc(1, sizeof *out->call),
        .connection = mailbox->route.connection,
        .arguments = {.ticket = mailbox->route.ticket, .rows = batch->rows, .size = batch->size},
    };
    if (out->call) {
        list_init(&out->call->link);
        out->call->returns = sender->returns;
        out->call->mailbox = batch->result.mailbox;
        out->call->attempt = batch->attempt;
    } else {
        struct reversed_call refused = {.attempt = batch->attempt, .outcome = OUTCOME_NOMEM};
        way_reversed(sender, mailboxes_find(&sender->mailboxes, &batch->result.mailbox), &refused);
    }
    return true;
}

static void take_one(struct sender *sender, const struct reversed_call *call)
{
    scoped_lock(&sender->lock);
    struct sender_mailbox *mailbox = mailboxes_find(&sender->mailboxes, &call->mailbox);
    if (mailbox)
        way_reversed(sender, mailbox, call);
}

/* The server did not take the call, so nobody answers it. */
static void refuse(struct sender *sender, const struct reversal *reversal, enum outcome outcome)
{
    if (outcome == OUTCOME_ABSENT) {
        sender_connection_closed(sender, reversal->connection);
        outcome = OUTCOME_UNREACHABLE;
    }
    reversal->call->outcome = outcome == OUTCOME_LIMIT ? outcome : OUTCOME_UNREACHABLE;
    take_one(sender, reversal->call);
    free(reversal->call);
    let_go(sender->returns);
}

void reversed_send_all(struct sender *sender)
{
    struct reversal reversal;
    while (next_reversal(sender, &reversal)) {
        if (!reversal.call)
            continue;
        {
            scoped_lock(&sender->returns->lock);
            sender->returns->holders++;
        }
        enum outcome outcome = OUTCOME_ABSENT;
        if (reversal.connection != 0 && sender->options.server)
            outcome = rpc_server_call(sender->options.server, reversal.connection, FSCBPROC_NOTIFY,
                                      (xdrproc_t)xdr_notify_arguments, &reversal.arguments,
                                      sender->options.limits.call_ms, take_answer, reversal.call, NULL);
        FAULT_POINT("notice-reversed");
        if (outcome != OUTCOME_OK)
            refuse(sender, &reversal, outcome);
    }
}

void reversed_take_answers(struct sender *sender)
{
    for (;;) {
        struct reversed_call *call;
        {
            scoped_lock(&sender->returns->lock);
            call = list_first(&sender->returns->answers, struct reversed_call, link);
            if (!call)
                return;
            list_remove(&call->link);
        }
        take_one(sender, call);
        free(call);
    }
}
