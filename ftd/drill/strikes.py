"""How each fault is inflicted, and how it is undone."""

import fcntl
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ftd.drill import netcut, processes
from ftd.drill.lock import Undo
from ftd.drill.scene import Scene
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import WORKER_CORRUPT, Nothing, VmParams
from ftd.protocol.control_drill import DRILL_KILL_STANDBY, DRILL_POWER, DrillPeerParams, DrillPowerParams
from ftd.protocol.control_operator import SWITCHOVER
from ftd.transport.client import call_unix
from ftd.transport.framing import TransportError


class Strike:
    """One fault, ready. `undo` is what a successor has to do should this process die after `begin`."""

    undo = Undo()

    def __init__(self, scene: Scene, plan: str) -> None:
        self.scene = scene
        self.plan = plan
        """What `begin` does, with names and numbers."""

    async def check(self) -> None:
        """Whether `begin` could. Changes nothing. Raises ControlError."""
        if os.geteuid() != 0:
            message = (
                f"a drill of VM {self.scene.vm} acts on processes and links of this host: run it as root"
            )
            raise ControlError(ErrorKind.PERMISSION, message)

    async def begin(self) -> None:
        """Inflicts the fault. Raises ControlError; then nothing was done."""
        raise NotImplementedError

    async def end(self) -> list[str]:
        """Undoes what lasts. Says in words what it did; a second call does nothing."""
        return await self.undo.carry_out()


class Kill(Strike):
    """SIGKILL to a process of this host."""

    def __init__(self, scene: Scene, what: str, pid: int) -> None:
        super().__init__(scene, f"SIGKILL to {what} on {scene.view.host} (pid {pid})")
        self._process = _process(what, pid)

    async def begin(self) -> None:
        if not processes.send(self._process, signal.SIGKILL):
            raise ControlError(ErrorKind.WRONG_STATE, f"process {self._process.pid} was gone already")


class Freeze(Strike):
    """SIGSTOP to the worker."""

    def __init__(self, scene: Scene) -> None:
        pid = scene.here.pid
        super().__init__(scene, f"SIGSTOP to the worker on {scene.view.host} (pid {pid}), later SIGCONT")
        self.undo = Undo(thaw=_process("the worker", pid))

    async def begin(self) -> None:
        assert self.undo.thaw is not None, "made so"
        if not processes.send(self.undo.thaw, signal.SIGSTOP):
            raise ControlError(ErrorKind.WRONG_STATE, f"process {self.undo.thaw.pid} was gone already")


class Cut(Strike):
    """Drops packets by rules of nftables."""

    def __init__(self, scene: Scene, plan: str, rules: str) -> None:
        super().__init__(scene, plan)
        self._rules = rules
        self.undo = Undo(table=netcut.table_name(scene.view.vm_id))

    async def check(self) -> None:
        await super().check()
        await netcut.check(self._rules)

    async def begin(self) -> None:
        await netcut.apply(self._rules)


