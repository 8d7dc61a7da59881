# Looking after a store: backup of a server at work, restore, fsck and what it repairs.

load world

@test "a backup made while files come and go is sound, serves, and can be copied back" {
    in_world <<'END'
    # what is replaced or removed is not kept: a backup alone keeps it meanwhile
    start_server --no-rpcbind --port 0 --kept 0 --kept-size 0
    head -c 200000 /dev/urandom >big
    fileshare-client put big --as kept.bin
    echo words | fileshare-client put - --as small.txt
    come_and_go() {
        trap 'exit 0' TERM
        for n in {1..10000}; do
            head -c $((30000 + n)) big >come
            fileshare-client put --replace come --as "come/$((n % 5))" >/dev/null
            if [ $((n % 3)) -eq 0 ]; then fileshare-client rm "come/$((n % 5))" >/dev/null; fi
            if [ $((n % 7)) -eq 0 ]; then fileshare-client mv --replace "come/$((n % 5))" "went/$((n % 4))" >/dev/null 2>&1 || true; fi
            echo "$n" >round && mv round rounds # never seen empty
        done
    }
    come_and_go &
    busy_pid=$!
    until_true 20 test -s rounds
    for n in 1 2 3; do
        before=$(cat rounds)
        went_on() { [ "$(cat rounds)" -gt "$before" ]; }
        fileshared backup --store store "backup$n" >said
        grep -q '^the store store is backed up in backup' said
        until_true 20 went_on
    done
    kill "$busy_pid"
    wait "$busy_pid" || true
    for n in 1 2 3; do fileshared fsck --deep --store "backup$n"; done
    expect_failure 1 'fileshared backup: .*backup1 is there already' fileshared backup --store store backup1
    refute compgen -G 'backup*.new-*'
    # the store is lost; what was backed up is put in its place
    stop_server
    fileshared fsck --deep --store store
    rm -r store
    cp -a backup3 store
    start_server --no-rpcbind --port 0
    fileshare-client get kept.bin -o back.bin
    cmp big back.bin
    expect words fileshare-client get small.txt -o -
    echo more | fileshare-client put - --as more.txt
    stop_server
    fileshared fsck --store store
END
}

@test "an older store put back: who waits goes on waiting, and hears of what comes, each time it is put back" {
    in_world <<'END'
    start_server --no-rpcbind --port 0
    export FILESHARE_SERVER=unix:/run/fileshare/socket
    fileshare-client interest 'n/*' --for 1h --every >/dev/null
    fileshare-client wait before >before.out 2>before.err &
    before=$!
    until_true 20 grep -q 'called back' before.err
    fileshared backup --store store b
    # what comes now is not in the backup: an event that the listener sees, and an interest
    fileshare-client listen >heard 2>heard.err &
    listener=$!
    echo 1 | fileshare-client put - --as n/1
    until_true 20 grep -q n/1 heard
    fileshare-client wait after >after.out 2>after.err &
    after=$!
    until_true 20 grep -q 'called back' after.err
    put_back() {
        stop_server
        rm -rf store
        cp -a b store
        start_server --no-rpcbind --port 0
    }
    for n in 2 3 4; do
        put_back
        refute fileshare-client stat n/1
        echo "$n" | fileshare-client put - --as "n/$n"
        until_true 20 grep -q "n/$n" heard
    done
    # numbers only grow, whichever store gave them
    cut -f 1 heard | sort -nc
    [ "$(cut -f 1 heard | sort -n | uniq -d | wc -l)" -eq 0 ]
    echo x | fileshare-client put - --as before
    wait "$before"
    # this store never had that interest: the client finds out when it renews it, and registers it anew
    echo x | fileshare-client put - --as after
    wait "$after"
    kill -INT "$listener"
    wait "$listener" || [ $? -eq 130 ]
    stop_server
    fileshared fsck --deep --store store
END
}

