"""What resolving needs from a registry: manifests, indexes and configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..budget import Budget
from ..errors import DockersaveError
from ..model.descriptors import Descriptor
from ..registry.documents import Document


class Documents(Protocol):
    """What resolving needs from a registry."""

    @property
    def budget(self) -> Budget:
        """The remaining budget for documents of the run."""

    def manifest(
        self,
        repository: str,
        version: str,
        large: Callable[[int], object] = lambda size: None,
        media_type: str = "",
    ) -> Document:
        """A manifest or an index, by tag or digest.

        Args:
            large: gets the size of a large one.
            media_type: is accepted, too: what an index says that it is.
        """

    def read_blob(self, repository: str, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob, verified."""

    def conceal(self, error: DockersaveError) -> DockersaveError:
        """An error about a document, with secrets removed that the registry put into it."""
