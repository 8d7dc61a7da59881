#!/usr/bin/env bash
# threads.sh [ROOT]: every file of src/ that declares a lock or starts a thread
# stands in docs/THREADS.md. Prints those that do not; exits 1 if there are any.
set -euo pipefail
cd "${1:-.}"
failed=0

# The files of src/ with a line like $1 must be named in the page.
told() {
    local files file
    files=$(grep -rlE "$1" --include='*.[ch]' src || true)
    [ -n "$files" ] || { echo "no $2 in src/: nothing was checked"; exit 1; }
    while read -r file; do
        if ! grep -qF "\`$file\`" docs/THREADS.md; then
            echo "docs/THREADS.md does not tell of $file, which $2"
            failed=1
        fi
    done <<<"$files"
}

told '^[[:space:]]*(static )?pthread_(mutex|rwlock|spinlock)_t [a-z_]+( =|;)' 'has a lock'
told '\bpthread_create\(' 'starts a thread'
exit "$failed"
