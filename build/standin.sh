#!/bin/sh
# Makes a container image, localhost/NAME, that stands in for Dockerfile.build's base where that cannot be pulled: a plain
# Debian of this machine's release with what the official Python image has.
#
#   build/standin.sh NAME
set -eu

name=$1
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION=chroot
if buildah inspect --type image "localhost/$name" >/dev/null 2>&1; then
    exit 0
fi
. /etc/os-release
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $VERSION_CODENAME" | head -n 1)
version=$(apt-cache depends python3 | sed -n 's/.*Depends: python\(3\.[0-9]*\)$/\1/p' | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include="python3,python3-venv,libpython$version,binutils,make" \
    "$VERSION_CODENAME" "$work/root" "$mirror" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    exit 1
}
container=$(buildah from scratch)
buildah add --quiet "$container" "$work/root" / >/dev/null
buildah commit --quiet --rm "$container" "localhost/$name" >/dev/null
