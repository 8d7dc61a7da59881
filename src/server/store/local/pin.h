/*
 * pin: content stays while a backup takes it.
 *
 * The file "pin" in the store's folder is flock()ed: shared by a backup, of
 * whatever process, for as long as it takes content; exclusively by the sweep
 * for the moment in which it removes content. So what one moment of the database
 * names is there until the backup has it, and a backup that dies holds nothing.
 *
 * The sweep does not wait: it passes over its work, as long as the disk has
 * room for what stays meanwhile.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>

/* *out is yours: closing it lets go. */
must_check enum outcome pin_open(int folder_fd, int *out, struct failure *why);

/* A backup's. Waits for a sweep, PIN_WAIT_MS at most; false: not held, and content may go. */
enum { PIN_WAIT_MS = 5000 };
bool pin_hold(int pin_fd);

/* The sweep's. False: a backup is at work. pin_pass ends it. */
bool pin_try(int pin_fd);
void pin_pass(int pin_fd);
