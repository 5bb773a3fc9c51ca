"""One record as a file: JSON with a checksum, replaced whole, never edited.

    write VM.json.new, fsync, rename over VM.json, fsync the directory

A crash before the rename leaves the old record, one after it the new one. What does not read back exactly as
it was written is damage, and damage is never taken for an answer.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ftd.arbiter.contract import CLAIM_ID_BYTES, Record

FILE_BYTES_MAX: Final = 4096
FaultPoint = Callable[[str], None]
"""Called with the name of each step as it ends; tests kill the process there."""


class DamagedRecord(Exception):
    """A record file is not what was written; the text says how."""


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vm_id: str
    generation: Annotated[int, Meta(ge=1)]
    holder: str
    claim_id: Annotated[str, Meta(pattern=f"^([0-9a-f]{{{2 * CLAIM_ID_BYTES}}})?$")]
    checksum: int


def read(path: Path, vm_id: str) -> Record | None:
    """The record of ``vm_id``, or None if there is no file. Raises DamagedRecord, OSError."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(raw) > FILE_BYTES_MAX:
        raise DamagedRecord(f"{path} is damaged (longer than {FILE_BYTES_MAX} bytes)")
    try:
        stored = msgspec.json.decode(raw, type=_Stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedRecord(f"{path} is damaged ({error})") from error
    record = Record(stored.vm_id, stored.generation, stored.holder, bytes.fromhex(stored.claim_id))
    if stored.checksum != _checksum(record):
        raise DamagedRecord(f"{path} is damaged (wrong checksum)")
    if record.vm_id != vm_id:
        raise DamagedRecord(f"{path} holds the record of another VM, {record.vm_id}")
    return record


def write(path: Path, record: Record, fault: FaultPoint) -> None:
    """Replace the record, durably. Raises OSError; then the old record may or may not have been replaced."""
    new = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        descriptor = os.open(new, flags, 0o644)
        try:
            _write_all(descriptor, _encode(record))
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


def _encode(record: Record) -> bytes:
    stored = _Stored(
        vm_id=record.vm_id,
        generation=record.generation,
        holder=record.holder,
        claim_id=record.claim_id.hex(),
        checksum=_checksum(record),
    )
    return msgspec.json.encode(stored) + b"\n"


def _checksum(record: Record) -> int:
    parts = (record.vm_id, str(record.generation), record.holder, record.claim_id.hex())
    return zlib.crc32("\0".join(parts).encode())
