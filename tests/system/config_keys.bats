# Keys of the configuration do what they say, in a server that was started with them.
# (Those of where it listens and whom it lets in: fileshared.bats and main_job.bats.)

load world

# What the tests below share.
tools='source "$FILESHARE_SOURCE/tests/system/client.bash"
    counter() { fileshare-client status | awk -v label="$1" "\$1 == label { print \$2 }"; }
    counts() { [ "$(counter "$1")" -eq "$2" ]; }
    counts_more() { [ "$(counter "$1")" -gt "$2" ]; }
    # peer BYTES SECONDS [AT_ONCE]: says a record of so many bytes is to come, on TCP, sends so many of them at
    # once and 8 more each 0.2 seconds. Prints whether it was cut by then.
    peer() {
        perl -MIO::Socket::INET -e '"'"'
            my ($size, $seconds, $first) = @ARGV;
            $SIG{PIPE} = "IGNORE";
            my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:18003") or die "no connection";
            syswrite $s, pack("N", 0x80000000 | $size) . "\0" x ($first // 0);
            my $end = time + $seconds;
            while (time < $end) {
                syswrite $s, "\0" x 8;
                my $mask = ""; vec($mask, fileno($s), 1) = 1;
                if (select($mask, undef, undef, 0.2)) { print "cut\n"; exit 0 }
            }
            print "open\n";'"'"' "$@"
    }'

@test "record-size: uploads and downloads fit into it; who claims more is cut" {
    in_world <<END
    $tools
    head -c 3000000 /dev/urandom >large
    head -c 64000 /dev/urandom >small
    for size in 64K 65537 1M 1088K; do
        serve --record-size \$size
        timeout 20 fileshare-client -q put large small --to \$size/
        fileshare-client get \$size/large -o - | cmp - large
        fileshare-client get \$size/small -o - | cmp - small
        stop_server
    done
    serve --record-size-anonymous 1K
    expect open peer 100000 1 900
    expect cut peer 100000 5 1025
    stop_server
END
}

@test "connections, connections-per-address, idle" {
    in_world <<END
    $tools
    serve --connections 2
    fileshare-client -q wait never & fileshare-client -q wait never & # each has one to be called by, too
    refuses() { ! fileshare-client -s 127.0.0.1 ping >/dev/null 2>&1; }
    until_true 20 refuses
    kill %2 %3
    wait %2 %3 || true
    until_true 20 fileshare-client ping
    stop_server
    serve --connections-per-address 1
    peer 60000 \$((4 * \${FILESHARE_SLOWNESS:-1})) >first & # holds it so long
    first=\$!
    holds() { ss -tnH state established | grep -q 127.0.0.1:18003; }
    until_true 20 holds # who asks whether it does would be in its way
    fileshare-client ping # another origin
    until_true 20 refuses
    wait "\$first"
    until_true 20 fileshare-client -s 127.0.0.1 ping
    stop_server
    serve --idle 1
    { echo ping; sleep 2.5; echo ping; } | fileshare-client -b -
    counts connections.cut 1
    stop_server
END
}

@test "progress, progress-size: who moves less is cut" {
    in_world <<END
    $tools
    serve --progress 1 --progress-size 1
    expect open peer 60000 4
    stop_server
    serve --progress 1 --progress-size 1K
    expect cut peer 60000 10
    stop_server
    serve
    expect open peer 60000 3
    stop_server
END
}

@test "probe: the connection of who waits is called with NULL so often" {
    in_world <<END
    $tools
    serve --probe 1
    sent() { { echo status; sleep 3; echo status; } | fileshare-client -b - | awk '\$1 == "bytes.out" { print \$2 }' | xargs | awk '{ print \$2 - \$1 }'; }
    without=\$(sent)
    begin waiter wait never
    until_true 20 called_back waiter
    [ "\$(sent)" -ge \$((without + 2 * 40)) ]
    kill "\$pid"
    ends 143 "\$pid"
    stop_server
END
}

@test "workers, permits, waiting-records: calls wait for the disk, and NULL does not" {
    in_world <<END
    $tools
    rpc_threads() { cat /proc/"\$server_pid"/task/*/comm | grep -c '^rpc'; }
    serve --workers 5
    workers=\$(rpc_threads)
    stop_server
    serve --workers 3
    [ \$((workers - \$(rpc_threads))) -eq 2 ]
    stop_server
    # A disk that takes its time: whoever writes waits for it.
    serve --workers 5 --permits 1
    strace -f -qq -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:delay_enter=1500000 -p "\$server_pid" &
    tracer=\$!
    traced() { grep -q "^TracerPid:\s*\$tracer\$" /proc/"\$server_pid"/status; }
    until_true 10 traced
    echo x >x
    for i in 1 2 3; do fileshare-client -q put x --as "\$i" & done
    until_true 5 counts calls.waiting 2 # of three, one has the permit
    fileshare-client ping
    until_true 20 fileshare-client stat 3
    kill "\$tracer"
    wait "\$tracer" || true
    stop_server
END
}

@test "in-flight: whoever holds most is cut when all of it is used" {
    in_world <<END
    $tools
    # Callers who are known begin an UPLOAD of a megabyte, and send most of it.
    holders() {
        perl -MIO::Socket::UNIX -e '
            my (\$count, \$seconds) = @ARGV;
            \$SIG{PIPE} = "IGNORE";
            my \$auth = pack("N*", 0, 0, 0, 0, 0);
            my \$call = pack("N*", 7, 0, 2, 0x20465348, 1, 2, 1, length \$auth) . \$auth . pack("N*", 0, 0);
            my (@s, \$cut);
            for (1 .. \$count) {
                my \$s = IO::Socket::UNIX->new(Peer => "/run/fileshare/socket") or die "no connection";
                \$s->blocking(0);
                syswrite \$s, pack("N", 0x80000000 | 1000000) . \$call;
                for (1 .. 9) {
                    syswrite \$s, "\\0" x 100000;
                    select undef, undef, undef, 0.02;
                }
                push @s, \$s;
            }
            sleep \$seconds;
            for my \$s (@s) {
                my \$mask = ""; vec(\$mask, fileno(\$s), 1) = 1;
                \$cut++ if select(\$mask, undef, undef, 0);
            }
            print \$cut ? "cut\n" : "open\n";' "\$@"
    }
    serve
    expect open holders 5 1
    stop_server
    serve --in-flight 2M --in-flight-reserve 64K
    expect cut holders 5 1
    stop_server
END
}

@test "uploads, interests, open globs, mailboxes: one more than that is refused" {
    in_world <<END
    $tools
    head -c 3000000 /dev/urandom >content
    for key in uploads uploads-per-caller; do
        serve --\$key 1
        mkfifo \$key
        fileshare-client put - --as \$key <\$key 2>err & putter=\$!
        exec 3>\$key
        cat content >&3
        until_true 20 counts_more calls.upload_data 0
        exits 8 fileshare-client put content
        kill -INT "\$putter"
        ends 130 "\$putter"
        exec 3>&-
        exits 0 fileshare-client put content
        fileshare-client rm content
        stop_server
    done
    serve --interests-per-mailbox 2
    exits 0 fileshare-client interest a --for 1h
    exits 0 fileshare-client interest b --for 1h
    exits 8 fileshare-client interest c --for 1h
    grep -q 'a mailbox may have 2 interests at most, and has as many; cancel some' said.err
    exits 4 fileshare-client wait c --timeout 1 # another mailbox
    stop_server
    serve --interests-per-caller 2 # whatever the mailbox
    exits 8 fileshare-client wait c --timeout 1
    grep -q "unix:\$(id -u) may have 2 interests at most, and has as many; cancel some" said.err
    stop_server
    serve --interests 2
    exits 8 fileshare-client wait c --timeout 1
    grep -q 'the server keeps 2 interests at most, and has as many; try again later' said.err
    fileshare-client cancel a
    exits 4 fileshare-client wait c --timeout 1
    stop_server
    for key in open-globs open-globs-per-mailbox open-globs-per-caller; do
        serve --\$key 1
        exits 0 fileshare-client interest '*a' --for 1h
        exits 8 fileshare-client interest '*b' --for 1h
        grep -q ' 1 interests at most in globs that begin with a wildcard.*put letters first' said.err
        exits 0 fileshare-client interest 'b*' --for 1h
        fileshare-client cancel '*a'
        fileshare-client cancel 'b*'
        stop_server
    done
    for key in mailboxes mailboxes-per-caller; do
        serve --\$key 1 # that one is there
        exits 8 fileshare-client wait c --timeout 1
        grep -q ' 1 mailboxes at most, and has as many' said.err
        exits 0 fileshare-client interest d --for 1h
        fileshare-client cancel d
        stop_server
    done
END
}

@test "events-per-mailbox: the oldest are dropped, and counted" {
    in_world <<END
    $tools
    serve --events-per-mailbox 3 # what was lost is one of them
    fileshare-client -q interest 'n/*' --for 1h --every >/dev/null
    echo x >x
    for i in 1 2 3 4; do fileshare-client -q put x --as "n/\$i"; done
    begin listener listen
    until_true 20 says n/4 listener.out
    cat listener.out
    grep -qE \$'^[0-9]+\\tdropped\\t-\\t2\\t-\\t-\\t20[0-9T:-]+Z\$' listener.out
    refute says n/2 listener.out
    says n/3 listener.out
    kill -INT "\$pid"
    ends 130 "\$pid"
    stop_server
END
}

@test "kept, kept-size: how long, and how much, of what was removed stays; open-reads" {
    in_world <<END
    $tools
    head -c 3000000 /dev/urandom >content
    blobs() { [ "\$(find "\$world/store" -type f -size +2M | wc -l)" -eq "\$1" ]; }
    serve
    fileshare-client -q put content
    fileshare-client rm content
    sleep 3
    blobs 1
    stop_server
    serve --kept-size 1M
    until_true 20 blobs 0
    stop_server
    serve --kept 1
    fileshare-client -q put content
    blobs 1
    fileshare-client rm content
    until_true 20 blobs 0
    for i in 1 2 3; do head -c 3000000 /dev/urandom | fileshare-client -q put - --as "\$i"; done
    for i in 1 2 3; do fileshare-client get "\$i" -o - >/dev/null; done
    open_blobs() { ls -l /proc/"\$server_pid"/fd | grep -c "/store/blobs/" || true; }
    [ "\$(open_blobs)" -eq 3 ]
    stop_server
    serve --open-reads 1
    for i in 1 2 3; do fileshare-client get "\$i" -o - >/dev/null; done
    [ "\$(open_blobs)" -eq 1 ]
    stop_server
END
}

@test "log, log-to" {
    in_world <<END
    $tools
    serve --log error
    stop_server
    [ ! -s fileshared.log ]
    serve --log-to journal
    stop_server
    [ "\$(grep -c '^<5>' fileshared.log)" -eq "\$(wc -l <fileshared.log)" ]
    grep -q '^<5>stopped\$' fileshared.log
END
}

@test "callbacks: outgoing-port, callback-connect, callback-answer, retry-first, retry-last, callback-connections" {
    in_world <<END
    $tools
    serve --outgoing-port 19999 --callback-answer 1 --retry-first 1 --retry-last 1
    begin listener -s 127.0.0.1 listen
    until_true 20 called_back listener
    ss -tnH | grep -q '127.0.0.1:19999'
    fileshare-client -q interest x --for 1h >/dev/null
    freeze "\$pid"
    echo x >x && fileshare-client -q put x
    # two tries in vain, where the defaults would have half of one
    until_true 45 counts_more delivery.retries 1
    [ ! -s listener.out ]
    kill -CONT "\$pid"
    until_true 20 says arrived listener.out
    kill -INT "\$pid"
    ends 130 "\$pid"
    stop_server
    nft add table inet wall
    nft add chain inet wall input '{ type filter hook input priority 0; }'
    nft add rule inet wall input tcp dport 18004-65535 ct state new drop
    nft add rule inet wall input tcp dport 1024-18002 ct state new drop
    serve --callback-connect 1
    begin waiter wait never
    until_true 4 called_back waiter # the default is 5 seconds
    grep -q reversed waiter.err
    kill "\$pid"
    ends 143 "\$pid"
    stop_server
    nft delete table inet wall
    serve --callback-connections 2
    waiters=()
    for i in 1 2 3 4 5; do
        begin "w\$i" wait never
        waiters+=("\$pid")
        until_true 20 called_back "w\$i"
    done
    dialled() { ss -tnpH | grep -c fileshared || true; }
    [ "\$(dialled)" -le 2 ]
    echo x | fileshare-client -q put - --as never
    for pid in "\${waiters[@]}"; do ends 0 "\$pid"; done
    stop_server
END
}
