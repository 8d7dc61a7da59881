#!/usr/bin/env bats
# docs/THREADS.md has every lock and every thread; and the check can fail.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    check=$BATS_TEST_DIRNAME/threads.sh
    tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree"/{docs,src}
    printf 'struct a {\n    pthread_mutex_t lock; /* guards all */\n};\n' >"$tree/src/a.h"
    printf '    int error = pthread_create(&thread, NULL, run, a);\n' >"$tree/src/a.c"
    printf '`src/a.h` `src/a.c`\n' >"$tree/docs/THREADS.md"
}

@test "the page has every lock and thread of the tree" {
    run bash "$check" "$source_tree"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a lock, and a thread, that the page does not have are named" {
    run bash "$check" "$tree"
    [ "$status" -eq 0 ]
    printf 'static pthread_rwlock_t table = PTHREAD_RWLOCK_INITIALIZER;\n' >"$tree/src/b.c"
    run bash "$check" "$tree"
    [ "$status" -eq 1 ]
    [[ "$output" == *"src/b.c, which has a lock"* ]]
    echo '    if (pthread_create(&thread, NULL, run, a) != 0)' >"$tree/src/b.c"
    run bash "$check" "$tree"
    [ "$status" -eq 1 ]
    [[ "$output" == *"src/b.c, which starts a thread"* ]]
}
