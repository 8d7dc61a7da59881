# put and get with --jobs: several connections, and in the end the same as over one.

load world

setup_file() {
    cat >"$BATS_FILE_TMPDIR/steps" <<'STEPS'
source "$FILESHARE_SOURCE/tests/system/client.bash"
straight() { fileshare-client -s unix:/run/fileshare/socket "$@"; }
counter() { straight status | awk -v name="$1" '$1 == name { print $2 }'; }
counter_is() { [ "$(counter "$1")" -eq "$2" ]; }
# relayed COUNT: so many connections go through the relay.
relayed() { [ "$(ps --ppid "$relay" -o pid= | wc -l)" -eq "$1" ]; }

# make_files: from/, with 648 of them, small and large ones, in folders.
make_files() {
    mkdir -p from/deep/er from/wide
    for i in $(seq 600); do echo "file $i" >"from/wide/f$i"; done
    for i in $(seq 8); do head -c $((i * 300000)) /dev/urandom >"from/large$i"; done
    for i in $(seq 40); do head -c 20000 /dev/urandom >"from/deep/er/m$i"; done
}
STEPS
    export STEPS=$BATS_FILE_TMPDIR/steps
}

@test "--jobs is 1 to 16, and not for standard output; --connections is 1 to 8" {
    in_world <<'END'
    source "$STEPS"
    serve
    echo a >a && echo b >b
    for wrong in 0 17 -1 x ''; do
        exits 2 fileshare-client put a b --jobs="$wrong"
        says jobs said.err
        exits 2 fileshare-client get a b --jobs="$wrong"
        says jobs said.err
    done
    exits 2 fileshare-client get a b -o - --jobs 2
    says '--jobs and -o - do not go together' said.err
    expect 'a: stored, 2 B
b: stored, 2 B' fileshare-client put a b --jobs 16
    expect 'a: unchanged' fileshare-client put a --jobs 16
    mkdir empty && expect '' fileshare-client put -r empty --jobs 16
    for wrong in 0 9 -1 x ''; do
        exits 2 fileshare-client put a --connections="$wrong"
        says connections said.err
        exits 2 fileshare-client get a --connections="$wrong"
        says connections said.err
    done
    expect 'a: unchanged' fileshare-client put a --connections 8
    stop_server
END
}

@test "what is stored, fetched and said is the same over 1, 2 and 16 connections" {
    in_world <<'END'
    source "$STEPS"
    serve
    make_files
    for jobs in 1 2 16; do
        fileshare-client put -r from --to "j$jobs" --jobs $jobs >"put.$jobs"
        fileshare-client put -r from --to "j$jobs" --jobs $jobs >"again.$jobs"
        mkdir "to$jobs"
        fileshare-client get -r "j$jobs/from" -o "to$jobs" --jobs $jobs >"get.$jobs"
        diff -r from "to$jobs/from"
        exits 1 fileshare-client get -r "j$jobs/from" -o "to$jobs" --jobs $jobs
        [ "$(grep -c 'is there already, and was kept' said.err)" = 648 ]
        [ ! -s said.out ]
        fileshare-client get -r "j$jobs/from" -o "to$jobs" --jobs $jobs --replace -q
        diff -r from "to$jobs/from"
        [ -z "$(find "to$jobs" -name '*.part')" ]
        for said in put again get; do sed "s,j$jobs/,J/,;s,to$jobs/,TO/," "$said.$jobs" >"$said.$jobs.same"; done
    done
    for said in put again get; do
        [ "$(wc -l <"$said.1")" = 648 ]
        diff "$said.1.same" "$said.2.same"
        diff "$said.1.same" "$said.16.same"
    done
    [ "$(grep -c unchanged again.16)" = 648 ]
    [ "$(fileshare-client ls | wc -l)" = $((3 * 648)) ]
    stop_server
END
}

