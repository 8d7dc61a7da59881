#include "client/lib/tally.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_FIRST = 64 };

enum outcome tally_init(struct tally *tally, size_t patterns, size_t wanted, struct failure *why)
{
    *tally = (struct tally){.patterns = patterns, .wanted = wanted, .slots = SLOTS_FIRST};
    tally->met = calloc(patterns, sizeof *tally->met);
    tally->versions = calloc(tally->slots, sizeof *tally->versions);
    if (tally->met && tally->versions)
        return OUTCOME_OK;
    tally_fini(tally);
    return failure_set(why, OUTCOME_NOMEM, "no memory to wait for %zu names", patterns);
}

void tally_fini(struct tally *tally)
{
    free(tally->met);
    free(tally->versions);
    *tally = (struct tally){0};
}

/* ---- the versions: ids are random, so their bytes are the hash ---- */

static struct id *find_slot(struct id *versions, size_t slots, const struct id *version)
{
    size_t at;
    memcpy(&at, version->octets, sizeof at);
    for (at %= slots; !id_is_none(&versions[at]) && !id_equal(&versions[at], version);)
        at = (at + 1) % slots;
    return &versions[at];
}

static enum outcome grow(struct tally *tally, struct failure *why)
{
    size_t slots = tally->slots * 2;
    struct id *versions = calloc(slots, sizeof *versions);
    if (!versions)
        return failure_set(why, OUTCOME_NOMEM, "no memory for %zu arrivals", tally->used);
    for (size_t i = 0; i < tally->slots; i++)
        if (!id_is_none(&tally->versions[i]))
            *find_slot(versions, slots, &tally->versions[i]) = tally->versions[i];
    free(tally->versions);
    tally->versions = versions;
    tally->slots = slots;
    return OUTCOME_OK;
}

/* *added: it was not there. */
static enum outcome add_version(struct tally *tally, const struct id *version, bool *added,
                                struct failure *why)
{
    struct id *slot = find_slot(tally->versions, tally->slots, version);
    *added = id_is_none(slot);
    if (!*added)
        return OUTCOME_OK;
    *slot = *version;
    if (++tally->used * 2 > tally->slots)
        return grow(tally, why);
    return OUTCOME_OK;
}

/* ---- counting ---- */

enum outcome tally_take(struct tally *tally, size_t pattern, const struct id *version, bool *counts,
                        struct failure *why)
{
    bool new = !tally_is_done(tally);
    if (tally->wanted == 0) {
        new = new && !tally->met[pattern];
    } else if (new) {
        enum outcome outcome = add_version(tally, version, &new, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (new) {
        tally->met[pattern] = true;
        tally->told++;
    }
    *counts = new;
    return OUTCOME_OK;
}

bool tally_is_met(const struct tally *tally, size_t pattern)
{
    return tally_is_done(tally) || (tally->wanted == 0 && tally->met[pattern]);
}

bool tally_is_done(const struct tally *tally)
{
    return tally->told >= (tally->wanted == 0 ? tally->patterns : tally->wanted);
}
