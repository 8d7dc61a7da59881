# include/fileshare/fileshare.h is for everybody: it stands alone, in plain C11
# and in C++, and the shared library shows nothing else.

setup() {
    cd "${FILESHARE_SOURCE:?}"
    printf '#include <fileshare/fileshare.h>\n#include <fileshare/fileshare.h>\nint main(void) { return fileshare_version()[0] == 0; }\n' \
        >"$BATS_TEST_TMPDIR/one.c"
}

@test "the header compiles alone as strict C11" {
    cc -std=c11 -pedantic-errors -Wall -Wextra -Wshadow -Werror -Iinclude -fsyntax-only "$BATS_TEST_TMPDIR/one.c"
}

@test "the header compiles alone as C++" {
    command -v c++ >/dev/null || skip "no C++ compiler"
    c++ -std=c++11 -pedantic-errors -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c++ "$BATS_TEST_TMPDIR/one.c"
}

@test "a program of nothing but the header and the shared library runs" {
    [ -e "${FILESHARE_BUILD:?}/libfileshare.so" ] || skip "not built"
    if nm -D "$FILESHARE_BUILD/libfileshare.so" | grep -qE '__(asan|tsan)_init'; then
        skip "a sanitizer's library wants its own program"
    fi
    cc -std=c11 -Iinclude "$BATS_TEST_TMPDIR/one.c" -o "$BATS_TEST_TMPDIR/one" -L"$FILESHARE_BUILD" -lfileshare
    LD_LIBRARY_PATH=$FILESHARE_BUILD "$BATS_TEST_TMPDIR/one"
}

@test "the shared library shows what the header declares, and nothing else" {
    [ -e "${FILESHARE_BUILD:?}/libfileshare.so" ] || skip "not built"
    nm -D --defined-only "$FILESHARE_BUILD/libfileshare.so" | awk '$2 == "T" {sub(/@.*/, "", $3); print $3}' |
        sort >"$BATS_TEST_TMPDIR/shown"
    tr '\n' ' ' <include/fileshare/fileshare.h | grep -oE 'FILESHARE_API[^;]*;' |
        grep -oE 'fileshare_[a-z_]+\(' | tr -d '(' | sort >"$BATS_TEST_TMPDIR/declared"
    diff "$BATS_TEST_TMPDIR/declared" "$BATS_TEST_TMPDIR/shown"
}
