"""The transitions of both sides, as data. docs/STATES.md is generated from these tables.

An event that a state does not list is a fault of the program and raises; a request that it does not list is
refused with a sentence (``sentences``). What a row does is a list of verbs, which the cores turn into
actions.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ftd.replication import events as ev
from ftd.replication.states import ACTIVE_FINAL, STANDBY_FINAL, ActiveState, StandbyState

S = TypeVar("S", ActiveState, StandbyState)


class Do(enum.Enum):
    """One thing that a transition does."""

    ACCEPT = "accept the request"
    FINISH = "answer the request: done"
    FAIL = "answer the request: failed"
    SETTLE = "answer the request: a leave is done, all else failed"
    ASK = "claim the next generation"
    ASK_AGAIN = "repeat the claim later"
    PROBE = "see whether the arbiter answers"
    TAKE = "the generation is ours"
    GIVE_UP_CLAIM = "forget the claim"
    RELEASE = "release the generation"
    CLOSE = "close connections"
    START_SYNC = "start the first synchronisation"
    GATE = "gate output"
    HOLD = "hold guest and output"
    RESUME = "run alone, let held output go"
    RELEASE_OUTPUT = "let held output go"
    LEAVE = "send LEAVE"
    DRAIN = "stop the guest, drain"
    HANDOVER = "send HANDOVER"
    END = "end the guest here for ever"
    STOP_ACKS = "stop acknowledging"
    LEAVE_ACK = "send LEAVE_ACK"
    HANDOVER_DONE = "send HANDOVER_DONE"
    OUTWAIT = "wait until the primary is silent"
    ACTIVATE = "activate"
    ACTIVATE_PLANNED = "activate after HANDOVER"
    ACTIVATE_FORCED = "activate on the operator's word"
    DROP = "drop the image"


@dataclass(frozen=True)
class Row(Generic[S]):
    """Where a transition goes and what it does. ``next`` None: back to the state before protection (idle or
    simplex)."""

    next: S | None
    do: tuple[Do, ...] = ()


Table = dict[tuple[S, type[ev.Event]], Row[S]]

_A = ActiveState
_S = StandbyState


def _row(next_state: S | None, *do: Do) -> Row[S]:
    return Row(next_state, do)


def _unasked_probe_answers(states: type[S], waiting: S) -> Table[S]:
    """A probe that nobody waits for any more promises nothing: its answer is dropped."""
    answers: tuple[type[ev.Event], ...] = (ev.ProbeAnswered, ev.ProbeFailed)
    return {(state, answer): Row(state) for state in states if state is not waiting for answer in answers}


def _late_events(final: frozenset[S]) -> Table[S]:
    """What was on its way when a copy ended cannot matter any more."""
    late = (*ev.ArbiterAnswer.__subclasses__(), *ev.DataPlaneEvent.__subclasses__())
    return {(state, event): Row(state) for state in sorted(final, key=str) for event in late}


def _late_pair_events(alone: S) -> Table[S]:
    """What the data plane reported of a pair before it heard that the pair has ended."""
    late: tuple[type[ev.Event], ...] = (ev.PeerLost, ev.Leave, ev.Handover)
    return {(alone, event): Row(alone) for event in late}


_ALONE: Final[dict[type[ev.Event], Row[ActiveState]]] = {
    ev.EnterRequested: _row(_A.SYNCING, Do.ACCEPT, Do.START_SYNC),
    ev.StopRequested: _row(_A.STOPPED, Do.ACCEPT, Do.HOLD, Do.RELEASE, Do.FINISH, Do.END),
    ev.GuestStopped: _row(_A.STOPPED, Do.RELEASE, Do.END),
}
"""Idle and simplex differ in how the copy came to be alone, not in what it may do."""

# Epoch 1 may be sealed, on a native thread, at any moment of a synchronisation. So whoever wants out of one
# goes by LEAVE, like out of protection; only PeerLost, which comes after the last byte sent, tells that epoch
# 1 never left.
_WAY_OUT: Final[dict[type[ev.Event], Row[ActiveState]]] = {
    ev.LeaveRequested: _row(_A.LEAVING, Do.ACCEPT, Do.LEAVE),
    ev.StopRequested: _row(_A.STOPPING, Do.ACCEPT, Do.HOLD, Do.LEAVE),
    ev.GuestStopped: _row(_A.STOPPING, Do.FAIL, Do.LEAVE),
}

ACTIVE_TABLE: Final[Table[ActiveState]] = {
    **{(_A.IDLE, event): row for event, row in _ALONE.items()},
    **{(_A.SIMPLEX, event): row for event, row in _ALONE.items()},
    **_late_pair_events(_A.IDLE),
    **_late_pair_events(_A.SIMPLEX),
    **_late_pair_events(_A.UNCONFIRMED),
    (_A.UNCONFIRMED, ev.ClaimWon): _row(_A.SIMPLEX, Do.TAKE),
    (_A.UNCONFIRMED, ev.ClaimLost): _row(_A.FENCED, Do.GIVE_UP_CLAIM, Do.HOLD, Do.END),
    (_A.UNCONFIRMED, ev.ArbiterUnreachable): _row(_A.UNCONFIRMED, Do.ASK_AGAIN),
    (_A.UNCONFIRMED, ev.StopRequested): _row(
        _A.STOPPED, Do.GIVE_UP_CLAIM, Do.ACCEPT, Do.HOLD, Do.FINISH, Do.END
    ),
    (_A.UNCONFIRMED, ev.GuestStopped): _row(_A.STOPPED, Do.GIVE_UP_CLAIM, Do.END),
    **{(_A.SYNCING, event): row for event, row in _WAY_OUT.items()},
    (_A.SYNCING, ev.FirstSealed): _row(_A.SEALED, Do.GATE),
    (_A.SYNCING, ev.PeerLost): _row(None, Do.RESUME, Do.FAIL),
    **{(_A.SEALED, event): row for event, row in _WAY_OUT.items()},
    (_A.SEALED, ev.Protected): _row(_A.PROTECTED, Do.FINISH),
    (_A.SEALED, ev.PeerLost): _row(_A.FAILING_OVER, Do.HOLD, Do.ASK),
    **{(_A.PROTECTED, event): row for event, row in _WAY_OUT.items()},
    (_A.PROTECTED, ev.PeerLost): _row(_A.FAILING_OVER, Do.HOLD, Do.ASK),
    (_A.PROTECTED, ev.SwitchoverRequested): _row(_A.PROBING, Do.ACCEPT, Do.PROBE),
    (_A.PROBING, ev.ProbeAnswered): _row(_A.DRAINING, Do.DRAIN),
    (_A.PROBING, ev.ProbeFailed): _row(_A.PROTECTED, Do.FAIL),
    (_A.PROBING, ev.PeerLost): _row(_A.FAILING_OVER, Do.HOLD, Do.ASK),
    (_A.PROBING, ev.GuestStopped): _WAY_OUT[ev.GuestStopped],
    (_A.DRAINING, ev.Drained): _row(_A.SWITCHING_OVER, Do.HANDOVER),
    (_A.DRAINING, ev.PeerLost): _row(_A.FAILING_OVER, Do.HOLD, Do.ASK),
    (_A.DRAINING, ev.GuestStopped): _WAY_OUT[ev.GuestStopped],
    (_A.SWITCHING_OVER, ev.HandedOver): _row(_A.SWITCHED_OVER, Do.FINISH, Do.END),
    (_A.SWITCHING_OVER, ev.PeerLost): _row(_A.TAKING_BACK, Do.HOLD, Do.ASK),
    (_A.TAKING_BACK, ev.ClaimWon): _row(_A.SIMPLEX, Do.TAKE, Do.RESUME, Do.FAIL),
    (_A.TAKING_BACK, ev.ClaimLost): _row(_A.SWITCHED_OVER, Do.GIVE_UP_CLAIM, Do.FINISH, Do.END),
    (_A.TAKING_BACK, ev.ArbiterUnreachable): _row(_A.TAKING_BACK, Do.ASK_AGAIN, Do.FAIL),
    (_A.FAILING_OVER, ev.ClaimWon): _row(_A.SIMPLEX, Do.TAKE, Do.RESUME, Do.SETTLE),
    (_A.FAILING_OVER, ev.ClaimLost): _row(_A.FENCED, Do.GIVE_UP_CLAIM, Do.FAIL, Do.END),
    (_A.FAILING_OVER, ev.ArbiterUnreachable): _row(_A.FAILING_OVER, Do.ASK_AGAIN, Do.FAIL),
    # It ended while its vCPUs were being stopped. The claim goes on, now to keep the standby from resuming
    # it.
    (_A.FAILING_OVER, ev.GuestStopped): _row(_A.ENDING, Do.FAIL),
    (_A.LEAVING, ev.FirstSealed): _row(_A.LEAVING),
    (_A.LEAVING, ev.Protected): _row(_A.LEAVING),
    (_A.LEAVING, ev.LeaveAcked): _row(_A.IDLE, Do.RESUME, Do.FINISH),
    (_A.LEAVING, ev.PeerLost): _row(_A.FAILING_OVER, Do.HOLD, Do.ASK),
    (_A.LEAVING, ev.GuestStopped): _row(_A.STOPPING),
    (_A.STOPPING, ev.FirstSealed): _row(_A.STOPPING),
    (_A.STOPPING, ev.Protected): _row(_A.STOPPING),
    (_A.STOPPING, ev.Drained): _row(_A.STOPPING),
    (_A.STOPPING, ev.GuestStopped): _row(_A.STOPPING),
    (_A.STOPPING, ev.LeaveAcked): _row(_A.STOPPED, Do.RELEASE_OUTPUT, Do.RELEASE, Do.FINISH, Do.END),
    (_A.STOPPING, ev.PeerLost): _row(_A.ENDING, Do.ASK),
    (_A.ENDING, ev.GuestStopped): _row(_A.ENDING),
    (_A.ENDING, ev.ClaimWon): _row(_A.STOPPED, Do.TAKE, Do.RELEASE_OUTPUT, Do.RELEASE, Do.FINISH, Do.END),
    # The other copy resumes the newest complete epoch; a guest that had ended by itself ends there once more.
    (_A.ENDING, ev.ClaimLost): _row(_A.FENCED, Do.GIVE_UP_CLAIM, Do.FAIL, Do.END),
    (_A.ENDING, ev.ArbiterUnreachable): _row(_A.ENDING, Do.ASK_AGAIN, Do.FAIL),
    **_unasked_probe_answers(ActiveState, _A.PROBING),
    **_late_events(ACTIVE_FINAL),
}

# A last word (the disk failed, LEAVE_ACK, HANDOVER_DONE) is followed by OUTWAIT: the end of the heartbeats
# and a reset for what is left unread must not overtake it. The primary closes once it has read it.
STANDBY_TABLE: Final[Table[StandbyState]] = {
    (_S.STANDBY_SYNCING, ev.FirstComplete): _row(_S.STANDBY),
    (_S.STANDBY_SYNCING, ev.PeerLost): _row(_S.DISCARDED, Do.DROP),
    (_S.STANDBY_SYNCING, ev.Leave): _row(_S.DISCARDED, Do.LEAVE_ACK, Do.OUTWAIT, Do.DROP),
    # A disk that has a part of an epoch is no copy of anything.
    (_S.STANDBY_SYNCING, ev.DiskFailed): _row(_S.DISCARDED, Do.OUTWAIT, Do.DROP),
    (_S.STANDBY, ev.DiskFailed): _row(_S.DISCARDED, Do.OUTWAIT, Do.DROP),
    (_S.PROBING, ev.DiskFailed): _row(_S.DISCARDED, Do.FAIL, Do.OUTWAIT, Do.DROP),
    **{
        (state, ev.DiskFailed): _row(_S.DISCARDED, Do.GIVE_UP_CLAIM, Do.FAIL, Do.DROP)
        for state in (_S.FAILING_OVER, _S.TAKING_OVER, _S.FORCING)
    },
    (_S.STANDBY, ev.PeerLost): _row(_S.FAILING_OVER, Do.ASK),
    (_S.STANDBY, ev.Leave): _row(_S.DISCARDED, Do.LEAVE_ACK, Do.OUTWAIT, Do.DROP),
    (_S.STANDBY, ev.Handover): _row(_S.TAKING_OVER, Do.ASK),
    (_S.STANDBY, ev.FailoverRequested): _row(_S.PROBING, Do.ACCEPT, Do.PROBE),
    (_S.STANDBY, ev.FailoverForced): _row(_S.FORCING, Do.ACCEPT, Do.STOP_ACKS, Do.ASK),
    (_S.PROBING, ev.ProbeAnswered): _row(_S.FAILING_OVER, Do.STOP_ACKS, Do.ASK),
    (_S.PROBING, ev.ProbeFailed): _row(_S.STANDBY, Do.FAIL),
    (_S.PROBING, ev.PeerLost): _row(_S.FAILING_OVER, Do.ASK),
    (_S.PROBING, ev.Leave): _row(_S.DISCARDED, Do.FAIL, Do.LEAVE_ACK, Do.OUTWAIT, Do.DROP),
    (_S.PROBING, ev.Handover): _row(_S.TAKING_OVER, Do.ASK),
    (_S.PROBING, ev.FailoverForced): _row(_S.FORCING, Do.ACCEPT, Do.STOP_ACKS, Do.ASK),
    (_S.FAILING_OVER, ev.ClaimWon): _row(_S.SIMPLEX, Do.TAKE, Do.CLOSE, Do.OUTWAIT, Do.ACTIVATE, Do.FINISH),
    (_S.FAILING_OVER, ev.ClaimLost): _row(_S.DISCARDED, Do.GIVE_UP_CLAIM, Do.FAIL, Do.DROP),
    # The claim may be recorded: from here there is no way back to standby, only an answer.
    (_S.FAILING_OVER, ev.ArbiterUnreachable): _row(_S.FAILING_OVER, Do.ASK_AGAIN, Do.FAIL),
    (_S.FAILING_OVER, ev.PeerLost): _row(_S.FAILING_OVER),
    # LEAVE_ACK would promise to contest nothing, and the claim already does.
    (_S.FAILING_OVER, ev.Leave): _row(_S.FAILING_OVER),
    (_S.FAILING_OVER, ev.Handover): _row(_S.TAKING_OVER),
    (_S.FAILING_OVER, ev.FailoverRequested): _row(_S.FAILING_OVER, Do.ACCEPT),
    (_S.FAILING_OVER, ev.FailoverForced): _row(_S.FORCING, Do.ACCEPT),
    (_S.TAKING_OVER, ev.ClaimWon): _row(
        _S.SIMPLEX, Do.TAKE, Do.ACTIVATE_PLANNED, Do.FINISH, Do.HANDOVER_DONE, Do.OUTWAIT, Do.CLOSE
    ),
    (_S.TAKING_OVER, ev.ClaimLost): _row(_S.DISCARDED, Do.GIVE_UP_CLAIM, Do.FAIL, Do.DROP),
    (_S.TAKING_OVER, ev.ArbiterUnreachable): _row(_S.TAKING_OVER, Do.ASK_AGAIN, Do.FAIL),
    (_S.TAKING_OVER, ev.PeerLost): _row(_S.FAILING_OVER),
    (_S.TAKING_OVER, ev.FailoverRequested): _row(_S.TAKING_OVER, Do.ACCEPT),
    (_S.TAKING_OVER, ev.FailoverForced): _row(_S.FORCING, Do.ACCEPT),
    (_S.FORCING, ev.ClaimWon): _row(_S.SIMPLEX, Do.TAKE, Do.CLOSE, Do.OUTWAIT, Do.ACTIVATE, Do.FINISH),
    (_S.FORCING, ev.ClaimLost): _row(_S.DISCARDED, Do.GIVE_UP_CLAIM, Do.FAIL, Do.DROP),
    (_S.FORCING, ev.ArbiterUnreachable): _row(
        _S.SIMPLEX, Do.CLOSE, Do.OUTWAIT, Do.ACTIVATE_FORCED, Do.ASK_AGAIN, Do.FINISH
    ),
    (_S.FORCING, ev.PeerLost): _row(_S.FORCING),
    (_S.FORCING, ev.Leave): _row(_S.FORCING),
    (_S.FORCING, ev.Handover): _row(_S.FORCING),
    **_unasked_probe_answers(StandbyState, _S.PROBING),
    **_late_events(STANDBY_FINAL),
}
