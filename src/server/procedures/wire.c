#include "server/procedures/wire.h"

#include "base/glob.h"
#include "base/log.h"
#include "callback/event.h"

#include <inttypes.h>
#include <string.h>

struct service *wire_service(struct rpc_call *call)
{
    return rpc_call_context(call);
}

struct store_caller wire_caller(const struct rpc_call *call)
{
    const struct rpc_principal *principal = rpc_call_principal(call);

    return (struct store_caller){.principal = principal->text, .superior = principal->superior};
}

fs_status wire_status(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK:
        return FS_OK;
    case OUTCOME_EXISTS:
        return FS_EXISTS;
    case OUTCOME_ABSENT:
        return FS_ABSENT;
    case OUTCOME_CHANGED:
        return FS_CHANGED;
    case OUTCOME_EXPIRED:
        return FS_LAPSED;
    case OUTCOME_STALE:
        return FS_STALE;
    case OUTCOME_OFFSET:
        return FS_OFFSET;
    case OUTCOME_DENIED:
        return FS_DENIED;
    case OUTCOME_INVALID:
        return FS_INVALID;
    case OUTCOME_NOSPACE:
        return FS_NOSPACE;
    case OUTCOME_LIMIT:
        return FS_LIMIT;
    case OUTCOME_CORRUPT:
        return FS_CORRUPT;
    case OUTCOME_HELD:
        return FS_HELD;
    case OUTCOME_UNAVAILABLE:
    case OUTCOME_NOMEM:
    case OUTCOME_STOPPED:
        return FS_UNAVAILABLE;
    case OUTCOME_UNKNOWN:
        return FS_UNKNOWN;
    case OUTCOME_TIMEOUT:
    case OUTCOME_UNREACHABLE:
    case OUTCOME_PROTOCOL:
    case OUTCOME_LOCAL:
    case OUTCOME_FAULT:
        break;
    }
    return FS_FAULT;
}

/*
 * Whether the log is to say it. That a disk is full or fails is told once, not
 * call by call. NOSPACE may be just one file too large: upkeep looks at the disk.
 */
static bool is_worth_a_line(struct service *service, fs_status status)
{
    static struct log_limit faults;

    if (status == FS_UNKNOWN || status == FS_UNAVAILABLE)
        return service_trouble(service);
    return (status == FS_FAULT || status == FS_CORRUPT) && log_allowed(&faults, 30);
}

fs_text wire_text(struct rpc_call *call, const char *text)
{
    size_t count = strnlen(text, FS_TEXT_MAX);
    char *copy = count > 0 ? rpc_call_alloc(call, count) : NULL;

    if (!copy)
        return (fs_text){0};
    memcpy(copy, text, count);
    return (fs_text){.fs_text_len = (u_int)count, .fs_text_val = copy};
}

fs_status wire_failed(struct rpc_call *call, enum outcome outcome, const struct failure *why, fs_text *reason)
{
    fs_status status = wire_status(outcome);

    if (is_worth_a_line(wire_service(call), status))
        log_error("%s: %s: %s", rpc_call_procedure(call)->label, outcome_name(outcome), why->text);
    *reason = wire_text(call, why->text);
    return status;
}

enum outcome wire_name(const fs_name *wire, char out[NAME_BUFFER], struct failure *why)
{
    return name_check(wire->fs_name_val, wire->fs_name_len, out, why);
}

/* Bytes that are no name, but must be text all the same. */
static enum outcome copy_bytes(const fs_name *wire, const char *what, char out[NAME_BUFFER], struct failure *why)
{
    if (wire->fs_name_len > NAME_SIZE_MAX)
        return failure_set(why, OUTCOME_INVALID, "%s is longer than %d bytes", what, NAME_SIZE_MAX);
    if (wire->fs_name_len > 0 && memchr(wire->fs_name_val, '\0', wire->fs_name_len))
        return failure_set(why, OUTCOME_INVALID, "%s holds a NUL", what);
    if (wire->fs_name_len > 0)
        memcpy(out, wire->fs_name_val, wire->fs_name_len);
    out[wire->fs_name_len] = '\0';
    return OUTCOME_OK;
}

enum outcome wire_glob(const fs_name *wire, char out[NAME_BUFFER], struct failure *why)
{
    struct glob *glob = NULL;
    enum outcome outcome = copy_bytes(wire, "the glob", out, why);

