"""The content of an archive, hashed while it is read once, in order."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator

from ...compression import Decompressor
from ...errors import ContentError
from ...limits import LIMITS
from ...model.digest import is_digest
from ...model.weight import is_too_heavy
from ...values import dataclass, field
from .reader import Found, Members

_LINKS_MOST = 8
_DOCUMENT_HEAD = 64
"""Bytes in which a document must begin."""


@dataclass(slots=True)
class Item:
    """A file of an archive.

    Args:
        path: its name.
        size: in bytes.
        digests: of its content, with each algorithm that its name implies, sha256 first.
        diff_ids: of its decompressed content, likewise; the same if it is not compressed.
        fault: why it cannot be decompressed, or empty.
    """

    path: str
    size: int
    digests: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()
    fault: str = ""


@dataclass(slots=True)
class Inventory:
    """The files and links of an archive.

    Args:
        items: the files, by their names.
        links: targets of links, by their names.
        faults: members that are not allowed: name, and why.
        cut: why the archive could not be read completely, or empty.
    """

    items: dict[str, Item] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)
    cut: str = ""
    _documents: dict[str, bytes] = field(default_factory=dict)
    _kept: int = 0
    _read: int = 0

    @classmethod
    def of(cls, members: Members, *, hashed: bool = True) -> Inventory:
        """Read all members.

        Args:
            members: of the archive.
            hashed: whether to hash files; otherwise their names are trusted, and only documents are
                read.
        """
        inventory = cls()
        try:
            for count, (found, content) in enumerate(members):
                if count >= LIMITS.archive_members:
                    raise ContentError(f"there are more than {LIMITS.archive_members} members")
                inventory._add(found, content, inventory._hash if hashed else inventory._look_at)
        except ContentError as failure:
            inventory.cut = failure.message
        return inventory

    def _add(
        self,
        found: Found,
        content: Iterator[bytes],
        read: Callable[[Found, Iterator[bytes]], Item],
    ) -> None:
        if found.fault:
            self._blame(found.path, found.fault)
        elif found.kind == "link":
            if self.links.setdefault(found.path, found.target) != found.target:
                self._blame(found.path, "occurs twice")
        elif found.kind == "file":
            item = read(found, content)
            if self.items.setdefault(found.path, item) != item or found.path in self.links:
                # Some engines use the first, some the last.
                self._blame(found.path, "occurs twice, with different content")

    def _blame(self, path: str, message: str) -> None:
        if len(self.faults) < LIMITS.archive_faults:
            self.faults.append((path, message))

    def _hash(self, found: Found, content: Iterator[bytes]) -> Item:
        item = Item(found.path, found.size)
        digests, diff_ids = _Hashes(found.path), _Hashes(found.path)
        decompressor = Decompressor("it")
        body = bytearray()
        unpacked = 0

        def unpack(pieces: Iterator[bytes]) -> None:
            nonlocal unpacked
            try:
                for piece in pieces:
                    unpacked += len(piece)
                    if unpacked > LIMITS.unpacked_layer:
                        raise ContentError("it is too large when unpacked")
                    if decompressor.kind:
                        diff_ids.update(piece)
            except ContentError as failure:
                item.fault = failure.message

        for data in content:
            digests.update(data)
            if found.size <= LIMITS.archive_document:
                body += data
            if not item.fault:
                unpack(decompressor.feed(data))
        if not item.fault:
            unpack(decompressor.finish())
        item.digests = digests.values
        item.diff_ids = diff_ids.values if decompressor.kind else item.digests
        if _may_be_document(bytes(body[:_DOCUMENT_HEAD])):
            self._keep(found.path, bytes(body))
        return item

    def _look_at(self, found: Found, content: Iterator[bytes]) -> Item:
        if found.size <= LIMITS.archive_document:
            body = b""
            while len(body) < _DOCUMENT_HEAD and (piece := next(content, b"")):
                body += piece
            if _may_be_document(body[:_DOCUMENT_HEAD]):
                self._keep(found.path, body + b"".join(content))
        digest = named_digest(found.path)
        return Item(found.path, found.size, (digest,) if digest else ())

    def _keep(self, path: str, body: bytes) -> None:
        packed = zlib.compress(body, 1)
        self._kept += len(packed)
        if self._kept > LIMITS.archive_documents:
            raise ContentError("too many documents to check at once")
        self._documents[path] = packed

    @property
    def paths(self) -> list[str]:
        """The names of all files, and of links to files."""
        return [*self.items, *(link for link in self.links if self.find(link))]

    @property
    def documents(self) -> list[str]:
        """The names of all files that may be documents."""
        return list(self._documents)

    def find(self, path: str) -> Item | None:
        """The file with this name, or the target of a link with this name."""
        for _ in range(_LINKS_MOST):
            if path not in self.links:
                break
            path = self.links[path]
        return self.items.get(path)

    def document(self, path: str) -> bytes:
        """The content of a JSON document.

        Raises:
            ContentError: it is not valid JSON, or too large for a document.
        """
        item = self.find(path)
        packed = self._documents.get(item.path) if item else None
        if packed is None:
            large = item is not None and item.size > LIMITS.archive_document
            raise ContentError("is too large for a document" if large else "is not valid JSON")
        body = zlib.decompress(packed)
        self._read += len(body)
        if self._read > LIMITS.archive_parsed:
            raise ContentError("is referenced too often by other documents")
        if is_too_heavy(body):
            raise ContentError("has too many values or too much text")
        return body


def _may_be_document(head: bytes) -> bool:
    """Whether a file may be JSON: an object, a list, or what Go writes for neither (`null`)."""
    text = head.strip(b" \t\r\n")
    return text.startswith((b"{", b"[")) or text == b"null"


class _Hashes:
    """Hashes content with sha256, and with sha512 if its name implies that."""

    def __init__(self, path: str) -> None:
        names = ["sha256", "sha512"] if path.startswith("blobs/sha512/") else ["sha256"]
        self._hashes = [hashlib.new(name) for name in names]

    def update(self, data: bytes) -> None:
        for each in self._hashes:
            each.update(data)

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(f"{each.name}:{each.hexdigest()}" for each in self._hashes)


def named_digest(path: str) -> str:
    """The digest that a file's name implies, or empty.

    `blobs/<algorithm>/<hex>` (OCI), `<hex>.json` (docker save), `sha256:<hex>` and
    `<hex>.tar.gz` (crane).
    """
    parts = path.split("/")
    if parts[0] == "blobs" and len(parts) == 3 and is_digest(f"{parts[1]}:{parts[2]}"):
        return f"{parts[1]}:{parts[2]}"
    match = _NAMED.fullmatch(path)
    return f"sha256:{match[1]}" if match else ""


_NAMED = re.compile(r"(?:sha256:)?([0-9a-f]{64})(?:\.json|\.tar\.gz)?")
