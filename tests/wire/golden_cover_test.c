/*
 * Nothing of the contract goes unpinned: proto/fileshare.x is read, and each
 * argument and result type of each procedure must have golden bytes, each union
 * both its arms, each optional item both with and without, each number of a
 * program, procedure or enumerator its line here.
 */
#include "wire/golden/golden.h"
#include "wire/golden/numbers.h"
#include "wire/golden/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORD_MAX = 64, TEXT_MAX = 1 << 20 };

static char *read_contract(void)
{
    FILE *file = fopen(FILESHARE_SOURCE "/proto/fileshare.x", "r");
    assert_non_null(file);
    char *text = calloc(1, TEXT_MAX);
    assert_non_null(text);
    size_t length = fread(text, 1, TEXT_MAX - 1, file);
    assert_true(length > 0 && length < TEXT_MAX - 1);
    fclose(file);

    /* Comments become blanks: what is left is all language. */
    char *open;
    while ((open = strstr(text, "/*"))) {
        char *close = strstr(open, "*/");
        assert_non_null(close);
        memset(open, ' ', (size_t)(close + 2 - open));
    }
    return text;
}

static size_t goldens_of(const char *type, bool_t (*fits)(const uint8_t *bytes, size_t length))
{
    size_t families, found = 0;
    const struct golden_family *const *family = golden_families(&families);

    for (size_t f = 0; f < families; f++)
        for (size_t i = 0; i < family[f]->count; i++) {
            const struct golden *golden = &family[f]->cases[i];
            uint8_t bytes[4096];
            size_t length;
            assert_true(golden_bytes(golden->hex, bytes, sizeof(bytes), &length));
            found += strcmp(golden->type, type) == 0 && (!fits || fits(bytes, length));
        }
    return found;
}

static bool_t begins_with_zero(const uint8_t *bytes, size_t length)
{
    return length >= 4 && memcmp(bytes, "\0\0\0\0", 4) == 0;
}

static bool_t begins_otherwise(const uint8_t *bytes, size_t length)
{
    return !begins_with_zero(bytes, length);
}

/* Calls `check` with each procedure's result, name, argument; returns how many there are. */
static size_t for_each_procedure(char *text, void (*check)(const char *result, const char *name,
                                                           const char *argument, int number))
{
    size_t count = 0;

    for (char *at = strstr(text, "\nprogram "); at && *at; at = strchr(at + 1, '\n')) {
        char result[WORD_MAX], name[WORD_MAX], argument[WORD_MAX];
        int number;
        if (at[1 + strspn(at + 1, " ")] == '\n')
            continue;
        if (sscanf(at, " %63s %63[A-Z0-9_](%63[a-z0-9_]) = %d;", result, name, argument, &number) != 4)
            continue;
        check(result, name, argument, number);
        count++;
    }
    return count;
}

static void check_type(const char *type, const char *procedure)
{
    size_t types;

    wire_types(&types);
    if (strcmp(type, "void") == 0)
        return;
    if (goldens_of(type, NULL) == 0)
        fail_msg("%s of %s has no golden bytes", type, procedure);
    if (wire_type_place(type) == types)
        fail_msg("%s of %s is not in wire/golden/types.c", type, procedure);
}

static void check_procedure(const char *result, const char *name, const char *argument, int number)
{
    (void)number;
    check_type(result, name);
    check_type(argument, name);
}

static void test_each_type_of_a_procedure_is_pinned(void **state)
{
    char *text = read_contract();

    (void)state;
    assert_int_equal(for_each_procedure(text, check_procedure), 25);
    free(text);
}

/* All unions of the contract are "case FS_OK" (zero) and "default". */
static void test_both_arms_of_each_union_are_pinned(void **state)
{
    char *text = read_contract();
    size_t unions = 0;

    (void)state;
    for (char *at = text; (at = strstr(at, "\nunion ")); at++) {
        char name[WORD_MAX];
        assert_int_equal(sscanf(at, " union %63[a-z_] switch (fs_status status) {", name), 1);
        unions++;
        if (goldens_of(name, begins_with_zero) == 0)
            fail_msg("%s: the arm of FS_OK has no golden bytes", name);
        if (goldens_of(name, begins_otherwise) == 0)
            fail_msg("%s: the default arm has no golden bytes", name);
        char *close = strstr(at, "\n};");
        assert_non_null(close);
        *close = '\0';
        char *first = strstr(at, "case ");
        assert_non_null(first);
        if (strncmp(first, "case FS_OK:", 11) != 0 || strstr(first + 5, "case "))
            fail_msg("%s has other arms than FS_OK and default: look for each here", name);
        if (!strstr(first, "default:"))
            fail_msg("%s has no default arm", name);
        *close = '\n';
    }
    assert_true(unions >= 13);
    free(text);
}

static bool_t is_of_word(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Each constant and enumerator, `NAME = number`, stands in wire/golden/numbers.c. */
static void test_each_number_is_pinned(void **state)
{
    char *text = read_contract();
    size_t found = 0;

    (void)state;
    for (char *at = strchr(text, '='); at; at = strchr(at + 1, '=')) {
        char *end = at, word[WORD_MAX];
        while (end[-1] == ' ')
            end--;
        char *name = end;
        while (is_of_word(name[-1]))
            name--;
        if (name == end)
            continue; /* the end of a procedure, a version or a program */
        snprintf(word, sizeof(word), "%.*s", (int)(end - name), name);
        const struct golden_number *number = golden_number(word);
        if (!number)
            fail_msg("%s has no line in wire/golden/numbers.c", word);
        assert_int_equal(strtoll(at + 1, NULL, 0), number->expected);
        found++;
    }
    assert_true(found > 50);
    free(text);
}

static void check_procedure_number(const char *result, const char *name, const char *argument, int number)
{
    const struct golden_number *golden = golden_number(name);

    (void)result;
    (void)argument;
    if (!golden)
        fail_msg("%s has no line in wire/golden/numbers.c", name);
    assert_int_equal(number, golden->expected);
}

static void test_each_procedure_number_is_pinned(void **state)
{
    char *text = read_contract();

    (void)state;
    assert_int_equal(for_each_procedure(text, check_procedure_number), 25);
    free(text);
}

static void test_numbers_are_what_was_promised(void **state)
{
    size_t count;
    const struct golden_number *number = golden_numbers(&count);

    (void)state;
    for (size_t i = 0; i < count; i++)
        if (number[i].is != number[i].expected)
            fail_msg("%s is %lld, should be %lld", number[i].name, number[i].is, number[i].expected);
    assert_int_equal(golden_number("FILESHARE_PROG")->is, 0x20465348);
    assert_int_equal(golden_number("FILESHARE_V1")->is, 1);
    assert_null(golden_number("FS_NO_SUCH"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_type_of_a_procedure_is_pinned),
        cmocka_unit_test(test_both_arms_of_each_union_are_pinned),
        cmocka_unit_test(test_each_number_is_pinned),
        cmocka_unit_test(test_each_procedure_number_is_pinned),
        cmocka_unit_test(test_numbers_are_what_was_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
