#include "base/fault.h"

#ifdef FILESHARE_FAULTS

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Made by the linker: the first name, and behind the last. */
extern const char *__start_fault_names[], *__stop_fault_names[];

/* Written before main, then only counted down. */
static struct {
    char name[64];
    atomic_long left;
} plan;

static void list_names(void)
{
    for (const char **at = __start_fault_names; at < __stop_fault_names; at++)
        puts(*at);
    fflush(stdout);
    _exit(0);
}

__attribute__((constructor)) static void read_plan(void)
{
    const char *text = getenv("FILESHARE_CRASH_AT");
    if (!text)
        return;
    if (strcmp(text, "list") == 0)
        list_names();
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    if (length >= sizeof plan.name)
        return;
    memcpy(plan.name, text, length);
    plan.left = colon ? atol(colon + 1) : 1;
}

void fault_pass(const char *name)
{
    if (plan.name[0] != '\0' && strcmp(name, plan.name) == 0 && atomic_fetch_sub(&plan.left, 1) == 1)
        kill(getpid(), SIGKILL);
}

#endif
