"""Every state with every event: in the table, or raised, or refused with a sentence; and no way through the
table that breaks what the cores check.

The walk goes breadth first over everything that a core can be (state, claim, request in hand, what it
remembers), feeding every event in each place.
"""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from ftd.replication import actions as act
from ftd.replication import events as ev
from ftd.replication.active import ActiveCore
from ftd.replication.core import InvariantBroken, LocalProtocolError
from ftd.replication.standby import StandbyCore
from ftd.replication.states import ACTIVE_FINAL, STANDBY_FINAL, ActiveState, StandbyState
from ftd.replication.table import ACTIVE_TABLE, STANDBY_TABLE

Core = ActiveCore | StandbyCore


def claim_id() -> bytes:
    return bytes(16)


def standby() -> StandbyCore:
    return StandbyCore(vm="ledger", generation=3, peer="alpha", new_claim_id=claim_id)


def active() -> ActiveCore:
    return ActiveCore(vm="ledger", generation=3, new_claim_id=claim_id)


def forced() -> ActiveCore:
    core = standby()
    for event in (ev.FirstComplete(), ev.FailoverForced(0), ev.ArbiterUnreachable("timed out")):
        core.handle(event)
    return ActiveCore.after_failover(core, new_claim_id=claim_id)


def every_event(core: Core) -> list[ev.Event]:
    won = core.claim.expected_generation + 1 if core.claim else core.generation + 1
    return [
        ev.EnterRequested(7, "beta"),
        ev.LeaveRequested(7),
        ev.SwitchoverRequested(7),
        ev.StopRequested(7),
        ev.FailoverRequested(7),
        ev.FailoverForced(7),
        ev.ClaimWon(won),
        ev.ClaimLost(won, "gamma"),
        ev.ArbiterUnreachable("timed out"),
        ev.ProbeAnswered(),
        ev.ProbeFailed("timed out"),
        ev.FirstSealed(),
        ev.Protected(),
        ev.PeerLost("silent"),
        ev.LeaveAcked(),
        ev.Drained(),
        ev.HandedOver(),
        ev.GuestStopped("shut down"),
        ev.FirstComplete(),
        ev.DiskFailed("no space"),
        ev.Leave(),
        ev.Handover(),
    ]


def subclasses(of: type[Any]) -> Iterator[type[Any]]:
    for subclass in of.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_every_event_is_every_event() -> None:
    leaves = {kind for kind in subclasses(ev.Event) if not kind.__subclasses__()}
    assert {type(event) for event in every_event(active())} == leaves


def essence(core: Core) -> tuple[object, ...]:
    """What distinguishes a core for its future: everything but numbers."""
    forgets = {"generation", "vm", "peer", "_jitter", "_new_claim_id", "claim", "pending"}
    facts = tuple(sorted((k, v) for k, v in vars(core).items() if k not in forgets and isinstance(v, bool)))
    alone = getattr(core, "_alone", None)
    return core.state, alone, core.claim is not None, type(core.pending), facts


def walk(*starts: Core) -> Iterator[tuple[Core, ev.Event]]:
    """Every different core that can come to be, with every event."""
    known = {essence(core) for core in starts}
    waiting = deque(starts)
    while waiting:
        core = waiting.popleft()
        for event in every_event(core):
            yield core, event
            after = copy.deepcopy(core)
            try:
                after.handle(event)
            except LocalProtocolError:
                continue
            if essence(after) not in known:
                known.add(essence(after))
                waiting.append(after)


SIDES = pytest.mark.parametrize(
    ("starts", "table", "states"),
    [
        ([active(), forced()], ACTIVE_TABLE, set(ActiveState)),
        ([standby()], STANDBY_TABLE, set(StandbyState)),
    ],
    ids=["active", "standby"],
)


@SIDES
def test_every_pair_is_listed_or_raises_or_is_refused(
    starts: list[Core], table: Any, states: set[Any]
) -> None:
    seen = set()
    for before, event in walk(*starts):
        seen.add((before.state, type(event)))
        core = copy.deepcopy(before)
        if (core.state, type(event)) in table:
            core.handle(event)
        elif isinstance(event, ev.Request):
            (refused,) = core.handle(event)
            assert isinstance(refused, act.FinishRequest)
            assert refused.request == 7
            assert refused.error is not None
            assert refused.error.message.startswith("VM 'ledger' ")
            assert essence(core) == essence(before), "a refused request changes nothing"
        else:
            with pytest.raises(LocalProtocolError, match=f"{type(event).__name__} .* {core.state.value}$"):
                core.handle(event)
            assert essence(core) == essence(before)
    kinds = {type(event) for event in every_event(starts[0])}
    assert seen == set(itertools.product(states, kinds)), "a state that nothing leads to"


@SIDES
def test_claims_and_requests_are_never_lost_and_ends_are_ends(
    starts: list[Core], table: Any, states: set[Any]
) -> None:
    for before, event in walk(*starts):
        core = copy.deepcopy(before)
        try:
            actions = core.handle(event)
        except LocalProtocolError:
            continue
        finished = [action.request for action in actions if isinstance(action, act.FinishRequest)]
        due = [r.request for r in (before.pending, event) if isinstance(r, ev.Request)]
        kept = [core.pending.request] if core.pending else []
        assert sorted(finished + kept) == sorted(due)
        asks = [action for action in actions if isinstance(action, act.AskArbiter)]
        assert len(asks) <= 1
        if before.claim and core.claim:
            assert core.claim.claim_id == before.claim.claim_id
        if asks:
            assert core.claim is not None
            assert asks[0].claim_id == core.claim.claim_id
        if before.state in ACTIVE_FINAL | STANDBY_FINAL:
            assert core.state is before.state
            assert all(isinstance(action, act.FinishRequest) for action in actions)


def test_arbiter_that_answers_for_another_generation_is_not_believed() -> None:
    core = active()
    for event in (ev.EnterRequested(1, "beta"), ev.FirstSealed(), ev.PeerLost("closed")):
        core.handle(event)
    with pytest.raises(InvariantBroken, match="does not answer"):
        core.handle(ev.ClaimWon(5))
