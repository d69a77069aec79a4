"""Tar files as anybody might write them, attackers included."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

END = bytes(1024)


@dataclass(frozen=True, slots=True)
class Raw:
    """A member.

    Parameters:
        path: its name, as it is written.
        data: its content.
        type: of `tarfile`.
        target: where a link leads.
        size: what its header says; None for the truth.
        pax: extended header records before it.
    """

    path: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    target: str = ""
    size: int | None = None
    pax: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return header and content."""
        info = tarfile.TarInfo(self.path)
        info.type, info.linkname = self.type, self.target
        info.size = len(self.data) if self.size is None else self.size
        head = info.tobuf(tarfile.GNU_FORMAT)
        return extended(self.pax) + head + self.data + bytes(-len(self.data) % 512)


def extended(records: Mapping[str, str]) -> bytes:
    """Return an extended header (POSIX.1-2017, pax), or nothing for no records."""
    if not records:
        return b""
    info = tarfile.TarInfo("x")
    info.pax_headers = dict(records)
    # The header of the file itself is the last block.
    return info.tobuf(tarfile.PAX_FORMAT)[:-512]


def tar(*members: Raw, end: bytes = END) -> bytes:
    """Return an archive of these members."""
    return b"".join(member.to_bytes() for member in members) + end


def extract(path: Path, folder: Path) -> None:
    """Unpack an archive into a folder, as a user would in a shell."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", path, "-C", folder], check=True)


def members_of(path: Path) -> list[Raw]:
    """Return what an archive holds, to be written again with something changed."""
    found = []
    with tarfile.open(path) as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            data = file.read() if file else b""
            found.append(Raw(info.name, data, info.type, info.linkname))
    return found


def rewritten(members: Iterable[Raw], **changes: Raw | None) -> bytes:
    """Return an archive with members replaced, or left out, by the end of their names."""
    kept = []
    for member in members:
        for name, other in changes.items():
            if member.path.endswith(name):
                kept += [other] if other else []
                break
        else:
            kept.append(member)
    return tar(*kept)
