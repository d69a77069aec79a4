"""One run, made of a seed: what is fetched, what goes wrong, and whether it came out right."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from dockersave.archive.members import Layer
from dockersave.archive.tar import END, padding
from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, DockersaveError
from dockersave.limits import LIMITS
from dockersave.retry_policy import RetryPolicy
from dockersave.transfer.blobs import Blob, Source
from dockersave.transfer.download import BlobDownload, Download
from dockersave.transfer.gauge import Gauge
from dockersave.transfer.ledger import Ledger
from dockersave.transfer.throttle import Throttle
from dockersave.transfer.unpacking import Appender, UnpackedLayer
from dockersave.transfer.window import Emitter, Window, WindowWriter, is_restartable
from dockersave.transfer.workers import WorkerPool
from tests.images.content import digest_of
from tests.simulation.machine import Killed, Machine
from tests.simulation.outputs import WINDOW, Disk, WatchedLayer, packed
from tests.simulation.registry import PROGRESS, Found, Remote, Server, a_server
from tests.transfer.invariants import check_account

# A hundredth and less of what they are: so small blobs are large ones.
_SMALL = replace(
    LIMITS,
    granule=64,
    piece_least=512,
    piece_most=8192,
    split_least=128,
    read=256,
    read_least=PROGRESS,
    buffers=2048,
    window=4096,
    window_in_memory=2048,
    retry_pause=2.0,
    window_each=WINDOW,
)
_MODULES = (
    *("retry_policy", "transfer.blobs", "transfer.ledger", "transfer.cutting"),
    "transfer.throttle",
)
_PATCHED = (*_MODULES, "transfer.window", "transfer.workers", "transfer.unpacking")
_PATIENCE = 3600.0
"""Seconds that a run may take at most. Its slowest line has brought all of it by then."""


_CHANGES = ("opened", "wrote", "ended", "failed", "hashed")
_OFTEN = 4
"""Of so many runs one has its ledger's account looked at after each change: it takes longer."""


def checked(make: type[Ledger]) -> type[Ledger]:
    """The same, its account looked at after each call."""

    def with_check(name: str) -> Callable[..., object]:
        honest = getattr(make, name)

        def call(self: Ledger, *words: object) -> object:
            result = honest(self, *words)
            check_account(self)
            return result

        return call

    return type(make.__name__, (make,), {name: with_check(name) for name in _CHANGES})


_Checked = checked(Ledger)


class Wrong(AssertionError):
    """A run that did not come out right."""


