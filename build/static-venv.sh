#!/bin/sh
# Makes DIR a virtual environment that builds dockersave-static, and beside it
#   DIR/zstd               the C sources of the zstd library
#   DIR/source/pyinstaller, DIR/source/backports-zstd
#                          what is compiled for other machines
#   DIR/tools              backports.zstd for the Pythons in build/sysroots/*/tools.lock, which run PyInstaller for those
#
#   PYTHON=python3 build/static-venv.sh DIR [WHEELS]
#
# With WHEELS, a directory that `build/static-venv.sh --download WHEELS` filled, no network is needed. Either way every
# file is checked against the hashes in the lock.
set -eu

: "${PYTHON:=python3}"
lock=build/requirements/static.txt

lines() { # NAME...: these requirements, with their hashes, out of the lock
    for name in "$@"; do
        awk -v name="$name" '/^[^ #]/ {on = index($0, name "==") == 1} on && !/^ *#/' "$lock"
    done
}

# Of which wheels hold no sources, or only for one machine.
sources="zstandard pyinstaller backports-zstd"

fetch_sources() { # PYTHON DIR [OPTION...]: their source distributions
    python=$1
    into=$2
    shift 2
    # shellcheck disable=SC2086 # words
    lines $sources | sed 's/ ;[^\\]*//' >"$into/sources.txt"
    # pip asks each distribution's build system for its name, which is in the environment already. PyInstaller's would
    # compile the bootloader by the way, if it were not told of a platform for which the distribution has one.
    PYI_PLATFORM=Windows-64bit-intel "$python" -m pip --disable-pip-version-check --quiet --no-input download --no-deps \
        --no-build-isolation --no-binary :all: --require-hashes "$@" --dest "$into" --requirement "$into/sources.txt"
    rm "$into/sources.txt"
}

fetch_for_tools() { # PYTHON DIR [OPTION...]: the only wheels of code that the tools' Pythons need
    python=$1
    into=$2
    shift 2
    lines backports-zstd | sed 's/ ;[^\\]*//' >"$into/tools.txt"
    for version in $(sed -n 's|.*/python\(3\.[0-9]*\)-minimal_.*|\1|p' build/sysroots/*/tools.lock); do
        "$python" -m pip --disable-pip-version-check --quiet --no-input download --no-deps --require-hashes \
            --only-binary :all: --python-version "$version" --platform manylinux_2_28_x86_64 \
            --platform manylinux2014_x86_64 "$@" --dest "$into" --requirement "$into/tools.txt"
    done
    rm "$into/tools.txt"
}

if [ "$1" = --download ]; then
    wheels=$2
    : "${PYTHON_VERSION:=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}"
    mkdir -p "$wheels"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$PYTHON" -m venv "$work/venv"
    pip="$work/venv/bin/python -m pip --disable-pip-version-check --quiet --no-input"
    lines setuptools packaging hatchling pathspec pluggy tomlkit trove-classifiers >"$work/tools.txt"
    $pip install --require-hashes --only-binary :all: --requirement "$work/tools.txt"
    # pip takes wheels for another Python, and judges the lock's conditions by its own.
    "$work/venv/bin/python" - "$lock" "$PYTHON_VERSION" >"$work/lock.txt" <<'EOF'
import re, sys
from packaging.requirements import Requirement
version = {"python_version": sys.argv[2], "python_full_version": sys.argv[2] + ".0"}
for entry in re.split(r"\n(?=\S)", open(sys.argv[1]).read()):
    requirement, _, hashes = entry.partition(" \\\n")
    if requirement.startswith("#"):
        continue
    parsed = Requirement(requirement)
    if parsed.marker is None or parsed.marker.evaluate(version):
        print(f"{parsed.name}{parsed.specifier} \\\n{hashes.split(chr(10) + '    #')[0]}")
EOF
    # They are for the machine that the binary is for, whatever this one is.
    $pip download --no-deps --require-hashes --only-binary :all: --python-version "$PYTHON_VERSION" \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --dest "$wheels" --requirement "$work/lock.txt"
    fetch_sources "$work/venv/bin/python" "$wheels"
    fetch_for_tools "$work/venv/bin/python" "$wheels"
    exit 0
fi

dir=$1
wheels=${2:+--no-index --find-links $2}
wanted=$({
    "$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable), sys.version)'
    cat "$lock" "$0" build/sysroots/*/tools.lock
} | sha256sum)
exec 9>"$dir.lock"
flock 9
if [ "$(cat "$dir/made-from" 2>/dev/null)" = "$wanted" ] && [ -e "$dir/zstd/zstd.c" ]; then
    exit 0
fi
rm -rf "$dir"
"$PYTHON" -m venv "$dir"
# shellcheck disable=SC2086 # options, or none
"$dir/bin/python" -m pip --disable-pip-version-check --quiet --no-input install --require-hashes --only-binary :all: \
    $wheels --requirement "$lock"
mkdir "$dir/source" "$dir/source/wheels" "$dir/tools"
# shellcheck disable=SC2086
fetch_sources "$dir/bin/python" "$dir/source" $wheels
for name in $sources; do
    mkdir "$dir/source/$name"
    tar -xzf "$dir/source/$(echo "$name" | tr - _)"-*.tar.gz -C "$dir/source/$name" --strip-components=1
done
mv "$dir/source/zstandard/zstd" "$dir/zstd"
# shellcheck disable=SC2086
fetch_for_tools "$dir/bin/python" "$dir/source/wheels" $wheels
for wheel in "$dir"/source/wheels/*.whl; do
    "$dir/bin/python" -m zipfile --extract "$wheel" "$dir/tools"
done
rm -r "$dir/source/wheels" "$dir/source/zstandard" "$dir"/source/*.tar.gz
printf '%s\n' "$wanted" >"$dir/made-from"
