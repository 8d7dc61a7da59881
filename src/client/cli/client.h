/*
 * client: one run of fileshare-client: what was asked for it on the command
 * line, its session with a server, and what it says on standard error.
 *
 *     client_init; [command_run ...]; client_fini
 *
 * Messages are "COMMAND: ITEM: what is wrong"; in a batch with the file and the
 * line before them. Standard output and standard error may be written by a
 * handler's thread while a command runs (the prompt's notices): whoever prints
 * holds the screen. Everything else belongs to the main thread.
 */
#pragma once

#include "client/cli/exit.h"
#include "client/cli/output.h"

#include <fileshare/fileshare.h>

#include <pthread.h>
#include <stdbool.h>

struct notices;

/* Where a command comes from; also a set of them. */
enum origin { FROM_COMMAND_LINE = 1, FROM_BATCH = 2, FROM_PROMPT = 4, FROM_ANYWHERE = 7 };

enum { CLIENT_RETRY_SECONDS = 30 };

struct client {
    struct fileshare_options options; /* for fileshare_open */
    bool persistent;                  /* --retry-for was given: the first connection is tried again, too */
    bool quiet;                       /* for the command that runs */
    enum origin origin;
    bool stdin_is_taken;       /* commands are read from it */
    bool quits;                /* `quit` was run: no further command is read */
    const char *place;         /* of the command that runs: "" or "jobs.txt:3: " */
    const char *command;       /* that runs, or "" */
    struct fileshare *session; /* NULL while there is none */
    char *server;              /* what options.server points to after `connect SERVER` */
    struct notices *notices;   /* the prompt's, while there is one */
    struct output output;

    pthread_mutex_t screen; /* guards standard output, standard error, and what follows */
    bool bar_is_drawn;      /* the terminal's last line is a progress bar */
};

void client_init(struct client *client);
void client_fini(struct client *client); /* closes the session */

/*
 * The session, opened when it is first needed. EXIT_DONE, or the failure's code
 * after it was told. At the prompt it is not opened by itself.
 */
enum exit_code client_ready(struct client *client);
/* Opens it anew; told if it fails. */
enum exit_code client_connect(struct client *client);
void client_disconnect(struct client *client);

/* Another session with the same server, which signals stop, too; told if it fails. */
enum exit_code client_open(struct client *client, struct fileshare **out);
void client_close(struct fileshare *session); /* NULL is fine */

/*
 * Tells on standard error what is wrong, and returns `code`. `item` (may be
 * NULL): the name or file that it is about. Shown as it may be: it is cleaned here.
 */
enum exit_code client_complain(struct client *client, enum exit_code code, const char *item,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The same for what a library call came to; the item is left out if the error's text has it. Nothing for OK. */
enum exit_code client_told(struct client *client, const char *item, enum fileshare_status status,
                           const struct fileshare_error *error);

/* A note on standard error, not with -q. */
void client_note(struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Holds the screen, with no progress bar on it, until client_screen_end. */
void client_screen_begin(struct client *client);
void client_screen_end(struct client *client);
