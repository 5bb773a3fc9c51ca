"""Which VMs are to be protected: one small file each below state_dir.

That the file is there says that protection is wanted: `leave` removes it. What stands in it only says how it
came there. So a file that cannot be made sense of, which a crash never leaves behind, still means the same as
`enter` did, and a missing one means that nobody asked for protection here, or that somebody left it.
"""

import enum
from pathlib import Path
from typing import Final

import trio

from ftd import durable_file
from ftd.errors import ConfigError, ControlError, ErrorKind
from ftd.log import get_logger

log = get_logger(__name__)
SUFFIX: Final = ".wanted"
TEXT_BYTES_MAX: Final = 64


class Wish(enum.StrEnum):
    """How this host came to know that protection is wanted."""

    ENTERED = "entered"
    """An operator entered the VM here, or it came here protected: it holds until `leave`."""
    STANDBY = "standby"
    """This host was asked to have the standby: it holds if that standby takes over, and for nothing else."""


class Wishes:
    """What is on the disk, and a copy of it in memory. This daemon is the only one that writes it."""

    def __init__(self, directory: Path) -> None:
        """`directory` need not exist before there is something to keep."""
        self._directory = directory
        self._wishes: dict[str, Wish] = {}

    def load(self) -> None:
        """Reads what an earlier ftd kept. Raises ConfigError when it cannot be read at all."""
        try:
            paths = sorted(self._directory.glob(f"*{SUFFIX}")) if self._directory.exists() else []
            for path in paths:
                self._wishes[path.name.removesuffix(SUFFIX)] = _read(path)
        except OSError as error:
            message = f"host.state_dir: cannot read {error.filename}: {error.strerror}"
            raise ConfigError(f"{message}; it says which VMs are to be protected") from error

    def get(self, vm: str) -> Wish | None:
        """None: nobody wants it protected."""
        return self._wishes.get(vm)

    def all(self) -> dict[str, Wish]:
        """By VM name; a copy."""
        return dict(self._wishes)

    async def put(self, vm: str, wish: Wish | None) -> None:
        """Keeps it, durably; None: protection is wanted no more. Raises ControlError: nothing was changed."""
        if self._wishes.get(vm) == wish:
            return
        try:
            await trio.to_thread.run_sync(self._write, vm, wish)
        except OSError as error:
            path = self._path(vm)
            message = f"cannot record in {path} whether VM {vm} is to be protected: {error.strerror}"
            raise ControlError(
                ErrorKind.INTERNAL, f"{message}. Mend host.state_dir, then try again"
            ) from error
        if wish is None:
            del self._wishes[vm]
        else:
            self._wishes[vm] = wish

    def _write(self, vm: str, wish: Wish | None) -> None:
        if wish is None:
            durable_file.remove(self._path(vm))
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable_file.replace(self._path(vm), f"{wish.value}\n".encode())

    def _path(self, vm: str) -> Path:
        return self._directory / f"{vm}{SUFFIX}"


def _read(path: Path) -> Wish:
    with path.open("rb") as file:
        text = file.read(TEXT_BYTES_MAX).decode(errors="replace").strip()
    try:
        return Wish(text)
    except ValueError:
        log.warning("a damaged file counts as entered: leave would have removed it", path=str(path))
        return Wish.ENTERED
