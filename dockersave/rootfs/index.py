"""What stands in for a layer that is not needed: headers of its members, from its index. Pure.

Sources: stargz-snapshotter, docs/estargz.md, "TOCEntry"; containers/storage uses the same. Both
have the members of the layer in their order, whiteouts among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..archive.read.headers import DIRECTORY, HARD_LINK, SYMBOLIC_LINK
from ..archive.tar import END
from ..errors import ContentError
from .headers import BLOCK_DEVICE, CHARACTER_DEVICE, FILE, PIPE, Member
from .nodes import Entry
from .tarball import header

_KINDS = {
    "reg": FILE,
    "dir": DIRECTORY,
    "symlink": SYMBOLIC_LINK,
    "hardlink": HARD_LINK,
    "char": CHARACTER_DEVICE,
    "block": BLOCK_DEVICE,
    "fifo": PIPE,
}
_ENTRIES = re.compile(r'"entries"\s*:\s*\[\s*')
_BETWEEN = re.compile(r"[\s,]*")
_UNKNOWN = "\ufffd"
"""What Go writes for bytes that are no UTF-8: which they were is not known."""


def stand_in(index: bytes, more: Iterable[str] = ()) -> Iterator[bytes]:
    """A tar with names, kinds and targets of all members of a layer, and nothing else of them.

    Args:
        index: the layer's index.
        more: names of further files.

    Raises:
        ContentError: it is malformed, or does not say enough.
    """
    for each in _entries(index):
        kind = each.get("type")
        if kind == "chunk":
            # A further part of the file before.
            continue
        if kind not in _KINDS:
            raise ContentError("the index has an entry of an unknown kind")
        yield _header(_known(each.get("name")), _KINDS[kind], _known(each.get("linkName", "")))
    for name in more:
        yield _header(name, FILE, "")
    yield END


def _header(name: str, kind: int, target: str) -> bytes:
    path = name.encode()
    member = Member(path, kind, 0, 0, 0, 0, target.encode(), 0, 0, (0, 0), {})
    return header(Entry(path, 0, kind, b"", lambda: member))


def _known(name: object) -> str:
    if not isinstance(name, str) or not name.isprintable() or _UNKNOWN in name:
        raise ContentError("the index has a name that is not known")
    return name


def _entries(index: bytes) -> Iterator[dict[str, Any]]:
    """Its entries, one at a time: all of them would take much memory."""
    decode = json.JSONDecoder().raw_decode
    try:
        text = index.decode()
        begin = _ENTRIES.search(text)
        position = begin.end() if begin else len(text)
        while text[position : position + 1] != "]":
            each, position = decode(text, position)
            if not isinstance(each, dict):
                raise ContentError("the index has an entry that is not an object")
            yield each
            if between := _BETWEEN.match(text, position):
                position = between.end()
    except (ValueError, RecursionError) as failure:
        raise ContentError("the index is not valid JSON") from failure
