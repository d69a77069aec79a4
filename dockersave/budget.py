"""What the documents of one run may take together: memory, and requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from .errors import ContentError
from .limits import LIMITS

_HINT = "save fewer images at once, or one platform of each; --format legacy needs most"


class Budget:
    """What is left for manifests, indexes and configs. All methods may be called by any thread.

    A document names others, which name others: five small ones can stand for billions. Each is
    asked for, read and kept once, and all of them together have an end.
    """

    def __init__(self) -> None:
        self._large = threading.RLock()
        self._lock = threading.Lock()
        self._bytes = LIMITS.documents
        self._requests = LIMITS.document_requests

    def grant(self) -> None:
        """Allow for one more image that the user has named."""
        with self._lock:
            self._requests += LIMITS.document_requests_image

    @contextmanager
    def taking(self, size: int = LIMITS.manifest) -> Iterator[None]:
        """Wait until a document may be read or parsed, which takes many times its size meanwhile.

        Args:
            size: of the document in bytes: small ones are not waited for when they are read.
        """
        if size <= LIMITS.document_large:
            yield
            return
        with self._large:
            yield

    @contextmanager
    def reading(self, counted: int = 0) -> Iterator[Callable[[int], None]]:
        """Read a document of a size that nobody knows yet, and count it.

        Args:
            counted: bytes of it that are counted already.

        Returns:
            What is to be told the size of a large one as it grows, in bytes: others wait from then
            on, and it raises a `ContentError` if there is no room for it.
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
                raise ContentError("the indexes name more documents than images have", _HINT)

    def keep(self, size: int) -> None:
        """Count a document that is kept.

        Args:
            size: in bytes.

        Raises:
            ContentError: there is no room for it.
        """
        with self._lock:
            self._check(size)
            self._bytes -= size

    def _check(self, size: int) -> None:
        if size > self._bytes:
            raise ContentError(
                f"manifests and configs have more than {LIMITS.documents} bytes together", _HINT
            )
