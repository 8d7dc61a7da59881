#include "server/procedures/service.h"

#include "base/scoped.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum outcome service_init(struct service *service, struct store *store, const struct store_limits *limits,
                          const struct clock *clock, struct failure *why)
{
    int poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (poke_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "eventfd");
    *service = (struct service){
        .store = store,
        .clock = clock,
        .limits = *limits,
        .started = clock_elapsed(clock),
        .health = {.leftovers = 1}, /* until upkeep looked */
        .poke_fd = poke_fd,
    };
    pthread_mutex_init(&service->health_lock, NULL);
    if (gethostname(service->host, sizeof service->host - 1) != 0)
        snprintf(service->host, sizeof service->host, "localhost");
    return OUTCOME_OK;
}

void service_fini(struct service *service)
{
    close(service->poke_fd);
    pthread_mutex_destroy(&service->health_lock);
}

void service_poke(struct service *service)
{
    /* Fails only when the counter is full: then it is awake already. */
    (void)eventfd_write(service->poke_fd, 1);
}

void service_note_health(struct service *service, const struct store_health *health)
{
    scoped_lock(&service->health_lock);
    service->health = *health;
}

void service_health(struct service *service, struct store_health *out)
{
    scoped_lock(&service->health_lock);
    *out = service->health;
}

bool service_trouble(struct service *service)
{
    atomic_store(&service->troubled_at, clock_elapsed(service->clock));
    return !atomic_exchange(&service->troubled, true);
}

bool service_trouble_is_over(struct service *service)
{
    int64_t quiet = clock_elapsed(service->clock) - atomic_load(&service->troubled_at);

    return atomic_load(&service->troubled) && quiet >= (int64_t)SERVICE_QUIET_MS * 1000000 &&
           atomic_exchange(&service->troubled, false);
}
