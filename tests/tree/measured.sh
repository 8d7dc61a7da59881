#!/usr/bin/env bash
# measured.sh TREE: tests/README.md names tests that exist, and every test of the
# engine's hazards. Prints what is not so; exits 1 if anything is.
set -euo pipefail
cd "$1/tests"
bad=0

complain() {
    echo "tests/README.md: $1"
    bad=1
}

# FILE<tab>test<tab>NAME and FILE<tab>quoted<tab>WORDS for all that follows `FILE` up to the next one, a bar or a blank line.
named() {
    awk 'BEGIN { RS = ""; FS = "`" }
    {
        gsub(/\n/, " ")
        file = ""
        for (i = 1; i <= NF; i++) {
            if (i % 2 == 0) {
                file = $i ~ /^(unit|wire|service|client|fault|system|tree)\/[a-z0-9_]+(\.[a-z]+)?$/ ? $i : ""
                if (file != "") print file "\tfile\t"
                continue
            }
            text = $i
            sub(/\|.*/, "", text)
            if (file == "") continue
            while (match(text, /"[^"]+"/)) {
                print file "\tquoted\t" substr(text, RSTART + 1, RLENGTH - 2)
                text = substr(text, 1, RSTART - 1) substr(text, RSTART + RLENGTH)
            }
            while (match(text, /[a-z0-9]+(_[a-z0-9]+)+/)) {
                print file "\ttest\t" substr(text, RSTART, RLENGTH)
                text = substr(text, RSTART + RLENGTH)
            }
        }
    }' README.md
}

path_of() {
    local path
    for path in "$1" "$1.c" "$1.bats"; do
        if [ -f "$path" ]; then
            echo "$path"
            return
        fi
    done
}

while IFS=$'\t' read -r file kind what; do
    path=$(path_of "$file")
    if [ -z "$path" ]; then
        complain "there is no $file"
    elif [ "$kind" = quoted ] && ! grep -qF "@test \"$what\"" "$path"; then
        complain "$file has no test \"$what\""
    elif [ "$kind" = test ] && ! grep -qE "(^static void ${what}\(|\(${what}[,)])" "$path"; then
        complain "$file has no test $what"
    fi
done < <(named | sort -u)

for path in wire/hazard_*_test.c; do
    name=${path%.c}
    grep -qF "\`$name\`" README.md || complain "$name is not named"
done
exit "$bad"
