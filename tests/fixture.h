/*
 * fixture: the small stores of tests/fixtures, one of each form.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

/* The statements that make the database of the store of that form; the caller's to free. NULL: there is none. */
static inline char *fixture_store(int form)
{
    char path[512], *statements = NULL;
    const char *tree = getenv("FILESHARE_SOURCE");
    size_t room = 0;
    snprintf(path, sizeof path, "%.400s/tests/fixtures/store-%d.sql", tree ? tree : ".", form);
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    if (getdelim(&statements, &room, 0, file) <= 0) {
        free(statements);
        statements = NULL;
    }
    fclose(file);
    return statements;
}
