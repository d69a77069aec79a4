#!/bin/sh
# Renews build/sysroots/SUITE/*.lock and the one of what signs images in tests: where each of Debian's packages is, and
# its hash, as apt says it and has checked it.
#
#   build/sysroots/lock.sh
set -eu

cd "$(dirname "$0")"
. ./apt.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lock() { # SUITE LOCK ARCHITECTURE LIST
    of=$work/$1/$(basename "$2")
    (
        use_suite "$of" "$1" "$3"
        grep -v '^#' "$4" | xargs apt-get -qq download --print-uris >"$of/uris"
    )
    sed -n "s|^'.*/\(debian[^/]*/pool/[^']*\)' .* SHA256:\([0-9a-f]*\).*|\2  \1|p" "$of/uris" | LC_ALL=C sort -k 2 >"$of/lock"
    if [ "$(wc -l <"$of/lock")" != "$(grep -cv '^#' "$4")" ]; then
        echo "sysroots: $2: not every package of $4 was found" >&2
        exit 1
    fi
    mv "$of/lock" "$2"
}

for list in */tools.in; do
    lock "${list%/*}" "${list%.in}.lock" amd64 "$list"
done
for target in ../targets/*.env; do
    name=$(basename "$target" .env)
    suite=$(sed -n 's/^SUITE=//p' "$target")
    if [ -n "$suite" ]; then
        lock "$suite" "$suite/$name.lock" "$name" "$suite/target.in"
    fi
done
lock forky ../../tests/engines/signers.lock amd64 ../../tests/engines/signers.in
