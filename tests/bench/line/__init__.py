"""A line as users have them, between a client and a TCP server on loopback.

Round trips, TCP's slow start, a cap for each connection, one for all of them together, resets.
What goes up is delayed; what comes down is delayed, and as fast as the line is. Plain HTTP is read
for the log only: TLS passes, too.

    with line(registry.port, Shape(rtt=0.03, shared=25e6)) as shaped:
        ...  # fetch from 127.0.0.1:{shaped.port}
        assert shaped.most_at_once() >= 8

As a process of its own, for trying things out: `python -m tests.bench.line --help`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from tests.bench.line.shape import Event, Shape, Shaped, mbit
from tests.bench.line.wire import Line, Near

__all__ = ["Event", "Shape", "Shaped", "line", "mbit"]


@contextmanager
def line(port: int, shape: Shape) -> Iterator[Shaped]:
    """Lay a line to a port of 127.0.0.1, in a thread of its own, for as long as the context lasts.

    Parameters:
        port: the server's.
        shape: what the line is like.
    """
    shaped = Shaped()
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        wire = Line(shape, port, shaped.events.append)
        server = await loop.create_server(lambda: Near(wire), "127.0.0.1", 0, backlog=256)
        shaped.port = server.sockets[0].getsockname()[1]
        ready.set_result((loop, stop))
        await stop.wait()
        server.close()
        wire.cut()
        await asyncio.sleep(0.02)  # they are told in the loop's next round

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="line")
    thread.start()
    loop, stop = ready.result(10)
    try:
        yield shaped
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
