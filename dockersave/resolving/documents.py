"""What resolving needs of a registry: manifests, indexes and configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..budget import Budget
from ..errors import DockersaveError
from ..model.manifests import Descriptor


class Document(Protocol):
    """What a registry says a manifest or an index is."""

    @property
    def body(self) -> bytes:
        """Its bytes."""

    @property
    def media_type(self) -> str:
        """What its Content-Type says."""

    @property
    def digest(self) -> str:
        """What its bytes hash to."""


class Documents(Protocol):
    """What resolving needs of a registry."""

    @property
    def budget(self) -> Budget:
        """What is left for the documents of the run."""

    def manifest(
        self, repository: str, version: str, large: Callable[[int], object] = lambda size: None
    ) -> Document:
        """A manifest or an index, by tag or digest; `large` is told the size of one that is."""

    def read_blob(self, repository: str, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob, verified."""

    def conceal(self, error: DockersaveError) -> DockersaveError:
        """An error about a document, without secrets that the registry has written into it."""
