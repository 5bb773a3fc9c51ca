"""The two cores against each other, over a network that loses and an arbiter that falls silent.

Every run is a list of choices. Planted faults in the tables prove that the checkers see.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftd.replication import events as ev
from ftd.replication.active import ActiveCore
from ftd.replication.core import InvariantBroken, LocalProtocolError
from ftd.replication.standby import StandbyCore
from ftd.replication.states import ActiveState, StandbyState
from ftd.replication.table import ACTIVE_TABLE, STANDBY_TABLE, Do, Row
from tests.unit.replication.replication_copies import PromiseBroken
from tests.unit.replication.replication_world import World

A = ActiveState
S = StandbyState
MOVES_PER_RUN = 150
SEEDS = 300


def run(choose: Callable[[int], int], moves: int) -> World:
    """One run; ``choose(n)`` gives a number below n."""
    world = World(choose)
    for _ in range(moves):
        possible = world.moves()
        if not possible:
            break
        _, move = possible[choose(len(possible))]
        move()
    world.heal()
    world.check_outcome()
    return world


def run_seed(seed: int) -> World:
    return run(random.Random(seed).randrange, MOVES_PER_RUN)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_promises_hold_whatever_happens(data: st.DataObject) -> None:
    run(lambda below: data.draw(st.integers(0, below - 1)), data.draw(st.integers(0, 60)))


def test_promises_hold_in_long_runs_which_reach_every_state_but_the_forced_ones() -> None:
    reached: set[object] = set()

    def record(core: type[ActiveCore] | type[StandbyCore], patch: pytest.MonkeyPatch) -> None:
        handle = core.handle

        def handle_and_record(self: Any, event: ev.Event) -> Any:
            actions = handle(self, event)
            reached.add(self.state)
            return actions

        patch.setattr(core, "handle", handle_and_record)

    with pytest.MonkeyPatch.context() as patch:
        record(ActiveCore, patch)
        record(StandbyCore, patch)
        for seed in range(2 * SEEDS):
            run_seed(seed)
    assert {*A, *S} - reached == {A.UNCONFIRMED, S.FORCING}


@dataclass(frozen=True)
class Mutant:
    """What a wrong table would say; ``seen_by_core``: whether the core's own checks refuse to act on it."""

    name: str
    key: tuple[Any, type[ev.Event]]
    row: Row[Any]
    seen_by_core: bool = True


MUTANTS = [
    Mutant(
        "active goes on though it lost",
        (A.FAILING_OVER, ev.ClaimLost),
        Row(A.SIMPLEX, (Do.GIVE_UP_CLAIM, Do.RESUME, Do.FAIL)),
    ),
    Mutant("active does not ask when protected", (A.PROTECTED, ev.PeerLost), Row(A.SIMPLEX, (Do.RESUME,))),
    Mutant("active does not ask when sealed", (A.SEALED, ev.PeerLost), Row(A.IDLE, (Do.RESUME, Do.FAIL))),
    Mutant("active does not ask when leaving", (A.LEAVING, ev.PeerLost), Row(A.IDLE, (Do.RESUME, Do.FINISH))),
    Mutant(
        "active does not ask after handover",
        (A.SWITCHING_OVER, ev.PeerLost),
        Row(A.SIMPLEX, (Do.RESUME, Do.FAIL)),
    ),
    Mutant(
        "active takes silence for a yes",
        (A.FAILING_OVER, ev.ArbiterUnreachable),
        Row(A.SIMPLEX, (Do.GIVE_UP_CLAIM, Do.RESUME, Do.SETTLE)),
    ),
    Mutant(
        "active leaves without asking its peer",
        (A.PROTECTED, ev.LeaveRequested),
        Row(A.IDLE, (Do.ACCEPT, Do.RESUME, Do.FINISH)),
    ),
    Mutant(
        "active leaves a synchronisation at once",
        (A.SYNCING, ev.LeaveRequested),
        Row(A.IDLE, (Do.ACCEPT, Do.RESUME, Do.FINISH)),
    ),
    Mutant(
        "active does not go on though it won",
        (A.FAILING_OVER, ev.ClaimWon),
        Row(A.SIMPLEX, (Do.TAKE, Do.SETTLE)),
        seen_by_core=False,
    ),
    Mutant("active forgets a request", (A.SEALED, ev.Protected), Row(A.PROTECTED), seen_by_core=False),
    Mutant(
        "standby activates without asking",
        (S.STANDBY, ev.PeerLost),
        Row(S.SIMPLEX, (Do.CLOSE, Do.ACTIVATE)),
    ),
    Mutant(
        "standby claims without an epoch", (S.STANDBY_SYNCING, ev.PeerLost), Row(S.FAILING_OVER, (Do.ASK,))
    ),
    Mutant(
        "standby activates though it lost",
        (S.FAILING_OVER, ev.ClaimLost),
        Row(S.SIMPLEX, (Do.GIVE_UP_CLAIM, Do.CLOSE, Do.ACTIVATE, Do.FAIL)),
    ),
    Mutant(
        "standby takes silence for a yes",
        (S.FAILING_OVER, ev.ArbiterUnreachable),
        Row(S.SIMPLEX, (Do.GIVE_UP_CLAIM, Do.CLOSE, Do.ACTIVATE, Do.FAIL)),
    ),
    Mutant(
        "standby acknowledges LEAVE after it claimed",
        (S.FAILING_OVER, ev.Leave),
        Row(S.DISCARDED, (Do.GIVE_UP_CLAIM, Do.FAIL, Do.LEAVE_ACK, Do.DROP)),
    ),
    Mutant(
        "standby acknowledges LEAVE and stays",
        (S.STANDBY, ev.Leave),
        Row(S.STANDBY, (Do.LEAVE_ACK,)),
        seen_by_core=False,
    ),
    Mutant(
        "standby drops the image when its peer dies",
        (S.STANDBY, ev.PeerLost),
        Row(S.DISCARDED, (Do.DROP,)),
        seen_by_core=False,
    ),
]


def plant(patch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    table: Any = ACTIVE_TABLE if isinstance(mutant.key[0], A) else STANDBY_TABLE
    assert table[mutant.key] != mutant.row
    patch.setitem(table, mutant.key, mutant.row)


def first_failing_seed(*failures: type[Exception]) -> int | None:
    for seed in range(SEEDS):
        try:
            run_seed(seed)
        except failures:
            return seed
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_checkers_see_a_planted_fault(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    """The world's checkers alone, with the cores' own checks off: they must not lean on each other."""
    monkeypatch.setattr(ActiveCore, "_check", lambda *_: None)
    monkeypatch.setattr(StandbyCore, "_check", lambda *_: None)
    plant(monkeypatch, mutant)
    assert first_failing_seed(PromiseBroken, LocalProtocolError) is not None


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.seen_by_core], ids=lambda mutant: mutant.name)
def test_core_refuses_to_act_on_a_planted_fault(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    plant(monkeypatch, mutant)
    assert first_failing_seed(InvariantBroken, LocalProtocolError) is not None
