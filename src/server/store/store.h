/*
 * store: everything the server keeps, as acts by their meaning.
 *
 * This is the whole interface. Each function is one whole act: it happened or it
 * did not, and once it answered OK neither kill -9 nor a power cut takes it
 * back. Nothing of the engine below shows: no transaction, cursor, path, SQL
 * type, errno or lock. The interface promises nothing that a distributed store
 * could not keep: no atomic act over two names, no global order, no exact
 * totals. What only some stores can do is a capability.
 *
 * Answers. Besides those each act lists, any may answer UNAVAILABLE (not done,
 * try later), UNKNOWN (perhaps done: repeat it with the same id), NOSPACE, NOMEM
 * or FAULT. INVALID is for arguments that a correct caller never passes.
 *
 * Repeats. An act that writes carries an id (an upload's, an interest's, an op
 * id) and the caller's principal. The store keeps the answer with the act, in
 * the same step, for STORE_ANSWER_SECONDS, bounded per principal: the same act
 * with the same id gets the same answer, and counts once. A repeat while the
 * first still runs waits for it. The id of another act, or of another principal,
 * is answered INVALID.
 *
 * Arrival = a name gets a new version: by publish or rename. It makes one outbox
 * row in the same act; fan_out turns it into notices for those who wait (a publish
 * may have done so already, for some of them or all).
 *
 * Ownership. Strings and bytes that go in are only used during the call. Structs
 * that come out are plain values; arrays are the caller's to provide, with their
 * capacity. Names are checked (base/name.h) and NUL-ended.
 *
 * Threads. Every function may be called from any thread at any time between open
 * and close, and may block for the disk. None calls back.
 */
#pragma once

#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "base/name.h"
#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STORE_PRINCIPAL_SIZE = 128,    /* with the NUL */
    STORE_ROUTE_SIZE = 512,        /* bytes of a mailbox's route */
    STORE_ANSWER_SECONDS = 86400,
    STORE_SCAN_MAX = 10000,        /* names that one list looks at */
    STORE_AHEAD_MAX = 32 << 20,    /* a piece of an upload ends at most so far beyond what is held */
};

/* ---- files ---- */

struct store_entry {
    char name[NAME_BUFFER];
    char owner[STORE_PRINCIPAL_SIZE];
    uint64_t size;
    int64_t mtime;   /* ns since 1970, of the uploader's file */
    int64_t arrival; /* ns since 1970, server's wall clock */
    struct digest_value digest;
    struct id version; /* the id of the act that made it */
};

/* On whose behalf an act is done. */
struct store_caller {
    const char *principal; /* shorter than STORE_PRINCIPAL_SIZE */
    bool superior;         /* may replace, remove and rename the files of others */
};

/* Whether a publish may take the place of what is there. */
struct store_condition {
    bool replace;       /* false: EXISTS if the name is taken */
    struct id expected; /* with replace: only this version, else CHANGED; none: whatever is there, or nothing */
};

struct store_upload_begin {
    struct id upload;
    const char *name;
    struct store_condition condition;
    bool size_known;
    uint64_t size; /* NOSPACE if it will not fit with the reserve */
};

struct store_upload_state {
    uint64_t held;
    struct digest_value digest; /* of the held bytes */
    bool published;             /* the upload was committed: `entry` is what it made */
    struct store_entry entry;
};

struct store_publish {
    struct id upload;
    bool check;          /* compare size and digest with what arrived: CHANGED if they differ */
    uint64_t size;
    struct digest_value digest;
    bool check_digest;   /* with check: the digest too, not the size alone */
    int64_t mtime;
};

/* A small file in one act: begin, write and publish under one op id. */
struct store_put {
    struct id op;
    const char *name;
    struct store_condition condition;
    const void *content;
    size_t size;
    bool check_digest;
    struct digest_value digest;
    int64_t mtime;
};

/* With OK the entry is what was put, by this caller, as the version `op`. */
struct store_put_answer {
    enum outcome outcome;
    int64_t arrival;
    struct digest_value digest;
    struct failure why; /* of any other outcome */
};

struct store_rename {
    struct id op;
    const char *source;
    const char *target;
    struct store_condition condition; /* of the target */
    struct id expected;               /* version of the source; none: whatever is there */
};

