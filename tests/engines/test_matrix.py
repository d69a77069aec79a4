"""Every archive in every engine: loaded, or refused for a reason that is the engine's own.

`make test` has the quick part, `make test-engines` all of it, and `python -m tests.engines` makes
the documentation's table of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.judge import Refused
from tests.engines.judges import Judges
from tests.engines.matrix import JUDGES, Case, cases, limit_of, prepare
from tests.registry.real import Registries, Registry


@pytest.fixture(scope="module")
def registry(registries: Registries) -> Registry:
    """Return a registry with every kind of image."""
    return prepare(registries)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, id=str(case), marks=() if case.is_quick else pytest.mark.long)
        for case in cases()
    ],
)
def case(request: pytest.FixtureRequest) -> Case:
    """Return each case."""
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="module")
def archive(case: Case, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the archive that all judges get."""
    return case.save(registry, tmp_path_factory.mktemp("matrix"))


@pytest.mark.parametrize("name", JUDGES)
def test_loads(name: str, case: Case, archive: Path, registry: Registry, judges: Judges) -> None:
    if limit_of(name, judges[name], case):
        with pytest.raises(Refused):  # if it loads, the limit is gone
            judges[name].load_and_export(archive)
    else:
        case.check(judges[name], name, archive, registry)
