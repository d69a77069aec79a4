"""Verify a saved archive, whichever program wrote it.

Every file that is named after its digest is hashed. Every reference is followed from `index.json`,
`manifest.json` and `repositories` down to the layers. Every layer is decompressed and compared with
its diff_id. The archive is read once, in order, and nothing is written.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from ...cancellation import Cancellation
from ...compression import Decompressor
from ...errors import ContentError, DockersaveError, SignatureError, UsageError
from ...limits import LIMITS, MIB
from ...progress import Progress
from ...signatures.policy import Policy
from ...spelling import argument
from ...values import dataclass
from .findings import NO_ARCHIVE, Fault
from .inventory import Inventory
from .reader import Members, read_directory, read_tar
from .references import CheckedImage, References

STDIN = "-"
_UNSIGNED = "save the image again, from its registry"
_TICK = 0.1
_SILENCE = 64 * MIB
"""How many bytes of a compressed archive may decompress to nothing in a row. Zeros after its end
do, and a pipe could bring them endlessly; blocks of all compression formats are smaller."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check.

    Args:
        path: of the archive.
        formats: `docker`, `oci`, `legacy`, or several of them.
        compression: of the whole archive, such as `gzip`; empty for none.
        images: those in it.
        files: the number of files.
        size: bytes that were read.
        faults: what is wrong; empty if the archive is intact.
        unsigned: images without a signature that was asked for, each with the reason.
        notes: what is unusual, but not wrong.
    """

    path: str
    formats: tuple[str, ...]
    compression: str
    images: tuple[CheckedImage, ...]
    files: int
    size: int
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    unsigned: tuple[Fault, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether the archive is intact, and signed as it was asked for."""
        return not self.faults and not self.unsigned

    def failure(self) -> DockersaveError:
        """The error for an archive that is not right: its first fault."""
        if not self.faults and self.unsigned:
            others = len(self.unsigned) - 1
            beside = f" (and {others} more like it)" * bool(others)
            first = self.unsigned[0]
            return SignatureError(f"{self.path}: {first}{beside}", first.advice or _UNSIGNED)
        more = f", and {len(self.faults) - 1} more" if len(self.faults) > 1 else ""
        why = f"{self.faults[0]}{more}"
        if hint := NO_ARCHIVE.get(self.faults[0].message):
            return ContentError(f"{self.path}: {why}", hint)
        if self.path.endswith(".part"):
            return ContentError(
                f"{self.path} is incomplete: {why}", "save it again, which continues"
            )
        return ContentError(f"{self.path} is damaged: {why}", "save or copy the archive again")


def check_archive(
    path: str | os.PathLike[str],
    *,
    policies: Sequence[Policy] = (),
    progress: Progress | None = None,
    cancellation: Cancellation | None = None,
) -> Report:
    """Check an archive written by dockersave, docker, podman, skopeo, crane or regctl.

    Args:
        path: a tar file, or a named pipe, plain or compressed with gzip, xz, zstd or bzip2; `-`
            for standard input; or a directory with the same content as files.
        policies: whose signatures its images need; they must be in the archive.
        progress: watches how much has been read.
        cancellation: stops the check from another thread.

    Returns:
        Its content and its faults.

    Raises:
        UsageError: it cannot be read.
        CancelledError: the check was stopped.
    """
    name = os.fspath(path)
    reading = Reading(name, progress or Progress(), cancellation or Cancellation())
    with closing(reading), reading.explaining():
        inventory = Inventory.of(reading.members())
    references = References(inventory)
    if not inventory.cut:
        references.follow()
    images = tuple(references.images)
    unsigned: tuple[Fault, ...] = ()
    if policies:
        from .signers import check_signers

        images, unsigned = check_signers(inventory, references, policies)
    return Report(
        path=name,
        formats=references.formats,
        compression=reading.compression,
        images=images,
        files=len(inventory.items),
        size=reading.present,
        faults=tuple(references.faults),
        notes=tuple(references.notes),
        unsigned=unsigned,
    )


class Reading:
    """The bytes of an archive that is being read; a `Transfer` for `Progress`.

    Args:
        path: as for `check_archive`.
        progress: watches how much has been read.
        cancellation: stops it.
    """

    def __init__(self, path: str, progress: Progress, cancellation: Cancellation) -> None:
        self.digest = path
        self.size = 0
        self.present = 0
        self.reused = 0
        self.done = False
        self._progress = progress
        self._cancellation = cancellation
        self._decompressor = Decompressor("the archive")
        self._fd = -1
        self._ticked = time.monotonic()

    @property
    def compression(self) -> str:
        """Compression of the archive as a whole, such as `gzip`; empty for none."""
        return self._decompressor.kind

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Translate errors from reading the archive.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            yield
        except OSError as failure:
            raise UsageError(
                f"cannot read {self.digest}: {failure.strerror or failure}",
                f"name an archive, or a directory written by {argument('tar')}, that you can read",
            ) from failure

    def members(self) -> Members:
        """Open it, and read its members in order."""
        if self.digest == STDIN:
            self._fd = os.dup(0)
        elif stat.S_ISDIR(mode := os.stat(self.digest).st_mode):
            return self._watched(read_directory(self.digest))
        elif not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            # Check before opening: opening some devices has effects, and others are endless.
            raise UsageError(
                f"cannot read {self.digest}: it is neither a file, a directory nor a pipe",
                "- stands for standard input",
            )
        else:
            self._fd = os.open(self.digest, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):
            status = os.fstat(self._fd)
            self.size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self._progress.start([self])
        return read_tar(self._unpacked())

    def _watched(self, members: Members) -> Members:
        self._progress.start([self])
        for found, content in members:
            self.size += found.size
            yield found, map(self._count, content)

    def _unpacked(self) -> Iterator[bytes]:
        silence = 0
        while data := os.read(self._fd, LIMITS.read):
            silence += len(data)
            for piece in self._decompressor.feed(self._count(data)):
                self._cancellation.check()
                silence = 0 if piece else silence
                yield piece
            if silence > _SILENCE:
                raise ContentError(f"more than {_SILENCE} bytes of it decompress to nothing")
        yield from self._decompressor.finish()

    def _count(self, data: bytes) -> bytes:
        self._cancellation.check()
        self.present += len(data)
        now = time.monotonic()
        if now - self._ticked > _TICK:
            self._ticked = now
            self._progress.tick()
        return data

    def close(self) -> None:
        """Close it."""
        self.done = True
        self._progress.tick()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
