# ls, stat, rm, mv; names with glob characters; JSON lines.

load world

@test "ls: all, by glob, long, aligned; 3 when nothing matches" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    expect '' fileshare-client ls
    head -c 100000 /dev/zero >large && echo s >s
    fileshare-client -q put large s --to b/
    fileshare-client -q put s --as a
    expect $'a\nb/large\nb/s' fileshare-client ls
    expect a fileshare-client ls '*'
    expect $'b/large\nb/s' fileshare-client ls 'b/*'
    expect $'a\nb/large\nb/s' fileshare-client ls '**'
    expect b/s fileshare-client ls b/s
    fileshare-client ls -l >long
    cat long
    [ "$(awk '{ print $1, $2, $4 }' long)" = '2 unix:0 a
100000 unix:0 b/large
2 unix:0 b/s' ]
    # aligned: every name begins in the same column
    [ "$(grep -bo '[ab][^ ]*$' long | wc -l)" -eq 3 ]
    [ "$(awk '{ print length($0) - length($4) }' long | sort -u | wc -l)" -eq 1 ]
    exits 3 fileshare-client ls 'nothing*'
    [ ! -s said.out ]
    stop_server
END
}

@test "many names come all, once and in order" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    for i in $(seq -w 1200); do echo "put x --as n/$i"; done | fileshare-client -q -b -
    seq -w 1200 | sed 's,^,n/,' | cmp - <(fileshare-client ls 'n/*')
    [ "$(fileshare-client ls -l 'n/*' | wc -l)" -eq 1200 ]
    # a reader that goes away early
    { fileshare-client ls 2>err || echo $? >code; } | head -n 1 >/dev/null
    [ ! -s err ]
    stop_server
END
}

@test "stat shows what is known, rm and mv do what they say" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x && touch -d '2001-02-03 04:05:06 UTC' x
    fileshare-client -q put x
    fileshare-client stat x >card
    cat card
    grep -qx 'name  *x' card
    grep -qx 'size  *2' card
    grep -qx 'mtime  *2001-02-03T04:05:06Z' card
    grep -qxE 'digest +[0-9a-f]{32}' card
    grep -qx 'owner  *unix:0' card
    expect '' fileshare-client mv x y/z
    expect y/z fileshare-client ls
    exits 3 fileshare-client mv x w
    exits 3 fileshare-client stat x
    fileshare-client -q put x
    exits 7 fileshare-client mv x y/z
    expect '' fileshare-client mv x y/z --replace
    expect y/z fileshare-client ls
    exits 1 fileshare-client rm y/z nothing
    exits 3 fileshare-client rm nothing
    expect '' fileshare-client ls
    stop_server
END
}

@test "names with glob characters: --exact takes them as they are" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >'a*' && echo y >ab && echo z >'q[1]?\'
    fileshare-client -q put 'a*' ab 'q[1]?\'
    expect $'a*\nab' fileshare-client ls 'a*'
    expect 'a*' fileshare-client ls --exact 'a*'
    expect 'a*' fileshare-client ls 'a\*'
    expect 'q[1]?\\' fileshare-client ls --exact 'q[1]?\'
    [ "$(fileshare-client ls --json --exact 'q[1]?\' | json_field name)" = 'q[1]?\' ]
    [ "$(fileshare-client get 'a*' -o -)" = x ]
    expect "$(printf 'arrived\ta*\t2\t%s' "$(fileshare-client stat --json 'a*' | json_field digest)")" \
        fileshare-client -q wait --exact 'a*'
    # a glob for the one name is met by the other as well
    exits 4 fileshare-client wait --exact 'b*' --timeout 1
    fileshare-client -q put ab --as bb
    exits 4 fileshare-client wait --exact 'b*' --timeout 1
    exits 0 fileshare-client wait 'b*' --timeout 1
    stop_server
END
}

@test "names that are refused say why; odd names can't forge lines" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    for name in '' / a/ /a a//b . .. a/../b $'a\nb' $'\x1b[2J' $'\xff' "$(printf 'x%.0s' $(seq 256))"; do
        exits 2 fileshare-client put x --as "$name"
        [ "$(wc -l <said.err)" -eq 1 ]
        refute grep -q $'[\x1b\x01-\x08]' said.err
    done
    override=$'\u202e'
    fileshare-client -q put x --as "a${override}b"
    expect 'a\xe2\x80\xaeb' fileshare-client ls
    fileshare-client -q put x --as "$(printf 'x%.0s' $(seq 255))"
    fileshare-client -q put x --as 'Não é só ASCII.txt'
    fileshare-client ls 'N*' | grep -qx 'Não é só ASCII.txt'
    stop_server
END
}

@test "--json: every line is an object with the same data, before or after the command" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    [ "$(fileshare-client --json put x | json_field result)" = stored ]
    [ "$(fileshare-client put x --json | json_field result)" = unchanged ]
    [ "$(fileshare-client --json get x -o y | json_field path)" = y ]
    [ "$(fileshare-client --json ls | json_field size)" = 2 ]
    [ "$(fileshare-client --json ls -l | json_field owner)" = unix:0 ]
    fileshare-client --json stat x | json_field mtime | grep -qE '^20[0-9-]+T[0-9:]+\.[0-9]{9}Z$'
    [ "$(fileshare-client --json wait x | json_field event)" = arrived ]
    id=$(fileshare-client --json interest w --for 1h | json_field id)
    [ "$(fileshare-client --json interest x --for 1h | json_field state)" = present ]
    [ "$(fileshare-client --json interests | json_field id)" = "$id" ]
    [ "$(fileshare-client --json renew "$id" --for 2h | json_field seconds)" = 7200 ]
    [ "$(fileshare-client --json cancel w | json_field state)" = cancelled ]
    [ "$(fileshare-client --json ping | json_field ns)" -gt 0 ]
    fileshare-client --json status | tail -n +2 | json_field label | grep -qx uptime.seconds
    [ "$(fileshare-client --json status | head -n 1 | json_field you)" = unix:0 ]
    stop_server
END
}
