"""Runs the product as a user has it: two daemons, a worker each, joined over loopback."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from bench.guest_memory import GuestMemory
from bench.model import NotMeasuredError, Pair, Run, Workload
from ftd.drill.local_pair import Guest, LocalPair, LocalPairError, local_pair
from ftd.errors import ControlError
from ftd.metrics import difference, percentile
from ftd.protocol.control import WorkerStatus
from ftd.transport.framing import TransportError

WARM_UP_S: Final = 0.5
"""As long as the floor's."""
HOT_PAGES_MAX: Final = 1024
STEPS: Final = ("harvest", "copy", "rearm", "capture", "stall")
Result = TypeVar("Result")


def measure(work: Callable[..., Coroutine[Any, Any, Result]], *args: Any) -> Result:
    """Runs a measurement under trio. Raises NotMeasuredError for all that the product refuses or fails at."""
    reasons: list[Exception] = []
    try:
        return trio.run(work, *args)
    except* (ControlError, TransportError, LocalPairError, NotMeasuredError) as group:
        reasons += _leaves(group)
    raise NotMeasuredError(str(reasons[0])) from reasons[0]


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


class Product:
    """The product, as a side of the bench."""

    name = "product"

    def __init__(self, image: Path) -> None:
        self._image = image

    def run(self, workload: Workload) -> Run:
        """A toucher guest under protection for `workload.seconds`; figures from the worker's status."""
        return measure(self._run, workload, False).product

    def run_against_unprotected(self, workload: Workload) -> Pair:
        """The same guest, first unprotected for half of `workload.seconds`, then protected."""
        return measure(self._run, workload, True)

    async def _run(self, workload: Workload, with_unprotected: bool) -> Pair:
        free = Run(rounds_per_second=0.0)
        async with self._started(workload) as pair:
            pid = await pair.alpha.worker_pid(pair.guest.name)
            with GuestMemory(pid, workload.vcpus) as memory:
                if with_unprotected or workload.rate is None:
                    free = await _free_run(memory, workload.seconds / 2)
                if workload.rate is None:
                    return Pair(free, free)
                await pair.enter()
                return Pair(await _protected_run(pair, memory, workload.seconds), free)

    @asynccontextmanager
    async def _started(self, workload: Workload) -> AsyncIterator[LocalPair]:
        replication = {"hot_pages_max": HOT_PAGES_MAX if workload.hot_set else 0}
        if workload.rate is not None:
            replication["checkpoint_rate_hz"] = workload.rate
        guest = Guest(
            image=str(self._image),
            args=workload.guest_args,
            memory_mib=workload.memory_mib,
            vcpus=workload.vcpus,
            irqchip=workload.irqchip,
            tracker=workload.tracker,
            console=False,
            replication=replication,
        )
        async with local_pair(guest) as pair:
            await pair.start_guest()
            yield pair


async def _free_run(memory: GuestMemory, seconds: float) -> Run:
    await trio.sleep(WARM_UP_S)
    before = memory.rounds()
    await trio.sleep(seconds)
    return Run(rounds_per_second=memory.rounds().per_second_since(before))


async def _protected_run(pair: LocalPair, memory: GuestMemory, seconds: float) -> Run:
    await trio.sleep(WARM_UP_S)
    before, rounds_before = await _sample(pair), memory.rounds()
    await trio.sleep(seconds)
    after, rounds_after = await _sample(pair), memory.rounds()
    return run_between(before, after, rounds_after.per_second_since(rounds_before))


async def _sample(pair: LocalPair) -> WorkerStatus:
    status = await pair.alpha.status(pair.guest.name)
    if status is None or status.state != "protected":
        found = f"{status.state} ({status.reason})" if status else "not answering"
        raise NotMeasuredError(f"the guest was to be protected, its worker is {found}")
    return status


def run_between(before: WorkerStatus, after: WorkerStatus, rounds_per_second: float) -> Run:
    """What happened between two samples of one worker."""
    grown = {name: value - before.counters.get(name, 0) for name, value in after.counters.items()}
    sealed, seconds = grown["epochs_sealed"], (after.stamp_ns - before.stamp_ns) / 1e9
    if not sealed:
        raise NotMeasuredError("no epoch was sealed")
    pauses = difference(after.histograms["pause_ns"], before.histograms["pause_ns"])
    return Run(
        rounds_per_second=rounds_per_second,
        acked_per_second=grown["epochs_acked"] / seconds,
        pages_per_epoch=grown["pages"] / sealed,
        pause_p50_us=(percentile(pauses, 50) or 0) / 1e3,
        pause_p99_us=(percentile(pauses, 99) or 0) / 1e3,
        stalls=grown["stalls"],
        steps_us={name: grown[f"{name}_ns"] / sealed / 1e3 for name in STEPS},
    )
