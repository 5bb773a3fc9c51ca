"""Small files that survive a crash: replaced whole or removed, and on the disk before anyone is told so."""

import os
from contextlib import suppress
from pathlib import Path

NEW_SUFFIX = ".new"


def replace(path: Path, data: bytes) -> None:
    """The file holds `data`, durably. A crash leaves the old contents or the new ones, never a mixture.

    Raises OSError; then either may be there.
    """
    new = path.with_name(path.name + NEW_SUFFIX)
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except OSError:
        # On a full disk, what did not fit must not stand in the way of the next try.
        with suppress(OSError):
            new.unlink()
        raise
    _sync_directory(path.parent)


def remove(path: Path) -> None:
    """The file is gone, durably; it need not have been there. Raises OSError; then it may still be there."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
