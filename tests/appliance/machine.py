"""A machine of the target's kind in software: Debian's kernel, a shell, and the binary."""

from __future__ import annotations

import lzma
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.processes import program

MODULES = ("failover", "net_failover", "virtio_mmio", "virtio_net")
"""What the kernel needs for a network, in the order in which they need each other."""

HOST = "10.0.2.2"
"""This machine's loopback, for that one: documented for QEMU's `-netdev user`."""

INIT = """#!/bin/busybox sh
PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /etc
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t cgroup2 none /sys/fs/cgroup
date -s @{now} >/dev/null
for module in {modules}; do insmod /$module.ko; done
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
for port in {ports}; do nc -ll -p $port -e nc {host} $port & done
ulimit -c 0
sh /script
echo "the script has ended: $?"
poweroff -f
"""


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Return files, names to modes and contents, as the kernel unpacks them.

    Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    parts = []
    for number, (name, (mode, content)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))]):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        parts += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(parts)


class Machine:
    """A machine that can be started.

    Args:
        root: where machine.sh has unpacked a kernel and a shell.
        emulator: the command that emulates it, but for kernel, memory and devices.
        work: a directory for its file system.
    """

    def __init__(self, root: Path, emulator: str, work: Path) -> None:
        (self._kernel,) = root.glob("boot/vmlinuz-*")
        modules = [*root.glob("lib/modules/**/*.ko*"), *root.glob("usr/lib/modules/**/*.ko*")]
        self._modules = {path.name.partition(".")[0]: path for path in modules}
        (self._shell,) = root.glob("**/bin/busybox")
        self._emulator = emulator.split()
        self._work = work

    def run(
        self, script: str, files: Mapping[str, Path], ports: Iterable[int], timeout: float
    ) -> str:
        """Start it, run a shell's script there, and return what comes out at its console.

        Args:
            script: for busybox's shell.
            files: names there, and executable files here.
            ports: of this machine's loopback, which that one's has, too.
            timeout: seconds until it has to be switched off.
        """
        contents = {"dev": (0o040755, b""), "bin": (0o040755, b"")}
        contents["dev/console"] = (0o020600, b"")
        for name in MODULES:
            module = self._modules[name].read_bytes()
            if self._modules[name].suffix == ".xz":
                module = lzma.decompress(module)
            contents[f"{name}.ko"] = (0o100644, module)
        for name, path in {"bin/busybox": self._shell, **files}.items():
            contents[name] = (0o100755, path.read_bytes())
        init = INIT.format(
            now=int(time.time()),
            modules=" ".join(MODULES),
            host=HOST,
            ports=" ".join(map(str, ports)),
        )
        contents |= {"init": (0o100755, init.encode()), "script": (0o100644, script.encode())}
        memory = self._work / "initramfs"
        memory.write_bytes(archive(contents))
        console = "console=ttyAMA0 quiet panic=-1"
        command = [
            *(
                program(self._emulator[0]),
                *self._emulator[1:],
                "-m",
                "512",
                "-nographic",
                "-no-reboot",
            ),
            *("-kernel", str(self._kernel), "-initrd", str(memory), "-append", console),
            *(
                "-netdev",
                "user,id=net",
                "-device",
                "virtio-net-device,netdev=net",
                "-monitor",
                "none",
            ),
        ]
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=True,
        ).stdout
