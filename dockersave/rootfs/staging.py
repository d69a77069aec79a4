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
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from .. import locks
from ..archive.disk import sync, writing
from ..errors import OutputError, shown
from ..spelling import argument
from . import saved_file
from .clock import past
from .placed import Placed, changed_meanwhile
from .saved_record import Record, Row
from .unchanged import is_of_here
from .walk import EMPTY, FOLDER, Seen, changed_since, fingerprint, look, remove

_MARK = ".dockersave"
"""The file that makes `NAME.part` ours."""
_INSIDE = ("new", "old", "note")
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
"""POSIX has the first two for a directory that is not empty."""


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
        self._ending = ExitStack()
        self._record: Record | None = None

    def open(self) -> int:
        """Take it, and remove what an earlier run left.

        Returns:
            The descriptor of an empty directory, which `close` closes.

        Raises:
            OutputError: it cannot be written, another run is writing it, or `NAME` or `NAME.part`
                was not made by a save. Whether `NAME` was changed since, `check_names` says.
        """
        with writing(self._part):
            if not self._take():
                self._check_is_ours()
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(_MARK, flags, 0o600, dir_fd=self._fd))
            self._is_ours = True
            for name in _INSIDE:
                if name == "old" and not os.path.lexists(self.path) and self._has("old"):
                    # A run was killed between its two last steps.
                    os.rename("old", self.path, src_dir_fd=self._fd)
                remove(self._fd, name)
            with self._ours():
                pass
            os.mkdir("new", 0o700, dir_fd=self._fd)
            self._new = os.open("new", FOLDER, dir_fd=self._fd)
        return self._new

    def earlier(self, spool: Callable[[], int]) -> tuple[Record, int] | None:
        """What this user's last save remembers of what has the name.

        Args:
            spool: makes unnamed files.

        Returns:
            The record, and the root of its file system, open; `close` closes both. None if there is
            no such save, or the record is damaged or came from elsewhere.

        Raises:
            OutputError: `NAME.saved` cannot be opened.
        """
        with writing(self.path):
            saved = saved_file.opened(self._saved)
            if saved < 0:
                return None
            self._ending.callback(os.close, saved)
            # Another user's could say of any file that it was verified.
            if os.fstat(saved).st_uid != os.geteuid():
                return None
            # What cannot be read cannot be kept.
            with suppress(ValueError, OSError):
                record = saved_file.record_in(saved, spool)
                folder = os.open(os.path.join(self.path, record.root), FOLDER)
                self._ending.callback(os.close, folder)
                if is_of_here(record, folder):
                    self._record = record
                    return record, folder
        return None

    def check_names(self) -> None:
        """Refuse a name that has something else than what a save made.

        Raises:
            OutputError: it has, or it cannot be told.
        """
        with writing(self.path), self._replaceable():
            pass

    def _take(self) -> bool:
        """Open and lock it; returns whether it was made just now."""
        while True:
            try:
                os.mkdir(self._part, 0o700)
                is_new = True
            except FileExistsError:
                is_new = False
            try:
                self._fd = locks.open_to_lock(self._part, FOLDER)
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
                    return is_new
            locks.close(self._fd)
            self._fd = -1

    def _has(self, name: str) -> bool:
        return name in os.listdir(self._fd)

    def _check_is_ours(self) -> None:
        names = set(os.listdir(self._fd))
        if os.fstat(self._fd).st_uid != os.geteuid():
            # Its owner could exchange what is in it at any time.
            raise self._refusal("belongs to another user", self._part)
        if names and (_MARK not in names or names - {_MARK, *_INSIDE}):
            raise self._refusal("was not left by a save", self._part)
        os.fchmod(self._fd, stat.S_IRWXU)

    @contextmanager
    def _replaceable(self) -> Iterator[tuple[int, str] | None]:
        """What has the name, open, and its fingerprint; None if nothing has.

        Raises:
            OutputError: it is not what a save made.
        """
        with self._ours() as ours:
            if ours is None:
                yield None
                return
            held, known = ours
            seen = fingerprint(held)
            if seen not in known:
                raise self._changed(held)
            yield held, seen

    @contextmanager
    def _ours(self) -> Iterator[tuple[int, list[str]] | None]:
        """What has the name, open, and fingerprints of what saves made; None if nothing has.

        Raises:
            OutputError: no save made it.
        """
        try:
            known, writer = saved_file.known(self._saved)
        except ValueError:
            raise self._refusal("was not written by a save", self._saved) from None
        if not os.path.lexists(self.path):
            yield None
            return
        status = os.lstat(self.path)
        if not stat.S_ISDIR(status.st_mode):
            raise self._refusal("is not a directory")
        if os.path.ismount(self.path):
            raise self._refusal("is a mount point", way_out="unmount it")
        above = os.stat(os.path.dirname(self.path) or ".")
        if above.st_mode & stat.S_ISVTX and os.geteuid() not in (0, above.st_uid, status.st_uid):
            # There, as in /tmp, only its owner can replace it.
            raise self._refusal("belongs to another user")
        held = os.open(self.path, FOLDER)
        try:
            # A note by somebody else counts for a directory of theirs only.
            if not known or writer not in (os.geteuid(), status.st_uid):
                if os.listdir(held):
                    raise self._refusal("was not made by a save")
                known = []
            yield held, [*known, EMPTY]
        finally:
            os.close(held)

    def _changed(self, held: int) -> OutputError:
        where = ""
        with suppress(OSError):
            where = changed_since(held, os.stat(self._saved).st_ctime_ns)
        why = "was changed since it was saved, or something is mounted in it"
        # Who gives a file another name changes its inode, but not the file.
        return self._refusal(f"{why}: perhaps {shown(where)}" if where else why)

    def _refusal(self, why: str, found: str = "", *, way_out: str = "move it away") -> OutputError:
        what = f"{found or 'it'} exists, {'but' if found else 'and'} {why}"
        return OutputError(
            f"cannot write {self.path}: {what}",
            f"{way_out}, or choose another name with {argument('output')}",
        )

    def _note(self, *fingerprints: str, record: Iterable[bytes] = ()) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        # Written where nobody else writes, then renamed.
        fd = os.open("note", flags, 0o600, dir_fd=self._fd)
        try:
            os.fchmod(fd, 0o644)
            saved_file.write(fd, fingerprints, record)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename("note", self._saved, src_dir_fd=self._fd)

    def commit(
        self,
        placed: Placed | None = None,
        recorded: Callable[[Iterator[Row]], Iterator[bytes]] | None = None,
    ) -> bool:
        """Bring it to the disk and give it its name; then remove what had it.

        Args:
            placed: the files in it.
            recorded: makes the record, of these files.

        Returns:
            Whether what had the name looked the same, file by file, but for their content.

        Raises:
            OutputError: it cannot be published, or what has the name was changed meanwhile.
        """
        with writing(self.path):
            self._check_is_here()
            # There is no call for one file system, and one for each file takes far longer.
            os.sync()
            new = self._checked(placed) if placed else fingerprint(self._new)
            with self._replaceable() as old:
                published = past(self._fd, _MARK)
                # Killed in between, the next run knows either of them.
                record = self._record.pieces() if self._record else ()
                self._note(*([old[1]] if old else []), new, record=record)
                with self._naming():
                    if old and old[1] != EMPTY:
                        self._replace(old[0])
                    else:
                        self._move_new()
            sync(os.path.dirname(self.path) or ".")
            # It is published. Without what follows, the next save cannot keep files.
            with suppress(OSError):
                pieces: Iterable[bytes] = ()
                if placed and recorded:
                    pieces = self._recorded(placed, published, new, recorded)
                self._note(new, record=pieces)
        return bool(old and old[1] == new)

    def _checked(self, placed: Placed) -> str:
        """The fingerprint of what is to be published.

        Raises:
            OutputError: somebody has changed what was kept in it.
        """
        digest = hashlib.sha256()
        try:
            placed.check(self._look(digest))
        except ValueError:
            # If that can be seen, trying again does not help.
            self.check_names()
            raise changed_meanwhile(self.path) from None
        return digest.hexdigest()

    def _look(self, digest: hashlib._Hash) -> Iterator[Seen]:
        for seen in look(self._new):
            digest.update(seen.facts)
            yield seen

    def _recorded(
        self,
        placed: Placed,
        published: int,
        expected: str,
        recorded: Callable[[Iterator[Row]], Iterator[bytes]],
    ) -> Iterator[bytes]:
        """Remove what was replaced; the record of what was published.

        What somebody changes in a kept file during the removal, with its time set back, is not
        seen: the removal changes the same inode.

        Returns:
            The record; nothing if somebody has changed that already.
        """
        digest, settled = hashlib.sha256(), published
        with suppress(ValueError):
            if self._record:
                try:
                    # Until here, only others can have changed what was kept.
                    placed.check(look(self._new))
                finally:
                    # Of files with two names this removes one, which changes their inodes once
                    # more: before the note, so that they are not taken for changed since.
                    remove(self._fd, "old")
                settled = past(self._fd, _MARK)
            pieces = recorded(placed.rows(self._look(digest), published, settled))
            if digest.hexdigest() == expected:
                return pieces
        return iter(())

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say why it cannot have its name."""
        try:
            yield
        except OSError as failure:
            if failure.errno == errno.EBUSY:
                raise self._refusal("is a mount point", way_out="unmount it") from failure
            if failure.errno in _TAKEN:
                raise self._refusal("was changed in the meantime") from failure
            raise

    def _replace(self, held: int) -> None:
        """Give the name to the new one.

        Args:
            held: what has had it, open.
        """
        mode = stat.S_IMODE(os.fstat(held).st_mode)
        try:
            if os.geteuid():
                os.fchmod(held, mode | stat.S_IRWXU)
            os.rename(self.path, "old", dst_dir_fd=self._fd)
            try:
                moved = os.stat("old", dir_fd=self._fd, follow_symlinks=False)
                if not os.path.samestat(moved, os.fstat(held)):
                    raise self._refusal("was changed since it was saved")
                self._move_new()
            except BaseException:
                os.rename("old", self.path, src_dir_fd=self._fd)
                raise
        except BaseException:
            with suppress(OSError):
                os.fchmod(held, mode)
            raise

    def _move_new(self) -> None:
        """Give it a name that nothing has, or an empty directory.

        That one is replaced in one step (rename(2)), whomever it belongs to, and only if it is
        still empty.
        """
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
        self._ending.close()
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
