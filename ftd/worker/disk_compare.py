"""Which blocks of a disk the standby's image lacks, found before a pair begins: docs/DISK.md, "Comparing".

The standby sends a digest of each block of its image, in DIGESTS frames on the data connection; the primary
compares them with its own image and notes what differs. What the guest writes meanwhile is noted by the data
plane. Both sides read and hash in a thread, and nothing is trusted but what was read just now.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ftd.dataplane.core import DISK_BLOCK_BYTES, Machine
from ftd.protocol.body import build_frame, check_body
from ftd.protocol.frames import HEADER_BYTES, Expectation, FrameType, Header, Limits, check_header
from ftd.protocol.refusal import FrameRefused, Refusal
from ftd.protocol.stages import ALLOWED, Stage
from ftd.worker import faults

DIGEST_BYTES: Final = 16
BLOCKS_PER_FRAME: Final = 1024
SILENCE_S: Final = 30.0
"""For one frame at most, reading 64 MiB included: 2 MB a second will do."""
_ZEROES: Final = bytes(DISK_BLOCK_BYTES)


class CompareError(Exception):
    """The images could not be compared; the message says why."""


@dataclass(frozen=True)
class Image:
    """An open image or block device; digests of it, under the key of one pair."""

    fd: int
    size_bytes: int
    key: bytes

    def spans(self) -> Iterator[range]:
        """Numbers of its blocks, as they go into one frame after the other."""
        blocks = -(-self.size_bytes // DISK_BLOCK_BYTES)
        for first in range(0, blocks, BLOCKS_PER_FRAME):
            yield range(first, min(first + BLOCKS_PER_FRAME, blocks))

    def digests(self, span: range) -> bytes:
        """One after the other, 16 zero bytes for a block of nothing but zeros; empty if all are.

        Keyed, so that a guest cannot prepare two blocks of the same digest. Raises OSError.
        """
        found = bytearray(len(span) * DIGEST_BYTES)
        for block in self.blocks_with_data(span):
            data = os.pread(self.fd, DISK_BLOCK_BYTES, block * DISK_BLOCK_BYTES)
            if len(data) != min(DISK_BLOCK_BYTES, self.size_bytes - block * DISK_BLOCK_BYTES):
                raise OSError(errno.EIO, "a read was short")
            if data != _ZEROES[: len(data)]:
                at = (block - span.start) * DIGEST_BYTES
                found[at : at + DIGEST_BYTES] = hashlib.blake2b(
                    data, digest_size=DIGEST_BYTES, key=self.key
                ).digest()
        return bytes(found) if any(found) else b""

    def blocks_with_data(self, span: range) -> Iterator[int]:
        """Those that are no hole; all of them where holes cannot be told. Raises OSError."""
        at, end = span.start * DISK_BLOCK_BYTES, min(span.stop * DISK_BLOCK_BYTES, self.size_bytes)
        block = span.start
        while at < end:
            try:
                data = os.lseek(self.fd, at, os.SEEK_DATA)
                hole = os.lseek(self.fd, data, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                if error.errno != errno.EINVAL:
                    raise
                data, hole = at, end
            for number in range(max(block, data // DISK_BLOCK_BYTES), span.stop):
                if number * DISK_BLOCK_BYTES >= min(hole, end):
                    break
                yield number
                block = number + 1
            at = hole


@dataclass(frozen=True)
class Wire:
    """The data connection, after the handshake and before the data plane."""

    sock: socket.socket
    vm_id: bytes
    generation: int
    pair: int


def tell(wire: Wire, image: Image) -> None:
    """Standby: sends the digests of all of its image. In a thread. Raises CompareError."""
    wire.sock.settimeout(SILENCE_S)
    try:
        for span in image.spans():
            digests = image.digests(span)
            wire.sock.sendall(
                build_frame(
                    FrameType.DIGESTS,
                    vm_id=wire.vm_id,
                    generation=wire.generation,
                    pair=wire.pair,
                    state=digests,
                )
            )
    except OSError as error:
        raise CompareError(f"images could not be compared: {error.strerror or error}") from error
    finally:
        wire.sock.settimeout(None)


def find_differences(wire: Wire, image: Image, machine: Machine, progress: Callable[[int], None]) -> None:
    """Primary: marks what differs in the machine's map, which has been watched since before.

    In a thread. ``progress`` gets the bytes that were looked at so far. Raises CompareError, DataplaneError.
    """
    wire.sock.settimeout(SILENCE_S)
    try:
        for span in image.spans():
            theirs = _receive(wire, span)
            faults.passed("disk.compared")
            machine.mark_disk(span.start, _differing(image, span, theirs))
            progress(min(span.stop * DISK_BLOCK_BYTES, image.size_bytes))
    except FrameRefused as error:
        raise CompareError(f"the standby's digests of its disk were refused: {error}") from error
    except TimeoutError as error:
        raise CompareError(f"the standby told no digests of its disk for {SILENCE_S:g} s") from error
    except OSError as error:
        raise CompareError(f"images could not be compared: {error.strerror or error}") from error
    finally:
        wire.sock.settimeout(None)


def _differing(image: Image, span: range, theirs: bytes) -> list[int]:
    if not theirs:
        return list(image.blocks_with_data(span))
    ours = image.digests(span) or bytes(len(theirs))
    if ours == theirs:
        return []
    places = range(0, len(theirs), DIGEST_BYTES)
    differ = (at for at in places if ours[at : at + DIGEST_BYTES] != theirs[at : at + DIGEST_BYTES])
    return [span.start + at // DIGEST_BYTES for at in differ]


def _receive(wire: Wire, span: range) -> bytes:
    """The standby's digests of these blocks; empty: nothing but zeros. Raises FrameRefused, OSError."""
    limits = Limits(
        memory_pages=0, epoch_pages_max=0, parts_max=0, state_bytes_max=BLOCKS_PER_FRAME * DIGEST_BYTES
    )
    expected = Expectation(
        vm_id=wire.vm_id,
        generation=wire.generation,
        pair=wire.pair,
        allowed=ALLOWED[Stage.PRIMARY_COMPARING],
        limits=limits,
    )
    header = Header.decode(_exactly(wire.sock, HEADER_BYTES))
    refusal = check_header(header, expected)
    if refusal is None:
        body = _exactly(wire.sock, header.body_len)
        refusal = check_body(header, body, limits)
        if refusal is None and len(body) not in (0, len(span) * DIGEST_BYTES):
            refusal = Refusal.LENGTH
        if refusal is None:
            return body
    raise FrameRefused(refusal, f"type {header.type}, generation {header.generation}")


def _exactly(sock: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        chunk = sock.recv(length - len(received))
        if not chunk:
            raise OSError(errno.ECONNRESET, "the standby has closed the connection")
        received += chunk
    return bytes(received)
