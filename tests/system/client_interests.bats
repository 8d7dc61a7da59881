# interest, interests, renew, cancel, listen: the durable mailbox.

load world

@test "an interest outlives its command; the next listen tells its event exactly once" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    fileshare-client interest 'n/*' --for 1h >registered
    grep -qE $'^waiting\t[0-9a-f]{32}\tn/\\*\t3600$' registered
    [ "$(stat -c %a "$HOME"/.local/state/fileshare/mailboxes/* | sort -u)" = 600 ]
    fileshare-client -q put x --to n/
    begin first listen
    until_true 20 says n/x first.out
    grep -qE $'^[0-9]+\tarrived\tn/x\t2\t[0-9a-f]{32}\tunix:0\t20[0-9T:-]+Z$' first.out
    kill -INT "$pid"
    ends 130 "$pid"
    [ "$(wc -l <first.out)" -eq 1 ]
    begin second listen
    until_true 20 called_back second
    fileshare-client -q interest more --for 1h >/dev/null
    fileshare-client -q put x --as more
    until_true 20 says more second.out
    kill "$pid"
    ends 143 "$pid"
    [ "$(wc -l <second.out)" -eq 1 ]
    stop_server
END
}

@test "on a file that is there it says so; --every registers all the same" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x && fileshare-client -q put x
    fileshare-client interest x --for 1h >out
    grep -qE $'^present\tx\t2\t[0-9a-f]{32}$' out
    [ "$(wc -l <out)" -eq 1 ]
    expect '' fileshare-client -q interests
    fileshare-client interest x --for 1h --every >out
    [ "$(cut -f 1 out)" = $'present\nwaiting' ]
    begin listener listen
    until_true 20 called_back listener
    echo y >x && fileshare-client -q put x --replace
    echo z >x && fileshare-client -q put x --replace
    two() { [ "$(wc -l <listener.out)" -eq 2 ]; }
    until_true 20 two
    kill -INT "$pid"
    ends 130 "$pid"
    exits 2 fileshare-client interest x
    exits 2 fileshare-client interest x --for never
    stop_server
END
}

@test "interests are listed, renewed, cancelled by name and by id" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    fileshare-client interest one --for 5m | cut -f 2 >id
    fileshare-client interest 't*' --for 1h --every >/dev/null
    fileshare-client interests >list
    cat list
    [ "$(wc -l <list)" -eq 2 ]
    grep -qE "^$(cat id) +waiting +(300|29[0-9]) +once +exact +0 +none +one$" list
    grep -qE '^[0-9a-f]{32} +waiting +3[56][0-9]{2} +every +glob +0 +none +t\*$' list
    fileshare-client renew "$(cat id)" --for 2h >out
    grep -qE $'^waiting\t'"$(cat id)"$'\t7200$' out
    fileshare-client cancel "$(cat id)" >out
    grep -qE $'^cancelled\t'"$(cat id)" out
    fileshare-client cancel 't*' >out
    grep -qE $'^cancelled\t[0-9a-f]{32}\tt\\*$' out
    exits 3 fileshare-client cancel 't*'
    exits 3 fileshare-client cancel 00000000000000000000000000000001
    exits 3 fileshare-client renew 00000000000000000000000000000001 --for 1m
    exits 2 fileshare-client renew one --for 1m
    exits 2 fileshare-client renew "$(cat id)"
    stop_server
END
}

@test "one that runs out unmet is told" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    fileshare-client interest 'never*' --for 1 >/dev/null
    begin listener listen
    until_true 30 says expired listener.out
    grep -qE $'^[0-9]+\texpired\tnever\\*\t-\t-\t-\t20[0-9T:-]+Z$' listener.out
    kill -INT "$pid"
    ends 130 "$pid"
    stop_server
END
}

@test "a second listener is told who holds the mailbox" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    begin listener listen
    until_true 20 called_back listener
    exits 9 fileshare-client listen
    says "$pid" said.err
    # the others only name it
    exits 0 fileshare-client interest x --for 1m
    exits 0 fileshare-client interests
    grep -qE '^[0-9a-f]{32} .* dial-back +x$' said.out
    kill -INT "$pid"
    ends 130 "$pid"
    stop_server
END
}

@test "listen goes on over a restart of the server; --json says the same" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    fileshare-client -q interest x --for 1h --every >/dev/null
    begin listener --json listen
    until_true 20 called_back listener
    stop_server
    serve
    echo 1 >x && fileshare-client -q put x
    until_true 30 says '"name":"x"' listener.out
    [ "$(json_field event <listener.out)" = arrived ]
    [ "$(json_field pattern <listener.out)" = x ]
    kill -INT "$pid"
    ends 130 "$pid"
    stop_server
END
}

@test "an event that could not be printed comes again" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    fileshare-client -q interest x --for 1h >/dev/null
    fileshare-client listen >/dev/full 2>full.err &
    pid=$!
    until_true 20 called_back full
    echo 1 >x && fileshare-client -q put x
    ends 9 "$pid"
    begin again listen
    until_true 20 says arrived again.out
    kill -INT "$pid"
    ends 130 "$pid"
    stop_server
END
}
