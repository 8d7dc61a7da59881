#include "client/lib/attachment.h"

#include "base/fault.h"
#include "client/lib/keeper.h"
#include "client/lib/mailbox.h"
#include "client/lib/session.h"

#include <stdlib.h>

struct attachment {
    struct mailbox mailbox;
    struct keeper *keeper;
    fileshare_handler *handler;
    void *context;
    uint64_t shown; /* by the handler, in this process: not shown again though it could not be recorded */
};

static bool show(void *context, const struct event *event, const char *route)
{
    struct attachment *attachment = context;
    if (event->number > attachment->shown) {
        struct fileshare_event shown;
        translate_event_public(event, route, &shown);
        if (!attachment->handler(attachment->context, &shown))
            return false;
        attachment->shown = event->number;
        FAULT_POINT("event-shown");
    }
    bool recorded = mailbox_record(&attachment->mailbox, event->number, NULL) == OUTCOME_OK;
    FAULT_POINT("event-recorded");
    return recorded;
}

static void attachment_free(struct attachment *attachment)
{
    keeper_stop(attachment->keeper, true);
    mailbox_let_go(&attachment->mailbox);
    free(attachment);
}

static enum outcome start(struct fileshare *session, struct attachment *attachment, struct failure *why)
{
    enum outcome outcome = mailbox_hold(session->state_folder, &session->greeting.instance,
                                        &attachment->mailbox, why);
    if (outcome != OUTCOME_OK)
        return translate_here(outcome, why);
    attachment->shown = attachment->mailbox.shown;
    struct keeper_options options = {
        .target = &session->target,
        .mailbox = attachment->mailbox.id,
        .instance = session->greeting.instance,
        .since = attachment->mailbox.shown,
        .event = show,
        .context = attachment,
    };
    rpc_client_local(session->client, &options.local);
    outcome = keeper_start(&options, &attachment->keeper, why);
    return outcome == OUTCOME_OK ? keeper_first(attachment->keeper, &session->stop, why) : outcome;
}

static enum outcome attach_once(struct fileshare *session, fileshare_handler *handler, void *context,
                                struct failure *why)
{
    enum outcome outcome = session_ready(session, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct attachment *attachment = calloc(1, sizeof *attachment);
    if (!attachment)
        return failure_set(why, OUTCOME_NOMEM, "no memory to be called back");
    attachment->mailbox.fd = -1;
    attachment->handler = handler;
    attachment->context = context;
    outcome = start(session, attachment, why);
    if (outcome == OUTCOME_OK)
        session->attachment = attachment;
    else
        attachment_free(attachment);
    return outcome;
}

/* A connection that breaks before the first ATTACH was answered is tried again as any call's. */
static enum outcome attach(struct fileshare *session, fileshare_handler *handler, void *context,
                           struct failure *why)
{
    enum outcome outcome;
    struct retry retry;
    if (session->attachment)
        return failure_set(why, OUTCOME_HELD, "this session is attached already");
    retry_init(&retry);
    do
        outcome = attach_once(session, handler, context, why);
    while (outcome != OUTCOME_OK && retry_again(&retry, session, &outcome, why));
    return outcome;
}

enum fileshare_status fileshare_attach(struct fileshare *session, fileshare_handler *handler, void *context,
                                       struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = attach(session, handler, context, &why);
    return session_report(session, outcome, &why, error);
}

void fileshare_detach(struct fileshare *session)
{
    if (session->attachment)
        attachment_free(session->attachment);
    session->attachment = NULL;
}

bool fileshare_callback(struct fileshare *session, struct fileshare_callback *out)
{
    if (!session->attachment)
        return false;
    keeper_callback(session->attachment->keeper, out);
    return true;
}
