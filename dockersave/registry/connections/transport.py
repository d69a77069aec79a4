"""Connections: pools of them, through proxies, with trust; one exchange at a time.

Nothing here knows about registries. Redirects are not followed and nothing is retried: that is up
to `endpoint` and `retry`.
"""

from __future__ import annotations

import mmap
import os
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, SystemTimeWarning

from ... import __version__
from ...cancellation import Cancellation
from ...compression import Decompressor
from ...errors import CancelledError, ContentError, DockersaveError, shown
from ...limits import LIMITS
from ...model.options import Network
from ...trace import SILENT, Trace
from ..concealing.secrets import Secrets
from . import failures, sockets
from .http import OVERLOADED
from .pools import Dialling, pool_classes
from .proxies import proxy_for, split_credentials
from .redirects import host_of
from .trust import Trust

Response = urllib3.BaseHTTPResponse

_BASE_HEADERS = {
    "User-Agent": f"dockersave/{__version__}",
    # Blobs are hashed as the registry stores them: no compression in transit.
    "Accept-Encoding": "identity",
}
_TOLD = ("gzip", "x-gzip", "zstd")
"""Encodings that a body's first bytes tell; urllib3 decodes others."""


class Transport:
    """The connections of one run. All methods are thread-safe.

    Args:
        registry: the only one that gets the client certificate of `network`.
        network: trust, timeouts, and how many connections to keep.
        cancellation: wakes every thread that waits for a connection.
        environ: the process's environment: proxies, SSL_CERT_FILE.
        trace: gets a line for each request.
        secrets: removed from errors, which may quote malformed responses.
    """

    def __init__(
        self,
        registry: str,
        network: Network,
        cancellation: Cancellation,
        environ: Mapping[str, str] | None = None,
        trace: Trace = SILENT,
        secrets: Secrets | None = None,
    ) -> None:
        self._secrets = secrets or Secrets()
        self._network = network
        self._trace = trace
        self.cancellation = cancellation
        self._environ = os.environ if environ is None else environ
        self._watch = sockets.Watch(cancellation, network.timeout)
        self._pool_classes = pool_classes(self._watch)
        self.trust = Trust(
            network, self._environ, sockets.socket_class(self._watch), registry=registry
        )
        self._timeout = urllib3.Timeout(connect=network.timeout, read=network.timeout)
        self._managers: dict[tuple[str | None, ssl.SSLContext | None], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._answered = False
        self._answers: dict[str, float] = {}
        self._closed = False

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        trusted_as: Iterable[str] = (),
        body: bytes | None = None,
    ) -> Response:
        """Send one request. The body of the response is still unread.

        Args:
            url: an absolute URL.
            headers: in addition to the usual ones.
            trusted_as: the names in certs.d of a registry that the user named.
            body: the request's body.

        Raises:
            NetworkError: there was no response.
            CancelledError: the run was stopped.
        """
        self.cancellation.check()
        proxy = proxy_for(url, self._environ)
        response = None
        while response is None:
            self._watch.thread.is_new = False
            begun = time.monotonic()
            try:
                manager = self._manager(url, proxy, tuple(trusted_as))
                response = manager.urlopen(
                    method,
                    url,
                    body=body,
                    headers={**_BASE_HEADERS, **headers},
                    redirect=False,
                    retries=False,
                    timeout=self._timeout,
                    preload_content=False,
                    decode_content=False,
                )
            except (HTTPError, HTTPException, OSError, ValueError) as error:
                # A kept connection may have been closed just now: use another.
                if self._watch.thread.is_new or method == "POST" or not failures.is_closed(error):
                    failure = self.failure(error, url)
                    self._trace.say(
                        "request", f"{_line(method, url, headers)} failed: {failure.marked}"
                    )
                    raise failure from error
                self._trace.say("connection", f"{host_of(url)} had closed the one that was kept")
        self._answered = True
        if response.status in OVERLOADED:
            # Some count a client's connections, those that idle included (HAProxy's sc_conn_cur).
            pool = manager.connection_from_url(url)
            if isinstance(pool, Dialling):
                pool.hang_up()
        took, there = time.monotonic() - begun, host_of(url)
        if self._watch.thread.is_new:
            # Connecting and the TLS handshake are round trips, too.
            took /= 3 if url.startswith("https:") else 2
        self._answers[there] = min(took, self._answers.get(there, took))
        if self._trace.on:
            self._watch_end(response, _line(method, url, headers), begun)
        return response

    def _watch_end(self, response: Response, line: str, begun: float) -> None:
        number = sockets.number_of(response)
        kind = "new" if self._watch.thread.is_new else "kept"

        def say(count: int) -> None:
            seconds = time.monotonic() - begun
            self._trace.say(
                "request",
                f"{line} {response.status} {count} bytes {seconds:.3f} s"
                f" connection {number} ({kind})",
            )

        sockets.body_of(response).on_end = say

    def failure(self, error: Exception, url: str) -> DockersaveError:
        """Translate an exception of urllib3 into an error for the user and the retry policy."""
        self.cancellation.check()
        proxy = proxy_for(url, self._environ)
        failure = failures.of_exchange(
            error,
            host_of(url),
            proxy=host_of(proxy) if proxy else None,
            # A host that never answered is probably misspelt or down; one that has will come back.
            answered=self._answered,
            authorities=self.trust.trusted,
        )
        # Its causes quote as much, and tracebacks show them.
        failure.__cause__ = error
        return self._secrets.clean(failure)

    def read(
        self,
        response: Response,
        limit: int,
        url: str,
        what: str,
        large: Callable[[int], object] = lambda size: None,
    ) -> bytes:
        """A small body, complete; decompressed if it was compressed in transit.

        Not everything that is labelled so is: some servers label all blobs alike.

        Args:
            limit: its maximum size in bytes.
            url: its source. `what`: its name for messages.
            large: called with the number of bytes known so far, at first and as it grows, if that
                is more than `LIMITS.document_large`; may raise any error.

        Raises:
            ContentError: it is longer than `limit`.
            NetworkError: it was incomplete or too slow.
        """
        too_long = f"{host_of(url)}: {what} is longer than {limit} bytes"
        # Compressed data can decompress to nothing, endlessly: limit it, too.
        answer = sockets.body_of(response)
        answer.most = limit + LIMITS.unpacked_slack
        size = 0
        try:
            with _memory(_room(response, answer.length, limit)) as body:
                for part in _pieces(response, f"{host_of(url)}: {what}"):
                    size += len(part)
                    if size > LIMITS.document_large:
                        large(size + (answer.length or 0))
                    if size > limit:
                        raise ContentError(too_long)
                    body.write(part)
                # Stopping a run closes connections, which looks like the end of a body without a
                # length.
                self.cancellation.check()
                return body[:size]
        except sockets.TooLong:
            response.close()
            raise ContentError(too_long) from None
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            response.close()
            raise self.failure(error, url) from error
        except BaseException:
            response.close()
            raise

    def discard(self, response: Response) -> None:
        """Read a short rest, so that the connection can be reused; otherwise close it."""
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) <= LIMITS.error_body:
            sockets.body_of(response).hurry()
            with suppress(HTTPError, HTTPException, OSError, ValueError):
                while response.read1(LIMITS.read, decode_content=False):
                    pass
        response.close()

    def warm(self, url: str, trusted_as: Iterable[str], count: int) -> None:
        """Open connections in the background, ahead of the requests that will need them.

        Failures are silent: the next request will find out.

        Args:
            url: of the host.
            trusted_as: as for `send`.
            count: how many there should be, including idle ones.
        """
        if self._closed:
            return
        try:
            proxy = proxy_for(url, self._environ)
            if proxy and proxy.startswith("https:"):
                # TLS inside TLS cannot tell session tickets from the end of a connection.
                return
            pool = self._manager(url, proxy, tuple(trusted_as)).connection_from_url(url)
        except (HTTPError, DockersaveError):
            return
        if isinstance(pool, Dialling):
            for _ in range(pool.places(count)):
                try:
                    threading.Thread(target=self._dial, args=(pool, url), daemon=True).start()
                except RuntimeError:  # no more threads (seccomp, limits)
                    pool.give_back()

    def _dial(self, pool: Dialling, url: str) -> None:
        try:
            self.cancellation.check()
            pool.dial()
        except (HTTPError, HTTPException, OSError, ValueError, CancelledError) as error:
            pool.give_back()
            self._trace.say("connection", f"none ahead to {host_of(url)}: {type(error).__name__}")
            return
        if self._closed:
            pool.close()
        self._trace.say("connection", f"one more to {host_of(url)}, ahead of its use")

    def latency(self, url: str) -> float | None:
        """Seconds of the fastest connect to a URL's host, or None."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return self._watch.latencies.get((parts.hostname or "", port))

    def answered_in(self, url: str) -> float | None:
        """Seconds from a request to the head of its response, the fastest of a URL's host."""
        return self._answers.get(host_of(url))

    def close(self) -> None:
        """Close every connection, and wake threads that still wait for one."""
        with self._lock:
            self._closed = True
            managers = list(self._managers.values())
            self._managers.clear()
        for manager in managers:
            manager.clear()
        self._watch.end_all()
        self._open.close()

    def _manager(
        self, url: str, proxy: str | None, trusted_as: tuple[str, ...]
    ) -> urllib3.PoolManager:
        context = self.trust.context(trusted_as) if url.startswith("https:") else None
        with self._lock:
            manager = self._managers.get((proxy, context))
            if manager is None:
                if not self._managers:
                    self._open.enter_context(self.cancellation.interrupting(self._watch.end_all))
                    # On a host that booted in 1970 urllib3 warns; our error message is better.
                    warnings.simplefilter("ignore", SystemTimeWarning)
                manager = self._managers[(proxy, context)] = self._new_manager(proxy, context)
            return manager

    def _new_manager(
        self, proxy: str | None, context: ssl.SSLContext | None
    ) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": LIMITS.jobs, "block": False}
        if context:
            options["ssl_context"] = context
        if proxy:
            address, headers = split_credentials(proxy)
            if urlsplit(address).scheme == "https":
                options["proxy_ssl_context"] = self.trust.context()
            manager: urllib3.PoolManager = urllib3.ProxyManager(
                address, proxy_headers=headers, **options
            )
        else:
            manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = self._pool_classes
        return manager


