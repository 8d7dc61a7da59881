/*
 * Who waits for a name: what the store finds by its indexes, its walk down the
 * prefixes and its sieves is held against matching every pattern with the name.
 *
 *     FILESHARE_FAULT_SEED=N
 */
#include "service/store_subject.h"

#include "base/glob.h"
#include "server/store/local/sieve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned seed;

static unsigned any(unsigned below)
{
    return (unsigned)random() % below;
}

/* Few letters, so that much matches, and much nearly does. */
static size_t some_letters(char *out, unsigned most)
{
    static const char *const letters[] = {"a", "b", "ab", "\xc3\xa4", "a/b", "-", "0"};
    size_t size = 0;
    for (unsigned n = any(most) + 1; n > 0; n--)
        size += (size_t)sprintf(out + size, "%s", letters[any(7)]);
    return size;
}

static void some_name(char out[NAME_BUFFER])
{
    size_t size = some_letters(out, 8);
    snprintf(out + size, NAME_BUFFER - size, "%s", any(2) ? ".csv" : "");
}

/* Escapes, sets (with ']' and '\' in them), all wildcards. */
static void some_glob(char out[NAME_BUFFER])
{
    static const char *const parts[] = {"*",      "?",   "**",         "[ab]",   "[!b]",    "[]a]",
                                        "[a\\]]", "\\a", "\\\xc3\xa4", "[^a-b]", "[\\]-a]", ".csv",
                                        "a",      "b",   "-",          "ab"};
    size_t size = any(2) ? some_letters(out, 4) : 0;
    for (unsigned n = any(4) + 1; n > 0; n--)
        size += (size_t)sprintf(out + size, "%s", parts[any(sizeof parts / sizeof parts[0])]);
}

static bool matches(const char *pattern, const char *name)
{
    struct glob *glob = NULL;
    assert_ok(glob_new(pattern, &glob, &store_why));
    bool answer = glob_match(glob, name);
    glob_free(glob);
    return answer;
}

static bool may_match(const char *pattern, const char *name)
{
    struct sieve glob = sieve_of_glob(pattern), bits = sieve_of_name(name);
    return sieve_passes(&glob, &bits);
}

static void test_sieve_lets_through_what_matches(void **state)
{
    (void)state;
    unsigned matched = 0, kept_out = 0;
    for (unsigned n = 0; n < 60000; n++) {
        char pattern[NAME_BUFFER], name[NAME_BUFFER];
        some_glob(pattern);
        some_name(name);
        bool does = matches(pattern, name), may = may_match(pattern, name);
        matched += does;
        kept_out += !may;
        if (does && !may)
            fail_msg("\"%s\" matches \"%s\", and the sieve says no", pattern, name);
    }
    assert_true(matched > 1000);
    assert_true(kept_out > 10000); /* else it is of no use */
}

static void test_sieve_keeps_out_others(void **state)
{
    (void)state;
    unsigned through = 0;
    for (unsigned n = 0; n < 10000; n++) {
        char pattern[64];
        snprintf(pattern, sizeof pattern, "*-%u.csv", n + 20000);
        through += may_match(pattern, "incoming/results-10007.csv");
    }
    assert_true(through < 300);
    assert_true(may_match("*", "x"));
    assert_true(may_match("*.csv", "results.csv"));
    assert_false(may_match("*.csv", "results.csv.gz"));
}

static void test_sieves_stay_ordered(void **state)
{
    (void)state;
    struct sieves sieves = {0};
    for (int64_t row = 1; row <= 1000; row++)
        assert_true(sieves_add(&sieves, row, row % 10 ? "*.txt" : "*.csv"));
    struct sieve name = sieve_of_name("x.csv");
    int64_t row = 0;
    for (int64_t expected = 10; expected <= 1000; expected += 10)
        assert_int_equal(row = sieves_next(&sieves, &name, row), expected);
    assert_int_equal(sieves_next(&sieves, &name, row), 0);
    /* A transaction was undone: its rows are given anew, to others. */
    assert_true(sieves_add(&sieves, 996, "*.csv"));
    assert_int_equal(sieves.count, 996);
    assert_int_equal(sieves_next(&sieves, &name, 990), 996);
    assert_int_equal(sieves_next(&sieves, &name, 996), 0);
    sieves_fini(&sieves);
}

/* ---- the store ---- */

enum { WAITING = 400, ROUNDS = 60 };

struct waiting {
    struct id interest;
    bool glob, gone;
    char pattern[NAME_BUFFER];
};

static struct id mailbox;

static void wait_for_it(struct subject *s, struct waiting *one)
{
    one->interest = id_random();
    one->gone = false;
    one->glob = any(3) > 0;
    if (one->glob)
        some_glob(one->pattern);
    else
        some_name(one->pattern);
    struct store_interest_add add = {.mailbox = mailbox,
                                     .interest = one->interest,
                                     .pattern = one->pattern,
                                     .glob = one->glob,
                                     .every = true,
                                     .seconds = 1000};
    struct store_registration made;
    assert_ok(interest(s, &alice, &add, NULL, 0, &made));
}

static void cancel(struct subject *s, struct waiting *one)
{
    struct store_interest_drop wanted = {.op = id_random(), .mailbox = mailbox, .interest = one->interest};
    struct store_cancelled row;
    size_t count;
    bool more;
    assert_ok(drop(s, &alice, &wanted, &row, 1, &count, &more));
    one->gone = true;
}

static bool is_told(const struct store_event *events, size_t count, const struct id *interest)
{
    size_t times = 0;
    for (size_t i = 0; i < count; i++)
        times += id_equal(&events[i].interest, interest);
    assert_true(times <= 1);
    return times == 1;
}

