"""Whole runs from seeds: each ends, and is right or was given up for a reason."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from dockersave.transfer.blobs import Blob
from dockersave.transfer.ledger import Ledger
from dockersave.transfer.memory import Memory
from tests.simulation.machine import Machine, StuckError
from tests.simulation.run import Plan, checked, run, run_all
from tests.transfer.broken import BROKEN, FORGETFUL, KeepsWhatOthersTookOver

_QUICK = 1_500
_MILLION = 1_000_000
_SHARE = 5_000


def test_runs_come_out_right() -> None:
    results = run_all(range(_QUICK))
    assert results["done"] > _QUICK // 2, "most of them find a way"
    assert results["given up"] > 0, "some of them are asked too much"


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_a_million_runs_come_out_right() -> None:
    first = int(os.environ.get("SIMULATION_SEED", "1000000"))
    shares = [range(at, at + _SHARE) for at in range(first, first + _MILLION, _SHARE)]
    with ProcessPoolExecutor() as pool:
        done = sum(results["done"] for results in pool.map(run_all, shares))
    assert done > _MILLION // 2


def test_a_seed_repeats_a_run_to_the_last_step() -> None:
    told: list[list[str]] = [[], []]
    for lines in told:
        for seed in range(40):
            run(seed, say=lines.append)
    assert told[0] == told[1]
    assert len(told[0]) > 100


def test_kills_streams_unpacking_and_hosts_without_threads_are_among_them() -> None:
    plans = [Plan.of(seed) for seed in range(_QUICK)]
    assert any(len(plan.dies) == 2 for plan in plans)
    assert any(plan.is_stream for plan in plans)
    assert any(plan.is_unpacked and plan.dies for plan in plans)
    assert any(not plan.threads for plan in plans)
    assert any(server.ranges == 0 for plan in plans for server in plan.servers)
    lines: list[str] = []
    for seed in range(60):
        run(seed, say=lines.append)
    assert any("killed" in line for line in lines)
    assert any("split" in line for line in lines)
    assert any("reset at" in line for line in lines)


@pytest.mark.parametrize(
    ("make", "first"), [*((each, 0) for each in BROKEN), (KeepsWhatOthersTookOver, 1_500)]
)
def test_a_known_bug_is_found(make: type[Ledger], first: int) -> None:
    """The runs before the first do not find it either, and take ten seconds."""
    with pytest.raises(AssertionError, match=r"python -m tests\.simulation \d+"):
        run_all(range(first, first + 3000), checked(make))


@pytest.mark.parametrize("make", BROKEN)
def test_a_known_bug_is_found_by_what_becomes_of_it(make: type[Ledger]) -> None:
    with pytest.raises(AssertionError, match=r"goes on for ever|not what it should be"):
        run_all(range(3000), make)


@pytest.mark.parametrize("make", FORGETFUL)
def test_a_known_bug_of_large_windows_is_found(make: type[Ledger]) -> None:
    with pytest.raises(AssertionError, match=r"5: the memory is kept|goes on for ever"):
        run_all(range(3000), checked(make))


def _compete(seed: int) -> bool:
    plan = Plan.of(seed)
    return plan.is_unpacked and plan.found == 1 and plan.jobs > 2 and plan.threads > 2


@pytest.mark.parametrize(
    ("what", "bug"),
    [("claim", lambda memory, blob: True), ("may_resume", Memory.is_free_for)],
    ids=["two large windows", "two threads unpack one layer"],
)
def test_a_known_bug_of_memory_is_found(
    what: str, bug: Callable[[Memory, Blob], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that proves wrong while its layer waits for memory is rare, and so is the moment."""
    monkeypatch.setattr(Memory, what, bug)
    with pytest.raises(AssertionError, match=r"two large windows|two threads|AttributeError"):
        run_all(filter(_compete, range(100_000)), Ledger)


def test_a_process_whose_threads_all_wait_is_stuck() -> None:
    machine = Machine(random.Random(0))
    with pytest.raises(StuckError):
        machine.run(machine.wait)
