"""One record as a file: replaced whole, never edited.

    write VM.json.new, fsync, rename over VM.json, fsync the directory

A crash before the rename leaves the old record, one after it the new one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ftd.arbiter.contract import Record
from ftd.arbiter.record import RECORD_BYTES_MAX, DamagedRecord, decode, encode

__all__ = ["DamagedRecord", "FaultPoint", "make_durable", "read", "write"]

FaultPoint = Callable[[str], None]
"""Called with the name of each step as it ends; tests kill the process there."""


def read(path: Path, vm_id: str) -> Record | None:
    """The record of ``vm_id``, or None if there is no file. Raises DamagedRecord, OSError."""
    try:
        with path.open("rb") as file:
            raw = file.read(RECORD_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    return decode(raw, vm_id, path)


def write(path: Path, record: Record, fault: FaultPoint) -> None:
    """Replace the record, durably. Raises OSError; then the old record may or may not have been replaced."""
    new = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        descriptor = os.open(new, flags, 0o644)
        try:
            _write_all(descriptor, encode(record))
            fault("written")
            os.fsync(descriptor)
            fault("synced")
        finally:
            os.close(descriptor)
        new.rename(path)
    except OSError:
        # On a full disk, what did not fit must not stand in the way of the next try.
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    fault("renamed")
    make_durable(path.parent)
    fault("durable")


def make_durable(directory: Path) -> None:
    """Make renames in a directory survive a crash of the machine. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
