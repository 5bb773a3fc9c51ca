"""Reads a guest's counters from outside its worker, through the memfd that holds the guest's memory."""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from bench.model import NotMeasuredError

MEMFD_NAME: Final = "/memfd:ftd-guest"
COUNTERS_ADDRESS: Final = 0x6000
"""In ftd/vm/microvm/guests/boot.h; a line of eight words for each vCPU."""
LINE_BYTES: Final = 64


@dataclass(frozen=True)
class Rounds:
    """Rounds of all vCPUs and when they were read."""

    count: int
    stamp_ns: int

    def per_second_since(self, earlier: Rounds) -> float:
        """Rate between two readings."""
        return (self.count - earlier.count) * 1e9 / (self.stamp_ns - earlier.stamp_ns)


class GuestMemory:
    """A guest's memory, opened for reading. The worker does not notice."""

    def __init__(self, worker_pid: int, vcpus: int = 1) -> None:
        self._vcpus = vcpus
        self._fd = os.open(_memfd_of(worker_pid), os.O_RDONLY | os.O_CLOEXEC)

    def counter(self, vcpu: int, index: int) -> int:
        """Word `index` of a vCPU's line."""
        data = os.pread(self._fd, 8, COUNTERS_ADDRESS + LINE_BYTES * vcpu + 8 * index)
        return int(struct.unpack("<Q", data)[0])

    def rounds(self) -> Rounds:
        """Word 0 of all lines: what the toucher counts its rounds in."""
        count = sum(self.counter(vcpu, 0) for vcpu in range(self._vcpus))
        return Rounds(count, time.monotonic_ns())

    def __enter__(self) -> GuestMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def _memfd_of(worker_pid: int) -> Path:
    for entry in Path(f"/proc/{worker_pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            if os.readlink(entry).startswith(MEMFD_NAME):
                return entry
    raise NotMeasuredError(f"worker {worker_pid} holds no guest memory")
