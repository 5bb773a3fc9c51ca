"""Answers ftctl: what an operator asks is checked against configuration and state, and done by workers."""

import os

from ftd import __version__, arbiter, host_memory, specs, vm_states
from ftd.busy import BusyVms
from ftd.config import Config, VmConfig
from ftd.entering import Entering
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.maintenance import refuse_in_maintenance
from ftd.no_arbiter import NoArbiter
from ftd.protected_start import ProtectedStart
from ftd.protection.keeper import Keeper
from ftd.protection.kept_off import KeptOff
from ftd.protection.wishes import Wish, Wishes
from ftd.protocol.control import (
    PROTOCOL_VERSION,
    WORKER_FAILOVER,
    WORKER_LEAVE,
    WORKER_SWITCHOVER,
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
from ftd.protocol.control_peer import ReleaseStandbyParams, StandbyReleased
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
        wishes: Wishes,
        kept_off: KeptOff,
        entering: Entering,
        keeper: Keeper,
        no_arbiter: NoArbiter,
        available_bytes: host_memory.AvailableBytes = host_memory.available_bytes,
    ) -> None:
        self._config = config
        self._workers = workers
        self._busy = busy
        self._wishes = wishes
        self._kept_off = kept_off
        self._entering = entering
        self._keeper = keeper
        self._no_arbiter = no_arbiter
        self._protected_start = ProtectedStart(config, wishes, arbiter.make(specs.arbiter_spec(config)))
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
        refuse_in_maintenance(self._kept_off, self._config.host.name, f"VM {vm.name} is not started")
        with self._busy.doing(vm.name, "start"):
            await self._workers.clear_ended(vm.name, ErrorKind.WRONG_STATE)
            if not params.force:
                await self._no_arbiter.check_start(vm.name)
                await self._protected_start.check(vm)
            if self._wishes.get(vm.name) is Wish.STANDBY:
                await self._wishes.put(vm.name, None)  # it was another host's, for a copy that is gone
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
        await self._keeper.stand_back(params.vm)
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
        if await self._keeper.join(params.vm) and (await worker.status()).state == "protected":
            return Nothing()
        with self._busy.doing(params.vm, "enter"):
            await self._enter_wanted(worker)
        return Nothing()

    async def leave(self, params: VmParams) -> Nothing:
        """Ends protection, and that it is wanted. Not exclusive: it is also how an enter is given up."""
        vm, worker = params.vm, self._running(params.vm)
        await self._keeper.stand_back(vm)
        status = await worker.status()
        waits = self._wishes.get(vm) is not None and not self._busy.is_busy(vm)
        if not (waits and vm_states.runs_alone(status)):
            vm_states.check_leave(status)
        await self._wishes.put(vm, None)
        await self._keeper.stand_back(vm)
        if vm_states.runs_alone(await worker.status()):
            return Nothing()
        return await worker.call(WORKER_LEAVE, Nothing())

    async def switchover(self, params: VmParams) -> Nothing:
        """Moves the guest to the peer. An unprotected one is entered first: that is live migration."""
        worker = self._running(params.vm)
        await self._keeper.join(params.vm)
        with self._busy.doing(params.vm, "switchover"):
            status = await worker.status()
            vm_states.check_switchover(status)
            if status.state in vm_states.UNPROTECTED_STATES:
                wanted = self._wishes.get(params.vm) is not None
                await self._entering.enter_any(worker, self._configured(params.vm), wanted=wanted)
            return await worker.call(WORKER_SWITCHOVER, Nothing())

    async def release_standby(self, params: ReleaseStandbyParams) -> StandbyReleased:
        """Asked by the host that has a standby of a VM that runs here. That protection is wanted stays."""
        worker, vm = self._workers.get(params.vm), self._config.vms.get(params.vm)
        if worker is not None:
            await self._keeper.stand_back(params.vm)
            with self._busy.doing(params.vm, "release of the standby"):
                status = await worker.status()
                if status.state in vm_states.ENTERED_STATES and status.peer == params.host:
                    await worker.call(WORKER_LEAVE, Nothing())
        candidates = vm.peers if vm is not None and vm.reprotect else ()
        kept_off = {params.host, *self._kept_off.hosts}
        return StandbyReleased(others=[host for host in candidates if host not in kept_off])

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
                maintenance=tuple(sorted(self._kept_off.hosts)),
            ),
            workers=[status for status in statuses if params.vm in (None, status.vm)],
            unresponsive=[
                Unresponsive(vm=worker.spec.vm, pid=worker.pid, message=silent[worker.spec.vm].message)
                for worker in self._workers.all()
                if worker.spec.vm in silent and params.vm in (None, worker.spec.vm)
            ],
            protection=tuple(wanted for wanted in self._keeper.report() if params.vm in (None, wanted.vm)),
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

    async def _enter_wanted(self, worker: Worker) -> None:
        """The wish is recorded first: a crash of ftd in the middle, which the worker survives, keeps it."""
        vm = self._configured(worker.spec.vm)
        before = self._wishes.get(vm.name)
        await self._wishes.put(vm.name, Wish.ENTERED)
        try:
            await self._entering.enter_any(worker, vm, wanted=True)
        except WorkerGone:
            raise
        except ControlError:
            # Unless a `leave` has taken it back meanwhile.
            if before is None and self._wishes.get(vm.name) is not None:
                await self._wishes.put(vm.name, None)
            raise

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
