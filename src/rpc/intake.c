#include "rpc/intake.h"

enum { ALWAYS_GRANTED = 4096 };

void intake_init(struct intake *intake, size_t limit, size_t reserve, size_t small_max, size_t record_max)
{
    intake->limit = limit;
    intake->reserve = reserve;
    intake->small_max = small_max;
    intake->record_max = record_max;
    atomic_init(&intake->held, 0);
}

bool intake_take(struct intake *intake, size_t *charge, size_t size)
{
    bool small = size <= intake->small_max;
    size_t wanted = small ? size : intake->record_max;
    size_t bound = small ? intake->limit + intake->reserve : intake->limit;

    if (wanted <= *charge)
        return true;
    size_t more = wanted - *charge;
    size_t before = atomic_fetch_add_explicit(&intake->held, more, memory_order_relaxed);
    if (before + more > bound && size > ALWAYS_GRANTED) {
        atomic_fetch_sub_explicit(&intake->held, more, memory_order_relaxed);
        return false;
    }
    *charge = wanted;
    return true;
}

void intake_give(struct intake *intake, size_t *charge, size_t size)
{
    if (size >= *charge)
        return;
    atomic_fetch_sub_explicit(&intake->held, *charge - size, memory_order_relaxed);
    *charge = size;
}
