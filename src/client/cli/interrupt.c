#include "client/cli/interrupt.h"

#include "base/last_words.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LAST_SECONDS = 20 };

/* All that the handler touches; lock-free atomics, as a handler may run on any thread. */
static struct {
    _Atomic int noted;
    _Atomic int running; /* handlers; interrupt_remove waits for them */
    _Atomic bool held;
    _Atomic(struct fileshare *) sessions[INTERRUPT_SESSIONS];
    int fd;
} interrupt = {.fd = -1};

static void on_signal(int number)
{
    atomic_fetch_add(&interrupt.running, 1);
    bool second = atomic_exchange(&interrupt.noted, number) != 0, stopped = false;
    for (size_t i = 0; i < INTERRUPT_SESSIONS; i++) {
        struct fileshare *session = atomic_load(&interrupt.sessions[i]);
        if (session) {
            fileshare_stop(session);
            stopped = true;
        }
    }
    if (second || (!stopped && !atomic_load(&interrupt.held)))
        _exit(EXIT_SIGNAL + number);
    uint64_t one = 1;
    if (write(interrupt.fd, &one, sizeof one) < 0) {
        /* it is readable already */
    }
    alarm(LAST_SECONDS);
    atomic_fetch_sub(&interrupt.running, 1);
}

/* The way out has taken too long: somebody does not read our output, a disk or a resolver hangs. */
static void on_alarm(int number)
{
    (void)number;
    last_words("fileshare-client: does not come to its end: ended as it is\n", (int)interrupt_code());
}

void interrupt_init(void)
{
    interrupt.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (interrupt.fd < 0)
        return; /* without it signals do what they do by default */
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* not under nohup */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESETHAND | SA_NODEFER;
    sigaction(SIGALRM, &action, NULL);
}

static void exchange(struct fileshare *from, struct fileshare *to)
{
    for (size_t i = 0; i < INTERRUPT_SESSIONS; i++) {
        struct fileshare *expected = from;
        if (atomic_compare_exchange_strong(&interrupt.sessions[i], &expected, to))
            return;
    }
}

void interrupt_add(struct fileshare *session)
{
    exchange(NULL, session);
}

void interrupt_remove(struct fileshare *session)
{
    if (!session)
        return;
    exchange(session, NULL);
    while (atomic_load(&interrupt.running) != 0)
        sched_yield();
}

void interrupt_hold(bool hold)
{
    atomic_store(&interrupt.held, hold);
}

int interrupt_fd(void)
{
    return interrupt.fd;
}

int interrupt_noted(void)
{
    return atomic_load(&interrupt.noted);
}

int interrupt_take(void)
{
    uint64_t count;
    alarm(0);
    if (read(interrupt.fd, &count, sizeof count) < 0) {
        /* it was not readable */
    }
    return atomic_exchange(&interrupt.noted, 0);
}

enum exit_code interrupt_code(void)
{
    int number = interrupt_noted();
    return EXIT_SIGNAL + (number != 0 ? number : SIGINT);
}
