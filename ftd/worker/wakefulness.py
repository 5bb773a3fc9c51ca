"""Keeps the host's processors out of idle states while a VM is protected.

Each checkpoint wakes threads on other processors. Waking one from an idle state takes tens of microseconds,
about as long as the checkpoint itself. The kernel offers a request for that
(Documentation/power/pm_qos_interface.rst): it holds as long as the file is open.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from ftd.log import get_logger

DEVICE: Final = "/dev/cpu_dma_latency"
log = get_logger(__name__)


class Wakefulness:
    """One request of this process. Best effort: without the device, or the right to it, a host is slower."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._fd: int | None = None

    def begin(self) -> None:
        """From here on idle processors poll."""
        if not self._wanted or self._fd is not None:
            return
        try:
            self._fd = os.open(DEVICE, os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._fd, struct.pack("<i", 0))
        except OSError as error:
            log.info("processors may sleep: checkpoints take longer", device=DEVICE, reason=error.strerror)
            self.end()

    def end(self) -> None:
        """They may sleep again. Harmless when they may already."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
