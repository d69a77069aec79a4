#!/bin/sh
# Builds twice, as differently as one machine allows, and compares.
#
#   PYTHON=python3 build/reproducible.sh WHEELS ARCH...
set -eu

given=$1
shift
archs=$*
# Whatever another user would find under the name.
python=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$work"
# Another user may not be let into the checkout.
wheels=$work/wheels
cp -R "$given" "$wheels"
chmod -R a+rX "$wheels"

lay() { # DIR DATE: a copy of the sources, which .dockerignore lists
    mkdir -p "$1"
    # shellcheck disable=SC2046 # words
    tar -cf - --exclude=build/dockersave --exclude=build/out --exclude=__pycache__ \
        $(sed -n 's/^!//p' .dockerignore) | tar -xf - -C "$1"
    find "$1" -exec touch --no-dereference --date "$2" {} +
}

first=$work/a
second=$work/another/directory/with-a-longer-name
lay "$first" 2001-02-03
lay "$second" 2038-01-01
today='2039-08-07 06:05:04'
build() { # COMMAND...: all architectures
    for arch in $archs; do
        "$@" make --silent dockersave-static "ARCH=$arch" BOOTSTRAP=true "WHEELS=$wheels" "PYTHON=$python"
    done
}

echo "reproducible: first build" >&2
(umask 022 && cd "$first" && build env -i PATH="$PATH" HOME="$work" TZ=UTC LC_ALL=C)
as=
if [ "$(id -u)" = 0 ]; then
    as="setpriv --reuid=65534 --regid=65534 --clear-groups"
    if $as sh -c '"$0" -c ""' "$python" 2>/dev/null; then
        chown -R 65534:65534 "$work/another"
        mkdir "$work/home" && chown 65534 "$work/home"
    else
        as=
        echo "reproducible: no other user may run $python, so both builds are this one's" >&2
    fi
fi
echo "reproducible: second build, in $today${as:+, by another user}" >&2
# shellcheck disable=SC2086
(umask 077 && cd "$second" && build env -i PATH="$PATH" HOME="$work/home" TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANG=de_DE.UTF-8 \
    SOURCE_DATE_EPOCH=1 NO_FAKE_STAT=1 $as faketime "$today")

same=true
for binary in "$first"/dockersave-static "$first"/dockersave-static-*; do
    name=${binary##*/}
    case $name in
    *.sha256 | *.json | *"*") ;;
    *)
        if cmp "$binary" "$second/$name"; then
            echo "reproducible: both $name are $(sha256sum <"$binary")"
        else
            same=false
            parts=build/out/static${name#dockersave-static}
            "$python" build/compare.py "$first/$parts" "$second/$parts"
        fi
        ;;
    esac
done
if ! $same; then
    trap - EXIT
    echo "reproducible: the builds are kept: $first $second" >&2
    exit 1
fi
