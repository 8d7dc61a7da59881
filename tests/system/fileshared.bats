# fileshared as a daemon: who may start it, where it is found, how it goes.

load world

@test "an ordinary user's server has its store and socket where that user's things are" {
    in_world <<'END'
    [ "$(id -u)" -eq 0 ] || exit 0
    user=/run/somebody # the folders above $world may be closed to others
    mkdir -p "$user/run"
    chmod 700 "$user" "$user/run"
    chown -R 65534:65534 "$user"
    somebody="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$user XDG_RUNTIME_DIR=$user/run"
    $somebody fileshared --no-rpcbind --port 0 --address-file "$user/addresses" >fileshared.log 2>&1 &
    server_pid=$!
    cd /
    until_true 20 test -s "$user/addresses"
    test -S "$user/run/fileshare/socket"
    test "$(stat -c %a "$user/run/fileshare/socket")" = 666
    test -d "$user/.local/state/fileshare/blobs"
    # found without being told where: the default socket
    echo content >"$user/a.txt"
    $somebody fileshare-client put "$user/a.txt" --as a.txt
    test "$($somebody fileshare-client get a.txt -o -)" = content
    # root is somebody else there, but may do what the owner may
    fileshare-client -s "unix:$user/run/fileshare/socket" rm a.txt
    stop_server
END
}

@test "who may do what goes by the uid at the other end of the socket" {
    in_world <<'END'
    [ "$(id -u)" -eq 0 ] || exit 0
    start_server --no-rpcbind
    as() { setpriv --reuid "$1" --regid "$1" --clear-groups env HOME=/nowhere "${@:2}"; }
    chmod 711 "$BATS_TEST_TMPDIR" "$world"
    echo mine | as 1001 fileshare-client put - --as a.txt
    expect_failure 6 'rm: .*a.txt' as 1002 fileshare-client rm a.txt
    expect_failure 6 'put: .*a.txt' as 1002 fileshare-client put --replace --as a.txt - <<<theirs
    expect_failure 6 'mv: .*a.txt' as 1002 fileshare-client mv a.txt b.txt
    expect mine as 1002 fileshare-client get a.txt -o -
    # the same user by TCP is the same user
    as 1001 fileshare-client -s 127.0.0.1 mv a.txt b.txt
    expect_failure 6 'rm: ' as 1002 fileshare-client -s '[::1]:18003' rm b.txt
    as 1001 fileshare-client -s '[::1]:18003' rm b.txt
    stop_server
END
}

@test "rpcbind that lost everything is told again" {
    in_world <<'END'
    start_rpcbind
    start_server
    shown() { rpcinfo -p 2>/dev/null | grep -q " $fileshare_prog "; }
    shown
    kill -9 "$rpcbind_pid"
    wait "$rpcbind_pid" || true
    rm -rf /run/rpcbind*
    start_rpcbind
    refute shown
    until_true 30 shown
    stop_server
    refute shown
END
}

@test "rpcbind that comes later is told when it is there" {
    in_world <<'END'
    start_server
    grep -q 'rpcbind: ' fileshared.log
    fileshare-client -s localhost ping
    start_rpcbind
    shown() { rpcinfo -p 2>/dev/null | grep -q " $fileshare_prog "; }
    until_true 30 shown
    stop_server
END
}

@test "another program number is found under that number" {
    in_world <<'END'
    start_rpcbind
    start_server --program 0x20001234 --port 0
    rpcinfo -p | grep -q ' 536875572 '
    rpcinfo -T tcp localhost 536875572 1
    fileshare-client -s localhost --program 536875572 ping
    expect_failure 5 'ping: .*does not have this program' fileshare-client -s "$(awk '/^tcp / { print $2 }' addresses)" ping
    stop_server
END
}

@test "the configuration is checked, and dumped as a file that says the same" {
    in_world <<'END'
    printf '[server]\nport = 0\n[store]\nstore = %s/elsewhere\n' "$world" >conf
    expect 'the configuration is sound' fileshared -c conf --check-config
    fileshared -c conf --dump-config >dumped
    fileshared -c dumped --dump-config | cmp - dumped
    grep -qx "store = $world/elsewhere" dumped
    printf '[server]\nport = none\n' >conf
    expect_failure 2 'fileshared: conf:2: port: ' fileshared -c conf --check-config
    expect_failure 2 'fileshared: ' fileshared --no-such-option
    fileshared --version | grep -qE '^fileshared [0-9]+\.[0-9]+\.[0-9]+$'
END
}

@test "a stop in the middle of an upload loses nothing: the client goes on with the next server" {
    in_world <<'END'
    truncate -s 600M big
    printf tail >>big
    start_server --no-rpcbind
    fileshare-client put big >put.out 2>put.err &
    upload=$!
    receiving() { [ "$(du -sk "$world/store/incoming" | cut -f 1)" -gt 8 ] || ! kill -0 "$upload" 2>/dev/null; }
    until_true 20 receiving
    stop_server
    start_server --no-rpcbind
    wait "$upload"
    fileshare-client get big -o - | cmp - big
    stop_server
END
}

@test "what cannot be is said in one line: no place for the store, a port that is taken" {
    in_world <<'END'
    touch file
    expect_failure 1 'fileshared: error: .*file' fileshared --store "$world/file/store" --socket none --port 0 --no-rpcbind
    start_server --no-rpcbind
    expect_failure 1 'fileshared: error: .*127.0.0.1:18003' \
        fileshared --store "$world/other" --socket none --no-rpcbind
    stop_server
END
}
