/*
 * What the keys mean together.
 */
#include "server/config.h"

#include "base/disk.h"
#include "base/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum outcome replace(char **at, char *with, struct failure *why)
{
    if (!with)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the configuration");
    free(*at);
    *at = with;
    return OUTCOME_OK;
}

static enum outcome finish_store(struct config *config, struct failure *why)
{
    char *path = NULL;

    if (config->store[0] != '\0')
        return OUTCOME_OK;
    if (geteuid() == 0)
        return replace(&config->store, strdup("/var/lib/fileshare"), why);
    enum outcome outcome = disk_user_path("XDG_STATE_HOME", ".local/state", "fileshare", &path, why);
    return outcome == OUTCOME_OK ? replace(&config->store, path, why) : outcome;
}

/* Without a runtime folder there is no default place for an ordinary user's socket: then there is none. */
static enum outcome finish_socket(struct config *config, struct failure *why)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char path[sizeof config->socket_address.local.sun_path + 1];

    if (strcmp(config->socket, "none") == 0)
        return OUTCOME_OK;
    if (config->socket[0] == '\0') {
        int size = 0;
        if (geteuid() == 0)
            size = snprintf(path, sizeof path, "/run/fileshare/socket");
        else if (runtime && runtime[0] == '/')
            size = snprintf(path, sizeof path, "%s/fileshare/socket", runtime);
        else
            return OUTCOME_OK;
        if (size >= (int)sizeof path)
            return failure_set(why, OUTCOME_INVALID,
                               "$XDG_RUNTIME_DIR is too long for a Unix socket: set --socket");
        enum outcome outcome = replace(&config->socket, strdup(path), why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    config->has_socket = true;
    struct failure reason;
    enum outcome outcome = address_local(config->socket, &config->socket_address, &reason);
    return outcome == OUTCOME_OK ? outcome
                                 : failure_set(why, outcome, "socket: %s: %s", config->socket, reason.text);
}

/* "a.b.c.d", "a.b.c.d:port", "v6", "[v6]", "[v6]:port". */
static enum outcome read_listen(const char *text, uint16_t port, struct address *out, struct failure *why)
{
    char host[INET6_ADDRSTRLEN + 20];
    const char *begin = text[0] == '[' ? text + 1 : text;
    const char *end = text[0] == '[' ? strchr(text, ']') : NULL;
    const char *colon = end ? end + 1 : strchr(text, ':');
    char *rest = NULL;

    if (!end && colon && strchr(colon + 1, ':'))
        colon = NULL; /* a bare IPv6 address */
    if (!end)
        end = colon ? colon : text + strlen(text);
    if ((size_t)(end - begin) >= sizeof host || (colon && *colon != ':' && *colon != '\0'))
        return failure_set(why, OUTCOME_INVALID, "listen: \"%s\" is no address", text);
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    if (colon && *colon == ':') {
        unsigned long number = strtoul(colon + 1, &rest, 10);
        if (colon[1] < '0' || colon[1] > '9' || *rest != '\0' || number > UINT16_MAX)
            return failure_set(why, OUTCOME_INVALID, "listen: \"%s\" has no port from 0 to 65535", text);
        port = (uint16_t)number;
    }
    if (address_ip(host, port, out, why) != OUTCOME_OK)
        return failure_set(why, OUTCOME_INVALID,
                           "listen: \"%s\" is no IP address, such as 192.0.2.1, 0.0.0.0 or [::]:18003", text);
    return OUTCOME_OK;
}

static enum outcome finish_listen(struct config *config, struct failure *why)
{
    for (size_t i = 0; i < config->listen.count; i++) {
        struct address *address = &config->addresses[config->address_count];
        enum outcome outcome = read_listen(config->listen.texts[i], (uint16_t)config->port, address, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        config->address_count++;
        if (!address_is_loopback(address) && !config->insecure && config->allow.count == 0)
            return failure_set(
                why, OUTCOME_INVALID,
                "listen: %s can be reached from other machines, and AUTH_SYS callers are only who they "
                "claim to be: name the networks you trust with --allow CIDR, or say --insecure",
                config->listen.texts[i]);
    }
    return OUTCOME_OK;
}

static enum outcome finish_allow(struct config *config, struct failure *why)
{
    for (size_t i = 0; i < config->allow.count; i++) {
        struct failure reason = {0};
        if (address_block_parse(config->allow.texts[i], &config->blocks[i], &reason) != OUTCOME_OK)
            return failure_set(why, OUTCOME_INVALID, "allow: %s", reason.text);
    }
    return OUTCOME_OK;
}

static enum outcome finish_log(struct config *config, struct failure *why)
{
    static const struct {
        const char *text;
        enum log_level level;
    } levels[] = {{"error", LOG_LEVEL_ERROR},
                  {"warning", LOG_LEVEL_WARNING},
                  {"notice", LOG_LEVEL_NOTICE},
                  {"info", LOG_LEVEL_INFO},
                  {"debug", LOG_LEVEL_DEBUG}};
    static const struct {
        const char *text;
        enum log_sink sink;
    } sinks[] = {{"stderr", LOG_SINK_STDERR}, {"journal", LOG_SINK_JOURNAL}, {"syslog", LOG_SINK_SYSLOG}};
    bool level = false, sink = false;

    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(config->log_level, levels[i].text) == 0) {
            config->level = levels[i].level;
            level = true;
        }
    }
    for (size_t i = 0; i < sizeof sinks / sizeof sinks[0]; i++) {
        if (strcmp(config->log_sink, sinks[i].text) == 0) {
            config->sink = sinks[i].sink;
            sink = true;
        }
    }
    if (!level)
        return failure_set(why, OUTCOME_INVALID, "log: \"%s\" is none of error, warning, notice, info, debug",
                           config->log_level);
    if (!sink)
        return failure_set(why, OUTCOME_INVALID, "log-to: \"%s\" is none of stderr, journal, syslog",
                           config->log_sink);
    return OUTCOME_OK;
}

