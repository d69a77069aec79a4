"""Odd layers, what each engine makes of them, and what it makes otherwise than `--format rootfs`.

Everything that can be seen is compared: paths, types, modes, owners, times, content, targets of
links, device numbers, extended attributes, and which names are the same file.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from dockersave import Network, Options, save
from tests.engines.judge import Judge, Refused
from tests.engines.judges import OVERLAYFS
from tests.engines.odd_layers import LAYERS, UNDESCRIBED, UNMENTIONED
from tests.images import Store, image, raw_layer
from tests.registry.simulator import Simulator
from tests.rootfs.layers import directory, tar
from tests.rootfs.layouts import KINDS, Facts, of_directory

JUDGES = ("docker", "podman", "containerd", OVERLAYFS, "umoci")
ASPECTS = ("modes", "owners", "times", "content", "attributes", "hard links")
"""What the facts about a path say, in their order; paths that only one has are another."""


_SECURITY = "its export has no extended attributes but `security.capability`"
_TRUSTED = "leaves out what only root can see"
_ALONE = "unpacks each layer alone, and does not look for files or links of lower ones"
_AFTER = (
    "removes what the same layer has put there, and misses it; whiteouts are for lower layers only "
    "(OCI layer.md)"
)
_ITS_OWN = "gives the file these attributes, under all its names; GNU tar does not"
_NOW = "has the time of unpacking there, which is never the same"


class Otherwise(NamedTuple):
    """What an engine makes otherwise.

    Parameters:
        what: aspects, in their order; or `refuses`.
        why: what it does.
    """

    what: str
    why: str


_BY_ENGINE: dict[str, dict[str, Otherwise]] = {
    "docker": {
        "times with nanoseconds": Otherwise("times", "its export has whole seconds"),
        "`user.*` attributes": Otherwise("attributes", _SECURITY),
        "`trusted.*` attributes": Otherwise("attributes", _SECURITY),
        "access control lists": Otherwise("attributes", _SECURITY),
        "hard links in a layer": Otherwise(
            "hard links", "its export has the second name of a symbolic link as a link of its own"
        ),
        "directories that no layer describes": Otherwise(
            "modes", "makes them with mode 0600, so that only root gets in; all others with 0755"
        ),
    },
    "podman": {},
    "containerd": {
        "`trusted.*` attributes": Otherwise("attributes", _TRUSTED),
        "times of directories": Otherwise("times", "copies lower layers, but not these times"),
    },
    OVERLAYFS: {
        "`trusted.*` attributes": Otherwise("attributes", _TRUSTED),
        "a hard link to a lower file": Otherwise("refuses", _ALONE),
        "a file through a lower link": Otherwise("paths, types", _ALONE),
        "a whiteout through a lower link": Otherwise("paths", _ALONE),
        "links out of the root": Otherwise("paths, types", _ALONE),
        "a whiteout, then the same name": Otherwise(
            "paths", "shows again what was in the directory that the whiteout removes"
        ),
    },
    "umoci": {},
}
OTHERWISE = {
    **{(name, judge): each for judge, all_ in _BY_ENGINE.items() for name, each in all_.items()},
    **{
        (name, judge): Otherwise(what, why)
        for name, what, why in (
            ("times before 1970", "times", "writes 1970 instead"),
            ("a hard link with attributes of its own", "modes, owners, times", _ITS_OWN),
            ("a name, then its whiteout in the same layer", "refuses", _AFTER),
            (UNMENTIONED, "times", _NOW),
        )
        for judge in JUDGES
        if judge != "umoci"
    },
    **{
        (UNDESCRIBED, judge): Otherwise("modes, times" if judge == "docker" else "times", _NOW)
        for judge in JUDGES
    },
}
"""What engines make otherwise of which layers. All that is not here, they make the same."""


def of_tar(path: Path) -> Facts:
    """Return all that a tar says of a file system, as `of_directory` does."""
    found: Facts = {}
    groups: dict[str, str] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.islnk():
                groups[member.name] = groups.get(member.linkname, member.linkname)
                found[member.name] = found[member.linkname]
                continue
            content: object = b""
            if member.isreg():
                source = archive.extractfile(member)
                assert source is not None
                content = source.read()
            elif member.issym():
                content = member.linkname
            elif member.ischr() or member.isblk():
                content = member.devmajor, member.devminor
            kind = "0" if member.isreg() else member.type.decode()
            mode = 0o777 if member.issym() else member.mode
            found[member.name] = (
                KINDS[kind] | mode,
                (member.uid, member.gid),
                int(Decimal(member.pax_headers.get("mtime", member.mtime)) * 10**9),
                content,
                dict(_attributes(member)),
                "",
            )  # fmt: skip
    return _with_first_names(found, groups)


def _attributes(member: tarfile.TarInfo) -> Iterator[tuple[str, bytes]]:
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            yield key.removeprefix("SCHILY.xattr."), os.fsencode(value)


def _with_first_names(found: Facts, groups: Mapping[str, str]) -> Facts:
    """Say of each name which is the first one of the same file."""
    first: dict[str, str] = {}
    facts: Facts = {}
    for path in sorted(found, key=lambda each: os.fsencode(each).split(b"/")):
        same = first.setdefault(groups.get(path, path), path)
        facts[path] = (*found[path][:-1], same if same != path else "")
    return facts


def _comparable(name: str, facts: Facts) -> Facts:
    """Leave out what Docker puts into every container, and what `/etc` is after that.

    Times of directories are left out, too: there are rows for them.
    """
    with_times = "times of directories" in name
    mine = {".dockerenv", "dev", "etc", "proc", "sys"}
    return {
        path: each if with_times or _type(each) != stat.S_IFDIR else (*each[:2], 0, *each[3:])
        for path, each in facts.items()
        if path.split("/")[0] not in mine
    }


def saved(name: str, folder: Path) -> tuple[Path, Facts]:
    """Save an image of the layers with a name as an archive, and as a file system.

    Parameters:
        name: of the layers.
        folder: to write to.

    Returns:
        The archive, and all that can be seen of the file system.
    """
    first, *others = LAYERS[name]
    # Docker puts an /etc into every container.
    form = tarfile.GNU_FORMAT if "GNU" in name else tarfile.PAX_FORMAT
    layers = [raw_layer(tar(items, form)) for items in ([directory("etc"), *first], *others)]
    archive, made = folder / "archive.tar", folder / "made"
    network = Network(insecure=True)
    with Simulator(Store.of({"odd": image(layers, flavor="oci")})) as registry:
        reference = f"{registry.host}/odd"
        save(reference, output=archive, network=network)
        options = Options(format="rootfs", tar=False, tree=True, output=made)
        save(reference, options=options, network=network)
    return archive, _comparable(name, of_directory(made))


def judged(name: str, judge: Judge, archive: Path, ours: Facts) -> str:
    """Say what a judge makes otherwise of the layers with a name.

    Parameters:
        name, archive, ours: as for, and from, `saved`.
        judge: the engine.

    Returns:
        Aspects, in their order, with commas; or that it refuses them; empty if nothing.
    """
    judge.forget()
    try:
        (loaded,) = judge.load(archive)
        with judge.file_system(loaded) as path:
            theirs = of_directory(path) if path.is_dir() else of_tar(path)
    except Refused:
        return "refuses"
    except FileNotFoundError:
        # overlayfs lists a whiteout that hides nothing, but does not have it.
        return "paths"
    return ", ".join(differences(ours, _comparable(name, theirs)))


def differences(ours: Facts, theirs: Facts) -> Iterator[str]:
    """Yield the aspects in which two file systems differ."""
    if ours.keys() != theirs.keys():
        yield "paths"
    all_pairs = [(ours[path], theirs[path]) for path in ours.keys() & theirs.keys()]
    both = [(one, other) for one, other in all_pairs if _type(one) == _type(other)]
    if len(both) < len(all_pairs):
        yield "types"
    for number, aspect in enumerate(ASPECTS):
        if any(one[number] != other[number] for one, other in both):
            yield aspect


def _type(facts: tuple[object, ...]) -> int:
    mode = facts[0]
    assert isinstance(mode, int)
    return stat.S_IFMT(mode)


def table() -> str:
    """Return what agrees with whom as Markdown: a row for each kind of layers."""
    notes: dict[str, int] = {}
    lines = [["layers with", *JUDGES], ["---"] * (1 + len(JUDGES))]
    for name in LAYERS:
        cells = [name]
        for judge in JUDGES:
            stated = OTHERWISE.get((name, judge))
            if stated is None:
                cells.append("same")
                continue
            note = notes.setdefault(stated.why, len(notes) + 1)
            verdict = stated.what if stated.what == "refuses" else f"other {stated.what}"
            cells.append(f"{verdict}[^f{note}]")
        lines.append(cells)
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    footnotes = "\n".join(f"[^f{number}]: {why}." for why, number in notes.items())
    return f"{text}\n\n{footnotes}\n"
