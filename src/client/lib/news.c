#include "client/lib/news.h"

#include "base/clock.h"
#include "base/scoped.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum {
    ITEMS_MAX = 256,
    REST_MAX_MS = 5000, /* poll does not count while the machine sleeps; `until` does */
};

struct news {
    int fd;               /* an eventfd: readable when something was put */
    pthread_mutex_t lock; /* guards what follows */
    struct news_item *first, **end;
    size_t count;
};

enum outcome news_new(struct news **out, struct failure *why)
{
    struct news *news = calloc(1, sizeof *news);
    if (!news)
        return failure_set(why, OUTCOME_NOMEM, "no memory to wait");
    news->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    news->end = &news->first;
    pthread_mutex_init(&news->lock, NULL);
    if (news->fd < 0) {
        enum outcome outcome = failure_system(why, OUTCOME_LOCAL, errno, "cannot make an eventfd");
        news_free(news);
        return outcome;
    }
    *out = news;
    return OUTCOME_OK;
}

void *news_free(struct news *news)
{
    if (!news)
        return NULL;
    struct news_item *item;
    while ((item = news_take(news)) != NULL)
        free(item);
    if (news->fd >= 0)
        close(news->fd);
    pthread_mutex_destroy(&news->lock);
    free(news);
    return NULL;
}

static bool append(struct news *news, struct news_item *item)
{
    scoped_lock(&news->lock);
    if (news->count >= ITEMS_MAX)
        return false;
    item->next = NULL;
    *news->end = item;
    news->end = &item->next;
    news->count++;
    uint64_t one = 1;
    /* It fails only when the counter is full: then it is readable as it is. */
    ssize_t ignored = write(news->fd, &one, sizeof one);
    (void)ignored;
    return true;
}

bool news_put(struct news *news, const struct event *event, const char *route)
{
    scoped_free struct news_item *item = malloc(sizeof *item);
    if (!item)
        return false;
    item->route = route;
    item->event = *event;
    if (!append(news, item))
        return false;
    item = NULL;
    return true;
}

void news_note(struct news *news, const char *note)
{
    scoped_free struct news_item *item = malloc(sizeof *item);
    if (!item)
        return;
    item->route = NULL;
    snprintf(item->note, sizeof item->note, "%s", note);
    if (append(news, item))
        item = NULL;
}

struct news_item *news_take(struct news *news)
{
    scoped_lock(&news->lock);
    struct news_item *item = news->first;
    if (!item)
        return NULL;
    news->first = item->next;
    if (!news->first)
        news->end = &news->first;
    news->count--;
    return item;
}

void news_rest(struct news *news, const struct stop *stop, int64_t until)
{
    struct pollfd polls[2] = {{.fd = news->fd, .events = POLLIN}, {.fd = stop->fd, .events = POLLIN}};
    int64_t left = until - clock_elapsed(clock_system());
    left = left > 0 ? (left + 999999) / 1000000 : 0;
    poll(polls, 2, left > REST_MAX_MS ? REST_MAX_MS : (int)left);
    uint64_t count;
    ssize_t ignored = read(news->fd, &count, sizeof count);
    (void)ignored;
}
