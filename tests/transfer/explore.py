"""All that can happen: every state of a small world, from each of which the run ends."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from tests.transfer.keys import key_of
from tests.transfer.outcomes import GOOD, Move, small_limits
from tests.transfer.world import Case, World


@dataclass(slots=True)
class State:
    """One state: how it was reached, and what follows."""

    parent: int
    move: Move | None
    follows: list[tuple[int, bool]] = field(default_factory=list)
    """The states that can come next, and whether nothing goes wrong on the way."""
    is_over: bool = False
    is_done: bool = False
    may_fail: bool = False


class FoundError(AssertionError):
    """Something that must not happen, and the moves that lead there."""


@dataclass(slots=True)
class Explored:
    """All states of a case."""

    states: list[State]
    moves: int = 0


def explore(case: Case, most: int = 10_000_000) -> Explored:
    """Try everything.

    Raises:
        FoundError: an invariant is broken, a state has no way on, moves lead back to where they
            began, or a run fails although nothing goes wrong any more.
        OverflowError: there are more than `most` states.
    """
    with small_limits():
        found = _reach(case, most)
    _must_end(found)
    _must_not_fail(found)
    return found


def _reach(case: Case, most: int) -> Explored:
    world = World(case)
    world.check()
    numbers: dict[Hashable, int] = {key_of(world): 0}
    states = [_state(world, -1, None)]
    found = Explored(states)
    waiting = [(0, world)]
    while waiting:
        number, first = waiting.pop()
        state = states[number]
        moves = [] if state.is_over else list(first.moves())
        world, is_fresh = first, False
        for move in moves:
            if not is_fresh:
                world = first if move is moves[-1] else first.copy()
            is_fresh = False
            try:
                did = world.do(move)
            except AssertionError as error:
                raise FoundError(f"{error}\n{world}\n{trace(states, number, move)}") from error
            if not did:
                # A stream of all of the blob may have been told to go on elsewhere.
                is_fresh = not world.workers[move.worker].is_whole and world is not first
                continue
            found.moves += 1
            key = key_of(world)
            if key not in numbers:
                numbers[key] = len(states)
                if len(states) >= most:
                    raise OverflowError(f"more than {most} states")
                waiting.append((len(states), world))
                states.append(_state(world, number, move))
            state.follows.append((numbers[key], move.outcome in GOOD))
        if not state.follows and not state.is_over:
            raise FoundError(f"nothing can happen any more\n{world}\n{trace(states, number)}")
    return found


def _state(world: World, parent: int, move: Move | None) -> State:
    done = world.is_over and not world.ledger.failure
    return State(parent, move, is_over=world.is_over, is_done=done, may_fail=world.may_fail)


def _must_end(found: Explored) -> None:
    """No moves lead back: with a way on from each state, every run ends."""
    states = found.states
    entered = [0] * len(states)
    for state in states:
        for number, _ in state.follows:
            entered[number] += 1
    ready = [number for number, count in enumerate(entered) if not count]
    passed = 0
    while ready:
        passed += 1
        for number, _ in states[ready.pop()].follows:
            entered[number] -= 1
            if not entered[number]:
                ready.append(number)
    if passed < len(states):
        circle = _circle(states, [bool(count) for count in entered])
        raise FoundError(f"it goes on for ever\n{circle}")


def _circle(states: list[State], remains: list[bool]) -> str:
    number = remains.index(True)
    seen: dict[int, int] = {}
    path: list[int] = []
    # Whatever is left over and cannot be left: walk until a state comes again.
    while number not in seen:
        seen[number] = len(path)
        path.append(number)
        onward = [next_ for next_, _ in states[number].follows if remains[next_]]
        if not onward:
            remains[number] = False
            return _circle(states, remains)
        number = onward[0]
    steps = [f"{states[each].move}" for each in path[seen[number] :]]
    return f"{trace(states, path[seen[number]])}\n  and then again and again:\n  " + "\n  ".join(
        steps
    )


def _must_not_fail(found: Explored) -> None:
    """Where nothing goes wrong any more, and no wrong bytes are there, all is done in the end."""
    states = found.states
    unsure: list[int] = [-1] * len(states)
    for number in reversed(_in_order(states)):
        state = states[number]
        if state.is_over:
            unsure[number] = -1 if state.is_done else number
            continue
        unsure[number] = max(unsure[following] for following, good in state.follows if good)
        if unsure[number] >= 0 and not state.may_fail:
            raise FoundError(
                f"it fails, although nothing goes wrong after:\n{trace(states, number)}\n"
                f"  by way of:\n{trace(states, unsure[number])}"
            )


def _in_order(states: list[State]) -> list[int]:
    """Each state before those that follow."""
    order: list[int] = []
    seen = [False] * len(states)
    for first in range(len(states)):
        if seen[first]:
            continue
        seen[first] = True
        stack = [(first, iter(states[first].follows))]
        while stack:
            number, follows = stack[-1]
            for following, _ in follows:
                if not seen[following]:
                    seen[following] = True
                    stack.append((following, iter(states[following].follows)))
                    break
            else:
                order.append(number)
                stack.pop()
    return order[::-1]


def trace(states: list[State], number: int, last: Move | None = None) -> str:
    """The moves from the beginning to a state."""
    moves = [last] if last else []
    while number >= 0:
        move, number = states[number].move, states[number].parent
        if move:
            moves.append(move)
    return "\n".join(
        f"  {'time passes' if move.worker < 0 else f'worker {move.worker} {move.outcome}'}"
        for move in reversed(moves)
    )
