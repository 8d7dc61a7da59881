#include "callback/sender_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static struct sender_mailbox **chain_of_id(const struct sender_mailboxes *mailboxes, const struct id *id)
{
    uint64_t words[2];
    memcpy(words, id->octets, sizeof words);
    return &mailboxes
                ->by_id[fold(words[0] ^ mailboxes->key[0], words[1] ^ mailboxes->key[1]) & mailboxes->mask];
}

static struct sender_mailbox **chain_of_connection(const struct sender_mailboxes *mailboxes,
                                                   uint64_t connection)
{
    return &mailboxes->by_connection[connection & mailboxes->mask]; /* they are counted up */
}

enum outcome mailboxes_init(struct sender_mailboxes *mailboxes, size_t expected, struct failure *why)
{
    size_t size = 16;
    while (size < expected && size < 65536)
        size *= 2;
    *mailboxes = (struct sender_mailboxes){
        .by_id = calloc(size, sizeof(struct sender_mailbox *)),
        .by_connection = calloc(size, sizeof(struct sender_mailbox *)),
        .mask = size - 1,
    };
    list_init(&mailboxes->by_age);
    struct id secret = id_random();
    memcpy(mailboxes->key, secret.octets, sizeof mailboxes->key);
    if (!mailboxes->by_id || !mailboxes->by_connection)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a table of %zu mailboxes", size);
    return OUTCOME_OK;
}

void mailboxes_fini(struct sender_mailboxes *mailboxes)
{
    assert(mailboxes->count == 0);
    free(mailboxes->by_id);
    free(mailboxes->by_connection);
    mailboxes->by_id = mailboxes->by_connection = NULL;
}

struct sender_mailbox *mailboxes_find(const struct sender_mailboxes *mailboxes, const struct id *id)
{
    struct sender_mailbox *mailbox = *chain_of_id(mailboxes, id);
    while (mailbox && !id_equal_secret(&mailbox->id, id))
        mailbox = mailbox->same_id;
    return mailbox;
}

void mailboxes_insert(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox)
{
    struct sender_mailbox **chain = chain_of_id(mailboxes, &mailbox->id);
    mailbox->same_id = *chain;
    *chain = mailbox;
    list_append(&mailboxes->by_age, &mailbox->age);
    mailboxes->count++;
}

void mailboxes_remove(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox)
{
    mailboxes_connect(mailboxes, mailbox, 0);
    struct sender_mailbox **at = chain_of_id(mailboxes, &mailbox->id);
    while (*at != mailbox)
        at = &(*at)->same_id;
    *at = mailbox->same_id;
    list_remove(&mailbox->age);
    mailboxes->count--;
}

void mailboxes_touch(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox)
{
    list_remove(&mailbox->age);
    list_append(&mailboxes->by_age, &mailbox->age);
}

void mailboxes_connect(struct sender_mailboxes *mailboxes, struct sender_mailbox *mailbox,
                       uint64_t connection)
{
    if (mailbox->route.connection == connection)
        return;
    if (mailbox->route.connection != 0) {
        struct sender_mailbox **at = chain_of_connection(mailboxes, mailbox->route.connection);
        while (*at != mailbox)
            at = &(*at)->same_connection;
        *at = mailbox->same_connection;
    }
    mailbox->route.connection = connection;
    if (connection != 0) {
        struct sender_mailbox **chain = chain_of_connection(mailboxes, connection);
        mailbox->same_connection = *chain;
        *chain = mailbox;
    }
}

struct sender_mailbox *mailboxes_connected(const struct sender_mailboxes *mailboxes, uint64_t connection)
{
    struct sender_mailbox *mailbox = *chain_of_connection(mailboxes, connection);
    while (mailbox && mailbox->route.connection != connection)
        mailbox = mailbox->same_connection;
    return mailbox;
}
