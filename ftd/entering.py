"""Puts a VM that runs here under the protection of another host: an operator asked for it, or ftd itself."""

import secrets

from ftd import specs, vm_states
from ftd.config import Config, VmConfig
from ftd.errors import ControlError, ErrorKind
from ftd.limits import TOKEN_BYTES
from ftd.log import get_logger
from ftd.peers import Peer
from ftd.protocol.control import WORKER_ENTER, EnterWorkerParams
from ftd.protocol.control_peer import DiscardStandbyParams, PrepareStandbyParams, StandbyPrepared
from ftd.worker_process import Worker, WorkerGone

log = get_logger(__name__)


class Entering:
    """The one way into protection. Whoever calls has made sure that nothing else is done to the VM."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._prepared: dict[str, tuple[Peer, bytes]] = {}

    async def enter_any(self, worker: Worker, vm: VmConfig, *, wanted: bool) -> None:
        """With the first of the VM's hosts that can have a standby. Raises ControlError with each one's
        reason."""
        if not vm.peers:
            message = f"VM {vm.name} has no peer: set `peer` or `peers` in {vm.path}"
            raise ControlError(ErrorKind.CONFIG, message)
        refusals: list[ControlError] = []
        for host in vm.peers:
            try:
                await self._enter(worker, host, wanted=wanted)
                return
            except _NoStandby as refusal:
                refusals.append(refusal.why)
        if len(refusals) == 1:
            raise refusals[0]
        reasons = "; ".join(refusal.message for refusal in refusals)
        raise ControlError(refusals[0].kind, f"no host can have the standby of VM {vm.name}: {reasons}")

    async def enter_one(self, worker: Worker, host: str, *, wanted: bool) -> None:
        """With this host. Returns when the first epoch is acknowledged. Raises ControlError."""
        try:
            await self._enter(worker, host, wanted=wanted)
        except _NoStandby as refusal:
            raise refusal.why from refusal

    async def _enter(self, worker: Worker, host: str, *, wanted: bool) -> None:
        """As `enter_one`; raises _NoStandby where the host cannot or will not, and nothing was changed."""
        status = await worker.status()
        vm_states.check_enter(status)
        peer = Peer(self._config.host.name, host, self._config.peers[host])
        token = secrets.token_bytes(TOKEN_BYTES)
        prepared = await self._prepare(
            peer, self._standby_request(worker, status.generation, token, wanted=wanted)
        )
        self._prepared[worker.spec.vm] = peer, token
        params = EnterWorkerParams(peer=host, address=prepared.address, port=prepared.port, token=token)
        try:
            await worker.call(WORKER_ENTER, params)
            del self._prepared[worker.spec.vm]
        except WorkerGone:
            # The standby may be all that is left of the guest. If it is not, it gives up by itself.
            raise
        except ControlError:
            await self.undo(worker.spec.vm)
            raise

    async def _prepare(self, peer: Peer, request: PrepareStandbyParams) -> StandbyPrepared:
        try:
            return await peer.prepare_standby(request)
        except ControlError as error:
            raise _NoStandby(error) from error

    def _standby_request(
        self, worker: Worker, generation: int, token: bytes, *, wanted: bool
    ) -> PrepareStandbyParams:
        spec = worker.spec
        return PrepareStandbyParams(
            host=self._config.host.name,
            vm=spec.vm,
            vm_id=spec.vm_id,
            generation=generation,
            shape=specs.guest_shape(spec),
            tracker=spec.tracker,
            token=token,
            wanted=wanted,
            heartbeat_interval_ms=spec.heartbeat_interval_ms,
            heartbeat_timeout_ms=spec.heartbeat_timeout_ms,
            epoch_pages_max=spec.epoch_pages_max,
            parts_max=spec.parts_max,
            epoch_disk_bytes=spec.epoch_disk_bytes,
        )

    async def undo(self, vm: str) -> None:
        """Discards the standby of an enter that has ended, or was cancelled, before the standby was complete:
        else the worker would go on to be protected."""
        if vm not in self._prepared:
            return
        peer, token = self._prepared.pop(vm)
        try:
            await peer.discard_standby(DiscardStandbyParams(vm=vm, token=token))
        except ControlError as error:
            log.warning("standby not discarded, it will give up by itself", vm=vm, error=error.message)


class _NoStandby(Exception):
    """A host that cannot have the standby: another may."""

    def __init__(self, why: ControlError) -> None:
        super().__init__(why.message)
        self.why = why