    if (outcome != OUTCOME_OK || out[0] == '\0')
        return outcome;
    outcome = glob_new(out, &glob, why);
    glob_free(glob);
    return outcome;
}

enum outcome wire_cursor(const fs_name *wire, char out[NAME_BUFFER], struct failure *why)
{
    return copy_bytes(wire, "the cursor", out, why);
}

struct id wire_optional_id(const fs_id *wire)
{
    struct id id;

    memcpy(id.octets, wire->octets, sizeof id.octets);
    return id;
}

enum outcome wire_id(const fs_id *wire, const char *what, struct id *out, struct failure *why)
{
    struct id id = wire_optional_id(wire);

    if (id_is_none(&id))
        return failure_set(why, OUTCOME_INVALID, "the %s is all zeros: choose 16 random bytes", what);
    *out = id;
    return OUTCOME_OK;
}

fs_id wire_id_out(const struct id *id)
{
    fs_id wire;

    memcpy(wire.octets, id->octets, sizeof wire.octets);
    return wire;
}

enum outcome wire_time(const fs_time *wire, int64_t *out, struct failure *why)
{
    const int64_t last = INT64_MAX / CLOCK_SECOND - 1;

    if (wire->nanoseconds >= CLOCK_SECOND || wire->seconds > last || wire->seconds < -last)
        return failure_set(why, OUTCOME_INVALID, "a time of %" PRId64 " s and %u ns cannot be", (int64_t)wire->seconds,
                           wire->nanoseconds);
    *out = event_time_from_wire(*wire);
    return OUTCOME_OK;
}

enum outcome wire_digest(const fs_digest *wire, bool *given, struct digest_value *out, struct failure *why)
{
    if (wire->fs_digest_len != 0 && wire->fs_digest_len != DIGEST_SIZE)
        return failure_set(why, OUTCOME_INVALID, "a digest has %d bytes, or none; not %u", DIGEST_SIZE,
                           wire->fs_digest_len);
    *given = wire->fs_digest_len != 0;
    if (*given)
        memcpy(out->octets, wire->fs_digest_val, DIGEST_SIZE);
    return OUTCOME_OK;
}

enum outcome wire_condition(fs_policy policy, const fs_id *expected, struct store_condition *out,
                            struct failure *why)
{
    if (policy != FS_FAIL && policy != FS_REPLACE)
        return failure_set(why, OUTCOME_INVALID, "policy %d is neither FS_FAIL nor FS_REPLACE", (int)policy);
    *out = (struct store_condition){.replace = policy == FS_REPLACE, .expected = wire_optional_id(expected)};
    return OUTCOME_OK;
}

