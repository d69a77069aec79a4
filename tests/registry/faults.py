"""Everything that a registry can do wrong, each a named switch, as plain values.

A `Fault` says what goes wrong (`name`, `value`) and when (`Rule`): at which kind of request,
for which digest, from which occurrence on, how often. What each does is in `effects`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TypedDict, Unpack

from tests.registry.wire import Request

KINDS = ("ping", "token", "manifest", "config", "blob", "storage", "tags")


class Rule(TypedDict, total=False):
    """When a fault strikes; see `Fault`."""

    on: str | tuple[str, ...]
    method: str
    reference: str
    skip: int
    times: int | None
    probability: float
    seed: int
    over: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and when. Build it with the methods below.

    Parameters:
        name: the effect, a key of `effects.EFFECTS`.
        value: what the effect needs.
        headers: that the answer has in place of its own.
        on: kinds of request (see `KINDS`), `any` for all of them; `connection` is a connection
            that was just accepted.
        method: of the request; empty for all.
        reference: digest or tag in the request's path; empty for all.
        skip: how often the request passes unharmed first.
        times: how often the fault strikes then; None for always.
        probability: of striking, from 0 to 1, decided by `seed`.
        over: strikes only while more than so many requests are being answered (for
            `connection`: while more than so many connections are open).
    """

    name: str
    value: int | float | str | bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    on: str | tuple[str, ...] = "any"
    method: str = ""
    reference: str = ""
    skip: int = 0
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    over: int = 0

    # The connection

    @classmethod
    def reset(cls, **rule: Unpack[Rule]) -> Fault:
        """Reset the connection instead of answering."""
        return cls("reset_after", -1, **rule)

    @classmethod
    def reset_after(cls, count: int | float, **rule: Unpack[Rule]) -> Fault:
        """Reset it after this many bytes of the body (a float: after that part of it)."""
        return cls("reset_after", count, **rule)

    @classmethod
    def close_after(cls, count: int | float, **rule: Unpack[Rule]) -> Fault:
        """Close it cleanly after this many bytes, although Content-Length said more."""
        return cls("close_after", count, **rule)

    @classmethod
    def stall_after(cls, count: int | float, **rule: Unpack[Rule]) -> Fault:
        """Stop sending after this many bytes, and keep the connection open."""
        return cls("stall_after", count, **rule)

    @classmethod
    def delay(cls, seconds: float, **rule: Unpack[Rule]) -> Fault:
        """Answer late."""
        return cls("delay", seconds, **rule)

    @classmethod
    def rate(cls, bytes_per_second: float, **rule: Unpack[Rule]) -> Fault:
        """Send the body slowly; 1 is the trickle that no timeout between bytes notices."""
        return cls("rate", bytes_per_second, **rule)

    @classmethod
    def connection_close(cls, **rule: Unpack[Rule]) -> Fault:
        """Close the connection after the answer, and say so in a header."""
        return cls("connection_close", **rule)

    # The frame around the body

    @classmethod
    def http10(cls, **rule: Unpack[Rule]) -> Fault:
        """Answer as HTTP/1.0, which ends the connection."""
        return cls("http10", **rule)

    @classmethod
    def chunked(cls, **rule: Unpack[Rule]) -> Fault:
        """Send in chunks, without Content-Length."""
        return cls("chunked", **rule)

    @classmethod
    def without_length(cls, **rule: Unpack[Rule]) -> Fault:
        """Send no Content-Length: the body ends where the connection does."""
        return cls("without_length", **rule)

    @classmethod
    def shortened(cls, count: int | float, **rule: Unpack[Rule]) -> Fault:
        """Send only this many bytes (a float: that part), with a matching Content-Length."""
        return cls("shortened", count, **rule)

    @classmethod
    def lengthened(cls, count: int, **rule: Unpack[Rule]) -> Fault:
        """Send this many bytes more, with a matching Content-Length."""
        return cls("lengthened", count, **rule)

    @classmethod
    def garbage_before(cls, data: bytes = b"\0garbage\r\n", **rule: Unpack[Rule]) -> Fault:
        """Send something in front of the status line."""
        return cls("garbage_before", data, **rule)

    @classmethod
    def garbage_after(cls, data: bytes = b"\0garbage\r\n", **rule: Unpack[Rule]) -> Fault:
        """Send something after the body, where the next response is expected."""
        return cls("garbage_after", data, **rule)

    # The content

    @classmethod
    def flip_bit(cls, at: int | float, **rule: Unpack[Rule]) -> Fault:
        """Flip a bit of the byte at this position of the blob (a float: at that part of it).

        An answer that does not include the position does not count as struck.
        """
        return cls("flip_bit", at, **rule)

    @classmethod
    def body(cls, data: str | bytes, media_type: str = "", **rule: Unpack[Rule]) -> Fault:
        """Send something else instead, by default under the same media type."""
        headers = (("Content-Type", media_type),) if media_type else ()
        return cls("body", data, headers, **rule)

    @classmethod
    def html(cls, **rule: Unpack[Rule]) -> Fault:
        """Answer with a web page, as a captive portal does."""
        return cls.body("<!DOCTYPE html><title>Log in</title>", "text/html", **rule)

    @classmethod
    def endless(cls, size: int = 1 << 30, **rule: Unpack[Rule]) -> Fault:
        """Send a document of `size` bytes, made while it is sent."""
        return cls("endless", size, **rule)

    @classmethod
    def gzip_encoded(cls, **rule: Unpack[Rule]) -> Fault:
        """Send it with an unrequested `Content-Encoding: gzip`."""
        return cls("gzip_encoded", **rule)

    @classmethod
    def header(cls, name: str, value: str, **rule: Unpack[Rule]) -> Fault:
        """Send this header in place of the right one; the value may have CR and LF in it."""
        return cls("header", None, ((name, value),), **rule)

    # Ranges

    @classmethod
    def ignore_range(cls, **rule: Unpack[Rule]) -> Fault:
        """Answer a range with 200 and everything."""
        return cls("ignore_range", **rule)

    @classmethod
    def refuse_range(cls, status: int = 416, **rule: Unpack[Rule]) -> Fault:
        """Answer a range with this status, although the blob exists."""
        return cls("refuse_range", status, **rule)

    @classmethod
    def refuse_open_range(cls, **rule: Unpack[Rule]) -> Fault:
        """Answer 416 to a range without an end."""
        return cls("refuse_open_range", **rule)

    @classmethod
    def multipart_range(cls, **rule: Unpack[Rule]) -> Fault:
        """Answer a range as multipart/byteranges."""
        return cls("multipart_range", **rule)

    @classmethod
    def content_range(cls, text: str, **rule: Unpack[Rule]) -> Fault:
        """Send a wrong Content-Range; {start}, {end}, {total} stand for what is right."""
        return cls("content_range", text, **rule)

    @classmethod
    def shifted_range(cls, count: int, **rule: Unpack[Rule]) -> Fault:
        """Send bytes from elsewhere in the blob, with the requested Content-Range."""
        return cls("shifted_range", count, **rule)

    # Answers instead

    @classmethod
    def status(
        cls,
        code: int,
        *,
        retry_after: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        **rule: Unpack[Rule],
    ) -> Fault:
        """Answer with an error.

        Parameters:
            code: 401, 403, 416, 429, 500, 503, …
            retry_after: value of that header: seconds, a date, or garbage.
            headers: further headers.
        """
        extra = () if retry_after is None else (("Retry-After", retry_after),)
        return cls("status", code, (*headers, *extra), **rule)

    @classmethod
    def error(cls, code: str, message: str, status: int = 400, **rule: Unpack[Rule]) -> Fault:
        """Answer with an error of the distribution API (distribution-spec, Error Codes)."""
        return cls("error", f"{status} {code} {message}", **rule)

    @classmethod
    def realm(cls, url: str, **rule: Unpack[Rule]) -> Fault:
        """Challenge the client to ask for a token there."""
        challenge = f'Bearer realm="{url}",service="simulator"'
        return cls("status", 401, (("WWW-Authenticate", challenge),), **rule)

    @classmethod
    def redirect(cls, location: str, status: int = 307, **rule: Unpack[Rule]) -> Fault:
        """Redirect; {scheme}, {host}, {path} stand for those of the request."""
        return cls("redirect", f"{status} {location}", **rule)

    @classmethod
    def redirect_chain(cls, hops: int, **rule: Unpack[Rule]) -> Fault:
        """Redirect this many times before the answer."""
        return cls("redirect_chain", hops, **rule)

    @classmethod
    def endless_tags(cls, **rule: Unpack[Rule]) -> Fault:
        """Answer every page of a tag list with one more page to come."""
        return cls("endless_tags", **({"on": "tags"} | rule))

    # Changes behind the client's back, before the request is answered

    @classmethod
    def expire_tokens(cls, **rule: Unpack[Rule]) -> Fault:
        """Let all tokens that were issued so far expire."""
        return cls("expire_tokens", **rule)

    @classmethod
    def expire_urls(cls, **rule: Unpack[Rule]) -> Fault:
        """Let all signed addresses of the storage expire."""
        return cls("expire_urls", **rule)

    @classmethod
    def move_tag(cls, digest: str, **rule: Unpack[Rule]) -> Fault:
        """Let the tag that is asked for point to another digest from now on."""
        return cls("move_tag", digest, **({"on": "manifest"} | rule))

    def matches(self, request: Request, active: int) -> bool:
        """Return whether the rule, apart from its counts, covers this request."""
        kinds = (self.on,) if isinstance(self.on, str) else self.on
        return (
            (request.kind in kinds or ("any" in kinds and request.kind != "connection"))
            and self.method in ("", request.method)
            and self.reference in ("", request.reference)
            and active > self.over
        )

    def as_json(self) -> str:
        """Return the fault as `from_json` and the command line of the simulator take it."""
        return json.dumps(
            asdict(self), default=lambda data: data.decode("utf-8", "surrogateescape")
        )

    @classmethod
    def from_json(cls, text: str) -> Fault:
        """Read a fault; `name` is all that must be there."""
        fields = json.loads(text)
        fields["headers"] = tuple((name, value) for name, value in fields.get("headers", ()))
        if isinstance(on := fields.get("on", "any"), list):
            fields["on"] = tuple(on)
        return cls(**fields)
