#!/usr/bin/env bats
# The benches tell the truth: a verdict follows from the figures, and what a peer
# does wrong is no figure.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    results=$BATS_TEST_TMPDIR/results
    mkdir -p "$results/rows"
}

# row NAME PEER SECONDS [CPU [NOTE]]
row() {
    [ -e "$results/rows/$1.tsv" ] || printf '# work: 7 of them\n# mib: 4\n# small: 2\n# names: 10\n' >"$results/rows/$1.tsv"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t0.5\t20+40\t%s\n' "$1" "$2" "$3" "$3" "$3" "${4:-1}" "${5:-}" >>"$results/rows/$1.tsv"
}

# verdict WORDS: what the table says of that target
verdict() {
    grep -F "| $1 |" "$results/table.md"
}

@test "a target is met, or not, by the best peer, by limits and by CPU time" {
    row put1g fileshare 1.0 1.0
    row put1g slow 3.0
    row put1g quick 1.1
    row put1g bare 0.5 1.0 limit
    row get1g fileshare 1.0 2.0
    row get1g quick 1.1
    row get1g bare 0.5 1.0 'limit; 3 times'
    row putsmall fileshare 1.0
    row putsmall quick 1.9
    row putsmall rsync-nodelay 1.3 1 limit
    row getsmall fileshare 1.0
    row getsmall quick 2.1
    row getsmall rsync-nodelay 1.3 1 limit
    row list10k fileshare 1.0
    "$source_tree/bench/table" "$results"
    cat "$results/table.md"
    [ "$(verdict 'upload 1 GiB')" = '| upload 1 GiB | met | 1.10 x quick (at least 1.0), 1.00 x the CPU of bare (at most 1.15) |' ]
    [[ "$(verdict 'download 1 GiB')" == *'**not met** | 1.10 x quick'*'1.67 x the CPU of bare'* ]]
    [[ "$(verdict 'upload 5,000 files of 4 KiB, one command')" == *'**not met** | 1.90 x quick'* ]]
    [[ "$(verdict 'download 5,000 files of 4 KiB, one command')" == *'| met | 2.10 x quick'* ]]
    # A row with nobody to compare with is not measured.
    [[ "$(verdict 'list 10,000 names, whole process')" == *'not measured'* ]]
    # CPU and system calls are told for one of what there was: 1.5 s for 4 MiB, 60 calls.
    grep -F '| **fileshare** | 1.0000 | 1.0000 to 1.0000 | 1.00 | 1.0000 | 0.5000 | 375000.0 | 5 + 10 |' "$results/table.md"
}

@test "a figure of a program's own is held to its limit" {
    row crowd fileshare 1.0
    row crowd one-client 0.95 1 limit
    row crowd_worst fileshare 3.5
    row dialback_p99_nulls fileshare 2.5
    "$source_tree/bench/table" "$results"
    [[ "$(verdict '64 clients at once, 4 KiB to 64 MiB')" == *'**not met** | 0.95 x one-client (at least 0.9), 3.50 (below 3)'* ]]
    [[ "$(verdict 'arrival to callback, one waiter, p99')" == *'| met | 2.50 (below 3)'* ]]
}

@test "where chance has much to say the geometric mean stands beside the ratio of medians" {
    row link_20ms_1_put fileshare 2.0 1 '8 MiB: 12 times; geometric mean 2.5'
    row link_20ms_1_put rsync 1.9 1 '8 MiB: 12 times; geometric mean 3.0'
    row link_20ms_1_get fileshare 2.0
    row link_20ms_1_get rsync 1.0
    "$source_tree/bench/table" "$results"
    [[ "$(verdict '20 ms, 1 % loss, large file up')" == *'| met | 0.95 x rsync (at least 0.9), 1.20 by geometric means |' ]]
    [[ "$(verdict '20 ms, 1 % loss, large file down')" == *'**not met** | 0.50 x rsync (at least 0.9) |' ]]
}

@test "without rows there is no table" {
    run "$source_tree/bench/table" "$results"
    [ "$status" -eq 1 ]
}

# A small run of the real thing: tools/check builds the programs, in the release preset.
peers() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    [ -x "${FILESHARE_BUILD:?}/bench/peers_stopwatch" ] || skip "the target bench_peers is not built"
    "$source_tree/bench/peers" --rounds 1 --tries 1 --mib 2 --small 12 --names 30 --cold 2 --disk "$BATS_TEST_TMPDIR" "$@"
}

@test "each row is measured, and its system calls counted" {
    peers --peers bare,bare-sync,fileshare >"$BATS_TEST_TMPDIR/rows"
    cat "$BATS_TEST_TMPDIR/rows"
    for row in put1g get1g putsmall getsmall put_one_cold list10k putdisk; do
        awk -F'\t' -v row=$row '$1 == row && $2 == "fileshare" && $3 > 0 && $6 > 0 && $7 > 0 { found = 1 } END { exit !found }' \
            "$BATS_TEST_TMPDIR/rows"
    done
    ! grep -F 'left out' "$BATS_TEST_TMPDIR/rows" || false
    # 12 files can't come over without a dozen calls at either end, where they are counted at all.
    awk -F'\t' '$1 == "getsmall" && $2 == "bare" { split($8, n, "+"); if ($8 != "-" && (n[1] < 36 || n[2] < 36)) exit 1 }' \
        "$BATS_TEST_TMPDIR/rows"
    # Nothing stays behind.
    [ -z "$(find "$BATS_TEST_TMPDIR" -name 'fileshare-bench.*')" ]
}

