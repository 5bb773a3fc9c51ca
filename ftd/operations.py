"""Answers ftctl: what an operator asks is checked against configuration and state, and done by workers."""

import os
import secrets

from ftd import __version__, host_memory, specs, vm_states
from ftd.busy import BusyVms
from ftd.config import Config, VmConfig
from ftd.errors import ControlError, ErrorKind
from ftd.limits import TOKEN_BYTES
from ftd.log import get_logger
from ftd.peers import Peer
from ftd.protocol.control import (
    PROTOCOL_VERSION,
    WORKER_ENTER,
    WORKER_FAILOVER,
    WORKER_LEAVE,
    WORKER_SWITCHOVER,
    EnterWorkerParams,
    FailoverWorkerParams,
    Nothing,
    VmParams,
)
from ftd.protocol.control_operator import (
    ENTER,
    FAILOVER,
    LEAVE,
    OPERATOR_METHODS,
    STATUS,
    SWITCHOVER,
    VERSION,
    VM_LIST,
    VM_START,
    VM_STOP,
    ForceParams,
    HostInfo,
    StatusParams,
    StatusReport,
    Unresponsive,
    VersionInfo,
    VmEntry,
    VmList,
    VmStarted,
)
from ftd.protocol.control_peer import DiscardStandbyParams, PrepareStandbyParams
from ftd.transport.server import ControlServer
from ftd.worker_process import Worker, WorkerGone
from ftd.workers import Workers

log = get_logger(__name__)


