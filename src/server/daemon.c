#include "server/daemon.h"

#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/scoped.h"
#include "rpc/rpcbind.h"
#include "server/delivery/delivery.h"
#include "server/procedures/service.h"
#include "server/upkeep.h"

#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { ADDRESSES_MAX = CONFIG_LIST_MAX + 2 };

struct daemon {
    struct service service; /* first: the engine's context is both */
    const struct config *config;
    struct store *store;
    struct rpc_server *server;
    struct delivery *delivery;
    struct rpcbind_registration *registration;
    struct upkeep *upkeep;
    struct address addresses[ADDRESSES_MAX]; /* bound */
    size_t address_count;
    bool has_service, serving, delivering, keeping, address_file;
};

/* ---- what the engine asks ---- */

static bool admits(void *context, const struct address *peer)
{
    const struct config *config = ((struct daemon *)context)->config;

    if (config->allow.count == 0 || address_is_local(peer) || address_is_loopback(peer))
        return true;
    for (size_t i = 0; i < config->allow.count; i++)
        if (address_block_holds(&config->blocks[i], peer))
            return true;
    return false;
}

static void connection_closed(void *context, uint64_t connection)
{
    struct daemon *daemon = context;

    if (daemon->delivery)
        delivery_connection_closed(daemon->delivery, connection);
}

/* ---- listening ---- */

static enum outcome listen_at(struct daemon *daemon, const struct address *address, struct failure *why)
{
    enum outcome outcome = rpc_server_listen(daemon->server, address,
                                             &daemon->addresses[daemon->address_count], why);

    if (outcome == OUTCOME_OK)
        daemon->address_count++;
    return outcome;
}

