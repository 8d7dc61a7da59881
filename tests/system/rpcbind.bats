# A real rpcbind that is killed, restarted, hung or late, with a real server and
# real clients. tests/README.md says which line of what was measured each test holds.

load world

# Sourced by each world.
setup_file() {
    cat >"$BATS_FILE_TMPDIR/steps" <<'STEPS'
at() { rpcinfo -p 2>/dev/null | awk -v p="$fileshare_prog" '$1 == p && $3 == "tcp" { print $4 }'; }
is_at() { [ "$(at)" = "$1" ]; }
shows_none() { [ -z "$(at)" ]; }
logged() { grep -qE "$1" fileshared.log; }
# As that uid, in a subshell that becomes it: so that $! is its pid.
as() { exec setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }
# stop_rpcbind SIGNAL: TERM saves its state, KILL does not.
stop_rpcbind() { kill "-$1" "$rpcbind_pid"; wait "$rpcbind_pid" || true; }
kill_server() { kill -9 "$server_pid"; wait "$server_pid" || true; }
transient() { rpcinfo 2>/dev/null | awk '$1 >= 1073741824 && $1 <= 1610612735 { print $1, $NF }' | sort -u; }
install -d -o _rpc /run/rpcbind # where it saves its state
# A folder of theirs UID; $world may be closed to others.
theirs() { install -d -m 700 -o "$1" -g "$1" /run/theirs; }
STEPS
    export STEPS=$BATS_FILE_TMPDIR/steps
}

