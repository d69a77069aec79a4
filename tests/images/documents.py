"""Manifests, indexes and whatever else a registry serves as a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from tests.images.layers import Blob, Entry, Layer

Flavor: TypeAlias = Literal["docker", "oci"]

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

_OCI_LAYER = "application/vnd.oci.image.layer."
_DOCKER_LAYERS = {
    f"{_OCI_LAYER}v1.tar": "application/vnd.docker.image.rootfs.diff.tar",
    f"{_OCI_LAYER}v1.tar+gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    f"{_OCI_LAYER}v1.tar+zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
    f"{_OCI_LAYER}nondistributable.v1.tar+gzip": (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    ),
}
_CREATED = "2024-01-02T03:04:05Z"


def encode(document: object, indent: int | None = None) -> bytes:
    """Serialise a document; the digest is over these very bytes."""
    return json.dumps(document, indent=indent, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Document:
    """What a registry serves as a manifest, with everything that it points at.

    Parameters:
        media_type: of the manifest.
        manifest: its bytes, exactly as served.
        blobs: what it names as config and layers, each once, the config first.
        children: what it names as manifests.
    """

    media_type: str
    manifest: bytes = field(repr=False)
    blobs: tuple[Blob, ...] = field(default=(), repr=False)
    children: tuple[Document, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    @property
    def size(self) -> int:
        """The manifest's size in bytes."""
        return len(self.manifest)

    def descriptor(self) -> dict[str, object]:
        """Return what an index says about this manifest (image-spec, descriptor.md)."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def walk(self) -> Iterator[Document]:
        """Yield everything below and then this, so that nothing is referenced before it exists."""
        for child in self.children:
            yield from child.walk()
        yield self


@dataclass(frozen=True, slots=True)
class Image(Document):
    """A manifest with a config and layers.

    Parameters:
        config: the config's bytes.
        layers: in their order, repetitions included.
        platform: `os/architecture[/variant]`.
        annotations: of the descriptor in an index.
    """

    config: bytes = field(default=b"", repr=False)
    layers: tuple[Layer, ...] = ()
    platform: str = "linux/amd64"
    annotations: tuple[tuple[str, str], ...] = ()

    def descriptor(self) -> dict[str, object]:
        """Return what an index says about this image."""
        plain = super(Image, self).descriptor() | {"platform": platform_object(self.platform)}
        return plain | ({"annotations": dict(self.annotations)} if self.annotations else {})

    @property
    def config_digest(self) -> str:
        """The config's digest, which Docker's classic store calls the image's id."""
        return self.blobs[0].digest

    @property
    def rootfs(self) -> dict[str, Entry]:
        """The file system that the layers make, by path (image-spec, layer.md)."""
        tree: dict[str, Entry] = {}
        for layer in self.layers:
            _apply(layer.entries, tree)
        return tree


Index: TypeAlias = Document


def _apply(entries: Iterable[Entry], tree: dict[str, Entry]) -> None:
    lower = dict(tree)
    for entry in entries:
        parent, slash, name = entry.path.rpartition("/")
        if name == ".wh..wh..opq":
            hidden = f"{parent}{slash}"
        elif name.startswith(".wh."):
            tree.pop(gone := f"{parent}{slash}{name.removeprefix('.wh.')}", None)
            hidden = f"{gone}/"
        else:
            tree[entry.path] = entry
            continue
        for path in [path for path in lower if path.startswith(hidden)]:
            if tree.get(path) is lower[path]:
                del tree[path]


