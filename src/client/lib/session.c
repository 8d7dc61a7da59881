#include "client/lib/session.h"

#include "base/clock.h"
#include "base/disk.h"
#include "base/name.h"
#include "base/scoped.h"
#include "client/lib/attachment.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECT_SECONDS = 10,
    DEAD_SECONDS = 45,
    CALL_MS = 120000, /* a COMMIT waits for the server's disk */
    RETRY_FIRST_MS = 50,
    RETRY_LAST_MS = 5000,
    UNKNOWN_TRIES = 3
};

/* ---- repeats ---- */

void retry_init(struct retry *retry)
{
    *retry = (struct retry){.until = 0};
    backoff_init(&retry->backoff, RETRY_FIRST_MS, RETRY_LAST_MS);
}

void retry_reset(struct retry *retry)
{
    retry->until = 0;
    retry->told = false;
    backoff_reset(&retry->backoff);
}

void session_tell(const struct fileshare *session, const struct fileshare_incident *incident)
{
    if (session->told)
        session->told(session->told_context, incident);
}

/* Once, before the first pause. */
static void tell_lost(struct retry *retry, const struct fileshare *session, enum outcome outcome,
                      const struct failure *why)
{
    if (retry->told)
        return;
    retry->told = true;
    /* Of an answer that asks for a repeat nobody wrote down the reason. */
    const char *text = why && why->outcome == outcome ? why->text : "the server can't do it now";
    session_tell(session, &(struct fileshare_incident){.kind = FILESHARE_LOST,
                                                       .text = text,
                                                       .seconds = session->retry_seconds,
                                                       .total = UINT64_MAX});
}

static bool is_lost(enum outcome outcome)
{
    return outcome == OUTCOME_UNREACHABLE || outcome == OUTCOME_TIMEOUT;
}

/* Whether one more try is due, whatever retry_seconds says. */
static bool is_free_try(const struct retry *retry, const struct fileshare *session, enum outcome outcome)
{
    if (outcome == OUTCOME_UNKNOWN)
        return retry->tries <= UNKNOWN_TRIES;
    return outcome == OUTCOME_UNREACHABLE && retry->tries == 1 && session->greeted;
}

bool retry_again(struct retry *retry, struct fileshare *session, enum outcome *outcome, struct failure *why)
{
    bool lost = is_lost(*outcome);
    if (!lost && *outcome != OUTCOME_UNAVAILABLE && *outcome != OUTCOME_UNKNOWN)
        return false;
    if (stop_is_asked(&session->stop)) {
        *outcome = stop_check(&session->stop, why);
        return false;
    }
    int64_t now = clock_elapsed(clock_system());
    if (retry->until == 0)
        retry->until = now + (int64_t)session->retry_seconds * CLOCK_SECOND;
    retry->tries++;
    bool is_free = is_free_try(retry, session, *outcome);
    if (lost)
        session_drop(session);
    if (is_free && lost)
        return true;
    uint32_t pause = backoff_next(&retry->backoff);
    if (!is_free && now + (int64_t)pause * 1000000 > retry->until)
        return false;
    if (!is_free)
        tell_lost(retry, session, *outcome, why);
    if (stop_wait(&session->stop, pause)) {
        *outcome = stop_check(&session->stop, why);
        return false;
    }
    return true;
}

/* ---- calls ---- */

bool session_goes_on(const struct fileshare *session, enum outcome outcome)
{
    return (outcome == OUTCOME_UNAVAILABLE || outcome == OUTCOME_UNKNOWN) && session->client &&
           !rpc_client_is_broken(session->client);
}

void session_drop(struct fileshare *session)
{
    lanes_close(&session->lanes);
    session->client = rpc_client_close(session->client);
    session->greeted = false;
}

enum outcome session_ready(struct fileshare *session, struct failure *why)
{
    if (session->client && rpc_client_is_broken(session->client))
        session_drop(session);
    if (session->client)
        return stop_check(&session->stop, why);
    enum outcome outcome = reach_server(&session->target, session->back.reversed ? &session->back : NULL,
                                        session->call_ms, &session->stop, &session->client,
                                        &session->greeting, why);
    if (outcome == OUTCOME_OK) {
        session->generation++;
        session->greeted = true;
    }
    return outcome;
}

void session_limit(struct fileshare *session, unsigned connect_ms, unsigned call_ms)
{
    session->target.connect_ms = connect_ms;
    session->call_ms = call_ms;
    if (session->client)
        reach_limit(session->client, call_ms);
}

void session_call_end(struct session_call *call)
{
    if (!call->client)
        return;
    xdr_free(call->decode, call->results);
    memset(call->results, 0, call->results_size);
    call->pending = rpc_pending_free(call->client, call->pending);
    call->client = NULL;
}

