"""Inputs that are almost right, for fuzzing: documents and bytes with something wrong in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

texts = st.text(max_size=20) | st.sampled_from(
    ["", "\0", "\ud800", "../..", "a\r\nb: c", "\x1b[2J", "%00", "é" * 50, "9" * 5000, "x" * 300]
)
numbers = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([0, -1, 1, 2**31, 1e999])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document, as the container and the key or position in it."""
    if isinstance(document, dict | list):
        keys = list(document) if isinstance(document, dict) else range(len(document))
        for key in keys:
            yield document, key
            yield from places(document[key])


@st.composite
def documents(draw: st.DrawFn, samples: Sequence[Any]) -> Any:
    """One of the samples with up to four places changed, added or left out."""
    document = copy.deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        known = list(places(document))
        if not known:
            return draw(values)
        container, key = known[draw(st.integers(0, len(known) - 1))]
        change = draw(st.sampled_from(["replace", "drop", "add", "swap", "repeat"]))
        if change == "replace":
            container[key] = draw(values)
        elif change == "drop":
            del container[key]
        elif change == "swap":
            other, there = known[draw(st.integers(0, len(known) - 1))]
            container[key] = copy.deepcopy(other[there])
        elif isinstance(container, dict):
            container[draw(texts)] = draw(values)
        else:
            container.extend([container[key]] * draw(st.integers(1, 3)))
    return document


@st.composite
def mangled(draw: st.DrawFn, sources: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of a source with up to three cuts, changes or additions; most often none."""
    data = bytearray(draw(sources))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3]))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 40)))
        data[start:stop] = draw(
            st.binary(max_size=12)
            | st.sampled_from([b'"', b"\\", b"[" * 50_000, b'{"a":' * 20_000])
        )
    return bytes(data)


def json_bytes(samples: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """JSON, more or less."""
    return mangled(documents(samples).map(_dump))


def _dump(document: Any) -> bytes:
    try:
        return json.dumps(document).encode()
    except (ValueError, RecursionError):  # an integer too long to write, or a cycle of swaps
        return b"9" * 10_000


def near(samples: Sequence[str]) -> st.SearchStrategy[str]:
    """Text that is like the samples, or is not."""
    return st.text(max_size=60) | mangled(
        st.sampled_from([sample.encode("utf-8", "surrogateescape") for sample in samples])
    ).map(lambda data: data[:2000].decode("latin-1"))
