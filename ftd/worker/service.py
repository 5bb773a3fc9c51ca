"""The worker's control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from ftd.dataplane import core
from ftd.dataplane.errors import DataplaneError
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.protocol import control
from ftd.protocol.control import EnterWorkerParams, FailoverWorkerParams, FaultParams, Nothing, WorkerStatus
from ftd.replication import events as ev
from ftd.replication.states import ACTIVE_ALONE, ACTIVE_FINAL, ActiveState, StandbyState
from ftd.transport.listen import unix_listener
from ftd.transport.server import ControlServer
from ftd.worker import disk_compare, faults, pair
from ftd.worker.copy import VmCopy
from ftd.worker.runner import Runner
from ftd.worker.status import status_of

log = get_logger(__name__)
# The process is on its way out; there is nothing left to stop.
_ENDED: Final = ACTIVE_FINAL | {StandbyState.DISCARDED}


class Service:
    """Answers what `ftd` asks of this worker."""

    def __init__(self, copy: VmCopy, runner: Runner) -> None:
        self._copy = copy
        self._runner = runner
        self._entering = trio.Lock()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started once the socket listens."""
        server = ControlServer(control.WORKER_METHODS)
        server.handle(control.WORKER_STATUS, self._status)
        server.handle(control.WORKER_ENTER, self._enter)
        server.handle(control.WORKER_LEAVE, self._leave)
        server.handle(control.WORKER_SWITCHOVER, self._switchover)
        server.handle(control.WORKER_FAILOVER, self._failover)
        server.handle(control.WORKER_STOP, self._stop)
        server.handle(control.WORKER_FAULT, self._fault)
        server.handle(control.WORKER_CORRUPT, self._corrupt)
        async with unix_listener(Path(self._copy.spec.socket_path)) as listener:
            await server.serve([listener], task_status=task_status)

    async def _status(self, _params: Nothing) -> WorkerStatus:
        return status_of(self._copy)

    async def _enter(self, params: EnterWorkerParams) -> Nothing:
        copy = self._copy
        async with self._entering:
            try:
                if copy.core.state in ACTIVE_ALONE:
                    copy.pair = await self._connect(params)
                await self._runner.request(lambda number: ev.EnterRequested(number, params.peer))
            finally:
                copy.forget_differences()
        return Nothing()

    async def _connect(self, params: EnterWorkerParams) -> pair.Pair:
        copy = self._copy
        try:
            made = await pair.connect(
                copy.spec,
                copy.core.generation,
                (params.address, params.port),
                params.token,
                copy.machine.processor,
            )
        except pair.PairError as error:
            raise ControlError(ErrorKind.PEER_UNREACHABLE, str(error)) from error
        faults.passed("enter.connected")
        try:
            await copy.compare_disks(made, params.token)
        except disk_compare.CompareError as error:
            made.close()
            raise ControlError(ErrorKind.PEER_UNREACHABLE, str(error)) from error
        except DataplaneError as error:
            made.close()
            raise ControlError(ErrorKind.INTERNAL, error.message) from error
        except trio.Cancelled:
            made.shut_down()
            raise
        return made

    async def _leave(self, _params: Nothing) -> Nothing:
        await self._runner.request(ev.LeaveRequested)
        faults.passed("leave.acked")
        return Nothing()

    async def _switchover(self, _params: Nothing) -> Nothing:
        await self._runner.request(ev.SwitchoverRequested)
        faults.passed("switchover.done")
        return Nothing()

    async def _failover(self, params: FailoverWorkerParams) -> Nothing:
        await self._runner.request(ev.FailoverForced if params.force else ev.FailoverRequested)
        return Nothing()

    async def _stop(self, _params: Nothing) -> Nothing:
        copy = self._copy
        if copy.core.state in _ENDED:
            return Nothing()
        if copy.core.state is StandbyState.STANDBY_SYNCING and copy.standby is None:
            copy.reason = "discarded before a primary came"
            copy.ended.set()
        elif copy.core.state is StandbyState.STANDBY_SYNCING:
            # Never complete: closing the pair is all that there is to undo, and the primary notices it.
            await copy.stop_standby()
            if copy.standby is not None and copy.standby.epoch > 0:
                raise ControlError(ErrorKind.WRONG_STATE, "the standby has become complete")
            copy.reason = "discarded before it was complete"
            copy.ended.set()
        elif not isinstance(copy.core.state, ActiveState):
            raise ControlError(ErrorKind.WRONG_ROLE, f"this worker is a standby ({copy.core.state.value})")
        else:
            await self._runner.request(ev.StopRequested)
        return Nothing()

    async def _fault(self, params: FaultParams) -> Nothing:
        if not faults.enabled():
            raise ControlError(
                ErrorKind.REFUSED, f"fault points are off: start ftd with {faults.ENABLE_VARIABLE}=1"
            )
        if params.point == faults.INTERPRETER_BUSY:
            faults.hold_interpreter(params.nth)
            return Nothing()
        if not faults.arm(params.point, params.nth):
            known = ", ".join(faults.all_points())
            raise ControlError(ErrorKind.BAD_REQUEST, f"no fault point {params.point}; there are {known}")
        return Nothing()

    async def _corrupt(self, _params: Nothing) -> Nothing:
        """No arming of tests: an operator's drill, on a pair that is up."""
        if self._copy.core.state is not ActiveState.PROTECTED:
            state = self._copy.core.state.value
            raise ControlError(ErrorKind.WRONG_STATE, f"only a protected guest has a stream; this is {state}")
        core.corrupt_stream()
        log.warning("a byte of the next epoch is sent flipped: a drill asked for it")
        return Nothing()
