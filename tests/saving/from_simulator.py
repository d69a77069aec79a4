"""Saving what a simulator serves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave.errors import DockersaveError
from dockersave.model.options import Network, Options
from dockersave.saving.save import save
from tests.images import Document, Store
from tests.registry.simulator import Simulator

PLAIN = Network(insecure=True, retries=0)


def names_in(folder: Path) -> list[str]:
    """Return what a directory holds."""
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def serving(**documents: Document) -> Iterator[Simulator]:
    """Serve documents by their names."""
    with Simulator(
        Store.of({name.replace("_", "-"): each for name, each in documents.items()})
    ) as s:
        yield s


def refused(reference: str, **options: object) -> DockersaveError:
    """Save, which must fail; return how."""
    with pytest.raises(DockersaveError) as caught:
        save(reference, options=Options(**options), network=PLAIN)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    return caught.value
