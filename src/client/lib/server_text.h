/*
 * server_text: what people write for a server, and the places it means.
 *
 *   host            its port is told by the host's rpcbind, else FS_PORT_DEFAULT
 *   host:port       also [v6]:port; a bare v6 address is a host
 *   unix:/path      a Unix socket
 *
 * Nothing written: $FILESHARE_SERVER; if that is empty too, the default Unix
 * sockets (/run/fileshare/socket, $XDG_RUNTIME_DIR/fileshare/socket), then
 * localhost. Places are tried in their order. Nothing here touches the network.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SERVER_PLACES_MAX = 3, SERVER_HOST_SIZE = 256 };

struct server_place {
    bool local;                  /* `host` is the path of a Unix socket */
    bool optional;               /* one of the defaults: nobody need be there */
    char host[SERVER_HOST_SIZE]; /* a name, or a numeric address without brackets */
    uint16_t port;               /* 0: not said */
};

/* INVALID with what is wrong. `text` may be NULL. */
must_check enum outcome server_text_places(const char *text, struct server_place places[SERVER_PLACES_MAX],
                                           size_t *count, struct failure *why);