/* Keys in seconds, fields in milliseconds. */
static enum outcome finish_times(struct config *config, struct failure *why)
{
    enum { MOST = UINT32_MAX / 1000 };

    if (config->idle_seconds > MOST || config->progress_seconds > MOST || config->probe_seconds > MOST)
        return failure_set(why, OUTCOME_INVALID, "idle, progress and probe are at most %d seconds", MOST);
    config->engine.idle_ms = config->idle_seconds * 1000;
    config->engine.progress_ms = config->progress_seconds * 1000;
    config->engine.probe_ms = config->probe_seconds * 1000;
    config->sender.connect_ms = config->connect_seconds * 1000;
    config->sender.call_ms = config->answer_seconds * 1000;
    config->sender.outgoing_port = (uint16_t)config->outgoing_port;
    if (config->retry_last_seconds < config->retry_first_seconds)
        return failure_set(why, OUTCOME_INVALID, "retry-last is shorter than retry-first");
    return OUTCOME_OK;
}

static enum outcome finish_engine(struct config *config, struct failure *why)
{
    struct rpc_limits *engine = &config->engine;

    engine->spare_files += config->sender.connections + config->store_limits.open_reads;
    if (engine->workers == 0)
        engine->workers = rpc_limits_default().workers;
    if (engine->workers < 3)
        return failure_set(why, OUTCOME_INVALID, "workers: %u are too few: 3 at least", engine->workers);
    if (engine->permits == 0)
        engine->permits = engine->workers - 2;
    if (engine->permits > engine->workers - 2)
        return failure_set(
            why, OUTCOME_INVALID,
            "permits: %u of %u workers would leave too few for calls that never wait: at most %u",
            engine->permits, engine->workers, engine->workers - 2);
    if (engine->record_anonymous_max > engine->record_max)
        return failure_set(why, OUTCOME_INVALID, "record-size-anonymous is above record-size");
    return OUTCOME_OK;
}

enum outcome config_finish(struct config *config, struct failure *why)
{
    enum outcome (*const steps[])(struct config *, struct failure *) = {
        finish_store, finish_socket, finish_listen, finish_allow, finish_log, finish_times, finish_engine,
    };
    enum outcome outcome = OUTCOME_OK;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && outcome == OUTCOME_OK; i++)
        outcome = steps[i](config, why);
    return outcome;
}
