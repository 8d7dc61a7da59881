/*
 * options: tables of options that parse themselves and print their own help.
 *
 *     options_new; options_set ... (a configuration file's keys);
 *     options_parse; if options_told: exit with 0; the arguments; options_free
 *
 * A row says what an option is called, what it takes and which variable it
 * fills. Variables hold the default before, and keep it if the option is not
 * given; the last one given counts (of OPTION_TEXTS, all). So what is set from
 * a file before options_parse gives way to the command line.
 *
 * --help (and -h, where no row has that letter) and, if the program has a
 * version, --version are in every table. They are answered on standard output,
 * in lines of at most 79 columns. Texts that variables point to live until
 * options_free. One thread.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
    OPTION_HEADING,  /* no option: `help` is a line of its own over those that follow */
    OPTION_FLAG,     /* bool *: becomes true (from a file: yes, no, true, false, on, off) */
    OPTION_TEXT,     /* const char ** */
    OPTION_TEXTS,    /* struct option_texts *: each use adds one */
    OPTION_NUMBER,   /* unsigned *, decimal */
    OPTION_SIZE,     /* uint64_t *, bytes; see size_parse */
    OPTION_DURATION, /* uint32_t *, seconds; see duration_parse */
};

/* Starts as { 0 }; its rows are the options' own. */
struct option_texts {
    const char **rows;
    size_t count;
};

struct option {
    const char *name; /* the long one, without dashes; NULL for a heading */
    char letter;      /* the short one; '\0': none */
    enum option_kind kind;
    void *target;
    uint64_t least, most; /* of numbers, sizes, durations: both allowed; most 0: no bound */
    const char *argument; /* what the help calls the value: "PORT" */
    const char *help;     /* a phrase; it is wrapped */
};

#define OPTION_END { .name = NULL, .kind = OPTION_HEADING, .help = NULL }

struct options_program {
    const char *name;         /* "fileshared", "fileshare-client get" */
    const char *usage;        /* what follows it: "[OPTION...] NAME..." */
    const char *summary;      /* one paragraph under it, or NULL */
    const char *version;      /* what --version prints, without newline, or NULL: no such option */
    const char *epilogue;     /* after the options, line for line as it is, or NULL */
    const struct option *rows; /* ended by OPTION_END */
    bool stop_at_argument;    /* the first argument that is no option ends them: for "-s HOST ls -l" */
};

struct options;

/* `program`, its rows and their variables must live as long as *out. NOMEM. */
must_check enum outcome options_new(const struct options_program *program, struct options **out, struct failure *why);
void *options_free(struct options *options); /* NULL is fine; returns NULL */

/* The option `name` gets `value`. ABSENT if there is none, INVALID if the value is none of its kind; NOMEM. */
must_check enum outcome options_set(struct options *options, const char *name, const char *value,
                                    struct failure *why);

/*
 * argv[0] is skipped. INVALID names the option and what it wants; variables
 * that were filled before it stay so. Once for each struct options. NOMEM.
 */
must_check enum outcome options_parse(struct options *options, int argc, char *const *argv, struct failure *why);

/* Whether --help or --version was met and answered; nothing after it was looked at. */
bool options_told(const struct options *options);

/* What is no option, in its order, ended by NULL ("--" itself left out). Lives as long as `options`. */
const char *const *options_arguments(const struct options *options, size_t *out_count);

void options_help(const struct options_program *program, FILE *to);
