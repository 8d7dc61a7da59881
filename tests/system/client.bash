# What the tests of fileshare-client share: sourced inside a world (world.bash).
#
#     in_world <<'END'
#     source "$FILESHARE_SOURCE/tests/system/client.bash"
#     serve
#     ...
#     END


# A server on the default Unix socket and TCP, without rpcbind.
serve() { start_server --no-rpcbind "$@"; }

# says WORDS FILE: the file has a line with these words.
says() { grep -qF -- "$1" "$2"; }

# json_field KEY: reads JSON lines, prints that member of each; fails if a line is no object that has it.
json_field() {
    perl -MJSON::PP -sne '$o = decode_json($_); die "no $key in $_" unless exists $o->{$key}; print "$o->{$key}\n"' -- \
        "-key=$1"
}

# exits STATUS COMMAND...: with that status; what it said is in $world/said.out and said.err.
exits() {
    local wanted=$1 status=0
    shift
    "$@" >said.out 2>said.err || status=$?
    [ "$status" -eq "$wanted" ] && return 0
    echo "status $status instead of $wanted: $*"
    cat said.out said.err
    return 1
}

# A waiting or listening client in the background: begin NAME ARGUMENT...; NAME.out, NAME.err, $pid.
begin() {
    local name=$1
    shift
    fileshare-client "$@" >"$name.out" 2>"$name.err" &
    pid=$!
}
called_back() { grep -qE 'called back (as|by) ' "$1.err" 2>/dev/null; }

# The process PID has a handler for SIGINT.
catches_signals() { [ $((0x$(awk '/^SigCgt/ { print $2 }' "/proc/$1/status") & 2)) -ne 0 ]; }
# The server's counter NAME is at least COUNT.
counted() { [ "$(fileshare-client status | awk -v name="$1" '$1 == name { print $2 }')" -ge "$2" ]; }

# ends STATUS PID: it ends with that status.
ends() {
    local status=0
    wait "$2" || status=$?
    [ "$status" -eq "$1" ] || { echo "status $status instead of $1"; return 1; }
}

# slowly RATE: a relay from port 2346 to the server's 2345, so many bytes a second each way of each connection, in a
# process of its own each; $relay. Clients go through it from then on.
slowly() {
    perl -MIO::Socket::INET -MIO::Select -MTime::HiRes=sleep -e '
        my $rate = shift; $SIG{CHLD} = q(IGNORE); $SIG{PIPE} = q(IGNORE);
        my $l = IO::Socket::INET->new(LocalAddr => q(127.0.0.1:2346), Listen => 9, ReuseAddr => 1) or die;
        while (my $c = $l->accept) {
            next if fork;
            my $s = IO::Socket::INET->new(q(127.0.0.1:2345)) or exit;
            my $both = IO::Select->new($c, $s);
            while (my @ready = $both->can_read) {
                for (@ready) {
                    sysread($_, my $bytes, 65536) or exit;
                    my $to = $_ == $c ? $s : $c;
                    for (my $at = 0; $at < length $bytes;) { $at += syswrite($to, $bytes, 65536, $at) // exit }
                    sleep(length($bytes) / $rate);
                }
            }
        }' "$1" &
    relay=$!
    until_true 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/2346'
    export FILESHARE_SERVER=127.0.0.1:2346
}
