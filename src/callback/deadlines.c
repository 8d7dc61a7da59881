#include "callback/deadlines.h"

#include <assert.h>
#include <stdlib.h>

void deadlines_init(struct deadlines *deadlines)
{
    *deadlines = (struct deadlines){.heap = NULL};
}

void deadlines_fini(struct deadlines *deadlines)
{
    assert(deadlines->count == 0);
    free(deadlines->heap);
    deadlines_init(deadlines);
}

bool deadlines_reserve(struct deadlines *deadlines, size_t count)
{
    if (count <= deadlines->capacity)
        return true;
    size_t capacity = deadlines->capacity ? deadlines->capacity * 2 : 64;
    if (capacity < count)
        capacity = count;
    struct deadline **heap = reallocarray(deadlines->heap, capacity, sizeof *heap);
    if (!heap)
        return false;
    deadlines->heap = heap;
    deadlines->capacity = capacity;
    return true;
}

void deadline_init(struct deadline *deadline)
{
    *deadline = (struct deadline){.at = INT64_MAX, .place = 0};
}

static void put(struct deadlines *deadlines, size_t place, struct deadline *deadline)
{
    deadlines->heap[place - 1] = deadline;
    deadline->place = place;
}

static struct deadline *at_place(const struct deadlines *deadlines, size_t place)
{
    return deadlines->heap[place - 1];
}

static void rise(struct deadlines *deadlines, size_t place, struct deadline *deadline)
{
    while (place > 1 && at_place(deadlines, place / 2)->at > deadline->at) {
        put(deadlines, place, at_place(deadlines, place / 2));
        place /= 2;
    }
    put(deadlines, place, deadline);
}

static void sink(struct deadlines *deadlines, size_t place, struct deadline *deadline)
{
    for (;;) {
        size_t child = place * 2;
        if (child > deadlines->count)
            break;
        if (child < deadlines->count && at_place(deadlines, child + 1)->at < at_place(deadlines, child)->at)
            child++;
        if (at_place(deadlines, child)->at >= deadline->at)
            break;
        put(deadlines, place, at_place(deadlines, child));
        place = child;
    }
    put(deadlines, place, deadline);
}

static void settle(struct deadlines *deadlines, size_t place, struct deadline *deadline)
{
    if (place > 1 && at_place(deadlines, place / 2)->at > deadline->at)
        rise(deadlines, place, deadline);
    else
        sink(deadlines, place, deadline);
}

void deadlines_set(struct deadlines *deadlines, struct deadline *deadline, int64_t at)
{
    if (at == INT64_MAX) {
        deadlines_clear(deadlines, deadline);
        return;
    }
    deadline->at = at;
    if (deadline->place == 0) {
        assert(deadlines->count < deadlines->capacity);
        put(deadlines, ++deadlines->count, deadline);
    }
    settle(deadlines, deadline->place, deadline);
}

void deadlines_clear(struct deadlines *deadlines, struct deadline *deadline)
{
    size_t place = deadline->place;
    if (place == 0)
        return;
    struct deadline *last = at_place(deadlines, deadlines->count--);
    deadline_init(deadline);
    if (last != deadline)
        settle(deadlines, place, last);
}

struct deadline *deadlines_first(const struct deadlines *deadlines)
{
    return deadlines->count > 0 ? deadlines->heap[0] : NULL;
}
