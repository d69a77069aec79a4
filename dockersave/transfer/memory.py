"""The memory for large windows: only one blob has it at a time. Pure.

A decompressor's window takes up to 128 MiB for each layer that is unpacked at the same time. If
another blob has the memory, a blob that needs it ends its lease: no thread waits, and no connection
is kept. Bytes that have arrived are hashed when the memory is free; then a worker may fetch the
rest.

There is no deadlock: the owner needs nothing that others hold, and releases the memory when the
blob is done or restarted.
"""

from __future__ import annotations

from .blobs import Blob


class Memory:
    """The blob that has it."""

    def __init__(self) -> None:
        self._owner: Blob | None = None

    def claim(self, blob: Blob) -> bool:
        """Give it to a blob, if it is free; otherwise the blob waits for it."""
        if not self.is_free_for(blob):
            blob.waits = True
            return False
        self._owner = blob
        return True

    def is_free_for(self, blob: Blob) -> bool:
        """Whether a blob could get it."""
        return self._owner is None or self._owner is blob

    def may_resume(self, blob: Blob) -> bool:
        """Whether a blob that waits may be hashed again.

        Its lease must have ended: a source that turns out to be wrong restarts the blob.
        """
        return not blob.leases and self.is_free_for(blob)

    def release(self, blob: Blob) -> None:
        """Release it, if the blob has it."""
        if self._owner is blob:
            self._owner = None
