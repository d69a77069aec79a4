"""`NAME.part`: locked while it is being written, and renamed when it is complete.

The final name goes to what this run has open, by descriptor and inode, whatever has happened to
`NAME.part`. Only leftovers of a save are continued or removed: files and directories being written
have the sticky bit, and lose it with their final name. On files it has no meaning, it survives a
crash, and no other program sets it.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress

from ... import locks
from ...errors import OutputError
from ...spelling import argument
from ..disk import sync, writing
from ..partmap import PartMap
from .ownership import MAP, not_ours, remove_members

_MARK = stat.S_ISVTX
_CHOOSE = f"choose another name with {argument('output')}"
_CHOOSE_DIRECTORY = f"choose another name with {argument('layers_dir')}"


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
        """Whether there was nothing to continue."""
        self._old = f"{path}.old" if directory else self.part
        self._spare = f"{self.part}~"
        self._directory = directory
        self.fd = -1

    def open(self) -> None:
        """Create it, or continue what an earlier run left.

        Raises:
            OutputError: it cannot be written, another run is writing it, or it was not left by a
                save.
        """
        self.check_names()
        try:
            with writing(self.part):
                self._take()
        except BaseException:
            # Without the lock, it is not this run's to discard.
            self.close()
            raise

    def check_names(self) -> None:
        """Refuse names of what must not be replaced or continued.

        Raises:
            OutputError: there is something else.
        """
        for name in (self.path, self.part, self._old):
            self._check_kind(name)

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
        """It has another link, or a run was killed while publishing: keep that name."""
        if self._is(self._spare):
            os.unlink(self._spare)
        if os.fstat(self.fd).st_nlink > 1:
            os.close(self.renew())
            self.is_new = True

    def _is(self, name: str) -> bool:
        """Whether a name refers to the open file."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.lstat(name))
        except FileNotFoundError:
            return False

    def _is_empty(self) -> bool:
        return not (os.listdir(self.fd) if self._directory else os.fstat(self.fd).st_size)

    def _check_kind(self, name: str) -> None:
        """Refuse to replace anything else: a device, a pipe, a directory."""
        try:
            # Checked once: another run may publish or remove it in the meantime.
            mode = os.stat(name).st_mode
        except OSError:
            # It does not exist, or opening it will report the error.
            return
        is_directory = stat.S_ISDIR(mode)
        choose = _CHOOSE_DIRECTORY if self._directory else _CHOOSE
        if not (is_directory if self._directory else stat.S_ISREG(mode)):
            kind = "not a directory" if self._directory else "not a regular file"
            what = "it" if name == self.path else name
            raise OutputError(
                f"cannot write {self.path}: {what} is {'a directory' if is_directory else kind}",
                f"remove it, or {choose}" if is_directory else choose,
            )
        if self._directory and (why := not_ours(name, complete=name != self.part)):
            raise OutputError(f"cannot write {self.path}: {name} {why}", choose)

    def _check_nobody_writes(self, name: str) -> None:
        """Refuse to replace another run's `.part`."""
        try:
            if not os.lstat(name).st_mode & _MARK:
                return
            kind = os.O_DIRECTORY if self._directory else os.O_NONBLOCK
            fd = locks.open_to_lock(name, os.O_RDONLY | os.O_NOFOLLOW | kind)
        except OSError:
            # Replacing it will report the error.
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
        """Refuse to continue what was not left by a save: a complete archive, or something else."""
        if os.fstat(self.fd).st_mode & _MARK:
            return
        can_be_marked = self._mark()
        if self._directory:
            has_map = MAP in os.listdir(self.fd)
        else:
            has_map = PartMap.load(self.fd) is not None
        # Some file systems have no such bits: then only the name counts.
        if self.is_new or has_map or not can_be_marked:
            return
        unmark(self.fd)
        raise OutputError(
            f"cannot write {self.path}: {self.part} exists, but was not left by a save",
            f"move it away, or {_CHOOSE}",
        )

    def _mark(self) -> bool:
        """Mark it as incomplete; returns whether the file system supports that."""
        with suppress(OSError):
            os.fchmod(self.fd, stat.S_IMODE(os.fstat(self.fd).st_mode) | _MARK)
        return bool(os.fstat(self.fd).st_mode & _MARK)

    def _open(self, name: str, flags: int) -> int:
        if not self._directory:
            return locks.open_to_lock(name, flags | os.O_NOFOLLOW, 0o666 | _MARK)
        while True:
            with suppress(FileExistsError):
                os.mkdir(name, 0o777 | _MARK)
            # The run that created it may have published or removed it by now.
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
        """Replace it with an empty file.

        Returns:
            The old one, open and unlinked: closing it frees its space.

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
        locks.unlock(old)
        return old

    def begin_beside(self) -> int:
        """Create an empty file next to it, under a spare name; `take_place` renames it.

        Returns:
            The old one, open, locked and with its name until then: nothing is lost if the run is
            killed.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(self._spare), ExitStack() as undo:
            self.check_is_here()
            self._drop_spare()
            try:
                fd = self._open(self._spare, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                # That belongs to somebody else.
                return self.renew()
            undo.callback(locks.close, fd)
            self._lock(fd)
            undo.pop_all()
        old, self.fd = self.fd, fd
        return old

    def take_place(self, old: int) -> None:
        """Rename the new file over the old one, and close the old one.

        Args:
            old: the old one, which gets closed.

        Raises:
            OutputError: it cannot be renamed, or the old one was replaced.
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
        """Remove the new file, and go back to the old one.

        Args:
            old: the old one.
        """
        if self._is(self._spare):
            with suppress(OSError):
                os.unlink(self._spare)
        locks.close(self.fd)
        self.fd = old

    def _drop_spare(self) -> None:
        """Remove the useless leftover of a killed run."""
        with suppress(FileNotFoundError):
            if os.lstat(self._spare).st_mode & _MARK and not self._is(self._spare):
                os.unlink(self._spare)

    def publish(self) -> None:
        """Flush it to the disk, then give it its final name, replacing what is there.

        Raises:
            OutputError: it cannot be published, or is no longer there.
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
            # If it had its final name already, it may still have this one, too.
            if not self._directory and self._is(self.part):
                os.unlink(self.part)
            with suppress(OSError):
                unmark(self.fd)
            sync(os.path.dirname(self.path) or ".")

    def check_is_here(self) -> None:
        """Check that `NAME.part` is still the open file.

        Raises:
            OutputError: it was removed or replaced.
        """
        if not self._is(self.part):
            raise self._is_gone()

    def _is_gone(self) -> OutputError:
        return OutputError(
            f"cannot write {self.path}: {self.part} was removed or replaced in the meantime",
            f"{argument('again')}, and keep other programs away from that file",
        )

    def _replace_file(self) -> None:
        try:
            # By descriptor: whatever has the name now is not published. A directory's descriptor
            # makes Python follow a link in /proc.
            here = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                mine = f"/proc/self/fd/{self.fd}"
                os.link(mine, self._spare, src_dir_fd=here, follow_symlinks=True)
            finally:
                os.close(here)
        except OSError:
            # No /proc, no hard links on this file system, or the name is taken.
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
            # It may have appeared since `open`.
            self._check_kind(self._old)
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
        """Remove it: the next run could not use it."""
        with suppress(OSError):
            if self._is(self.part):
                if self._directory:
                    remove_members(self.part)
                else:
                    os.unlink(self.part)

    def close(self) -> None:
        """Close it, whatever has happened to it."""
        if self.fd >= 0:
            locks.close(self.fd)
            self.fd = -1


def unmark(fd: int) -> None:
    """Remove the mark of incomplete files.

    Raises:
        OSError: it cannot be removed.
    """
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & _MARK:
        os.fchmod(fd, mode & ~_MARK)
