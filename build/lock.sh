#!/bin/sh
# Renews build/requirements/*.txt from *.in: every version pinned, every file by its hash, one lock for all Pythons. And
# build/sysroots/*/*.lock, Debian's packages for other machines, where there is apt.
#
#   PYTHON=python3 build/lock.sh
set -eu

: "${PYTHON:=python3}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$PYTHON" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install uv

lock() { # NAME [OPTION...]
    name=$1
    shift
    "$work/venv/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url "$@" --output-file "$name.txt" "$name.in"
}

cd build/requirements
# The development lock comes first and binds the others: what is in two locks has one version.
lock dev
for file in *.in; do
    [ "$file" = dev.in ] || lock "${file%.in}" --constraint dev.txt
done
if command -v apt-get >/dev/null 2>&1; then
    sh ../sysroots/lock.sh
else
    echo "lock: build/sysroots is as it was: there is no apt-get here" >&2
fi
