"""The memory for large windows: one blob has it at a time. Pure.

What a decompressor has to look back on is up to 128 MiB, for each layer that is unpacked at the
same time. A blob that needs so much while another one has it ends its lease: nobody waits for it,
and no connection is kept. What has come of it already is hashed when the memory is free, and then
a worker may fetch the rest.

Nobody waits in a circle: who has the memory needs nothing else that others may keep, and gives it
back when the blob is done, or begun again.
"""

from __future__ import annotations

from .blobs import Blob


class Memory:
    """Who has it."""

    def __init__(self) -> None:
        self._owner: Blob | None = None

    def claim(self, blob: Blob) -> bool:
        """Give it to a blob, if nobody else has it; if somebody has, the blob waits for it."""
        if not self.is_free_for(blob):
            blob.waits = True
            return False
        self._owner = blob
        return True

    def is_free_for(self, blob: Blob) -> bool:
        """Whether a blob would get it."""
        return self._owner is None or self._owner is blob

    def release(self, blob: Blob) -> None:
        """A blob needs it no more, if it had it."""
        if self._owner is blob:
            self._owner = None
