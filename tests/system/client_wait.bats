# wait: answered at once, by an arrival, by some of them, by the clock, by a signal.

load world

@test "what is there already counts at once" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x && fileshare-client -q put x && fileshare-client -q put x --as d/y
    fileshare-client wait x 'd/*' >out 2>err
    digest=$(fileshare-client stat --json x | json_field digest)
    [ "$(sort out)" = "$(printf 'arrived\td/y\t2\t%s\narrived\tx\t2\t%s' "$digest" "$digest")" ]
    stop_server
END
}

@test "each exact name and one match of each glob; or any; or so many" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    begin all wait one 'g/*' --timeout 1m
    all=$pid
    begin any wait one 'g/*' --any --timeout 1m
    any=$pid
    begin three wait 'g/*' --count 3 --timeout 1m
    three=$pid
    until_true 20 called_back all
    until_true 20 called_back any
    until_true 20 called_back three
    fileshare-client -q put x --as g/1
    ends 0 "$any"
    says g/1 any.out
    fileshare-client -q put x --as unrelated
    fileshare-client -q put x --as g/2
    kill -0 "$all" && kill -0 "$three"
    fileshare-client -q put x --as one
    ends 0 "$all"
    [ "$(wc -l <all.out)" -eq 2 ]
    says g/1 all.out && says one all.out
    fileshare-client -q put x --as g/3
    ends 0 "$three"
    [ "$(cut -f 2 three.out)" = $'g/1\ng/2\ng/3' ]
    exits 2 fileshare-client wait a --any --count 2
    exits 2 fileshare-client wait a --count 0
    exits 2 fileshare-client wait
    stop_server
END
}

@test "time that runs out is 4, after what came was told" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x && fileshare-client -q put x
    exits 4 fileshare-client wait x never --timeout 1
    says 'time ran out' said.err
    [ "$(cut -f 2 said.out)" = x ]
    exits 2 fileshare-client wait x --timeout soon
    exits 2 fileshare-client wait x --timeout 0
    stop_server
END
}

@test "--get downloads what arrives, and exits as get would" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    head -c 2000000 /dev/urandom >content
    mkdir down && cd down
    begin got wait 'n/*' there --get --timeout 1m
    until_true 20 called_back got
    fileshare-client -q put ../content --to n/
    fileshare-client -q put ../content --as there
    ends 0 "$pid"
    cmp ../content content && cmp ../content there
    [ "$(cut -f 2 got.out)" = $'n/content\nthere' ]
    # an existing file is kept
    echo mine >there
    exits 7 fileshare-client wait there --get
    [ "$(cat there)" = mine ]
    [ ! -s said.out ]
    stop_server
END
}

@test "Ctrl-C cancels and exits 130, SIGTERM 143; nothing stays registered" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    counts() { fileshare-client status | grep -qx "store.interests *$1"; }
    for signal in INT:130 TERM:143; do
        begin stopped wait never --timeout 1m
        until_true 20 called_back stopped
        until_true 20 counts 1
        kill "-${signal%:*}" "$pid"
        ends "${signal#*:}" "$pid"
        [ ! -s stopped.out ]
        until_true 20 counts 0
    done
    stop_server
END
}

@test "it reconnects while the server restarts, without rpcbind too" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    begin waiter wait later --timeout 2m
    until_true 20 called_back waiter
    stop_server
    serve
    echo x >later && fileshare-client -q put later
    ends 0 "$pid"
    says later waiter.out
    stop_server
END
}

@test "-q says nothing but what came; the route is told without it" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    begin quiet -q wait x --timeout 1m
    quiet=$pid
    begin loud wait x --timeout 1m
    until_true 20 called_back loud
    grep -qE 'dial-back.*0x[4-5][0-9a-f]{7}.*127\.0\.0\.1:[0-9]+' loud.err
    fileshare-client -q put x
    ends 0 "$pid"
    ends 0 "$quiet"
    [ ! -s quiet.err ]
    [ "$(cat quiet.out)" = "$(cat loud.out)" ]
    stop_server
END
}
