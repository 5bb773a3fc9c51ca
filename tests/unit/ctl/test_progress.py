"""The bar of a first synchronisation: drawn from polls, gone at the end, and never in the request's way."""

import io
from pathlib import Path

import pytest
import trio
from rich.console import Console

from ftd.ctl.progress import call_with_bar
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import Nothing, SyncProgress
from ftd.protocol.control_operator import ENTER, StatusReport
from tests.unit.ctl.fake_ftd import FakeFtd, report, worker_status


async def draw(fake: FakeFtd) -> str:
    screen = io.StringIO()
    with trio.fail_after(10):
        async with fake.running():
            await call_with_bar(terminal(screen), fake.socket, ENTER, "web")
    return screen.getvalue()


def terminal(screen: io.StringIO) -> Console:
    return Console(file=screen, force_terminal=True, width=100)


async def test_bar_follows_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeFtd(tmp_path / "ctl.sock")
    polled = trio.Event()

    def status() -> StatusReport:
        if len([name for name, _ in fake.asked if name == "status"]) > 2:
            polled.set()
        progress = SyncProgress(round=3, sent_bytes=500_000, total_bytes=1_000_000, pending_pages=1)
        return report(worker_status(state="syncing", sync=progress))

    async def enter(*_: object) -> Nothing:
        await polled.wait()
        await trio.sleep(0.2)  # rich draws ten times a second
        return Nothing()

    fake.answers["status"] = status
    monkeypatch.setattr(fake, "_handler", _with(fake, "enter", enter))
    screen = await draw(fake)
    assert "web: syncing, round 3" in screen
    assert "0.5/1.0 MB" in screen


async def test_refusal_comes_through_bare(tmp_path: Path) -> None:
    fake = FakeFtd(tmp_path / "ctl.sock")
    fake.answers = {"status": report(), "enter": ControlError(ErrorKind.WRONG_STATE, "already")}
    async with fake.running():
        with pytest.raises(ControlError, match="already"):
            await call_with_bar(terminal(io.StringIO()), fake.socket, ENTER, "web")


def _with(fake: FakeFtd, method: str, handler: object) -> object:
    canned = fake._handler
    return lambda name: handler if name == method else canned(name)
