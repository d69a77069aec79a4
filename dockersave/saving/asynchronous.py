"""Saving in asyncio programs: cancelling the task stops the save."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial, update_wrapper
from typing import Any, ParamSpec

from ..cancellation import Cancellation
from ..errors import CancelledError
from ..model.reference import Reference
from .save import Saved, save

P = ParamSpec("P")


def _with_parameters_of(
    model: Callable[P, Saved],
) -> Callable[[Callable[..., Coroutine[Any, Any, Saved]]], Callable[P, Coroutine[Any, Any, Saved]]]:
    """Show a function's parameters as those of another, to people and to type checkers."""
    return partial(update_wrapper, wrapped=model, assigned=(), updated=())


@_with_parameters_of(save)
async def save_async(
    *images: str | Reference, cancellation: Cancellation | None = None, **arguments: Any
) -> Saved:
    """Save images like `save`, on a separate thread, without blocking the event loop.

    If the task is cancelled or times out, the save is stopped. All its files are closed and its
    threads have ended before the task ends, usually within a second.

    Args:
        images, arguments: as for `save`; `progress` and `notify` are called on that thread.
        cancellation: also stops this save.

    Raises:
        asyncio.CancelledError: the task was cancelled.
        DockersaveError: as `save`; `CancelledError` if `cancellation` stopped it.
    """
    stop = (cancellation or Cancellation()).child()
    call = partial(save, *images, cancellation=stop, **arguments)
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