enum outcome wire_put(const fs_upload_args *wire, char name[NAME_BUFFER], struct store_put *out,
                      struct failure *why)
{
    struct store_put put = {
        .name = name,
        .content = wire->content.fs_data_val,
        .size = wire->content.fs_data_len,
    };
    enum outcome outcome = wire_id(&wire->op, "op id", &put.op, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_name(&wire->name, name, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_condition(wire->policy, &wire->expected, &put.condition, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_digest(&wire->digest, &put.check_digest, &put.digest, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_time(&wire->mtime, &put.mtime, why);
    if (outcome == OUTCOME_OK)
        *out = put;
    return outcome;
}

enum outcome wire_room(struct rpc_call *call, size_t count, size_t size, void **out, struct failure *why)
{
    void *room = rpc_call_alloc(call, count * size + 1);

    if (!room)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the reply");
    *out = room;
    return OUTCOME_OK;
}

enum outcome wire_entry_out(struct rpc_call *call, const struct store_entry *entry, fs_entry *out,
                            struct failure *why)
{
    size_t name_size = strlen(entry->name), owner_size = strlen(entry->owner);
    /* No more than the wire needs: a page has a thousand. */
    char *copy = rpc_call_alloc(call, DIGEST_SIZE + name_size + owner_size);

    if (!copy)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the reply");
    char *name = copy + DIGEST_SIZE, *owner = name + name_size;
    memcpy(copy, entry->digest.octets, DIGEST_SIZE);
    memcpy(name, entry->name, name_size);
    memcpy(owner, entry->owner, owner_size);
    *out = (fs_entry){
        .name = {.fs_name_len = (u_int)name_size, .fs_name_val = name},
        .size = entry->size,
        .mtime = event_time_to_wire(entry->mtime),
        .arrival = event_time_to_wire(entry->arrival),
        .owner = {.fs_text_len = (u_int)owner_size, .fs_text_val = owner},
        .digest = {.fs_digest_len = DIGEST_SIZE, .fs_digest_val = copy},
        .revision = wire_id_out(&entry->version),
    };
    return OUTCOME_OK;
}

fs_entry wire_put_out(const struct rpc_call *call, const struct store_put *put,
                      const struct store_put_answer *answer)
{
    const char *owner = rpc_call_principal(call)->text;

    /* Wire structs point to char that is not const; encoding only reads. */
    return (fs_entry){
        .name = {.fs_name_len = (u_int)strlen(put->name), .fs_name_val = (char *)(uintptr_t)put->name},
        .size = put->size,
        .mtime = event_time_to_wire(put->mtime),
        .arrival = event_time_to_wire(answer->arrival),
        .owner = {.fs_text_len = (u_int)strlen(owner), .fs_text_val = (char *)(uintptr_t)owner},
        .digest = {.fs_digest_len = DIGEST_SIZE, .fs_digest_val = (char *)(uintptr_t)answer->digest.octets},
        .revision = wire_id_out(&put->op),
    };
}

enum outcome wire_event_out(struct rpc_call *call, const struct store_event *event, fs_event *out,
                            struct failure *why)
{
    struct event *copy = rpc_call_alloc(call, sizeof *copy);
    fs_entry *room = rpc_call_alloc(call, sizeof *room);

    if (!copy || !room)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the reply");
    delivery_event(event, copy);
    event_to_wire(copy, room, out);
    return OUTCOME_OK;
}

enum outcome wire_route_out(enum sender_state state, fs_route *out, struct failure *why)
{
    switch (state) {
    case SENDER_NONE:
        *out = FS_ROUTE_NONE;
        return OUTCOME_OK;
    case SENDER_PROVING:
        *out = FS_ROUTE_PROVING;
        return OUTCOME_OK;
    case SENDER_DIALBACK:
        *out = FS_ROUTE_DIALBACK;
        return OUTCOME_OK;
    case SENDER_REVERSED:
        *out = FS_ROUTE_REVERSED;
        return OUTCOME_OK;
    }
    return failure_set(why, OUTCOME_FAULT, "a route of kind %d", (int)state);
}

size_t wire_entry_size(const struct store_entry *entry)
{
    /* Counts and padding of three opaques, the digest, two times, size, version. */
    enum { FIXED = 3 * 8 + 20 + 2 * 12 + 8 + 16 };

    return FIXED + strlen(entry->name) + strlen(entry->owner);
}

/* Outbox rows that a publisher turns into events before it answers; upkeep does the rest. */
enum { FAN_OUT_AT_ONCE = 8 };

void wire_spread_news(struct service *service)
{
    struct failure why = {0};
    bool left = false;
    enum outcome outcome = service->store->acts->fan_out(service->store, FAN_OUT_AT_ONCE, &left, &why);

    /* The upkeep tries what failed again, and tells of the trouble. */
    if (left || outcome != OUTCOME_OK)
        service_poke(service);
}

enum outcome wire_unanswered(enum outcome outcome)
{
    return outcome == OUTCOME_NOMEM ? OUTCOME_UNKNOWN : outcome;
}

bool_t wire_answer_entry(struct rpc_call *call, enum outcome outcome, const struct store_entry *entry,
                         struct failure *why, fs_entry_res *result)
{
    memset(result, 0, sizeof *result);
    if (outcome == OUTCOME_OK)
        outcome = wire_unanswered(wire_entry_out(call, entry, &result->fs_entry_res_u.entry, why));
    if (outcome != OUTCOME_OK)
        result->status = wire_failed(call, outcome, why, &result->fs_entry_res_u.failure.reason);
    return TRUE;
}

bool_t wire_answer_done(struct rpc_call *call, enum outcome outcome, const struct failure *why,
                        fs_done_res *result)
{
    memset(result, 0, sizeof *result);
    if (outcome != OUTCOME_OK)
        result->status = wire_failed(call, outcome, why, &result->reason);
    return TRUE;
}
