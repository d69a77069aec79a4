#!/bin/sh
# Renews build/sysroots/SUITE/*.lock: where each of Debian's packages is, and its hash, as apt says it and has checked it.
#
#   build/sysroots/lock.sh
#
# Asks apt with a state of its own, so nothing changes on this machine, and any architecture will do.
set -eu

cd "$(dirname "$0")"
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)}
mirror=${mirror%/}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lock() { # SUITE NAME ARCHITECTURE LIST
    suite=$1
    shift
    mkdir -p "$work/$1/state/lists/partial" "$work/$1/cache/archives/partial" "$work/$1/etc/apt.conf.d" \
        "$work/$1/etc/preferences.d"
    for of in "$mirror $suite" "$mirror $suite-updates" "$mirror-security $suite-security"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $of main"
    done >"$work/$1/etc/sources.list"
    : >"$work/$1/status"
    cat >"$work/$1/apt.conf" <<EOF
Dir::State "$work/$1/state";
Dir::State::status "$work/$1/status";
Dir::Cache "$work/$1/cache";
Dir::Etc "$work/$1/etc";
APT::Architecture "$2";
APT::Architectures "$2";
APT::Sandbox::User "";
EOF
    # Of a suite that cannot be fetched just now apt says so, and another one has the package, too.
    APT_CONFIG=$work/$1/apt.conf apt-get -qq update || true
    grep -v '^#' "$3" | APT_CONFIG=$work/$1/apt.conf xargs apt-get -qq download --print-uris >"$work/$1/uris"
    sed -n "s|^'.*/\(debian[^/]*/pool/[^']*\)' .* SHA256:\([0-9a-f]*\).*|\2  \1|p" "$work/$1/uris" | LC_ALL=C sort -k 2 \
        >"$work/$1/lock"
    if [ "$(wc -l <"$work/$1/lock")" != "$(grep -cv '^#' "$3")" ]; then
        echo "sysroots: $1: not every package of $3 was found" >&2
        exit 1
    fi
    mv "$work/$1/lock" "$suite/$1.lock"
    rm -r "${work:?}/$1"
}

for list in */tools.in; do
    lock "${list%/*}" tools amd64 "$list"
done
for target in ../targets/*.env; do
    name=$(basename "$target" .env)
    of=$(sed -n 's/^SUITE=//p' "$target")
    if [ -n "$of" ]; then
        lock "$of" "$name" "$name" "$of/target.in"
    fi
done
