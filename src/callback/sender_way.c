#include "callback/sender_inside.h"

#include "base/fault.h"
#include "base/log.h"
#include "callback/sender_lookup.h"
#include "rpc/backoff.h"

#include <assert.h>

enum {
    MS = 1000000,
    HELLO_SIZE = ID_SIZE,
    REPROVE_TRIES = 6 /* of a mailbox without a living connection; a delivery tries in any case */
};

static int64_t now_of(const struct sender *sender)
{
    return clock_elapsed(sender->options.clock);
}

static int64_t in_ms(const struct sender *sender, uint32_t milliseconds)
{
    return now_of(sender) + (int64_t)milliseconds * MS;
}

static bool is_dialling(const struct sender_mailbox *mailbox)
{
    return mailbox->phase == WAY_ASKING || mailbox->phase == WAY_CONNECTING || mailbox->phase == WAY_PROVING;
}

static bool batch_waits(const struct sender_mailbox *mailbox)
{
    return mailbox->batch && mailbox->batch->phase == BATCH_WAITS;
}

static bool can_reverse(const struct sender_mailbox *mailbox)
{
    return mailbox->route.connection != 0;
}

/* Sets the one deadline of the mailbox to the earliest of what it waits for. */
static void reschedule(struct sender *sender, struct sender_mailbox *mailbox)
{
    int64_t at = INT64_MAX;
    if (is_dialling(mailbox) || mailbox->phase == WAY_TELLING)
        at = mailbox->step_until;
    else if (mailbox->phase == WAY_LATER || mailbox->phase == WAY_RESTING)
        at = mailbox->retry_at;
    if (batch_waits(mailbox) && is_dialling(mailbox) && can_reverse(mailbox) &&
        !mailbox->batch->tried_reversed && mailbox->batch->wait_until < at)
        at = mailbox->batch->wait_until;
    deadlines_set(&sender->deadlines, &mailbox->due, at);
}

static void enter(struct sender *sender, struct sender_mailbox *mailbox, enum way_phase phase,
                  uint32_t limit_ms)
{
    mailbox->phase = phase;
    mailbox->step_until = in_ms(sender, limit_ms);
}

/* ---- the dialled connection ---- */

static void drop_dial(struct sender *sender, struct sender_mailbox *mailbox)
{
    struct dial *dial = mailbox->dial;
    if (!dial)
        return;
    mailbox->dial = NULL;
    dial_close(dial);
    list_remove(&dial->link);
    list_append(&sender->closed, &dial->link);
    sender->dial_count--;
}

/* Used just now. */
static void touch_dial(struct sender *sender, struct dial *dial)
{
    list_remove(&dial->link);
    list_append(&sender->dials, &dial->link);
}

static void fail_way(struct sender *sender, struct sender_mailbox *mailbox, enum outcome outcome,
                     const struct failure *why);

static void let_rest(struct sender *sender, struct sender_mailbox *mailbox)
{
    drop_dial(sender, mailbox);
    mailbox->phase = WAY_RESTING;
    mailbox->retry_at = INT64_MAX;
    reschedule(sender, mailbox);
}

/* Whether a peer that is not proved yet has let us wait for more than a moment. */
static bool is_overstaying(const struct sender *sender, const struct sender_mailbox *mailbox)
{
    const struct sender_limits *limits = &sender->options.limits;
    int64_t since = mailbox->step_until - (int64_t)limits->connect_ms * MS;
    return is_dialling(mailbox) && now_of(sender) - since >= (int64_t)limits->prove_wait_ms * MS;
}

/*
 * Closes the connection that has rested longest, or, if none rests, gives up the
 * oldest proof that is overdue: strangers who do not answer keep nobody out.
 * False if all are busy.
 */
static bool make_room(struct sender *sender)
{
    struct sender_mailbox *overdue = NULL;
    list_each(at, &sender->dials) {
        struct sender_mailbox *mailbox = list_entry(at, struct dial, link)->owner;
        if (mailbox->phase == WAY_READY) {
            let_rest(sender, mailbox);
            return true;
        }
        if (!overdue && is_overstaying(sender, mailbox))
            overdue = mailbox;
    }
    if (!overdue)
        return false;
    struct failure why;
    failure_set(&why, OUTCOME_LIMIT, "no answer in a moment, and the connection is wanted for others");
    fail_way(sender, overdue, OUTCOME_LIMIT, &why);
    reschedule(sender, overdue);
    return true;
}

