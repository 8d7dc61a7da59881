#include "callback/sender_inside.h"

#include "base/scoped.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    MS = 1000000,
    EVENTS_A_TURN = 64,
    EVICTION_LOOKS_AT = 64,
    WAIT_MAX_MS = 2000, /* epoll does not count while the machine sleeps; deadlines do */
};

/* Where so many answers come in a while, each turn waits for some of them, instead of each of them waking it. */
enum { FLOOD_WHILE = 2 * MS, FLOOD_LEAST = 16, FLOOD_PAUSE = MS / 4 };

struct sender_limits sender_limits_default(void)
{
    return (struct sender_limits){
        .mailboxes = 16384,
        .deliveries = 4096,
        .delivery_bytes = 16 * 1024 * 1024,
        .connections = 2048,
        .connect_ms = 5000,
        .call_ms = 30000,
        .prove_wait_ms = 1000,
        .reprove_first_ms = 1000,
        .reprove_last_ms = 300000,
        .rpcbind_port = 111,
    };
}

/* ---- life ---- */

static enum outcome open_waiting(struct sender *sender, struct failure *why)
{
    sender->epoll = epoll_create1(EPOLL_CLOEXEC);
    sender->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* NULL as data is the eventfd; all else are dials. */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (sender->epoll < 0 || sender->wake < 0 ||
        epoll_ctl(sender->epoll, EPOLL_CTL_ADD, sender->wake, &event) != 0)
        return failure_system(why, OUTCOME_FAULT, errno, "the sender can't wait for its connections");
    sender->returns = returns_new(sender->wake);
    if (!sender->returns)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the sender");
    return OUTCOME_OK;
}

enum outcome sender_new(const struct sender_options *options, struct sender **out, struct failure *why)
{
    struct sender *sender = calloc(1, sizeof *sender);
    if (!sender)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the sender");
    sender->options = *options;
    sender->epoll = sender->wake = -1;
    pthread_mutex_init(&sender->lock, NULL);
    deadlines_init(&sender->deadlines);
    list_init(&sender->attention);
    list_init(&sender->reversals);
    list_init(&sender->finished);
    list_init(&sender->dials);
    list_init(&sender->closed);
    enum outcome outcome = mailboxes_init(&sender->mailboxes, options->limits.mailboxes, why);
    if (outcome == OUTCOME_OK)
        outcome = open_waiting(sender, why);
    if (outcome != OUTCOME_OK) {
        (void)sender_free(sender);
        return outcome;
    }
    *out = sender;
    return OUTCOME_OK;
}

static void remove_mailbox(struct sender *sender, struct sender_mailbox *mailbox, enum outcome outcome)
{
    way_end(sender, mailbox, outcome);
    list_remove(&mailbox->attention);
    mailboxes_remove(&sender->mailboxes, mailbox);
    free(mailbox);
}

static void remove_all(struct sender *sender, enum outcome outcome)
{
    list_each(at, &sender->mailboxes.by_age)
        remove_mailbox(sender, list_entry(at, struct sender_mailbox, age), outcome);
}

static void free_closed(struct sender *sender)
{
    list_each(at, &sender->closed) {
        list_remove(at);
        dial_free(list_entry(at, struct dial, link));
    }
}

/* ---- the thread ---- */

/* The lock is held: whether the thread has something to do before anything happens. */
static bool has_work(const struct sender *sender)
{
    return sender->stopping || !list_is_empty(&sender->attention) || !list_is_empty(&sender->reversals) ||
           !list_is_empty(&sender->finished);
}

/*
 * Deadlines may be set by others while it sleeps (a batch that went out at once):
 * so it sleeps for long only while no connection is open.
 */
