#include "client/lib/server_text.h"

#include "base/address.h"
#include "base/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum outcome copy_host(const char *text, size_t size, const char *whole, struct server_place *out,
                              struct failure *why)
{
    char shown[128];
    if (size == 0)
        return failure_set(why, OUTCOME_INVALID,
                           "\"%s\" names no host: write host, host:port, [v6]:port or unix:/path",
                           name_show(whole, strlen(whole), shown, sizeof shown));
    if (size >= sizeof out->host)
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is too long a server's name",
                           name_show(whole, strlen(whole), shown, sizeof shown));
    memcpy(out->host, text, size);
    out->host[size] = '\0';
    return OUTCOME_OK;
}

static enum outcome read_port(const char *text, const char *whole, uint16_t *out, struct failure *why)
{
    unsigned long port = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && port <= UINT16_MAX; at++)
        port = port * 10 + (unsigned long)(*at - '0');
    if (at == text || *at != '\0' || port == 0 || port > UINT16_MAX) {
        char shown[128];
        return failure_set(why, OUTCOME_INVALID, "\"%s\" has no port from 1 to 65535 after its last colon",
                           name_show(whole, strlen(whole), shown, sizeof shown));
    }
    *out = (uint16_t)port;
    return OUTCOME_OK;
}

/* "[v6]" or "[v6]:port" */
static enum outcome read_brackets(const char *text, struct server_place *out, struct failure *why)
{
    const char *end = strchr(text, ']');
    if (!end || (end[1] != '\0' && end[1] != ':')) {
        char shown[128];
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is no [v6]:port",
                           name_show(text, strlen(text), shown, sizeof shown));
    }
    enum outcome outcome = copy_host(text + 1, (size_t)(end - text - 1), text, out, why);
    if (outcome == OUTCOME_OK && end[1] == ':')
        outcome = read_port(end + 2, text, &out->port, why);
    return outcome;
}

/* One that no socket can have is said here, where it is known to be no trouble of the machine's. */
static enum outcome read_path(const char *path, const char *whole, struct server_place *out,
                              struct failure *why)
{
    struct address address;
    struct failure reason;
    char shown[128];
    enum outcome outcome = address_local(path, &address, &reason);
    if (outcome != OUTCOME_OK)
        return failure_set(why, outcome, "\"%s\": %s", name_show(whole, strlen(whole), shown, sizeof shown),
                           reason.text);
    return copy_host(path, strlen(path), whole, out, why);
}

static enum outcome read_place(const char *text, struct server_place *out, struct failure *why)
{
    *out = (struct server_place){0};
    if (strncmp(text, "unix:", 5) == 0) {
        out->local = true;
        return read_path(text + 5, text, out, why);
    }
    if (text[0] == '[')
        return read_brackets(text, out, why);
    const char *first = strchr(text, ':'), *last = strrchr(text, ':');
    if (!first || first != last) /* no colon, or a bare v6 address */
        return copy_host(text, strlen(text), text, out, why);
    enum outcome outcome = copy_host(text, (size_t)(first - text), text, out, why);
    if (outcome == OUTCOME_OK)
        outcome = read_port(first + 1, text, &out->port, why);
    return outcome;
}

static void add_default_socket(const char *folder, const char *below, struct server_place *places,
                               size_t *count)
{
    struct server_place *place = &places[*count];
    int size = snprintf(place->host, sizeof place->host, "%s%s", folder, below);
    if (size < 0 || (size_t)size >= sizeof place->host)
        return;
    place->local = place->optional = true;
    ++*count;
}

static void default_places(struct server_place *places, size_t *count)
{
    memset(places, 0, SERVER_PLACES_MAX * sizeof *places);
    *count = 0;
    add_default_socket("/run", "/fileshare/socket", places, count);
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/')
        add_default_socket(runtime, "/fileshare/socket", places, count);
    snprintf(places[*count].host, sizeof places[*count].host, "localhost");
    ++*count;
}

enum outcome server_text_places(const char *text, struct server_place places[SERVER_PLACES_MAX],
                                size_t *count, struct failure *why)
{
    if (!text) {
        text = getenv("FILESHARE_SERVER");
        if (!text || text[0] == '\0') {
            default_places(places, count);
            return OUTCOME_OK;
        }
    }
    struct server_place place;
    enum outcome outcome = read_place(text, &place, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    places[0] = place;
    *count = 1;
    return OUTCOME_OK;
}
