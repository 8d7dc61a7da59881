/* failing_disk: a real server on a disk that fails on command (shim/shim.h). */
#pragma once

#include "client/daemon.h"
#include "fault/shim/shim.h"

/*
 * For a server whose folder is made and that is not started yet: from its next start on its disk is this one.
 * One a program; munmap is the caller's.
 */
struct shim *failing_disk_below(struct daemon *server);

/* The nth call from now on fails; with `lasts`, so do all after it, until the disk is sound again. */
void failing_disk_arm(struct shim *shim, int nth, int error, bool lasts);
void failing_disk_is_sound(struct shim *shim);
