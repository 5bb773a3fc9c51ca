"""Answers the ftd of a peer host: makes a standby worker for a VM that runs there, or takes one back."""

import hmac

from ftd import arbiter, host_memory, specs
from ftd.busy import BusyVms
from ftd.config import Config, VmConfig
from ftd.errors import ControlError, ErrorKind
from ftd.limits import HEARTBEATS_PER_TIMEOUT_MIN
from ftd.log import get_logger
from ftd.maintenance import refuse_in_maintenance
from ftd.protection.kept_off import KeptOff
from ftd.protection.wishes import Wish, Wishes
from ftd.protocol.control import PROTOCOL_VERSION, Nothing, WorkerSpec
from ftd.protocol.control_peer import (
    DISCARD_STANDBY,
    PEER_HELLO,
    PEER_METHODS,
    PREPARE_STANDBY,
    DiscardStandbyParams,
    HelloParams,
    PrepareStandbyParams,
    StandbyPrepared,
)
from ftd.stale_copies import StaleCopies
from ftd.transport.server import ControlServer
from ftd.vm_states import ENDED_STATES
from ftd.workers import Workers

log = get_logger(__name__)

# A peer's ftd talks and goes; a connection that says nothing for this long belongs to a host that died.
IDLE_DEADLINE_S = 300.0


class Standbys:
    """The peer-facing half of a daemon. Every request is checked whole before anything is done."""

    def __init__(
        self,
        config: Config,
        workers: Workers,
        busy: BusyVms,
        wishes: Wishes,
        kept_off: KeptOff,
        available_bytes: host_memory.AvailableBytes = host_memory.available_bytes,
    ) -> None:
        self._config = config
        self._workers = workers
        self._busy = busy
        self._wishes = wishes
        self._kept_off = kept_off
        self._stale = StaleCopies(workers, arbiter.make(specs.arbiter_spec(config)))
        self._available_bytes = available_bytes

    def server(self) -> ControlServer:
        """A server of PEER_METHODS."""
        server = ControlServer(PEER_METHODS, idle_deadline_s=IDLE_DEADLINE_S)
        server.handle(PEER_HELLO, self.hello)
        server.handle(PREPARE_STANDBY, self.prepare)
        server.handle(DISCARD_STANDBY, self.discard)
        return server

    async def hello(self, params: HelloParams) -> HelloParams:
        """Says who we are to everyone: a caller of another version learns that from our answer."""
        return HelloParams(host=self._config.host.name, protocol_version=PROTOCOL_VERSION)

    async def prepare(self, params: PrepareStandbyParams) -> StandbyPrepared:
        """Starts a standby worker. Raises ControlError with the reason when this host cannot or will not."""
        vm = self._vm_for(params)
        refuse_in_maintenance(self._kept_off, self._config.host.name, f"no standby of VM {vm.name} is made")
        spec = specs.standby_spec(self._config, vm, str(self._workers.socket_path(vm.name)), params)
        self._check_agreement(spec, params)
        with self._busy.doing(vm.name, "preparing a standby"):
            await self._stale.clear(params)
            await self._check_room(spec)
            await self._wishes.put(vm.name, Wish.STANDBY if params.wanted else None)
            port = await self._workers.spawn(spec)
        log.info("standby prepared", vm=vm.name, primary=params.host, generation=params.generation)
        return StandbyPrepared(address=self._config.host.data_address, port=port)

    async def discard(self, params: DiscardStandbyParams) -> Nothing:
        """Ends a standby worker that the caller asked for and that never was complete."""
        worker = self._workers.get(params.vm)
        if worker is None:
            return Nothing()
        if not hmac.compare_digest(worker.spec.token or b"", params.token):
            raise ControlError(ErrorKind.REFUSED, f"the worker of VM {params.vm} here is not that standby")
        with self._busy.doing(params.vm, "discarding a standby"):
            state = (await worker.status()).state
            if state != "standby_syncing" and state not in ENDED_STATES:
                message = (
                    f"the standby of VM {params.vm} is {state}: it may own the guest and is not discarded"
                )
                raise ControlError(ErrorKind.WRONG_STATE, message)
            await self._workers.stop(worker, or_kill=False)
        log.info("standby discarded", vm=params.vm)
        return Nothing()

    def _vm_for(self, params: PrepareStandbyParams) -> VmConfig:
        here = self._config.host.name
        if params.host not in self._config.peers:
            raise ControlError(ErrorKind.REFUSED, f"{here} does not know a host {params.host} ([peers])")
        vm = self._config.vms.get(params.vm)
        if vm is None:
            raise ControlError(ErrorKind.UNKNOWN_VM, f"VM {params.vm} is not in the configuration of {here}")
        if params.host not in vm.peers:
            known = " or ".join(vm.peers) or "not set"
            message = f"in the configuration of {here} the peer of VM {vm.name} is {known}, not {params.host}"
            raise ControlError(ErrorKind.REFUSED, message)
        if vm.vm_id != params.vm_id:
            raise ControlError(ErrorKind.REFUSED, f"VM {vm.name} has another id on {here}: unequal releases?")
        return vm

    def _check_agreement(self, spec: WorkerSpec, params: PrepareStandbyParams) -> None:
        differences = specs.shape_differences(params.shape, specs.guest_shape(spec))
        if differences:
            message = f"VM {spec.vm} is not the same machine on both hosts: {'; '.join(differences)}"
            raise ControlError(ErrorKind.REFUSED, message)
        if params.heartbeat_timeout_ms < HEARTBEATS_PER_TIMEOUT_MIN * params.heartbeat_interval_ms:
            message = (
                f"heartbeat_timeout_ms is less than {HEARTBEATS_PER_TIMEOUT_MIN} x heartbeat_interval_ms"
            )
            raise ControlError(ErrorKind.REFUSED, message)

    async def _check_room(self, spec: WorkerSpec) -> None:
        needed_bytes = specs.memory_needed_bytes(spec)
        statuses, _ = await self._workers.statuses()
        held = [status.memory_bytes for status in statuses if status.role == "standby"]
        here, limit_mib = self._config.host.name, self._config.host.standby_memory_max_mib
        host_memory.check_standby_limit(here, spec.vm, needed_bytes, held, limit_mib)
        host_memory.check_available(here, spec.vm, needed_bytes, self._available_bytes())
