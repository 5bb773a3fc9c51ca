"""The first root of a host: busybox, the modules with what they depend on, the files that a run needs."""

from pathlib import Path
from typing import Final

from lab.debian import packages
from lab.errors import LabError, MissingError
from lab.host.cpio import Archive
from lab.host.spec import LOADED, Spec
from lab.kernel.stock import Stock, canonical

INIT: Final = Path(__file__).with_name("init.sh")
PORTS: Final = ("virtio_pci", "virtio_console")
APPLETS: Final = (
    "sh awk cat chmod chroot cp cut date dd df dmesg echo env expr false find free grep head id insmod kill "
    "killall ln ls lsmod mkdir mkfifo mount mv nproc od pgrep pkill poweroff printf ps pwd readlink rm rmmod "
    "sed seq setsid sleep sort stat sync sysctl tail tar tee test time timeout top touch tr true umount "
    "uname uniq uptime usleep wc which xargs"
)
DISK: Final = ("virtio_blk", "ext4", "overlay")
NETWORK: Final = ("virtio_net",)


def build(spec: Spec, token: str) -> bytes:
    """The archive, for one boot: `token` marks the ends of its commands' outputs.

    Raises MissingError without busybox, LabError when a module or a file is not there.
    """
    archive = Archive()
    archive.add("init", INIT.read_bytes(), mode=0o755)
    archive.add("bin/busybox", busybox().read_bytes(), mode=0o755)
    for applet in APPLETS.split():
        archive.link(f"bin/{applet}", "busybox")
    settings = {
        "LAB_TOKEN": token,
        "LAB_NAME": spec.name,
        "LAB_ROOT": "disk" if spec.root else "",
        "LAB_SEARCH": "".join(f"{folder}:" for folder in spec.search),
        "LAB_FOLDER": spec.folder,
        "LAB_STATE": "disk" if spec.state_disk else "",
        "LAB_SHELL": "hvc0" if spec.shell_socket else "",
    }
    archive.add("lab/boot.conf", "".join(f"{name}='{value}'\n" for name, value in settings.items()).encode())
    archive.add("lab/nics.list", "".join(f"{nic.mac} {nic.name}\n" for nic in spec.nics).encode())
    _add_modules(archive, spec)
    for inside, here in spec.files.items():
        if not here.exists():
            raise LabError(f"{here} was to be copied into the host, and does not exist")
        archive.add_tree(here, f"lab/files/{inside.strip('/')}")
    return bytes(archive)


def busybox() -> Path:
    """The static busybox. Raises MissingError where there is none."""
    packages.require(["busybox-static"], why="a host of the lab")
    path = next((path for path in map(Path, ("/bin/busybox", "/usr/bin/busybox")) if path.exists()), None)
    if path is None:
        raise MissingError("the package busybox-static is installed, but there is no /bin/busybox")
    return path


def _add_modules(archive: Archive, spec: Spec) -> None:
    stock = Stock(spec.modules.image.modules)
    wanted = [*PORTS, *(DISK if spec.root else ()), *(NETWORK if spec.nics else ())]
    lines: list[str] = []

    def add(name: str) -> None:
        for needed in stock.needs(name):
            if canonical(needed) in LOADED:
                data = (spec.modules.folder / f"{needed.replace('_', '-')}.ko").read_bytes()
            else:
                data = stock.read(needed)
            line = f"{needed}.ko {spec.parameters_of(needed)}".rstrip()
            if line not in lines:
                lines.append(line)
                archive.add(f"lab/modules/{needed}.ko", data)

    for name in [*wanted, *sorted(LOADED), *spec.more_modules]:
        add(name)
    archive.add("lab/modules.list", "".join(f"{line}\n" for line in lines).encode())
