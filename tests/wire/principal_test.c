/* Who the kernel says is at the other end, whatever the credential claims. */
#include "place.h"
#include "rpc/principal.h"
#include "wire/peer.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOBODY = 65534 };

static int listen_on(const char *host, struct address *bound)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    struct address address;

    assert_int_equal(address_ip(host, 0, &address, NULL), OUTCOME_OK);
    int fd = socket(address.any.sa_family, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &address.any, address.size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&storage, &size), 0);
    *bound = address_of((const struct sockaddr *)&storage, size);
    return fd;
}

static int accept_peer(int listener, struct peer *peer)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    int fd = accept(listener, (struct sockaddr *)&storage, &size);

    assert_true(fd >= 0);
    struct address address = address_of((const struct sockaddr *)&storage, size);
    peer_init(peer, fd, &address);
    return fd;
}

/* What a call is taken for whose credential claims to be root's. */
static enum auth_stat who(struct peer *peer, struct rpc_principal *out)
{
    uint8_t credential[64];
    uint32_t size = credential_of(0, credential);

    return principal_of(peer, AUTH_SYS, credential, size, out);
}

static void test_loopback(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "127.1.2.3", "::1"};
    char wanted[64];

    (void)state;
    snprintf(wanted, sizeof wanted, "unix:%u", (unsigned)geteuid());
    for (size_t i = 0; i < 3; i++) {
        struct address address;
        struct peer peer;
        struct rpc_principal principal;
        int listener = listen_on(hosts[i], &address), client = peer_connect(&address);
        int server = accept_peer(listener, &peer);
        assert_int_equal(who(&peer, &principal), AUTH_OK);
        assert_string_equal(principal.text, wanted);
        assert_true(principal.superior);
        close(client), close(server), close(listener);
    }
}

/* A socket whose process has closed it belongs to nobody, least of all to root. */
static void test_orphan(void **state)
{
    struct address address;
    struct peer peer;
    struct rpc_principal principal;
    int listener = listen_on("127.0.0.1", &address), client = peer_connect(&address);
    int server = accept_peer(listener, &peer);

    (void)state;
    peer_send(client, "x", 1);
    close(client);
    assert_int_equal(who(&peer, &principal), AUTH_TOOWEAK);
    assert_string_equal(principal.text, "");
    assert_false(principal.superior);
    /* One that only shut its side down is still its owner's. */
    int half = peer_connect(&address);
    int other = accept_peer(listener, &peer);
    shutdown(half, SHUT_WR);
    assert_int_equal(who(&peer, &principal), AUTH_OK);
    close(half);
    /* What was known before it closed stays known. */
    assert_int_equal(who(&peer, &principal), AUTH_OK);
    close(other), close(server), close(listener);
}

/* A process of another uid connects, and claims to be root. */
static pid_t connect_as_nobody(const struct address *address)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        _exit(1);
    int fd = socket(address->any.sa_family, SOCK_STREAM, 0);
    if (connect(fd, &address->any, address->size) != 0)
        _exit(1);
    pause();
    _exit(0);
}

static void expect_nobody(int listener, const struct address *address)
{
    struct peer peer;
    struct rpc_principal principal;
    pid_t child = connect_as_nobody(address);
    int server = accept_peer(listener, &peer);

    assert_int_equal(who(&peer, &principal), AUTH_OK);
    assert_string_equal(principal.text, "unix:65534");
    assert_false(principal.superior);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(server);
}

static void test_another_uid(void **state)
{
    char folder[PLACE_SIZE], path[PLACE_SIZE + 8];
    struct address address, local;

    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can become somebody else */
    int listener = listen_on("127.0.0.1", &address);
    expect_nobody(listener, &address);
    close(listener);

    assert_non_null(place_make(folder, place_on_disk(), "principal"));
    assert_int_equal(chmod(folder, 0755), 0);
    snprintf(path, sizeof path, "%s/socket", folder);
    assert_int_equal(address_local(path, &local, NULL), OUTCOME_OK);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, &local.any, local.size), 0);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(listen(listener, 8), 0);
    expect_nobody(listener, &local);
    close(listener);
    unlink(path);
    rmdir(folder);
}

/* From elsewhere a caller is who it says it is, at its address; never superior. */
static void test_remote(void **state)
{
    struct rpc_principal principal;
    struct peer peer = {.kind = PEER_REMOTE, .uid = -1};

    (void)state;
    assert_int_equal(address_ip("192.0.2.7", 1023, &peer.peer, NULL), OUTCOME_OK);
    assert_int_equal(who(&peer, &principal), AUTH_OK);
    assert_string_equal(principal.text, "sys:0@192.0.2.7");
    assert_false(principal.superior);
    assert_int_equal(principal_of(&peer, AUTH_NONE, NULL, 0, &principal), AUTH_OK);
    assert_string_equal(principal.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_orphan),
        cmocka_unit_test(test_another_uid),
        cmocka_unit_test(test_remote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
