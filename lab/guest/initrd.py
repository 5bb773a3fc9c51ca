"""The guest's first root: busybox, the modules of its devices, the programs, an init."""

from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.guest import programs, services
from lab.host.cpio import Archive
from lab.host.initramfs import busybox
from lab.kernel.image import Image
from lab.kernel.stock import Stock

MODULES: Final = ("virtio_mmio", "virtio_net", "virtio_blk")
_FOLDERS: Final = ("dev", "proc", "sys", "run", "tmp", "root", "newroot", "sbin")


def build(image: Image) -> Path:
    """The initrd for a kernel image, in the cache. Raises LabError, MissingError."""
    data = _archive(image)

    def make(part: Path) -> None:
        (part / "initrd").write_bytes(data)

    return cache.made_once(cache.folder() / "guest" / f"initrd-{cache.key_of(data)}", make) / "initrd"


def _archive(image: Image) -> bytes:
    archive = Archive()
    for folder in _FOLDERS:
        archive.folder(folder)
    archive.add("init", (programs.INSIDE / "init.sh").read_bytes(), mode=0o755)
    archive.add("bin/busybox", busybox().read_bytes(), mode=0o755)
    for applet in run([busybox(), "--list"], what="asking busybox what it can").split():
        if applet != "busybox":
            archive.link(f"bin/{applet}", "busybox")
    compiled = programs.build()
    for name in programs.NAMES:
        archive.add(f"bin/{name}", (compiled / name).read_bytes(), mode=0o755)
    for name, (data, mode) in services.files().items():
        archive.add(name, data, mode=mode)
    _add_modules(archive, Stock(image.modules))
    return bytes(archive)


def _add_modules(archive: Archive, stock: Stock) -> None:
    names: list[str] = []
    for wanted in MODULES:
        names += [name for name in stock.needs(wanted) if name not in names]
    for name in names:
        archive.add(f"lib/modules/{name}.ko", stock.read(name))
    archive.add("lib/modules/list", "".join(f"{name}.ko\n" for name in names).encode())