@dataclass
class Plan:
    """What happens in a run, chosen by its seed.

    Parameters:
        sizes: of the blobs, in bytes.
        servers: where they are.
        is_mild: nothing goes wrong that is a reason to fail.
        is_stream: the output is written in order.
        is_unpacked: blobs are unpacked, and appended to the output one after another.
        jobs: connections.
        threads: that the system grants.
        dies: after how many seconds the process is killed, each time it is.
    """

    seed: int
    sizes: list[int]
    servers: list[Server]
    is_mild: bool
    is_stream: bool
    is_unpacked: bool
    jobs: int
    retries: int
    timeout: float
    threads: int
    dies: list[float]
    found: float
    is_damaged: bool
    is_full: bool

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan of a seed."""
        dice = random.Random(seed)
        is_mild = dice.random() < 0.5
        is_stream = dice.random() < 0.3
        is_unpacked = not is_stream and dice.random() < 0.3
        sizes = [int(2 ** dice.uniform(0, 14)) for _ in range(dice.randint(1, 4))]
        found = dice.choice([0.0, 0.0, 0.4])
        if is_unpacked and dice.random() < 0.5:
            # All of these are there at once, and want memory.
            sizes, found = [dice.randint(1, 400) for _ in range(8)], 1.0
        return cls(
            seed,
            sizes,
            [a_server(f"server {n}", dice, is_mild=is_mild) for n in range(dice.randint(1, 2))],
            is_mild,
            is_stream,
            is_unpacked,
            dice.choice([1, 2, 4, 8]),
            dice.randint(0, 3),
            dice.choice([1.0, 5.0]),
            dice.choice([0, 1, 1000, 1000, 1000]),
            [] if is_stream else [dice.uniform(0, 3) for _ in range(dice.choice([0, 0, 1, 2]))],
            found,
            dice.random() < 0.3,
            not is_mild and dice.random() < 0.05,
        )


@dataclass
class Run:
    """The run of a seed.

    Parameters:
        plan: what happens.
        make: the ledger's class.
        say: is told what happens, with the moment.
    """

    plan: Plan
    make: type[Ledger] = _Checked
    say: Callable[[str], None] = field(default=lambda line: None)

    def go(self) -> str:
        """Run it to its end, over all kills.

        Returns:
            `done`, or why it was given up.

        Raises:
            Wrong, AssertionError: it did not come out right.
        """
        plan = self.plan
        self.dice = random.Random(plan.seed + 1)
        # No layer that is not packed may look like one that is.
        self.contents = [(b"tar:" + self.dice.randbytes(size))[:size] for size in plan.sizes]
        self.served = list(self.contents)
        if plan.is_unpacked:
            self.served = [packed(content, self.dice) for content in self.contents]
        self.appended: list[bytes] = []
        padded = (content + bytes(padding(len(content))) for content in self.contents)
        self.archive = b"".join(padded) + END
        self.disks = [Disk(size) for size in plan.sizes]
        for disk in self.disks:
            disk.is_full = plan.is_full
        self.written = bytearray()
        now = 0.0
        with _small_limits():
            for dies in [*plan.dies, math.inf]:
                machine = self.machine = Machine(
                    self.dice, now=now, dies=now + dies, threads=plan.threads
                )
                try:
                    machine.run(self._process)
                    self._judge()
                    return "done"
                except Killed:
                    self._say("killed")
                except DockersaveError as error:
                    if plan.is_mild or isinstance(error, CancelledError):
                        raise Wrong(f"given up for no reason: {error!r}") from error
                    if len(self.written) >= len(self.archive) - len(END):
                        raise Wrong("a stream was written to its end that is wrong") from error
                    return f"given up: {error!r}"
                now = machine.now
                self._damage()
        raise AssertionError("the last one is not killed")

    def _say(self, text: str) -> None:
        self.say(f"{self.machine.now:9.3f}  {self.machine.current.name:8} {text}")

    def _damage(self) -> None:
        """What the map says is there need not be, where the power has failed."""
        for disk in self.disks:
            if self.plan.is_damaged and disk.there and self.dice.random() < 0.5:
                start, stop = self.dice.choice(disk.there)
                disk.data[self.dice.randrange(start, stop)] ^= 1

    def _judge(self) -> None:
        if self.plan.is_stream:
            if self.written != self.archive:
                raise Wrong("the stream has ended, and is not what it should be")
        elif self.contents != (self.appended or [bytes(disk.data) for disk in self.disks]):
            raise Wrong("a blob is done, and is not what it should be")

    # One process.

    def _process(self) -> None:
        machine, plan = self.machine, self.plan
        for disk in self.disks:
            disk.machine = machine
        for server in plan.servers:
            server.is_open, server.busy_until = 0, machine.now
        cancellation = _Cancellation(machine)
        with ExitStack() as stack:
            window = stack.enter_context(closing(Window(""))) if plan.is_stream else None
            left = range(len(self.appended), len(plan.sizes))
            blobs = [self._blob(number, window) for number in left]
            ledger = self.make(
                blobs,
                RetryPolicy(plan.retries, wait_until=-math.inf, jitter=self.dice.uniform),
                most=plan.jobs,
                piece_most=window.size // (2 * plan.jobs) if window else _SMALL.piece_most,
                tell=lambda topic, text: self._say(f"{topic}: {text}"),
            )
            downloads = self._downloads(blobs, window)
            latency = self.dice.choice([0.0, plan.servers[0].latency])
            workers = WorkerPool(
                ledger,
                downloads,
                gauge=Gauge(min(plan.jobs, 4), plan.jobs, 2, latency),
                throttle=Throttle(self.dice.choice([None, None, 5000]), cancellation, plan.jobs),
                cancellation=cancellation,
            )
            until = machine.now + _PATIENCE

            def tick() -> None:
                if machine.now > until:
                    raise Wrong("it goes on for ever")

            for layer in downloads:
                if isinstance(layer, WatchedLayer):
                    layer.claim = workers.claim
            stack.enter_context(closing(workers))
            workers.run(self._meanwhile(ledger, downloads, workers, window), tick)

    def _downloads(self, blobs: Sequence[Blob], window: Window | None) -> Sequence[Download]:
        if self.plan.is_unpacked:
            large: set[WatchedLayer] = set()
            contents = self.contents[len(self.appended) :]
            return [
                WatchedLayer(blob, digest_of(content), self.machine, large, self.plan.is_full)
                for blob, content in zip(blobs, contents, strict=True)
            ]
        if window:
            return [BlobDownload(blob, WindowWriter(window, blob.base)) for blob in blobs]
        return [BlobDownload(blob, disk) for blob, disk in zip(blobs, self.disks, strict=True)]

    def _meanwhile(
        self,
        ledger: Ledger,
        downloads: Sequence[Download],
        workers: WorkerPool,
        window: Window | None,
    ) -> Callable[[], bool]:
        if self.plan.is_unpacked:
            layers = [(cast(Layer, None), cast(UnpackedLayer, each)) for each in downloads]
            return Appender(layers, self._append, workers, self.plan.jobs + 1).advance
        if window is None:
            return lambda: ledger.is_done
        entries = [
            SimpleNamespace(
                header=b"",
                size=blob.size,
                offset=blob.base,
                end=blob.base + blob.size + padding(blob.size),
            )
            for blob in ledger.blobs
        ]
        plan = cast(Any, SimpleNamespace(layers=entries, documents=()))
        return Emitter(plan, ledger.blobs, window, self._emit, workers.grant_room).advance

    def _append(self, layer: Layer, size: int, unpacked: UnpackedLayer) -> None:
        body = bytearray(size)

        def write(offset: int, data: bytes) -> None:
            self.machine.step_aside()
            body[offset : offset + len(data)] = data

        unpacked.move(write, backwards=False)
        if not self.machine.is_dead:
            self.appended.append(bytes(body))

    def _emit(self, data: bytes) -> None:
        self.machine.step_aside()
        self.written += data

    def _blob(self, number: int, window: Window | None) -> Blob:
        served, dice, plan = self.served[number], self.dice, self.plan
        sources: list[Source] = []
        if dice.random() < plan.found:
            # A layer that is to be unpacked may be found so.
            sources.append(self._found(dice.choice([served, self.contents[number]])))
        server = dice.choice(plan.servers)
        sources.append(Remote(self.machine, server, served, plan.timeout, self._say))
        before = (size + padding(size) for size in plan.sizes[:number])
        return Blob(
            digest_of(served),
            len(served),
            sources,
            [] if window else self.disks[number].there,
            base=number - len(self.appended) if plan.is_unpacked else sum(before),
            sequential=plan.is_unpacked,
            restartable=window is None or is_restartable(len(served), window),
        )

    def _found(self, content: bytes) -> Found:
        dice = self.dice
        data = bytearray(content)
        kind = dice.choice(["right", "right", "wrong", "short", "long", "vanishes"])
        if kind == "wrong" and not self.plan.is_stream:
            data[dice.randrange(len(data))] ^= 1
        if kind == "short":
            del data[dice.randrange(len(data)) :]
        if kind == "long":
            data += b"more"
        return Found(self.machine, "the disk", bytes(data), len(content), kind == "vanishes")


class _Cancellation(Cancellation):
    """A flag that is never set: waiting for it lets time pass."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def wait(self, seconds: float) -> None:
        self._machine.wait(seconds)
        self.check()


@contextmanager
def _small_limits() -> Iterator[None]:
    with ExitStack() as stack:
        for name in _PATCHED:
            stack.enter_context(patch(f"dockersave.{name}.LIMITS", _SMALL))
        yield


def run(
    seed: int,
    make: type[Ledger] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> str:
    """Run a seed; see `Run.go`."""
    make = make or (Ledger if seed % _OFTEN else _Checked)
    return Run(Plan.of(seed), make, say).go()


def run_all(seeds: Iterable[int], make: type[Ledger] | None = None) -> dict[str, int]:
    """Run many of them.

    Returns:
        How often a run was done, and how often given up.

    Raises:
        AssertionError: one did not come out right; the message has the command that repeats it.
    """
    results = {"done": 0, "given up": 0}
    for seed in seeds:
        try:
            results[run(seed, make).partition(":")[0]] += 1
        except Exception as error:
            again = f"repeat it with: python -m tests.simulation {seed}"
            raise AssertionError(f"seed {seed}: {error!r}; {again}") from error
    return results
