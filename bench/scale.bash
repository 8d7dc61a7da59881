# shellcheck shell=bash disable=SC2154
#
# bench/scale's curves and tables: of the rows it made.

declare -A titles=(
    [names]="names in the store"
    [interests]="interests, half of them globs with a literal prefix"
    [open]="globs that begin with a wildcard"
    [alike]="globs that share one literal prefix"
    [idle]="idle connections, beside 64 busy ones"
    [workers]="calls in the store at once"
    [size]="bytes of the file"
)
declare -A bounds=( # multiples of the reference, and from which amount on
    [names]="1.5 10000" [interests]="1.5 1000" [idle]="1.11 1" [open]="1.5 1000"
)

# kinds TABLE: what was measured, in the order of the table
kinds() { awk -F'\t' 'NR > 1 && $5 != "-" && !seen[$2]++ { print $2 }' "$1"; }

# panel TITLE YLABEL COLUMN [MORE]: one line a kind of work
panel() {
    local title=$1 label=$2 column=$3 more=${4:-} n=0 kind
    echo "set title \"$title\"; set ylabel \"$label\""
    printf 'plot '
    while IFS= read -r kind; do
        [ $n = 0 ] || printf ', '
        n=$((n + 1))
        printf '"%s/%s" using 1:%d with linespoints linestyle %d title "%s"' "$work" "$n.points" "$column" "$n" "$kind"
    done < <(kinds "$table")
    [ -z "$more" ] || printf ', %s' "$more"
    echo
}

styles='set datafile separator "\t"
set style line 1 lc rgb "#1b6ca8" pt 7 ps 1 lw 2
set style line 2 lc rgb "#c8553d" pt 5 ps 1 lw 2
set style line 3 lc rgb "#2e8b57" pt 9 ps 1.2 lw 2
set style line 4 lc rgb "#7b4b94" pt 13 ps 1.3 lw 2
set style line 9 lc rgb "#555555" lw 1.5 dt 2
set grid lc rgb "#dddddd"
set border 3
set tics nomirror
set key bmargin center horizontal maxcols 2 samplen 2
set format x "%.0s%c"'

draw_growth() {
    local chapter=$1 table=$2 picture=$3 n=0 kind bound="" scale="set logscale x"
    while IFS= read -r kind; do
        n=$((n + 1))
        awk -F'\t' -v OFS='\t' -v kind="$kind" -v idle="$([ "$chapter" != idle ] || echo 0.5)" \
            'NR > 1 && $2 == kind { if ($1 == 0) $1 = idle; print }' "$table" >"$work/$n.points"
    done < <(kinds "$table")
    [ -z "${bounds[$chapter]:-}" ] || bound="${bounds[$chapter]% *} with lines linestyle 9 title \"bound: ${bounds[$chapter]% *}, from ${bounds[$chapter]#* } on\""
    [ "$chapter" != workers ] || scale="set xtics 1"
    {
        echo "set terminal pngcairo size 1560,540 font 'sans,10'; set output \"$picture\""
        echo "$styles"
        echo "set xlabel \"${titles[$chapter]}\"; $scale; set multiplot layout 1,3 margins 0.05,0.99,0.285,0.93 spacing 0.055,0"
        echo "set yrange [0:*]; set offsets graph 0,0,0.08,0"
        panel "CPU time of the server for a call" "multiple of the reference, measured in turn" 7 "$bound"
        panel "Time of a call" "multiple of the reference, measured in turn" 6 "$bound"
        echo "set yrange [0:72]; set offsets"
        echo 'set title "Memory of the server"; set ylabel "MiB resident at most, while measured"'
        awk -F'\t' -v idle=0.5 'NR > 1 { if ($1 == 0) $1 = idle; if (!($1 in m) || $9 > m[$1]) m[$1] = $9; if (!seen[$1]++) order[++n] = $1 }
            END { for (i = 1; i <= n; i++) print order[i] "\t" m[order[i]] }' "$table" >"$work/memory.points"
        echo "stats \"$work/memory.points\" using 2 nooutput; if (STATS_max > 64) { set yrange [0:STATS_max * 1.15] }"
        echo "plot \"$work/memory.points\" using 1:2 with linespoints linestyle 1 title \"server\", 64 with lines linestyle 9 title \"64 MiB\""
    } | gnuplot
}