def _pieces(response: Response, name: str) -> Iterator[bytes]:
    """A body, piece by piece, decompressed.

    Raises:
        ContentError: it is damaged, which may be different the next time.
    """
    is_told = response.headers.get("Content-Encoding", "").lower() in _TOLD
    unpacked = Decompressor(name, is_packed=is_told)
    try:
        while part := response.read1(LIMITS.document_large, decode_content=not is_told):
            yield from unpacked.feed(part)
        yield from unpacked.finish()
    except ContentError as failure:
        failure.transient = True
        raise


def _room(response: Response, length: int | None, limit: int) -> int:
    """The most bytes that a body can have, as far as its head tells."""
    if length is None or "Content-Encoding" in response.headers:
        return limit
    return min(length, limit)


def _memory(size: int) -> mmap.mmap:
    """Memory of its own: what an allocator gets back it keeps, one for each thread.

    Raises:
        MemoryError: there is not enough.
    """
    try:
        return mmap.mmap(-1, max(size, 1))
    except OSError as error:
        # It has nothing to do with the connection.
        raise MemoryError from error


def _line(method: str, url: str, headers: Mapping[str, str]) -> str:
    """A request for the trace, without its query, which holds signatures."""
    return shown(
        " ".join(filter(None, (method, host_of(url), urlsplit(url).path, headers.get("Range")))),
        1000,
    )
