#!/usr/bin/env bash
# layers.sh [ROOT]: checks every #include of ROOT/src and ROOT/include against
# ROOT/docs/layers.txt. Prints each offence as FILE:LINE: words; exits 1 if any.
set -euo pipefail
root=${1:-.}
cd "$root"

edges=$(mktemp)
trap 'rm -f "$edges"' EXIT

# The allowed edges, "from to" each; anything else on a line is a mistake.
awk '
    { sub(/#.*/, "") }
    NF == 0 { next }
    NF == 3 && $2 == "->" { print $1, $3; next }
    { printf "docs/layers.txt:%d: not \"from -> to\"\n", NR > "/dev/stderr"; exit 1 }
' docs/layers.txt >"$edges"

failed=0
if ! grep -v '<' "$edges" | tsort >/dev/null 2>&1; then
    echo "docs/layers.txt: the edges have a cycle: $(grep -v '<' "$edges" | tsort 2>&1 >/dev/null | tail -n +2 |
        sed 's/^tsort: //' | tr '\n' ' ')"
    failed=1
fi

folders=()
for folder in src include; do [ -d "$folder" ] && folders+=("$folder"); done
# FILE LINE KIND(quote or bracket) HEADER
includes=$({ grep -rnE '^[[:space:]]*#[[:space:]]*include' --include='*.[ch]' "${folders[@]}" || true; } |
    sed -nE 's/^([^:]+):([0-9]+):[^"<]*(["<])([^">]+)[">].*/\1 \2 \3 \4/p')
[ -n "$includes" ] || { echo "no #include found below $root: nothing was checked"; exit 1; }

awk -v edges="$edges" '
    function folder_of(path) { return path ~ /\// ? substr(path, 1, match(path, /\/[^\/]*$/) - 1) : "" }
    function glob_matches(glob, text,   re) {
        re = glob
        gsub(/[.+^$(){}|]/, "\\\\&", re)
        gsub(/\*/, ".*", re)
        return text ~ ("^" re "$")
    }
    function offence(words) { printf "%s:%s: %s\n", $1, $2, words; offences++ }
    BEGIN {
        while ((getline line < edges) > 0) {
            split(line, edge, " ")
            if (edge[2] ~ /^</) {
                glob = substr(edge[2], 2, length(edge[2]) - 2)
                owned[glob] = 1
                foreign[edge[1], glob] = 1
            } else
                allowed[edge[1], edge[2]] = 1
        }
    }
    {
        from = folder_of($1)
        sub(/^(src|include)\//, "", from)
        header = $4
        to = folder_of(header)
        ours = $3 == "\"" || to == "fileshare" || to == "proto"
        if (ours && to == "") {
            offence("\"" header "\" carries no path from src/")
        } else if (ours) {
            if (from != to && !((from, to) in allowed))
                offence(from " may not include \"" header "\": no edge " from " -> " to)
        } else {
            for (glob in owned)
                if (glob_matches(glob, header)) {
                    covered = 0
                    for (other in owned)
                        if (glob_matches(other, header) && ((from, other) in foreign))
                            covered = 1
                    if (!covered) {
                        offence(from " may not include <" header ">: no edge " from " -> <" glob ">")
                        break
                    }
                }
        }
    }
    END { exit offences > 0 }
' <<<"$includes" || failed=1

exit "$failed"
