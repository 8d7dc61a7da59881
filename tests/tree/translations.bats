#!/usr/bin/env bats
# Texts for people and their translations are in step; and each check can fail.

setup() {
    source_tree=${FILESHARE_SOURCE:-$BATS_TEST_DIRNAME/../..}
    check=$BATS_TEST_DIRNAME/translations.sh
    tree=$BATS_TEST_TMPDIR/tree
}

# A small tree of its own.
small_tree() {
    mkdir -p "$tree"/{src,po,tools}
    cp "$source_tree/tools/update-translations" "$tree/tools"
    echo 'void f(void) { printf(_("%s came\n"), x); }' >"$tree/src/a.c"
    echo src/a.c >"$tree/po/POTFILES"
    "$tree/tools/update-translations" --template "$tree/po/fileshare.pot"
    printf '%s\n' 'msgid ""' 'msgstr ""' '"Content-Type: text/plain; charset=UTF-8\n"' '"Language: pt\n"' '' \
        '#, c-format' 'msgid "%s came\n"' 'msgstr "%s chegou\n"' >"$tree/po/pt.po"
}

refused() {
    run bash "$check" "$tree"
    echo "$output"
    [ "$status" -eq 1 ]
    [[ "$output" == *"$1"* ]]
}

@test "the catalogues are complete, and their formats match" {
    run bash "$check" "$source_tree"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a small tree passes" {
    small_tree
    run bash "$check" "$tree"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a text that is new, a source that is not named" {
    small_tree
    echo 'void g(void) { puts(_("new")); }' >>"$tree/src/a.c"
    refused 'po/fileshare.pot is not'
    small_tree
    echo 'void g(void) { puts(_("new")); }' >"$tree/src/b.c"
    refused 'src/b.c'
}

@test "a translation that is missing, guessed, or of another format" {
    small_tree
    sed -i 's/chegou//; s/^msgstr "%s /msgstr "/; s/^msgstr "\\n"/msgstr ""/' "$tree/po/pt.po"
    refused 'pt.po'
    small_tree
    sed -i 's/^#, c-format/#, fuzzy, c-format/' "$tree/po/pt.po"
    refused 'pt.po'
    small_tree
    sed -i 's/%s chegou/%d chegou/' "$tree/po/pt.po"
    refused 'format'
}
