"""What operators are told when a request is refused or fails: who, what, why, and what they can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftd.replication import events as ev
from ftd.replication.actions import ErrorKind, RequestError
from ftd.replication.states import STANDBY_FINAL, ActiveState, StandbyState


@dataclass(frozen=True)
class Subject:
    """What sentences speak about."""

    vm: str
    generation: int
    peer: str

    @property
    def name(self) -> str:
        """The VM as sentences name it."""
        return f"VM '{self.vm}'"

    @property
    def place(self) -> str:
        """Generation and peer, as far as there is one."""
        return f"(generation {self.generation}{f', peer {self.peer}' if self.peer else ''})"


_ACTIVE_DOES: Final[dict[ActiveState, str]] = {
    ActiveState.IDLE: "is not protected {place}: protect it with 'ftctl enter' first",
    ActiveState.SIMPLEX: "runs alone {place}: protect it with 'ftctl enter' first",
    ActiveState.UNCONFIRMED: (
        "was activated by force, and the arbiter has not confirmed it yet {place}: wait until it has"
    ),
    ActiveState.SYNCING: "is still being synchronised {place}: wait until it is protected, or leave",
    ActiveState.SEALED: "is still being synchronised {place}: wait until it is protected, or leave",
    ActiveState.PROTECTED: "is already protected {place}",
    ActiveState.PROBING: "is being switched over {place}: wait until that is done",
    ActiveState.DRAINING: "is being switched over {place}: wait until that is done",
    ActiveState.SWITCHING_OVER: "is being switched over {place}: wait until that is done",
    ActiveState.TAKING_BACK: (
        "lost its peer while switching over and waits for the arbiter {place}: "
        "see that the arbiter can be reached"
    ),
    ActiveState.FAILING_OVER: (
        "lost its peer and waits for the arbiter {place}: see that the arbiter can be reached"
    ),
    ActiveState.LEAVING: "is leaving protection {place}: wait until that is done",
    ActiveState.STOPPING: "is being stopped {place}",
    ActiveState.ENDING: (
        "is being stopped and waits for the arbiter {place}: see that the arbiter can be reached"
    ),
    ActiveState.SWITCHED_OVER: "was switched over to the other host: ask there",
    ActiveState.FENCED: "was stopped here because the other copy won {place}: ask on the other host",
    ActiveState.STOPPED: "is stopped {place}: start it with 'ftctl vm start'",
}

_TASK: Final[dict[type[ev.Request], str]] = {
    ev.EnterRequested: "protecting",
    ev.LeaveRequested: "leaving protection of",
    ev.SwitchoverRequested: "switching over",
    ev.StopRequested: "stopping",
    ev.FailoverRequested: "failing over",
    ev.FailoverForced: "failing over",
}


def refuse_on_active(subject: Subject, state: ActiveState, request: ev.Request) -> RequestError:
    """Why the active side does not take this request now."""
    if isinstance(request, ev.FailoverRequested | ev.FailoverForced):
        return RequestError(
            ErrorKind.WRONG_ROLE,
            f"{subject.name} is on its active side here {subject.place}: failover is asked for on the "
            "standby; to move a VM whose hosts are well, use 'ftctl switchover'",
        )
    does = _ACTIVE_DOES[state].format(place=subject.place)
    return RequestError(ErrorKind.WRONG_STATE, f"{subject.name} {does}")


def refuse_on_standby(subject: Subject, state: StandbyState, request: ev.Request) -> RequestError:
    """Why the standby side does not take this request now."""
    if state in STANDBY_FINAL:
        became = "is active here now" if state is StandbyState.SIMPLEX else "is no longer kept here"
        return RequestError(ErrorKind.WRONG_STATE, f"{subject.name} {became} {subject.place}")
    if not isinstance(request, ev.FailoverRequested | ev.FailoverForced):
        return RequestError(
            ErrorKind.WRONG_ROLE,
            f"{subject.name} is a standby here: ask on its active host, {subject.peer} "
            f"(generation {subject.generation})",
        )
    if state is StandbyState.STANDBY_SYNCING:
        return RequestError(
            ErrorKind.WRONG_STATE,
            f"{subject.name} has no complete epoch here yet {subject.place}: there is nothing to activate",
        )
    return RequestError(
        ErrorKind.WRONG_STATE, f"{subject.name} is already failing over {subject.place}: wait"
    )


def failure(subject: Subject, request: ev.Request, cause: ev.Event, outlook: str) -> RequestError:
    """Why an accepted request failed, and how the VM fares (``outlook``)."""
    kind, why = _cause(cause)
    return RequestError(kind, f"{_TASK[type(request)]} {subject.name} failed: {why}; {outlook}")


def _cause(cause: ev.Event) -> tuple[ErrorKind, str]:
    match cause:
        case ev.PeerLost(reason):
            return ErrorKind.PEER_LOST, f"the peer was lost ({reason})"
        case ev.ClaimWon():
            return ErrorKind.PEER_LOST, "the peer was lost"
        case ev.ClaimLost(generation, holder):
            return ErrorKind.FENCED, f"host {holder} won generation {generation}"
        case ev.ArbiterUnreachable(reason) | ev.ProbeFailed(reason):
            return ErrorKind.ARBITER_UNREACHABLE, f"the arbiter cannot be reached ({reason})"
        case ev.DiskFailed(reason):
            return ErrorKind.WRONG_STATE, f"the disk here failed ({reason})"
        case ev.GuestStopped(reason):
            return ErrorKind.GUEST_STOPPED, f"the guest stopped ({reason})"
        case ev.Leave():
            return ErrorKind.SUPERSEDED, "the primary left protection"
        case ev.Request():
            return ErrorKind.SUPERSEDED, "another request took its place"
    raise AssertionError(f"no sentence for {cause!r}")