enum outcome session_try(struct fileshare *session, struct session_call *call, struct failure *why)
{
    enum outcome outcome = session_ready(session, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    call->client = session->client;
    outcome = rpc_client_begin(session->client, call->procedure, call->encode, call->arguments, NULL,
                               &call->pending, why);
    if (outcome == OUTCOME_OK)
        outcome = rpc_client_await(session->client, call->pending, call->decode, call->results, why);
    if (outcome != OUTCOME_OK)
        return stop_is_asked(&session->stop) ? stop_check(&session->stop, why) : outcome;
    return OUTCOME_OK;
}

/*
 * What the status of the results means for a repeat. "No room" says that this sending was not done: one before it
 * whose answer was lost may still be at work, or be done. So it is asked again then.
 */
static enum outcome asks_for_repeat(const struct session_call *call, bool in_doubt)
{
    fs_status status;
    memcpy(&status, call->results, sizeof status);
    if (status == FS_NOSPACE && in_doubt)
        return OUTCOME_UNKNOWN;
    return status == FS_UNAVAILABLE ? OUTCOME_UNAVAILABLE
           : status == FS_UNKNOWN   ? OUTCOME_UNKNOWN
                                    : OUTCOME_OK;
}

/* An answer that asks for a repeat in vain stays the answer: its reason says more than we know. "No room" does not. */
static enum outcome end_in_vain(struct session_call *call, struct failure *why)
{
    fs_status status;
    memcpy(&status, call->results, sizeof status);
    return status == FS_NOSPACE ? session_no_room_in_doubt(why) : OUTCOME_OK;
}

enum outcome session_no_room_in_doubt(struct failure *why)
{
    return failure_set(why, OUTCOME_UNKNOWN,
                       "the server is out of space now, and may have done it before; look, or try again");
}

enum outcome session_call(struct fileshare *session, struct session_call *call, struct failure *why)
{
    struct retry retry;
    bool in_doubt = false;
    retry_init(&retry);
    for (;;) {
        enum outcome outcome = session_try(session, call, why);
        enum outcome repeat = outcome == OUTCOME_OK ? asks_for_repeat(call, in_doubt) : outcome;
        if (repeat == OUTCOME_OK)
            return OUTCOME_OK;
        in_doubt |= repeat != OUTCOME_UNAVAILABLE;
        if (outcome != OUTCOME_OK)
            session_call_end(call);
        if (!retry_again(&retry, session, &repeat, why))
            return outcome == OUTCOME_OK && repeat != OUTCOME_STOPPED ? end_in_vain(call, why) : repeat;
        session_call_end(call);
    }
}

enum fileshare_status session_report(struct fileshare *session, enum outcome outcome,
                                     const struct failure *why, struct fileshare_error *error)
{
    if (outcome == OUTCOME_STOPPED)
        stop_take(&session->stop);
    lanes_close(&session->lanes);
    return translate_report(outcome, why, error);
}

/* ---- life ---- */

static enum outcome set_state_folder(struct fileshare *session, const char *folder, struct failure *why)
{
    if (!folder)
        return disk_user_path("XDG_STATE_HOME", ".local/state", "fileshare", &session->state_folder, why);
    session->state_folder = strdup(folder);
    if (!session->state_folder)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a session");
    return OUTCOME_OK;
}

static enum outcome set_target(struct target *target, const struct fileshare_options *options,
                               struct failure *why)
{
    const char *software = options->software ? options->software : "libfileshare";
    if (strlen(software) >= sizeof target->software)
        return failure_set(why, OUTCOME_INVALID, "the software's name is longer than %d bytes", FS_TEXT_MAX);
    snprintf(target->software, sizeof target->software, "%s", software);
    target->program = options->program != 0 ? options->program : FILESHARE_PROG;
    unsigned seconds = options->connect_seconds != 0 ? options->connect_seconds : CONNECT_SECONDS;
    target->connect_ms = seconds < 86400 ? seconds * 1000 : 86400000;
    seconds = options->dead_seconds != 0 ? options->dead_seconds : DEAD_SECONDS;
    target->dead_ms = seconds < 86400 ? seconds * 1000 : 86400000;
    target->without_rpcbind = options->without_rpcbind;
    return server_text_places(options->server, target->places, &target->count, why);
}

static enum outcome session_open(struct fileshare *session, const struct fileshare_options *options,
                                 struct failure *why)
{
    session->retry_seconds = options->retry_seconds;
    session->told = options->told;
    session->told_context = options->told_context;
    session->call_ms = CALL_MS;
    session->connections = options->connections;
    enum outcome outcome = stop_init(&session->stop, why);
    if (outcome == OUTCOME_OK)
        outcome = set_target(&session->target, options, why);
    /* Without a home there are no durable mailboxes; all else works. */
    if (outcome == OUTCOME_OK) {
        outcome = set_state_folder(session, options->state_folder, why);
        if (outcome == OUTCOME_LOCAL)
            outcome = OUTCOME_OK;
    }
    if (outcome == OUTCOME_OK && !options->connect_later)
        outcome = session_ready(session, why);
    return outcome;
}

enum fileshare_status fileshare_open(const struct fileshare_options *options, struct fileshare **out,
                                     struct fileshare_error *error)
{
    static const struct fileshare_options defaults;
    struct failure why = {0};
    struct fileshare *session = calloc(1, sizeof *session);
    if (!session)
        return translate_report(failure_set(&why, OUTCOME_NOMEM, "no memory for a session"), &why, error);
    lanes_init(&session->lanes);
    enum outcome outcome = session_open(session, options ? options : &defaults, &why);
    if (outcome != OUTCOME_OK)
        fileshare_close(session);
    else
        *out = session;
    return translate_report(outcome, &why, error);
}

void fileshare_close(struct fileshare *session)
{
    if (!session)
        return;
    fileshare_detach(session);
    session_drop(session);
    stop_fini(&session->stop);
    free(session->state_folder);
    free(session);
}

void fileshare_stop(struct fileshare *session)
{
    stop_ask(&session->stop);
}

void fileshare_use_connections(struct fileshare *session, unsigned connections)
{
    session->connections = connections;
}

void fileshare_forget_stop(struct fileshare *session)
{
    stop_take(&session->stop);
}

const char *fileshare_version(void)
{
    return FILESHARE_VERSION;
}

/* ---- about the server ---- */

void fileshare_server(const struct fileshare *session, struct fileshare_server_info *out)
{
    const struct greeting *greeting = &session->greeting;
    *out = (struct fileshare_server_info){.instance = translate_id_public(&greeting->instance),
                                          .now = greeting->now};
    snprintf(out->address, sizeof out->address, "%s", greeting->address_text);
    snprintf(out->host, sizeof out->host, "%s", greeting->host);
    snprintf(out->software, sizeof out->software, "%s", greeting->software);
    snprintf(out->principal, sizeof out->principal, "%.*s", (int)sizeof out->principal - 1,
             greeting->principal);
}

static enum outcome ping(struct fileshare *session, int64_t *out_ns, struct failure *why)
{
    struct retry retry;
    retry_init(&retry);
    enum outcome outcome;
    int64_t began = 0;
    do {
        outcome = session_ready(session, why);
        if (outcome == OUTCOME_OK) {
            began = clock_elapsed(clock_system());
            outcome = rpc_client_outcome(session->client,
                                         fsproc_null_1(NULL, NULL, rpc_client_handle(session->client)), why);
        }
    } while (outcome != OUTCOME_OK && retry_again(&retry, session, &outcome, why));
    if (outcome == OUTCOME_OK)
        *out_ns = clock_elapsed(clock_system()) - began;
    return outcome;
}

enum fileshare_status fileshare_ping(struct fileshare *session, int64_t *out_ns,
                                     struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = ping(session, out_ns, &why);
    return session_report(session, outcome, &why, error);
}

static enum outcome counters(struct fileshare *session,
                             void (*each)(void *context, const char *label, uint64_t amount), void *context,
                             struct failure *why)
{
    fs_status_res res = {0};
    struct session_call call = {
        .procedure = FSPROC_STATUS,
        .encode = (xdrproc_t)(void (*)(void))xdr_void, /* takes no arguments: any type would do */
        .decode = (xdrproc_t)xdr_fs_status_res,
        .results = &res,
        .results_size = sizeof res,
    };
    enum outcome outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_status_res_u.failure.reason,
                                    "cannot ask for the server's status", why);
    if (outcome == OUTCOME_OK) {
        const fs_status_report *report = &res.fs_status_res_u.report;
        for (u_int i = 0; i < report->counters.counters_len; i++) {
            const fs_counter *counter = &report->counters.counters_val[i];
            char label[4 * FS_COUNTER_NAME_MAX + 1];
            name_show(counter->label.label_val, counter->label.label_len, label, sizeof label);
            each(context, label, counter->amount);
        }
    }
    session_call_end(&call);
    return outcome;
}

enum fileshare_status fileshare_counters(struct fileshare *session,
                                         void (*each)(void *context, const char *label, uint64_t amount),
                                         void *context, struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = counters(session, each, context, &why);
    return session_report(session, outcome, &why, error);
}
