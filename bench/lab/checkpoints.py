"""What the checkpoints cost while something was measured: it explains the figure, and goes into the JSON."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bench.lab import vm
from bench.lab.lab import Lab
from ftd.ctl.rates import rates
from ftd.protocol.control import WorkerStatus
from lab.pair.member import Member

PER_EPOCH: Final = ("pages", "bytes", "hot_shipped", "hot_unchanged")
STEPS: Final = ("gather", "harvest", "judge", "copy", "rearm", "capture")
TOTALS: Final = ("stalls", "threshold_exits", "parts", "doubts", "disk_waits", "disk_flushes")


@asynccontextmanager
async def recorded(lab: Lab, active: Member, what: str) -> AsyncIterator[None]:
    """Records the difference of two samples of the worker, which are taken outside of what is measured."""
    before = await active.status(vm.NAME)
    yield
    after = await active.status(vm.NAME)
    if before is not None and after is not None:
        lab.record("ftd", f"checkpoints, {what}", **between(before, after))


def between(before: WorkerStatus, after: WorkerStatus) -> dict[str, Any]:
    """Rates, means for each epoch, and percentiles, of what happened between two samples of one worker."""
    found = rates(after, before)
    grown = {name: value - before.counters.get(name, 0) for name, value in after.counters.items()}
    epochs = max(1, grown["epochs_sealed"])
    figures: dict[str, Any] = {"a_second": round(found.checkpoints_per_s, 1)}
    for name, times in (("pause", found.pause), ("ack", found.ack)):
        for q, time_ns in ((50, times.p50_ns), (99, times.p99_ns)):
            figures[f"{name}_p{q}_us"] = (time_ns or 0) // 1000
    figures |= {f"{name}_an_epoch": round(grown[name] / epochs, 1) for name in PER_EPOCH}
    figures |= {f"{name}_us": round(grown[f"{name}_ns"] / epochs / 1000, 1) for name in STEPS}
    return figures | {name: grown[name] for name in TOTALS} | {"hot_pages": after.counters["hot_pages"]}
