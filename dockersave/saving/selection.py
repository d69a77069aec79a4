"""Which layers need not be fetched for a file system, or for a part of it, as their indexes tell.

A layer is needed if anything that is saved comes from it: a file, or the attributes of a directory
on the way. Of the others, names alone count: what they add, hide and replace. These are in the
index of a layer, which is believed if it has the digest that the manifest states.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence, Set
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ..errors import CancelledError, ContentError, DockersaveError, NotFoundError, shown
from ..model.image import Image
from ..spelling import argument
from .destination import Destination
from .job import Job
from .layer_files import LayerFile
from .updates import open_record

if TYPE_CHECKING:
    from ..archive.members import Layer
    from ..rootfs.headers import Content
    from ..rootfs.merge import Tree


def surely_needed_layers(
    job: Job, layers: Sequence[Layer], known: Collection[str]
) -> Sequence[Layer]:
    """The layers that are needed, whatever their indexes say.

    Args:
        job: the run.
        layers: all of them.
        known: as `recorded_layers`.
    """
    layers = [layer for layer in layers if layer.digest not in known]
    if not job.options.only:
        return layers
    from ..transfer.layer_index import has_index

    return [layer for layer in layers if not has_index(layer.served)]


def unneeded_layers(job: Job, images: Sequence[Image], destination: Destination) -> Collection[str]:
    """The layers that would not be fetched, so far as that can be told without fetching one.

    For a part of a file system, the indexes of layers are fetched, if all have one that are not
    noted.

    Args:
        job: the run.
        images: what would be saved.
        destination: where to.

    Returns:
        Their diff_ids.

    Raises:
        OutputError: what an earlier save has noted cannot be read.
    """
    layers = job.format.layers(images)
    with ExitStack() as ending:
        record = ending.enter_context(open_record(job, destination))
        known: Set[str] = record.known if record else set()
        if surely_needed_layers(job, layers, known):
            return known
        from ..rootfs.merge import Tree
        from ..transfer.window import spool

        def unnamed() -> int:
            file = spool(job.working_dir)
            ending.callback(os.close, file)
            return file

        image = images[0]
        digests = [stored.digest for _, stored in image.layers(image.primary)]
        heads = stand_ins(job, image, set(digests) - known, unnamed)
        guessed = set(heads)
        if not guessed or set(digests) - guessed - known:
            return known
        if record:
            heads |= {each: record.skeleton(each) for each in known & set(digests)}
        merge = partial(Tree, [heads[each] for each in digests], job.session.cancellation.check)
        return known | guessed.difference(needed_layers(job, digests, merge, guessed))


def stand_ins(
    job: Job, image: Image, digests: Collection[str], unnamed: Callable[[], int]
) -> dict[str, Content]:
    """What stands in for layers if only a part is saved: names, and nothing else of them.

    Args:
        job: the run.
        image: whose layers.
        digests: diff_ids of layers.
        unnamed: creates an unnamed file.

    Returns:
        By diff_ids. Layers that are on this machine are not among them, nor those without an index,
        or with one that cannot be had.
    """
    found: dict[str, Content] = {}
    if not job.options.only:
        return found
    from ..rootfs.index import stand_in
    from ..transfer.layer_index import has_index, index_of

    for layer in job.format.layers([image]):
        if layer.digest not in digests or not has_index(layer.served):
            continue
        source = job.sources([image], layer)[0]
        if source.is_local:
            continue
        file = LayerFile(unnamed())
        try:
            size = 0
            for data in stand_in(*index_of(layer.served, source)):
                size += os.pwrite(file.file, data, size)
        except CancelledError:
            raise
        except DockersaveError as failure:
            job.session.trace.say("index", f"of {layer.served.digest}: {failure.marked}")
            continue
        found[layer.digest] = file
    return found


def needed_layers(
    job: Job, digests: Sequence[str], merge: Callable[[], Tree], without: Collection[str]
) -> Collection[str]:
    """Which layers something that is saved comes from, although only stand-ins are there.

    Args:
        job: the run.
        digests: diff_ids of all layers, bottom first.
        merge: merges them as they are.
        without: diff_ids of those with a stand-in.
    """
    if not without:
        return ()
    from ..rootfs.nodes import EMPTY_DIRECTORY

    try:
        tree = merge()
        tree.select(job.options.only)
        sources = {
            digests[entry.layer] for entry in tree.entries() if entry.member is not EMPTY_DIRECTORY
        }
    except (ContentError, NotFoundError):
        # What is wrong, the layers say.
        return without
    return sources.intersection(without)


def select_parts(tree: Tree, paths: Sequence[str]) -> list[str]:
    """Select parts of a file system, and say what people may not expect: links are not followed.

    Args:
        tree: the file system, whole.
        paths: its parts.

    Returns:
        A line for each link that is saved without what it points to.

    Raises:
        NotFoundError: there is no such path.
    """
    from ..archive.read.headers import SYMBOLIC_LINK

    places: set[bytes] = set()
    links: dict[str, bytes] = {}
    for path in paths:
        found = tree.find(os.fsencode(path), follow=False)
        if found is None or found.path in places:
            continue
        places.add(found.path)
        if found.kind == SYMBOLIC_LINK:
            links[path] = found.member.target
    lines = [_about_link(tree, path, target, places) for path, target in links.items()]
    tree.select(paths)
    return [line for line in lines if line]


def _about_link(tree: Tree, path: str, target: bytes, saved: Set[bytes]) -> str:
    """What to say of a symbolic link; empty if what it points to is saved, too.

    Args:
        tree: the file system, whole.
        path, target: the link's.
        saved: what is saved of it, with all that is in it.
    """
    line = f"{shown(path)} is a symbolic link to"
    try:
        there = tree.find(os.fsencode(path))
    except ContentError:
        return f"{line} {shown(os.fsdecode(target))}: the links lead in a circle, or are too many"
    if there is None:
        return f"{line} {shown(os.fsdecode(target))}, which is not in the image"
    above = there.path
    while above and above not in saved:
        above = os.path.dirname(above)
    name = shown(os.fsdecode(there.path) or "/")
    missing = f"{line} {name}, which is not saved: {argument('only', name)} adds it"
    return "" if above in saved else missing