static void arrive_and_compare(struct subject *s, const struct waiting *all, const char *name,
                               uint64_t *since)
{
    static struct store_event told[WAITING + 1];
    bool more;
    assert_ok(replace(s, &root, name, "x", NULL));
    fan_out(s);
    size_t count = events(s, &mailbox, *since, told, WAITING + 1, &more);
    assert_false(more);
    size_t expected = 0;
    for (size_t i = 0; i < WAITING; i++) {
        const struct waiting *one = &all[i];
        bool wants = !one->gone &&
                     (one->glob ? matches(one->pattern, name) : strcmp(one->pattern, name) == 0);
        expected += wants;
        if (wants != is_told(told, count, &one->interest))
            fail_msg("seed %u: \"%s\" is %s for \"%s\"", seed, name, wants ? "not told" : "told",
                     one->pattern);
    }
    assert_int_equal(count, expected);
    if (count > 0)
        *since = told[count - 1].number;
}

static void test_all_who_wait_are_found(void **state)
{
    struct subject *s = *state;
    static struct waiting all[WAITING];
    uint64_t since = 0;
    mailbox = id_random();
    for (size_t i = 0; i < WAITING; i++)
        wait_for_it(s, &all[i]);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char name[NAME_BUFFER];
        some_name(name);
        arrive_and_compare(s, all, name, &since);
        /* They come and go, so that what is in memory falls behind, and is put right again. */
        for (unsigned n = 0; n < 150; n++) {
            struct waiting *one = &all[any(WAITING)];
            if (one->gone)
                wait_for_it(s, one);
            else
                cancel(s, one);
        }
        if (round == 49)
            subject_restart(s);
    }
}

static void wait_with(struct subject *s, const struct id *box, const char *form, unsigned number)
{
    char pattern[96];
    snprintf(pattern, sizeof pattern, "%s-%u.csv", form, number);
    struct store_interest_add add = {.mailbox = *box,
                                     .interest = id_random(),
                                     .pattern = pattern,
                                     .glob = true,
                                     .every = true,
                                     .seconds = 99};
    struct store_registration made;
    assert_ok(interest(s, &alice, &add, NULL, 0, &made));
}

/* What is put as `name` is told once, for that pattern; or not at all. */
static void told_for(struct subject *s, const struct id *box, uint64_t *since, const char *name,
                     const char *pattern)
{
    struct store_event told[4];
    bool more;
    assert_ok(put(s, &alice, name, "x", NULL));
    fan_out(s);
    assert_int_equal(events(s, box, *since, told, 4, &more), pattern ? 1 : 0);
    if (!pattern)
        return;
    assert_string_equal(told[0].pattern, pattern);
    *since = told[0].number;
}

/*
 * A thousand of one prefix, as many of none. After a few names that are looked for in vain the first are a
 * crowd, which is read in steps; those that come meanwhile and later, and those that go, change nothing.
 */
static void test_crowds_hide_nobody(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    uint64_t since = 0;
    for (unsigned n = 0; n < 8000; n++)
        wait_with(s, &box, n % 4 ? "data/*" : "*", n);
    for (unsigned n = 0; n < 12; n++) {
        char name[64], pattern[64];
        snprintf(name, sizeof name, "data/none-%u.csv", 30000 + n);
        told_for(s, &box, &since, name, NULL);
        snprintf(name, sizeof name, "data/it-%u.csv", 7999 - 4 * n);
        snprintf(pattern, sizeof pattern, "data/*-%u.csv", 7999 - 4 * n);
        told_for(s, &box, &since, name, pattern);
        wait_with(s, &box, "data/*", 40000 + n);
        snprintf(name, sizeof name, "data/new-%u.csv", 40000 + n);
        snprintf(pattern, sizeof pattern, "data/*-%u.csv", 40000 + n);
        told_for(s, &box, &since, name, pattern);
        snprintf(name, sizeof name, "open-%u.csv", 4 * n);
        snprintf(pattern, sizeof pattern, "*-%u.csv", 4 * n);
        told_for(s, &box, &since, name, pattern);
    }
}

/* More crowds than are kept in memory, and each comes again. */
static void test_many_crowds(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    uint64_t since = 0;
    char form[64], name[64], pattern[64];
    for (unsigned n = 0; n < 12 * 400; n++) {
        snprintf(form, sizeof form, "crowd-%u/*", n % 12);
        wait_with(s, &box, form, n);
    }
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned n = 0; n < 12; n++) {
            snprintf(name, sizeof name, "crowd-%u/none-%u.csv", n, 10000 + round);
            told_for(s, &box, &since, name, NULL);
            unsigned number = n + 12 * (398 - round);
            snprintf(name, sizeof name, "crowd-%u/it-%u.csv", n, number);
            snprintf(pattern, sizeof pattern, "crowd-%u/*-%u.csv", n, number);
            told_for(s, &box, &since, name, pattern);
        }
    }
}

static int wide_setup(void **state)
{
    struct subject *s = subject_new();
    s->limits.open_globs = s->limits.open_globs_per_principal = s->limits.open_globs_per_mailbox = 100000;
    s->limits.interests = s->limits.interests_per_principal = s->limits.interests_per_mailbox = 100000;
    subject_open(s);
    *state = s;
    return 0;
}

int main(void)
{
    const char *given = getenv("FILESHARE_FAULT_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_wall(clock_system());
    printf("FILESHARE_FAULT_SEED=%u\n", seed);
    srandom(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sieve_lets_through_what_matches),
        cmocka_unit_test(test_sieve_keeps_out_others),
        cmocka_unit_test(test_sieves_stay_ordered),
        cmocka_unit_test_setup_teardown(test_all_who_wait_are_found, wide_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(test_crowds_hide_nobody, wide_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(test_many_crowds, wide_setup, subject_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