static enum outcome open_dial(struct sender *sender, struct sender_mailbox *mailbox, uint16_t port,
                              struct failure *why)
{
    const struct sender_limits *limits = &sender->options.limits;
    struct address to = mailbox->route.peer;
    address_set_port(&to, port);
    const struct dial_target target = {
        .to = &to,
        .from = &mailbox->route.local,
        .from_port = limits->outgoing_port,
        .unanswered_ms = limits->connect_ms,
    };
    if (sender->dial_count >= limits->connections && !make_room(sender))
        return failure_set(why, OUTCOME_LIMIT, "%u callback connections are open, all of them busy",
                           sender->dial_count);
    enum outcome outcome = dial_open(sender->epoll, &target, mailbox, &mailbox->dial, why);
    if (outcome == OUTCOME_LIMIT && make_room(sender))
        outcome = dial_open(sender->epoll, &target, mailbox, &mailbox->dial, why);
    if (outcome == OUTCOME_OK) {
        list_append(&sender->dials, &mailbox->dial->link);
        sender->dial_count++;
    }
    return outcome;
}

/* ---- a batch over the way ---- */

static void next_route(struct sender *sender, struct sender_mailbox *mailbox);

static void finish_batch(struct sender *sender, struct sender_mailbox *mailbox, enum outcome outcome,
                         uint64_t acknowledged)
{
    struct sender_batch *batch = mailbox->batch;
    mailbox->batch = NULL;
    batch->result.outcome = outcome;
    batch->result.acknowledged = acknowledged;
    list_remove(&batch->link);
    list_append(&sender->finished, &batch->link);
}

/* The way is no good: the batch, if it counted on it, goes by the next one. */
static void fail_way(struct sender *sender, struct sender_mailbox *mailbox, enum outcome outcome,
                     const struct failure *why)
{
    const struct sender_limits *limits = &sender->options.limits;
    char text[ADDRESS_TEXT_SIZE];
    log_debug("callback program %u of %s: %s", mailbox->route.program,
              address_host_text(&mailbox->route.peer, text), why->text);
    drop_dial(sender, mailbox);
    mailbox->proved = false;
    mailbox->settled = true;
    mailbox->phase = WAY_NONE;
    if (can_reverse(mailbox) || mailbox->failures < REPROVE_TRIES) {
        mailbox->phase = WAY_LATER;
        mailbox->retry_at = in_ms(
            sender, backoff_after(limits->reprove_first_ms, limits->reprove_last_ms, mailbox->failures));
    }
    mailbox->failures++;
    struct sender_batch *batch = mailbox->batch;
    if (batch && batch->phase != BATCH_REVERSED) {
        batch->phase = BATCH_WAITS;
        batch->tried_dial = true;
        batch->result.outcome = outcome;
    }
    next_route(sender, mailbox);
}

static void begin_dial(struct sender *sender, struct sender_mailbox *mailbox)
{
    const struct sender_limits *limits = &sender->options.limits;
    struct failure why;
    bool ask = mailbox->route.ask_rpcbind;
    enum outcome outcome = open_dial(sender, mailbox,
                                     ask ? limits->rpcbind_port : address_port(&mailbox->route.peer), &why);
    if (outcome != OUTCOME_OK) {
        fail_way(sender, mailbox, outcome, &why);
        return;
    }
    enter(sender, mailbox, ask ? WAY_ASKING : WAY_CONNECTING, limits->connect_ms);
}

static void tell(struct sender *sender, struct sender_mailbox *mailbox)
{
    struct sender_batch *batch = mailbox->batch;
    struct notify_arguments arguments = {.ticket = mailbox->route.ticket,
                                         .rows = batch->rows,
                                         .size = batch->size};
    const struct message_target target = {mailbox->route.program, FILESHARE_CALLBACK_V1, FSCBPROC_NOTIFY};
    struct failure why;
    batch->phase = BATCH_DIALLED;
    batch->result.route = SENDER_DIALBACK;
    touch_dial(sender, mailbox->dial);
    enter(sender, mailbox, WAY_TELLING, sender->options.limits.call_ms);
    enum outcome outcome = dial_call(mailbox->dial, &target, (xdrproc_t)xdr_notify_arguments, &arguments,
                                     batch->size + NOTIFY_OVERHEAD, &why);
    FAULT_POINT("notice-dialled");
    if (outcome != OUTCOME_OK)
        fail_way(sender, mailbox, outcome, &why);
}