@test "a backup is refused where it cannot be, says why, and leaves nothing" {
    in_world <<'END'
    start_server --no-rpcbind --port 0
    head -c 3000000 /dev/urandom >big
    fileshare-client put big
    mkdir full theirs && echo precious >theirs/file
    mkdir empty
    expect_failure 1 'fileshared backup: theirs is there already, and not an empty folder' fileshared backup --store store theirs
    expect precious cat theirs/file
    expect_failure 1 'fileshared backup: big is there already, and not an empty folder' fileshared backup --store store big
    cmp big <(fileshare-client get big -o -)
    expect_failure 1 'fileshared backup: make nowhere/b\.new-[0-9a-f]+: No such file' fileshared backup --store store nowhere/b
    expect_failure 1 'fileshared backup: store/b would lie in the store itself' fileshared backup --store store store/b
    expect_failure 1 'fileshared backup: store would lie in the store itself' fileshared backup --store store store
    # a disk that is too small
    mount -t tmpfs -o size=2m tmpfs full
    expect_failure 1 'fileshared backup: .*No space left' fileshared backup --store store full/b
    [ -z "$(ls -A full)" ]
    # an empty folder will do
    fileshared backup --store store empty
    fileshared fsck --deep --store empty
    # two at once to one place: one is there, whole; the other says so, and leaves nothing
    for n in 1 2 3 4; do
        (
            status=0
            fileshared backup --store store both >"both.$n" 2>&1 || status=$?
            echo "$status" >"status.$n"
        ) &
    done
    all_ended() { [ "$(cat status.* 2>/dev/null | wc -l)" -eq 4 ]; }
    until_true 60 all_ended
    [ "$(cat status.* | sort | tr '\n' ' ')" = '0 1 1 1 ' ]
    [ "$(cat both.* | grep -cE 'is there already|has come to be meanwhile')" -eq 3 ]
    refute compgen -G '*.new-*'
    fileshared fsck --deep --store both
    # two at once to two places
    fileshared backup --store store one & one=$!
    fileshared backup --copy --store store two
    wait "$one"
    fileshared fsck --deep --store one
    fileshared fsck --deep --store two
    stop_server
    fileshared fsck --deep --store store
END
}

@test "what this user may not read is said, and left alone" {
    in_world <<'END'
    [ "$(id -u)" -eq 0 ] || exit 0
    theirs() { setpriv --reuid 1001 --regid 1001 --clear-groups "$@"; }
    start_server --no-rpcbind --port 0
    for name in one two; do head -c 50000 /dev/urandom >"$name" && fileshare-client put "$name"; done
    stop_server
    blob=$(find store/blobs -type f | head -n 1)
    cp -a store /run/store
    chown -R 1001:1001 /run/store
    chmod 0 "/run/$blob"
    chown root "/run/$blob"
    cd /run
    expect_failure 1 '(one|two): its content cannot be looked at \(.*cannot open blob [0-9a-f]{2}/[0-9a-f]{32}: Permission denied\)' theirs fileshared fsck --store /run/store
    expect_failure 1 'what cannot be looked at is left as it is: let this user read it' theirs fileshared fsck --deep --repair --store /run/store
    test -e "/run/$blob"
    chown 1001 "/run/$blob"
    chmod 600 "/run/$blob"
    theirs fileshared fsck --deep --store /run/store
    # a folder of content
    chown root "/run/$(dirname "$blob")"
    chmod 700 "/run/$(dirname "$blob")"
    expect_failure 1 'content cannot be looked at \(.*cannot open the folder [0-9a-f]{2}: Permission denied\)' theirs fileshared fsck --store /run/store
    chown 1001 "/run/$(dirname "$blob")"
    theirs fileshared fsck --deep --store /run/store
    # and the store itself
    chmod 0 /run/store && chown root /run/store
    expect_failure 1 'fileshared fsck: .*/run/store.*: Permission denied' theirs fileshared fsck --store /run/store
    expect_failure 1 'fileshared backup: .*/run/store.*: Permission denied' theirs fileshared backup --store /run/store /run/b
END
}

@test "a store of the first release is served, one from the future is refused and left as it is" {
    in_world <<'END'
    for form in "$FILESHARE_SOURCE"/tests/fixtures/store-*.sql; do
        rm -rf store && mkdir store
        sqlite3 store/fileshare.db <"$form"
        start_server --no-rpcbind --port 0
        expect 'a file of the first form' fileshare-client get notes/first.txt -o -
        echo new | fileshare-client put - --as new.txt
        fileshared backup --store store "b.${form##*-}"
        stop_server
        expect "$(printf '3 files: 0 without content, 0 of another size, 0 of another digest; 0 pieces of content without a file\nthe store store is sound')" \
            fileshared fsck --deep --store store
        fileshared fsck --deep --store "b.${form##*-}"
    done
    newest=$(sqlite3 store/fileshare.db 'PRAGMA user_version')
    sqlite3 store/fileshare.db "PRAGMA user_version = $((newest + 1))" >/dev/null
    before=$(sqlite3 store/fileshare.db .dump | md5sum)
    refused="the store .*store is of a newer release \\(form $((newest + 1)), ours is $newest\\)"
    expect_failure 1 "fileshared: error: $refused" fileshared --store store --socket none --port 0 --no-rpcbind
    expect_failure 1 "fileshared fsck: $refused" fileshared fsck --deep --repair --store store
    expect_failure 1 "fileshared backup: the store .*store is of another release" fileshared backup --store store c
    [ "$(sqlite3 store/fileshare.db .dump | md5sum)" = "$before" ]
    # the database is gone: the content is not taken for leftovers of a new store
    rm store/fileshare.db*
    head -c 50000 /dev/urandom >store/blobs/00/00112233445566778899aabbccddeeff
    expect_failure 1 'fileshared: error: the store .*store has content but no database' fileshared --store store --socket none --port 0 --no-rpcbind
    expect_failure 1 'fileshared fsck: there is no store in store' fileshared fsck --repair --store store
    test -s store/blobs/00/00112233445566778899aabbccddeeff
END
}

