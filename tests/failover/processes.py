"""What /proc says of a process, and how to stop one so that the stop has surely taken effect."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

STOP_DEADLINE_S: Final = 10.0


def state_of(pid: int) -> str:
    """The letter of proc(5): R, S, D, T (stopped), Z; X when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return stat.rpartition(") ")[2][0]


def has_ended(pid: int) -> bool:
    """Also true of one that nobody has waited for."""
    return state_of(pid) in "XZ"


def freeze(pid: int) -> None:
    """SIGSTOP; returns when every thread has stopped. Blocks for milliseconds."""
    os.kill(pid, signal.SIGSTOP)
    until = monotonic() + STOP_DEADLINE_S
    threads = Path(f"/proc/{pid}/task")
    while any(_runs(thread) for thread in threads.iterdir()):
        assert monotonic() < until, f"process {pid} does not stop"
        sleep(0.001)


def thaw(pid: int) -> None:
    """SIGCONT."""
    os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stopped while in the block."""
    freeze(pid)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            thaw(pid)


def _runs(thread: Path) -> bool:
    try:
        stat = (thread / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(") ")[2][0] not in "TX"
