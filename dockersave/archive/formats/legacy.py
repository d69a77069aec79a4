"""The layout of `docker save` before Docker 25: a directory for each layer, named after its v1 id.

Source: moby 20.10, image/tarexport/save.go (`saveImage`, `saveLayer`), image/v1/imagev1.go
(`CreateID`), image/spec/v1.2.md. A v1 id is the digest of a structure as encoded by Go's
encoding/json, so its fields, their order and their zero values are part of the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import UsageError
from ...limits import LIMITS
from ...model.descriptors import Descriptor
from ...model.digest import digest_of
from ...model.image import Image, Variant
from ...model.options import Options
from ...model.platforms import ALL_PLATFORMS
from ...spelling import argument
from ...values import dataclass
from ..members import Document, Layer
from .documents import docker_manifest, repositories
from .format import Format

_VERSION = b"1.0"
_EPOCH = "1970-01-01T00:00:00Z"


class LegacyFormat(Format):
    """A directory `<v1 id>/` for each layer, `<config>.json`, `manifest.json`, `repositories`."""

    files = re.compile(
        r"[0-9a-f]{64}/(layer\.tar|json|VERSION)|[0-9a-f]{64}\.json|manifest\.json|repositories"
    )
    folders = re.compile(r"[0-9a-f]{64}")
    links = re.compile(r"[0-9a-f]{64}/layer\.tar")  # a repeated layer
    mark = re.compile(r"[0-9a-f]{64}/json")
    config_copies = LIMITS.legacy_copies

    def check(self, options: Options) -> None:
        """It has no index, so it can hold only one platform."""
        if options.platform == ALL_PLATFORMS:
            raise UsageError(
                "the legacy format holds one platform",
                f"choose {argument('format', 'oci')}, or one {argument('platform')}",
            )
        if options.carries:
            raise UsageError(
                f"the legacy format has no place for what {options.carries} saves",
                f"choose {argument('format', 'docker')} or {argument('format', 'oci')}",
            )

    def notes(self, image: Image) -> list[str]:
        """Engines that need it are older than zstd layers."""
        kinds = [layer.media_type for _, layer in image.layers(image.primary)]
        if not any(kind.endswith("+zstd") for kind in kinds):
            return []
        return [
            f"{image.reference}: has zstd layers, and engines that need the legacy format "
            f"cannot unpack them; {argument('gunzip')} stores them unpacked"
        ]

    def layers(self, images: Sequence[Image]) -> list[Layer]:
        """One `layer.tar` for each content; repetitions are links."""
        return _members(images)[0]

    def documents(self, images: Sequence[Image]) -> list[Document]:
        """All other members."""
        _, documents = _members(images)
        configs = {_config_path(image.primary): image.primary.config_body for image in images}
        links = {each.path: each.target.removeprefix("../") for each in documents if each.target}

        def paths(variant: Variant) -> tuple[str, list[str]]:
            # skopeo 1.9 mistakes a link to another image's layer for an empty layer.
            layers = [links.get(layer.path, layer.path) for layer in v1_layers(variant)]
            return _config_path(variant), layers

        return [
            *documents,
            *(Document(path, body) for path, body in configs.items()),
            *docker_manifest(images, paths),
            *repositories(images, _top),
        ]


@dataclass(frozen=True, slots=True)
class V1Layer:
    """A layer as in Docker before 1.10: an image of its own.

    Args:
        id: 64 hexadecimal digits.
        document: the content of its member `json`.
    """

    id: str
    document: bytes

    @property
    def path(self) -> str:
        """The path of its content in the archive."""
        return f"{self.id}/layer.tar"


def v1_layers(variant: Variant) -> list[V1Layer]:
    """The v1 images of an image's layers, bottom first."""
    image = _structure(json.loads(variant.config_body), _IMAGE)
    layers: list[V1Layer] = []
    chain = parent = ""
    for position, diff_id in enumerate(variant.config.diff_ids):
        chain = digest_of(f"{chain} {diff_id}".encode()) if chain else diff_id
        is_top = position == len(variant.config.diff_ids) - 1
        one = image if is_top else _structure({"created": _EPOCH}, _IMAGE)
        keys = one | {"layer_id": chain} | ({"parent": parent} if parent else {})
        keys.pop("id", None)
        parents = {"parent": parent.removeprefix("sha256:")} if parent else {}
        parent = digest_of(_go_json(dict(sorted(keys.items()))))
        own = one | parents | {"id": parent.removeprefix("sha256:")}
        if "os" in image:
            own["os"] = image["os"]
        ordered = {name: own[name] for name, _, _ in _IMAGE if name in own}
        layers.append(V1Layer(own["id"], _go_json(ordered)))
    return layers


