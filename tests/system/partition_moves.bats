# Clients that wait through a cut, and that come back from another address: while they run, and in between.

load world

@test "a wait outlasts a cut, and one that runs out meanwhile says so" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/wires.bash"
    wire far 10.9.0.2
    serve_all $short
    at far wait n/late --timeout 5m >late.out 2>late.err &
    late=$!
    patience=$((3 * ${FILESHARE_SLOWNESS:-1})) # it is called back before that
    at far wait n/never --timeout "$patience" >never.out 2>never.err &
    never=$!
    until_true 20 called_back late
    until_true 20 called_back never
    ip link set far down
    bring late
    sleep $((patience + 1))
    ends 4 "$never"
    [ ! -s late.out ]
    ip link set far up
    ends 0 "$late"
    [ "$(cut -f 1-2 late.out)" = $'arrived\tn/late' ]
    stop_server
END
}

@test "a client that moves to another address while it listens is called there, and nobody at the old one" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/wires.bash"
    wire far 10.9.0.2
    wire thief 10.9.0.9
    serve_all $short
    cared far
    listens far
    far=$pid
    until_true 20 called_back far
    port=$(sed -n 's/.*10\.9\.0\.2:\([0-9]*\).*/\1/p' far.err | head -n 1)
    bring 1
    until_true 20 told 1 far
    moves far 10.9.0.2 10.9.0.3
    moves thief 10.9.0.9 10.9.0.2
    ip neigh flush all
    thief "$port"
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
    kill -INT "$far"
    ends 130 "$far"
    told_exactly far 1 2 3 4 5
    kill "$thief"
    stop_server
END
}

@test "a client that comes back at another address, after it was cut off, gets its mailbox" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/wires.bash"
    wire far 10.9.0.2
    # the server's own time-outs are those that it comes with: 90 s until it notices by itself
    serve_all --callback-connect 1
    cared far
    for round in 2 3 4; do
        listens far
        far=$pid
        until_true 20 called_back far
        bring "a$round"
        until_true 60 told "a$round" far
        # it ends, and no word of it comes through
        ip link set far down
        kill -9 "$far"
        wait "$far" || true
        bring "b$round"
        # by round: its callback connection is tried, then that is given up and the event waits for an answer on its own
        sleep $((3 * (round - 2)))
        moves far 10.9.0.$round 10.9.0.$((round + 1))
        ip link set far up
    done
    listens far
    until_true 60 told b4 far
    kill -INT "$pid"
    ends 130 "$pid"
    told_exactly far a2 b2 a3 b3 a4 b4
    stop_server
END
}

@test "a client that was cut off while it was told comes back; one that is only busy keeps its mailbox" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/wires.bash"
    wire far 10.9.0.2
    wire twin 10.9.0.8
    serve_all --callback-connect 1 # an answer may take its 30 s
    cared far
    listens far
    far=$pid
    until_true 20 called_back far
    # its machine has what it is told, and it does not answer
    kill -STOP "$far"
    bring a
    until_true 20 has_unread far
    cp -R far twin
    exits 9 at twin listen
    says "another process listens for this mailbox" said.err
    kill -CONT "$far"
    until_true 20 told a far
    until_true 20 counted delivery.events 1 # the server knows, too
    kill -STOP "$far"
    bring b
    until_true 20 has_unread far
    ip link set far down
    kill -9 "$far"
    wait "$far" || true
    moves far 10.9.0.2 10.9.0.3
    ip link set far up
    listens far
    until_true 60 told b far
    kill -INT "$pid"
    ends 130 "$pid"
    told_exactly far a b
    stop_server
END
}
