#include "server/store/local/compiled.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { COMPILED_BYTES = 16 << 20 };

static size_t hash_of(const char *pattern)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *pattern; pattern++)
        hash = (hash ^ (unsigned char)*pattern) * UINT64_C(0x100000001b3);
    return (hash ^ hash >> 29) % COMPILED_SLOTS;
}

/* What a compiled glob may take: its masks grow with the square of its length. */
static size_t cost_of(const char *pattern)
{
    size_t size = strlen(pattern);
    return 1024 + size * size / 4;
}

static void slot_clear(struct compiled *compiled, size_t slot)
{
    if (compiled->slots[slot].pattern)
        compiled->bytes -= cost_of(compiled->slots[slot].pattern);
    free(compiled->slots[slot].pattern);
    glob_free(compiled->slots[slot].glob);
    compiled->slots[slot].pattern = NULL;
    compiled->slots[slot].glob = NULL;
}

void compiled_fini(struct compiled *compiled)
{
    for (size_t slot = 0; slot < COMPILED_SLOTS; slot++)
        slot_clear(compiled, slot);
}

static enum outcome glob_of(struct compiled *compiled, const char *pattern, const struct glob **out,
                            struct failure *why)
{
    size_t slot = hash_of(pattern);
    if (!compiled->slots[slot].pattern || strcmp(compiled->slots[slot].pattern, pattern) != 0) {
        if (compiled->bytes + cost_of(pattern) > COMPILED_BYTES)
            compiled_fini(compiled);
        slot_clear(compiled, slot);
        enum outcome outcome = glob_new(pattern, &compiled->slots[slot].glob, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        compiled->slots[slot].pattern = strdup(pattern);
        if (!compiled->slots[slot].pattern) {
            slot_clear(compiled, slot);
            return failure_set(why, OUTCOME_NOMEM, "no memory for a glob");
        }
        compiled->bytes += cost_of(pattern);
    }
    *out = compiled->slots[slot].glob;
    return OUTCOME_OK;
}

enum outcome compiled_match(struct compiled *compiled, const char *pattern, const char *name, bool *matches,
                            struct failure *why)
{
    const struct glob *glob = NULL;
    enum outcome outcome = glob_of(compiled, pattern, &glob, why);
    if (outcome == OUTCOME_OK)
        *matches = glob_match(glob, name);
    return outcome;
}
