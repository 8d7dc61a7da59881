/*
 * fetch: one download, to where -o says; what `get` and `wait --get` share.
 */
#pragma once

#include "client/cli/client.h"

/* Where downloads go. */
struct fetch {
    struct client *client;
    struct fileshare *session;
    const char *output; /* PATH, DIR/ or -; NULL: beside where we are */
    bool replace;
    bool quiet; /* says nothing of those that went well */
};

/* Whether `output` names one file, so that several can't go there. */
bool fetch_is_for_one(const char *output);

/* `version` NULL: the newest. What goes wrong is told. */
enum exit_code fetch_one(const struct fetch *fetch, const char *name, const struct fileshare_id *version);
