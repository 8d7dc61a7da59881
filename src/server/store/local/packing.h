/*
 * packing: answers as bytes, for keeping them.
 *
 * A pack grows as things are put into it; an unpacking reads them in the same
 * order. Both remember the first trouble, so that only the end is looked at:
 * pack_ok, unpacked_whole. The form is private to the database's schema version.
 */
#pragma once

#include "server/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pack {
    uint8_t *bytes; /* pack_fini frees */
    size_t count, room;
    bool failed; /* no memory */
};

void pack_fini(struct pack *pack);
#define scoped_pack scoped(pack_fini)

void pack_number(struct pack *pack, uint64_t number);
void pack_id(struct pack *pack, const struct id *id);
void pack_text(struct pack *pack, const char *text);
void pack_entry(struct pack *pack, const struct store_entry *entry);
void pack_event(struct pack *pack, const struct store_event *event);

struct unpacking {
    const uint8_t *bytes;
    size_t left;
    bool failed; /* fewer bytes than were asked for, or text that is too long */
};

uint64_t unpack_number(struct unpacking *from);
struct id unpack_id(struct unpacking *from);
void unpack_entry(struct unpacking *from, struct store_entry *out);
void unpack_event(struct unpacking *from, struct store_event *out);
bool unpacked_whole(const struct unpacking *from);
