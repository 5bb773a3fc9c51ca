"""Requests to the local ftd, with a sentence and a next step for each way in which it cannot be reached."""

from pathlib import Path
from typing import TypeVar

from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import Message, Method
from ftd.transport.client import call_unix
from ftd.transport.framing import TransportError, TransportFailure

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)


async def call(socket: Path, method: Method[P, R], params: P) -> R:
    """One request. Whatever goes wrong is raised as a ControlError for the operator."""
    try:
        return await call_unix(socket, method, params)
    except TransportError as error:
        raise _explained(socket, error) from error


def _explained(socket: Path, error: TransportError) -> ControlError:
    match error.failure:
        case TransportFailure.ABSENT:
            return ControlError(
                ErrorKind.NOT_RUNNING,
                f"ftd does not listen on {socket} ({error}). Start it with `systemctl start ftd`, "
                "or name its socket with --socket or FTCTL_SOCKET",
            )
        case TransportFailure.DENIED:
            return ControlError(
                ErrorKind.PERMISSION,
                f"you may not use {socket}. It is open to root and to the group that owns it: "
                "use sudo, or join that group",
            )
        case TransportFailure.TIMEOUT:
            return ControlError(
                ErrorKind.TIMEOUT, f"ftd at {socket}: {error}. `journalctl -u ftd` may say what it is doing"
            )
        case TransportFailure.BROKEN:
            return ControlError(
                ErrorKind.INTERNAL,
                f"ftd at {socket}: {error}. Was it restarted? What was begun goes on in the VM's worker: "
                "see `ftctl status`",
            )
