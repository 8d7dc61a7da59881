/*
 * news: events and notes on their way from the threads that hear them to the
 * one that waits.
 *
 * news_put and news_note from any thread; news_take and news_rest from one. The
 * queue is bounded: when it is full, an event is not taken (it will come again),
 * a note is left out.
 */
#pragma once

#include "callback/event.h"
#include "client/lib/stop.h"

#include <stdbool.h>
#include <stdint.h>

enum { NEWS_NOTE_SIZE = FAILURE_TEXT_MAX + 64 };

struct news;

struct news_item {
    struct news_item *next;
    const char *route; /* of an event; NULL: a note */
    union {
        struct event event;
        char note[NEWS_NOTE_SIZE];
    };
};

must_check enum outcome news_new(struct news **out, struct failure *why);
void *news_free(struct news *news); /* NULL is fine; returns NULL */

/* Copied; `route` is static. False: no room. */
bool news_put(struct news *news, const struct event *event, const char *route);
void news_note(struct news *news, const char *note);

/* The oldest, yours to free; NULL if there is none. */
struct news_item *news_take(struct news *news);

/* Sleeps until there is an item, `stop` is asked, or the elapsed clock shows `until`; now and then it returns sooner. */
void news_rest(struct news *news, const struct stop *stop, int64_t until);
