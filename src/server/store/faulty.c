#include "server/store/store.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct faulty {
    struct store store; /* first */
    struct store *inner;
    struct store_faulty_plan plan;
    _Atomic unsigned acts;
};

/* Its own, so that reads are faulty too. */
struct store_read {
    struct faulty *faulty;
    struct store_read *inner;
};

static struct faulty *faulty_of(struct store *store)
{
    return (struct faulty *)(void *)store;
}

/* What happens to this act. */
enum fault { FAULT_NONE, FAULT_BEFORE, FAULT_AFTER };

static bool is_due(const struct store_faulty_plan *plan, uint32_t number)
{
    const uint32_t golden = 2654435761U; /* 2^32 over the golden ratio: multiples of it spread evenly */
    if (plan->every == 0)
        return false;
    return (plan->by_chance ? number * golden >> 8 : number) % plan->every == 0;
}

static enum fault faulty_next(struct faulty *faulty)
{
    if (faulty->plan.delay_ms > 0) {
        struct timespec delay = {faulty->plan.delay_ms / 1000,
                                 (long)(faulty->plan.delay_ms % 1000) * 1000000};
        nanosleep(&delay, NULL);
    }
    unsigned number = atomic_fetch_add(&faulty->acts, 1) + 1;
    if (!is_due(&faulty->plan, number))
        return FAULT_NONE;
    return faulty->plan.after ? FAULT_AFTER : FAULT_BEFORE;
}

static enum outcome faulty_end(enum fault fault, enum outcome outcome, struct failure *why)
{
    if (fault != FAULT_AFTER)
        return outcome;
    return failure_set(why, OUTCOME_UNKNOWN, "made to fail after the act");
}

/*
 * An act of the inner store, with its fault before or after it. With UNKNOWN
 * the outputs may have been written: whoever looks at them has a fault to find.
 */
#define FAULTY(store_, act_, ...)                                                                    \
    ({                                                                                               \
        struct faulty *faulty_ = faulty_of(store_);                                                  \
        enum fault fault_ = faulty_next(faulty_);                                                    \
        fault_ == FAULT_BEFORE                                                                       \
            ? failure_set(why, OUTCOME_UNAVAILABLE, "made to fail before the act")                   \
            : faulty_end(fault_, faulty_->inner->acts->act_(faulty_->inner, __VA_ARGS__, why), why); \
    })

static void faulty_close(struct store *store)
{
    struct faulty *faulty = faulty_of(store);
    faulty->inner->acts->close(faulty->inner);
    free(faulty);
}

static struct id faulty_instance(struct store *store)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->acts->instance(inner);
}

static unsigned faulty_capabilities(struct store *store)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->acts->capabilities(inner);
}

static int faulty_event_fd(struct store *store)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->acts->event_fd(inner);
}

static void faulty_on_events(struct store *store, void (*told)(void *context), void *context)
{
    struct store *inner = faulty_of(store)->inner;
    inner->acts->on_events(inner, told, context);
}

static enum outcome faulty_read_open(struct store *store, const char *name, const struct id *version,
                                     struct store_read **out, struct store_entry *entry, struct failure *why)
{
    struct faulty *faulty = faulty_of(store);
    struct store_read *read = malloc(sizeof *read);
    if (!read)
        return failure_set(why, OUTCOME_NOMEM, "no memory to read a file");
    *read = (struct store_read){.faulty = faulty};
    enum outcome outcome = FAULTY(store, read_open, name, version, &read->inner, entry);
    if (outcome == OUTCOME_OK) {
        *out = read;
        return OUTCOME_OK;
    }
    if (read->inner)
        faulty->inner->acts->read_close(read->inner);
    free(read);
    return outcome;
}

/* The inner store's reads become ours. */
struct faulty_take {
    struct faulty *faulty;
    const struct store_read_many *many;
};

static bool faulty_take(void *context, const struct store_found *found)
{
    struct faulty_take *take = context;
    if (found->outcome != OUTCOME_OK)
        return take->many->take(take->many->context, found);
    struct store_read *read = malloc(sizeof *read);
    if (!read)
        return false;
    *read = (struct store_read){take->faulty, found->read};
    struct store_found ours = *found;
    ours.read = read;
    if (take->many->take(take->many->context, &ours))
        return true;
    free(read);
    return false;
}

static enum outcome faulty_read_open_many(struct store *store, const struct store_read_many *many,
                                          struct failure *why)
{
    struct faulty_take take = {faulty_of(store), many};
    struct store_read_many ours = *many;
    ours.take = faulty_take;
    ours.context = &take;
    return FAULTY(store, read_open_many, &ours);
}

