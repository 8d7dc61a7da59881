# Far from the server, over bench/link.c: what is under way fills the way.

load world

setup() {
    # In a network of its own: a machine may have no TUN devices, or none for us.
    in_world <<<'ip addr add 10.203.0.1/32 dev lo; "$build/bench/peers_link" true' >/dev/null 2>&1 ||
        skip "no TUN devices here (/dev/net/tun)"
}

# What stands first in each world: a server for those who come from afar, a file of 16 MiB, and the way.
before() {
    cat <<'END'
source "$FILESHARE_SOURCE/tests/system/client.bash"
ip addr add 10.203.0.1/32 dev lo
serve --listen 10.203.0.1 --allow 10.203.0.0/24
head -c 16M /dev/urandom >large
slowness=${FILESHARE_SLOWNESS:-1}
# far ARGUMENT...: a client, 50 ms away and back. Its time in round trips: $trips; bytes that were under way at
# once: $there (to it), $back. Reno leaves its slow start for nothing but a loss: busy cores do not count.
far() {
    local begun=${EPOCHREALTIME/./}
    LINK_TELL=1 "$build/bench/peers_link" -c reno -d 50 ${loss:+-l "$loss"} -- fileshare-client -q --no-rpcbind -s 10.203.0.1:18003 "$@" 2>far.err ||
        { cat far.err && return 1; }
    trips=$(((${EPOCHREALTIME/./} - begun) / 50000))
    read -r there back < <(sed -n 's/^link: .* at most \([0-9]*\) bytes there, \([0-9]*\) back$/\1 \2/p' far.err)
    echo "$1: $trips round trips, at most $there bytes to the client under way, $back back"
}
END
    cat
}

@test "a large file far away: calls enough are under way at once, up and down" {
    before <<'END' | in_world
    # The kernel lets 4 MiB be under way; one call after the other would be half a megabyte.
    # Meant are 17 and 16 round trips: four of greeting and commit, nine in which TCP gets going, four of 4 MiB each.
    far put large
    [ "$back" -gt 1500000 ]
    [ "$trips" -lt $((170 * slowness)) ]
    far get large -o came
    cmp large came
    [ "$there" -gt 1500000 ]
    [ "$trips" -lt $((170 * slowness)) ]
END
}

@test "small files far away: many to a call, and calls under way at once" {
    before <<'END' | in_world
    mkdir small
    head -c 4M large | split -a 4 -b 4096 - small/f
    # Meant are 12 round trips; one call a file would be a thousand, one after the other.
    far put -r small
    [ "$trips" -lt $((120 * slowness)) ]
    mkdir came
    far get -r small -o came
    diff -r small came/small
    [ "$trips" -lt $((120 * slowness)) ]
END
}

@test "far away, where packets are lost: a transfer goes over several connections, unless it is told not to" {
    before <<'END' | in_world
    accepted() { fileshare-client -s unix:/run/fileshare/socket status | awk '$1 == "connections.accepted" { print $2 }'; }
    # over MOST ARGUMENT...: how many connections that took, besides those of looking.
    over() {
        local before
        before=$(accepted)
        far "$@"
        connections=$(($(accepted) - before - 1))
        echo "$*: $connections connections"
    }
    # Eight are meant; of some the first packets may be lost for so long that they come too late.
    several() { [ "$connections" -gt 3 ] && [ "$connections" -le 8 ]; }
    head -c 2M large >some
    mkdir small came
    head -c 2M large | split -a 4 -b 4096 - small/f
    over put some --as two --connections 2
    [ "$connections" -eq 2 ]
    loss=1
    over put some
    several
    over get some -o back
    several
    cmp some back
    over put -r small
    several
    over get -r small -o came
    several
    diff -r small came/small
    over get some -o three --connections 3
    [ "$connections" -gt 1 ] && [ "$connections" -le 3 ]
    cmp some three
    head -c 300K large >part
    over put part --connections 1
    [ "$connections" -eq 1 ]
END
}
