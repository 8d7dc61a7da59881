/*
 * Our entries in a real rpcbind, and what may stand in their way: rpc/rpcbind.h.
 *
 * In a network and a /run of our own; needs root (and is skipped without).
 */
#include "rpc/rpcbind.h"
#include "rpc/rpcbind_talk.h"
#include "wire/peer.h"
#include "wire/rpcbind_world.h"
#include "wire/small_program.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PROGRAM = 0x20000042, OTHER_UID = 12345, NO_PORT = 19 };

/* ---- steps ---- */

static struct address loopback(const char *host, uint16_t port)
{
    struct address address;

    assert_int_equal(address_ip(host, port, &address, NULL), OUTCOME_OK);
    return address;
}

static struct rpcbind_registration *registration_at(uint16_t port)
{
    struct address addresses[] = {loopback("127.0.0.1", port), loopback("::1", port)};
    struct rpcbind_registration *registration = NULL;

    assert_int_equal(rpcbind_registration_new(PROGRAM, 1, addresses, 2, &registration, NULL), OUTCOME_OK);
    return registration;
}

/* The port that rpcbind tells, 0 if none. */
static uint16_t told_port(const char *host, uint32_t program, uint32_t version)
{
    struct address where = loopback(host, 5), found;
    struct failure why = {0};
    enum outcome outcome = rpcbind_find(&where, program, version, 5000, 0, &found, &why);

    if (outcome == OUTCOME_ABSENT)
        return 0;
    if (outcome != OUTCOME_OK)
        fail_msg("%s", why.text);
    assert_true(address_same_host(&where, &found));
    return address_port(&found);
}

