# The main job, with real processes: a client waits, another uploads, the first is called back.

load world

setup_file() {
    # Over 4 GiB (sparse) where the machine is meant for it; always more than one record.
    if [ -n "${FILESHARE_HEAVY:-}" ]; then export LARGE=4400M; else export LARGE=40M; fi
}

# waits_by ROUTE ERRORS: the waiting client said by which route it is called back.
waits_by='waits_by() { grep -q "$1" "$2"; }'

# counted COUNTER: the server has counted at least one. (It does so after it was acknowledged.)
counted='counted() { fileshare-client status | grep -qE "^$1[^0-9]+[1-9]"; }'

# A file that is sparse but for some bytes here and there, and at both ends.
large_file='large_file() {
    truncate -s '"\$LARGE"' "$1"
    printf head | dd of="$1" conv=notrunc status=none
    printf middle | dd of="$1" bs=1M seek=33 conv=notrunc status=none
    printf tail >>"$1"
}'

@test "a client is called back by dial-back to its program number, and downloads what came" {
    in_world <<END
    $waits_by
    $counted
    $large_file
    start_rpcbind
    start_server
    rpcinfo -p | grep -q " \$fileshare_prog  *1  *tcp  *18003"
    mkdir a && large_file big.iso
    (cd a && exec fileshare-client -s localhost wait big.iso --get --timeout 10m) >a.out 2>a.err &
    waiter=\$!
    until_true 20 waits_by dial-back a.err
    # its callback program shows too: one more program of the transient range
    program=\$(rpcinfo -p | awk '\$1 >= 1073741824 && \$1 <= 1610612735 { print \$1; exit }')
    test -n "\$program"
    grep -q "\$(printf '0x%x' "\$program")" a.err
    rpcinfo -T tcp localhost "\$program" 1 >/dev/null
    fileshare-client -s localhost put big.iso
    wait "\$waiter"
    grep -q 'big.iso' a.out
    cmp big.iso a/big.iso
    until_true 10 counted delivery.dialback
    # and it took its entry away
    refute rpcinfo -T tcp localhost "\$program" 1
    stop_server
END
}

@test "with its port firewalled off, a client is called by reversed calls" {
    in_world <<END
    $waits_by
    $counted
    nft add table inet wall
    nft add chain inet wall input '{ type filter hook input priority 0; }'
    start_rpcbind
    start_server
    nft add rule inet wall input tcp dport 1024-18002 ct state new drop
    nft add rule inet wall input tcp dport 18004-65535 ct state new drop
    (exec fileshare-client -s localhost wait report.csv --timeout 2m --json) >a.out 2>a.err &
    waiter=\$!
    until_true 60 waits_by reversed a.err
    echo content >report.csv
    fileshare-client -s localhost put report.csv
    wait "\$waiter"
    grep -q '"name":"report.csv"' a.out
    grep -q '"route":"reversed"' a.out
    stop_server
END
}

@test "a client that was killed is told after it comes back, once" {
    in_world <<END
    $waits_by
    $counted
    start_rpcbind
    start_server
    fileshare-client interest 'late/*.csv' --for 1h
    fileshare-client listen >first.out 2>first.err &
    listener=\$!
    until_true 20 waits_by dial-back first.err
    kill -9 "\$listener"
    wait "\$listener" || true
    echo content >r.csv
    fileshare-client put r.csv --to late/
    fileshare-client listen >second.out 2>second.err &
    listener=\$!
    until_true 20 grep -q late/r.csv second.out
    kill -INT "\$listener"
    wait "\$listener" || test \$? -eq 130
    test "\$(grep -c late/r.csv second.out)" -eq 1
    refute grep -q late/r.csv first.out
    # shown once, and never again
    fileshare-client listen >third.out 2>third.err &
    listener=\$!
    until_true 20 waits_by dial-back third.err
    kill -INT "\$listener"
    wait "\$listener" || test \$? -eq 130
    refute grep -q late/r.csv third.out
    stop_server
END
}

@test "events outlive a restart of the server" {
    in_world <<END
    $waits_by
    $counted
    start_rpcbind
    start_server
    fileshare-client wait restarted.txt --timeout 5m >a.out 2>a.err &
    waiter=\$!
    until_true 20 waits_by dial-back a.err
    kill -9 "\$server_pid"
    wait "\$server_pid" || true
    start_server
    echo content >restarted.txt
    fileshare-client put restarted.txt
    wait "\$waiter"
    grep -q restarted.txt a.out
    stop_server
END
}