/* A page of names in byte order, those after `cursor` that match `glob`. */
struct store_list {
    const char *glob;   /* NULL or "": all */
    const char *cursor; /* NULL or "": from the start */
    size_t limit;       /* entries at most */
    /* Gets each; the entry is gone afterwards. False: the page ends before it. It calls nothing of the store. */
    bool (*take)(void *context, const struct store_entry *entry);
    void *context;
};

struct store_page {
    size_t count; /* of entries taken */
    bool more;
    char cursor[NAME_BUFFER]; /* with more: where to go on */
};

/* One version, open for reading. Its bytes never change. */
struct store_read;

/* A version that is to be opened. */
struct store_wanted {
    const char *name;
    struct id version; /* none: the newest */
};

/* What became of one. */
struct store_found {
    enum outcome outcome;
    struct store_entry entry; /* OK */
    struct store_read *read;  /* OK: whoever takes it closes it */
    struct failure why;       /* not OK */
};

struct store_read_many {
    const struct store_wanted *wanted;
    size_t count;
    /*
     * Gets what became of each, in their order; it is gone afterwards. False: it
     * is not taken, and what follows not wanted. It calls nothing of the store.
     */
    bool (*take)(void *context, const struct store_found *found);
    void *context;
};

/* ---- interests ---- */

enum store_event_kind { STORE_ARRIVED, STORE_EXPIRED, STORE_DROPPED };

struct store_event {
    uint64_t number; /* in its mailbox, growing; may leave gaps, also when a forgotten mailbox is made again */
    enum store_event_kind kind;
    struct id interest;
    int64_t happened; /* ns since 1970 */
    uint64_t dropped; /* with DROPPED: how many events were lost */
    char pattern[NAME_BUFFER];
    struct store_entry entry; /* with ARRIVED */
};

struct store_interest_add {
    struct id mailbox;
    struct id interest;
    bool glob;     /* else pattern is an exact name */
    const char *pattern;
    uint32_t seconds;
    bool every;    /* else once */
    bool present;  /* tell what is there; once and something is there: nothing is registered */
};

struct store_registration {
    bool registered;
    uint32_t seconds_left;
    size_t present; /* entries given */
    bool more;      /* more are there */
};

enum store_interest_state { STORE_WAITING, STORE_CANCELLED, STORE_MET, STORE_OVER, STORE_NEVER };

struct store_interest {
    struct id interest;
    bool glob;
    bool every;
    enum store_interest_state state;
    uint32_t seconds_left;
    uint64_t arrivals;
    char pattern[NAME_BUFFER];
};

struct store_cancelled {
    struct id interest;
    enum store_interest_state state; /* CANCELLED, MET, OVER or NEVER */
    bool has_event;
    struct store_event event; /* with MET, while it is kept */
};

struct store_interest_drop {
    struct id op;
    struct id mailbox;
    struct id interest;  /* none: every interest of the mailbox with exactly `pattern` */
    const char *pattern; /* may be NULL with an interest */
};

/* ---- notices on their way ---- */

struct store_claim {
    struct id mailbox;
    uint64_t token;     /* of this claim; pending_done and pending_retry want it */
    uint64_t newest;    /* the last event number claimed */
    uint32_t attempts;  /* how often this mailbox was tried in vain since its last success */
    size_t count;       /* events given */
    size_t route_size;  /* 0: it has none */
    uint8_t route[STORE_ROUTE_SIZE];
};

/* What became of a claim: as with pending_done. */
struct store_done {
    struct id mailbox;
    uint64_t token, acknowledged;
};

struct store_mailbox {
    uint64_t waiting; /* events not yet acknowledged */
    uint64_t newest;  /* number of the newest of them, or 0 */
};

struct store_health {
    uint64_t files, bytes;            /* roughly */
    uint64_t uploads, interests, mailboxes, events;
    uint64_t events_dropped;          /* since the server began: mailboxes were full, or events old */
    uint64_t leftovers;               /* pieces of content that failed acts may have left; and one, while all is looked through */
    uint64_t free_bytes;
    bool writable;
    char trouble[FAILURE_TEXT_MAX];   /* "" when all is well */
};

