# Batches, and the options of the whole run.

load world

@test "a batch: words as in sh, comments, one session" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >'two words'
    cat >jobs <<'JOBS'
# upload, and look
  put 'two words' --as "it's"   # by another name

put two\ words
ls
quit
ls -l
JOBS
    expect "it's: stored, 2 B
two words: stored, 2 B
it's
two words" fileshare-client -b jobs
    printf 'ls' | fileshare-client -b - | cmp - <(printf "it's\ntwo words\n")
    before=$(fileshare-client status | awk '$1 == "connections.accepted" { print $2 }')
    fileshare-client -b - <<<$'ping\nping\nping' >/dev/null
    after=$(fileshare-client status | awk '$1 == "connections.accepted" { print $2 }')
    [ $((after - before)) -eq 2 ]
    stop_server
END
}

@test "it stops at the first failure, with its code and its place; -k goes on" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    echo x >x
    printf 'put x --as 1\n\nstat nothing\nput x --as 2\n' >jobs
    exits 3 fileshare-client -b jobs
    says 'jobs:3: stat: ' said.err
    expect 1 fileshare-client ls
    exits 1 fileshare-client -k -b jobs
    says 'jobs:3: stat: ' said.err
    expect $'1\n2' fileshare-client ls
    printf 'ls nothing\n' >jobs
    exits 3 fileshare-client -kb jobs
    printf 'ls\n"open\nls\n' >jobs
    exits 2 fileshare-client -b jobs
    says 'jobs:2: ' said.err
    printf 'frobnicate\n' >jobs
    exits 2 fileshare-client -b jobs
    says 'jobs:1: frobnicate: ' said.err
    printf 'ls --frob\n' >jobs
    exits 2 fileshare-client -b jobs
    says 'jobs:1: ls: --frob' said.err
    printf 'connect\n' >jobs
    exits 2 fileshare-client -b jobs
    printf 'put - --as x\nls\n' | exits 2 fileshare-client -b -
    exits 9 fileshare-client -b missing
    exits 0 fileshare-client -b /dev/null
    head -c 70000 /dev/zero | tr '\0' x >jobs
    exits 2 fileshare-client -b jobs
    stop_server
END
}

@test "options: --version, --help, and combinations that make no sense" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    fileshare-client --version | grep -qxE 'fileshare-client [0-9.]+'
    fileshare-client --help >help
    for command in put get ls stat rm mv wait interest interests renew cancel listen ping status help; do
        grep -q "^  $command " help
        fileshare-client help "$command" | grep -q "^Usage: fileshare-client $command"
        [ "$(fileshare-client "$command" --help | awk 'length > 80')" = '' ]
    done
    cmp <(fileshare-client help wait) <(fileshare-client wait --help)
    [ "$(awk 'length > 80' help)" = '' ]
    exits 2 fileshare-client --frob
    exits 2 fileshare-client frob
    exits 2 fileshare-client -b x ls
    exits 2 fileshare-client -k ls
    exits 2 fileshare-client connect
    exits 2 fileshare-client ls a b
    exits 2 fileshare-client mv a
    exits 2 fileshare-client help frob
    exits 2 fileshare-client --retry-for x ls
    exits 2 fileshare-client -s 'host:99999' ls
    exits 9 bash -c 'fileshare-client --help >/dev/full'
END
}
