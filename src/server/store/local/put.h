/*
 * put: content at hand becomes files, each as if it came alone (put.c), those
 * of one call side by side in one piece of content (bundle.c).
 *
 * A putting is one of them on its way to the writer. It is answered as soon as
 * something stands in its way, or it turns out to be done; the others go on.
 */
#pragma once

#include "server/store/local/blobs.h"
#include "server/store/local/publish.h"

struct putting {
    const struct store_put *put;
    struct store_put_answer *answer; /* its outcome is OK until something stands in the way */
    struct answer_key key;
    bool answered;           /* refused, or done before: nothing is left to do */
    bool repeated;           /* the writer found that it was done before */
    bool looked_at;          /* the writer came to it, and found so or otherwise */
    struct blob_claim claim; /* of content that is too large to stand with others; none: it is not */
    int fd;                  /* of that blob, until it is synced */
    bool is_part;            /* of the bundle's content, */
    uint64_t place;          /* where it begins there */
};

/* What goes to the writer, but for a part's content. */
void publishing_of(const struct putting *putting, struct publishing *out);
void put_answer(struct putting *putting, enum outcome outcome, int64_t arrival);
/* Those that are not answered yet: an act and a savepoint each, in one transaction. */
void put_each(struct local *local, struct putting *puttings, struct writer_act *acts, size_t count);

/* ---- many at once: bundle.c ---- */

enum {
    PART_MAX = 65536,  /* what is larger has content of its own */
    BUNDLE_MIN = 65536 /* in all; less stands in the database, and one sync is enough */
};

struct bundle {
    struct putting *puttings;
    size_t count;
    size_t parts;            /* of these, those in the bundle's own content */
    uint64_t size;           /* of that; at BUNDLE_MIN it is a blob */
    struct blob_claim claim; /* none: it is no blob */
    uint8_t *step;           /* PART_MAX bytes: all of what is no blob */
    enum outcome ran;        /* what the act came to, its commit aside */
    bool named;              /* a row names the content, once it is committed */
};

/* Finds the parts, and makes their content durable if it is a blob. What fails here is answered with its parts. */
void bundle_make(struct local *local, struct putting *puttings, size_t count, struct bundle *bundle);
/* All that are not answered yet, in one act; if that fails halfway, each in its own. */
void bundle_commit(struct local *local, struct bundle *bundle, struct writer_act *acts);
void bundle_end(struct local *local, struct bundle *bundle);
