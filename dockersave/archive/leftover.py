"""What of an archive is there already, however much of it there is."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from typing import IO

from ..limits import LIMITS
from ..verify import Verifier, is_digest
from .members import Member
from .tar import header


def blobs_of(file: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """The blobs of an archive, as (digest, offset, size), as far as it can be read."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                folder, _, name = info.name.removeprefix("./").rpartition("/")
                digest = f"{folder.removeprefix('blobs/')}:{name}"
                if info.isreg() and not info.issparse() and is_digest(digest):
                    yield digest, info.offset_data, info.size
    except (tarfile.TarError, OSError, ValueError, OverflowError):
        return


def is_there(fd: int, offset: int, size: int, digest: str, check: Callable[[], object]) -> bool:
    """Whether a file holds a blob; all of it is hashed.

    Args:
        fd: the file.
        offset: where the blob should begin, in bytes.
        size: how large it should be, in bytes.
        digest: what it should hash to.
        check: called for every chunk; what it raises ends the hashing.

    Raises:
        OSError: the file cannot be read.
    """
    verifier = Verifier(digest, None, "")
    while verifier.seen < size:
        check()
        data = os.pread(fd, min(LIMITS.read, size - verifier.seen), offset + verifier.seen)
        if not data:
            return False
        verifier.update(data)
    return verifier.value == digest


def stated_size(fd: int, offset: int, member: Member) -> int:
    """The size, in bytes, of a member whose header lies at an offset; -1 if no such header does.

    Raises:
        OSError: the file cannot be read.
    """
    found = os.pread(fd, len(header(member, 0)), offset)
    try:
        size = tarfile.TarInfo.frombuf(found[-tarfile.BLOCKSIZE :], "utf-8", "strict").size
    except (tarfile.HeaderError, ValueError):
        return -1
    return size if size >= 0 and header(member, size) == found else -1