class HoldLock(Strike):
    """Keeps the lock of a VM's record, so that no claim is answered. The kernel frees it if we die."""

    def __init__(self, scene: Scene) -> None:
        name = f"{uuid.UUID(bytes=scene.view.vm_id)}.lock"
        self._path = Path(scene.view.arbiter.directory) / name
        super().__init__(scene, f"holds {self._path}: no claim of VM {scene.vm} is answered meanwhile")
        self._descriptor: int | None = None

    async def begin(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            await self.end()
            raise ControlError(ErrorKind.ARBITER, f"cannot lock {self._path}: {error.strerror}") from error

    async def end(self) -> list[str]:
        if self._descriptor is None:
            return []
        os.close(self._descriptor)
        self._descriptor = None
        return [f"let go of {self._path}"]


class Corrupt(Strike):
    """One flipped byte of the next epoch."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(
            scene, f"the worker on {scene.view.host} flips one byte of the next epoch that it sends"
        )

    async def begin(self) -> None:
        try:
            await call_unix(self.scene.worker_socket, WORKER_CORRUPT, Nothing())
        except TransportError as error:
            raise ControlError(
                ErrorKind.TIMEOUT, f"the worker at {self.scene.worker_socket}: {error}"
            ) from error


class StandbyLoss(Strike):
    """SIGKILL to the standby, by the ftd of its host."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene, f"the ftd of {scene.view.peer} kills the standby's worker there")

    async def begin(self) -> None:
        await self.scene.call(
            DRILL_KILL_STANDBY, DrillPeerParams(vm=self.scene.vm, peer=self.scene.view.peer)
        )


class Switchover(Strike):
    """No fault but the planned way."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene, f"`ftctl switchover {scene.vm}`: from {scene.view.host} to {scene.view.peer}")

    async def begin(self) -> None:
        await self.scene.call(SWITCHOVER, VmParams(vm=self.scene.vm))


class PowerOff(Strike):
    """The other host, by its fence device."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(
            scene, f"the fence device turns host {scene.view.peer} off, with all that runs there"
        )
        self._is_off = False

    async def check(self) -> None:
        await super().check()
        if not self.scene.view.can_power_off:
            peer = self.scene.view.peer
            message = f"power-off takes a fence device for host {peer}, and none is configured"
            raise ControlError(ErrorKind.CONFIG, f"{message}: [peers.{peer}] fence")

    async def begin(self) -> None:
        self._is_off = True  # also where it fails: a device may act late
        try:
            await self._power(on=False)
        except ControlError as error:
            message = f"{error.message}. It may have acted all the same: see `ftctl status`, here and there"
            raise ControlError(error.kind, message) from error

    async def end(self) -> list[str]:
        if not self._is_off:
            return []
        await self._power(on=True)
        self._is_off = False
        return [f"the fence device was asked to turn host {self.scene.view.peer} on"]

    async def _power(self, *, on: bool) -> None:
        params = DrillPowerParams(vm=self.scene.vm, peer=self.scene.view.peer, on=on)
        await self.scene.call(DRILL_POWER, params)


def _process(what: str, pid: int) -> processes.ProcessId:
    process = processes.identify(pid)
    if process is None:
        raise ControlError(ErrorKind.WRONG_STATE, f"{what} (pid {pid}) is gone; see `ftctl status`")
    return process


def _cut(scene: Scene, *, inbound: bool) -> Cut:
    view, link = scene.view, scene.here.link
    if not link:
        raise ControlError(
            ErrorKind.WRONG_STATE, f"the worker of VM {scene.vm} does not name its connections"
        )
    ends = " and ".join(f"{end.here} to {end.there}" for end in link)
    way = "both ways" if inbound else f"from {view.host} to {view.peer} only"
    rules = netcut.cut_rules(netcut.table_name(view.vm_id), link, outbound=True, inbound=inbound)
    return Cut(scene, f"nftables on {view.host} drop {ends}, {way}", rules)


def _arbiter_loss(scene: Scene) -> Strike:
    etcd = scene.view.arbiter.etcd
    if etcd is None:
        return HoldLock(scene)
    servers = ", ".join(str(at) for at in etcd.endpoints)
    plan = f"nftables on {scene.view.host} drop what it sends to etcd ({servers})"
    return Cut(scene, plan, netcut.silence_rules(netcut.table_name(scene.view.vm_id), etcd.endpoints))


_MAKERS: Final[dict[str, Callable[[Scene], Strike]]] = {
    "kill-worker": lambda scene: Kill(scene, "the worker", scene.here.pid),
    "kill-daemon": lambda scene: Kill(scene, "ftd", scene.view.daemon_pid),
    "freeze": Freeze,
    "cut-link": lambda scene: _cut(scene, inbound=True),
    "one-way": lambda scene: _cut(scene, inbound=False),
    "corrupt-stream": Corrupt,
    "standby-loss": StandbyLoss,
    "arbiter-loss": _arbiter_loss,
    "switchover": Switchover,
    "power-off": PowerOff,
}


def make(fault: str, scene: Scene) -> Strike:
    """The strike for a name of the catalogue. Raises ControlError when this scene does not allow it."""
    return _MAKERS[fault](scene)
