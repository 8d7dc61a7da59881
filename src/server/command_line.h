/*
 * command_line: fileshared's options, made from the list of configuration keys,
 * and the few that are no keys.
 */
#pragma once

#include "base/outcome.h"
#include "server/config.h"

#include <stdbool.h>

struct command_line {
    struct config *config; /* read, set and finished; config_free */
    bool told;             /* --help or --version was answered: nothing more is to do */
    bool check;            /* --check-config: say whether it is sound, and end */
    bool dump;             /* --dump-config: write it, and end */
};

/* Reads `file`, or with NULL the default one if it is there. As config_read. */
must_check enum outcome command_line_file(const char *file, struct config *config, struct failure *why);

/* INVALID for what the user got wrong; else what config says. `out->config` is set with OK and not told. */
must_check enum outcome command_line_read(int argc, char *const *argv, struct command_line *out,
                                          struct failure *why);
