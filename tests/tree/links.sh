#!/usr/bin/env bash
# links.sh [ROOT]: every relative link of the Markdown files leads to a file of
# the tree, every manual that a manual names is there or is a known one of other
# projects, and every file that a page names in backquotes below src/, docs/,
# tests/, tools/, man/, cmake/, proto/ or include/ exists. Prints the offenders.
set -euo pipefail
cd "${1:-.}"
failed=0
foreign=' rpcbind.8 rpcinfo.8 rpcgen.1 systemd.service.5 nfs.conf.5 exports.5 nft.8 flock.1 signal.7 ip.7 ipv6.7 '

mapfile -t pages < <(find . -path ./build -prune -o -path ./.git -prune -o -name '*.md' -print | sort)
mapfile -t manuals < <(find man -type f -name '*.[1-8]' 2>/dev/null | sort)
[ "${#pages[@]}" -gt 0 ] || { echo "no pages: nothing was checked"; exit 1; }

offence() {
    echo "$1"
    failed=1
}

for page in "${pages[@]}"; do
    folder=$(dirname "$page")
    while read -r target; do
        [ -z "$target" ] || [ -e "$folder/$target" ] || offence "$page: a link to $target, which is not there"
    done < <(grep -oE '\]\([^)]+\)' "$page" | sed -E 's/^\]\(([^)#]*).*/\1/' | grep -vE '^[a-z]+:' || true)
    while read -r name; do
        compgen -G "${name%/}" >/dev/null || offence "$page: names $name, which is not there"
    done < <(grep -oE '`(src|docs|tests|tools|man|cmake|proto|include|bench)/[^` ]*`' "$page" | tr -d '`' |
        sed -E 's/:[0-9]+$//' || true)
done

for manual in "${manuals[@]}"; do
    while read -r name section; do
        [ -e "man/$name.$section" ] || [[ $foreign == *" $name.$section "* ]] ||
            offence "$manual: refers to $name($section), which is not there"
    done < <(sed -nE 's/^\.Xr ([^ ]+) ([1-8]).*/\1 \2/p' "$manual")
done

exit "$failed"
