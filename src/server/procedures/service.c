#include "server/procedures/service.h"

#include "base/scoped.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void service_init(struct service *service, struct store *store, const struct store_limits *limits,
                  const struct clock *clock)
{
    *service = (struct service){
        .store = store,
        .clock = clock,
        .limits = *limits,
        .started = clock_elapsed(clock),
    };
    pthread_mutex_init(&service->health_lock, NULL);
    if (gethostname(service->host, sizeof service->host - 1) != 0)
        snprintf(service->host, sizeof service->host, "localhost");
}

void service_fini(struct service *service)
{
    pthread_mutex_destroy(&service->health_lock);
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
