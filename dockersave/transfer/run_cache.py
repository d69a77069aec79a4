"""The cache as one run uses it: what is found in it, and what is written to it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from ..errors import OutputError
from ..limits import LIMITS
from ..model.digest import Buffer
from .cache import Cache, Entry
from .sources import LocalFile


class CacheWriter:
    """Caches a blob, parts of which may already be in place.

    Args:
        begin: makes room in the cache, on the first write.
        have: ranges that are already in place.
    """

    def __init__(
        self, begin: Callable[[], Entry | None], have: Sequence[tuple[int, int]] = ()
    ) -> None:
        self._begin = begin
        self._have = have
        self._lock = threading.Lock()
        self._begun = False
        self._entry: Entry | None = None

    def write(self, position: int, data: Buffer) -> None:
        """Cache these bytes, too."""
        if entry := self._opened():
            entry.write(position, data)

    def commit(self, read: Callable[[int, int], bytes]) -> None:
        """The blob is complete and verified.

        Args:
            read: reads from its place, given a position and a maximum.
        """
        # If all of it was there already, nothing has been written yet.
        if entry := self._opened():
            with suppress(OutputError):
                for start, stop in self._have:
                    while start < stop:
                        data = read(start, min(stop - start, LIMITS.read))
                        entry.write(start, data)
                        start += len(data)
                entry.commit()

    def _opened(self) -> Entry | None:
        with self._lock:
            if not self._begun:
                self._begun = True
                self._entry = self._begin()
            return self._entry

    def close(self) -> None:
        """Discard an incomplete blob."""
        if self._entry is not None:
            self._entry.close()
            self._entry = None


class RunCache:
    """Caches the blobs of a run, if there is a cache.

    Args:
        directory, most, notify, wait: see `Cache`; None for no cache.
    """

    def __init__(
        self,
        directory: str | None,
        most: int,
        notify: Callable[[str], None],
        wait: Callable[[float], None],
    ) -> None:
        self._cache = Cache(directory, most, notify, wait) if directory else None
        self._found: set[str] = set()

    def leave_room(self, folder: str, amount: int) -> None:
        """Leave room for the outputs: see `Cache.leave_room`."""
        if self._cache:
            self._cache.leave_room(folder, amount)

    def find(self, digest: str) -> list[LocalFile]:
        """Look up a blob in the cache."""
        found = self._cache.find(digest) if self._cache else []
        if found:
            self._found.add(digest)
        return found

    def writer(
        self, digest: str, size: int, have: Sequence[tuple[int, int]] = ()
    ) -> CacheWriter | None:
        """A writer for a blob that is not cached yet; None if there is no cache.

        Args:
            digest: the blob's digest.
            size: its size in bytes.
            have: its ranges that are already in place.
        """
        if self._cache is None or self.find(digest):
            return None
        return CacheWriter(partial(self._cache.begin, digest, size), have)

    def settle(self, digest: str, *, was_fetched: bool) -> None:
        """A blob is complete and verified: remove its cached copy if that was useless."""
        if self._cache and was_fetched and digest in self._found:
            self._cache.drop(digest)