static int wait_ms(struct sender *sender)
{
    scoped_lock(&sender->lock);
    const struct deadline *first = deadlines_first(&sender->deadlines);
    int64_t now = clock_elapsed(sender->options.clock), left = (int64_t)WAIT_MAX_MS * MS;
    sender->sleeps_until = 0;
    if (has_work(sender))
        return 0;
    sender->sleeps_until = INT64_MAX;
    if (!first && sender->dial_count == 0)
        return -1;
    if (first && first->at - now < left)
        left = first->at > now ? first->at - now : 0;
    sender->sleeps_until = now + left;
    return (int)((left + MS - 1) / MS);
}

static void take_events(struct sender *sender, const struct epoll_event *events, int count)
{
    scoped_lock(&sender->lock);
    for (int i = 0; i < count; i++) {
        const struct dial *dial = events[i].data.ptr;
        eventfd_t woken;
        if (!dial)
            (void)eventfd_read(sender->wake, &woken);
        else if (dial->owner)
            way_step(sender, dial->owner, events[i].events);
    }
}

static void take_attention(struct sender *sender)
{
    scoped_lock(&sender->lock);
    struct sender_mailbox *mailbox;
    while ((mailbox = list_first(&sender->attention, struct sender_mailbox, attention)) != NULL) {
        list_remove(&mailbox->attention);
        way_attend(sender, mailbox);
    }
}

static void take_due(struct sender *sender)
{
    scoped_lock(&sender->lock);
    int64_t now = clock_elapsed(sender->options.clock);
    struct deadline *first;
    while ((first = deadlines_first(&sender->deadlines)) != NULL && first->at <= now)
        way_due(sender, list_entry(first, struct sender_mailbox, due));
}

/* All that are finished, as the caller's. */
static void take_finished(struct sender *sender, struct list *out)
{
    list_init(out);
    scoped_lock(&sender->lock);
    list_each(at, &sender->finished) {
        const struct sender_batch *batch = list_entry(at, struct sender_batch, link);
        list_remove(at);
        list_append(out, at);
        sender->batch_count--;
        sender->batch_bytes -= batch->size;
    }
}

/* Returns how many. */
static unsigned report(struct sender *sender)
{
    unsigned count = 0;
    struct list finished;
    take_finished(sender, &finished);
    list_each(at, &finished) {
        struct sender_batch *batch = list_entry(at, struct sender_batch, link);
        list_remove(at);
        sender->options.done(sender->options.context, &batch->result);
        free(batch);
        count++;
    }
    return count;
}

/* Whether to go on. At the end every batch is reported as STOPPED. */
static bool goes_on(struct sender *sender)
{
    scoped_lock(&sender->lock);
    free_closed(sender);
    if (!sender->stopping)
        return true;
    remove_all(sender, OUTCOME_STOPPED);
    return false;
}

/* How fast answers come. The thread's own. */
struct flood {
    int64_t since;
    unsigned answers; /* since then */
    bool high;        /* as the while before was */
};

static void flood_note(struct flood *flood, unsigned answers, int64_t now)
{
    flood->answers += answers;
    if (now - flood->since < FLOOD_WHILE)
        return;
    flood->high = flood->answers >= FLOOD_LEAST && now - flood->since < 2 * FLOOD_WHILE;
    flood->since = now;
    flood->answers = 0;
}

static void flood_pause(const struct flood *flood)
{
    const struct timespec pause = {.tv_nsec = FLOOD_PAUSE};
    if (flood->high)
        nanosleep(&pause, NULL);
}

static void *run(void *context)
{
    struct sender *sender = context;
    struct epoll_event events[EVENTS_A_TURN];
    struct flood flood = {.since = 0};
    while (goes_on(sender)) {
        flood_pause(&flood);
        int count = epoll_wait(sender->epoll, events, EVENTS_A_TURN, wait_ms(sender));
        take_events(sender, events, count > 0 ? count : 0);
        reversed_take_answers(sender);
        take_attention(sender);
        take_due(sender);
        reversed_send_all(sender);
        flood_note(&flood, report(sender), clock_elapsed(sender->options.clock));
    }
    report(sender);
    return NULL;
}

