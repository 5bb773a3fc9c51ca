"""`ftctl status`: once, as JSON, or live."""

import sys
from pathlib import Path

import msgspec
import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ftd.ctl.client import call
from ftd.ctl.render import status_view
from ftd.errors import USAGE_KINDS, ControlError
from ftd.protocol.control_operator import STATUS, StatusParams, StatusReport

# One-shot figures are those of so short a time: an operator waits for them.
SAMPLE_S = 0.3


async def show_once(console: Console, socket: Path, vm: str | None) -> None:
    """A table with figures of a short sample."""
    old = await call(socket, STATUS, StatusParams(vm=vm))
    await trio.sleep(SAMPLE_S if old.workers else 0)
    console.print(status_view(await call(socket, STATUS, StatusParams(vm=vm)), old))


async def show_json(socket: Path, vm: str | None, interval_s: float | None) -> None:
    """The report as ftd gave it, one line each; repeated every `interval_s` unless that is None."""
    while True:
        report = await call(socket, STATUS, StatusParams(vm=vm))
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()
        if interval_s is None:
            return
        await trio.sleep(interval_s)


async def watch(console: Console, socket: Path, vm: str | None, interval_s: float) -> None:
    """A live table until interrupted; on a pipe, a table per interval. Goes on while ftd is restarted."""
    old: StatusReport | None = None
    view: RenderableType = Text("...")
    with Live(view, console=console, auto_refresh=False, screen=False) as live:
        while True:
            try:
                new = await call(socket, STATUS, StatusParams(vm=vm))
                view = status_view(new, old)
                shown, old = view, new
            except ControlError as error:
                if error.kind in USAGE_KINDS:
                    raise
                shown = Group(view, Text(error.message, style="bold red"))
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            await trio.sleep(interval_s)
