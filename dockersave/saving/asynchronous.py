"""Saving in asyncio programs: cancelling the task stops the save."""

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
    """Save images like `save`, on a separate thread, without blocking the event loop.

    If the task is cancelled or times out, the save is stopped. All its files are closed and its
    threads have ended before the task ends, usually within a second.

    Args:
        images, output, options, network, trace: as for `save`.
        progress, notify: as for `save`, but called on that thread.
        cancellation: also stops this save.

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
    # Not the loop's own threads: they are few, and may all be waiting for each other.
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
            # It ends soon. Once the task is over, nothing of it is still running.
            cancelled = failure
            stop.cancel()
    if cancelled is not None:
        # Retrieve the exception, or asyncio complains; the task was cancelled anyway.
        saving.exception()
        raise cancelled
    return saving.result()
