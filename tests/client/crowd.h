/*
 * crowd: many files on this machine, put and got in one call, for tests.
 *
 * File n has the name "PREFIX/n", n*step bytes or so that depend on n and `seed`,
 * and a time of its own. crowd_put and crowd_get check that each file is told
 * once, in order. All functions fail the test if anything else goes wrong.
 */
#pragma once

#include "fileshare/fileshare.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CROWD_MAX = 1500 };

struct crowd {
    char folder[128]; /* of the files; made by crowd_new */
    char prefix[32];
    unsigned seed;
    size_t count;
    bool replace;

    /* What was told of each: its status, and with OK its entry's version. */
    enum fileshare_status statuses[CROWD_MAX];
    struct fileshare_id versions[CROWD_MAX];
    bool unchanged[CROWD_MAX];
    char reasons[CROWD_MAX][160];
    size_t taken, told;
    void *words[CROWD_MAX];  /* names and paths, until they are told */
    char into[128];          /* with crowd_get: where to */
    struct fileshare *stops; /* stopped when so many are told: */
    size_t stops_after;
};

/* Makes the files in a new folder below `parent`; sizes go up by `step`, and begin anew at `most`. */
struct crowd *crowd_new(const char *parent, const char *prefix, size_t count, size_t step, size_t most,
                        unsigned seed);
void crowd_free(struct crowd *crowd); /* the folder stays */

enum fileshare_status crowd_put(struct crowd *crowd, struct fileshare *session,
                                struct fileshare_error *error);
/* Into a new folder below `parent`. */
enum fileshare_status crowd_get(struct crowd *crowd, struct fileshare *session, const char *parent,
                                struct fileshare_error *error);
/* All statuses are this one. */
void crowd_all(const struct crowd *crowd, enum fileshare_status status);
/* What crowd_get brought is what crowd_new made, with its times. */
void crowd_compare(const struct crowd *crowd);
/* The path of file n. */
char *crowd_path(const struct crowd *crowd, const char *folder, size_t n, char path[256]);
