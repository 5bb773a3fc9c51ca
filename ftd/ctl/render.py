"""Tables for operators."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ftd.ctl.rates import Percentiles, Rates, rates
from ftd.protocol.control import WorkerStatus
from ftd.protocol.control_operator import StatusReport, VmList
from ftd.protocol.maintenance import MaintenanceReport

NOTHING = "-"
STATE_STYLES = {
    "protected": "green",
    "standby": "green",
    "syncing": "cyan",
    "standby_syncing": "cyan",
    "simplex": "yellow",
    "failing_over": "bold red",
    "fenced": "red",
    "unresponsive": "bold red",
}


def vm_table(vms: VmList) -> Table:
    """Answer to `ftctl vm list`."""
    table = _table("VM", "state", "role", "peer", "memory", "vCPUs", "pid", "console")
    for vm in vms.vms:
        table.add_row(
            vm.vm if vm.configured else f"{vm.vm} (not configured)",
            _state(vm.state or "stopped"),
            vm.role or NOTHING,
            vm.peer or NOTHING,
            f"{vm.memory_bytes >> 20} MiB",
            str(vm.vcpus),
            str(vm.pid or NOTHING),
            vm.console or NOTHING,
        )
    return table


def status_view(new: StatusReport, old: StatusReport | None) -> RenderableType:
    """Answer to `ftctl status`: figures are those of the time between the two reports."""
    if not new.workers and not new.unresponsive:
        return Group(Text(f"no VM runs on {new.host.name}"), *_remarks(new))
    before = {status.vm: status for status in old.workers} if old else {}
    return Group(_status_table(new.workers, before), *_remarks(new))


def _status_table(workers: Iterable[WorkerStatus], before: Mapping[str, WorkerStatus]) -> Table:
    table = _table(
        *("VM", "role", "state", "gen", "epoch", "check-\npoints/s"),
        *("pause µs\np50 / p99", "ack µs\np50 / p99", "pages/\nepoch", "MB/s", "stalls"),
    )
    for status in workers:
        old = before.get(status.vm)
        figures = _figures(rates(status, old)) if old else [NOTHING] * 6
        state = _state(_progress(status) or status.state, STATE_STYLES.get(status.state))
        table.add_row(status.vm, status.role, state, str(status.generation), str(status.epoch), *figures)
    return table


def _figures(figures: Rates) -> list[str]:
    pages = figures.pages_per_epoch
    return [
        f"{figures.checkpoints_per_s:,.0f}",
        _latency(figures.pause),
        _latency(figures.ack),
        NOTHING if pages is None else f"{pages:,.1f}",
        f"{figures.megabytes_per_s:,.1f}",
        str(figures.stalls),
    ]


def _latency(latency: Percentiles) -> str:
    if latency.p50_ns is None or latency.p99_ns is None:
        return NOTHING
    return f"{_microseconds(latency.p50_ns)} / {_microseconds(latency.p99_ns)}"


def _microseconds(ns: int) -> str:
    return f"{ns / 1000:,.0f}" if ns >= 10_000 else f"{ns / 1000:.1f}"


def _progress(status: WorkerStatus) -> str | None:
    if status.sync is None or not status.sync.total_bytes + status.sync.disk_total_bytes:
        return None
    sent = status.sync.sent_bytes + status.sync.disk_sent_bytes
    share = min(sent / (status.sync.total_bytes + status.sync.disk_total_bytes), 1.0)
    return f"{status.state} {share:.0%} (round {status.sync.round})"


def _pace(counters: Mapping[str, int]) -> str | None:
    now_ns, asked_ns = counters.get("period_ns", 0), counters.get("period_asked_ns", 0)
    if now_ns <= asked_ns:
        return None
    return (
        f"a checkpoint every {now_ns / 1e6:.1f} ms instead of {asked_ns / 1e6:.1f}, because its vCPUs wait "
        "for processors: give the host more of them, or lower checkpoint_rate_hz"
    )


def maintenance_view(report: MaintenanceReport) -> RenderableType:
    """Answer to `ftctl maintenance`: what became of each VM, what is left in yellow."""
    lines = [Text(f"{vm.vm}: {vm.how}", style="" if vm.gone else "yellow") for vm in report.vms]
    return Group(*lines, *([Text(report.note, style="yellow")] if report.note else []))


def _remarks(report: StatusReport) -> Iterable[Text]:
    for host in report.host.maintenance:
        yield Text(f"{host} is in maintenance: `ftctl maintenance {host} --end`", style="yellow")
    for status in report.workers:
        if status.reason:
            yield Text(f"{status.vm}: {status.reason}", style="yellow")
        if status.state == "protected" and (pace := _pace(status.counters)):
            yield Text(f"{status.vm}: {pace}", style="yellow")
    for wanted in report.protection:
        if wanted.waits_for:
            yield Text(f"{wanted.vm}: to be protected, waits for {wanted.waits_for}", style="yellow")
    for worker in report.unresponsive:
        yield Text(f"{worker.vm}: {worker.message}", style="bold red")


def _state(state: str, style: str | None = None) -> Text:
    return Text(state, style=style or STATE_STYLES.get(state, ""))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        text = column in ("VM", "role", "state", "peer", "console")
        table.add_column(column, justify="left" if text else "right", vertical="bottom")
    return table
