"""What the checkpoints cost while something was measured: it explains the figure, and goes into the JSON."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bench.lab import vm
from bench.lab.lab import Lab
from ftd.metrics import difference, percentile
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
    grown = {name: value - before.counters.get(name, 0) for name, value in after.counters.items()}
    epochs, seconds = max(1, grown["epochs_sealed"]), (after.stamp_ns - before.stamp_ns) / 1e9
    figures: dict[str, Any] = {"a_second": round(grown["epochs_acked"] / seconds, 1)}
    for name in ("pause_ns", "ack_ns"):
        counted = difference(after.histograms[name], before.histograms[name])
        figures |= {f"{name[:-3]}_p{q}_us": (percentile(counted, q) or 0) // 1000 for q in (50, 99)}
    figures |= {f"{name}_an_epoch": round(grown[name] / epochs, 1) for name in PER_EPOCH}
    figures |= {f"{name}_us": round(grown[f"{name}_ns"] / epochs / 1000, 1) for name in STEPS}
    return figures | {name: grown[name] for name in TOTALS} | {"hot_pages": after.counters["hot_pages"]}
