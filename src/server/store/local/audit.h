/*
 * audit: how the store is, and whether it is sound.
 *
 * audit_walk looks at every entry and every blob, while the store is at work or
 * not, and tells a visitor what is wrong; audit counts it, repair acts on it.
 */
#pragma once

#include "server/store/store.h"

struct local;

/* What a name should have. */
struct audited {
    struct store_entry entry;
    int64_t content; /* its row, if has_content */
    bool has_content;
    bool is_inline;   /* its bytes are in the database */
    bool bytes_right; /* inline: size and digest */
    struct id blob;   /* not inline */
    bool is_part;     /* the blob has other files, too, */
    uint64_t place;   /* and this one begins there */
};

/* Content that has a row, which nothing uses. */
struct unnamed {
    int64_t row;
    bool is_inline;
    struct id blob; /* not inline */
};

struct audit_visitor {
    /* An entry whose content is not what it says. */
    enum outcome (*entry)(struct local *local, const struct audited *row, enum store_finding_kind kind,
                          void *argument, struct failure *why);
    /* A whole blob that no row names. */
    enum outcome (*orphan)(struct local *local, const struct id *blob, void *argument, struct failure *why);
    enum outcome (*unnamed)(struct local *local, const struct unnamed *row, void *argument,
                            struct failure *why);
    /* An entry's content, or (row NULL) a folder of content, that cannot be looked at. */
    void (*unreadable)(const struct audited *row, const struct failure *trouble, void *argument);
    void *argument;
};

/* Ends at the first visit that is not OK. *entries grows by those looked at. */
must_check enum outcome audit_walk(struct local *local, bool deep, const struct audit_visitor *visitor,
                                   uint64_t *entries, struct failure *why);

/* The acts. */
enum outcome local_health(struct store *store, struct store_health *out, struct failure *why) must_check;
enum outcome local_audit(struct store *store, bool deep, struct store_audit *out, struct failure *why)
    must_check;
