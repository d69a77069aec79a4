"""A directory that is made beside its final name, and renamed when it is complete.

`NAME.part` is a directory of ours, which nobody else can enter. In it, `new` is being made, and
`old` is what `new` has replaced. `NAME.saved` says what a save made: only a directory that is still
that is replaced. So nothing is deleted that somebody has put there, or changed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress

from .. import locks
from ..archive.disk import sync, writing
from ..errors import OutputError
from ..limits import LIMITS
from ..spelling import argument

_MARK = ".dockersave"
"""The file that makes `NAME.part` ours."""
_MAGIC = b"dockersave"
"""What `NAME.saved` begins with."""
_INSIDE = ("new", "old", "note")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Stage:
    """`NAME.part`, in which `NAME` is made.

    Args:
        path: the final name.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._part = f"{path}.part"
        self._saved = f"{path}.saved"
        self._fd = self._new = -1
        self._is_ours = False

    def open(self) -> int:
        """Take it, and remove what an earlier run left.

        Returns:
            The descriptor of an empty directory, which `close` closes.

        Raises:
            OutputError: it cannot be written, another run is writing it, or `NAME` or `NAME.part`
                was not made by a save, or was changed since.
        """
        with writing(self._part):
            self._take()
            self._check_is_ours()
            for name in _INSIDE:
                if name == "old" and not os.path.lexists(self.path) and self._has("old"):
                    # A run was killed between its two last steps.
                    os.rename("old", self.path, src_dir_fd=self._fd)
                remove(self._fd, name)
            self._check_may_be_replaced()
            os.mkdir("new", 0o700, dir_fd=self._fd)
            self._new = os.open("new", _FOLDER, dir_fd=self._fd)
        return self._new

    def check_names(self) -> None:
        """Refuse a name that has something else than what a save made.

        Raises:
            OutputError: it has, or it cannot be told.
        """
        with writing(self.path):
            self._check_may_be_replaced()

    def _take(self) -> None:
        while True:
            with suppress(FileExistsError):
                os.mkdir(self._part, 0o700)
            try:
                self._fd = locks.open_to_lock(self._part, _FOLDER)
            except FileNotFoundError:
                # Another run has just finished.
                continue
            if not locks.lock(self._fd):
                raise OutputError(
                    f"another dockersave is writing {self.path}",
                    f"wait for it, or choose another name with {argument('output')}",
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._fd), os.lstat(self._part)):
                    return
            locks.close(self._fd)
            self._fd = -1

    def _has(self, name: str) -> bool:
        return name in os.listdir(self._fd)

    def _check_is_ours(self) -> None:
        names = set(os.listdir(self._fd))
        if names and (_MARK not in names or names - {_MARK, *_INSIDE}):
            raise OutputError(
                f"cannot write {self.path}: {self._part} exists, but was not left by a save",
                f"move it away, or choose another name with {argument('output')}",
            )
        os.close(os.open(_MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._fd))
        self._is_ours = True

    def _check_may_be_replaced(self) -> None:
        """Refuse to replace anything else than what a save made.

        Raises:
            OutputError: `NAME` is something else, or was changed since.
        """
        known = self._known()
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            why = "is not a directory"
        elif not known:
            why = "was not made by a save"
        elif fingerprint(self.path) not in known:
            why = "was changed since it was saved, or something is mounted in it"
        else:
            return
        raise OutputError(
            f"cannot write {self.path}: it exists, and {why}",
            f"move it away, or choose another name with {argument('output')}",
        )

    def _known(self) -> list[str]:
        """The fingerprints of what saves made under this name.

        Raises:
            OutputError: the file for them is something else.
        """
        try:
            fd = os.open(self._saved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            magic, *known = os.read(fd, LIMITS.error_body).split() or [b""]
        finally:
            os.close(fd)
        if magic != _MAGIC:
            raise OutputError(
                f"cannot write {self.path}: {self._saved} exists, but was not written by a save",
                f"move it away, or choose another name with {argument('output')}",
            )
        return [each.decode("ascii", "replace") for each in known]

    def _note(self, *fingerprints: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        # Written where nobody else writes, then renamed.
        fd = os.open("note", flags, 0o600, dir_fd=self._fd)
        try:
            os.fchmod(fd, 0o644)
            os.write(fd, b"\n".join([_MAGIC, *map(str.encode, fingerprints), b""]))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename("note", self._saved, src_dir_fd=self._fd)

    def commit(self) -> None:
        """Bring it to the disk and give it its name; then remove what had it.

        Raises:
            OutputError: it cannot be published, or what has the name was changed meanwhile.
        """
        with writing(self.path):
            self._check_is_here()
            # There is no call for one file system, and one for each file takes far longer.
            os.sync()
            new = fingerprint("new", self._fd)
            self._check_may_be_replaced()
            replaces = os.path.lexists(self.path)
            # Killed in between, the next run knows either of them.
            self._note(*(fingerprint(self.path), new) if replaces else (new,))
            if replaces:
                self._rename_over()
            else:
                self._move_new()
            if replaces:
                self._note(new)
            sync(os.path.dirname(self.path) or ".")

    def _rename_over(self) -> None:
        try:
            if os.geteuid():
                os.chmod(self.path, stat.S_IRWXU)
            os.rename(self.path, "old", dst_dir_fd=self._fd)
        except OSError as failure:
            if failure.errno != errno.EBUSY:
                raise
            raise OutputError(
                f"cannot write {self.path}: something is mounted there",
                f"unmount it, or choose another name with {argument('output')}",
            ) from failure
        try:
            self._move_new()
        except BaseException:
            os.rename("old", self.path, src_dir_fd=self._fd)
            raise

    def _move_new(self) -> None:
        mode = stat.S_IMODE(os.fstat(self._new).st_mode)
        # Who may not write into a directory may not move it elsewhere.
        os.fchmod(self._new, mode | stat.S_IRWXU)
        try:
            os.rename("new", self.path, src_dir_fd=self._fd)
        finally:
            os.fchmod(self._new, mode)

    def _check_is_here(self) -> None:
        with suppress(FileNotFoundError):
            ours = os.path.samestat(os.fstat(self._fd), os.lstat(self._part))
            new = os.stat("new", dir_fd=self._fd, follow_symlinks=False)
            if ours and os.path.samestat(os.fstat(self._new), new):
                return
        raise OutputError(
            f"cannot write {self.path}: {self._part} was removed or replaced in the meantime",
            f"{argument('again')}, and keep other programs away from that directory",
        )

    def close(self) -> None:
        """Remove whatever is left of it."""
        if self._new >= 0:
            os.close(self._new)
            self._new = -1
        if self._is_ours:
            self._is_ours = False
            with suppress(OSError):
                for name in (*_INSIDE, _MARK):
                    remove(self._fd, name)
                if os.path.samestat(os.fstat(self._fd), os.lstat(self._part)):
                    os.rmdir(self._part)
        if self._fd >= 0:
            locks.close(self._fd)
            self._fd = -1


def fingerprint(path: str, folder: int | None = None) -> str:
    """A digest of what is in a directory: names, types, modes, sizes, times and targets of links.

    No save mounts anything. So a mount makes another digest, and is not entered.

    Args:
        path: its name.
        folder: the directory that the name is in; None for the working directory.

    Raises:
        OSError: it cannot be read.
    """
    seen = hashlib.sha256()
    top = os.open(path, _FOLDER, dir_fd=folder)
    try:
        _look(top, os.fstat(top).st_dev, b"", seen)
    finally:
        os.close(top)
    return seen.hexdigest()


def _look(folder: int, device: int, prefix: bytes, seen: hashlib._Hash) -> None:
    if prefix.count(b"/") > LIMITS.rootfs_depth:
        # No save makes that.
        seen.update(b"deeper")
        return
    for name in sorted(map(os.fsencode, os.listdir(folder))):
        status = os.lstat(name, dir_fd=folder)
        is_directory = stat.S_ISDIR(status.st_mode)
        target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else b""
        size = 0 if is_directory else status.st_size
        facts = b"%d %d %d" % (status.st_mode, size, status.st_mtime_ns)
        seen.update(b"\0".join((prefix + name, facts, target, b"")))
        if is_directory and status.st_dev != device:
            seen.update(b"mounted")
        elif is_directory:
            try:
                inner = os.open(name, _FOLDER, dir_fd=folder)
            except PermissionError:
                # Its mode says so, and is a part of the digest.
                continue
            try:
                _look(inner, device, prefix + name + b"/", seen)
            finally:
                os.close(inner)


def remove(folder: int, name: str | bytes) -> None:
    """Remove a file, or a directory with all that is in it, if it exists.

    Args:
        folder: the directory that it is in, open.
        name: its name.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        status = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    if os.geteuid() and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        # Not followed: it is a directory, in a directory that only this user can enter.
        os.chmod(name, stat.S_IRWXU, dir_fd=folder)
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for each in os.listdir(inner):
            remove(inner, each)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)
