"""Names under which nothing can be written: refused before anything is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dockersave import Network, Options, OutputError, Reference, save
from dockersave.saving.destination import Destination
from dockersave.saving.output_names import check_writable
from tests.images import Store, image, random_layer
from tests.registry.simulator import Simulator

APP = Store.of({"app": image([random_layer(1000, 1)])})


def refusal(output: str, **options: bool) -> OutputError:
    chosen = Options(output=output, **options)  # type: ignore[arg-type]
    with pytest.raises(OutputError) as caught:
        check_writable(Destination.of(chosen, [Reference.parse("debian")]), "debian.tar")
    assert caught.value.hint
    return caught.value


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_directory_is_answered_with_a_name_in_it() -> None:
    os.mkdir("folder")
    os.symlink("folder", "link")
    for name in ("folder", "link"):
        failure = refusal(name)
        assert str(failure) == f"cannot write {name}: it is a directory"
        assert failure.hint == f"to write into it: output='{name}/debian.tar'"


def test_a_symbolic_link_is_not_replaced_and_not_followed() -> None:
    os.mkdir("deep")
    Path("deep/real.tar").write_text("real")
    os.symlink("real.tar", "deep/link.tar")
    os.symlink("/nowhere/x.tar", "dangling.tar")
    failure = refusal("deep/link.tar")
    assert str(failure) == "cannot write deep/link.tar: it is a symbolic link"
    assert failure.hint.startswith("write output='deep/real.tar', ")
    assert refusal("dangling.tar").hint.startswith("write output='/nowhere/x.tar', ")
    with Simulator(APP) as server, pytest.raises(OutputError):
        save(f"{server.host}/app", output="deep/link.tar")
    assert not server.requests
    assert os.readlink("deep/link.tar") == "real.tar"
    assert Path("deep/real.tar").read_text() == "real"


def test_a_directory_that_is_a_link_is_no_matter() -> None:
    os.mkdir("folder")
    os.symlink("folder", "link")
    options = Options(output="link/x.tar")
    check_writable(Destination.of(options, [Reference.parse("debian")]), "debian.tar")


@pytest.mark.parametrize("letter", ["y", "ü"])
def test_the_longest_name_that_works_is_the_longest_that_is_allowed(letter: str) -> None:
    """In bytes, including the temporary suffix."""
    most = os.pathconf(".", "PC_NAME_MAX") - len(".part~")
    longest = "y" * (most % len(letter.encode())) + letter * (most // len(letter.encode()))
    check_writable(
        Destination.of(Options(output=longest), [Reference.parse("debian")]), "debian.tar"
    )
    failure = refusal(f"{longest}y")
    assert "its name is 1 bytes too long" in str(failure)
    assert f"allows {most}" in str(failure)
    assert len(str(failure)) < 200


def test_the_longest_name_is_written() -> None:
    longest = "y" * (os.pathconf(".", "PC_NAME_MAX") - len(".part~"))
    with Simulator(APP) as server:
        save(f"{server.host}/app", output=longest, network=Network(insecure=True))
    assert os.listdir(".") == [longest]


def test_a_name_made_of_the_images_may_be_too_long() -> None:
    reference = Reference.parse("/".join(["x" * 60] * 4))
    with pytest.raises(OutputError, match="too long") as caught:
        check_writable(Destination.of(Options(), [reference]), "x.tar")
    assert "output='image.tar'" in caught.value.hint


def test_a_directory_that_is_not_there() -> None:
    failure = refusal("no/such/x.tar")
    assert str(failure) == "cannot write no/such/x.tar: No such file or directory"
    assert "create the directory first" in failure.hint
    assert "cannot write no/x: No such file" in str(refusal("no/x", tar=False, tree=True))
    Path("file").touch()
    assert "Not a directory" in str(refusal("file/x.tar"))


def test_standard_output_has_no_place() -> None:
    check_writable(Destination.of(Options(output="-"), [Reference.parse("debian")]), "debian.tar")
