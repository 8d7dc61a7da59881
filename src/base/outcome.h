/*
 * outcome: what a fallible function came to, and the words for it.
 *
 * Every function that can fail returns an enum outcome and takes, last, a
 * struct failure to describe it. OUTCOME_OK leaves the failure as it is; all
 * else fills it, once, where the trouble is first known: what failed, on what,
 * why, and what to do. Whoever passes an outcome up passes the failure up with
 * it and adds no words unless it knows something new. Outputs are untouched
 * unless the outcome is OK, where a header does not say otherwise.
 *
 * Outcomes are of two kinds. An *answer* (EXISTS, ABSENT, ...) belongs to a
 * function's contract, its header lists it, and its caller deals with it. A
 * *failure* (FAULT, LOCAL, NOMEM ...) goes up unchanged to whoever decides.
 *
 * Threads: a struct failure belongs to one thread at a time. `why` may be NULL
 * where nobody will read it.
 */
#pragma once

enum outcome {
    OUTCOME_OK = 0,

    /* answers */
    OUTCOME_EXISTS,      /* the name or id is taken */
    OUTCOME_ABSENT,      /* there is no such thing */
    OUTCOME_CHANGED,     /* another version, digest, size or owner than expected */
    OUTCOME_STALE,       /* that version is no longer kept */
    OUTCOME_OFFSET,      /* bytes that do not begin where the held ones end */
    OUTCOME_EXPIRED,     /* its time is over */
    OUTCOME_DENIED,      /* this caller may not */
    OUTCOME_INVALID,     /* arguments that make no sense */
    OUTCOME_NOSPACE,     /* no room left on a device */
    OUTCOME_LIMIT,       /* a bound is reached */
    OUTCOME_CORRUPT,     /* stored bytes that do not match their digest */
    OUTCOME_HELD,        /* somebody else holds it */

    /* failures */
    OUTCOME_UNAVAILABLE, /* not done; may work later */
    OUTCOME_UNKNOWN,     /* perhaps done; repeat with the same id */
    OUTCOME_TIMEOUT,     /* a deadline passed */
    OUTCOME_UNREACHABLE, /* no way to the peer */
    OUTCOME_PROTOCOL,    /* the peer said what it must not say */
    OUTCOME_LOCAL,       /* trouble with a file or folder of this machine */
    OUTCOME_NOMEM,
    OUTCOME_STOPPED,     /* given up because we were told to stop */
    OUTCOME_FAULT,       /* our own fault, or the database's */
};

enum { FAILURE_TEXT_MAX = 512 };

struct failure {
    enum outcome outcome;
    char text[FAILURE_TEXT_MAX]; /* one line, no newline, UTF-8; cut if longer */
};

#define must_check __attribute__((warn_unused_result))

/* The outcome's name in lower case, as "exists"; never NULL. Static. */
const char *outcome_name(enum outcome outcome);

/*
 * Describes a failure and returns `outcome`, so that it can stand in a return.
 * Newlines become spaces; the text is cut between characters. The arguments may
 * hold why->text itself, to add words to it.
 */
enum outcome failure_set(struct failure *why, enum outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The same for a system call: appends ": " and the text of `error` (an errno).
 * ENOSPC, EDQUOT become NOSPACE, ENOMEM becomes NOMEM, whatever `outcome` says.
 * A text too long is cut before the reason, which always stands.
 */
enum outcome failure_system(struct failure *why, enum outcome outcome, int error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
