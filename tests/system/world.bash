# A world of its own for a test: network, mounts, processes; real rpcbind, real
# fileshared. Sourced by the .bats files here.
#
#     load world
#     @test "..." {
#         in_world <<'END'
#         start_rpcbind
#         start_server
#         ...
#     END
#     }
#
# The script runs as root under set -euo pipefail in new namespaces, with an empty
# /run, its folder $world as HOME, and what it starts dies with it. If it fails,
# the logs follow.

in_world() {
    local script as_root=() status=0
    script=$(cat)
    WORLD=$(mktemp -d "$BATS_TEST_TMPDIR/world.XXXXXX")
    # rpcbind gives up its groups, which it may not in a user's own namespace: so root it is.
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -E env "PATH=$PATH")
    "${as_root[@]}" env WORLD="$WORLD" unshare --net --mount --pid --fork --kill-child --mount-proc \
        bash -euo pipefail -c "source '$BATS_TEST_DIRNAME/world.bash'; begin_world; $script
end_world" || status=$?
    [ "$status" -eq 0 ] || tail -n 50 "$WORLD"/*.log "$WORLD"/*.err 2>/dev/null || true
    "${as_root[@]}" rm -rf "$WORLD"
    return "$status"
}

begin_world() {
    world=$WORLD
    build=${FILESHARE_BUILD:?}
    fileshare_prog=541479752 # FILESHARE_PROG in decimal, as rpcinfo wants it
    PATH=$build:$build/tests:$PATH:/usr/sbin:/sbin
    ip link set lo up
    mount -t tmpfs tmpfs /run
    mkdir "$world/home" "$world/store"
    export HOME=$world/home
    unset XDG_STATE_HOME XDG_RUNTIME_DIR XDG_CONFIG_HOME FILESHARE_SERVER
    cd "$world"
}

# A server that still runs must stop as it should: a sanitizer speaks at the exit.
end_world() {
    if [ -n "${server_pid:-}" ] && kill -0 "$server_pid" 2>/dev/null; then
        stop_server
    fi
}

# until_true SECONDS COMMAND...: polls until the command is true; longer where programs are slower.
until_true() {
    local deadline=$((SECONDS + $1 * ${FILESHARE_SLOWNESS:-1}))
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "gave up waiting for: $*" >&2
            return 1
        fi
        sleep 0.05
    done
}

# took_less SECONDS: since SECONDS was set to 0; more may be where programs are slower.
took_less() { [ "$SECONDS" -lt $(($1 * ${FILESHARE_SLOWNESS:-1})) ]; }

# freeze PID...: stops them, and returns when none of their threads runs any more; kill returns before that.
freeze() {
    local pid
    kill -STOP "$@"
    for pid in "$@"; do until_true 20 is_frozen "$pid"; done
}
is_frozen() { ! grep -h '^State:' "/proc/$1/task"/*/status | grep -qv 'T (stopped)'; }

rpcbind_answers() { rpcinfo -p >/dev/null 2>&1; }

start_rpcbind() {
    rpcbind -w -f >>"$world/rpcbind.log" 2>&1 &
    rpcbind_pid=$!
    until_true 10 rpcbind_answers
}

# start_server [OPTION...]: returns when it serves; $server_pid, $world/addresses.
start_server() {
    rm -f "$world/addresses"
    fileshared --store "$world/store" --socket /run/fileshare/socket \
        --address-file "$world/addresses" "$@" >>"$world/fileshared.log" 2>&1 &
    server_pid=$!
    until_true 20 server_is_ready_or_gone
    test -s "$world/addresses"
}

server_is_ready_or_gone() { [ -s "$world/addresses" ] || ! kill -0 "$server_pid" 2>/dev/null; }

# stop_server [SIGNAL]: TERM; its exit status is ours.
stop_server() {
    kill "-${1:-TERM}" "$server_pid"
    wait "$server_pid"
}

# expect WORDS COMMAND...: it succeeds, and these words are all it says.
expect() {
    local words=$1 said
    shift
    said=$("$@" 2>&1) || { echo "failed ($?): $*: $said"; return 1; }
    [ "$said" = "$words" ] || { printf '%s\nsaid:   %s\nshould: %s\n' "$*" "$said" "$words"; return 1; }
}

# expect_failure STATUS PATTERN COMMAND...: that exit status, and words that begin like the pattern.
expect_failure() {
    local status=0 wanted=$1 pattern=$2 said
    shift 2
    said=$("$@" 2>&1) || status=$?
    [ "$status" -eq "$wanted" ] || { echo "status $status instead of $wanted: $*: $said"; return 1; }
    grep -qE "^$pattern" <<<"$said" || { printf '%s\nsaid:   %s\nshould: %s\n' "$*" "$said" "$pattern"; return 1; }
}

# refute COMMAND...: it fails. (A plain "! command" never ends a script under set -e.)
refute() {
    if "$@"; then
        echo "should have failed: $*"
        return 1
    fi
}
