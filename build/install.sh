#!/bin/sh
# Installs the command under a prefix: its packages in PREFIX/lib/dockersave, a starter in PREFIX/bin.
#
#   PYTHON=python3 DESTDIR= build/install.sh PREFIX
#   PYTHON=python3 DESTDIR= build/install.sh --remove PREFIX
#
# The packages have a directory of their own, so a Python that its distribution manages (PEP 668) is left alone, and the
# starter looks nowhere else (-I), so nothing in the user's environment can come between.
set -eu

: "${PYTHON:=python3}"
remove=
if [ "$1" = --remove ]; then
    remove=yes
    shift
fi
prefix=$1
lib=$prefix/lib/dockersave
root=${DESTDIR:-}

if [ -n "$remove" ]; then
    rm -rf "$root$lib"
    rm -f "$root$prefix/bin/dockersave"
    exit 0
fi

python=$("$PYTHON" -c 'import sys; print(sys.executable)')
wanted=$({
    echo "$python" && "$python" -VV
    find dockersave build/requirements/run.txt pyproject.toml build/install.sh -type f ! -name '*.pyc' -exec sha256sum {} + | sort
} | sha256sum)
if [ "$(cat "$root$lib/made-from" 2>/dev/null)" = "$wanted" ] && [ -x "$root$prefix/bin/dockersave" ]; then
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$python" -m venv "$work/venv"
pip="$work/venv/bin/python -m pip --disable-pip-version-check -qq --no-input install"
$pip --require-hashes --requirement build/requirements/build.txt
$pip --target "$work/lib" --require-hashes --requirement build/requirements/run.txt
$pip --target "$work/lib" --no-deps --no-build-isolation .
rm -rf "$work/lib/bin"
printf '%s\n' "$wanted" >"$work/lib/made-from"

mkdir -p "$root$prefix/bin" "$root$prefix/lib"
rm -rf "$root$lib"
cp -R "$work/lib" "$root$lib"
cat >"$work/dockersave" <<EOF
#!$python -I
import sys
sys.path.insert(0, "$lib")
from dockersave.__main__ import run
run()
EOF
install -m 755 "$work/dockersave" "$root$prefix/bin/dockersave"
