"""Proof that a host was off at some moment: a small file, written by whoever has turned it off.

All workers of this host that lost a peer there may use it, if it is newer than their loss: whatever ran on a
host that was off since runs no more. So one turns it off for all, and a host that is back is not turned off
again for a loss that was before. Times are CLOCK_BOOTTIME; a proof from before a reboot of this host counts
for nothing, and none of its workers is left to want it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ftd import durable_file

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PROOF_BYTES_MAX: Final = 200


def now_ns() -> int:
    """The clock of proofs and losses."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Proof:
    """About one host."""

    def __init__(self, directory: Path, host: str) -> None:
        self.path = directory / f"{host}.off"

    def is_newer_than(self, since_ns: int) -> bool:
        """Whether the host was off at some moment after ``since_ns``. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                words = file.read(PROOF_BYTES_MAX).decode(errors="replace").split()
        except FileNotFoundError:
            return False
        # What cannot be made sense of proves nothing.
        if len(words) != 2 or not (words[1].isascii() and words[1].isdigit()):
            return False
        return words[0] == _boot_id() and int(words[1]) >= since_ns

    def write(self, at_ns: int) -> None:
        """The host was off after ``at_ns``. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable_file.replace(self.path, f"{_boot_id()} {at_ns}\n".encode())

    @contextlib.contextmanager
    def taken(self) -> Iterator[bool]:
        """False: another worker is turning the host off just now. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _lock(descriptor)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _boot_id() -> str:
    return BOOT_ID.read_text().strip()
