"""Whether this machine can run the demonstration at all, and what to do when it cannot."""

import errno
import fcntl
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEVICE: Final = Path("/dev/kvm")
CPUINFO: Final = Path("/proc/cpuinfo")

# linux/kvm.h
_GET_API_VERSION: Final = 0xAE00
_CREATE_VM: Final = 0xAE01
_CHECK_EXTENSION: Final = 0xAE03
_API_VERSION: Final = 12
_CAP_DIRTY_LOG_RING: Final = 192
_CAP_MANUAL_DIRTY_LOG_PROTECT2: Final = 168

# Processor flag of the virtualisation extension, and the module that drives it.
_MODULES: Final = {"vmx": "kvm_intel", "svm": "kvm_amd"}

_SWITCH_ON: Final = (
    "On a physical machine switch virtualisation (VT-x, AMD-V, SVM) on in the firmware",
    "In a virtual machine let its host pass it on: `modprobe kvm_intel nested=1` (kvm_amd) there, and a "
    "processor model that shows it (QEMU: -cpu host)",
)


@dataclass(frozen=True, slots=True)
class NoKvm:
    """Why KVM cannot be used here, and what an operator can do about it, first thing first."""

    why: str
    advice: tuple[str, ...]


def check(device: Path = DEVICE, cpuinfo: Path = CPUINFO) -> NoKvm | None:
    """None: a virtual machine can be created here, and its dirty pages can be tracked."""
    if platform.machine() != "x86_64":
        return NoKvm(f"this machine is a {platform.machine()}", ("Use an x86-64 machine",))
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return explain_open(error, device, virtualisation_flag(cpuinfo.read_text()))
    try:
        return _check_open(fd, device)
    finally:
        os.close(fd)


def explain_open(error: OSError, device: Path, flag: str | None) -> NoKvm:
    """For a device that cannot be opened; `flag` is the processor's: vmx, svm or None."""
    why = f"{device}: {error.strerror}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return NoKvm(
            why,
            (
                "Join the group that owns it: `sudo usermod -aG kvm $USER`, then log in again",
                "Or run this as root",
                "In a container the device must be passed in: --device /dev/kvm",
            ),
        )
    if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return NoKvm(why, (f"See what `ls -l {device}` and `dmesg | grep -i kvm` say",))
    if flag is None:
        return NoKvm(f"{why}; the processor shows no virtualisation extension", _SWITCH_ON)
    return NoKvm(
        why,
        (
            f"Load the module: `sudo modprobe {_MODULES[flag]}`; `dmesg | grep -i kvm` says why if it fails",
            *_SWITCH_ON,
            "In a container the device must be passed in: --device /dev/kvm",
        ),
    )


def virtualisation_flag(cpuinfo: str) -> str | None:
    """vmx, svm, or None, from the text of /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        key, _, flags = line.partition(":")
        if key.strip() == "flags":
            return next((flag for flag in _MODULES if flag in flags.split()), None)
    return None


def _check_open(fd: int, device: Path) -> NoKvm | None:
    try:
        version = fcntl.ioctl(fd, _GET_API_VERSION, 0)
    except OSError as error:
        return NoKvm(f"{device} is not KVM ({error.strerror})", (f"Remove {device} and load KVM again",))
    if version != _API_VERSION:
        return NoKvm(f"{device} speaks API version {version}, not {_API_VERSION}", ("Use a newer kernel",))
    try:
        os.close(fcntl.ioctl(fd, _CREATE_VM, 0))
    except OSError as error:
        return NoKvm(
            f"KVM creates no virtual machine: {error.strerror}",
            ("Another hypervisor may hold the processor's extension (VirtualBox, VMware): end it",),
        )
    if any(_extension(fd, cap) for cap in (_CAP_DIRTY_LOG_RING, _CAP_MANUAL_DIRTY_LOG_PROTECT2)):
        return None
    return NoKvm("this kernel's KVM has no dirty tracking that ftd can use", ("Use Linux 5.2 or newer",))


def _extension(fd: int, capability: int) -> bool:
    return fcntl.ioctl(fd, _CHECK_EXTENSION, capability) > 0
