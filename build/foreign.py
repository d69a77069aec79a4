"""What `dockersave.spec` takes from a target's packages when it freezes for another machine.

PyInstaller runs here, with the same Python of the same Debian (build/sysroots), and finds modules
for this machine. Those that are not code of a processor's are good for every machine. For the
others, this has the target's files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SYSROOTS = ROOT / "build" / "out" / "sysroots"

Entry = tuple[str, str, str]
"""Of PyInstaller's: name in the program's directory, file, kind."""


def read_target(name: str) -> dict[str, str]:
    """Return what a file in build/targets says."""
    text = (ROOT / "build" / "targets" / f"{name}.env").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.partition("=")[::2] for line in lines)


class Target:
    """A machine that is not this one: where its files are.

    Args:
        name: the target's, as Debian calls the architecture.

    Raises SystemExit if its Python is another one than that which runs here.
    """

    def __init__(self, name: str) -> None:
        says = read_target(name)
        self.triplet = says["TRIPLET"]
        self.sysroot = SYSROOTS / says["SUITE"] / name
        self.tools = self.sysroot.with_name("tools")
        self.built = ROOT / "build" / "out" / f"static-{name}"
        self._of_tools = read_target("amd64")["TRIPLET"]
        self.bootloader = self.built / "bootloader"
        self._check_standard_library()

    def path_of(self, path: Path) -> Path:
        """Return the target's file for a file of the tools', or any other path as it is."""
        inside = path.is_relative_to(self.tools)
        return self.sysroot / path.relative_to(self.tools) if inside else path

    def _check_standard_library(self) -> None:
        """What is compiled from the tools' library has to be what the target's is made from."""
        for source in self.tools.glob("usr/lib/python3.*/**/*.py"):
            theirs = self.path_of(source)
            # Nothing imports what is a link (to /etc), or says how each was configured.
            if source.is_symlink() or source.name.startswith("_sysconfigdata"):
                continue
            if not theirs.exists() or theirs.read_bytes() != source.read_bytes():
                raise SystemExit(f"foreign: {theirs} is not {source}: renew the locks (make lock)")

    def binaries(self, found: Iterable[Entry], left_out: str) -> list[Entry]:
        """Return the target's files for extension modules that were found, and all libraries.

        Args:
            found: for this machine.
            left_out: a library that is not needed, nor is what that needs.

        Raises SystemExit if the target has no such file.
        """
        from elftools.elf.dynamic import DynamicSegment
        from elftools.elf.elffile import ELFFile

        entries = [self.module(entry) for entry in found if entry[2] == "EXTENSION"]
        version = next(self.sysroot.glob("usr/lib/*/libpython3.*.so.1.0")).name
        entries.append((version, self._library(version), "BINARY"))
        entries.append(("libnssfix.so", str(self.built / "libnssfix.so"), "BINARY"))
        names = {left_out, *(name for name, _, _ in entries)}
        # What these need, and what that needs. The bootloader needs nothing but the C library.
        for _, file, _ in entries:
            with open(file, "rb") as content:
                segments = ELFFile(content).iter_segments()
                dynamic = [part for part in segments if isinstance(part, DynamicSegment)]
                needed = [tag.needed for part in dynamic for tag in part.iter_tags("DT_NEEDED")]
            for name in needed:
                if name not in names:
                    names.add(name)
                    entries.append((name, self._library(name), "BINARY"))
        return entries

    def module(self, entry: Entry) -> Entry:
        """Return the target's file for an extension module that PyInstaller found.

        Raises SystemExit if there is none.
        """
        name, source, kind = entry
        own = name.replace(self._of_tools, self.triplet)
        path = self.path_of(Path(source))
        if path.is_relative_to(self.sysroot):
            path = path.with_name(path.name.replace(self._of_tools, self.triplet))
        else:
            path = self.built / f"{Path(source).name.partition('.')[0]}.so"
        return own, self._existing(path), kind

    def _library(self, name: str) -> str:
        return self._existing(self.sysroot / "usr" / "lib" / self.triplet / name)

    def _existing(self, path: Path) -> str:
        # A link must not lead to a file of this machine's.
        if not path.exists() or not path.resolve().is_relative_to(ROOT / "build" / "out"):
            raise SystemExit(f"foreign: {path} is missing: see target.in in build/sysroots")
        return str(path.resolve())
