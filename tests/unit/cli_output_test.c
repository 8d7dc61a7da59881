/* Lines, rows, cards and JSON of one record; events as programs read them; lost output is noticed. */
#include "client/cli/events.h"
#include "client/cli/output.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int kept = -1; /* standard output, while it is caught */
static char caught[65536];

static void begin_catching(int fd)
{
    fflush(stdout);
    kept = dup(STDOUT_FILENO);
    assert_true(kept >= 0 && fd >= 0);
    assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    close(fd);
}

static void end_catching(void)
{
    assert_int_equal(dup2(kept, STDOUT_FILENO), STDOUT_FILENO);
    close(kept);
}

static void catch_output(void)
{
    begin_catching(memfd_create("output", MFD_CLOEXEC));
}

/* What was printed since. */
static const char *printed(struct output *output)
{
    struct failure why = {.text = ""};
    assert_int_equal(output_flush(output, &why), OUTCOME_OK);
    assert_int_equal(lseek(STDOUT_FILENO, 0, SEEK_SET), 0);
    ssize_t count = read(STDOUT_FILENO, caught, sizeof caught - 1);
    end_catching();
    assert_true(count >= 0);
    caught[count] = '\0';
    return caught;
}

static const uint8_t octets[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff};

static const struct field record[] = {
    FIELD_WORD("event", "arrived"),
    FIELD_NAME("name", "a\tb\\c\n\xe2\x80\xae"
                       "d"),
    FIELD_SIZE("size", 4509715661),
    FIELD_TIME("time", 1500000000),
    FIELD_OCTETS("digest", octets),
    {.key = "owner", .kind = FIELD_NAME, .json_only = true, .text = "unix:0"},
    FIELD_FLAG("every", 1),
};
enum { RECORD = sizeof record / sizeof record[0] };

static void a_line_can_not_be_forged(void **state)
{
    struct output output = {.json = false};
    (void)state;
    catch_output();
    output_line(&output, record, RECORD);
    assert_string_equal(printed(&output),
                        "arrived\ta\\x09b\\\\c\\x0a\\xe2\\x80\\xaed\t4509715661\t1970-01-01T00:00:01Z\t"
                        "000102030405060708090a0b0c0d0eff\tevery\n");
}

static void json_says_the_same(void **state)
{
    struct output output = {.json = true};
    (void)state;
    catch_output();
    output_line(&output, record, RECORD);
    output_row(&output, record, 1);
    output_card(&output, record, 1);
    assert_string_equal(
        printed(&output),
        "{\"event\":\"arrived\",\"name\":\"a\\tb\\\\c\\n\xe2\x80\xae"
        "d\",\"size\":4509715661,"
        "\"time\":\"1970-01-01T00:00:01.500000000Z\","
        "\"digest\":\"000102030405060708090a0b0c0d0eff\",\"owner\":\"unix:0\",\"every\":true}\n"
        "{\"event\":\"arrived\"}\n{\"event\":\"arrived\"}\n");
}

static void json_of_bad_text_is_still_json(void **state)
{
    const struct field fields[] = {FIELD_NAME("name", "a\xff")};
    struct output output = {.json = true};
    (void)state;
    catch_output();
    output_line(&output, fields, 1);
    assert_string_equal(printed(&output), "{\"name\":\"a\\\\xff\"}\n");
}

static void json_on_a_terminal_is_ascii(void **state)
{
    const struct field fields[] = {FIELD_NAME("name", "\xe2\x80\xae")};
    struct output output = {.json = true, .terminal = true};
    (void)state;
    catch_output();
    output_line(&output, fields, 1);
    assert_string_equal(printed(&output), "{\"name\":\"\\u202E\"}\n");
}

static void rows_are_aligned(void **state)
{
    const struct field small[] = {FIELD_SIZE("size", 5), FIELD_NAME("owner", "\xc3\xa9"),
                                  FIELD_NAME("name", "x")};
    const struct field large[] = {FIELD_SIZE("size", 1048576), FIELD_NAME("owner", "unix:0"),
                                  FIELD_NAME("name", "longer")};
    struct output output = {.json = false};
    (void)state;
    catch_output();
    output_row(&output, small, 3);
    output_row(&output, large, 3);
    output_rows_end(&output);
    output_row(&output, small, 3);
    output_rows_end(&output);
    assert_string_equal(printed(&output),
                        "      5  \xc3\xa9       x\n1048576  unix:0  longer\n5  \xc3\xa9  x\n");
    output_fini(&output);
}

