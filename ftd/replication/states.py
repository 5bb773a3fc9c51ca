"""States of one copy of a VM, and what each of them permits.

The copy that has the guest is the active side, the copy that waits is the standby. docs/ARCHITECTURE.md names
the states that an operator sees; the ones marked "part of" are finer, so that each state permits exactly one
thing.
"""

from __future__ import annotations

import enum
from typing import Final


class ActiveState(enum.Enum):
    """The copy that has the guest."""

    IDLE = "idle"
    SYNCING = "syncing"
    SEALED = "sealed"
    """Part of syncing: epoch 1 is sealed, not yet acknowledged. From here on the standby may come to own the
    guest."""
    PROTECTED = "protected"
    PROBING = "probing"
    """Part of protected: a switchover was asked for, and whether the arbiter answers is being found out
    first."""
    FAILING_OVER = "failing_over"
    SIMPLEX = "simplex"
    UNCONFIRMED = "unconfirmed"
    """Part of simplex: runs on an operator's word; the arbiter has not recorded the generation yet."""
    LEAVING = "leaving"
    DRAINING = "draining"
    """Part of switching_over: the guest is stopped, its last epoch is on its way."""
    SWITCHING_OVER = "switching_over"
    TAKING_BACK = "taking_back"
    """Part of switching_over: the peer was lost after HANDOVER; the generation is being asked for."""
    STOPPING = "stopping"
    """The guest has ended for good; LEAVE is on its way, so that the standby does not resume it."""
    ENDING = "ending"
    """Part of stopping: the peer was lost before it let go; the generation is being asked for, to keep it
    from resuming."""
    SWITCHED_OVER = "switched_over"
    FENCED = "fenced"
    STOPPED = "stopped"


class StandbyState(enum.Enum):
    """The copy that waits."""

    STANDBY_SYNCING = "standby_syncing"
    STANDBY = "standby"
    PROBING = "probing"
    """Part of standby: a failover was asked for, and whether the arbiter answers is being found out first."""
    FAILING_OVER = "failing_over"
    TAKING_OVER = "taking_over"
    """Part of failing_over: HANDOVER was received, the primary is known to have stopped."""
    FORCING = "forcing"
    """Part of failing_over: an operator has sworn that the primary is dead; no answer counts as a yes."""
    SIMPLEX = "simplex"
    DISCARDED = "discarded"


class Output(enum.Enum):
    """What may become of the guest's output."""

    DIRECT = "direct"
    GATED = "gated by acknowledgement"
    HELD = "held"
    NONE = "none"


_A = ActiveState
_S = StandbyState

ACTIVE_OUTPUT: Final[dict[ActiveState, Output]] = {
    _A.IDLE: Output.DIRECT,
    _A.SYNCING: Output.DIRECT,
    _A.SEALED: Output.GATED,
    _A.PROTECTED: Output.GATED,
    _A.PROBING: Output.GATED,
    _A.FAILING_OVER: Output.HELD,
    _A.SIMPLEX: Output.DIRECT,
    _A.UNCONFIRMED: Output.DIRECT,
    _A.LEAVING: Output.HELD,
    _A.DRAINING: Output.GATED,
    _A.SWITCHING_OVER: Output.NONE,
    _A.TAKING_BACK: Output.NONE,
    _A.STOPPING: Output.HELD,
    _A.ENDING: Output.HELD,
    _A.SWITCHED_OVER: Output.NONE,
    _A.FENCED: Output.NONE,
    _A.STOPPED: Output.NONE,
}
"""The data plane goes ahead of this table only towards caution: it shuts the gate by itself before it reports
FirstSealed or PeerLost, and opens it further only when an action says so."""

GUEST_RUNS: Final = frozenset(
    {
        _A.IDLE,
        _A.SYNCING,
        _A.SEALED,
        _A.PROTECTED,
        _A.PROBING,
        _A.SIMPLEX,
        _A.UNCONFIRMED,
        _A.LEAVING,
    }
)
ACTIVE_ALONE: Final = frozenset({_A.IDLE, _A.SIMPLEX})
ACTIVE_ASKING: Final = frozenset({_A.FAILING_OVER, _A.TAKING_BACK, _A.ENDING, _A.UNCONFIRMED})
ACTIVE_FINAL: Final = frozenset({_A.SWITCHED_OVER, _A.FENCED, _A.STOPPED})
STANDBY_ASKING: Final = frozenset({_S.FAILING_OVER, _S.TAKING_OVER, _S.FORCING})
STANDBY_FINAL: Final = frozenset({_S.SIMPLEX, _S.DISCARDED})
"""SIMPLEX is final for the standby's core only: an ActiveCore goes on from there."""
