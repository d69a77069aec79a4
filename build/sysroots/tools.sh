#!/bin/sh
# Makes commands of the programs in ROOT, which are for another C library than this machine's.
#
#   build/sysroots/tools.sh ROOT
#
# They are ROOT/usr/bin/python3, where Python looks for its library, and objcopy, strip and objdump in ROOT/TRIPLET for
# each TRIPLET that there are such tools for. Beside these is an ldd that finds nothing: what a foreign program needs
# this machine's loader cannot tell, and PyInstaller need not ask.
set -eu

root=$1
loader=$(cd "$root" && echo usr/lib/*/ld-linux-*.so.*)

wrap() { # COMMAND PROGRAM
    up=${1#"$root"/}
    cat >"$1" <<EOF
#!/bin/sh
root=\${0%/$up}
exec "\$root/$loader" --library-path "\$root/${loader%/*}" --argv0 "\$0" "\$root/usr/bin/$2" "\$@"
EOF
    chmod 755 "$1"
}

for python in "$root"/usr/bin/python3.*; do
    wrap "$root/usr/bin/python3" "$(basename "$python")"
done
for library in "$root"/usr/lib/*/libpython3.*.so.1.0; do
    # Where PyInstaller looks first.
    ln -sf "${library#"$root/usr/lib/"}" "$root/usr/lib/"
done
for objcopy in "$root"/usr/bin/*-objcopy; do
    triplet=$(basename "$objcopy" -objcopy)
    mkdir -p "$root/$triplet"
    for tool in objcopy strip objdump; do
        wrap "$root/$triplet/$tool" "$triplet-$tool"
    done
    printf '#!/bin/sh\n' >"$root/$triplet/ldd"
    chmod 755 "$root/$triplet/ldd"
done
