#!/usr/bin/env bats
# Files and functions keep their sizes; and the check can fail.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    check=$BATS_TEST_DIRNAME/sizes.sh
    tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree/src" "$tree/tests"
    printf 'int small(void)\n{\n    return 1;\n}\n' >"$tree/src/small.c"
}

# A function NAME of LINES lines in all.
write_function() {
    printf 'int %s(int x)\n{\n' "$1"
    for ((i = 0; i < $2 - 4; i++)); do echo '    x++;'; done
    printf '    return x;\n}\n'
}

@test "no file or function of the tree is too long" {
    run bash "$check" "$source_tree"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a file of 599 lines passes, one of 600 is named" {
    yes '/* . */' | head -n 599 >"$tree/src/long.c"
    run bash "$check" "$tree"
    [ "$status" -eq 0 ]
    echo '/* one more */' >>"$tree/src/long.c"
    run bash "$check" "$tree"
    [ "$status" -eq 1 ]
    [[ "$output" == *"src/long.c: 600 lines"* ]]
}

@test "a function of 100 lines passes, one of 101 is named, static or in a test as well" {
    write_function hundred 100 >"$tree/src/hundred.c"
    write_function tiny 5 >"$tree/src/tiny.c"
    run bash "$check" "$tree"
    echo "$output"
    [ "$status" -eq 0 ]
    { printf 'static '; write_function above 101; } >"$tree/tests/above_test.c"
    run bash "$check" "$tree"
    [ "$status" -eq 1 ]
    [[ "$output" == *"tests/above_test.c:1: above has 101 lines"* ]]
}

@test "a median of 20 lines is refused" {
    write_function first 20 >"$tree/src/first.c"
    write_function second 20 >"$tree/src/second.c"
    run bash "$check" "$tree"
    [ "$status" -eq 1 ]
    [[ "$output" == *"median must be below 20"* ]]
}
