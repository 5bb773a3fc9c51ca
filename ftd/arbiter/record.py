"""One record as bytes, for every arbiter: JSON with a checksum. What does not read back exactly as it was
written is damage, and damage is never taken for an answer."""

from __future__ import annotations

import zlib
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ftd.arbiter.contract import CLAIM_ID_BYTES, Record

RECORD_BYTES_MAX: Final = 4096
ADVICE: Final = "restore it, or remove it when no copy of the VM runs anywhere"
"""To an operator who has a damaged record."""


class DamagedRecord(Exception):
    """A record is not what was written; the text says how."""


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vm_id: str
    generation: Annotated[int, Meta(ge=1)]
    holder: str
    claim_id: Annotated[str, Meta(pattern=f"^([0-9a-f]{{{2 * CLAIM_ID_BYTES}}})?$")]
    checksum: int


def encode(record: Record) -> bytes:
    """The record as it is stored."""
    stored = _Stored(
        vm_id=record.vm_id,
        generation=record.generation,
        holder=record.holder,
        claim_id=record.claim_id.hex(),
        checksum=_checksum(record),
    )
    return msgspec.json.encode(stored) + b"\n"


def decode(raw: bytes, vm_id: str, where: object) -> Record:
    """The record of ``vm_id`` that is stored at ``where``. Raises DamagedRecord."""
    if len(raw) > RECORD_BYTES_MAX:
        raise DamagedRecord(f"{where} is damaged (longer than {RECORD_BYTES_MAX} bytes)")
    try:
        stored = msgspec.json.decode(raw, type=_Stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedRecord(f"{where} is damaged ({error})") from error
    record = Record(stored.vm_id, stored.generation, stored.holder, bytes.fromhex(stored.claim_id))
    if stored.checksum != _checksum(record):
        raise DamagedRecord(f"{where} is damaged (wrong checksum)")
    if record.vm_id != vm_id:
        raise DamagedRecord(f"{where} holds the record of another VM, {record.vm_id}")
    return record


def _checksum(record: Record) -> int:
    parts = (record.vm_id, str(record.generation), record.holder, record.claim_id.hex())
    return zlib.crc32("\0".join(parts).encode())
