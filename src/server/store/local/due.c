#include "server/store/local/due.h"

#include "base/scoped.h"
#include "server/store/local/packing.h"

#include <stdlib.h>
#include <string.h>

struct due_item {
    struct list bucket;
    size_t place; /* in the heap */
    int64_t mailbox;
    int64_t at; /* due, or the end of its lease */
    bool claimed;
    uint64_t token;
    uint32_t attempts;
    uint64_t pokes, pokes_claimed; /* so far; when it was claimed */
    struct due_news *news;
};

/* ---- news ---- */

struct due_news {
    struct id secret;
    uint64_t number;
    size_t route_size, size;
    uint8_t bytes[]; /* the route, the event */
};

struct due_news *due_news_new(const struct id *secret, const void *route, size_t route_size,
                              const struct store_event *event)
{
    scoped_pack struct pack packed = {0};
    pack_event(&packed, event);
    struct due_news *news = packed.failed ? NULL : malloc(sizeof *news + route_size + packed.count);
    if (!news)
        return NULL;
    *news = (struct due_news){.secret = *secret,
                              .number = event->number,
                              .route_size = route_size,
                              .size = packed.count};
    memcpy(news->bytes, route, route_size);
    memcpy(news->bytes + route_size, packed.bytes, packed.count);
    return news;
}

bool due_news_read(const struct due_news *news, struct store_claim *claim, struct store_event *event)
{
    struct unpacking from = {.bytes = news->bytes + news->route_size, .left = news->size};
    unpack_event(&from, event);
    if (!unpacked_whole(&from) || news->route_size > sizeof claim->route)
        return false;
    claim->mailbox = news->secret;
    claim->newest = news->number;
    claim->count = 1;
    claim->route_size = news->route_size;
    memcpy(claim->route, news->bytes, news->route_size);
    return true;
}

void *due_news_free(struct due_news *news)
{
    free(news);
    return NULL;
}

/* ---- the table ---- */

void due_init(struct due *due)
{
    *due = (struct due){0};
    pthread_mutex_init(&due->mutex, NULL);
    for (unsigned i = 0; i < DUE_BUCKETS; i++)
        list_init(&due->buckets[i]);
}

void due_fini(struct due *due)
{
    for (size_t i = 0; i < due->count; i++) {
        due_news_free(due->heap[i]->news);
        free(due->heap[i]);
    }
    free(due->heap);
    pthread_mutex_destroy(&due->mutex);
}

/* ---- the heap; with the lock ---- */

static void put_at(struct due *due, struct due_item *item, size_t place)
{
    due->heap[place] = item;
    item->place = place;
}

static void sift(struct due *due, struct due_item *item)
{
    size_t place = item->place;
    while (place > 0 && due->heap[(place - 1) / 2]->at > item->at) {
        put_at(due, due->heap[(place - 1) / 2], place);
        place = (place - 1) / 2;
    }
    for (;;) {
        size_t child = place * 2 + 1;
        if (child + 1 < due->count && due->heap[child + 1]->at < due->heap[child]->at)
            child++;
        if (child >= due->count || due->heap[child]->at >= item->at)
            break;
        put_at(due, due->heap[child], place);
        place = child;
    }
    put_at(due, item, place);
}

static void move_to(struct due *due, struct due_item *item, int64_t at)
{
    item->at = at;
    sift(due, item);
}

static struct due_item *find(struct due *due, int64_t mailbox)
{
    list_each(at, &due->buckets[(uint64_t)mailbox % DUE_BUCKETS]) {
        struct due_item *item = list_entry(at, struct due_item, bucket);
        if (item->mailbox == mailbox)
            return item;
    }
    return NULL;
}

static struct due_item *add(struct due *due, int64_t mailbox, int64_t at)
{
    if (due->count == due->room) {
        size_t room = due->room * 2 + 64;
        struct due_item **heap = realloc(due->heap, room * sizeof(struct due_item *));
        if (!heap)
            return NULL;
        due->heap = heap;
        due->room = room;
    }
    struct due_item *item = calloc(1, sizeof *item);
    if (!item)
        return NULL;
    item->mailbox = mailbox;
    item->at = at;
    list_append(&due->buckets[(uint64_t)mailbox % DUE_BUCKETS], &item->bucket);
    put_at(due, item, due->count++);
    sift(due, item);
    return item;
}

