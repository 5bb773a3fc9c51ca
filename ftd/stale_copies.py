"""Makes room for a standby where this host still has a copy of the VM: `protection/stale` says which may
go."""

import uuid

from ftd.arbiter.contract import Arbiter, ArbiterUnreachable, Record
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.protection.stale import Asked, CopyHere, Verdict, judge, needs_record
from ftd.protocol.control_peer import PrepareStandbyParams
from ftd.worker_process import Worker, WorkerGone
from ftd.workers import Workers

log = get_logger(__name__)


class StaleCopies:
    """Of one host."""

    def __init__(self, workers: Workers, arbiter: Arbiter) -> None:
        self._workers = workers
        self._arbiter = arbiter

    async def clear(self, request: PrepareStandbyParams) -> None:
        """Ends what is left here of the VM. Raises ControlError when that may own the guest."""
        worker = self._workers.get(request.vm)
        if worker is None:
            return
        asked = Asked(request.host, request.generation)
        try:
            copy, silence = await self._ask(worker)
        except WorkerGone:
            return  # it was about to end
        record = await self._record(request) if needs_record(copy, asked) else None
        match judge(copy, asked, record):
            case Verdict.CLEAR:
                await self._workers.stop(worker, or_kill=True)
            case Verdict.STOP:
                # It may have become complete since it was asked: then it refuses.
                await self._workers.stop(worker, or_kill=False)
            case Verdict.END:
                log.warning(
                    "a stale copy is ended: its generation is over",
                    vm=request.vm,
                    state=copy.state or "silent",
                    generation=copy.generation,
                    holder=request.host,
                    given=request.generation,
                )
                await self._workers.kill(worker)
            case Verdict.KEEP:
                raise silence or ControlError(
                    ErrorKind.REFUSED,
                    f"VM {request.vm} has a worker here already: {worker.spec.role}, {copy.state} "
                    f"in generation {copy.generation}",
                )

    async def _ask(self, worker: Worker) -> tuple[CopyHere, ControlError | None]:
        """The copy, and, if it does not answer, what is to be said of that. Raises WorkerGone."""
        spec = worker.spec
        try:
            status = await worker.status()
        except WorkerGone:
            raise
        except ControlError as silence:
            return CopyHere(None, spec.generation, spec.peer), silence
        primary = spec.peer if status.role == "standby" else None
        return CopyHere(status.state, status.generation, primary, status.paired), None

    async def _record(self, request: PrepareStandbyParams) -> Record | None:
        try:
            return await self._arbiter.read(str(uuid.UUID(bytes=request.vm_id)))
        except ArbiterUnreachable as error:
            message = (
                f"VM {request.vm} has a copy here, and whether that is stale the arbiter does not say: "
                f"{error.reason}"
            )
            raise ControlError(ErrorKind.ARBITER, message) from error
