/*
 * list: a doubly linked list through its members.
 *
 * A struct list is both head and link. list_init makes an empty head, or a link
 * that stands in no list; list_remove leaves the link so. list_entry turns a
 * link into the thing it is part of. No locks: the owner's lock guards it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *previous, *next;
};

static inline void list_init(struct list *list)
{
    list->previous = list->next = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

#define list_entry(link, type, member) ((type *)((char *)(link) - offsetof(type, member)))
/* The first or NULL. */
#define list_first(head, type, member) (list_is_empty(head) ? NULL : list_entry((head)->next, type, member))
/* The body may remove `at`, nothing else. */
#define list_each(at, head)                                                                                    \
    for (struct list *at = (head)->next, *at##_next = at->next; at != (head); at = at##_next, at##_next = at->next)
