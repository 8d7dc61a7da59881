# The network between a server and its clients fails: cut for longer than every time-out, in one direction alone,
# or for ever, since the client has another address now. What was told before, meanwhile and after is told once.

load world

# The server's side of a bridge is this network; each client has one of its own at the far end of a wire.
wires='
source "$FILESHARE_SOURCE/tests/system/client.bash"
make_bridge() {
    mkdir -p /run/netns
    ip link add bridge type bridge
    ip addr add 10.9.0.1/24 dev bridge
    ip link set bridge up
}
# wire NAME ADDRESS: a network called NAME at the end of the wire NAME.
wire() {
    ip netns add "$1"
    ip link add "$1" type veth peer name eth0 netns "$1"
    ip link set "$1" master bridge up
    ip -n "$1" link set lo up
    ip -n "$1" addr add "$2/24" dev eth0
    ip -n "$1" link set eth0 up
}
# Every time-out that a partition must outlast, as short as can be: the longest is 3 s.
short="--callback-connect 1 --callback-answer 1 --retry-first 1 --retry-last 1 --probe 1 --idle 2 --progress 2"
serve_all() { serve --listen 10.9.0.1 --listen 127.0.0.1 --allow 10.9.0.0/24 "$@"; }
# moves NAME ADDRESS ADDRESS: from one to the other.
moves() { ip -n "$1" addr del "$2/24" dev eth0; ip -n "$1" addr add "$3/24" dev eth0; }
# at NAME ARGUMENT...: the client in that network, with a home of its own.
at() {
    local name=$1
    shift
    mkdir -p "$world/$name"
    XDG_STATE_HOME=$world/$name ip netns exec "$name" fileshare-client -s 10.9.0.1:18003 --no-rpcbind --dead-after 3 "$@"
}
# listens NAME: in the background; NAME.out (appended to), NAME.err, $pid of the client itself.
listens() {
    mkdir -p "$world/$1"
    XDG_STATE_HOME=$world/$1 ip netns exec "$1" fileshare-client -s 10.9.0.1:18003 --no-rpcbind --dead-after 3 listen \
        >>"$1.out" 2>"$1.err" &
    pid=$!
}
# way NAME ROUTE: the server has that way to the client.
way() { XDG_STATE_HOME=$world/$1 fileshare-client interests | grep -qF " $2 "; }
cared() { at "$1" -q interest "n/*" --every --for 1h >/dev/null; }
bring() { for file in "$@"; do fileshare-client -q put x --as "n/$file"; done; }
told() { cut -f 3 "$2.out" | grep -qx "n/$1"; }
# All of them, in order, once.
told_exactly() {
    local name=$1
    shift
    [ "$(cut -f 2-3 "$name.out")" = "$(printf "arrived\tn/%s\n" "$@")" ] && return 0
    echo "$name was told:"
    cat "$name.out"
    return 1
}
echo x >x
make_bridge
'

@test "cut both ways for longer than every time-out: told once afterwards, and nobody else waits" {
    in_world <<END
    $wires
    wire far 10.9.0.2
    wire near 10.9.0.3
    serve_all \$short
    cared far && cared near
    listens far
    far=\$pid
    listens near
    near=\$pid
    until_true 20 called_back far
    until_true 20 called_back near
    bring 1
    until_true 20 told 1 far
    way far dial-back
    ip link set far down
    for i in 2 3 4 5 6; do
        bring \$i
        # ten times what is meant
        until_true 10 told \$i near
        sleep 1
    done
    # the client knows within the time that it was given
    until_true 10 says 'not called back for now' far.err
    refute told 2 far
    # so does the server: nothing of the way back is left
    until_true 10 way far none
    ip link set far up
    until_true 30 told 6 far
    bring 7
    until_true 30 told 7 far
    until_true 10 told 7 near
    kill -INT "\$far" "\$near"
    ends 130 "\$far"
    ends 130 "\$near"
    told_exactly far 1 2 3 4 5 6 7
    told_exactly near 1 2 3 4 5 6 7
    stop_server
END
}

