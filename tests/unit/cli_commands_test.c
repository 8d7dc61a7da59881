/* The table of commands holds together; the line of progress says what it should. */
#include "client/cli/command.h"
#include "client/cli/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void rows_hold_together(void **state)
{
    size_t count = 0;
    (void)state;
    for (const struct command *command = command_table; command->name; command++, count++) {
        assert_ptr_equal(command_find(command->name), command);
        assert_non_null(command->run);
        assert_true(command->summary[0] != '\0' && strlen(command->summary) + 14 < 80);
        assert_true(command->least <= command->most);
        assert_true((command->origins & FROM_ANYWHERE) != 0);
        for (size_t i = 0; i < COMMAND_CHOICES; i++)
            assert_true(command->choices[i] < CHOICES);
    }
    assert_true(count > 10);
    assert_null(command_find("nothing"));
    assert_null(command_find(""));
}

static void lists_go_by_origin(void **state)
{
    (void)state;
    char *list = command_list(FROM_COMMAND_LINE);
    assert_non_null(strstr(list, "\n  listen "));
    assert_null(strstr(list, "\n  connect "));
    free(list);
    list = command_list(FROM_PROMPT);
    assert_non_null(strstr(list, "\n  connect "));
    assert_null(strstr(list, "\n  listen "));
    free(list);
}

static void check_line(struct progress_state state, unsigned columns, const char *wanted)
{
    char line[PROGRESS_LINE_SIZE];
    assert_string_equal(progress_line(&state, columns, line), wanted);
}

static void progress_tells(void **state)
{
    const uint64_t mib = 1024 * 1024;
    (void)state;
    check_line((struct progress_state){"a", 50 * mib, 200 * mib, 10 * mib, 0}, 79,
               "a:  25%, 50 MiB of 200 MiB, 10 MiB/s, 15s left");
    check_line((struct progress_state){"a", 50 * mib, UINT64_MAX, 10 * mib, 0}, 79, "a: 50 MiB, 10 MiB/s");
    check_line((struct progress_state){"a", 50 * mib, 200 * mib, 10 * mib, PROGRESS_STALLED_SECONDS}, 79,
               "a:  25%, 50 MiB of 200 MiB, nothing moves for 3s");
    check_line((struct progress_state){"a", 0, 0, 0, 0}, 79, "a: 100%, 0 B of 0 B, 0 B/s");
    check_line((struct progress_state){"a", 2 * mib, mib, 0, 0}, 79, "a: 2.0 MiB, 0 B/s"); /* it grew */
    check_line((struct progress_state){"\033\xc3\xa9\xc3\xa9", 0, 1, 0, 0}, 6, "\\x1b\xc3\xa9\xc3\xa9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold_together),
        cmocka_unit_test(lists_go_by_origin),
        cmocka_unit_test(progress_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
