# put and get.

load world

@test "what is put is listed, got, and equal; mtime is kept" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    head -c 3000000 /dev/urandom >large
    : >empty
    touch -d '2001-02-03 04:05:06.789 UTC' large
    expect 'large: stored, 2.9 MiB
empty: stored, 0 B' fileshare-client put large empty
    mkdir down && cd down
    expect 'large: fetched, 2.9 MiB
empty: fetched, 0 B' fileshare-client get large empty
    cmp large ../large
    cmp empty ../empty
    [ "$(stat -c %.3Y large)" = "$(stat -c %.3Y ../large)" ]
    stop_server
END
}

@test "dir/a goes as a, a/b comes as ./b; --as, --to with and without a slash" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    mkdir dir && echo a >dir/a && echo b >b
    expect 'a: stored, 2 B' fileshare-client put dir/a
    expect 'x/y/z: stored, 2 B' fileshare-client put dir/a --as x/y/z
    expect 'p/a: stored, 2 B
p/b: stored, 2 B' fileshare-client put dir/a b --to p/
    expect 'q/b: stored, 2 B' fileshare-client put b --to q
    expect 'z: fetched, 2 B' fileshare-client get x/y/z
    expect 'dir/z: fetched, 2 B' fileshare-client get x/y/z -o dir
    expect 'dir/b: fetched, 2 B' fileshare-client get q/b -o dir/
    expect 'other: fetched, 2 B' fileshare-client get q/b --output=other
    cmp dir/a z && cmp dir/a dir/z && cmp b other
    exits 2 fileshare-client put dir/a b --as both
    exits 2 fileshare-client put b --as a --to p/
    exits 2 fileshare-client get p/a p/b -o one
    says 'a folder' said.err
    exits 9 fileshare-client get p/a -o nowhere/
    stop_server
END
}

@test "put: unchanged and exit 0, or refused with 7, or replaced" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo one >a
    expect 'a: stored, 4 B' fileshare-client put a
    version=$(fileshare-client stat a --json | json_field version)
    expect 'a: unchanged' fileshare-client put a
    expect 'a: unchanged' fileshare-client put - --as a <a
    [ "$(fileshare-client stat a --json | json_field version)" = "$version" ]
    echo two >a
    expect_failure 7 'put: .*"?a"?.*there already' fileshare-client put a
    expect 'a: stored, 4 B' fileshare-client put a --replace
    [ "$(fileshare-client get a -o -)" = two ]
    expect 'a: unchanged' fileshare-client put a --replace
    stop_server
END
}

@test "standard input and standard output, in pipes" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    head -c 5000000 /dev/urandom >large
    cat large | fileshare-client -q put - --as piped
    fileshare-client get piped -o - | cmp - large
    # several, one after the other, and nothing else between them
    echo small | fileshare-client -q put - --as small
    fileshare-client get small piped -o - | cmp - <(echo small; cat large)
    exits 2 fileshare-client put - </dev/null
    says '--as' said.err
    exits 2 fileshare-client put - --to x/ </dev/null
    # who stops reading is noticed, and not complained of
    status=0
    { fileshare-client get piped -o - 2>err || echo $? >code; } | head -c 10 >/dev/null
    [ "$(cat code)" = 9 ]
    exits 9 bash -c 'fileshare-client ls >/dev/full'
    says 'standard output' said.err
    stop_server
END
}

@test "get keeps an existing file unless told, and leaves no parts behind" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo new >a && fileshare-client -q put a
    mkdir down && cd down && echo mine >a
    expect_failure 7 'get: .*"a".*there already' fileshare-client get a
    [ "$(cat a)" = mine ]
    expect 'a: fetched, 4 B' fileshare-client get a --replace
    [ "$(cat a)" = new ]
    exits 3 fileshare-client get nothing
    [ "$(ls -A)" = a$'\n'said.err$'\n'said.out ]
    stop_server
END
}

@test "one of several that fails is 1, and the others are done" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo a >a && echo b >b
    exits 1 fileshare-client put a missing b
    says 'put: missing: No such file' said.err
    expect $'a\nb' fileshare-client ls
    rm a b
    exits 1 fileshare-client get a missing b
    says 'get: missing: ' said.err
    [ -e a ] && [ -e b ]
    exits 9 fileshare-client put missing
    exits 9 fileshare-client put .
    says 'Is a directory' said.err
    stop_server
END
}

@test "over TCP, IPv4 and IPv6, and with a number for the program" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve --port 2345 --program 0x20001234
    echo a >a
    FILESHARE_SERVER=127.0.0.1:2345 expect 'a: stored, 2 B' fileshare-client --program 0x20001234 put a
    fileshare-client -s '[::1]:2345' --program 536875572 ls | grep -qx a
    fileshare-client -s localhost:2345 --program 536875572 stat a | grep -q 'owner *unix:'
    exits 5 fileshare-client -s localhost:2345 ping
    exits 2 fileshare-client --program x ping
    exits 2 fileshare-client --program 0x100000000 ping
    exits 2 fileshare-client --program -1 ping
    stop_server
END
}

@test "a put goes on over a restart of the server" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    mkfifo pipe
    fileshare-client put - --as slow <pipe >out 2>err &
    putter=$!
    exec 3>pipe
    head -c 9000000 /dev/urandom >content
    head -c 5000000 content >&3
    kill -9 "$server_pid"
    wait "$server_pid" || true
    serve 3>&-
    tail -c +5000001 content >&3
    exec 3>&-
    ends 0 "$putter"
    fileshare-client get slow -o - | cmp - content
    stop_server
END
}
