"""The budget of one run for documents: memory and requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from .errors import ContentError
from .limits import LIMITS
from .spelling import argument

_HINT = (
    "save fewer images at once, or one platform of each; "
    f"{argument('format', 'legacy')} needs the most"
)


class Budget:
    """The remaining budget for manifests, indexes and configs. All methods are thread-safe.

    Documents refer to others, which refer to others: five small ones can stand for billions. Each
    is fetched, read and kept once, and all of them together are limited.
    """

    def __init__(self) -> None:
        self._large = threading.RLock()
        self._lock = threading.Lock()
        self._bytes = LIMITS.documents
        self._requests = LIMITS.document_requests

    def grant(self) -> None:
        """Add the budget for one more image named by the user."""
        with self._lock:
            self._requests += LIMITS.document_requests_image

    @contextmanager
    def taking(self, size: int = LIMITS.manifest) -> Iterator[None]:
        """Wait until a document may be read or parsed, which takes many times its size in memory.

        Args:
            size: of the document in bytes. Small ones need not wait.
        """
        if size <= LIMITS.document_large:
            yield
            return
        with self._large:
            yield

    @contextmanager
    def reading(self, counted: int = 0) -> Iterator[Callable[[int], None]]:
        """Read a document whose size is not known yet, and count it.

        Args:
            counted: bytes of it that are counted already.

        Returns:
            A function to call with the size of a large document in bytes, as it grows: others wait
            from then on, and it raises a `ContentError` if there is no room for it.
        """
        with ExitStack() as turn:

            def large(size: int) -> None:
                turn.enter_context(self.taking())
                self._check(size - counted)

            yield large

    def ask(self) -> None:
        """Count a request for a document.

        Raises:
            ContentError: there have been too many.
        """
        with self._lock:
            self._requests -= 1
            if self._requests < 0:
                raise ContentError("the indexes list too many documents", _HINT)

    def keep(self, size: int) -> None:
        """Count a document that is kept.

        Args:
            size: in bytes.

        Raises:
            ContentError: it does not fit.
        """
        with self._lock:
            self._check(size)
            self._bytes -= size

    def _check(self, size: int) -> None:
        if size > self._bytes:
            raise ContentError(
                f"manifests and configs have more than {LIMITS.documents} bytes together", _HINT
            )
