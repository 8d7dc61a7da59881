# What is promised and no command's own: names that are looked at, events that are none, claims that are no proof.

load world

@test "a list looks at 10,000 names a call: one more, and there is a second call" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    lists() { fileshare-client status | awk '$1 == "calls.list" { print $2 }'; }
    # fill FROM TO: entries as of so many uploads of nothing.
    fill() {
        sqlite3 "$(find "$world/store" -maxdepth 1 -name '*.db' -o -maxdepth 1 -name '*.sqlite' | head -n 1)" "
            WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
            INSERT INTO entry (name, version, owner, size, mtime, arrival, digest, content, made)
                SELECT printf('n/%06d', i), randomblob(16), owner, size, mtime, arrival, digest, content,
                1000000 + i FROM n, entry WHERE name = 'first';
            UPDATE store SET files = (SELECT count(*) FROM entry);
            UPDATE content SET uses = uses + $2 - $1 + 1 WHERE id = (SELECT content FROM entry WHERE name = 'first')"
    }
    serve
    : | fileshare-client -q put - --as first
    stop_server
    fill 2 10000
    serve
    before=$(lists)
    exits 3 fileshare-client ls '*nothing'
    exits 3 fileshare-client ls '**nothing'
    [ $(($(lists) - before)) -eq 2 ]
    stop_server
    fill 10001 10001
    serve
    before=$(lists)
    exits 3 fileshare-client ls '**nothing'
    [ $(($(lists) - before)) -eq 2 ]
    [ "$(fileshare-client ls '**10001')" = n/010001 ]
    [ "$(fileshare-client ls | sort -u | wc -l)" -eq 10001 ]
    stop_server
END
}

@test "what is unchanged is no event; what was replaced or renamed is one" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo one >x && fileshare-client -q put x
    fileshare-client -q interest x --for 1h --every >/dev/null
    fileshare-client put x | grep -q unchanged
    fileshare-client put x --replace | grep -q unchanged
    echo two >x && fileshare-client -q put x --replace
    fileshare-client mv x y
    fileshare-client mv y x
    begin listener listen
    lines() { [ "$(wc -l <listener.out)" -ge "$1" ]; }
    until_true 20 lines 2
    kill -INT "$pid"
    ends 130 "$pid"
    [ "$(cut -f 2-3 listener.out)" = $'arrived\tx\narrived\tx' ]
    mapfile -t numbers < <(cut -f 1 listener.out)
    [ "${numbers[1]}" -eq $((numbers[0] + 1)) ] # they waited together: nothing came between them
    stop_server
END
}

@test "an interest that runs out while nobody is there, nor the server, is told" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    fileshare-client -q interest gone --for 1 >/dev/null
    fileshare-client -q interest stays --for 1h >/dev/null
    stop_server
    sleep 1.2
    serve
    begin listener listen
    until_true 20 says expired listener.out
    [ "$(cut -f 2-3 listener.out)" = $'expired\tgone' ]
    kill -INT "$pid"
    ends 130 "$pid"
    fileshare-client interests | grep -qE ' waiting +3[0-9]{3} .* stays$'
    stop_server
END
}

@test "root of another machine is not root" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    ip addr add 192.0.2.7/32 dev lo
    serve --listen 127.0.0.1 --listen 192.0.2.7 --allow 192.0.2.0/24
    there="-s 192.0.2.7:18003"
    echo x >x && fileshare-client -q put x
    [ "$(fileshare-client $there --json status | head -n 1 | json_field you)" = sys:0@192.0.2.7 ]
    exits 6 fileshare-client $there rm x
    exits 6 fileshare-client $there mv x y
    echo y >x
    exits 6 fileshare-client $there put x --replace
    exits 0 fileshare-client $there put x --as theirs
    exits 0 fileshare-client $there rm theirs
    stop_server
END
}
