#!/usr/bin/env bash
# sizes.sh [ROOT]: no file of 600 lines or more, no function above 100 lines,
# and half of the functions of src/ below 20. (The contract, proto/fileshare.x,
# is one file whatever its length.) Prints the offenders and the
# figures; exits 1 if there are any. Function sizes are universal-ctags' own.
set -euo pipefail
file_limit=600
function_limit=100
median_limit=20
cd "${1:-.}"

# Folders that hold what we write; those of the list that exist.
present() { for folder in "$@"; do [ -e "$folder" ] && printf '%s\n' "$folder"; done; }
mapfile -t written < <(present src include tests tools bench fuzz cmake CMakeLists.txt .ci)
mapfile -t code < <(present src tests bench fuzz)
failed=0

files=$(find "${written[@]}" -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.bats' -o -name '*.cmake' \
    -o -path 'tools/*' -o -path '.ci/*' \))
[ -n "$files" ] || { echo "no files: nothing was checked"; exit 1; }
while read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -ge "$file_limit" ]; then
        echo "$file: $lines lines, must be below $file_limit"
        failed=1
    fi
done <<<"$files"

functions=$(ctags --languages=C --langmap=C:.c.h --kinds-C=f -x --_xformat='%F %n %{end} %N' --recurse "${code[@]}" |
    awk 'NF == 4 { print $3 - $2 + 1, $1 ":" $2, $4 }')
[ -n "$functions" ] || { echo "no functions: nothing was checked"; exit 1; }
awk -v limit="$function_limit" '
    $1 > limit { printf "%s: %s has %d lines, at most %d may be\n", $2, $3, $1, limit; bad = 1 }
    END { exit bad }
' <<<"$functions" || failed=1

sort -n <<<"$functions" | awk -v limit="$median_limit" '
    $2 ~ /^src\// { size[++count] = $1 }
    END {
        if (count == 0) { print "no functions in src/: nothing was checked"; exit 1 }
        median = size[int((count + 1) / 2)]
        printf "%d functions in src/: median %d, 95th percentile %d, longest %d lines\n", count, median,
            size[int((count * 95 + 99) / 100)], size[count]
        if (median >= limit) { printf "the median must be below %d lines\n", limit; exit 1 }
    }
' || failed=1

exit "$failed"
