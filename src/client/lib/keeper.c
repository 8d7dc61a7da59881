#include "client/lib/keeper.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "callback/listener.h"
#include "client/lib/session.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    LEAVE_MS = 3000,
    RETRY_FIRST_MS = 100,
    RETRY_LAST_MS = 10000,
    HELD_MS = 8000,     /* whoever was killed, or cut off, just now may seem to hold the mailbox still */
    LOOK_FIRST_MS = 20, /* for the outcome of the proof */
    PULL_MS = 2 * 1000, /* without a route */
    REST_MAX_MS = 5000, /* poll does not count while the machine sleeps; times to look do */
    NOTE_SIZE = FAILURE_TEXT_MAX + 64
};

/*
 * How often the server is asked for something, and how long it may take: one that
 * falls silent is noticed within the two together.
 */
struct patience {
    uint32_t look_ms, call_ms, pull_ms, retry_last_ms;
};

struct keeper {
    /* set at the start */
    struct keeper_options options;
    struct patience patience;
    struct id ticket;
    pthread_t thread;
    int wake_fd; /* an eventfd: the connection broke */

    pthread_mutex_t telling; /* held while an event is shown; guards what follows */
    uint64_t shown;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t tried; /* first_known was set */
    bool first_known;
    enum outcome first;
    struct failure first_why;
    struct fileshare_callback callback;
    fs_route route; /* as the server said last; NONE while there is no connection */
    unsigned attachments;

    /* of the thread alone; its stop is asked by keeper_stop */
    struct fileshare session;
    struct listener *listener;
    struct address local; /* where the listener is */
    unsigned generation;  /* of the connection that is attached */
    bool attached;        /* the server has our route, as far as we know */
    int64_t pull_at; /* elapsed clock; kept over connections: one may always end before it is time to ask */
    char noted[NOTE_SIZE];
};

/* ---- telling ---- */

static bool tell(struct keeper *keeper, const struct event *event, const char *route)
{
    scoped_lock(&keeper->telling);
    if (event->number <= keeper->shown)
        return true;
    struct event lost;
    /* What was shown before the server heard so is not lost, nor told twice as lost. */
    if (event->kind == EVENT_DROPPED && event->dropped > event->number - keeper->shown) {
        lost = *event;
        lost.dropped = event->number - keeper->shown;
        event = &lost;
    }
    if (!keeper->options.event(keeper->options.context, event, route))
        return false;
    keeper->shown = event->number;
    return true;
}

static uint64_t shown_so_far(struct keeper *keeper)
{
    scoped_lock(&keeper->telling);
    return keeper->shown;
}

/* listener_handler */
static uint64_t take_batch(void *context, const struct event *events, size_t count, bool reversed)
{
    struct keeper *keeper = context;
    const char *route = translate_route(reversed ? FS_ROUTE_REVERSED : FS_ROUTE_DIALBACK);
    for (size_t i = 0; i < count; i++)
        if (!tell(keeper, &events[i], route))
            break;
    return shown_so_far(keeper);
}

static void note(struct keeper *keeper, const char *text)
{
    if (strcmp(keeper->noted, text) == 0)
        return;
    snprintf(keeper->noted, sizeof keeper->noted, "%s", text);
    if (keeper->options.note)
        keeper->options.note(keeper->options.context, text);
}

static void note_route(struct keeper *keeper, fs_route route)
{
    char text[NOTE_SIZE], address[ADDRESS_TEXT_SIZE];
    if (route == FS_ROUTE_PROVING)
        return;
    if (route == FS_ROUTE_DIALBACK)
        snprintf(text, sizeof text, "called back by dial-back to program 0x%08" PRIx32 ", %s",
                 listener_number(keeper->listener),
                 address_text(listener_address(keeper->listener), address));
    else if (route == FS_ROUTE_REVERSED)
        snprintf(text, sizeof text, "called back by reversed calls");
    else
        snprintf(text, sizeof text, "not called back: asking the server every %d seconds", PULL_MS / 1000);
    note(keeper, text);
}

static void set_route(struct keeper *keeper, fs_route route)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->route = route;
    pthread_mutex_unlock(&keeper->lock);
}

/* ---- the callback program ---- */

