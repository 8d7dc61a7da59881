#include "client/lib/translate.h"

#include "base/name.h"

#include <stdio.h>
#include <string.h>

fs_name translate_name(const char *name)
{
    return (fs_name){.fs_name_len = (u_int)strlen(name), .fs_name_val = (char *)(uintptr_t)name};
}

fs_text translate_text(const char *text)
{
    return (fs_text){.fs_text_len = (u_int)strlen(text), .fs_text_val = (char *)(uintptr_t)text};
}

fs_address translate_address(const char *text)
{
    return (fs_address){.fs_address_len = (u_int)strlen(text), .fs_address_val = (char *)(uintptr_t)text};
}

fs_id translate_id(const struct id *id)
{
    fs_id wire;
    memcpy(wire.octets, id->octets, sizeof wire.octets);
    return wire;
}

fs_digest translate_digest(const struct digest_value *digest)
{
    return (fs_digest){.fs_digest_len = DIGEST_SIZE, .fs_digest_val = (char *)(uintptr_t)digest->octets};
}

struct id translate_id_read(const fs_id *wire)
{
    struct id id;
    memcpy(id.octets, wire->octets, sizeof id.octets);
    return id;
}

void translate_text_read(const fs_text *text, char *out, size_t size)
{
    name_show(text->fs_text_val, text->fs_text_len, out, size);
}

/* ---- statuses ---- */

struct status_row {
    fs_status status;
    enum outcome outcome;
    const char *words; /* where the server gives no reason */
};

static const struct status_row status_rows[] = {
    {FS_OK, OUTCOME_OK, ""},
    {FS_EXISTS, OUTCOME_EXISTS, "the name is taken"},
    {FS_ABSENT, OUTCOME_ABSENT, "there is no such thing"},
    {FS_CHANGED, OUTCOME_CHANGED, "it changed meanwhile"},
    {FS_STALE, OUTCOME_STALE, "that version is no longer kept"},
    {FS_OFFSET, OUTCOME_OFFSET, "bytes are missing before these"},
    {FS_DENIED, OUTCOME_DENIED, "the server does not permit it"},
    {FS_INVALID, OUTCOME_INVALID, "the server finds the request makes no sense"},
    {FS_NOSPACE, OUTCOME_NOSPACE, "the server has no room"},
    {FS_LIMIT, OUTCOME_LIMIT, "a bound of the server's is reached"},
    {FS_CORRUPT, OUTCOME_CORRUPT, "the bytes do not match their digest"},
    {FS_UNAVAILABLE, OUTCOME_UNAVAILABLE, "the server can't do it now; try later"},
    {FS_UNKNOWN, OUTCOME_UNKNOWN, "the server does not know whether it was done; try again"},
    {FS_HELD, OUTCOME_HELD, "another process holds it"},
    {FS_FAULT, OUTCOME_FAULT, "the server failed; its log says why"},
    {FS_LAPSED, OUTCOME_EXPIRED, "its time is over"},
};

enum outcome translate_outcome(fs_status status, const fs_text *reason, const char *subject,
                               struct failure *why)
{
    if (status == FS_OK)
        return OUTCOME_OK;
    for (size_t i = 0; i < sizeof status_rows / sizeof *status_rows; i++) {
        if (status_rows[i].status != status)
            continue;
        char shown[FAILURE_TEXT_MAX];
        name_show_words(reason->fs_text_val, reason->fs_text_len, shown, sizeof shown);
        return failure_set(why, status_rows[i].outcome, "%s: %s", subject,
                           shown[0] != '\0' ? shown : status_rows[i].words);
    }
    return failure_set(why, OUTCOME_PROTOCOL, "%s: the server answers an unknown status, %d", subject,
                       (int)status);
}

