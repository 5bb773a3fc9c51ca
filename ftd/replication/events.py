"""What the cores are told: requests of operators, answers of the arbiter, reports of the data plane.

Two promises of whoever reports, without which no order of decisions is safe:

- ``PeerLost`` comes when the gate is shut and nothing more can be sealed or sent to the peer. So a
  ``FirstSealed`` always comes before it, or epoch 1 never left. vCPUs may still be on their way to a stop.
- When ``StartSync`` is carried out, what is still queued of an earlier pair is dropped: its ``PeerLost``
  would say that the new pair's epoch 1 never left. (Without a pair, such late reports do nothing.)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Anything that a core is told."""


@dataclass(frozen=True)
class Request(Event):
    """What an operator asks for. Each gets exactly one FinishRequest with the same ``request``, at once or
    later."""

    request: int


@dataclass(frozen=True)
class EnterRequested(Request):
    """Protect this VM with ``peer``, whose worker is ready and whose connections are up."""

    peer: str


@dataclass(frozen=True)
class LeaveRequested(Request):
    """Go on here, unprotected."""


@dataclass(frozen=True)
class SwitchoverRequested(Request):
    """Move the guest to the standby."""


@dataclass(frozen=True)
class StopRequested(Request):
    """End the guest here; the standby must not resume it."""


@dataclass(frozen=True)
class FailoverRequested(Request):
    """Resume the guest on this standby, if the arbiter agrees."""


@dataclass(frozen=True)
class FailoverForced(Request):
    """Resume the guest on this standby, on the operator's word that the primary is dead. An arbiter that
    answers still decides."""


@dataclass(frozen=True)
class ArbiterAnswer(Event):
    """What became of an AskArbiter or a ProbeArbiter."""


@dataclass(frozen=True)
class ClaimWon(ArbiterAnswer):
    """The generation is this copy's."""

    generation: int


@dataclass(frozen=True)
class ClaimLost(ArbiterAnswer):
    """``holder`` has ``generation``, and it is not this claim's doing."""

    generation: int
    holder: str


@dataclass(frozen=True)
class ArbiterUnreachable(ArbiterAnswer):
    """No answer to the claim: it may or may not have been recorded."""

    reason: str


@dataclass(frozen=True)
class ProbeAnswered(ArbiterAnswer):
    """The arbiter can be read."""


@dataclass(frozen=True)
class ProbeFailed(ArbiterAnswer):
    """The arbiter cannot be read. Nothing was asked of it."""

    reason: str


@dataclass(frozen=True)
class DataPlaneEvent(Event):
    """What native threads report."""


@dataclass(frozen=True)
class FirstSealed(DataPlaneEvent):
    """Active: epoch 1 is sealed and may now be sent; the gate waits for acknowledgements."""


@dataclass(frozen=True)
class Protected(DataPlaneEvent):
    """Active: epoch 1 was acknowledged."""


@dataclass(frozen=True)
class PeerLost(DataPlaneEvent):
    """The peer is gone or silent, or was refused. Active: the guest is being stopped. Standby: all that the
    socket held has been received, and nothing is acknowledged any more."""

    reason: str


@dataclass(frozen=True)
class LeaveAcked(DataPlaneEvent):
    """Active: the standby has let go of the VM and contests nothing."""


@dataclass(frozen=True)
class Drained(DataPlaneEvent):
    """Active: the guest's last epoch was acknowledged and its output is out."""


@dataclass(frozen=True)
class HandedOver(DataPlaneEvent):
    """Active: the standby runs the guest in the next generation."""


@dataclass(frozen=True)
class GuestStopped(DataPlaneEvent):
    """Active: the guest shut itself down or failed; it will not run again."""

    reason: str


@dataclass(frozen=True)
class FirstComplete(DataPlaneEvent):
    """Standby: epoch 1 is complete and verified. Comes before PeerLost if both happen."""


@dataclass(frozen=True)
class DiskFailed(DataPlaneEvent):
    """Standby: what was received cannot be applied to its disk. It acknowledges no more and must never
    activate. Comes before PeerLost if both happen."""

    reason: str


@dataclass(frozen=True)
class Leave(DataPlaneEvent):
    """Standby: the primary asks it to give the VM up."""


@dataclass(frozen=True)
class Handover(DataPlaneEvent):
    """Standby: the primary has stopped for good and asks it to activate."""
