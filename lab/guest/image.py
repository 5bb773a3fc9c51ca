"""What a VM needs to boot the lab's guest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.guest import disk, initrd
from lab.kernel import image

MEMORY_MIB: Final = 256
COMMAND_LINE: Final = (
    # Every character on the console is an exit: warnings and worse only.
    "console=ttyS0 loglevel=5 panic=-1 mitigations=off random.trust_cpu=on"
)


@dataclass(frozen=True)
class Guest:
    """Files of a guest, in the cache; `disk` is to be copied (`lab.guest.disk.copy`), never written."""

    kernel: Path
    initrd: Path
    disk: Path


def build(release: str | None = None) -> Guest:
    """The guest with the kernel of `release`, or the newest. Raises LabError, MissingError."""
    kernel = image.find(release)
    return Guest(kernel=kernel.vmlinuz, initrd=initrd.build(kernel), disk=disk.build())


def command_line(
    address: str | None = None, gateway: str | None = None, *, clockwatch_us: int | None = None
) -> str:
    """The kernel's command line. `address` is eth0's with its bits, such as `10.0.2.15/24`."""
    words = [COMMAND_LINE]
    # A word without a dot that the kernel does not know is put into init's environment, which all inherit.
    words += [f"CLOCKWATCH_US={clockwatch_us}"] if clockwatch_us else []
    words += [f"lab.address={address}"] if address else []
    words += [f"lab.gateway={gateway}"] if gateway else []
    return " ".join(words)
