#include "fault/roll.h"

#include <stdlib.h>
#include <string.h>

void roll_fini(struct roll *roll)
{
    free(roll->rows);
    *roll = (struct roll){0};
}

/* Where the pair is, or the empty place where it would be. */
static struct roll_row *place(const struct roll *roll, const struct fileshare_id *first,
                              const struct fileshare_id *second)
{
    uint64_t one, other;
    memcpy(&one, first, sizeof one);
    memcpy(&other, second, sizeof other);
    size_t at = (one ^ other * UINT64_C(0x9e3779b97f4a7c15)) & (roll->room - 1);
    for (;; at = (at + 1) & (roll->room - 1)) {
        struct roll_row *row = &roll->rows[at];
        if (row->times == 0 || (memcmp(&row->first, first, sizeof *first) == 0 &&
                                memcmp(&row->second, second, sizeof *second) == 0))
            return row;
    }
}

static void grow(struct roll *roll)
{
    struct roll old = *roll;
    roll->room = old.room == 0 ? 256 : old.room * 2;
    roll->rows = calloc(roll->room, sizeof *roll->rows);
    if (!roll->rows)
        abort();
    for (size_t i = 0; i < old.room; i++)
        if (old.rows[i].times > 0)
            *place(roll, &old.rows[i].first, &old.rows[i].second) = old.rows[i];
    free(old.rows);
}

unsigned roll_add(struct roll *roll, const struct fileshare_id *first, const struct fileshare_id *second)
{
    if (roll->count * 2 >= roll->room)
        grow(roll);
    struct roll_row *row = place(roll, first, second);
    if (row->times == 0) {
        *row = (struct roll_row){.first = *first, .second = *second};
        roll->count++;
    }
    return ++row->times;
}

unsigned roll_times(const struct roll *roll, const struct fileshare_id *first,
                    const struct fileshare_id *second)
{
    return roll->room == 0 ? 0 : place(roll, first, second)->times;
}
