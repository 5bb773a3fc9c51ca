"""Moves off this host whatever is here: guests to where their standby is, or can be; standbys elsewhere."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ftd.config import Config
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.peers import Peer
from ftd.protocol.control import Nothing, VmParams, WorkerStatus
from ftd.protocol.control_peer import ReleaseStandbyParams
from ftd.protocol.maintenance import Moved
from ftd.vm_states import ENDED_STATES, UNPROTECTED_STATES
from ftd.worker_process import Worker, WorkerGone
from ftd.workers import Workers

# A first synchronisation that is under way is waited for; a state that needs an operator is not.
SETTLE_S: Final = 120.0
POLL_S: Final = 0.2
SETTLED: Final = UNPROTECTED_STATES | ENDED_STATES | {"protected", "standby", "standby_syncing"}
log = get_logger(__name__)


class Evacuation:
    """`switchover`: what an operator's command of that name does."""

    def __init__(
        self, config: Config, workers: Workers, switchover: Callable[[VmParams], Awaitable[Nothing]]
    ) -> None:
        self._config = config
        self._workers = workers
        self._switchover = switchover

    async def run(self) -> list[Moved]:
        """What became of each VM that was here. One after the other: they share the link."""
        return [moved for worker in self._workers.all() if (moved := await self._move(worker))]

    async def _move(self, worker: Worker) -> Moved | None:
        vm = worker.spec.vm
        try:
            status = await self._settled(worker)
            if status.state in ENDED_STATES:
                return None
            move = self._move_guest if status.role == "active" else self._let_go
            how = await move(worker, status)
            log.info("moved off this host", vm=vm, how=how)
            return Moved(vm=vm, gone=True, how=how)
        except WorkerGone:
            return None
        except ControlError as error:
            log.warning("not moved off this host", vm=vm, reason=error.message)
            return Moved(vm=vm, gone=False, how=error.message)

    async def _settled(self, worker: Worker) -> WorkerStatus:
        with trio.move_on_after(SETTLE_S):
            while (status := await worker.status()).state not in SETTLED:  # noqa: ASYNC110 - not our state
                await trio.sleep(POLL_S)
            return status
        vm = worker.spec.vm
        message = f"VM {vm} is {status.state} for {SETTLE_S:.0f} s; see `ftctl status`, then repeat"
        raise ControlError(ErrorKind.WRONG_STATE, message)

    async def _move_guest(self, _worker: Worker, status: WorkerStatus) -> str:
        protected = status.state == "protected"
        await self._switchover(VmParams(vm=status.vm))
        return "its guest runs on the other host" + ("" if protected else ", unprotected as it was here")

    async def _let_go(self, worker: Worker, status: WorkerStatus) -> str:
        """The host that runs the guest is asked to do without this standby."""
        primary = worker.spec.peer
        if primary is None or primary not in self._config.peers:
            leave = f"use `ftctl leave {status.vm}` there"
            raise ControlError(ErrorKind.CONFIG, f"its primary's host is not among [peers]; {leave}")
        here = self._config.host.name
        peer = Peer(here, primary, self._config.peers[primary])
        released = await peer.release_standby(ReleaseStandbyParams(host=here, vm=status.vm))
        if released.others:
            return f"its standby is let go; {primary} looks for another on {' or '.join(released.others)}"
        return f"its standby is let go, and no other host may have one: it runs on {primary}, UNPROTECTED"
