"""Where blobs were found: the targets of redirects."""

from __future__ import annotations

import threading

from ..limits import LIMITS


class RedirectCache:
    """URLs by digest, up to a total size. All methods are thread-safe.

    A blob is requested piece by piece, then no more: the oldest are dropped first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._urls: dict[str, str] = {}
        self._size = 0

    def get(self, digest: str) -> str | None:
        """Where a blob was found."""
        return self._urls.get(digest)

    def remember(self, digest: str, url: str) -> None:
        """Remember where a blob was found."""
        with self._lock:
            self._drop(digest)
            self._urls[digest] = url
            self._size += len(url)
            while self._size > LIMITS.redirect_cache:
                self._drop(next(iter(self._urls)))

    def forget(self, digest: str) -> None:
        """Forget where a blob was found."""
        with self._lock:
            self._drop(digest)

    def _drop(self, digest: str) -> None:
        self._size -= len(self._urls.pop(digest, ""))