enum outcome sender_start(struct sender *sender, struct failure *why)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int error = pthread_create(&sender->thread, NULL, run, sender);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return failure_system(why, OUTCOME_FAULT, error, "can't start the sender's thread");
    pthread_setname_np(sender->thread, "sender");
    sender->started = true;
    return OUTCOME_OK;
}

static void wake(struct sender *sender)
{
    (void)eventfd_write(sender->wake, 1);
}

void sender_stop(struct sender *sender)
{
    {
        scoped_lock(&sender->lock);
        sender->stopping = true;
    }
    wake(sender);
    if (sender->started)
        pthread_join(sender->thread, NULL);
    else
        run(sender); /* not started: what was taken is reported all the same */
    sender->started = false;
}

void *sender_free(struct sender *sender)
{
    if (!sender)
        return NULL;
    sender->returns = returns_close(sender->returns);
    remove_all(sender, OUTCOME_STOPPED);
    free_closed(sender);
    struct list finished;
    take_finished(sender, &finished);
    list_each(at, &finished)
        free(list_entry(at, struct sender_batch, link));
    mailboxes_fini(&sender->mailboxes);
    deadlines_fini(&sender->deadlines);
    if (sender->wake >= 0)
        close(sender->wake);
    if (sender->epoll >= 0)
        close(sender->epoll);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
    return NULL;
}

/* ---- what others call ---- */

static enum outcome stopped(struct failure *why)
{
    return failure_set(why, OUTCOME_STOPPED, "the sender is stopping");
}

static void attend(struct sender *sender, struct sender_mailbox *mailbox)
{
    list_remove(&mailbox->attention);
    list_append(&sender->attention, &mailbox->attention);
    wake(sender);
}

/* Of the longest unused, one that leads nowhere is forgotten; whoever delivers to it sets its route again. */
static void evict(struct sender *sender)
{
    unsigned looked_at = 0;
    list_each(at, &sender->mailboxes.by_age) {
        struct sender_mailbox *mailbox = list_entry(at, struct sender_mailbox, age);
        if (way_leads_nowhere(mailbox)) {
            remove_mailbox(sender, mailbox, OUTCOME_UNREACHABLE);
            return;
        }
        if (++looked_at == EVICTION_LOOKS_AT)
            return;
    }
}

static enum outcome add_mailbox(struct sender *sender, const struct id *id, struct sender_mailbox **out,
                                struct failure *why)
{
    if (sender->mailboxes.count >= sender->options.limits.mailboxes)
        evict(sender);
    if (sender->mailboxes.count >= sender->options.limits.mailboxes)
        return failure_set(why, OUTCOME_LIMIT, "%zu mailboxes have a way back, more are not taken",
                           sender->mailboxes.count);
    if (!deadlines_reserve(&sender->deadlines, sender->mailboxes.count + 1))
        return failure_set(why, OUTCOME_NOMEM, "no memory for a mailbox's way back");
    struct sender_mailbox *mailbox = calloc(1, sizeof *mailbox);
    if (!mailbox)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a mailbox's way back");
    mailbox->id = *id;
    list_init(&mailbox->age);
    list_init(&mailbox->attention);
    deadline_init(&mailbox->due);
    mailboxes_insert(&sender->mailboxes, mailbox);
    *out = mailbox;
    return OUTCOME_OK;
}

