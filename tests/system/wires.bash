# Networks that fail, for tests: sourced inside a world (world.bash).
#
#     in_world <<'END'
#     source "$FILESHARE_SOURCE/tests/system/wires.bash"
#     wire far 10.9.0.2
#     ...
#     END

source "$FILESHARE_SOURCE/tests/system/client.bash"

# The server's side of a bridge is this network; each client has one of its own at the far end of a wire.
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
# has_unread NAME: there is something for a process in that network which it has not read.
has_unread() { [ -n "$(ip netns exec "$1" ss -Htn state established | awk '$1 > 0')" ]; }
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
# thief PORT: in the network of that name; says what is called there, and answers each call with 16 zeros.
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

echo x >x
make_bridge
