/*
 * crash_places: where a program can be told to die, as itself lists them
 * (FILESHARE_CRASH_AT=list).
 */
#pragma once

#include <stdbool.h>

enum { CRASH_PLACES_MAX = 128, CRASH_PLACE_ROOM = 64 };

struct crash_places {
    char names[CRASH_PLACES_MAX][CRASH_PLACE_ROOM];
    unsigned count;
};

/* Those of "fileshared" or "fileshare-client". None, if it was built without them. */
void crash_places_list(struct crash_places *places, const char *program);

bool crash_place_begins(const char *place, const char *prefix);