static bool has_ipv6_loopback(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    scoped_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

/* The safe default: both loopback addresses, on one port if that can be. */
static enum outcome listen_on_loopback(struct daemon *daemon, struct failure *why)
{
    uint16_t port = (uint16_t)daemon->config->port;
    struct address address;
    struct failure ignored;
    enum outcome outcome = address_ip("127.0.0.1", port, &address, why);

    if (outcome == OUTCOME_OK)
        outcome = listen_at(daemon, &address, why);
    if (outcome != OUTCOME_OK || !has_ipv6_loopback())
        return outcome;
    outcome = address_ip("::1", address_port(&daemon->addresses[0]), &address, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (port == 0 && listen_at(daemon, &address, &ignored) == OUTCOME_OK)
        return OUTCOME_OK;
    address_set_port(&address, port);
    return listen_at(daemon, &address, why);
}

/* The folder of a Unix socket: made if missing, open to all, since who may do what goes by the peer's uid. */
static enum outcome make_socket_folder(const char *path, struct failure *why)
{
    char copy[sizeof(struct sockaddr_un)];

    snprintf(copy, sizeof copy, "%s", path);
    return disk_make_folder(dirname(copy), 0755, why);
}

static enum outcome listen_everywhere(struct daemon *daemon, struct failure *why)
{
    const struct config *config = daemon->config;
    enum outcome outcome = OUTCOME_OK;

    if (config->address_count == 0)
        outcome = listen_on_loopback(daemon, why);
    for (size_t i = 0; i < config->address_count && outcome == OUTCOME_OK; i++)
        outcome = listen_at(daemon, &config->addresses[i], why);
    if (outcome == OUTCOME_OK && config->has_socket)
        outcome = make_socket_folder(config->socket, why);
    if (outcome == OUTCOME_OK && config->has_socket)
        outcome = listen_at(daemon, &config->socket_address, why);
    return outcome;
}

/* ---- the parts, in their order ---- */

static enum outcome open_store(struct daemon *daemon, struct failure *why)
{
    const struct store_local_options options = {
        .folder = daemon->config->store,
        .limits = daemon->config->store_limits,
        .clock = clock_system(),
    };

    return store_local_open(&options, &daemon->store, why);
}

static enum outcome make_service(struct daemon *daemon, struct failure *why)
{
    enum outcome outcome = service_init(&daemon->service, daemon->store, &daemon->config->store_limits,
                                        clock_system(), why);

    daemon->has_service = outcome == OUTCOME_OK;
    return outcome;
}

static enum outcome make_engine(struct daemon *daemon, struct failure *why)
{
    const struct rpc_server_options options = {
        .program = service_program(),
        .number = daemon->config->program,
        .limits = daemon->config->engine,
        .clock = clock_system(),
        .name = "rpc",
        .admits = admits,
        .closed = connection_closed,
        .context = daemon,
    };
    enum outcome outcome = rpc_server_new(&options, &daemon->server, why);

    daemon->service.server = daemon->server;
    return outcome == OUTCOME_OK ? listen_everywhere(daemon, why) : outcome;
}

static enum outcome make_delivery(struct daemon *daemon, struct failure *why)
{
    struct delivery_options options = {
        .store = daemon->store,
        .server = daemon->server,
        .clock = clock_system(),
        .limits = daemon->config->sender,
        .retry_first_ms = daemon->config->retry_first_seconds * 1000,
        .retry_last_ms = daemon->config->retry_last_seconds * 1000,
    };
    /* A way back that failed is proved anew in the same steps. */
    options.limits.reprove_first_ms = options.retry_first_ms;
    options.limits.reprove_last_ms = options.retry_last_ms;
    enum outcome outcome = delivery_new(&options, &daemon->delivery, why);

    daemon->service.delivery = daemon->delivery;
    return outcome;
}

static enum outcome start_engine(struct daemon *daemon, struct failure *why)
{
    enum outcome outcome = delivery_start(daemon->delivery, why);

    daemon->delivering = outcome == OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        outcome = rpc_server_start(daemon->server, why);
    daemon->serving = outcome == OUTCOME_OK;
    return outcome;
}

/* TCP addresses alone: rpcbind's own socket aside, it knows no Unix ones that help anybody. */
static enum outcome make_registration(struct daemon *daemon, struct failure *why)
{
    struct address tcp[ADDRESSES_MAX];
    unsigned count = 0;

    for (size_t i = 0; i < daemon->address_count; i++)
        if (!address_is_local(&daemon->addresses[i]))
            tcp[count++] = daemon->addresses[i];
    if (!daemon->config->rpcbind || count == 0)
        return OUTCOME_OK;
    return rpcbind_registration_new(daemon->config->program, service_program()->version, tcp, count,
                                    &daemon->registration, why);
}

static enum outcome start_upkeep(struct daemon *daemon, struct failure *why)
{
    enum outcome outcome = make_registration(daemon, why);

    if (outcome == OUTCOME_OK)
        outcome = upkeep_new(&daemon->service, daemon->registration, &daemon->upkeep, why);
    if (outcome == OUTCOME_OK)
        outcome = upkeep_start(daemon->upkeep, why);
    daemon->keeping = outcome == OUTCOME_OK;
    return outcome;
}

static enum outcome tell_addresses(struct daemon *daemon, struct failure *why)
{
    char text[ADDRESSES_MAX * (ADDRESS_TEXT_SIZE + 8)], one[ADDRESS_TEXT_SIZE];
    size_t size = 0;

    for (size_t i = 0; i < daemon->address_count; i++) {
        const struct address *address = &daemon->addresses[i];
        log_notice("listening on %s %s", address_netid(address), address_text(address, one));
        size += (size_t)snprintf(text + size, sizeof text - size, "%s %s\n", address_netid(address),
                                 address_text(address, one));
    }
    if (daemon->config->address_file[0] == '\0')
        return OUTCOME_OK;
    enum outcome outcome = disk_write_whole(daemon->config->address_file, 0644, text, size, why);
    daemon->address_file = outcome == OUTCOME_OK;
    return outcome;
}

enum outcome daemon_start(const struct config *config, struct daemon **out, struct failure *why)
{
    enum outcome (*const steps[])(struct daemon *, struct failure *) = {
        open_store, make_service, make_engine, make_delivery, start_engine, start_upkeep, tell_addresses,
    };
    struct daemon *daemon = calloc(1, sizeof *daemon);
    enum outcome outcome = OUTCOME_OK;

    if (!daemon)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the server");
    daemon->config = config;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && outcome == OUTCOME_OK; i++)
        outcome = steps[i](daemon, why);
    if (outcome != OUTCOME_OK) {
        daemon_stop(daemon);
        return outcome;
    }
    *out = daemon;
    return OUTCOME_OK;
}

/* ---- the way down ---- */

static void stop_being_found(struct daemon *daemon)
{
    if (daemon->address_file)
        unlink(daemon->config->address_file);
    if (daemon->keeping)
        upkeep_stop(daemon->upkeep);
    daemon->upkeep = upkeep_free(daemon->upkeep);
    daemon->registration = rpcbind_registration_free(daemon->registration);
}

static void stop_serving(struct daemon *daemon)
{
    if (daemon->serving) {
        unsigned cut = rpc_server_stop(daemon->server, daemon->config->stop_seconds * 1000);
        if (cut > 0)
            log_warning("stopped with %u calls unfinished", cut);
    }
    if (daemon->delivering)
        delivery_stop(daemon->delivery);
    delivery_free(daemon->delivery);
    rpc_server_free(daemon->server);
}

void daemon_stop(struct daemon *daemon)
{
    if (!daemon)
        return;
    stop_being_found(daemon);
    stop_serving(daemon);
    if (daemon->has_service)
        service_fini(&daemon->service);
    if (daemon->store)
        daemon->store->acts->close(daemon->store);
    free(daemon);
}
