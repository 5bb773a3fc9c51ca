"""The protected guest of the bench: what its hosts are given, and its VM file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.commands import run
from lab.guest import image
from lab.host import borrowed
from lab.pair.network import CLIENT

NAME: Final = "guest"
ADDRESS: Final = "10.0.1.50"
"""On the client network, at whichever host runs it."""
KERNEL: Final = "/srv/guest/vmlinuz"
INITRD: Final = "/srv/guest/initrd"
DISK: Final = "/var/lib/guest/disk.ext4"
"""On the disk that each host keeps from boot to boot."""
CLOCKWATCH_US: Final = 20_000
"""At the usual 2 ms, waking up for it takes more than half of the emulated processor."""
STATE_DISK_MIB: Final = 768
"""Room for the guest's disk and for a copy of it, of which the file system is checked."""


@dataclass(frozen=True)
class Protection:
    """How the guest is protected."""

    rate_hz: int = 200
    heartbeat_interval_ms: int = 50
    heartbeat_timeout_ms: int = 200
    vcpus: int = 1

    @property
    def epoch_s(self) -> float:
        """Seconds from one checkpoint to the next."""
        return 1 / self.rate_hz


def vm_file(protection: Protection) -> str:
    """The VM file, the same for both hosts."""
    return f"""name = "{NAME}"
memory_mib = {image.MEMORY_MIB}
vcpus = {protection.vcpus}
irqchip = true
reprotect = false

[guest]
kernel = "{KERNEL}"
initrd = "{INITRD}"
cmdline = "{image.command_line(f"{ADDRESS}/24", clockwatch_us=CLOCKWATCH_US)}"

[net]
bridge = "{CLIENT.name}"

[disk]
path = "{DISK}"

[replication]
checkpoint_rate_hz = {protection.rate_hz}
heartbeat_interval_ms = {protection.heartbeat_interval_ms}
heartbeat_timeout_ms = {protection.heartbeat_timeout_ms}
"""


def host_files(guest: image.Guest) -> dict[str, Path]:
    """What is copied into each host: the guest's kernel and initrd, and the tool that checks its disk."""
    return {KERNEL: guest.kernel, INITRD: guest.initrd, **borrowed.program("e2fsck", package="e2fsprogs")}


def put_disk(state_disk: Path, guest: image.Guest) -> None:
    """Writes a fresh disk for the guest into a host's state disk, sparse. The host must not run."""
    inside = Path(DISK).relative_to("/var/lib")
    for command in (f"mkdir {inside.parent}", f"write {guest.disk} {inside}"):
        run(["debugfs", "-w", "-R", command, state_disk], what="giving a host the guest's disk")
