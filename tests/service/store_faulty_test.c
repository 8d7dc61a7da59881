/*
 * The conformance suite on a store that refuses acts now and then, and on one
 * that does them and does not say so. Every act is repeated with its id until it
 * is certain: it must have been done exactly once.
 */
#include "service/store_conformance.h"

int main(void)
{
    subject_use_faults(&(struct store_faulty_plan){.every = 2});
    int failed = conformance_run();
    subject_use_faults(&(struct store_faulty_plan){.every = 3, .after = true});
    failed += conformance_run();
    return failed;
}
