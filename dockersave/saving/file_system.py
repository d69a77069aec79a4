"""The file system of an image, read in place: nothing of it is written out."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

from .. import locks
from ..cancellation import Cancellation
from ..errors import ContentError, NotFoundError, UsageError, shown
from ..files import path_text
from ..model.options import Network, Options
from ..model.reference import Reference
from ..progress import Progress
from ..values import check_kind, dataclass, field, replace
from .destination import STDOUT
from .flatten import merged
from .resolve import resolve
from .save import SavedImage, running

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from ..rootfs.headers import Member
    from ..rootfs.merge import Tree
    from ..rootfs.nodes import Entry

AnyPath = str | os.PathLike[str]

_TYPES = {
    "0": "file",
    "2": "symlink",
    "3": "character device",
    "4": "block device",
    "5": "directory",
    "6": "fifo",
}


@dataclass(frozen=True, slots=True)
class FileStat:
    """What a file system of an image says about a path.

    Args:
        type: `file`, `directory`, `symlink`, `character device`, `block device` or `fifo`.
        mode: permission bits, with setuid, setgid and sticky.
        uid, gid: its owner.
        size: of a file, in bytes; 0 of anything else.
        mtime_ns: nanoseconds since 1970.
        target: of a symbolic link; empty for anything else.
        device: major and minor number; zeros for what is no device.
        xattrs: extended attributes.
    """

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


class FileSystem:
    """What the layers of an image make, to be read. A context manager.

    Threads can share it, and forked children can go on reading.

    All layers are fetched, or read from an archive, when it is made. They are unpacked into unnamed
    files in `options.working_dir`, and verified there. `close` frees their space.

    Paths are those of the image, from its root, with or without a slash in front. Symbolic links
    never leave it. A name that is no UTF-8 is as in `os.fsdecode`. Iteration gives all paths: each
    directory before what is in it, names in the order of their bytes.

    Args:
        image: the reference. With `archive` it is needed only if that holds several images.
        archive: a saved archive to take the image from, without any registry; short for
            `options.from_archive`.
        options: which image, and where layers may come from. What is about the output has no
            effect.
        network: how to reach registries.
        progress: watches the layers.
        notify: gets lines that the user should see.
        cancellation: stops it from another thread.
        trace: gets a line for each request; as for `save`.

    Raises:
        As `save`, and `NotFoundError` also if the image has nothing of `options.only`.
    """

    def __init__(
        self,
        image: str | Reference | None = None,
        *,
        archive: AnyPath | None = None,
        options: Options | None = None,
        network: Network | None = None,
        progress: Progress | None = None,
        notify: Callable[[str], None] = lambda line: None,
        cancellation: Cancellation | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        check_kind(Options, options=options)
        options = options or Options()
        if archive is not None:
            options = replace(options, from_archive=path_text("archive", archive))
        # A file system, written nowhere.
        options = replace(options, format="rootfs", output=STDOUT, tar=True, tree=False, lock=None)
        options = replace(options, tarname=None, layers_dir=None, xz=False, zstd=False)
        options = replace(options, owner_map=())
        images = [] if image is None else [image]
        # A child that is forked meanwhile would never get a lock of its own.
        self._lock = locks.no_fork
        self._ending = ExitStack()
        self._tree: Tree | None = None
        with running(images, None, options, network, progress, notify, cancellation, trace) as (
            job,
            references,
            _,
        ):
            job.progress.phase("resolving")
            (found,) = resolve(job, references)
            self.image = SavedImage.of(found)
            self.config = found.primary.config_body
            self._tree, self._layers = self._ending.enter_context(merged(job, found))

    image: SavedImage
    """Which image it is."""
    config: bytes
    """The image's config, byte for byte."""

    def __iter__(self) -> Iterator[str]:
        entries = self._opened().entries()
        while True:
            with self._lock:
                self._opened()
                entry = next(entries, None)
            if entry is None:
                return
            if entry.path:
                yield os.fsdecode(entry.path)

    def stat(self, path: AnyPath, *, follow_symlinks: bool = True) -> FileStat:
        """What is at a path.

        Args:
            path: in the image.
            follow_symlinks: if it is a symbolic link itself, whether to follow it.

        Raises:
            NotFoundError: there is nothing.
            ContentError: links lead to each other.
            UsageError: the file system is closed.
        """
        with self._lock:
            member = self._find(path, follow=follow_symlinks).member
        return FileStat(
            type=_TYPES[chr(member.kind)],
            mode=member.mode,
            uid=member.uid,
            gid=member.gid,
            size=member.size,
            mtime_ns=member.mtime,
            target=os.fsdecode(member.target),
            device=member.device,
            xattrs={os.fsdecode(key): value for key, value in member.xattrs.items()},
        )

    def open(self, path: AnyPath) -> BinaryIO:
        """Open a file for reading. It stays open if the file system is closed.

        Args:
            path: in the image; links are followed.

        Raises:
            NotFoundError: there is nothing.
            ContentError: links lead to each other.
            UsageError: it is not a file, or the file system is closed.
        """
        with self._lock:
            entry = self._find(path, follow=True)
            what = _TYPES[chr(entry.member.kind)]
            if what != "file":
                raise UsageError(f"{_shown(path)} is a {what}, not a file", "stat tells the type")
            return io.BufferedReader(_File(self._layers[entry.layer].file, entry.member))

    def close(self) -> None:
        """Free the space of the layers. Can be called twice."""
        with self._lock:
            self._tree = None
            self._ending.close()

    def __enter__(self) -> FileSystem:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _opened(self) -> Tree:
        if self._tree is None:
            raise UsageError("the file system is closed", "read from it before you close it")
        return self._tree

    def _find(self, path: AnyPath, *, follow: bool) -> Entry:
        """What is at a path. The lock is held."""
        try:
            found = self._opened().find(os.fsencode(path), follow=follow)
        except UnicodeEncodeError:
            # No file has such a name.
            found = None
        if found is None:
            raise NotFoundError(
                f"{self.image.reference} has no {_shown(path)}",
                "write the path as in the image, such as etc/os-release",
            )
        return found


class _File(io.RawIOBase):
    """A file in a layer.

    Args:
        layer: the layer's file, which stays the caller's.
        member: the file.
    """

    def __init__(self, layer: int, member: Member) -> None:
        self._fd = os.dup(layer)
        self._size = member.size
        self._starts = [start for start, _ in member.pieces]
        self._lengths = [length for _, length in member.pieces]
        self._offsets = list(accumulate(self._lengths, initial=member.content))
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; returns it."""
        self._checked()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read up to the end of a piece, or of the hole behind it."""
        self._checked()
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        number = bisect_right(self._starts, self._position) - 1
        inside = self._position - self._starts[number] if number >= 0 else 0
        if not view:
            return 0
        if number >= 0 and inside < self._lengths[number]:
            view = view[: self._lengths[number] - inside]
            count = os.preadv(self._fd, [view], self._offsets[number] + inside)
            if not count:
                raise ContentError("a layer is truncated in the middle of a file")
        else:
            following = self._starts[number + 1 : number + 2] or [self._size]
            count = min(len(view), following[0] - self._position)
            view[:count] = bytes(count)
        self._position += count
        return count

    def close(self) -> None:
        """Close it."""
        if not self.closed:
            os.close(self._fd)
        super().close()

    def _checked(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


def _shown(path: AnyPath) -> str:
    return shown(os.fspath(path))