@test "a peer that loses bytes, one that fails and one that does not start are left out, with the reason" {
    cat >"$BATS_TEST_TMPDIR/liars" <<'END'
peer loser "keeps half of a file"
loser_start() { :; }
loser_put() { CMD=(sh -c 'head -c 1000 "$1" >"$2"' put "$1" "$STORE/$2"); }
loser_get() { CMD=(sh -c 'head -c 1000 "$1" >"$2"' get "$STORE/$1" "$2"); }
peer failer "fails"
failer_start() { :; }
failer_put() { case $2 in warm) CMD=(true) ;; *) CMD=(sh -c 'echo no room >&2; exit 3') ;; esac; }
peer absent "is not there"
absent_start() { echo "no such program" >>"$PD/server.log"; return 1; }
absent_put() { CMD=(false); }
END
    peers --no-counts --plugin "$BATS_TEST_TMPDIR/liars" --peers loser,failer,absent --rows put1g,get1g \
        >"$BATS_TEST_TMPDIR/rows"
    cat "$BATS_TEST_TMPDIR/rows"
    grep -P '^put1g\tloser\t-.*left out: the uploaded file differs' "$BATS_TEST_TMPDIR/rows"
    grep -P '^get1g\tloser\t-.*left out: the downloaded file differs' "$BATS_TEST_TMPDIR/rows"
    grep -P '^put1g\tfailer\t-.*left out: client exit 3: no room' "$BATS_TEST_TMPDIR/rows"
    grep -P '^put1g\tabsent\t-.*left out: its server did not start: no such program' "$BATS_TEST_TMPDIR/rows"
}

@test "rounds side by side are all counted, with links of their own" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    unshare --net "${FILESHARE_BUILD:?}/bench/peers_link" true || skip "no TUN devices here"
    cat >"$BATS_TEST_TMPDIR/another" <<'END'
peer another "fileshare by another name"
another_SEED=client
for verb in start put get getmany; do eval "another_$verb() { fileshare_$verb \"\$@\"; }"; done
another_putmany() { fileshare_putmany "$@"; }
END
    peers --plugin "$BATS_TEST_TMPDIR/another" --peers another,fileshare --rows put1g,getsmall --no-counts --rounds 3 \
        --at-once 2 --link '-d 4 -l 1' --raw "$BATS_TEST_TMPDIR/raw" >"$BATS_TEST_TMPDIR/rows"
    cat "$BATS_TEST_TMPDIR/rows"
    # In the order of rows and peers, whoever was first.
    [ "$(awk -F'\t' 'NR > 1 {print $1, $2}' "$BATS_TEST_TMPDIR/rows" | paste -sd,)" = \
        'put1g another,put1g fileshare,getsmall another,getsmall fileshare' ]
    [ "$(grep -c '; 3 times.*; geometric mean 0' "$BATS_TEST_TMPDIR/rows")" = 4 ]
    [ "$(wc -l <"$BATS_TEST_TMPDIR/raw")" = 12 ]
}

# losses SEED: how many of 400 datagrams a link loses; what comes back for them is of another way. The last one has
# time to be taken: whatever else wants the cores, the link goes first.
losses() {
    LINK_TELL=1 unshare --net bash -c 'ip link set lo up && ip address add 10.203.0.1/32 dev lo
        "$0" -d 1 -l 20 -s '"$1"' -- bash -c "for i in {1..400}; do echo \$i >/dev/udp/10.203.0.1/9; done 2>/dev/null; sleep ${FILESHARE_SLOWNESS:-1}"' \
        "$FILESHARE_BUILD/bench/peers_link" 2>&1 | sed -n 's/^link:.* lost there, \([0-9]*\) back.*/\1/p'
}

@test "a seed says what a link loses, whatever comes the other way" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    unshare --net "${FILESHARE_BUILD:?}/bench/peers_link" true || skip "no TUN devices here"
    first=$(losses 1) second=$(losses 2)
    echo "$first $second of 400"
    [ "$first" -gt 40 ] && [ "$first" -lt 120 ]
    [ "$(losses 1)" = "$first" ]
    [ "$first" != "$second" ]
}

@test "what goes one way of a link arrives when it is due, whatever goes the other way" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    unshare --net "${FILESHARE_BUILD:?}/bench/peers_link" true || skip "no TUN devices here"
    # What comes back for the first datagram is on its way when the second one, due 0.2 s after that, begins.
    LINK_TELL=1 unshare --net bash -c 'ip link set lo up && ip address add 10.203.0.1/32 dev lo
        "$0" -d 800 -- bash -c "echo >/dev/udp/10.203.0.1/9; sleep 0.6; echo >/dev/udp/10.203.0.1/9; sleep 1.5"' \
        "$FILESHARE_BUILD/bench/peers_link" 2>"$BATS_TEST_TMPDIR/told"
    cat "$BATS_TEST_TMPDIR/told"
    late=$(sed -n 's/^link: 2 packets there, 2 back, .* \([0-9]*\)\.[0-9] ms late;.*/\1/p' "$BATS_TEST_TMPDIR/told")
    [ "$late" -lt 100 ]
}
