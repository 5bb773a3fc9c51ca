"""Talks to a Linux guest over one of its consoles: on a host of the lab."""

from __future__ import annotations

import re
import secrets
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ftd.dataplane.core import Machine
from ftd.dataplane.events import Event, EventKind
from ftd.vm.microvm import machine as microvm
from tests.lab.linux.image import INITRD_INSIDE, KERNEL_INSIDE

DEADLINE_S: Final = 900.0
"""An emulated processor that emulates processors, on a machine that has other things to do."""
# The watch on the TSC reads two clocks one after the other: emulated processors may stand still in between.
COMMAND_LINE: Final = "console=ttyS0 pci=off panic=-1 mitigations=off tsc=nowatchdog"
PROMPT: Final = "guest# "
_UNWELL: Final = re.compile(
    r"WARNING:|BUG:|Oops|Call Trace|stall|lockup|blocked for more|[Uu]nstable|skew|clock.*back|nobody cared|"
    r"not responding|[Ff]ailed to",
)
# Said of this machine at any time, and true: it has neither.
_KNOWN: Final = re.compile(
    r"RAS: Correctable|PCI: Fatal|amd_pstate|Unstable clock detected, switching default tr"
)


def boot(machine: Machine, command_line: str = COMMAND_LINE) -> None:
    """Loads the guest of image.py and runs it."""
    microvm.load_linux(
        machine, Path(KERNEL_INSIDE).read_bytes(), Path(INITRD_INSIDE).read_bytes(), command_line
    )
    machine.run()


def unwell(log: str) -> list[str]:
    """The lines of a guest's kernel log that no healthy guest has."""
    return [line for line in log.splitlines() if _UNWELL.search(line) and not _KNOWN.search(line)]


def wait_stopped(machine: Machine, deadline_s: float = DEADLINE_S) -> Event:
    """How the guest ended. Raises AssertionError if it does not."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        select.select([machine.event_fd], [], [], 1)
        for event in machine.take_events():
            if event.kind is EventKind.GUEST_STOPPED:
                return event
    raise AssertionError(f"the guest has not ended within {deadline_s} s")


class Session:
    """A client of the serial port, or of the virtio console."""

    def __init__(self, plug: Callable[[socket.socket], None], path: str) -> None:
        Path(path).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            plug(listener)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self.text = ""

    def send(self, line: str) -> None:
        """Types a line."""
        self._socket.sendall(f"{line}\n".encode())

    def read(self, wait_s: float) -> None:
        """Takes what has come, or waits for it. Raises AssertionError at its end."""
        if select.select([self._socket], [], [], wait_s)[0]:
            assert self._take(), f"the console was closed: {self.text[-2000:]}"

    def read_to_end(self) -> str:
        """What the guest of a machine that was killed still had said, once it was let go."""
        while self._take():
            pass
        self._socket.close()
        return self.text

    def _take(self) -> bool:
        data = self._socket.recv(65536)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        self.text += data.decode(errors="replace").replace("\r", "")
        return bool(data)

    def expect(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match[str]:
        """Reads up to the first match, and past it. Raises AssertionError after the deadline."""
        end = time.monotonic() + deadline_s
        while (found := re.search(pattern, self.text)) is None:
            assert time.monotonic() < end, f"no {pattern!r} within {deadline_s} s: {self.text[-2000:]}"
            self.read(1)
        self.text = self.text[found.end() :]
        return found

    def log_in(self) -> None:
        """From getty's prompt, which is asked for again in case it was said before anyone listened."""
        self.send("")
        self.expect("login: ")
        self.send("root")
        self.expect(PROMPT)
        # Lines are not to be broken for the terminal's sake.
        self.run("stty cols 1000; dmesg -n 1")

    def run(self, command: str) -> str:
        """Output of a shell's command."""
        # The marks are typed in two parts: what is typed is echoed, by the terminal and by the shell.
        token = secrets.token_hex(4)
        self.send(f"echo {token}''begin; {command}; echo {token}''end")
        return self.expect(rf"\n{token}begin\n([\s\S]*?){token}end\n")[1]
