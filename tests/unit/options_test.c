/* Tables of options: what they take, what they refuse and in which words, and the help they print. */
#include "base/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The variables that the rows below fill; `reset` gives them their defaults. */
static struct {
    bool quiet;
    const char *store;
    struct option_texts listen;
    unsigned port, workers;
    uint64_t limit;
    uint32_t grace;
} set;

static const struct option rows[] = {
    { .kind = OPTION_HEADING, .help = "Where:" },
    { .name = "store", .letter = 'd', .kind = OPTION_TEXT, .target = &set.store, .argument = "FOLDER",
      .help = "keep the files in FOLDER" },
    { .name = "listen", .kind = OPTION_TEXTS, .target = &set.listen, .argument = "ADDRESS",
      .help = "listen on ADDRESS as well; may be given several times, once for each address that clients are to "
              "reach the server at" },
    { .name = "port", .letter = 'p', .kind = OPTION_NUMBER, .target = &set.port, .most = 65535, .argument = "PORT",
      .help = "TCP port (0: any)" },
    { .kind = OPTION_HEADING, .help = "Limits:" },
    { .name = "workers", .kind = OPTION_NUMBER, .target = &set.workers, .least = 3, .argument = "N", .help = "threads" },
    { .name = "record-limit-of-unknown-callers", .kind = OPTION_SIZE, .target = &set.limit, .least = 1024,
      .most = 1048576, .argument = "SIZE", .help = "the longest record taken from them" },
    { .name = "grace", .kind = OPTION_DURATION, .target = &set.grace, .most = 3600, .argument = "TIME",
      .help = "for running calls at the end" },
    { .name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .target = &set.quiet, .help = "say less" },
    OPTION_END,
};

static struct options_program program = {
    .name = "thing", .usage = "[OPTION...] NAME...", .version = "thing 1.2", .rows = rows,
};

static int reset(void **state)
{
    (void)state;
    memset(&set, 0, sizeof set);
    set.store = "/default";
    set.port = 18003;
    program.stop_at_argument = false;
    program.version = "thing 1.2";
    return 0;
}

static enum outcome parse(struct options **out, struct failure *why, const char *const *words)
{
    /* as main has it: writable words in a writable array */
    char *argv[16] = { strdup("thing") };
    int argc = 1;
    for (; *words; words++)
        argv[argc++] = strdup(*words);
    assert_int_equal(options_new(&program, out, why), OUTCOME_OK);
    enum outcome outcome = options_parse(*out, argc, argv, why);
    while (argc > 0)
        free(argv[--argc]); /* nothing that was parsed may point there */
    return outcome;
}

#define PARSE(...) parsed((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })
#define REFUSE(reason, ...) refused(reason, (const char *const[]){ __VA_ARGS__, NULL })

static struct options *parsed(const char *const *words)
{
    struct options *options;
    struct failure why = { .text = "" };
    if (parse(&options, &why, words) != OUTCOME_OK)
        fail_msg("%s", why.text);
    assert_false(options_told(options));
    return options;
}

static void refused(const char *reason, const char *const *words)
{
    struct options *options;
    struct failure why = { .text = "" };
    assert_int_equal(parse(&options, &why, words), OUTCOME_INVALID);
    assert_int_equal(why.outcome, OUTCOME_INVALID);
    assert_string_equal(why.text, reason);
    options_free(options);
}

static void left(const struct options *options, const char *expected)
{
    char all[200] = "";
    size_t count = 99, seen = 0;
    const char *const *arguments = options_arguments(options, &count);
    for (; arguments[seen]; seen++) {
        strcat(all, seen ? "|" : "");
        strcat(all, arguments[seen]);
    }
    assert_int_equal(seen, count);
    assert_string_equal(all, expected);
}

static void test_defaults_stay(void **state)
{
    (void)state;
    struct options *options = PARSE();
    left(options, "");
    assert_null(options_free(options));
    assert_null(options_free(NULL));
    assert_string_equal(set.store, "/default");
    assert_int_equal(set.port, 18003);
    assert_false(set.quiet);
}

static void test_every_kind(void **state)
{
    (void)state;
    struct options *options = PARSE("-q", "--store=/a", "--listen", "one", "--listen=two", "-p", "0", "--workers=3",
                                    "--record-limit-of-unknown-callers", "64K", "--grace=1m");
    assert_true(set.quiet);
    assert_string_equal(set.store, "/a");
    assert_int_equal(set.listen.count, 2);
    assert_string_equal(set.listen.rows[0], "one");
    assert_string_equal(set.listen.rows[1], "two");
    assert_int_equal(set.port, 0);
    assert_int_equal(set.workers, 3);
    assert_int_equal(set.limit, 65536);
    assert_int_equal(set.grace, 60);
    options_free(options);
    assert_int_equal(set.listen.count, 0);
}

