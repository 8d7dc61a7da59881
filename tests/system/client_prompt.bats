# The prompt: by a pipe, and on a terminal.

load world

@test "driven by a pipe: commands, notices as lines of listen, the last code" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    mkfifo commands
    fileshare-client <commands >out 2>err &
    prompt=$!
    exec 3>commands
    echo 'interest n/* --for 1h' >&3
    until_true 20 says waiting out
    fileshare-client -q put x --to n/
    until_true 20 says $'\tarrived\tn/x\t' out
    printf 'put x\nls\n' >&3
    until_true 20 grep -qx x out
    refute grep -q 'fileshare>' out
    # one holder of the mailbox at a time
    exits 9 fileshare-client listen
    echo 'stat nothing' >&3
    exec 3>&-
    ends 3 "$prompt"
    printf 'stat nothing\n\nping\n' | fileshare-client >/dev/null 2>&1
    printf 'stat nothing\nquit\nstat nothing\n' | fileshare-client >/dev/null 2>&1
    stop_server
END
}

@test "connect, disconnect: the route is withdrawn, interests stay" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    mkfifo commands
    fileshare-client <commands >out 2>err &
    prompt=$!
    exec 3>commands
    echo ls >&3
    until_true 20 says 'try: connect' err
    serve --port 2345 3>&-
    echo x >x
    echo connect >&3
    until_true 20 says 'connected to unix:/run/fileshare/socket' err
    printf 'interest x --for 1h\ndisconnect\nstat x\n' >&3
    until_true 20 says 'stat: there is no connection' err
    fileshare-client interests >list
    grep -q 'waiting.* none *x$' list
    fileshare-client -q put x
    refute grep -q arrived out
    echo 'connect localhost:2345' >&3
    until_true 20 grep -q $'\tarrived\tx\t' out
    echo disconnect >&3
    echo disconnect >&3
    exec 3>&-
    ends 5 "$prompt"
    [ "$(grep -c arrived out)" -eq 1 ]
    stop_server
END
}

@test "while another process holds the mailbox the prompt works without notices" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    begin listener listen
    until_true 20 called_back listener
    echo x >x
    printf 'put x\nls\n' | fileshare-client >out 2>err
    [ "$(cat out)" = $'x: stored, 2 B\nx' ]
    says "$pid" err
    kill -HUP "$pid"
    ends 129 "$pid"
    stop_server
END
}

@test "on a terminal: prompt, notices between the lines, Ctrl-C, progress" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    export TMUX_TMPDIR=$world
    serve
    screen() { tmux -L test capture-pane -p -S - -t try; }
    shows() { screen | grep -qE "$1"; }
    keys() { tmux -L test send-keys -t try "$@"; }
    # the prompt is there anew: what a terminal gets while Ctrl-C is at work may be thrown away
    prompts() { screen | grep -v '^$' | tail -n 1 | grep -qE '^fileshare> ?$'; }
    tmux -L test -f /dev/null new-session -d -s try -x 100 -y 40 "fileshare-client; echo exit=\$?; exec sleep 1000"
    until_true 20 shows '^fileshare> $|^fileshare>$'
    keys 'interest report.csv --for 1h' Enter
    until_true 20 shows $'^waiting.*report.csv'
    keys 'half a li'
    head -c 5000 /dev/zero >report.csv && fileshare-client -q put report.csv
    until_true 20 shows '^\* report.csv has arrived \(4.9 KiB, from unix:0\)$'
    keys C-c
    until_true 20 prompts
    keys 'ls -l' Enter
    until_true 20 shows '^4.9 KiB +unix:0 +20[0-9-]+ [0-9:]+ +report.csv$'
    # Ctrl-C stops the command, not the prompt
    keys 'wait never' Enter
    until_true 20 shows 'wait: called back'
    keys C-c
    until_true 20 shows '^fileshare> \^C$|^\^C$'
    until_true 20 prompts
    keys 'ping' Enter
    until_true 20 shows ' ms$'
    keys 'help' Enter
    until_true 20 shows '^  disconnect '
    keys C-d
    until_true 20 shows '^exit=0$'
    screen
    tmux -L test kill-server
    stop_server
END
}

@test "on a terminal: a transfer shows its progress, and that nothing moves" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    export TMUX_TMPDIR=$world
    serve
    mkfifo pipe
    shows() { tmux -L test capture-pane -p -t try | grep -qE "$1"; }
    tmux -L test -f /dev/null new-session -d -s try -x 100 -y 10 \
        "cat pipe | fileshare-client put - --as slow; echo exit=\$?; exec sleep 1000"
    exec 3>pipe
    head -c 5000000 /dev/zero >&3
    until_true 20 shows '^slow: [0-9.]+ MiB, .*/s'
    until_true 20 shows '^slow: [0-9.]+ MiB, nothing moves for [0-9]+s'
    exec 3>&-
    until_true 20 shows '^slow: stored, 4.8 MiB$'
    until_true 20 shows '^exit=0$'
    refute shows 'nothing moves'
    tmux -L test kill-server
    stop_server
END
}

@test "on a terminal: what was dropped while nobody was there is told as a number" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    export TMUX_TMPDIR=$world
    serve --events-per-mailbox 3
    echo x >x
    fileshare-client -q interest 'n/*' --every --for 1h >/dev/null
    for i in 1 2 3 4 5; do fileshare-client -q put x --as "n/$i"; done
    shows() { tmux -L test capture-pane -p -J -t try | grep -qE "$1"; }
    tmux -L test -f /dev/null new-session -d -s try -x 100 -y 20 "fileshare-client; exec sleep 1000"
    until_true 20 shows '^\* n/5 has arrived'
    shows '^\* 3 events were dropped, the oldest first: .* "ls" shows what is there$'
    shows '^\* n/4 has arrived'
    refute shows 'n/3 has'
    tmux -L test kill-server
    stop_server
END
}
