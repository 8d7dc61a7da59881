/*
 * prompt: commands as they are typed, and notices as they come.
 *
 * Connects, holds the durable mailbox (unless another process does: then it says
 * so, and goes on without notices), reads a line, runs it, until `quit` or the
 * end of input. On a terminal notices are sentences between the lines typed;
 * else they are the lines of `listen`. Ctrl-C stops the command that runs, or
 * drops the line being typed; SIGTERM leaves.
 *
 * Exits with 0 from a terminal, else as the last command did.
 */
#pragma once

#include "client/cli/client.h"

enum exit_code prompt_run(struct client *client);
