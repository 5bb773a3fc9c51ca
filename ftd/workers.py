"""The workers of this host: started, found again after a restart of ftd, listed, missed when they end."""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import trio

from ftd import worker_process
from ftd.errors import ControlError, ErrorKind
from ftd.limits import WORKER_STOP_DEADLINE_S
from ftd.log import get_logger
from ftd.protocol.control import EXIT_REBOOT, WORKER_STOP, NetSpec, Nothing, WorkerSpec, WorkerStatus
from ftd.vm_states import ENDED_STATES
from ftd.worker_process import CLEAN_END, Worker, WorkerGone, log_tail

log = get_logger(__name__)


class Workers:
    """Keeps one `Worker` per VM. Holds no lock: callers start and stop those of one VM one at a time."""

    def __init__(
        self, directory: Path, nursery: trio.Nursery, changed: Callable[[], None] = lambda: None
    ) -> None:
        """`nursery` runs one small task per worker; `changed` is called after one came or went."""
        self._directory = directory
        self._nursery = nursery
        self._changed = changed
        self._workers: dict[str, Worker] = {}
        # A bridge must not be found empty and removed while another VM is about to join it.
        self._network = trio.Lock()
        self.reboot: Callable[[str], Awaitable[None]] | None = None
        """Called with a VM when its guest has ended to be started again."""

    def get(self, vm: str) -> Worker | None:
        """The VM's worker, if it runs."""
        return self._workers.get(vm)

    def all(self) -> list[Worker]:
        """Every worker that runs, by VM name."""
        return [self._workers[vm] for vm in sorted(self._workers)]

    def socket_path(self, vm: str) -> Path:
        """Where a VM's worker listens."""
        return self._directory / f"{vm}.sock"

    async def find(self) -> None:
        """Adopts every worker that runs, and clears away what dead ones left."""
        for socket_path in sorted(self._directory.glob("*.sock")):
            try:
                await self._find_one(socket_path.stem)
            except ControlError as error:
                log.error("a worker cannot be adopted", vm=socket_path.stem, error=error.message)

    async def spawn(self, spec: WorkerSpec) -> int:
        """Starts a worker and waits until it is ready; returns its data port (0: none).

        Raises ControlError when the VM has a worker already, or with what the new one said before it died.
        """
        vm = spec.vm
        if vm not in self._workers:
            # An earlier ftd may have died while it started this VM: find() did not see its worker.
            await self._find_one(vm)
        if vm in self._workers:
            pid = self._workers[vm].pid
            raise ControlError(ErrorKind.WRONG_STATE, f"VM {vm} has a worker already (pid {pid})")
        worker, ready_read = await self._start(spec)
        log.info("worker started", vm=vm, role=spec.role, pid=worker.pid)
        self._add(worker)
        try:
            return await worker_process.wait_ready(worker, ready_read)
        except ControlError:
            await self._wait_gone(worker, or_kill=True)
            raise

    async def _start(self, spec: WorkerSpec) -> tuple[Worker, int]:
        paths = self._spec_path(spec.vm), self._log_path(spec.vm)
        if spec.net is None:
            return worker_process.start(spec, *paths)
        async with self._network:
            tap_fd = await trio.to_thread.run_sync(_plug, spec.vm, spec.net)
        try:
            started = worker_process.start(spec, *paths, tap_fd)
        except (ControlError, OSError):
            os.close(tap_fd)
            await self._unplug(spec)
            raise
        os.close(tap_fd)  # from here on it lives and ends with the worker
        return started

    async def _unplug(self, spec: WorkerSpec) -> None:
        """After the last descriptor of the tap was closed."""
        if spec.net is not None:
            async with self._network:
                await trio.to_thread.run_sync(_unplug, spec.net)

    async def stop(self, worker: Worker, *, or_kill: bool) -> None:
        """Asks a worker to end, and its guest with it; returns when it is gone.

        With `or_kill` one that is wedged is killed: not for a standby, which may have come to own the guest
        since it was asked. Raises ControlError when the worker refuses or, without `or_kill`, is wedged.
        """
        worker.unwanted = True
        try:
            await worker.call(WORKER_STOP, Nothing())
        except WorkerGone:
            pass  # it may end before its answer is on the way
        except ControlError as error:
            if error.kind is not ErrorKind.TIMEOUT or not or_kill:
                raise
            log.warning("a worker does not answer a stop", vm=worker.spec.vm, pid=worker.pid)
        await self._wait_gone(worker, or_kill=or_kill)

    async def kill(self, worker: Worker) -> None:
        """SIGKILL; returns when it is gone. Only for a copy whose end can lose nothing."""
        worker.kill()
        await worker.gone.wait()

    async def clear_ended(self, vm: str, refusal: ErrorKind) -> None:
        """Ends what is left of an earlier copy of a VM, so that a new one can be made.

        Raises ControlError, of the kind `refusal`, when the VM has a copy here that has not ended.
        """
        worker = self._workers.get(vm)
        if worker is None:
            return
        try:
            status = await worker.status()
        except WorkerGone:
            return  # it was about to end
        if status.state not in ENDED_STATES:
            message = f"VM {vm} has a worker here already: {status.role}, {status.state}"
            raise ControlError(refusal, message)
        await self.stop(worker, or_kill=True)

    async def statuses(self) -> tuple[list[WorkerStatus], dict[str, ControlError]]:
        """Asks all workers at once: the answers by VM name, and why the others gave none."""
        answers: dict[str, WorkerStatus] = {}
        silent: dict[str, ControlError] = {}

        async def ask(worker: Worker) -> None:
            try:
                answers[worker.spec.vm] = await worker.status()
            except WorkerGone:
                pass
            except ControlError as error:
                silent[worker.spec.vm] = error

        async with trio.open_nursery() as nursery:
            for worker in self.all():
                nursery.start_soon(ask, worker)
        return [answers[vm] for vm in sorted(answers)], silent

    async def _find_one(self, vm: str) -> None:
        worker = await worker_process.adopt(self._spec_path(vm), self.socket_path(vm), self._log_path(vm))
        if worker is None:
            self.socket_path(vm).unlink(missing_ok=True)
            return
        log.info("worker found again", vm=vm, role=worker.spec.role, pid=worker.pid)
        self._add(worker)

    def _add(self, worker: Worker) -> None:
        self._workers[worker.spec.vm] = worker
        self._nursery.start_soon(self._watch, worker)
        self._changed()

    async def _watch(self, worker: Worker) -> None:
        """Waits for one worker's end. Never asks the worker: a busy one is not a dead one."""
        how = await worker.reap()
        vm = worker.spec.vm
        if how == CLEAN_END:
            log.info("worker ended", vm=vm, pid=worker.pid)
        else:
            log.warning("worker gone", vm=vm, pid=worker.pid, how=how, said=log_tail(worker.log_path))
        await self._unplug(worker.spec)
        del self._workers[vm]
        for path in (self.socket_path(vm), self._spec_path(vm)):
            with suppress(FileNotFoundError):
                path.unlink()
        worker.gone.set()
        self._changed()
        if worker.exit_code == EXIT_REBOOT and not worker.unwanted and self.reboot is not None:
            self._nursery.start_soon(self.reboot, vm)

    async def _wait_gone(self, worker: Worker, *, or_kill: bool) -> None:
        with trio.move_on_after(WORKER_STOP_DEADLINE_S):
            await worker.gone.wait()
        if worker.gone.is_set():
            return
        vm, pid = worker.spec.vm, worker.pid
        if not or_kill:
            raise ControlError(ErrorKind.TIMEOUT, f"the worker of VM {vm} (pid {pid}) does not end")
        log.error("a worker does not end and is killed", vm=vm, pid=pid)
        worker.kill()
        await worker.gone.wait()

    def _spec_path(self, vm: str) -> Path:
        return self._directory / f"{vm}.spec"

    def _log_path(self, vm: str) -> Path:
        return self._directory / f"{vm}.log"


# Netlink's library takes a third of ftd's start, and 10 MB: it is loaded only where a VM has a network.
def _plug(vm: str, spec: NetSpec) -> int:
    from ftd.output import network

    return network.plug(vm, spec)


def _unplug(spec: NetSpec) -> None:
    from ftd.output import network

    network.unplug(spec)
