"""A bar for the first synchronisation, drawn while the request that causes it runs."""

from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ftd.ctl.client import call
from ftd.errors import ControlError
from ftd.protocol.control import Method, Nothing, VmParams, WorkerStatus
from ftd.protocol.control_operator import STATUS, StatusParams

POLL_S = 0.1


async def call_with_bar(console: Console, socket: Path, method: Method[VmParams, Nothing], vm: str) -> None:
    """Sends the request; on a terminal, polls the VM's status on connections of its own meanwhile."""
    if not console.is_terminal:
        await call(socket, method, VmParams(vm=vm))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        failure = await _run(socket, method, vm, progress)
    if failure is not None:
        raise failure


async def _run(
    socket: Path, method: Method[VmParams, Nothing], vm: str, progress: Progress
) -> ControlError | None:
    """The request's refusal is returned, not raised: out of a nursery it would come wrapped in a group."""
    failure: ControlError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_draw, socket, vm, progress)
        try:
            await call(socket, method, VmParams(vm=vm))
        except ControlError as error:
            failure = error
        nursery.cancel_scope.cancel()
    return failure


async def _draw(socket: Path, vm: str, progress: Progress) -> None:
    task = progress.add_task(vm, total=None)
    while True:
        await trio.sleep(POLL_S)
        status = await _status(socket, vm)
        if status is None:
            continue
        if status.sync is None:
            why = f" ({status.reason})" if status.reason else ""
            progress.update(task, description=f"{vm}: {status.state}{why}")
        else:
            progress.update(
                task,
                description=f"{vm}: {status.state}, round {status.sync.round}",
                completed=status.sync.sent_bytes + status.sync.disk_sent_bytes,
                total=status.sync.total_bytes + status.sync.disk_total_bytes or None,
            )


async def _status(socket: Path, vm: str) -> WorkerStatus | None:
    """None when there is none to be had just now: the bar stands still, the request decides."""
    try:
        report = await call(socket, STATUS, StatusParams(vm=vm))
    except ControlError:
        return None
    return report.workers[0] if report.workers else None
