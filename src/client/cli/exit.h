/*
 * exit: what fileshare-client exits with. The table is in the manual; scripts
 * depend on it.
 */
#pragma once

#include <fileshare/fileshare.h>

#include <stddef.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_SOME = 1, /* some of several items failed */
    EXIT_USAGE = 2,
    EXIT_ABSENT = 3,      /* no such file, or interest */
    EXIT_TIMEOUT = 4,     /* time ran out */
    EXIT_UNREACHABLE = 5, /* the server is not reachable, or can't serve now */
    EXIT_DENIED = 6,      /* not permitted */
    EXIT_CONFLICT = 7,    /* exists, or changed meanwhile */
    EXIT_ROOM = 8,        /* no room, or over a limit */
    EXIT_LOCAL = 9,       /* trouble with a local file, or with the output */
    EXIT_PROTOCOL = 10,   /* protocol or server fault */
    EXIT_SIGNAL = 128,    /* and the signal's number: 130 after Ctrl-C */
};

/* STOPPED is EXIT_SIGNAL + SIGINT; who knows the signal corrects it (interrupt_code). */
enum exit_code exit_of_status(enum fileshare_status status);

/* What several items came to: one failure of one item is its own code, of several EXIT_SOME. Starts as { 0 }. */
struct tally {
    size_t items;
    size_t failed;
    enum exit_code first; /* failure */
};

void tally_add(struct tally *tally, enum exit_code code);
enum exit_code tally_code(const struct tally *tally);
