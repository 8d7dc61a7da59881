#include "server/store/local/packing.h"

#include <stdlib.h>
#include <string.h>

void pack_fini(struct pack *pack)
{
    free(pack->bytes);
    *pack = (struct pack){0};
}

static void pack_bytes(struct pack *pack, const void *bytes, size_t count)
{
    if (pack->count + count > pack->room && !pack->failed) {
        size_t room = (pack->count + count) * 2 + 256;
        uint8_t *grown = realloc(pack->bytes, room);
        pack->failed = !grown;
        if (grown) {
            pack->bytes = grown;
            pack->room = room;
        }
    }
    if (pack->failed || count == 0)
        return;
    memcpy(pack->bytes + pack->count, bytes, count);
    pack->count += count;
}

void pack_number(struct pack *pack, uint64_t number)
{
    pack_bytes(pack, &number, sizeof number); /* the store stays on its machine */
}

void pack_id(struct pack *pack, const struct id *id)
{
    pack_bytes(pack, id->octets, sizeof id->octets);
}

void pack_text(struct pack *pack, const char *text)
{
    size_t count = strlen(text);
    pack_number(pack, count);
    pack_bytes(pack, text, count);
}

void pack_entry(struct pack *pack, const struct store_entry *entry)
{
    pack_text(pack, entry->name);
    pack_text(pack, entry->owner);
    pack_number(pack, entry->size);
    pack_number(pack, (uint64_t)entry->mtime);
    pack_number(pack, (uint64_t)entry->arrival);
    pack_bytes(pack, entry->digest.octets, sizeof entry->digest.octets);
    pack_id(pack, &entry->version);
}

void pack_event(struct pack *pack, const struct store_event *event)
{
    pack_number(pack, event->number);
    pack_number(pack, event->kind);
    pack_id(pack, &event->interest);
    pack_number(pack, (uint64_t)event->happened);
    pack_number(pack, event->dropped);
    pack_text(pack, event->pattern);
    pack_entry(pack, &event->entry);
}

static void unpack_bytes(struct unpacking *from, void *out, size_t count)
{
    from->failed |= count > from->left;
    if (from->failed) {
        memset(out, 0, count);
        return;
    }
    memcpy(out, from->bytes, count);
    from->bytes += count;
    from->left -= count;
}

uint64_t unpack_number(struct unpacking *from)
{
    uint64_t number;
    unpack_bytes(from, &number, sizeof number);
    return number;
}

struct id unpack_id(struct unpacking *from)
{
    struct id id;
    unpack_bytes(from, id.octets, sizeof id.octets);
    return id;
}

static void unpack_text(struct unpacking *from, char *out, size_t size)
{
    uint64_t count = unpack_number(from);
    from->failed |= count >= size;
    if (from->failed)
        count = 0;
    unpack_bytes(from, out, (size_t)count);
    out[count] = 0;
}

void unpack_entry(struct unpacking *from, struct store_entry *out)
{
    unpack_text(from, out->name, sizeof out->name);
    unpack_text(from, out->owner, sizeof out->owner);
    out->size = unpack_number(from);
    out->mtime = (int64_t)unpack_number(from);
    out->arrival = (int64_t)unpack_number(from);
    unpack_bytes(from, out->digest.octets, sizeof out->digest.octets);
    out->version = unpack_id(from);
}

void unpack_event(struct unpacking *from, struct store_event *out)
{
    out->number = unpack_number(from);
    out->kind = (enum store_event_kind)unpack_number(from);
    out->interest = unpack_id(from);
    out->happened = (int64_t)unpack_number(from);
    out->dropped = unpack_number(from);
    unpack_text(from, out->pattern, sizeof out->pattern);
    unpack_entry(from, &out->entry);
}

bool unpacked_whole(const struct unpacking *from)
{
    return !from->failed && from->left == 0;
}
