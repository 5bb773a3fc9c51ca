"""What a VM did between two samples of its status. Pure: two samples in, figures out."""

from dataclasses import dataclass

from ftd.metrics import SparseHistogram, difference, percentile
from ftd.protocol.control import WorkerStatus


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of a latency, in nanoseconds; None when nothing was counted."""

    p50_ns: int | None
    p99_ns: int | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Figures of one interval."""

    checkpoints_per_s: float
    """Active: acknowledged. Standby: received whole."""
    pages_per_epoch: float | None
    """None on a standby, which does not count them."""
    megabytes_per_s: float
    stalls: int
    """Times that the guest waited for the standby or the link."""
    pause: Percentiles
    ack: Percentiles


def rates(new: WorkerStatus, old: WorkerStatus) -> Rates:
    """`old` must be an earlier sample of the same VM; a worker that began anew counts from zero."""
    if old.pid != new.pid:
        old = _zeroed(old, new)
    seconds = max(new.stamp_ns - old.stamp_ns, 1) / 1e9
    sealed = _grown(new, old, "epochs_sealed") if new.role == "active" else 0
    counted = "epochs_acked" if new.role == "active" else "epochs_received"
    return Rates(
        checkpoints_per_s=_grown(new, old, counted) / seconds,
        pages_per_epoch=_grown(new, old, "pages") / sealed if sealed else None,
        megabytes_per_s=_grown(new, old, "bytes") / seconds / 1e6,
        stalls=_grown(new, old, "stalls"),
        pause=_percentiles(new, old, "pause_ns"),
        ack=_percentiles(new, old, "ack_ns"),
    )


def _zeroed(old: WorkerStatus, new: WorkerStatus) -> WorkerStatus:
    """A sample of the new worker at the time of the old one's, when it had counted nothing."""
    fields = {name: getattr(new, name) for name in WorkerStatus.__struct_fields__}
    return WorkerStatus(**{**fields, "stamp_ns": old.stamp_ns, "counters": {}, "histograms": {}})


def _grown(new: WorkerStatus, old: WorkerStatus, counter: str) -> int:
    return max(new.counters.get(counter, 0) - old.counters.get(counter, 0), 0)


def _percentiles(new: WorkerStatus, old: WorkerStatus, histogram: str) -> Percentiles:
    counted: SparseHistogram = difference(
        new.histograms.get(histogram, []), old.histograms.get(histogram, [])
    )
    return Percentiles(percentile(counted, 50), percentile(counted, 99))
