"""Images, resolved, without a registry: what the pure parts of dockersave are tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dockersave.archive.formats import format_named
from dockersave.archive.members import Document as SavedDocument
from dockersave.archive.members import Layer as SavedLayer
from dockersave.archive.tar import fixed_parts, lay_out
from dockersave.budget import Budget
from dockersave.compression import Decompressor
from dockersave.errors import DockersaveError, NotFoundError
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import is_digest
from dockersave.model.image import Image, foreign_layers
from dockersave.model.platforms import Platform
from dockersave.model.reference import Reference
from dockersave.registry.documents import Document as Served
from dockersave.resolving.resolver import Resolver
from tests.images import Document, Layer, Store, chunks, read
from tests.images.documents import Image as Built


class OfflineRegistry:
    """Serves documents as a registry would.

    Parameters:
        document: the only image there is, whatever tag is asked for.
    """

    def __init__(self, document: Document) -> None:
        self.budget = Budget()
        store = Store.of({"sample": document})
        self.repository = store.repositories["sample"]
        self.digest = document.digest
        self.asked: list[str] = []

    def manifest(
        self,
        repository: str,
        version: str,
        large: Callable[[int], object] = lambda size: None,
        media_type: str = "",
    ) -> Served:
        """Return a manifest by tag or digest."""
        self.asked.append(version)
        digest = version if is_digest(version) else self.digest
        if digest not in self.repository.manifests:
            raise NotFoundError(f"there is no {version}")
        document = self.repository.manifests[digest]
        return Served(document.manifest, document.media_type, digest)

    def conceal(self, error: DockersaveError) -> DockersaveError:
        """Return an error; there are no secrets here."""
        return error

    def read_blob(self, repository: str, descriptor: Descriptor, limit: int) -> bytes:
        """Return a config."""
        self.asked.append(descriptor.digest)
        return read(self.repository.blobs[descriptor.digest].data)


def resolved(
    document: Document,
    name: str = "sample:latest",
    *,
    platform: str = "linux/amd64",
    gunzip: bool = False,
    foreign: bool = False,
) -> Image:
    """Return an image as `save` would have resolved it; `platform` may be `all`."""
    resolver = Resolver(OfflineRegistry(document), Reference.parse(name))
    every = platform == "all"
    image = resolver.all_platforms() if every else resolver.image(Platform.parse(platform))
    absent = frozenset() if foreign else foreign_layers(image)
    return replace(image, unpacked=gunzip, absent=absent)


def sizes(*documents: Document) -> dict[str, int]:
    """Return how large each layer is unpacked, by its diff_id."""
    layers = (
        layer
        for document in documents
        for part in document.walk()
        if isinstance(part, Built)
        for layer in part.layers
    )
    return {layer.diff_id: layer.unpacked for layer in layers}


def archive(
    path: Path,
    *documents: Document,
    form: str = "docker",
    names: Sequence[str] = ("sample:latest",),
    platform: str = "linux/amd64",
    gunzip: bool = False,
    foreign: bool = False,
) -> Path:
    """Write an archive of documents, as `save` would have, and return its name."""
    images = [
        resolved(document, name, platform=platform, gunzip=gunzip, foreign=foreign)
        for document, name in zip(documents, names, strict=True)
    ]
    images = [image.with_sizes(sizes(*documents)) for image in images]
    made = format_named(form)
    plan = lay_out(made.layers(images), made.documents(images))
    contents = {digest: data for document in documents for digest, data in _contents(document)}
    with path.open("wb") as file:
        for entry in plan.layers:
            file.seek(entry.offset)
            for chunk in contents[entry.member.digest]():
                file.write(chunk)
        for offset, body in fixed_parts(plan):
            file.seek(offset)
            file.write(body)
    return path


def _contents(document: Document) -> Iterator[tuple[str, Callable[[], Iterator[bytes]]]]:
    for part in document.walk():
        for blob in part.blobs:
            yield blob.digest, partial(chunks, blob.data)
        for layer in getattr(part, "layers", ()):
            yield layer.diff_id, partial(_unpacked, layer)


def _unpacked(layer: Layer) -> Iterator[bytes]:
    decompressor = Decompressor("a layer")
    for chunk in chunks(layer.data):
        yield from decompressor.feed(chunk)
    yield from decompressor.finish()


def paths(members: Sequence[SavedDocument | SavedLayer]) -> list[str]:
    """Return the names of members."""
    return [member.path for member in members]
