"""A blob at its registry, as one of the sources that it may come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CancelledError, CredentialsError, DockersaveError, NotFoundError
from ..model.descriptors import Descriptor
from ..values import dataclass

if TYPE_CHECKING:
    from .client import RegistryClient
    from .stream import BlobStream


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob at its registry.

    Args:
        registry, repository, descriptor: what is asked, and for what.
        foreign: whether it may also be at one of its `urls`. Docker uses the same order (moby,
            distribution/pull_v2_windows.go).
    """

    registry: RegistryClient
    repository: str
    descriptor: Descriptor
    foreign: bool = False
    is_local: bool = False

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.descriptor.size

    @property
    def server(self) -> str:
        """Its server."""
        return self.registry.name

    def open(self, start: int, stop: int) -> BlobStream:
        """Start to read bytes `start` to `stop` (exclusive)."""
        failure: DockersaveError
        try:
            return self.registry.blob(self.repository, self.descriptor, start, stop)
        except (NotFoundError, CredentialsError) as refusal:
            failure = refusal
        for url in self.descriptor.urls if self.foreign else ():
            try:
                return self.registry.foreign(self.descriptor, url, start, stop)
            except CancelledError:
                raise
            except DockersaveError as refusal:
                failure = refusal
        raise failure
