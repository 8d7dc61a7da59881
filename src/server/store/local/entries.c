#include "server/store/local/entries.h"

#include <string.h>

void column_digest(struct query *query, struct digest_value *out)
{
    struct id octets = column_id(query);
    _Static_assert(sizeof octets.octets == sizeof out->octets, "a digest has the size of an id");
    memcpy(out->octets, octets.octets, sizeof out->octets);
}

void bind_digest(struct query *query, const struct digest_value *digest)
{
    bind_blob(query, digest->octets, sizeof digest->octets);
}

void entry_take(struct query *query, struct store_entry *out)
{
    entry_take_name(query, out);
    entry_take_rest(query, out);
}

void entry_take_name(struct query *query, struct store_entry *out)
{
    column_text(query, out->name, sizeof out->name);
}

void entry_take_rest(struct query *query, struct store_entry *out)
{
    out->version = column_id(query);
    column_text(query, out->owner, sizeof out->owner);
    out->size = (uint64_t)column_int(query);
    out->mtime = column_int(query);
    out->arrival = column_int(query);
    column_digest(query, &out->digest);
}

void entry_bind(struct query *query, const struct store_entry *entry)
{
    bind_text(query, entry->name);
    bind_id(query, &entry->version);
    bind_text(query, entry->owner);
    bind_int(query, (int64_t)entry->size);
    bind_int(query, entry->mtime);
    bind_int(query, entry->arrival);
    bind_digest(query, &entry->digest);
}

void bind_content(struct query *query, const struct id *blob, const void *bytes, uint64_t size)
{
    if (id_is_none(blob)) {
        bind_null(query);
        bind_blob(query, bytes, size);
    } else {
        bind_id(query, blob);
        bind_null(query);
    }
    bind_int(query, (int64_t)size);
}
