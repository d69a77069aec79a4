"""Which files a call writes, and which options contradict one another."""

from __future__ import annotations

from typing import Any

import pytest

from dockersave.errors import UsageError
from dockersave.model.options import Options
from dockersave.model.reference import Reference
from dockersave.saving.destination import Destination


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
        ({"zstd": True}, "library-debian-latest.tar.zst", None),
        ({"tree": True, "output": "a/b.tgz"}, "a/b.tgz", "a/b"),
        ({"tree": True, "zstd": True}, "library-debian-latest.tar.zst", "library-debian-latest"),
        ({"working_dir": "/d"}, "/d/library-debian-latest.tar", None),
        ({"working_dir": "/d", "tarname": "n.tar"}, "/d/n.tar", None),
        ({"working_dir": "/d", "output": "o.tar"}, "/d/o.tar", None),
        ({"working_dir": "/d", "output": "/e/o.tar"}, "/e/o.tar", None),
        ({"output": "-"}, "-", None),
        ({"output": "-", "tree": True}, "-", "library-debian-latest"),
        ({"tree": True}, "library-debian-latest.tar", "library-debian-latest"),
        ({"tree": True, "tar": False}, None, "library-debian-latest"),
        ({"tree": True, "output": "a/b.tar.xz"}, "a/b.tar.xz", "a/b"),
        ({"tree": True, "output": "/srv/x.tar"}, "/srv/x.tar", "/srv/x"),
        ({"tree": True, "tar": False, "output": "a/b"}, None, "a/b"),
        ({"tree": True, "tar": False, "output": "a/b", "working_dir": "/d"}, None, "/d/a/b"),
        ({"tree": True, "tar": False, "output": "/e/b", "working_dir": "/d"}, None, "/e/b"),
        ({"tree": True, "output": "a/b", "layers_dir": "l"}, "a/b", "a/l"),
        ({"tree": True, "tar": False, "layers_dir": "l", "working_dir": "/d"}, None, "/d/l"),
    ],
)  # fmt: skip
def test_where_it_goes(options: dict[str, Any], archive: str | None, tree: str | None) -> None:
    destination = of(**options)
    assert (destination.archive, destination.tree) == (archive, tree)
    assert destination.is_stream == (archive == "-")
    assert destination.paths == tuple(filter(None, (archive and archive.strip("-"), tree)))


@pytest.mark.parametrize(
    ("options", "compression"),
    [
        ({}, ""),
        ({"output": "a.tar"}, ""),
        ({"output": "a.tar.gz"}, "gzip"),
        ({"output": "A.TGZ"}, "gzip"),
        ({"output": "a.tar.zst"}, "zstd"),
        ({"tarname": "a.tar.zst"}, "zstd"),
        ({"output": "a.tar.xz"}, "xz"),
        ({"xz": True, "output": "a.tar"}, "xz"),
        ({"xz": True, "output": "a.tar.xz"}, "xz"),
        ({"zstd": True}, "zstd"),
        ({"zstd": True, "output": "a.zst"}, "zstd"),
        ({"zstd": True, "output": "-"}, "zstd"),
        ({"output": "a.tar.xz", "tar": False, "tree": True}, ""),
    ],
)
def test_how_it_is_compressed(options: dict[str, Any], compression: str) -> None:
    assert of(**options).compression == compression


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": "a.tar", "tarname": "b.tar"}, "twice"),
        ({"output": "-", "tar": False, "tree": True}, "standard output"),
        ({"xz": True, "tar": False, "tree": True}, "xz=True"),
        ({"zstd": True, "tar": False, "tree": True}, "zstd=True"),
        ({"xz": True, "zstd": True}, "cannot be combined"),
        ({"xz": True, "output": "a.tar.gz"}, "a.tar.gz, which promises gzip"),
        ({"zstd": True, "tarname": "a.txz"}, "promises xz"),
        ({"output": "a.tar.bz2"}, "a.tar.bz2 would not be what its name promises"),
        ({"tarname": "A.ZIP"}, "A.ZIP would not be"),
        ({"output": "a.gz"}, "a.gz would not be"),
        ({"output": "root.squashfs", "format": "rootfs"}, "root.squashfs would not be"),
        ({"tar": False}, "neither"),
        ({"tarname": "a/b.tar"}, "a/b.tar"),
        ({"tarname": ""}, "tarname="),
        ({"tarname": ".."}, "tarname="),
        ({"layers_dir": "../x"}, "layers_dir="),
        ({"output": ""}, "names no file"),
        ({"output": "directory/"}, "names no file"),
        ({"output": "."}, "names no file"),
        ({"output": "directory/.."}, "names no file"),
        ({"output": "..", "tar": False, "tree": True}, "names no file"),
        ({"output": "directory/.tar", "tree": True}, "no name for the directory"),
        ({"output": "...tar", "tar": False, "tree": True}, "no name for the directory"),
        ({"tarname": ".tar.xz", "tree": True}, "no name for the directory"),
        ({"output": "a/same", "tree": True}, "both be a/same"),
        ({"format": "legacy", "platform": "all"}, "legacy"),
        ({"output": "same", "tree": True}, "both be same"),
        ({"tarname": "x", "layers_dir": "x", "tree": True}, "both be x"),
    ],
)
def test_contradictions(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        of(**options)
    assert said in str(caught.value)


def test_a_directory_may_be_named_with_a_slash() -> None:
    for form in ("docker", "rootfs"):
        for output in ("a/root/", "a/root//"):
            written = of(output=output, tar=False, tree=True, format=form)
            assert written == of(output="a/root", tar=False, tree=True, format=form)
    for output in ("/", "//", "./", "a/../"):
        with pytest.raises(UsageError, match="names no file"):
            of(output=output, tar=False, tree=True)


def test_temporary_files_lie_where_the_output_does() -> None:
    assert of(output="/e/o.tar", working_dir="/d").working_dir == "/e"
    assert of(output="/e/o", tar=False, tree=True, working_dir="/d").working_dir == "/e"
    assert of(output="-", tree=True, working_dir="/d").working_dir == "/d"


def test_several_images_need_a_name() -> None:
    with pytest.raises(UsageError, match="2 images need a name") as caught:
        of("debian", "alpine")
    assert "output=" in caught.value.hint
    assert of("debian", "alpine", output="both.tar").archive == "both.tar"


def test_no_image() -> None:
    with pytest.raises(UsageError, match="no image"):
        Destination.of(Options(), [])
