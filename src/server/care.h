/*
 * care: fileshared's commands that look after a store: fsck and backup.
 *
 * Each reads its own options, and of the configuration where the store is, does
 * its work and says on standard output what it found or did. Exit codes: 0 the
 * store is sound, the backup is made; 1 trouble was found and is left, or it
 * could not be done (standard error says why); 2 usage or configuration.
 */
#pragma once

#include <stdbool.h>

/* Whether `word`, fileshared's first argument, is such a command. */
bool care_is_command(const char *word);

/* argv[0] is the command. Returns the exit code. */
int care_run(int argc, char *const *argv);
