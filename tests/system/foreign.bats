#!/usr/bin/env bats
# Programs that have none of our code: rpcinfo, and a stock libtirpc client
# (foreign/foreign.c), over real rpcbind against the real server.

setup() {
    load world
}

@test "rpcinfo finds the server and calls it" {
    in_world <<'END'
    start_rpcbind
    start_server
    rpcinfo -p | grep -E "^ +$fileshare_prog +1 +tcp +18003"
    rpcinfo | grep -E "^ +$fileshare_prog +1 +tcp6 "
    ready="program $fileshare_prog version 1 ready and waiting"
    expect "$ready" rpcinfo -t 127.0.0.1 $fileshare_prog 1
    expect "$ready" rpcinfo -t 127.0.0.1 $fileshare_prog
    expect "$ready" rpcinfo -T tcp 127.0.0.1 $fileshare_prog 1
    expect "$ready" rpcinfo -T tcp 127.0.0.1 $fileshare_prog
    expect "$ready" rpcinfo -T tcp6 ::1 $fileshare_prog 1
    expect "$ready" rpcinfo -T tcp6 ::1 $fileshare_prog
    stop_server
    refute grep $fileshare_prog <(rpcinfo -p)
END
}

@test "another version is answered with the versions there are" {
    in_world <<'END'
    start_rpcbind
    start_server
    refute rpcinfo -T tcp 127.0.0.1 $fileshare_prog 2
    mismatch="RPC: Program/version mismatch, versions 1 to 1"
    expect_failure 2 "$mismatch" foreign_client 127.0.0.1 version 0
    expect_failure 2 "$mismatch" foreign_client 127.0.0.1 version 2
    expect_failure 2 "$mismatch" foreign_client -n 127.0.0.1 version 4294967295
END
}

@test "nobody may call NULL and HELLO, and nothing else" {
    in_world <<'END'
    start_rpcbind
    start_server
    : >empty
    expect "ready" foreign_client -n 127.0.0.1 null
    expect "ready" foreign_client 127.0.0.1 null
    foreign_client -n 127.0.0.1 hello | grep -E "data_max 1048576 list_max 1024"
    foreign_client 127.0.0.1 hello | grep -E "^principal unix:0 "
    too_weak="RPC: Authentication error, 5"
    expect_failure 2 "$too_weak" foreign_client -n 127.0.0.1 list
    expect_failure 2 "$too_weak" foreign_client -n 127.0.0.1 put x empty
    expect_failure 2 "$too_weak" foreign_client -n 127.0.0.1 put-parts x empty
    expect_failure 2 "$too_weak" foreign_client -n 127.0.0.1 get x out
    expect_failure 2 "$too_weak" foreign_client -n 127.0.0.1 await x 1
    expect_failure 2 "$too_weak" foreign_client -n 127.0.0.1 status
    foreign_client 127.0.0.1 status | grep -E "^[a-z_. ]+ [0-9]+$"
END
}

@test "a file goes there whole, or in parts without a digest, and comes back equal" {
    in_world <<'END'
    start_rpcbind
    start_server
    : >empty
    head -c 300001 /dev/urandom >small
    head -c 5000003 /dev/urandom >large
    expect "a/empty 0" foreign_client 127.0.0.1 put a/empty empty
    expect "a/small 300001" foreign_client 127.0.0.1 put a/small small
    expect "b/empty 0" foreign_client 127.0.0.1 put-parts b/empty empty
    expect "b/large 5000003" foreign_client -6 ::1 put-parts b/large large
    expect_failure 1 "status 1: ." foreign_client 127.0.0.1 put a/small empty

    expect "$(printf 'a/empty 0\na/small 300001\nb/empty 0\nb/large 5000003')" foreign_client 127.0.0.1 list
    expect "$(printf 'a/empty 0\na/small 300001')" foreign_client 127.0.0.1 list 'a/*'
    expect "" foreign_client 127.0.0.1 list 'c/*'

    for pair in a/empty:empty a/small:small b/empty:empty b/large:large; do
        foreign_client 127.0.0.1 get "${pair%:*}" out
        cmp out "${pair#*:}"
    done
    expect_failure 1 "status 2: ." foreign_client 127.0.0.1 get b/none out
END
}

@test "an interest without a callback is met, and EVENTS tells it" {
    in_world <<'END'
    start_rpcbind
    start_server
    echo content >file
    foreign_client 127.0.0.1 await later/file 60 >awaited &
    waiter=$!
    until_true 10 grep -qs registered awaited
    expect "other 8" foreign_client 127.0.0.1 put other file
    expect "later/file 8" foreign_client 127.0.0.1 put-parts later/file file
    wait "$waiter"
    expect "$(printf 'registered\nevent 0 later/file 8\nleft 0')" cat awaited

    # What is there is told at once.
    expect "later/file 8" foreign_client 127.0.0.1 await later/file 60
END
}

@test "a stock callback program is proved, notified, and its reply acknowledges" {
    in_world <<'END'
    start_rpcbind
    start_server
    echo content >file
    foreign_client 127.0.0.1 listen later/file 60 >heard &
    waiter=$!
    until_true 10 grep -qs registered heard
    rpcinfo -p | grep -E "^ *1073741824 +1 +tcp"
    expect "later/file 8" foreign_client 127.0.0.1 put later/file file
    wait "$waiter"
    expect "$(printf 'registered\nhello\nevent 0 later/file 8')" cat heard
    refute grep 1073741824 <(rpcinfo -p)
    acknowledged() { foreign_client 127.0.0.1 status >counters && grep -qx 'delivery.events 1' counters; }
    until_true 10 acknowledged
    grep -x 'delivery.retries 0' counters
END
}

@test "an interest that runs out unmet is told too" {
    in_world <<'END'
    start_rpcbind
    start_server
    expect "$(printf 'registered\nevent 1 never\nleft 0')" foreign_client 127.0.0.1 await never 1
    expect "$(printf 'registered\nhello\nevent 1 never')" foreign_client 127.0.0.1 listen never 1
END
}