@test "cut in one direction, then in the other: told once" {
    in_world <<END
    $wires
    wire far 10.9.0.2
    serve_all \$short
    cared far
    listens far
    far=\$pid
    until_true 20 called_back far
    bring 1
    until_true 20 told 1 far
    n=1
    for hook in input output; do
        ip netns exec far nft "add table inet cut; add chain inet cut c { type filter hook \$hook priority 0; policy drop; }"
        for i in 1 2 3 4; do
            n=\$((n + 1))
            bring \$n
            sleep 1
        done
        [ \$hook = output ] || refute told \$n far
        ip netns exec far nft delete table inet cut
        until_true 30 told \$n far
        n=\$((n + 1))
        bring \$n
        until_true 30 told \$n far
    done
    kill -INT "\$far"
    ends 130 "\$far"
    # what was shown, while its acknowledgement did not come through, is not shown again
    told_exactly far \$(seq \$n)
    stop_server
END
}

@test "a wait outlasts a cut, and one that runs out meanwhile says so" {
    in_world <<END
    $wires
    wire far 10.9.0.2
    serve_all \$short
    at far wait n/late --timeout 5m >late.out 2>late.err &
    late=\$!
    at far wait n/never --timeout 5 >never.out 2>never.err &
    never=\$!
    until_true 20 called_back late
    until_true 20 called_back never
    ip link set far down
    bring late
    sleep 4
    ends 4 "\$never"
    [ ! -s late.out ]
    ip link set far up
    ends 0 "\$late"
    [ "\$(cut -f 1-2 late.out)" = \$'arrived\tn/late' ]
    stop_server
END
}

# On the address that a client had: says what is called, and answers each call with 16 zeros.
thief='
thief() {
    ip netns exec thief perl -MIO::Socket::INET -e "
        my \$s = IO::Socket::INET->new(LocalPort => \$ARGV[0], Listen => 5, ReuseAddr => 1) or die;
        \$| = 1;
        print qq(ready\n);
        while (my \$c = \$s->accept) {
            while (sysread(\$c, my \$b, 65536)) {
                my @w = unpack(q(N*), \$b);
                print qq(called \$w[6]\n);
                print \$c pack(q(N*), 0x80000000 | 40, \$w[1], 1, 0, 0, 0, 0, 0, 0, 0, 0);
            }
        }" "$1" >thief.out 2>thief.err &
    thief=$!
}
'

@test "a client that moves to another address while it listens is called there, and nobody at the old one" {
    in_world <<END
    $wires
    $thief
    wire far 10.9.0.2
    wire thief 10.9.0.9
    serve_all \$short
    cared far
    listens far
    far=\$pid
    until_true 20 called_back far
    port=\$(sed -n 's/.*10\\.9\\.0\\.2:\\([0-9]*\\).*/\\1/p' far.err | head -n 1)
    bring 1
    until_true 20 told 1 far
    moves far 10.9.0.2 10.9.0.3
    moves thief 10.9.0.9 10.9.0.2
    ip neigh flush all
    thief "\$port"
    until_true 20 says ready thief.out
    bring 2 3
    until_true 30 told 3 far
    until_true 30 says 10.9.0.3: far.err
    bring 4
    until_true 20 told 4 far
    told_exactly far 1 2 3 4
    # whoever has the address now was asked for the proof: that is all
    says 'called 1' thief.out
    refute grep -qvE '^(ready|called 1)$' thief.out
    # and once more, with nobody at the old address
    moves far 10.9.0.3 10.9.0.4
    bring 5
    until_true 30 told 5 far
    kill -INT "\$far"
    ends 130 "\$far"
    told_exactly far 1 2 3 4 5
    kill "\$thief"
    stop_server
END
}

@test "a client that comes back at another address, after it was cut off, gets its mailbox" {
    in_world <<END
    $wires
    wire far 10.9.0.2
    # the server's own time-outs are those that it comes with: 90 s until it notices by itself
    serve_all --callback-connect 1
    cared far
    for round in 2 3 4; do
        listens far
        far=\$pid
        until_true 20 called_back far
        bring "a\$round"
        until_true 20 told "a\$round" far
        # it ends, and no word of it comes through
        ip link set far down
        kill -9 "\$far"
        wait "\$far" || true
        bring "b\$round"
        moves far 10.9.0.\$round 10.9.0.\$((round + 1))
        ip link set far up
    done
    listens far
    until_true 20 told b4 far
    kill -INT "\$pid"
    ends 130 "\$pid"
    told_exactly far a2 b2 a3 b3 a4 b4
    stop_server
END
}
