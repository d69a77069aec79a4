"""List an archive according to its documents. Nothing is hashed or verified.

From an uncompressed tar file, only headers and documents are read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from ...cancellation import Cancellation
from ...compression import Decompressor
from ...errors import ContentError, shown
from ...limits import LIMITS
from ...model.descriptors import Descriptor, parse_descriptor
from ...model.digest import digest_of
from ...model.kinds import parse_entry
from ...model.manifests import Manifest, parse_config
from ...progress import Progress
from ...spelling import argument
from ...values import dataclass
from ..formats import formats_in
from .findings import NO_ARCHIVE, NO_IMAGES
from .inventory import Inventory, named_digest
from .reader import Members, read_file
from .verify import STDIN, Reading

_HEAD = 512
"""Bytes needed to recognise compression or a document."""
_HINT = f"{argument('check')} lists everything that is wrong with it"


@dataclass(frozen=True, slots=True)
class ListedLayer:
    """A layer of an image in an archive.

    Args:
        digest: from the manifest, or its diff_id if there is none.
        size: as stored, in bytes.
        is_here: whether the archive contains it; foreign layers may be missing.
    """

    digest: str
    size: int
    is_here: bool


@dataclass(frozen=True, slots=True)
class ListedVariant:
    """An image for one platform.

    Args:
        platform: its platform, or empty.
        digest: of its manifest, or of its config if the archive has no manifests.
        layers: bottom first.
    """

    platform: str
    digest: str
    layers: tuple[ListedLayer, ...]

    @property
    def size(self) -> int:
        """Size of all layers in bytes."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image in an archive.

    Args:
        names: its names in their order; may be empty.
        digest: of its manifest or index, or of its config if the archive has no manifests.
        variants: one for each platform in the archive.
    """

    names: tuple[str, ...]
    digest: str
    variants: tuple[ListedVariant, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of an archive.

    Args:
        path: of the archive.
        formats: `docker`, `oci`, `legacy`, or several of them.
        compression: of the whole archive, such as `gzip`; empty for none.
        images: those in it.
    """

    path: str
    formats: tuple[str, ...]
    compression: str
    images: tuple[ListedImage, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "path": self.path,
            "formats": list(self.formats),
            "compression": self.compression,
            "images": [
                {
                    "names": list(image.names),
                    "digest": image.digest,
                    "variants": [
                        {
                            "platform": variant.platform,
                            "digest": variant.digest,
                            "size": variant.size,
                            "layers": [
                                {
                                    "digest": layer.digest,
                                    "size": layer.size,
                                    "is_here": layer.is_here,
                                }
                                for layer in variant.layers
                            ],
                        }
                        for variant in image.variants
                    ],
                }
                for image in self.images
            ],
        }


def list_archive(
    path: str | os.PathLike[str], *, cancellation: Cancellation | None = None
) -> Listing:
    """List what an archive contains, without verifying it.

    Args:
        path: as for `check_archive`.
        cancellation: stops it from another thread.

    Raises:
        UsageError: it cannot be read.
        ContentError: it is not an image archive, or its documents cannot be read.
        CancelledError: it was stopped.
    """
    name = os.fspath(path)
    reading = Reading(name, Progress(), cancellation or Cancellation())
    with closing(reading), reading.explaining():
        plain = open_plain(name)
        if plain is None:
            inventory = Inventory.of(reading.members(), hashed=False)
        else:
            try:
                inventory = Inventory.of(_members(plain), hashed=False)
            finally:
                os.close(plain)
    try:
        if inventory.cut:
            raise ContentError(inventory.cut)
        formats, images = _Contents(inventory).read()
    except ContentError as failure:
        hint = failure.advice or NO_ARCHIVE.get(failure.said, _HINT)
        raise ContentError(f"{name}: {failure.said}", hint) from failure
    return Listing(name, formats, reading.compression, images)


def open_plain(path: str) -> int | None:
    """Open a file with random access to its members; None if there is no such file."""
    if path == STDIN or not stat.S_ISREG(os.stat(path).st_mode):
        return None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    decompressor = Decompressor("the archive")
    head = os.pread(fd, _HEAD, 0)
    try:
        for _ in decompressor.feed(head):
            break
    except ContentError:
        pass
    if decompressor.kind:
        os.close(fd)
        return None
    return fd


def _members(fd: int) -> Members:
    for found, offset in read_file(fd):
        yield found, content_of(fd, offset, found.size)