enum store_finding_kind {
    STORE_MISSING,      /* an entry without content */
    STORE_WRONG_SIZE,   /* an entry whose content is not what it says */
    STORE_WRONG_DIGEST, /* likewise */
    STORE_UNREADABLE,   /* content, or a folder of it, that cannot be looked at now */
    STORE_UNNAMED,      /* content that is known, and belongs to no entry */
    STORE_WRONG_FACTS,  /* facts that do not fit together */
};

struct store_finding {
    enum store_finding_kind kind;
    char name[NAME_BUFFER]; /* of the entry, "" without one */
    char where[160];        /* UNREADABLE, WRONG_FACTS: what is the matter */
};

enum { STORE_FINDINGS = 16 };

/* What audit found: 0 everywhere, but for `entries`, in a sound store. */
struct store_audit {
    uint64_t entries;          /* looked at */
    uint64_t missing_blobs;    /* entries without content */
    uint64_t wrong_sizes;
    uint64_t wrong_digests;    /* with deep */
    uint64_t unreadable;       /* neither sound nor wrong: nobody knows */
    uint64_t orphan_blobs;     /* content that is not known: the sweep's work */
    uint64_t unnamed;          /* content that is known and belongs to no entry */
    uint64_t wrong_facts;      /* rows that lead nowhere, counters that are wrong */
    size_t finding_count;      /* of all this but orphans, the first ones */
    struct store_finding findings[STORE_FINDINGS];
};

/* But for orphans: a crash leaves such, and they do no harm. */
static inline bool store_audit_is_whole(const struct store_audit *found)
{
    return found->missing_blobs + found->wrong_sizes + found->wrong_digests + found->unreadable + found->unnamed +
               found->wrong_facts ==
           0;
}

static inline bool store_audit_is_sound(const struct store_audit *found)
{
    return store_audit_is_whole(found) && found->orphan_blobs == 0;
}

struct store_repair {
    uint64_t set_aside; /* entries that are no more: their content was gone or wrong */
    uint64_t unnamed;   /* pieces of content that belonged to no entry, set aside */
    uint64_t removed;   /* pieces of content that were not known */
    uint64_t righted;   /* facts that did not fit */
    uint64_t left;      /* what could not be looked at, and was not touched */
};

struct store_backup {
    uint64_t linked, copied; /* pieces of content, by the way they were taken */
    uint64_t rounds;         /* how often it began anew since content went meanwhile; 1: not once */
};

struct store_sweep {
    uint64_t uploads, blobs, answers, interests, mailboxes, events; /* removed, or expired */
};

enum { STORE_CAN_BACKUP = 1 << 0, STORE_CAN_REPAIR = 1 << 1 };

struct store;

struct store_acts {
    void (*close)(struct store *store);

    /* Static for the store's life. */
    struct id (*instance)(struct store *store);
    unsigned (*capabilities)(struct store *store);

    /*
     * Begins an upload, or takes it up again: `out` says what is held. Checks
     * the name's condition early (EXISTS, CHANGED, DENIED), also when it is taken
     * up again, so that no bytes are sent in vain; publish checks again. DENIED if another principal began it;
     * LIMIT if there are too many.
     */
    enum outcome (*upload_begin)(struct store *store, const struct store_caller *caller,
                                 const struct store_upload_begin *begin, struct store_upload_state *out,
                                 struct failure *why) must_check;

    /*
     * One piece; they may come in any order, *held is what is contiguous. OK also if it is there already. OFFSET if it
     * is too far ahead, leaves too many gaps, or is held in part: go on from *held; ABSENT, DENIED. *held is set with
     * OK and OFFSET. What is ahead is forgotten by upload_begin and when the store is closed, and publish sees none.
     */
    enum outcome (*upload_write)(struct store *store, const struct store_caller *caller, const struct id *upload,
                                 uint64_t offset, const void *bytes, size_t count, uint64_t *held,
                                 struct failure *why) must_check;

    /* Gives the bytes up; OK also if there is no such upload. */
    enum outcome (*upload_abort)(struct store *store, const struct store_caller *caller, const struct id *upload,
                                 struct failure *why) must_check;

