"""What an earlier save of a directory has noted, and whether it still counts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ..model.owners import parse_owner_map
from .destination import Destination
from .job import Job

if TYPE_CHECKING:
    from ..rootfs.saved_record import Record
    from ..rootfs.staging import Stage


def earlier_record(job: Job, stage: Stage) -> tuple[Record, int] | None:
    """What an earlier save of a directory has noted, if it still counts.

    Args:
        job: the run.
        stage: where the directory is made; it need not be open.

    Returns:
        As `Stage.earlier`.

    Raises:
        OutputError: it cannot be read.
    """
    from ..transfer.window import spool

    found = stage.earlier(partial(spool, job.working_dir))
    if found is None:
        return None
    record = found[0]
    # If owners are others now, all files have others.
    has_owners = record.owners == [list(each) for each in parse_owner_map(job.options.owner_map)]
    # If it was another part, nothing tells which files of its layers are missing.
    has_part = record.only in ([], sorted(job.options.only))
    return found if has_owners and has_part else None


def recorded_layers(job: Job, destination: Destination) -> Set[str] | None:
    """The layers that an update of a directory may not have to fetch, by diff_ids.

    They are fetched all the same if a file of theirs has come to light again, or was changed.

    Returns:
        None if it is no update.

    Raises:
        OutputError: what an earlier save has noted cannot be read.
    """
    with open_record(job, destination) as record:
        return record.known if record else None


@contextmanager
def open_record(job: Job, destination: Destination) -> Iterator[Record | None]:
    """What an earlier save of a directory has noted, if it still counts."""
    path = destination.tree if destination.is_file_system else None
    if not path or not os.path.lexists(path):
        yield None
        return
    from ..rootfs.staging import Stage

    with closing(Stage(path)) as stage:
        found = earlier_record(job, stage)
        with closing(found[0]) if found else nullcontext():
            yield found[0] if found else None
