#include "service/store_conformance.h"

int conformance_run(void)
{
    const struct conformance *families[] = {&conformance_uploads,   &conformance_files,  &conformance_reads,
                                            &conformance_interests, &conformance_bounds, &conformance_notices,
                                            &conformance_sweep};
    int failed = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        failed += _cmocka_run_group_tests(families[i]->family, families[i]->tests, families[i]->count, NULL,
                                          NULL);
    return failed;
}