    /*
     * Makes the upload's content the newest version of its name, and the arrival
     * known: content durable, entry and outbox row in one act. EXISTS, CHANGED
     * (version, size or digest), DENIED (the owner of what would be replaced is
     * another), ABSENT (no such upload: begin it again).
     */
    enum outcome (*publish)(struct store *store, const struct store_caller *caller,
                            const struct store_publish *publish, struct store_entry *out,
                            struct failure *why) must_check;

    /* The three in one for content at hand. Answers as publish does. */
    enum outcome (*put)(struct store *store, const struct store_caller *caller, const struct store_put *put,
                        struct store_entry *out, struct failure *why) must_check;

    /*
     * Several at once: each is an act of its own, done or not whatever becomes
     * of the others, in their order, and answered as put would. It may cost less
     * than one by one. OK: each has its answer.
     */
    enum outcome (*put_many)(struct store *store, const struct store_caller *caller,
                             const struct store_put *puts, size_t count, struct store_put_answer *answers,
                             struct failure *why) must_check;

    /* ABSENT. */
    enum outcome (*stat)(struct store *store, const char *name, struct store_entry *out,
                         struct failure *why) must_check;

    /*
     * Gives at most list->limit entries; looks at STORE_SCAN_MAX names at most.
     * INVALID for a bad glob. If it fails, what was given counts for nothing.
     */
    enum outcome (*list)(struct store *store, const struct store_list *list, struct store_page *out,
                         struct failure *why) must_check;

    /* `expected` none: whatever is there. ABSENT, CHANGED, DENIED. */
    enum outcome (*remove)(struct store *store, const struct store_caller *caller, const struct id *op,
                           const char *name, const struct id *expected, struct failure *why) must_check;

    /* Publishes under the target, then removes the source at that version. ABSENT, EXISTS, CHANGED, DENIED. */
    enum outcome (*rename)(struct store *store, const struct store_caller *caller,
                           const struct store_rename *rename, struct store_entry *out,
                           struct failure *why) must_check;

    /*
     * Opens a version (none: the newest) for reading; `entry` describes it. It
     * stays readable until read_close, and what was replaced or removed stays
     * openable by its version until some minutes after its last read. ABSENT;
     * STALE if the version is no longer kept, or is not one of this name;
     * CORRUPT if its content is missing.
     */
    enum outcome (*read_open)(struct store *store, const char *name, const struct id *version,
                              struct store_read **out, struct store_entry *entry, struct failure *why) must_check;
    /*
     * Several, each as read_open would answer for it. It may cost less than one
     * by one, above all if they came together and are asked for in the order of
     * their names. It may end before the last one, when too much is open, but not
     * before the first. Not OK: what was taken is good all the same.
     */
    enum outcome (*read_open_many)(struct store *store, const struct store_read_many *many,
                                   struct failure *why) must_check;
    /* Exactly `count` bytes, which must lie within the size; CORRUPT if they are not there. */
    enum outcome (*read_at)(struct store_read *read, uint64_t offset, void *bytes, size_t count,
                            struct failure *why) must_check;
    void (*read_close)(struct store_read *read); /* NULL is fine */

    /*
     * Registers an interest, and with add->present gives what is there already
     * (at most `capacity` of `entries`). EXACT: looking and registering are one
     * act. GLOB: the interest is written first, then looked for; what arrives
     * between is told once, by an event or as present. The mailbox comes into
     * being here. LIMIT: of the mailbox, of the caller (whatever mailboxes it uses),
     * or in all; the failure says which.
     */
    enum outcome (*interest_add)(struct store *store, const struct store_caller *caller,
                                 const struct store_interest_add *add, struct store_entry *entries,
                                 size_t capacity, struct store_registration *out,
                                 struct failure *why) must_check;

    /* Ends `seconds` from now. ABSENT; EXPIRED or CHANGED (met) if it is no longer waiting. */
    enum outcome (*interest_renew)(struct store *store, const struct store_caller *caller, const struct id *op,
                                   const struct id *mailbox, const struct id *interest, uint32_t seconds,
                                   uint32_t *seconds_left, struct failure *why) must_check;

