/*
 * The same call twice at the same moment, as when a connection broke and the first sending is still at work: both
 * are answered as one, whichever of the two is ahead at each step.
 */
#include "service/store_subject.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 400, SENDERS = 3, SIZE = 20000 };

struct twice {
    struct subject *subject;
    struct store_put put;
    pthread_barrier_t barrier;
    atomic_uint refused;
    uint8_t bytes[SIZE];
};

static bool is_told(struct twice *twice, enum outcome outcome, const struct store_entry *entry)
{
    return outcome == OUTCOME_OK && entry->size == SIZE && id_equal(&entry->version, &twice->put.op);
}

/* Not all at the very same moment: the second looks while the first commits. */
static void *send_put(void *argument)
{
    struct twice *twice = argument;
    struct subject *s = twice->subject;
    struct store_entry entry = {0};
    struct failure why = {0};
    static atomic_uint turn;
    pthread_barrier_wait(&twice->barrier);
    usleep(atomic_fetch_add(&turn, 1) * 7 % 400);
    enum outcome outcome = s->acts->put(s->store, &alice, &twice->put, &entry, &why);
    if (!is_told(twice, outcome, &entry) && atomic_fetch_add(&twice->refused, 1) == 0)
        print_error("a repeat is answered %s: %s\n", outcome_name(outcome), why.text);
    return NULL;
}

/* OPEN of an upload that is being committed: it goes on, or was published. */
static void *send_begin(void *argument)
{
    struct twice *twice = argument;
    struct subject *s = twice->subject;
    const struct store_upload_begin begin = {.upload = twice->put.op,
                                             .name = twice->put.name,
                                             .size_known = true,
                                             .size = SIZE};
    struct store_upload_state state = {0};
    struct failure why = {0};
    pthread_barrier_wait(&twice->barrier);
    for (unsigned i = 0; i < 20 && !state.published; i++) {
        enum outcome outcome = s->acts->upload_begin(s->store, &alice, &begin, &state, &why);
        if (outcome != OUTCOME_OK && atomic_fetch_add(&twice->refused, 1) == 0)
            print_error("an upload that is begun again is answered %s: %s\n", outcome_name(outcome),
                        why.text);
    }
    return NULL;
}

static void *send_publish(void *argument)
{
    struct twice *twice = argument;
    struct subject *s = twice->subject;
    const struct store_publish publish = {.upload = twice->put.op, .mtime = 1};
    struct store_entry entry = {0};
    struct failure why = {0};
    pthread_barrier_wait(&twice->barrier);
    enum outcome outcome = s->acts->publish(s->store, &alice, &publish, &entry, &why);
    if (!is_told(twice, outcome, &entry) && atomic_fetch_add(&twice->refused, 1) == 0)
        print_error("a publish is answered %s: %s\n", outcome_name(outcome), why.text);
    return NULL;
}

static void at_once(struct twice *twice, void *(*const senders[SENDERS])(void *))
{
    pthread_t threads[SENDERS];
    pthread_barrier_init(&twice->barrier, NULL, SENDERS);
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, senders[i], twice), 0);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&twice->barrier);
    assert_int_equal(twice->refused, 0);
}

static void begin_round(struct twice *twice, void **state, unsigned round, char name[32])
{
    *twice = (struct twice){.subject = *state};
    fill(twice->bytes, SIZE, round);
    snprintf(name, 32, "twice-%u", round);
    twice->put = (struct store_put){.op = id_random(),
                                    .name = name,
                                    .content = twice->bytes,
                                    .size = SIZE,
                                    .mtime = 1};
}

static void the_same_put(void **state)
{
    static void *(*const senders[SENDERS])(void *) = {send_put, send_put, send_put};
    static struct twice twice;
    char name[32];
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_round(&twice, state, round, name);
        at_once(&twice, senders);
    }
}

static void an_upload_begun_again(void **state)
{
    static void *(*const senders[SENDERS])(void *) = {send_publish, send_begin, send_begin};
    static struct twice twice;
    char name[32];
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_round(&twice, state, round, name);
        struct subject *s = twice.subject;
        const struct store_upload_begin begin = {.upload = twice.put.op,
                                                 .name = name,
                                                 .size_known = true,
                                                 .size = SIZE};
        struct store_upload_state begun;
        uint64_t held = 0;
        assert_ok(s->acts->upload_begin(s->store, &alice, &begin, &begun, &store_why));
        assert_ok(
            s->acts->upload_write(s->store, &alice, &twice.put.op, 0, twice.bytes, SIZE, &held, &store_why));
        at_once(&twice, senders);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_put, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(an_upload_begun_again, subject_setup, subject_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
