"""What must hold before a drill may begin. Each refusal is a sentence, and nothing was changed."""

import trio

from ftd.drill.catalogue import Fault
from ftd.drill.scene import Scene
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import WORKER_STATUS, Nothing, WorkerStatus
from ftd.protocol.control_drill import DrillView
from ftd.transport.client import call_unix
from ftd.transport.framing import TransportError

EPOCHS_GROW_S = 2.0
_POLL_S = 0.05
CHECKS = (
    "this host runs the guest (power-off: it has the standby)",
    "the guest is protected, and its epochs are acknowledged",
    "the other host's ftd answers and holds the standby",
    "the arbiter answers both hosts",
    "no other drill of this VM runs",
    "this process may inflict the fault, and undo it",
    "the guest answers the probe",
)


def check(vm: str, view: DrillView, fault: Fault) -> None:
    """Raises ControlError unless the VM is fully protected, and the drill starts on this host."""
    _check_host(vm, view, fault)
    if view.there is None:
        message = f"VM {vm} is here, but what {view.peer} has of it is not known: {view.there_silence}"
        raise ControlError(ErrorKind.PEER_UNREACHABLE, message)
    copies = {view.host: view.here.status, view.peer: view.there.status}
    active, standby = (view.peer, view.host) if fault.from_standby else (view.host, view.peer)
    guest, waiting = copies[active], copies[standby]
    if guest is None or guest.state != "protected":
        raise _unprotected(vm, guest.state if guest else "not there", active)
    if waiting is None or (waiting.role, waiting.state) != ("standby", "standby"):
        silence = view.there.silence or "no worker"
        found = f"{waiting.role}, {waiting.state}" if waiting else silence
        message = f"VM {vm} is protected on {active}, but {standby} holds no whole standby ({found})"
        raise ControlError(ErrorKind.WRONG_STATE, message)
    _check_decider(view, fault)


def is_elsewhere(view: DrillView, fault: Fault) -> bool:
    """Whether this host has not the copy with which such a drill starts."""
    role = "standby" if fault.from_standby else "active"
    return not view.here.silence and (view.here.status is None or view.here.status.role != role)


def _check_host(vm: str, view: DrillView, fault: Fault) -> None:
    if is_elsewhere(view, fault) or view.here.status is None:
        if fault.from_standby and not view.here.silence:
            message = (
                f"{fault.name} of VM {vm} starts on the host that has the standby, and {view.host} has none"
            )
            raise ControlError(ErrorKind.WRONG_ROLE, message)
        raise _wrong_host(vm, view)
    if view.here.status.role == "active" and view.here.status.state != "protected":
        raise _unprotected(vm, view.here.status.state, view.host)


def _unprotected(vm: str, state: str, host: str) -> ControlError:
    message = f"VM {vm} is {state} on {host}, not protected: a drill would cost the guest, or prove nothing"
    return ControlError(ErrorKind.WRONG_STATE, f"{message}. Protect it first: `ftctl enter {vm}`")


def _check_decider(view: DrillView, fault: Fault) -> None:
    if view.arbiter.fencing is not None:
        if fault.from_standby or fault.name == "kill-daemon":
            return
        message = (
            f"there is no arbiter: whoever loses its peer turns that host off, and {fault.name} would end "
            "with this host off. What can be drilled so is power-off, on the host that has the standby"
        )
        raise ControlError(ErrorKind.CONFIG, message)
    assert view.there is not None, "checked"
    _check_arbiter(view.host, view.here.arbiter_silence)
    _check_arbiter(view.peer, view.there.arbiter_silence)


def _wrong_host(vm: str, view: DrillView) -> ControlError:
    there = view.there.status if view.there else None
    if view.here.silence:
        return ControlError(ErrorKind.WRONG_STATE, view.here.silence)
    if there is not None and there.role == "active":
        message = f"VM {vm} runs on host {view.peer}, not on {view.host}: start the drill there"
        return ControlError(ErrorKind.WRONG_ROLE, message)
    message = (
        f"VM {vm} does not run on {view.host}; a drill starts on the host that runs the guest, protected"
    )
    return ControlError(ErrorKind.WRONG_STATE, message)


def _check_arbiter(host: str, silence: str) -> None:
    if silence:
        message = f"the arbiter does not answer host {host}: {silence}. Nobody could take over; mend it first"
        raise ControlError(ErrorKind.ARBITER, message)


async def check_epochs(scene: Scene) -> None:
    """Raises ControlError unless epochs are acknowledged right now."""
    first = await _status(scene)
    with trio.move_on_after(EPOCHS_GROW_S):
        while True:
            await trio.sleep(_POLL_S)
            if (await _status(scene)).epoch > first.epoch:
                return
    message = f"VM {scene.vm} is protected, but no epoch was acknowledged for {EPOCHS_GROW_S:g} s"
    raise ControlError(ErrorKind.WRONG_STATE, f"{message}: see `ftctl status`")


async def _status(scene: Scene) -> WorkerStatus:
    try:
        return await call_unix(scene.worker_socket, WORKER_STATUS, Nothing())
    except TransportError as error:
        message = (
            f"the worker of VM {scene.vm} at {scene.worker_socket}: {error}. A drill must be run as root"
        )
        raise ControlError(ErrorKind.PERMISSION, message) from error


def consoles(scene: Scene) -> list[str]:
    """Where an observer on this host finds the guest's console: first where it runs now, then where it would.

    Raises ControlError when there is none, or the peer's cannot be reached from here.
    """
    there = scene.view.there.status if scene.view.there else None
    here, peer = scene.here.console, there.console if there else None
    other = "observe it at its own address: --probe tcp:ADDRESS:PORT or --probe echo:ADDRESS:PORT"
    if here is None or peer is None:
        raise ControlError(ErrorKind.CONFIG, f"VM {scene.vm} has no console to observe; {other}")
    if peer.startswith("unix:") and not _is_this_machine(scene.view.peer_address):
        message = (
            f"the console of VM {scene.vm} is a Unix socket, which {scene.view.peer} alone will reach: "
            f'give it [console] listen = "tcp:...", or {other}'
        )
        raise ControlError(ErrorKind.CONFIG, message)
    found = [_reachable(here, "127.0.0.1"), _reachable(peer, scene.view.peer_address)]
    return found if scene.here.role == "active" else found[::-1]


def _reachable(console: str, host: str) -> str:
    """One that listens on all of its host's addresses is found at one of them."""
    for anywhere in ("tcp:0.0.0.0:", "tcp:[::]:"):
        if console.startswith(anywhere):
            return f"tcp:{host}:{console.removeprefix(anywhere)}"
    return console.replace("[", "").replace("]", "")


def _is_this_machine(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost")
