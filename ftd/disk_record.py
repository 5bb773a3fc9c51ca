"""What this host knows of a VM's disk image: whether a guest ran on it here, or it is a standby's copy.

A copy may be half synchronised, or behind the guest that has gone on elsewhere, and looks like a good image
all the same; so does the disk of an old primary. The record tells: it is written before the first byte is
copied, and again once the guest runs on the image, with the generation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from ftd.errors import ControlError, ErrorKind


class DiskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``generation`` in which it came to be so; ``path`` of the image that is meant."""

    role: Literal["active", "copy"]
    generation: int
    path: str


def read(file: Path) -> DiskRecord | None:
    """None: nothing is known. Raises ControlError for a record that cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=DiskRecord)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ControlError(
            ErrorKind.INTERNAL, f"{file}, which says what a disk image holds, cannot be read: {error}"
        ) from error


def write(file: Path, record: DiskRecord) -> None:
    """Durable when it returns. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as out:
        out.write(msgspec.json.encode(record))
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check_start(file: Path, path: str, vm: str, newest_generation: int) -> None:
    """Raises ControlError when a guest should not be started from this image: another is newer, or may be.

    ``newest_generation`` is the newest that the arbiter has given.
    """
    record = read(file)
    if record is None or record.path != path:
        return
    if record.role == "copy":
        what = f"is a standby's copy of generation {record.generation}: it may be incomplete, or behind"
    elif record.generation < newest_generation:
        what = (
            f"was the guest's disk in generation {record.generation}, and the guest has run elsewhere since "
            f"(generation {newest_generation})"
        )
    else:
        return
    raise ControlError(
        ErrorKind.REFUSED,
        f"VM {vm}: {path} {what}. Start the VM on the host that ran it last, or here with --force if you "
        "know the image to be good",
    )
