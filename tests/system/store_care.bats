# Looking after a store: backup of a server at work, restore, fsck and what it repairs.

load world

@test "a backup made while files come and go is sound, serves, and can be copied back" {
    in_world <<'END'
    start_server --no-rpcbind --port 0
    head -c 200000 /dev/urandom >big
    fileshare-client put big --as kept.bin
    echo words | fileshare-client put - --as small.txt
    come_and_go() {
        trap 'exit 0' TERM
        for n in {1..10000}; do
            head -c $((30000 + n)) big >come
            fileshare-client put --replace come --as "come/$((n % 5))" >/dev/null
            echo "$n" >rounds
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