static void reverse(struct sender *sender, struct sender_mailbox *mailbox)
{
    struct sender_batch *batch = mailbox->batch;
    batch->phase = BATCH_REVERSED;
    batch->result.route = SENDER_REVERSED;
    batch->tried_reversed = true;
    batch->attempt++;
    list_append(&sender->reversals, &batch->link);
}

/* A batch that waits goes by the first way that is open to it, or waits for one that may come, or is done. */
static void next_route(struct sender *sender, struct sender_mailbox *mailbox)
{
    struct sender_batch *batch = mailbox->batch;
    if (!batch_waits(mailbox))
        return;
    bool may_reverse = can_reverse(mailbox) && !batch->tried_reversed;
    if (mailbox->phase == WAY_READY)
        tell(sender, mailbox);
    else if (mailbox->phase == WAY_RESTING && !batch->tried_dial)
        begin_dial(sender, mailbox);
    else if (is_dialling(mailbox) && !(may_reverse && now_of(sender) >= batch->wait_until))
        return;
    else if (may_reverse)
        reverse(sender, mailbox);
    else if (mailbox->route.program != 0 && !batch->tried_dial)
        begin_dial(sender, mailbox);
    else
        finish_batch(sender, mailbox, batch->result.outcome, 0);
}

/* ---- what the peer does ---- */

static void say_hello(struct sender *sender, struct sender_mailbox *mailbox)
{
    fs_callback_hello_args arguments;
    memcpy(arguments.instance.octets, sender->options.instance.octets, ID_SIZE);
    const struct message_target target = {mailbox->route.program, FILESHARE_CALLBACK_V1, FSCBPROC_HELLO};
    struct failure why;
    enter(sender, mailbox, WAY_PROVING, sender->options.limits.connect_ms);
    enum outcome outcome = dial_call(mailbox->dial, &target, (xdrproc_t)xdr_fs_callback_hello_args,
                                     &arguments, HELLO_SIZE, &why);
    if (outcome != OUTCOME_OK)
        fail_way(sender, mailbox, outcome, &why);
}

static void ask(struct sender *sender, struct sender_mailbox *mailbox)
{
    struct failure why;
    enum outcome outcome = lookup_ask(mailbox->dial, mailbox->route.peer.any.sa_family == AF_INET6,
                                      mailbox->route.program, FILESHARE_CALLBACK_V1, &why);
    if (outcome != OUTCOME_OK)
        fail_way(sender, mailbox, outcome, &why);
}

static void take_port(struct sender *sender, struct sender_mailbox *mailbox, struct record *reply)
{
    uint16_t port = 0;
    struct failure why;
    enum outcome outcome = lookup_answer(reply, mailbox->route.peer.any.sa_family == AF_INET6, &port, &why);
    drop_dial(sender, mailbox);
    if (outcome == OUTCOME_OK)
        outcome = open_dial(sender, mailbox, port, &why);
    if (outcome != OUTCOME_OK) {
        fail_way(sender, mailbox, outcome, &why);
        return;
    }
    enter(sender, mailbox, WAY_CONNECTING, sender->options.limits.connect_ms);
}

static void take_proof(struct sender *sender, struct sender_mailbox *mailbox, struct record *reply)
{
    struct failure why;
    enum outcome outcome = hello_answer(reply, &mailbox->route.proof, &why);
    if (outcome != OUTCOME_OK) {
        fail_way(sender, mailbox, outcome, &why);
        return;
    }
    FAULT_POINT("way-proved");
    mailbox->phase = WAY_READY;
    mailbox->proved = mailbox->settled = mailbox->fresh = true;
    mailbox->failures = 0;
    next_route(sender, mailbox);
}

static void take_acknowledgement(struct sender *sender, struct sender_mailbox *mailbox, struct record *reply)
{
    uint64_t acknowledged = 0;
    struct failure why;
    enum outcome outcome = notify_answer(reply, mailbox->batch->last, &acknowledged, &why);
    if (outcome != OUTCOME_OK && outcome != OUTCOME_DENIED) {
        fail_way(sender, mailbox, outcome, &why);
        return;
    }
    FAULT_POINT("notice-accepted");
    /* DENIED: the right program, but this mailbox is nobody's there any more. */
    mailbox->phase = WAY_READY;
    mailbox->fresh = false;
    finish_batch(sender, mailbox, outcome, acknowledged);
}

