/*
 * names: what is asked about names, for the other files of the library.
 */
#pragma once

#include "base/name.h"
#include "client/lib/session.h"

/* What a failure is about: the name, fit to print. */
enum { NAMES_SUBJECT_SIZE = 320 };
/* An empty one as "". */
char *names_subject(const char *name, char subject[NAMES_SUBJECT_SIZE]);

/* INVALID: "<subject>: <reason>". */
must_check enum outcome names_check(const char *name, const char *subject, char out[NAME_BUFFER],
                                    struct failure *why);

must_check enum outcome names_stat(struct fileshare *session, const char *name, struct fileshare_entry *out,
                                   struct failure *why);

/* As fileshare_list. */
must_check enum outcome names_list(struct fileshare *session, const char *glob,
                                   bool (*each)(void *context, const struct fileshare_entry *entry),
                                   void *context, struct failure *why);
