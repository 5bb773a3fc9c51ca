"""Processes named so that a number that was given to another one meanwhile is noticed."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import msgspec


class ProcessId(msgspec.Struct, frozen=True):
    """A process id, and when that process began (clock ticks since boot, of proc(5))."""

    pid: int
    began: int


def identify(pid: int) -> ProcessId | None:
    """None: there is no such process."""
    fields = _stat(pid)
    return ProcessId(pid, int(fields[19])) if fields else None


def lives(process: ProcessId) -> bool:
    """Whether it is still there; one that has died and was not waited for is not."""
    fields = _stat(process.pid)
    return bool(fields) and int(fields[19]) == process.began and fields[0] not in "ZX"


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Sends a signal. False: the process is gone. Raises PermissionError."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if lives(process):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
                return True
        return False
    finally:
        os.close(descriptor)


def _stat(pid: int) -> list[str]:
    """Fields from the third on: the second, a name in parentheses, may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