static void test_forms(void **state)
{
    (void)state;
    struct options *options = PARSE("-qp7", "-d", "/b", "--store=/c");
    assert_true(set.quiet);
    assert_int_equal(set.port, 7);
    assert_string_equal(set.store, "/c"); /* the last counts */
    options_free(options);

    options = PARSE("--store=", "--listen", "-", "--listen", "--quiet");
    assert_string_equal(set.store, "");
    assert_int_equal(set.listen.count, 2);
    assert_string_equal(set.listen.rows[0], "-");
    assert_string_equal(set.listen.rows[1], "--quiet"); /* a value, whatever it looks like */
    options_free(options);
}

static void test_arguments(void **state)
{
    (void)state;
    struct options *options = PARSE("a", "-q", "-", "b c", "--", "-p", "--", "");
    assert_true(set.quiet);
    left(options, "a|-|b c|-p|--|");
    options_free(options);
}

static void test_arguments_may_end_the_options(void **state)
{
    (void)state;
    program.stop_at_argument = true;
    struct options *options = PARSE("-q", "ls", "-l", "--store", "x", "--", "y");
    assert_true(set.quiet);
    left(options, "ls|-l|--store|x|--|y");
    assert_string_equal(set.store, "/default");
    options_free(options);
    options = PARSE("--", "-q", "ls");
    left(options, "-q|ls");
    options_free(options);
}

/* popt has a macro language of its own in values: none of it may reach ours. */
static void test_values_are_taken_as_they_are(void **state)
{
    (void)state;
    struct options *options = PARSE("--store=a!#:+b", "c!#:+d", "$HOME", "%s");
    assert_string_equal(set.store, "a!#:+b");
    left(options, "c!#:+d|$HOME|%s");
    options_free(options);
    options = PARSE("--store", "a!#:+b", "file");
    assert_string_equal(set.store, "a!#:+b");
    left(options, "file");
    options_free(options);
    options = PARSE("--store=!\001!#!", "!", "!!\001");
    assert_string_equal(set.store, "!\001!#!");
    left(options, "!|!!\001");
    options_free(options);
    REFUSE("--a!b: there is no such option", "--a!b=c");
}

static void test_refusals_name_the_option(void **state)
{
    (void)state;
    REFUSE("--nosuch: there is no such option", "--nosuch");
    REFUSE("--nosuch: there is no such option", "--nosuch=5");
    REFUSE("--sto: there is no such option", "--sto=x"); /* no abbreviations: they break when options are added */
    REFUSE("-z: there is no such option", "-z");
    REFUSE("-qz: there is no such option", "-qz"); /* one of these letters */
    REFUSE("--port: a value is wanted", "--port");
    REFUSE("-p: a value is wanted", "-p");
    REFUSE("--quiet: no value is wanted", "--quiet=yes");
    REFUSE("--port: \"x\" is not a number up to 4294967295", "--port", "x");
    REFUSE("--port: \"\" is not a number up to 4294967295", "--port=");
    REFUSE("--port: \"-1\" is not a number up to 4294967295", "-p-1");
    REFUSE("--port: \"4294967296\" is not a number up to 4294967295", "--port=4294967296");
    REFUSE("--port: 65536 is too much, at most 65535 may be", "--port=65536");
    REFUSE("--workers: 2 is too little, at least 3 is wanted", "--workers=2");
    REFUSE("--grace: \"soon\" is not a duration, as 30, 30s, 5m, 2h, 1d", "--grace=soon");
    REFUSE("--grace: 3601 is too much, at most 3600 may be", "--grace=3601");
    REFUSE("--record-limit-of-unknown-callers: 1023 is too little, at least 1024 is wanted",
           "--record-limit-of-unknown-callers=1023");
    REFUSE("--record-limit-of-unknown-callers: \"1X\" is not a size, as 512, 64K, 2M, 1G",
           "--record-limit-of-unknown-callers=1X");
    REFUSE("--\\x1b[2J: there is no such option", "--\x1b[2J");
    assert_int_equal(set.port, 18003);
}

static void test_at_the_limits(void **state)
{
    (void)state;
    options_free(PARSE("--port=65535", "--workers=4294967295", "--record-limit-of-unknown-callers=1M", "--grace=1h"));
    assert_int_equal(set.port, 65535);
    assert_int_equal(set.workers, UINT32_MAX);
    assert_int_equal(set.limit, 1048576);
    assert_int_equal(set.grace, 3600);
}

