"""What must hold before a drill may begin. Each refusal is a sentence, and nothing was changed."""

import trio

from ftd.drill.scene import Scene
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import WORKER_STATUS, Nothing, WorkerStatus
from ftd.protocol.control_drill import DrillView
from ftd.transport.client import call_unix
from ftd.transport.framing import TransportError

EPOCHS_GROW_S = 2.0
_POLL_S = 0.05
CHECKS = (
    "this host runs the guest",
    "the guest is protected, and its epochs are acknowledged",
    "the other host's ftd answers and holds the standby",
    "the arbiter answers both hosts",
    "no other drill of this VM runs",
    "this process may inflict the fault, and undo it",
    "the guest answers the probe",
)


def check(vm: str, view: DrillView) -> None:
    """Raises ControlError unless the VM runs here, fully protected."""
    here = view.here.status
    if here is None or here.role != "active":
        raise _wrong_host(vm, view)
    if here.state != "protected":
        message = (
            f"VM {vm} is {here.state} on {view.host}, not protected: a drill would cost the guest, or prove "
            f"nothing. Protect it first: `ftctl enter {vm}`"
        )
        raise ControlError(ErrorKind.WRONG_STATE, message)
    if view.there is None:
        message = f"VM {vm} is protected, but what {view.peer} has of it is not known: {view.there_silence}"
        raise ControlError(ErrorKind.PEER_UNREACHABLE, message)
    there = view.there.status
    if there is None or (there.role, there.state) != ("standby", "standby"):
        found = f"{there.role}, {there.state}" if there else view.there.silence or "no worker"
        message = f"VM {vm} is protected here, but {view.peer} holds no whole standby ({found})"
        raise ControlError(ErrorKind.WRONG_STATE, message)
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
    """Where an observer on this host finds the guest's console, here first, then on the peer.

    Raises ControlError when there is none, or the peer's cannot be reached from here.
    """
    there = scene.view.there.status if scene.view.there else None
    found = [scene.here.console, there.console if there else None]
    other = "observe it at its own address: --probe tcp:ADDRESS:PORT or --probe echo:ADDRESS:PORT"
    if found[0] is None or found[1] is None:
        raise ControlError(ErrorKind.CONFIG, f"VM {scene.vm} has no console to observe; {other}")
    here, peer = found[0], found[1]
    if peer.startswith("unix:") and not _is_this_machine(scene.view.peer_address):
        message = (
            f"the console of VM {scene.vm} is a Unix socket, which {scene.view.peer} alone will reach: "
            f'give it [console] listen = "tcp:...", or {other}'
        )
        raise ControlError(ErrorKind.CONFIG, message)
    return [_reachable(here, "127.0.0.1"), _reachable(peer, scene.view.peer_address)]


def _reachable(console: str, host: str) -> str:
    """One that listens on all of its host's addresses is found at one of them."""
    for anywhere in ("tcp:0.0.0.0:", "tcp:[::]:"):
        if console.startswith(anywhere):
            return f"tcp:{host}:{console.removeprefix(anywhere)}"
    return console.replace("[", "").replace("]", "")


def _is_this_machine(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost")
