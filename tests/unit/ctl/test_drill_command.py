"""`ftctl drill` on the command line: what is refused, what is asked, what is only shown."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ftd.drill.catalogue import FAULTS
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import ArbiterSpec
from ftd.protocol.control_drill import CopyView, DrillView, DrillViewParams
from tests.unit.ctl.fake_ftd import FakeFtd, worker_status


@pytest.fixture
async def ftd(tmp_path: Path) -> AsyncIterator[FakeFtd]:
    fake = FakeFtd(tmp_path / "ctl.sock")
    fake.answers["drill_view"] = seen(tmp_path)
    async with fake.running():
        yield fake


def seen(folder: Path, **here: Any) -> DrillView:
    standby = worker_status(host="beta", role="standby", state="standby")
    return DrillView(
        host="alpha",
        daemon_pid=1,
        runtime_dir=str(folder),
        arbiter=ArbiterSpec(kind="local", directory=str(folder)),
        vm_id=bytes(16),
        heartbeat_timeout_ms=500,
        here=CopyView(status=worker_status(**here), boottime_ns=1),
        peer="beta",
        peer_address="127.0.0.1",
        there=CopyView(status=standby, boottime_ns=1),
    )


async def test_the_list_explains_every_fault(ftd: FakeFtd) -> None:
    result = await ftd.ftctl("drill", "--list")
    assert (result.exit_code, ftd.asked) == (0, [])
    for fault in FAULTS.values():
        assert f"{fault.name}\n    {fault.does}" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("drill", "name a VM"),
        ("drill web", "name a fault"),
        ("drill web --fault flood", "'flood' is not one of"),
        ("drill web --fault freeze --hold 0", "--hold"),
        ("drill web --fault freeze --blackout-max-ms 0", "--blackout-max-ms"),
    ],
)
async def test_wrong_usage(ftd: FakeFtd, arguments: str, said: str) -> None:
    result = await ftd.ftctl(*arguments.split())
    assert (result.exit_code, ftd.asked) == (2, [])
    assert said in result.output


async def test_an_unknown_vm(ftd: FakeFtd) -> None:
    ftd.answers["drill_view"] = ControlError(ErrorKind.UNKNOWN_VM, "no VM ghost here")
    result = await ftd.ftctl("drill", "ghost", "--fault", "freeze", "--yes")
    assert (result.exit_code, result.output) == (2, "ftctl: no VM ghost here\n")
    assert ftd.asked == [("drill_view", DrillViewParams(vm="ghost"))]


async def test_an_unprotected_vm(ftd: FakeFtd, tmp_path: Path) -> None:
    ftd.answers["drill_view"] = seen(tmp_path, state="simplex")
    result = await ftd.ftctl("drill", "web", "--fault", "freeze", "--yes")
    assert result.exit_code == 1
    assert "is simplex on alpha, not protected" in result.output


@pytest.mark.parametrize(("flag", "exit_code"), [([], 1), (["--if-here"], 0)])
async def test_the_wrong_host(ftd: FakeFtd, tmp_path: Path, flag: list[str], exit_code: int) -> None:
    """A timer on both hosts is no failure on the one that has the standby."""
    ftd.answers["drill_view"] = seen(tmp_path, role="standby", state="standby")
    result = await ftd.ftctl("drill", "web", "--fault", "freeze", "--yes", *flag)
    assert result.exit_code == exit_code
    assert "does not run on alpha" in result.output


async def test_an_unprotected_vm_is_a_failure_for_a_timer_too(ftd: FakeFtd, tmp_path: Path) -> None:
    ftd.answers["drill_view"] = seen(tmp_path, state="simplex")
    result = await ftd.ftctl("drill", "web", "--fault", "freeze", "--yes", "--if-here")
    assert result.exit_code == 1


async def test_power_off_without_a_fence_device(ftd: FakeFtd, tmp_path: Path) -> None:
    protected = seen(tmp_path)
    ftd.answers["drill_view"] = replace(
        protected, here=protected.there, there=protected.here, host="beta", peer="alpha"
    )
    result = await ftd.ftctl("drill", "web", "--fault", "power-off", "--yes")
    assert result.exit_code == 2
    assert "none is configured: [peers.alpha] fence" in result.output


async def test_not_as_root(ftd: FakeFtd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    result = await ftd.ftctl("drill", "web", "--fault", "switchover", "--yes")
    assert result.exit_code == 1
    assert "run it as root" in result.output


async def test_a_report_that_cannot_be_written(ftd: FakeFtd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "report.html"
    result = await ftd.ftctl("drill", "web", "--fault", "freeze", "--yes", "--report", str(where))
    assert (result.exit_code, ftd.asked) == (2, [])
    assert "Nothing was done" in result.output


async def test_a_schedule_that_is_not_confirmed(ftd: FakeFtd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftd.drill.schedule._run", lambda command: "")
    result = await ftd.ftctl("drill", "web", "--fault", "freeze", "--schedule", "daily")
    assert result.exit_code == 1
    assert "confirm it with --yes" in result.output


async def test_a_schedule_for_an_unknown_vm(ftd: FakeFtd) -> None:
    ftd.answers["drill_view"] = ControlError(ErrorKind.UNKNOWN_VM, "no VM ghost here")
    result = await ftd.ftctl("drill", "ghost", "--fault", "freeze", "--schedule", "daily", "--yes")
    assert (result.exit_code, result.output) == (2, "ftctl: no VM ghost here\n")
