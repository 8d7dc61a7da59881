# The network between a server and its clients is cut, both ways or in one direction, for longer than every
# time-out. What was told before, meanwhile and after is told once.

load world

@test "cut both ways for longer than every time-out: told once afterwards, and nobody else waits" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/wires.bash"
    wire far 10.9.0.2
    wire near 10.9.0.3
    serve_all $short
    cared far && cared near
    listens far
    far=$pid
    listens near
    near=$pid
    until_true 20 called_back far
    until_true 20 called_back near
    bring 1
    until_true 20 told 1 far
    way far dial-back
    ip link set far down
    for i in 2 3 4 5 6; do
        bring $i
        # ten times what is meant
        until_true 10 told $i near
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
    kill -INT "$far" "$near"
    ends 130 "$far"
    ends 130 "$near"
    told_exactly far 1 2 3 4 5 6 7
    told_exactly near 1 2 3 4 5 6 7
    stop_server
END
}

@test "cut in one direction, then in the other: told once" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/wires.bash"
    wire far 10.9.0.2
    serve_all $short
    cared far
    listens far
    far=$pid
    until_true 20 called_back far
    bring 1
    until_true 20 told 1 far
    n=1
    for hook in input output; do
        ip netns exec far nft "add table inet cut; add chain inet cut c { type filter hook $hook priority 0; policy drop; }"
        for i in 1 2 3 4; do
            n=$((n + 1))
            bring $n
            sleep 1
        done
        [ $hook = output ] || refute told $n far
        ip netns exec far nft delete table inet cut
        until_true 30 told $n far
        n=$((n + 1))
        bring $n
        until_true 30 told $n far
    done
    kill -INT "$far"
    ends 130 "$far"
    # what was shown, while its acknowledgement did not come through, is not shown again
    told_exactly far $(seq $n)
    stop_server
END
}
