"""Big things are kept between runs, each under a key that names all that it was made from."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def folder() -> Path:
    """The cache: `ftd` in $XDG_CACHE_HOME, or in ~/.cache. May be removed whenever nothing is running."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    made = Path(root) / "ftd"
    made.mkdir(parents=True, exist_ok=True)
    return made


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keeps others out, also other processes, for as long as it takes. The kernel lets go if we die."""
    path = folder() / "locks" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """`target`, made by `make` into a folder that takes its name only when it is complete."""
    with locked(target.name):
        if not target.exists():
            part = target.with_name(target.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            make(part)
            part.rename(target)
    return target


def key_of(*parts: str | bytes) -> str:
    """A short name for a combination of contents."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]
