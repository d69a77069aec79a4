"""`NAME.part`: locked while it is written, and given its own name when all of it is there.

What gets the name is what this run has open, by descriptor and inode, whatever has become of
`NAME.part` meanwhile. What is taken up, or removed, is what a save has left: a file or directory
that is being written has the sticky bit, which means nothing on files, and loses it when it has
its name. It is not in the way of anybody, survives a crash, and no other program sets it.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress

from ... import locks
from ...errors import OutputError
from ..disk import writing
from ..partmap import PartMap
from .ownership import MAP, not_ours, remove_members

_MARK = stat.S_ISVTX
_CHOOSE = "choose another name with --output"


class PartFile:
    """`NAME.part`, locked, which becomes `NAME`.

    Args:
        path: the final name.
        directory: whether it is a directory rather than a file.
    """

    def __init__(self, path: str, *, directory: bool = False) -> None:
        self.path = path
        self.part = f"{path}.part"
        self.is_new = False
        """Whether there was nothing to be taken up."""
        self._old = f"{path}.old" if directory else self.part
        self._spare = f"{self.part}~"
        self._directory = directory
        self.fd = -1

    def open(self) -> None:
        """Create it, or take up what an earlier run left.

        Raises:
            OutputError: it cannot be written, another run is writing it, or what has its name is
                nothing that a save has left.
        """
        for name in (self.path, self.part, self._old):
            self._check_kind(name)
        try:
            with writing(self.part):
                self._take()
        except BaseException:
            # What could not be taken is not this run's to be discarded.
            self.close()
            raise

    def _take(self) -> None:
        self._check_nobody_writes(self.path)
        while True:
            self.fd = self._open(self.part, os.O_RDWR | os.O_CREAT)
            self._lock(self.fd)
            if self._is(self.part):
                break
            # The run that held the lock has published the file under its final name.
            self.close()
        self.is_new = self._is_empty()
        self._check_is_left_over()
        if not self._directory:
            self._drop_spare()
        if not self._directory and os.fstat(self.fd).st_nlink > 1:
            self._drop_name()

    def _drop_name(self) -> None:
        """Somebody else names it, too, or a run was killed while it published: that name stays."""
        if self._is(self._spare):
            os.unlink(self._spare)
        if os.fstat(self.fd).st_nlink > 1:
            os.close(self.renew())
            self.is_new = True

    def _is(self, name: str) -> bool:
        """Whether a name is that of what is open here."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.lstat(name))
        except FileNotFoundError:
            return False

    def _is_empty(self) -> bool:
        return not (os.listdir(self.fd) if self._directory else os.fstat(self.fd).st_size)

    def _check_kind(self, name: str) -> None:
        """Refuse to replace what is something else: a device, a pipe, a directory."""
        try:
            # Asked once: another run may publish or remove it meanwhile.
            mode = os.stat(name).st_mode
        except OSError:
            # It is not there, or what cannot be asked is for whoever opens it to say.
            return
        is_directory = stat.S_ISDIR(mode)
        if not (is_directory if self._directory else stat.S_ISREG(mode)):
            kind = "not a directory" if self._directory else "not a regular file"
            raise OutputError(
                f"cannot write {self.path}: {name} is {'a directory' if is_directory else kind}",
                "remove it, or choose another name with --output" if is_directory else _CHOOSE,
            )
        if self._directory and (why := not_ours(name, complete=name != self.part)):
            raise OutputError(
                f"cannot write {self.path}: {name} {why}",
                "choose another name with --layers-dir",
            )

    def _check_nobody_writes(self, name: str) -> None:
        """Refuse to replace what is another run's `.part`."""
        try:
            if not os.lstat(name).st_mode & _MARK:
                return
            kind = os.O_DIRECTORY if self._directory else os.O_NONBLOCK
            fd = locks.open_to_lock(name, os.O_RDONLY | os.O_NOFOLLOW | kind)
        except OSError:
            # What cannot be opened is for whoever replaces it to say.
            return
        try:
            is_mine = self.fd >= 0 and os.path.samestat(os.fstat(fd), os.fstat(self.fd))
            if not (is_mine or locks.lock(fd, shared=True)):
                raise OutputError(
                    f"another dockersave is writing {name}", f"wait for it, or {_CHOOSE}"
                )
        finally:
            locks.close(fd)

    def _check_is_left_over(self) -> None:
        """Refuse to take up what no save has left: a whole archive, or something else."""
        if os.fstat(self.fd).st_mode & _MARK:
            return
        can_be_marked = self._mark()
        if self._directory:
            has_map = MAP in os.listdir(self.fd)
        else:
            has_map = PartMap.load(self.fd) is not None
        # Some file systems have no such bits: then there is only the name.
        if self.is_new or has_map or not can_be_marked:
            return
        unmark(self.fd)
        raise OutputError(
            f"cannot write {self.path}: {self.part} exists, but was not left by a save",
            f"move it away, or {_CHOOSE}",
        )

    def _mark(self) -> bool:
        """Mark it as not complete; returns whether that can be done here."""
        with suppress(OSError):
            os.fchmod(self.fd, stat.S_IMODE(os.fstat(self.fd).st_mode) | _MARK)
        return bool(os.fstat(self.fd).st_mode & _MARK)

    def _open(self, name: str, flags: int) -> int:
        if not self._directory:
            return locks.open_to_lock(name, flags | os.O_NOFOLLOW, 0o666 | _MARK)
        while True:
            with suppress(FileExistsError):
                os.mkdir(name, 0o777 | _MARK)
            # The run that made it may have published or removed it by now.
            with suppress(FileNotFoundError):
                return locks.open_to_lock(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def _lock(self, fd: int) -> None:
        if not locks.lock(fd):
            raise self._is_written()

    def _is_written(self) -> OutputError:
        return OutputError(
            f"another dockersave is writing {self.path}", f"wait for it, or {_CHOOSE}"
        )

    def renew(self) -> int:
        """Put an empty file in its place.

        Returns:
            The old one, open and without this name: its space is free when it is closed.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(self.part), ExitStack() as undo:
            self.check_is_here()
            os.unlink(self.part)
            try:
                fd = self._open(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                raise self._is_written() from None
            undo.callback(locks.close, fd)
            self._lock(fd)
            undo.pop_all()
        old, self.fd = self.fd, fd
        locks.let_go(old)
        return old

    def begin_beside(self) -> int:
        """Begin an empty file beside it, under a spare name, which `take_place` gives it its own.

        Returns:
            The old one, open, locked and with its name until then: a run that is killed meanwhile
            has lost nothing.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(self._spare), ExitStack() as undo:
            self.check_is_here()
            self._drop_spare()
            try:
                fd = self._open(self._spare, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                # That is somebody else's.
                return self.renew()
            undo.callback(locks.close, fd)
            self._lock(fd)
            undo.pop_all()
        old, self.fd = self.fd, fd
        return old

    def take_place(self, old: int) -> None:
        """Give what was begun beside the old one its name, and let go of that.

        Args:
            old: the old one, which is closed.

        Raises:
            OutputError: it cannot be, or somebody has replaced the old one.
        """
        try:
            with writing(self.part):
                if not self._is(self.part):
                    if not os.path.samestat(os.fstat(old), os.lstat(self.part)):
                        raise self._is_gone()
                    os.rename(self._spare, self.part)
        finally:
            locks.close(old)

    def give_up_beside(self, old: int) -> None:
        """Remove what was begun beside the old one, and go back to that.

        Args:
            old: the old one.
        """
        if self._is(self._spare):
            with suppress(OSError):
                os.unlink(self._spare)
        locks.close(self.fd)
        self.fd = old

    def _drop_spare(self) -> None:
        """Remove what a run has left that was killed before it was of use."""
        with suppress(FileNotFoundError):
            if os.lstat(self._spare).st_mode & _MARK and not self._is(self._spare):
                os.unlink(self._spare)

    def publish(self) -> None:
        """Put it on the disk, then under its final name, replacing what is there.

        Raises:
            OutputError: it cannot be, or is no longer there.
        """
        with writing(self.path):
            os.fsync(self.fd)
            if not self._is(self.path):
                self._check_kind(self.path)
                self._check_nobody_writes(self.path)
                if self._directory:
                    self._replace_directory()
                else:
                    self._replace_file()
            # Where somebody had given it its name already, it may have this one still.
            if not self._directory and self._is(self.part):
                os.unlink(self.part)
            with suppress(OSError):
                unmark(self.fd)
            directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def check_is_here(self) -> None:
        """Make sure that `NAME.part` is still what is open here.

        Raises:
            OutputError: somebody has removed or replaced it.
        """
        if not self._is(self.part):
            raise self._is_gone()

    def _is_gone(self) -> OutputError:
        return OutputError(
            f"cannot write {self.path}: {self.part} was removed or replaced in the meantime",
            "run the same command again, and keep other programs away from that file",
        )

    def _replace_file(self) -> None:
        try:
            # By descriptor: whatever has the name by now is not published. A directory's
            # descriptor makes Python ask for what a link in /proc leads to.
            here = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                mine = f"/proc/self/fd/{self.fd}"
                os.link(mine, self._spare, src_dir_fd=here, follow_symlinks=True)
            finally:
                os.close(here)
        except OSError:
            # No /proc, no links on this file system, or that name is taken.
            if not self._is(self.part):
                raise self._is_gone() from None
            os.rename(self.part, self.path)
            return
        try:
            os.rename(self._spare, self.path)
        except OSError:
            os.unlink(self._spare)
            raise

    def _replace_directory(self) -> None:
        self.check_is_here()
        # A directory cannot be renamed over another one.
        replaced = os.path.isdir(self.path)
        if replaced:
            remove_members(self._old)
            os.rename(self.path, self._old)
        try:
            os.rename(self.part, self.path)
            if not self._is(self.path):
                os.rename(self.path, self.part)
                raise self._is_gone()
        except BaseException:
            if replaced:
                os.rename(self._old, self.path)
            raise
        if replaced and not remove_members(self._old):
            raise OutputError(
                f"{self.path} is saved, but {self._old} holds files added in the meantime",
                f"move them out of {self._old}, then remove it",
            )

    def discard(self) -> None:
        """Remove it: the next run could do nothing with it."""
        with suppress(OSError):
            if self._is(self.part):
                if self._directory:
                    remove_members(self.part)
                else:
                    os.unlink(self.part)

    def close(self) -> None:
        """Let go of it, whatever has become of it."""
        if self.fd >= 0:
            locks.close(self.fd)
            self.fd = -1


def unmark(fd: int) -> None:
    """Take off a file what says that it is not complete.

    Raises:
        OSError: that cannot be done here.
    """
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & _MARK:
        os.fchmod(fd, mode & ~_MARK)
