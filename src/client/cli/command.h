/*
 * command: the one table of commands. It serves the command line, batches and
 * the prompt, and makes the help of all three.
 *
 * A row names the options that its command has; they fill a struct choices,
 * where all of them have their place. A new command is a row and a function.
 */
#pragma once

#include "client/cli/client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the options of a command filled in: zeros where they were not given. */
struct choices {
    const char *as;     /* --as NAME */
    const char *to;     /* --to PREFIX/ */
    const char *output; /* -o PATH|DIR/|- */
    bool recursive; /* -r */
    unsigned jobs;
    unsigned connections; /* 0: as the library chooses */
    bool replace;
    bool details; /* -l */
    bool any;
    unsigned count;
    uint32_t timeout;  /* seconds */
    uint32_t duration; /* --for, seconds */
    bool get;
    bool every;
    bool exact;
    bool json;
    bool quiet;
};

/* What stands after the options: `count` texts. */
struct arguments {
    const char *const *rows;
    size_t count;
};

enum choice {
    CHOICE_END,
    CHOICE_AS,
    CHOICE_TO,
    CHOICE_OUTPUT,
    CHOICE_RECURSIVE,
    CHOICE_JOBS,
    CHOICE_CONNECTIONS,
    CHOICE_REPLACE,
    CHOICE_DETAILS,
    CHOICE_ANY,
    CHOICE_COUNT,
    CHOICE_TIMEOUT,
    CHOICE_FOR,
    CHOICE_GET,
    CHOICE_EVERY,
    CHOICE_EXACT,
    CHOICE_JSON,
    CHOICE_QUIET,
    CHOICES, /* how many there are, with CHOICE_END */
};

typedef enum exit_code command_function(struct client *client, const struct choices *choices,
                                        const struct arguments *arguments);

enum { COMMAND_CHOICES = 8 };

struct command {
    const char *name;
    const char *usage;   /* what follows it */
    const char *summary; /* one line */
    const char *more;    /* what its own help says besides, line for line; or NULL */
    enum choice choices[COMMAND_CHOICES];
    int origins;             /* of enum origin: where it is allowed */
    size_t least, most;      /* arguments */
    bool alone;              /* needs no session */
    command_function *check; /* of options and arguments, before a server is asked; or NULL */
    command_function *run;
};

/* Ended by a row without a name. In commands.c. */
extern const struct command command_table[];

/* The row, or NULL. */
const struct command *command_find(const char *name);

/* Runs words[0] with the others: the whole of it, up to flushed output. `count` is at least 1. */
enum exit_code command_run(struct client *client, char *const *words, size_t count);

/* The commands of these origins with their summaries, a line each, yours (free); NULL without memory. */
char *command_list(int origins);

/* A glob that matches `name` and nothing else. Yours; NULL without memory. */
char *command_glob_of(const char *name);

/* Whether the text is meant as a glob. */
bool command_is_glob(const struct choices *choices, const char *text);

/* ---- the functions of the table, by file ---- */

/* put.c, get.c */
command_function put_check, put_run, get_check, get_run;
/* names.c */
command_function ls_run, stat_run, rm_run, mv_run;
/* wait.c, listen.c */
command_function wait_check, wait_run, listen_run;
/* interests.c */
command_function interest_check, interest_run, interests_run, renew_check, renew_run, cancel_run;
/* server.c */
command_function ping_run, status_run;
/* prompt.c */
command_function connect_run, disconnect_run, quit_run;
/* command.c */
command_function help_run;