def content_of(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """The content of a member of a file, of which often only the beginning is needed.

    Args:
        fd: the file.
        offset, size: where the content is, in bytes.

    Raises:
        ContentError: the file ends before.
    """
    end = offset + size
    most = _HEAD
    while offset < end and (data := os.pread(fd, min(end - offset, most), offset)):
        offset += len(data)
        # Of files that are not documents, only the beginning is read.
        most = LIMITS.read
        yield data
    if offset < end:
        raise ContentError("the archive is truncated")


class _Contents:
    """The images listed by the documents of an archive."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._variants: dict[str, tuple[ListedVariant, ...] | None] = {}

    def read(self) -> tuple[tuple[str, ...], tuple[ListedImage, ...]]:
        """All images, and the formats of the archive."""
        images: list[ListedImage] = []
        if self._inventory.find("index.json"):
            images = self._layout()
        if self._inventory.find("manifest.json"):
            if not any(image.names for image in images):
                images += [self._docker(entry) for entry in _list(self._json("manifest.json"))]
        elif not self._inventory.find("index.json"):
            if not self._inventory.find("repositories"):
                raise ContentError(NO_IMAGES)
            images = list(self._legacy())
        return formats_in(self._inventory.paths), tuple(images)

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self._inventory.document(path))
        except (ValueError, RecursionError):
            raise ContentError(f"{shown(path)} is not valid JSON") from None

    def _layout(self) -> list[ListedImage]:
        names: dict[str, list[str]] = {}
        found: dict[str, tuple[ListedVariant, ...]] = {}
        for number, entry in enumerate(_list(_object(self._json("index.json")).get("manifests"))):
            descriptor = parse_descriptor(entry, f"manifests[{number}]")
            if descriptor.is_companion:
                continue
            variants = self._manifest(descriptor, LIMITS.index_depth)
            if variants is None:
                raise ContentError(
                    f"{descriptor.blob_path} is missing, but index.json refers to it"
                )
            found[descriptor.digest] = variants
            names.setdefault(descriptor.digest, [])
            if descriptor.name:
                names[descriptor.digest].append(shown(descriptor.name))
        return [
            ListedImage(tuple(names[digest]), digest, variants)
            for digest, variants in found.items()
        ]

    def _manifest(
        self, descriptor: Descriptor, depth: int, *, inside: bool = False
    ) -> tuple[ListedVariant, ...] | None:
        """The images below a descriptor; None if its blob is not in the archive."""
        path = descriptor.blob_path
        if path in self._variants:
            # Read only once, however often it is referenced.
            return self._variants[path]
        if not self._inventory.find(path):
            return None
        self._variants[path] = ()
        read = partial(self._inventory.document, path)
        document = parse_entry(descriptor, read, inside=inside)
        if document is None:
            return ()
        if not document.is_index:
            self._variants[path] = (self._image(document),)
        elif depth == 0:
            raise ContentError(f"indexes are nested more than {LIMITS.index_depth} levels deep")
        else:
            self._variants[path] = tuple(
                variant
                for entry in document.manifests
                if not entry.is_attestation
                # Docker's containerd store saves an index with only the images that it has.
                for variant in self._manifest(entry, depth - 1, inside=True) or ()
            )
        return self._variants[path]

    def _image(self, manifest: Manifest) -> ListedVariant:
        layers = [
            ListedLayer(layer.digest, layer.size, bool(self._inventory.find(layer.blob_path)))
            for layer in manifest.layers
        ]
        platform = self._platform(manifest.config.blob_path, len(layers))
        return ListedVariant(platform, manifest.descriptor.digest, tuple(layers))

    def _platform(self, config: str, layers: int) -> str:
        try:
            return str(parse_config(self._inventory.document(config), layers).platform)
        except ContentError:
            # Only images have one; `check_archive` reports errors in it.
            return ""

    def _docker(self, entry: object) -> ListedImage:
        document = _object(entry)
        path = document.get("Config")
        paths = [str(each) for each in _list(document.get("Layers"))]
        names = tuple(shown(str(each)) for each in _list(document.get("RepoTags")) if each)
        if not path or not isinstance(path, str):
            raise ContentError("manifest.json has an entry without a config")
        item = self._inventory.find(path)
        if item is None:
            raise ContentError(f"{shown(path)} is missing, but manifest.json refers to it")
        body = self._inventory.document(item.path)
        config = parse_config(body, len(paths))
        layers = []
        for where, diff_id in zip(paths, config.diff_ids, strict=True):
            layer = self._inventory.find(where)
            digest = named_digest(layer.path) if layer else ""
            layers.append(
                ListedLayer(digest or diff_id, layer.size if layer else 0, layer is not None)
            )
        digest = named_digest(item.path) or digest_of(body)
        variant = ListedVariant(str(config.platform), digest, tuple(layers))
        return ListedImage(names, digest, (variant,))

    def _legacy(self) -> Iterator[ListedImage]:
        for name, tags in _object(self._json("repositories") or {}).items():
            for tag, v1_id in _object(tags or {}).items():
                layers = tuple(self._chain(str(v1_id)))[::-1]
                digest = shown(f"sha256:{v1_id}")
                yield ListedImage(
                    (shown(f"{name}:{tag}"),), digest, (ListedVariant("", digest, layers),)
                )

    def _chain(self, v1_id: str) -> Iterator[ListedLayer]:
        for _ in range(LIMITS.layers):
            layer = self._inventory.find(f"{v1_id}/layer.tar")
            yield ListedLayer(
                shown(f"sha256:{v1_id}"), layer.size if layer else 0, layer is not None
            )
            v1_id = str(_object(self._json(f"{v1_id}/json")).get("parent") or "")
            if not v1_id:
                return


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ContentError("a document is malformed")
    return value


def _list(value: object) -> list[Any]:
    """A list; Go encodes an empty one as null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ContentError("a document is malformed")
    return value
