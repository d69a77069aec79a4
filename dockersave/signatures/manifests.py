"""The signatures that a manifest leads to, in either form. Pure: the caller reads the blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..model.descriptors import Descriptor
from ..model.manifests import Manifest
from .refusals import Refused
from .signed import (
    BUNDLE,
    CERTIFICATE,
    IS_SIGNED,
    NOTATION,
    PREDICATE,
    SIGNATURE,
    SIMPLE_SIGNING,
    Signed,
)

Look = Callable[[], Signed]
"""Reads one signature; raises `Refused` if it is none that can be checked."""

_ANY_BUNDLE = "application/vnd.dev.sigstore.bundle"


def signed_in(manifest: Manifest, read: Callable[[Descriptor], bytes]) -> Iterator[Look]:
    """The signatures in a manifest, each to be read when it is needed.

    What an index says of the manifest's type does not matter: cosign writes it wrong (its issue
    4641). What the manifest says of its predicate only saves reading attestations.

    Args:
        manifest: the manifest.
        read: returns the content of a layer; raises `Refused` if it cannot.
    """
    if NOTATION in (manifest.config.media_type, manifest.artifact_type):
        yield refusing(Refused("notation"))
    is_signature = manifest.annotations.get(PREDICATE, IS_SIGNED) == IS_SIGNED
    seen: set[tuple[str, str]] = set()
    for layer in manifest.layers:
        text = layer.annotations.get(SIGNATURE, "")
        if (layer.digest, text) in seen:
            continue
        seen.add((layer.digest, text))
        if layer.media_type == SIMPLE_SIGNING:
            yield _payload(layer, text, read)
        elif layer.media_type == BUNDLE:
            yield _bundle(layer, read) if is_signature else refusing(Refused("attestation"))
        elif layer.media_type.startswith(_ANY_BUNDLE):
            yield refusing(Refused.damaged("its bundle is not of version 0.3"))


def is_signature(manifest: Manifest) -> bool:
    """Whether a manifest holds signatures of any kind, checked here or not, and nothing else."""
    if NOTATION in (manifest.config.media_type, manifest.artifact_type):
        return True
    kinds = {layer.media_type for layer in manifest.layers}
    predicate = manifest.annotations.get(PREDICATE, IS_SIGNED)
    return kinds == {SIMPLE_SIGNING} or (kinds == {BUNDLE} and predicate == IS_SIGNED)


def _payload(layer: Descriptor, text: str, read: Callable[[Descriptor], bytes]) -> Look:
    def look() -> Signed:
        if CERTIFICATE in layer.annotations:
            raise Refused("keyless")
        return Signed.of_payload(read(layer), text)

    return look


def _bundle(layer: Descriptor, read: Callable[[Descriptor], bytes]) -> Look:
    return lambda: Signed.of_bundle(read(layer))


def refusing(refused: Refused) -> Look:
    """A signature that does not count, without a look at it."""

    def look() -> Signed:
        raise refused

    return look
