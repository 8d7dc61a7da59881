#!/usr/bin/env bats
# What the pages point at is there; and the check can fail.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    check=$BATS_TEST_DIRNAME/links.sh
    tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree"/{docs,man,src}
    echo 'See [docs](docs/A.md#top), [out](https://example.org/x) and `src/`.' >"$tree/README.md"
    echo 'Back to [README](../README.md).' >"$tree/docs/A.md"
}

refused() {
    run bash "$check" "$tree"
    echo "$output"
    [ "$status" -eq 1 ]
    [[ "$output" == *"$1"* ]]
}

@test "every link of the tree leads somewhere" {
    run bash "$check" "$source_tree"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "sound links pass, dead ones are named" {
    run bash "$check" "$tree"
    [ "$status" -eq 0 ]
    echo '[gone](../gone.md)' >>"$tree/docs/A.md"
    refused 'docs/A.md: a link to ../gone.md'
}

@test "a path that is named and not there is found" {
    echo 'The file `src/gone.c` is fine.' >>"$tree/README.md"
    refused 'names src/gone.c'
}

@test "a manual that refers to none is found" {
    printf '.Xr rpcbind 8\n.Xr gone 7 ,\n' >"$tree/man/a.1"
    refused 'refers to gone(7)'
}
