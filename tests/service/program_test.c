/* The program's table against proto/fileshare.x, so that a procedure without its row fails here. */
#include "server/procedures/service.h"

#include "proto/fileshare.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PROCEDURES_MAX = 64 };

static char labels[PROCEDURES_MAX][64];
static unsigned count;

/* "fs_x_res FSPROC_UPLOAD_OPEN(...) = 3;": the label is what follows FSPROC_, in lower case. */
static int read_contract(void **state)
{
    const char *source = getenv("FILESHARE_SOURCE");
    char path[512], line[512];

    (void)state;
    snprintf(path, sizeof path, "%s/proto/fileshare.x", source ? source : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        const char *at = strstr(line, " FSPROC_");
        const char *number = strstr(line, ") = ");
        if (!at || !number)
            continue;
        unsigned index = (unsigned)strtoul(number + 4, NULL, 10);
        assert_true(index < PROCEDURES_MAX);
        at += strlen(" FSPROC_");
        for (size_t i = 0; at[i] != '(' && i < sizeof labels[0] - 1; i++)
            labels[index][i] = (char)tolower((unsigned char)at[i]);
        count++;
    }
    fclose(file);
    return 0;
}

static void every_procedure_has_its_row(void **state)
{
    const struct rpc_program *program = service_program();

    (void)state;
    assert_int_equal(program->count, count);
    for (unsigned i = 0; i < count; i++)
        assert_string_equal(program->procedures[i].label, labels[i]);
}

static void rows_say_what_can_be(void **state)
{
    const struct rpc_program *program = service_program();

    (void)state;
    for (size_t i = 0; i < program->count; i++) {
        const struct rpc_procedure *row = &program->procedures[i];
        assert_true(row->time_limit_ms >= 1000);
        /* what writes waits for the store; what anyone may call neither writes nor waits */
        assert_true(!row->writes || row->may_wait);
        assert_true(!row->anonymous || (!row->writes && !row->may_wait));
    }
    assert_true(program->procedures[FSPROC_NULL].anonymous);
    assert_true(program->procedures[FSPROC_HELLO].anonymous);
    assert_false(program->procedures[FSPROC_STATUS].may_wait);
    assert_false(program->procedures[FSPROC_STATUS].anonymous);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_procedure_has_its_row),
        cmocka_unit_test(rows_say_what_can_be),
    };

    return cmocka_run_group_tests(tests, read_contract, NULL);
}
