"""Find reusable parts of an existing archive, even an incomplete one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import IO

from ...errors import ContentError
from ...limits import LIMITS
from ...model.digest import Verifier, is_digest
from ..members import Layer
from ..tar import BLOCK, header
from .headers import parse_header
from .reader import read_file


def blobs_of(file: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """The blobs of an archive as (digest, offset, size), as far as it is readable.

    The archive is untrusted: it only says where to look, and the content is hashed.
    """
    try:
        for count, (found, offset) in enumerate(read_file(file.fileno())):
            if count >= LIMITS.archive_members:
                return
            folder, _, name = found.path.rpartition("/")
            digest = f"{folder.removeprefix('blobs/')}:{name}"
            if found.kind == "file" and is_digest(digest):
                yield digest, offset, found.size
    except (ContentError, OSError):
        return


def is_there(fd: int, offset: int, size: int, digest: str, check: Callable[[], object]) -> bool:
    """Whether a file contains a blob; the blob is hashed completely.

    Args:
        fd: the file.
        offset: where the blob should start, in bytes.
        size: its expected size in bytes.
        digest: its expected digest.
        check: called for every chunk; may raise to stop.

    Raises:
        OSError: the file cannot be read.
    """
    if offset + size > os.fstat(fd).st_size:
        return False
    verifier = Verifier(digest, None, "")
    while verifier.seen < size:
        check()
        data = os.pread(fd, min(LIMITS.read, size - verifier.seen), offset + verifier.seen)
        if not data:
            return False
        verifier.update(data)
    return verifier.value == digest


def stated_size(fd: int, offset: int, layer: Layer) -> int:
    """The size, in bytes, of a layer whose header lies at an offset; -1 if no such header does.

    Raises:
        OSError: the file cannot be read.
    """
    found = os.pread(fd, len(header(layer, 0)), offset)
    try:
        size = parse_header(found[-BLOCK:], offset).size
    except ContentError:
        return -1
    return size if header(layer, size) == found else -1