/*
 * The connection broke. One that had rested may have been closed by the client
 * for no worse reason than that: the way stays proved, and is tried once more.
 */
static void take_break(struct sender *sender, struct sender_mailbox *mailbox, const struct failure *why)
{
    struct sender_batch *batch = mailbox->batch;
    bool rested = mailbox->phase == WAY_READY ||
                  (mailbox->phase == WAY_TELLING && !mailbox->fresh && !batch->redialled);
    if (!rested) {
        fail_way(sender, mailbox, why->outcome, why);
        return;
    }
    drop_dial(sender, mailbox);
    bool telling = mailbox->phase == WAY_TELLING;
    mailbox->phase = WAY_RESTING;
    mailbox->retry_at = in_ms(sender, backoff_after(sender->options.limits.reprove_first_ms,
                                                    sender->options.limits.reprove_last_ms, 0));
    if (telling) {
        batch->redialled = true;
        batch->phase = BATCH_WAITS;
        batch->wait_until = in_ms(sender, sender->options.limits.prove_wait_ms);
        next_route(sender, mailbox);
    }
}

static void take_reply(struct sender *sender, struct sender_mailbox *mailbox, struct record *reply)
{
    switch (mailbox->phase) {
    case WAY_ASKING: take_port(sender, mailbox, reply); break;
    case WAY_PROVING: take_proof(sender, mailbox, reply); break;
    case WAY_TELLING: take_acknowledgement(sender, mailbox, reply); break;
    default:
        record_free(reply);
        assert(!"no call was out");
        break;
    }
}

void way_step(struct sender *sender, struct sender_mailbox *mailbox, uint32_t events)
{
    struct record *reply = NULL;
    struct failure why = {.outcome = OUTCOME_UNREACHABLE, .text = ""};
    switch (dial_step(mailbox->dial, events, &reply, &why)) {
    case DIAL_PENDING: break;
    case DIAL_CONNECTED:
        if (mailbox->phase == WAY_ASKING)
            ask(sender, mailbox);
        else
            say_hello(sender, mailbox);
        break;
    case DIAL_ANSWERED: take_reply(sender, mailbox, reply); break;
    case DIAL_BROKEN: take_break(sender, mailbox, &why); break;
    }
    reschedule(sender, mailbox);
}

void way_due(struct sender *sender, struct sender_mailbox *mailbox)
{
    int64_t now = now_of(sender);
    if ((is_dialling(mailbox) || mailbox->phase == WAY_TELLING) && now >= mailbox->step_until) {
        struct failure why;
        failure_set(&why, OUTCOME_TIMEOUT, "no answer in time");
        fail_way(sender, mailbox, OUTCOME_TIMEOUT, &why);
    } else if ((mailbox->phase == WAY_LATER || mailbox->phase == WAY_RESTING) && now >= mailbox->retry_at)
        begin_dial(sender, mailbox);
    next_route(sender, mailbox);
    reschedule(sender, mailbox);
}

/* ---- what others do ---- */

void way_attend(struct sender *sender, struct sender_mailbox *mailbox)
{
    if (mailbox->phase == WAY_LATER && now_of(sender) >= mailbox->retry_at)
        begin_dial(sender, mailbox);
    next_route(sender, mailbox);
    reschedule(sender, mailbox);
}

static bool same_program(const struct sender_route *a, const struct sender_route *b)
{
    return a->program == b->program && a->ask_rpcbind == b->ask_rpcbind &&
           address_same_host(&a->peer, &b->peer) && address_port(&a->peer) == address_port(&b->peer) &&
           id_equal_secret(&a->proof, &b->proof) && id_equal_secret(&a->ticket, &b->ticket);
}

/* A batch whose way was taken from under it begins anew. */
static void restart_batch(struct sender *sender, struct sender_batch *batch)
{
    list_remove(&batch->link);
    batch->phase = BATCH_WAITS;
    batch->attempt++;
    batch->tried_dial = batch->tried_reversed = batch->redialled = false;
    batch->wait_until = in_ms(sender, sender->options.limits.prove_wait_ms);
    batch->result.outcome = OUTCOME_UNREACHABLE;
}

