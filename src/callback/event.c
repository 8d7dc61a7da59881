#include "callback/event.h"

#include <limits.h>
#include <string.h>

enum { NS_PER_SECOND = 1000000000 };

fs_time event_time_to_wire(int64_t ns)
{
    int64_t seconds = ns / NS_PER_SECOND, rest = ns % NS_PER_SECOND;
    /* C rounds towards zero, the wire's nanoseconds are never negative. */
    if (rest < 0) {
        rest += NS_PER_SECOND;
        seconds--;
    }
    return (fs_time){.seconds = seconds, .nanoseconds = (u_int)rest};
}

int64_t event_time_from_wire(fs_time time)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)time.seconds, (int64_t)NS_PER_SECOND, &ns) ||
        __builtin_add_overflow(ns, (int64_t)time.nanoseconds, &ns))
        return time.seconds < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

static fs_id id_to_wire(const struct id *id)
{
    fs_id wire;
    memcpy(wire.octets, id->octets, sizeof wire.octets);
    return wire;
}

static struct id id_from_wire(const fs_id *wire)
{
    struct id id;
    memcpy(id.octets, wire->octets, sizeof id.octets);
    return id;
}

/* Wire structs point to char that is not const; encoding only reads. */
static char *bytes_of(const void *bytes)
{
    char *plain;
    memcpy(&plain, &bytes, sizeof plain);
    return plain;
}

void event_entry_to_wire(const struct event_entry *entry, fs_entry *out)
{
    *out = (fs_entry){
        .name = {.fs_name_len = (u_int)strlen(entry->name), .fs_name_val = bytes_of(entry->name)},
        .size = entry->size,
        .mtime = event_time_to_wire(entry->mtime),
        .arrival = event_time_to_wire(entry->arrival),
        .owner = {.fs_text_len = (u_int)strlen(entry->owner), .fs_text_val = bytes_of(entry->owner)},
        .digest = {.fs_digest_len = DIGEST_SIZE, .fs_digest_val = bytes_of(entry->digest.octets)},
        .revision = id_to_wire(&entry->version),
    };
}

void event_to_wire(const struct event *event, fs_entry *room, fs_event *out)
{
    static const fs_event_kind kinds[] =
        {[EVENT_ARRIVED] = FS_ARRIVED, [EVENT_EXPIRED] = FS_EXPIRED, [EVENT_DROPPED] = FS_DROPPED};
    *out = (fs_event){
        .number = event->number,
        .kind = kinds[event->kind],
        .interest = id_to_wire(&event->interest),
        .happened = event_time_to_wire(event->happened),
        .pattern = {.fs_name_len = (u_int)strlen(event->pattern), .fs_name_val = bytes_of(event->pattern)},
        .dropped = event->dropped,
    };
    if (event->kind == EVENT_ARRIVED) {
        event_entry_to_wire(&event->entry, room);
        out->entry = room;
    }
}

/* A text of the peer's into a buffer of ours, NUL-ended. False if it is too long or holds a NUL. */
static bool copy_text(const char *bytes, size_t count, char *out, size_t size)
{
    if (count >= size || (count > 0 && memchr(bytes, '\0', count)))
        return false;
    if (count > 0)
        memcpy(out, bytes, count);
    out[count] = '\0';
    return true;
}

static bool time_is_sound(fs_time time)
{
    return time.nanoseconds < NS_PER_SECOND;
}

enum outcome event_entry_from_wire(const fs_entry *wire, struct event_entry *out, struct failure *why)
{
    struct id version = id_from_wire(&wire->revision);
    char owner[EVENT_PRINCIPAL_SIZE];
    struct failure reason;
    if (!copy_text(wire->owner.fs_text_val, wire->owner.fs_text_len, owner, sizeof owner))
        return failure_set(why, OUTCOME_PROTOCOL,
                           "an entry was received whose owner is no text of at most %d bytes",
                           EVENT_PRINCIPAL_SIZE - 1);
    if (!time_is_sound(wire->mtime) || !time_is_sound(wire->arrival))
        return failure_set(why, OUTCOME_PROTOCOL,
                           "an entry was received with a time of 1,000,000,000 ns or more");
    if (wire->digest.fs_digest_len != DIGEST_SIZE)
        return failure_set(why, OUTCOME_PROTOCOL, "an entry was received with a digest of %u bytes",
                           wire->digest.fs_digest_len);
    if (id_is_none(&version))
        return failure_set(why, OUTCOME_PROTOCOL, "an entry was received without a version");
    /* The last that can fail: up to here nothing is touched. Beyond its NUL a text is left as it was: a page has a thousand. */
    if (name_check(wire->name.fs_name_val, wire->name.fs_name_len, out->name, &reason) != OUTCOME_OK)
        return failure_set(why, OUTCOME_PROTOCOL, "an entry's name was received that can't be one: %s",
                           reason.text);
    memcpy(out->owner, owner, wire->owner.fs_text_len + 1);
    out->size = wire->size;
    out->mtime = event_time_from_wire(wire->mtime);
    out->arrival = event_time_from_wire(wire->arrival);
    memcpy(out->digest.octets, wire->digest.fs_digest_val, DIGEST_SIZE);
    out->version = version;
    return OUTCOME_OK;
}

enum outcome event_from_wire(const fs_event *wire, struct event *out, struct failure *why)
{
    struct event event = {
        .number = wire->number,
        .interest = id_from_wire(&wire->interest),
        .happened = event_time_from_wire(wire->happened),
        .dropped = wire->dropped,
    };
    switch (wire->kind) {
    case FS_ARRIVED: event.kind = EVENT_ARRIVED; break;
    case FS_EXPIRED: event.kind = EVENT_EXPIRED; break;
    case FS_DROPPED: event.kind = EVENT_DROPPED; break;
    default:
        return failure_set(why, OUTCOME_PROTOCOL, "an event of unknown kind %d was received",
                           (int)wire->kind);
    }
    if (event.number == 0)
        return failure_set(why, OUTCOME_PROTOCOL, "an event without a number was received");
    if (!time_is_sound(wire->happened))
        return failure_set(why, OUTCOME_PROTOCOL,
                           "an event was received with a time of 1,000,000,000 ns or more");
    if (!copy_text(wire->pattern.fs_name_val, wire->pattern.fs_name_len, event.pattern, sizeof event.pattern))
        return failure_set(why, OUTCOME_PROTOCOL, "an event was received whose pattern is no text");
    if ((event.kind == EVENT_ARRIVED) != (wire->entry != NULL))
        return failure_set(why, OUTCOME_PROTOCOL,
                           "an event was received whose entry does not go with its kind");
    if (wire->entry) {
        enum outcome outcome = event_entry_from_wire(wire->entry, &event.entry, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    *out = event;
    return OUTCOME_OK;
}
