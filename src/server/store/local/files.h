/*
 * files: what is asked of, and done with, a name.
 */
#pragma once

#include "base/glob.h"
#include "server/store/local/database.h"
#include "server/store/store.h"

/* A page of what matches `glob` (NULL: all), as store_acts.list, which parsed list->glob. */
must_check enum outcome files_page(struct database *db, const struct glob *glob,
                                   const struct store_list *list, struct store_page *out,
                                   struct failure *why);

/* The acts. */

enum outcome local_stat(struct store *store, const char *name, struct store_entry *out, struct failure *why)
    must_check;
enum outcome local_list(struct store *store, const struct store_list *list, struct store_page *out,
                        struct failure *why) must_check;
enum outcome local_remove(struct store *store, const struct store_caller *caller, const struct id *op,
                          const char *name, const struct id *expected, struct failure *why) must_check;
enum outcome local_rename(struct store *store, const struct store_caller *caller,
                          const struct store_rename *rename, struct store_entry *out, struct failure *why)
    must_check;
