"""Sparse files in layers: made by GNU tar, and by hand in all its formats."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rootfs.layers import Item, member, padded

FORMATS = {
    "old": ["--format=gnu"],
    "0.0": ["--format=posix", "--sparse-version=0.0"],
    "0.1": ["--format=posix", "--sparse-version=0.1"],
    "1.0": ["--format=posix", "--sparse-version=1.0"],
}
"""What makes GNU tar write each of them."""


@dataclass(frozen=True)
class Holed:
    """A file with holes.

    Parameters:
        size: of the file.
        pieces: its data, each with its position.
    """

    size: int
    pieces: Sequence[tuple[int, bytes]]

    @property
    def content(self) -> bytes:
        """All of it."""
        found = bytearray(self.size)
        for position, data in self.pieces:
            found[position : position + len(data)] = data
        return bytes(found)

    def write(self, path: Path) -> None:
        """Write it as a file with holes."""
        with path.open("wb") as out:
            for position, data in self.pieces:
                out.seek(position)
                out.write(data)
            out.truncate(self.size)


def by_gnu_tar(folder: Path, form: str, *names: str) -> bytes:
    """Return the tar of files in a directory."""
    command = ["tar", "-cS", *FORMATS[form], "-C", str(folder), *names]
    return subprocess.run(command, capture_output=True, check=True).stdout


def sparse(name: str, holed: Holed, form: str) -> bytes:
    """Return a member of a layer, made by hand in one of the formats."""
    spans = [(position, len(data)) for position, data in holed.pieces]
    return raw(name, holed.size, spans, b"".join(data for _, data in holed.pieces), form)


def raw(name: str, size: int, spans: Sequence[tuple[int, int]], data: bytes, form: str) -> bytes:
    """Return the same, whatever the map says."""
    if form == "old":
        return _old(name, size, spans, data)
    if form == "1.0":
        front = "".join(
            f"{number}\n" for number in [len(spans), *(n for pair in spans for n in pair)]
        )
        body = front.encode()
        body += bytes(-len(body) % 512) + data
        pax = {"major": "1", "minor": "0", "name": name, "realsize": str(size)}
        return member(Item("GNUSparseFile.0/x", data=body, pax=prefixed(pax)))
    pax = {"size": str(size), "numblocks": str(len(spans))}
    if form == "0.1":
        flat = ",".join(f"{position},{length}" for position, length in spans)
        pax |= {"name": name, "map": flat}
        return member(Item("GNUSparseFile.0/x", data=data, pax=prefixed(pax)))
    pairs = [("offset", "numbytes")[n % 2] for n in range(2 * len(spans))]
    numbers = [str(number) for pair in spans for number in pair]
    records = [*pax.items(), *zip(pairs, numbers, strict=True)]
    body = b"".join(record(f"GNU.sparse.{key}", value) for key, value in records)
    return extension(body) + member(Item(name, data=data))


def prefixed(pax: dict[str, str]) -> dict[str, str]:
    """Return records with the whole names of their keys."""
    return {f"GNU.sparse.{key}": value for key, value in pax.items()}


def record(key: str, value: str) -> bytes:
    """Return a record of an extended header."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def extension(body: bytes) -> bytes:
    """Return an extended header with these records."""
    head = member(Item("x", b"x"))
    return summed(head[:124] + b"%011o\0" % len(body) + head[136:]) + padded(body)


def _old(name: str, size: int, spans: Sequence[tuple[int, int]], data: bytes) -> bytes:
    fields = [b"%011o\0%011o\0" % span for span in spans]
    head = bytearray(member(Item(name, data=data))[:512])
    head[156:157] = b"S"
    head[257:265] = b"ustar  \0"
    head[345:512] = bytes(167)
    head[386:482] = b"".join(fields[:4]).ljust(96, b"\0")
    head[482] = len(fields) > 4
    head[483:495] = b"%011o\0" % size
    made = summed(bytes(head))
    for start in range(4, len(fields), 21):
        block = b"".join(fields[start : start + 21]).ljust(504, b"\0")
        made += (block + bytes([start + 21 < len(fields)])).ljust(512, b"\0")
    return made + padded(data)


def summed(head: bytes) -> bytes:
    """Return a header with its checksum."""
    blank = head[:148] + b" " * 8 + head[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def holes_in(path: Path) -> bool:
    """Return whether a file has a hole that takes no space."""
    status = os.stat(path)
    return status.st_blocks * 512 < status.st_size
