"""Everything that can happen to a few workers and small blobs is tried, and every run ends.

A case that fails prints the moves that lead there: `worker 1 early` is worker 1's next step, at
which its stream ends early.
"""

from __future__ import annotations

import dataclasses

import pytest

from dockersave.transfer.blobs import Lease
from dockersave.transfer.ledger import Ledger
from dockersave.transfer.memory import Memory
from tests.transfer.broken import BROKEN, FORGETFUL, KeepsWhatOthersTookOver
from tests.transfer.cases import LONG, QUICK, REMOTE, fetched
from tests.transfer.explore import FoundError, explore
from tests.transfer.keys import key_of
from tests.transfer.outcomes import BUSY, RESET
from tests.transfer.world import Case, World

# Attributes that decide what a ledger does next; `key_of` tells states apart by them.
_TOLD_APART = {
    *("blobs", "failure", "most", "capacity", "_granted", "horizon", "latency", "_served"),
    *("_whole_only", "_active", "_undone", "_wanting", "_begun", "unassigned", "spread"),
    *("_idle", "memory", "_leaving"),
}
_OF_NO_CONSEQUENCE = {"received", "_policy", "_piece_most", "_tell"}
_OF_BLOBS = {
    *("digest", "size", "base", "sequential", "restartable", "sources", "number", "done", "epoch"),
    *("strikes", "attempts", "round", "whole", "has_answered", "not_before", "leases", "missing"),
    *("present", "reused", "hashed", "is_hashing", "doubtful", "waits"),
}
_OF_LEASES = {
    *("blob", "source", "start", "stop", "whole", "round", "since", "position", "claimed"),
    *("gained", "first", "has_company", "is_overtaken", "is_ahead"),
    *("is_cut", "last", "marks"),
}
_MOST = 40_000
"""States of a quick case: there are no more than a third of these."""


@pytest.mark.parametrize("name", QUICK)
def test_from_every_state_the_run_ends(name: str) -> None:
    found = explore(QUICK[name], most=_MOST)
    assert any(state.is_done for state in found.states)


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_from_every_state_of_larger_cases_the_run_ends(name: str) -> None:
    found = explore(LONG[name])
    assert any(state.is_done for state in found.states)


@pytest.mark.parametrize("fault", [RESET, BUSY])
def test_what_brings_bytes_and_what_is_crowded_is_never_given_up(fault: str) -> None:
    case = Case(fetched(3), 2, frozenset({fault}), retries=0)
    ends = [state for state in explore(case).states if state.is_over]
    assert ends
    assert all(state.is_done for state in ends)


@pytest.mark.parametrize("make", [*BROKEN, KeepsWhatOthersTookOver])
def test_a_known_bug_is_found(make: type[Ledger]) -> None:
    with pytest.raises(FoundError) as found:
        explore(dataclasses.replace(QUICK["two workers, a large blob"], make=make))
    assert "worker 0" in str(found.value), "it says how"


@pytest.mark.parametrize("make", FORGETFUL)
def test_a_known_bug_of_large_windows_is_found(make: type[Ledger]) -> None:
    with pytest.raises(FoundError):
        explore(dataclasses.replace(QUICK["large windows"], make=make))


def test_a_blob_that_is_unpacked_while_its_source_proves_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was taken up again before its lease had ended, and then restarted."""
    monkeypatch.setattr(Memory, "may_resume", Memory.is_free_for)
    with pytest.raises(FoundError, match="longer"):
        explore(QUICK["large windows, found larger"])


def test_a_state_without_a_way_on_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "_hash", lambda self, worker: None)
    monkeypatch.setattr(World, "_step", lambda self, worker: False)
    with pytest.raises(FoundError, match=r"for ever|nothing can happen"):
        explore(QUICK["two workers"])


def test_a_run_that_fails_for_no_reason_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Ledger.ended

    def ended(self: Ledger, lease: object) -> None:
        honest(self, lease)  # type: ignore[arg-type]
        self.failure = self.failure or ValueError("for no reason")

    monkeypatch.setattr(Ledger, "ended", ended)
    with pytest.raises(FoundError, match="although nothing goes wrong"):
        explore(Case(fetched(1), 1))


def test_a_copy_behaves_like_the_world_it_was_made_of() -> None:
    world = World(QUICK["two workers"])
    for _ in range(6):
        move = next(iter(world.moves()))
        copy = world.copy()
        assert key_of(copy) == key_of(world)
        world.do(move)
        copy.do(move)
        assert key_of(copy) == key_of(world)
    assert copy.ledger.blobs[0] is not world.ledger.blobs[0]
    assert {id(each) for each in copy.ledger._active} == {
        id(each) for blob in copy.ledger.blobs for each in blob.leases
    }


def test_states_are_told_apart_by_all_that_matters() -> None:
    ledger = World(Case(fetched(1), 1, REMOTE)).ledger
    assert vars(ledger).keys() == _TOLD_APART | _OF_NO_CONSEQUENCE, "tell `key_of` of it, too"
    assert vars(ledger.blobs[0]).keys() == _OF_BLOBS, "tell `_blob_key` of it, too"
    assert set(Lease.__slots__) == _OF_LEASES, "tell `_lease_key` of it, too"
