# Texts in the user's language; what programs read stays as it is.

load world

@test "in Portuguese: messages and help; lines and JSON are the same" {
    in_world <<'END'
    source "$FILESHARE_SOURCE/tests/system/client.bash"
    serve
    export TEXTDOMAINDIR=$build/locale
    portuguese() { LC_ALL=C.UTF-8 LANGUAGE=pt "$@"; }
    echo x >x
    expect 'x: guardado, 2 B' portuguese fileshare-client put x
    expect 'x: inalterado' portuguese fileshare-client put x
    expect_failure 2 'ls: --frob: essa opção não existe' portuguese fileshare-client ls --frob
    portuguese fileshare-client --help | grep -q '^Uso: fileshare-client '
    portuguese fileshare-client help wait | grep -q 'dorme até chegarem ficheiros'
    cmp <(portuguese fileshare-client -q wait x) <(fileshare-client -q wait x)
    cmp <(portuguese fileshare-client ls -l --json) <(fileshare-client ls -l --json)
    # without a catalogue, and in the language of programs
    expect 'x: unchanged' env LC_ALL=C LANGUAGE=pt fileshare-client put x
    expect 'x: unchanged' env LC_ALL=C.UTF-8 LANGUAGE=xx fileshare-client put x
    stop_server
END
}