@test "two clients on the Unix socket do it without any rpcbind" {
    in_world <<END
    $waits_by
    $counted
    $large_file
    start_server --no-rpcbind
    mkdir a && large_file big.iso
    (cd a && exec fileshare-client -s unix:/run/fileshare/socket wait big.iso --get --timeout 10m) >a.out 2>a.err &
    waiter=\$!
    until_true 20 waits_by dial-back a.err
    fileshare-client -s unix:/run/fileshare/socket put big.iso
    wait "\$waiter"
    cmp big.iso a/big.iso
    stop_server
END
}

@test "200 clients wait for one name, two of them stopped: the others hear at once, the two when they go on" {
    in_world <<'END'
    start_server --no-rpcbind
    for i in $(seq 200); do
        (fileshare-client -s unix:/run/fileshare/socket wait wanted --timeout 10m >"out.$i" 2>"err.$i" &&
            date +%s%N >"heard.$i") &
    done
    all_wait() { [ "$(grep -l dial-back err.* | wc -l)" -eq 200 ]; }
    until_true 120 all_wait
    stopped=$(pgrep -f 'fileshare-client -s .* wait wanted' -P "$(pgrep -d, -P $$ bash)" | head -n 2)
    test "$(wc -w <<<"$stopped")" -eq 2
    freeze $stopped
    echo content >wanted
    fileshare-client -s unix:/run/fileshare/socket put wanted
    committed=$(date +%s%N)
    heard() { [ "$(ls heard.* 2>/dev/null | wc -l)" -ge "$1" ]; }
    until_true 60 heard 198
    last=$(cat heard.* | sort -n | tail -n 1)
    echo "the last of 198 heard $(((last - committed) / 1000000)) ms after the commit"
    [ $((last - committed)) -lt 10000000000 ]
    refute heard 199
    kill -CONT $stopped
    until_true 60 heard 200
    stop_server
END
}

@test "the server stays small while 8 clients upload 1 GiB each" {
    [ -n "${FILESHARE_HEAVY:-}" ] || skip "needs FILESHARE_HEAVY=1"
    in_world <<'END'
    start_server --no-rpcbind
    truncate -s 1G zeros
    uploads=()
    for i in $(seq 8); do
        fileshare-client -q -s unix:/run/fileshare/socket put zeros --as "zeros.$i" &
        uploads+=($!)
    done
    for upload in "${uploads[@]}"; do wait "$upload"; done
    peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$server_pid/status")
    echo "peak: $peak KiB resident"
    [ "$peak" -lt 65536 ]
    stop_server
END
}

@test "told to stop, it finishes what runs, leaves rpcbind and its files" {
    in_world <<'END'
    start_rpcbind
    start_server
    rpcinfo -p | grep -q " $fileshare_prog "
    stop_server INT
    refute grep -q . addresses
    refute test -e /run/fileshare/socket
    if rpcinfo -p | grep " $fileshare_prog "; then exit 1; fi
END
}

@test "one server per store: a second is told who has it" {
    in_world <<'END'
    start_server --no-rpcbind
    expect_failure 1 'fileshared: .*'"$server_pid" fileshared --store "$world/store" --socket none --port 0 --no-rpcbind
    stop_server
END
}

@test "addresses that others can reach want a word" {
    in_world <<'END'
    expect_failure 2 'fileshared: listen: 0.0.0.0 .*--allow CIDR, or say --insecure' \
        fileshared --store "$world/store" --listen 0.0.0.0
    start_server --no-rpcbind --listen 0.0.0.0 --allow 192.0.2.0/24
    grep -qx 'tcp 0.0.0.0:18003' addresses
    fileshare-client -s 127.0.0.1 ping
    # from an address that is neither allowed nor loopback
    ip addr add 198.51.100.7/32 dev lo
    expect_failure 5 '' fileshare-client -s 198.51.100.7:18003 ping
    ip addr add 192.0.2.7/32 dev lo
    fileshare-client -s 192.0.2.7:18003 ping
    stop_server
END
}
