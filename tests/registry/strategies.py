"""Hypothesis composes faults: those that a good client gets through, and any at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.registry.faults import KINDS, Fault

CONTENT = ("blob", "storage")
"""Requests that are answered with layers."""

RETRY_AFTER = (None, "0", "1", "-1", "", "soon", "1e3", "99999999999999999999", "Fri, 31 Dec 1999")
"""Forms of that header which do not ask for a long wait, or ask for nonsense."""

CONTENT_RANGES = (
    "",
    "bytes",
    "bytes 0-0/1",
    "bytes {end}-{start}/{total}",
    "bytes {start}-{end}/1",
    "bytes {start}-{start}/{total}",
    "bytes 1-{end}/{total}",
    "bits {start}-{end}/{total}",
    "bytes -1-99999999999999999999/{total}",
)
"""Values of Content-Range that are wrong, each in its own way."""

BODIES = (
    "",
    "null",
    "[]",
    "{}",
    '"text"',
    "{" * 5000,
    "[" * 100_000,
    '{"schemaVersion": 1}',
    '{"schemaVersion": 2, "layers": {}}',
    '{"manifests": [], "layers": []}',
    "\ufeff{}",
    '{"a": 1e999999, "b": NaN}',
)
"""Documents that are none of those that were asked for."""

LOCATIONS = (
    "",
    "{path}",
    "{scheme}://{host}{path}",
    "http://{host}{path}",
    "//{host}{path}",
    "{host}{path}",
    "file:///etc/passwd",
    "http://",
    "http://[",
    "http://127.0.0.1:1/",
    "\x1b[31m",
    "javascript:alert(1)",
)
"""Where redirects point to that lead nowhere."""

_WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40)


def _positions() -> st.SearchStrategy[int | float]:
    parts = st.floats(0.0, 0.99).map(lambda part: round(part, 3))
    return st.one_of(st.integers(0, 4096), parts)


def _rule(times: st.SearchStrategy[int | None], on: Sequence[str]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"on": st.sampled_from(on), "skip": st.integers(0, 4), "times": times}
    )


def _build(name: str, values: st.SearchStrategy[Any], rule: Any) -> st.SearchStrategy[Fault]:
    return st.builds(lambda value, rule: Fault(name, value, **rule), values, rule)


def _statuses(codes: Sequence[int], rule: Any) -> st.SearchStrategy[Fault]:
    return st.builds(
        lambda code, after, rule: Fault.status(code, retry_after=after, **rule),
        st.sampled_from(codes),
        st.sampled_from(RETRY_AFTER),
        rule,
    )


def passing_faults(on: Sequence[str] = KINDS) -> st.SearchStrategy[Fault]:
    """Faults that strike once or twice: with retries the image arrives unharmed.

    A bit is flipped but once: what only the digest finds out is fetched once more, and no more.

    Parameters:
        on: kinds of request that may be struck; faults of content strike blobs only.
    """
    twice: st.SearchStrategy[int | None] = st.integers(1, 2)
    anywhere, content = _rule(twice, on), _rule(twice, CONTENT)
    nothing = st.none()
    return st.one_of(
        _build("reset_after", st.one_of(st.just(-1), _positions()), anywhere),
        _build("close_after", _positions(), anywhere),
        _build("shortened", _positions(), content),
        _build("flip_bit", _positions(), _rule(st.just(1), CONTENT)),
        _build("content_range", st.sampled_from(CONTENT_RANGES), content),
        _build("shifted_range", st.integers(1, 100_000), content),
        _build("multipart_range", nothing, content),
        _build("garbage_before", st.binary(min_size=1, max_size=64), content),
        _statuses((429, 500, 502, 503, 504), anywhere),
        _build("refuse_range", nothing, content),
    )


def harmless_faults(on: Sequence[str] = KINDS) -> st.SearchStrategy[Fault]:
    """Oddities that are allowed, or nearly: even if they last, the image arrives unharmed."""
    ever: st.SearchStrategy[int | None] = st.one_of(st.none(), st.integers(1, 3))
    anywhere, content = _rule(ever, on), _rule(ever, CONTENT)
    nothing = st.none()
    return st.one_of(
        _build("http10", nothing, anywhere),
        _build("connection_close", nothing, anywhere),
        _build("chunked", nothing, anywhere),
        _build("without_length", nothing, anywhere),
        _build("ignore_range", nothing, content),
        _build("refuse_open_range", nothing, content),
        _build("redirect_chain", st.integers(1, 3), content),
        _build("delay", st.floats(0.0, 0.05), anywhere),
        _build("rate", st.integers(200_000, 100_000_000), content),
    )


def any_faults(on: Sequence[str] = KINDS) -> st.SearchStrategy[Fault]:
    """All of these, and what never ends well: there must be a clear error, and no archive."""
    ever: st.SearchStrategy[int | None] = st.one_of(st.none(), st.integers(1, 3))
    anywhere = _rule(ever, on)
    nothing = st.none()
    headers = ("Content-Type", "Docker-Content-Digest", "Content-Encoding", "Link", "Location")
    return st.one_of(
        passing_faults(on),
        harmless_faults(on),
        _build("reset_after", st.one_of(st.just(-1), _positions()), anywhere),
        _build("close_after", _positions(), anywhere),
        _build("shortened", _positions(), anywhere),
        _build("lengthened", st.integers(1, 5000), anywhere),
        _build("flip_bit", _positions(), anywhere),
        _build("body", st.one_of(st.binary(max_size=64), st.sampled_from(BODIES)), anywhere),
        _build("gzip_encoded", nothing, anywhere),
        _build("garbage_before", st.binary(min_size=1, max_size=64), anywhere),
        _build("garbage_after", st.binary(min_size=1, max_size=64), anywhere),
        _statuses((400, 401, 403, 404, 416, 418, 429, 451, 500, 501, 503, 599), anywhere),
        st.builds(
            lambda name, value, rule: Fault.header(name, value, **rule),
            st.sampled_from(headers),
            st.one_of(_WORDS, st.just("x\r\nX-Injected: yes")),
            anywhere,
        ),
        st.builds(
            lambda where, rule: Fault.redirect(where, **rule),
            st.sampled_from(LOCATIONS),
            anywhere,
        ),
    )


def fault_lists(
    faults: st.SearchStrategy[Fault] | None = None, most: int = 4
) -> st.SearchStrategy[list[Fault]]:
    """Lists of up to `most` faults, of any kind unless told otherwise."""
    return st.lists(any_faults() if faults is None else faults, min_size=1, max_size=most)
