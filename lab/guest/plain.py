"""The guest under plain QEMU on this machine, without KVM: to look at it, and to test it apart from ftd."""

import os
import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socketpair
from typing import Final

import trio

from lab.errors import LabError
from lab.guest.image import MEMORY_MIB, Guest, command_line
from lab.guest.services import CHAIN_PORT, REDIS_PORT, SHELL_PORT
from lab.host.emulator import PROGRAM

_ADDRESS: Final = "10.0.2.15/24"
_PORTS: Final = (CHAIN_PORT, SHELL_PORT, REDIS_PORT)
_FORWARD: Final = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)")
ANSWER_DEADLINE_S: Final = 30.0


def arguments(guest: Guest, disk: Path | None) -> list[str]:
    """QEMU's words for the guest; what becomes of its console is left to the caller.

    Its ports are forwarded from ports of the kernel's choice on 127.0.0.1; nothing else goes in or out.
    """
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in _PORTS)
    words = [
        *(PROGRAM, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35,usb=off", "-accel", "tcg", "-cpu", "max", "-m", f"{MEMORY_MIB}M"),
        *("-kernel", str(guest.kernel), "-initrd", str(guest.initrd), "-append", command_line(_ADDRESS)),
        *("-netdev", f"user,id=net,restrict=on{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
    ]
    if disk is not None:
        words += ["-drive", f"file={disk},format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]
    return words


@dataclass(eq=False)
class Plain:
    """A running guest."""

    process: subprocess.Popen[bytes]
    ports: Mapping[int, int]
    """Port of the guest to port on 127.0.0.1."""
    console_fd: int

    @property
    def console(self) -> str:
        """All that it has written to its serial console."""
        size = os.fstat(self.console_fd).st_size
        return os.pread(self.console_fd, size, 0).decode(errors="replace").replace("\r", "")

    def kill(self) -> None:
        """A power cut."""
        self.process.kill()
        self.process.wait()


@asynccontextmanager
async def running(guest: Guest, disk: Path | None) -> AsyncIterator[Plain]:
    """The guest from its power on; killed at the end, whatever happens. Raises LabError.

    To be entered from the main thread: the emulator dies with the thread that started it.
    """
    ours, theirs = socketpair()
    console_fd = os.memfd_create("console")
    inherited = (console_fd, theirs.fileno())
    command: Sequence[str] = [
        *("nice", "setpriv", "--pdeathsig", "KILL", *arguments(guest, disk)),
        *("-chardev", f"file,id=console,path=/proc/self/fd/{console_fd}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-mon", "chardev=monitor,mode=readline"),
    ]
    process = _started(command, inherited)
    theirs.close()
    try:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as monitor:
            yield Plain(process, await _ports(monitor), console_fd)
    finally:
        process.kill()
        process.wait()
        os.close(console_fd)


def _started(command: Sequence[str], inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Without trio: the guest can be killed, and waited for, from anywhere."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=inherited)


async def _ports(monitor: trio.SocketStream) -> dict[int, int]:
    """Asks the emulator which ports it has found for those of the guest."""
    said = b""
    with trio.move_on_after(ANSWER_DEADLINE_S):
        await monitor.send_all(b"info usernet\n")
        while data := await monitor.receive_some():
            said += bytes(data)
            found = {
                int(inside): int(here) for here, inside in _FORWARD.findall(said.decode(errors="replace"))
            }
            if len(found) == len(_PORTS):
                return found
    raise LabError(f"the emulator of the lab's guest does not say how to reach it: {said!r}")