static void show_listener(struct keeper *keeper)
{
    scoped_lock(&keeper->lock);
    struct fileshare_callback *callback = &keeper->callback;
    char text[ADDRESS_TEXT_SIZE];
    *callback = (struct fileshare_callback){0};
    if (!keeper->listener)
        return;
    callback->program = listener_number(keeper->listener);
    callback->registered = listener_is_registered(keeper->listener);
    snprintf(callback->address, sizeof callback->address, "%s",
             address_text(listener_address(keeper->listener), text));
}

static void end_listener(struct keeper *keeper)
{
    if (keeper->listener)
        listener_remove(keeper->listener, &keeper->ticket);
    keeper->listener = listener_free(keeper->listener);
    show_listener(keeper);
}

static void connection_broke(void *context)
{
    uint64_t one = 1;
    /* It fails only when the counter is full: then it is readable as it is. */
    ssize_t ignored = write(((struct keeper *)context)->wake_fd, &one, sizeof one);
    (void)ignored;
}

static enum outcome begin_listener(struct keeper *keeper, struct failure *why)
{
    struct listener_options options = {
        .local = keeper->local,
        .without_rpcbind = keeper->options.target->without_rpcbind,
        .stop_fd = keeper->session.stop.fd,
    };
    enum outcome outcome = listener_new(&options, &keeper->listener, why);
    if (outcome == OUTCOME_OK)
        outcome = listener_add(keeper->listener, &keeper->ticket, shown_so_far(keeper), take_batch, keeper,
                               why);
    if (outcome != OUTCOME_OK) {
        end_listener(keeper);
        return outcome;
    }
    keeper->session.back = (struct reach_back){
        .reversed = listener_program(),
        .reversed_number = listener_number(keeper->listener),
        .context = keeper->listener,
        .broken = connection_broke,
        .broken_context = keeper,
    };
    show_listener(keeper);
    return OUTCOME_OK;
}

/* Connected, and the callback program where the server can reach it. */
static enum outcome get_ready(struct keeper *keeper, struct failure *why)
{
    struct fileshare *session = &keeper->session;
    for (int tries = 0;; tries++) {
        enum outcome outcome = keeper->listener ? OUTCOME_OK : begin_listener(keeper, why);
        if (outcome == OUTCOME_OK)
            outcome = session_ready(session, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        struct address local;
        if (!rpc_client_local(session->client, &local))
            return failure_set(why, OUTCOME_UNREACHABLE, "the connection broke as soon as it was made");
        if (tries > 0 || address_is_local(&local) || address_same_host(&local, &keeper->local))
            return OUTCOME_OK;
        keeper->local = local;
        session_drop(session); /* reversed calls use the listener */
        end_listener(keeper);
    }
}

/* ---- calls ---- */

static enum outcome check_instance(const struct keeper *keeper, struct failure *why)
{
    const struct id *ours = &keeper->options.instance;
    if (id_is_none(ours) || id_equal(ours, &keeper->session.greeting.instance))
        return OUTCOME_OK;
    return failure_set(why, OUTCOME_UNREACHABLE, "%s is another store now: this mailbox is not there",
                       keeper->session.greeting.address_text);
}

static enum outcome attach(struct keeper *keeper, fs_attachment *out, struct failure *why)
{
    enum outcome outcome = get_ready(keeper, why);
    if (outcome == OUTCOME_OK)
        outcome = check_instance(keeper, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    char universal[ADDRESS_TEXT_SIZE];
    const struct address *address = listener_address(keeper->listener);
    fs_attach_args args = {
        .mailbox = translate_id(&keeper->options.mailbox),
        .callback =
            {
                .prog = listener_number(keeper->listener),
                .netid = translate_address(address_netid(address)),
                .address = translate_address(address_universal(address, universal)),
                .proof = translate_id(listener_proof(keeper->listener)),
                .ticket = translate_id(&keeper->ticket),
                .reversed = true,
            },
    };
    fs_attach_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_ATTACH, fs_attach_args, &args, fs_attach_res, &res);
    keeper->generation = keeper->session.generation;
    outcome = session_try(&keeper->session, &call, why);
    FAULT_POINT("mailbox-attached");
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_attach_res_u.failure.reason,
                                    "cannot take the mailbox", why);
    if (outcome == OUTCOME_OK) {
        *out = res.fs_attach_res_u.attachment;
        keeper->attached = true;
        set_route(keeper, out->route); /* before anybody is told that it succeeded */
    }
    session_call_end(&call);
    return outcome;
}