def platform_object(platform: str) -> dict[str, str]:
    """Split `os/architecture[/variant]` into what an index says."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def config_document(
    layers: Sequence[Layer],
    platform: str = "linux/amd64",
    *,
    env: Sequence[str] = ("PATH=/usr/local/bin:/usr/bin:/bin",),
    cmd: Sequence[str] = ("/bin/hello",),
    labels: Mapping[str, str] | None = None,
    **more: object,
) -> dict[str, object]:
    """Return an image config (image-spec, config.md); `more` goes into its `config` object."""
    run: dict[str, object] = {"Env": list(env), "Cmd": list(cmd), "WorkingDir": "/"}
    run |= {"Labels": dict(labels)} if labels else {}
    history = [{"created": _CREATED, "created_by": f"layer {n}"} for n, _ in enumerate(layers)]
    last = {"created": _CREATED, "created_by": f"CMD {list(cmd)}", "empty_layer": True}
    return {
        "created": _CREATED,
        **platform_object(platform),
        "config": run | more,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [*history, last],
    }


def image(
    layers: Sequence[Layer],
    platform: str = "linux/amd64",
    flavor: Flavor = "docker",
    *,
    config: object = None,
    config_type: str | None = None,
    annotations: Mapping[str, str] | None = None,
    top: Mapping[str, object] | None = None,
) -> Image:
    """Build an image.

    Parameters:
        layers: as built; the flavor decides what their media types are called.
        platform: `os/architecture[/variant]`.
        flavor: Docker's media types (schema 2) or the OCI's.
        config: what the config says; None for `config_document(layers, platform)`.
        config_type: its media type, if it is no image's.
        annotations: of the descriptor in an index.
        top: fields that the manifest has besides, or in place of its own.
    """
    docker = flavor == "docker"
    if docker:
        layers = [
            replace(layer, media_type=_DOCKER_LAYERS.get(layer.media_type, layer.media_type))
            for layer in layers
        ]
    body = encode(config_document(layers, platform) if config is None else config)
    usual = DOCKER_CONFIG if docker else OCI_CONFIG
    config_blob = Blob.of(usual if config_type is None else config_type, body)
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config_blob.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    return Image(
        media_type,
        encode(manifest | dict(top or {}), indent=3 if docker else None),
        tuple({blob.digest: blob for blob in (config_blob, *layers)}.values()),
        config=body,
        layers=tuple(layers),
        platform=platform,
        annotations=tuple((annotations or {}).items()),
    )


def index(
    children: Sequence[Document], flavor: Flavor = "docker", top: Mapping[str, object] | None = None
) -> Index:
    """Build an index (a manifest list, as Docker calls it) of images, or of further indexes."""
    media_type = DOCKER_INDEX if flavor == "docker" else OCI_INDEX
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [child.descriptor() for child in children],
    }
    manifest = encode(document | dict(top or {}), indent=3)
    return Document(media_type, manifest, children=tuple(children))


def attestation(of: Document) -> Image:
    """Build what BuildKit attaches to an image: not an image, although it looks like one."""
    statement = {"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"name": of.digest}]}
    predicate = Blob.of("application/vnd.in-toto+json", encode(statement))
    as_layer = Layer(
        predicate.media_type, predicate.digest, predicate.size, predicate.data, predicate.digest
    )
    return image(
        [as_layer],
        "unknown/unknown",
        "oci",
        annotations={
            "vnd.docker.reference.digest": of.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
    )


def artifact(config_type: str, config: object, layer_type: str, content: bytes) -> Image:
    """Build a manifest that is not an image's: a Helm chart, a WASM module, a signature."""
    blob = Blob.of(layer_type, content)
    as_layer = Layer(blob.media_type, blob.digest, blob.size, blob.data, blob.digest)
    more = {"artifactType": layer_type} if config_type == OCI_EMPTY else {}
    return image([as_layer], flavor="oci", config=config, config_type=config_type, top=more)


def schema1(name: str, tag: str, layers: Sequence[Layer]) -> Document:
    """Build a manifest as served before 2016, but unsigned."""
    document = {
        "schemaVersion": 1,
        "name": name,
        "tag": tag,
        "architecture": "amd64",
        "fsLayers": [{"blobSum": layer.digest} for layer in reversed(layers)],
        "history": [{"v1Compatibility": json.dumps({"id": f"{n:064x}"})} for n in range(2)],
        "signatures": [],
    }
    return Document(SCHEMA1_SIGNED, encode(document, indent=3), blobs=tuple(layers))
