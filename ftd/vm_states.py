"""What an operator may ask of a VM in each state (docs/ARCHITECTURE.md), and what to say otherwise."""

from typing import Final

from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import WorkerStatus

UNPROTECTED_STATES: Final = frozenset({"idle", "simplex"})
ENTERED_STATES: Final = frozenset({"syncing", "protected"})
# This host has no guest of the VM any more; what remains of the worker may be cleared away.
ENDED_STATES: Final = frozenset({"discarded", "switched_over", "fenced", "stopped"})


def runs_alone(status: WorkerStatus) -> bool:
    """Whether the guest runs here, unprotected."""
    return status.role == "active" and status.state in UNPROTECTED_STATES


def check_enter(status: WorkerStatus) -> None:
    """Raises ControlError unless the VM runs here, unprotected."""
    _check_runs_here(status, "enter")
    if status.state not in UNPROTECTED_STATES:
        already = "is protected already" if status.state == "protected" else f"is {status.state}"
        raise ControlError(ErrorKind.WRONG_STATE, f"VM {status.vm} {already}; enter takes an unprotected VM")


def check_leave(status: WorkerStatus) -> None:
    """Raises ControlError unless the VM runs here, protected or about to be."""
    _check_runs_here(status, "leave")
    if status.state in UNPROTECTED_STATES:
        raise ControlError(ErrorKind.WRONG_STATE, f"VM {status.vm} is not protected ({status.state})")
    if status.state not in ENTERED_STATES:
        raise ControlError(
            ErrorKind.WRONG_STATE, f"VM {status.vm} is {status.state}; try again when it is not"
        )


def check_switchover(status: WorkerStatus) -> None:
    """Raises ControlError unless the VM runs here, in a state from which it can move."""
    _check_runs_here(status, "switchover")
    if status.state not in UNPROTECTED_STATES | {"protected"}:
        message = f"VM {status.vm} is {status.state}; switchover takes a protected or unprotected VM"
        raise ControlError(ErrorKind.WRONG_STATE, message)


def check_failover(status: WorkerStatus) -> None:
    """Raises ControlError unless this is a standby that could take over."""
    if status.role == "active":
        message = f"VM {status.vm} is active on this host; failover is for the host that has the standby"
        raise ControlError(ErrorKind.WRONG_ROLE, message)
    if status.state == "standby_syncing":
        message = f"the standby of VM {status.vm} has no complete epoch yet and cannot take over"
        raise ControlError(ErrorKind.WRONG_STATE, message)
    if status.state in ENDED_STATES:
        raise ControlError(ErrorKind.WRONG_STATE, f"the standby of VM {status.vm} is {status.state}")


def check_stop(status: WorkerStatus) -> None:
    """Raises ControlError when the guest is not this host's to stop, or is on its way."""
    if status.state in ENDED_STATES:
        return
    _check_runs_here(status, "vm stop")
    if status.state not in UNPROTECTED_STATES | ENTERED_STATES:
        raise ControlError(
            ErrorKind.WRONG_STATE, f"VM {status.vm} is {status.state}; try again when it is not"
        )


def _check_runs_here(status: WorkerStatus, what: str) -> None:
    if status.role == "standby":
        there = f" on host {status.peer}" if status.peer else " on the host that runs it"
        message = f"this host has the standby of VM {status.vm}; use `ftctl {what}`{there}"
        raise ControlError(ErrorKind.WRONG_ROLE, message)
    if status.state in ENDED_STATES:
        message = f"VM {status.vm} has left this host ({status.state}); use `ftctl {what}` on the other one"
        raise ControlError(ErrorKind.WRONG_ROLE, message)