/* A call over the attached connection; UNREACHABLE also if that is gone and there is another. */
static enum outcome call_attached(struct keeper *keeper, struct session_call *call, struct failure *why)
{
    enum outcome outcome = session_try(&keeper->session, call, why);
    if (outcome == OUTCOME_OK && keeper->session.generation != keeper->generation)
        return failure_set(why, OUTCOME_UNREACHABLE, "the connection broke");
    return outcome;
}

static enum outcome take_page(struct keeper *keeper, const fs_events *page, bool *more, struct failure *why)
{
    *more = page->more;
    for (u_int i = 0; i < page->rows.rows_len; i++) {
        struct event event;
        enum outcome outcome = event_from_wire(&page->rows.rows_val[i], &event, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (!tell(keeper, &event, "pull")) {
            *more = false;
            break;
        }
    }
    return OUTCOME_OK;
}

/* Asks for what is there, until there is nothing more or somebody does not take it. */
static enum outcome pull(struct keeper *keeper, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    bool more = true;
    while (more && outcome == OUTCOME_OK) {
        fs_events_args args = {
            .mailbox = translate_id(&keeper->options.mailbox),
            .since = shown_so_far(keeper),
            .limit = FS_EVENTS_MAX,
        };
        fs_events_res res = {0};
        struct session_call call = SESSION_CALL(FSPROC_EVENTS, fs_events_args, &args, fs_events_res, &res);
        outcome = call_attached(keeper, &call, why);
        FAULT_POINT("events-pulled");
        if (outcome == OUTCOME_OK)
            outcome = translate_outcome(res.status, &res.fs_events_res_u.failure.reason,
                                        "cannot ask for events", why);
        if (outcome == OUTCOME_OK)
            outcome = take_page(keeper, &res.fs_events_res_u.page, &more, why);
        session_call_end(&call);
    }
    return outcome;
}

/* Asks which way back the server has. */
static enum outcome look(struct keeper *keeper, fs_route *out, struct failure *why)
{
    fs_interests_args args = {.mailbox = translate_id(&keeper->options.mailbox)};
    fs_interests_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_LIST_INTERESTS, fs_interests_args, &args, fs_interests_res,
                                            &res);
    enum outcome outcome = call_attached(keeper, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_interests_res_u.failure.reason,
                                    "cannot ask for the way back", why);
    if (outcome == OUTCOME_OK)
        *out = res.fs_interests_res_u.page.route;
    session_call_end(&call);
    return outcome;
}

/* ---- the thread ---- */

/* Until the time has come, the connection broke, or we are to end. */
static void rest(struct keeper *keeper, int64_t until)
{
    struct pollfd polls[2] = {{.fd = keeper->wake_fd, .events = POLLIN},
                              {.fd = keeper->session.stop.fd, .events = POLLIN}};
    int64_t left = (until - clock_elapsed(clock_system()) + 999999) / 1000000;
    poll(polls, 2, left < 0 ? 0 : left > REST_MAX_MS ? REST_MAX_MS : (int)left);
    if (polls[0].revents & POLLIN) {
        uint64_t count;
        ssize_t ignored = read(keeper->wake_fd, &count, sizeof count);
        (void)ignored;
    }
}

struct rounds {
    int64_t look_at; /* elapsed clock */
    uint32_t look_ms;
};

static void plan_look(const struct keeper *keeper, struct rounds *rounds, fs_route route, int64_t now)
{
    uint32_t last_ms = keeper->patience.look_ms;
    rounds->look_ms = route == FS_ROUTE_PROVING && rounds->look_ms < last_ms / 2 ? rounds->look_ms * 2
                                                                                 : last_ms;
    rounds->look_at = now + (int64_t)rounds->look_ms * 1000000;
}

