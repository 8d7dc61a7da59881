# put and get of many files: folders with -r, several names in one command.

load world

@test "a folder goes up and comes down: names, times, sizes; links are left out" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    mkdir -p from/reports/2026/empty from/reports/deep/er
    head -c 3000000 /dev/urandom >from/reports/large
    head -c 20000 /dev/urandom >from/reports/deep/blob
    echo a >from/reports/a && : >from/reports/nothing && echo b >from/reports/deep/er/b && echo c >from/reports/.hidden
    touch -d '2001-02-03 04:05:06.789 UTC' from/reports/a
    ln -s a from/reports/link && ln -s deep from/reports/loop && mkfifo from/reports/pipe
    stored='reports/.hidden: stored, 2 B
reports/a: stored, 2 B
reports/deep/blob: stored, 20 KiB
reports/deep/er/b: stored, 2 B
reports/large: stored, 2.9 MiB
reports/nothing: stored, 0 B'
    [ "$(fileshare-client put -r from/reports/ 2>notes)" = "$stored" ]
    fileshare-client put -r from/reports 2>said.err >said.out
    [ "$(grep -c unchanged said.out)" = 6 ]
    says 'put: from/reports/link: left out' said.err
    says 'put: from/reports/loop: left out' said.err
    says 'put: from/reports/pipe: left out' said.err
    rm from/reports/link from/reports/loop from/reports/pipe && rmdir from/reports/2026/empty from/reports/2026
    mkdir to
    expect 'to/reports/.hidden: fetched, 2 B
to/reports/a: fetched, 2 B
to/reports/deep/blob: fetched, 20 KiB
to/reports/deep/er/b: fetched, 2 B
to/reports/large: fetched, 2.9 MiB
to/reports/nothing: fetched, 0 B' fileshare-client get -r reports -o to
    diff -r from to
    [ "$(stat -c %.3Y to/reports/a)" = "$(stat -c %.3Y from/reports/a)" ]
    exits 1 fileshare-client get -r reports/ -o to
    [ "$(grep -c 'is there already, and was kept' said.err)" = 6 ]
    fileshare-client get -q --recursive reports -o to --replace
    diff -r from to
    stop_server
END
}

@test "where names begin: DIR/., --to, a name above, and . for all" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    mkdir -p x/dir/in && echo a >x/dir/a && echo b >x/dir/in/b && echo c >c
    expect 'a: stored, 2 B
in/b: stored, 2 B' fileshare-client put -r x/dir/.
    expect 'p/q/dir/a: stored, 2 B
p/q/dir/in/b: stored, 2 B
p/q/c: stored, 2 B' fileshare-client put -r x/dir c --to p/q
    cd x/dir && expect 'a: unchanged
in/b: unchanged' fileshare-client put -r . && cd ../..
    mkdir down && cd down
    expect 'dir/a: fetched, 2 B
dir/in/b: fetched, 2 B' fileshare-client get -r p/q/dir
    exits 3 fileshare-client get -r p/q/nothing
    says 'no file below it' said.err
    mkdir all && fileshare-client -q get -r . -o all/
    [ "$(cd all && find . -type f | sort | tr '\n' ' ')" = './a ./in/b ./p/q/c ./p/q/dir/a ./p/q/dir/in/b ' ]
    exits 2 fileshare-client put -r ../x --as one
    exits 2 fileshare-client get -r p -o -
    echo one >one && exits 2 fileshare-client get -r p -o one
    exits 9 fileshare-client get -r p -o nowhere/
    stop_server
END
}

@test "what a server sends lands beneath the folder, and never through a link" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    mkdir -p up/t && echo a >up/t/a && fileshare-client -q put -r up/t
    mkdir outside down && ln -s "$PWD/outside" down/t
    exits 1 fileshare-client get -r t -o down || exits 9 fileshare-client get -r t -o down
    says 'cannot open the folder' said.err
    [ -z "$(ls outside)" ]
    stop_server
END
}

@test "2,000 files in one command, few calls; one that fails is 1, JSON has a line for each" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    mkdir many && cd many && for i in $(seq 2000); do echo "file $i" >"f$i"; done && cd ..
    fileshare-client put many/* --to m --json >said.out
    [ "$(json_field result <said.out | sort | uniq -c | tr -s ' ')" = ' 2000 stored' ]
    fileshare-client status >counts
    grep calls.upload_many counts
    [ "$(awk '$1 == "calls.upload_many" { print $2 }' counts)" -lt 40 ]
    echo other >many/f7
    exits 1 fileshare-client put -r many/. --to m
    says 'put: m/f7: ' said.err && says '--replace puts this one in its place' said.err
    [ "$(grep -c unchanged said.out)" = 1999 ]
    mkdir got
    fileshare-client -q get -r m/ -o got
    fileshare-client put many/f7 --to m --replace
    fileshare-client -q get $(sed 's,^,m/,' <(ls many)) -o got/m/ --replace
    diff -r many got/m
    stop_server
END
}
