"""Hosts in maintenance, as far as this one knows: one empty file each below state_dir. That it is there says
so, as with a wish.

A host in maintenance knows so itself, and refuses what others would put there. Others need a record of their
own only of a host that could not be told.
"""

from pathlib import Path
from typing import Final

import trio

from ftd import durable_file
from ftd.errors import ConfigError, ControlError, ErrorKind

SUFFIX: Final = ".off"


class KeptOff:
    """What is on the disk, and a copy of it in memory."""

    def __init__(self, directory: Path) -> None:
        """`directory` need not exist before there is something to keep."""
        self._directory = directory
        self._hosts: set[str] = set()

    def load(self) -> None:
        """Reads what an earlier ftd kept. Raises ConfigError."""
        try:
            paths = self._directory.glob(f"*{SUFFIX}") if self._directory.exists() else ()
            self._hosts = {path.name.removesuffix(SUFFIX) for path in paths}
        except OSError as error:
            message = f"host.state_dir: cannot read {self._directory}: {error.strerror}"
            raise ConfigError(f"{message}; it says which hosts are in maintenance") from error

    @property
    def hosts(self) -> frozenset[str]:
        """Names."""
        return frozenset(self._hosts)

    async def put(self, host: str, *, on: bool) -> None:
        """Keeps it, durably. Raises ControlError; nothing was changed then."""
        if (host in self._hosts) == on:
            return
        path = self._directory / f"{host}{SUFFIX}"
        try:
            await trio.to_thread.run_sync(_write if on else durable_file.remove, path)
        except OSError as error:
            message = f"cannot record in {path} that {host} is in maintenance: {error.strerror}"
            raise ControlError(ErrorKind.INTERNAL, f"{message}. Mend host.state_dir") from error
        if on:
            self._hosts.add(host)
        else:
            self._hosts.discard(host)


def _write(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable_file.replace(path, b"")
