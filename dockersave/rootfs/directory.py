"""Write a merged file system into a directory, one directory at a time by its descriptor.

Nothing is followed, and nothing that exists is opened: names are only created, in directories that
were created just before, in a place that nobody else can enter. What this process may not have
(other owners, devices, some attributes) is left out and counted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ..archive.disk import write_all, writing
from ..archive.read.headers import DIRECTORY, SYMBOLIC_LINK
from ..errors import OutputError, shown
from .content import pieces
from .headers import BLOCK_DEVICE, CHARACTER_DEVICE, FILE, PIPE, Content, Member
from .merge import Tree
from .missing import SETUID, Missing, lacking
from .nodes import Entry
from .placed import Placed, changed_meanwhile
from .unchanged import Earlier
from .walk import FOLDER

_DENIED = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOVERFLOW)
"""Another owner: EINVAL if a user namespace has no such id."""
_NO_XATTR = (
    *(*_DENIED, errno.EOPNOTSUPP, errno.E2BIG, errno.ERANGE),
    *(errno.ENOSPC, errno.ENOENT),
)
"""ext4 says ENOSPC if attributes are too large, however much space there is. ENOENT is for those of
a link where there is no /proc."""
_SPECIAL = {
    CHARACTER_DEVICE: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    PIPE: stat.S_IFIFO,
}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Placing:
    """Writes a file system into an empty directory.

    Args:
        root: the directory, open; owned by this process and closed to others.
        check: called for each path; may raise to stop.
        earlier: what an earlier save has left.
        folder: where it is in the directory that is saved: empty, or it ends in a slash.
    """

    def __init__(
        self,
        root: int,
        check: Callable[[], object] = lambda: None,
        earlier: Earlier | None = None,
        folder: str = "",
    ) -> None:
        self.missing = Missing()
        self.placed = Placed(os.fsencode(folder))
        self._root = root
        self._check = check
        self._earlier = earlier
        self._open: list[tuple[int, bytes, Member | None]] = []
        self._locked: list[tuple[bytes, int]] = []
        """Directories that their owner cannot enter, inner ones first, with their final modes."""
        self._path = b""
        self._absent: set[bytes] = set()
        """Devices that were not created: links to them are not either."""

    def write(self, tree: Tree, layers: Sequence[Content]) -> None:
        """Write all of it.

        Args:
            tree: the file system.
            layers: those that it was made of.

        Raises:
            OutputError: it cannot be written.
            ContentError: a layer ends in the middle of a file, or a path is too long.
        """
        top: Member | None = None
        try:
            with self._writing():
                self._open.append((os.dup(self._root), b".", None))
                for entry in tree.entries():
                    self._check()
                    if not entry.path:
                        top = entry.member
                        continue
                    self._path = entry.path
                    while len(self._open) > entry.depth + 1:
                        self._leave()
                    self._create(entry, layers)
                while len(self._open) > 1:
                    self._leave()
                self._open[0] = (*self._open[0][:2], top)
                self._leave()
                for path, mode in self._locked:
                    os.chmod(path, mode, dir_fd=self._root)
        finally:
            while self._open:
                os.close(self._open.pop()[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError as failure:
            raise OutputError(
                f"cannot write {_shown(self._path)}: the file system takes two names for one",
                "write to a file system that tells upper and lower case apart, or write a tar",
            ) from failure
        except OSError as failure:
            cause = os.strerror(failure.errno or 0)
            raise OutputError(f"cannot write {_shown(self._path)}: {cause}") from failure

    def _create(self, entry: Entry, layers: Sequence[Content]) -> None:
        name, parent = entry.path.rpartition(b"/")[2], self._open[-1][0]
        if entry.same in self._absent:
            return
        if not entry.same and entry.kind == FILE and self._earlier:
            kept = self._earlier.keep(entry, layers[entry.layer], parent, name)
            if kept:
                if kept.lacks:
                    self.missing.add(Missing.of(kept.lacks))
                self.placed.add(entry, kept.inode, kept.lacks, kept.changed)
                return
        member = entry.member
        if entry.same:
            was_kept = member.kind == FILE and self._was_kept(entry.same)
            os.link(
                entry.same, name, src_dir_fd=self._root, dst_dir_fd=parent, follow_symlinks=False
            )
            if member.kind == FILE:
                status = os.lstat(name, dir_fd=parent)
                where = b"/proc/self/fd/%d/%b" % (parent, name)
                lacks = lacking(member, status, partial(_xattr, where))
                changed = status.st_ctime_ns if was_kept else 0
                self.placed.add(entry, status.st_ino, lacks.packed, changed)
        elif member.kind == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._open.append((os.open(name, FOLDER, dir_fd=parent), entry.path, member))
        elif member.kind == FILE:
            self._create_file(parent, name, entry, layers[entry.layer])
        elif member.kind == SYMBOLIC_LINK:
            os.symlink(member.target, name, dir_fd=parent)
            self._own_name(parent, name, member)
        else:
            self._create_special(parent, entry.path, member)

    def _was_kept(self, path: bytes) -> bool:
        """Whether an earlier save had a file that gets another name.

        Raises:
            OutputError: it was changed meanwhile.
        """
        if not self._earlier:
            return False
        try:
            return self.placed.was_kept(os.lstat(path, dir_fd=self._root))
        except ValueError:
            raise changed_meanwhile(_shown(path)) from None

    def _create_file(self, parent: int, name: bytes, entry: Entry, layer: Content) -> None:
        member = entry.member
        fd = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            end = 0
            for position, data in pieces(layer, member):
                self._check()
                write_all(fd, data, position)
                end = position + len(data)
            if end < member.size:
                os.ftruncate(fd, member.size)
            self._finish(fd, member)
            status = os.fstat(fd)
            lacks = lacking(member, status, partial(_xattr, fd))
            self.placed.add(entry, status.st_ino, lacks.packed)
        finally:
            os.close(fd)

    def _create_special(self, parent: int, path: bytes, member: Member) -> None:
        name = path.rpartition(b"/")[2]
        device = os.makedev(*member.device)
        try:
            os.mknod(name, _SPECIAL[member.kind] | 0o600, device, dir_fd=parent)
        except OSError as failure:
            if member.kind == PIPE or failure.errno not in _DENIED:
                raise
            self.missing.devices += 1
            self._absent.add(path)
            return
        is_ours = self._own_name(parent, name, member)
        # Just created in a directory of ours: it is no link.
        os.chmod(name, self._mode(member, is_ours=is_ours), dir_fd=parent)

    def _own_name(self, parent: int, name: bytes, member: Member) -> bool:
        """Set owner, attributes and time of a name; returns whether it is its owner's."""
        is_ours = self._had(
            lambda: os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        )
        for key, value in member.xattrs.items():
            where = b"/proc/self/fd/%d/%b" % (parent, name)
            self._set(where, key, value)
        times = member.mtime, member.mtime
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
        return is_ours

    def _finish(self, fd: int, member: Member) -> int:
        """Set owner, mode, attributes and time of an open file; returns the mode."""
        is_ours = self._had(lambda: os.fchown(fd, member.uid, member.gid))
        for key, value in member.xattrs.items():
            self._set(fd, key, value)
        mode = self._mode(member, is_ours=is_ours)
        # After the owner, which takes such bits away.
        os.fchmod(fd, mode)
        os.utime(fd, ns=(member.mtime, member.mtime))
        return mode

    def _leave(self) -> None:
        """Finish a directory: nothing more is written into it."""
        fd, path, member = self._open[-1]
        if member is None:
            # No layer describes it: the same each time.
            os.fchmod(fd, 0o755)
            os.utime(fd, ns=(0, 0))
        elif not member.mode & stat.S_IXUSR and os.geteuid():
            # A hard link to something in it may follow, and only root could make it then.
            mode = self._finish(fd, member._replace(mode=member.mode | stat.S_IRWXU))
            self._locked.append((path, mode & member.mode))
        else:
            self._finish(fd, member)
        os.close(fd)
        self._open.pop()

    def _had(self, own: Callable[[], object]) -> bool:
        try:
            own()
        except OSError as failure:
            if failure.errno not in _DENIED:
                raise
            self.missing.owners += 1
            return False
        return True

    def _mode(self, member: Member, *, is_ours: bool) -> int:
        if is_ours or not member.mode & SETUID:
            return member.mode
        self.missing.setuid += 1
        return member.mode & ~SETUID

    def _set(self, where: int | bytes, key: bytes, value: bytes) -> None:
        try:
            os.setxattr(where, key, value, follow_symlinks=isinstance(where, int))
        except OSError as failure:
            if failure.errno not in _NO_XATTR:
                raise
            self.missing.xattrs += 1


