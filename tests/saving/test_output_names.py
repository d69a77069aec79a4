"""Names under which nothing can be written: refused before anything is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dockersave import Network, Options, OutputError, Reference, save
from dockersave.saving.destination import Destination
from dockersave.saving.output_names import check_writable
from tests.images import Store, image, random_layer
from tests.registry.simulator import Simulator

APP = Store.of({"app": image([random_layer(1000, 1)])})


def refusal(output: str, **options: object) -> OutputError:
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
        for form in ("rootfs", "bundle"):
            hint = refusal(name, format=form).hint
            assert hint == f"{failure.hint}; a directory is written with tar=False"


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


def test_links_to_links() -> None:
    os.symlink("second", "first")
    os.symlink("third.tar", "second")
    assert refusal("first").hint.startswith(f"write output='{os.getcwd()}/third.tar', ")
    os.symlink("second", "third.tar")
    for name in ("first", "second"):
        assert refusal(name).hint == "remove it"


@pytest.mark.parametrize(
    ("options", "name", "make", "said"),
    [
        ({}, "x", os.mkfifo, "cannot write x: it is not a regular file"),
        ({}, "x.part", os.mkfifo, "cannot write x: x.part is not a regular file"),
        ({}, "x.part", os.mkdir, "cannot write x: x.part is a directory"),
        ({"tree": True}, "y", os.mkfifo, "cannot write y: it is not a directory"),
        ({"tree": True}, "y.old", os.mkfifo, "cannot write y: y.old is not a directory"),
        ({"tree": True}, "y.part", os.mkfifo, "cannot write y: y.part is not a directory"),
        ({"tree": True}, "y/z", os.makedirs, "cannot write y: y holds z, which is not part of"),
    ],
)
def test_what_is_in_the_way_is_said_before_anything_is_asked(
    options: dict[str, bool], name: str, make: Callable[[str], object], said: str
) -> None:
    make(name)
    with Simulator(APP) as server, pytest.raises(OutputError) as caught:
        save(
            f"{server.host}/app",
            options=Options(output="x", layers_dir="y", **options),  # type: ignore[arg-type]
            network=Network(insecure=True),
        )
    assert str(caught.value).startswith(said)
    assert ("layers_dir=" if options else "output=") in caught.value.hint
    assert not server.requests
    assert len(os.listdir(".")) == 1


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
    assert f"its name has {most + 1} bytes, but the file system allows {most}" in str(failure)
    assert len(str(failure)) < 200


def test_the_longest_name_is_written() -> None:
    longest = "y" * (os.pathconf(".", "PC_NAME_MAX") - len(".part~"))
    with Simulator(APP) as server:
        save(f"{server.host}/app", output=longest, network=Network(insecure=True))
    assert os.listdir(".") == [longest]


def test_a_name_made_of_the_images_may_be_too_long() -> None:
    reference = Reference.parse("/".join(["x" * 60] * 4))
    with pytest.raises(OutputError, match="its name has 2") as caught:
        check_writable(Destination.of(Options(), [reference]), "x.tar")
    assert "output='image.tar'" in caught.value.hint
    directory = Options(tar=False, tree=True)
    with pytest.raises(OutputError, match="its name has 2") as caught:
        check_writable(Destination.of(directory, [reference]), "x.tar")
    assert "layers_dir='image'" in caught.value.hint


def test_a_directory_that_is_not_there() -> None:
    failure = refusal("no/such/x.tar")
    assert str(failure) == "cannot write no/such/x.tar: No such file or directory"
    assert failure.hint == "create the directory first, or choose another with output="
    working_dir = Options(working_dir="/no/such")
    with pytest.raises(OutputError) as caught:
        check_writable(Destination.of(working_dir, [Reference.parse("debian")]), "debian.tar")
    assert caught.value.hint.endswith("choose another with working_dir=")
    assert "cannot write no/x: No such file" in str(refusal("no/x", tar=False, tree=True))
    Path("file").touch()
    assert "Not a directory" in str(refusal("file/x.tar"))


def test_standard_output_has_no_place() -> None:
    check_writable(Destination.of(Options(output="-"), [Reference.parse("debian")]), "debian.tar")
