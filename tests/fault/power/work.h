/* work: histories to cut: what a store's callers do, by chance or on purpose. */
#pragma once

#include "fault/power/history.h"

/* Files come, change and go, others wait for them; some of it from three threads at once. `steps`: of the main thread. */
void work_at_random(struct history *history, unsigned steps);
/* A large upload, recorded half-way, interrupted by a stop of the server and taken up again. */
void work_at_uploads(struct history *history);
/* So much that the log is written into the database, and begins anew, while acts go on. */
void work_at_log(struct history *history);
/* Of many files that came together most go; it is cut while what is left of them is put together anew. */
void work_at_bundles(struct history *history);
/* A store of an earlier form is opened, and goes on. `statements` make its database. */
void work_at_old(struct history *history, const char *statements);
/* Content was lost and altered; what is wrong is set aside. */
void work_at_repair(struct history *history);
