"""Follow the references of an archive's documents down to the layers. Uses only an inventory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from ...errors import ContentError, shown
from ...limits import LIMITS
from ...model.descriptors import REF_NAME, Descriptor, parse_descriptor
from ...model.kinds import image_config, may_be_image, parse_entry
from ...model.manifests import Config, Index, Manifest, parse_config
from ...values import dataclass
from ..formats import formats_in
from .docker_entries import are_texts, checked_name, is_foreign
from .findings import NO_IMAGES, Findings
from .inventory import Inventory, Item, named_digest


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """An image listed by an archive.

    Args:
        names: its names in the archive, in their order; may be empty.
        digest: of its manifest or index, or of its config if the archive has no manifests.
        platform: its platform; empty for an index.
        signers: fingerprints of the keys with which it is signed; none if that was not checked.
    """

    names: tuple[str, ...]
    digest: str
    platform: str
    signers: tuple[str, ...] = ()


class References(Findings):
    """Everything that the documents of an archive refer to.

    Args:
        inventory: the content of the archive.
    """

    def __init__(self, inventory: Inventory) -> None:
        super().__init__()
        self.images: list[CheckedImage] = []
        self.docker: list[CheckedImage] = []  # listed by manifest.json
        self.other_names: dict[str, list[str]] = {}  # for readers who do not know containerd's
        self._inventory = inventory
        self._seen: set[tuple[str, str]] = set()
        self._platforms: dict[str, str] = {}
        self._configs: set[str] = set()
        self._companions: set[str] = set()
        self._named: set[str] = set()
        self._with_images: set[str] = set()
        self._unread: list[tuple[str, str]] = []
        self._foreign: set[str] = set()
        if inventory.cut:
            self._fault("", inventory.cut)
        for path, message in inventory.faults:
            self._fault(path, message)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats whose documents the archive contains."""
        return formats_in(self._inventory.paths)

    def follow(self) -> None:
        """Follow everything."""
        for item in self._inventory.items.values():
            digest = named_digest(item.path)
            if digest and digest not in item.digests:
                self._fault(item.path, f"hashes to {item.digests[0]}")
        docker = self._list("manifest.json", "has no list of images")
        self._configs = {
            found.path
            for entry in docker
            if isinstance(entry, dict) and (found := self._find(entry.get("Config")))
        }
        if self._inventory.find("index.json") or self._inventory.find("oci-layout"):
            self._layout()
        are_named = any(image.names for image in self.images)
        for entry in docker:
            with self._blaming("manifest.json"):
                image = self._docker_image(entry)
                self.docker += [image] if image else []
                self.images += [image] if image and not are_named else []
        if self._inventory.find("repositories"):
            self._repositories()
        if not self.formats:
            self._fault("", NO_IMAGES)
        elif not self.images and not self.faults:
            self._fault("", "the archive lists no image")

    def _find(self, path: object) -> Item | None:
        return self._inventory.find(path) if isinstance(path, str) else None

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self._inventory.document(path))
        except (ValueError, RecursionError):
            raise ContentError("is not valid JSON") from None

    def _list(self, path: str, otherwise: str) -> list[Any]:
        if self._inventory.find(path):
            with self._blaming(path):
                document = self._json(path)
                if document is None:
                    # Go programs write null for an empty list.
                    return []
                if isinstance(document, list):
                    return document
                raise ContentError(otherwise)
        return []

    # OCI image layout (OCI image specification, image-layout.md).

    def _layout(self) -> None:
        for path in ("index.json", "oci-layout"):
            if not self._inventory.find(path):
                self._fault(path, "is missing")
                return
        with self._blaming("oci-layout"):
            layout = self._json("oci-layout")
            if not isinstance(layout, dict) or layout.get("imageLayoutVersion") != "1.0.0":
                raise ContentError("is of an unknown version")
        with self._blaming("index.json"):
            document = self._json("index.json")
            if not isinstance(document, dict) or "manifests" not in document:
                raise ContentError("has no list of manifests")
            # Docker 25 writes null for an image without a name.
            entries = [] if document["manifests"] is None else document["manifests"]
            if not isinstance(entries, list):
                raise ContentError("has no list of manifests")
            named: dict[str, tuple[list[str], str]] = {}
            parsed = [parse_descriptor(each, f"manifests[{n}]") for n, each in enumerate(entries)]
            # What is attached to images comes after them: it is not read as an image.
            for descriptor in sorted(parsed, key=lambda each: each.is_companion):
                if descriptor.is_companion:
                    self._companions.add(descriptor.digest)
                platform = self._manifest(descriptor, "index.json", LIMITS.index_depth)
                if platform is None:
                    self._fault(descriptor.blob_path, "is missing, but index.json refers to it")
                if descriptor.digest in self._companions:
                    continue
                names, _ = named.setdefault(descriptor.digest, ([], platform or ""))
                if descriptor.name:
                    names.append(shown(descriptor.name))
                if "/" in (other := descriptor.annotations.get(REF_NAME, "")):
                    self.other_names.setdefault(descriptor.digest, []).append(shown(other))
            for where, message in self._unread:
                self._fault(where, message)
            self.images += [
                CheckedImage(tuple(names), digest, platform)
                for digest, (names, platform) in named.items()
            ]

    def _manifest(
        self, descriptor: Descriptor, parent: str, depth: int, *, inside: bool = False
    ) -> str | None:
        """Follow a manifest or an index.

        Args:
            inside: whether an index refers to it, which may refer to anything.

        Returns:
            Its platform, empty if it has none or is unreadable; None if it is missing.
        """
        path = descriptor.blob_path
        if not self._sized(descriptor, parent):
            return None
        if path not in self._platforms:
            self._platforms[path] = ""
            # A wrong digest was reported already; ignore the content.
            if descriptor.digest in self._digests(path):
                with self._blaming(path):
                    self._platforms[path] = self._open(descriptor, path, depth, inside)
        return self._platforms[path]

    def _open(self, descriptor: Descriptor, path: str, depth: int, inside: bool) -> str:
        read = partial(self._inventory.document, path)
        document = parse_entry(descriptor, read, inside=inside)
        if document is None:
            return ""
        beside = descriptor.digest in self._companions
        if not document.is_index:
            beside = beside or descriptor.is_attestation
            return self._image(document, path, inside, attached=beside)
        self._companions.update(entry.digest for entry in document.manifests if beside)
        if depth == 0:
            raise ContentError(f"is an index nested more than {LIMITS.index_depth} levels deep")
        self._index(document, path, depth)
        return ""

    def _index(self, index: Index, path: str, depth: int) -> None:
        unread = len(self._unread)
        missing = [
            entry
            for entry in index.manifests
            if self._manifest(entry, path, depth - 1, inside=True) is None
        ]
        if any(entry.blob_path in self._with_images for entry in index.manifests):
            # What says that it is an image, but is none, was kept as it was served.
            self._with_images.add(path)
            for where, message in self._unread[unread:]:
                self._note(f"{where}: {message}")
            del self._unread[unread:]
        # Docker's containerd store saves an index with only the images that it has.
        are_all = len(missing) == len(index.manifests)
        for entry in missing:
            if are_all:
                self._fault(entry.blob_path, f"is missing, but {path} refers to it")
            else:
                self._note(f"{entry.blob_path} ({entry.platform or 'no platform'}) is not included")

    def _image(self, manifest: Manifest, path: str, inside: bool, *, attached: bool) -> str:
        config: Config | None = None
        if not self._sized(manifest.config, path):
            self._fault(manifest.config.blob_path, f"is missing, but {path} refers to it")
        elif may_be_image(manifest) and not attached:
            where = manifest.config.blob_path
            try:
                config = image_config(manifest, self._inventory.document(where))
            except ContentError as failure:
                if where in self._configs:
                    # Docker 25.0 lists no layers in its manifests, but in manifest.json.
                    self._note(f"{path}: {failure.message}")
                elif inside:
                    self._unread.append((where, failure.message))
                else:
                    self._fault(where, failure.message)
        if config:
            self._with_images.add(path)
        for number, layer in enumerate(manifest.layers):
            self._named.add(layer.hex)
            if not self._sized(layer, path):
                self._absent(layer.blob_path, path, is_foreign=layer.is_foreign or bool(layer.urls))
            elif config:
                self._layer(layer.blob_path, config.diff_ids[number], manifest.config.blob_path)
        return str(config.platform) if config else ""

    def _sized(self, descriptor: Descriptor, parent: str) -> bool:
        """Whether a blob is there; also checks its size."""
        item = self._inventory.find(descriptor.blob_path)
        if item and item.size != descriptor.size:
            stated = f"{parent} says {descriptor.size}"
            self._fault(descriptor.blob_path, f"has {item.size} bytes, but {stated}")
        return item is not None

    def _digests(self, path: str) -> tuple[str, ...]:
        item = self._inventory.find(path)
        return item.digests if item else ()

    def _absent(self, path: str, parent: str, *, is_foreign: bool) -> None:
        if is_foreign:
            self._foreign.add(path)
            self._note(
                f"{shown(path)} is not included: a foreign layer, which engines fetch "
                "from elsewhere"
            )
        else:
            self._fault(path, f"is missing, but {parent} refers to it")

    def _layer(self, path: str, diff_id: str, config: str) -> None:
        item = self._inventory.find(path)
        if item is None or (item.path, diff_id) in self._seen:
            return
        self._seen.add((item.path, diff_id))
        known = {each.partition(":")[0] for each in item.diff_ids}
        if item.fault:
            self._fault(path, item.fault.removeprefix("it "))
        elif diff_id.partition(":")[0] not in known:
            self._note(f"{path} was not checked against its diff_id, {diff_id}")
        elif diff_id not in item.diff_ids:
            self._fault(path, f"unpacks to {item.diff_ids[0]}, but {config} says {diff_id}")

    # Docker's manifest.json (moby, image/spec/v1.2.md).

    def _docker_image(self, entry: object) -> CheckedImage | None:
        if not isinstance(entry, dict):
            raise ContentError("has an entry that is not an image")
        paths, tags = entry.get("Layers") or [], entry.get("RepoTags") or []
        if not are_texts(paths) or not are_texts(tags):
            raise ContentError("has an entry that is not an image")
        names = [checked_name(tag) for tag in tags]
        where = entry.get("Config")
        if not where or not isinstance(where, str):
            raise ContentError("has an entry without a config")
        item = self._find(where)
        if item is None:
            self._fault(where, "is missing, but manifest.json refers to it")
            return None
        config = self._docker_config(item, len(paths))
        if config is None:
            return None
        sources = entry.get("LayerSources")
        foreign = sources if isinstance(sources, Mapping) else {}
        for path, diff_id in zip(paths, config.diff_ids, strict=True):
            if self._inventory.find(path):
                self._layer(path, diff_id, item.path)
            else:
                is_foreign_here = is_foreign(foreign.get(diff_id))
                self._absent(path, "manifest.json", is_foreign=is_foreign_here)
        return CheckedImage(tuple(names), item.digests[0], str(config.platform))

    def _docker_config(self, item: Item, layers: int) -> Config | None:
        digest = named_digest(item.path)
        if not digest or digest in item.digests:
            try:
                return parse_config(self._inventory.document(item.path), layers)
            except ContentError as failure:
                self._fault(item.path, failure.message)
        return None

    # Docker before 1.10 (moby, image/spec/v1.md).

    def _repositories(self) -> None:
        with self._blaming("repositories"):
            document = self._json("repositories")
            document = {} if document is None else document
            if not isinstance(document, dict):
                raise ContentError("is not a JSON object")
            known = self._known_ids()
            for name, tags in document.items():
                if tags is None:
                    continue
                if not isinstance(tags, dict) or not are_texts(list(tags.values())):
                    raise ContentError(f"has no tags for {shown(name)}")
                for tag, v1_id in tags.items():
                    if self._inventory.find(f"{v1_id}/json"):
                        self._v1_image(v1_id, f"{name}:{tag}")
                    elif v1_id not in known:
                        self._fault(v1_id, "is missing, but repositories refers to it")

    def _known_ids(self) -> set[str]:
        items = self._inventory.items.values()
        digests = {digest for item in items for digest in (*item.digests, *item.diff_ids)}
        return self._named | {digest.partition(":")[2] for digest in digests}

    def _v1_image(self, v1_id: str, name: str) -> None:
        if "docker" not in self.formats:
            self.images.append(CheckedImage((shown(name),), shown(f"sha256:{v1_id}"), ""))
        for _ in range(LIMITS.layers):
            if not self._inventory.find(f"{v1_id}/json"):
                self._fault(f"{v1_id}/json", "is missing, but another layer refers to it")
                return
            document = self._json(f"{v1_id}/json")
            if not isinstance(document, dict) or document.get("id") != v1_id:
                self._fault(f"{v1_id}/json", "describes another layer")
                return
            layer = f"{v1_id}/layer.tar"
            if not self._inventory.find(layer) and layer not in self._foreign:
                self._fault(layer, "is missing")
            if not (v1_id := str(document.get("parent") or "")):
                return
