#include "base/scoped.h"
#include "server/store/local/local.h"

#include <stdio.h>
#include <string.h>

void uploads_init(struct uploads *uploads)
{
    *uploads = (struct uploads){0};
    pthread_mutex_init(&uploads->mutex, NULL);
    list_init(&uploads->recent);
    for (unsigned i = 0; i < UPLOAD_BUCKETS; i++)
        list_init(&uploads->buckets[i]);
}

void uploads_fini(struct local *local)
{
    for (unsigned i = 0; i < UPLOAD_BUCKETS; i++) {
        list_each(at, &local->uploads.buckets[i]) {
            struct upload *upload = list_entry(at, struct upload, bucket);
            uploads_remove(&local->uploads, upload);
            upload_close(&local->uploads, upload);
            upload_give(local, upload);
        }
    }
    pthread_mutex_destroy(&local->uploads.mutex);
}

struct upload *upload_new(const struct id *id, const char *owner, const char *name)
{
    struct upload *upload = calloc(1, sizeof *upload);
    if (!upload)
        return NULL;
    upload->id = *id;
    snprintf(upload->owner, sizeof upload->owner, "%s", owner);
    snprintf(upload->name, sizeof upload->name, "%s", name);
    list_init(&upload->bucket);
    list_init(&upload->recent);
    upload->held_by = 1;
    upload->fd = -1;
    pthread_mutex_init(&upload->mutex, NULL);
    return upload;
}

static struct list *bucket_of(struct uploads *uploads, const struct id *id)
{
    uint32_t hash;
    memcpy(&hash, id->octets, sizeof hash);
    return &uploads->buckets[hash % UPLOAD_BUCKETS];
}

static struct upload *find(struct uploads *uploads, const struct id *id)
{
    list_each(at, bucket_of(uploads, id)) {
        struct upload *upload = list_entry(at, struct upload, bucket);
        if (id_equal(&upload->id, id))
            return upload;
    }
    return NULL;
}

struct upload *uploads_take(struct uploads *uploads, const struct id *id)
{
    scoped_lock(&uploads->mutex);
    struct upload *upload = find(uploads, id);
    if (upload)
        upload->held_by++;
    return upload;
}

void upload_give(struct local *local, struct upload *upload)
{
    pthread_mutex_lock(&local->uploads.mutex);
    bool last = --upload->held_by == 0;
    pthread_mutex_unlock(&local->uploads.mutex);
    if (!last)
        return;
    digest_free(upload->digest);
    free(upload->ahead);
    pthread_mutex_destroy(&upload->mutex);
    free(upload);
}

struct upload *uploads_take_idle(struct uploads *uploads, int64_t before)
{
    scoped_lock(&uploads->mutex);
    for (unsigned i = 0; i < UPLOAD_BUCKETS; i++) {
        list_each(at, &uploads->buckets[i]) {
            struct upload *upload = list_entry(at, struct upload, bucket);
            if (upload->touched >= before)
                continue;
            upload->held_by++;
            return upload;
        }
    }
    return NULL;
}

unsigned uploads_count(struct uploads *uploads)
{
    scoped_lock(&uploads->mutex);
    return uploads->count;
}

uint64_t uploads_promised(struct uploads *uploads)
{
    scoped_lock(&uploads->mutex);
    uint64_t promised = 0;
    for (unsigned i = 0; i < UPLOAD_BUCKETS && uploads->count > 0; i++) {
        list_each(at, &uploads->buckets[i]) {
            const struct upload *upload = list_entry(at, struct upload, bucket);
            uint64_t there = upload->held + upload->beyond;
            if (upload->size_known && upload->size > there)
                promised += upload->size - there;
        }
    }
    return promised;
}

static unsigned count_of_owner(struct uploads *uploads, const char *owner)
{
    unsigned count = 0;
    for (unsigned i = 0; i < UPLOAD_BUCKETS; i++)
        list_each(at, &uploads->buckets[i])
            count += strcmp(list_entry(at, struct upload, bucket)->owner, owner) == 0;
    return count;
}

enum outcome uploads_add(struct uploads *uploads, const struct store_limits *limits, struct upload *upload,
                         struct failure *why)
{
    scoped_lock(&uploads->mutex);
    if (find(uploads, &upload->id))
        return failure_set(why, OUTCOME_HELD, "this upload is being opened by another call");
    if (uploads->count >= limits->uploads)
        return failure_set(why, OUTCOME_LIMIT, "there are %u uploads already", uploads->count);
    if (count_of_owner(uploads, upload->owner) >= limits->uploads_per_principal)
        return failure_set(why, OUTCOME_LIMIT, "%s has %u uploads already", upload->owner,
                           limits->uploads_per_principal);
    list_append(bucket_of(uploads, &upload->id), &upload->bucket);
    upload->held_by++;
    uploads->count++;
    return OUTCOME_OK;
}

void uploads_remove(struct uploads *uploads, struct upload *upload)
{
    scoped_lock(&uploads->mutex);
    list_remove(&upload->bucket);
    uploads->count--;
}

/* ---- open files ---- */

/* With the table's lock and the upload's. */
static void close_file(struct uploads *uploads, struct upload *upload)
{
    if (upload->fd < 0)
        return;
    close(upload->fd);
    upload->fd = -1;
    list_remove(&upload->recent);
    uploads->open--;
}

void upload_close(struct uploads *uploads, struct upload *upload)
{
    scoped_lock(&uploads->mutex);
    close_file(uploads, upload);
}

void uploads_opened(struct uploads *uploads, struct upload *upload)
{
    scoped_lock(&uploads->mutex);
    list_append(&uploads->recent, &upload->recent);
    uploads->open++;
    list_each(at, &uploads->recent) {
        struct upload *oldest = list_entry(at, struct upload, recent);
        if (uploads->open <= UPLOADS_OPEN_MAX)
            return;
        /* One that is at work is not idle: its turn comes another time. */
        if (oldest == upload || pthread_mutex_trylock(&oldest->mutex) != 0)
            continue;
        close_file(uploads, oldest);
        pthread_mutex_unlock(&oldest->mutex);
    }
}
