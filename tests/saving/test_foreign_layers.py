"""Layers that are elsewhere than in the registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.errors import ContentError, DockersaveError
from dockersave.model.formats import FORMATS
from dockersave.model.options import Options
from dockersave.saving.save import save
from tests.images import Store, file, foreign, image, layer
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN, refused, serving


def test_a_foreign_layer_that_the_registry_has(tmp_path: Path) -> None:
    """Some registries were told to keep them; then no URL is asked."""
    far = layer([file("far", "far\n")])
    document = image([foreign(far, "http://127.0.0.1:1/far")])
    store = Store.of({"sample": document})
    store.repositories["sample"].blobs[far.digest] = far
    with Simulator(store) as registry:
        name, path = f"{registry.host}/sample", tmp_path / "a.tar"
        save(name, output=path, options=Options(foreign=True), network=PLAIN)
        assert not check_archive(path).notes
        save(name, output=path, options=Options(foreign=True, gunzip=True), network=PLAIN)
        assert not check_archive(path).notes


@pytest.mark.parametrize("form", FORMATS)
def test_a_foreign_layer_that_is_nowhere(form: str, tmp_path: Path) -> None:
    document = image([foreign(layer([file("far", "far\n")]), "http://127.0.0.1:1/far")])
    said: list[str] = []
    with serving(sample=document) as registry:
        name, path = f"{registry.host}/sample", tmp_path / "a.tar"
        options = Options(format=form, foreign=True)
        with pytest.raises(DockersaveError, match=r"127\.0\.0\.1:1"):
            save(name, output=path, options=options, network=PLAIN)
        assert not path.exists()
        asked = len(registry.of("blob"))
        options = replace(options, foreign=False)
        save(name, output=path, options=options, network=PLAIN, notify=said.append)
        assert len(registry.of("blob")) == asked
    assert any("foreign" in line for line in said)
    report = check_archive(path)
    assert not report.faults
    assert report.notes


def test_a_foreign_layer_with_other_bytes(tmp_path: Path) -> None:
    far, other = layer([file("far", "far\n")]), layer([file("far", "bad\n")])
    store = Store.of({"other": image([other])})
    with Simulator(store) as elsewhere:
        url = f"{elsewhere.base_url}/v2/other/blobs/{other.digest}"
        document = image([foreign(replace(far, size=other.size), url)])
        with serving(sample=document) as registry:
            failure = refused(
                f"{registry.host}/sample", output=str(tmp_path / "a.tar"), foreign=True
            )
            assert isinstance(failure, ContentError)
    assert not (tmp_path / "a.tar").exists()
