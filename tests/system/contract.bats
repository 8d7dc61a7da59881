#!/usr/bin/env bats
# proto/fileshare.x is a contract for everybody: the stock rpcgen with its own
# makefile, and a compiler that is not ours, take it as it is.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    contract=$source_tree/proto/fileshare.x
    proto=$BATS_TEST_TMPDIR/proto
    mkdir "$proto"
    cp "$contract" "$proto"
    cd "$proto"
}

# The language without its comments.
language() {
    perl -0pe 's,/\*.*?\*/,,gs' "$contract"
}

@test "rpcgen -a and its own makefile build a client and a server" {
    rpcgen -a fileshare.x
    make -f Makefile.fileshare CFLAGS='-I/usr/include/tirpc -w' LDLIBS=-ltirpc RPCGENFLAGS=
    [ -x fileshare_client ]
    [ -x fileshare_server ]
    cmp fileshare.x "$contract"
}

@test "rpcgen with -M, for programs with threads, compiles too" {
    rpcgen -M -a fileshare.x
    make -f Makefile.fileshare CFLAGS='-I/usr/include/tirpc -w' LDLIBS=-ltirpc RPCGENFLAGS=-M
    [ -x fileshare_client ]
}

@test "jrpcgen takes it unchanged and javac compiles what comes" {
    mkdir java classes
    java -jar /usr/share/java/jrpcgen.jar -p wire -d java -nobackup fileshare.x
    javac -nowarn -Xlint:none -cp /usr/share/java/oncrpc.jar -d classes java/*.java
    [ -f classes/wire/fs_upload_args.class ]
    [ -f classes/wire/fileshare_FILESHARE_PROG_Client.class ]
    [ -f classes/wire/fileshare_FILESHARE_CALLBACK_PROG_ServerStub.class ]
    cmp fileshare.x "$contract"
}

@test "no length is without a bound, and each bound is a constant" {
    run grep -nE '<[[:space:]]*>' <(language)
    echo "$output"
    [ "$status" -eq 1 ]

    # Bounds and sizes are names of constants, not figures.
    run grep -nE '<[[:space:]]*[0-9]|\[[[:space:]]*[0-9]' <(language)
    echo "$output"
    [ "$status" -eq 1 ]

    # XDR's own strings have no place here: names are opaque bytes.
    run grep -nwE 'string' <(language)
    echo "$output"
    [ "$status" -eq 1 ]

    mapfile -t used < <(language | grep -oE '[<[][A-Z_]+[]>]' | tr -d '<>[]' | sort -u)
    [ "${#used[@]}" -ge 10 ]
    for constant in "${used[@]}"; do
        echo "$constant"
        language | grep -qE "^const $constant = [0-9]+;"
    done
}

@test "nothing stands in it that other compilers refuse" {
    run grep -nE '^[[:space:]]*[#%]|//|0X|\bquadruple\b|,[[:space:]]*\}' <(language)
    echo "$output"
    [ "$status" -eq 1 ]

    # Decimal constants fit 31 bits.
    for figure in $(language | grep -oE '\b[0-9]+\b'); do
        [ "$figure" -le 2147483647 ]
    done

    # One name for one thing: rpcgen and jrpcgen put them all into one pool.
    run bash -c "$(declare -f language); contract=$contract
        language | grep -oE '^(struct|union|enum|const|program) [A-Za-z_0-9]+|[A-Z_0-9]+\(|^ *[A-Z][A-Z_0-9]+ =' |
        sed -E 's/^(struct|union|enum|const|program) //; s/[( =]//g' | sort | uniq -d"
    echo "$output"
    [ "$output" = "" ]
}

@test "callback program numbers begin where the transient range does" {
    language | grep -q '^} = 0x40000000;'
    language | grep -q '^} = 0x20465348;'
    rpcgen -h fileshare.x >fileshare.h
    grep -q '#define FS_TRANSIENT_MIN 0x40000000' fileshare.h
    grep -q '#define FS_TRANSIENT_MAX 0x5fffffff' fileshare.h
}
