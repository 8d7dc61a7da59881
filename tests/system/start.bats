# What a process of fileshare-client does before it does anything.
# shellcheck shell=bash
setup() {
    client=$FILESHARE_BUILD/fileshare-client
}

loads() {
    LD_TRACE_LOADED_OBJECTS=1 "$1" | sed -n 's/^[[:space:]]*\([^ ]*\) => .*/\1/p'
}

@test "the client loads none of the libraries that are not used" {
    run loads "$client"
    [ "$status" = 0 ]
    [[ $output == *libc.so* ]]
    for library in gssapi krb5 k5crypto com_err keyutils; do
        if [[ $output == *"lib$library"* ]]; then
            grep -qE '^FILESHARE_(ARCHIVES:BOOL=OFF|SANITIZE:STRING=.)' "$FILESHARE_BUILD/CMakeCache.txt" || {
                echo "loaded: $output"
                false
            }
        fi
    done
}