static void test_keys_of_a_file_give_way(void **state)
{
    (void)state;
    char *argv[] = { (char[]){ "thing" }, (char[]){ "--port=2" }, NULL };
    struct options *options;
    struct failure why = { .text = "" };
    assert_int_equal(options_new(&program, &options, &why), OUTCOME_OK);
    assert_int_equal(options_set(options, "port", "1", &why), OUTCOME_OK);
    assert_int_equal(options_set(options, "store", "/from/file", &why), OUTCOME_OK);
    assert_int_equal(options_set(options, "quiet", "on", &why), OUTCOME_OK);
    assert_true(set.quiet);
    assert_int_equal(options_set(options, "quiet", "false", &why), OUTCOME_OK);
    assert_false(set.quiet);
    assert_int_equal(options_set(options, "quiet", "maybe", &why), OUTCOME_INVALID);
    assert_string_equal(why.text, "quiet: yes or no is wanted");
    assert_int_equal(options_set(options, "port", "70000", &why), OUTCOME_INVALID);
    assert_string_equal(why.text, "port: 70000 is too much, at most 65535 may be");
    assert_int_equal(options_set(options, "help", "1", &why), OUTCOME_ABSENT);
    assert_string_equal(why.text, "help: there is no such setting");
    assert_int_equal(options_parse(options, 2, argv, &why), OUTCOME_OK);
    assert_int_equal(set.port, 2);
    assert_string_equal(set.store, "/from/file");
    options_free(options);
}

/* What `words` print on standard output: yours (free). */
static char *told(const char *const *words)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    struct options *options;
    enum outcome outcome = parse(&options, NULL, words);
    dup2(before, STDOUT_FILENO);
    close(before);
    assert_int_equal(outcome, OUTCOME_OK);
    assert_true(options_told(options));
    left(options, "");
    options_free(options);
    char *text = calloc(1, 4096);
    assert_non_null(text);
    rewind(file);
    assert_true(fread(text, 1, 4095, file) > 0);
    fclose(file);
    return text;
}

#define TOLD(...) told((const char *const[]){ __VA_ARGS__, NULL })

static void test_help(void **state)
{
    (void)state;
    static const char expected[] =
        "Usage: thing [OPTION...] NAME...\n"
        "\n"
        "Where:\n"
        "  -d, --store=FOLDER          keep the files in FOLDER\n"
        "      --listen=ADDRESS        listen on ADDRESS as well; may be given several\n"
        "                              times, once for each address that clients are to\n"
        "                              reach the server at\n"
        "  -p, --port=PORT             TCP port (0: any)\n"
        "\n"
        "Limits:\n"
        "      --workers=N             threads\n"
        "      --record-limit-of-unknown-callers=SIZE\n"
        "                              the longest record taken from them\n"
        "      --grace=TIME            for running calls at the end\n"
        "  -q, --quiet                 say less\n"
        "  -h, --help                  show this and exit\n"
        "      --version               show the version and exit\n";
    char *text = TOLD("-h");
    assert_string_equal(text, expected);
    free(text);
    text = TOLD("--help", "--nosuch"); /* what follows it is not looked at */
    assert_string_equal(text, expected);
    free(text);
}

static void test_help_wraps_all_of_it(void **state)
{
    (void)state;
    static const struct option one[] = {
        { .name = "human", .letter = 'h', .kind = OPTION_FLAG, .target = &set.quiet, .help = "sizes for people" },
        OPTION_END,
    };
    static const struct options_program wordy = {
        .name = "thing sub",
        .usage = "[OPTION...] FIRST-ARGUMENT SECOND-ARGUMENT THIRD-ARGUMENT FOURTH-ARGUMENT FIFTH-ARGUMENT...",
        .summary = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen.",
        .epilogue = "As it is.",
        .rows = one,
    };
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    options_help(&wordy, file);
    fclose(file);
    assert_string_equal(
        text, "Usage: thing sub [OPTION...] FIRST-ARGUMENT SECOND-ARGUMENT THIRD-ARGUMENT\n"
              "                 FOURTH-ARGUMENT FIFTH-ARGUMENT...\n"
              "\n"
              "One two three four five six seven eight nine ten eleven twelve thirteen\n"
              "fourteen fifteen sixteen.\n"
              "\n"
              "  -h, --human                 sizes for people\n"
              "      --help                  show this and exit\n"
              "\n"
              "As it is.\n");
    free(text);
}

static void test_version(void **state)
{
    (void)state;
    char *text = TOLD("-q", "--version", "--port=x");
    assert_string_equal(text, "thing 1.2\n");
    free(text);
    program.version = NULL;
    REFUSE("--version: there is no such option", "--version");
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup(test, reset)
    const struct CMUnitTest tests[] = {
        FRESH(test_defaults_stay),
        FRESH(test_every_kind),
        FRESH(test_forms),
        FRESH(test_arguments),
        FRESH(test_arguments_may_end_the_options),
        FRESH(test_values_are_taken_as_they_are),
        FRESH(test_refusals_name_the_option),
        FRESH(test_at_the_limits),
        FRESH(test_keys_of_a_file_give_way),
        FRESH(test_help),
        FRESH(test_help_wraps_all_of_it),
        FRESH(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
