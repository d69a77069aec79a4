"""What every fault does: to the answer before it is sent, or to the registry's state."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from tests.images import Pattern, chunks
from tests.images.content import length
from tests.registry.faults import Fault
from tests.registry.wire import Ending, Request, Response


class State(Protocol):
    """What faults change in a registry."""

    def expire_tokens(self) -> None: ...
    def expire_urls(self) -> None: ...
    def move_tag(self, repository: str, tag: str, digest: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that meets a request."""

    fault: Fault
    request: Request
    response: Response
    state: State

    @property
    def number(self) -> float:
        """The fault's value, which is a number."""
        assert isinstance(self.fault.value, (int, float)), self.fault
        return self.fault.value

    @property
    def text(self) -> str:
        """The fault's value, which is text."""
        assert isinstance(self.fault.value, str), self.fault
        return self.fault.value

    @property
    def data(self) -> bytes:
        """The fault's value as bytes."""
        value = self.fault.value
        assert isinstance(value, (str, bytes)), self.fault
        return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value

    def position(self, size: int) -> int:
        """Return the fault's value as a position in `size` bytes."""
        return int(self.number * size) if isinstance(self.number, float) else self.number


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault of one name does.

    Parameters:
        apply: does it.
        applies: whether this answer can be struck; if not, the fault waits for the next one.
        early: strikes before the registry looks at the request.
    """

    apply: Callable[[Strike], None]
    applies: Callable[[Strike], bool]
    early: bool = False


EFFECTS: dict[str, Effect] = {}


def always(strike: Strike) -> bool:
    """Any answer will do."""
    return True


def succeeds(strike: Strike) -> bool:
    """An answer with the requested content."""
    return strike.response.status in (200, 206)


def carries(strike: Strike) -> bool:
    """Such an answer, with a body."""
    return succeeds(strike) and strike.request.method != "HEAD" and strike.response.size > 0


def reaches(strike: Strike) -> bool:
    """An answer with more bytes than the fault wants to let through."""
    if strike.number == -1:
        return True
    return carries(strike) and strike.position(strike.response.size) < strike.response.size


def includes(strike: Strike) -> bool:
    """An answer that includes the position in the blob."""
    response = strike.response
    at = strike.position(length(response.data))
    return carries(strike) and response.start <= at < response.stop


def ranged(strike: Strike) -> bool:
    """An answer with part of a blob."""
    return carries(strike) and strike.response.status == 206


def open_ended(strike: Strike) -> bool:
    """An answer to a range without an end."""
    return ranged(strike) and strike.request.headers["range"].endswith("-")


def on_the_way(strike: Strike) -> bool:
    """A request that has not come through all redirects yet."""
    return int(strike.request.query.get("hop", "0")) < strike.number


def effect(
    applies: Callable[[Strike], bool] = always, early: bool = False
) -> Callable[[Callable[[Strike], None]], Callable[[Strike], None]]:
    """Enter a function into `EFFECTS` under its name."""

    def enter(function: Callable[[Strike], None]) -> Callable[[Strike], None]:
        EFFECTS[function.__name__] = Effect(function, applies, early)
        return function

    return enter


def _cut(strike: Strike, ending: Ending) -> None:
    strike.response.cut_at(strike.position(strike.response.size), ending)


def _answer(
    strike: Strike, status: int, body: bytes = b"", media_type: str = "application/json"
) -> None:
    strike.response.status = status
    strike.response.replace_body(body, media_type)
    strike.response.set("Docker-Content-Digest", None)
    for name, value in strike.fault.headers:
        strike.response.set(name, value)


def _error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@effect(reaches)
def reset_after(strike: Strike) -> None:
    _cut(strike, "reset")


@effect(reaches)
def close_after(strike: Strike) -> None:
    _cut(strike, "close")


@effect(reaches)
def stall_after(strike: Strike) -> None:
    _cut(strike, "stall")


@effect()
def delay(strike: Strike) -> None:
    strike.response.delay += strike.number


@effect()
def rate(strike: Strike) -> None:
    strike.response.rate = min(strike.number, strike.response.rate or strike.number)


@effect()
def connection_close(strike: Strike) -> None:
    strike.response.close = True


@effect()
def http10(strike: Strike) -> None:
    strike.response.version = "HTTP/1.0"
    strike.response.chunked = False


@effect(carries)
def chunked(strike: Strike) -> None:
    strike.response.chunked = strike.response.version == "HTTP/1.1"


@effect(carries)
def without_length(strike: Strike) -> None:
    strike.response.content_length = -1


@effect(reaches)
def shortened(strike: Strike) -> None:
    strike.response.stop = strike.response.start + strike.position(strike.response.size)


@effect(carries)
def lengthened(strike: Strike) -> None:
    extra = b"\0" * int(strike.number)
    strike.response.content_length = strike.response.size + len(extra)
    strike.response.after = extra + strike.response.after


@effect()
def garbage_before(strike: Strike) -> None:
    strike.response.before += strike.data


@effect()
def garbage_after(strike: Strike) -> None:
    strike.response.after += strike.data


@effect(includes)
def flip_bit(strike: Strike) -> None:
    strike.response.flips.add(strike.position(length(strike.response.data)))


@effect(succeeds)
def body(strike: Strike) -> None:
    strike.response.replace_body(strike.data)
    for name, value in strike.fault.headers:
        strike.response.set(name, value)


@effect(succeeds)
def endless(strike: Strike) -> None:
    head, tail = b'{"schemaVersion": 2, "padding": "', b'"}'
    size = int(strike.number) - len(head) - len(tail)
    strike.response.replace_body(Pattern(0, size, head, tail))


@effect(carries)
def gzip_encoded(strike: Strike) -> None:
    response = strike.response
    plain = b"".join(chunks(response.data, response.start, response.stop))
    response.replace_body(gzip.compress(plain, 1, mtime=0))
    response.set("Content-Encoding", "gzip")


@effect(succeeds)
def header(strike: Strike) -> None:
    for name, value in strike.fault.headers:
        strike.response.set(name, value)


@effect(ranged)
def ignore_range(strike: Strike) -> None:
    strike.response.status = 200
    strike.response.set("Content-Range", None)
    strike.response.start, strike.response.stop = 0, length(strike.response.data)


@effect(ranged)
def refuse_range(strike: Strike) -> None:
    _answer(strike, int(strike.fault.value or 416))


@effect(open_ended)
def refuse_open_range(strike: Strike) -> None:
    _answer(strike, 416)


@effect(ranged)
def multipart_range(strike: Strike) -> None:
    response = strike.response
    part = b"".join(chunks(response.data, response.start, response.stop))
    head = f"--part\r\nContent-Range: {response.header('Content-Range')}\r\n\r\n".encode()
    response.set("Content-Range", None)
    response.replace_body(head + part + b"\r\n--part--\r\n", "multipart/byteranges; boundary=part")


@effect(ranged)
def content_range(strike: Strike) -> None:
    response = strike.response
    right = {"start": response.start, "end": response.stop - 1, "total": length(response.data)}
    response.set("Content-Range", strike.text.format(**right))


@effect(ranged)
def shifted_range(strike: Strike) -> None:
    response = strike.response
    room = length(response.data) - response.size
    start = (response.start + int(strike.number)) % (room + 1)
    response.start, response.stop = start, start + response.size


@effect()
def status(strike: Strike) -> None:
    code = int(strike.number)
    names = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}
    _answer(strike, code, _error(names.get(code, "UNKNOWN"), "the simulator was told to"))


@effect()
def error(strike: Strike) -> None:
    code, name, message = strike.text.split(" ", 2)
    _answer(strike, int(code), _error(name, message))


@effect()
def redirect(strike: Strike) -> None:
    code, location = strike.text.split(" ", 1)
    request = strike.request
    scheme = "https" if request.secure else "http"
    right = {"scheme": scheme, "host": request.headers.get("host", ""), "path": request.path}
    _answer(strike, int(code))
    strike.response.set("Location", location.format(**right))


@effect(on_the_way)
def redirect_chain(strike: Strike) -> None:
    hop = int(strike.request.query.get("hop", "0"))
    _answer(strike, 307)
    query = urlencode(strike.request.query | {"hop": str(hop + 1)})
    strike.response.set("Location", f"{strike.request.path}?{query}")


@effect(succeeds)
def endless_tags(strike: Strike) -> None:
    page = int(strike.request.query.get("page", "0"))
    tags = [f"page-{page}-tag-{number}" for number in range(100)]
    name, path = strike.request.repository, strike.request.path
    strike.response.replace_body(json.dumps({"name": name, "tags": tags}).encode())
    strike.response.set("Link", f'<{path}?page={page + 1}>; rel="next"')


@effect(early=True)
def expire_tokens(strike: Strike) -> None:
    strike.state.expire_tokens()


@effect(early=True)
def expire_urls(strike: Strike) -> None:
    strike.state.expire_urls()


@effect(early=True)
def move_tag(strike: Strike) -> None:
    strike.state.move_tag(strike.request.repository, strike.request.reference, strike.text)
