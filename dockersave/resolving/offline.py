"""An image in a saved archive, as a registry would serve it: no network.

Whichever program wrote the archive. One without manifests (`docker save` before version 25,
skopeo's docker-archive) gets one made from `manifest.json`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..archive.read.findings import NO_ARCHIVE, NO_IMAGES
from ..archive.read.inventory import Inventory
from ..archive.read.listing import content_of, open_plain
from ..archive.read.reader import Members, read_directory, read_file
from ..budget import Budget
from ..errors import ContentError, DockersaveError, NotFoundError, UsageError, shown
from ..limits import LIMITS
from ..model.descriptors import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    Descriptor,
    parse_descriptor,
)
from ..model.digest import digest_of
from ..model.manifests import parse_config, to_json
from ..model.reference import Reference
from ..registry.documents import Document
from ..spelling import argument
from ..transfer.sources import LocalStore
from ..values import replace

if TYPE_CHECKING:
    from ..signatures.keys import PublicKey
    from ..signatures.signed import Requirement

_LISTED_MOST = 10
_AGAIN = "save the image, or copy the archive, again"


class ArchivedImage:
    """An image in an archive, with what resolving needs (see `Documents`).

    Args:
        path: a plain tar file, or a directory with an OCI image layout.
        wanted: which image; None for the only one.

    Raises:
        UsageError: it cannot be read, or holds several images, and none is named.
        NotFoundError: it does not hold the one that is named.
        ContentError: it is not an image archive.
    """

    def __init__(self, path: str, wanted: Reference | None) -> None:
        self.budget = Budget()
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._made: dict[str, tuple[bytes, str]] = {}
        self._ids: dict[str, str] = {}
        """Of manifests that were made: the digests of their configs."""
        self._layers: list[tuple[str, int, int]] = []
        self._inventory = self._read()
        images = list(self._images())
        self.reference, self._root = self._chosen(images, wanted)

    @property
    def image_id(self) -> str:
        """Its ID, if the archive has no manifest of it; otherwise empty."""
        return self._ids.get(self._root.digest, "")

    @property
    def exactly(self) -> Reference:
        """What resolving asks for: its manifest or index, whatever it is called."""
        return replace(self.reference, digest=self._root.digest)

    # As a registry

    def manifest(
        self, repository: str, version: str, large: object = None, media_type: str = ""
    ) -> Document:
        """The image's manifest or index, or one in it."""
        digest = version if ":" in version else self._root.digest
        if digest in self._made:
            body, media_type = self._made[digest]
        else:
            media_type = self._root.media_type if digest == self._root.digest else ""
            body = self._body(digest)
        return Document(body, media_type, digest_of(body, digest.partition(":")[0]))

    def read_blob(self, repository: str, descriptor: Descriptor, limit: int) -> bytes:
        """A config."""
        made = self._made.get(descriptor.digest)
        return made[0] if made else self._body(descriptor.digest)

    def tell(self, local: LocalStore) -> None:
        """Tell where layers are that are not named after their digests."""
        for digest, offset, size in self._layers:
            local.add_part(digest, self._path, offset, size)

    def signers(self, digests: Sequence[str], needed: Sequence[Requirement]) -> Sequence[PublicKey]:
        """Who signed an image, as the archive itself proves it.

        Args:
            digests: of what its name refers to, and of what was chosen from that.
            needed: whose signatures it needs.

        Raises:
            SignatureError: they are not there.
        """
        from ..archive.read.signers import Signatures

        return Signatures(self._inventory).find(digests, needed)

    def conceal(self, error: DockersaveError) -> DockersaveError:
        """Nothing in an archive is secret."""
        return error

    def _body(self, digest: str) -> bytes:
        path = Descriptor("", digest, 0).blob_path
        if not self._inventory.find(path):
            raise NotFoundError(
                f"{self._path} does not hold {digest}", "was it saved for another platform?"
            )
        body = self._document(path)
        if (there := digest_of(body, digest.partition(":")[0])) != digest:
            raise ContentError(f"{self._path}: {digest} hashes to {there}", _AGAIN)
        return body

    # The archive

    def _read(self) -> Inventory:
        try:
            if os.path.isdir(self._path):
                inventory = Inventory.of(read_directory(self._path), hashed=False)
            else:
                fd = open_plain(self._path)
                if fd is None:
                    raise self._unreadable()
                try:
                    inventory = Inventory.of(self._members(fd), hashed=False)
                finally:
                    os.close(fd)
        except OSError as failure:
            raise UsageError(
                f"cannot read {self._path}: {failure.strerror or failure}",
                "name a saved archive that you can read",
            ) from failure
        if cut := inventory.cut:
            raise ContentError(f"{self._path}: {cut}", NO_ARCHIVE.get(cut, _AGAIN))
        return inventory

    def _unreadable(self) -> UsageError:
        if os.path.isfile(self._path):
            return UsageError(
                f"{self._path} is compressed: nothing in it can be found",
                "unpack it first, with gunzip, zstd -d or xz -d",
            )
        return UsageError(
            f"{self._path} is no file: nothing in it can be found",
            f"{argument('from_archive')} reads back and forth: write the archive to a file first",
        )

    def _members(self, fd: int) -> Members:
        for found, offset in read_file(fd):
            if found.kind == "file":
                self._places[found.path] = offset, found.size
            yield found, content_of(fd, offset, found.size)

    def _images(self) -> Iterator[tuple[str, Descriptor]]:
        """The archive's images, each with a name, which may be empty."""
        if self._inventory.find("index.json"):
            index = self._json("index.json")
            entries = index.get("manifests") if isinstance(index, dict) else None
            for number, entry in enumerate(entries if isinstance(entries, list) else ()):
                descriptor = parse_descriptor(entry, f"manifests[{number}]")
                if not descriptor.is_companion:
                    yield descriptor.name, descriptor
        elif self._inventory.find("manifest.json"):
            entries = self._json("manifest.json")
            for entry in entries if isinstance(entries, list) else ():
                descriptor = self._make(entry)
                names = entry.get("RepoTags")
                for name in names if names and isinstance(names, list) else [""]:
                    yield str(name), descriptor
        else:
            raise ContentError(f"{self._path}: {NO_IMAGES}", NO_ARCHIVE[NO_IMAGES])

    def _json(self, path: str) -> Any:
        body = self._document(path)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise ContentError(f"{self._path}: {path} is not valid JSON") from None

    def _document(self, path: str) -> bytes:
        try:
            return self._inventory.document(path)
        except ContentError as failure:
            raise ContentError(f"{self._path}: {shown(path)} {failure.message}") from None

    def _make(self, entry: object) -> Descriptor:
        """Make a manifest of an entry of `manifest.json`."""
        layers = entry.get("Layers") if isinstance(entry, dict) else None
        path = entry.get("Config") if isinstance(entry, dict) else None
        if not isinstance(path, str) or not isinstance(layers or [], list):
            raise ContentError(f"{self._path}: manifest.json is malformed")
        if not self._inventory.find(path):
            raise ContentError(f"{self._path}: {shown(path)} is missing")
        body = self._document(path)
        config = parse_config(body, len(layers or []))
        stored = []
        for name, diff_id in zip(layers or [], config.diff_ids, strict=True):
            item = self._inventory.find(name) if isinstance(name, str) else None
            if item is None or item.path not in self._places:
                raise ContentError(f"{self._path}: {shown(str(name))} is missing")
            offset, size = self._places[item.path]
            # Its digest is not known: it may be compressed. What it unpacks to is checked.
            digest = digest_of(f"{item.path}: {diff_id}".encode())
            self._layers.append((digest, offset, size))
            stored.append(Descriptor(DOCKER_LAYER, digest, size).to_json())
        described = Descriptor(DOCKER_CONFIG, digest_of(body), len(body))
        manifest = to_json(
            {
                "schemaVersion": 2,
                "mediaType": DOCKER_MANIFEST,
                "config": described.to_json(),
                "layers": stored,
            }
        )
        self._made[described.digest] = body, ""
        digest = digest_of(manifest)
        self._made[digest] = manifest, DOCKER_MANIFEST
        self._ids[digest] = described.digest
        return Descriptor(DOCKER_MANIFEST, digest, len(manifest))

    def _chosen(
        self, images: list[tuple[str, Descriptor]], wanted: Reference | None
    ) -> tuple[Reference, Descriptor]:
        named = [(self._reference(name, root), root) for name, root in images]
        if wanted is None:
            if len({root.digest for _, root in named}) == 1:
                return named[0]
            if not named:
                raise NotFoundError(f"{self._path} holds no image", "save it again")
            raise UsageError(
                f"{self._path} holds several images: {self._listed(named)}", "name one of them"
            )
        for reference, root in named:
            if wanted.digest and wanted.digest in (root.digest, self._known_by(root)):
                return wanted, root
            if not wanted.digest and (reference.name, reference.tag) == (wanted.name, wanted.tag):
                return wanted, root
        raise NotFoundError(
            f"{self._path} does not hold {wanted}", f"it holds {self._listed(named) or 'no image'}"
        )

    def _known_by(self, root: Descriptor) -> str:
        """The digest that an image is known by, as in a list of what the archive holds."""
        return self._ids.get(root.digest, root.digest)

    def _listed(self, named: list[tuple[Reference, Descriptor]]) -> str:
        names = [str(reference) for reference, _ in named]
        more = f" and {len(names) - _LISTED_MOST} more" if len(names) > _LISTED_MOST else ""
        return f"{', '.join(names[:_LISTED_MOST])}{more}"

    def _reference(self, name: str, root: Descriptor) -> Reference:
        """A reference for an image; for one with only a tag, or no name, after the archive."""
        stem = os.path.basename(os.path.normpath(self._path)).lower().partition(".")[0]
        stem = re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "image"
        if not name:
            return Reference.parse(f"{stem[: LIMITS.path_shown]}@{self._known_by(root)}")
        try:
            if not re.search("[:/]", name):
                return Reference.parse(f"{stem[: LIMITS.path_shown]}:{name}")
            return Reference.parse(name)
        except UsageError:
            return Reference.parse(f"{stem[: LIMITS.path_shown]}@{self._known_by(root)}")
