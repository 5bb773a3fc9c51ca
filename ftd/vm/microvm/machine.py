"""Makes microvms: new ones that boot a guest, and ones that go on from a checkpoint."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from ftd.dataplane.core import Disk, Machine, NetDevice, host_trackers
from ftd.dataplane.errors import DataplaneError
from ftd.protocol.state_blob import unpack_state
from ftd.vm.microvm import linux
from ftd.vm.microvm.boot import boot

AUTO_BITMAP_BYTES_MAX: Final = 2 << 30
"""Where KVM has no memory tracking, `auto` takes the bitmap, for its hot set, up to this much guest memory,
and the ring above.

Reading the bitmap costs in proportion to memory (5 µs a GiB of every pause), the hot set saves the guest
one write fault a hot page; docs/TRACKERS.md has more.
"""
_NEEDS: Final = {
    "mt": "its KVM has to be the patched one: kernel-patches/README.md says how to build and load it",
    "ring": "it takes Linux 5.11 or newer",
    "bitmap": "it takes Linux 5.2 or newer",
}
STATE_BYTES_MAX: Final = 1 << 20
SECTIONS_MAX: Final = 15


def choose_tracker(wanted: str, memory_bytes: int, *, or_another: bool = False) -> str:
    """The tracker for a machine of `memory_bytes`.

    Raises DataplaneError if this host does not have the wanted one, unless another will do.
    """
    offered = host_trackers()
    if wanted in offered:
        return wanted
    if wanted != "auto" and not or_another:
        have = ", ".join(sorted(offered)) or "none"
        raise DataplaneError(
            errno.EOPNOTSUPP,
            f"this host's KVM has no {wanted} tracker (it has: {have}); {_NEEDS[wanted]}, "
            'or set tracker = "auto" in the VM\'s file',
        )
    mainline = ("bitmap", "ring") if memory_bytes <= AUTO_BITMAP_BYTES_MAX else ("ring", "bitmap")
    for tracker in ("mt", *mainline):
        if tracker in offered:
            return tracker
    raise DataplaneError(
        errno.EOPNOTSUPP,
        "/dev/kvm offers neither a dirty ring nor manual dirty-log protection: use Linux 5.2",
    )


def make(
    *,
    memory_bytes: int,
    vcpus: int,
    irqchip: bool,
    tracker: str,
    epoch_pages_max: int,
    net: NetDevice | None = None,
    or_another_tracker: bool = False,
    disk: Disk | None = None,
) -> Machine:
    """An empty machine, which owns the disk's descriptor from here on. Raises DataplaneError."""
    return Machine(
        memory_bytes=memory_bytes,
        vcpus=vcpus,
        irqchip=irqchip,
        tracker=choose_tracker(tracker, memory_bytes, or_another=or_another_tracker),
        epoch_pages_max=epoch_pages_max,
        net=net,
        disk=disk,
    )


def load(machine: Machine, image: bytes, args: Sequence[int]) -> None:
    """Boots a bare guest in an empty machine. Raises BootError, DataplaneError."""
    boot(machine, image, args)


def load_linux(machine: Machine, kernel: bytes, initrd: bytes, command_line: str) -> None:
    """Boots Linux in an empty machine with irqchip. Raises BootError, DataplaneError."""
    linux.boot(machine, kernel, initrd, command_line)


def restore(machine: Machine, state: bytes) -> None:
    """Sets devices and vCPUs to a checkpoint whose memory the machine holds already.

    Raises FrameRefused for a blob that is not one, DataplaneError for a state that KVM does not take.
    """
    sections = unpack_state(state, SECTIONS_MAX, STATE_BYTES_MAX)
    names = machine.sections
    if set(names) != set(sections):
        missing, extra = sorted(set(names) - set(sections)), sorted(set(sections) - set(names))
        raise DataplaneError(22, f"the checkpoint lacks sections {missing} and has unknown ones {extra}")
    for name in names:
        machine.restore_section(name, sections[name])
