"""Archives that tests of reading share."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockersave.model.formats import FORMATS
from tests.archive.resolved_images import archive
from tests.images import GOOD


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return an archive of the plain sample in each format."""
    folder = tmp_path_factory.mktemp("samples")
    built = GOOD["docker"]()
    return {form: archive(folder / f"{form}.tar", built, form=form) for form in FORMATS}