enum outcome sender_prove(struct sender *sender, const struct id *mailbox, const struct sender_route *route,
                          struct failure *why)
{
    scoped_lock(&sender->lock);
    if (sender->stopping)
        return stopped(why);
    struct sender_mailbox *found = mailboxes_find(&sender->mailboxes, mailbox);
    if (!found) {
        enum outcome outcome = add_mailbox(sender, mailbox, &found, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    mailboxes_touch(&sender->mailboxes, found);
    way_set_route(sender, found, route);
    attend(sender, found);
    return OUTCOME_OK;
}

void sender_forget(struct sender *sender, const struct id *mailbox)
{
    scoped_lock(&sender->lock);
    struct sender_mailbox *found = mailboxes_find(&sender->mailboxes, mailbox);
    if (found) {
        remove_mailbox(sender, found, OUTCOME_UNREACHABLE);
        wake(sender);
    }
}

void sender_connection_closed(struct sender *sender, uint64_t connection)
{
    scoped_lock(&sender->lock);
    struct sender_mailbox *mailbox;
    while (connection != 0 && (mailbox = mailboxes_connected(&sender->mailboxes, connection)) != NULL) {
        way_disconnect(sender, mailbox);
        attend(sender, mailbox);
    }
}

enum sender_state sender_state_of(struct sender *sender, const struct id *mailbox)
{
    scoped_lock(&sender->lock);
    const struct sender_mailbox *found = mailboxes_find(&sender->mailboxes, mailbox);
    return found ? way_state(sender, found) : SENDER_NONE;
}

bool sender_route_of(struct sender *sender, const struct id *mailbox, struct sender_route *out)
{
    scoped_lock(&sender->lock);
    const struct sender_mailbox *found = mailboxes_find(&sender->mailboxes, mailbox);
    if (found && out)
        *out = found->route;
    return found != NULL;
}

bool sender_is_living(struct sender *sender, const struct id *mailbox)
{
    scoped_lock(&sender->lock);
    const struct sender_mailbox *found = mailboxes_find(&sender->mailboxes, mailbox);
    return found && (found->route.connection != 0 || way_is_open(found));
}

void sender_doubt(struct sender *sender, const struct id *mailbox)
{
    scoped_lock(&sender->lock);
    struct sender_mailbox *found = mailboxes_find(&sender->mailboxes, mailbox);
    if (found) {
        way_doubt(sender, found);
        wake(sender);
    }
}

bool sender_uses(struct sender *sender, uint64_t connection)
{
    scoped_lock(&sender->lock);
    return connection != 0 && mailboxes_connected(&sender->mailboxes, connection) != NULL;
}

/* Whether the batch may be taken, in the order in which the trouble is told. */
static enum outcome may_take(const struct sender *sender, const struct sender_mailbox *mailbox, size_t size,
                             struct failure *why)
{
    const struct sender_limits *limits = &sender->options.limits;
    if (sender->stopping)
        return stopped(why);
    if (!mailbox)
        return failure_set(why, OUTCOME_ABSENT, "the mailbox has no way back");
    if (mailbox->batch)
        return failure_set(why, OUTCOME_HELD, "a batch of the mailbox is in flight");
    if (sender->batch_count >= limits->deliveries || sender->batch_bytes + size > limits->delivery_bytes)
        return failure_set(why, OUTCOME_LIMIT, "%u batches of %zu bytes are in flight", sender->batch_count,
                           sender->batch_bytes);
    return OUTCOME_OK;
}

/* An open way needs no other thread: that would cost two wake-ups, and the time of one. */
static void send_now(struct sender *sender, struct sender_mailbox *mailbox)
{
    way_attend(sender, mailbox);
    if (has_work(sender) || mailbox->due.at < sender->sleeps_until)
        wake(sender);
}

enum outcome sender_deliver(struct sender *sender, const struct id *mailbox, uint64_t token,
                            const struct event *events, size_t count, struct failure *why)
{
    scoped_free struct sender_batch *batch = NULL;
    enum outcome outcome = batch_new(mailbox, token, events, count, &batch, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_lock(&sender->lock);
    struct sender_mailbox *found = mailboxes_find(&sender->mailboxes, mailbox);
    outcome = may_take(sender, found, batch->size, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    batch->wait_until = clock_elapsed(sender->options.clock) +
                        (int64_t)sender->options.limits.prove_wait_ms * MS;
    sender->batch_count++;
    sender->batch_bytes += batch->size;
    found->batch = take_ptr(&batch);
    mailboxes_touch(&sender->mailboxes, found);
    if (found->phase == WAY_READY)
        send_now(sender, found);
    else
        attend(sender, found);
    return OUTCOME_OK;
}
