"""What a document would take in memory is told before it is parsed."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from dockersave.limits import LIMITS
from dockersave.model.digest import digest_of
from dockersave.model.manifests import Manifest, parse_document
from dockersave.model.weight import is_too_heavy, kept_of

MOST = LIMITS.json_text


def filled(text: str, size: int) -> bytes:
    """A document with a text, of this many bytes in total."""
    start = json.dumps({"a": text}, ensure_ascii=False)[:-2].encode()
    return start + b"x" * (size - len(start) - 2) + b'"}'


@pytest.mark.parametrize(
    ("text", "width"),
    [("", 1), ("\u00fc", 1), ("\u0142", 2), ("\u3042", 2), ("\U0001f600", 4)],
)
@pytest.mark.parametrize("is_escaped", [False, True])
def test_wide_letters(text: str, width: int, is_escaped: bool) -> None:
    size = MOST // width
    for length, is_heavy in ((size, False), (size + 1, True)):
        body = filled(text, length)
        if is_escaped:
            escapes = json.dumps(text)[1:-1].encode()
            body = filled("", length - len(escapes)).replace(b'"}', escapes + b'"}')
        assert len(body) == length
        assert is_too_heavy(body) is is_heavy


@pytest.mark.parametrize("value", [b"1,", b"[],", b'{"a":1},', b'"a":0,'])
def test_many_values(value: bytes) -> None:
    marks = sum(value.count(mark) for mark in (b",", b":", b"[", b"{"))
    assert is_too_heavy(value * (1000 // marks + 1), 1000)
    assert not is_too_heavy(value * (1000 // marks), 1000)


@pytest.mark.parametrize(
    "body",
    [
        filled("\U0001f600", MOST // 4),
        filled("", MOST),
        b"[" + b"[]," * (LIMITS.json_marks // 2 - 2) + b"0]",
        b"[" + b'{"a":1},' * (LIMITS.json_marks // 3 - 2) + b"0]",
        b"[" + b'"ab",' * (LIMITS.json_marks - 2) + b"0]",
    ],
    ids=len,
)
def test_what_passes_takes_no_more_than_documents_may(body: bytes) -> None:
    assert not is_too_heavy(body)
    tracemalloc.start()
    try:
        json.loads(body.decode())
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(
    ("count", "text"),
    [(4000, ""), (1, "x" * 1_000_000), (1, "x" * 1_000_000 + "Ā"), (1, "x" * 1_000_000 + "😀")],
    ids=["descriptors", "letters", "letters of two bytes", "letters of four"],
)
def test_what_is_kept_of_a_manifest_is_counted(count: int, text: str, escaped: bool) -> None:
    """Its descriptors take more memory than its bytes, and so may their text."""
    layers = [
        {"mediaType": f"a/{n}", "digest": f"sha256:{n:064x}", "size": n} for n in range(count)
    ]
    first = {**layers[0], "annotations": {"a": text}} if text else layers[0]
    document = {"schemaVersion": 2, "layers": layers, "config": first}
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=escaped).encode()
    tracemalloc.start()
    try:
        manifest = parse_document(body, digest_of(body))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(manifest, Manifest)
    assert kept <= len(body) + kept_of(body)
