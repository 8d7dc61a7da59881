/*
 * pin: content stays while a backup takes it.
 *
 * The file "pin" in the store's folder is flock()ed: shared by a backup, of
 * whatever process, for as long as it takes content; exclusively by the sweep, or who makes room in its place,
 * for the moment in which it removes content. So what one moment of the database
 * names is there until the backup has it, and a backup that dies holds nothing.
 *
 * The sweep does not wait: it passes over its work, as long as the disk has
 * room for what stays meanwhile.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>

/* The server's: makes the file if it is missing. *out is yours. */
must_check enum outcome pin_open(int folder_fd, int *out, struct failure *why);

/*
 * A backup's. Waits for a sweep, PIN_WAIT_MS at most; closing *out lets go. False:
 * not held, and content may go. Makes no file: it might be another user's.
 */
enum { PIN_WAIT_MS = 5000 };
bool pin_hold(int folder_fd, int *out);

/* The sweep's. False: a backup is at work. pin_pass ends it. */
bool pin_try(int pin_fd);
void pin_pass(int pin_fd);
