#!/usr/bin/env bats
# The manuals and the programs say the same: each option, command and key that
# one has the other has too, and the defaults are true.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    build=${FILESHARE_BUILD:?set by ctest}
    export HOME=$BATS_TEST_TMPDIR
    unset XDG_STATE_HOME XDG_RUNTIME_DIR FILESHARE_SERVER
}

# The options that a help shows, without dashes: those its rows begin with, or that its usage line names.
options_of_help() {
    grep -E '^ +-|^Usage' | sed -E 's/^( +-[^ ].*[^ ])  .*/\1/' | grep -oE '(^|[ ,[])--?[A-Za-z][A-Za-z0-9-]*' |
        sed -E 's/^[ ,[]*--?//' | sort -u
}

# The options that a manual page has, without dashes.
options_of_page() {
    sed -nE '/^\.(It|Op|Oo|Fl)/{s/[|] Fl/Fl/g;p}' "$1" | grep -oE '(Fl|\|) -?[A-Za-z][A-Za-z0-9-]*' | sed -E 's/^[^ ]+ -?//' |
        grep -vxE '(Ar|Li|Cm|Fl)' | sort -u
}

# The keys that fileshare.conf(5) has.
keys_of_page() {
    sed -nE 's/^\.It Cm ([a-z-]+) No =.*/\1/p' "$source_tree/man/fileshare.conf.5" | sort -u
}

# The commands that the client's help lists.
commands() {
    "$build/fileshare-client" --help | sed -nE '/^Commands:/,$s/^  ([a-z]+)  .*/\1/p' | sort -u
}

# same WHAT A WHERE_A B WHERE_B: the two lists are equal and not empty.
same() {
    [ -n "$2" ] || { echo "no $1 in $3"; return 1; }
    local only
    only=$(comm -23 <(echo "$2") <(echo "$4"))
    [ -z "$only" ] || { echo "$1 in $3, not in $5: "$only; return 1; }
    only=$(comm -13 <(echo "$2") <(echo "$4"))
    [ -z "$only" ] || { echo "$1 in $5, not in $3: "$only; return 1; }
}

@test "keys: fileshare.conf(5) and the server have the same" {
    dumped=$("$build/fileshared" --config /dev/null --listen 127.0.0.1 --allow 10.0.0.0/8 --dump-config |
        sed -nE 's/^([a-z-]+) =.*/\1/p' | sort -u)
    same keys "$dumped" --dump-config "$(keys_of_page)" 'fileshare.conf(5)'
}

@test "keys: the defaults of fileshare.conf(5) are those of the server" {
    awk '/^\.Ss \[/ { gsub(/[][]/, "", $2); print "[" $2 "]" }
         /^\.It Cm .* No =/ { key = $3 }
         /^Default: / { value = $2; sub(/\.$/, "", value); print key " = " value }' \
        "$source_tree/man/fileshare.conf.5" >"$BATS_TEST_TMPDIR/told.conf"
    [ "$(grep -c ' = ' "$BATS_TEST_TMPDIR/told.conf")" -gt 30 ]
    diff <("$build/fileshared" --config /dev/null --dump-config) \
        <("$build/fileshared" --config "$BATS_TEST_TMPDIR/told.conf" --dump-config)
    # And told.conf is really read: a value that is changed shows.
    sed -i -E 's/^workers = .*/workers = 33/' "$BATS_TEST_TMPDIR/told.conf"
    "$build/fileshared" --config "$BATS_TEST_TMPDIR/told.conf" --dump-config | grep -qx 'workers = 33'
}

@test "options: each of fileshared --help is in a manual, and the other way round" {
    page=$(options_of_page "$source_tree/man/fileshared.8" | grep -vx KEY)
    helped=$({
        "$build/fileshared" --help
        for command in fsck backup; do "$build/fileshared" "$command" --help; done
    } | options_of_help)
    missing=$(comm -23 <(echo "$helped") <({ echo "$page"; keys_of_page; } | sort -u))
    echo "in no manual: $missing"
    [ -z "$missing" ]
    invented=$(comm -13 <(echo "$helped") <(echo "$page"))
    echo "not in --help: $invented"
    [ -z "$invented" ]
}

@test "commands: fileshare-client help and its manual have the same" {
    page=$source_tree/man/fileshare-client.1
    helped=$(commands)
    told=$(sed -nE '/^\.Sh COMMANDS/,/^\.Sh OUTPUT/s/^\.It Cm ([a-z]+).*/\1/p' "$page" | sort -u)
    same commands "$helped" help "$told" 'fileshare-client(1)'
}

@test "options: those of fileshare-client and of each command are in its manual, and the other way round" {
    page=$(options_of_page "$source_tree/man/fileshare-client.1")
    helped=$({
        "$build/fileshare-client" --help
        for command in $(commands); do "$build/fileshare-client" "$command" --help; done
    } | options_of_help)
    same options "$helped" help "$page" 'fileshare-client(1)'
}

@test "a help goes to standard output, in 80 columns; what is no option is complained of on standard error" {
    for program in fileshared fileshare-client; do
        "$build/$program" --help 2>"$BATS_TEST_TMPDIR/errors" >"$BATS_TEST_TMPDIR/help"
        [ ! -s "$BATS_TEST_TMPDIR/errors" ]
        [ -s "$BATS_TEST_TMPDIR/help" ]
        ! grep -E '^.{81,}' "$BATS_TEST_TMPDIR/help" || false
        run "$build/$program" --version
        [ "$status" -eq 0 ]
        [[ "$output" == "$program "[0-9]*.[0-9]*.[0-9]* ]]
        status=0
        "$build/$program" --no-such-option 2>"$BATS_TEST_TMPDIR/errors" >"$BATS_TEST_TMPDIR/output" || status=$?
        [ "$status" -eq 2 ]
        [ ! -s "$BATS_TEST_TMPDIR/output" ]
        grep -q no-such-option "$BATS_TEST_TMPDIR/errors"
    done
}
