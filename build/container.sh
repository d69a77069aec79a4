#!/bin/sh
# Builds in a container, with docker, podman or buildah, whichever is there, and copies the result to DIR.
#
#   [ENGINE=docker] [BASE_IMAGE=…] [ARCH=amd64] build/container.sh DIR
#
# Of what it makes in the engine nothing is left, but for a build cache where the engine has one.
set -eu

dir=$1
: "${ENGINE:=}"
for engine in docker podman buildah; do
    if [ -z "$ENGINE" ] && command -v "$engine" >/dev/null 2>&1; then
        # docker may be the command alone.
        if [ "$engine" != docker ] || docker info >/dev/null 2>&1; then
            ENGINE=$engine
        fi
    fi
done
if [ -z "$ENGINE" ]; then
    echo "container: needs docker, podman or buildah" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ARCH=${ARCH:-amd64}
name=dockersave-static
# As static.mk names it.
if grep -q '^LIBRARY_TARGET=.' "build/targets/$ARCH.env"; then
    name=$name-$ARCH
fi
files="$name $name.sha256 $name.components.json"
# The compiler builds its C library with more open files than engines allow by themselves.
open=$(ulimit -H -n)
set -- --file Dockerfile.build --platform linux/amd64 --network none --ulimit "nofile=$open:$open" \
    --iidfile "$work/image" --build-arg "ARCH=$ARCH"
if [ -n "${BASE_IMAGE:-}" ]; then
    set -- "$@" --build-arg "BASE_IMAGE=$BASE_IMAGE"
fi
echo "container: building with $ENGINE" >&2
if [ "$ENGINE" = docker ]; then
    docker build "$@" .
    image=$(cat "$work/image")
    made=$(docker create "$image" none)
    for file in $files; do
        docker cp "$made:/$file" "$work"
    done
    docker rm "$made" >/dev/null
    docker image rm "$image" >/dev/null
    # The first stage, where it is an image of its own.
    docker image prune --force --filter label=dockersave-build >/dev/null
else
    if [ "$ENGINE" = buildah ]; then
        # Without user namespaces of its own it runs anywhere where root is root.
        export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION=chroot
    fi
    "$ENGINE" build --layers=false --output "type=local,dest=$work" "$@" .
    "$ENGINE" rmi "$(cat "$work/image")" >/dev/null
fi
for file in $files; do
    cp "$work/$file" "$dir"
done
(cd "$dir" && sha256sum --check "$name.sha256")