    /* A row for each that was asked for, at most `capacity`; *more if there are others. */
    enum outcome (*interest_drop)(struct store *store, const struct store_caller *caller,
                                  const struct store_interest_drop *drop, struct store_cancelled *rows,
                                  size_t capacity, size_t *count, bool *more, struct failure *why) must_check;

    /* In the order of ids, those after `cursor` (none: from the start). */
    enum outcome (*interest_list)(struct store *store, const struct id *mailbox, const struct id *cursor,
                                  struct store_interest *rows, size_t capacity, size_t *count, bool *more,
                                  struct failure *why) must_check;

    /*
     * The way back of a mailbox, in bytes that only delivery understands; kept
     * so that it outlives the server. Size 0 takes it away. Makes the mailbox if
     * there is none, at the caller's expense (LIMIT); with a caller of NULL none is
     * made. The mailbox becomes due for delivery at once.
     */
    enum outcome (*mailbox_route)(struct store *store, const struct store_caller *caller,
                                  const struct id *mailbox, const void *route, size_t size,
                                  struct store_mailbox *out, struct failure *why) must_check;
    /* The mailbox, its interests and events are gone. OK if there was none. */
    enum outcome (*mailbox_forget)(struct store *store, const struct id *mailbox, struct failure *why) must_check;
    /*
     * Acknowledges up to `since`, then gives the events after it. ABSENT if there
     * is no such mailbox. If the second half fails, the first may stand.
     */
    enum outcome (*mailbox_events)(struct store *store, const struct id *mailbox, uint64_t since,
                                   struct store_event *events, size_t capacity, size_t *count, bool *more,
                                   struct failure *why) must_check;

    /*
     * Turns outbox rows into events, at most `limit` rows. Repeatable: a notice
     * is keyed by (mailbox, interest, version). *left says whether there is more
     * to do. The publisher runs it before it answers, upkeep runs what is left.
     */
    enum outcome (*fan_out)(struct store *store, size_t limit, bool *left, struct failure *why) must_check;

    /*
     * Takes the next due mailbox that has a route and unacknowledged events and
     * is not claimed: at most `capacity` of its events, oldest first. ABSENT if
     * there is none; then *next_due is the elapsed time (clock_elapsed) at which
     * one will be, or INT64_MAX. A claim lapses after `lease_seconds`.
     */
    enum outcome (*pending_claim)(struct store *store, unsigned lease_seconds, struct store_claim *out,
                                  struct store_event *events, size_t capacity, int64_t *next_due,
                                  struct failure *why) must_check;
    /* Events up to `acknowledged` are done; the rest is due at once. OK if the claim has lapsed. */
    enum outcome (*pending_done)(struct store *store, const struct id *mailbox, uint64_t token,
                                 uint64_t acknowledged, struct failure *why) must_check;
    /*
     * The same for many mailboxes, each by itself, in one commit where that costs less. OK: all are done.
     * Any other answer: some may be; to repeat it with all of them does no harm.
     */
    enum outcome (*pending_done_many)(struct store *store, const struct store_done *dones, size_t count,
                                      struct failure *why) must_check;
    /* Try again in `milliseconds`. */
    enum outcome (*pending_retry)(struct store *store, const struct id *mailbox, uint64_t token,
                                  uint32_t milliseconds, struct failure *why) must_check;

    /* Readable (an eventfd, yours to read, not to close) when events may be pending; may be lost, doubled or late. */
    int (*event_fd)(struct store *store);
    /* `told` (NULL: event_fd again) is called instead where an act gave mailboxes events: on its thread, committed,
     * before it returns. It waits for nobody, and may claim. Returns once no earlier one is being called. */
    void (*on_events)(struct store *store, void (*told)(void *context), void *context);