@test "fsck: a store in use, none, usage" {
    in_world <<'END'
    start_server --no-rpcbind --port 0
    expect_failure 1 "fileshared fsck: the store store is in use by process $server_pid\$" fileshared fsck --store store
    stop_server
    expect_failure 1 'fileshared fsck: there is no store in nowhere' fileshared fsck --store nowhere
    test ! -e nowhere
    expect_failure 1 'fileshared backup: there is no store in nowhere' fileshared backup --store nowhere b
    expect_failure 2 'fileshared fsck: .*--no-such' fileshared fsck --no-such
    expect_failure 2 'fileshared fsck: .*"store"' fileshared fsck store
    expect_failure 2 'fileshared backup: which folder' fileshared backup --store store
    expect_failure 2 'fileshared backup: ' fileshared backup --store store a b
    # the store is found where the configuration says
    printf '[store]\nstore = %s/store\n' "$world" >conf
    fileshared fsck --config conf | grep -qxF "the store $world/store is sound"
END
}

@test "fsck finds what is missing, altered or left over, and sets it right" {
    in_world <<'END'
    start_server --no-rpcbind --port 0
    for name in missing altered short sound; do
        head -c 50000 /dev/urandom >"$name"
        find store/blobs -type f | sort >before
        fileshare-client put "$name"
        declare "$name=$(find store/blobs -type f | sort | comm -13 before -)"
    done
    echo inline | fileshare-client put - --as inline
    stop_server
    expect "$(printf '5 files: 0 without content, 0 of another size, 0 of another digest; 0 pieces of content without a file\nthe store store is sound')" \
        fileshared fsck --deep --store store
    rm "$missing"
    printf '?!' | dd of="$altered" bs=1 seek=777 conv=notrunc status=none
    truncate -s 49999 "$short"
    : >store/blobs/00/00112233445566778899aabbccddeeff
    # without --deep bytes are not looked at
    expect_failure 1 'missing: its content is missing' fileshared fsck --store store
    expect_failure 1 'short: its content has another size \(blobs/[0-9a-f]{2}/[0-9a-f]{32}\)$' fileshared fsck --store store
    expect_failure 1 '5 files: 1 without content, 1 of another size, 0 of another digest; 1 pieces' fileshared fsck --store store
    expect_failure 1 'altered: its content has another digest' fileshared fsck --deep --store store
    expect_failure 1 'the store store is not sound' fileshared fsck --deep --store store
    expect_failure 1 '"fileshared fsck --repair" sets files aside' fileshared fsck --deep --store store
    test -e store/blobs/00/00112233445566778899aabbccddeeff # looking changes nothing
    expect_failure 1 'fileshared backup: the content of missing is missing' fileshared backup --store store b
    test ! -e b
    fileshared fsck --deep --repair --store store >said
    grep -qx 'set aside 3 files and 0 pieces of content without a file: store/lost/list tells which' said
    grep -qx 'removed 1 pieces of content, set 0 rows of the database right' said
    tail -n 1 said | grep -qx 'the store store is sound'
    fileshared fsck --deep --store store
    test ! -e store/blobs/00/00112233445566778899aabbccddeeff
    test "$(wc -l <store/lost/list)" -eq 3
    grep -qE '^[0-9a-f]{32} missing 50000 [0-9a-f]{32} [^ ]+ missing$' store/lost/list
    version=$(sed -nE 's/^([0-9a-f]+) digest .* altered$/\1/p' store/lost/list)
    test "$(stat -c %s "store/lost/$version")" -eq 50000
    version=$(sed -nE 's/^([0-9a-f]+) size .* short$/\1/p' store/lost/list)
    test "$(stat -c %s "store/lost/$version")" -eq 49999
    start_server --no-rpcbind --port 0
    expect "$(printf 'inline\nsound')" fileshare-client ls
    fileshare-client get sound -o back
    cmp sound back
    fileshare-client put missing # the name is free
    stop_server
END
}
