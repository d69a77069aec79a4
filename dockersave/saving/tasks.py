"""Saving in an asyncio program: a task that is cancelled stops its save."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ..cancellation import Cancellation
from ..errors import CancelledError
from ..model.options import Network, Options
from ..model.reference import Reference
from ..progress import Progress
from .save import Saved, save


async def save_async(
    *images: str | Reference,
    output: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    network: Network | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], None] = lambda line: None,
    cancellation: Cancellation | None = None,
    trace: Callable[[str], None] | None = None,
) -> Saved:
    """Save images as `save` does, on a thread of its own, while the event loop goes on.

    Where the task is cancelled, or a timeout ends it, the save is stopped, and all of its files and
    threads are let go of before the task ends: within a second, as a rule.

    Args:
        images, output, options, network, trace: as for `save`.
        progress, notify: as for `save`; called on that other thread.
        cancellation: stops this save, too.

    Raises:
        asyncio.CancelledError: the task was cancelled.
        DockersaveError: as `save`; `CancelledError` if `cancellation` stopped it.
    """
    stop = (cancellation or Cancellation()).child()
    call = partial(
        save,
        *images,
        output=output,
        options=options,
        network=network,
        progress=progress,
        notify=notify,
        cancellation=stop,
        trace=trace,
    )
    # Not the loop's own threads: those are few, and may all be waiting for one another.
    pool = ThreadPoolExecutor(1, thread_name_prefix="dockersave")
    try:
        try:
            saving = asyncio.get_running_loop().run_in_executor(pool, call)
        except RuntimeError as failure:
            raise CancelledError("stopped: no threads are available") from failure
        return await _finished(saving, stop)
    finally:
        pool.shutdown(wait=False)


async def _finished(saving: asyncio.Future[Saved], stop: Cancellation) -> Saved:
    cancelled: asyncio.CancelledError | None = None
    while not saving.done():
        try:
            await asyncio.wait([saving])
        except asyncio.CancelledError as failure:
            # It ends soon, and whoever waits for the task finds nothing of it going on.
            cancelled = failure
            stop.cancel()
    if cancelled is not None:
        # Looked at, lest asyncio says that nobody has; the task was told to end, and it does.
        saving.exception()
        raise cancelled
    return saving.result()