static void people_read_sizes(void **state)
{
    const struct field large[] = {FIELD_SIZE("size", 1048576), FIELD_LEFT("left", 3900),
                                  FIELD_NUMBER("n", 1048576)};
    struct output output = {.terminal = true};
    (void)state;
    catch_output();
    output_row(&output, large, 3);
    output_rows_end(&output);
    output_card(&output, large, 2);
    output_line(&output, large, 3); /* lines stay what they are */
    assert_string_equal(printed(&output),
                        "1.0 MiB  1h 5m  1048576\nsize  1.0 MiB\nleft  1h 5m\n1048576\t3900\t1048576\n");
    output_fini(&output);
}

/* Held-back rows come out when there are too many, and none is lost. */
static void many_rows_all_come(void **state)
{
    struct output output = {.json = false};
    unsigned lines = 0;
    (void)state;
    catch_output();
    for (uint64_t i = 0; i < 2 * OUTPUT_ROWS + 1; i++) {
        const struct field fields[] = {FIELD_NUMBER("n", i)};
        output_row(&output, fields, 1);
    }
    for (const char *at = printed(&output); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 2 * OUTPUT_ROWS + 1);
    output_fini(&output);
}

static void lost_output_is_noticed(void **state)
{
    struct output output = {.json = false};
    struct failure why = {.text = ""};
    (void)state;
    begin_catching(open("/dev/full", O_WRONLY | O_CLOEXEC));
    output_line(&output, record, RECORD);
    enum outcome outcome = output_flush(&output, &why);
    end_catching();
    assert_true(outcome == OUTCOME_LOCAL || outcome == OUTCOME_NOSPACE);
    assert_non_null(strstr(why.text, "standard output"));

    /* and only once */
    assert_int_equal(output_flush(&output, &why), OUTCOME_OK);
}

static void events_are_lines_of_seven(void **state)
{
    struct fileshare_event event = {.number = 7,
                                    .kind = FILESHARE_ARRIVED,
                                    .happened = 1500000000,
                                    .route = "dial-back"};
    struct output output = {.json = false};
    (void)state;
    strcpy(event.pattern, "*.csv");
    strcpy(event.entry.name, "r.csv");
    strcpy(event.entry.owner, "unix:7");
    event.entry.size = 12;
    catch_output();
    events_print_arrival(&output, &event);
    events_print(&output, &event);
    event.kind = FILESHARE_UNMET;
    events_print(&output, &event);
    event.kind = FILESHARE_DROPPED;
    event.dropped = 3;
    events_print(&output, &event);
    assert_string_equal(
        printed(&output),
        "arrived\tr.csv\t12\t00000000000000000000000000000000\n"
        "7\tarrived\tr.csv\t12\t00000000000000000000000000000000\tunix:7\t1970-01-01T00:00:01Z\n"
        "7\texpired\t*.csv\t-\t-\t-\t1970-01-01T00:00:01Z\n"
        "7\tdropped\t-\t3\t-\t-\t1970-01-01T00:00:01Z\n");
    output.json = true;
    catch_output();
    events_print(&output, &event);
    event.kind = FILESHARE_UNMET;
    events_print(&output, &event);
    assert_string_equal(printed(&output),
                        "{\"number\":7,\"event\":\"dropped\",\"count\":3,\"time\":\"1970-01-01T00:00:01."
                        "500000000Z\",\"route\":\"dial-back\"}\n"
                        "{\"number\":7,\"event\":\"expired\",\"pattern\":\"*.csv\",\"time\":\"1970-01-01T00:"
                        "00:01.500000000Z\",\"route\":\"dial-back\"}\n");
}

static void times_before_1970_too(void **state)
{
    char text[OUTPUT_TIME_SIZE];
    (void)state;
    assert_string_equal(output_time(-1, false, text), "1969-12-31T23:59:59Z");
    assert_string_equal(output_time(0, false, text), "1970-01-01T00:00:00Z");
    assert_true(strlen(output_time(INT64_MAX, false, text)) < OUTPUT_TIME_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_can_not_be_forged),
        cmocka_unit_test(json_says_the_same),
        cmocka_unit_test(json_of_bad_text_is_still_json),
        cmocka_unit_test(json_on_a_terminal_is_ascii),
        cmocka_unit_test(rows_are_aligned),
        cmocka_unit_test(people_read_sizes),
        cmocka_unit_test(many_rows_all_come),
        cmocka_unit_test(lost_output_is_noticed),
        cmocka_unit_test(events_are_lines_of_seven),
        cmocka_unit_test(times_before_1970_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