static enum outcome faulty_read_at(struct store_read *read, uint64_t offset, void *bytes, size_t count,
                                   struct failure *why)
{
    enum fault fault = faulty_next(read->faulty);
    if (fault == FAULT_BEFORE)
        return failure_set(why, OUTCOME_UNAVAILABLE, "made to fail before the act");
    return faulty_end(fault, read->faulty->inner->acts->read_at(read->inner, offset, bytes, count, why), why);
}

static void faulty_read_close(struct store_read *read)
{
    if (!read)
        return;
    read->faulty->inner->acts->read_close(read->inner);
    free(read);
}

static enum outcome faulty_upload_begin(struct store *store, const struct store_caller *caller,
                                        const struct store_upload_begin *begin,
                                        struct store_upload_state *out, struct failure *why)
{
    return FAULTY(store, upload_begin, caller, begin, out);
}

static enum outcome faulty_upload_write(struct store *store, const struct store_caller *caller,
                                        const struct id *upload, uint64_t offset, const void *bytes,
                                        size_t count, uint64_t *held, struct failure *why)
{
    return FAULTY(store, upload_write, caller, upload, offset, bytes, count, held);
}

static enum outcome faulty_upload_abort(struct store *store, const struct store_caller *caller,
                                        const struct id *upload, struct failure *why)
{
    return FAULTY(store, upload_abort, caller, upload);
}

static enum outcome faulty_publish(struct store *store, const struct store_caller *caller,
                                   const struct store_publish *publish, struct store_entry *out,
                                   struct failure *why)
{
    return FAULTY(store, publish, caller, publish, out);
}

static enum outcome faulty_put(struct store *store, const struct store_caller *caller,
                               const struct store_put *put, struct store_entry *out, struct failure *why)
{
    return FAULTY(store, put, caller, put, out);
}

static enum outcome faulty_put_many(struct store *store, const struct store_caller *caller,
                                    const struct store_put *puts, size_t count,
                                    struct store_put_answer *answers, struct failure *why)
{
    return FAULTY(store, put_many, caller, puts, count, answers);
}

static enum outcome faulty_stat(struct store *store, const char *name, struct store_entry *out,
                                struct failure *why)
{
    return FAULTY(store, stat, name, out);
}

static enum outcome faulty_list(struct store *store, const struct store_list *list, struct store_page *out,
                                struct failure *why)
{
    return FAULTY(store, list, list, out);
}

static enum outcome faulty_remove(struct store *store, const struct store_caller *caller, const struct id *op,
                                  const char *name, const struct id *expected, struct failure *why)
{
    return FAULTY(store, remove, caller, op, name, expected);
}

static enum outcome faulty_rename(struct store *store, const struct store_caller *caller,
                                  const struct store_rename *rename, struct store_entry *out,
                                  struct failure *why)
{
    return FAULTY(store, rename, caller, rename, out);
}

static enum outcome faulty_interest_add(struct store *store, const struct store_caller *caller,
                                        const struct store_interest_add *add, struct store_entry *entries,
                                        size_t capacity, struct store_registration *out, struct failure *why)
{
    return FAULTY(store, interest_add, caller, add, entries, capacity, out);
}

static enum outcome faulty_interest_renew(struct store *store, const struct store_caller *caller,
                                          const struct id *op, const struct id *mailbox,
                                          const struct id *interest, uint32_t seconds, uint32_t *seconds_left,
                                          struct failure *why)
{
    return FAULTY(store, interest_renew, caller, op, mailbox, interest, seconds, seconds_left);
}

static enum outcome faulty_interest_drop(struct store *store, const struct store_caller *caller,
                                         const struct store_interest_drop *drop, struct store_cancelled *rows,
                                         size_t capacity, size_t *count, bool *more, struct failure *why)
{
    return FAULTY(store, interest_drop, caller, drop, rows, capacity, count, more);
}

static enum outcome faulty_interest_list(struct store *store, const struct id *mailbox,
                                         const struct id *cursor, struct store_interest *rows,
                                         size_t capacity, size_t *count, bool *more, struct failure *why)
{
    return FAULTY(store, interest_list, mailbox, cursor, rows, capacity, count, more);
}

static enum outcome faulty_mailbox_route(struct store *store, const struct store_caller *caller,
                                         const struct id *mailbox, const void *route, size_t size,
                                         struct store_mailbox *out, struct failure *why)
{
    return FAULTY(store, mailbox_route, caller, mailbox, route, size, out);
}

