/*
 * facts: whether what the database says fits together.
 *
 * Acts change rows and what counts them in one transaction, so in a sound store
 * nothing leads nowhere and every counter is right, at every moment. Damage to
 * the database that SQLite itself does not see, or a hand in it, shows here.
 *
 * Each rule is looked at in one statement, and set right in one transaction.
 * What is set right never drops a file, and turns an event that cannot be told
 * any more into one that counts it.
 */
#pragma once

#include "base/outcome.h"

#include <stdint.h>

struct local;

/* Called with each rule that is broken, and by how many rows. */
typedef void facts_told(const char *words, uint64_t count, void *argument);

must_check enum outcome facts_check(struct local *local, facts_told *told, void *argument,
                                    struct failure *why);
/* *righted grows by the rows that were set right. */
must_check enum outcome facts_repair(struct local *local, uint64_t *righted, struct failure *why);