@test "a file that fails stops no other; names that come twice are done in their order; JSON has a line for each" {
    in_world <<'END'
    source "$STEPS"
    serve
    make_files
    rm from/deep/er/m1 && ln -s nowhere from/deep/er/m1
    for jobs in 1 7; do
        exits 1 fileshare-client put from/wide/* from/deep/er/* from/missing from --to "s$jobs" --jobs $jobs --json
        json_field name <said.out | sed "s,^s$jobs/,s/," >"names.$jobs"
        sed "s,s$jobs/,s/," said.err >"err.$jobs"
    done
    [ "$(wc -l <names.7)" = 639 ]
    diff names.1 names.7
    [ "$(wc -l <err.7)" = 3 ]
    diff err.1 err.7
    echo other >other && fileshare-client -q put other --as from/wide/f7
    exits 1 fileshare-client put -r from --jobs 5
    says 'from/wide/f7' said.err && says '--replace puts this one in its place' said.err
    [ "$(grep -c stored said.out)" = 646 ]

    # The same name from many folders: the first is stored, all others are refused; with --replace the last stays.
    paths=()
    for i in $(seq 200); do
        mkdir "d$i" && echo "from $i" >"d$i/same" && echo "own $i" >"d$i/own$i"
        paths+=("d$i/same" "d$i/own$i")
    done
    exits 1 fileshare-client put "${paths[@]}" --jobs 8
    [ "$(fileshare-client get same -o -)" = 'from 1' ]
    [ "$(grep -c stored said.out)" = 201 ]
    [ "$(grep -c -- '--replace' said.err)" = 199 ]
    fileshare-client -q put "${paths[@]}" --jobs 8 --replace
    [ "$(fileshare-client get same -o -)" = 'from 200' ]

    # Names that come to one path: the first does.
    for i in $(seq 50); do fileshare-client -q put "d$i/same" --to "p$i"; done
    mkdir down
    exits 1 fileshare-client get $(seq -f 'p%g/same' 50) missing -o down/ --jobs 6
    [ "$(cat down/same)" = 'from 1' ]
    [ "$(grep -c fetched said.out)" = 1 ]
    [ "$(grep -c 'is there already' said.err)" = 49 ]
    says missing said.err
    exits 9 fileshare-client get p1/same p2/same -o nowhere/ --jobs 2
    [ "$(wc -l <said.err)" = 1 ]
    stop_server
END
}

@test "one of the connections is cut, then the server dies and comes back: each file is there once" {
    in_world <<'END'
    source "$STEPS"
    serve --port 2345
    make_files
    slowly 3000000
    fileshare-client --retry-for 60 put -r from --jobs 4 --json >said.out 2>said.err &
    pid=$!
    until_true 20 relayed 4
    kill "$(ps --ppid "$relay" -o pid= | sed -n 3p)"
    until_true 20 relayed 4
    stop_server KILL || true
    serve --port 2345
    ends 0 $pid
    [ "$(json_field name <said.out | sort -u | wc -l)" = 648 ]
    [ "$(wc -l <said.out)" = 648 ]
    [ "$(json_field result <said.out | sort -u)" = stored ]
    mkdir to
    fileshare-client --retry-for 60 -q get -r from -o to --jobs 3 2>said.err &
    pid=$!
    until_true 20 relayed 3
    kill $(ps --ppid "$relay" -o pid=)
    ends 0 $pid
    diff -r from to/from
    kill $relay
    stop_server
END
}

@test "a server that takes two connections and no more: all is done over those" {
    in_world <<'END'
    source "$STEPS"
    make_files
    serve --connections 2
    fileshare-client put -r from --jobs 6 >said.out 2>said.err
    [ "$(grep -c stored said.out)" = 648 ]
    stop_server
    # One that refuses them by their address is told of.
    serve --connections-per-address 2
    export FILESHARE_SERVER=127.0.0.1:18003
    mkdir large && for i in $(seq 6); do head -c 60000000 /dev/zero >"large/f$i"; done
    fileshare-client --retry-for 0 put -r large --jobs 6 >said.out 2>said.err
    [ "$(grep -c stored said.out)" = 6 ]
    says 'put: a connection less than --jobs says: ' said.err
    stop_server
END
}

@test "Ctrl-C ends all connections with 130, also while they connect; what was done is told" {
    in_world <<'END'
    source "$STEPS"
    serve --port 2345
    mkdir from && echo a >from/a && for i in $(seq 6); do head -c 20000000 /dev/urandom >"from/f$i"; done
    slowly 2000000
    begin putting put -r from --jobs 4
    until_true 20 relayed 4
    kill -INT $pid
    ends 130 $pid
    # What was stored in the last moment may not have been told.
    [ -z "$(comm -13 <(straight ls | sort) <(sed -n 's/: stored.*//p' putting.out | sort))" ]
    until_true 20 relayed 0
    # The others find a server that takes connections and says nothing, as far as they have not been greeted.
    begin silent put -r from --jobs 4
    until_true 20 refute relayed 0
    kill -STOP $relay
    until_true 20 catches_signals $pid
    kill -INT $pid
    ends 130 $pid
    kill -CONT $relay && kill $relay
    stop_server
END
}
