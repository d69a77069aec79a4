#!/bin/sh
# Unpacks what starts a machine of another kind into DIR: the kernel of Debian's that is the newest now, and a shell.
#
#   tests/appliance/machine.sh SUITE ARCHITECTURE KERNEL DIR
#
# KERNEL is the end of a package's name: linux-image-KERNEL.
set -eu

suite=$1
architecture=$2
kernel=$3
dir=$4
if [ -e "$dir" ]; then
    exit 0
fi
. build/sysroots/apt.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
use_suite "$work" "$suite" "$architecture"
# That package is empty, and depends on one with a version in its name.
image=$(apt-cache depends "linux-image-$kernel" | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p')
(cd "$work" && apt-get -qq download "$image" busybox-static)
rm -rf "$dir.part"
mkdir -p "$dir.part"
for package in "$work"/*.deb; do
    dpkg-deb --extract "$package" "$dir.part"
done
mv "$dir.part" "$dir"
