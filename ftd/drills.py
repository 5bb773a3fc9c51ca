"""The daemon's part in a failover drill: shows both copies, kills a standby, asks for protection.

A drill itself is ftctl's. What it does to a host's own processes and links it does as root on that host; only
what concerns the other host goes through here.
"""

import os
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ftd import arbiter, specs
from ftd.arbiter.contract import ArbiterUnreachable
from ftd.arbiter.fencing.agent import FenceFailed, run_agent, turn_off
from ftd.config import Config, VmConfig
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.peers import Peer
from ftd.protocol.control import Message, Method, Nothing, VmParams, WorkerStatus
from ftd.protocol.control_drill import (
    COPY_VIEW,
    DRILL_KILL_STANDBY,
    DRILL_POWER,
    DRILL_PROTECT,
    DRILL_THERE,
    DRILL_VIEW,
    KILL_STANDBY,
    PROTECT,
    CopyParams,
    CopyView,
    CopyViewParams,
    DrillPeerParams,
    DrillPowerParams,
    DrillView,
    DrillViewParams,
)
from ftd.transport.server import ControlServer
from ftd.workers import Workers

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)
Enter = Callable[[VmParams], Awaitable[Nothing]]
log = get_logger(__name__)


class Drills:
    """Answers both kinds of socket. `enter` is what `ftctl enter` does."""

    def __init__(self, config: Config, workers: Workers, enter: Enter) -> None:
        self._config = config
        self._workers = workers
        self._enter = enter

    def answer_operators(self, server: ControlServer) -> ControlServer:
        """Adds the handlers of DRILL_OPERATOR_METHODS."""
        server.handle(DRILL_VIEW, self.view)
        server.handle(DRILL_THERE, self.there)
        server.handle(DRILL_KILL_STANDBY, self.kill_peers_standby)
        server.handle(DRILL_PROTECT, self.protect_on)
        server.handle(DRILL_POWER, self.power)
        return server

    def answer_peers(self, server: ControlServer) -> ControlServer:
        """Adds the handlers of DRILL_PEER_METHODS."""
        server.handle(COPY_VIEW, self.copy_view)
        server.handle(KILL_STANDBY, self.kill_standby)
        server.handle(PROTECT, self.protect)
        return server

    # ---- operators ----

    async def view(self, params: DrillViewParams) -> DrillView:
        """Both copies. A peer that does not answer is no error: the view says so."""
        vm = self._configured(params.vm)
        here = await self._copy(vm, ask_arbiter=True)
        peer = self._peer(params.peer or _standbys_host(here.status) or vm.peer, vm)
        there, silence = None, ""
        try:
            asked = CopyViewParams(host=self._config.host.name, vm=vm.name, ask_arbiter=True)
            there = await peer.call(COPY_VIEW, asked)
        except ControlError as error:
            silence = error.message
        worker = self._workers.get(vm.name)
        timeout_ms = worker.spec.heartbeat_timeout_ms if worker else vm.replication.heartbeat_timeout_ms
        return DrillView(
            host=self._config.host.name,
            daemon_pid=os.getpid(),
            runtime_dir=str(self._config.runtime_dir),
            arbiter=specs.arbiter_spec(self._config),
            vm_id=vm.vm_id,
            heartbeat_timeout_ms=timeout_ms,
            can_power_off=peer.name in self._config.fences,
            here=here,
            peer=peer.name,
            peer_address=peer.address.host,
            there=there,
            there_silence=silence,
        )

    async def there(self, params: DrillPeerParams) -> CopyView:
        """The peer's copy."""
        peer = self._peer(params.peer, self._configured(params.vm))
        return await peer.call(COPY_VIEW, CopyViewParams(host=self._config.host.name, vm=params.vm))

    async def kill_peers_standby(self, params: DrillPeerParams) -> Nothing:
        """Has the peer's ftd kill its standby of a VM that runs here."""
        return await self._ask_peer(KILL_STANDBY, params)

    async def protect_on(self, params: DrillPeerParams) -> Nothing:
        """`ftctl enter` on the host `peer`, which may be this one."""
        if params.peer == self._config.host.name:
            return await self._enter(VmParams(vm=params.vm))
        return await self._ask_peer(PROTECT, params)

    async def power(self, params: DrillPowerParams) -> Nothing:
        """Turns the host that runs the guest off, or on again. By ftd: its device's options may hold a
        password, which is no business of ftctl's."""
        fence = self._config.fences.get(params.peer)
        if fence is None:
            message = f"no fence device is configured for host {params.peer}: [peers.{params.peer}] fence"
            raise ControlError(ErrorKind.CONFIG, message)
        if not params.on:
            await self._check_is_standby_of(params.vm, params.peer)
        log.warning("power: a drill asked for it", vm=params.vm, host=params.peer, on=params.on)
        try:
            await (run_agent(fence, "on") if params.on else turn_off(fence))
        except FenceFailed as error:
            raise ControlError(ErrorKind.INTERNAL, str(error)) from error
        return Nothing()

    async def _check_is_standby_of(self, vm: str, peer: str) -> None:
        worker = self._workers.get(self._configured(vm).name)
        status = await worker.status() if worker else None
        if status is None or (status.state, status.peer) != ("standby", peer):
            message = f"this host holds no whole standby of VM {vm} from host {peer}: that is not turned off"
            raise ControlError(ErrorKind.WRONG_STATE, message)

    async def _ask_peer(self, method: Method[CopyParams, R], params: DrillPeerParams) -> R:
        peer = self._peer(params.peer, self._configured(params.vm))
        return await peer.call(method, CopyParams(host=self._config.host.name, vm=params.vm))

    # ---- peers ----

    async def copy_view(self, params: CopyViewParams) -> CopyView:
        """This host's copy."""
        return await self._copy(self._known(params), ask_arbiter=params.ask_arbiter)

    async def kill_standby(self, params: CopyParams) -> Nothing:
        """SIGKILL to the standby that the caller's guest has here. Refused for anything else."""
        vm = self._known(params)
        worker = self._workers.get(vm.name)
        if worker is None:
            raise ControlError(ErrorKind.WRONG_STATE, f"VM {vm.name} has no worker here")
        status = await worker.status()
        if status.role != "standby" or worker.spec.peer != params.host:
            message = f"the worker of VM {vm.name} here is no standby of host {params.host} but {status.role}"
            raise ControlError(ErrorKind.WRONG_ROLE, f"{message}, {status.state}: it is left alone")
        log.warning("standby killed: a drill asked for it", vm=vm.name, primary=params.host, pid=worker.pid)
        worker.kill()
        await worker.gone.wait()
        return Nothing()

    async def protect(self, params: CopyParams) -> Nothing:
        """`ftctl enter` here, asked for by a drill on the other host."""
        vm = self._known(params)
        log.info("enter: a drill asked for it", vm=vm.name, host=params.host)
        return await self._enter(VmParams(vm=vm.name))

    # ---- both ----

    async def _copy(self, vm: VmConfig, *, ask_arbiter: bool) -> CopyView:
        status, silence, worker = None, "", self._workers.get(vm.name)
        if worker is not None:
            try:
                status = await worker.status()
            except ControlError as error:
                silence = error.message
        return CopyView(
            status=status,
            silence=silence,
            arbiter_silence=await self._arbiter_silence(vm) if ask_arbiter else "",
            boottime_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        )

    async def _arbiter_silence(self, vm: VmConfig) -> str:
        try:
            await arbiter.make(specs.arbiter_spec(self._config)).read(str(uuid.UUID(bytes=vm.vm_id)))
        except ArbiterUnreachable as error:
            return error.reason
        return ""

    def _configured(self, name: str) -> VmConfig:
        vm = self._config.vms.get(name)
        if vm is None:
            known, here = ", ".join(sorted(self._config.vms)) or "none", self._config.host.name
            message = f"no VM {name} in the configuration of {here} (there are: {known})"
            raise ControlError(ErrorKind.UNKNOWN_VM, message)
        return vm

    def _known(self, params: CopyParams) -> VmConfig:
        if params.host not in self._config.peers:
            message = f"{self._config.host.name} does not know a host {params.host} ([peers])"
            raise ControlError(ErrorKind.REFUSED, message)
        return self._configured(params.vm)

    def _peer(self, name: str | None, vm: VmConfig) -> Peer:
        address = self._config.peers.get(name or "")
        if name is None or address is None:
            known = ", ".join(sorted(self._config.peers)) or "none"
            message = f"VM {vm.name} has no peer host {name or ''}here; [peers] of the host file has {known}"
            raise ControlError(ErrorKind.CONFIG, message)
        return Peer(self._config.host.name, name, address)


def _standbys_host(status: WorkerStatus | None) -> str | None:
    return status.peer if status is not None else None
