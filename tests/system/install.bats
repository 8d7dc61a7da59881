# What cmake --install lays out is all that a user needs: programs, library,
# header, manuals, contract, texts.

setup_file() {
    export PREFIX=$BATS_FILE_TMPDIR/usr
    cmake --install "${FILESHARE_BUILD:?}" --prefix "$PREFIX" >"$BATS_FILE_TMPDIR/log"
}

@test "the programs run from where they were installed" {
    [ "$("$PREFIX/sbin/fileshared" --version)" = "$("$FILESHARE_BUILD/fileshared" --version)" ]
    [ "$("$PREFIX/bin/fileshare-client" --version)" = "$("$FILESHARE_BUILD/fileshare-client" --version)" ]
    "$PREFIX/sbin/fileshared" --config /dev/null --check-config
}

@test "a stranger's program is built with pkg-config, and finds the library" {
    if nm "$FILESHARE_BUILD/fileshared" | grep -qE '__(asan|tsan)_init'; then
        skip "a sanitizer's library wants its own program"
    fi
    cd "$BATS_TEST_TMPDIR"
    cat >stranger.c <<'C'
#include <fileshare/fileshare.h>
#include <stdio.h>
int main(void)
{
    struct fileshare_options options = {.server = "unix:/nonexistent"};
    struct fileshare *session = NULL;
    struct fileshare_error error = {0};
    enum fileshare_status status = fileshare_open(&options, &session, &error);
    printf("%s: %s\n", fileshare_version(), error.text);
    return status == FILESHARE_UNREACHABLE ? 0 : 1;
}
C
    lib=$(dirname "$(find "$PREFIX" -name libfileshare.so)")
    read -ra flags < <(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs fileshare)
    cc -Wall -Wextra -Werror stranger.c -o stranger "${flags[@]}"
    LD_LIBRARY_PATH=$lib ./stranger
    # Where libtirpc's archive may be inside, nothing of it or of Kerberos is loaded, or seen.
    if grep -q '^FILESHARE_TIRPC_SHAREABLE:INTERNAL=1$' "$FILESHARE_BUILD/CMakeCache.txt"; then
        LD_LIBRARY_PATH=$lib ldd ./stranger >loaded
        cat loaded
        grep -q libfileshare loaded
        [ "$(grep -c 'tirpc\|krb5\|gssapi' loaded)" = 0 ]
    fi
}

@test "every manual, the contract and the texts are there" {
    for manual in "${FILESHARE_SOURCE:?}"/man/*.[1-8]; do
        cmp "$manual" "$PREFIX/share/man/man${manual##*.}/${manual##*/}"
    done
    cmp "$FILESHARE_SOURCE/proto/fileshare.x" "$PREFIX/share/fileshare/fileshare.x"
    [ -n "$(find "$PREFIX/share/locale" -name '*.mo')" ]
    # the names of programs are the system's own list: docs/PROTOCOL.md has the line for it
    [ -z "$(find "$PREFIX" -type f -name rpc)" ]
    grep -q 'fileshare 541479752.*/etc/rpc' "$FILESHARE_SOURCE/docs/PROTOCOL.md"
}
