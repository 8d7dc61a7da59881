/*
 * store_conformance: what every store must do, whatever stands below it.
 *
 * Written against the struct store alone, a table of tests a family. A test
 * program runs them on one kind of store, by way of subject_setup.
 */
#pragma once

#include "service/store_subject.h"

struct conformance {
    const char *family;
    const struct CMUnitTest *tests;
    size_t count;
};

extern const struct conformance conformance_uploads, conformance_files, conformance_reads,
    conformance_interests, conformance_bounds, conformance_notices, conformance_sweep;

#define SUBJECT_TEST(test) cmocka_unit_test_setup_teardown(test, subject_setup, subject_teardown)

/* Runs all families; the number of failures. */
int conformance_run(void);
