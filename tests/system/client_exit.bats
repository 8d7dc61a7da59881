# Every exit code that others do not show already.

load world

@test "5: no server, at once; with --retry-for when it comes" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    exits 5 fileshare-client ls
    exits 5 fileshare-client -s unix:/run/nothing ls
    exits 5 fileshare-client -s 127.0.0.1:1 ls
    exits 5 fileshare-client -s no.such.host.invalid ls
    exits 5 fileshare-client --retry-for 1 ls
    begin patient --retry-for 30 ping
    serve
    ends 0 "$pid"
    stop_server
END
}

@test "6: only the owner, root and the server remove, replace, rename" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x && fileshare-client -q put x
    chmod 755 "$world" && echo y >y
    nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent "$@"; }
    exits 6 nobody fileshare-client rm x
    exits 6 nobody fileshare-client mv x z
    exits 6 nobody fileshare-client put y --as x --replace
    exits 0 nobody fileshare-client put y --as hers
    [ "$(fileshare-client --json stat hers | json_field owner)" = unix:65534 ]
    exits 0 fileshare-client rm hers
    stop_server
END
}

@test "2: what makes no sense is said in plain words" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    long=unix:/$(printf 'x%.0s' {1..120})
    exits 2 fileshare-client -s "$long" ping
    grep -qE '^ping: "unix:/x+\.?\.?\.?": the path of a Unix socket has 121 bytes, at most 107 may be$' said.err
    FILESHARE_SERVER=$long exits 2 fileshare-client ls
    expect_failure 2 'fileshared: socket: /x+: the path of a Unix socket has 121 bytes' fileshared --socket "${long#unix:}" --check-config
    serve
    for command in 'interest --for 1h' wait rm stat 'put /dev/null --as'; do
        exits 2 fileshare-client $command ''
        grep -qxE '[a-z]+: "": the name is empty' said.err
    done
    # a backslash of the server's words is one
    exits 2 fileshare-client ls 'a['
    grep -qxF "ls: a[: the glob has a '[' at byte 1 without its ']' (write \\[ for the character itself)" said.err
    exits 2 fileshare-client ls 'b\'
    grep -qxF "ls: b\\\\: the glob ends with a lone '\\' at byte 1" said.err
    stop_server
END
}

@test "help has no blanks at the ends of lines" {
    no_blanks() { if grep -nE ' +$'; then return 1; fi; }
    fileshare_client="${FILESHARE_BUILD:?}/fileshare-client"
    for command in $("$fileshare_client" --help | sed -nE 's/^  ([a-z]+)( .*|)$/\1/p') ''; do
        "$fileshare_client" $command --help | no_blanks
    done
    "${FILESHARE_BUILD:?}/fileshared" --help | no_blanks
    for command in fsck backup; do
        "${FILESHARE_BUILD:?}/fileshared" "$command" --help | no_blanks
    done
    "$fileshare_client" interests more 2>&1 | grep -qxF 'interests: usage: interests [OPTION...]'
}

@test "8: no room, and a bound that is reached" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    mount -t tmpfs -o size=6m tmpfs "$world/store"
    serve --reserve 1M
    head -c 20000000 /dev/zero >large
    exits 8 fileshare-client put large
    grep -qE '^put: large: .*needs [0-9.]+ MiB.*has ' said.err
    exits 8 fileshare-client put - --as piped <large
    for i in $(seq 64); do echo "interest *$i --for 1h"; done | fileshare-client -b - >/dev/null
    exits 8 fileshare-client interest '*65' --for 1h
    stop_server
END
}

@test "5 and 10: something else answers; content that is not what it was" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    start_rpcbind
    exits 5 fileshare-client -s localhost:111 ping
    serve
    head -c 3000000 /dev/urandom >content && fileshare-client -q put content
    stop_server
    blob=$(find "$world/store" -type f -size +2M)
    [ "$(wc -l <<<"$blob")" -eq 1 ]
    chmod u+w "$blob"
    printf spoilt | dd of="$blob" bs=1 seek=1000000 conv=notrunc status=none
    serve
    mkdir down && cd down
    exits 10 fileshare-client get content
    [ ! -e content ]
    stop_server
END
}

@test "130: Ctrl-C ends a transfer that hangs, and leaves no part" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    head -c 30000000 /dev/zero >zeros && fileshare-client -q put zeros
    mkfifo pipe
    fileshare-client put - --as never <pipe >put.out 2>put.err &
    putter=$!
    exec 3>pipe
    head -c 6000000 zeros >&3
    until_true 20 counted calls.upload_data 1
    kill -INT "$putter"
    ends 130 "$putter"
    exec 3>&-
    # a reader that does not read
    mkfifo out
    fileshare-client get zeros -o - >out 2>get.err &
    getter=$!
    exec 4<out
    head -c 10 <&4 >/dev/null
    kill -INT "$getter"
    ends 130 "$getter"
    mkdir down && cd down
    freeze "$server_pid"
    fileshare-client get zeros >get.out 2>get.err &
    getter=$!
    until_true 20 catches_signals "$getter"
    kill -INT "$getter"
    ends 130 "$getter"
    kill -CONT "$server_pid"
    [ "$(ls -A)" = get.err$'\n'get.out ]
    exits 3 fileshare-client stat never
    stop_server
END
}

@test "standard descriptors that are closed are not taken by others" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x && fileshare-client -q put x
    status=0
    timeout 20 fileshare-client <&- >out 2>err || status=$?
    [ "$status" -eq 9 ]
    says 'Bad file descriptor' err
    status=0
    fileshare-client ls >&- 2>err || status=$?
    [ "$status" -eq 9 ]
    status=0
    fileshare-client get x -o - >&- 2>err || status=$?
    [ "$status" -eq 9 ]
    fileshare-client stat nothing 2>&- || [ "$?" -eq 3 ]
    [ "$(fileshare-client ls 2>&- <&-)" = x ]
    stop_server
END
}
