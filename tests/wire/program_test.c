/* The server's table of procedures is that of proto/fileshare.x, row by row. */
#include "server/procedures/service.h"

#include "proto/fileshare.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LABEL_MAX = 64, TEXT_MAX = 1 << 20 };

static char *read_contract(void)
{
    FILE *file = fopen(FILESHARE_SOURCE "/proto/fileshare.x", "r");

    assert_non_null(file);
    char *text = calloc(1, TEXT_MAX);
    assert_non_null(text);
    assert_true(fread(text, 1, TEXT_MAX - 1, file) > 0);
    fclose(file);
    return text;
}

static void test_each_procedure_has_its_row(void **state)
{
    const struct rpc_program *program = service_program();
    char *text = read_contract();
    size_t found = 0;

    (void)state;
    for (char *at = text; (at = strstr(at, " FSPROC_")); at++) {
        char label[LABEL_MAX];
        unsigned number;
        if (sscanf(at, " FSPROC_%63[A-Z_](%*[a-z_]) = %u;", label, &number) != 2)
            continue;
        for (char *letter = label; *letter; letter++)
            *letter = (char)tolower((unsigned char)*letter);
        assert_true(number < program->count);
        assert_string_equal(program->procedures[number].label, label);
        found++;
    }
    assert_int_equal(found, program->count);
    assert_int_equal(program->number, FILESHARE_PROG);
    assert_int_equal(program->version, FILESHARE_V1);
    free(text);
}

static bool is_one_of(const char *label, const char *const *labels)
{
    while (*labels && strcmp(*labels, label) != 0)
        labels++;
    return *labels;
}

/* What the contract says of who may call, what may be repeated, what writes. */
static void test_rows_keep_the_promises_of_the_contract(void **state)
{
    static const char *const anonymous[] = {"null", "hello", NULL};
    static const char *const never_wait[] = {"null", "hello", "status", NULL};
    static const char *const read_only[] = {"null", "hello",          "download", "list",
                                            "stat", "list_interests", "status",   NULL};
    const struct rpc_program *program = service_program();

    (void)state;
    for (size_t i = 0; i < program->count; i++) {
        const struct rpc_procedure *row = &program->procedures[i];
        if (row->anonymous != is_one_of(row->label, anonymous))
            fail_msg("%s: who may call", row->label);
        if (row->may_wait == is_one_of(row->label, never_wait))
            fail_msg("%s: may wait for the store or not", row->label);
        if (row->writes == is_one_of(row->label, read_only))
            fail_msg("%s: writes or not", row->label);
        if (!row->repeatable)
            fail_msg("%s: every call may be repeated", row->label);
        if (row->time_limit_ms == 0)
            fail_msg("%s: has no time limit", row->label);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_procedure_has_its_row),
        cmocka_unit_test(test_rows_keep_the_promises_of_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