static enum fileshare_status public_status(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK: return FILESHARE_OK;
    case OUTCOME_EXISTS: return FILESHARE_EXISTS;
    case OUTCOME_ABSENT: return FILESHARE_ABSENT;
    case OUTCOME_CHANGED:
    case OUTCOME_STALE: return FILESHARE_CHANGED;
    case OUTCOME_EXPIRED: return FILESHARE_EXPIRED;
    case OUTCOME_DENIED: return FILESHARE_DENIED;
    case OUTCOME_INVALID: return FILESHARE_INVALID;
    case OUTCOME_NOSPACE: return FILESHARE_NOSPACE;
    case OUTCOME_LIMIT: return FILESHARE_LIMIT;
    case OUTCOME_CORRUPT: return FILESHARE_CORRUPT;
    case OUTCOME_HELD: return FILESHARE_HELD;
    case OUTCOME_UNAVAILABLE:
    case OUTCOME_UNKNOWN: return FILESHARE_UNAVAILABLE;
    case OUTCOME_TIMEOUT: return FILESHARE_TIMEOUT;
    case OUTCOME_UNREACHABLE: return FILESHARE_UNREACHABLE;
    case OUTCOME_LOCAL: return FILESHARE_LOCAL;
    case OUTCOME_NOMEM: return FILESHARE_NOMEM;
    case OUTCOME_STOPPED: return FILESHARE_STOPPED;
    case OUTCOME_OFFSET:
    case OUTCOME_PROTOCOL:
    case OUTCOME_FAULT: break;
    }
    return FILESHARE_PROTOCOL;
}

enum outcome translate_here(enum outcome outcome, struct failure *why)
{
    return outcome == OUTCOME_NOSPACE ? failure_set(why, OUTCOME_LOCAL, "%s", why ? why->text : "") : outcome;
}

enum fileshare_status translate_report(enum outcome outcome, const struct failure *why,
                                       struct fileshare_error *error)
{
    enum fileshare_status status = public_status(outcome);
    if (error && status != FILESHARE_OK) {
        error->status = status;
        snprintf(error->text, sizeof error->text, "%s", why->text);
    }
    return status;
}

/* ---- entries and events ---- */

struct fileshare_id translate_id_public(const struct id *id)
{
    struct fileshare_id out;
    memcpy(out.octets, id->octets, sizeof out.octets);
    return out;
}

struct id translate_id_private(const struct fileshare_id *id)
{
    struct id out;
    memcpy(out.octets, id->octets, sizeof out.octets);
    return out;
}

void translate_entry_public(const struct event_entry *entry, struct fileshare_entry *out)
{
    _Static_assert(sizeof out->name == sizeof entry->name && sizeof out->owner == sizeof entry->owner,
                   "what is in one fits into the other");
    /* Not whole structs, nor what stands behind the texts: a list has many. */
    memcpy(out->name, entry->name, strlen(entry->name) + 1);
    memcpy(out->owner, entry->owner, strlen(entry->owner) + 1);
    out->size = entry->size;
    out->mtime = entry->mtime;
    out->arrival = entry->arrival;
    memcpy(out->digest, entry->digest.octets, sizeof out->digest);
    out->version = translate_id_public(&entry->version);
}

enum outcome translate_entry(const fs_entry *wire, struct fileshare_entry *out, struct failure *why)
{
    struct event_entry entry;
    enum outcome outcome = event_entry_from_wire(wire, &entry, why);
    if (outcome == OUTCOME_OK)
        translate_entry_public(&entry, out);
    return outcome;
}

void translate_event_public(const struct event *event, const char *route, struct fileshare_event *out)
{
    *out = (struct fileshare_event){
        .number = event->number,
        .kind = event->kind == EVENT_ARRIVED   ? FILESHARE_ARRIVED
                : event->kind == EVENT_EXPIRED ? FILESHARE_UNMET
                                               : FILESHARE_DROPPED,
        .interest = translate_id_public(&event->interest),
        .happened = event->happened,
        .dropped = event->dropped,
        .route = route,
    };
    snprintf(out->pattern, sizeof out->pattern, "%s", event->pattern);
    if (event->kind == EVENT_ARRIVED)
        translate_entry_public(&event->entry, &out->entry);
}

const char *translate_route(fs_route route)
{
    switch (route) {
    case FS_ROUTE_PROVING: return "proving";
    case FS_ROUTE_DIALBACK: return "dial-back";
    case FS_ROUTE_REVERSED: return "reversed";
    case FS_ROUTE_NONE: break;
    }
    return "none";
}
