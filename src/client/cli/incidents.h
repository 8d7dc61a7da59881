/*
 * incidents: what broke on the way and how it goes on, as a line on standard
 * error each; not with -q.
 */
#pragma once

#include "client/cli/client.h"

/* A fileshare_told; the context is the client. */
void incidents_tell(void *client, const struct fileshare_incident *incident);
