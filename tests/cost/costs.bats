#!/usr/bin/env bats
# What stays the same from run to run is held to recorded bounds: system calls,
# instructions, allocations, bytes copied; see tests/cost/measure. Of a release build alone.

setup_file() {
    cost=$BATS_TEST_DIRNAME
    export cost
    export counts=$BATS_FILE_TMPDIR/counts
    mkdir "$counts"
    is_release || return 0
    # What others do on this machine can only add: over a bound is what is so three times.
    for i in 1 2 3; do
        "$cost/measure" >"$counts/$i"
        if "$cost/compare" "$cost/bounds" "$counts"/* >"$BATS_FILE_TMPDIR/over"; then break; fi
    done
}

is_release() {
    grep -qx 'CMAKE_BUILD_TYPE:[A-Z]*=Release' "$FILESHARE_BUILD/CMakeCache.txt" &&
        ! grep -q '^FILESHARE_SANITIZE:[A-Z]*=.' "$FILESHARE_BUILD/CMakeCache.txt"
}

skip_unless_release() {
    is_release || skip "what a build costs is recorded of release builds alone"
}

setup() {
    skip_unless_release
}

# holds WORK: nothing of it is over its bound.
holds() {
    ls "$counts"/* >/dev/null
    ! grep "^$1 " "$BATS_FILE_TMPDIR/over"
}

@test "a NULL call" { holds null; }
@test "an upload of 4 KiB, a call of its own" { holds upload; }
@test "a download of 4 KiB, a call of its own" { holds download; }
@test "an upload of 4 KiB among many" { holds bundle; }
@test "a download of 4 KiB among many" { holds unbundle; }
@test "a row of a list" { holds list; }
@test "an upload that a waiter is told of" { holds arrival; }
@test "a MiB of a large upload" { holds bulk; }
@test "a MiB of a large download" { holds fetch; }
@test "the client's process for one upload, from start to end" { holds start; }

@test "nothing else is over a bound" {
    ! grep -vE '^(null|upload|download|bundle|unbundle|list|arrival|bulk|fetch|start) ' "$BATS_FILE_TMPDIR/over"
}

@test "one call or allocation more would be found" {
    for row in 'null server calls' 'null client calls' 'null server allocations' 'bundle client calls'; do
        awk -v row="$row" '{ if ($1 " " $2 " " $3 == row) $4 += 1; print }' "$counts/1" >"$BATS_TEST_TMPDIR/more"
        run "$cost/compare" "$cost/bounds" "$BATS_TEST_TMPDIR/more"
        [ "$status" -eq 1 ]
        [[ $output == *"$row: "*" too many "*"tests/cost/record"* ]]
    done
}

@test "a tenth more instructions or two would be found" {
    awk '$3 == "instructions" { $4 *= 1.25 } { print }' "$counts/1" >"$BATS_TEST_TMPDIR/more"
    # As if they had been recorded with what is here.
    { grep -v '^with ' "$cost/bounds" && grep '^with ' "$counts/1"; } >"$BATS_TEST_TMPDIR/bounds"
    run "$cost/compare" "$BATS_TEST_TMPDIR/bounds" "$BATS_TEST_TMPDIR/more"
    [ "$status" -eq 1 ]
    [[ $output == *"null client instructions: "*" too many "* ]]
}

@test "a count without a bound, and a bound without a count, would be found" {
    sed '/^null server calls /d' "$cost/bounds" >"$BATS_TEST_TMPDIR/bounds"
    run "$cost/compare" "$BATS_TEST_TMPDIR/bounds" "$counts/1"
    [ "$status" -eq 1 ]
    [[ $output == *"null server calls: it has no bound"* ]]
    sed '/^null server calls /d' "$counts/1" >"$BATS_TEST_TMPDIR/fewer"
    run "$cost/compare" "$cost/bounds" "$BATS_TEST_TMPDIR/fewer"
    [ "$status" -eq 1 ]
    [[ $output == *"null server calls: nothing was counted"* ]]
}
