#!/usr/bin/env bats
# tests/README.md says which test holds us to better than what was measured of others; and the check can fail.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    check=$BATS_TEST_DIRNAME/measured.sh
    tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree"/tests/{wire,system}
    printf 'static void test_one(void **state)\n{\n}\n' >"$tree/tests/wire/hazard_a_test.c"
    printf '@test "it is so" {\n}\n' >"$tree/tests/system/b.bats"
    printf '# Tests\n\n| a | `wire/hazard_a_test` test_one; `system/b` "it is\nso" |\n' >"$tree/tests/README.md"
}

refused() {
    run bash "$check" "$tree"
    echo "$output"
    [ "$status" -eq 1 ]
    [[ "$output" == *"$1"* ]]
}

@test "each test that the list names is there" {
    run bash "$check" "$source_tree"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a sound list passes; a test, a file, a title that is not there is named" {
    run bash "$check" "$tree"
    echo "$output"
    [ "$status" -eq 0 ]
    cp "$tree/tests/README.md" "$tree/kept"
    echo '| `wire/hazard_a_test` test_two |' >>"$tree/tests/README.md"
    refused 'wire/hazard_a_test has no test test_two'
    cp "$tree/kept" "$tree/tests/README.md"
    echo '| `system/b` "it was so" |' >>"$tree/tests/README.md"
    refused 'system/b has no test "it was so"'
    cp "$tree/kept" "$tree/tests/README.md"
    echo '| `wire/gone_test` |' >>"$tree/tests/README.md"
    refused 'there is no wire/gone_test'
}

@test "a test of the hazards that the list leaves out is named" {
    touch "$tree/tests/wire/hazard_b_test.c"
    refused 'wire/hazard_b_test is not named'
}
