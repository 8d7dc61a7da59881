/*
 * event: what a mailbox is told, and its form on the wire.
 *
 * The one place that turns events and entries from and into the structs of
 * proto/fileshare.x. A struct event is a plain value of about 3 KiB that owns
 * nothing.
 */
#pragma once

#include "base/digest.h"
#include "base/id.h"
#include "base/name.h"
#include "base/outcome.h"

#include "proto/fileshare.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EVENT_PRINCIPAL_SIZE = 128 };

struct event_entry {
    char name[NAME_BUFFER];
    char owner[EVENT_PRINCIPAL_SIZE];
    uint64_t size;
    int64_t mtime, arrival; /* ns since 1970 */
    struct digest_value digest;
    struct id version;
};

enum event_kind { EVENT_ARRIVED, EVENT_EXPIRED, EVENT_DROPPED };

struct event {
    uint64_t number;
    enum event_kind kind;
    struct id interest;
    int64_t happened;
    uint64_t dropped;
    char pattern[NAME_BUFFER];
    struct event_entry entry; /* with ARRIVED */
};

/*
 * To the wire: the bytes stay in `entry` / `event` and must outlive `out`;
 * event_to_wire also wants room for the entry it points to.
 */
void event_entry_to_wire(const struct event_entry *entry, fs_entry *out);
void event_to_wire(const struct event *event, fs_entry *room, fs_event *out);

/* From the wire: checked (names, sizes, kinds); PROTOCOL says what is wrong. */
must_check enum outcome event_entry_from_wire(const fs_entry *wire, struct event_entry *out,
                                              struct failure *why);
must_check enum outcome event_from_wire(const fs_event *wire, struct event *out, struct failure *why);

/* Times: ns since 1970 against seconds and nanoseconds. */
fs_time event_time_to_wire(int64_t ns);
int64_t event_time_from_wire(fs_time time);