@test "restarted with its saved state it has our entry still; killed, it is told again" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    start_server
    is_at 18003
    stop_rpcbind TERM
    start_rpcbind
    is_at 18003
    stop_rpcbind KILL
    rm -f /run/rpcbind/*
    start_rpcbind
    shows_none
    until_true 30 is_at 18003
    stop_server
    shows_none
END
}

@test "a dead predecessor's entry is taken over, also one that rpcbind saved" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    start_server --port 4001
    kill_server
    is_at 4001
    start_server --port 4002
    is_at 4002
    kill_server
    stop_rpcbind TERM
    start_rpcbind
    is_at 4002
    start_server --port 4003
    is_at 4003
    refute logged 'warning: rpcbind'
    # killed and restarted at the same place: the entry is right as it is
    kill_server
    start_server --port 4003
    is_at 4003
    stop_server
    shows_none
END
}

@test "a living one's entry is left to it, and the log says where it is and whose" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    mkdir other
    fileshared --store other --socket none --port 4001 --address-file other.addresses >other.log 2>&1 &
    other_pid=$!
    until_true 20 test -s other.addresses
    is_at 4001
    start_server
    is_at 4001
    logged 'warning: rpcbind: rpcbind has program 0x20465348 version 1 at tcp 127\.0\.0\.1:4001, registered by superuser, where somebody answers'
    # it is found by its port all the same
    fileshare-client -s 127.0.0.1:18003 ping
    # what it leaves at its end is its own affair
    stop_server
    is_at 4001
    # one that is stopped is not dead
    freeze "$other_pid"
    start_server
    is_at 4001
    logged 'registered by superuser, where somebody has the port and does not answer'
    kill -CONT "$other_pid"
    kill "$other_pid"
    wait "$other_pid"
    until_true 30 is_at 18003
    logged 'notice: rpcbind: registered'
    stop_server
END
}

@test "another uid's dead entry: root takes it, others say whose it is and serve on" {
    in_world <<'END'
    [ "$(id -u)" -eq 0 ] || exit 0
    source "$STEPS"
    theirs 1001
    start_rpcbind
    start_server --port 4001
    kill_server
    (as 1001 env HOME=/run/theirs fileshared --store /run/theirs/store --socket none --port 4002 \
        --address-file /run/theirs/addresses) >theirs.log 2>&1 &
    their_pid=$!
    until_true 20 test -s /run/theirs/addresses
    grep -q 'rpcbind keeps a dead entry of program 0x20465348 version 1 at tcp 127.0.0.1:4001, which belongs to superuser: only they or root can remove it (rpcinfo -d 541479752 1)' theirs.log
    is_at 4001
    fileshare-client -s 127.0.0.1:4002 ping
    # the way that the log told
    rpcinfo -d 541479752 1
    until_true 30 is_at 4002
    kill -9 "$their_pid"
    wait "$their_pid" || true
    start_server --port 4003
    is_at 4003
    stop_server
END
}

@test "what anybody registered over TCP is not believed: the server takes its number, a client asks who is there" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    # rpcbind takes version 2's SET from loopback without knowing who asks: our number, at a dead port
    (as 1001 foreign_client 127.0.0.1 claim 4001)
    is_at 4001
    rpcinfo | grep -E "^ +$fileshare_prog .* unknown$"
    SECONDS=0
    expect_failure 5 'ping: ' fileshare-client -s 127.0.0.1 ping
    took_less 10
    start_server
    is_at 18003
    stop_server
    # and at rpcbind's own port, where somebody answers who is somebody else
    (as 1001 foreign_client 127.0.0.1 claim 111)
    expect_failure 5 'ping: ' fileshare-client -s 127.0.0.1 ping
    start_server
    is_at 18003
    fileshare-client -s 127.0.0.1 ping
    stop_server
END
}

@test "without rpcbind all works by the port; started later, it is told" {
    in_world <<'END'
    source "$STEPS"
    SECONDS=0
    start_server
    took_less 10
    logged 'warning: rpcbind: no rpcbind answers on this machine \(/run/rpcbind.sock\)'
    fileshare-client -s localhost ping
    start_rpcbind
    until_true 30 is_at 18003
    [ "$(grep -c 'no rpcbind answers' fileshared.log)" -eq 1 ]
    [ "$(grep -c 'rpcbind: registered' fileshared.log)" -eq 1 ]
    stop_server
    # told to leave it alone, it does
    start_server --no-rpcbind
    shows_none
    stop_server
END
}

@test "a hung rpcbind holds up neither the start, nor those who wait, nor the stop" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    freeze "$rpcbind_pid"
    SECONDS=0
    start_server
    took_less 15
    logged 'warning: rpcbind: '
    fileshare-client -s unix:/run/fileshare/socket interest nothing --for 3s
    fileshare-client -s unix:/run/fileshare/socket --no-rpcbind listen >heard 2>errors &
    listener=$!
    # its time is over after 3 seconds, and 10 more at most
    until_true 13 grep -q expired heard
    kill -INT "$listener"
    wait "$listener" || [ $? -eq 130 ]
    SECONDS=0
    echo x | fileshare-client -s 127.0.0.1:18003 put - --as x
    took_less 10
    # a client that asks for the port goes on to the usual one
    SECONDS=0
    fileshare-client -s 127.0.0.1 ping
    took_less 30
    # its callback program does without: another number will do, and it is called back
    fileshare-client -s 127.0.0.1 wait later --timeout 2m >heard2 2>errors2 &
    waiter=$!
    until_true 60 grep -qE 'dial-back|reversed' errors2
    echo x | fileshare-client -s 127.0.0.1:18003 put - --as later
    wait "$waiter"
    # however often it looked, that was said once
    [ "$(grep -c 'warning: rpcbind' fileshared.log)" -eq 1 ]
    kill -CONT "$rpcbind_pid"
    until_true 30 is_at 18003
    freeze "$rpcbind_pid"
    SECONDS=0
    stop_server
    took_less 15
    kill -CONT "$rpcbind_pid"
END
}

@test "an address that only this machine has is told to others as it is; any address becomes the one asked" {
    in_world <<'END'
    source "$STEPS"
    ip addr add 192.0.2.7/32 dev lo
    start_rpcbind
    start_server --port 4001
    # asked by its other address, rpcbind tells a port that is open on loopback alone
    SECONDS=0
    expect_failure 5 'ping: ' fileshare-client -s 192.0.2.7 ping
    took_less 30
    fileshare-client -s 127.0.0.1 ping
    stop_server
    start_server --port 4001 --listen 0.0.0.0 --allow 192.0.2.0/24
    is_at 4001
    fileshare-client -s 192.0.2.7 ping
    rpcinfo -T tcp 192.0.2.7 $fileshare_prog 1
    stop_server
    shows_none
END
}

@test "a machine without IPv6 has no tcp6 in rpcbind, and that is no trouble" {
    in_world <<'END'
    source "$STEPS"
    echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 || exit 0
    start_rpcbind
    start_server
    is_at 18003
    refute logged 'warning: rpcbind'
    fileshare-client -s 127.0.0.1 ping
    stop_server
    shows_none
END
}

@test "each client that starts removes what dead ones of its uid left; of other uids nothing" {
    in_world <<'END'
    [ "$(id -u)" -eq 0 ] || exit 0
    source "$STEPS"
    start_rpcbind
    start_server
    left() { [ "$(transient | grep -c "$1")" -eq "$2" ] || { rpcinfo; return 1; }; }
    waits() { until_true 20 grep -qs dial-back "$1"; }
    # one of another uid's, dead
    theirs 1001
    (as 1001 env HOME=/run/theirs fileshare-client -s 127.0.0.1 wait a) >/run/theirs/out 2>/run/theirs/err &
    theirs=$!
    waits /run/theirs/err
    kill -9 "$theirs"
    wait "$theirs" || true
    # one of our own that lives, and two that die
    fileshare-client -s 127.0.0.1 wait b >living.out 2>living.err &
    living=$!
    waits living.err
    for n in 1 2; do
        fileshare-client -s 127.0.0.1 wait c >dead.out 2>"dead.$n" &
        dead=$!
        waits "dead.$n"
        kill -9 "$dead"
        wait "$dead" || true
    done
    # the second one removed the first one's
    left superuser 2
    left 1001 1
    # with ours: the living one's and its own are left
    fileshare-client -s 127.0.0.1 wait d >last.out 2>last.err &
    last=$!
    waits last.err
    left superuser 2
    left 1001 1
    echo x | fileshare-client -s 127.0.0.1 put - --as b
    echo x | fileshare-client -s 127.0.0.1 put - --as d
    wait "$living" "$last"
    left superuser 0
    # the other uid's goes when that uid comes again
    (as 1001 env HOME=/run/theirs fileshare-client -s 127.0.0.1 wait e) >/run/theirs/out 2>/run/theirs/err2 &
    theirs=$!
    waits /run/theirs/err2
    left 1001 1
    echo x | fileshare-client -s 127.0.0.1 put - --as e
    wait "$theirs"
    left . 0
    stop_server
END
}
