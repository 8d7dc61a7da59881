/* The conformance suite on the embedded store. */
#include "service/store_conformance.h"

int main(void)
{
    return conformance_run();
}