/* What is due now. */
static enum outcome do_rounds(struct keeper *keeper, struct rounds *rounds, fs_route *route,
                              struct failure *why)
{
    int64_t now = clock_elapsed(clock_system());
    enum outcome outcome = OUTCOME_OK;
    if (now >= rounds->look_at) {
        fs_route before = *route;
        outcome = look(keeper, route, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        set_route(keeper, *route);
        note_route(keeper, *route);
        plan_look(keeper, rounds, *route, now);
        if (*route == FS_ROUTE_NONE && before != FS_ROUTE_NONE)
            keeper->pull_at = now;
    }
    if (now >= keeper->pull_at) {
        outcome = pull(keeper, why);
        bool soon = *route == FS_ROUTE_NONE || outcome != OUTCOME_OK;
        keeper->pull_at = now + (int64_t)(soon ? PULL_MS : keeper->patience.pull_ms) * 1000000;
    }
    return outcome;
}

/* Attached: until the connection is of no more use. */
static enum outcome stay(struct keeper *keeper, fs_route route, struct failure *why)
{
    int64_t now = clock_elapsed(clock_system());
    struct rounds rounds = {.look_ms = LOOK_FIRST_MS};
    rounds.look_at = now + (int64_t)(route == FS_ROUTE_PROVING ? LOOK_FIRST_MS : keeper->patience.look_ms) *
                               1000000;
    if (route == FS_ROUTE_NONE)
        keeper->pull_at = now;
    note_route(keeper, route);
    for (;;) {
        enum outcome outcome = stop_check(&keeper->session.stop, why);
        if (outcome == OUTCOME_OK)
            outcome = do_rounds(keeper, &rounds, &route, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        rest(keeper, rounds.look_at < keeper->pull_at ? rounds.look_at : keeper->pull_at);
        if (rpc_client_is_broken(keeper->session.client))
            return failure_set(why, OUTCOME_UNREACHABLE, "%s: the connection broke",
                               keeper->session.greeting.address_text);
    }
}

static void tell_first(struct keeper *keeper, enum outcome outcome, const struct failure *why)
{
    scoped_lock(&keeper->lock);
    if (keeper->first_known)
        return;
    keeper->first_known = true;
    keeper->first = outcome;
    keeper->first_why = *why;
    pthread_cond_broadcast(&keeper->tried);
}

static void lose(struct keeper *keeper, const struct failure *why)
{
    char text[NOTE_SIZE];
    set_route(keeper, FS_ROUTE_NONE);
    session_drop(&keeper->session);
    if (stop_is_asked(&keeper->session.stop))
        return;
    snprintf(text, sizeof text, "no way back just now, trying again: %s", why->text);
    note(keeper, text);
}

static void count_attachment(struct keeper *keeper)
{
    scoped_lock(&keeper->lock);
    keeper->attachments++;
}

unsigned keeper_attached(struct keeper *keeper)
{
    scoped_lock(&keeper->lock);
    return keeper->attachments;
}

static void *keeper_run(void *argument)
{
    struct keeper *keeper = argument;
    struct backoff backoff;
    int64_t held_until = clock_elapsed(clock_system()) + (int64_t)HELD_MS * 1000000;
    backoff_init(&backoff, RETRY_FIRST_MS, keeper->patience.retry_last_ms);
    while (!stop_is_asked(&keeper->session.stop)) {
        struct failure why = {0};
        fs_attachment attachment = {0};
        enum outcome outcome = attach(keeper, &attachment, &why);
        if (outcome != OUTCOME_HELD || clock_elapsed(clock_system()) >= held_until)
            tell_first(keeper, outcome, &why);
        if (outcome == OUTCOME_OK) {
            backoff_reset(&backoff);
            count_attachment(keeper);
            outcome = stay(keeper, attachment.route, &why);
        }
        if (stop_is_asked(&keeper->session.stop))
            break;
        lose(keeper, &why);
        stop_wait(&keeper->session.stop, backoff_next(&backoff));
    }
    return NULL;
}

/* ---- life ---- */

static void keeper_free(struct keeper *keeper)
{
    session_drop(&keeper->session); /* before the listener, which reversed calls use */
    end_listener(keeper);
    stop_fini(&keeper->session.stop);
    if (keeper->wake_fd >= 0)
        close(keeper->wake_fd);
    pthread_cond_destroy(&keeper->tried);
    pthread_mutex_destroy(&keeper->lock);
    pthread_mutex_destroy(&keeper->telling);
    free(keeper);
}

static struct patience patience_of(uint32_t dead_ms)
{
    return (struct patience){
        .look_ms = dead_ms / 3 * 2,
        .call_ms = dead_ms / 3,
        .pull_ms = dead_ms / 3 * 4,
        .retry_last_ms = dead_ms / 3 < RETRY_LAST_MS ? dead_ms / 3 : RETRY_LAST_MS,
    };
}

/* Signals are the caller's: they go to its own threads. */
static int start_thread(struct keeper *keeper)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&keeper->thread, NULL, keeper_run, keeper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

enum outcome keeper_start(const struct keeper_options *options, struct keeper **out, struct failure *why)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return failure_set(why, OUTCOME_NOMEM, "no memory to be called back");
    keeper->options = *options;
    keeper->session.target = *options->target;
    keeper->patience = patience_of(keeper->session.target.dead_ms);
    keeper->session.call_ms = keeper->patience.call_ms;
    if (keeper->session.target.connect_ms > keeper->session.target.dead_ms)
        keeper->session.target.connect_ms = keeper->session.target.dead_ms;
    keeper->options.target = &keeper->session.target;
    keeper->local = options->local;
    keeper->ticket = id_random();
    keeper->shown = options->since;
    keeper->pull_at = clock_elapsed(clock_system()) + (int64_t)keeper->patience.pull_ms * 1000000;
    pthread_mutex_init(&keeper->telling, NULL);
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->tried, NULL);
    keeper->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum outcome outcome = stop_init(&keeper->session.stop, why);
    if (outcome == OUTCOME_OK && keeper->wake_fd < 0)
        outcome = failure_system(why, OUTCOME_LOCAL, errno, "cannot make an eventfd");
    int error = outcome == OUTCOME_OK ? start_thread(keeper) : 0;
    if (error != 0)
        outcome = failure_system(why, OUTCOME_LOCAL, error, "cannot start a thread");
    if (outcome != OUTCOME_OK) {
        keeper_free(keeper);
        return outcome;
    }
    *out = keeper;
    return OUTCOME_OK;
}

