"""The part of a VM file that says which Linux it boots."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ftd.config_schema import VmFile
from ftd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LinuxGuest:
    """What is booted beside the kernel, whose file stands where a bare guest's image does."""

    initrd: Path | None
    cmdline: str


def linux_guest(path: Path, vm: VmFile) -> LinuxGuest | None:
    """None: a bare guest. Raises ConfigError for keys of the VM file at `path` that do not go together."""
    guest = vm.guest
    if guest.kernel is None:
        for key in ("initrd", "cmdline"):
            if getattr(guest, key) is not None:
                raise ConfigError(f"{path}: guest.{key}: it needs guest.kernel")
        return None
    if guest.image is not None or guest.args:
        raise ConfigError(
            f"{path}: guest.kernel: a guest is booted from kernel or from image and args, not both"
        )
    if not vm.irqchip:
        raise ConfigError(f"{path}: guest.kernel: Linux needs interrupt controllers: set irqchip = true")
    initrd = (path.parent / guest.initrd).resolve() if guest.initrd else None
    return LinuxGuest(initrd=initrd, cmdline=guest.cmdline or "")


def sha256_of(vm_file: Path, key: str, path: Path) -> bytes:
    """Digest of a file as it is now. Raises ConfigError, which names the file's key, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ConfigError(f"{vm_file}: {key}: cannot read {path}: {error.strerror}") from error