draw_size() {
    local table=$2 picture=$3 way n=0
    for way in up down; do
        n=$((n + 1))
        awk -F'\t' -v OFS='\t' -v way=$way 'NR > 1 && $2 == way' "$table" >"$work/$n.points"
    done
    {
        echo "set terminal pngcairo size 1300,520 font 'sans,10'; set output \"$picture\""
        echo "$styles"
        echo 'set xlabel "bytes of the file"; set logscale x 2; set format x "%.0b%B"; set xtics 1,64'
        echo 'set multiplot layout 1,2 margins 0.06,0.985,0.25,0.93 spacing 0.075,0; set yrange [0:72]'
        echo 'set title "Memory at both ends"; set ylabel "MiB resident at most"'
        echo "plot \"$work/1.points\" using 1:6 with linespoints linestyle 1 title \"client, up\", \
            \"$work/2.points\" using 1:6 with linespoints linestyle 2 title \"client, down\", \
            \"$work/2.points\" using 1:7 with linespoints linestyle 3 title \"server, up and down\", \
            64 with lines linestyle 9 title \"64 MiB\""
        echo 'set title "CPU time of both ends (files of 64 MiB and more)"; set ylabel "CPU seconds a GiB"; set yrange [0:*]'
        echo 'set xrange [6e7:2e10]; set xtics 67108864,4; set offsets graph 0,0,0.3,0'
        echo "plot \"$work/1.points\" using 1:5 with linespoints linestyle 1 title \"up\", \
            \"$work/2.points\" using 1:5 with linespoints linestyle 2 title \"down\""
    } | gnuplot
}

# draw CHAPTER TABLE PICTURE
draw() {
    if [ "$1" = size ]; then draw_size "$@"; else draw_growth "$@"; fi
}

# verdict CHAPTER TABLE: the worst of what stands in the bound's range
verdict() {
    local bound
    read -ra bound <<<"${bounds[$1]:-}"
    [ ${#bound[@]} -gt 0 ] || return 0
    awk -F'\t' -v bound="${bound[0]}" -v from="${bound[1]}" '
        NR > 1 && $1 >= from && $6 != "-" {
            if ($6 > clock) { clock = $6; of = $2 " at " $1 }
            if ($7 > cpu) { cpu = $7; cpu_of = $2 " at " $1 }
        }
        END {
            if (clock) printf "From %d on, at most %.2f x the reference on the clock (%s), %.2f x in CPU time (%s); bound %.2f: %s.\n\n",
                from, clock, of, cpu, cpu_of, bound, clock <= bound ? "kept" : "**not kept**"
        }' "$2"
}

# report FOLDER: all tables there are, as one page
report() {
    local chapter table
    echo "# How cost grows"
    echo
    echo "Made by \`bench/scale$([ "$quick" = 0 ] || echo ' --quick')\`, $(date -u +%Y-%m-%d), fileshare $("$build/fileshared" --version 2>/dev/null | awk '{ print $NF; exit }')" \
        "on $(uname -sr), $(nproc) cores, $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)."
    echo "Figures count as multiples of a reference measured in turn with them; bare seconds of a shared machine do not."
    for chapter in names interests open alike idle size workers; do
        table=$1/scale-$chapter.tsv
        [ -f "$table" ] || continue
        printf '\n## %s\n\n' "${titles[$chapter]^}"
        verdict "$chapter" "$table"
        [ ! -f "$1/scale-$chapter.note" ] || printf '%s.\n\n' "$(cat "$1/scale-$chapter.note")"
        [ ! -f "$1/scale-$chapter.png" ] || printf '![%s](scale-%s.png)\n\n' "$chapter" "$chapter"
        awk -F'\t' '{ printf "|"; for (i = 1; i <= NF; i++) printf " %s |", $i; print "" }
            NR == 1 { printf "|"; for (i = 1; i <= NF; i++) printf "---|"; print "" }' "$table"
    done
}
