"""A blob or a range of one, as it arrives."""

from __future__ import annotations

import functools
import re
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException

from ..errors import ContentError, DockersaveError, NetworkError, shown
from ..model.descriptors import Descriptor
from .connections.sockets import body_of, end, link_of
from .connections.transport import Response
from .endpoint import Endpoint
from .exchange import Answered

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")

_END = 0.1
"""How many seconds to wait for the end of a complete body: a new connection costs as much, and some
servers never send it."""


class BlobStream:
    """Bytes of a blob, in order, from one response.

    Args:
        response: read by one thread.
        start: offset of the first byte in the blob.
        stop: offset behind the last byte.
        ranged: whether the server sent a range instead of the whole blob.
        failure: translates an exception of urllib3.
        source: the sender, for messages.
    """

    __slots__ = (
        "_body", "_failure", "_interrupted", "_left", "_link", "_poll", "_response",
        "ranged", "source", "start", "stop",
    )  # fmt: skip

    def __init__(
        self,
        response: Response,
        start: int,
        stop: int,
        *,
        ranged: bool,
        failure: Callable[[Exception], DockersaveError],
        source: str,
    ) -> None:
        self.start = start
        self.stop = stop
        self.ranged = ranged
        self.source = source
        self._response = response
        self._body = body_of(response)
        self._left = stop - start
        self._failure = failure
        self._link: socket.socket | None = link_of(response)
        self._poll = select.poll()
        if self._link:
            self._poll.register(self._link, select.POLLIN)
        self._interrupted = False

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` with the next bytes, or with fewer at the end.

        Returns:
            The number of bytes; 0 at the end.

        Raises:
            NetworkError: the connection broke or stalled, or `interrupt` was called.
            CancelledError: the run was stopped.
        """
        left = self._left
        if len(buffer) > left:
            buffer = buffer[:left]
        if not buffer:
            return 0
        try:
            count = self._body.readinto(buffer)
        except (HTTPException, OSError, ValueError) as error:
            raise self._broken(error) from error
        if count:
            self._left = left - count
        else:
            raise self._broken(None)
        return count

    def read(self, amount: int) -> bytes:
        """The next bytes, as many as requested unless the end comes first; `b""` at the end.

        Raises:
            As `readinto`.
        """
        buffer = bytearray(min(amount, self._left))
        count = self.readinto(memoryview(buffer))
        return bytes(buffer[:count])

    @property
    def is_ahead(self) -> bool:
        """Whether more has arrived than was read: then the network is not the bottleneck."""
        return bool(self._link and self._poll.poll(0))

    def interrupt(self) -> None:
        """Wake the thread that waits in `read`, whose `read` then raises."""
        self._interrupted = True
        if self._link:
            end(self._link)

    def close(self) -> None:
        """Return the connection to its pool if everything was read; close it otherwise."""
        self._link = None
        if not self._left and not self._interrupted and not self._body.isclosed():
            # The end of a chunked body is still unread: it comes with the last bytes, or soon.
            self._body.hurry(_END)
            with suppress(HTTPException, OSError, ValueError):
                self._body.read(1)
        if self._body.isclosed() and not self._interrupted:
            self._response.release_conn()
        self._response.close()

    def _broken(self, error: Exception | None) -> DockersaveError:
        failure = self._failure(error or EOFError("the response ended early"))
        if self._interrupted and isinstance(failure, NetworkError):
            return NetworkError(f"{self.source}: interrupted", transient=True)
        return failure


def open_range(
    get: Callable[[dict[str, str]], Answered],
    endpoint: Endpoint,
    descriptor: Descriptor,
    start: int,
    stop: int,
) -> BlobStream:
    """Request a range of a blob, or all of it if the server has no ranges.

    Args:
        get: sends a request for the blob with additional headers.
        endpoint: where to send it.
        descriptor: the blob's.
        start, stop: the range.

    Raises:
        NotFoundError, CredentialsError, NetworkError, ContentError, CancelledError
    """
    what = f"the blob {descriptor.digest}"
    if start > 0 or stop < descriptor.size:
        # A closed range: some servers refuse open-ended ones.
        answered = get({"Range": f"bytes={start}-{stop - 1}"})
        response = answered.response
        if response.status == 206:
            stated = content_range(response.headers.get("Content-Range"))
            if stated and stated[:2] == (start, stop) and stated[2] in {None, descriptor.size}:
                return _stream(answered, endpoint, descriptor, start, stop, ranged=True)
        elif response.status == 200:
            return _stream(answered, endpoint, descriptor, 0, descriptor.size, ranged=False)
        elif not may_be_about_ranges(response.status):
            raise endpoint.refusal(answered, what)
        # Wrong bytes, several parts at once, or none: request everything.
        endpoint.trace.say(
            "ranges",
            f"{answered.host} returned {response.status} for a range: the whole blob is requested",
        )
        endpoint.discard(answered)
    answered = get({})
    if answered.response.status != 200:
        raise endpoint.refusal(answered, what)
    return _stream(answered, endpoint, descriptor, 0, descriptor.size, ranged=False)


def may_be_about_ranges(status: int) -> bool:
    """Whether a response may refuse only the `Range`.

    Artifactory returns 400, firewalls 403 or 406, others 405, 416 or 501. Below 400 it is not a
    refusal, but not the range, either. The codes for missing credentials, missing blobs, rate
    limits and server errors do not depend on the range.
    """
    if status >= 500:
        return status == 501
    return status not in {401, 404, 407, 408, 410, 425, 429}


def _stream(
    answered: Answered,
    endpoint: Endpoint,
    descriptor: Descriptor,
    start: int,
    stop: int,
    *,
    ranged: bool,
) -> BlobStream:
    response = answered.response
    length = response.headers.get("Content-Length", "")
    # Ignore Content-Encoding: layers are compressed, and often labelled so. The hash decides.
    fits = length.isdecimal() and int(length) == stop - start
    fault = ""
    if length and not fits:
        fault = f"has {shown(length)} bytes instead of {stop - start}"
    if fault:
        response.close()
        raise ContentError(
            f"{answered.host}: the blob {descriptor.digest} {fault}",
            "the registry, or a proxy in between, changes the content",
            transient=True,
        )
    return BlobStream(
        response,
        start,
        stop,
        ranged=ranged,
        failure=functools.partial(endpoint.failure, url=answered.url),
        source=answered.host,
    )


def content_range(value: str | None) -> tuple[int, int, int | None] | None:
    """Parse Content-Range: first byte, byte after the last, and total size (RFC 9110, section
    14.4).

    Returns:
        None if the header is missing or malformed; a size of None if it is `*`.
    """
    match = _CONTENT_RANGE.fullmatch((value or "").strip())
    if not match:
        return None
    size = None if match[3] == "*" else int(match[3])
    return int(match[1]), int(match[2]) + 1, size
