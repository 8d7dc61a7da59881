/*
 * fileshared: reads what it is to be, becomes it, and waits for the signal to
 * stop. Or does a command that looks after a store (care.h).
 *
 * Exit codes: 0 stopped as told (or the configuration is sound), 1 could not
 * start, or not stop, 2 usage or configuration.
 */
#include "base/last_words.h"
#include "base/log.h"
#include "server/care.h"
#include "server/command_line.h"
#include "server/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, GRACE_SECONDS = 10 };

/*
 * Calls have stop-seconds to end, and a disk that they wait for some more. Beyond that the server ends as a kill
 * would end it, which costs nothing that was answered.
 */
static void end_anyway(int number)
{
    (void)number;
    last_words("fileshared: error: does not come to its end (a disk that hangs?): ended as it is\n",
               EXIT_FAILURE);
}

static void end_within(unsigned seconds)
{
    const struct sigaction action = {.sa_handler = end_anyway, .sa_flags = SA_RESETHAND | SA_NODEFER};

    sigaction(SIGALRM, &action, NULL);
    alarm(seconds);
}

/* Blocked before any thread starts, so that main alone takes them. */
static sigset_t stop_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static int serve(const struct config *config)
{
    sigset_t set = stop_signals();
    struct daemon *daemon = NULL;
    struct failure why = {0};
    int number = 0;

    log_open("fileshared", config->sink, config->level);
    if (daemon_start(config, &daemon, &why) != OUTCOME_OK) {
        log_error("%s", why.text);
        return EXIT_FAILURE;
    }
    log_notice("fileshared " FILESHARE_VERSION " serves %s", config->store);
    sigwait(&set, &number);
    end_within(config->stop_seconds + GRACE_SECONDS);
    log_notice("%s: stopping", number == SIGINT ? "SIGINT" : "SIGTERM");
    daemon_stop(daemon);
    log_notice("stopped");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct command_line line = {0};
    struct failure why = {0};

    if (argc > 1 && care_is_command(argv[1]))
        return care_run(argc - 1, argv + 1);
    if (command_line_read(argc, argv, &line, &why) != OUTCOME_OK) {
        fprintf(stderr, "fileshared: %s\nTry \"fileshared --help\".\n", why.text);
        return EXIT_USAGE;
    }
    if (line.told)
        return EXIT_SUCCESS;

    int code = EXIT_SUCCESS;
    if (line.dump)
        config_dump(line.config, stdout);
    else if (line.check)
        printf("the configuration is sound\n");
    else
        code = serve(line.config);
    config_free(line.config);
    if (fflush(stdout) != 0)
        code = EXIT_FAILURE;
    return code;
}
