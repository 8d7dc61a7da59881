#include "fault/crash_places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void crash_places_list(struct crash_places *places, const char *program)
{
    char command[600], line[256];
    const char *build = getenv("FILESHARE_BUILD");
    places->count = 0;
    snprintf(command, sizeof command, "FILESHARE_CRASH_AT=list '%s/%s' --version", build ? build : ".",
             program);
    FILE *list = popen(command, "re");
    assert_non_null(list);
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = '\0';
        /* A build without the places answers its version, which has several words. */
        if (strchr(line, ' '))
            continue;
        assert_true(places->count < CRASH_PLACES_MAX && strlen(line) < CRASH_PLACE_ROOM);
        strcpy(places->names[places->count++], line);
    }
    assert_int_equal(pclose(list), 0);
}

bool crash_place_begins(const char *place, const char *prefix)
{
    return strncmp(place, prefix, strlen(prefix)) == 0;
}
