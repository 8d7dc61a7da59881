/*
 * record: messages on a byte stream (RFC 5531 section 11).
 *
 * A record is one RPC message, sent as fragments: each has a header of four
 * bytes, big endian: the top bit says "last", the other 31 how many bytes
 * follow. A reader joins the fragments of one record as the bytes come, however
 * they are cut, and holds memory only for what has come.
 *
 *     record_reader_init; then, whenever bytes may be there, record_reader_next:
 *     it fills itself from its source until a record is complete (yours:
 *     record_free), or the source has no more for now, or it breaks a rule.
 *
 * A reader belongs to one thread at a time. Buffers of big records come from a
 * pool and go back to it: fresh memory is dear.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { RECORD_LAST_FRAGMENT = 0x80000000, RECORD_HEADER_SIZE = 4 };

/* A complete message, 8-byte aligned. */
struct record {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    struct record *next; /* for whoever holds it: a queue's link */
};

/* A record of at least `capacity` bytes, size 0; for replies and calls too. NULL when there is no memory. */
struct record *record_new(size_t capacity);
void *record_free(struct record *record); /* NULL is fine; returns NULL */

/*
 * Where bytes come from: as read(2) with a non-blocking socket: > 0 bytes, 0 at
 * the end, -1 with errno (EAGAIN: none for now). The seam for TLS.
 */
struct record_source {
    ssize_t (*read)(void *context, void *to, size_t count);
    void *context;
};

/*
 * Asked when an incomplete record wants to grow to `size` bytes (`so_far` are
 * there); false ends it with LIMIT. So the owner bounds the total, and may look
 * at the first bytes (the call header) to decide whether the caller may send
 * more. False with errno set to EAGAIN means "not now": record_reader_next then
 * answers UNAVAILABLE, and asks again when it is called again.
 */
typedef bool record_may_grow(void *context, const uint8_t *bytes, size_t so_far, size_t size);

struct record_reader {
    struct record *partial;     /* the record on its way, or NULL */
    size_t fragment_left;       /* bytes of the current fragment still to come */
    bool fragment_is_last;
    uint8_t header[RECORD_HEADER_SIZE];
    unsigned header_have;
    unsigned empty_fragments;   /* in a row: bounded, a peer could send them for ever */
    size_t limit;               /* bytes of one record */
    uint8_t *ahead;             /* read but not yet taken apart: small records come many at a time */
    size_t ahead_at, ahead_have;
    record_may_grow *may_grow;  /* NULL: always */
    void *context;              /* of may_grow */
};

void record_reader_init(struct record_reader *reader, size_t limit, record_may_grow *may_grow, void *context);
void record_reader_fini(struct record_reader *reader);

/*
 * OK: *out is a complete record, yours. UNAVAILABLE: no more bytes for now.
 * ABSENT: the peer ended between records. LIMIT: the record is too long, or may
 * not grow. PROTOCOL: it ended in mid-record, or sends empty fragments without
 * end. UNREACHABLE: the socket broke. NOMEM. After all but OK and UNAVAILABLE the
 * reader is of no further use. `why` may be NULL, and is left alone with OK, UNAVAILABLE
 * and ABSENT.
 */
must_check enum outcome record_reader_next(struct record_reader *reader, const struct record_source *source,
                                           struct record **out, struct failure *why);

/* Whether bytes were read that are not yet taken apart: then next has work before it reads. */
bool record_reader_has_ahead(const struct record_reader *reader);

/* Bytes of the record on its way, 0 between records. */
size_t record_reader_held(const struct record_reader *reader);
