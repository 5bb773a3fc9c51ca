"""Disk images and block devices: how large one is, and opening one for a guest that nobody else runs on it.

docs/DISK.md says what is in them when.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Final

from ftd.errors import ControlError, ErrorKind

SECTOR_BYTES: Final = 512
_F_OFD_SETLK: Final = 37
_FLOCK: Final = struct.Struct("hh4xqqi4x")
_KINDS: Final = {errno.EACCES: ErrorKind.PERMISSION, errno.EPERM: ErrorKind.PERMISSION}


def image_bytes(path: Path) -> int:
    """Size of an image or block device. Raises ControlError when there is none that can be read."""
    try:
        with path.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError as error:
        raise _failure(path, "cannot be opened", error) from error


def open_image(path: Path, size_bytes: int, *, make: bool) -> int:
    """A descriptor for reading and writing that holds the image's lock. The caller closes it.

    With ``make`` an image that is missing is made: sparse, of the right size. Raises ControlError with the
    reason when it is missing, of another size, not ours to write, or in use.
    """
    try:
        fd = os.open(path, _flags(path))
    except FileNotFoundError as error:
        if not make:
            raise _failure(path, "cannot be opened", error) from error
        fd = _make(path, size_bytes)
    except OSError as error:
        raise _failure(path, "cannot be opened for writing", error) from error
    try:
        _lock(fd, path)
        found = os.lseek(fd, 0, os.SEEK_END)
        if found != size_bytes:
            raise ControlError(
                ErrorKind.CONFIG,
                f"disk.path: {path} has {found} bytes, and the guest's disk has {size_bytes}: "
                "move it away, or make it the same size",
            )
        if found == 0 or found % SECTOR_BYTES:
            raise ControlError(
                ErrorKind.CONFIG,
                f"disk.path: {path} has {found} bytes, which is not a multiple of {SECTOR_BYTES}",
            )
    except ControlError:
        os.close(fd)
        raise
    return fd


def _flags(path: Path) -> int:
    # A block device that is mounted, or in use by the kernel otherwise, is refused with O_EXCL.
    exclusive = os.O_EXCL if path.exists() and stat.S_ISBLK(path.stat().st_mode) else 0
    return os.O_RDWR | os.O_CLOEXEC | exclusive


def _make(path: Path, size_bytes: int) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise _failure(path, "is missing and cannot be made", error) from error
    try:
        os.ftruncate(fd, size_bytes)
    except OSError as error:
        os.close(fd)
        path.unlink()
        raise _failure(path, f"cannot be made with {size_bytes} bytes", error) from error
    return fd


def _lock(fd: int, path: Path) -> None:
    """Of the open file description: it goes with the last descriptor, however the process ends."""
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except BlockingIOError as error:
        raise ControlError(
            ErrorKind.REFUSED,
            f"disk.path: {path} is in use by another process (lslocks names it): no two guests, and no guest "
            "and its standby, may share an image",
        ) from error
    except OSError as error:
        raise _failure(path, "cannot be locked", error) from error


def _failure(path: Path, what: str, error: OSError) -> ControlError:
    kind = _KINDS.get(error.errno or 0, ErrorKind.CONFIG)
    return ControlError(kind, f"disk.path: {path} {what}: {error.strerror}")
