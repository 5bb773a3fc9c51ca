"""Where a pair keeps its files, as long as its owner lives. Its name is its network namespace's, too."""

import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from lab import cache

# Beside the files that hosts must find again after a reboot there are sockets: their paths must be short.
BASE: Final = Path("/var/tmp/ftd-lab")
NAMESPACES: Final = Path("/run/netns")
PREFIX: Final = "ftd-lab-"
LOCK: Final = "owner.lock"


@contextmanager
def owned() -> Iterator[Path]:
    """A new folder of a unique name, removed at the end together with the namespace of that name.

    What owners that died have left behind is removed first.
    """
    with ExitStack() as stack:
        with cache.locked("pairs"):  # so that nobody sweeps what is not locked yet
            _sweep()
            folder = BASE / f"{PREFIX}{os.getpid()}-{secrets.token_hex(2)}"
            folder.mkdir(parents=True, mode=0o700)
            lock = stack.enter_context((folder / LOCK).open("w"))
            # The kernel lets go of it when we die, however that happens; children do not inherit it.
            fcntl.flock(lock, fcntl.LOCK_EX)
        stack.callback(_remove, folder)
        yield folder


def living() -> list[Path]:
    """The folders of the pairs that are there now."""
    return [path for path in _folders() if _lives(path)]


def _sweep() -> None:
    """Removes the folders and namespaces of pairs whose owners are dead."""
    for folder in _folders():
        if not _lives(folder):
            _remove(folder)


def _folders() -> list[Path]:
    return [path for path in BASE.glob(f"{PREFIX}*") if path.is_dir()]


def _lives(folder: Path) -> bool:
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # its owner is just removing it
        return False
    return False


def _remove(folder: Path) -> None:
    if (NAMESPACES / folder.name).exists():
        subprocess.run(["ip", "netns", "delete", folder.name], check=False)
    shutil.rmtree(folder, ignore_errors=True)
