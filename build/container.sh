#!/bin/sh
# Builds in a container, with docker, podman or buildah, whichever is there, and copies the result to DIR.
#
#   [ENGINE=docker] [BASE_IMAGE=…] build/container.sh DIR
set -eu

dir=$1
name=dockersave-static-build
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

set -- --file Dockerfile.build --tag "$name"
if [ -n "${BASE_IMAGE:-}" ]; then
    set -- "$@" --build-arg "BASE_IMAGE=$BASE_IMAGE"
fi
echo "container: building with $ENGINE" >&2
case $ENGINE in
buildah)
    # Without user namespaces of its own it runs anywhere where root is root; this isolation knows no networks.
    export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION=chroot
    files=$(ulimit -H -n)
    buildah bud --format oci --ulimit "nofile=$files:$files" "$@" .
    made=$(buildah from --pull-never "localhost/$name")
    trap 'buildah rm "$made" >/dev/null' EXIT
    from=$(buildah mount "$made")
    cp "$from/dockersave-static" "$from/dockersave-static.sha256" "$dir"
    ;;
*)
    "$ENGINE" build --platform linux/amd64 --network none "$@" .
    made=$("$ENGINE" create "$name" none)
    trap '"$ENGINE" rm "$made" >/dev/null' EXIT
    "$ENGINE" cp "$made:/dockersave-static" "$dir"
    "$ENGINE" cp "$made:/dockersave-static.sha256" "$dir"
    ;;
esac
(cd "$dir" && sha256sum --check dockersave-static.sha256)