enum outcome keeper_first(struct keeper *keeper, const struct stop *stop, struct failure *why)
{
    scoped_lock(&keeper->lock);
    while (!keeper->first_known) {
        /* A stop has no condition: it is looked at a few times a second. */
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_clockwait(&keeper->tried, &keeper->lock, CLOCK_MONOTONIC, &until);
        enum outcome outcome = stop_check(stop, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (keeper->first != OUTCOME_OK && why)
        *why = keeper->first_why;
    return keeper->first;
}

/*
 * Over a new connection: being stopped breaks the old one. To where the server was: nothing is looked up, so that
 * it ends in time whatever does not answer (three times LEAVE_MS: to connect, to greet, to detach).
 */
static void withdraw(struct keeper *keeper)
{
    struct fileshare *session = &keeper->session;
    const struct address where = session->greeting.address;
    session_drop(session);
    session->back = (struct reach_back){0};
    session_limit(session, LEAVE_MS, LEAVE_MS);
    stop_take(&session->stop);
    if (reach_address(&session->target, &where, LEAVE_MS, &session->stop, &session->client,
                      &session->greeting, NULL) != OUTCOME_OK)
        return;
    fs_detach_args args = {.mailbox = translate_id(&keeper->options.mailbox)};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_DETACH, fs_detach_args, &args, fs_done_res, &res);
    enum outcome ignored = session_try(session, &call, NULL);
    (void)ignored;
    FAULT_POINT("mailbox-detached");
    session_call_end(&call);
}

void *keeper_stop(struct keeper *keeper, bool detach)
{
    if (!keeper)
        return NULL;
    stop_ask(&keeper->session.stop);
    pthread_join(keeper->thread, NULL);
    if (detach && keeper->attached)
        withdraw(keeper);
    keeper_free(keeper);
    return NULL;
}

void keeper_callback(struct keeper *keeper, struct fileshare_callback *out)
{
    scoped_lock(&keeper->lock);
    *out = keeper->callback;
    out->route = translate_route(keeper->route);
}