    /*
     * Expires interests that ran out (an event each), drops uploads idle for
     * too long, versions no longer read, old answers, empty mailboxes, content
     * that nothing names. Live uploads and pinned versions are spared. A bounded
     * piece of work: *left says whether more is to do now. *next_due: elapsed
     * time at which the next interest runs out, or INT64_MAX.
     */
    enum outcome (*sweep)(struct store *store, struct store_sweep *out, bool *left, int64_t *next_due,
                          struct failure *why) must_check;
    enum outcome (*health)(struct store *store, struct store_health *out, struct failure *why) must_check;
    /* With `deep` every byte is read. CORRUPT if the facts themselves are damaged. */
    enum outcome (*audit)(struct store *store, bool deep, struct store_audit *out, struct failure *why) must_check;
    /*
     * STORE_CAN_REPAIR. What audit would find goes: entries whose content is
     * missing or of another size (with `deep`, or another digest) are set aside,
     * which says what they were, with the bytes there are, and so is content that
     * belongs to no entry; content that is not known is removed; facts are made to
     * fit. What is sound is not touched, nor what cannot be looked at.
     */
    enum outcome (*repair)(struct store *store, bool deep, struct store_repair *out, struct failure *why) must_check;
    /* STORE_CAN_BACKUP. As store_local_backup; meanwhile all other acts go on. */
    enum outcome (*backup)(struct store *store, const char *target, bool copy, struct store_backup *out,
                           struct failure *why) must_check;
};

/* What every implementation begins with. */
struct store {
    const struct store_acts *acts;
};

/* Bounds of what callers can make a store keep. Zero is not "without bound". */
struct store_limits {
    uint32_t uploads;                 /* live ones, in all */
    uint32_t uploads_per_principal;
    uint32_t upload_idle_seconds;
    uint32_t interests;               /* live ones, in all */
    uint32_t interests_per_principal; /* whoever registers pays */
    uint32_t interests_per_mailbox;
    uint32_t open_globs;              /* globs that begin with a wildcard, in all */
    uint32_t open_globs_per_principal;
    uint32_t open_globs_per_mailbox;
    uint32_t mailboxes;
    uint32_t mailboxes_per_principal;
    uint32_t events_per_mailbox;      /* the oldest are dropped, and told as a number */
    uint32_t event_seconds;           /* events older than this likewise */
    uint32_t answers_per_principal;
    uint32_t kept_seconds;            /* replaced or removed content, after its last read */
    uint64_t kept_bytes;              /* of all such content; the oldest goes first */
    uint64_t reserve_bytes;           /* free space that uploads leave alone */
    uint32_t open_reads;              /* blobs held open for further reads */
};

struct store_limits store_limits_default(void);

/* The embedded store: SQLite and files below one folder (server/store/local/). */
struct store_local_options {
    const char *folder; /* made if missing, mode 0700 */
    bool existing;      /* do not make one: ABSENT */
    struct store_limits limits;
    const struct clock *clock; /* must outlive the store */
};

/*
 * Opens or makes it. HELD if another process has it (says which); LOCAL, CORRUPT,
 * FAULT; INVALID if it is from a newer release. *out is yours: acts->close.
 */
must_check enum outcome store_local_open(const struct store_local_options *options, struct store **out,
                                         struct failure *why);

/*
 * Copies the store in `folder`, served or not, to `target`, which must be missing
 * or an empty folder: all files as they were at one moment, with interests,
 * mailboxes and events; without uploads on their way and replaced versions.
 * Content is linked where both are on one file system, unless `copy`. `target` is
 * there as a whole, durable, or not at all, and is a store. Of a store opened
 * again, a backup or not, event numbers leave a gap, so that none comes twice.
 * ABSENT: no store there. EXISTS. CORRUPT: content is missing. INVALID: the store
 * is of another release. UNAVAILABLE, NOSPACE, LOCAL.
 */
must_check enum outcome store_local_backup(const char *folder, const char *target, bool copy,
                                           struct store_backup *out, struct failure *why);

/*
 * A store around another that answers UNAVAILABLE and UNKNOWN on schedule, before
 * and after the act, and may delay acts: for tests. Takes `inner` over.
 */
struct store_faulty_plan {
    unsigned every;        /* each Nth act is faulty; 0: none */
    bool by_chance;        /* so many in the mean: else who repeats a round of N acts never gets through */
    bool after;            /* the act is done, then UNKNOWN; else not done, UNAVAILABLE */
    unsigned delay_ms;     /* each act that may wait for the disk takes this much longer */
};
must_check enum outcome store_faulty_new(struct store *inner, const struct store_faulty_plan *plan,
                                         struct store **out, struct failure *why);
