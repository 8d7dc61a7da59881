# Transfers that are broken off, as people meet them: fileshare-client at a terminal and in scripts.

load world

slow_relay='
# What the server was sent in all, and what it sent.
moved() { fileshare-client -s 127.0.0.1:2345 status | awk -v name="bytes.$1" "\$1 == name { print \$2 }"; }
# What a broken connection still had under way has come, or is gone.
has_settled() { [ "$(fileshare-client -s 127.0.0.1:2345 status | awk -v name=connections.open "\$1 == name { print \$2 }")" = 1 ]; }
# The upload has begun, and holds something.
has_begun() { [ "$(find store/incoming -type f -size +1M 2>/dev/null | wc -l)" -ge 1 ]; }
'

@test "Ctrl-C keeps what was put, and says so; the same command goes on" {
    in_world <<END
    source "\$FILESHARE_SOURCE/tests/system/client.bash"
    $slow_relay
    serve --port 2345
    slowly 4000000
    head -c 20000000 /dev/urandom >large
    begin put put large
    until_true 20 has_begun
    kill -INT "\$pid"
    ends 130 "\$pid"
    grep -qxE 'put: large: what moved is kept \([0-9]+%, .* of 19 MiB\); the same command goes on from there' put.err
    [ "\$(find home/.local/state/fileshare/uploads -type f -perm 600 | wc -l)" = 1 ]
    [ -z "\$(fileshare-client ls)" ]
    until_true 20 has_settled
    kept=\$(stat -c %s store/incoming/*)
    before=\$(moved in)
    export FILESHARE_SERVER=127.0.0.1:2345
    fileshare-client put large >again.out 2>again.err
    grep -qxE 'put: large: going on where it was broken off \([0-9]+%, .* of 19 MiB\)' again.err
    [ "\$(cat again.out)" = 'large: stored, 19 MiB' ]
    [ \$((\$(moved in) - before)) -lt \$((20000000 - kept + 100000)) ]
    [ "\$(find home/.local/state/fileshare/uploads -type f | wc -l)" = 0 ]
    fileshare-client get large -o - | cmp - large
    kill "\$relay"
    stop_server
END
}

@test "Ctrl-C keeps what was got beside the target; the same command goes on" {
    in_world <<END
    source "\$FILESHARE_SOURCE/tests/system/client.bash"
    $slow_relay
    serve --port 2345
    head -c 20000000 /dev/urandom >large
    fileshare-client -q put large
    slowly 4000000
    mkdir down && cd down
    part_is_there() { [ "\$(find . -name '.large.*.part' -size +1M | wc -l)" = 1 ]; }
    begin get get large
    until_true 20 part_is_there
    kill -TERM "\$pid"
    ends 143 "\$pid"
    says 'get: large: what moved is kept (' get.err
    [ ! -e large ]
    [ "\$(stat -c %a .large.*.part)" = 600 ]
    until_true 20 has_settled
    kept=\$(stat -c %s .large.*.part)
    before=\$(moved out)
    FILESHARE_SERVER=127.0.0.1:2345 fileshare-client get large >again.out 2>again.err
    says 'get: large: going on where it was broken off (' again.err
    [ \$((\$(moved out) - before)) -lt \$((20000000 - kept + 100000)) ]
    cmp large ../large
    [ "\$(stat -c %a large)" = 644 ]
    [ -z "\$(find . -name '.*.part')" ]
    kill "\$relay"
    stop_server
END
}

@test "a put goes on over a kill -9 of the server, and says what happens; with -q nothing" {
    in_world <<END
    source "\$FILESHARE_SOURCE/tests/system/client.bash"
    $slow_relay
    serve --port 2345
    slowly 6000000
    head -c 20000000 /dev/urandom >large
    for quiet in '' -q; do
        begin put \$quiet put large --as "large\$quiet"
        until_true 20 has_begun
        stop_server KILL || true
        [ -n "\$quiet" ] || until_true 20 says 'trying again' put.err
        serve --port 2345
        ends 0 "\$pid"
        cat put.err
        if [ -z "\$quiet" ]; then
            grep -qE '^put: .*; trying again for 30s$' put.err
            grep -qE '^put: large: connected again, going on \([0-9]+%, .* of 19 MiB\)$' put.err
            [ "\$(wc -l <put.err)" = 2 ]
        else
            [ ! -s put.err ]
        fi
        fileshare-client -s 127.0.0.1:2345 get "large\$quiet" -o - | cmp - large
    done
    kill "\$relay"
    stop_server
END
}

@test "--retry-for covers the start too; 0 gives up; without it the start is tried once" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    export FILESHARE_SERVER=127.0.0.1:2345
    echo a >a
    for command in 'put a' ping ls; do
        exits 5 fileshare-client $command
        refute says 'trying again' said.err
        exits 5 fileshare-client --retry-for 0 $command
        refute says 'trying again' said.err
    done
    exits 5 fileshare-client --retry-for 1s ping
    says 'refused; trying again for 1s' said.err
    begin put --retry-for 60s put a
    until_true 10 says 'refused; trying again for 1m' put.err
    serve --port 2345
    ends 0 "$pid"
    expect 'a' fileshare-client ls
    # what is asked for while the server restarts is answered when it is back
    mkfifo asks
    begin ls -b asks
    exec 5>asks
    echo ls >&5
    until_true 10 says a ls.out
    stop_server KILL || true
    printf '%s\n' ls 'stat a' 'mv a b' 'rm b' >&5
    exec 5>&-
    until_true 10 says 'trying again for 30s' ls.err
    serve --port 2345
    ends 0 "$pid"
    says 'trying again for 30s' ls.err
    [ -z "$(fileshare-client ls)" ]
    stop_server
END
}

@test "an abandoned upload expires, in service and over a restart, and its room is free; a live one stays" {
    in_world <<END
    source "\$FILESHARE_SOURCE/tests/system/client.bash"
    $slow_relay
    serve --port 2345 --upload-idle 10s
    slowly 8000000
    head -c 20000000 /dev/urandom >large
    uploads() { [ "\$(find store/incoming -type f | wc -l)" = "\$1" ]; }
    # abandon NAME
    abandon() {
        begin "\$1" put large --as "\$1"
        until_true 20 has_begun
        kill -9 "\$pid"
        ends 137 "\$pid"
    }
    mkfifo pipe
    fileshare-client -s 127.0.0.1:2345 put - --as live <pipe >live.out 2>live.err &
    live=\$!
    exec 4>pipe
    abandon first
    for _ in 1 2 3 4 5 6 7; do
        head -c 700000 /dev/zero >&4
        sleep 2
    done
    until_true 20 uploads 1
    head -c 10 /dev/zero >&4
    exec 4>&-
    ends 0 "\$live"
    uploads 0

    abandon second
    uploads 1
    stop_server KILL || true
    sleep 11
    serve --port 2345 --upload-idle 10s
    until_true 20 uploads 0
    # what expired begins with its first byte, and nobody needs to know
    export FILESHARE_SERVER=127.0.0.1:2345
    expect 'second: stored, 19 MiB' fileshare-client put large --as second
    fileshare-client get second -o - | cmp - large
    kill "\$relay"
    stop_server
END
}

@test "what comes from a pipe is not kept" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    mkfifo pipe
    fileshare-client put - --as piped <pipe >put.out 2>put.err &
    pid=$!
    exec 4>pipe
    head -c 3000000 /dev/zero >&4
    until_true 20 bash -c '[ "$(find store/incoming -type f | wc -l)" = 1 ]'
    kill -INT "$pid"
    ends 130 "$pid"
    exec 4>&-
    refute says 'is kept' put.err
    until_true 20 bash -c '[ "$(find store/incoming -type f | wc -l)" = 0 ]'
    [ ! -d home/.local/state/fileshare/uploads ]
    stop_server
END
}
