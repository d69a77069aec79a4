"""Hypothesis plays with a ledger: blobs, workers and faults of its choice, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from dockersave.transfer.blobs import Blob
from dockersave.transfer.ledger import Ledger
from tests.transfer.broken import BROKEN, FORGETFUL
from tests.transfer.cases import LOCAL, REMOTE
from tests.transfer.invariants import check
from tests.transfer.outcomes import GOOD, GRANULE, RIGHT, WRONG, NamedSource, small_limits
from tests.transfer.world import Case, World

_MOVES = 10_000
"""More than any of the runs here takes."""
_USUAL = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
_FIND = settings(
    _USUAL,
    max_examples=300,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


@st.composite
def _cases(draw: st.DrawFn, make: type[Ledger], outputs: Sequence[str]) -> Case:
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    output = draw(st.sampled_from(outputs))
    window = draw(st.sampled_from([1, 3])) * GRANULE if output == "stream" else 0
    sequential = output == "unpacked"
    kinds = [draw(st.sampled_from(["server", "mirror", "disk", "resumed"])) for _ in sizes]
    have: dict[int, Sequence[tuple[int, bool]]] = {}
    for number, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        if kind == "resumed" and not sequential:
            there = draw(st.sets(st.integers(0, max(0, size - 1)), max_size=size))
            have[number] = [(each, draw(st.sampled_from([RIGHT, WRONG]))) for each in there]

    windows = {
        number: draw(st.integers(0, size - 1))
        for number, size in enumerate(sizes)
        if sequential and size and draw(st.integers(0, 3))
    }

    def blobs() -> list[Blob]:
        return [
            _blob(number, sizes, kinds[number], have.get(number, []), sequential)
            for number in range(len(sizes))
        ]

    return Case(
        blobs,
        draw(st.integers(1, 4)),
        frozenset(draw(st.sets(st.sampled_from(sorted(REMOTE | LOCAL))))),
        have=have,
        window=window,
        retries=draw(st.integers(0, 3)),
        pause=draw(st.sampled_from([0.0, 1.0])),
        windows=windows,
        make=make,
    )


def _blob(
    number: int, sizes: list[int], kind: str, have: Sequence[tuple[int, bool]], sequential: bool
) -> Blob:
    size = sizes[number] * GRANULE
    server = NamedSource("mirror" if kind == "mirror" else "server", size)
    disk = NamedSource("disk", size + GRANULE if sequential else size, is_local=True)
    return Blob(
        f"blob {number}",
        size,
        [disk, server] if kind == "disk" else [server],
        [(each * GRANULE, (each + 1) * GRANULE) for each, _ in have],
        base=number if sequential else sum(sizes[:number]) * GRANULE,
        sequential=sequential,
    )


class Machine(RuleBasedStateMachine):
    """Any case, any move that is possible, and in the end good ones only."""

    make = Ledger
    outputs: Sequence[str] = ("file", "stream", "unpacked")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(small_limits())
        self.world: World | None = None

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Choose a case."""
        self.world = World(data.draw(_cases(self.make, self.outputs)))

    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """Let something happen, if there still is something."""
        if self.world and not self.world.is_over:
            self.world.do(data.draw(st.sampled_from(list(self.world.moves()))))

    @invariant()
    def holds(self) -> None:
        """What always holds."""
        if self.world:
            check(self.world.ledger, self.world.now)

    def teardown(self) -> None:
        """From here on nothing goes wrong: the run ends, done if no wrong bytes are there."""
        with self.stack:
            if self.world and not self.world.is_over:
                may_fail = self.world.may_fail
                _finish(self.world)
                assert may_fail or not self.world.ledger.failure


def _finish(world: World) -> None:
    for _ in range(_MOVES):
        if world.is_over:
            return
        moves = [move for move in world.moves() if move.outcome in GOOD]
        assert any(world.do(move) for move in moves), f"nothing can happen any more\n{world}"
    raise AssertionError(f"it goes on for ever\n{world}")


TestMachine = Machine.TestCase
TestMachine.settings = _USUAL


@pytest.mark.long
def test_for_longer() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(_USUAL, max_examples=5_000, stateful_step_count=100)
    )


@pytest.mark.parametrize(
    ("make", "outputs"),
    [*((make, Machine.outputs) for make in BROKEN), *((make, ["unpacked"]) for make in FORGETFUL)],
)
def test_a_known_bug_is_found(make: type[Ledger], outputs: Sequence[str]) -> None:
    machine = type(make.__name__, (Machine,), {"make": make, "outputs": outputs})
    with pytest.raises((AssertionError, IndexError)):
        run_state_machine_as_test(machine, settings=_FIND)
