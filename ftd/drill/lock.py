"""One drill of a VM at a time on a host, and what a drill that died in the middle left to be undone.

The file holds the owner's process and what is to be undone; the kernel's lock on it (flock), which ends with
the owner, says whether that owner lives.
"""

import fcntl
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from ftd.drill import netcut, processes
from ftd.drill.processes import ProcessId
from ftd.errors import ControlError, ErrorKind


class Undo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has to be put right; empty: nothing."""

    thaw: ProcessId | None = None
    table: str | None = None
    """Of nftables."""

    def describe(self) -> str:
        """What lasts."""
        found = [f"the stop of process {self.thaw.pid}"] if self.thaw is not None else []
        return " and ".join(found + ([f"table {self.table} of nftables"] if self.table else []))

    async def carry_out(self) -> list[str]:
        """Says in words what it did. Does nothing where there is nothing left to do."""
        done = []
        if self.thaw is not None and processes.send(self.thaw, signal.SIGCONT):
            done.append(f"thawed process {self.thaw.pid}")
        if self.table is not None:
            await netcut.remove(self.table)
            done.append(f"removed the rules of table {self.table}")
        return done


class Note(msgspec.Struct, frozen=True):
    """What the file says."""

    pid: int
    fault: str
    undo: Undo = Undo()


class DrillLock:
    """Held. `leftover` is the note of a drill that died, if there was one."""

    def __init__(self, descriptor: int, fault: str, leftover: Note | None) -> None:
        self.leftover = leftover
        self._descriptor = descriptor
        self._fault = fault

    def note(self, undo: Undo) -> None:
        """What a successor has to undo should this process die from now on. On disk before it returns."""
        text = msgspec.json.encode(Note(os.getpid(), self._fault, undo))
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)
        os.fsync(self._descriptor)

    def clear(self) -> None:
        """There is nothing to undo any more."""
        os.ftruncate(self._descriptor, 0)


@asynccontextmanager
async def drill_lock(runtime_dir: Path, vm: str, fault: str) -> AsyncIterator[DrillLock]:
    """Held while inside. Raises ControlError when another drill of this VM runs, or the file cannot be made.

    The file stays, empty: one that is removed could be locked by two at once.
    """
    path = runtime_dir / f"{vm}.drill"
    descriptor = _open(path)
    try:
        leftover = _read(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = f" ({leftover.fault}, pid {leftover.pid})" if leftover else ""
            message = f"another drill of VM {vm} runs here{who}; wait for it, or interrupt it"
            raise ControlError(ErrorKind.WRONG_STATE, message) from None
        lock = DrillLock(descriptor, fault, leftover)
        lock.note(leftover.undo if leftover else Undo())
        yield lock
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}. A drill signals processes and must be run as root"
        raise ControlError(ErrorKind.PERMISSION, message) from error


def _read(descriptor: int) -> Note | None:
    text = os.pread(descriptor, 4096, 0)
    try:
        return msgspec.json.decode(text, type=Note) if text else None
    except msgspec.MsgspecError:
        return None  # cut off by a crash of the host: then there is nothing left to undo either
