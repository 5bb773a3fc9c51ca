"""A guest made of Debian's kernel and a busybox: a login on each console, and a watch on the clocks."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.debian import packages
from lab.host.cpio import Archive
from lab.kernel.image import Image

KERNEL_INSIDE: Final = "/guest/vmlinuz"
INITRD_INSIDE: Final = "/guest/initrd"
CLOCKS: Final = Path(__file__).with_name("clocks.c")
MODULES: Final = ("virtio", "virtio_ring", "virtio_mmio")
INIT: Final = """#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /run /tmp
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
$bb mkdir -p /dev/pts
$bb mount -t devpts pts /dev/pts
$bb --install -s /bin
for module in /modules/*.ko; do $bb insmod $module; done
exec $bb init
"""
INITTAB: Final = """ttyS0::respawn:/bin/getty -L ttyS0 115200 vt100
hvc0::respawn:/bin/getty -L hvc0 115200 vt100
::ctrlaltdel:/bin/reboot
::shutdown:/bin/umount -a -r
"""
PROFILE: Final = "export PS1='guest# '\nexport PATH=/bin\n"


def files(image: Image) -> dict[str, Path]:
    """For `Spec.files`: the kernel and the initrd. Raises MissingError."""
    return {KERNEL_INSIDE: image.vmlinuz, INITRD_INSIDE: _initrd(image)}


def _initrd(image: Image) -> Path:
    packages.require(["busybox-static", "gcc", "libc6-dev"], why="a Linux guest for the tests")
    busybox = Path("/bin/busybox").read_bytes()
    modules = {name: data for name in MODULES if (data := _module(image, name)) is not None}
    texts = (INIT, INITTAB, PROFILE, CLOCKS.read_text())
    key = cache.key_of(image.version, busybox, *texts, *modules.values())

    def make(part: Path) -> None:
        clocks = part / "clocks"
        flags = ["-O2", "-static", "-pthread", "-Wall", "-Wextra"]
        run(["gcc", *flags, "-o", clocks, CLOCKS], what="compiling the watch on the clocks")
        archive = Archive()
        archive.add("init", INIT.encode(), mode=0o755)
        archive.add("bin/busybox", busybox, mode=0o755)
        archive.add("bin/clocks", clocks.read_bytes(), mode=0o755)
        archive.add("etc/inittab", INITTAB.encode())
        archive.add("etc/profile", PROFILE.encode())
        # No password: who reaches the console is in.
        archive.add("etc/passwd", b"root::0:0:root:/:/bin/sh\n")
        archive.add("etc/group", b"root:x:0:\n")
        archive.add("etc/hostname", b"guest\n")
        for number, (name, data) in enumerate(modules.items()):
            archive.add(f"modules/{number}-{name}.ko", data)
        (part / "initrd").write_bytes(bytes(archive))

    return cache.made_once(cache.folder() / "guests" / key, make) / "initrd"


def _module(image: Image, name: str) -> bytes | None:
    """None: it is built into the kernel."""
    found = sorted(image.modules.glob(f"kernel/**/{name}.ko*"))
    if not found:
        return None
    data = found[0].read_bytes()
    return lzma.decompress(data) if found[0].suffix == ".xz" else data