void way_set_route(struct sender *sender, struct sender_mailbox *mailbox, const struct sender_route *route)
{
    struct sender_batch *batch = mailbox->batch;
    bool same = same_program(&mailbox->route, route);
    bool moved = mailbox->route.connection != route->connection;
    mailbox->in_vain = mailbox->in_vain && !moved;
    if (batch && (batch->phase == BATCH_WAITS || (batch->phase == BATCH_DIALLED && !same) ||
                  (batch->phase == BATCH_REVERSED && moved)))
        restart_batch(sender, batch);
    mailboxes_connect(&sender->mailboxes, mailbox, route->connection);
    mailbox->route = *route;
    if (same && (mailbox->proved || is_dialling(mailbox)))
        return;
    drop_dial(sender, mailbox);
    mailbox->proved = false;
    mailbox->settled = route->program == 0;
    mailbox->failures = 0;
    mailbox->phase = route->program == 0 ? WAY_NONE : WAY_LATER;
    mailbox->retry_at = now_of(sender);
    mailbox->prove_until = in_ms(sender, sender->options.limits.prove_wait_ms);
}

void way_disconnect(struct sender *sender, struct sender_mailbox *mailbox)
{
    /* A reversed call that is out is answered by the server of the connection. */
    mailboxes_connect(&sender->mailboxes, mailbox, 0);
}

void way_doubt(struct sender *sender, struct sender_mailbox *mailbox)
{
    if (mailbox->phase == WAY_TELLING)
        dial_doubt(mailbox->dial, sender->options.limits.connect_ms); /* one call at a time */
    else if (mailbox->phase == WAY_READY)
        say_hello(sender, mailbox);
    reschedule(sender, mailbox);
}

/* While an open one is in doubt it counts. */
bool way_is_open(const struct sender_mailbox *mailbox)
{
    return mailbox->phase == WAY_READY || mailbox->phase == WAY_TELLING ||
           (mailbox->phase == WAY_PROVING && mailbox->proved);
}

void way_reversed(struct sender *sender, struct sender_mailbox *mailbox, const struct reversed_call *answer)
{
    struct sender_batch *batch = mailbox->batch;
    if (!batch || batch->phase != BATCH_REVERSED || batch->attempt != answer->attempt)
        return;
    mailbox->in_vain = answer->outcome == OUTCOME_TIMEOUT || answer->outcome == OUTCOME_PROTOCOL;
    if (answer->outcome == OUTCOME_OK && answer->acknowledged <= batch->last)
        finish_batch(sender, mailbox, OUTCOME_OK, answer->acknowledged);
    else if (answer->outcome == OUTCOME_DENIED)
        finish_batch(sender, mailbox, OUTCOME_DENIED, 0);
    else {
        batch->phase = BATCH_WAITS;
        batch->result.outcome = answer->outcome == OUTCOME_OK ? OUTCOME_PROTOCOL : answer->outcome;
        next_route(sender, mailbox);
    }
    reschedule(sender, mailbox);
}

void way_end(struct sender *sender, struct sender_mailbox *mailbox, enum outcome outcome)
{
    if (mailbox->batch)
        finish_batch(sender, mailbox, outcome, 0);
    drop_dial(sender, mailbox);
    mailbox->phase = WAY_NONE;
    mailbox->proved = false;
    deadlines_clear(&sender->deadlines, &mailbox->due);
}

/* Reversed calls that come to nothing are made on, but the client is told to ask as well. */
enum sender_state way_state(const struct sender *sender, const struct sender_mailbox *mailbox)
{
    if (mailbox->proved)
        return SENDER_DIALBACK;
    bool proving = mailbox->route.program != 0 && !mailbox->settled;
    if (proving && !(can_reverse(mailbox) && now_of(sender) >= mailbox->prove_until))
        return SENDER_PROVING;
    return can_reverse(mailbox) && !mailbox->in_vain ? SENDER_REVERSED : SENDER_NONE;
}

bool way_leads_nowhere(const struct sender_mailbox *mailbox)
{
    bool idle = mailbox->phase == WAY_NONE || mailbox->phase == WAY_RESTING || mailbox->phase == WAY_LATER;
    return idle && !mailbox->batch && !can_reverse(mailbox);
}
