#!/usr/bin/env bats
# Includes run one way, as docs/layers.txt says; and the check can fail.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    check=$BATS_TEST_DIRNAME/layers.sh
    bad=$BATS_TEST_TMPDIR/tree
    mkdir -p "$bad"/{docs,include/fileshare} "$bad"/src/{base,rpc,callback} \
        "$bad"/src/server/{store/local,delivery,procedures} "$bad"/src/client/{lib,cli}
    cp "$source_tree/docs/layers.txt" "$bad/docs/"
    echo '#include "base/outcome.h"' >"$bad/src/rpc/engine.c"
}

# An include line in a file of the bad tree must be refused with the file's name.
refused() {
    echo "$2" >"$bad/$1"
    run bash "$check" "$bad"
    [ "$status" -eq 1 ]
    [[ "$output" == *"$1:1:"* ]]
    rm "$bad/$1"
}

allowed() {
    echo "$2" >"$bad/$1"
    run bash "$check" "$bad"
    [ "$status" -eq 0 ]
    rm "$bad/$1"
}

@test "every include of the tree is an allowed edge" {
    run bash "$check" "$source_tree"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "upward, sideways and pathless includes are refused" {
    refused src/base/x.c '#include "rpc/engine.h"'
    refused src/rpc/x.c '#include "callback/sender.h"'
    refused src/callback/x.c '#include "server/store/store.h"'
    refused src/server/store/x.c '#include "server/delivery/delivery.h"'
    refused src/server/store/local/x.c '#include "rpc/engine.h"'
    refused src/server/delivery/x.c '#include "server/procedures/upload.h"'
    refused src/server/delivery/x.c '#include "server/store/local/local.h"'
    refused src/server/procedures/x.c '#include "server/store/local/local.h"'
    refused src/server/x.c '#include "server/store/local/local.h"'
    refused src/client/cli/x.c '#include "client/lib/session.h"'
    refused src/client/cli/x.c '#include "rpc/client.h"'
    refused src/client/cli/x.c '  #  include <proto/fileshare.h>'
    refused src/server/store/x.c '#include "proto/fileshare.h"'
    refused src/rpc/x.c '#include "engine.h"'
    refused include/fileshare/x.h '#include "base/outcome.h"'
}

@test "headers of other projects have their users" {
    refused src/server/procedures/x.c '#include <sqlite3.h>'
    refused src/server/store/x.c '#include <rpc/rpc.h>'
    refused src/client/lib/x.c '#include <jansson.h>'
    allowed src/server/store/local/x.c '#include <sqlite3.h>'
    allowed src/rpc/x.c '#include <rpc/rpc.h>'
}

@test "allowed edges pass" {
    allowed src/server/procedures/x.c '#include "server/store/store.h"'
    allowed src/client/cli/x.c '#include <fileshare/fileshare.h>'
    allowed src/client/lib/x.c '#include "proto/fileshare.h"'
}

@test "a cycle or nonsense in layers.txt, and an empty tree, are refused" {
    echo 'base -> rpc' >>"$bad/docs/layers.txt"
    run bash "$check" "$bad"
    [ "$status" -eq 1 ]
    [[ "$output" == *cycle* ]]
    echo 'base rpc' >"$bad/docs/layers.txt"
    run bash "$check" "$bad"
    [ "$status" -ne 0 ]
    echo 'rpc -> base' >"$bad/docs/layers.txt"
    rm "$bad/src/rpc/engine.c"
    run bash "$check" "$bad"
    [ "$status" -eq 1 ]
    [[ "$output" == *"nothing was checked"* ]]
}
