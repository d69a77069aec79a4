#!/bin/sh
# Makes TAR, a root file system that stands in for Dockerfile.build's base image where that cannot be pulled: a plain Debian
# of this machine's release with what the official Python image has. One that is there is left as it is.
#
#   build/standin.sh TAR
set -eu

if [ -e "$1" ]; then
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
tar -C "$work/root" --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' -cf "$1.part" .
mv "$1.part" "$1"
