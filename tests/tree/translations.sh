#!/usr/bin/env bash
# translations.sh [ROOT]: po/POTFILES names every source that has texts for
# people, po/fileshare.pot holds them as they are, and every catalogue has all of
# them translated, with the same formats. Prints what is not so; exits 1 then.
set -euo pipefail
cd "${1:-.}"
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -rlE '\bN?_\("' --include='*.c' src | sort >"$work/sources" || true
[ -s "$work/sources" ] || { echo "no texts in src/: nothing was checked"; exit 1; }
if ! diff <(sort po/POTFILES) "$work/sources" >"$work/diff"; then
    echo "po/POTFILES and the sources with texts (>) differ:"
    cat "$work/diff"
    failed=1
fi

tools/update-translations --template "$work/fileshare.pot"
if ! diff po/fileshare.pot "$work/fileshare.pot" >"$work/diff"; then
    echo "po/fileshare.pot is not what the sources say (>); use tools/update-translations:"
    cat "$work/diff"
    failed=1
fi

catalogues=(po/*.po)
[ -e "${catalogues[0]}" ] || { echo "no catalogues: nothing was checked"; exit 1; }
for catalogue in "${catalogues[@]}"; do
    msgfmt --check --output-file=/dev/null "$catalogue" || failed=1
    # msgcmp: every text of the template has a translation that is none of a guess
    msgcmp "$catalogue" "$work/fileshare.pot" || failed=1
done
exit "$failed"
