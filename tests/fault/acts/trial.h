/*
 * trial: one act of the store, with what it needs, and how to see whether it is done.
 */
#pragma once

#include "service/store_subject.h"

/* A part and a large one together are too much for a row of the database: they share a blob. */
enum { TRIAL_PAGES = 9000, TRIAL_LARGE = 20000, TRIAL_PART = 60000, TRIAL_PATH_SIZE = 128 };

enum trial_state { TRIAL_NOT, TRIAL_DONE, TRIAL_HALF };

struct trial {
    struct subject *subject;
    unsigned serial;
    char name[32], other[32]; /* nobody else's */
    struct id id;             /* of the act that is tried: the same when it is repeated */
    struct id mailbox, interest, version;
    struct store_claim claim;
    uint64_t number;  /* of an event */
    unsigned backups; /* made so far */
    struct store_event events[4];
    uint8_t bytes[TRIAL_PART];
};

struct act {
    const char *name;
    void (*prepare)(struct trial *trial); /* NULL: nothing */
    enum outcome (*run)(struct trial *trial, struct failure *why);
    /* Looks at a store, ours or another's of the same files; NULL: nothing is to be seen. */
    enum trial_state (*look)(const struct trial *trial, struct subject *subject);
    bool alike; /* most of its calls are of one kind, made for each of many folders */
    bool local; /* it may also say that a file or folder of the machine is in the way */
    bool eager; /* its first half may stand though the second was refused: it only says again what was said */
};

extern const struct act acts[];
extern const unsigned act_count;

/* A fresh one; acts->prepare is the caller's. */
void trial_begin(struct trial *trial, struct subject *subject, unsigned serial);
/* Where its Nth backup goes. */
void trial_backup_path(const struct trial *trial, unsigned nth, char out[TRIAL_PATH_SIZE]);

/* What it left goes, so that a store does not grow with the number of trials. */
void trial_end(struct trial *trial);
