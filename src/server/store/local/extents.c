#include "server/store/local/extents.h"

#include <string.h>

/* Those that touch [from, to): from the first on, up to the one behind the last. */
struct touched {
    unsigned first, end;
};

static struct touched touched_by(const struct extents *extents, uint64_t from, uint64_t to)
{
    struct touched touched = {0, 0};
    while (touched.first < extents->count && extents->at[touched.first].to < from)
        touched.first++;
    touched.end = touched.first;
    while (touched.end < extents->count && extents->at[touched.end].from <= to)
        touched.end++;
    return touched;
}

static void move(struct extents *extents, unsigned to, unsigned from)
{
    memmove(&extents->at[to], &extents->at[from], (extents->count - from) * sizeof extents->at[0]);
    extents->count = extents->count + to - from;
}

bool extents_fit(const struct extents *extents, uint64_t from, uint64_t to)
{
    struct touched touched = touched_by(extents, from, to);
    return touched.end > touched.first || extents->count < EXTENTS_MAX;
}

bool extents_add(struct extents *extents, uint64_t from, uint64_t to)
{
    struct touched touched = touched_by(extents, from, to);
    if (touched.end == touched.first && extents->count == EXTENTS_MAX)
        return false;
    if (touched.end > touched.first) {
        const struct extent *first = &extents->at[touched.first], *last = &extents->at[touched.end - 1];
        from = first->from < from ? first->from : from;
        to = last->to > to ? last->to : to;
    }
    move(extents, touched.first + 1, touched.end);
    extents->at[touched.first] = (struct extent){from, to};
    return true;
}

uint64_t extents_reach(const struct extents *extents, uint64_t at)
{
    for (unsigned i = 0; i < extents->count && extents->at[i].from <= at; i++)
        if (at < extents->at[i].to)
            return extents->at[i].to;
    return at;
}

void extents_cut(struct extents *extents, uint64_t at)
{
    unsigned gone = 0;
    while (gone < extents->count && extents->at[gone].to <= at)
        gone++;
    move(extents, 0, gone);
    if (extents->count > 0 && extents->at[0].from < at)
        extents->at[0].from = at;
}

uint64_t extents_bytes(const struct extents *extents)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < extents->count; i++)
        bytes += extents->at[i].to - extents->at[i].from;
    return bytes;
}
