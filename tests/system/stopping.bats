# How long programs take to end once they are told to, whatever hangs: servers, rpcbind, whoever reads the output.
# docs/RELIABILITY.md has the bounds. What takes its time runs side by side.

load world

setup_file() {
    cat >"$BATS_FILE_TMPDIR/steps" <<'STEPS'
source "$FILESHARE_SOURCE/tests/system/client.bash"
# Accept queues of two: they are full soon.
echo 1 >/proc/sys/net/core/somaxconn

# stand_in KIND WHERE: somebody at a server's address. "full": its queue of connections is; "silent": takes
# them and never says a word. Ready once the file WHERE.KIND is there; dies with us.
cat >stand_in.pl <<'PERL'
use IO::Socket::INET; use IO::Socket::UNIX; use Socket;
my ($kind, $where, $ready) = @ARGV;
my %at = $where =~ m{^/} ? (Local => $where) : (LocalAddr => $where, ReuseAddr => 1);
my $class = $where =~ m{^/} ? 'IO::Socket::UNIX' : 'IO::Socket::INET';
unlink $where if $where =~ m{^/};
my $listening = $class->new(%at, Type => SOCK_STREAM, Listen => 1) or die "$where: $@ $!";
my @held;
if ($kind eq 'full') {
    for (1 .. 8) {
        my $one;
        if ($where =~ m{^/}) {
            socket($one, PF_UNIX, SOCK_STREAM | 2048, 0);
            connect($one, pack_sockaddr_un($where));
        } else {
            my ($host, $port) = split /:/, $where;
            socket($one, PF_INET, SOCK_STREAM | 2048, 0);
            connect($one, pack_sockaddr_in($port, inet_aton($host)));
        }
        push @held, $one;
    }
}
open(my $told, '>', $ready); close $told;
if ($kind eq 'full') { sleep 600 }
while (my $one = $listening->accept) { push @held, $one }
PERL
stand_in() {
    perl stand_in.pl "$1" "$2" "$3" &
    until_true 10 test -e "$3"
}

# serve_at NAME OPTION...: a server with a store of its own; $pid, ./NAME.addresses.
serve_at() {
    local name=$1
    shift
    fileshared --store "$world/store.$name" --address-file "$world/$name.addresses" "$@" >>fileshared.log 2>&1 &
    pid=$!
    until_true 20 test -s "$name.addresses"
}

# ends_within SECONDS STATUS PID: by itself, so soon after SIGTERM, with that status.
ends_within() {
    local began=$SECONDS status=0
    kill -TERM "$3"
    wait "$3" || status=$?
    echo "ended with $status after $((SECONDS - began)) s"
    [ "$status" -eq "$2" ] && [ $((SECONDS - began)) -le $(($1 * ${FILESHARE_SLOWNESS:-1})) ]
}

# all_well: every trial that begins in the background ended well.
all_well() {
    local one well=true
    for one in "${trials[@]}"; do wait "$one" || well=false; done
    $well || { cat ./*.trial; return 1; }
}
STEPS
    export STEPS=$BATS_FILE_TMPDIR/steps
}

@test "listen and wait end within 15 s of the signal, whatever became of the server and of rpcbind" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    trial() {
        local name=$1.$2.$3 command=$1 transport=$2 trouble=$3 where server pid
        serve_at "$name" --port 0 --socket "/run/$name"
        local served=$pid
        where=/run/$name server=unix:/run/$name
        if [ "$transport" = tcp ]; then
            where=$(awk '$1 == "tcp" { print $2 }' "$name.addresses")
            server=$where
        fi
        local words=(listen)
        [ "$command" = listen ] || words=(wait 'never*')
        XDG_STATE_HOME=$world/$name.state fileshare-client --server "$server" "${words[@]}" >"$name.out" 2>"$name.err" &
        local client=$!
        until_true 30 called_back "$name"
        touch "$name.attached"
        until_true 60 test -e rpcbind.stopped
        case $trouble in
        frozen) freeze "$served" ;;
        gone) kill -9 "$served" ;;
        *)
            kill -9 "$served"
            wait "$served" || true # it has its port until then
            stand_in "$trouble" "$where" "$name.stands"
            sleep 1.5 # it is on its way to connect, or to be greeted
            ;;
        esac
        ends_within 15 143 "$client"
        kill -9 "$served" 2>/dev/null || true
    }
    trials=()
    for command in listen wait; do
        for transport in unix tcp; do
            for trouble in frozen gone full silent; do
                trial "$command" "$transport" "$trouble" >"$command.$transport.$trouble.trial" 2>&1 &
                trials+=($!)
            done
        done
    done
    all_attached() { [ "$(ls ./*.attached 2>/dev/null | wc -l)" -eq 16 ]; }
    until_true 90 all_attached
    freeze "$rpcbind_pid"
    touch rpcbind.stopped
    all_well
END
}

@test "a listen that waits for rpcbind, or for a server's queue, gives up at once" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    serve_at one --port 0 --socket /run/one --no-rpcbind
    freeze "$rpcbind_pid"
    fileshare-client --server unix:/run/one listen >listen.out 2>listen.err &
    client=$!
    # It has its connection, and asks rpcbind: a second one to a Unix socket.
    asks() { cat listen.err; [ "$(ls -l "/proc/$client/fd" | grep -c socket:)" -ge 2 ]; }
    until_true 20 asks
    ends_within 6 143 "$client"
END
}

@test "a client whose output nobody reads ends 20 s after the signal, and tells again what it could not tell" {
    in_world <<'END'
    source "$STEPS"
    serve_at one --port 0 --socket /run/one --no-rpcbind
    export FILESHARE_SERVER=unix:/run/one
    fileshare-client interest --for 2h --every 'file-*'
    mkdir files
    for n in $(seq 900); do echo "$n" >"files/file-$n"; done
    fileshare-client put files/*
    mkfifo pipe
    exec 9<>pipe
    fileshare-client listen >pipe 2>listen.err &
    client=$!
    # The pipe is full, and a thread of it writes.
    blocked() { grep -qs '^1 0x1 ' "/proc/$client/task/"*/syscall; }
    until_true 30 blocked
    ends_within 25 143 "$client"
    grep -q 'does not come to its end' listen.err
    dd if=pipe of=first.out iflag=nonblock bs=4096 2>/dev/null || true
    fileshare-client listen >rest.out 2>listen.err &
    client=$!
    has_all() { [ "$(cat first.out rest.out | grep -oE '^[0-9]+.*file-[0-9]+' | grep -oE 'file-[0-9]+' | sort -u | wc -l)" -eq 900 ]; }
    until_true 30 has_all
    ends_within 15 143 "$client"
    # Cut in the middle of a line: that one alone comes again.
    [ "$(cat first.out rest.out | grep -c file-)" -le 901 ]
END
}

@test "fileshared ends within stop-seconds and 10 s more, though rpcbind hangs and calls do not end" {
    in_world <<'END'
    source "$STEPS"
    start_rpcbind
    serve_at one --port 0 --socket /run/one --stop-seconds 2
    served=$pid
    # Clients that are stopped in the middle: replies that nobody takes, half an upload.
    head -c 100M /dev/zero >big
    fileshare-client --server unix:/run/one put big
    { fileshare-client --server unix:/run/one get big -o - | sleep 600; } &
    { sleep 600 | fileshare-client --server unix:/run/one put - --as never; } &
    fileshare-client --server unix:/run/one listen >listen.out 2>listen.err &
    until_true 20 called_back listen
    freeze "$rpcbind_pid" "$!"
    ends_within 12 0 "$served"
END
}
