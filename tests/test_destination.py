"""Which files a call writes, and which options contradict one another."""

from __future__ import annotations

from typing import Any

import pytest

from dockersave.destination import Destination
from dockersave.errors import UsageError
from dockersave.options import Options
from dockersave.reference import Reference


def of(*references: str, **options: Any) -> Destination:
    """Decide for these references; for `debian` if there are none."""
    return Destination.of(
        Options(**options), [Reference.parse(each) for each in references or ("debian",)]
    )


@pytest.mark.parametrize(
    ("options", "archive", "tree"),
    [
        ({}, "library-debian-latest.tar", None),
        ({"xz": True}, "library-debian-latest.tar.xz", None),
        ({"working_dir": "/d"}, "/d/library-debian-latest.tar", None),
        ({"working_dir": "/d", "tarname": "n.tar"}, "/d/n.tar", None),
        ({"working_dir": "/d", "output": "o.tar"}, "/d/o.tar", None),
        ({"working_dir": "/d", "output": "/e/o.tar"}, "/e/o.tar", None),
        ({"output": "-"}, "-", None),
        ({"output": "-", "tree": True}, "-", "library-debian-latest"),
        ({"tree": True}, "library-debian-latest.tar", "library-debian-latest"),
        ({"tree": True, "tar": False}, None, "library-debian-latest"),
        ({"tree": True, "output": "a/b.tar.xz"}, "a/b.tar.xz", "b"),
        ({"tree": True, "tar": False, "layers_dir": "l", "working_dir": "/d"}, None, "/d/l"),
    ],
)  # fmt: skip
def test_where_it_goes(options: dict[str, Any], archive: str | None, tree: str | None) -> None:
    destination = of(**options)
    assert (destination.archive, destination.tree) == (archive, tree)
    assert destination.is_stream == (archive == "-")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": "a.tar", "tarname": "b.tar"}, "twice"),
        ({"output": "-", "tar": False, "tree": True}, "standard output"),
        ({"xz": True, "tar": False, "tree": True}, "--xz"),
        ({"tar": False}, "neither"),
        ({"tarname": "a/b.tar"}, "a/b.tar"),
        ({"tarname": ""}, "--tarname"),
        ({"tarname": ".."}, "--tarname"),
        ({"layers_dir": "../x"}, "--layers-dir"),
        ({"output": ""}, "names no file"),
        ({"output": "directory/"}, "names no file"),
        ({"format": "legacy", "platform": "all"}, "legacy"),
        ({"output": "same", "tree": True}, "both be same"),
        ({"tarname": "x", "layers_dir": "x", "tree": True}, "both be x"),
    ],
)
def test_contradictions(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        of(**options)


def test_several_images_need_a_name() -> None:
    with pytest.raises(UsageError, match="2 images need a name") as caught:
        of("debian", "alpine")
    assert "-o" in caught.value.hint
    assert of("debian", "alpine", output="both.tar").archive == "both.tar"


def test_no_image() -> None:
    with pytest.raises(UsageError, match="no image"):
        Destination.of(Options(), [])