/* Takes them; those that were there are gone. */
static void set_news(struct due *due, struct due_item *item, struct due_news *news)
{
    if (item->news)
        due->news--;
    due_news_free(item->news);
    if (news && due->news >= DUE_NEWS_MAX)
        news = due_news_free(news);
    item->news = news;
    if (news)
        due->news++;
}

static void take_out(struct due *due, struct due_item *item)
{
    struct due_item *last = due->heap[--due->count];
    if (last != item) {
        put_at(due, last, item->place);
        sift(due, last);
    }
    list_remove(&item->bucket);
    set_news(due, item, NULL);
    free(item);
}

/* ---- acts ---- */

/* With the lock. */
static void poke(struct due *due, int64_t mailbox, int64_t now, bool afresh, struct due_news *news)
{
    struct due_item *item = find(due, mailbox);
    if (!item) {
        item = add(due, mailbox, now);
        due->incomplete |= !item;
    } else if (afresh) {
        item->claimed = false;
        item->attempts = 0;
        move_to(due, item, now);
    }
    if (!item) {
        due_news_free(news);
        return;
    }
    item->pokes++;
    set_news(due, item, news);
}

void due_poke(struct due *due, int64_t mailbox, int64_t now, bool afresh)
{
    scoped_lock(&due->mutex);
    poke(due, mailbox, now, afresh, NULL);
}

void due_tell(struct due *due, int64_t mailbox, int64_t now, struct due_news *news)
{
    scoped_lock(&due->mutex);
    poke(due, mailbox, now, false, news);
}

void due_unlearn(struct due *due, int64_t mailbox)
{
    scoped_lock(&due->mutex);
    struct due_item *item = find(due, mailbox);
    if (item)
        set_news(due, item, NULL);
}

void due_miss(struct due *due)
{
    scoped_lock(&due->mutex);
    due->incomplete = true;
}

bool due_take(struct due *due, int64_t now, int64_t lease_until, struct due_claim *out, int64_t *next)
{
    scoped_lock(&due->mutex);
    struct due_item *item = due->count > 0 ? due->heap[0] : NULL;
    if (!item || item->at > now) {
        *next = item ? item->at : INT64_MAX;
        return false;
    }
    if (item->claimed)
        item->attempts++; /* its lease is over: that was in vain */
    item->claimed = true;
    item->token = ++due->tokens;
    item->pokes_claimed = item->pokes;
    *out = (struct due_claim){item->mailbox, item->token, item->attempts, item->pokes, item->news};
    if (item->news)
        due->news--;
    item->news = NULL;
    move_to(due, item, lease_until);
    return true;
}

static struct due_item *find_claimed(struct due *due, int64_t mailbox, uint64_t token)
{
    struct due_item *item = find(due, mailbox);
    return item && item->claimed && item->token == token ? item : NULL;
}

void due_drop(struct due *due, const struct due_claim *claim, int64_t now)
{
    scoped_lock(&due->mutex);
    struct due_item *item = find_claimed(due, claim->mailbox, claim->token);
    if (!item)
        return;
    if (item->pokes == claim->pokes) {
        take_out(due, item);
        return;
    }
    item->claimed = false;
    move_to(due, item, now);
}

bool due_done(struct due *due, int64_t mailbox, uint64_t token, bool empty, int64_t now)
{
    scoped_lock(&due->mutex);
    struct due_item *item = find_claimed(due, mailbox, token);
    if (!item)
        return false;
    if (empty && item->pokes == item->pokes_claimed) {
        take_out(due, item);
        return false;
    }
    item->claimed = false;
    item->attempts = 0;
    move_to(due, item, now);
    return true;
}

void due_retry(struct due *due, int64_t mailbox, uint64_t token, int64_t at)
{
    scoped_lock(&due->mutex);
    struct due_item *item = find_claimed(due, mailbox, token);
    if (!item)
        return;
    item->claimed = false;
    item->attempts++;
    move_to(due, item, at);
}

void due_forget(struct due *due, int64_t mailbox)
{
    scoped_lock(&due->mutex);
    struct due_item *item = find(due, mailbox);
    if (item)
        take_out(due, item);
}

bool due_was_incomplete(struct due *due)
{
    scoped_lock(&due->mutex);
    bool was = due->incomplete;
    due->incomplete = false;
    return was;
}
