"""`python -m ftd.worker --spec FILE --ready-fd N`: started by ftd, outlives it."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import sys
import zlib
from pathlib import Path

import trio

from ftd import arbiter, disk_image, disk_record, log
from ftd.dataplane.core import Disk, Machine
from ftd.dataplane.errors import DataplaneError
from ftd.errors import ControlError, ErrorKind
from ftd.protocol import envelope
from ftd.protocol.control import ReadyReport, WorkerSpec
from ftd.replication.active import ActiveCore
from ftd.replication.standby import StandbyCore
from ftd.vm.microvm import machine as microvm
from ftd.vm.microvm.boot import BootError
from ftd.worker import network
from ftd.worker.claims import Claims, new_claim_id
from ftd.worker.console import ConsoleError
from ftd.worker.copy import VmCopy
from ftd.worker.disk_compare import CompareError
from ftd.worker.pair import Pair, PairError, PairListener
from ftd.worker.runner import Runner
from ftd.worker.service import Service

logger = log.get_logger(__name__)
# After the last answer was put on the control connection, before the process ends.
FAREWELL_S = 0.2


class Readiness:
    """The pipe on which ftd waits to hear that this worker is up, or why not. Used once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def report(self, report: ReadyReport) -> None:
        """Writes the one message and closes. ftd may be gone; that is no reason to end."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, envelope.encode(report))
        except OSError as error:
            logger.warning("nobody waits for this worker", reason=error.strerror)
        os.close(self._fd)
        self._fd = -1


def _claims(spec: WorkerSpec) -> Claims:
    return Claims(arbiter.make(spec.arbiter), spec.vm, spec.vm_id, spec.host)


async def _active(spec: WorkerSpec, ready: Readiness, tap_fd: int | None) -> int:
    claims = _claims(spec)
    if spec.disk and not spec.force:
        newest = await claims.newest_generation()
        disk_record.check_start(Path(spec.disk.record), spec.disk.path, spec.vm, newest)
    machine = _machine(spec)
    starting = Claims(arbiter.make_for_start(spec.arbiter), spec.vm, spec.vm_id, spec.host)
    generation = await starting.first_generation(force=spec.force)
    seed = zlib.crc32(spec.host.encode())
    core = ActiveCore(vm=spec.vm, generation=generation, new_claim_id=new_claim_id, jitter_seed=seed)
    copy = VmCopy(spec, machine, core, claims, tap_fd)
    try:
        await copy.start(generation)
    except (DataplaneError, BootError, ConsoleError, OSError) as error:
        await claims.release(generation)
        raise ControlError(_kind(error), f"VM {spec.vm}: {error}") from error
    await _live(copy, ready, ReadyReport(port=0), None)
    return copy.exit_code


async def _standby(spec: WorkerSpec, ready: Readiness, tap_fd: int | None) -> int:
    machine = _machine(spec)
    listener = PairListener(spec, machine.processor)
    if spec.tracker not in ("auto", machine.tracker):
        logger.warning(
            "this host lacks the primary's tracker", wanted=spec.tracker, after_a_failover=machine.tracker
        )
    try:
        await trio.to_thread.run_sync(machine.reserve)
    except DataplaneError as error:
        raise ControlError(_kind(error), f"VM {spec.vm}: {error}") from error
    core = StandbyCore(
        vm=spec.vm,
        generation=spec.generation,
        peer=spec.peer or "the primary",
        new_claim_id=new_claim_id,
        jitter_seed=zlib.crc32(spec.host.encode()),
    )
    copy = VmCopy(spec, machine, core, _claims(spec), tap_fd)
    await _live(copy, ready, ReadyReport(port=listener.port), listener)
    return copy.exit_code


def _machine(spec: WorkerSpec) -> Machine:
    try:
        return microvm.make(
            memory_bytes=spec.memory_bytes,
            vcpus=spec.vcpus,
            irqchip=spec.irqchip,
            tracker=spec.tracker,
            epoch_pages_max=spec.epoch_pages_max,
            net=network.device(spec.net),
            # A standby tracks nothing yet. Its host may lack what the primary's has; the guest must live on.
            or_another_tracker=spec.role == "standby",
            disk=_disk(spec),
        )
    except DataplaneError as error:
        raise ControlError(_kind(error), f"VM {spec.vm}: {error}") from error


def _disk(spec: WorkerSpec) -> Disk | None:
    if spec.disk is None:
        return None
    path, standby = Path(spec.disk.path), spec.role == "standby"
    try:
        missing = not path.exists()
        fd = disk_image.open_image(path, spec.disk.size_bytes, make=standby)
    except ControlError as error:
        raise ControlError(error.kind, f"VM {spec.vm} on {spec.host}: {error.message}") from error
    if missing:
        logger.info("disk image made", path=spec.disk.path, size_bytes=spec.disk.size_bytes)
    return Disk(fd, spec.disk.size_bytes, spec.vm)


def _kind(error: Exception) -> ErrorKind:
    if isinstance(error, DataplaneError):
        if error.is_memory:
            return ErrorKind.MEMORY
        if "/dev/kvm" in error.message:
            return ErrorKind.NO_KVM
        return ErrorKind.CONFIG if error.code == errno.EOPNOTSUPP else ErrorKind.INTERNAL
    return ErrorKind.CONFIG


async def _live(copy: VmCopy, ready: Readiness, report: ReadyReport, listener: PairListener | None) -> None:
    runner = Runner(copy)
    service = Service(copy, runner)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        await nursery.start(runner.run)
        ready.report(report)
        # What was made so far lives as long as the process: the collector need not look at it again.
        gc.freeze()
        if listener is not None:
            nursery.start_soon(_await_primary, copy, listener)
        await copy.ended.wait()
        await trio.sleep(FAREWELL_S)
        nursery.cancel_scope.cancel()


async def _await_primary(copy: VmCopy, listener: PairListener) -> None:
    try:
        pair = await listener.wait()
        copy.count_refused(listener.refused)
        await _compare(copy, pair)
        copy.begin_standby(pair)
        logger.info("the primary came")
    except (PairError, DataplaneError, OSError) as error:
        copy.reason = str(error)
        logger.warning("no pair", reason=str(error))
        copy.ended.set()


async def _compare(copy: VmCopy, pair: Pair) -> None:
    assert copy.spec.token is not None
    try:
        await copy.tell_digests(pair, copy.spec.token)
    except CompareError as error:
        pair.close()
        raise PairError(str(error)) from error


def main() -> int:
    """Exit code: 0 when the copy has ended as decided, 1 when it could not start, EXIT_REBOOT*."""
    parser = argparse.ArgumentParser(prog="python -m ftd.worker", description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="file with a WorkerSpec")
    parser.add_argument("--ready-fd", type=int, required=True, help="pipe for the ready report")
    parser.add_argument("--tap-fd", type=int, help="the tap of a VM with [net]")
    arguments = parser.parse_args()
    # Ctrl-C at a terminal means the daemon, not the guests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready = Readiness(arguments.ready_fd)
    spec = envelope.decode(arguments.spec.read_bytes(), WorkerSpec)
    log.configure(spec.log_level, vm=spec.vm, host=spec.host)
    refusals: list[ControlError] = []
    code = 1
    try:
        code = trio.run(_active if spec.role == "active" else _standby, spec, ready, arguments.tap_fd)
    except* ControlError as group:
        refusals += _leaves(group)
    for error in refusals[:1]:
        logger.error("not started", reason=error.message)
        ready.report(ReadyReport(error={"kind": error.kind.value, "message": error.message}))
    return code


def _leaves(group: BaseExceptionGroup[ControlError]) -> list[ControlError]:
    found: list[ControlError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
