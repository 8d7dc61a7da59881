/*
 * entries: a store_entry as columns of a row, and its way into one; the content beside it.
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/store.h"

/* The columns that make an entry, in the order that entry_take reads; of entry, kept and arrival. */
#define ENTRY_COLUMNS "name, version, owner, size, mtime, arrival, digest"

/* Reads them at the query's next columns. */
void entry_take(struct query *query, struct store_entry *out);
/* The same in two steps, for who looks at the name first. */
void entry_take_name(struct query *query, struct store_entry *out);
void entry_take_rest(struct query *query, struct store_entry *out);
/* Binds them, in the same order. */
void entry_bind(struct query *query, const struct store_entry *entry);

void column_digest(struct query *query, struct digest_value *out);
void bind_digest(struct query *query, const struct digest_value *digest);

/* Binds what a row of content holds, as its columns blob, bytes, size: the blob, or if that is none the bytes. */
void bind_content(struct query *query, const struct id *blob, const void *bytes, uint64_t size);
