"""A drill that systemd runs: a timer and a service for one VM, on this host."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ftd.errors import ControlError, ErrorKind

UNITS: Final = Path("/etc/systemd/system")
REPORTS: Final = Path("/var/lib/ftd/drills")
COMMAND_DEADLINE_S: Final = 30.0
NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")

Run = Callable[[Sequence[str]], str]


def unit_name(vm: str) -> str:
    """Without a suffix. Raises ControlError for a name that no VM can have."""
    if not vm or not NAME_CHARACTERS.issuperset(vm) or not vm[0].isalnum():
        raise ControlError(ErrorKind.UNKNOWN_VM, f"{vm!r} cannot be a VM's name")
    return f"ftd-drill-{vm}"


def service_text(vm: str, arguments: Sequence[str]) -> str:
    """The unit that runs the drill once."""
    command = shlex.join([sys.executable, "-m", "ftd.ctl.main", *arguments]).replace("%", "%%")
    return f"""[Unit]
Description=Failover drill of VM {vm}
After=ftd.service

[Service]
Type=oneshot
ExecStart={command}
# Interrupted, a drill undoes what it has done.
KillSignal=SIGINT
TimeoutStopSec=60s
"""


def timer_text(vm: str, calendar: str) -> str:
    """The unit that says when."""
    return f"""[Unit]
Description=When the failover drill of VM {vm} is due

[Timer]
OnCalendar={calendar}
# One that was missed is not made up for: nobody would expect it when the host comes up.
Persistent=false

[Install]
WantedBy=timers.target
"""


def install(
    vm: str,
    calendar: str,
    arguments: Sequence[str],
    *,
    confirm: Callable[[str], None],
    units: Path = UNITS,
    run: Run | None = None,
) -> list[str]:
    """Writes both units, enables the timer, says what it did. Raises ControlError; then nothing is left."""
    name, execute = unit_name(vm), run or _run
    if not calendar.isprintable() or calendar != calendar.strip() or not calendar:
        raise ControlError(ErrorKind.BAD_REQUEST, f"--schedule {calendar!r} is no calendar expression")
    try:
        due = execute(["systemd-analyze", "calendar", calendar])
    except ControlError as error:
        raise ControlError(ErrorKind.BAD_REQUEST, f"--schedule {calendar!r}: {error.message}") from error
    confirm(f"VM {vm}: systemd runs `ftctl {shlex.join(arguments)}` at {calendar}, without asking")
    paths = _paths(units, name)
    try:
        for path, text in zip(paths, (service_text(vm, arguments), timer_text(vm, calendar)), strict=True):
            path.write_text(text)
        execute(["systemctl", "daemon-reload"])
        execute(["systemctl", "enable", "--now", f"{name}.timer"])
    except OSError as error:
        _unlink(paths)
        message = f"cannot write the units of the drill to {units}: {error.strerror}. Run it as root"
        raise ControlError(ErrorKind.PERMISSION, message) from error
    except ControlError:
        _unlink(paths)
        raise
    following = [line.strip() for line in due.splitlines() if "Next elapse" in line]
    return [f"written: {path}" for path in paths] + [f"{name}.timer is enabled", *following]


def remove(vm: str, *, units: Path = UNITS, run: Run | None = None) -> list[str]:
    """Takes the timer and the service away. Says what it did. Raises ControlError."""
    name, execute = unit_name(vm), run or _run
    paths = [path for path in _paths(units, name) if path.exists()]
    if not paths:
        message = f"no drill of VM {vm} is scheduled here: there is no {name}.timer in {units}"
        raise ControlError(ErrorKind.WRONG_STATE, message)
    execute(["systemctl", "disable", "--now", f"{name}.timer"])
    try:
        for path in paths:
            path.unlink()
    except OSError as error:
        raise ControlError(ErrorKind.PERMISSION, f"cannot remove {path}: {error.strerror}") from error
    execute(["systemctl", "daemon-reload"])
    return [f"removed: {path}" for path in paths]


def _paths(units: Path, name: str) -> list[Path]:
    return [units / f"{name}.service", units / f"{name}.timer"]


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMMAND_DEADLINE_S
        )
    except FileNotFoundError as error:
        message = f"scheduling needs systemd: there is no {command[0]} here"
        raise ControlError(ErrorKind.CONFIG, message) from error
    except subprocess.TimeoutExpired as error:
        message = f"{shlex.join(command)} did not end within {COMMAND_DEADLINE_S:g} s"
        raise ControlError(ErrorKind.TIMEOUT, message) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().replace("\n", "; ")
        raise ControlError(ErrorKind.INTERNAL, f"{shlex.join(command)} failed: {said}")
    return done.stdout
