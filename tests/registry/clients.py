"""Opening a `RegistryClient` as a run does, for tests of dockersave.registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dockersave.cancellation import Cancellation
from dockersave.model.descriptors import Descriptor
from dockersave.model.options import Network
from dockersave.registry.client import RegistryClient
from dockersave.registry.document_retry import Retry
from dockersave.registry.stream import BlobStream
from tests.images import Blob, Layer


@dataclass(slots=True)
class Run:
    """What a run has: one registry, and the lines that the user would see."""

    registry: RegistryClient
    retry: Retry
    cancellation: Cancellation
    lines: list[str] = field(default_factory=list)


@contextmanager
def opened(host: str, **network: Any) -> Iterator[Run]:
    """Open a registry over plain HTTP unless `network` has other wishes, without waiting long."""
    if not {"ca_file", "skip_tls_verify", "insecure"} & set(network):
        network["insecure"] = True
    options = Network(**{"timeout": 5.0, "retries": 0, **network})
    lines: list[str] = []
    cancellation = Cancellation()
    retry = Retry(options, cancellation, lines.append)
    registry = RegistryClient(host, options, cancellation, retry, lines.append)
    try:
        yield Run(registry, retry, cancellation, lines)
    finally:
        registry.close()


def descriptor_of(blob: Blob | Layer) -> Descriptor:
    """The descriptor of a sample's blob."""
    stated = blob.descriptor()
    return Descriptor(str(stated["mediaType"]), blob.digest, int(str(stated["size"])))


def drain(stream: BlobStream, amount: int = 65536) -> bytes:
    """Everything that a stream has; closes it."""
    try:
        return b"".join(iter(lambda: stream.read(amount), b""))
    finally:
        stream.close()


def digest_from(host: str, **network: Any) -> str:
    """Ask a real registry for a sample's digest."""
    with opened(host, **{"insecure": False, **network}) as run:
        return run.registry.head("docker", "latest")