class Operations:
    """The operator-facing half of a daemon."""

    def __init__(
        self,
        config: Config,
        workers: Workers,
        busy: BusyVms,
        available_bytes: host_memory.AvailableBytes = host_memory.available_bytes,
    ) -> None:
        self._config = config
        self._workers = workers
        self._busy = busy
        self._available_bytes = available_bytes

    def server(self) -> ControlServer:
        """A server of OPERATOR_METHODS."""
        server = ControlServer(OPERATOR_METHODS)
        server.handle(VM_START, self.vm_start)
        server.handle(VM_STOP, self.vm_stop)
        server.handle(VM_LIST, self.vm_list)
        server.handle(ENTER, self.enter)
        server.handle(LEAVE, self.leave)
        server.handle(SWITCHOVER, self.switchover)
        server.handle(FAILOVER, self.failover)
        server.handle(STATUS, self.status)
        server.handle(VERSION, self.version)
        return server

    async def vm_start(self, params: ForceParams) -> VmStarted:
        """Starts the guest of a configured VM, unprotected."""
        vm = self._configured(params.vm)
        with self._busy.doing(vm.name, "start"):
            await self._workers.clear_ended(vm.name, ErrorKind.WRONG_STATE)
            socket_path = str(self._workers.socket_path(vm.name))
            spec = specs.active_spec(self._config, vm, socket_path, force=params.force)
            needed_bytes = specs.memory_needed_bytes(spec)
            host_memory.check_available(
                self._config.host.name, vm.name, needed_bytes, self._available_bytes()
            )
            await self._workers.spawn(spec)
            return VmStarted(pid=self._running(vm.name).pid, console=vm.console)

    async def vm_stop(self, params: VmParams) -> Nothing:
        """Ends the guest. A protected one leaves first, else its standby would take it for dead."""
        worker = self._running(params.vm)
        with self._busy.doing(params.vm, "stop"):
            status = await worker.status()
            vm_states.check_stop(status)
            if status.state in vm_states.ENTERED_STATES:
                await worker.call(WORKER_LEAVE, Nothing())
            await self._workers.stop(worker, or_kill=True)
        return Nothing()

    async def enter(self, params: VmParams) -> Nothing:
        """Puts a running VM under protection; returns when its first epoch is acknowledged."""
        worker = self._running(params.vm)
        with self._busy.doing(params.vm, "enter"):
            await self._enter(worker)
        return Nothing()

    async def leave(self, params: VmParams) -> Nothing:
        """Ends protection. Not exclusive: it is also how an enter that takes too long is given up."""
        worker = self._running(params.vm)
        vm_states.check_leave(await worker.status())
        return await worker.call(WORKER_LEAVE, Nothing())

    async def switchover(self, params: VmParams) -> Nothing:
        """Moves the guest to the peer. An unprotected one is entered first: that is live migration."""
        worker = self._running(params.vm)
        with self._busy.doing(params.vm, "switchover"):
            status = await worker.status()
            vm_states.check_switchover(status)
            if status.state in vm_states.UNPROTECTED_STATES:
                await self._enter(worker)
            return await worker.call(WORKER_SWITCHOVER, Nothing())

    async def failover(self, params: ForceParams) -> Nothing:
        """Makes the standby of this host active, because an operator says that the primary is dead."""
        worker = self._running(params.vm)
        vm_states.check_failover(await worker.status())
        log.warning("failover by an operator", vm=params.vm, force=params.force)
        return await worker.call(WORKER_FAILOVER, FailoverWorkerParams(force=params.force))

    async def status(self, params: StatusParams) -> StatusReport:
        """State and counters of one VM, or of all that run."""
        if params.vm is not None:
            self._running(params.vm)
        statuses, silent = await self._workers.statuses()
        return StatusReport(
            host=HostInfo(
                name=self._config.host.name,
                version=__version__,
                pid=os.getpid(),
                memory_available_bytes=self._available_bytes(),
                peers=sorted(self._config.peers),
            ),
            workers=[status for status in statuses if params.vm in (None, status.vm)],
            unresponsive=[
                Unresponsive(vm=worker.spec.vm, pid=worker.pid, message=silent[worker.spec.vm].message)
                for worker in self._workers.all()
                if worker.spec.vm in silent and params.vm in (None, worker.spec.vm)
            ],
        )

    async def vm_list(self, params: Nothing) -> VmList:
        """Every VM that is configured or runs."""
        statuses, _ = await self._workers.statuses()
        by_name = {status.vm: status for status in statuses}
        names = sorted(self._config.vms.keys() | {worker.spec.vm for worker in self._workers.all()})
        entries = []
        for name in names:
            worker, status, vm = self._workers.get(name), by_name.get(name), self._config.vms.get(name)
            shape = worker.spec if worker is not None else vm
            if shape is None:
                continue  # ended since it was listed
            entries.append(
                VmEntry(
                    vm=name,
                    configured=vm is not None,
                    peer=vm.peer if vm else None,
                    memory_bytes=shape.memory_bytes,
                    vcpus=shape.vcpus,
                    console=shape.console,
                    role=status.role if status else None,
                    state=status.state if status else "unresponsive" if worker else None,
                    pid=worker.pid if worker else None,
                )
            )
        return VmList(vms=entries)

    async def version(self, params: Nothing) -> VersionInfo:
        """The daemon's version, which may differ from ftctl's."""
        return VersionInfo(
            version=__version__, protocol_version=PROTOCOL_VERSION, host=self._config.host.name
        )

    async def _enter(self, worker: Worker) -> None:
        status = await worker.status()
        vm_states.check_enter(status)
        peer = self._peer_of(self._configured(worker.spec.vm))
        token = secrets.token_bytes(TOKEN_BYTES)
        prepared = await peer.prepare_standby(self._standby_request(worker, status.generation, token))
        try:
            await worker.call(
                WORKER_ENTER,
                EnterWorkerParams(peer=peer.name, address=prepared.address, port=prepared.port, token=token),
            )
        except WorkerGone:
            # The standby may be all that is left of the guest. If it is not, it gives up by itself.
            raise
        except ControlError:
            await self._discard(peer, worker.spec.vm, token)
            raise

    def _standby_request(self, worker: Worker, generation: int, token: bytes) -> PrepareStandbyParams:
        spec = worker.spec
        return PrepareStandbyParams(
            host=self._config.host.name,
            vm=spec.vm,
            vm_id=spec.vm_id,
            generation=generation,
            shape=specs.guest_shape(spec),
            tracker=spec.tracker,
            token=token,
            heartbeat_interval_ms=spec.heartbeat_interval_ms,
            heartbeat_timeout_ms=spec.heartbeat_timeout_ms,
            epoch_pages_max=spec.epoch_pages_max,
            parts_max=spec.parts_max,
        )

    async def _discard(self, peer: Peer, vm: str, token: bytes) -> None:
        try:
            await peer.discard_standby(DiscardStandbyParams(vm=vm, token=token))
        except ControlError as error:
            log.warning("standby not discarded, it will give up by itself", vm=vm, error=error.message)

    def _configured(self, name: str) -> VmConfig:
        vm = self._config.vms.get(name)
        if vm is None:
            known = ", ".join(sorted(self._config.vms)) or "none"
            message = f"no VM {name} in the configuration of {self._config.host.name} (there are: {known})"
            raise ControlError(ErrorKind.UNKNOWN_VM, message)
        return vm

    def _running(self, name: str) -> Worker:
        worker = self._workers.get(name)
        if worker is None:
            vm, here = self._configured(name), self._config.host.name
            message = f"VM {vm.name} is not running on {here}; start it with `ftctl vm start {vm.name}`"
            raise ControlError(ErrorKind.WRONG_STATE, message)
        return worker

    def _peer_of(self, vm: VmConfig) -> Peer:
        if vm.peer is None:
            raise ControlError(ErrorKind.CONFIG, f"VM {vm.name} has no peer: set `peer` in {vm.path}")
        return Peer(self._config.host.name, vm.peer, self._config.peers[vm.peer])