static void assert_registers(struct rpcbind_registration *registration, uint16_t port)
{
    struct failure why = {0};

    if (rpcbind_register(registration, 0, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    assert_int_equal(told_port("127.0.0.1", PROGRAM, 1), port);
    assert_int_equal(told_port("::1", PROGRAM, 1), port);
}

/* In a process of this uid, which is killed then: what it leaves in rpcbind stays behind. */
static void in_process_of(uid_t uid, bool (*act)(void *context), void *context)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        if (setuid(uid) == 0 && act(context))
            raise(SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool register_and_die(void *port)
{
    struct address addresses[] = {loopback("127.0.0.1", *(uint16_t *)port),
                                  loopback("::1", *(uint16_t *)port)};
    struct rpcbind_registration *registration = NULL;

    return rpcbind_registration_new(PROGRAM, 1, addresses, 2, &registration, NULL) == OUTCOME_OK &&
           rpcbind_register(registration, 0, NULL) == OUTCOME_OK;
}

/* ---- without rpcbind ---- */

static void test_without_rpcbind(void **state)
{
    struct rpcbind_registration *registration, *transient = NULL;
    struct address where = loopback("127.0.0.1", 1), found;
    struct failure why = {0};
    uint32_t program;

    (void)state;
    rpcbind_world_need();
    int64_t began = now_ms();
    registration = registration_at(NO_PORT);
    assert_int_equal(rpcbind_register(registration, 0, &why), OUTCOME_UNAVAILABLE);
    assert_int_equal(why.outcome, OUTCOME_UNAVAILABLE);
    assert_int_equal(rpcbind_register_transient(&where, 1, 1, 0, &program, &transient, &why),
                     OUTCOME_UNAVAILABLE);
    assert_null(transient);
    assert_null(rpcbind_registration_free(registration));
    assert_int_equal(rpcbind_find(&where, PROGRAM, 1, 5000, 0, &found, &why), OUTCOME_UNREACHABLE);
    assert_null(rpcbind_registration_free(NULL));
    assert_true(now_ms() - began < 500 * slowness());
}

/* ---- our own entry ---- */

static void test_set_again_and_unset(void **state)
{
    struct rpcbind_registration *registration = registration_at(4001);

    (void)state;
    assert_int_equal(told_port("127.0.0.1", PROGRAM, 1), 0);
    assert_registers(registration, 4001);
    assert_registers(registration, 4001); /* the timer */
    /* rpcbind answers another version's address for one that is not there */
    assert_int_equal(told_port("127.0.0.1", PROGRAM, 7), 4001);
    assert_int_equal(told_port("127.0.0.1", PROGRAM + 1, 1), 0);
    rpcbind_registration_free(registration);
    assert_int_equal(told_port("127.0.0.1", PROGRAM, 1), 0);
    assert_int_equal(told_port("::1", PROGRAM, 1), 0);
}

static void test_rpcbind_lost_it(void **state)
{
    struct rpcbind_registration *registration = registration_at(4001);

    (void)state;
    assert_registers(registration, 4001);
    rpcbind_world_kill();
    assert_int_equal(rpcbind_register(registration, 0, NULL), OUTCOME_UNAVAILABLE);
    rpcbind_world_start();
    assert_int_equal(told_port("127.0.0.1", PROGRAM, 1), 0);
    assert_registers(registration, 4001);
    rpcbind_registration_free(registration);
}

/* ---- somebody else's ---- */

static void test_dead_predecessor(void **state)
{
    struct rpcbind_registration *registration = registration_at(4002);
    uint16_t before = 4001;

    (void)state;
    in_process_of(0, register_and_die, &before);
    assert_int_equal(told_port("127.0.0.1", PROGRAM, 1), 4001);
    assert_registers(registration, 4002);
    rpcbind_registration_free(registration);
}

/* At the old address another program answers: the predecessor is dead all the same. */
static void test_another_program_at_its_address(void **state)
{
    struct rpcbind_registration *registration = registration_at(4002);
    struct small_server server;

    (void)state;
    small_server_start(&server, NULL);
    uint16_t before = address_port(&server.tcp);
    in_process_of(0, register_and_die, &before);
    assert_registers(registration, 4002);
    rpcbind_registration_free(registration);
    small_server_stop(&server);
}

static void test_living_predecessor(void **state)
{
    struct rpcbind_registration *other = NULL, *living = NULL;
    struct address elsewhere = loopback("127.0.0.1", 4002);
    struct small_server server;
    struct failure why = {0};
    char shown[ADDRESS_TEXT_SIZE];

    (void)state;
    small_server_start(&server, NULL);
    assert_int_equal(rpcbind_registration_new(SMALL_PROGRAM, 1, &server.tcp, 1, &living, NULL), OUTCOME_OK);
    assert_int_equal(rpcbind_registration_new(SMALL_PROGRAM, 1, &elsewhere, 1, &other, NULL), OUTCOME_OK);
    assert_int_equal(rpcbind_register(living, 0, &why), OUTCOME_OK);
    assert_true(rpcbind_is_alive(&server.tcp, SMALL_PROGRAM, 1, 2000));
    assert_false(rpcbind_is_alive(&server.tcp, SMALL_PROGRAM, 2, 2000));
    assert_false(rpcbind_is_alive(&server.tcp, PROGRAM, 1, 2000));
    assert_false(rpcbind_is_alive(&elsewhere, PROGRAM, 1, 2000));

    assert_int_equal(rpcbind_register(other, 0, &why), OUTCOME_HELD);
    assert_non_null(strstr(why.text, address_text(&server.tcp, shown)));
    rpcbind_registration_free(other); /* is not ours to unset */
    assert_int_equal(told_port("127.0.0.1", SMALL_PROGRAM, 1), address_port(&server.tcp));
    rpcbind_registration_free(living);
    assert_int_equal(told_port("127.0.0.1", SMALL_PROGRAM, 1), 0);
    small_server_stop(&server);
}

/* One that takes connections and says nothing is hung, not dead. */
static void test_silent_predecessor(void **state)
{
    struct rpcbind_registration *registration = registration_at(4002);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct address address = loopback("127.0.0.1", 4001);
    struct failure why = {0};
    uint16_t before = 4001;

    (void)state;
    assert_int_equal(bind(listening, &address.any, address.size), 0);
    assert_int_equal(listen(listening, 4), 0);
    in_process_of(0, register_and_die, &before);
    assert_int_equal(rpcbind_register(registration, 0, &why), OUTCOME_HELD);
    assert_non_null(strstr(why.text, "does not answer"));
    close(listening);
    assert_registers(registration, 4002);
    rpcbind_registration_free(registration);
}

struct attempt {
    enum outcome expected;
    char words[64];
};

static bool attempt_registration(void *context)
{
    const struct attempt *attempt = context;
    struct address address = loopback("127.0.0.1", 4002);
    struct rpcbind_registration *registration = NULL;
    struct failure why = {0};

    if (rpcbind_registration_new(PROGRAM, 1, &address, 1, &registration, &why) != OUTCOME_OK)
        return false;
    enum outcome outcome = rpcbind_register(registration, 0, &why);
    if (outcome == attempt->expected && strstr(why.text, attempt->words))
        return true;
    fprintf(stderr, "%s: %s\n", outcome_name(outcome), why.text);
    return false;
}

static void test_entries_of_other_uids(void **state)
{
    struct attempt denied = {OUTCOME_DENIED, "belongs to superuser"};
    struct rpcbind_registration *registration = registration_at(4003);
    uint16_t before = 4001;

    (void)state;
    in_process_of(0, register_and_die, &before);
    in_process_of(OTHER_UID, attempt_registration, &denied);
    assert_int_equal(told_port("127.0.0.1", PROGRAM, 1), 4001);

    /* Root may remove anybody's. */
    assert_registers(registration, 4003);
    rpcbind_registration_free(registration);
    in_process_of(OTHER_UID, register_and_die, &before);
    registration = registration_at(4003);
    assert_registers(registration, 4003);
    rpcbind_registration_free(registration);
}

/* ---- transient numbers ---- */

static bool register_transient_and_die(void *context)
{
    struct address address = loopback("127.0.0.1", 4001);
    struct rpcbind_registration *registration = NULL;
    uint32_t program;

    (void)context;
    return rpcbind_register_transient(&address, 1, 1, 0, &program, &registration, NULL) == OUTCOME_OK;
}

static unsigned count_transient(const char *owner)
{
    struct rpcbind_talk *talk = NULL;
    rpcblist_ptr entries = NULL;
    unsigned count = 0;

    assert_int_equal(rpcbind_talk_here(3000, 0, &talk, NULL), OUTCOME_OK);
    assert_int_equal(rpcbind_talk_dump(talk, &entries, NULL), OUTCOME_OK);
    for (rpcblist_ptr at = entries; at; at = at->rpcb_next)
        count += at->rpcb_map.r_prog >= 0x40000000 && at->rpcb_map.r_prog <= 0x5fffffff &&
                 strcmp(at->rpcb_map.r_owner, owner) == 0;
    rpcbind_entries_free(&entries);
    rpcbind_talk_end(talk);
    return count;
}

static void test_transient_numbers(void **state)
{
    struct rpcbind_registration *first = NULL, *second = NULL;
    struct address both[] = {loopback("127.0.0.1", 4005), loopback("::1", 4005)};
    uint32_t first_number = 0, second_number = 0;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    assert_int_equal(bind(listening, &both[0].any, both[0].size), 0);
    assert_int_equal(listen(listening, 8), 0);
    for (int i = 0; i < 3; i++)
        in_process_of(OTHER_UID, register_transient_and_die, NULL);
    assert_int_equal(count_transient("12345"), 1); /* each start removed the dead one before */

    assert_int_equal(rpcbind_register_transient(both, 1, 1, 0, &first_number, &first, NULL), OUTCOME_OK);
    assert_int_equal(count_transient("12345"), 1); /* another uid's are left alone */
    /* The first one's process lives: its entry stays, though it does not answer. */
    assert_int_equal(rpcbind_register_transient(both, 2, 1, 0, &second_number, &second, NULL), OUTCOME_OK);
    assert_true(first_number != second_number);
    assert_in_range(first_number, 0x40000000, 0x5fffffff);
    assert_in_range(second_number, 0x40000000, 0x5fffffff);
    assert_int_equal(count_transient("superuser"), 3);
    assert_int_equal(told_port("127.0.0.1", first_number, 1), 4005);
    assert_int_equal(told_port("::1", second_number, 1), 4005);
    rpcbind_registration_free(second);
    assert_int_equal(count_transient("superuser"), 1);
    rpcbind_registration_free(first);
    assert_int_equal(count_transient("superuser"), 0);
    close(listening);
}

/* ---- an rpcbind that hangs ---- */

static void test_rpcbind_that_hangs(void **state)
{
    struct rpcbind_registration *registration = registration_at(4001);
    struct address where = loopback("127.0.0.1", 1), found;
    struct failure why = {0};

    (void)state;
    assert_int_equal(kill(rpcbind_world_pid(), SIGSTOP), 0);
    int64_t began = now_ms();
    assert_int_equal(rpcbind_find(&where, PROGRAM, 1, 300, 0, &found, &why), OUTCOME_TIMEOUT);
    assert_in_range(now_ms() - began, 290, 3000 * slowness());
    assert_int_equal(rpcbind_register(registration, 0, &why), OUTCOME_UNAVAILABLE);
    assert_true(now_ms() - began < 8000 * slowness());
    assert_int_equal(kill(rpcbind_world_pid(), SIGCONT), 0);
    assert_registers(registration, 4001);
    rpcbind_registration_free(registration);
}

/* ---- one that answers slowly ---- */

/* Stands before the real one's socket, and passes each answer on late. */
struct slow {
    int listening;
    _Atomic unsigned delay_ms;
    _Atomic bool stopping;
    pthread_t thread;
};

#define SOCKET      "/run/rpcbind.sock"
#define REAL_SOCKET "/run/real.sock"

static int unix_socket(const char *path, bool listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (listens ? bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 8) == 0
                : connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* One conversation, until either side ends it. */
static void relay_slowly(struct slow *slow, int client)
{
    int real = unix_socket(REAL_SOCKET, false);
    struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = real, .events = POLLIN}};
    char bytes[65536];

    while (real >= 0 && !slow->stopping && poll(fds, 2, 50) >= 0)
        for (int i = 0; i < 2; i++) {
            if (!(fds[i].revents & (POLLIN | POLLHUP)))
                continue;
            ssize_t count = read(fds[i].fd, bytes, sizeof(bytes));
            if (i == 1)
                usleep(slow->delay_ms * 1000);
            if (count <= 0 || send(fds[1 - i].fd, bytes, (size_t)count, MSG_NOSIGNAL) != count) {
                close(real);
                return;
            }
        }
    if (real >= 0)
        close(real);
}

static void *be_slow(void *context)
{
    struct slow *slow = context;
    struct pollfd fd = {.fd = slow->listening, .events = POLLIN};

    while (!slow->stopping) {
        int client = poll(&fd, 1, 50) == 1 ? accept4(slow->listening, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (client < 0)
            continue;
        relay_slowly(slow, client);
        close(client);
    }
    return NULL;
}

static void test_rpcbind_that_is_slow(void **state)
{
    struct rpcbind_registration *registration = registration_at(4002), *transient = NULL;
    struct slow slow = {.delay_ms = 100};
    struct address address = loopback("127.0.0.1", 4002);
    struct failure why = {0};
    uint16_t before = 4001;
    uint32_t program;

    (void)state;
    in_process_of(0, register_and_die, &before);
    assert_int_equal(rename(SOCKET, REAL_SOCKET), 0);
    slow.listening = unix_socket(SOCKET, true);
    assert_true(slow.listening >= 0);
    assert_int_equal(pthread_create(&slow.thread, NULL, be_slow, &slow), 0);
    /* A little slow: all is done, a dead predecessor's entry taken over. */
    assert_registers(registration, 4002);
    assert_int_equal(rpcbind_register_transient(&address, 1, 1, 0, &program, &transient, &why), OUTCOME_OK);
    rpcbind_registration_free(transient);
    /* Each answer within the deadline, but many of them: it ends in bounded time, and comes to its end in the end. */
    rpcbind_registration_free(registration);
    in_process_of(0, register_and_die, &before);
    registration = registration_at(4003);
    slow.delay_ms = 1200;
    enum outcome outcome = OUTCOME_UNAVAILABLE;
    for (unsigned tries = 0; tries < 6 && outcome != OUTCOME_OK; tries++) {
        int64_t began = now_ms();
        outcome = rpcbind_register(registration, 0, &why);
        assert_true(outcome == OUTCOME_OK || outcome == OUTCOME_UNAVAILABLE);
        assert_true(now_ms() - began < 10000 * slowness());
    }
    assert_int_equal(outcome, OUTCOME_OK);
    slow.delay_ms = 0;
    assert_registers(registration, 4003);
    /* Too slow: as if it were not there. */
    slow.delay_ms = 2500;
    int64_t began = now_ms();
    assert_int_equal(rpcbind_register(registration, 0, &why), OUTCOME_UNAVAILABLE);
    assert_true(now_ms() - began < 8000 * slowness());
    slow.delay_ms = 0;
    assert_registers(registration, 4003);
    rpcbind_registration_free(registration);
    slow.stopping = true;
    pthread_join(slow.thread, NULL);
    close(slow.listening);
    assert_int_equal(unlink(SOCKET), 0);
    assert_int_equal(unlink(REAL_SOCKET), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_rpcbind),
        cmocka_unit_test_setup_teardown(test_set_again_and_unset, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_rpcbind_lost_it, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_dead_predecessor, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_another_program_at_its_address, rpcbind_world_begin,
                                        rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_living_predecessor, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_silent_predecessor, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_entries_of_other_uids, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_transient_numbers, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_rpcbind_that_hangs, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(test_rpcbind_that_is_slow, rpcbind_world_begin, rpcbind_world_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
