/*
 * names: what is asked about names, for the other files of the library.
 */
#pragma once

#include "base/name.h"
#include "client/lib/session.h"

/* The act of a failure: `verb "name"`, fit to print. */
enum { NAMES_ACT_SIZE = 320 };
char *names_act(const char *verb, const char *name, char act[NAMES_ACT_SIZE]);

/* INVALID: "cannot <act>: <reason>". */
must_check enum outcome names_check(const char *name, const char *act, char out[NAME_BUFFER],
                                    struct failure *why);

must_check enum outcome names_stat(struct fileshare *session, const char *name, struct fileshare_entry *out,
                                   struct failure *why);

/* As fileshare_list. */
must_check enum outcome names_list(struct fileshare *session, const char *glob,
                                   bool (*each)(void *context, const struct fileshare_entry *entry),
                                   void *context, struct failure *why);
