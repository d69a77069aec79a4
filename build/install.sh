#!/bin/sh
# Installs the command under a prefix: its packages in PREFIX/lib/dockersave, a starter in PREFIX/bin.
#
#   PYTHON=python3 DESTDIR= build/install.sh PREFIX
#   PYTHON=python3 DESTDIR= build/install.sh --remove PREFIX
#
# The packages have a directory of their own, so a Python that its distribution manages (PEP 668) is left alone, and the
# starter looks nowhere else (-I), so nothing in the user's environment can come between. With DESTDIR all of it lies
# there for a while, as packagers want it; PREFIX is where it will be run.
set -eu
# Others are to run it, whatever the umask of who installs it.
umask 022

: "${PYTHON:=python3}"
remove=
if [ "$1" = --remove ]; then
    remove=yes
    shift
fi
prefix=$1
lib=$prefix/lib/dockersave
root=${DESTDIR:-}

case $prefix in
/*) meant= ;;
# Only some shells expand it here.
"~" | "~/"*) meant=$HOME${prefix#"~"} ;;
*) meant=$PWD/$prefix ;;
esac
if [ -n "$meant" ]; then
    echo "install: PREFIX=$prefix is where the command will be run from, and must be absolute: PREFIX=$meant" >&2
    exit 2
fi

if [ -n "$remove" ]; then
    rm -rf "$root$lib" "$root$lib.new"
    rm -f "$root$prefix/bin/dockersave"
    exit 0
fi

# Of a virtual environment, which may be gone tomorrow, the Python that it was made with.
python=$("$PYTHON" -c 'import sys; print(getattr(sys, "_base_executable", "") or sys.executable)')
wanted=$({
    echo "$python" && "$python" -VV
    find dockersave build/requirements/run.txt pyproject.toml build/install.sh -type f ! -name '*.pyc' -exec sha256sum {} + | sort
} | sha256sum)

private() { # PATH: somebody else cannot reach it
    "$python" - "$1" <<'END'
import os, stat, sys
for path in (os.path.abspath(sys.argv[1]), os.path.realpath(sys.argv[1])):
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            sys.exit(0)
        path = os.path.dirname(path)
sys.exit(1)
END
}

if private "$python"; then
    echo "install: $python is private to you, so nobody else can run the command; for all: make install PYTHON=/usr/bin/python3" >&2
fi
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

"$python" - "$python" "$lib" >"$work/dockersave" <<'END'
import sys
python, lib = sys.argv[1:]
if any(map(str.isspace, python)) or len(python) > 120:
    # Kernels take no such name after #!. The first lines are a string to Python.
    quoted = "'" + python.replace("'", "'\"'\"'") + "'"
    print("#!/bin/sh\n'''exec' " + quoted + ' -I "$0" "$@"\n\' \'\'\'')
else:
    print(f"#!{python} -I")
print(f"import sys\nsys.path.insert(0, {lib!r})\nfrom dockersave.__main__ import run\nrun()")
END

mkdir -p "$root$prefix/bin" "$root$prefix/lib"
# It gets its name when all of it is there.
rm -rf "$root$lib.new"
cp -R "$work/lib" "$root$lib.new"
rm -rf "$root$lib"
mv "$root$lib.new" "$root$lib"
install -m 755 "$work/dockersave" "$root$prefix/bin/dockersave"
