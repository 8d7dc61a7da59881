/*
 * small_disk: a store on a disk of a size that the test says, and the acts of
 * tests about its room.
 *
 * The disk is this program's own system calls: who links it has fstatvfs64 and
 * unlinkat of it. Between small_disk_setup and _teardown; they are cmocka's, with
 * a subject as state. The store's folder is the disk; its reserve a MiB.
 */
#pragma once

#include "service/store_subject.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MIB ((size_t)1 << 20)

enum { PAGE = 4096, RESERVE = 1 << 20 };

/* Set by a test; 8 MiB at first, and a disk that does as it is told. */
extern struct small_disk {
    const char *folder;
    uint64_t size;
    atomic_uint late;      /* so often what was removed last is not yet seen to be free */
    _Atomic uint64_t seen; /* as told before */
    atomic_bool holds;     /* no content can be removed */
    atomic_uint tries;     /* to do so meanwhile */
    void (*looked)(
        void); /* called whenever somebody asks how much is free, before he is told; NULL: nobody is */
} disk;

uint64_t left_on_disk(void);

int small_disk_setup(void **state);
/* Whatever happened, what is there is whole. */
int small_disk_teardown(void **state);

#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, small_disk_setup, small_disk_teardown)

/* As it is answered, without a repeat. out: may be NULL. */
enum outcome put_once(struct subject *s, const char *name, size_t size, bool may_replace,
                      struct store_entry *out);
/* In pieces of a MiB at most. */
enum outcome upload(struct subject *s, const char *name, size_t size, bool size_known);
/* Put, and removed a second before what comes next. */
void removed(struct subject *s, const char *name, size_t size, struct store_entry *entry);

enum outcome open_version(struct subject *s, const struct store_entry *entry, struct store_read **read);
/* One call of a download. */
enum outcome read_some(struct subject *s, const struct store_entry *entry, uint64_t offset, size_t count);
bool is_kept(struct subject *s, const struct store_entry *entry);

/* Out of space, in these words. */
void expect_refused(enum outcome outcome, const char *needs, const char *has);