def make_directory(folder: int, name: str) -> int:
    """Make a directory and open it.

    Args:
        folder: the directory that it is made in, open.
        name: its name.

    Raises:
        OutputError: it cannot be made.
    """
    with writing(name):
        os.mkdir(name, 0o700, dir_fd=folder)
        return os.open(name, FOLDER, dir_fd=folder)


def write_file(folder: int, name: str, body: bytes) -> None:
    """Create a file, of 1970, as in a tar.

    Args:
        folder: the directory that it is created in, open.
        name: its name.
        body: its content.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(name):
        fd = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            write_all(fd, body, 0)
            os.fchmod(fd, 0o644)
            os.utime(fd, (0, 0))
        finally:
            os.close(fd)


def has_file(folder: str, name: str, body: bytes) -> bool:
    """Whether a directory has a file with this content. The file is not followed.

    Args:
        folder: the directory.
        name: the file's name.
        body: the content.
    """
    try:
        fd = os.open(os.path.join(folder, name), _READING)
        try:
            return os.pread(fd, len(body) + 1, 0) == body
        finally:
            os.close(fd)
    except OSError:
        return False


def _xattr(where: int | bytes, key: bytes) -> bytes | None:
    try:
        return os.getxattr(where, key)
    except OSError:
        return None


def _shown(path: bytes) -> str:
    return shown(path.decode("utf-8", "replace"))
