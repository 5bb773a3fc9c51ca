"""What the cores answer: the worker carries actions out one after the other, in order, each finished before
the next."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """Anything that a core wants done."""


class ErrorKind(enum.StrEnum):
    """Why a request failed, for programs; the sentence is for people."""

    WRONG_STATE = "wrong-state"
    WRONG_ROLE = "wrong-role"
    PEER_LOST = "peer-lost"
    FENCED = "fenced"
    ARBITER_UNREACHABLE = "arbiter-unreachable"
    GUEST_STOPPED = "guest-stopped"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class RequestError:
    """A refusal or failure, with a sentence that an operator can act on."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True)
class FinishRequest(Action):
    """Answer an operator; ``error`` is None if it was done."""

    request: int
    error: RequestError | None = None


@dataclass(frozen=True)
class AskArbiter(Action):
    """In ``after_ms``, claim ``expected_generation`` + 1; answer with ClaimWon, ClaimLost or
    ArbiterUnreachable.

    Repeated with the same ``claim_id`` until there is an answer. At most one is outstanding.
    """

    expected_generation: int
    claim_id: bytes
    after_ms: int = 0


@dataclass(frozen=True)
class ProbeArbiter(Action):
    """Read the arbiter once; answer with ProbeAnswered or ProbeFailed."""


@dataclass(frozen=True)
class ReleaseGeneration(Action):
    """Tell the arbiter that the guest has ended, so that any host may start it. Best effort."""

    generation: int


@dataclass(frozen=True)
class CloseConnections(Action):
    """Close the pair; the peer sees this copy as lost."""


@dataclass(frozen=True)
class OutwaitPrimary(Action):
    """Standby, after CloseConnections or a last word (LEAVE_ACK, HANDOVER_DONE, a failed disk): done when the
    primary can let no output go any more: it closed its own end, or has had no echo for the timeout."""


@dataclass(frozen=True)
class StartSync(Action):
    """Active: begin the first synchronisation with ``peer`` in ``generation``; drop events still queued of an
    earlier pair."""

    peer: str
    generation: int


@dataclass(frozen=True)
class GateOutput(Action):
    """Active: output waits for acknowledgements. The data plane did so when it sealed epoch 1: repeating is
    harmless."""


@dataclass(frozen=True)
class HoldGuest(Action):
    """Active: stop the vCPUs and let no output go. Repeating is harmless."""


@dataclass(frozen=True)
class ResumeSimplex(Action):
    """Active: end protection, let the held output go, run the guest alone in ``generation``."""

    generation: int


@dataclass(frozen=True)
class ReleaseOutput(Action):
    """Active: let the held output go; the guest stays stopped."""


@dataclass(frozen=True)
class SendLeave(Action):
    """Active: hold output, send LEAVE."""


@dataclass(frozen=True)
class DrainGuest(Action):
    """Active: stop the guest, seal its last epoch; answer with Drained once it is acknowledged and its output
    is out."""


@dataclass(frozen=True)
class SendHandover(Action):
    """Active: send HANDOVER."""


@dataclass(frozen=True)
class StopForever(Action):
    """Active: drop the held output, end the guest and the worker. ``reason`` is a sentence for log and
    status."""

    reason: str


@dataclass(frozen=True)
class StopAcknowledging(Action):
    """Standby: acknowledge no further epoch and call itself STANDBY in no further heartbeat; done when that
    is certain."""


@dataclass(frozen=True)
class SendLeaveAck(Action):
    """Standby: send LEAVE_ACK."""


@dataclass(frozen=True)
class SendHandoverDone(Action):
    """Standby: send HANDOVER_DONE."""


@dataclass(frozen=True)
class Activate(Action):
    """Standby: resume the guest from the newest complete epoch in ``generation``; go on with an ActiveCore.

    ``planned``: after a HANDOVER. ``forced``: on an operator's word, without the arbiter's.
    """

    generation: int
    planned: bool = False
    forced: bool = False


@dataclass(frozen=True)
class DropImage(Action):
    """Standby: close the pair, drop the memory, end the worker. ``reason`` is a sentence for log and
    status."""

    reason: str