static enum outcome faulty_mailbox_forget(struct store *store, const struct id *mailbox, struct failure *why)
{
    return FAULTY(store, mailbox_forget, mailbox);
}

static enum outcome faulty_mailbox_events(struct store *store, const struct id *mailbox, uint64_t since,
                                          struct store_event *events, size_t capacity, size_t *count,
                                          bool *more, struct failure *why)
{
    return FAULTY(store, mailbox_events, mailbox, since, events, capacity, count, more);
}

static enum outcome faulty_fan_out(struct store *store, size_t limit, bool *left, struct failure *why)
{
    return FAULTY(store, fan_out, limit, left);
}

static enum outcome faulty_pending_claim(struct store *store, unsigned lease_seconds, struct store_claim *out,
                                         struct store_event *events, size_t capacity, int64_t *next_due,
                                         struct failure *why)
{
    return FAULTY(store, pending_claim, lease_seconds, out, events, capacity, next_due);
}

static enum outcome faulty_pending_done(struct store *store, const struct id *mailbox, uint64_t token,
                                        uint64_t acknowledged, struct failure *why)
{
    return FAULTY(store, pending_done, mailbox, token, acknowledged);
}

static enum outcome faulty_pending_done_many(struct store *store, const struct store_done *dones,
                                             size_t count, struct failure *why)
{
    return FAULTY(store, pending_done_many, dones, count);
}

static enum outcome faulty_pending_retry(struct store *store, const struct id *mailbox, uint64_t token,
                                         uint32_t milliseconds, struct failure *why)
{
    return FAULTY(store, pending_retry, mailbox, token, milliseconds);
}

static enum outcome faulty_sweep(struct store *store, struct store_sweep *out, bool *left, int64_t *next_due,
                                 struct failure *why)
{
    return FAULTY(store, sweep, out, left, next_due);
}

static enum outcome faulty_health(struct store *store, struct store_health *out, struct failure *why)
{
    return FAULTY(store, health, out);
}

static enum outcome faulty_audit(struct store *store, bool deep, struct store_audit *out, struct failure *why)
{
    return FAULTY(store, audit, deep, out);
}

static enum outcome faulty_repair(struct store *store, bool deep, struct store_repair *out,
                                  struct failure *why)
{
    return FAULTY(store, repair, deep, out);
}

static enum outcome faulty_backup(struct store *store, const char *target, bool copy,
                                  struct store_backup *out, struct failure *why)
{
    return FAULTY(store, backup, target, copy, out);
}

static const struct store_acts faulty_acts = {
    .close = faulty_close,
    .instance = faulty_instance,
    .capabilities = faulty_capabilities,
    .upload_begin = faulty_upload_begin,
    .upload_write = faulty_upload_write,
    .upload_abort = faulty_upload_abort,
    .publish = faulty_publish,
    .put = faulty_put,
    .put_many = faulty_put_many,
    .stat = faulty_stat,
    .list = faulty_list,
    .remove = faulty_remove,
    .rename = faulty_rename,
    .read_open = faulty_read_open,
    .read_open_many = faulty_read_open_many,
    .read_at = faulty_read_at,
    .read_close = faulty_read_close,
    .interest_add = faulty_interest_add,
    .interest_renew = faulty_interest_renew,
    .interest_drop = faulty_interest_drop,
    .interest_list = faulty_interest_list,
    .mailbox_route = faulty_mailbox_route,
    .mailbox_forget = faulty_mailbox_forget,
    .mailbox_events = faulty_mailbox_events,
    .fan_out = faulty_fan_out,
    .pending_claim = faulty_pending_claim,
    .pending_done = faulty_pending_done,
    .pending_done_many = faulty_pending_done_many,
    .pending_retry = faulty_pending_retry,
    .event_fd = faulty_event_fd,
    .on_events = faulty_on_events,
    .sweep = faulty_sweep,
    .health = faulty_health,
    .audit = faulty_audit,
    .repair = faulty_repair,
    .backup = faulty_backup,
};

enum outcome store_faulty_new(struct store *inner, const struct store_faulty_plan *plan, struct store **out,
                              struct failure *why)
{
    struct faulty *faulty = calloc(1, sizeof *faulty);
    if (!faulty)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a faulty store");
    faulty->store.acts = &faulty_acts;
    faulty->inner = inner;
    faulty->plan = *plan;
    *out = &faulty->store;
    return OUTCOME_OK;
}
