"""What a worker says of itself."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from ftd.metrics import sparse
from ftd.protocol.control import SyncProgress, WorkerStatus
from ftd.protocol.refusal import Refusal
from ftd.replication.states import ActiveState, StandbyState

if TYPE_CHECKING:
    from ftd.worker.copy import VmCopy

# The finer states of ftd/replication/states.py, as an operator sees them.
_SHOWN: Final[dict[ActiveState | StandbyState, str]] = {
    ActiveState.SEALED: "syncing",
    ActiveState.PROBING: "protected",
    ActiveState.DRAINING: "switching_over",
    ActiveState.TAKING_BACK: "switching_over",
    ActiveState.UNCONFIRMED: "simplex",
    ActiveState.ENDING: "stopping",
    StandbyState.PROBING: "standby",
    StandbyState.TAKING_OVER: "failing_over",
    StandbyState.FORCING: "failing_over",
}
_PAGE_BYTES: Final = 4096
_MIB: Final = 1 << 20
_NOT_COUNTERS: Final = ("refused_",)


def shown_state(state: ActiveState | StandbyState) -> str:
    """The state's name in docs/ARCHITECTURE.md."""
    return _SHOWN[state] if state in _SHOWN else str(state.value)


def _counters(copy: VmCopy) -> dict[str, int]:
    raw = copy.machine.counters()
    counters = {name: value for name, value in raw.items() if not name.startswith(_NOT_COUNTERS)}
    for refusal in Refusal:
        refused = raw.get(f"refused_{refusal.value}", 0) + copy.refused_in_handshake(refusal)
        if refused:
            counters[f"frames_refused_{refusal.label}"] = refused
    return counters


def _sync(copy: VmCopy, counters: dict[str, int]) -> SyncProgress | None:
    if shown_state(copy.core.state) != "syncing":
        return None
    return SyncProgress(
        round=counters["sync_round"],
        sent_bytes=counters["sync_pages"] * _PAGE_BYTES,
        total_bytes=counters["sync_total"] * _PAGE_BYTES,
        pending_pages=counters["sync_pending"],
        disk_sent_bytes=counters["disk_sync_bytes"],
        disk_total_bytes=counters["disk_sync_total"],
        disk_pending_bytes=counters["disk_sync_pending"],
    )


def _reason(copy: VmCopy) -> str:
    waits_for = f"the arbiter does not answer: {copy.arbiter_silence}" if copy.arbiter_silence else ""
    comparing = ""
    if copy.compared_bytes is not None and copy.spec.disk is not None:
        done, total = (size // _MIB for size in (copy.compared_bytes, copy.spec.disk.size_bytes))
        comparing = f"its disk is being compared with the standby's: {done} of {total} MiB"
    return "; ".join(filter(None, (copy.reason, waits_for, comparing)))


def status_of(copy: VmCopy) -> WorkerStatus:
    """One sample; stops nothing."""
    spec, counters = copy.spec, _counters(copy)
    active = isinstance(copy.core.state, ActiveState)
    return WorkerStatus(
        vm=spec.vm,
        vm_id=spec.vm_id.hex(),
        host=spec.host,
        pid=os.getpid(),
        role="active" if active else "standby",
        state=shown_state(copy.core.state),
        generation=copy.core.generation,
        epoch=counters["epochs_acked"] if active else counters["epochs_committed"],
        tracker=copy.machine.tracker,
        memory_bytes=spec.memory_bytes,
        vcpus=spec.vcpus,
        console=spec.console,
        peer=copy.core.peer or None,
        paired=copy.primary is not None or copy.standby is not None,
        reason=_reason(copy),
        sync=_sync(copy, counters),
        stamp_ns=time.monotonic_ns(),
        boottime_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        counters=counters,
        histograms={name: sparse(copy.machine.histogram(name)) for name in ("pause_ns", "ack_ns")},
        history=copy.history.entries(),
        link=copy.link,
    )