def _members(images: Sequence[Image]) -> tuple[list[Layer], list[Document]]:
    layers: list[Layer] = []
    documents: list[Document] = []
    places: dict[str, str] = {}
    done: set[str] = set()
    for number, image in enumerate(images):
        present = {served.digest for served, _ in image.layers(image.primary)}
        for layer, (served, stored) in _layers(image):
            if layer.id in done:
                continue
            done.add(layer.id)
            if stored.digest in places:
                documents.append(Document(layer.path, target=f"../{places[stored.digest]}"))
            elif served.digest in present:
                places[stored.digest] = layer.path
                layers.append(Layer(layer.path, served, stored, number))
            documents.append(Document(f"{layer.id}/VERSION", _VERSION))
            documents.append(Document(f"{layer.id}/json", layer.document))
    return layers, documents


def _layers(image: Image) -> Iterator[tuple[V1Layer, tuple[Descriptor, Descriptor]]]:
    return zip(v1_layers(image.primary), image.stored(image.primary), strict=True)


def _config_path(variant: Variant) -> str:
    return f"{variant.manifest.config.hex}.json"


def _top(variant: Variant) -> str:
    layers = v1_layers(variant)
    return layers[-1].id if layers else ""


# Below: image.V1Image and container.Config as Go reads and writes them.

_Field = tuple[str, Callable[[Any], Any], bool]
"""A name, a converter, and whether an empty value is omitted."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: Any) -> bool:
    return value is True


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _stated_number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(value: Any) -> list[str] | None:
    return [_text(item) for item in value] if isinstance(value, list) else None


def _command(value: Any) -> list[str] | None:
    return [value] if isinstance(value, str) else _texts(value)


def _labels(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {key: _text(value[key]) for key in sorted(value)}


def _names(value: Any) -> dict[str, dict[str, str]] | None:
    return {key: {} for key in sorted(value)} if isinstance(value, dict) else None


def _time(value: Any) -> str:
    match = _TIME.fullmatch(_text(value))
    if not match:
        return "0001-01-01T00:00:00Z"
    fraction = (match[2] or "")[:10].rstrip("0").rstrip(".")
    return f"{match[1]}{fraction}{'Z' if match[3] == '+00:00' else match[3]}"


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _health(value: Any) -> dict[str, Any] | None:
    return _structure(value, _HEALTH) if isinstance(value, dict) else None


def _config(value: Any) -> dict[str, Any] | None:
    return _structure(value, _CONFIG) if isinstance(value, dict) else None


def _container_config(value: Any) -> dict[str, Any]:
    return _structure(value if isinstance(value, dict) else {}, _CONFIG)


_HEALTH: tuple[_Field, ...] = (
    ("Test", _texts, True),
    ("Interval", _number, True),
    ("Timeout", _number, True),
    ("StartPeriod", _number, True),
    ("Retries", _number, True),
)
_CONFIG: tuple[_Field, ...] = (
    ("Hostname", _text, False),
    ("Domainname", _text, False),
    ("User", _text, False),
    ("AttachStdin", _flag, False),
    ("AttachStdout", _flag, False),
    ("AttachStderr", _flag, False),
    ("ExposedPorts", _names, True),
    ("Tty", _flag, False),
    ("OpenStdin", _flag, False),
    ("StdinOnce", _flag, False),
    ("Env", _texts, False),
    ("Cmd", _command, False),
    ("Healthcheck", _health, True),
    ("ArgsEscaped", _flag, True),
    ("Image", _text, False),
    ("Volumes", _names, False),
    ("WorkingDir", _text, False),
    ("Entrypoint", _command, False),
    ("NetworkDisabled", _flag, True),
    ("MacAddress", _text, True),
    ("OnBuild", _texts, False),
    ("Labels", _labels, False),
    ("StopSignal", _text, True),
    ("StopTimeout", _stated_number, True),
    ("Shell", _command, True),
)
_IMAGE: tuple[_Field, ...] = (
    ("id", _text, True),
    ("parent", _text, True),
    ("comment", _text, True),
    ("created", _time, False),
    ("container", _text, True),
    ("container_config", _container_config, False),
    ("docker_version", _text, True),
    ("author", _text, True),
    ("config", _config, True),
    ("architecture", _text, True),
    ("variant", _text, True),
    ("os", _text, True),
    ("Size", _number, True),
)
_POINTERS = frozenset({_health, _config, _stated_number})
"""Omitted if not stated, but not if empty."""


def _structure(document: Mapping[str, Any], fields: Sequence[_Field]) -> dict[str, Any]:
    # Go's names are case-insensitive.
    stated = {key.lower(): value for key, value in document.items()}
    made = {}
    for name, read, omit_empty in fields:
        value = read(stated.get(name.lower()))
        is_empty = value is None if read in _POINTERS else not value
        if not (omit_empty and is_empty):
            made[name] = value
    return made


_ESCAPED = {mark: f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}
_ESCAPED |= {r"\b": r"\u0008", r"\f": r"\u000c"}


def _go_json(document: Any) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    escaped = re.sub(r"\\.|[<>&\u2028\u2029]", lambda match: _ESCAPED.get(match[0], match[0]), text)
    return escaped.encode(errors="replace")


FORMAT = LegacyFormat()
