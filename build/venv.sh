#!/bin/sh
# Makes DIR a virtual environment that holds what LOCK says and this project, editable.
#
#   PYTHON=python3 build/venv.sh DIR LOCK
#
# Does nothing when DIR already is that, which is known by what went in (interpreter, lock, pyproject.toml), and lets only
# one of several at once do the work.
set -eu

dir=$1
lock=$2
: "${PYTHON:=python3}"

exec 9>"$dir.lock"
flock 9

python=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable), sys.version)'; pwd -P)
wanted=$python$(cat "$lock" pyproject.toml | sha256sum)
made=$(cat "$dir/made-from" 2>/dev/null || true)
if [ "$made" = "$wanted" ] && "$dir/bin/python" -c 'import dockersave' 2>/dev/null; then
    exit 0
fi
# With another lock it is brought up to date where it is; with another interpreter or place it is made anew.
case $made in
"$python"*) rm -f "$dir/made-from" ;;
*) rm -rf "$dir" && "$PYTHON" -m venv "$dir" ;;
esac
pip="$dir/bin/python -m pip --disable-pip-version-check -qq --no-input"
$pip install --require-hashes --requirement "$lock"
$pip install --no-deps --no-build-isolation --editable .
printf '%s\n' "$wanted" >"$dir/made-from"
