"""Units that systemd takes, and nothing left of those that it does not."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ftd.drill import schedule
from ftd.errors import ControlError, ErrorKind

ARGUMENTS = ["drill", "web", "--fault", "freeze", "--probe", "tcp:10.0.0.9:80", "--yes", "--if-here"]


class Systemd:
    """Records what it is told; `failing` is refused."""

    def __init__(self, failing: str = "never") -> None:
        self.told: list[str] = []
        self._failing = failing

    def __call__(self, command: Sequence[str]) -> str:
        self.told.append(" ".join(command))
        if self._failing in command:
            raise ControlError(ErrorKind.INTERNAL, f"{command[0]} does not like it")
        return "  Normalized form: x\n  Next elapse: Mon 2026-11-30 10:00:00 UTC\n"


def confirmed(what: str) -> None:
    assert "without asking" in what


def install(
    tmp_path: Path, systemd: Systemd, calendar: str = "Mon *-*-* 10:00", vm: str = "web"
) -> list[str]:
    return schedule.install(vm, calendar, ARGUMENTS, confirm=confirmed, units=tmp_path, run=systemd)


def test_install_and_remove(tmp_path: Path) -> None:
    systemd = Systemd()
    said = install(tmp_path, systemd)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ftd-drill-web.service",
        "ftd-drill-web.timer",
    ]
    assert "Next elapse: Mon 2026-11-30 10:00:00 UTC" in said
    assert systemd.told[1:] == ["systemctl daemon-reload", "systemctl enable --now ftd-drill-web.timer"]
    assert "OnCalendar=Mon *-*-* 10:00\n" in (tmp_path / "ftd-drill-web.timer").read_text()
    assert "--fault freeze" in (tmp_path / "ftd-drill-web.service").read_text()

    assert len(schedule.remove("web", units=tmp_path, run=systemd)) == 2
    assert list(tmp_path.iterdir()) == []
    assert systemd.told[-2:] == ["systemctl disable --now ftd-drill-web.timer", "systemctl daemon-reload"]


@pytest.mark.parametrize("calendar", ["", " ", "daily\nExecStart=/bin/sh", "\x1b[2J", " daily"])
def test_a_calendar_that_could_be_more_than_one_line(tmp_path: Path, calendar: str) -> None:
    systemd = Systemd()
    with pytest.raises(ControlError, match="no calendar expression") as info:
        install(tmp_path, systemd, calendar)
    assert (info.value.kind, systemd.told, list(tmp_path.iterdir())) == (ErrorKind.BAD_REQUEST, [], [])


def test_a_calendar_that_systemd_refuses(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="does not like it") as info:
        install(tmp_path, Systemd("calendar"))
    assert (info.value.kind, list(tmp_path.iterdir())) == (ErrorKind.BAD_REQUEST, [])


def test_units_that_cannot_be_enabled_are_taken_away(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="does not like it"):
        install(tmp_path, Systemd("enable"))
    assert list(tmp_path.iterdir()) == []


def test_not_confirmed(tmp_path: Path) -> None:
    def refuse(what: str) -> None:
        raise ControlError(ErrorKind.REFUSED, "nothing was done")

    with pytest.raises(ControlError, match="nothing was done"):
        schedule.install("web", "daily", ARGUMENTS, confirm=refuse, units=tmp_path, run=Systemd())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("vm", ["../web", "a b", "", "-x", "web%n", "Web"])
def test_a_name_that_no_vm_has(tmp_path: Path, vm: str) -> None:
    with pytest.raises(ControlError, match="cannot be a VM's name"):
        install(tmp_path, Systemd(), vm=vm)


def test_nothing_to_take_away(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no drill of VM web is scheduled here"):
        schedule.remove("web", units=tmp_path, run=Systemd())


def test_without_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ControlError, match="needs systemd"):
        schedule.install("web", "daily", ARGUMENTS, confirm=confirmed, units=tmp_path)


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    install(tmp_path, Systemd())
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    checked = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_command_is_this_ftctl() -> None:
    text = schedule.service_text("web", [*ARGUMENTS, "100%"])
    assert f"ExecStart={sys.executable} -m ftd.ctl.main drill web" in text
    assert "100%%" in text
